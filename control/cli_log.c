/* SPDX-License-Identifier: ISC */
/*
 * The verbs of the log: trace, log, log export.
 * Runs in: postern.  Trusts: nothing of an event's texts.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/event_text.h"
#include "common/printable.h"
#include "control/cli.h"

/* How long -f waits before it asks again. */
#define FOLLOW_PAUSE_MS 500
#define FOLLOW_ROWS 1000
#define DEFAULT_ROWS 100
/* All filters of one command, some of the longest. */
#define FILTERS_MAX 8192

/* ---- one event, one line ---- */

/* Room for the longest event's words. */
#define LINE_MAX_OCTETS 32768

/* What binds the line to others, where it does not stand under it. */
static void
add_id(struct buf *line, const json_t *event, const char *key)
{
	const char *id = json_string_value(json_object_get(event, key));
	char shown[64];

	if (id != NULL)
		(void)buf_addf(line, "  %s %s", key,
		    printable(slice_of(id), shown, sizeof(shown)));
}

/* trace: what the line stands under, or NULL. */
static void
print_event(const json_t *event, const json_t *trace)
{
	struct buf line;

	buf_init(&line, LINE_MAX_OCTETS);
	cli_value_text(json_object_get(event, "ts"), '\0', &line);
	(void)buf_add_text(&line, "  ");
	cli_value_text(json_object_get(event, "program"), '\0', &line);
	(void)buf_add_text(&line, "  ");
	event_text_line(event, &line);
	if (trace == NULL) {
		add_id(&line, event, "id");
		add_id(&line, event, "session");
	}
	(void)puts(buf_text(&line));
	buf_clear(&line);
}

static void
print_events(const struct cli *cli, const json_t *events, const json_t *trace)
{
	json_t *event;
	size_t i;

	json_array_foreach(events, i, event) {
		if (cli->is_jsonl || cli->is_json)
			cli_show_json(event);
		else
			print_event(event, trace);
	}
}

/* How far the index is behind, and what could not be read. */
static void
say_state(const json_t *reply)
{
	const json_t *behind = json_object_get(reply, "behind");
	const char *warning =
	    json_string_value(json_object_get(reply, "warning"));

	if (behind != NULL)
		cli_say("the log's index is %lld events (%.1f s) behind",
		    (long long)json_integer_value(behind),
		    json_number_value(
			json_object_get(reply, "behind_seconds")));
	if (warning != NULL)
		cli_say("%s", warning);
	else if (json_is_true(json_object_get(reply, "partial")))
		cli_say("the answer is partial: it took too long; ask for less "
			"time with --since");
}

/* ---- trace ---- */

static void
print_member(const json_t *trace, const char *key)
{
	const json_t *value = json_object_get(trace, key);
	struct buf text;

	if (value == NULL || json_is_null(value) ||
	    (json_is_string(value) && json_string_length(value) == 0))
		return;
	buf_init(&text, LINE_MAX_OCTETS);
	cli_value_text(value, '\0', &text);
	(void)printf("  %s %s", key, buf_text(&text));
	buf_clear(&text);
}

/* The message and each recipient's fate; then its events. */
static void
print_trace(const struct cli *cli, const json_t *trace)
{
	static const char *const keys[] = {"session", "from", "account",
	    "client", "size", "header_message_id", "status"};
	static const struct cli_table recipients = {"recipients",
	    "to:TO,status:STATUS,host:HOST,code:CODE,reply:REPLY"};
	const json_t *id = json_object_get(trace, "id");
	const json_t *rows = json_object_get(trace, "recipients");

	if (!cli->is_jsonl && cli_is_terminal() && id != NULL) {
		(void)printf(
		    "%s%s%s", cli_bold(), json_string_value(id), cli_plain());
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			print_member(trace, keys[i]);
		(void)putchar('\n');
		if (json_array_size(rows) > 0)
			cli_show_rows(&recipients, rows, true);
	}
	print_events(cli, json_object_get(trace, "events"), trace);
}

