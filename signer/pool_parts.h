/* SPDX-License-Identifier: ISC */
/*
 * What the files of the pools share; for nobody else.
 *
 *	pools.c        the classes: what waits, who gets it
 *	pool_worker.c  one process: its start, its tasks, its end
 *	pool_queue.c   the queue of a class (pure)
 */
#ifndef SIGNER_POOL_PARTS_H
#define SIGNER_POOL_PARTS_H

#include "signer/pool_queue.h"

/* Processes of one class at most. */
#define POOL_WORKERS_MAX 32
/* The task at hand, and the one behind it. */
#define POOL_DEPTH 2
/* One that dies is started again after this, doubled each time. */
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 5000

struct pool;

struct slot {
	uint64_t task_id;
	struct task *task; /* NULL: cancelled */
	bool is_large;
	uint64_t allowed_ms;
};

struct pool_worker {
	struct pool *pool;
	struct channel *channel; /* NULL: not running */
	bool is_up;
	bool is_retiring;
	unsigned done;
	struct slot slots[POOL_DEPTH]; /* the first is at hand */
	unsigned slot_count;
	uint64_t deadline_ms; /* of the first */
	uint64_t idle_since_ms;
	uint64_t started_ms;
	uint64_t start_not_before_ms;
	uint64_t backoff_ms;
};

struct pool {
	struct pools *pools;
	enum pool_class class;
	unsigned worker_count;
	struct pool_worker workers[POOL_WORKERS_MAX];
	struct pool_queue queue;
	unsigned large_runs; /* at most one */
	unsigned deaths;     /* in a row */
	bool is_alerted;
	uint64_t tasks_done;
	uint64_t tasks_failed; /* by death or deadline */
	uint64_t refused;
};

struct pools {
	struct signerd *signerd;
	struct loop_task dispatch;
	struct event *retry; /* a start that has to wait */
	struct pool list[POOL_CLASS_COUNT];
	uint64_t last_task_id;
	bool is_stopping;
};

/* ---- pools.c ---- */

/* At the end of this turn, tasks are given out. */
void pools_dispatch(struct pools *pools);

/* ---- pool_worker.c ---- */

void pool_worker_start(struct pool_worker *worker);
/* It is up and has a slot free; the task is in its class's queue. */
void pool_worker_send(struct pool_worker *worker, struct task *task);
/* It ends once it has nothing to do. */
void pool_worker_retire(struct pool_worker *worker);
/* Its loop may not run: the spawner ends it. */
void pool_worker_kill(struct pool_worker *worker, const char *reason);

#endif
