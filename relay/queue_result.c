/* SPDX-License-Identifier: ISC */
/*
 * Results of deliveries, committed with what follows from them.
 * Runs in: postern-queued.  Trusts: relayd's verdicts for the recipients of
 * the job, and for nothing else.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/events.h"
#include "relay/queue_alias.h"
#include "relay/queue_dsn.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/submission.h"

/* Of the original, for a notification: the header, and the body if small. */
#define ORIGINAL_MAX (IPC_INLINE_MAX + IPC_TRACE_MAX)

/* One result on its way to the commit. */
struct settling {
	struct queued *queued;
	struct queue_message *message; /* a reference */
	struct delivery *delivery;     /* or a claim; to forget afterwards */
	struct queue_job *job;
	struct dsn_case *cases[DSN_ACTION_COUNT];
	size_t case_counts[DSN_ACTION_COUNT];
	size_t case_room; /* of each */
	int64_t now_ms;
	int64_t next_ms;       /* of what is put off; 0: by the schedule */
	bool waits_for_signer; /* what is put off was not tried by relayd */
	bool has_told_waiting; /* its event is noted */
	size_t expanding;      /* notifications whose aliases are asked for */
	void (*done)(void *arg, bool is_done); /* of an administrator */
	void *arg;
	/* Reading the original beside the loop. */
	struct pool_task task;
	struct buf original;
	int file_fd;
	struct event *retry; /* no space: once more in a while */
};

/* Disk space may be back after this. */
#define FULL_RETRY_S 2

static struct settling *
settling_new(struct queued *queued, struct queue_message *message,
    struct delivery *delivery, size_t case_count)
{
	struct settling *settling = xcalloc(1, sizeof(*settling));

	settling->queued = queued;
	settling->message = message;
	message->references++;
	settling->delivery = delivery;
	settling->now_ms = queued_now_ms(queued);
	settling->case_room = case_count;
	settling->file_fd = -1;
	buf_init(&settling->original, ORIGINAL_MAX);
	return settling;
}

static void
settling_free(struct settling *settling)
{
	if (settling->retry != NULL)
		event_free(settling->retry);
	queue_job_free(settling->job);
	buf_clear(&settling->original);
	queue_message_unref(settling->message);
	for (size_t i = 0; i < DSN_ACTION_COUNT; i++)
		free(settling->cases[i]);
	free(settling);
}

/* ---- commit ---- */

static void
count_out(struct queued *queued, const struct queue_job *job)
{
	if (!job->is_finished)
		return;
	queued->messages -= queued->messages > 0 ? 1 : 0;
	queued->octets -= job->message->size < queued->octets
			      ? job->message->size
			      : queued->octets;
	queue_spool_remove_all(queued->spool, job->message);
	queue_sign_gone(queued->sign, job->message);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct settling *settling = arg;

	(void)fd;
	(void)what;
	queue_writer_submit(settling->queued->writer, settling->job);
}

/* The result is not lost for want of space: it is tried until there is. */
static void
retry_later(struct settling *settling)
{
	struct timeval wait = {.tv_sec = FULL_RETRY_S};

	if (settling->retry == NULL)
		settling->retry = event_new(loop_base(settling->queued->loop),
		    -1, 0, on_retry, settling);
	if (settling->retry == NULL)
		fatal("out of memory for a timer");
	(void)event_add(settling->retry, &wait);
}

static void
on_settled(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct settling *settling = job->arg;
	struct queued *queued = settling->queued;

	queue_outbox_send(queued->outbox, job);
	if (job->status == QUEUE_JOB_FULL) {
		retry_later(settling);
		return;
	}
	count_out(queued, job);
	dispatch_forget(queued->dispatch, settling->delivery);
	for (size_t i = 0; i < job->dsn_count && !job->is_void; i++)
		queue_intake_committed(queued, job->dsns[i]);
	if (settling->done != NULL)
		settling->done(settling->arg, !job->is_void);
	settling_free(settling);
}

static void
note_dsn(struct settling *settling, struct queue_message *dsn,
    enum dsn_action action)
{
	struct event_notified notified = {
	    .to = slice_of(settling->message->sender),
	    .kind = slice_of(dsn_action_text(action)),
	    .dsn_message_id = dsn->id};

	queue_job_event(settling->job, settling->message, clock_wall_us(),
	    EV_NOTIFIED, &notified);
}