int
cli_run_trace(struct cli *cli)
{
	json_t *reply;
	const json_t *traces;
	const json_t *only;
	int code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	traces = json_object_get(reply, "traces");
	only = json_array_get(traces, 0);
	if (!cli->is_json && json_array_size(traces) == 1 &&
	    json_object_get(only, "events") != NULL) {
		print_trace(cli, only);
	} else {
		cli_show(cli, reply);
		if (!cli->is_json && !cli->is_jsonl)
			cli_say("\"postern trace ID\" tells each of them");
	}
	say_state(reply);
	json_decref(reply);
	return code;
}

/* ---- log ---- */

/* A text to look for whose blanks the shell has kept: they belong to it. */
static bool
is_phrase(const char *word)
{
	return strchr(word, ' ') != NULL && strchr(word, '"') == NULL &&
	       (strncmp(word, "text=", 5) == 0 ||
		   strncmp(word, "text:", 5) == 0 ||
		   strpbrk(word, "=:") == NULL);
}

/* "from:a@b.example status:deferred": one text, as the web page has it. */
static int
join_filters(struct cli *cli)
{
	const json_t *filters = json_object_get(cli->arguments, "filters");
	struct buf text;
	const json_t *word;
	size_t i;
	int code = CLI_DONE;

	buf_init(&text, FILTERS_MAX);
	json_array_foreach(filters, i, word) {
		const char *value = json_string_value(word);
		const char *quote = is_phrase(value) ? "\"" : "";

		(void)buf_addf(
		    &text, "%s%s%s%s", i > 0 ? " " : "", quote, value, quote);
	}
	if (text.overflowed)
		code = cli_fail(cli, CLI_USAGE, NULL, "the filter is too long");
	(void)json_object_set_new(
	    cli->arguments, "filter", json_string(buf_text(&text)));
	(void)json_object_del(cli->arguments, "filters");
	buf_clear(&text);
	return code;
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

/* Where the log is now: {"after": -1} is answered with that number. */
static int
find_end(struct cli *cli, json_t **position_r)
{
	json_t *arguments = json_copy(cli->arguments);
	json_t *reply;
	int code;

	(void)json_object_set_new(arguments, "after", json_integer(-1));
	code = cli_ask(cli, cli->verb->request, arguments, &reply);
	if (code == CLI_DONE)
		*position_r = json_incref(json_object_get(reply, "next"));
	json_decref(arguments);
	json_decref(reply);
	return code;
}

/*
 * Waits before the next question.  false: nobody reads any more what is
 * printed ("| head"), which only the next event would tell else.
 */
static bool
pause_while_read(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	return poll(&out, 1, FOLLOW_PAUSE_MS) <= 0;
}

/* Asks again and again for what came behind the last one seen. */
static int
follow(struct cli *cli, json_t *position)
{
	json_t *reply;
	json_t *next;
	int code = CLI_DONE;

	(void)json_object_set_new(
	    cli->arguments, "limit", json_integer(FOLLOW_ROWS));
	while (code == CLI_DONE) {
		if (fflush(stdout) == EOF || !pause_while_read()) {
			code = CLI_FAILED;
			break;
		}
		(void)json_object_set(cli->arguments, "after", position);
		code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
		if (code != CLI_DONE)
			break;
		print_events(cli, json_object_get(reply, "events"), NULL);
		next = json_object_get(reply, "next");
		if (next != NULL && !json_is_null(next)) {
			json_decref(position);
			position = json_incref(next);
		}
		json_decref(reply);
	}
	json_decref(position);
	return code;
}

/* What was shown is not to come again: on from the newest of it. */
static void
advance(json_t **position, const json_t *events)
{
	const json_t *newest =
	    json_array_get(events, json_array_size(events) - 1);
	const json_t *number = json_object_get(newest, "number");
	const char *text = json_string_value(*position);
	uint64_t at;

	if (!json_is_integer(number) ||
	    (text != NULL && slice_to_u64(slice_of(text), &at) == 0 &&
		(int64_t)at >= json_integer_value(number)))
		return;
	json_decref(*position);
	*position = json_integer(json_integer_value(number));
}

/*
 * The newest first, page by page: the hub gives so many events, or what it
 * found in its time.  *reply_r is the last page with the events of all.
 */
static int
ask_pages(struct cli *cli, json_int_t limit, json_t **reply_r)
{
	json_t *all = json_array();
	json_t *warning = NULL;
	int code = CLI_DONE;

	for (;;) {
		json_t *next;

		(void)json_object_set_new(cli->arguments, "limit",
		    json_integer(limit - (json_int_t)json_array_size(all)));
		code =
		    cli_ask(cli, cli->verb->request, cli->arguments, reply_r);
		if (code != CLI_DONE)
			break;
		(void)json_array_extend(
		    all, json_object_get(*reply_r, "events"));
		next = json_object_get(*reply_r, "next");
		if (warning == NULL)
			warning =
			    json_incref(json_object_get(*reply_r, "warning"));
		if (!json_is_string(next) ||
		    (json_int_t)json_array_size(all) >= limit)
			break;
		(void)json_object_set(cli->arguments, "cursor", next);
		json_decref(*reply_r);
	}
	(void)json_object_del(cli->arguments, "cursor");
	(void)json_object_del(cli->arguments, "limit");
	if (code == CLI_DONE) {
		(void)json_object_set(*reply_r, "events", all);
		if (warning != NULL)
			(void)json_object_set(*reply_r, "warning", warning);
	}
	json_decref(warning);
	json_decref(all);
	return code;
}

/* What is there, newest last.  position: of -f, or NULL. */
static int
show_latest(struct cli *cli, json_t **position)
{
	const json_t *asked = json_object_get(cli->arguments, "limit");
	const bool is_asked = asked != NULL;
	const json_int_t limit =
	    is_asked ? json_integer_value(asked) : DEFAULT_ROWS;
	json_t *reply;
	json_t *events;
	const int code = ask_pages(cli, limit, &reply);

	if (code != CLI_DONE)
		return code;
	events = json_object_get(reply, "events");
	reverse(events);
	if (cli->is_json && position == NULL)
		cli_show_json(reply);
	else
		print_events(cli, events, NULL);
	if (position != NULL)
		advance(position, events);
	if (position == NULL && !is_asked && !cli->is_json &&
	    json_object_get(reply, "next") != NULL)
		cli_say("these are the newest %d; --limit N shows more",
		    DEFAULT_ROWS);
	say_state(reply);
	json_decref(reply);
	return code;
}

int
cli_run_log(struct cli *cli)
{
	const bool follows =
	    json_is_true(json_object_get(cli->arguments, "follow"));
	json_t *position = NULL;
	int code = join_filters(cli);

	if (code != CLI_DONE)
		return code;
	(void)json_object_del(cli->arguments, "follow");
	/* First the end, so that nothing falls between the two. */
	if (follows)
		code = find_end(cli, &position);
	if (code == CLI_DONE && follows && client_is_managing(cli->client))
		code = cli_fail(cli, CLI_AWAY, NULL,
		    "the gateway is stopped: nothing will come");
	if (code == CLI_DONE)
		code = show_latest(cli, follows ? &position : NULL);
	if (code == CLI_DONE && follows)
		return follow(cli, position);
	json_decref(position);
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
		code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
		if (code != CLI_DONE)
			return code;
		events = json_object_get(reply, "events");
		json_array_foreach(events, i, event)
			cli_show_json(event);
		if (fflush(stdout) == EOF)
			code = CLI_FAILED;
		next = json_object_get(reply, "next");
		is_more =
		    code == CLI_DONE && next != NULL && !json_is_null(next);
		if (is_more)
			(void)json_object_set(cli->arguments, "cursor", next);
		json_decref(reply);
	}
	return code;
}
