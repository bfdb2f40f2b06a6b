/* SPDX-License-Identifier: ISC */
/*
 * What people ask the log: trace by every kind of key, filters, paging,
 * following, and how a JSON event reads as a line.
 */
#include <stdio.h>

#include "common/event_text.h"
#include "loghub/event_json.h"
#include "loghub/log_query.h"
#include "loghub/trace.h"
#include "tests/unit/log_box.h"
#include "tests/unit/tap.h"

static json_t *
ask(struct log_box *box, log_question_fn *question,
    const char *arguments_text, int expected_code)
{
	json_t *result;
	struct err err = {.text = ""};
	const int code =
	    log_box_ask(box, question, arguments_text, &result, &err);

	is_int(code, expected_code, "%s is answered with %d", arguments_text,
	    expected_code);
	if (code != expected_code)
		diag("%s", err.text);
	return result;
}

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

/* ---- the scene ---- */

static uint64_t first_id;
static uint64_t first_session;
static uint64_t dsn_id;

static void
store_delivered(struct log_box *box)
{
	uint64_t t = NOON_US;
	struct log_context life;
	struct log_context flow;
	const struct event_login login = {.account = SLICE("ann"),
	    .client = SLICE("192.0.2.7"),
	    .mechanism = SLICE("SCRAM-SHA-256")};
	const struct event_accepted accepted = {
	    .from = SLICE("ann@example.test"),
	    .recipient_count = 1,
	    .size = 1234,
	    .client = SLICE("192.0.2.7"),
	    .account = SLICE("ann"),
	    .header_message_id = SLICE("<first@example.test>"),
	    .listener = 1};
	const struct event_recipient recipient = {
	    .to = SLICE("bob@place.test")};
	const struct event_delivered delivered = {
	    .to = SLICE("bob@place.test"),
	    .host = SLICE("mx.place.test"),
	    .address = SLICE("192.0.2.25"),
	    .code = 250,
	    .reply = SLICE("250 2.0.0 Ok: queued as 4REMOTE1"),
	    .attempt = 1};
	const struct event_finished finished = {.queued_ms = 7};
	const struct event_session session = {.client = SLICE("192.0.2.7"),
	    .account = SLICE("ann"),
	    .accepted = 1,
	    .end = SLICE("QUIT")};

	first_id = log_box_id(t, 1);
	first_session = log_box_id(t - 1000, 900);
	life = (struct log_context){first_session, first_id};
	flow = (struct log_context){first_session, 0};
	log_box_store(box, ROLE_AUTHD, t - 500, flow, EV_LOGIN, &login, 0);
	log_box_store(box, ROLE_QUEUED, t, life, EV_ACCEPTED, &accepted, 1);
	log_box_store(
	    box, ROLE_QUEUED, t + 1, life, EV_RECIPIENT, &recipient, 2);
	log_box_store(
	    box, ROLE_QUEUED, t + 900, life, EV_DELIVERED, &delivered, 3);
	log_box_store(
	    box, ROLE_QUEUED, t + 950, life, EV_FINISHED, &finished, 4);
	/* queued got no answer and sends its outbox again. */
	log_box_store(
	    box, ROLE_QUEUED, t + 900, life, EV_DELIVERED, &delivered, 3);
	log_box_store(
	    box, ROLE_QUEUED, t + 950, life, EV_FINISHED, &finished, 4);
	log_box_store(box, ROLE_SMTPD, t + 999, flow, EV_SESSION, &session, 0);
}

