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

#include "common/smtp_data.h"
#include "smtpd/intake.h"
#include "smtpd/intake_header.h"
#include "smtpd/session.h"

/* Input that is held while a message comes; two chunks. */
#define DATA_INPUT_MAX (2 * IPC_CHUNK_MAX)
/* Room before the content for our own lines, so that it need not move. */
#define HEADROOM 2048
/* A message of unknown size is expected to be a small one. */
#define FIRST_CAPACITY 16384
/* The least rate counts after this: connections begin slowly. */
#define RATE_GRACE_MS 60000
/* A commit is one sync away; signing is asked with a deadline of its own. */
#define SUBMIT_MS 120000
/* The end of a large message: its file is synced. */
#define END_MS 300000
/* An opened stream is answered only when it is refused. */
#define OPEN_MS 86400000u

struct intake {
	struct session *session;
	struct smtp_data data;
	/*
	 * HEADROOM octets, then the content.  Of a stream: what was not yet
	 * sent begins at `from`.
	 */
	struct buf content;
	size_t from;
	size_t charged; /* of the worker's memory */
	uint64_t started_ms;
	struct smtp_status refusal; /* code 0: none yet */
	char header_from[IPC_ADDRESS_MAX];
	char *header_message_id; /* NULL: not read yet, or none */
	uint64_t message_id;     /* 0: not given yet */

	/* Streams. */
	struct header *header; /* collects it; NULL: not needed */
	struct channel *queued; /* NULL: no stream is open */
	uint64_t open_request;
	uint64_t credit;
	uint32_t stream;
	bool is_complete; /* the end of the message came */
	bool is_full;     /* input rests until there is credit */
};

/* ---- memory ---- */

static void
drop_content(struct intake *intake)
{
	worker_refund(intake->session->worker, intake->charged);
	intake->charged = 0;
	buf_clear(&intake->content);
	intake->from = 0;
}

/* The stream is over at queued too, if it was open. */
static void
abort_stream(struct intake *intake)
{
	struct ipc_queue_abort message = {.stream = intake->stream};

	if (intake->queued == NULL)
		return;
	channel_forget(intake->queued, intake->open_request);
	(void)channel_send(intake->queued, MSG_QUEUE_ABORT, &message, NULL);
	intake->queued = NULL;
}

void
intake_free(struct intake *intake)
{
	if (intake == NULL)
		return;
	abort_stream(intake);
	drop_content(intake);
	if (intake->header != NULL) {
		header_clear(intake->header);
		free(intake->header);
	}
	free(intake->header_message_id);
	free(intake);
}

static void
refuse(struct intake *intake, const struct smtp_status *status)
{
	if (intake->refusal.code != 0)
		return;
	intake->refusal = *status;
	abort_stream(intake);
	drop_content(intake);
}

static void
refuse_with(struct intake *intake, unsigned code, const char *enhanced,
    const char *text)
{
	struct smtp_status status;

	(void)smtp_status_set(&status, code, enhanced, "%s", text);
	refuse(intake, &status);
}

