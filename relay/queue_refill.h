/* SPDX-License-Identifier: ISC */
/*
 * From disk to memory: recipients that become due are loaded a page at a
 * time, past destinations that have enough in memory.
 */
#ifndef RELAY_QUEUE_REFILL_H
#define RELAY_QUEUE_REFILL_H

#include "relay/queued.h"

struct queue_refill *queue_refill_new(struct queued *queued);
void queue_refill_free(struct queue_refill *refill);

/* Looks for due recipients if it may be time; to be called every second. */
void queue_refill_tick(struct queue_refill *refill);

/* Is there memory for more messages than those that are there? */
bool queue_refill_has_memory(const struct queued *queued);

/* Something due was not taken into memory, or was made due: look again. */
void queue_refill_missed(struct queue_refill *refill);

#endif
