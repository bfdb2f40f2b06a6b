/* SPDX-License-Identifier: ISC */
/*
 * Postings: which term leads to which record.  A batch of them is sorted in
 * memory and stored in chunks of a page; several batches are merged into a
 * larger one now and then.  A row in a b-tree for each of the some twenty
 * terms of a mail costs 4 us each, this way it is 0.3 us.
 */
#ifndef LOGHUB_POSTING_H
#define LOGHUB_POSTING_H

#include "common/buf.h"

struct posting {
	uint64_t term;
	uint64_t number;  /* of the record */
	uint64_t message; /* its message id, or 0 */
};

#define POSTING_SIZE 24

/* Chunks fill a page of 4096 octets as a row of a table. */
#define POSTING_CHUNK 168

void posting_write(const struct posting *posting, char out[POSTING_SIZE]);
void posting_read(const char *in, struct posting *posting_r);

/* By term, then number; qsort's form. */
int posting_compare(const void *a, const void *b);

/* How many whole postings a chunk holds. */
size_t posting_chunk_count(struct slice chunk);

/* The first posting of the chunk whose term is not below; its count if none. */
size_t posting_chunk_find(struct slice chunk, uint64_t term);

#endif