static void
charge_content(struct intake *intake)
{
	size_t capacity = intake->content.capacity;

	if (capacity <= intake->charged)
		return;
	if (worker_charge(
	        intake->session->worker, capacity - intake->charged))
		intake->charged = capacity;
	else
		refuse_with(intake, 452, "4.3.1",
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

static void
tell_refusal(struct session *session)
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
static void
on_queue_answer(void *arg, const struct channel_frame *frame)
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
	tell_refusal(session);
}

/* ---- hand-over ---- */

/*
 * Checks the header of the content at hand, and puts our lines before it.
 * Returns where the message begins in the buffer, or -1: refused.
 */
static ssize_t
finish_header(struct intake *intake, struct header *header)
{
	struct session *session = intake->session;
	struct buf prefix;
	struct smtp_status status;
	size_t at = HEADROOM;
	ssize_t rc = -1;

	buf_init(&prefix, IPC_TRACE_MAX);
	intake_header_facts(header, intake->header_from,
	    sizeof(intake->header_from), &intake->header_message_id);
	if (intake_header_check(session, header, &status) == -1) {
		refuse(intake, &status);
		goto out;
	}
	intake->message_id = id_next(
	    &session->worker->message_ids, clock_wall_us() / 1000);
	if (intake_header_lines(session, header, intake->message_id,
	        &intake->header_message_id, &prefix) == -1) {
		refuse_with(intake, 554, "5.6.0", "Trace header is too long");
		goto out;
	}
	if (intake_drops_bcc(session))
		intake_header_drop_bcc(header, &intake->content, HEADROOM);
	if (prefix.n > HEADROOM) {
		/* Rare: an account or a recipient of unusual length. */
		size_t more = prefix.n - HEADROOM;

		if (buf_reserve(&intake->content, more) == NULL)
			bug("no room before the content");
		memmove(intake->content.p + prefix.n,
		    intake->content.p + HEADROOM,
		    intake->content.n - HEADROOM);
		buf_extend(&intake->content, more);
		at = prefix.n;
	}
	memcpy(intake->content.p + at - prefix.n, prefix.p, prefix.n);
	rc = (ssize_t)(at - prefix.n);
out:
	buf_clear(&prefix);
	return rc;
}

/* QUEUE_SUBMIT and QUEUE_OPEN have the same envelope. */
#define ENVELOPE(session, transaction, intake, client) \
	.message_id = (intake)->message_id, .session_id = (session)->id, \
	.token = (session)->login != NULL \
	    ? buf_slice(&(session)->login->octets) \
	    : (struct slice){NULL, 0}, \
	.client = session_client_text((session), (client)), \
	.is_trusted = (session)->is_trusted, \
	.reverse_path = slice_of((transaction)->from_text), \
	.envid = slice_of((transaction)->envid), \
	.ret = (uint16_t)(transaction)->ret, \
	.is_8bit = (intake)->data.has_8bit, \
	.is_utf8 = (transaction)->is_utf8, \
	.listener_kind = (session)->listener, \
	.header_message_id = slice_of((intake)->header_message_id), \
	.recipients = ipc_list_of(&(transaction)->recipients)

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
	(void)header_read(&header,
	    (struct slice){intake->content.p + HEADROOM,
	        intake->content.n - HEADROOM});
	at = finish_header(intake, &header);
	header_clear(&header);
	if (at == -1) {
		tell_refusal(session);
		return;
	}
	message = (struct ipc_queue_submit){
	    ENVELOPE(session, transaction, intake, client),
	    .content = {intake->content.p + at,
	        intake->content.n - (size_t)at}};
	if (session_ask(session, ROLE_QUEUED, MSG_QUEUE_SUBMIT, &message,
	        MSG_QUEUE_ANSWER, SUBMIT_MS, on_queue_answer) == -1) {
		refuse_with(intake, 451, "4.3.0",
		    "The queue is not there, try again later");
		tell_refusal(session);
		return;
	}
	/* The frame has its copy. */
	drop_content(intake);
}

/* ---- streams ---- */

/* A refusal of the stream, before its end. */
static void
stream_refused(struct intake *intake, const struct smtp_status *status)
{
	struct session *session = intake->session;
	bool was_full = intake->is_full;

	intake->queued = NULL; /* nothing is to be aborted there */
	refuse(intake, status);
	if (intake->is_complete) {
		session_answered(session);
		tell_refusal(session);
	} else if (was_full) {
		intake->is_full = false;
		session_answered(session);
	}
}

static void
on_open_answer(void *arg, const struct channel_frame *frame)
{
	struct intake *intake = arg;
	struct smtp_status status;

	(void)smtp_status_set(&status, 451, "4.3.0",
	    "The queue went away, try again later");
	if (frame != NULL)
		intake_status(&frame->message->queue_answer, &status);
	/* Nothing but a refusal ends a stream early. */
	if (status.code < 400)
		(void)smtp_status_set(
		    &status, 451, "4.3.0", "The queue gave no answer");
	stream_refused(intake, &status);
}

