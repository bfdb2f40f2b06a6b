/* SPDX-License-Identifier: ISC */
/*
 * Which messages are in memory, for which of their recipients, and which were
 * touched since when.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>

#include "common/err.h"
#include "relay/dispatch_parts.h"

struct known **
known_bucket(struct dispatch *dispatch, uint64_t message_id)
{
	const uint64_t hash = message_id ^ message_id >> 20;

	return &dispatch->known[hash % DISPATCH_BUCKETS];
}

void
known_remember(struct dispatch *dispatch, struct delivery *delivery)
{
	struct known **bucket = known_bucket(dispatch, delivery->message->id);
	struct known *known = xmalloc(sizeof(*known));

	known->delivery = delivery;
	known->next = *bucket;
	*bucket = known;
}

/* Ids that are made one after the other lie apart (Fibonacci hashing). */
static size_t
mark_slot(uint64_t message_id)
{
	return (size_t)(message_id * 11400714819323198485u >> 32) %
	       DISPATCH_MARKS;
}

uint32_t
dispatch_mark(struct dispatch *dispatch)
{
	return ++dispatch->mark;
}

void
dispatch_touch(struct dispatch *dispatch, uint64_t message_id)
{
	dispatch->touched[mark_slot(message_id)] = dispatch->mark;
}

bool
dispatch_is_touched(
    const struct dispatch *dispatch, uint64_t message_id, uint32_t mark)
{
	return dispatch->touched[mark_slot(message_id)] >= mark;
}

void
known_forget(struct dispatch *dispatch, const struct delivery *delivery)
{
	struct known **at = known_bucket(dispatch, delivery->message->id);
	struct known *known;

	dispatch_touch(dispatch, delivery->message->id);
	while ((*at)->delivery != delivery)
		at = &(*at)->next;
	known = *at;
	*at = known->next;
	free(known);
}

bool
dispatch_knows(struct dispatch *dispatch, uint64_t message_id, uint32_t number)
{
	const struct known *at = *known_bucket(dispatch, message_id);

	for (; at != NULL; at = at->next) {
		const struct delivery *delivery = at->delivery;

		if (delivery->message->id != message_id)
			continue;
		for (size_t i = 0; i < delivery->number_count; i++)
			if (delivery->numbers[i] == number)
				return true;
	}
	return false;
}

struct queue_message *
dispatch_message(struct dispatch *dispatch, uint64_t message_id)
{
	const struct known *at = *known_bucket(dispatch, message_id);

	while (at != NULL && at->delivery->message->id != message_id)
		at = at->next;
	return at != NULL ? at->delivery->message : NULL;
}
