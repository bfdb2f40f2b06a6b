/* SPDX-License-Identifier: ISC */
/*
 * The life of a session: banner, TLS, time limits, replies, questions to other
 * programs, the end.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing that the client
 * sends; the acceptor for who the client is.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/tls.h"
#include "smtpd/session.h"

/* Input of commands that is held; a group of pipelined ones fits. */
#define COMMAND_INPUT_MAX 16384
/* For the client to take our last words. */
#define LINGER_MS 2000
/* A TLS handshake is a few round trips. */
#define HANDSHAKE_MS 60000
/* Refused commands that are logged one by one; then each hundredth. */
#define LOGGED_REFUSALS 20
#define LOGGED_REFUSALS_STEP 100

static void on_input(void *arg);
static void on_secured(void *arg);
static void on_drained(void *arg);
static void on_stream_end(void *arg, enum stream_end how);

static const struct stream_events stream_hooks = {
    .input = on_input,
    .secured = on_secured,
    .drained = on_drained,
    .ended = on_stream_end,
};

/* ---- small things ---- */

const struct settings *
session_settings(const struct session *session)
{
	return worker_settings(session->worker);
}

struct slice
session_client_text(const struct session *session, char text[NETADDR_TEXT_MAX])
{
	return slice_of(netaddr_format(&session->client, text));
}

struct slice
session_account(const struct session *session)
{
	return slice_of(session->login != NULL ? session->login->account : "");
}

void
session_log(struct session *session, enum event_type type, const void *fields)
{
	struct log_context context = {.session_id = session->id};

	log_event(session->worker->log, context, type, fields);
}

/*
 * A reference is found by its text alone, so it is spread over 40 bits: the
 * low bits of session ids repeat every half minute.
 */
void
session_add_reference(struct session *session, struct smtp_status *status,
    char reference_r[SESSION_REFERENCE_SIZE])
{
	uint64_t mixed = session->id + ++session->references;
	char id[ID_TEXT_SIZE];
	size_t n;

	session->line = (struct slice){NULL, 0}; /* logged by its own event */
	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
	mixed ^= mixed >> 31;
	id_format(mixed, id);
	memcpy(reference_r, id + ID_TEXT_LENGTH - (SESSION_REFERENCE_SIZE - 1),
	    SESSION_REFERENCE_SIZE);
	n = strlen(status->text);
	if (n > sizeof(status->text) - 16)
		n = sizeof(status->text) - 16;
	(void)snprintf(status->text + n, sizeof(status->text) - n, " [ref %s]",
	    reference_r);
}

/* ---- time ---- */

/*
 * Deadlines move on with each command: the timer stays armed for the old one
 * and arms itself again when it fires.
 */
void
session_set_deadline(struct session *session, uint64_t ms_from_now)
{
	uint64_t now = clock_monotonic_ms();

	session->deadline_ms = now + ms_from_now;
	if (session->timer_ms != 0 && session->timer_ms <= session->deadline_ms)
		return;
	session->timer_ms = session->deadline_ms;
	loop_arm(&session->timer, ms_from_now);
}

uint64_t
session_command_wait_ms(const struct session *session)
{
	const struct settings *settings = session_settings(session);

	return 1000 * (session->is_stressed ? settings->smtp_stressed_timeout
					    : settings->smtp_command_timeout);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;
	uint64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	session->timer_ms = 0;
	if (now < session->deadline_ms) {
		session_set_deadline(session, session->deadline_ms - now);
		return;
	}
	if (session->delayed != NULL) {
		void (*delayed)(struct session *) = session->delayed;

		session->delayed = NULL;
		delayed(session);
		return;
	}
	session_cut(session, "4.4.2", "Timeout, closing connection");
}

/* ---- the end ---- */

static void
log_end(struct session *session, const char *reason)
{
	char client[NETADDR_TEXT_MAX];
	struct event_session event = {
	    .client = session_client_text(session, client),
	    .ptr_name = slice_of(session->ptr_name),
	    .helo = slice_of(session->helo),
	    .account = session_account(session),
	    .tls = slice_of(session->tls),
	    .listener = session->listener,
	    .accepted = session->accepted,
	    .refused = session->refused,
	    .ms = clock_monotonic_ms() - session->started_ms,
	    .end = slice_of(reason),
	    .client_port = session->client_port,
	    .local_address = slice_of(session->local_address)};

	session_log(session, EV_SESSION, &event);
}

static void
release(void *arg)
{
	struct session *session = arg;

	free(session->local_address);
	free(session->helo);
	free(session->ptr_name);
	free(session->tls);
	free(session);
}

