/* SPDX-License-Identifier: ISC */
/*
 * What is found in a log whose clock went years ahead, back to 1970 and was
 * right again: dates do not follow the order of records there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "loghub/log_query.h"
#include "loghub/segment.h"
#include "loghub/trace.h"
#include "tests/unit/tap.h"

/* 2026-01-31 12:00 UTC. */
static const uint64_t noon_us = (uint64_t)1769860800 * 1000000;
static const uint64_t hour_us = (uint64_t)3600 * 1000000;
static const uint64_t year_us = (uint64_t)365 * 86400 * 1000000;

/* More days than a life is looked for where days tell, more than a run. */
#define DAYS 45
#define NOTICES 140

static char folder[] = "/tmp/test_log_clock.XXXXXX";
static char segments[80];

struct box {
	struct segment_writer writer;
	struct indexer *indexer;
	uint64_t events;
};

static void
store(struct box *box, uint64_t time_us, uint64_t message,
    enum event_type type, const void *fields, uint32_t life_number)
{
	struct buf event;
	struct err err;

	buf_init(&event, 16384);
	(void)log_encode(
	    &event, (struct log_context){0, message}, time_us, type, fields);
	if (segment_append(&box->writer, ROLE_QUEUED, time_us, life_number,
	        buf_slice(&event), &err) == -1)
		fatal("%s", err.text);
	buf_clear(&event);
	box->events++;
}

static void
accepted(struct box *box, uint64_t time_us, uint64_t id)
{
	const struct event_accepted accepted = {
	    .from = SLICE("ann@example.test"), .recipient_count = 1};
	const struct event_recipient recipient = {.to = SLICE("bob@b.test")};

	store(box, time_us, id, EV_ACCEPTED, &accepted, 1);
	store(box, time_us + 1, id, EV_RECIPIENT, &recipient, 2);
}

static void
delivered(struct box *box, uint64_t time_us, uint64_t id)
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
notices(struct box *box, uint64_t time_us)
{
	const struct event_program_notice notice = {
	    .program = SLICE("queued"), .text = SLICE("hello")};

	struct segment_sync sync;

	for (uint64_t i = 0; i < NOTICES; i++)
		store(box, time_us + i, 0, EV_PROGRAM_NOTICE, &notice, 0);
	if (segment_flush(&box->writer, NULL) == 0 &&
	    segment_sync_take(&box->writer, &sync))
		segment_sync_run(&sync);
}

static uint64_t
id_at(uint64_t time_us)
{
	return (time_us / 1000) << (ID_SLOT_BITS + ID_COUNTER_BITS) | 1;
}

static void
index_all(struct box *box)
{
	struct indexer_status status;
	struct err err;

	if (segment_flush(&box->writer, &err) == -1)
		fatal("%s", err.text);
	indexer_advance(box->indexer, &box->writer.written);
	indexer_wait(box->indexer, 30000, &status);
}

static json_t *
ask(struct box *box,
    int (*question)(struct log_view *view, const json_t *arguments,
        json_t **result_r, struct err *err),
    const char *arguments_text)
{
	json_t *arguments = json_loads(arguments_text, 0, NULL);
	json_t *result = NULL;
	struct log_view view;
	struct err err = {.text = ""};

	if (arguments == NULL ||
	    log_view_open(&view, folder, box->writer.dir_fd, box->indexer,
	        &err) == -1 ||
	    question(&view, arguments, &result, &err) == 2)
		fatal("ask %s: %s", arguments_text, err.text);
	log_view_close(&view);
	json_decref(arguments);
	return result;
}

