/* SPDX-License-Identifier: ISC */
/*
 * A log with its indexes, for tests.
 * Runs in: tests.  Trusts: the tests.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/log_box.h"
#include "tests/unit/tap.h"

/* Longer than indexing takes anywhere. */
#define INDEX_WAIT_MS 120000
/* So often an answer is asked for that ends with a question's time. */
#define LATE_MAX 60

void
log_box_open(struct log_box *box)
{
	memset(box, 0, sizeof(*box));
	(void)snprintf(box->folder, sizeof(box->folder), "/tmp/log_box.XXXXXX");
	if (mkdtemp(box->folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
	(void)snprintf(
	    box->segments, sizeof(box->segments), "%s/segments", box->folder);
	(void)segment_log_open(&box->writer, box->segments);
}

void
log_box_close(struct log_box *box)
{
	int32_t *days = NULL;
	size_t count = 0;

	log_box_stop(box);
	segment_writer_clear(&box->writer);
	segment_log_remove(box->segments);
	(void)log_index_days(box->folder, &days, &count, NULL);
	for (size_t i = 0; i < count; i++)
		log_index_delete(box->folder, days[i]);
	free(days);
	if (rmdir(box->folder) == -1)
		fatal("rmdir %s: %s", box->folder, strerror(errno));
}

void
log_box_start(struct log_box *box)
{
	box->indexer = indexer_new(box->folder, box->writer.dir_fd);
}

void
log_box_stop(struct log_box *box)
{
	indexer_free(box->indexer);
	box->indexer = NULL;
}

void
log_box_store(struct log_box *box, enum role role, uint64_t time_us,
    struct log_context context, enum event_type type, const void *fields,
    uint32_t life_number)
{
	struct err err;

	if (segment_log_append(&box->writer, role, time_us, context, type,
		fields, life_number, &err) == -1)
		fatal("%s", err.text);
	box->stored++;
}

void
log_box_flush(struct log_box *box)
{
	struct err err;

	if (segment_flush(&box->writer, &err) == -1)
		fatal("%s", err.text);
}

uint64_t
log_box_id(uint64_t time_us, unsigned n)
{
	return (time_us / 1000) << (ID_SLOT_BITS + ID_COUNTER_BITS) | n;
}

struct indexer_status
log_box_index(struct log_box *box)
{
	struct indexer_status status;

	log_box_flush(box);
	indexer_advance(box->indexer, &box->writer.written);
	indexer_wait(box->indexer, INDEX_WAIT_MS, &status);
	return status;
}

static int
ask_once(struct log_box *box, log_question_fn *question,
    const json_t *arguments, json_t **result_r, struct err *err)
{
	struct log_view view;
	int code;

	*result_r = NULL;
	if (log_view_open(&view, box->folder, box->writer.dir_fd, box->indexer,
		err) == -1)
		fatal("ask: %s", err->text);
	code = question(&view, arguments, result_r, err);
	log_view_close(&view);
	return code;
}

int
log_box_ask(struct log_box *box, log_question_fn *question,
    const char *arguments_text, json_t **result_r, struct err *err)
{
	json_t *arguments = json_loads(arguments_text, 0, NULL);
	int code;

	if (arguments == NULL)
		bug("%s is no JSON", arguments_text);
	code = ask_once(box, question, arguments, result_r, err);
	for (int i = 0; i < LATE_MAX &&
			json_is_true(json_object_get(*result_r, "partial"));
	     i++) {
		json_decref(*result_r);
		code = ask_once(box, question, arguments, result_r, err);
	}
	json_decref(arguments);
	return code;
}

size_t
log_box_count(const json_t *result, bool is_rising, json_int_t *last)
{
	const json_t *events = json_object_get(result, "events");
	size_t i;

	for (i = 0; i < json_array_size(events); i++) {
		const json_int_t number = json_integer_value(
		    json_object_get(json_array_get(events, i), "number"));

		if (is_rising ? number <= *last : number >= *last)
			fail("event %lld is out of order", (long long)number);
		*last = number;
	}
	return i;
}
