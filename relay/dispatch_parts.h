/* SPDX-License-Identifier: ISC */
/*
 * What the files of dispatch share: dispatch.c has deliveries,
 * dispatch_destination.c where they go, dispatch_known.c of which messages
 * they are.
 */
#ifndef RELAY_DISPATCH_PARTS_H
#define RELAY_DISPATCH_PARTS_H

#include "relay/dispatch.h"

#define DISPATCH_BUCKETS 4096
/* A destination begins with this many at once (Postfix's number). */
#define DISPATCH_FIRST_LIMIT 5

struct destination {
	char *key;
	struct destination *next_bucket;
	struct delivery *first; /* waiting */
	struct delivery **last;
	size_t waiting;
	size_t active;
	unsigned limit;           /* at once, now */
	unsigned successes;       /* since the limit last changed */
	int64_t blocked_until_ms; /* 0: not blocked */
	bool is_probing;          /* one is out to see whether it is back */
	bool is_ready;            /* in the ring */
	bool is_short;            /* something for it was left on disk */
	struct destination *next_ready;
};

struct job {
	struct delivery *delivery; /* NULL: free */
	int64_t since_ms;
	uint32_t round;
	uint32_t next_free; /* slot + 1 */
};

/* A message id that is in memory, with how many of its deliveries. */
struct known {
	struct delivery *delivery;
	struct known *next;
};

/* Messages that share one of these are touched together. */
#define DISPATCH_MARKS 65536

struct dispatch {
	struct destination *buckets[DISPATCH_BUCKETS];
	struct destination *ready_first;
	struct destination **ready_last;
	struct known *known[DISPATCH_BUCKETS];
	struct job *jobs;
	uint32_t job_slots;
	uint32_t job_free;
	size_t waiting;
	size_t active;
	unsigned limit;
	bool has_relief; /* one that was short has room again */
	uint32_t mark;
	uint32_t touched[DISPATCH_MARKS]; /* the mark at the last touch */
};

/* ---- dispatch_destination.c ---- */

/* NULL: there is none with that key; get makes it. */
struct destination *destination_find(
    struct dispatch *dispatch, const char *key);
struct destination *destination_get(struct dispatch *dispatch, const char *key);

/* One with nothing to do and nothing to remember is freed. */
void destination_forget_if_idle(
    struct dispatch *dispatch, struct destination *destination);

/* Into the ring, if something waits for it. */
void destination_make_ready(
    struct dispatch *dispatch, struct destination *destination);

bool destination_may_start(
    const struct destination *destination, int64_t now_ms);

void destination_learn_success(
    struct dispatch *dispatch, struct destination *destination);
void destination_learn_failure(struct destination *destination);

/* ---- dispatch_known.c ---- */

/* Where deliveries of a message are listed, among others. */
struct known **known_bucket(struct dispatch *dispatch, uint64_t message_id);

void known_remember(struct dispatch *dispatch, struct delivery *delivery);
/* Its message is touched. */
void known_forget(struct dispatch *dispatch, const struct delivery *delivery);

#endif
