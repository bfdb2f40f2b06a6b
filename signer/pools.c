/* SPDX-License-Identifier: ISC */
/*
 * Keeps the workers at work, each class by itself.
 * Runs in: postern-signerd, the broker.  Trusts: nothing that a worker says
 * but that it says it for the task at hand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alerts.h"
#include "signer/pools.h"
#include "signer/signerd.h"

/* Processes of one class at most. */
#define WORKERS_MAX 32
#define KEY_WORKERS 2
/* The task at hand, and the one behind it. */
#define DEPTH 2
/* What waits in a class: more is "busy", and the mail waits in the queue. */
#define QUEUE_TASKS_MAX 2000
#define QUEUE_OCTETS_MAX (64u * 1024 * 1024)
/* Above this a task is a large one. */
#define LARGE_OCTETS (8u * 1024 * 1024)
/* How long a task may take: this, and so much for each MiB. */
#define DEADLINE_MS 30000
#define DEADLINE_MS_PER_MIB 1000
/* A worker that did so many tasks, or was that large, is replaced. */
#define TASKS_MAX 10000
#define MEMORY_MAX_KB (256u * 1024)
#define IDLE_MS (10u * 60 * 1000)
/* One that dies is started again after this, doubled each time. */
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 5000
/* One that lived so long had a reason of its own to die. */
#define STABLE_MS 60000
/* Deaths in a row that an administrator should hear of. */
#define DEATHS_ALERT 3
/* A task that was only behind the one at hand is given to another worker. */
#define TRIES_MAX 2

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
	struct slot slots[DEPTH]; /* the first is at hand */
	unsigned slot_count;
	uint64_t deadline_ms; /* of the first */
	uint64_t idle_since_ms;
	uint64_t started_ms;
	uint64_t start_not_before_ms;
	uint64_t backoff_ms;
};

struct queue {
	struct task *first;
	struct task **last;
	size_t count;
};