/* The stream is closed or closing; nothing of the session runs any more. */
static void
finish(struct session *session, const char *reason)
{
	if (session->is_ended)
		return;
	session->is_ended = true;
	session->stream = NULL;
	(void)event_del(&session->timer);
	if (session->asked != NULL)
		channel_forget(session->asked, session->asked_id);
	session->asked = NULL;
	free(session->rcpt_question);
	session->rcpt_question = NULL;
	session_auth_abort(session);
	session_reset(session);
	log_end(session, reason);
	worker_session_ended(session->worker, session);
	session_login_free(session->login);
	session->login = NULL;
	session->release.run = release;
	session->release.arg = session;
	loop_at_turn_end(session->worker->loop, &session->release);
}

void
session_abandon(struct session *session, const char *reason)
{
	struct stream *stream = session->stream;

	finish(session, reason);
	stream_close(stream);
}

/* A client that errs without end is logged now and then. */
static void
log_refused(struct session *session, unsigned code, const char *text)
{
	char client[NETADDR_TEXT_MAX];
	struct event_command_refused event = {
	    .client = session_client_text(session, client),
	    .command = session->line,
	    .code = (uint16_t)code,
	    .text = slice_of(text)};

	session->logged_refusals++;
	if (session->logged_refusals <= LOGGED_REFUSALS ||
	    session->logged_refusals % LOGGED_REFUSALS_STEP == 0)
		session_log(session, EV_COMMAND_REFUSED, &event);
}

static void
add_reply(struct session *session, unsigned code, const char *enhanced,
    const char *text)
{
	(void)smtp_reply_format(
	    stream_output(session->stream), code, enhanced, slice_of(text));
}

void
session_end(struct session *session, unsigned code, const char *enhanced,
    const char *format, ...)
{
	struct stream *stream = session->stream;
	char text[512];
	va_list ap;

	if (session->is_ended)
		return;
	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	add_reply(session, code, enhanced, text);
	if (code >= 400 && session->line.n > 0)
		log_refused(session, code, text);
	finish(session, code == 221 ? "quit" : text);
	stream_close_after_output(stream, LINGER_MS);
}

static void
on_stream_end(void *arg, enum stream_end how)
{
	static const char *const reasons[] = {
	    [STREAM_CLOSED] = "closed by the client",
	    [STREAM_RESET] = "connection lost",
	    [STREAM_TIMEOUT] = "timeout",
	    [STREAM_TLS_ERROR] = "TLS error",
	};
	struct session *session = arg;

	if (how == STREAM_TLS_ERROR) {
		char client[NETADDR_TEXT_MAX];
		struct event_tls_failed event = {
		    .client = session_client_text(session, client),
		    .text = slice_of(stream_error(session->stream))};

		session_log(session, EV_TLS_FAILED, &event);
	}
	session_abandon(session, reasons[how]);
}

void
session_reset(struct session *session)
{
	transaction_free(session->transaction);
	session->transaction = NULL;
}

void
session_next(struct session *session)
{
	const struct settings *settings = session_settings(session);

	session_reset(session);
	stream_set_input_limit(session->stream, COMMAND_INPUT_MAX);
	session_enter(session, SESSION_READY);
	if (session->worker->is_draining)
		session_end(session, 421, "4.3.2", "%s Going down for a while",
		    settings->smtp_hostname);
	else if (session->transactions >= settings->smtp_max_transactions)
		session_end(session, 421, "4.7.0",
		    "%s Enough messages for one session",
		    settings->smtp_hostname);
}

/* Within a handshake nothing can be said that would be understood. */
void
session_cut(struct session *session, const char *enhanced, const char *reason)
{
	if (session->state == SESSION_GREETING)
		session_abandon(session, reason);
	else
		session_end(session, 421, enhanced, "%s %s",
		    session_settings(session)->smtp_hostname, reason);
}

void
session_drain(struct session *session)
{
	if (session->state != SESSION_DATA && !session->is_waiting)
		session_cut(session, "4.3.2", "Going down for a while");
}

/* ---- replies ---- */

static void
count_error(struct session *session)
{
	const struct settings *settings = session_settings(session);

	session->errors++;
	if (session->errors >= settings->smtp_max_errors)
		session_end(session, 421, "4.7.0", "%s Too many errors",
		    settings->smtp_hostname);
}

void
session_reply(struct session *session, unsigned code, const char *enhanced,
    const char *format, ...)
{
	char text[512];
	va_list ap;

	if (session->is_ended)
		return;
	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	add_reply(session, code, enhanced, text);
	if (code < 400)
		return;
	if (session->line.n > 0)
		log_refused(session, code, text);
	count_error(session);
}

