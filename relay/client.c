/* SPDX-License-Identifier: ISC */
/*
 * A session with another server: greeting, EHLO, STARTTLS, AUTH; its end.
 * Runs in: postern-relayd.  Trusts: nothing that the server says.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/printable.h"
#include "relay/client_parts.h"

/* Unread replies; one reply is limited by smtp_reply_feed(). */
#define INPUT_LIMIT 65536
/* Until the server closes after our QUIT. */
#define QUIT_LINGER_MS 2000
/* A login that asks more often is none (T076). */
#define CHALLENGES_MAX 3
/* Two secrets and three NULs, before and after base64. */
#define AUTH_PLAIN_MAX (2 * CLIENT_SECRET_MAX + 3)

static void greeting_reply(struct client *c, const struct smtp_reply *reply);
static void ehlo_reply(struct client *c, const struct smtp_reply *reply);
static void helo_reply(struct client *c, const struct smtp_reply *reply);
static void starttls_reply(struct client *c, const struct smtp_reply *reply);
static void auth_reply(struct client *c, const struct smtp_reply *reply);
static void stray_reply(struct client *c, const struct smtp_reply *reply);

enum wait { WAIT_CONNECT, WAIT_COMMAND, WAIT_DOT, WAIT_OWNER };

static const struct {
	const char *name;
	enum wait wait;
	void (*on_reply)(struct client *c, const struct smtp_reply *reply);
} states[CLIENT_STATE_COUNT] = {
    [CLIENT_CONNECTING] = {"connecting", WAIT_CONNECT, stray_reply},
    [CLIENT_GREETING] = {"greeting", WAIT_COMMAND, greeting_reply},
    [CLIENT_EHLO] = {"EHLO", WAIT_COMMAND, ehlo_reply},
    [CLIENT_HELO] = {"HELO", WAIT_COMMAND, helo_reply},
    [CLIENT_STARTTLS] = {"STARTTLS", WAIT_COMMAND, starttls_reply},
    [CLIENT_HANDSHAKE] = {"TLS handshake", WAIT_COMMAND, stray_reply},
    [CLIENT_AUTH] = {"AUTH", WAIT_COMMAND, auth_reply},
    [CLIENT_IDLE] = {"idle", WAIT_OWNER, stray_reply},
    [CLIENT_MAIL] = {"MAIL", WAIT_COMMAND, client_mail_reply},
    [CLIENT_RCPT] = {"RCPT", WAIT_COMMAND, client_rcpt_reply},
    [CLIENT_DATA] = {"DATA", WAIT_COMMAND, client_data_reply},
    [CLIENT_CONTENT] = {"content", WAIT_COMMAND, client_early_reply},
    [CLIENT_DOT] = {"end of data", WAIT_DOT, client_dot_reply},
    [CLIENT_RSET] = {"RSET", WAIT_COMMAND, client_rset_reply},
    [CLIENT_OVER] = {"over", WAIT_OWNER, stray_reply},
};

void
client_enter(struct client *c, enum client_state state)
{
	const uint64_t waits[] = {
	    [WAIT_CONNECT] = c->config.connect_ms,
	    [WAIT_COMMAND] = c->config.command_ms,
	    [WAIT_DOT] = c->config.dot_ms,
	    [WAIT_OWNER] = 0,
	};
	uint64_t wait = waits[states[state].wait];

	c->state = state;
	if (c->stream == NULL)
		return;
	if (wait != 0 && c->mail != NULL) {
		uint64_t now = clock_monotonic_ms();
		uint64_t until = state == CLIENT_DOT ? c->dot_until_ms
						     : c->mail->deadline_ms;
		uint64_t left = until > now ? until - now : 1;

		wait = left < wait ? left : wait;
	}
	stream_deadline(c->stream, wait);
}

/* ---- the end ---- */

void
client_settle(struct client_recipient *recipient, enum outcome outcome,
    unsigned code, const char *enhanced, const char *text)
{
	static const char *const general[OUTCOME_COUNT] = {
	    [OUTCOME_DELIVERED] = "2.0.0",
	    [OUTCOME_DEFERRED] = "4.0.0",
	    [OUTCOME_FAILED] = "5.0.0",
	};

	if (recipient->is_settled)
		return;
	recipient->is_settled = true;
	recipient->outcome = outcome;
	recipient->code = (uint16_t)code;
	(void)snprintf(recipient->enhanced, sizeof(recipient->enhanced), "%s",
	    enhanced[0] != '\0' ? enhanced : general[outcome]);
	free(recipient->reply);
	recipient->reply = xstrdup(text);
}

