/* SPDX-License-Identifier: ISC */
/*
 * Plays the little process that forks workers, and the workers of the signer
 * that it would have forked: each behind the socket that a real one gets.
 */
#ifndef TESTS_UNIT_NEST_H
#define TESTS_UNIT_NEST_H

#include "common/spawner.h"

#define NEST_WORKERS_MAX 16
#define NEST_TASKS_MAX 16
#define NEST_PID_FIRST 4000

/* How workers are from now on. */
enum nest_mood {
	NEST_WORKS,      /* takes its secret and says so */
	NEST_IS_UNREADY, /* says HELLO, takes its secret, and hangs */
	NEST_HANGS       /* does not even say HELLO */
};

struct nest_worker {
	struct nest *nest;
	char name[33];
	int fd;                  /* of one that hangs */
	struct channel *channel; /* NULL: it hangs, or the broker closed it */
	bool has_secret;
	bool is_killed;
	/* Not answered yet, in order. */
	uint64_t tasks[NEST_TASKS_MAX];
	unsigned task_count;
	unsigned short_count; /* that came as short ones, answered or not */
};

struct nest {
	struct loop *loop;
	struct channel *parent;
	enum nest_mood mood;
	struct nest_worker workers[NEST_WORKERS_MAX]; /* pid: index + first */
	unsigned count;
	unsigned kills;
};

/* The descriptor is for spawner_new(loop, ROLE_SIGNERD, fd). */
int nest_open(struct nest *nest, struct loop *loop);
void nest_close(struct nest *nest);

/* Its first task is done: WORKED. */
void nest_answer(struct nest_worker *worker);
/* It ends, like a process: its channel closes, its exit is told. */
void nest_end(struct nest_worker *worker);

#endif
