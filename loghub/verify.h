/* SPDX-License-Identifier: ISC */
/*
 * Walks the whole log and names the first record that was altered, reordered
 * or is missing.
 */
#ifndef LOGHUB_VERIFY_H
#define LOGHUB_VERIFY_H

#include <stdatomic.h>

#include "loghub/segment_file.h"

enum verify_problem {
	VERIFY_NONE,
	VERIFY_ALTERED,         /* the record does not fit its hash */
	VERIFY_MISSING,         /* the record is not there */
	VERIFY_REORDERED,       /* another record stands in its place */
	VERIFY_TRUNCATED,       /* the segment ends before its last record */
	VERIFY_SEGMENT_MISSING, /* the whole file is gone */
	VERIFY_UNREADABLE,      /* the disk says no */
	VERIFY_PROBLEM_COUNT
};

extern const char *const verify_problem_names[VERIFY_PROBLEM_COUNT];

struct verify_result {
	enum verify_problem problem;
	uint32_t segment; /* where the problem is */
	uint64_t number;  /* the first record that is not as it was written */
	uint64_t records; /* that were right */
	uint32_t segments;
	uint32_t first_segment;
	uint64_t cuts; /* crashes that left a torn tail */
	char text[ERR_TEXT_MAX + 64]; /* a sentence about it */
	unsigned char head[RECORD_HASH_SIZE];
};

/*
 * Checks all records up to `end`, which the writer says is written.  Stops
 * early when *is_ending is set.
 */
void verify_run(int dir_fd, const struct segment_position *end,
    const atomic_bool *is_ending, struct verify_result *result_r);

#endif
