/* SPDX-License-Identifier: ISC */
/*
 * Destinations: found by their keys, in a ring while they may start something,
 * with what they learned of how much they take at once.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "relay/dispatch_parts.h"

/* A destination that was down is remembered this long when nothing waits. */
#define REMEMBER_MS (10 * 60 * 1000)

static size_t
hash_text(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return hash % DISPATCH_BUCKETS;
}

struct destination *
destination_find(struct dispatch *dispatch, const char *key)
{
	struct destination *at = dispatch->buckets[hash_text(key)];

	while (at != NULL && strcmp(at->key, key) != 0)
		at = at->next_bucket;
	return at;
}

struct destination *
destination_get(struct dispatch *dispatch, const char *key)
{
	struct destination *destination = destination_find(dispatch, key);
	struct destination **bucket;

	if (destination != NULL)
		return destination;
	bucket = &dispatch->buckets[hash_text(key)];
	destination = xcalloc(1, sizeof(*destination));
	destination->key = xstrdup(key);
	destination->last = &destination->first;
	destination->limit = dispatch->limit < DISPATCH_FIRST_LIMIT
				 ? dispatch->limit
				 : DISPATCH_FIRST_LIMIT;
	destination->next_bucket = *bucket;
	*bucket = destination;
	return destination;
}

static bool
is_idle(const struct destination *destination)
{
	return destination->waiting == 0 && destination->active == 0 &&
	       !destination->is_ready;
}

static void
unlink_destination(struct destination **at)
{
	struct destination *destination = *at;

	*at = destination->next_bucket;
	free(destination->key);
	free(destination);
}

/* A destination with nothing to do and nothing to remember is forgotten. */
void
destination_forget_if_idle(
    struct dispatch *dispatch, struct destination *destination)
{
	struct destination **at;

	if (!is_idle(destination) || destination->blocked_until_ms != 0)
		return;
	at = &dispatch->buckets[hash_text(destination->key)];
	while (*at != destination)
		at = &(*at)->next_bucket;
	unlink_destination(at);
}

void
destination_make_ready(
    struct dispatch *dispatch, struct destination *destination)
{
	if (destination->is_ready || destination->waiting == 0)
		return;
	destination->is_ready = true;
	destination->next_ready = NULL;
	*dispatch->ready_last = destination;
	dispatch->ready_last = &destination->next_ready;
}

bool
destination_may_start(const struct destination *destination, int64_t now_ms)
{
	if (destination->waiting == 0)
		return false;
	if (destination->blocked_until_ms != 0)
		return now_ms >= destination->blocked_until_ms &&
		       !destination->is_probing;
	return destination->active < destination->limit;
}

/* ---- what a destination learns ---- */

/* One more at once after as many successes as run at once now. */
void
destination_learn_success(
    struct dispatch *dispatch, struct destination *destination)
{
	destination->blocked_until_ms = 0;
	if (++destination->successes < destination->limit ||
	    destination->limit >= dispatch->limit)
		return;
	destination->limit++;
	destination->successes = 0;
}

void
destination_learn_failure(struct destination *destination)
{
	destination->successes = 0;
	if (destination->limit > 1)
		destination->limit--;
}

int64_t
dispatch_blocked_until(
    struct dispatch *dispatch, const char *key, int64_t now_ms)
{
	const struct destination *destination = destination_find(dispatch, key);

	if (destination == NULL || destination->blocked_until_ms <= now_ms)
		return 0;
	return destination->blocked_until_ms;
}

static void
unblock(struct dispatch *dispatch, struct destination *destination)
{
	if (destination->blocked_until_ms != 0)
		destination->blocked_until_ms = 1; /* long ago: try one */
	destination_make_ready(dispatch, destination);
}

void
dispatch_unblock(struct dispatch *dispatch, const char *key)
{
	struct destination *destination;

	if (key != NULL) {
		if ((destination = destination_find(dispatch, key)) != NULL)
			unblock(dispatch, destination);
		return;
	}
	for (size_t i = 0; i < DISPATCH_BUCKETS; i++)
		for (destination = dispatch->buckets[i]; destination != NULL;
		     destination = destination->next_bucket)
			unblock(dispatch, destination);
}

void
dispatch_wake(struct dispatch *dispatch, int64_t now_ms)
{
	for (size_t i = 0; i < DISPATCH_BUCKETS; i++) {
		struct destination **at = &dispatch->buckets[i];

		while (*at != NULL) {
			struct destination *destination = *at;

			if (destination_may_start(destination, now_ms))
				destination_make_ready(dispatch, destination);
			if (is_idle(destination) &&
			    destination->blocked_until_ms + REMEMBER_MS <=
				now_ms)
				unlink_destination(at);
			else
				at = &destination->next_bucket;
		}
	}
}
