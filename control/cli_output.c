/* SPDX-License-Identifier: ISC */
/*
 * What a command prints: aligned tables for people, text with tabs for other
 * programs, JSON.  Everything that came from outside passes printable(), so
 * that no mail can write to an administrator's terminal.
 * Runs in: postern.  Trusts: nothing of an answer's texts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/printable.h"
#include "control/cli.h"
#include "control/times.h"

#define CELL_MAX 2048
#define COLUMNS_MAX 12
/* Between two columns. */
#define GAP 2

bool
cli_is_terminal(void)
{
	return isatty(STDOUT_FILENO) == 1;
}

static bool
has_colours(void)
{
	const char *no_color = getenv("NO_COLOR");

	return cli_is_terminal() && (no_color == NULL || no_color[0] == '\0');
}

const char *
cli_bold(void)
{
	return has_colours() ? "\033[1m" : "";
}

const char *
cli_red(void)
{
	return has_colours() ? "\033[31m" : "";
}

const char *
cli_green(void)
{
	return has_colours() ? "\033[32m" : "";
}

const char *
cli_plain(void)
{
	return has_colours() ? "\033[0m" : "";
}

void
cli_show_json(const json_t *value)
{
	/* On a terminal even characters that only confuse are escaped. */
	const size_t flags = cli_is_terminal() ? JSON_ENSURE_ASCII : 0;
	char *text = json_dumps(value, JSON_COMPACT | flags);

	if (text != NULL)
		(void)puts(text);
	free(text);
}

/* ---- values ---- */

static void
add_printable(struct slice text, struct buf *out)
{
	char shown[CELL_MAX];

	(void)buf_add_text(out, printable(text, shown, sizeof(shown)));
}

static void
add_size(json_int_t size, struct buf *out)
{
	static const char units[] = "KMGT";
	double value = (double)size;
	int unit = -1;

	while (value >= 1024 && unit < 3) {
		value /= 1024;
		unit++;
	}
	if (unit == -1)
		(void)buf_addf(out, "%lld", (long long)size);
	else
		(void)buf_addf(out, "%.1f%c", value, units[unit]);
}

static void
add_number(json_int_t number, char kind, struct buf *out)
{
	char text[TIMES_TEXT_MAX];

	if (kind == 't')
		(void)buf_add_text(
		    out, number == 0 ? "" : times_format(number, text));
	else if (kind == 'z' && cli_is_terminal())
		add_size(number, out);
	else
		(void)buf_addf(out, "%lld", (long long)number);
}

void
cli_value_text(const json_t *value, char kind, struct buf *text_r)
{
	size_t i;
	const json_t *part;
	char *dump;

	if (json_is_string(value)) {
		add_printable((struct slice){json_string_value(value),
				  json_string_length(value)},
		    text_r);
	} else if (json_is_integer(value)) {
		add_number(json_integer_value(value), kind, text_r);
	} else if (json_is_real(value)) {
		(void)buf_addf(text_r, "%.1f", json_real_value(value));
	} else if (json_is_boolean(value)) {
		(void)buf_add_text(text_r, json_is_true(value) ? "yes" : "no");
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, part) {
			if (i > 0)
				(void)buf_add_char(text_r, ' ');
			cli_value_text(part, kind, text_r);
		}
	} else if (value != NULL && !json_is_null(value)) {
		dump = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
		add_printable(slice_of(dump), text_r);
		free(dump);
	}
}

/* ---- tables ---- */

struct column {
	char key[64];
	char title[32];
	char kind; /* see struct cli_table */
	size_t width;
};

static size_t
read_columns(const char *text, struct column columns[COLUMNS_MAX])
{
	struct slice rest = slice_of(text);
	size_t count = 0;

	while (rest.n > 0 && count < COLUMNS_MAX) {
		const size_t end = slice_find(rest, ',', 0);
		const size_t used = end < rest.n ? end + 1 : end;
		const struct slice part = {rest.p, end};
		const size_t colon = slice_find(part, ':', 0);
		const size_t second = slice_find(part, ':', colon + 1);
		struct column *column = &columns[count++];

		*column = (struct column){.kind = '\0'};
		(void)slice_copy((struct slice){part.p, colon}, column->key,
		    sizeof(column->key));
		(void)slice_copy(
		    (struct slice){part.p + colon + 1, second - colon - 1},
		    column->title, sizeof(column->title));
		if (second < part.n)
			column->kind = part.p[second + 1];
		rest = (struct slice){rest.p + used, rest.n - used};
	}
	return count;
}

/* Columns of a terminal that the UTF-8 text takes: characters, roughly. */
static size_t
text_width(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			width++;
	return width;
}

