/* SPDX-License-Identifier: ISC */
/*
 * Runs a verb: connects, asks, shows; and the verbs that change the
 * configuration.
 * Runs in: postern.  Trusts: confd for codes; its texts are shown escaped.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/printable.h"
#include "control/cli.h"

/* Rows asked for at once, where the answer comes in pages. */
#define PAGE_ROWS 1000

/* ---- words ---- */

static void
say(const char *format, va_list ap)
{
	char raw[2048];
	char text[2048];

	(void)vsnprintf(raw, sizeof(raw), format, ap);
	(void)fprintf(stderr, "postern: %s\n",
	    printable(slice_of(raw), text, sizeof(text)));
}

void
cli_say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
}

/* A command that can be typed as it stands, for this instance. */
static void
say_hint(const struct cli *cli, const char *hint)
{
	if (cli->root != NULL && strncmp(hint, "postern ", 8) == 0)
		cli_say("try: postern --root %s %s", cli->root, hint + 8);
	else
		cli_say("try: %s", hint);
}

int
cli_fail(
    const struct cli *cli, int code, const char *hint, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
	if (hint != NULL)
		say_hint(cli, hint);
	return code;
}

int
cli_say_error(const struct cli *cli, int code, const json_t *reply)
{
	const char *error = json_string_value(json_object_get(reply, "error"));
	const char *hint = json_string_value(json_object_get(reply, "hint"));
	const json_t *line = json_object_get(reply, "line");

	if (error == NULL)
		error = "it failed, without a word";
	if (cli->file != NULL && json_is_integer(line))
		cli_say("%s:%lld: %s", cli->file,
		    (long long)json_integer_value(line), error);
	else
		cli_say("%s", error);
	if (hint != NULL)
		say_hint(cli, hint);
	return code;
}

/* ---- asking ---- */

int
cli_connect(struct cli *cli)
{
	struct err err;
	int code;

	if (cli->client != NULL)
		return CLI_DONE;
	if (!instance_is_made(&cli->instance) &&
	    cli->verb->run != cli_run_init) {
		cli_say("there is no instance in %s", cli->instance.state_dir);
		say_hint(cli, "postern init --hostname gw.example.test");
		return CLI_AWAY;
	}
	code =
	    client_open(&cli->instance, cli->verb->owners, &cli->client, &err);
	if (code != CLI_DONE)
		cli_say("%s", err.text);
	return code;
}

int
cli_ask(struct cli *cli, const char *request, const json_t *arguments,
    json_t **reply_r)
{
	json_t *reply;
	int code;

	*reply_r = NULL;
	if ((code = cli_connect(cli)) != CLI_DONE)
		return code;
	code = client_ask(cli->client, request, arguments, &reply);
	if (code == CLI_DONE) {
		*reply_r = reply;
		return code;
	}
	if (json_object_get(reply, "error") == NULL && code == CLI_NOTHING) {
		if (cli->is_json)
			cli_show(cli, reply);
		cli_say("nothing matched");
	} else if (json_object_get(reply, "error") == NULL) {
		/* A check that found something: the answer tells it. */
		cli_show(cli, reply);
	} else {
		if (cli->is_json || cli->is_jsonl)
			cli_show_json(reply);
		(void)cli_say_error(cli, code, reply);
	}
	json_decref(reply);
	return code;
}

/* ---- lists, page by page ---- */

struct pages {
	json_int_t left; /* of --limit; -1: no limit */
	size_t shown;
	json_t *all; /* with --json: everything is one object */
};

static void
show_page(struct cli *cli, struct pages *pages, json_t *reply)
{
	json_t *rows = json_object_get(reply, cli->verb->table.list_key);

	if (pages->left >= 0) {
		while (json_array_size(rows) > (size_t)pages->left)
			(void)json_array_remove(
			    rows, json_array_size(rows) - 1);
		pages->left -= (json_int_t)json_array_size(rows);
	}
	if (!cli->is_json) {
		if (cli->is_jsonl)
			cli_show(cli, reply);
		else
			cli_show_rows(&cli->verb->table, rows,
			    pages->shown == 0 && json_array_size(rows) > 0);
	} else if (pages->all == NULL) {
		pages->all = json_incref(reply);
	} else {
		(void)json_array_extend(
		    json_object_get(pages->all, cli->verb->table.list_key),
		    rows);
	}
	pages->shown += json_array_size(rows);
}

static int
run_list(struct cli *cli)
{
	json_t *limit = json_object_get(cli->arguments, "limit");
	struct pages pages = {
	    .left = limit != NULL ? json_integer_value(limit) : -1};
	bool is_more = true;
	int code = CLI_DONE;

	while (is_more && code == CLI_DONE) {
		json_t *reply;
		json_t *next;

		(void)json_object_set_new(cli->arguments, "limit",
		    json_integer(pages.left >= 0 && pages.left < PAGE_ROWS
				     ? pages.left
				     : PAGE_ROWS));
		code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
		if (code != CLI_DONE)
			break;
		show_page(cli, &pages, reply);
		next = json_object_get(reply, "next");
		is_more =
		    next != NULL && !json_is_null(next) && pages.left != 0;
		if (is_more)
			(void)json_object_set(cli->arguments, "cursor", next);
		json_decref(reply);
	}
	if (pages.all != NULL) {
		(void)json_object_del(pages.all, "next");
		cli_show_json(pages.all);
	}
	json_decref(pages.all);
	return code;
}