static void
end_session(struct client *c, struct client_end *end)
{
	struct client_mail *mail = c->mail;

	if (c->state == CLIENT_OVER)
		return;
	end->is_reached = c->is_reached;
	c->state = CLIENT_OVER;
	stream_close(c->stream);
	c->stream = NULL;
	c->mail = NULL;
	if (mail != NULL)
		c->config.events->done(c->config.arg, false);
	c->config.events->ended(c->config.arg, end);
}

void
client_end_with(struct client *c, unsigned code, const char *enhanced,
    const char *format, ...)
{
	struct client_end end = {.code = code};
	char text[SMTP_REPLY_SUMMARY_MAX];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	(void)printable(slice_of(text), end.text, sizeof(end.text));
	(void)snprintf(end.enhanced, sizeof(end.enhanced), "%s", enhanced);
	end_session(c, &end);
}

/* Nothing of a session's own is for good: 5xx is put off here, too. */
static const char *
temporary(const struct smtp_reply *reply, char out[SMTP_ENHANCED_MAX])
{
	(void)snprintf(out, SMTP_ENHANCED_MAX, "4%s",
	    reply->enhanced[0] == '4' || reply->enhanced[0] == '5'
		? reply->enhanced + 1
		: ".0.0");
	return out;
}

void
client_end_by_reply(struct client *c, const struct smtp_reply *reply)
{
	struct client_end end = {.code = reply->code};

	(void)smtp_reply_summary(reply, end.text);
	(void)temporary(reply, end.enhanced);
	end_session(c, &end);
}

static void
end_by_tls(struct client *c, unsigned code, const char *enhanced,
    const char *what, const char *why)
{
	struct client_end end = {.code = code, .is_tls_failure = true};
	char text[SMTP_REPLY_SUMMARY_MAX];

	(void)snprintf(text, sizeof(text), "%s: %s", what, why);
	(void)printable(slice_of(text), end.text, sizeof(end.text));
	(void)snprintf(end.enhanced, sizeof(end.enhanced), "%s", enhanced);
	end_session(c, &end);
}

/* ---- greeting and EHLO ---- */

static void
command(struct client *c, enum client_state state, const char *verb,
    const char *argument)
{
	struct buf *out = stream_output(c->stream);

	if (argument != NULL)
		(void)buf_addf(out, "%s %s\r\n", verb, argument);
	else
		(void)buf_addf(out, "%s\r\n", verb);
	client_enter(c, state);
}

static void
say_hello(struct client *c)
{
	command(
	    c, CLIENT_EHLO, c->config.is_lmtp ? "LHLO" : "EHLO", c->own_name);
}

static void
greeting_reply(struct client *c, const struct smtp_reply *reply)
{
	c->is_reached = true;
	if (reply->code != 220)
		client_end_by_reply(c, reply);
	else
		say_hello(c);
}

/* The name in the first line of an EHLO reply. */
static bool
is_our_name(const struct client *c, const struct smtp_reply *reply)
{
	struct slice text = slice_of(reply->text);
	size_t end = strcspn(reply->text, " \n");

	return slice_equals_nocase(
	    (struct slice){text.p, end}, slice_of(c->own_name));
}

static void
open_session(struct client *c)
{
	c->was_open = true;
	client_enter(c, CLIENT_IDLE);
	c->config.events->ready(c->config.arg);
}

static void auth_begin(struct client *c);

static void
after_hello(struct client *c)
{
	if (!c->is_secured && c->config.tls.action != TLS_PLAIN &&
	    c->config.ssl != NULL) {
		if (c->ehlo.has_starttls) {
			command(c, CLIENT_STARTTLS, "STARTTLS", NULL);
			return;
		}
		if (c->config.tls.action == TLS_MUST) {
			end_by_tls(c, 0, "4.7.10", "TLS is required",
			    "the server does not offer STARTTLS");
			return;
		}
	}
	if (c->user[0] != '\0')
		auth_begin(c);
	else
		open_session(c);
}

static void
ehlo_reply(struct client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 5 && !c->config.is_lmtp && !c->is_secured &&
	    c->config.tls.action != TLS_MUST) {
		command(c, CLIENT_HELO, "HELO", c->own_name);
		return;
	}
	if (reply->code / 100 != 2) {
		client_end_by_reply(c, reply);
		return;
	}
	if (c->config.is_own_name_a_loop && is_our_name(c, reply)) {
		struct client_end end = {.is_loop = true,
		    .enhanced = "5.4.6",
		    .text = "mail loops back to this host"};

		end_session(c, &end);
		return;
	}
	smtp_ehlo_read(reply, &c->ehlo);
	after_hello(c);
}

