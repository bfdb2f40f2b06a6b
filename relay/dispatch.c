/* SPDX-License-Identifier: ISC */
/*
 * Deliveries in memory: those that wait for a destination, those that are out,
 * and claims.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "relay/dispatch_parts.h"

/* Deliveries waiting in memory; the rest is on disk. */
#define WAITING_MAX 20000
/*
 * One destination may keep this part of the room that is left, so that there
 * is always some for the next one, however many hang.
 */
#define ROOM_PART 4
#define DESTINATION_WAITING_MAX 4000
#define DESTINATION_WAITING_MIN 16

struct dispatch *
dispatch_new(void)
{
	struct dispatch *dispatch = xcalloc(1, sizeof(*dispatch));

	dispatch->ready_last = &dispatch->ready_first;
	dispatch->limit = DISPATCH_FIRST_LIMIT;
	return dispatch;
}

void
dispatch_set_limit(struct dispatch *dispatch, unsigned limit)
{
	dispatch->limit = limit;
}

/* ---- deliveries ---- */

static void
delivery_free(struct delivery *delivery)
{
	queue_message_unref(delivery->message);
	free(delivery->numbers);
	free(delivery);
}

static struct delivery *
new_delivery(struct queue_message *message, size_t number_count)
{
	struct delivery *delivery = xcalloc(1, sizeof(*delivery));

	delivery->message = message;
	message->references++;
	delivery->numbers = xcalloc(number_count, sizeof(*delivery->numbers));
	delivery->number_count = number_count;
	return delivery;
}

struct delivery *
dispatch_claim(struct dispatch *dispatch, struct queue_message *message)
{
	struct delivery *claim =
	    new_delivery(message, message->recipient_count);

	for (size_t i = 0; i < message->recipient_count; i++)
		claim->numbers[i] = message->recipients[i].number;
	known_remember(dispatch, claim);
	return claim;
}

struct delivery *
dispatch_claim_some(struct dispatch *dispatch, struct queue_message *message,
    const uint32_t *numbers, size_t count)
{
	struct delivery *claim = new_delivery(message, count);

	memcpy(claim->numbers, numbers, count * sizeof(*numbers));
	known_remember(dispatch, claim);
	return claim;
}

struct delivery *
dispatch_add(struct dispatch *dispatch, struct queue_message *message,
    const char *domain, const char *key, const uint32_t *numbers,
    size_t number_count)
{
	struct destination *destination = destination_get(dispatch, key);
	struct delivery *delivery = new_delivery(message, number_count);

	delivery->destination = destination;
	(void)slice_copy(
	    slice_of(domain), delivery->domain, sizeof(delivery->domain));
	memcpy(delivery->numbers, numbers, number_count * sizeof(*numbers));
	*destination->last = delivery;
	destination->last = &delivery->next;
	destination->waiting++;
	dispatch->waiting++;
	known_remember(dispatch, delivery);
	destination_make_ready(dispatch, destination);
	return delivery;
}

/* How many deliveries of one destination may wait in memory now. */
static size_t
share(const struct dispatch *dispatch)
{
	size_t part = dispatch->waiting < WAITING_MAX
			  ? (WAITING_MAX - dispatch->waiting) / ROOM_PART
			  : 0;

	if (part > DESTINATION_WAITING_MAX)
		return DESTINATION_WAITING_MAX;
	return part > DESTINATION_WAITING_MIN ? part : DESTINATION_WAITING_MIN;
}

/* One delivery less waits: with most of them gone it is time for more. */
static void
count_down(struct dispatch *dispatch, struct destination *destination)
{
	destination->waiting--;
	dispatch->waiting--;
	if (!destination->is_short ||
	    destination->waiting > share(dispatch) / ROOM_PART)
		return;
	destination->is_short = false;
	dispatch->has_relief = true;
}

static struct delivery *
take_first(struct dispatch *dispatch, struct destination *destination)
{
	struct delivery *delivery = destination->first;

	destination->first = delivery->next;
	if (destination->first == NULL)
		destination->last = &destination->first;
	delivery->next = NULL;
	count_down(dispatch, destination);
	return delivery;
}

