/* SPDX-License-Identifier: ISC */
/*
 * Which life events were stored lately: queued sends its outbox again when it
 * got no answer, and one step of a mail's life must not stand in the log
 * twice.  What is older than the set is caught where a life is told.
 */
#ifndef LOGHUB_LIFE_SEEN_H
#define LOGHUB_LIFE_SEEN_H

#include <stdbool.h>
#include <stdint.h>

/* Several frames of queued's outbox; 16 octets each, twice. */
#define LIFE_SEEN_MAX 16384

struct life_seen;

struct life_seen *life_seen_new(void);
void life_seen_free(struct life_seen *seen);

/* True when it was not there; the oldest one then makes room. */
bool life_seen_add(
    struct life_seen *seen, uint64_t message, uint32_t number);

/* Forgets all, when it is not known what was stored. */
void life_seen_reset(struct life_seen *seen);

#endif