void
session_reply_status(struct session *session, const struct smtp_status *status)
{
	session_reply(
	    session, status->code, status->enhanced, "%s", status->text);
}

/* ---- questions to other programs ---- */

int
session_ask(struct session *session, enum role role, enum ipc_type type,
    const void *message, enum ipc_type answer_type, uint32_t deadline_ms,
    channel_answer_fn *answer)
{
	struct channel *channel = session->worker->links[role];

	if (channel == NULL)
		return -1;
	session->asked_id = channel_request(channel, type, message, NULL,
	    answer_type, deadline_ms, answer, session);
	if (session->asked_id == 0)
		return -1;
	session->asked = channel;
	session->is_waiting = true;
	stream_pause(session->stream);
	/* The program has its own deadline; this one must not come first. */
	session_set_deadline(
	    session, deadline_ms + session_command_wait_ms(session));
	return 0;
}

void
session_answered(struct session *session)
{
	session->asked = NULL;
	session->is_waiting = false;
	stream_resume(session->stream);
}

void
session_enter(struct session *session, enum session_state state)
{
	session->state = (uint8_t)state;
	session_set_deadline(session, session_command_wait_ms(session));
}

/* ---- the beginning ---- */

static void
on_input(void *arg)
{
	struct session *session = arg;

	if (!session->is_greeted) {
		session_end(
		    session, 554, "5.5.1", "You talk before you are greeted");
		return;
	}
	while (!session->is_ended && !session->is_waiting &&
	       session->state != SESSION_GREETING &&
	       session_take_input(session))
		continue;
}

void
session_start_tls(struct session *session)
{
	SSL *ssl = SSL_new(session->worker->tls[session->listener]);

	if (ssl == NULL)
		fatal("out of memory for TLS");
	SSL_set_accept_state(ssl);
	worker_trim_soon(session->worker);
	session->state = SESSION_GREETING;
	session_set_deadline(session, HANDSHAKE_MS);
	if (stream_start_tls(session->stream, ssl) == -1)
		session_abandon(session, "plain text before TLS");
}

static void
greet(struct session *session)
{
	session_enter(session, SESSION_HELLO);
	session_reply(session, 220, NULL, "%s ESMTP Postern",
	    session_settings(session)->smtp_hostname);
}

static void
on_drained(void *arg)
{
	struct session *session = arg;

	session->is_greeted = true;
}

static void
on_secured(void *arg)
{
	struct session *session = arg;
	char text[128];

	tls_describe(stream_ssl(session->stream), text, sizeof(text));
	session->tls = xstrdup(text);
	worker_trim_soon(session->worker);
	if (!session->is_greeted) {
		greet(session);
		return;
	}
	/* What was learnt in plain text is forgotten (RFC 3207 4.2). */
	free(session->helo);
	session->helo = xstrdup("");
	session_enter(session, SESSION_HELLO);
}

/* Did it talk before the banner could have reached it? */
static bool
is_early_talker(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

void
session_begin(struct session *session)
{
	if (!session->is_held)
		return;
	session->is_held = false;
	stream_resume(session->stream);
	if (session->listener != LISTENER_SUBMISSIONS) {
		if (is_early_talker(stream_fd(session->stream)))
			session_end(session, 554, "5.5.1",
			    "You talk before you are greeted");
		else
			greet(session);
	} else if (session->worker->tls[session->listener] != NULL) {
		session_start_tls(session);
	} else {
		session_abandon(session, "no certificate for TLS");
	}
}

void
session_start(struct worker *worker, const struct ipc_client *client, int fd)
{
	struct session *session = xcalloc(1, sizeof(*session));

	session->worker = worker;
	session->id = client->session_id;
	session->started_ms = clock_monotonic_ms();
	(void)netaddr_parse(client->address, &session->client);
	session->listener = (uint8_t)client->listener_kind;
	session->client_port = client->port;
	session->local_address = slice_dup(client->local_address);
	session->is_trusted = client->is_trusted;
	session->is_stressed = client->is_stressed;
	session->helo = xstrdup("");
	(void)event_assign(
	    &session->timer, loop_base(worker->loop), -1, 0, on_timer, session);
	session->next = worker->sessions;
	if (session->next != NULL)
		session->next->previous = session;
	worker->sessions = session;
	worker->session_count++;
	session->stream = stream_new(
	    worker->loop, fd, &stream_hooks, session, COMMAND_INPUT_MAX);
	/* Nothing is read meanwhile, so that it cannot be misread. */
	session->is_held = true;
	stream_pause(session->stream);
	if (worker->is_ready)
		session_begin(session);
}
