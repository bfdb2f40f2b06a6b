/* SPDX-License-Identifier: ISC */
/*
 * Acting on queued messages: what cannot be taken back is counted and asked
 * for first.
 * Runs in: postern.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli.h"

/*
 * "-": one id a line from standard input, as "postern queue" prints them.  The
 * rest of a line is what strangers said, of any length: no part of it may be
 * taken for an id.
 */
static int
read_ids(json_t *arguments)
{
	json_t *ids = json_array();
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) != -1) {
		line[strcspn(line, "\t\r\n ")] = '\0';
		if (line[0] != '\0')
			(void)json_array_append_new(ids, json_string(line));
	}
	free(line);
	if (json_array_size(ids) == 0) {
		json_decref(ids);
		return -1;
	}
	return json_object_set_new(arguments, "ids", ids);
}

static bool
is_final(const struct cli *cli)
{
	return strcmp(cli->verb->words, "queue delete") == 0 ||
	       strcmp(cli->verb->words, "queue bounce") == 0;
}

/* queued looks at so many messages for one request. */
#define PAGE_IDS 1000

/* The ids from `at` on, for one request. */
static json_t *
some_ids(const json_t *ids, size_t at)
{
	json_t *some = json_array();

	for (size_t i = at; i < json_array_size(ids) && i < at + PAGE_IDS; i++)
		(void)json_array_append(some, json_array_get(ids, i));
	return some;
}

/* Sets up the next request: false when all was asked. */
static bool
next_request(
    json_t *arguments, const json_t *ids, size_t *at, const json_t *reply)
{
	json_t *next = json_object_get(reply, "next");

	if (ids != NULL) {
		if (*at >= json_array_size(ids))
			return false;
		(void)json_object_set_new(arguments, "ids", some_ids(ids, *at));
		*at += PAGE_IDS;
		return true;
	}
	if (reply == NULL)
		return true;
	if (next == NULL || json_is_null(next))
		return false;
	(void)json_object_set(arguments, "cursor", next);
	return true;
}

static int
say_none(struct cli *cli, size_t busy)
{
	if (busy == 0)
		return cli_fail(cli, CLI_NOTHING, "postern queue list",
		    "no message matched");
	return cli_fail(cli, CLI_CONFLICT, "postern queue list",
	    "%zu message%s left alone: being delivered just now", busy,
	    busy == 1 ? " was" : "s were");
}

/*
 * One request after the other; the arrays get the ids of messages that were
 * changed, and of those in delivery, which were not.
 */
static int
run_all(struct cli *cli, json_t *given, json_t *done, json_t *busy)
{
	json_t *arguments = json_copy(given);
	const json_t *ids = json_object_get(given, "ids");
	json_t *reply = NULL;
	size_t at = 0;
	int code = CLI_DONE;

	(void)json_object_set_new(arguments, "limit", json_integer(PAGE_IDS));
	while (next_request(arguments, ids, &at, reply)) {
		json_decref(reply);
		reply = NULL;
		if ((code = cli_connect(cli)) != CLI_DONE)
			break;
		code = client_ask(
		    cli->client, cli->verb->request, arguments, &reply);
		if (code == CLI_DONE || code == CLI_NOTHING) {
			(void)json_array_extend(
			    done, json_object_get(reply, "ids"));
			(void)json_array_extend(
			    busy, json_object_get(reply, "busy"));
		}
		if (code != CLI_DONE && code != CLI_NOTHING) {
			(void)cli_say_error(cli, code, reply);
			break;
		}
		code = CLI_DONE;
	}
	json_decref(reply);
	json_decref(arguments);
	if (code == CLI_DONE && json_array_size(done) == 0)
		code = say_none(cli, json_array_size(busy));
	return code;
}

static const char *
verb_word(const struct cli *cli)
{
	return strchr(cli->verb->words, ' ') + 1;
}

/* How many would it be?  CLI_DONE when it may go on. */
static int
confirm(struct cli *cli)
{
	json_t *trial = json_copy(cli->arguments);
	json_t *found = json_array();
	json_t *busy = json_array(); /* none: nothing is done */
	char question[128];
	size_t count;
	int code;

	(void)json_object_set_new(trial, "dry_run", json_true());
	code = run_all(cli, trial, found, busy);
	count = json_array_size(found);
	json_decref(found);
	json_decref(busy);
	json_decref(trial);
	if (code != CLI_DONE)
		return code;
	(void)snprintf(question, sizeof(question), "%s %zu message%s?",
	    verb_word(cli), count, count == 1 ? "" : "s");
	if (cli_confirm(question))
		return CLI_DONE;
	return cli_fail(cli, CLI_FAILED, NULL,
	    "nothing was done to %zu message%s; "
	    "--yes does it without a question",
	    count, count == 1 ? "" : "s");
}

static void
show_done(const struct cli *cli, json_t *done, json_t *busy)
{
	const bool is_dry =
	    json_is_true(json_object_get(cli->arguments, "dry_run"));
	const size_t count = json_array_size(done);
	const size_t left = json_array_size(busy);
	const json_t *id;
	json_t *result;
	size_t i;

	if (cli->is_json || cli->is_jsonl) {
		result = json_pack("{s:I, s:O, s:O, s:b}", "count",
		    (json_int_t)count, "ids", done, "busy", busy, "dry_run",
		    is_dry);
		cli_show_json(result);
		json_decref(result);
		return;
	}
	json_array_foreach(done, i, id)
		if (json_is_string(id))
			(void)puts(json_string_value(id));
	cli_say("%s%s: %zu message%s", is_dry ? "would " : "", verb_word(cli),
	    count, count == 1 ? "" : "s");
	if (left > 0)
		cli_say("left alone, being delivered just now: %zu message%s",
		    left, left == 1 ? "" : "s");
}

int
cli_run_queue_change(struct cli *cli)
{
	json_t *arguments = cli->arguments;
	json_t *ids = json_object_get(arguments, "ids");
	const char *first = json_string_value(json_array_get(ids, 0));
	json_t *done;
	json_t *busy;
	int code = CLI_DONE;

	if ((ids != NULL) == (json_object_get(arguments, "match") != NULL))
		return cli_fail(cli, CLI_USAGE, "postern queue list",
		    "\"%s\" needs either ids or --match FILTER",
		    cli->verb->words);
	if (first != NULL && strcmp(first, "-") == 0 &&
	    read_ids(arguments) == -1)
		return cli_fail(cli, CLI_NOTHING, NULL, "no ids came");
	if (is_final(cli) && !json_is_true(json_object_get(arguments, "yes")) &&
	    !json_is_true(json_object_get(arguments, "dry_run")))
		code = confirm(cli);
	if (code != CLI_DONE)
		return code;
	done = json_array();
	busy = json_array();
	code = run_all(cli, arguments, done, busy);
	if (json_array_size(done) > 0)
		show_done(cli, done, busy);
	json_decref(done);
	json_decref(busy);
	return code;
}

int
cli_run_queue_summary(struct cli *cli)
{
	json_t *reply;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	if (cli_is_terminal() && !cli->is_json && !cli->is_jsonl)
		(void)printf("%lld messages, %lld octets\n",
		    (long long)json_integer_value(
			json_object_get(reply, "messages")),
		    (long long)json_integer_value(
			json_object_get(reply, "octets")));
	cli_show(cli, reply);
	json_decref(reply);
	return code;
}
