/* SPDX-License-Identifier: ISC */
/*
 * Starts a program's workers.  The spawner is forked before the program opens
 * a store or confines itself; it only forks, execs the same binary in a worker
 * role with one descriptor (3, a channel to the parent) and a clean
 * environment, and reports exits.  So workers inherit no memory, keys or
 * descriptors (DESIGN §1).
 */
#ifndef COMMON_SPAWNER_H
#define COMMON_SPAWNER_H

#include <stdint.h>

#include "common/channel.h"
#include "common/log.h"

/* A worker role: "postern-smtpd --worker NAME" runs main(3). */
struct worker_program {
	const char *name;
	/* Serves the channel until it ends; returns the exit code. */
	int (*main)(int channel_fd);
};

struct spawner;

/*
 * Forks; call first in main, before any thread, store or secret.  Returns the
 * descriptor for spawner_new(), or -1.
 */
int spawner_start(enum role role, const char *binary, struct err *err);

struct spawner *spawner_new(struct loop *loop, enum role role, int fd);
void spawner_free(struct spawner *spawner);

/*
 * Starts a worker; a channel to it with the given config (peer ROLE_WORKER is
 * filled in).  NULL when the spawner is gone or descriptors are out.  The
 * caller restarts with back-off when the channel closes.
 */
struct channel *spawner_spawn(struct spawner *spawner, const char *worker,
    const struct channel_config *config);

/*
 * Ends the worker of that channel, and what it started, at once; its channel
 * then closes like that of any that died.  For one that hangs in a task: its
 * loop does not run, so it would not see its channel close.
 */
void spawner_kill(struct spawner *spawner, const struct channel *channel);

/*
 * Its channel is about to be closed here, and it then ends by itself; if not
 * within that time, since it hangs, it is ended.
 */
void spawner_retire(
    struct spawner *spawner, const struct channel *channel, uint32_t within_ms);

#endif