static void
store_bounced(struct log_box *box)
{
	uint64_t t = NOON_US + 60000000;
	uint64_t later = NOON_US + DAY_US;
	uint64_t id = log_box_id(t, 2);
	const struct log_context life = {0, id};
	const struct event_accepted accepted = {
	    .from = SLICE("ann@example.test"), .recipient_count = 2};
	const struct event_recipient one = {.to = SLICE("bob@place.test")};
	const struct event_recipient two = {.to = SLICE("eve@gone.test"),
	    .original = SLICE("alias@example.test")};
	const struct event_delivered delivered = {
	    .to = SLICE("bob@place.test"), .code = 250};
	const struct event_deferred deferred = {.to = SLICE("eve@gone.test"),
	    .code = 451,
	    .reply = SLICE("451 later"),
	    .attempt = 1,
	    .next_attempt = (int64_t)(t / 1000000 + 300)};
	const struct event_failed failed = {.to = SLICE("eve@gone.test"),
	    .code = 550,
	    .reply = SLICE("550 no such user"),
	    .attempt = 2};
	struct event_notified notified = {.to = SLICE("ann@example.test"),
	    .kind = SLICE("failed")};
	const struct event_finished finished = {.queued_ms = 86400000};
	const struct event_accepted dsn = {
	    .from = {"", 0}, .recipient_count = 1};
	const struct event_recipient dsn_to = {
	    .to = SLICE("ann@example.test")};

	dsn_id = log_box_id(later, 3);
	notified.dsn_message_id = dsn_id;
	log_box_store(box, ROLE_QUEUED, t, life, EV_ACCEPTED, &accepted, 1);
	log_box_store(box, ROLE_QUEUED, t + 1, life, EV_RECIPIENT, &one, 2);
	log_box_store(box, ROLE_QUEUED, t + 2, life, EV_RECIPIENT, &two, 3);
	log_box_store(
	    box, ROLE_QUEUED, t + 3, life, EV_DELIVERED, &delivered, 4);
	log_box_store(box, ROLE_QUEUED, t + 4, life, EV_DEFERRED, &deferred, 5);
	log_box_store(box, ROLE_QUEUED, later, life, EV_FAILED, &failed, 6);
	log_box_store(
	    box, ROLE_QUEUED, later + 1, life, EV_NOTIFIED, &notified, 7);
	log_box_store(
	    box, ROLE_QUEUED, later + 2, life, EV_FINISHED, &finished, 8);
	log_box_store(box, ROLE_QUEUED, later + 3,
	    (struct log_context){0, dsn_id}, EV_ACCEPTED, &dsn, 1);
	log_box_store(box, ROLE_QUEUED, later + 4,
	    (struct log_context){0, dsn_id}, EV_RECIPIENT, &dsn_to, 2);
}

static void
store_refused(struct log_box *box)
{
	uint64_t t = NOON_US + DAY_US + 1000000;
	const struct log_context flow = {log_box_id(t, 901), 0};
	const struct event_data_refused refused = {
	    .client = SLICE("198.51.100.9"),
	    .account = SLICE("mallory"),
	    .from = SLICE("mallory@example.test"),
	    .header_from = SLICE("ann@example.test"),
	    .code = 550,
	    .enhanced = SLICE("5.7.1"),
	    .text = SLICE("not your From [ref 0abcdef1]"),
	    .reference = SLICE("0abcdef1")};
	const struct event_session session = {
	    .client = SLICE("2001:db8::25"), .refused = 1};
	const struct event_log_writer writer = {.program = SLICE("smtpd")};

	log_box_store(box, ROLE_SMTPD, t, flow, EV_DATA_REFUSED, &refused, 0);
	log_box_store(box, ROLE_SMTPD, t + 5, flow, EV_SESSION, &session, 0);
	log_box_store(box, ROLE_LOGHUB, t + 6, (struct log_context){0, 0},
	    EV_LOG_WRITER, &writer, 0);
}

/* ---- trace ---- */

static json_t *
only_trace(json_t *result)
{
	json_t *traces = json_object_get(result, "traces");

	is_u64(json_array_size(traces), 1, "one trace");
	return json_array_get(traces, 0);
}

