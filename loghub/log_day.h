/* SPDX-License-Identifier: ISC */
/*
 * One day of the log, opened for reading: its index and its segments.
 */
#ifndef LOGHUB_LOG_DAY_H
#define LOGHUB_LOG_DAY_H

#include "loghub/log_index.h"

struct log_day {
	struct log_index *index;
	struct segment_reader reader;
	struct log_place place; /* the run that the reader stands in */
	uint64_t next;          /* number of the record at the reader */
};

/* path: the state directory; dir_fd: the segments' (the owner keeps it). */
int log_day_open(struct log_day *day, const char *path, int dir_fd,
    int32_t number, struct err *err);
void log_day_close(struct log_day *day);

/*
 * The record of that number; good until the next call.  1 found, 0 not there
 * (the index leads to what is gone), -1 failed.
 */
int log_day_fetch(struct log_day *day, uint64_t number,
    struct record *record_r, struct err *err);

/* Goes to the begin of a run; log_day_next() then reads its records. */
int log_day_seek(
    struct log_day *day, const struct log_place *place, struct err *err);
int log_day_next(
    struct log_day *day, struct record *record_r, struct err *err);

/* An event, decoded; its slices point into the record. */
struct log_event_view {
	enum role role;
	uint64_t number;
	uint64_t received_us;
	uint32_t life_number;
	struct event_head head;
	union event_fields fields;
};

/* -1 when the record holds no event that keeps its row. */
int log_event_view(
    const struct record *record, struct log_event_view *view_r);

#endif
