/* SPDX-License-Identifier: ISC */
/*
 * libevent with an end of turn.
 * Runs in: every program that serves.  Trusts: its owner's handlers.
 */
#include <stdlib.h>
#include <time.h>

#include "common/err.h"
#include "common/loop.h"

struct loop {
	struct event_base *base;
	struct loop_task *first;
	struct loop_task **last;
	bool is_stopped;
};

uint64_t
clock_wall_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
clock_monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct loop *
loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));

	/*
	 * An event that cannot be added would never come: out of memory ends
	 * the process there as everywhere else.
	 */
	event_set_mem_functions(xmalloc, xrealloc, free);
	if ((loop->base = event_base_new()) == NULL)
		fatal("libevent found no way to wait for events");
	loop->last = &loop->first;
	return loop;
}

struct event_base *
loop_base(struct loop *loop)
{
	return loop->base;
}

static void
run_tasks(struct loop *loop)
{
	while (loop->first != NULL) {
		struct loop_task *task = loop->first;

		loop->first = task->next;
		if (loop->first == NULL)
			loop->last = &loop->first;
		task->is_queued = false;
		task->run(task->arg);
	}
}

void
loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	run_tasks(loop); /* owners that went away after the last turn */
	event_base_free(loop->base);
	free(loop);
}

void
loop_run(struct loop *loop)
{
	run_tasks(loop);
	while (!loop->is_stopped) {
		if (event_base_loop(loop->base, EVLOOP_ONCE) == -1)
			fatal("the event loop failed");
		run_tasks(loop);
	}
	loop->is_stopped = false;
}

void
loop_stop(struct loop *loop)
{
	loop->is_stopped = true;
	(void)event_base_loopbreak(loop->base);
}

void
loop_at_turn_end(struct loop *loop, struct loop_task *task)
{
	if (task->is_queued)
		return;
	task->is_queued = true;
	task->next = NULL;
	*loop->last = task;
	loop->last = &task->next;
}

void
loop_task_cancel(struct loop *loop, struct loop_task *task)
{
	struct loop_task **at = &loop->first;

	if (!task->is_queued)
		return;
	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (loop->last == &task->next)
		loop->last = at;
	task->is_queued = false;
}

void
loop_arm(struct event *timer, uint64_t ms)
{
	struct timeval wait = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(timer, &wait);
}
