/* SPDX-License-Identifier: ISC */
/*
 * What a result says of one recipient: his row goes or moves on, a life event
 * tells it, and a notification, where one is wanted.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>

#include "common/events.h"
#include "relay/queue_settling.h"

void
settling_replace(char **text, struct slice value)
{
	free(*text);
	*text = slice_dup(value);
}

void
settling_note_reply(struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	recipient->last_code = record->code;
	settling_replace(&recipient->last_enhanced, record->enhanced);
	settling_replace(&recipient->last_reply, record->reply);
	settling_replace(&recipient->last_host, result->host);
}

/* Fields that the three events of an attempt share. */
#define ATTEMPT_FIELDS(recipient, result, record)                     \
	.to = slice_of((recipient)->address), .host = (result)->host, \
	.address = (result)->address, .tls = (result)->tls,           \
	.code = (record)->code, .enhanced = (record)->enhanced,       \
	.reply = (record)->reply, .attempt = (recipient)->attempts

static struct dsn_case *
add_case(struct settling *settling, const struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record, enum dsn_action action)
{
	struct dsn_case *one;

	if (!queue_dsn_is_wanted(settling->message, recipient, action))
		return NULL;
	if (settling->cases[action] == NULL)
		settling->cases[action] =
		    xcalloc(settling->case_room, sizeof(*one));
	one = &settling->cases[action][settling->case_counts[action]++];
	one->recipient = recipient;
	one->action = action;
	one->code = record->code;
	(void)slice_copy(
	    record->enhanced, one->enhanced, sizeof(one->enhanced));
	(void)slice_copy(record->reply, one->reply, sizeof(one->reply));
	(void)slice_copy(result->host, one->host, sizeof(one->host));
	return one;
}

void
settling_change(struct queue_job *job, enum queue_change_kind kind,
    const struct queue_recipient *recipient)
{
	job->changes[job->change_count++] = (struct queue_change){
	    .kind = kind, .number = recipient->number, .recipient = recipient};
}

/* The clock may have been set back a little. */
static uint64_t
queued_ms(const struct settling *settling)
{
	int64_t ms = settling->now_ms - settling->message->created_ms;

	return ms > 0 ? (uint64_t)ms : 0;
}

void
settling_delivered(struct settling *settling, struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	struct event_delivered event = {
	    ATTEMPT_FIELDS(recipient, result, record),
	    .ms = result->duration_ms, .queued_ms = queued_ms(settling)};

	recipient->last_ms = settling->now_ms;
	recipient->next_ms = QUEUE_NEVER;
	settling->queued->delivered++;
	queue_job_event(settling->job, settling->message, clock_wall_us(),
	    EV_DELIVERED, &event);
	settling_change(settling->job, QUEUE_CHANGE_DELETE, recipient);
	/* The next server answers for it where it took the wish over. */
	if (!result->is_dsn_passed)
		(void)add_case(
		    settling, recipient, result, record, DSN_RELAYED);
}

void
settling_failed(struct settling *settling, struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	struct event_failed event = {ATTEMPT_FIELDS(recipient, result, record)};

	recipient->last_ms = settling->now_ms;
	recipient->next_ms = QUEUE_NEVER;
	settling->queued->failed++;
	queue_job_event(settling->job, settling->message, clock_wall_us(),
	    EV_FAILED, &event);
	settling_change(settling->job, QUEUE_CHANGE_DELETE, recipient);
	(void)add_case(settling, recipient, result, record, DSN_FAILED);
}

void
settling_deferred(struct settling *settling, struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	struct queued *queued = settling->queued;
	const struct queue_message *message = settling->message;
	bool is_bounce = (message->flags & MSG_FLAG_BOUNCE) != 0;
	int64_t expiry_ms =
	    schedule_expiry(&queued->schedule, is_bounce, message->created_ms);
	bool is_warning_due =
	    schedule_is_warning_due(&queued->schedule, is_bounce,
		message->created_ms, recipient->last_ms, settling->now_ms);
	struct event_deferred event = {
	    ATTEMPT_FIELDS(recipient, result, record)};
	struct dsn_case *one;

	recipient->last_ms = settling->now_ms;
	if (settling->now_ms >= expiry_ms) {
		settling_failed(settling, recipient, result, record);
		return;
	}
	recipient->next_ms =
	    settling->next_ms != 0
		? settling->next_ms
		: settling->now_ms +
		      schedule_wait(&queued->schedule, recipient->attempts);
	/* The last attempt is made when the time is over, not long after. */
	if (recipient->next_ms > expiry_ms)
		recipient->next_ms = expiry_ms;
	if (!settling->waits_for_signer) {
		queued->deferred++;
		event.next_attempt = recipient->next_ms / 1000;
		queue_job_event(settling->job, settling->message,
		    clock_wall_us(), EV_DEFERRED, &event);
	}
	settling_change(settling->job, QUEUE_CHANGE_DEFER, recipient);
	if (is_warning_due && (one = add_case(settling, recipient, result,
				   record, DSN_DELAYED)) != NULL)
		one->retry_until_ms = expiry_ms;
}
