/* SPDX-License-Identifier: ISC */
/*
 * Does an output look like what the signer says of it?  Its word is not enough
 * to let mail leave: a mistake there must not send plain text.  Pure.
 */
#ifndef RELAY_QUEUE_SIGN_CHECK_H
#define RELAY_QUEUE_SIGN_CHECK_H

#include "relay/queue_protection.h"

/* As much of an output, from its start, as is looked at. */
#define SIGN_CHECK_START 65536

/*
 * NULL: all that is demanded was applied, and the start of what goes out looks
 * like it.  Else what is missing, for the log.
 */
const char *queue_sign_missing(const struct queue_protection *protection,
    const struct queue_demand *demand, unsigned applied, struct slice start);

/* An invitation to a calendar, or an answer to one (RFC 5546). */
bool queue_sign_is_calendar(struct slice start);

#endif
