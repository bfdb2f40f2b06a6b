/* SPDX-License-Identifier: ISC */
/*
 * The lines of a session: taken off the input, parsed, looked up in the table
 * of commands, run; and the commands that carry no mail.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing that the client
 * sends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "smtpd/intake.h"
#include "smtpd/session.h"

/* A line that is still longer has no end: the client is no mail client. */
#define DISCARD_MAX 65536

/* ---- commands without mail ---- */

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
	(void)buf_addf(out, "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n%s",
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
	session_reply(session, 220, "2.0.0", "Go ahead");
	session_start_tls(session);
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
#define GREETED                                                     \
	(IN(SESSION_HELLO) | IN(SESSION_READY) | IN(SESSION_MAIL) | \
	    IN(SESSION_RCPT))

struct command {
	session_command_fn *run;
	unsigned states;       /* where it may be said */
	const char *misplaced; /* what is told elsewhere */
	bool is_idle;          /* brings no mail nearer: there is a limit */
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

/*
 * What the log may have of a line.  Some clients send user name and password
 * on lines of their own although AUTH was refused.
 */
static struct slice
loggable(struct session *session, enum smtp_verb verb, struct slice line)
{
	if (verb == SMTP_VERB_AUTH) {
		session->said_auth = true;
		return SLICE("AUTH");
	}
	if (verb == SMTP_VERB_UNKNOWN && session->said_auth)
		return SLICE("(something after AUTH)");
	return line;
}

static void
run_command(struct session *session, struct slice line)
{
	const struct settings *settings = session_settings(session);
	const struct command *command;
	struct smtp_command parsed;
	struct smtp_status status;
	int rc = smtp_command_parse(line, &parsed, &status);

	command = &commands[parsed.verb];
	session->line = loggable(session, parsed.verb, line);
	if (command->is_idle)
		session->idle_commands++;
	session_set_deadline(session, session_command_wait_ms(session));
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
take_line(
    struct session *session, struct slice in, char line[SMTP_LINE_AUTH_MAX])
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

bool
session_take_input(struct session *session)
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