int
cli_run_asked(struct cli *cli)
{
	json_t *reply;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code == CLI_DONE)
		cli_show(cli, reply);
	json_decref(reply);
	return code;
}

/* Lines that were not taken are a part that failed. */
int
cli_run_import(struct cli *cli)
{
	json_t *reply;
	size_t failed;
	int code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	cli_show(cli, reply);
	failed = json_array_size(json_object_get(reply, "failed"));
	if (failed > 0)
		code = cli_fail(cli, CLI_FAILED, NULL,
		    "%zu line%s of %s %s refused; the others are good", failed,
		    failed == 1 ? "" : "s", cli->file,
		    failed == 1 ? "is" : "are");
	json_decref(reply);
	return code;
}

int
cli_run(struct cli *cli)
{
	int code;

	if (cli->verb->run != NULL)
		code = cli->verb->run(cli);
	else if (cli->verb->table.list_key != NULL)
		code = run_list(cli);
	else
		code = cli_run_asked(cli);
	if (fflush(stdout) == EOF && code == CLI_DONE)
		code = cli_fail(
		    cli, CLI_FAILED, NULL, "standard output is closed");
	return code;
}

/* ---- changes of the configuration ---- */

static void
show_side(const json_t *change, const char *side, char sign)
{
	const json_t *value = json_object_get(change, side);
	const char *kind = json_string_value(json_object_get(change, "kind"));
	const char *colour = sign == '-' ? cli_red() : cli_green();
	const bool is_setting = kind != NULL && strcmp(kind, "setting") == 0;
	struct buf text;

	if (value == NULL || json_is_null(value))
		return;
	buf_init(&text, 65536);
	if (kind != NULL &&
	    (strcmp(kind, "domain") == 0 || strcmp(kind, "route") == 0))
		(void)buf_addf(&text, "%s ", kind);
	cli_value_text(json_object_get(change, "key"), '\0', &text);
	(void)buf_add_text(&text, is_setting ? " = " : " ");
	cli_value_text(value, '\0', &text);
	(void)printf("%s%c %s%s\n", colour, sign, buf_text(&text), cli_plain());
	buf_clear(&text);
}

static void
show_changes(const json_t *changes)
{
	const json_t *change;
	size_t i;

	json_array_foreach(changes, i, change) {
		show_side(change, "old", '-');
		show_side(change, "new", '+');
	}
}

int
cli_run_change(struct cli *cli)
{
	json_t *reply;
	const json_t *changes;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	changes = json_object_get(reply, "changes");
	if (cli->is_json || cli->is_jsonl)
		cli_show_json(reply);
	else if (json_array_size(changes) == 0)
		cli_say("nothing to change");
	else if (json_is_true(json_object_get(reply, "dry_run")))
		show_changes(changes);
	else
		cli_say(
		    "revision %lld", (long long)json_integer_value(
					 json_object_get(reply, "revision")));
	json_decref(reply);
	return code;
}

int
cli_run_diff(struct cli *cli)
{
	json_t *reply;
	json_t *from = json_object_get(cli->arguments, "from");
	int code;

	/* One number alone: what that revision changed. */
	if (from != NULL && json_object_get(cli->arguments, "to") == NULL) {
		(void)json_object_set(cli->arguments, "to", from);
		(void)json_object_set_new(cli->arguments, "from",
		    json_integer(json_integer_value(from) - 1));
	}
	code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
	if (code == CLI_DONE && (cli->is_json || cli->is_jsonl))
		cli_show_json(reply);
	else if (code == CLI_DONE)
		show_changes(json_object_get(reply, "changes"));
	json_decref(reply);
	return code;
}

/* The value alone, so that a script can take it; several with their names. */
int
cli_run_get(struct cli *cli)
{
	json_t *reply;
	const json_t *settings;
	const char *value;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	settings = json_object_get(reply, "settings");
	value = json_string_value(
	    json_object_get(json_array_get(settings, 0), "value"));
	if (cli->is_json || cli->is_jsonl || json_array_size(settings) != 1)
		cli_show(cli, reply);
	else
		(void)puts(value != NULL ? value : "");
	json_decref(reply);
	return code;
}

int
cli_run_export(struct cli *cli)
{
	json_t *reply;
	const char *text;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	text = json_string_value(json_object_get(reply, "text"));
	if (cli->is_json || cli->is_jsonl)
		cli_show_json(reply);
	else
		(void)fputs(text != NULL ? text : "", stdout);
	json_decref(reply);
	return code;
}

/* ---- a new instance ---- */

int
cli_run_init(struct cli *cli)
{
	json_t *reply;
	int code;

	if (json_object_get(cli->arguments, "hostname") == NULL)
		return cli_fail(cli, CLI_USAGE,
		    "postern init --hostname gw.example.test",
		    "init needs --hostname");
	code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->is_json || cli->is_jsonl)
		cli_show_json(reply);
	if (json_object_get(cli->arguments, "postmaster") == NULL)
		cli_say("nobody gets mail to postmaster yet: postern config "
			"set system.postmaster=ADDRESS");
	if (client_is_managing(cli->client))
		cli_say("the instance is made; start it with postern-run%s%s",
		    cli->root != NULL ? " --root " : "",
		    cli->root != NULL ? cli->root : "");
	json_decref(reply);
	return code;
}
