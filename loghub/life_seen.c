/* SPDX-License-Identifier: ISC */
/*
 * A bounded set: open addressing beside a ring that says which is the oldest.
 * Runs in: postern-loghub.  Trusts: nobody; ids may be chosen to collide,
 * which costs a longer walk of at most the set's size.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "loghub/life_seen.h"

/* Half full at the most, so that walks stay short. */
#define SLOTS (2 * LIFE_SEEN_MAX)

struct entry {
	uint64_t message;
	uint32_t number; /* 0: the slot is free; life numbers start at 1 */
};

struct life_seen {
	struct entry slots[SLOTS];
	struct entry ring[LIFE_SEEN_MAX];
	uint32_t oldest;
	uint32_t count;
};

struct life_seen *
life_seen_new(void)
{
	return xcalloc(1, sizeof(struct life_seen));
}

void
life_seen_free(struct life_seen *seen)
{
	free(seen);
}

void
life_seen_reset(struct life_seen *seen)
{
	memset(seen, 0, sizeof(*seen));
}

static uint32_t
home_of(const struct entry *entry)
{
	uint64_t hash = entry->message * 0x9e3779b97f4a7c15u + entry->number;

	hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9u;
	return (uint32_t)(hash >> 40) % SLOTS;
}

static bool
is_same(const struct entry *a, const struct entry *b)
{
	return a->message == b->message && a->number == b->number;
}

/* Its slot, or the free one where it belongs. */
static uint32_t
slot_of(const struct life_seen *seen, const struct entry *entry)
{
	uint32_t at = home_of(entry);

	while (seen->slots[at].number != 0 &&
	    !is_same(&seen->slots[at], entry))
		at = (at + 1) % SLOTS;
	return at;
}

/* Empties a slot and moves up those behind it that belong further ahead. */
static void
take_out(struct life_seen *seen, uint32_t hole)
{
	uint32_t at = hole;

	for (;;) {
		uint32_t home;

		at = (at + 1) % SLOTS;
		if (seen->slots[at].number == 0)
			break;
		home = home_of(&seen->slots[at]);
		/* Between its home and here: then the hole is in its way. */
		if ((at + SLOTS - home) % SLOTS >=
		    (at + SLOTS - hole) % SLOTS) {
			seen->slots[hole] = seen->slots[at];
			hole = at;
		}
	}
	seen->slots[hole] = (struct entry){0};
}

bool
life_seen_add(struct life_seen *seen, uint64_t message, uint32_t number)
{
	struct entry entry = {.message = message, .number = number};

	if (seen->slots[slot_of(seen, &entry)].number != 0)
		return false;
	if (seen->count == LIFE_SEEN_MAX) {
		take_out(seen, slot_of(seen, &seen->ring[seen->oldest]));
		seen->ring[seen->oldest] = entry;
		seen->oldest = (seen->oldest + 1) % LIFE_SEEN_MAX;
	} else {
		seen->ring[seen->count++] = entry;
	}
	seen->slots[slot_of(seen, &entry)] = entry;
	return true;
}
