/* SPDX-License-Identifier: ISC */
/*
 * Messages that are too large for one frame: opened at queued once the header
 * is judged, sent in chunks as far as queued gives credit.  A client that is
 * faster than that waits; nothing else does.
 * Runs in: postern-smtpd, in the workers.  Trusts: queued.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/intake_header.h"
#include "smtpd/intake_parts.h"

/* The end of a large message: its file is synced. */
#define END_MS 300000
/* An opened stream is answered only when it is refused. */
#define OPEN_MS 86400000u
#define QUEUE_GONE "The queue is not there, try again later"

void
intake_stream_abort(struct intake *intake)
{
	struct ipc_queue_abort message = {.stream = intake->stream};

	if (intake->queued == NULL)
		return;
	channel_forget(intake->queued, intake->open_request);
	(void)channel_send(intake->queued, MSG_QUEUE_ABORT, &message, NULL);
	intake->queued = NULL;
}

/* ---- sending ---- */

static void
send_end(struct intake *intake)
{
	struct session *session = intake->session;
	struct ipc_queue_end message = {
	    .stream = intake->stream, .is_8bit = intake->data.has_8bit};

	if (session_ask(session, ROLE_QUEUED, MSG_QUEUE_END, &message,
		MSG_QUEUE_ANSWER, END_MS, intake_queue_answer) == -1) {
		intake_refuse_with(intake, 451, "4.3.0", QUEUE_GONE);
		return;
	}
	/* It is queued's now: nothing is left to be aborted. */
	channel_forget(intake->queued, intake->open_request);
	intake->queued = NULL;
}

static void
send_chunks(struct intake *intake)
{
	while (intake->credit > 0 && intake->from < intake->content.n) {
		struct ipc_queue_chunk message = {.stream = intake->stream};
		size_t n = intake->content.n - intake->from;

		if (n > IPC_CHUNK_MAX)
			n = IPC_CHUNK_MAX;
		if (n > intake->credit)
			n = (size_t)intake->credit;
		message.content =
		    (struct slice){intake->content.p + intake->from, n};
		if (channel_send(intake->queued, MSG_QUEUE_CHUNK, &message,
			NULL) == -1) {
			intake_refuse_with(intake, 451, "4.3.0", QUEUE_GONE);
			return;
		}
		intake->from += n;
		intake->credit -= n;
	}
	/* What was sent is not kept until all is: a little may always wait. */
	if (intake->from == intake->content.n ||
	    intake->from >= INTAKE_INPUT_MAX) {
		buf_consume(&intake->content, intake->from);
		intake->from = 0;
	}
}

/* ---- the client's pace ---- */

/* As much waits for credit as one read brings. */
static bool
has_backlog(const struct intake *intake)
{
	return intake->queued != NULL &&
	       intake->content.n - intake->from >= INTAKE_INPUT_MAX;
}

static void
rest(struct intake *intake)
{
	struct session *session = intake->session;

	intake->is_full = true;
	intake->full_since_ms = clock_monotonic_ms();
	session->is_waiting = true;
	stream_pause(session->stream);
	session_set_deadline(session, END_MS);
}

/* That time was ours: the client's own rate does not suffer from it. */
static void
go_on(struct intake *intake)
{
	intake->is_full = false;
	intake->started_ms += clock_monotonic_ms() - intake->full_since_ms;
	intake_set_deadline(intake);
	session_answered(intake->session);
}

static void
pump_complete(struct intake *intake)
{
	struct session *session = intake->session;

	/* Input rests until the answer, whoever gives it. */
	if (!session->is_waiting) {
		session->is_waiting = true;
		stream_pause(session->stream);
		session_set_deadline(session, END_MS);
	}
	if (intake->refusal.code == 0 && intake->from == intake->content.n)
		send_end(intake);
	if (intake->refusal.code != 0) {
		session_answered(session);
		intake_tell_refusal(session);
	}
}

void
intake_stream_pump(struct intake *intake)
{
	if (intake->queued != NULL)
		send_chunks(intake);
	if (intake->is_complete)
		pump_complete(intake);
	else if (!intake->is_full && has_backlog(intake))
		rest(intake);
	else if (intake->is_full && !has_backlog(intake))
		go_on(intake);
}

