/* SPDX-License-Identifier: ISC */
/*
 * The classes of workers: what waits, and who gets it.
 * Runs in: postern-signerd, the broker.  Trusts: nothing that a worker says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "signer/pool_parts.h"
#include "signer/signerd.h"

#define KEY_WORKERS 2
#define IDLE_MS (10u * 60 * 1000)
/* So many starts in a row that failed are no accident. */
#define STARTS_FAILED_MAX 3

static const char *const class_names[POOL_CLASS_COUNT] = {[POOL_SIGN] = "sign",
    [POOL_OPEN] = "open",
    [POOL_PGP_SIGN] = "pgp-sign",
    [POOL_PGP_OPEN] = "pgp-open",
    [POOL_KEY] = "key"};

static const enum pool_class class_of_op[WORK_OP_COUNT] = {
    [WORK_PROTECT] = POOL_SIGN,
    [WORK_PGP_PROTECT] = POOL_PGP_SIGN,
    [WORK_OPEN] = POOL_OPEN,
    [WORK_PGP_OPEN] = POOL_PGP_OPEN,
    [WORK_KEY] = POOL_KEY};

const char *pool_class_name(enum pool_class class)
{
	return class_names[class];
}

enum pool_class
pool_class_of(enum work_op op)
{
	return class_of_op[op];
}

/* ---- who gets what waits ---- */

static bool
has_short_alone(const struct pool_worker *worker)
{
	for (unsigned i = 0; i < worker->slot_count; i++)
		if (!worker->slots[i].is_short)
			return false;
	return true;
}

static bool
has_room(const struct pool_worker *worker, const struct task *task)
{
	if (worker->pool->class == POOL_KEY)
		return worker->slot_count == 0;
	if (worker->slot_count < POOL_DEPTH)
		return true;
	return task_is_short(task) && worker->slot_count < POOL_DEPTH_SHORT &&
	       has_short_alone(worker);
}

static struct pool_worker *
find_worker(struct pool *pool, const struct task *task)
{
	struct pool_worker *best = NULL;

	for (unsigned i = 0; i < pool->worker_count; i++) {
		struct pool_worker *worker = &pool->workers[i];

		if (worker->state == POOL_WORKER_READY &&
		    has_room(worker, task) &&
		    (best == NULL || worker->slot_count < best->slot_count))
			best = worker;
	}
	return best;
}

/* Starts what is missing for that many tasks, no more at once than that. */
static void
start_workers(struct pool *pool, size_t tasks)
{
	uint64_t now_ms = clock_monotonic_ms();
	uint64_t wait_ms = 0;

	for (unsigned i = 0; i < pool->worker_count && tasks > 0; i++) {
		struct pool_worker *worker = &pool->workers[i];

		if (worker->state == POOL_WORKER_READY ||
		    worker->state == POOL_WORKER_RETIRING)
			continue;
		if (worker->state == POOL_WORKER_AWAY &&
		    now_ms < worker->start_not_before_ms) {
			wait_ms = worker->start_not_before_ms - now_ms;
			continue;
		}
		if (worker->state == POOL_WORKER_AWAY)
			pool_worker_start(worker);
		tasks--;
	}
	if (wait_ms != 0 &&
	    !event_pending(pool->pools->retry, EV_TIMEOUT, NULL))
		loop_arm(pool->pools->retry, wait_ms);
}

static void
dispatch_pool(struct pool *pool)
{
	struct task *task;
	size_t alone = 0; /* that found nobody idle */

	while ((task = pool_queue_next(&pool->queue, pool->large_runs == 0)) !=
	       NULL) {
		struct pool_worker *worker = find_worker(pool, task);

		if (worker == NULL)
			break;
		if (worker->slot_count > 0)
			alone++;
		pool_worker_send(worker, task);
	}
	alone += pool_queue_count(&pool->queue);
	if (alone > 0)
		start_workers(pool, alone);
}

static void
dispatch(void *arg)
{
	struct pools *pools = arg;

	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++)
		dispatch_pool(&pools->list[i]);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	dispatch(arg);
}

void
pools_dispatch(struct pools *pools)
{
	loop_at_turn_end(daemon_loop(pools->signerd->daemon), &pools->dispatch);
}

int
pools_submit(struct pools *pools, struct task *task, struct err *err)
{
	struct pool *pool = &pools->list[task->class];

	if (pools->is_stopping || !pool_queue_has_room(&pool->queue, task)) {
		pool->refused++;
		return err_set(err, "too much waits for the signer's \"%s\"",
		    class_names[task->class]);
	}
	task->queued_ms = clock_monotonic_ms();
	task->tries = 0;
	task->worker = NULL;
	pool_queue_add(&pool->queue, task);
	pools_dispatch(pools);
	return 0;
}

