/* SPDX-License-Identifier: ISC */
/*
 * The log as one question sees it: the days there are, those opened, and the
 * time by which it must be answered.
 */
#ifndef LOGHUB_LOG_VIEW_H
#define LOGHUB_LOG_VIEW_H

#include <jansson.h>

#include "loghub/indexer.h"
#include "loghub/log_day.h"

/* A question ends after so long, with what it has. */
#define LOG_VIEW_DEADLINE_MS 2000

/* So long it waits for the index to have what is written now. */
#define LOG_VIEW_INDEX_WAIT_MS 500

#define LOG_VIEW_OPEN_DAYS 8

/*
 * Records of a day that follow each other in the log.  A clock that went back
 * and forth makes several of a day; else each day is one, with no bounds.
 */
struct log_run {
	int32_t day;
	uint64_t from; /* number of its first record; 0: not known */
	uint64_t to;   /* of its last; UINT64_MAX: no bound */
};

struct log_view {
	const char *path;
	int dir_fd;
	uint64_t deadline_ms;
	bool is_late;     /* the deadline passed: the answer is partial */
	bool is_damaged;  /* an index or a record could not be read */
	bool is_cut;      /* a filter led to more than is looked at */
	struct indexer_status status;
	int32_t *days; /* rising */
	size_t day_count;
	struct log_run *runs; /* in the order of records */
	size_t run_count;
	bool is_mixed; /* which is not that of days */
	struct log_day open[LOG_VIEW_OPEN_DAYS];
	unsigned next_open;
};

/* indexer may be NULL: then all is taken as indexed. */
int log_view_open(struct log_view *view, const char *path, int dir_fd,
    struct indexer *indexer, struct err *err);
void log_view_close(struct log_view *view);

/* Is the time over?  Then it is noted. */
bool log_view_is_late(struct log_view *view);

/*
 * That day, or NULL when there is no such day or its index is being made.
 * Good until LOG_VIEW_OPEN_DAYS others were opened.
 */
struct log_day *log_view_day(struct log_view *view, int32_t day);

/* A question to an index failed: late, or damaged. */
void log_view_failed(struct log_view *view);

/* Adds "partial" and how far the index is behind. */
void log_view_tell(const struct log_view *view, json_t *result);

#endif
