/* SPDX-License-Identifier: ISC */
/*
 * What the files of the pools share; for nobody else.
 *
 *	pools.c        the classes: what waits, who gets it
 *	pool_worker.c  one process: its start, its tasks, its end
 *	pool_queue.c   the queue of a class (pure)
 *
 * The states of a worker process, as the broker sees it:
 *
 *	state     event                                next
 *	away      tasks wait, its back-off is over:    starting
 *	          it is asked for
 *	starting  HELLO: it is sent its secret         starting
 *	          WORKER_READY                         ready
 *	          START_MS are over, or its channel    away, with back-off
 *	          ended: it is killed
 *	ready     it gets a task, or answers one       ready
 *	          the task at hand is late, or its     away, with back-off
 *	          channel ended: it is killed
 *	          it did much, grew, idled for long,   retiring; away if it has
 *	          or we stop                           nothing to do
 *	retiring  its last task is answered: its       away
 *	          channel is closed, it ends by
 *	          itself or is killed
 *	          the task at hand is late, or its     away
 *	          channel ended: it is killed
 *
 * Whatever ends its channel, the process ends with it: one that hangs would
 * keep its keys in memory for ever.
 */
#ifndef SIGNER_POOL_PARTS_H
#define SIGNER_POOL_PARTS_H

#include "signer/pool_queue.h"

/* Processes of one class at most. */
#define POOL_WORKERS_MAX 32
/* The task at hand, and the one behind it. */
#define POOL_DEPTH 2
/* The same, when all of them are short. */
#define POOL_DEPTH_SHORT 8
/* One that dies is started again after this, doubled each time. */
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 5000

struct pool;

enum pool_worker_state {
	POOL_WORKER_AWAY,
	POOL_WORKER_STARTING,
	POOL_WORKER_READY,
	POOL_WORKER_RETIRING,
	POOL_WORKER_STATE_COUNT
};

struct slot {
	uint64_t task_id;
	struct task *task; /* NULL: cancelled */
	bool is_large;
	bool is_short; /* may have been done, and its answer not yet sent */
	uint64_t allowed_ms;
};

struct pool_worker {
	struct pool *pool;
	enum pool_worker_state state;
	struct channel *channel; /* NULL: away */
	uint32_t pid;            /* as it says; for the log */
	unsigned done;
	/* The first is at hand, or one of the short ones that come first. */
	struct slot slots[POOL_DEPTH_SHORT];
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
	unsigned large_runs;    /* at most one */
	unsigned deaths;        /* in a row */
	unsigned failed_starts; /* in a row */
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

/* A worker did not come up; what waits for its class may not wait for ever. */
void pool_start_failed(struct pool *pool);

/* ---- pool_worker.c ---- */

void pool_worker_start(struct pool_worker *worker);
/* It is ready and has a slot free; the task is in its class's queue. */
void pool_worker_send(struct pool_worker *worker, struct task *task);
/* It ends once it has nothing to do. */
void pool_worker_retire(struct pool_worker *worker);
/* It is late with its start, or with its task: then it is killed. */
bool pool_worker_check(struct pool_worker *worker, uint64_t now_ms);

/* Answers the task SIGNED_TEMPORARY; it is in no queue. */
void pool_give_up(struct pool *pool, struct task *task, const char *reason);

#endif
