/* SPDX-License-Identifier: ISC */
/*
 * Acting on queued messages: what cannot be taken back is counted and asked
 * for first.
 * Runs in: postern.
 */
#include <stdio.h>
#include <string.h>

#include "control/cli.h"

#define LINE_SIZE 256

/* "-": one id a line from standard input, as "postern queue" prints them. */
static int
read_ids(json_t *arguments)
{
	json_t *ids = json_array();
	char line[LINE_SIZE];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\t\r\n ")] = '\0';
		if (line[0] != '\0')
			(void)json_array_append_new(ids, json_string(line));
	}
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

static json_int_t
count_of(const json_t *reply)
{
	return json_integer_value(json_object_get(reply, "count"));
}

/* How many would it be?  CLI_DONE when it may go on. */
static int
confirm(struct cli *cli)
{
	json_t *trial = json_copy(cli->arguments);
	json_t *reply;
	char question[128];
	json_int_t count;
	int code;

	(void)json_object_set_new(trial, "dry_run", json_true());
	code = cli_ask(cli, cli->verb->request, trial, &reply);
	json_decref(trial);
	if (code != CLI_DONE)
		return code;
	count = count_of(reply);
	json_decref(reply);
	(void)snprintf(question, sizeof(question),
	    "%s %lld message%s?", strchr(cli->verb->words, ' ') + 1,
	    (long long)count, count == 1 ? "" : "s");
	if (cli_confirm(question))
		return CLI_DONE;
	return cli_fail(CLI_FAILED, NULL, "nothing was done: %lld message%s; "
	    "--yes does it without a question", (long long)count,
	    count == 1 ? "" : "s");
}

int
cli_run_queue_change(struct cli *cli)
{
	json_t *arguments = cli->arguments;
	json_t *ids = json_object_get(arguments, "ids");
	const char *first = json_string_value(json_array_get(ids, 0));
	json_t *reply;
	int code = CLI_DONE;

	if ((ids != NULL) == (json_object_get(arguments, "match") != NULL))
		return cli_fail(CLI_USAGE, "postern queue list",
		    "\"%s\" needs either ids or --match FILTER",
		    cli->verb->words);
	if (first != NULL && strcmp(first, "-") == 0 &&
	    read_ids(arguments) == -1)
		return cli_fail(CLI_NOTHING, NULL, "no ids came");
	if (is_final(cli) &&
	    !json_is_true(json_object_get(arguments, "yes")) &&
	    !json_is_true(json_object_get(arguments, "dry_run")))
		code = confirm(cli);
	if (code == CLI_DONE)
		code = cli_ask(cli, cli->verb->request, arguments, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->is_json || cli->is_jsonl)
		cli_show_json(reply);
	else
		cli_say("%s: %lld message%s%s",
		    strchr(cli->verb->words, ' ') + 1,
		    (long long)count_of(reply),
		    count_of(reply) == 1 ? "" : "s",
		    json_is_true(json_object_get(arguments, "dry_run"))
			? " would be" : "");
	json_decref(reply);
	return CLI_DONE;
}