static void
helo_reply(struct client *c, const struct smtp_reply *reply)
{
	c->ehlo = (struct smtp_ehlo){.has_starttls = false};
	if (reply->code / 100 != 2)
		client_end_by_reply(c, reply);
	else
		after_hello(c);
}

/* ---- TLS ---- */

static void
start_tls(struct client *c)
{
	SSL *ssl = c->config.ssl;

	c->config.ssl = NULL;
	if (stream_start_tls(c->stream, ssl) == -1)
		/* Somebody put a reply in before the handshake (T074). */
		client_end_with(
		    c, 0, "4.7.0", "the server sent more before TLS began");
	else
		client_enter(c, CLIENT_HANDSHAKE);
}

static void
starttls_reply(struct client *c, const struct smtp_reply *reply)
{
	char text[SMTP_REPLY_SUMMARY_MAX];
	char enhanced[SMTP_ENHANCED_MAX];

	if (reply->code == 220) {
		start_tls(c);
		return;
	}
	end_by_tls(c, reply->code, temporary(reply, enhanced),
	    "STARTTLS refused", smtp_reply_summary(reply, text));
}

static void
on_secured(void *arg)
{
	struct client *c = arg;
	SSL *ssl = stream_ssl(c->stream);
	char version[64];
	char why[SMTP_REPLY_SUMMARY_MAX / 2];

	if (!tls_client_verified(ssl, why, sizeof(why))) {
		end_by_tls(c, 0, "4.7.5", "the server's certificate", why);
		return;
	}
	c->is_secured = true;
	tls_describe(ssl, version, sizeof(version));
	(void)snprintf(
	    c->tls_words, sizeof(c->tls_words), "%.80s, %s", why, version);
	if (c->config.tls.is_from_start)
		client_enter(c, CLIENT_GREETING);
	else
		say_hello(c);
}

const char *
client_tls_words(const struct client *c, char *out, size_t size)
{
	const char *reached = c->is_secured ? c->tls_words
			      : c->was_open ? NULL
					    : "no session";

	return tls_policy_words(&c->config.tls, reached, out, size);
}

/* ---- login ---- */

/* Appends a line in base64, and leaves no copy behind. */
static void
add_secret(struct buf *out, const char *p, size_t n, const char *before)
{
	char text[BASE64_ENCODED_SIZE(AUTH_PLAIN_MAX) + 1];

	if (base64_encode(p, n, text, sizeof(text)) == 0)
		(void)buf_addf(out, "%s%s\r\n", before, text);
	explicit_bzero(text, sizeof(text));
}

static void
auth_begin(struct client *c)
{
	char plain[AUTH_PLAIN_MAX];
	size_t user_n = strlen(c->user);
	size_t password_n = strlen(c->password);

	c->challenges = 0;
	if (!c->is_secured) {
		client_end_with(c, 0, "4.7.10",
		    "no login without TLS; the password was not sent");
		return;
	}
	if (smtp_ehlo_has_mechanism(&c->ehlo, "PLAIN")) {
		plain[0] = '\0';
		memcpy(plain + 1, c->user, user_n + 1);
		memcpy(plain + 2 + user_n, c->password, password_n);
		add_secret(stream_output(c->stream), plain,
		    2 + user_n + password_n, "AUTH PLAIN ");
		explicit_bzero(plain, sizeof(plain));
		c->challenges = CHALLENGES_MAX;
		client_enter(c, CLIENT_AUTH);
	} else if (smtp_ehlo_has_mechanism(&c->ehlo, "LOGIN")) {
		command(c, CLIENT_AUTH, "AUTH", "LOGIN");
	} else {
		client_end_with(
		    c, 0, "4.7.4", "the server offers no login that we have");
	}
}

/* LOGIN asks for the name, then for the password, whatever its words. */
static void
auth_reply(struct client *c, const struct smtp_reply *reply)
{
	const char *const secrets[] = {c->user, c->password};

	if (reply->code / 100 == 2) {
		open_session(c);
		return;
	}
	if (reply->code / 100 != 3) {
		client_end_by_reply(c, reply);
		return;
	}
	if (c->challenges >= sizeof(secrets) / sizeof(secrets[0])) {
		client_end_with(
		    c, 0, "4.7.0", "the server's login asks on and on");
		return;
	}
	add_secret(stream_output(c->stream), secrets[c->challenges],
	    strlen(secrets[c->challenges]), "");
	c->challenges++;
	client_enter(c, CLIENT_AUTH);
}

