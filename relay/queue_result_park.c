/* SPDX-License-Identifier: ISC */
/*
 * Deliveries that come back without an attempt of their own: they are put off,
 * or one attempt speaks for all that wait for its destination.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>

#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_settling.h"

static void
on_postponed(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct queued *queued = job->arg;

	/* No space: the rows stay due, and are found again. */
	if (job->status != QUEUE_JOB_DONE)
		queue_refill_missed(queued->refill);
	queue_outbox_send(queued->outbox, job);
	queue_job_free(job);
}

struct queue_job *
queue_result_postpone_job(struct queued *queued, size_t changes)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_POSTPONE, NULL, on_postponed);

	job->changes = xcalloc(changes, sizeof(*job->changes));
	job->arg = queued;
	return job;
}

static void
postpone(
    struct queue_job *job, const struct delivery *delivery, int64_t next_ms)
{
	for (size_t i = 0; i < delivery->number_count; i++) {
		struct queue_recipient *recipient = queue_message_recipient(
		    delivery->message, delivery->numbers[i]);

		recipient->next_ms = next_ms;
		job->changes[job->change_count++] =
		    (struct queue_change){.message_id = delivery->message->id,
			.kind = QUEUE_CHANGE_POSTPONE,
			.number = delivery->numbers[i],
			.next_ms = next_ms};
	}
}

void
queue_result_postpone(
    struct queued *queued, struct delivery *delivery, int64_t next_ms)
{
	struct queue_job *job =
	    queue_result_postpone_job(queued, delivery->number_count);

	postpone(job, delivery, next_ms);
	queue_writer_submit(queued->writer, job);
	dispatch_done(queued->dispatch, delivery, DISPATCH_TAKEN,
	    queued_now_ms(queued), 0);
	dispatch_forget(queued->dispatch, delivery);
	queue_delivery_pump(queued);
}

/* Deliveries parked in one turn; the next tick takes the next. */
#define PARK_MAX 1000

/* Has the sender to be told of one of its recipients? */
static bool
is_news(const struct queued *queued, const struct delivery *delivery,
    int64_t now_ms)
{
	struct queue_message *message = delivery->message;
	bool is_bounce = (message->flags & MSG_FLAG_BOUNCE) != 0;

	if (schedule_is_expired(
		&queued->schedule, is_bounce, message->created_ms, now_ms))
		return true;
	for (size_t i = 0; i < delivery->number_count; i++)
		if (schedule_is_warning_due(&queued->schedule, is_bounce,
			message->created_ms,
			queue_message_recipient(message, delivery->numbers[i])
			    ->last_ms,
			now_ms))
			return true;
	return false;
}

/*
 * One attempt speaks for all that wait for its destination: these are put
 * off, warned about or given up without one of their own.
 */
static void
settle_parked(struct queued *queued, struct delivery *delivery, int64_t next_ms)
{
	struct settling *settling = settling_new(
	    queued, delivery->message, delivery, delivery->number_count);
	struct ipc_relay_result result = {.message_id = delivery->message->id};
	struct ipc_record_result record = {.outcome = OUTCOME_DEFERRED,
	    .code = 451,
	    .enhanced = SLICE("4.4.1"),
	    .reply = SLICE("The destination could not be reached")};

	settling->next_ms = next_ms;
	settling->job = settling_job(settling, delivery->number_count);
	for (size_t i = 0; i < delivery->number_count; i++) {
		struct queue_recipient *recipient = queue_message_recipient(
		    delivery->message, delivery->numbers[i]);

		settling_note_reply(recipient, &result, &record);
		settling_deferred(settling, recipient, &result, &record);
	}
	settling_commit(settling);
}

void
queue_result_park(struct queued *queued)
{
	int64_t now_ms = queued_now_ms(queued);
	struct delivery *list =
	    dispatch_take_blocked(queued->dispatch, now_ms, PARK_MAX);
	struct queue_job *job;
	size_t count = 0;

	if (list == NULL)
		return;
	for (const struct delivery *at = list; at != NULL; at = at->next)
		count += at->number_count;
	job = queue_result_postpone_job(queued, count);
	while (list != NULL) {
		struct delivery *delivery = list;
		int64_t next_ms =
		    queue_delivery_first_ms(queued, delivery->domain);

		list = delivery->next;
		if (is_news(queued, delivery, now_ms)) {
			settle_parked(queued, delivery, next_ms);
		} else {
			postpone(job, delivery, next_ms);
			dispatch_forget(queued->dispatch, delivery);
		}
	}
	queue_writer_submit(queued->writer, job);
}
