/* SPDX-License-Identifier: ISC */
/*
 * The life of a session: banner, lines, the table of commands, time limits,
 * the end.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing that the client
 * sends; the acceptor for who the client is.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/tls.h"
#include "smtpd/intake.h"
#include "smtpd/session.h"

/* Input of commands that is held; a group of pipelined ones fits. */
#define COMMAND_INPUT_MAX 16384
/* A line that is still longer has no end: the client is no mail client. */
#define DISCARD_MAX 65536
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
session_client_text(
    const struct session *session, char text[NETADDR_TEXT_MAX])
{
	return slice_of(netaddr_format(&session->client, text));
}

struct slice
session_account(const struct session *session)
{
	return slice_of(
	    session->login != NULL ? session->login->account : "");
}

void
session_log(
    struct session *session, enum event_type type, const void *fields)
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
	(void)snprintf(status->text + n, sizeof(status->text) - n,
	    " [ref %s]", reference_r);
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

static uint64_t
command_wait_ms(const struct session *session)
{
	const struct settings *settings = session_settings(session);

	return 1000 *
	    (session->is_stressed ? settings->smtp_stressed_timeout
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
	session_end(session, 421, "4.4.2", "%s Timeout, closing connection",
	    session_settings(session)->smtp_hostname);
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
	    .end = slice_of(reason)};

	session_log(session, EV_SESSION, &event);
}

