/* SPDX-License-Identifier: ISC */
/*
 * Passwords that wait to be hashed.  Networks take turns, so that a flood
 * from one, or from some, costs the others a short wait and not their logins.
 */
#ifndef SMTPD_HASH_QUEUE_H
#define SMTPD_HASH_QUEUE_H

#include "common/netaddr.h"
#include "common/pool.h"

struct hash_queue;

/* Embedded in what the task works on; the queue's until done or cancelled. */
struct hash_task {
	struct pool_task task; /* first: run sees it alone */
	/*
	 * In the loop.  was_run: else it had to make room for a network with
	 * fewer tasks.
	 */
	void (*done)(struct hash_task *task, bool was_run);
	struct hash_queue *queue;
	struct hash_task *next;
	struct netprefix network;
	bool is_waiting;
};

/*
 * So many at once in the pool, which stays the caller's and ends first, and so
 * many that wait.
 */
struct hash_queue *hash_queue_new(
    struct pool *pool, size_t running_max, size_t waiting_max);
void hash_queue_free(struct hash_queue *queue); /* it is empty */

/*
 * task->task.run (in a thread) and task->done are set.  -1: no room, nothing
 * is done with it.
 */
int hash_queue_add(struct hash_queue *queue, struct hash_task *task,
    const struct netaddr *client);

/* false: it runs, and done comes all the same. */
bool hash_queue_cancel(struct hash_task *task);

/* Waiting and running. */
size_t hash_queue_count(const struct hash_queue *queue);

#endif