/* ---- events of the stream ---- */

static void
stray_reply(struct client *c, const struct smtp_reply *reply)
{
	if (reply->code == 421)
		client_end_by_reply(c, reply);
	else
		client_end_with(
		    c, 0, "4.5.0", "the server answered what was not asked");
}

static void
on_input(void *arg)
{
	struct client *c = arg;

	while (c->state != CLIENT_OVER) {
		struct slice in = stream_input(c->stream);
		enum parse_result result;
		size_t used;

		if (in.n == 0)
			return;
		result = smtp_reply_feed(&c->reply, in, &used);
		stream_consume(c->stream, used);
		if (result == PARSE_MORE)
			return;
		if (result == PARSE_BAD) {
			client_end_with(c, 0, "4.5.0",
			    "the server's reply to %s is none",
			    states[c->state].name);
			return;
		}
		/* The reply stays whole while its handler looks at it. */
		states[c->state].on_reply(c, &c->reply);
		if (c->state != CLIENT_OVER)
			smtp_reply_init(&c->reply);
	}
}

static void
on_connected(void *arg)
{
	struct client *c = arg;

	if (c->config.tls.is_from_start && c->config.ssl != NULL)
		start_tls(c);
	else
		client_enter(c, CLIENT_GREETING);
}

static void
on_drained(void *arg)
{
	struct client *c = arg;

	if (c->state == CLIENT_CONTENT)
		client_send_content(c);
}

static void
on_ended(void *arg, enum stream_end how)
{
	struct client *c = arg;
	const char *why = stream_error(c->stream);
	const char *during = states[c->state].name;

	if (c->state == CLIENT_HANDSHAKE)
		end_by_tls(c, 0, "4.7.5", "TLS handshake",
		    why[0] != '\0' ? why : "the server closed");
	else if (how == STREAM_TIMEOUT)
		client_end_with(c, 0, "4.4.2", "timed out (%s)", during);
	else if (c->state == CLIENT_CONNECTING)
		client_end_with(c, 0, "4.4.1", "connect: %s", why);
	else
		client_end_with(c, 0, "4.4.2",
		    "the server closed the connection (%s)%s%s", during,
		    why[0] != '\0' ? ": " : "", why);
}

static const struct stream_events stream_handlers = {.input = on_input,
    .secured = on_secured,
    .drained = on_drained,
    .connected = on_connected,
    .ended = on_ended};

/* ---- life ---- */

struct client *
client_new(const struct client_config *config, int fd)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->config = *config;
	c->own_name = xstrdup(config->own_name);
	c->host = xstrdup(config->host);
	c->user = xstrdup(config->user);
	c->password = xstrdup(config->password);
	if (strlen(c->user) > CLIENT_SECRET_MAX ||
	    strlen(c->password) > CLIENT_SECRET_MAX)
		bug("client_new: a secret that no message can hold");
	smtp_reply_init(&c->reply);
	c->stream = stream_new_connecting(
	    config->loop, fd, &stream_handlers, c, INPUT_LIMIT);
	client_enter(c, CLIENT_CONNECTING);
	return c;
}

static void
bury(void *arg)
{
	struct client *c = arg;

	free(c->own_name);
	free(c->host);
	free(c->user);
	explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c);
}

/* Handlers on the way here still look at the state. */
void
client_free(struct client *c)
{
	if (c == NULL)
		return;
	c->state = CLIENT_OVER;
	c->mail = NULL;
	stream_close(c->stream);
	c->stream = NULL;
	SSL_free(c->config.ssl);
	c->config.ssl = NULL;
	c->burial = (struct loop_task){.run = bury, .arg = c};
	loop_at_turn_end(c->config.loop, &c->burial);
}

void
client_quit(struct client *c)
{
	if (c != NULL && c->stream != NULL && c->state == CLIENT_IDLE) {
		stream_write(c->stream, "QUIT\r\n", 6);
		stream_close_after_output(c->stream, QUIT_LINGER_MS);
		c->stream = NULL;
	}
	client_free(c);
}

void
client_send(struct client *c, struct client_mail *mail)
{
	if (c->state != CLIENT_IDLE)
		bug("client_send in state %s", states[c->state].name);
	c->mail = mail;
	client_mail_begin(c);
}
