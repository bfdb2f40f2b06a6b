/* SPDX-License-Identifier: ISC */
/*
 * One worker process and what it was given; pool_parts.h has its states.
 * Runs in: postern-signerd, the broker.  Trusts: nothing that a worker says
 * but that it says it for the task at hand.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alerts.h"
#include "signer/pool_parts.h"
#include "signer/signerd.h"

/*
 * From the request for a process to its READY.  A fork, an exec, gpg's
 * question for its parts and a PKCS #11 module take less than a second; a busy
 * machine, and a token that is asked over a network, may need some.
 */
#define START_MS 15000
/* How long a task may take: this, and so much for each MiB. */
#define DEADLINE_MS 30000
#define DEADLINE_MS_PER_MIB 1000
/* A worker that did so many tasks, or was that large, is replaced. */
#define TASKS_MAX 10000
#define MEMORY_MAX_KB (256u * 1024)
/* To wipe its keys, and end gpg's agent and remove its home. */
#define RETIRE_MS 10000
/* One that lived so long had a reason of its own to die. */
#define STABLE_MS 60000
/* Deaths in a row that an administrator should hear of. */
#define DEATHS_ALERT 3
/*
 * A task that may not have been at hand is given to another worker: one that
 * was among several short ones, then behind one that was at hand, twice more.
 */
#define TRIES_MAX 3

static struct spawner *
spawner_of(const struct pool_worker *worker)
{
	return daemon_spawner(worker->pool->pools->signerd->daemon);
}

/* ---- results ---- */

static void
finish(struct task *task, struct task_result *result)
{
	task->worker = NULL;
	task->done(task, result);
	close_if_open(&result->fd);
}

void
pool_give_up(struct pool *pool, struct task *task, const char *reason)
{
	struct task_result result = {.outcome = SIGNED_TEMPORARY,
	    .enhanced = SLICE("4.3.0"),
	    .reason = slice_of(reason),
	    .fd = -1};

	pool->tasks_failed++;
	finish(task, &result);
}

static struct slot
take_slot(struct pool_worker *worker, unsigned at)
{
	struct slot slot = worker->slots[at];

	worker->slot_count--;
	memmove(&worker->slots[at], &worker->slots[at + 1],
	    (worker->slot_count - at) * sizeof(slot));
	if (slot.is_large)
		worker->pool->large_runs--;
	return slot;
}

/* ---- the end ---- */

static void
alert_of_deaths(struct pool *pool)
{
	struct daemon *daemon = pool->pools->signerd->daemon;

	if (++pool->deaths < DEATHS_ALERT || pool->is_alerted)
		return;
	pool->is_alerted = true;
	daemon_alert_raise(daemon, ALERT_PROGRAM, pool_class_name(pool->class),
	    "Workers of the signer (%s) ended %u times in a row; mail that "
	    "needs them waits.",
	    pool_class_name(pool->class), pool->deaths);
}

static void
work_succeeded(struct pool *pool)
{
	pool->deaths = 0;
	if (!pool->is_alerted)
		return;
	pool->is_alerted = false;
	daemon_alert_clear(pool->pools->signerd->daemon, ALERT_PROGRAM,
	    pool_class_name(pool->class));
}

/*
 * The task at hand may be what ended the process; what was behind it was not
 * begun.  Of short ones that are the first nobody knows which was at hand:
 * they are given out again, and are not short then.
 */
static void
give_back_tasks(struct pool_worker *worker, const char *reason)
{
	struct pool *pool = worker->pool;

	/* The last one first: those that wait again keep their order. */
	while (worker->slot_count > 0) {
		struct slot slot = take_slot(worker, worker->slot_count - 1);
		bool is_at_hand = worker->slot_count == 0 && !slot.is_short;

		if (slot.task == NULL)
			continue;
		slot.task->worker = NULL;
		if (!is_at_hand && ++slot.task->tries < TRIES_MAX)
			pool_queue_add_first(&pool->queue, slot.task);
		else
			pool_give_up(pool, slot.task, reason);
	}
}

static void
back_off(struct pool_worker *worker)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (now_ms - worker->started_ms >= STABLE_MS)
		worker->backoff_ms = RESTART_FIRST_MS;
	worker->start_not_before_ms = now_ms + worker->backoff_ms;
	worker->backoff_ms *= 2;
	if (worker->backoff_ms > RESTART_MAX_MS)
		worker->backoff_ms = RESTART_MAX_MS;
}

/* The process is gone, or on its way. */
static void
enter_away(struct pool_worker *worker, const char *reason)
{
	struct pool *pool = worker->pool;
	const enum pool_worker_state before = worker->state;

	worker->state = POOL_WORKER_AWAY;
	worker->channel = NULL;
	give_back_tasks(worker, reason);
	if (before != POOL_WORKER_RETIRING && !pool->pools->is_stopping) {
		alert_of_deaths(pool);
		back_off(worker);
	}
	if (before == POOL_WORKER_STARTING)
		pool_start_failed(pool);
	pools_dispatch(pool->pools);
}

/* Its loop may not run: the spawner ends it. */
static void
kill_worker(struct pool_worker *worker, const char *reason)
{
	struct channel *channel = worker->channel;

	spawner_kill(spawner_of(worker), channel);
	channel_close(channel);
	enter_away(worker, reason);
}