static void
send_end(struct session *session)
{
	struct intake *intake = session->transaction->intake;
	struct ipc_queue_end message = {.stream = intake->stream};

	channel_forget(intake->queued, intake->open_request);
	session->is_waiting = false;
	if (session_ask(session, ROLE_QUEUED, MSG_QUEUE_END, &message,
	        MSG_QUEUE_ANSWER, END_MS, on_queue_answer) == 0)
		return;
	refuse_with(intake, 451, "4.3.0", "The queue went away, try later");
	session_answered(session);
	tell_refusal(session);
}

/* Sends what the credit allows. */
static void
send_chunks(struct intake *intake)
{
	struct session *session = intake->session;

	while (intake->queued != NULL && intake->credit > 0 &&
	    intake->from < intake->content.n) {
		size_t n = intake->content.n - intake->from;
		struct ipc_queue_chunk message = {.stream = intake->stream};

		if (n > IPC_CHUNK_MAX)
			n = IPC_CHUNK_MAX;
		if (n > intake->credit)
			n = (size_t)intake->credit;
		message.content =
		    (struct slice){intake->content.p + intake->from, n};
		if (channel_send(intake->queued, MSG_QUEUE_CHUNK, &message,
		        NULL) == -1) {
			refuse_with(intake, 451, "4.3.0",
			    "The queue went away, try again later");
			return;
		}
		intake->from += n;
		intake->credit -= n;
	}
	if (intake->from > 0 && intake->from == intake->content.n) {
		buf_reset(&intake->content);
		intake->from = 0;
		if (intake->is_complete)
			send_end(session);
	}
}

/* More than this waits for credit: the client waits, too. */
static bool
has_backlog(const struct intake *intake)
{
	return intake->content.n - intake->from >= DATA_INPUT_MAX;
}

static void
rest_or_go_on(struct intake *intake)
{
	struct session *session = intake->session;

	if (intake->is_complete || intake->refusal.code != 0)
		return;
	if (!intake->is_full && has_backlog(intake)) {
		intake->is_full = true;
		session->is_waiting = true;
		stream_pause(session->stream);
	} else if (intake->is_full && !has_backlog(intake)) {
		intake->is_full = false;
		session_answered(session);
	}
}

static void
open_stream(struct intake *intake, ssize_t at)
{
	struct session *session = intake->session;
	struct transaction *transaction = session->transaction;
	struct channel *queued = session->worker->links[ROLE_QUEUED];
	char client[NETADDR_TEXT_MAX];
	struct ipc_queue_open message = {
	    ENVELOPE(session, transaction, intake, client),
	    .size_hint = transaction->size_hint};

	intake->from = (size_t)at;
	intake->stream = ++session->worker->next_stream;
	message.stream = intake->stream;
	if (queued != NULL)
		intake->open_request = channel_request(queued, MSG_QUEUE_OPEN,
		    &message, NULL, MSG_QUEUE_ANSWER, OPEN_MS, on_open_answer,
		    intake);
	if (intake->open_request == 0) {
		refuse_with(intake, 451, "4.3.0",
		    "The queue is not there, try again later");
		return;
	}
	intake->queued = queued;
}

/*
 * The message is too large for one frame: once its header is whole, it goes
 * on as a stream.  fresh: octets of the content that the header has not seen.
 */
