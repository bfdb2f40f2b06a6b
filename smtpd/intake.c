/* SPDX-License-Identifier: ISC */
/*
 * Takes in the message after DATA: finds the end, removes stuffed dots,
 * enforces the limits of size, time and memory, hands it to queued.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing that comes in;
 * queued for its answer.
 *
 * A refusal is kept and said once, after the true end of the message: what
 * came after an early answer would be taken for commands.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/intake_header.h"
#include "smtpd/intake_parts.h"

/* A message of unknown size is expected to be a small one. */
#define FIRST_CAPACITY 16384
/* Memory of this size is given back to the system when it is done with. */
#define LARGE_CONTENT 131072
/* The least rate counts after this: connections begin slowly. */
#define RATE_GRACE_MS 60000
/* A commit is one sync away; signing is asked with a deadline of its own. */
#define SUBMIT_MS 120000

/* ---- memory ---- */

static void
drop_content(struct intake *intake)
{
	struct worker *worker = intake->session->worker;

	if (intake->charged > LARGE_CONTENT)
		worker_trim_soon(worker);
	worker_refund(worker, intake->charged);
	intake->charged = 0;
	buf_clear(&intake->content);
	intake->from = 0;
}

void
intake_free(struct intake *intake)
{
	if (intake == NULL)
		return;
	intake_stream_abort(intake);
	drop_content(intake);
	if (intake->header != NULL) {
		header_clear(intake->header);
		free(intake->header);
	}
	free(intake->header_message_id);
	free(intake);
}

void
intake_refuse(struct intake *intake, const struct smtp_status *status)
{
	if (intake->refusal.code != 0)
		return;
	intake->refusal = *status;
	intake_stream_abort(intake);
	drop_content(intake);
}

void
intake_refuse_with(struct intake *intake, unsigned code, const char *enhanced,
    const char *text)
{
	struct smtp_status status;

	(void)smtp_status_set(&status, code, enhanced, "%s", text);
	intake_refuse(intake, &status);
}

static void
charge_content(struct intake *intake)
{
	const struct session *session = intake->session;
	size_t capacity = intake->content.capacity;

	if (capacity <= intake->charged)
		return;
	if (worker_charge(session->worker, capacity - intake->charged,
		session->transaction->is_known))
		intake->charged = capacity;
	else
		intake_refuse_with(intake, 452, "4.3.1",
		    "Too much mail at once, try again later");
}

/* ---- the end ---- */

/* The last answer: from queued, or a refusal of ours (then with an event). */
static void
answer_client(struct session *session, struct smtp_status *status)
{
	bool is_accepted = status->code < 400;

	if (is_accepted) {
		session->accepted++;
		session->idle_commands = 0;
	} else {
		session->refused++;
	}
	session_reply_status(session, status);
	if (!session->is_ended)
		session_next(session);
}

void
intake_tell_refusal(struct session *session)
{
	struct transaction *transaction = session->transaction;
	struct intake *intake = transaction->intake;
	char client[NETADDR_TEXT_MAX];
	char reference[SESSION_REFERENCE_SIZE];
	struct smtp_status status = intake->refusal;
	struct log_context context = {
	    .session_id = session->id, .message_id = intake->message_id};
	struct event_data_refused event = {
	    .client = session_client_text(session, client),
	    .account = session_account(session),
	    .from = slice_of(transaction->from_text),
	    .header_from = slice_of(intake->header_from),
	    .recipient_count = transaction->recipients.count,
	    .code = (uint16_t)status.code,
	    .enhanced = slice_of(status.enhanced),
	    .header_message_id = slice_of(intake->header_message_id)};

	session_add_reference(session, &status, reference);
	event.text = slice_of(status.text);
	event.reference = slice_of(reference);
	log_event(session->worker->log, context, EV_DATA_REFUSED, &event);
	answer_client(session, &status);
}

/* queued's answer to the whole message. */
void
intake_queue_answer(void *arg, const struct channel_frame *frame)
{
	struct session *session = arg;
	struct intake *intake = session->transaction->intake;
	const struct ipc_queue_answer *answer;
	struct smtp_status status;

	session_answered(session);
	intake->queued = NULL; /* the stream, if there was one, is over */
	(void)smtp_status_set(&status, 451, "4.3.0",
	    "The queue does not answer, try again later");
	if (frame != NULL) {
		answer = &frame->message->queue_answer;
		intake_status(answer, &status);
	}
	if (status.code < 400) {
		answer_client(session, &status);
		return;
	}
	intake->refusal = status;
	intake_tell_refusal(session);
}

