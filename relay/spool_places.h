/* SPDX-License-Identifier: ISC */
/*
 * The places for large mail, between queue_spool.c and spool_stream.c.  Each
 * stream that has one may keep its credit in memory; the others wait in line.
 */
#ifndef RELAY_SPOOL_PLACES_H
#define RELAY_SPOOL_PLACES_H

#include "relay/spool_stream.h"

/* Waits for a place, or has one at once. */
void spool_places_wait(struct stream *stream);

/* A stream in state WAITING waits no more. */
void spool_places_leave(struct stream *stream);

/* For the next in line, if the stream has one. */
void spool_places_give_back(struct stream *stream);

/*
 * Of those that have waited too long: gives one the place of a network that
 * has more of them, or refuses it.
 */
void spool_places_expire(struct queue_spool *spool);

#endif
