/* SPDX-License-Identifier: ISC */
/*
 * The tasks of one class that wait for a worker: small and large ones, each
 * in the order in which they came.  Pure: the tasks are their owners'.
 */
#ifndef SIGNER_POOL_QUEUE_H
#define SIGNER_POOL_QUEUE_H

#include "signer/pools.h"

struct task_list {
	struct task *first;
	struct task **last;
	size_t count;
};

struct pool_queue {
	struct task_list small;
	struct task_list large;
	size_t octets; /* in memory, of all of them */
};

void pool_queue_init(struct pool_queue *queue);

/* Its answer may wait a moment: it was not yet with a worker that ended. */
bool task_is_short(const struct task *task);

/* Large ones run one at a time in their class. */
bool task_is_large(const struct task *task);

/* More is "busy", and the mail waits where it is safe. */
bool pool_queue_has_room(
    const struct pool_queue *queue, const struct task *task);

void pool_queue_add(struct pool_queue *queue, struct task *task);
/* Before all others: it had its turn already. */
void pool_queue_add_first(struct pool_queue *queue, struct task *task);
/* It must be among them. */
void pool_queue_take_out(struct pool_queue *queue, struct task *task);

/* Who came first, of large ones only if one may run now; NULL: nobody. */
struct task *pool_queue_next(const struct pool_queue *queue, bool may_be_large);
size_t pool_queue_count(const struct pool_queue *queue);

#endif
