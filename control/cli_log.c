/* SPDX-License-Identifier: ISC */
/*
 * The verbs of the log: trace, log, log export.
 * Runs in: postern.  Trusts: nothing of an event's texts.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/printable.h"
#include "control/cli.h"

/* How long -f waits before it asks again. */
#define FOLLOW_PAUSE_MS 500
#define DEFAULT_ROWS 100

/* ---- one event, one line ---- */

/* Local time with milliseconds: people compare it with their clocks. */
static void
print_time(json_int_t time_us)
{
	const time_t seconds = (time_t)(time_us / 1000000);
	struct tm parts;
	char text[40];

	if (localtime_r(&seconds, &parts) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts) == 0)
		(void)snprintf(text, sizeof(text), "?");
	(void)printf("%s.%03d", text, (int)(time_us / 1000 % 1000));
}

/* What the line has already, or what says nothing. */
static bool
is_shown(const char *key, const json_t *value)
{
	static const char *const keys[] = {"time_us", "time", "event", "role",
	    "level", "class", "position", "number"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return json_is_null(value) ||
	    (json_is_string(value) && json_string_length(value) == 0);
}

static void
print_field(const char *key, const json_t *value)
{
	struct buf text;
	char shown[128];

	buf_init(&text, 16384);
	cli_value_text(value, '\0', &text);
	if (strchr(buf_text(&text), ' ') != NULL)
		(void)printf(" %s=\"%s\"",
		    printable(slice_of(key), shown, sizeof(shown)),
		    buf_text(&text));
	else
		(void)printf(" %s=%s",
		    printable(slice_of(key), shown, sizeof(shown)),
		    buf_text(&text));
	buf_clear(&text);
}

static void
print_event(json_t *event)
{
	const json_int_t time_us =
	    json_integer_value(json_object_get(event, "time_us"));
	struct buf name;
	const char *key;
	json_t *value;

	buf_init(&name, 256);
	cli_value_text(json_object_get(event, "event"), '\0', &name);
	print_time(time_us);
	(void)printf("  %s%-16s%s", cli_bold(), buf_text(&name), cli_plain());
	buf_clear(&name);
	json_object_foreach (event, key, value)
		if (!is_shown(key, value))
			print_field(key, value);
	(void)putchar('\n');
}

static void
print_events(const struct cli *cli, const json_t *events)
{
	json_t *event;
	size_t i;

	json_array_foreach (events, i, event) {
		if (cli->is_jsonl || cli->is_json)
			cli_show_json(event);
		else
			print_event(event);
	}
}

/* ---- trace ---- */

int
cli_run_trace(struct cli *cli)
{
	json_t *reply;
	const json_t *traces;
	const json_t *trace;
	const json_t *behind;
	size_t i;
	int code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	traces = json_object_get(reply, "traces");
	behind = json_object_get(reply, "behind");
	if (json_array_size(traces) == 0)
		code = cli_fail(CLI_NOTHING, "postern log",
		    "the log knows nothing of that");
	else if (cli->is_json)
		cli_show_json(reply);
	else
		json_array_foreach (traces, i, trace) {
			if (i > 0 && !cli->is_jsonl)
				(void)putchar('\n');
			print_events(
			    cli, json_object_get(trace, "events"));
		}
	if (json_is_integer(behind) && json_integer_value(behind) > 0)
		cli_say("the log's index is %lld events behind",
		    (long long)json_integer_value(behind));
	json_decref(reply);
	return code;
}

/* ---- log ---- */

/* "from:a@b.example status:deferred": one text, as the web page has it. */
static void
join_filters(json_t *arguments)
{
	const json_t *filters = json_object_get(arguments, "filters");
	struct buf text;
	const json_t *word;
	size_t i;

	buf_init(&text, 8192);
	json_array_foreach (filters, i, word)
		(void)buf_addf(&text, "%s%s", i > 0 ? " " : "",
		    json_string_value(word));
	(void)json_object_set_new(
	    arguments, "filter", json_string(buf_text(&text)));
	(void)json_object_del(arguments, "filters");
	buf_clear(&text);
}

/* Newest come first in the answer; people read downwards. */
static void
reverse(json_t *events)
{
	json_t *copy = json_array();

	for (size_t i = json_array_size(events); i-- > 0;)
		(void)json_array_append(copy, json_array_get(events, i));
	(void)json_array_clear(events);
	(void)json_array_extend(events, copy);
	json_decref(copy);
}

/* Asks again and again for what came behind the last one seen. */
static int
follow(struct cli *cli, json_t *position)
{
	const struct timespec pause = {.tv_nsec = FOLLOW_PAUSE_MS * 1000000L};
	json_t *reply;
	json_t *newer;
	int code = CLI_DONE;

	json_incref(position);
	(void)json_object_del(cli->arguments, "cursor");
	while (code == CLI_DONE) {
		(void)fflush(stdout);
		(void)nanosleep(&pause, NULL);
		(void)json_object_set(cli->arguments, "after", position);
		code = cli_ask(
		    cli, cli->verb->request, cli->arguments, &reply);
		if (code != CLI_DONE)
			break;
		print_events(cli, json_object_get(reply, "events"));
		newer = json_object_get(reply, "position");
		if (newer != NULL) {
			json_decref(position);
			position = json_incref(newer);
		}
		json_decref(reply);
	}
	json_decref(position);
	return code;
}

int
cli_run_log(struct cli *cli)
{
	const bool follows =
	    json_is_true(json_object_get(cli->arguments, "follow"));
	json_t *reply;
	json_t *events;
	int code;

	join_filters(cli->arguments);
	(void)json_object_del(cli->arguments, "follow");
	if (json_object_get(cli->arguments, "limit") == NULL)
		(void)json_object_set_new(
		    cli->arguments, "limit", json_integer(DEFAULT_ROWS));
	code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
	if (code != CLI_DONE)
		return code;
	events = json_object_get(reply, "events");
	reverse(events);
	if (cli->is_json && !follows)
		cli_show_json(reply);
	else
		print_events(cli, events);
	if (follows && client_is_managing(cli->client))
		code = cli_fail(CLI_AWAY, NULL,
		    "the gateway is stopped: nothing will come");
	else if (follows)
		code = follow(cli, json_object_get(reply, "position"));
	json_decref(reply);
	return code;
}

int
cli_run_log_export(struct cli *cli)
{
	json_t *reply;
	json_t *events;
	json_t *next;
	bool is_more = true;
	size_t i;
	json_t *event;
	int code = CLI_DONE;

	while (is_more) {
		code = cli_ask(
		    cli, cli->verb->request, cli->arguments, &reply);
		if (code != CLI_DONE)
			return code;
		events = json_object_get(reply, "events");
		json_array_foreach (events, i, event)
			cli_show_json(event);
		next = json_object_get(reply, "next");
		is_more = next != NULL && !json_is_null(next);
		if (is_more)
			(void)json_object_set(cli->arguments, "cursor", next);
		json_decref(reply);
	}
	return code;
}