/* ---- opening ---- */

/*
 * The stream was refused at queued before it ended here.  Its number is kept
 * there for what is still on the way, until it is told that nothing is.
 */
static void
on_open_answer(void *arg, const struct channel_frame *frame)
{
	struct intake *intake = arg;
	struct ipc_queue_abort message = {.stream = intake->stream};
	struct smtp_status status;

	(void)smtp_status_set(&status, 451, "4.3.0", "%s", QUEUE_GONE);
	if (frame != NULL) {
		intake_status(&frame->message->queue_answer, &status);
		(void)channel_send(
		    intake->queued, MSG_QUEUE_ABORT, &message, NULL);
	}
	if (status.code < 400)
		(void)smtp_status_set(
		    &status, 451, "4.3.0", "The queue gave no answer");
	intake->queued = NULL;
	intake_refuse(intake, &status);
	intake_stream_pump(intake);
}

static void
open_stream(struct intake *intake, size_t at)
{
	struct session *session = intake->session;
	struct transaction *transaction = session->transaction;
	struct channel *queued = session->worker->links[ROLE_QUEUED];
	char client[NETADDR_TEXT_MAX];
	struct ipc_queue_open message = {
	    INTAKE_ENVELOPE(session, transaction, intake, client),
	    .size_hint = transaction->size_hint};

	intake->from = at;
	intake->stream = ++session->worker->next_stream;
	message.stream = intake->stream;
	intake_show_client(session);
	if (queued != NULL)
		intake->open_request =
		    channel_request(queued, MSG_QUEUE_OPEN, &message, NULL,
			MSG_QUEUE_ANSWER, OPEN_MS, on_open_answer, intake);
	if (intake->open_request == 0)
		intake_refuse_with(intake, 451, "4.3.0", QUEUE_GONE);
	else
		intake->queued = queued;
}

void
intake_stream_grow(struct intake *intake, size_t fresh)
{
	const struct settings *settings = session_settings(intake->session);
	struct slice seen = {
	    intake->content.p + intake->content.n - fresh, fresh};
	int result;
	ssize_t at;

	if (intake->header == NULL) {
		intake->header = xmalloc(sizeof(*intake->header));
		header_init(intake->header, settings->smtp_max_header_size);
		seen = (struct slice){intake->content.p + INTAKE_HEADROOM,
		    intake->content.n - INTAKE_HEADROOM};
	}
	result = header_feed(intake->header, seen);
	if (result == PARSE_MORE && intake->is_complete)
		result = header_finish(intake->header);
	if (result == PARSE_MORE)
		return;
	at = intake_finish_header(intake, intake->header);
	header_clear(intake->header);
	free(intake->header);
	intake->header = NULL;
	if (at != -1)
		open_stream(intake, (size_t)at);
}

/* ---- queued speaks of a stream ---- */

static struct intake *
find_stream(struct worker *worker, uint32_t stream)
{
	for (struct session *at = worker->sessions; at != NULL; at = at->next) {
		struct intake *intake =
		    at->transaction != NULL ? at->transaction->intake : NULL;

		if (intake != NULL && intake->queued != NULL &&
		    intake->stream == stream)
			return intake;
	}
	return NULL;
}

/* A stream that was aborted here may still be spoken of: no breach. */
int
intake_credit(struct worker *worker, uint32_t stream, uint32_t octets)
{
	struct intake *intake = find_stream(worker, stream);

	if (intake == NULL)
		return stream <= worker->next_stream ? 0 : -1;
	intake->credit += octets;
	intake_stream_pump(intake);
	return 0;
}

int
intake_refused(struct worker *worker, const struct ipc_queue_answer *answer)
{
	struct intake *intake = find_stream(worker, answer->stream);
	union ipc_message message = {.queue_answer = *answer};
	struct channel_frame frame = {
	    .type = MSG_QUEUE_ANSWER, .message = &message};

	if (intake == NULL)
		return answer->stream <= worker->next_stream ? 0 : -1;
	channel_forget(intake->queued, intake->open_request);
	on_open_answer(intake, &frame);
	return 0;
}