void
pools_cancel(struct pools *pools, struct task *task)
{
	struct pool_worker *worker = task->worker;

	if (task->is_queued)
		pool_queue_take_out(&pools->list[task->class].queue, task);
	if (worker == NULL)
		return;
	task->worker = NULL;
	for (unsigned i = 0; i < worker->slot_count; i++)
		if (worker->slots[i].task == task)
			worker->slots[i].task = NULL;
}

/* ---- what waits in vain ---- */

static bool
has_ready_worker(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->worker_count; i++)
		if (pool->workers[i].state == POOL_WORKER_READY)
			return true;
	return false;
}

/* It would hold places in the queue's program that others could use. */
void
pool_start_failed(struct pool *pool)
{
	size_t count = pool_queue_count(&pool->queue);

	if (++pool->failed_starts < STARTS_FAILED_MAX || has_ready_worker(pool))
		return;
	/* Who is given up may submit another: that one waits. */
	for (; count > 0; count--) {
		struct task *task = pool_queue_next(&pool->queue, true);

		if (task == NULL)
			return;
		pool_queue_take_out(&pool->queue, task);
		pool_give_up(pool, task, "no worker could be started");
	}
}

/* ---- time ---- */

void
pools_tick(struct pools *pools, uint64_t now_ms)
{
	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++)
		for (unsigned k = 0; k < pools->list[i].worker_count; k++) {
			struct pool_worker *worker = &pools->list[i].workers[k];

			if (pool_worker_check(worker, now_ms))
				continue;
			if (worker->state == POOL_WORKER_READY &&
			    worker->slot_count == 0 &&
			    (pools->is_stopping ||
				now_ms > worker->idle_since_ms + IDLE_MS))
				pool_worker_retire(worker);
		}
}

struct pools *
pools_new(struct signerd *signerd, unsigned processors)
{
	struct pools *pools = xcalloc(1, sizeof(*pools));
	struct event_base *base = loop_base(daemon_loop(signerd->daemon));
	unsigned count =
	    processors < POOL_WORKERS_MAX ? processors : POOL_WORKERS_MAX;

	pools->signerd = signerd;
	pools->dispatch = (struct loop_task){.run = dispatch, .arg = pools};
	pools->retry = event_new(base, -1, 0, on_retry, pools);
	if (pools->retry == NULL)
		fatal("out of memory for a timer");
	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++) {
		struct pool *pool = &pools->list[i];

		pool->pools = pools;
		pool->class = (enum pool_class)i;
		pool->worker_count = i == POOL_KEY ? KEY_WORKERS : count;
		pool_queue_init(&pool->queue);
		for (unsigned k = 0; k < POOL_WORKERS_MAX; k++) {
			pool->workers[k].pool = pool;
			pool->workers[k].backoff_ms = RESTART_FIRST_MS;
		}
	}
	return pools;
}

void
pools_stop(struct pools *pools)
{
	pools->is_stopping = true;
	pools_tick(pools, clock_monotonic_ms());
}

bool
pools_are_idle(const struct pools *pools)
{
	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++) {
		const struct pool *pool = &pools->list[i];

		if (pool_queue_count(&pool->queue) > 0)
			return false;
		for (unsigned k = 0; k < pool->worker_count; k++)
			if (pool->workers[k].slot_count > 0)
				return false;
	}
	return true;
}

void
pools_status(const struct pools *pools, struct status_writer *status)
{
	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++) {
		const struct pool *pool = &pools->list[i];
		unsigned up = 0;
		char name[48];

		for (unsigned k = 0; k < pool->worker_count; k++)
			up += pool->workers[k].state == POOL_WORKER_READY;
		(void)snprintf(
		    name, sizeof(name), "%s_workers", class_names[i]);
		status_counter(status, name, up);
		(void)snprintf(
		    name, sizeof(name), "%s_waiting", class_names[i]);
		status_counter(
		    status, name, (int64_t)pool_queue_count(&pool->queue));
		(void)snprintf(name, sizeof(name), "%s_done", class_names[i]);
		status_counter(status, name, (int64_t)pool->tasks_done);
		(void)snprintf(name, sizeof(name), "%s_failed", class_names[i]);
		status_counter(status, name, (int64_t)pool->tasks_failed);
	}
}