static void
put_first(struct dispatch *dispatch, struct delivery *delivery)
{
	struct destination *destination = delivery->destination;

	delivery->next = destination->first;
	destination->first = delivery;
	if (delivery->next == NULL)
		destination->last = &delivery->next;
	destination->waiting++;
	dispatch->waiting++;
	destination_make_ready(dispatch, destination);
}

static void
start_job(struct dispatch *dispatch, struct delivery *delivery, int64_t now_ms)
{
	struct job *job;
	uint32_t slot;

	if (dispatch->job_free == 0) {
		uint32_t old = dispatch->job_slots;
		uint32_t slots = old != 0 ? old * 2 : 64;

		dispatch->jobs =
		    xrealloc(dispatch->jobs, slots * sizeof(*dispatch->jobs));
		for (uint32_t i = slots; i-- > old;) {
			dispatch->jobs[i] =
			    (struct job){.next_free = dispatch->job_free};
			dispatch->job_free = i + 1;
		}
		dispatch->job_slots = slots;
	}
	slot = dispatch->job_free - 1;
	job = &dispatch->jobs[slot];
	dispatch->job_free = job->next_free;
	job->delivery = delivery;
	job->since_ms = now_ms;
	if (++job->round == 0)
		job->round = 1;
	delivery->job_id = (uint64_t)job->round << 32 | slot;
	delivery->destination->active++;
	dispatch->active++;
}

static void
end_job(struct dispatch *dispatch, struct delivery *delivery)
{
	uint32_t slot = (uint32_t)delivery->job_id;

	dispatch->jobs[slot].delivery = NULL;
	dispatch->jobs[slot].next_free = dispatch->job_free;
	dispatch->job_free = slot + 1;
	delivery->job_id = 0;
	delivery->destination->active--;
	delivery->destination->is_probing = false;
	dispatch->active--;
}

struct delivery *
dispatch_find(struct dispatch *dispatch, uint64_t job_id)
{
	uint32_t slot = (uint32_t)job_id;
	struct delivery *delivery;

	if (slot >= dispatch->job_slots ||
	    (delivery = dispatch->jobs[slot].delivery) == NULL ||
	    delivery->job_id != job_id)
		return NULL;
	return delivery;
}

struct delivery *
dispatch_next(struct dispatch *dispatch, int64_t now_ms)
{
	struct destination *destination;

	/* Each turn of the ring takes one of each destination. */
	while ((destination = dispatch->ready_first) != NULL) {
		struct delivery *delivery;

		dispatch->ready_first = destination->next_ready;
		if (dispatch->ready_first == NULL)
			dispatch->ready_last = &dispatch->ready_first;
		destination->is_ready = false;
		if (!destination_may_start(destination, now_ms))
			continue; /* ready again when one is done */
		delivery = take_first(dispatch, destination);
		start_job(dispatch, delivery, now_ms);
		destination->is_probing = destination->blocked_until_ms != 0;
		destination_make_ready(dispatch, destination);
		return delivery;
	}
	return NULL;
}

struct delivery *
dispatch_overdue(const struct dispatch *dispatch, int64_t since_ms)
{
	for (uint32_t i = 0; i < dispatch->job_slots; i++)
		if (dispatch->jobs[i].delivery != NULL &&
		    dispatch->jobs[i].since_ms <= since_ms)
			return dispatch->jobs[i].delivery;
	return NULL;
}

void
dispatch_return(struct dispatch *dispatch, struct delivery *delivery)
{
	end_job(dispatch, delivery);
	put_first(dispatch, delivery);
}

void
dispatch_return_all(struct dispatch *dispatch)
{
	for (uint32_t i = 0; i < dispatch->job_slots; i++)
		if (dispatch->jobs[i].delivery != NULL)
			dispatch_return(dispatch, dispatch->jobs[i].delivery);
}

/* ---- what comes back ---- */

void
dispatch_done(struct dispatch *dispatch, struct delivery *delivery,
    enum dispatch_verdict verdict, int64_t now_ms, int64_t wait_ms)
{
	struct destination *destination;

