/* SPDX-License-Identifier: ISC */
/*
 * Asks the directory (authd) what recipients of our domains become, before a
 * message is committed.
 */
#ifndef RELAY_QUEUE_ALIAS_H
#define RELAY_QUEUE_ALIAS_H

#include "relay/queued.h"

/* is_known false: the directory did not answer; the message is as it was. */
typedef void queue_alias_done_fn(
    void *arg, struct queue_message *message, bool is_known);

/* done is called once, never from within this call. */
void queue_alias_expand(struct queued *queued, struct queue_message *message,
    queue_alias_done_fn *done, void *arg);

#endif
