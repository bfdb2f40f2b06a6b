/* SPDX-License-Identifier: ISC */
/*
 * Where logins wait that the throttle has no room for yet: in order of their
 * arrival, so many in all and of one network, and for a bounded time.
 */
#ifndef SMTPD_LOGIN_LINE_H
#define SMTPD_LOGIN_LINE_H

#include "common/loop.h"
#include "smtpd/throttle.h"

/* A large office at nine o'clock; the flood shield lets in fewer by default. */
#define LOGIN_LINE_NETWORK_MAX 256
/* Half of the attempts that there may be: those that need not wait have room */
#define LOGIN_LINE_MAX 1024

struct login_line;

/* Embedded in what waits; all but turn and arg is the line's. */
struct login_waiter {
	/*
	 * Try again: there may be room.  Who need not wait any more leaves
	 * the line, and has to when is_over.
	 */
	void (*turn)(void *arg, bool is_over);
	void *arg;
	struct login_waiter *next;
	struct login_waiter *previous;
	struct netprefix network;
	uint64_t key_bits;
	uint64_t over_ms;
	bool is_waiting;
};

struct login_line *login_line_new(struct loop *loop, uint64_t wait_ms);
void login_line_free(struct login_line *line); /* nobody waits any more */

/* For what the try counts on.  -1: too many wait. */
int login_line_join(struct login_line *line, struct login_waiter *waiter,
    const struct throttle_try *try, const struct netaddr *client);

/* Also for one that does not wait. */
void login_line_leave(struct login_line *line, struct login_waiter *waiter);

/* That try has its outcome: those who wait for it have a turn soon. */
void login_line_settled(
    struct login_line *line, const struct throttle_try *try);

size_t login_line_count(const struct login_line *line);

#endif
