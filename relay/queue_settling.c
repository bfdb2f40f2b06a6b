/* SPDX-License-Identifier: ISC */
/*
 * One result on its way to the commit: the notifications that follow from it
 * are made, with the original and to where aliases lead, and all of it is
 * committed; without space, again until there is some.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/events.h"
#include "relay/queue_alias.h"
#include "relay/queue_outbox.h"
#include "relay/queue_settling.h"
#include "relay/queue_sign.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/submission.h"

/* Of the original, for a notification: the header, and the body if small. */
#define ORIGINAL_MAX (IPC_INLINE_MAX + IPC_TRACE_MAX)

/* Disk space may be back after this. */
#define FULL_RETRY_S 2

struct settling *
settling_new(struct queued *queued, struct queue_message *message,
    struct delivery *delivery, size_t case_count)
{
	struct settling *settling = xcalloc(1, sizeof(*settling));

	settling->queued = queued;
	queued->settling++;
	settling->message = message;
	message->references++;
	settling->delivery = delivery;
	settling->now_ms = queued_now_ms(queued);
	settling->case_room = case_count;
	settling->file_fd = -1;
	buf_init(&settling->original, ORIGINAL_MAX);
	return settling;
}

/* The last one is waited for when the program stops. */
static void
count_down(struct queued *queued)
{
	queued->settling--;
	if (queued->end.run != NULL)
		loop_at_turn_end(queued->loop, &queued->end);
}

static void
settling_free(struct settling *settling)
{
	count_down(settling->queued);
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
	settling->queued->settling++;
	queue_writer_submit(settling->queued->writer, settling->job);
}

/*
 * The result is not lost for want of space: it is tried until there is, or
 * the program stops.
 */
static void
retry_later(struct settling *settling)
{
	struct timeval wait = {.tv_sec = FULL_RETRY_S};

	count_down(settling->queued);
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

struct queue_job *
settling_job(struct settling *settling, size_t changes)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_RESULT, settling->message, on_settled);

	job->changes = xcalloc(changes, sizeof(*job->changes));
	job->now_ms = settling->now_ms;
	job->arg = settling;
	return job;
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
void
settling_commit(struct settling *settling)
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
