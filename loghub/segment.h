/* SPDX-License-Identifier: ISC */
/*
 * The end of the log that is written: records are chained into a batch, a
 * batch is one write, and a new segment begins each day, each start and when
 * one is large.  Nothing here syncs on the loop; see segment_sync_*.
 */
#ifndef LOGHUB_SEGMENT_H
#define LOGHUB_SEGMENT_H

#include "loghub/segment_file.h"

/* A segment that reached this is the last of its size. */
#define SEGMENT_SIZE_LIMIT ((uint64_t)64 << 20)

/* A batch is written at the turn's end or at this size. */
#define SEGMENT_BATCH_SIZE ((size_t)256 << 10)

/* What its memory may come to: a batch and one record more. */
#define SEGMENT_BATCH_LIMIT (SEGMENT_BATCH_SIZE + (size_t)2 * RECORD_MAX_SIZE)

/* What was found at the end of the log when it was opened. */
enum segment_end {
	SEGMENT_END_WHOLE,
	SEGMENT_END_TORN,    /* unsynced octets of a crash: cut off */
	SEGMENT_END_MISSING, /* records that had been synced are gone */
	SEGMENT_END_ALTERED, /* a synced record does not fit the chain */
	SEGMENT_END_COUNT
};

extern const char *const segment_end_names[SEGMENT_END_COUNT];

struct segment_recovery {
	enum segment_end end;
	uint32_t segment;
	uint64_t after_number; /* the last record that is whole */
	uint64_t octets;       /* cut off, or not understood */
};

struct segment_writer {
	int dir_fd;
	int head_fd; /* the file "head": where the synced log ends */
	int fd;      /* -1: the next append begins a segment */
	bool is_new; /* its name is not synced yet */
	struct segment_position written;
	struct segment_position previous; /* before the last segment began */
	uint64_t number; /* last one given, written or in the batch */
	struct chain chain;
	struct buf batch;
	uint32_t batch_events[ROLE_COUNT];
	uint64_t lost[ROLE_COUNT]; /* events of batches that failed */
	int old_fds[4];            /* full segments that wait for a sync */
	unsigned old_count;
};

/* So much of what was logged last is shown when the log is opened. */
#define SEGMENT_VISIT_OCTETS ((uint64_t)8 * 1024 * 1024)

/*
 * Opens the log in that directory (made when absent): walks the last segment,
 * cuts what a crash left torn.  visit, when not NULL, sees its records; before
 * them those of earlier segments, where the last ones are shorter than
 * SEGMENT_VISIT_OCTETS together.
 */
int segment_writer_open(struct segment_writer *writer, const char *path,
    void (*visit)(void *arg, const struct record *record), void *arg,
    struct segment_recovery *recovery_r, struct err *err);
void segment_writer_clear(struct segment_writer *writer);

/*
 * Chains one event of that writer.  life_number 0: RECORD_EVENT.  -1 when the
 * disk refused: nothing is stored then, and the event is counted in lost.
 */
int segment_append(struct segment_writer *writer, enum role role,
    uint64_t now_us, uint32_t life_number, struct slice event,
    struct err *err);

/*
 * Writes the batch.  -1: none of it is in the log, its events are counted in
 * lost, and the chain stands where it stood before.
 */
int segment_flush(struct segment_writer *writer, struct err *err);

/* Everything that a sync of the written log must touch; any thread. */
struct segment_sync {
	int fds[5];
	unsigned fd_count;
	unsigned close_count; /* the first of them are then closed */
	int dir_fd;           /* -1: no new name */
	int head_fd;
	struct segment_position at;
};

/* Takes it; false when there is nothing new since the last one. */
bool segment_sync_take(
    struct segment_writer *writer, struct segment_sync *sync_r);

/* Ends the process when a sync fails: what is on disk is then unknown. */
void segment_sync_run(struct segment_sync *sync);

#endif
