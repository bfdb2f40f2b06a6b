/* SPDX-License-Identifier: ISC */
/*
 * A spawner's process and its workers, all of them in this process.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/vocabulary.h"
#include "tests/unit/nest.h"

static uint32_t
pid_of(const struct nest_worker *worker)
{
	return NEST_PID_FIRST + (uint32_t)(worker - worker->nest->workers);
}

/* ---- a worker ---- */

static int
on_secret(struct channel *channel, const struct channel_frame *frame)
{
	struct nest_worker *worker = channel_owner(channel);
	struct ipc_worker_ready ready = {.pid = pid_of(worker)};

	(void)frame;
	worker->has_secret = true;
	return worker->nest->mood == NEST_WORKS
		   ? channel_send(channel, MSG_WORKER_READY, &ready, NULL)
		   : 0;
}

static int
take_task(struct nest_worker *worker, uint64_t task_id)
{
	if (worker->task_count == NEST_TASKS_MAX)
		return -1;
	worker->tasks[worker->task_count++] = task_id;
	return 0;
}

static int
on_work(struct channel *channel, const struct channel_frame *frame)
{
	struct nest_worker *worker = channel_owner(channel);
	const struct ipc_work *work = &frame->message->work;

	worker->short_count += work->is_short;
	return take_task(worker, work->task_id);
}

static int
on_work_file(struct channel *channel, const struct channel_frame *frame)
{
	return take_task(
	    channel_owner(channel), frame->message->work_file.task_id);
}

static void
on_broker_gone(struct channel *channel, const char *reason)
{
	struct nest_worker *worker = channel_owner(channel);

	(void)reason;
	worker->channel = NULL;
}

static const struct channel_handler worker_takes[] = {
    {ROLE_SIGNERD, MSG_WORKER_SECRET, on_secret},
    {ROLE_SIGNERD, MSG_WORK, on_work},
    {ROLE_SIGNERD, MSG_WORK_FILE, on_work_file}, {ROLE_NONE, MSG_HELLO, NULL}};

void
nest_answer(struct nest_worker *worker)
{
	struct ipc_worked worked = {.task_id = worker->tasks[0],
	    .outcome = SIGNED_DONE,
	    .content = SLICE("made")};

	worker->task_count--;
	memmove(&worker->tasks[0], &worker->tasks[1],
	    worker->task_count * sizeof(worker->tasks[0]));
	(void)channel_send(worker->channel, MSG_WORKED, &worked, NULL);
}

void
nest_end(struct nest_worker *worker)
{
	struct ipc_worker_exited exited = {.pid = pid_of(worker)};

	if (worker->channel != NULL)
		channel_close(worker->channel);
	worker->channel = NULL;
	close_if_open(&worker->fd);
	(void)channel_send(
	    worker->nest->parent, MSG_WORKER_EXITED, &exited, NULL);
}

/* ---- the nest ---- */

static int
on_spawn(struct channel *channel, const struct channel_frame *frame)
{
	struct nest *nest = channel_owner(channel);
	struct nest_worker *worker = &nest->workers[nest->count];
	struct channel_config config = {.loop = nest->loop,
	    .self = ROLE_WORKER,
	    .peer = ROLE_SIGNERD,
	    .handlers = worker_takes,
	    .owner = worker,
	    .closed = on_broker_gone};
	struct ipc_spawned answer;

	if (nest->count++ == NEST_WORKERS_MAX)
		fatal("too many workers");
	*worker = (struct nest_worker){.nest = nest, .fd = -1};
	if (slice_copy(frame->message->spawn.worker, worker->name,
		sizeof(worker->name)) == -1)
		return -1;
	if (nest->mood == NEST_HANGS)
		worker->fd = frame->fds[0];
	else
		worker->channel = channel_new(&config, frame->fds[0]);
	frame->fds[0] = -1;
	answer.pid = pid_of(worker);
	return channel_answer(channel, frame->request_id, MSG_SPAWNED, &answer);
}

static int
on_kill(struct channel *channel, const struct channel_frame *frame)
{
	struct nest *nest = channel_owner(channel);
	const uint32_t at = frame->message->worker_kill.pid - NEST_PID_FIRST;

	if (at >= nest->count)
		return -1;
	nest->kills++;
	nest->workers[at].is_killed = true;
	nest_end(&nest->workers[at]);
	return 0;
}

static const struct channel_handler nest_takes[] = {
    {ROLE_SIGNERD, MSG_SPAWN, on_spawn},
    {ROLE_SIGNERD, MSG_WORKER_KILL, on_kill}, {ROLE_NONE, MSG_HELLO, NULL}};

int
nest_open(struct nest *nest, struct loop *loop)
{
	struct channel_config config = {.loop = loop,
	    .self = ROLE_SPAWNER,
	    .peer = ROLE_SIGNERD,
	    .handlers = nest_takes,
	    .owner = nest};
	int fds[2];

	*nest = (struct nest){.loop = loop};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
	nest->parent = channel_new(&config, fds[0]);
	return fds[1];
}

void
nest_close(struct nest *nest)
{
	for (unsigned i = 0; i < nest->count; i++) {
		if (nest->workers[i].channel != NULL)
			channel_close(nest->workers[i].channel);
		close_if_open(&nest->workers[i].fd);
	}
	channel_close(nest->parent);
}
