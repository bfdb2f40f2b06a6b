/* SPDX-License-Identifier: ISC */
/*
 * What the tests of the log's index and of its questions share: a folder with
 * segments, the thread that indexes them, and answers to what is asked.
 */
#ifndef TESTS_UNIT_LOG_BOX_H
#define TESTS_UNIT_LOG_BOX_H

#include "common/ids.h"
#include "loghub/log_view.h"
#include "tests/unit/segment_log.h"

struct log_box {
	struct segment_writer writer;
	struct indexer *indexer; /* NULL: it is not started */
	uint64_t stored;         /* events */
	char folder[64];
	char segments[80];
};

/* In a folder of its own, which goes with it. */
void log_box_open(struct log_box *box);
void log_box_close(struct log_box *box);

/* The indexer begins, and ends. */
void log_box_start(struct log_box *box);
void log_box_stop(struct log_box *box);

/* An event; it is written with the next flush. */
void log_box_store(struct log_box *box, enum role role, uint64_t time_us,
    struct log_context context, enum event_type type, const void *fields,
    uint32_t life_number);
void log_box_flush(struct log_box *box);

/* The n-th id of a time. */
uint64_t log_box_id(uint64_t time_us, unsigned n);

/* Writes what was stored, and waits until the indexer has it. */
struct indexer_status log_box_index(struct log_box *box);

typedef int log_question_fn(struct log_view *view, const json_t *arguments,
    json_t **result_r, struct err *err);

/*
 * What the question returns to those arguments, which are JSON.  The caller
 * has *result_r, which may be NULL.  Asked again while a slow machine had only
 * time for a part of the answer.
 */
int log_box_ask(struct log_box *box, log_question_fn *question,
    const char *arguments_text, json_t **result_r, struct err *err);

/*
 * How many events the answer has.  A check fails for each that does not come
 * after *last, which they move on; it begins as 0 when numbers rise, or else
 * as INT64_MAX.
 */
size_t log_box_count(const json_t *result, bool is_rising, json_int_t *last);

#endif