void
pool_worker_retire(struct pool_worker *worker)
{
	struct channel *channel = worker->channel;

	worker->state = POOL_WORKER_RETIRING;
	if (worker->slot_count > 0)
		return;
	spawner_retire(spawner_of(worker), channel, RETIRE_MS);
	channel_close(channel);
	enter_away(worker, "");
}

void
pools_worker_closed(struct pools *pools, struct channel *channel)
{
	struct pool_worker *worker = channel_context(channel);

	(void)pools;
	if (worker->channel != channel)
		return;
	/* It may be alive: silent for too long, or in breach of a row. */
	spawner_kill(spawner_of(worker), channel);
	enter_away(worker, "a worker ended while it was at it");
}

bool
pool_worker_check(struct pool_worker *worker, uint64_t now_ms)
{
	const char *class_name = pool_class_name(worker->pool->class);

	if (worker->state == POOL_WORKER_STARTING &&
	    now_ms > worker->started_ms + START_MS) {
		log_notice(
		    "a worker (%s) did not start and is ended", class_name);
		kill_worker(worker, "a worker did not start in time");
		return true;
	}
	if (worker->slot_count > 0 && now_ms > worker->deadline_ms) {
		log_notice("worker %u (%s) was late and is ended", worker->pid,
		    class_name);
		kill_worker(worker, "a worker did not finish in time");
		return true;
	}
	return false;
}

/* ---- the start ---- */

void
pool_worker_start(struct pool_worker *worker)
{
	struct pool *pool = worker->pool;
	struct channel_config config =
	    daemon_channel_config(pool->pools->signerd->daemon, ROLE_WORKER);

	worker->started_ms = clock_monotonic_ms();
	worker->done = 0;
	worker->pid = 0;
	worker->channel = spawner_spawn(
	    spawner_of(worker), pool_class_name(pool->class), &config);
	if (worker->channel == NULL) {
		worker->start_not_before_ms =
		    worker->started_ms + RESTART_MAX_MS;
		pool_start_failed(pool);
		/* Or nothing would remember that tasks wait for it. */
		pools_dispatch(pool->pools);
		return;
	}
	worker->state = POOL_WORKER_STARTING;
	channel_set_context(worker->channel, worker);
}

static void
send_secret(struct pool_worker *worker, const struct wrap_key *key)
{
	const struct signerd *signerd = worker->pool->pools->signerd;
	const struct settings *settings = daemon_settings(signerd->daemon);
	const enum pool_class class = worker->pool->class;
	struct ipc_worker_secret message = {
	    .wrapping_key = {(const char *)key->octets, sizeof(key->octets)}};
	char folder[512];

	signerd_key_folder(signerd, class, folder, sizeof(folder));
	message.folder = slice_of(folder);
	if (class == POOL_SIGN || class == POOL_OPEN) {
		message.pkcs11_module =
		    slice_of(settings->crypto_pkcs11_module);
		message.pkcs11_folder =
		    slice_of(settings->crypto_pkcs11_folder);
	}
	(void)channel_send(worker->channel, MSG_WORKER_SECRET, &message, NULL);
}

void
pools_worker_up(struct pools *pools, struct channel *channel)
{
	struct pool_worker *worker = channel_context(channel);
	const enum pool_class class = worker->pool->class;
	struct wrap_key key;
	struct err err;

	if (signerd_class_key(pools->signerd, class, &key, &err) == -1) {
		log_notice("key of the class %s: %s", pool_class_name(class),
		    err.text);
		kill_worker(worker, "a worker could not be started");
		return;
	}
	send_secret(worker, &key);
	explicit_bzero(&key, sizeof(key));
}

int
pools_on_ready(struct channel *channel, const struct channel_frame *frame)
{
	struct pool_worker *worker = channel_context(channel);

	if (worker->state != POOL_WORKER_STARTING)
		return -1;
	worker->state = POOL_WORKER_READY;
	worker->pid = frame->message->worker_ready.pid;
	worker->idle_since_ms = clock_monotonic_ms();
	worker->pool->failed_starts = 0;
	pools_dispatch(worker->pool->pools);
	return 0;
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

void
pool_worker_send(struct pool_worker *worker, struct task *task)
{
	struct pool *pool = worker->pool;
	struct slot *slot = &worker->slots[worker->slot_count];
	int rc;

	pool_queue_take_out(&pool->queue, task);
	task->message.task_id = ++pool->pools->last_task_id;
	task->message.is_short = task_is_short(task);
	/* The snapshot may be another one than when the task was made. */
	task->message.authserv_id = slice_of(
	    daemon_settings(pool->pools->signerd->daemon)->smtp_hostname);
	if (task->fd == -1)
		rc = channel_send(
		    worker->channel, MSG_WORK, &task->message, NULL);
	else
		rc = send_file(worker, task);
	if (rc == -1) {
		pool_give_up(
		    pool, task, "a task could not be given to a worker");
		return;
	}
	task->worker = worker;
	*slot = (struct slot){.task_id = task->message.task_id,
	    .task = task,
	    .is_large = task_is_large(task),
	    .is_short = task_is_short(task),
	    .allowed_ms =
		DEADLINE_MS + task->extra_ms +
		(task->message.size_octets >> 20) * DEADLINE_MS_PER_MIB};
	if (slot->is_large)
		pool->large_runs++;
	if (worker->slot_count++ == 0)
		worker->deadline_ms = clock_monotonic_ms() + slot->allowed_ms;
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
	slot = take_slot(worker, 0);
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
	    worker->state == POOL_WORKER_RETIRING)
		pool_worker_retire(worker);
	pools_dispatch(pool->pools);
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
