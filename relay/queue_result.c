/* SPDX-License-Identifier: ISC */
/*
 * Results, committed with what follows from them: relayd's of deliveries, the
 * signer's of attempts, and what an administrator gives up.
 * Runs in: postern-queued.  Trusts: relayd's verdicts for the recipients of
 * the job, and for nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "common/events.h"
#include "relay/queue_result.h"
#include "relay/queue_settling.h"

/* ---- relayd's ---- */

typedef void settle_fn(struct settling *settling,
    struct queue_recipient *recipient, const struct ipc_relay_result *result,
    const struct ipc_record_result *record);

static settle_fn *const settlers[OUTCOME_COUNT] = {
    [OUTCOME_DELIVERED] = settling_delivered,
    [OUTCOME_DEFERRED] = settling_deferred,
    [OUTCOME_FAILED] = settling_failed};

/* Each recipient of the delivery exactly once, with a known outcome. */
static int
check_result(
    const struct delivery *delivery, const struct ipc_relay_result *result)
{
	struct ipc_list list = result->results;
	struct ipc_record_result record;
	size_t i = 0;

	if (list.count != delivery->number_count)
		return -1;
	/* relayd answers in the order of the job. */
	while (ipc_result_next(&list, &record))
		if (record.id != delivery->numbers[i++] ||
		    record.outcome >= OUTCOME_COUNT || record.code > 999)
			return -1;
	return 0;
}

/* Is it the host that puts off, or its word about this mail alone? */
static bool
is_of_host(const struct ipc_record_result *record)
{
	static const struct slice network = SLICE("4.4.");

	if (record->outcome != OUTCOME_DEFERRED)
		return false;
	/* 421: it ends the session; 4.3.2: it takes no mail (RFC 3463). */
	return record->code == 421 ||
	       slice_equals(record->enhanced, SLICE("4.3.2")) ||
	       (record->enhanced.n > network.n &&
		   memcmp(record->enhanced.p, network.p, network.n) == 0);
}

/*
 * What the destination learns from it.  Full mailboxes and greylisting say
 * nothing of how much it can take at once.
 */
static enum dispatch_verdict
judge(const struct ipc_relay_result *result)
{
	struct ipc_list list = result->results;
	struct ipc_record_result record;

	if (result->is_host_down)
		return DISPATCH_HOST_DOWN;
	while (ipc_result_next(&list, &record))
		if (is_of_host(&record))
			return DISPATCH_REFUSED;
	return DISPATCH_TAKEN;
}

/* The result as it is for one recipient: his server may be another. */
static struct ipc_relay_result
result_of(const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	struct ipc_relay_result own = *result;

	if (record->host.n > 0) {
		own.host = record->host;
		own.address = record->address;
		own.tls = record->tls;
	}
	return own;
}

int
queue_result_commit(struct queued *queued, struct delivery *delivery,
    const struct ipc_relay_result *result)
{
	struct queue_message *message = delivery->message;
	struct ipc_list list = result->results;
	struct ipc_record_result record;
	struct ipc_relay_result own;
	struct settling *settling;

	if (check_result(delivery, result) == -1)
		return -1;
	settling =
	    settling_new(queued, message, delivery, delivery->number_count);
	settling->job = settling_job(settling, delivery->number_count);
	while (ipc_result_next(&list, &record)) {
		struct queue_recipient *recipient =
		    queue_message_recipient(message, (uint32_t)record.id);

		if (recipient == NULL)
			bug("a delivery for no recipient");
		recipient->attempts++;
		own = result_of(result, &record);
		settling_note_reply(recipient, &own, &record);
		settlers[record.outcome](settling, recipient, &own, &record);
	}
	dispatch_done(queued->dispatch, delivery, judge(result),
	    settling->now_ms, schedule_wait(&queued->schedule, 1));
	queue_delivery_pump(queued);
	settling_commit(settling);
	return 0;
}

/* ---- the signer ---- */

/* Nobody but ourselves says this. */
static struct ipc_record_result
own_record(unsigned code, const char *enhanced, const char *reason)
{
	return (struct ipc_record_result){.code = (uint16_t)code,
	    .enhanced = slice_of(enhanced),
	    .reply = slice_of(reason)};
}

/* Told once, whoever else waits. */
static void
note_waiting(struct settling *settling, const struct sign_miss *miss)
{
	const struct event_waiting event = {
	    .attempt = settling->job->attempt->number,
	    .reason = slice_of(miss->reason),
	    .next_attempt = settling->next_ms / 1000};

	if (!settling->has_told_waiting)
		queue_job_event(settling->job, settling->message,
		    clock_wall_us(), EV_WAITING, &event);
	settling->has_told_waiting = true;
}

static void
settle_miss(struct settling *settling, const struct sign_miss *miss)
{
	const struct ipc_relay_result result = {
	    .message_id = settling->message->id};
	const struct ipc_record_result record = own_record(
	    miss->is_final ? 550 : 451, miss->enhanced, miss->reason);
	struct queue_recipient *recipient =
	    queue_message_recipient(settling->message, miss->number);

	if (recipient == NULL)
		bug("the signer failed for no recipient");
	settling_note_reply(recipient, &result, &record);
	if (miss->is_final) {
		settling_failed(settling, recipient, &result, &record);
	} else {
		note_waiting(settling, miss);
		settling_deferred(settling, recipient, &result, &record);
	}
}

void
queue_result_signed(struct queued *queued, struct queue_message *message,
    struct delivery *claim, const struct sign_result *result)
{
	struct settling *settling =
	    settling_new(queued, message, claim, result->miss_count);

	settling->done = result->done;
	settling->arg = result->arg;
	settling->now_ms = result->now_ms;
	settling->next_ms = result->next_ms;
	settling->waits_for_signer = true;
	settling->job = settling_job(settling, result->miss_count);
	settling->job->attempt = result->attempt;
	if (result->note != NULL)
		result->note(settling->job, message, result->arg);
	for (size_t i = 0; i < result->miss_count; i++)
		settle_miss(settling, &result->misses[i]);
	settling_commit(settling);
}

/* ---- given up by an administrator ---- */

void
queue_result_give_up(struct queued *queued, struct queue_message *message,
    const char *reply, bool is_silent, const char *actor,
    void (*done)(void *arg, bool is_done), void *arg)
{
	struct settling *settling = settling_new(queued, message,
	    dispatch_claim(queued->dispatch, message),
	    message->recipient_count);
	struct ipc_relay_result result = {.message_id = message->id};
	struct ipc_record_result record = {.outcome = OUTCOME_FAILED,
	    .code = 554,
	    .enhanced = SLICE("5.7.0"),
	    .reply = slice_of(reply)};
	struct event_handled handled = {
	    .action = slice_of(is_silent ? "delete" : "bounce"),
	    .actor = slice_of(actor)};

	settling->done = done;
	settling->arg = arg;
	settling->job = settling_job(settling, message->recipient_count);
	queue_job_event(
	    settling->job, message, clock_wall_us(), EV_HANDLED, &handled);
	for (size_t i = 0; i < message->recipient_count; i++) {
		struct queue_recipient *recipient = &message->recipients[i];

		if (is_silent) {
			settling_change(
			    settling->job, QUEUE_CHANGE_DELETE, recipient);
			continue;
		}
		settling_replace(&recipient->last_reply, record.reply);
		settling_failed(settling, recipient, &result, &record);
	}
	settling_commit(settling);
}
