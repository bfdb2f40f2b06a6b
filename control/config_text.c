/* SPDX-License-Identifier: ISC */
/*
 * Writes and reads the configuration's text form.
 * Runs in: postern-confd.  Trusts: nothing of the text.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/printable.h"
#include "control/config_rules.h"
#include "control/config_text.h"

/* ---- writing ---- */

static void
add_value(enum config_kind kind, const char *value, bool with_secrets,
    struct buf *line_r)
{
	if (kind == CONFIG_ROUTE && !with_secrets)
		config_route_masked(value, line_r);
	else
		(void)buf_add_text(line_r, value);
}

void
config_text_line(enum config_kind kind, const char *key, const char *value,
    bool with_secrets, struct buf *line_r)
{
	size_t verb_n;

	switch (kind) {
	case CONFIG_SETTING:
		(void)buf_addf(line_r, "set %s = ", key);
		break;
	case CONFIG_DOMAIN:
	case CONFIG_ROUTE:
		(void)buf_addf(line_r, "%s %s ", config_kind_name(kind), key);
		break;
	case CONFIG_ACCESS:
		verb_n = strcspn(value, " ");
		(void)buf_addf(line_r, "%.*s %s%s", (int)verb_n, value, key,
		    value + verb_n);
		return;
	case CONFIG_POLICY:
		(void)buf_addf(line_r, "policy %s ", key);
		break;
	case CONFIG_KIND_COUNT:
		bug("no such kind");
	}
	add_value(kind, value, with_secrets, line_r);
}

void
config_text_write(
    const struct config_items *items, bool with_secrets, struct buf *text_r)
{
	for (size_t i = 0; i < items->count; i++) {
		const struct config_item *item = &items->list[i];

		config_text_line(
		    item->kind, item->key, item->value, with_secrets, text_r);
		(void)buf_add_char(text_r, '\n');
	}
}

/* ---- reading ---- */

/* A line taken apart; the slices point into it or into value. */
struct line {
	enum config_kind kind;
	struct slice key;
	struct buf value;
};

static struct slice
cut_word(struct slice *line)
{
	size_t n = 0;
	struct slice word;

	*line = slice_trim(*line);
	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	word = (struct slice){line->p, n};
	line->p += n;
	line->n -= n;
	*line = slice_trim(*line);
	return word;
}

static int
cut_setting(struct slice rest, struct line *line, struct err *err)
{
	const size_t equals = slice_find(rest, '=', 0);

	if (equals == rest.n)
		return err_set(
		    err, "a setting is written \"set NAME = VALUE\"");
	line->kind = CONFIG_SETTING;
	line->key = slice_trim((struct slice){rest.p, equals});
	return buf_add_slice(&line->value,
	    slice_trim(
		(struct slice){rest.p + equals + 1, rest.n - equals - 1}));
}

/* The key of some kinds is two words. */
static struct slice
cut_two_words(struct slice *line)
{
	const struct slice first = cut_word(line);
	const struct slice second = cut_word(line);

	return (struct slice){first.p, (size_t)(second.p + second.n - first.p)};
}

/* "block client 192.0.2.0/24 until T": the key is the second and third word */
static int
cut_access(struct slice verb, struct slice rest, struct line *line)
{
	line->kind = CONFIG_ACCESS;
	line->key = cut_two_words(&rest);
	(void)buf_add_slice(&line->value, verb);
	(void)buf_add_char(&line->value, ' ');
	return buf_add_slice(&line->value, rest);
}