/* How many events the pages have, each once and in order. */
static uint64_t
pages(struct box *box,
    int (*question)(struct log_view *view, const json_t *arguments,
        json_t **result_r, struct err *err),
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
		const json_t *events;
		const json_t *next;

		(void)snprintf(arguments, sizeof(arguments),
		    "{%s\"%s\": %s}", others, place, at);
		result = ask(box, question, arguments);
		events = json_object_get(result, "events");
		for (size_t i = 0; i < json_array_size(events); i++) {
			const json_int_t number =
			    json_integer_value(json_object_get(
			        json_array_get(events, i), "number"));

			if (is_rising ? number <= last : number >= last)
				fail("event %lld is out of order",
				    (long long)number);
			last = number;
			count++;
		}
		next = json_object_get(result, "next");
		is_more = next != NULL && json_array_size(events) > 0;
		(void)snprintf(at, sizeof(at), "\"%s\"",
		    next != NULL ? json_string_value(next) : "");
		json_decref(result);
	}
	return count;
}

static void
check_life(struct box *box, uint64_t id, const char *what)
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
test_clock(struct box *box)
{
	const uint64_t ahead_us = noon_us + 13 * year_us;
	const uint64_t behind_us = hour_us;
	const uint64_t ids[] = {id_at(noon_us), id_at(ahead_us),
	    id_at(noon_us + 2 * hour_us), id_at(behind_us)};
	char behind_days[24];
	json_t *result;

	for (uint64_t day = DAYS; day > 0; day--)
		notices(box, noon_us - day * 24 * hour_us);
	(void)snprintf(behind_days, sizeof(behind_days), "%llu",
	    (unsigned long long)box->writer.number);
	accepted(box, noon_us, ids[0]);
	notices(box, noon_us);
	delivered(box, ahead_us, ids[0]);
	accepted(box, ahead_us + 10, ids[1]);
	notices(box, ahead_us + 20);
	delivered(box, noon_us + hour_us, ids[1]);
	accepted(box, noon_us + 2 * hour_us, ids[2]);
	notices(box, noon_us + 2 * hour_us);
	delivered(box, behind_us, ids[2]);
	accepted(box, behind_us + 10, ids[3]);
	notices(box, behind_us + 20);
	delivered(box, noon_us + 3 * hour_us, ids[3]);
	notices(box, noon_us + 4 * hour_us);
	index_all(box);

	is_u64(pages(box, log_query, "\"limit\": 200, ", "cursor", "null",
	           false),
	    box->events, "pages of the log have all events, the newest first");
	is_u64(pages(box, log_export, "", "cursor", "null", true),
	    box->events, "so has an export, the oldest first");
	is_u64(pages(box, log_query, "\"limit\": 1, \"event\": \"deferred\", ",
	           "cursor", "null", false),
	    4, "and so have rare ones");
	is_u64(pages(box, log_query, "\"limit\": 200, ", "after", behind_days,
	           true),
	    box->events - DAYS * NOTICES,
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

static void
remove_folder(void)
{
	struct segment_list list;
	int32_t *days = NULL;
	size_t count = 0;
	int fd = open(segments, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd != -1 && segment_list_read(fd, &list, NULL) == 0) {
		for (size_t i = 0; i < list.count; i++) {
			char file[SEGMENT_FILE_NAME_SIZE];

			segment_file_name(&list.names[i], file);
			(void)unlinkat(fd, file, 0);
		}
		segment_list_clear(&list);
		(void)unlinkat(fd, "head", 0);
		(void)close(fd);
	}
	if (log_index_days(folder, &days, &count, NULL) == 0)
		for (size_t i = 0; i < count; i++)
			log_index_delete(folder, days[i]);
	free(days);
	(void)rmdir(segments);
	(void)rmdir(folder);
}

int
main(void)
{
	struct box box = {.events = 0};
	struct segment_recovery recovery;
	struct err err;

	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
	(void)snprintf(segments, sizeof(segments), "%s/segments", folder);
	if (segment_writer_open(
	        &box.writer, segments, NULL, NULL, &recovery, &err) == -1)
		fatal("%s", err.text);
	box.indexer = indexer_new(folder, box.writer.dir_fd);
	test_clock(&box);
	indexer_free(box.indexer);
	segment_writer_clear(&box.writer);
	remove_folder();
	return tap_done();
}