static void
check_first(struct log_box *box, const char *key)
{
	char arguments[256];
	char id[ID_TEXT_SIZE];
	json_t *result;
	json_t *trace;
	json_t *events;

	(void)snprintf(
	    arguments, sizeof(arguments), "{\"key\": \"%s\"}", key);
	result = ask(box, trace_query, arguments, 0);
	trace = only_trace(result);
	id_format(first_id, id);
	is_str(text_of(trace, "id"), id, "%s leads to the message", key);
	is_str(text_of(trace, "status"), "delivered", "it is delivered");
	events = json_object_get(trace, "events");
	is_u64(json_array_size(events), 6,
	    "login, accepted, recipient, delivered, finished, session: each "
	    "once");
	is_str(text_of(json_array_get(events, 0), "event"), "login",
	    "in the order of time");
	json_decref(result);
}

static void
test_trace(struct log_box *box)
{
	char id[ID_TEXT_SIZE];
	char arguments[128];
	json_t *result;
	json_t *trace;
	json_t *recipients;

	id_format(first_id, id);
	check_first(box, id);
	check_first(box, "<first@example.test>");
	check_first(box, "FIRST@example.test");
	check_first(box, "4remote1");
	id_format(first_session, id);
	(void)snprintf(
	    arguments, sizeof(arguments), "{\"query\": \"%s\"}", id);
	result = ask(box, trace_query, arguments, 0);
	trace = only_trace(result);
	is_str(text_of(trace, "session"), id, "a session id leads to it");
	is_u64(json_array_size(json_object_get(trace, "messages")), 1,
	    "with the messages it brought");
	json_decref(result);

	result = ask(box, trace_query, "{\"key\": \"0ABCDEF1\"}", 0);
	trace = only_trace(result);
	is_u64(json_array_size(json_object_get(trace, "events")), 2,
	    "the reference of a refusal leads to its session");
	json_decref(result);
	result = ask(box, trace_query,
	    "{\"key\": \"550 5.7.1 not your From [ref 0abcdef1]\"}", 0);
	(void)only_trace(result);
	json_decref(result);

	id_format(dsn_id, id);
	(void)snprintf(
	    arguments, sizeof(arguments), "{\"key\": \"%s\"}", id);
	result = ask(box, trace_query, arguments, 0);
	trace = only_trace(result);
	id_format(log_box_id(NOON_US + 60000000, 2), id);
	is_str(text_of(json_object_get(trace, "dsn_of"), "id"), id,
	    "a notification leads back to its message");
	json_decref(result);

	(void)snprintf(
	    arguments, sizeof(arguments), "{\"key\": \"%s\"}", id);
	result = ask(box, trace_query, arguments, 0);
	trace = only_trace(result);
	is_str(text_of(trace, "status"), "partly failed",
	    "one of two recipients failed, a day later");
	recipients = json_object_get(trace, "recipients");
	is_str(text_of(json_array_get(recipients, 1), "original"),
	    "alias@example.test", "the alias is told");
	id_format(dsn_id, id);
	is_str(text_of(json_array_get(json_object_get(trace, "dsns"), 0),
	           "id"),
	    id, "and its notification");
	json_decref(result);
}