static int
cut_line(struct slice text, struct line *line, struct err *err)
{
	const struct slice verb = cut_word(&text);
	char shown[64];

	if (slice_equals(verb, SLICE("set")))
		return cut_setting(text, line, err);
	if (slice_equals(verb, SLICE("block")) ||
	    slice_equals(verb, SLICE("allow")))
		return cut_access(verb, text, line);
	if (slice_equals(verb, SLICE("policy"))) {
		line->kind = CONFIG_POLICY;
		line->key = cut_two_words(&text);
		return buf_add_slice(&line->value, text);
	}
	if (slice_equals(verb, SLICE("domain")))
		line->kind = CONFIG_DOMAIN;
	else if (slice_equals(verb, SLICE("route")))
		line->kind = CONFIG_ROUTE;
	else
		return err_set(err,
		    "a line begins with set, domain, route, "
		    "block, allow, policy or #, not with \"%s\"",
		    printable(verb, shown, sizeof(shown)));
	line->key = cut_word(&text);
	return buf_add_slice(&line->value, text);
}

/* A text without secrets leaves the secrets that are there. */
static void
keep_password(
    const struct config_items *current, const char *key, struct buf *value)
{
	struct config_route now = {.target = ""};
	struct config_route old = {.target = ""};
	const char *old_value = config_items_get(current, CONFIG_ROUTE, key);
	char encoded[BASE64_ENCODED_SIZE(sizeof(old.password)) + 1] = "";

	if (old_value != NULL &&
	    config_route_read(buf_text(value), &now) == 0 &&
	    config_route_read(old_value, &old) == 0 && !now.has_password &&
	    old.has_password && strcmp(now.user, old.user) == 0 &&
	    base64_encode(
		old.password, old.password_n, encoded, sizeof(encoded)) == 0)
		(void)buf_addf(value, " password %s", encoded);
	explicit_bzero(encoded, sizeof(encoded));
	config_route_clear(&now);
	config_route_clear(&old);
}

static int
read_line(struct slice text, const struct config_items *current,
    struct config_items *items_r, struct err *err)
{
	struct line line = {.key = {NULL, 0}};
	struct buf key;
	struct buf value;
	int rc = -1;

	buf_init(&line.value, CONFIG_VALUE_MAX);
	buf_init(&key, CONFIG_KEY_MAX);
	buf_init(&value, CONFIG_VALUE_MAX);
	if (cut_line(text, &line, err) == -1) {
		if (line.value.overflowed)
			(void)err_set(err, "the line is too long");
		goto out;
	}
	if (config_item_parse(line.kind, line.key, buf_slice(&line.value), &key,
		&value, err) == -1)
		goto out;
	if (config_items_get(items_r, line.kind, buf_text(&key)) != NULL) {
		(void)err_set(err, "%s %s is there twice",
		    config_kind_name(line.kind), buf_text(&key));
		goto out;
	}
	if (line.kind == CONFIG_ROUTE)
		keep_password(current, buf_text(&key), &value);
	config_items_put(items_r, line.kind, buf_text(&key), buf_text(&value));
	rc = 0;
out:
	buf_clear(&line.value);
	buf_clear(&key);
	buf_clear(&value);
	return rc;
}

/* What stands at its default is as good as not there: not stored. */
static void
drop_defaults(struct config_items *items)
{
	for (size_t i = items->count; i-- > 0;) {
		const struct config_item *item = &items->list[i];

		if (config_is_default(item->kind, item->key, item->value)) {
			char *key = xstrdup(item->key);

			config_items_put(items, item->kind, key, NULL);
			free(key);
		}
	}
}

int
config_text_read(struct slice text, const struct config_items *current,
    struct config_items *items_r, unsigned *line_r, struct err *err)
{
	*items_r = (struct config_items){0};
	*line_r = 0;
	if (text.n > CONFIG_TEXT_MAX)
		return err_set(err, "the text has %zu octets, more than %u",
		    text.n, CONFIG_TEXT_MAX);
	while (text.n > 0) {
		const size_t end = slice_find(text, '\n', 0);
		struct slice line = {text.p, end};

		++*line_r;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		line = slice_trim(line);
		if (line.n > 0 && line.p[0] != '#' &&
		    read_line(line, current, items_r, err) == -1) {
			config_items_clear(items_r);
			return -1;
		}
		text.p += end < text.n ? end + 1 : end;
		text.n -= end < text.n ? end + 1 : end;
	}
	drop_defaults(items_r);
	return 0;
}