	if (delivery == NULL || delivery->destination == NULL)
		bug("a delivery that is not out is done");
	destination = delivery->destination;
	end_job(dispatch, delivery);
	switch (verdict) {
	case DISPATCH_TAKEN:
		destination_learn_success(dispatch, destination);
		break;
	case DISPATCH_REFUSED:
		destination->blocked_until_ms = 0; /* it answers */
		destination_learn_failure(destination);
		break;
	case DISPATCH_HOST_DOWN:
		destination->limit = 1;
		destination->successes = 0;
		destination->blocked_until_ms = now_ms + wait_ms;
		break;
	}
	delivery->destination = NULL;
	destination_make_ready(dispatch, destination);
	destination_forget_if_idle(dispatch, destination);
}

void
dispatch_forget(struct dispatch *dispatch, struct delivery *delivery)
{
	known_forget(dispatch, delivery);
	delivery_free(delivery);
}

struct delivery *
dispatch_take_blocked(struct dispatch *dispatch, int64_t now_ms, size_t limit)
{
	struct delivery *taken = NULL;

	for (size_t i = 0; i < DISPATCH_BUCKETS && limit > 0; i++) {
		struct destination *at = dispatch->buckets[i];

		for (; at != NULL && limit > 0; at = at->next_bucket)
			while (at->blocked_until_ms > now_ms &&
			       at->waiting > 0 && limit > 0) {
				struct delivery *delivery =
				    take_first(dispatch, at);

				delivery->destination = NULL;
				delivery->next = taken;
				taken = delivery;
				limit--;
			}
	}
	return taken;
}

/* Takes the message's waiting deliveries out of one destination. */
static void
remove_from(struct dispatch *dispatch, struct destination *destination,
    uint64_t message_id)
{
	struct delivery **at = &destination->first;

	destination->last = &destination->first;
	while (*at != NULL) {
		struct delivery *delivery = *at;

		if (delivery->message->id != message_id) {
			at = &delivery->next;
			destination->last = at;
			continue;
		}
		*at = delivery->next;
		count_down(dispatch, destination);
		known_forget(dispatch, delivery);
		delivery_free(delivery);
	}
}

size_t
dispatch_remove(struct dispatch *dispatch, uint64_t message_id)
{
	size_t out = 0;
	const struct known *at = *known_bucket(dispatch, message_id);

	dispatch_touch(dispatch, message_id);
	while (at != NULL) {
		struct delivery *delivery = at->delivery;

		if (delivery->message->id != message_id) {
			at = at->next;
		} else if (delivery->job_id != 0 ||
			   delivery->destination == NULL) {
			out++;
			at = at->next;
		} else {
			remove_from(
			    dispatch, delivery->destination, message_id);
			/* The bucket changed: look again from its start. */
			out = 0;
			at = *known_bucket(dispatch, message_id);
		}
	}
	return out;
}

size_t
dispatch_waiting(const struct dispatch *dispatch)
{
	return dispatch->waiting;
}

size_t
dispatch_active(const struct dispatch *dispatch)
{
	return dispatch->active;
}

size_t
dispatch_room(struct dispatch *dispatch, const char *key)
{
	struct destination *destination = destination_find(dispatch, key);
	size_t most = share(dispatch);

	if (destination == NULL)
		return most;
	if (destination->waiting < most)
		return most - destination->waiting;
	destination->is_short = true;
	return 0;
}

bool
dispatch_take_relief(struct dispatch *dispatch)
{
	bool had_relief = dispatch->has_relief;

	dispatch->has_relief = false;
	return had_relief;
}

static void
free_destination(struct destination *destination)
{
	while (destination->first != NULL) {
		struct delivery *delivery = destination->first;

		destination->first = delivery->next;
		delivery_free(delivery);
	}
	free(destination->key);
	free(destination);
}

void
dispatch_free(struct dispatch *dispatch)
{
	if (dispatch == NULL)
		return;
	for (uint32_t i = 0; i < dispatch->job_slots; i++)
		if (dispatch->jobs[i].delivery != NULL)
			delivery_free(dispatch->jobs[i].delivery);
	for (size_t i = 0; i < DISPATCH_BUCKETS; i++) {
		while (dispatch->known[i] != NULL) {
			struct known *known = dispatch->known[i];

			dispatch->known[i] = known->next;
			free(known);
		}
		while (dispatch->buckets[i] != NULL) {
			struct destination *destination = dispatch->buckets[i];

			dispatch->buckets[i] = destination->next_bucket;
			free_destination(destination);
		}
	}
	free(dispatch->jobs);
	free(dispatch);
}