static void
test_trace_list(struct log_box *box)
{
	json_t *result =
	    ask(box, trace_query, "{\"key\": \"bob@place.test\"}", 0);
	json_t *traces = json_object_get(result, "traces");
	char arguments[128];

	is_u64(json_array_size(traces), 2, "an address leads to two mails");
	is_str(text_of(json_array_get(traces, 0), "status"), "partly failed",
	    "the newest first");
	is_u64(json_array_size(json_object_get(
	           json_array_get(traces, 0), "events")),
	    8, "each with its events");
	json_decref(result);
	result = ask(box, trace_query,
	    "{\"key\": \"bob@place.test\", \"limit\": 1}", 0);
	is_u64(json_array_size(json_object_get(result, "traces")), 1,
	    "a page of one");
	(void)snprintf(arguments, sizeof(arguments),
	    "{\"key\": \"bob@place.test\", \"limit\": 1, \"cursor\": \"%s\"}",
	    text_of(result, "next"));
	json_decref(result);
	result = ask(box, trace_query, arguments, 0);
	is_str(text_of(json_array_get(json_object_get(result, "traces"), 0),
	           "status"),
	    "delivered", "the next page has the other");
	json_decref(result);
	result = ask(box, trace_query, "{\"key\": \"nobody@place.test\"}", 3);
	is_str(text_of(result, "hint"), "postern log text=nobody@place.test",
	    "what is not found may stand in a text");
	json_decref(result);
	result = ask(box, trace_query, "{\"key\": \"192.0.2.7\"}", 3);
	is_str(text_of(result, "hint"), "postern log client=192.0.2.7",
	    "and a client has a filter");
	json_decref(result);
	json_decref(ask(box, trace_query, "{\"key\": \"[ref ]\"}", 2));
	result = ask(box, trace_query,
	    "{\"key\": \"bob@place.test\", \"until\": \"2026-01-30\"}", 3);
	json_decref(result);
	json_decref(ask(box, trace_query, "{\"key\": \"\"}", 2));
	json_decref(ask(box, trace_query, "{}", 2));
	json_decref(ask(
	    box, trace_query, "{\"key\": \"a@b\", \"since\": \"soon\"}", 2));
}

/* ---- log ---- */

/* As it stands in a reply or in a list of the queue. */
static void
check_bare_id(struct log_box *box)
{
	char id[ID_TEXT_SIZE];
	char arguments[64];
	json_t *result;

	id_format(first_id, id);
	(void)snprintf(
	    arguments, sizeof(arguments), "{\"filter\": \"%s\"}", id);
	result = ask(box, log_query, arguments, 0);
	is_u64(json_array_size(json_object_get(result, "events")), 6,
	    "a bare id finds the events of its message");
	json_decref(result);
}