static void
grow(struct intake *intake, size_t fresh)
{
	struct session *session = intake->session;
	size_t content_n = intake->content.n - HEADROOM;
	struct slice seen = {intake->content.p + intake->content.n - fresh,
	    fresh};
	ssize_t at;

	if (intake->header == NULL) {
		intake->header = xmalloc(sizeof(*intake->header));
		header_init(intake->header,
		    session_settings(session)->smtp_max_header_size);
		seen = (struct slice){
		    intake->content.p + HEADROOM, content_n};
	}
	if (header_feed(intake->header, seen) == PARSE_MORE)
		return;
	if ((at = finish_header(intake, intake->header)) != -1)
		open_stream(intake, at);
	header_clear(intake->header);
	free(intake->header);
	intake->header = NULL;
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

/* A stream that was aborted here may still get credit: that is no breach. */
int
intake_credit(struct worker *worker, uint32_t stream, uint32_t octets)
{
	struct intake *intake = find_stream(worker, stream);

	if (intake == NULL)
		return stream <= worker->next_stream ? 0 : -1;
	intake->credit += octets;
	send_chunks(intake);
	rest_or_go_on(intake);
	return 0;
}

int
intake_refused(
    struct worker *worker, const struct ipc_queue_answer *answer)
{
	struct intake *intake = find_stream(worker, answer->stream);
	struct smtp_status status;

	if (intake == NULL)
		return answer->stream <= worker->next_stream ? 0 : -1;
	intake_status(answer, &status);
	channel_forget(intake->queued, intake->open_request);
	stream_refused(intake, &status);
	return 0;
}

/* ---- what comes in ---- */

static void
on_content(void *context, const char *p, size_t n)
{
	struct intake *intake = context;

	if (intake->refusal.code == 0)
		(void)buf_add(&intake->content, p, n);
}

/* Until when the next piece has to be there. */
static void
set_deadline(struct intake *intake)
{
	const struct settings *settings = session_settings(intake->session);
	uint64_t now = clock_monotonic_ms() - intake->started_ms;
	uint64_t until = now + settings->smtp_data_timeout * 1000;
	uint64_t last = settings->smtp_message_deadline * 1000;

	if (settings->smtp_min_rate > 0) {
		/* When what came so far would be too slow on the whole. */
		uint64_t slow = intake->data.wire_octets * 1000 /
		    settings->smtp_min_rate;

		if (slow < RATE_GRACE_MS)
			slow = RATE_GRACE_MS;
		last = slow < last ? slow : last;
	}
	until = until < last ? until : last;
	session_set_deadline(
	    intake->session, until > now ? until - now : 0);
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
		refuse(intake, &status);
	} else if (intake->data.content_octets >
	    settings->smtp_max_message_size) {
		struct smtp_status status;

		(void)smtp_status_set(&status, 552, "5.3.4",
		    "Message is larger than %llu octets",
		    (unsigned long long)settings->smtp_max_message_size);
		refuse(intake, &status);
	} else {
		charge_content(intake);
	}
}

static void
complete(struct session *session)
{
	struct intake *intake = session->transaction->intake;

	intake->is_complete = true;
	if (intake->refusal.code != 0) {
		tell_refusal(session);
		return;
	}
	if (intake->queued == NULL) {
		submit(session);
		return;
	}
	/* What is left may have to wait for credit; the client waits. */
	session->is_waiting = true;
	stream_pause(session->stream);
	session_set_deadline(session, END_MS);
	if (intake->content.n == 0)
		send_end(session);
	else
		send_chunks(intake);
	if (intake->refusal.code != 0) {
		session_answered(session);
		tell_refusal(session);
	}
}

bool
intake_input(struct session *session, struct slice in)
{
	struct intake *intake = session->transaction->intake;
	size_t before = intake->content.n;
	enum parse_result result;
	size_t used;

	result = smtp_data_feed(
	    &intake->data, in, on_content, intake, &used);
	stream_consume(session->stream, used);
	check_limits(intake);
	if (intake->refusal.code == 0) {
		bool is_large = intake->header != NULL ||
		    intake->content.n - HEADROOM > IPC_INLINE_MAX;

		if (intake->queued != NULL)
			send_chunks(intake);
		else if (is_large)
			grow(intake, intake->content.n - before);
		if (intake->refusal.code == 0 && intake->queued != NULL &&
		    result != PARSE_OK)
			rest_or_go_on(intake);
	}
	if (result == PARSE_OK)
		complete(session);
	else
		set_deadline(intake);
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
	buf_init(&intake->content,
	    HEADROOM + IPC_TRACE_MAX + settings->smtp_max_header_size +
	        IPC_INLINE_MAX + 3 * DATA_INPUT_MAX);
	(void)buf_reserve(&intake->content, HEADROOM + (size_t)expected);
	buf_extend(&intake->content, HEADROOM);
	charge_content(intake);
	if (intake->refusal.code != 0) {
		tell_refusal(session);
		return;
	}
	session_enter(session, SESSION_DATA);
	stream_set_input_limit(session->stream, DATA_INPUT_MAX);
	set_deadline(intake);
	session_reply(session, 354, NULL, "End with a dot on its own line");
}