struct pool {
	struct pools *pools;
	enum pool_class class;
	unsigned worker_count;
	struct pool_worker workers[WORKERS_MAX];
	struct queue small;
	struct queue large;
	size_t octets;       /* in memory, of what is queued */
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

/* ---- queues ---- */

static bool
is_large(const struct task *task)
{
	return task->message.size_octets > LARGE_OCTETS;
}

static struct queue *
queue_of(struct pool *pool, const struct task *task)
{
	return is_large(task) ? &pool->large : &pool->small;
}

static size_t
memory_of(const struct task *task)
{
	return task->fd == -1 ? task->message.content.n : 0;
}

static void
push(struct pool *pool, struct task *task, bool is_first)
{
	struct queue *queue = queue_of(pool, task);

	if (is_first) {
		task->next = queue->first;
		queue->first = task;
		if (queue->last == &queue->first)
			queue->last = &task->next;
	} else {
		task->next = NULL;
		*queue->last = task;
		queue->last = &task->next;
	}
	queue->count++;
	pool->octets += memory_of(task);
	task->is_queued = true;
}

static void
take_out(struct pool *pool, struct task *task)
{
	struct queue *queue = queue_of(pool, task);
	struct task **at = &queue->first;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (task->next == NULL)
		queue->last = at;
	queue->count--;
	pool->octets -= memory_of(task);
	task->is_queued = false;
}

/* The next to be sent: of small and large ones who came first. */
static struct task *
next_task(const struct pool *pool)
{
	struct task *small = pool->small.first;
	struct task *large = pool->large_runs == 0 ? pool->large.first : NULL;

	if (small == NULL || large == NULL)
		return small != NULL ? small : large;
	return large->queued_ms < small->queued_ms ? large : small;
}

/* ---- results ---- */

static void
finish(struct task *task, struct task_result *result)
{
	task->worker = NULL;
	task->done(task, result);
	close_if_open(&result->fd);
}

static void
give_up(struct task *task, const char *reason)
{
	struct task_result result = {.outcome = SIGNED_TEMPORARY,
	    .enhanced = SLICE("4.3.0"),
	    .reason = slice_of(reason),
	    .fd = -1};

	finish(task, &result);
}

static struct slot
take_slot(struct pool_worker *worker)
{
	struct slot slot = worker->slots[0];

	worker->slot_count--;
	memmove(&worker->slots[0], &worker->slots[1],
	    worker->slot_count * sizeof(slot));
	if (slot.is_large)
		worker->pool->large_runs--;
	return slot;
}

/* ---- workers ---- */

static void
alert_of_deaths(struct pool *pool)
{
	struct daemon *daemon = pool->pools->signerd->daemon;

	if (++pool->deaths < DEATHS_ALERT || pool->is_alerted)
		return;
	pool->is_alerted = true;
	daemon_alert_raise(daemon, ALERT_PROGRAM, class_names[pool->class],
	    "Workers of the signer (%s) ended %u times in a row; mail that "
	    "needs them waits.",
	    class_names[pool->class], pool->deaths);
}

static void
work_succeeded(struct pool *pool)
{
	pool->deaths = 0;
	if (!pool->is_alerted)
		return;
	pool->is_alerted = false;
	daemon_alert_clear(pool->pools->signerd->daemon, ALERT_PROGRAM,
	    class_names[pool->class]);
}

/*
 * The process is gone or given up.  The task at hand may be what ended it;
 * what was behind it was not begun.
 */
static void
worker_gone(struct pool_worker *worker, const char *reason)
{
	struct pool *pool = worker->pool;
	uint64_t now_ms = clock_monotonic_ms();
	bool was_wanted = !worker->is_retiring;
	bool is_first = true;

	worker->channel = NULL;
	worker->is_up = false;
	worker->is_retiring = false;
	while (worker->slot_count > 0) {
		struct slot slot = take_slot(worker);

		if (slot.task == NULL) {
			is_first = false;
			continue;
		}
		slot.task->worker = NULL;
		if (!is_first && ++slot.task->tries < TRIES_MAX) {
			push(pool, slot.task, true);
		} else {
			pool->tasks_failed++;
			give_up(slot.task, reason);
		}
		is_first = false;
	}
	if (now_ms - worker->started_ms >= STABLE_MS)
		worker->backoff_ms = RESTART_FIRST_MS;
	if (was_wanted && !pool->pools->is_stopping) {
		alert_of_deaths(pool);
		worker->start_not_before_ms = now_ms + worker->backoff_ms;
		worker->backoff_ms *= 2;
		if (worker->backoff_ms > RESTART_MAX_MS)
			worker->backoff_ms = RESTART_MAX_MS;
	}
	loop_at_turn_end(
	    daemon_loop(pool->pools->signerd->daemon), &pool->pools->dispatch);
}

static void
start(struct pool_worker *worker)
{
	struct pool *pool = worker->pool;
	struct daemon *daemon = pool->pools->signerd->daemon;
	struct channel_config config =
	    daemon_channel_config(daemon, ROLE_WORKER);

	worker->started_ms = clock_monotonic_ms();
	worker->idle_since_ms = worker->started_ms;
	worker->done = 0;
	worker->channel = spawner_spawn(
	    daemon_spawner(daemon), class_names[pool->class], &config);
	if (worker->channel == NULL)
		worker->start_not_before_ms =
		    worker->started_ms + RESTART_MAX_MS;
	else
		channel_set_context(worker->channel, worker);
}

/* Its loop may not run: the spawner ends it. */
static void
kill_worker(struct pool_worker *worker, const char *reason)
{
	struct channel *channel = worker->channel;

	spawner_kill(
	    daemon_spawner(worker->pool->pools->signerd->daemon), channel);
	channel_close(channel);
	worker_gone(worker, reason);
}

/* It has nothing to do and sees its channel close. */
static void
retire(struct pool_worker *worker)
{
	struct channel *channel = worker->channel;

	worker->is_retiring = true;
	if (worker->slot_count > 0)
		return;
	channel_close(channel);
	worker_gone(worker, "");
}

void
pools_worker_up(struct pools *pools, struct channel *channel)
{
	struct pool_worker *worker = channel_context(channel);
	enum pool_class class = worker->pool->class;
	const struct settings *settings =
	    daemon_settings(pools->signerd->daemon);
	struct ipc_worker_secret message;
	struct wrap_key key;
	char folder[512];
	struct err err;

	if (signerd_class_key(pools->signerd, class, &key, &err) == -1) {
		log_notice(
		    "key of the class %s: %s", class_names[class], err.text);
		kill_worker(worker, "a worker could not be started");
		return;
	}
	signerd_key_folder(pools->signerd, class, folder, sizeof(folder));
	message = (struct ipc_worker_secret){
	    .wrapping_key = {(const char *)key.octets, sizeof(key.octets)},
	    .folder = slice_of(folder)};
	if (class == POOL_SIGN || class == POOL_OPEN) {
		message.pkcs11_module =
		    slice_of(settings->crypto_pkcs11_module);
		message.pkcs11_folder =
		    slice_of(settings->crypto_pkcs11_folder);
	}
	(void)channel_send(channel, MSG_WORKER_SECRET, &message, NULL);
	explicit_bzero(&key, sizeof(key));
	worker->is_up = true;
	loop_at_turn_end(daemon_loop(pools->signerd->daemon), &pools->dispatch);
}

void
pools_worker_closed(struct pools *pools, struct channel *channel)
{
	struct pool_worker *worker = channel_context(channel);

	(void)pools;
	if (worker->channel == channel)
		worker_gone(worker, "a worker ended while it was at it");
}

/* ---- sending ---- */

static int
send_file(struct pool_worker *worker, const struct task *task)
{
	const struct ipc_work *work = &task->message;
	struct ipc_work_file message = {.task_id = work->task_id,
	    .op = work->op,
	    .options = work->options,
	    .sender = work->sender,
	    .recipient = work->recipient,
	    .authserv_id = work->authserv_id,
	    .now_s = work->now_s,
	    .size_octets = work->size_octets,
	    .output_limit = work->output_limit,
	    .removals = work->removals,
	    .facts = work->facts,
	    .keys = work->keys};
	int fds[2] = {task->fd, -1};
	struct err err;
	int rc = -1;

	fds[1] = signerd_scratch_file(worker->pool->pools->signerd, &err);
	if (fds[1] == -1)
		log_notice("%s", err.text);
	else
		rc =
		    channel_send(worker->channel, MSG_WORK_FILE, &message, fds);
	close_if_open(&fds[1]);
	return rc;
}

static void
send_task(struct pool_worker *worker, struct task *task)
{
	struct pool *pool = worker->pool;
	struct slot *slot = &worker->slots[worker->slot_count];
	int rc;

	take_out(pool, task);
	task->message.task_id = ++pool->pools->last_task_id;
	/* The snapshot may be another one than when the task was made. */
	task->message.authserv_id = slice_of(
	    daemon_settings(pool->pools->signerd->daemon)->smtp_hostname);
	if (task->fd == -1)
		rc = channel_send(
		    worker->channel, MSG_WORK, &task->message, NULL);
	else
		rc = send_file(worker, task);
	if (rc == -1) {
		pool->tasks_failed++;
		give_up(task, "a task could not be given to a worker");
		return;
	}
	task->worker = worker;
	*slot = (struct slot){.task_id = task->message.task_id,
	    .task = task,
	    .is_large = is_large(task),
	    .allowed_ms = DEADLINE_MS + (task->message.size_octets >> 20) *
					    DEADLINE_MS_PER_MIB};
	if (slot->is_large)
		pool->large_runs++;
	if (worker->slot_count++ == 0)
		worker->deadline_ms = clock_monotonic_ms() + slot->allowed_ms;
}

/* The one with the least to do, if one can take a task. */
static struct pool_worker *
find_worker(struct pool *pool)
{
	struct pool_worker *best = NULL;
	unsigned depth = pool->class == POOL_KEY ? 1 : DEPTH;

	for (unsigned i = 0; i < pool->worker_count; i++) {
		struct pool_worker *worker = &pool->workers[i];

		if (worker->is_up && !worker->is_retiring &&
		    worker->slot_count < depth &&
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

		if (worker->is_up)
			continue;
		if (worker->channel == NULL &&
		    now_ms < worker->start_not_before_ms) {
			wait_ms = worker->start_not_before_ms - now_ms;
			continue;
		}
		if (worker->channel == NULL)
			start(worker);
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

	while ((task = next_task(pool)) != NULL) {
		struct pool_worker *worker = find_worker(pool);

		if (worker == NULL)
			break;
		if (worker->slot_count > 0)
			alone++;
		send_task(worker, task);
	}
	alone += pool->small.count + pool->large.count;
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

int
pools_submit(struct pools *pools, struct task *task, struct err *err)
{
	struct pool *pool = &pools->list[task->class];

	if (pools->is_stopping ||
	    pool->small.count + pool->large.count >= QUEUE_TASKS_MAX ||
	    pool->octets + memory_of(task) > QUEUE_OCTETS_MAX) {
		pool->refused++;
		return err_set(err, "too much waits for the signer's \"%s\"",
		    class_names[task->class]);
	}
	task->queued_ms = clock_monotonic_ms();
	task->tries = 0;
	task->worker = NULL;
	push(pool, task, false);
	loop_at_turn_end(daemon_loop(pools->signerd->daemon), &pools->dispatch);
	return 0;
}

void
pools_cancel(struct pools *pools, struct task *task)
{
	struct pool_worker *worker = task->worker;

	if (task->is_queued)
		take_out(&pools->list[task->class], task);
	if (worker == NULL)
		return;
	task->worker = NULL;
	for (unsigned i = 0; i < worker->slot_count; i++)
		if (worker->slots[i].task == task)
			worker->slots[i].task = NULL;
}

/* ---- answers ---- */

static int
take_answer(struct pool_worker *worker, uint64_t task_id, uint32_t memory_kb,
    struct task_result *result)
{
	struct pool *pool = worker->pool;
	unsigned most = pool->class == POOL_KEY ? 1 : TASKS_MAX;
	struct slot slot;

	if (worker->slot_count == 0 || worker->slots[0].task_id != task_id ||
	    result->outcome >= SIGN_OUTCOME_COUNT ||
	    (result->applied & ~(unsigned)APPLIED_ALL) != 0)
		return -1;
	slot = take_slot(worker);
	worker->idle_since_ms = clock_monotonic_ms();
	if (worker->slot_count > 0)
		worker->deadline_ms =
		    worker->idle_since_ms + worker->slots[0].allowed_ms;
	worker->done++;
	worker->backoff_ms = RESTART_FIRST_MS;
	pool->tasks_done++;
	work_succeeded(pool);
	if (slot.task != NULL)
		finish(slot.task, result);
	if (worker->done >= most || memory_kb > MEMORY_MAX_KB ||
	    worker->is_retiring)
		retire(worker);
	loop_at_turn_end(
	    daemon_loop(pool->pools->signerd->daemon), &pool->pools->dispatch);
	return 0;
}

int
pools_on_worked(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_worked *message = &frame->message->worked;
	struct task_result result = {
	    .outcome = (enum sign_outcome)message->outcome,
	    .applied = message->applied,
	    .method = message->method,
	    .enhanced = message->enhanced,
	    .reason = message->reason,
	    .facts = message->facts,
	    .harvested = message->harvested,
	    .content = message->content,
	    .is_prefix = message->is_prefix,
	    .fd = -1,
	    .size_octets = message->content.n};

	return take_answer(channel_context(channel), message->task_id,
	    message->memory_kb, &result);
}

int
pools_on_worked_file(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_worked_file *message = &frame->message->worked_file;
	struct task_result result = {
	    .outcome = (enum sign_outcome)message->outcome,
	    .applied = message->applied,
	    .method = message->method,
	    .enhanced = message->enhanced,
	    .reason = message->reason,
	    .facts = message->facts,
	    .harvested = message->harvested,
	    .fd = frame->fds[0],
	    .size_octets = message->size_octets};
	int rc;

	frame->fds[0] = -1;
	rc = take_answer(channel_context(channel), message->task_id,
	    message->memory_kb, &result);
	if (rc == -1)
		close_if_open(&result.fd);
	return rc;
}

/* ---- time ---- */

void
pools_tick(struct pools *pools)
{
	uint64_t now_ms = clock_monotonic_ms();

	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++)
		for (unsigned k = 0; k < pools->list[i].worker_count; k++) {
			struct pool_worker *worker = &pools->list[i].workers[k];

			if (worker->channel == NULL)
				continue;
			if (worker->slot_count > 0 &&
			    now_ms > worker->deadline_ms) {
				log_notice("a worker (%s) was late and is "
					   "ended",
				    class_names[i]);
				kill_worker(
				    worker, "a worker did not finish in time");
			} else if (worker->is_up && worker->slot_count == 0 &&
				   (pools->is_stopping ||
				       now_ms - worker->idle_since_ms >
					   IDLE_MS)) {
				retire(worker);
			}
		}
}

struct pools *
pools_new(struct signerd *signerd, unsigned processors)
{
	struct pools *pools = xcalloc(1, sizeof(*pools));
	struct event_base *base = loop_base(daemon_loop(signerd->daemon));
	unsigned count = processors < WORKERS_MAX ? processors : WORKERS_MAX;

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
		pool->small.last = &pool->small.first;
		pool->large.last = &pool->large.first;
		for (unsigned k = 0; k < WORKERS_MAX; k++) {
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
	pools_tick(pools);
}

bool
pools_are_idle(const struct pools *pools)
{
	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++) {
		const struct pool *pool = &pools->list[i];

		if (pool->small.count + pool->large.count > 0)
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
			up += pool->workers[k].is_up;
		(void)snprintf(
		    name, sizeof(name), "%s_workers", class_names[i]);
		status_counter(status, name, up);
		(void)snprintf(
		    name, sizeof(name), "%s_waiting", class_names[i]);
		status_counter(status, name,
		    (int64_t)(pool->small.count + pool->large.count));
		(void)snprintf(name, sizeof(name), "%s_done", class_names[i]);
		status_counter(status, name, (int64_t)pool->tasks_done);
		(void)snprintf(name, sizeof(name), "%s_failed", class_names[i]);
		status_counter(status, name, (int64_t)pool->tasks_failed);
	}
}
