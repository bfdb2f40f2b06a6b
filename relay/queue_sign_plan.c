/* SPDX-License-Identifier: ISC */
/*
 * Messages that wait for the signer and are due: jobs are made of them, as far
 * as there is room in memory.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>

#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign_parts.h"

/* Waiting messages in memory; the rest waits on disk. */
#define QUEUED_MAX 1000
/* Those without room come back after this. */
#define FULL_WAIT_MS 10000

static bool
is_due(const struct queued *queued, const struct queue_message *message,
    const struct queue_recipient *recipient)
{
	const struct queue_demand *demand =
	    queue_protection_demand(message->protection, recipient->number);

	return recipient->state == RCPT_WAITING &&
	       recipient->next_ms <= queued_now_ms(queued) && demand != NULL &&
	       demand->waits == DEMAND_WAITS &&
	       !dispatch_knows(
		   queued->dispatch, message->id, recipient->number);
}

/* Who may be asked for now. */
static size_t
list_due(const struct queued *queued, const struct queue_message *message,
    uint32_t *numbers_r)
{
	size_t count = 0;

	for (size_t i = 0; i < message->recipient_count; i++)
		if (is_due(queued, message, &message->recipients[i]))
			numbers_r[count++] = message->recipients[i].number;
	return count;
}

/* All that wait, due or not: where one decides about the others. */
static size_t
list_waiting(const struct queue_message *message, uint32_t *numbers_r)
{
	size_t count = 0;

	for (size_t i = 0; i < message->recipient_count; i++) {
		const struct queue_recipient *recipient =
		    &message->recipients[i];

		if (recipient->state == RCPT_WAITING &&
		    recipient->next_ms != QUEUE_NEVER &&
		    queue_message_waits(message, recipient))
			numbers_r[count++] = recipient->number;
	}
	return count;
}

/* With less, it waits on disk. */
static bool
has_memory(const struct queue_sign *sign)
{
	const struct queued *queued = sign->queued;

	return sign->queued_count == 0 ||
	       queued->memory_used <
		   queued_settings(queued)->queue_memory / 4 * 3;
}

/* It was committed while its attempt was under way, or had come back. */
static void
go_on(struct sign_job *job, struct queue_message *message)
{
	const bool is_suspect = job->message->protection->is_suspect;

	/* The refill may have been faster: one struct numbers the events. */
	if (job->message != message) {
		queue_message_unref(job->message);
		job->message = message;
		message->references++;
		message->protection->attempts = job->attempt;
		message->protection->asked_next = job->share.next;
		message->protection->is_suspect = is_suspect;
	}
	job->claim = dispatch_claim(job->sign->queued->dispatch, message);
	job->state = SIGN_OUT;
	if (job->is_out)
		return;
	if (job->has_result)
		sign_settle(job);
	else
		sign_settle_temporary(
		    job, "4.7.5", "The signer asks to try again");
}

/* Too many are in memory already: this one is looked at again soon. */
static void
postpone(struct queue_sign *sign, struct queue_message *message,
    const uint32_t *numbers, size_t count)
{
	struct queued *queued = sign->queued;
	const int64_t next_ms = queued_now_ms(queued) + FULL_WAIT_MS;
	struct queue_job *job = queue_result_postpone_job(queued, count);

	for (size_t i = 0; i < count; i++) {
		queue_message_recipient(message, numbers[i])->next_ms = next_ms;
		job->changes[job->change_count++] =
		    (struct queue_change){.message_id = message->id,
			.kind = QUEUE_CHANGE_POSTPONE,
			.number = numbers[i],
			.next_ms = next_ms};
	}
	dispatch_touch(queued->dispatch, message->id);
	queue_writer_submit(queued->writer, job);
}

/* These are due. */
static void
plan(struct queue_sign *sign, struct queue_message *message, uint32_t *numbers,
    size_t count)
{
	struct sign_job *job;

	if (!has_memory(sign)) {
		queue_refill_missed(sign->queued->refill);
		return;
	}
	if (sign->queued_count >= QUEUED_MAX) {
		postpone(sign, message, numbers, count);
		return;
	}
	job = sign_job_new(sign, message);
	(void)sign_turn_take_share(job, numbers, count);
	if (queue_protection_is_all_or_none(message->protection))
		count = list_waiting(message, numbers);
	job->claim = dispatch_claim_some(
	    sign->queued->dispatch, message, numbers, count);
	if (sign_turn_has_signer(sign)) {
		sign_turn_push(job);
		queue_sign_pump(sign);
	} else {
		message->protection->attempts++;
		sign_settle_temporary(
		    job, "4.7.5", "The signer is not running");
	}
}

void
queue_sign_plan(struct queue_sign *sign, struct queue_message *message)
{
	struct sign_job *job = sign_job_find(sign, message->id);
	uint32_t *numbers;
	size_t count;

	if (job != NULL) {
		if (job->state == SIGN_COMMITTING &&
		    sign_job_is_of(job, message))
			go_on(job, message);
		return;
	}
	if (message->protection == NULL)
		return;
	numbers = xcalloc(message->recipient_count + 1, sizeof(*numbers));
	count = list_due(sign->queued, message, numbers);
	if (count > 0)
		plan(sign, message, numbers, count);
	free(numbers);
}