static void
test_filters(struct log_box *box)
{
	static const struct {
		const char *arguments;
		size_t count;
		const char *what;
	} rows[] = {
		{"{}", 20, "all events"},
		{"{\"from\": \"ann@example.test\"}", 15,
		    "a sender: also deliveries of the mail, and a refusal"},
		{"{\"filter\": \"from:ann@example.test event:delivered\"}", 3,
		    "words with colons"},
		{"{\"filter\": [\"from=ann@example.test\", "
		 "\"status=failed\"]}",
		    1, "an event of the next day, by its sender"},
		{"{\"to\": \"eve@gone.test\", \"event\": \"deferred\"}", 1,
		    "a recipient"},
		{"{\"to\": \"@gone.test\", \"status\": \"failed\"}", 1,
		    "a domain"},
		{"{\"account\": \"ann\", \"event\": \"delivered\"}", 2,
		    "an account, of the message"},
		{"{\"client\": \"192.0.2.7\", \"event\": \"login\"}", 1,
		    "a client, of the event"},
		{"{\"status\": \"refused\"}", 1, "refusals"},
		{"{\"text\": \"no such USER\"}", 1, "a text"},
		{"{\"filter\": \"451\"}", 1, "a bare word is a text"},
		{"{\"filter\": \"user such\"}", 1, "two of them: both"},
		{"{\"filter\": \"451 such\"}", 0, "not the last one alone"},
		{"{\"filter\": \"\\\"text=no such user\\\"\"}", 1,
		    "a text with blanks"},
		{"{\"filter\": \"level=warning event=log.writer\"}", 0,
		    "an event of a level, whichever comes first"},
		{"{\"from\": \"<>\"}", 2, "the null sender"},
		{"{\"since\": \"2026-02-01\"}", 7, "since a day"},
		{"{\"until\": \"2026-01-31T12:00:00Z\"}", 2, "until a second"},
		{"{\"level\": \"notice\"}", 1, "a level"},
		{"{\"level\": \"debug\"}", 21, "debug events when asked for"},
		{"{\"event\": \"log.writer\"}", 1, "or named"},
		{"{\"from\": \"nobody@example.test\"}", 0, "nobody"},
		{"{\"to\": \"postmaster\"}", 0, "a bare postmaster is one"},
		{"{\"client\": \"2001:DB8:0::25\", \"event\": \"session\"}",
		    1, "a client as it is not written in events"},
		{"{\"filter\": \"finish\"}", 3, "a part of events' names"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		json_t *result = ask(box, log_query, rows[i].arguments, 0);

		is_u64(json_array_size(json_object_get(result, "events")),
		    rows[i].count, "%s", rows[i].what);
		json_decref(result);
	}
	check_bare_id(box);
	json_decref(ask(box, log_query, "{\"from\": \"ann\"}", 2));
	json_decref(ask(box, log_query, "{\"to\": \"place.test\"}", 2));
	json_decref(ask(box, log_query, "{\"client\": \"192.0.2.0/24\"}", 2));
	json_decref(ask(box, log_query, "{\"event\": \"nonsense\"}", 2));
	json_decref(ask(box, log_query, "{\"filter\": \"colour=red\"}", 2));
	json_decref(ask(box, log_query,
	    "{\"filter\": \"from=ann@example.test from=<>\"}", 2));
	json_decref(ask(
	    box, log_query, "{\"until\": 1, \"filter\": \"until=2\"}", 2));
	json_decref(ask(box, log_query, "{\"since\": \"yesterday-ish\"}", 2));
	json_decref(ask(box, log_query, "{\"cursor\": \"x\"}", 2));
	json_decref(
	    ask(box, log_query, "{\"since\": 99999999999999999}", 0));
}

/* Pages put together are the whole, in both directions. */
static size_t
read_pages(struct log_box *box, log_question_fn *question,
    const char *filter, const char *limit, bool is_rising)
{
	char arguments[256];
	char cursor[64] = "null";
	json_int_t last = is_rising ? 0 : INT64_MAX;
	size_t count = 0;

	for (unsigned page = 0; page < 200; page++) {
		json_t *result;
		bool is_last;

		(void)snprintf(arguments, sizeof(arguments),
		    "{%s\"limit\": %s, \"cursor\": %s}", filter, limit,
		    cursor);
		result = ask(box, question, arguments, 0);
		count += log_box_count(result, is_rising, &last);
		is_last = json_object_get(result, "next") == NULL;
		(void)snprintf(cursor, sizeof(cursor), "\"%s\"",
		    text_of(result, "next"));
		json_decref(result);
		if (is_last)
			return count;
	}
	fail("the pages never end");
	return count;
}

static void
test_pages(struct log_box *box)
{
	is_u64(read_pages(box, log_query, "", "3", false), 20,
	    "pages of three are the whole log");
	is_u64(read_pages(
	           box, log_query, "\"from\": \"ann@example.test\", ", "1",
	           false),
	    15, "pages of one, filtered");
	is_u64(read_pages(box, log_export, "", "5", true), 21,
	    "an export is the whole log, oldest first, and all levels");
}

static void
test_follow(struct log_box *box)
{
	json_t *result = ask(box, log_query, "{\"limit\": 1}", 0);
	const struct event_program_notice notice = {
	    .program = SLICE("smtpd"), .text = SLICE("hello")};
	char arguments[64];

	(void)snprintf(arguments, sizeof(arguments), "{\"after\": %lld}",
	    (long long)json_integer_value(
	        json_object_get(result, "position")));
	json_decref(result);
	result = ask(box, log_query, arguments, 0);
	is_u64(json_array_size(json_object_get(result, "events")), 0,
	    "nothing has come yet");
	json_decref(result);
	log_box_store(box, ROLE_SMTPD, NOON_US + DAY_US + 2000000,
	    (struct log_context){0, 0}, EV_PROGRAM_NOTICE, &notice, 0);
	(void)log_box_index(box);
	result = ask(box, log_query, arguments, 0);
	is_u64(json_array_size(json_object_get(result, "events")), 1,
	    "then there is one event");
	(void)snprintf(arguments, sizeof(arguments), "{\"after\": %lld}",
	    (long long)json_integer_value(
	        json_object_get(result, "position")));
	json_decref(result);
	result = ask(box, log_query, arguments, 0);
	is_u64(json_array_size(json_object_get(result, "events")), 0,
	    "which does not come again");
	json_decref(result);
}

/* ---- times and lines ---- */

static void
test_times(void)
{
	static const struct {
		const char *text;
		uint64_t time_us;
	} rows[] = {
		{"1769860800", (uint64_t)1769860800 * 1000000},
		{"2026-01-31", (uint64_t)1769817600 * 1000000},
		{"2026-01-31T12:00", (uint64_t)1769860800 * 1000000},
		{"2026-01-31 12:00:01", (uint64_t)1769860801 * 1000000},
		{"2026-01-31T12:00:01.5Z", (uint64_t)1769860801 * 1000000},
		{"-2h", (uint64_t)(1769860800 - 7200) * 1000000},
		{"2h", (uint64_t)(1769860800 - 7200) * 1000000},
		{"now", (uint64_t)1769860800 * 1000000},
		{"2026-02-31", 0},
		{"2026-01-31T25:00", 0},
		{"2026-01-31T12", 0},
		{"-2x", 0},
		{"", 0},
		{"99999999999999999999999", 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t time_us = 0;

		(void)time_parse(slice_of(rows[i].text), NOON_US, &time_us);
		is_u64(time_us, rows[i].time_us, "the time \"%s\"",
		    rows[i].text);
	}
}

static void
test_lines(void)
{
	static const struct {
		const char *json;
		const char *line;
	} rows[] = {
		{"{\"event\": \"accepted\", \"from\": \"a@b.test\", \"size\": "
		 "9, \"recipient_count\": 2, \"client\": \"192.0.2.1\", "
		 "\"account\": \"\"}",
		    "accepted from <a@b.test>, 9 octets, 2 recipients, client "
		    "192.0.2.1"},
		{"{\"event\": \"accepted\", \"from\": \"\", \"size\": 9, "
		 "\"recipient_count\": 1}",
		    "accepted from <>, 9 octets, 1 recipient"},
		{"{\"event\": \"delivered\", \"to\": \"a@b.test\", \"host\": "
		 "\"mx\", \"address\": \"192.0.2.1\", \"reply\": \"250 Ok\"}",
		    "delivered to <a@b.test>, by mx [192.0.2.1]: 250 Ok"},
		{"{\"event\": \"no.such\", \"x\": 1, \"ts\": \"t\"}",
		    "no.such x=1"},
		{"{\"event\": \"failed\", \"to\": \"a\\u202eb\", \"reply\": "
		 "\"\"}",
		    "failed for <a\\u{202e}b>"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		json_t *event = json_loads(rows[i].json, 0, NULL);
		struct buf line;

		buf_init(&line, 8192);
		event_text_line(event, &line);
		is_str(buf_text(&line), rows[i].line, "a line of words");
		buf_clear(&line);
		json_decref(event);
	}
	for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
		const char *name = event_row((enum event_type)i)->shape.name;

		ok(event_text_template(name) != NULL, "%s has its words",
		    name);
	}
}

int
main(void)
{
	struct log_box box;

	log_box_open(&box);
	log_box_start(&box);
	store_delivered(&box);
	store_bounced(&box);
	store_refused(&box);
	(void)log_box_index(&box);
	test_trace(&box);
	test_trace_list(&box);
	test_filters(&box);
	test_pages(&box);
	test_follow(&box);
	test_times();
	test_lines();
	log_box_close(&box);
	return tap_done();
}
