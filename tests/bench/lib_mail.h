/* SPDX-License-Identifier: ISC */
/*
 * The mails that load sends and sink recognises: each carries its id twice in
 * a block of known length with a checksum, so that a lost, doubled, torn or
 * mixed-up mail shows whatever headers or MIME parts were put around it.
 */
#ifndef TESTS_BENCH_LIB_MAIL_H
#define TESTS_BENCH_LIB_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define MAIL_RUN_MAX 32 /* letters, digits, "_" of a run's name */
#define MAIL_ID_MAX 64  /* "<run>-<number>" and its NUL */

/* One ready body text; many mails share it, their ids tell them apart. */
struct mail_body {
	char *wire; /* dots stuffed */
	size_t wire_bytes;
	size_t text_bytes; /* without the stuffing */
	uint64_t sum;      /* mail_sum() of the text */
};

struct mail_pool {
	char run[MAIL_RUN_MAX + 1];
	struct mail_body *bodies;
	size_t count;
};

/* A mail on its way out: how much of it is still to be appended. */
struct mail_cursor {
	const struct mail_body *body;
	size_t body_done;
	char id[MAIL_ID_MAX];
	bool is_complete;
};

enum mail_verdict {
	MAIL_FOREIGN, /* not one of ours: no X-Load-Id */
	MAIL_WHOLE,
	MAIL_TORN, /* cut, altered, or the parts of two mails */
	MAIL_VERDICT_COUNT
};

struct mail_seen {
	enum mail_verdict verdict;
	char id[MAIL_ID_MAX]; /* empty when foreign */
};

/*
 * Four lanes of 64-bit words (little endian), each w: lane = (lane ^ w) *
 * 0x9e3779b97f4a7c15, lane ^= lane >> 32.  Finds tears, not forgers.
 */
uint64_t mail_sum(const char *p, size_t n);

/* The bodies depend on body_bytes alone, so runs can be compared. */
void mail_pool_init(struct mail_pool *pool, const char *run, size_t body_bytes);
void mail_pool_clear(struct mail_pool *pool);

void mail_id(
    const struct mail_pool *pool, uint64_t number, char id_r[MAIL_ID_MAX]);

/* Appends the header of mail number to out and sets the cursor to its body. */
void mail_start(struct mail_cursor *cursor, const struct mail_pool *pool,
    uint64_t number, const char *from, const char *to, struct buf *out);

/* Appends up to about room bytes more; the last piece ends in the dot. */
void mail_more(struct mail_cursor *cursor, size_t room, struct buf *out);

/* Judges a received message, its stuffed dots removed. */
void mail_check(struct slice message, struct mail_seen *seen_r);

#endif