/* ---- hand-over ---- */

/*
 * Checks the header of the content at hand, and puts our lines before it.
 * Returns where the message begins in the buffer, or -1: refused.
 */
ssize_t
intake_finish_header(struct intake *intake, struct header *header)
{
	struct session *session = intake->session;
	struct buf prefix;
	struct smtp_status status;
	size_t at = INTAKE_HEADROOM;
	ssize_t rc = -1;

	buf_init(&prefix, IPC_TRACE_MAX);
	intake_header_facts(header, intake->header_from,
	    sizeof(intake->header_from), &intake->header_message_id);
	if (intake_header_check(session, header, &status) == -1) {
		intake_refuse(intake, &status);
		goto out;
	}
	intake->message_id =
	    id_next(&session->worker->message_ids, clock_wall_us() / 1000);
	if (intake_header_lines(session, header, intake->message_id,
		&intake->header_message_id, &prefix) == -1) {
		intake_refuse_with(
		    intake, 554, "5.6.0", "Trace header is too long");
		goto out;
	}
	if (intake_header_end(header, &intake->content, INTAKE_HEADROOM) ==
	    -1) {
		intake_refuse_with(
		    intake, 554, "5.6.0", "A line of the header is no field");
		goto out;
	}
	intake_header_drop(session, header, &intake->content, INTAKE_HEADROOM);
	if (prefix.n > INTAKE_HEADROOM) {
		/* Rare: an account or a recipient of unusual length. */
		size_t more = prefix.n - INTAKE_HEADROOM;

		if (buf_reserve(&intake->content, more) == NULL)
			bug("no room before the content");
		memmove(intake->content.p + prefix.n,
		    intake->content.p + INTAKE_HEADROOM,
		    intake->content.n - INTAKE_HEADROOM);
		buf_extend(&intake->content, more);
		at = prefix.n;
	}
	memcpy(intake->content.p + at - prefix.n, prefix.p, prefix.n);
	rc = (ssize_t)(at - prefix.n);
out:
	buf_clear(&prefix);
	return rc;
}

/* Once a session, and again when queued has seen another client meanwhile. */
void
intake_show_client(struct session *session)
{
	struct worker *worker = session->worker;
	struct channel *queued = worker->links[ROLE_QUEUED];
	int fd = stream_fd(session->stream);

	if (!session->is_trusted || queued == NULL ||
	    (session->is_shown &&
		netaddr_equals(&worker->shown, &session->client)) ||
	    channel_send(queued, MSG_QUEUE_CLIENT, NULL, &fd) == -1)
		return;
	session->is_shown = true;
	worker->shown = session->client;
}

static void
submit(struct session *session)
{
	struct transaction *transaction = session->transaction;
	struct intake *intake = transaction->intake;
	char client[NETADDR_TEXT_MAX];
	struct ipc_queue_submit message;
	struct header header;
	ssize_t at;

	header_init(&header, session_settings(session)->smtp_max_header_size);
	(void)header_read(
	    &header, (struct slice){intake->content.p + INTAKE_HEADROOM,
			 intake->content.n - INTAKE_HEADROOM});
	at = intake_finish_header(intake, &header);
	header_clear(&header);
	if (at == -1) {
		intake_tell_refusal(session);
		return;
	}
	message = (struct ipc_queue_submit){
	    INTAKE_ENVELOPE(session, transaction, intake, client),
	    .content = {
		intake->content.p + at, intake->content.n - (size_t)at}};
	intake_show_client(session);
	if (session_ask(session, ROLE_QUEUED, MSG_QUEUE_SUBMIT, &message,
		MSG_QUEUE_ANSWER, SUBMIT_MS, intake_queue_answer) == -1) {
		intake_refuse_with(intake, 451, "4.3.0",
		    "The queue is not there, try again later");
		intake_tell_refusal(session);
		return;
	}
	/* The frame has its copy. */
	drop_content(intake);
}

/* ---- what comes in ---- */