static void
release(void *arg)
{
	struct session *session = arg;

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
	(void)smtp_reply_format(stream_output(session->stream), code, enhanced,
	    slice_of(text));
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

void
session_drain(struct session *session)
{
	if (session->is_ended || session->transaction != NULL ||
	    session->is_waiting)
		return;
	if (session->is_greeted)
		session_end(session, 421, "4.3.2", "%s Going down for a while",
		    session_settings(session)->smtp_hostname);
	else
		session_abandon(session, "going down");
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
session_reply_status(
    struct session *session, const struct smtp_status *status)
{
	session_reply(session, status->code, status->enhanced, "%s",
	    status->text);
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
	    session, deadline_ms + command_wait_ms(session));
	return 0;
}

void
session_answered(struct session *session)
{
	session->asked = NULL;
	session->is_waiting = false;
	stream_resume(session->stream);
}

/* ---- commands without mail ---- */

void
session_enter(struct session *session, enum session_state state)
{
	session->state = (uint8_t)state;
	session_set_deadline(session, command_wait_ms(session));
}

static void
take_hello(struct session *session, struct slice argument, bool is_esmtp)
{
	struct smtp_status status;
	struct smtp_hello hello;

	if (smtp_hello_parse(argument, &hello, &status) == -1) {
		session_reply_status(session, &status);
		return;
	}
	free(session->helo);
	session->helo = xstrdup(hello.text);
	session->helo_kind = (uint8_t)hello.kind;
	session->is_esmtp = is_esmtp;
	session_reset(session);
	session_enter(session, SESSION_READY);
}

static void
cmd_helo(struct session *session, struct slice argument)
{
	take_hello(session, argument, false);
	if (session->state == SESSION_READY && !session->is_ended)
		session_reply(session, 250, NULL, "%s",
		    session_settings(session)->smtp_hostname);
}

static bool
offers_starttls(const struct session *session)
{
	return session->tls == NULL &&
	    session->worker->tls[session->listener] != NULL;
}

static void
cmd_ehlo(struct session *session, struct slice argument)
{
	const struct settings *settings = session_settings(session);
	const char *mechanisms;
	struct buf *out;
	uint32_t errors = session->errors;

	take_hello(session, argument, true);
	if (session->errors != errors || session->is_ended)
		return;
	mechanisms = session_mechanisms(session);
	out = stream_output(session->stream);
	(void)buf_addf(out,
	    "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n%s",
	    settings->smtp_hostname,
	    (unsigned long long)settings->smtp_max_message_size,
	    offers_starttls(session) ? "250-STARTTLS\r\n" : "");
	if (mechanisms[0] != '\0')
		(void)buf_addf(out, "250-AUTH %s\r\n", mechanisms);
	(void)buf_add_text(out,
	    "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n"
	    "250 SMTPUTF8\r\n");
}

static void
start_tls(struct session *session)
{
	SSL *ssl = SSL_new(session->worker->tls[session->listener]);

	if (ssl == NULL)
		fatal("out of memory for TLS");
	SSL_set_accept_state(ssl);
	session->state = SESSION_GREETING;
	session_set_deadline(session, HANDSHAKE_MS);
	if (stream_start_tls(session->stream, ssl) == -1)
		session_abandon(session, "plain text before TLS");
}

static void
cmd_starttls(struct session *session, struct slice argument)
{
	(void)argument;
	if (!offers_starttls(session)) {
		session_reply(session, 503, "5.5.1",
		    session->tls != NULL ? "TLS is active already"
		                         : "TLS is not available");
		return;
	}
	/*
	 * Commands sent with it would be acted on after the handshake as if
	 * they had come through it (RFC 3207 section 6, CVE-2011-0411).
	 */
	if (stream_input(session->stream).n > 0) {
		char client[NETADDR_TEXT_MAX];
		struct event_tls_failed event = {
		    .client = session_client_text(session, client),
		    .text = SLICE("commands were sent behind STARTTLS")};

		session_log(session, EV_TLS_FAILED, &event);
		session_end(session, 554, "5.5.1",
		    "Nothing may be sent behind STARTTLS");
		return;
	}
	add_reply(session, 220, "2.0.0", "Go ahead");
	start_tls(session);
}

static void
cmd_rset(struct session *session, struct slice argument)
{
	(void)argument;
	session_reset(session);
	if (session->state == SESSION_MAIL || session->state == SESSION_RCPT)
		session_enter(session, SESSION_READY);
	session_reply(session, 250, "2.0.0", "Ok");
}

static void
cmd_noop(struct session *session, struct slice argument)
{
	(void)argument;
	session_reply(session, 250, "2.0.0", "Ok");
}

static void
cmd_vrfy(struct session *session, struct slice argument)
{
	(void)argument;
	session_reply(session, 252, "2.5.0",
	    "Cannot say, but will take a message and try");
}

static void
cmd_help(struct session *session, struct slice argument)
{
	(void)argument;
	session_reply(session, 214, "2.0.0", "See RFC 5321");
}

/*
 * Who says QUIT sends nothing more, so that nothing can make the kernel reset
 * the connection: reply and FIN leave in one packet, and there is no wait for
 * the client's FIN.  That is a tenth of what a small mail costs.  -1 when
 * something else waits to be sent.
 */
static int
part_at_once(struct session *session)
{
	struct stream *stream = session->stream;
	char text[512];
	int n;

	if (session->tls != NULL || stream_output_pending(stream) > 0 ||
	    stream_input(stream).n > 0)
		return -1;
	n = snprintf(text, sizeof(text), "221 2.0.0 %s Bye\r\n",
	    session_settings(session)->smtp_hostname);
	if (send(stream_fd(stream), text, (size_t)n,
	        MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) != n)
		return -1;
	session_abandon(session, "quit");
	return 0;
}

static void
cmd_quit(struct session *session, struct slice argument)
{
	(void)argument;
	if (part_at_once(session) == -1)
		session_end(session, 221, "2.0.0", "%s Bye",
		    session_settings(session)->smtp_hostname);
}

/* Octets of a chunk follow: they must not be read as commands. */
static void
cmd_bdat(struct session *session, struct slice argument)
{
	(void)argument;
	session_end(session, 502, "5.5.1", "CHUNKING is not offered");
}

static void
cmd_foreign(struct session *session, struct slice argument)
{
	(void)argument;
	session_end(session, 554, "5.5.1", "This is a mail server");
}

static void
cmd_unserved(struct session *session, struct slice argument)
{
	(void)argument;
	session_reply(session, 502, "5.5.1", "Command not served");
}

static void
cmd_unknown(struct session *session, struct slice argument)
{
	(void)argument;
	session_reply(session, 500, "5.5.2", "Command unknown");
}

/* ---- the table ---- */

#define IN(state) (1u << (state))
#define GREETED \
	(IN(SESSION_HELLO) | IN(SESSION_READY) | IN(SESSION_MAIL) | \
	    IN(SESSION_RCPT))

struct command {
	session_command_fn *run;
	unsigned states;     /* where it may be said */
	const char *misplaced; /* what is told elsewhere */
	bool is_idle; /* brings no mail nearer: there is a limit */
};

static const struct command commands[SMTP_VERB_COUNT] = {
    [SMTP_VERB_UNKNOWN] = {cmd_unknown, GREETED, NULL, false},
    [SMTP_VERB_FOREIGN] = {cmd_foreign, GREETED, NULL, false},
    [SMTP_VERB_HELO] = {cmd_helo, GREETED, NULL, true},
    [SMTP_VERB_EHLO] = {cmd_ehlo, GREETED, NULL, true},
    [SMTP_VERB_STARTTLS] = {cmd_starttls, IN(SESSION_READY),
        "STARTTLS follows EHLO", true},
    [SMTP_VERB_AUTH] = {session_auth_command, IN(SESSION_READY),
        "AUTH follows EHLO, before MAIL", true},
    [SMTP_VERB_MAIL] = {session_mail_command, IN(SESSION_READY),
        "MAIL follows EHLO, or the message before", true},
    [SMTP_VERB_RCPT] = {session_rcpt_command,
        IN(SESSION_MAIL) | IN(SESSION_RCPT), "RCPT follows MAIL", false},
    [SMTP_VERB_DATA] = {session_data_command, IN(SESSION_RCPT),
        "DATA follows an accepted RCPT", false},
    [SMTP_VERB_RSET] = {cmd_rset, GREETED, NULL, true},
    [SMTP_VERB_NOOP] = {cmd_noop, GREETED, NULL, true},
    [SMTP_VERB_VRFY] = {cmd_vrfy, GREETED, NULL, true},
    [SMTP_VERB_EXPN] = {cmd_unserved, GREETED, NULL, true},
    [SMTP_VERB_HELP] = {cmd_help, GREETED, NULL, true},
    [SMTP_VERB_QUIT] = {cmd_quit, GREETED, NULL, false},
    [SMTP_VERB_BDAT] = {cmd_bdat, GREETED, NULL, false},
    [SMTP_VERB_ETRN] = {cmd_unserved, GREETED, NULL, true},
    [SMTP_VERB_TURN] = {cmd_unserved, GREETED, NULL, true},
    [SMTP_VERB_XCLIENT] = {cmd_unserved, GREETED, NULL, true},
    [SMTP_VERB_XFORWARD] = {cmd_unserved, GREETED, NULL, true},
};

static void
run_command(struct session *session, struct slice line)
{
	const struct settings *settings = session_settings(session);
	const struct command *command;
	struct smtp_command parsed;
	struct smtp_status status;
	int rc = smtp_command_parse(line, &parsed, &status);

	command = &commands[parsed.verb];
	/* Of AUTH no more than its name: a password may follow. */
	session->line = parsed.verb == SMTP_VERB_AUTH ? SLICE("AUTH") : line;
	if (command->is_idle)
		session->idle_commands++;
	session_set_deadline(session, command_wait_ms(session));
	if (session->idle_commands > settings->smtp_max_idle_commands)
		session_end(session, 421, "4.7.0", "%s Too many idle commands",
		    settings->smtp_hostname);
	else if (parsed.verb == SMTP_VERB_FOREIGN ||
	    parsed.verb == SMTP_VERB_BDAT)
		command->run(session, parsed.argument);
	else if (rc == -1)
		session_reply_status(session, &status);
	else if ((command->states & IN(session->state)) == 0)
		session_reply(session, 503, "5.5.1", "%s", command->misplaced);
	else
		command->run(session, parsed.argument);
	session->line = (struct slice){NULL, 0};
}

/* ---- input ---- */

/* Drops what belongs to a line that was too long. */
static bool
discard(struct session *session, struct slice in)
{
	size_t lf = slice_find(in, '\n', 0);
	size_t n = lf < in.n ? lf + 1 : in.n;

	stream_consume(session->stream, n);
	session->discarded += (uint32_t)n;
	if (lf < in.n) {
		session->is_discarding = false;
	} else if (session->discarded > DISCARD_MAX) {
		session_end(session, 421, "4.7.0", "%s This line has no end",
		    session_settings(session)->smtp_hostname);
		return false;
	}
	return true;
}

/* Copies the next line and takes it off the input; -1: none is whole. */
static ssize_t
take_line(struct session *session, struct slice in,
    char line[SMTP_LINE_AUTH_MAX])
{
	size_t lf = slice_find(in, '\n', 0);

	if (lf == in.n && in.n < SMTP_LINE_AUTH_MAX)
		return -1;
	if (lf >= SMTP_LINE_AUTH_MAX) {
		session->is_discarding = true;
		session->discarded = 0;
		session_auth_abort(session);
		session_reply(session, 500, "5.5.2", "Line too long");
		return -1;
	}
	/* Line ends are strict: another reader may see other lines here. */
	if (lf == 0 || in.p[lf - 1] != '\r') {
		session_end(session, 554, "5.5.2",
		    "Lines end in CR LF, not in LF alone");
		return -1;
	}
	memcpy(line, in.p, lf - 1);
	stream_consume(session->stream, lf + 1);
	return (ssize_t)(lf - 1);
}

/* One step; false when there is nothing to do with what is there. */
static bool
take_input(struct session *session)
{
	struct slice in = stream_input(session->stream);
	char line[SMTP_LINE_AUTH_MAX];
	ssize_t n;

	if (in.n == 0)
		return false;
	if (session->state == SESSION_DATA)
		return intake_input(session, in);
	if (session->is_discarding)
		return discard(session, in);
	if ((n = take_line(session, in, line)) == -1)
		return session->is_discarding;
	if (session->state == SESSION_AUTH)
		session_auth_line(session, (struct slice){line, (size_t)n});
	else
		run_command(session, (struct slice){line, (size_t)n});
	explicit_bzero(line, (size_t)n); /* it may have been a password */
	return true;
}

static void
on_input(void *arg)
{
	struct session *session = arg;

	if (!session->is_greeted) {
		session_end(session, 554, "5.5.1",
		    "You talk before you are greeted");
		return;
	}
	while (!session->is_ended && !session->is_waiting &&
	    session->state != SESSION_GREETING && take_input(session))
		continue;
}

/* ---- the beginning ---- */

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
session_start(
    struct worker *worker, const struct ipc_client *client, int fd)
{
	struct session *session = xcalloc(1, sizeof(*session));

	session->worker = worker;
	session->id = client->session_id;
	session->started_ms = clock_monotonic_ms();
	(void)netaddr_parse(client->address, &session->client);
	session->port = client->port;
	session->listener = (uint8_t)client->listener_kind;
	session->is_trusted = client->is_trusted;
	session->is_stressed = client->is_stressed;
	session->helo = xstrdup("");
	(void)event_assign(&session->timer, loop_base(worker->loop), -1, 0,
	    on_timer, session);
	session->next = worker->sessions;
	if (session->next != NULL)
		session->next->previous = session;
	worker->sessions = session;
	worker->session_count++;
	session->stream = stream_new(
	    worker->loop, fd, &stream_hooks, session, COMMAND_INPUT_MAX);
	if (session->listener != LISTENER_SUBMISSIONS) {
		if (is_early_talker(fd))
			session_end(session, 554, "5.5.1",
			    "You talk before you are greeted");
		else
			greet(session);
	} else if (worker->tls[session->listener] != NULL) {
		start_tls(session);
	} else {
		session_abandon(session, "no certificate for TLS");
	}
}