static void
commit_if_expanded(struct settling *settling)
{
	struct queue_job *job = settling->job;

	if (settling->expanding > 0)
		return;
	for (size_t i = 0; i < job->dsn_count; i++) {
		queue_sign_own(settling->queued->sign, job->dsns[i]);
		queue_intake_note(job, job->dsns[i]);
		queue_sign_note(settling->queued->sign, job, job->dsns[i]);
	}
	queue_writer_submit(settling->queued->writer, job);
}

/* An alias that nobody can expand now goes out as it is: better than none. */
static void
on_expanded(void *arg, struct queue_message *dsn, bool is_known)
{
	struct settling *settling = arg;

	(void)is_known;
	queue_delivery_set_first(settling->queued, dsn);
	settling->expanding--;
	commit_if_expanded(settling);
}

/* Who sent as an alias is told where the alias leads. */
static void
expand_senders(struct settling *settling)
{
	struct queued *queued = settling->queued;
	const struct queue_job *job = settling->job;

	settling->expanding = 1;
	for (size_t i = 0; i < job->dsn_count; i++) {
		if (!submission_needs_aliases(
			daemon_snapshot(queued->daemon), job->dsns[i]))
			continue;
		settling->expanding++;
		queue_alias_expand(queued, job->dsns[i], on_expanded, settling);
	}
	settling->expanding--;
	commit_if_expanded(settling);
}

static void
notify(struct settling *settling, enum dsn_action action, struct slice original)
{
	const struct dsn_case *cases = settling->cases[action];
	size_t left = settling->case_counts[action];
	size_t taken;

	for (; left > 0; cases += taken, left -= taken) {
		struct queue_message *dsn = queue_dsn_make(settling->queued,
		    settling->message, cases, left, action, original,
		    original.n == settling->message->size, &taken);

		if (dsn == NULL)
			return; /* a sender that is no address */
		note_dsn(settling, dsn, action);
		queue_job_add_dsn(settling->job, dsn);
	}
}

/* Builds the notifications with what was read, and commits everything. */
static void
settle(struct settling *settling)
{
	struct queue_message *message = settling->message;
	struct slice original =
	    message->content != NULL
		? (struct slice){message->content, message->size}
		: buf_slice(&settling->original);

	for (int i = 0; i < DSN_ACTION_COUNT; i++)
		notify(settling, (enum dsn_action)i, original);
	settling->job->events = message->events;
	expand_senders(settling);
}

/* ---- the original ---- */

static void
run_original_read(struct pool_task *task)
{
	struct settling *settling =
	    (struct settling *)((char *)task - offsetof(struct settling, task));
	struct buf *original = &settling->original;

	if (settling->file_fd != -1) {
		char *room = buf_reserve(original, ORIGINAL_MAX);
		ssize_t n = pread(settling->file_fd, room, ORIGINAL_MAX, 0);

		if (n > 0)
			buf_extend(original, (size_t)n);
		close_if_open(&settling->file_fd);
		return;
	}
	(void)queue_store_content(settling->queued->reader,
	    settling->message->id, 0, ORIGINAL_MAX, original, NULL);
}

static void
done_original_read(struct pool_task *task)
{
	settle((
	    struct settling *)((char *)task - offsetof(struct settling, task)));
}

static bool
wants_notification(const struct settling *settling)
{
	for (size_t i = 0; i < DSN_ACTION_COUNT; i++)
		if (settling->case_counts[i] > 0)
			return true;
	return false;
}

/* A notification without the original is better than none at all. */
static void
settle_with_original(struct settling *settling)
{
	struct queue_message *message = settling->message;
	if (!wants_notification(settling) || message->content != NULL) {
		settle(settling);
		return;
	}
	if (message->is_file &&
	    (settling->file_fd = queue_spool_open(
		 settling->queued->spool, message->id, 0)) == -1) {
		settle(settling);
		return;
	}
	settling->task.run = run_original_read;
	settling->task.done = done_original_read;
	pool_submit(settling->queued->reader_pool, &settling->task);
}

/* ---- one recipient ---- */

static void
replace(char **text, struct slice value)
{
	free(*text);
	*text = slice_dup(value);
}

