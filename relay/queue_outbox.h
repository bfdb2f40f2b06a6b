/* SPDX-License-Identifier: ISC */
/*
 * Life events on their way to the log: rows of queue.db's outbox, committed
 * with the step they tell of, removed after the hub says they are durable.
 */
#ifndef RELAY_QUEUE_OUTBOX_H
#define RELAY_QUEUE_OUTBOX_H

#include "relay/queued.h"

struct queue_outbox *queue_outbox_new(struct queued *queued);
void queue_outbox_free(struct queue_outbox *outbox);

/* Takes the rows that a finished job carries. */
void queue_outbox_send(struct queue_outbox *outbox, struct queue_job *job);

/* The channel to the hub is up (again). */
void queue_outbox_hub_up(struct queue_outbox *outbox);

/* Rows that the log does not have yet. */
int64_t queue_outbox_behind(const struct queue_outbox *outbox);

#endif
