/* SPDX-License-Identifier: ISC */
/*
 * What is found in a log whose clock went years ahead, back to 1970 and was
 * right again: dates do not follow the order of records there.
 */
#include <stdio.h>

#include "loghub/log_query.h"
#include "loghub/trace.h"
#include "tests/unit/log_box.h"
#include "tests/unit/tap.h"

static const uint64_t hour_us = (uint64_t)3600 * 1000000;
static const uint64_t year_us = (uint64_t)365 * 86400 * 1000000;

/* More days than a life is looked for where days tell, more than a run. */
#define DAYS 45
#define NOTICES 140

static void
store(struct log_box *box, uint64_t time_us, uint64_t message,
    enum event_type type, const void *fields, uint32_t life_number)
{
	log_box_store(box, ROLE_QUEUED, time_us,
	    (struct log_context){0, message}, type, fields, life_number);
}

static void
accepted(struct log_box *box, uint64_t time_us, uint64_t id)
{
	const struct event_accepted accepted = {
	    .from = SLICE("ann@example.test"), .recipient_count = 1};
	const struct event_recipient recipient = {.to = SLICE("bob@b.test")};

	store(box, time_us, id, EV_ACCEPTED, &accepted, 1);
	store(box, time_us + 1, id, EV_RECIPIENT, &recipient, 2);
}

static void
delivered(struct log_box *box, uint64_t time_us, uint64_t id)
{
	const struct event_delivered delivered = {
	    .to = SLICE("bob@b.test"), .code = 250, .attempt = 2};
	const struct event_deferred deferred = {
	    .to = SLICE("bob@b.test"), .code = 451, .attempt = 1};
	const struct event_finished finished = {.queued_ms = 7};

	store(box, time_us, id, EV_DEFERRED, &deferred, 3);
	store(box, time_us + 1, id, EV_DELIVERED, &delivered, 4);
	store(box, time_us + 2, id, EV_FINISHED, &finished, 5);
}

/* Enough that a page does not hold them; synced, as segments end only so. */
static void
notices(struct log_box *box, uint64_t time_us)
{
	const struct event_program_notice notice = {
	    .program = SLICE("queued"), .text = SLICE("hello")};

	for (uint64_t i = 0; i < NOTICES; i++)
		store(box, time_us + i, 0, EV_PROGRAM_NOTICE, &notice, 0);
	segment_log_sync(&box->writer);
}

static json_t *
ask(struct log_box *box, log_question_fn *question,
    const char *arguments_text)
{
	json_t *result;
	struct err err = {.text = ""};

	if (log_box_ask(box, question, arguments_text, &result, &err) == 2)
		fatal("ask %s: %s", arguments_text, err.text);
	return result;
}

/* How many events the pages have, each once and in order. */
static uint64_t
pages(struct log_box *box, log_question_fn *question,
    const char *others, const char *place, const char *begin, bool is_rising)
{
	json_int_t last = is_rising ? 0 : INT64_MAX;
	char at[64];
	uint64_t count = 0;
	bool is_more = true;

	(void)snprintf(at, sizeof(at), "%s", begin);
	while (is_more) {
		char arguments[160];
		json_t *result;
		const json_t *next;
		size_t events;

		(void)snprintf(arguments, sizeof(arguments),
		    "{%s\"%s\": %s}", others, place, at);
		result = ask(box, question, arguments);
		events = log_box_count(result, is_rising, &last);
		count += events;
		next = json_object_get(result, "next");
		is_more = next != NULL && events > 0;
		(void)snprintf(at, sizeof(at), "\"%s\"",
		    next != NULL ? json_string_value(next) : "");
		json_decref(result);
	}
	return count;
}

static void
check_life(struct log_box *box, uint64_t id, const char *what)
{
	char text[ID_TEXT_SIZE];
	char arguments[64];
	json_t *result;
	const json_t *trace;

	id_format(id, text);
	(void)snprintf(
	    arguments, sizeof(arguments), "{\"key\": \"%s\"}", text);
	result = ask(box, trace_query, arguments);
	trace = json_array_get(json_object_get(result, "traces"), 0);
	is_str(json_string_value(json_object_get(trace, "status")),
	    "delivered", "%s: what became of it is known", what);
	is_u64(json_array_size(json_object_get(trace, "events")), 5,
	    "with all its events");
	json_decref(result);
}

static void
test_clock(struct log_box *box)
{
	const uint64_t ahead_us = NOON_US + 13 * year_us;
	const uint64_t behind_us = hour_us;
	const uint64_t ids[] = {log_box_id(NOON_US, 1), log_box_id(ahead_us, 1),
	    log_box_id(NOON_US + 2 * hour_us, 1), log_box_id(behind_us, 1)};
	char behind_days[24];
	json_t *result;

	for (uint64_t day = DAYS; day > 0; day--)
		notices(box, NOON_US - day * DAY_US);
	(void)snprintf(behind_days, sizeof(behind_days), "%llu",
	    (unsigned long long)box->writer.number);
	accepted(box, NOON_US, ids[0]);
	notices(box, NOON_US);
	delivered(box, ahead_us, ids[0]);
	accepted(box, ahead_us + 10, ids[1]);
	notices(box, ahead_us + 20);
	delivered(box, NOON_US + hour_us, ids[1]);
	accepted(box, NOON_US + 2 * hour_us, ids[2]);
	notices(box, NOON_US + 2 * hour_us);
	delivered(box, behind_us, ids[2]);
	accepted(box, behind_us + 10, ids[3]);
	notices(box, behind_us + 20);
	delivered(box, NOON_US + 3 * hour_us, ids[3]);
	notices(box, NOON_US + 4 * hour_us);
	(void)log_box_index(box);

	is_u64(
	    pages(box, log_query, "\"limit\": 200, ", "cursor", "null", false),
	    box->stored, "pages of the log have all events, the newest first");
	is_u64(pages(box, log_export, "", "cursor", "null", true), box->stored,
	    "so has an export, the oldest first");
	is_u64(pages(box, log_query, "\"limit\": 1, \"event\": \"deferred\", ",
	           "cursor", "null", false),
	    4, "and so have rare ones");
	is_u64(pages(box, log_query, "\"limit\": 200, ", "after", behind_days,
		   true),
	    box->stored - DAYS * NOTICES,
	    "who follows sees what came after the jumps");
	check_life(box, ids[0], "delivered while it was ahead");
	check_life(box, ids[1], "accepted while it was ahead");
	check_life(box, ids[2], "delivered in 1970");
	check_life(box, ids[3], "accepted in 1970");

	result = ask(
	    box, trace_query, "{\"key\": \"bob@b.test\", \"limit\": 3}");
	is_u64(json_array_size(json_object_get(result, "traces")), 3,
	    "an address leads to the newest");
	json_decref(result);
	is_u64(pages(box, log_query,
	           "\"since\": \"2038-01-01\", \"limit\": 100, ", "cursor",
	           "null", false),
	    NOTICES + 5, "of a time is what was dated so");
}

int
main(void)
{
	struct log_box box;

	log_box_open(&box);
	log_box_start(&box);
	test_clock(&box);
	log_box_close(&box);
	return tap_done();
}
