/* SPDX-License-Identifier: ISC */
/*
 * Threads beside an event loop, for what blocks: commits, syncs, reads.  A
 * task runs in a thread and is reported done in the loop.
 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include "common/loop.h"

struct pool;

/* Embedded in what the task works on; owned by the pool while it runs. */
struct pool_task {
	void (*run)(struct pool_task *task);  /* in a thread */
	void (*done)(struct pool_task *task); /* in the loop */
	struct pool_task *next;
};

struct pool *pool_new(struct loop *loop, unsigned threads, const char *name);

/*
 * A pool of one thread that takes all waiting tasks at once: batch runs in
 * the thread with the list in order of submission (task->run is not used),
 * then each task's done in the loop.  limit: tasks in one batch at the most.
 */
struct pool *pool_new_batching(struct loop *loop, const char *name,
    void (*batch)(void *arg, struct pool_task *list), void *arg,
    unsigned limit);

void pool_submit(struct pool *pool, struct pool_task *task);

/* Tasks submitted and not yet reported done. */
size_t pool_waiting(const struct pool *pool);

/* Waits until everything submitted was done; calls done from here. */
void pool_finish(struct pool *pool);

/*
 * Lets the threads finish everything submitted, joins them, and calls done of
 * what is left, from here.
 */
void pool_free(struct pool *pool);

#endif
