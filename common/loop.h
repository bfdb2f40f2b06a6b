/* SPDX-License-Identifier: ISC */
/*
 * The event loop of a program: libevent, and tasks that run once at the end
 * of a turn, so that what many handlers of one turn wrote leaves together.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Embedded in its owner; zero before its first use. */
struct loop_task {
	void (*run)(void *arg);
	void *arg;
	struct loop_task *next;
	bool is_queued;
};

struct loop *loop_new(void); /* ends the process when libevent fails */
void loop_free(struct loop *loop); /* runs the tasks that wait */
struct event_base *loop_base(struct loop *loop);

/*
 * Runs until loop_stop(), which may also be called before; tasks of the last
 * turn are still run.  May be called again.
 */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/*
 * Runs the task at the end of this turn; asking twice in a turn runs it once.
 * Tasks queued by tasks run in the same turn's end.
 */
void loop_at_turn_end(struct loop *loop, struct loop_task *task);

/* Takes the task back, for an owner that goes away. */
void loop_task_cancel(struct loop *loop, struct loop_task *task);

/* The wall clock, microseconds since 1970. */
uint64_t clock_wall_us(void);
/* For deadlines and durations; no system call. */
uint64_t clock_monotonic_ms(void);

/* Arms a one-shot timer; ms may be 0.  An armed one is set anew. */
void loop_arm(struct event *timer, uint64_t ms);

#endif