static void
print_cell(const char *text, size_t width, bool is_last)
{
	size_t used = text_width(text);

	(void)fputs(text, stdout);
	if (!cli_is_terminal())
		(void)fputs(is_last ? "\n" : "\t", stdout);
	else if (is_last)
		(void)putchar('\n');
	else
		for (; used < width + GAP; used++)
			(void)putchar(' ');
}

/* "recipients.to": the different values of a member, in their order. */
static void
add_members(const json_t *row, const char *path, char kind, struct buf *out)
{
	const char *dot = strchr(path, '.');
	char *name = xstrndup(path, (size_t)(dot - path));
	const json_t *parts = json_object_get(row, name);
	json_t *seen = json_array();
	const json_t *part;
	const json_t *other;
	size_t i;
	size_t j;

	json_array_foreach(parts, i, part) {
		json_t *value = json_object_get(part, dot + 1);
		bool is_new = value != NULL;

		json_array_foreach(seen, j, other)
			is_new = is_new && !json_equal(other, value);
		if (is_new)
			(void)json_array_append(seen, value);
	}
	cli_value_text(seen, kind, out);
	json_decref(seen);
	free(name);
}

/* One row's cells; also measures when print is false. */
static void
walk_row(struct column *columns, size_t count, const json_t *row, bool print)
{
	struct buf cell;

	buf_init(&cell, CELL_MAX * 4);
	for (size_t i = 0; i < count; i++) {
		buf_reset(&cell);
		if (strchr(columns[i].key, '.') != NULL)
			add_members(
			    row, columns[i].key, columns[i].kind, &cell);
		else
			cli_value_text(json_object_get(row, columns[i].key),
			    columns[i].kind, &cell);
		if (print) {
			print_cell(
			    buf_text(&cell), columns[i].width, i + 1 == count);
		} else {
			const size_t width = text_width(buf_text(&cell));

			if (width > columns[i].width)
				columns[i].width = width;
		}
	}
	buf_clear(&cell);
}

void
cli_show_rows(
    const struct cli_table *table, const json_t *rows, bool with_header)
{
	struct column columns[COLUMNS_MAX];
	const size_t count = read_columns(table->columns, columns);
	const json_t *row;
	size_t i;

	for (i = 0; i < count; i++)
		columns[i].width = text_width(columns[i].title);
	json_array_foreach(rows, i, row)
		walk_row(columns, count, row, false);
	if (with_header && cli_is_terminal()) {
		(void)fputs(cli_bold(), stdout);
		for (i = 0; i < count; i++)
			print_cell(
			    columns[i].title, columns[i].width, i + 1 == count);
		(void)fputs(cli_plain(), stdout);
	}
	json_array_foreach(rows, i, row)
		walk_row(columns, count, row, true);
}

/* ---- anything else: one "key: value" a line ---- */

static bool
is_time(const char *key)
{
	static const char *const keys[] = {"time", "since", "until", "expires",
	    "arrived", "next_attempt", "last_login", "last_used", "created",
	    "not_before", "not_after", "oldest", "last_attempt",
	    "password_changed"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

static void show_object(json_t *object, int depth);

static void
show_member(const char *key, json_t *value, int depth)
{
	struct buf text;
	json_t *part;
	size_t i;

	if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
		json_array_foreach(value, i, part) {
			(void)printf("%*s%s:\n", depth * 2, "", key);
			show_object(part, depth + 1);
		}
		return;
	}
	if (json_is_object(value)) {
		(void)printf("%*s%s:\n", depth * 2, "", key);
		show_object(value, depth + 1);
		return;
	}
	buf_init(&text, CELL_MAX * 64);
	cli_value_text(value, is_time(key) ? 't' : '\0', &text);
	(void)printf("%*s%s: %s\n", depth * 2, "", key, buf_text(&text));
	buf_clear(&text);
}

/* Answers are a few levels deep; what is deeper is not for reading. */
#define DEPTH_MAX 6

static void
show_object(json_t *object, int depth)
{
	const char *key;
	json_t *value;
	char shown[128];

	if (depth > DEPTH_MAX)
		return;
	json_object_foreach(object, key, value)
		show_member(printable(slice_of(key), shown, sizeof(shown)),
		    value, depth);
}

void
cli_show(const struct cli *cli, json_t *reply)
{
	const struct cli_table *table = &cli->verb->table;
	const json_t *rows = table->list_key == NULL
				 ? NULL
				 : json_object_get(reply, table->list_key);
	const json_t *row;
	size_t i;

	if (cli->is_json || (cli->is_jsonl && rows == NULL)) {
		cli_show_json(reply);
	} else if (cli->is_jsonl) {
		json_array_foreach(rows, i, row)
			cli_show_json(row);
	} else if (rows != NULL) {
		cli_show_rows(table, rows, json_array_size(rows) > 0);
	} else {
		show_object(reply, 0);
	}
}
