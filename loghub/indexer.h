/* SPDX-License-Identifier: ISC */
/*
 * The thread that reads what was written to the log and fills the indexes of
 * the days.  Intake never waits for it; a broken index is made again.
 */
#ifndef LOGHUB_INDEXER_H
#define LOGHUB_INDEXER_H

#include "loghub/log_index.h"

struct indexer;

/* path: the state directory; dir_fd: the segments' (the owner keeps it). */
struct indexer *indexer_new(const char *path, int dir_fd);

/* Ends after the transaction in hand; what is left is done next time. */
void indexer_free(struct indexer *indexer);

/* The log is written up to there. */
void indexer_advance(
    struct indexer *indexer, const struct segment_position *written);

/* Deletes segments up to that number, and indexes of days without any. */
void indexer_expire(struct indexer *indexer, uint32_t segment);

struct indexer_status {
	struct segment_position written;
	uint64_t indexed;   /* number of the last record that can be found */
	uint64_t behind_us; /* age of the first that cannot; 0: none */
	uint64_t rebuilt;   /* indexes that were thrown away and made again */
	char error[ERR_TEXT_MAX]; /* the last one, or "" */
};

void indexer_status(struct indexer *indexer, struct indexer_status *status_r);

/*
 * Waits until all that is written now can be found, wait_ms at the most.  For
 * query threads, not for the loop.
 */
void indexer_wait(struct indexer *indexer, uint32_t wait_ms,
    struct indexer_status *status_r);

#endif
