/* SPDX-License-Identifier: ISC */
/*
 * Refused connections on their way to the log: the first of a network and
 * reason at once, further ones as one event a minute with their number.  Pure
 * but for its memory, which is bounded.
 */
#ifndef SMTPD_REFUSALS_H
#define SMTPD_REFUSALS_H

#include <stdint.h>

#include "common/netaddr.h"

struct refusals;

/* Told once for each event: the latest client, why, how often. */
typedef void refusals_tell_fn(void *arg, const struct netaddr *client,
    const char *reason, uint32_t times);

struct refusals *refusals_new(refusals_tell_fn *tell, void *arg);
void refusals_free(struct refusals *refusals);

/* reason: a text that stays. */
void refusals_note(struct refusals *refusals, const struct netaddr *client,
    const char *reason);

/* Once a minute. */
void refusals_flush(struct refusals *refusals);

#endif