static void
on_content(void *context, const char *p, size_t n)
{
	struct intake *intake = context;

	if (intake->refusal.code == 0 && buf_add(&intake->content, p, n) == -1)
		intake_refuse_with(intake, 452, "4.3.1",
		    "No room for this message, try again later");
}

/* Until when the next piece has to be there. */
void
intake_set_deadline(struct intake *intake)
{
	const struct settings *settings = session_settings(intake->session);
	uint64_t now = clock_monotonic_ms() - intake->started_ms;
	uint64_t until = now + settings->smtp_data_timeout * 1000;
	uint64_t last = settings->smtp_message_deadline * 1000;

	if (settings->smtp_min_rate > 0) {
		/* When what came so far would be too slow on the whole. */
		uint64_t slow =
		    intake->data.wire_octets * 1000 / settings->smtp_min_rate;

		if (slow < RATE_GRACE_MS)
			slow = RATE_GRACE_MS;
		last = slow < last ? slow : last;
	}
	until = until < last ? until : last;
	session_set_deadline(intake->session, until > now ? until - now : 0);
}

/* Limits, after a piece; what it was is in intake->data and the content. */
static void
check_limits(struct intake *intake)
{
	const struct settings *settings = session_settings(intake->session);

	if (intake->refusal.code != 0)
		return;
	if (intake->data.fault != SMTP_DATA_CLEAN) {
		struct smtp_status status;

		smtp_data_refusal(&intake->data, &status);
		intake_refuse(intake, &status);
	} else if (intake->data.content_octets >
		   settings->smtp_max_message_size) {
		struct smtp_status status;

		(void)smtp_status_set(&status, 552, "5.3.4",
		    "Message is larger than %llu octets",
		    (unsigned long long)settings->smtp_max_message_size);
		intake_refuse(intake, &status);
	} else {
		charge_content(intake);
	}
}

static bool
is_large(const struct intake *intake)
{
	return intake->queued != NULL || intake->header != NULL ||
	       intake->content.n - INTAKE_HEADROOM > IPC_INLINE_MAX;
}

bool
intake_input(struct session *session, struct slice in)
{
	struct intake *intake = session->transaction->intake;
	size_t before = intake->content.n;
	size_t used;

	intake->is_complete = smtp_data_feed(&intake->data, in, on_content,
				  intake, &used) == PARSE_OK;
	stream_consume(session->stream, used);
	check_limits(intake);
	if (!intake->is_complete)
		intake_set_deadline(intake);
	if (intake->refusal.code == 0 && is_large(intake)) {
		if (intake->queued == NULL)
			intake_stream_grow(intake, intake->content.n - before);
		intake_stream_pump(intake);
	} else if (intake->is_complete && intake->refusal.code == 0) {
		submit(session);
	} else if (intake->is_complete) {
		intake_tell_refusal(session);
	}
	return true;
}

void
intake_begin(struct session *session)
{
	const struct settings *settings = session_settings(session);
	struct transaction *transaction = session->transaction;
	struct intake *intake = xcalloc(1, sizeof(*intake));
	uint64_t expected = transaction->size_hint > 0
				? transaction->size_hint + 256
				: FIRST_CAPACITY;

	if (expected > IPC_INLINE_MAX)
		expected = IPC_INLINE_MAX;
	transaction->intake = intake;
	intake->session = session;
	intake->started_ms = clock_monotonic_ms();
	smtp_data_init(&intake->data);
	/* A header that ends late, a chunk behind it, and what one read has. */
	buf_init(&intake->content, INTAKE_HEADROOM + IPC_TRACE_MAX +
				       settings->smtp_max_header_size +
				       IPC_INLINE_MAX + 3 * INTAKE_INPUT_MAX);
	(void)buf_reserve(&intake->content, INTAKE_HEADROOM + (size_t)expected);
	buf_extend(&intake->content, INTAKE_HEADROOM);
	charge_content(intake);
	if (session->worker->links[ROLE_QUEUED] == NULL)
		intake_refuse_with(intake, 451, "4.3.0",
		    "The queue is not there, try again later");
	if (intake->refusal.code != 0) {
		intake_tell_refusal(session);
		return;
	}
	session_enter(session, SESSION_DATA);
	stream_set_input_limit(session->stream, INTAKE_INPUT_MAX);
	intake_set_deadline(intake);
	session_reply(session, 354, NULL, "End with a dot on its own line");
}