static void
note_reply(struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	recipient->last_code = record->code;
	replace(&recipient->last_enhanced, record->enhanced);
	replace(&recipient->last_reply, record->reply);
	replace(&recipient->last_host, result->host);
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

static void
add_change(struct queue_job *job, enum queue_change_kind kind,
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

static void
settle_delivered(struct settling *settling, struct queue_recipient *recipient,
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
	add_change(settling->job, QUEUE_CHANGE_DELETE, recipient);
	/* The next server answers for it where it took the wish over. */
	if (!result->is_dsn_passed)
		(void)add_case(
		    settling, recipient, result, record, DSN_RELAYED);
}

static void
settle_failed(struct settling *settling, struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record)
{
	struct event_failed event = {ATTEMPT_FIELDS(recipient, result, record)};

	recipient->last_ms = settling->now_ms;
	recipient->next_ms = QUEUE_NEVER;
	settling->queued->failed++;
	queue_job_event(settling->job, settling->message, clock_wall_us(),
	    EV_FAILED, &event);
	add_change(settling->job, QUEUE_CHANGE_DELETE, recipient);
	(void)add_case(settling, recipient, result, record, DSN_FAILED);
}

static void
settle_deferred(struct settling *settling, struct queue_recipient *recipient,
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
		settle_failed(settling, recipient, result, record);
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
	add_change(settling->job, QUEUE_CHANGE_DEFER, recipient);
	if (is_warning_due && (one = add_case(settling, recipient, result,
				   record, DSN_DELAYED)) != NULL)
		one->retry_until_ms = expiry_ms;
}

typedef void settle_fn(struct settling *settling,
    struct queue_recipient *recipient, const struct ipc_relay_result *result,
    const struct ipc_record_result *record);

static settle_fn *const settlers[OUTCOME_COUNT] = {
    [OUTCOME_DELIVERED] = settle_delivered,
    [OUTCOME_DEFERRED] = settle_deferred,
    [OUTCOME_FAILED] = settle_failed};

/* ---- a result ---- */

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

static struct queue_job *
result_job(struct settling *settling, size_t changes)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_RESULT, settling->message, on_settled);

	job->changes = xcalloc(changes, sizeof(*job->changes));
	job->now_ms = settling->now_ms;
	job->arg = settling;
	return job;
}

int
queue_result_commit(struct queued *queued, struct delivery *delivery,
    const struct ipc_relay_result *result)
{
	struct queue_message *message = delivery->message;
	struct ipc_list list = result->results;
	struct ipc_record_result record;
	struct settling *settling;

	if (check_result(delivery, result) == -1)
		return -1;
	settling =
	    settling_new(queued, message, delivery, delivery->number_count);
	settling->job = result_job(settling, delivery->number_count);
	while (ipc_result_next(&list, &record)) {
		struct queue_recipient *recipient =
		    queue_message_recipient(message, (uint32_t)record.id);

		if (recipient == NULL)
			bug("a delivery for no recipient");
		recipient->attempts++;
		note_reply(recipient, result, &record);
		settlers[record.outcome](settling, recipient, result, &record);
	}
	dispatch_done(queued->dispatch, delivery, judge(result),
	    settling->now_ms, schedule_wait(&queued->schedule, 1));
	queue_delivery_pump(queued);
	settle_with_original(settling);
	return 0;
}

/* ---- without an attempt ---- */

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
	    queue_job_new(QUEUE_JOB_POSTPONE, NULL, on_postponed);

	job->changes = xcalloc(delivery->number_count, sizeof(*job->changes));
	job->arg = queued;
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
	settling->job = result_job(settling, delivery->number_count);
	for (size_t i = 0; i < delivery->number_count; i++) {
		struct queue_recipient *recipient = queue_message_recipient(
		    delivery->message, delivery->numbers[i]);

		note_reply(recipient, &result, &record);
		settle_deferred(settling, recipient, &result, &record);
	}
	settle_with_original(settling);
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
	job = queue_job_new(QUEUE_JOB_POSTPONE, NULL, on_postponed);
	job->changes = xcalloc(count, sizeof(*job->changes));
	job->arg = queued;
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
	note_reply(recipient, &result, &record);
	if (miss->is_final) {
		settle_failed(settling, recipient, &result, &record);
	} else {
		note_waiting(settling, miss);
		settle_deferred(settling, recipient, &result, &record);
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
	settling->job = result_job(settling, result->miss_count);
	settling->job->attempt = result->attempt;
	if (result->note != NULL)
		result->note(settling->job, message, result->arg);
	for (size_t i = 0; i < result->miss_count; i++)
		settle_miss(settling, &result->misses[i]);
	settle_with_original(settling);
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
	settling->job = result_job(settling, message->recipient_count);
	queue_job_event(
	    settling->job, message, clock_wall_us(), EV_HANDLED, &handled);
	for (size_t i = 0; i < message->recipient_count; i++) {
		struct queue_recipient *recipient = &message->recipients[i];

		if (is_silent) {
			add_change(
			    settling->job, QUEUE_CHANGE_DELETE, recipient);
			continue;
		}
		replace(&recipient->last_reply, record.reply);
		settle_failed(settling, recipient, &result, &record);
	}
	settle_with_original(settling);
}
