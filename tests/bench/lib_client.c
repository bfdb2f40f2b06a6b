/* SPDX-License-Identifier: ISC */
/*
 * The client's side of SMTP: hello, TLS, login, and mails in the two segments
 * that real clients use (RFC 2920): commands up to DATA, then the message.
 * Runs in: tests/bench/load.  Trusts: nothing of the server's replies; a mail
 * counts as accepted only by the final 250 that follows its dot.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include <openssl/evp.h>

#include "common/err.h"
#include "tests/bench/lib_client.h"
#include "tests/bench/lib_count.h"

/* Large mails go out in pieces that stay in the processor's cache. */
#define CHUNK_BYTES (64u << 10)

const char *const client_stage_names[STAGE_COUNT] = {
    [STAGE_CLOSED] = "connect",
    [STAGE_CONNECT] = "connect",
    [STAGE_GREETING] = "greeting",
    [STAGE_HELLO] = "hello",
    [STAGE_STARTTLS] = "starttls",
    [STAGE_HANDSHAKE] = "handshake",
    [STAGE_AUTH] = "auth",
    [STAGE_READY] = "ready",
    [STAGE_RESET] = "reset",
    [STAGE_MAIL] = "mail",
    [STAGE_RCPT] = "rcpt",
    [STAGE_DATA] = "data",
    [STAGE_DOT] = "dot",
    [STAGE_QUIT] = "quit",
};

static void
say(struct client *c, enum client_stage stage, const char *line)
{
	c->stage = stage;
	(void)buf_add_text(&c->wire.out, line);
}

static void
say_hello(struct client *c)
{
	c->has_hello_pipelining = false;
	c->stage = STAGE_HELLO;
	(void)buf_addf(&c->wire.out, "EHLO %s\r\n", c->plan->helo);
}

static void
say_mail(struct client *c)
{
	char address[PLAN_ADDRESS_MAX];

	plan_sender(c->plan, c->job.number, c->account, address);
	(void)buf_addf(&c->wire.out, "MAIL FROM:<%s>\r\n", address);
}

static void
say_rcpt(struct client *c, uint32_t k)
{
	char address[PLAN_ADDRESS_MAX];

	plan_recipient(c->plan, c->job.number, k, c->account, address);
	(void)buf_addf(&c->wire.out, "RCPT TO:<%s>\r\n", address);
}

static bool
is_pipelining(const struct client *c)
{
	return c->plan->is_pipelining && c->has_hello_pipelining;
}

static void
say_envelope(struct client *c)
{
	c->stage = STAGE_MAIL;
	say_mail(c);
	if (!is_pipelining(c))
		return;
	for (uint32_t k = 0; k < c->plan->recipients; k++)
		say_rcpt(c, k);
	(void)buf_add_text(&c->wire.out, "DATA\r\n");
}

static void
begin_job(struct client *c)
{
	c->sent++;
	if (c->needs_reset)
		say(c, STAGE_RESET, "RSET\r\n");
	else
		say_envelope(c);
	c->needs_reset = false;
}

/* The connection is free: with a job, without one, or for good. */
static void
take_next(struct client *c)
{
	enum client_next next = CLIENT_NEXT_JOB;

	c->stage = STAGE_READY;
	if (!c->has_job)
		next = c->hooks->next(c);
	if (next == CLIENT_NEXT_JOB)
		begin_job(c);
	else if (next == CLIENT_NEXT_QUIT)
		say(c, STAGE_QUIT, "QUIT\r\n");
}

static void
job_done(struct client *c, enum client_stage stage, int code, const char *reply)
{
	const struct client_result result = {.stage = stage,
	    .code = code,
	    .reply = reply,
	    .end_us = count_now_us()};

	c->has_job = false;
	c->hooks->done(c, &result);
}

static void
note_refusal(struct client *c, int code)
{
	if (c->job.bad_code != 0)
		return;
	c->job.bad_code = code;
	c->job.bad_stage = c->stage;
}

/* A login or hello was refused: the owner decides what becomes of the job. */
static int
refused_before_mail(struct client *c, int code)
{
	note_refusal(c, code);
	return -1;
}

static void
start_tls(struct client *c)
{
	struct plan *plan = c->plan;

	c->stage = STAGE_HANDSHAKE;
	wire_start_tls(&c->wire, plan->tls_context, false,
	    plan->is_resuming ? plan->session : NULL);
}

static void
say_auth(struct client *c)
{
	unsigned char encoded[PLAN_LOGIN_MAX * 2];
	char login[PLAN_LOGIN_MAX];
	int n;

	n = snprintf(login, sizeof(login), "%c%s%c%s", '\0', c->account->user,
	    '\0', c->account->password);
	if (n < 0 || (size_t)n >= sizeof(login))
		fatal("the login of %s is too long", c->account->user);
	(void)EVP_EncodeBlock(encoded, (const unsigned char *)login, n);
	c->stage = STAGE_AUTH;
	(void)buf_addf(
	    &c->wire.out, "AUTH PLAIN %s\r\n", (const char *)encoded);
}

static int
on_greeting(struct client *c, int code, const char *text)
{
	(void)text;
	if (code != 220)
		return refused_before_mail(c, code);
	say_hello(c);
	return 0;
}

static int
on_hello(struct client *c, int code, const char *text)
{
	(void)text;
	if (code != 250)
		return refused_before_mail(c, code);
	if (c->plan->tls == PLAN_STARTTLS && !c->is_tls_up)
		say(c, STAGE_STARTTLS, "STARTTLS\r\n");
	else if (c->account != NULL)
		say_auth(c);
	else
		take_next(c);
	return 0;
}

static int
on_starttls(struct client *c, int code, const char *text)
{
	(void)text;
	if (code != 220)
		return refused_before_mail(c, code);
	c->in_n = 0;
	start_tls(c);
	return 0;
}

static int
on_auth(struct client *c, int code, const char *text)
{
	(void)text;
	if (code != 235)
		return refused_before_mail(c, code);
	take_next(c);
	return 0;
}

static int
on_reset(struct client *c, int code, const char *text)
{
	(void)text;
	if (code != 250)
		return -1;
	say_envelope(c);
	return 0;
}

/* The job ends without a mail having been handed over. */
static int
give_up_job(struct client *c, const char *text)
{
	c->needs_reset = true;
	job_done(c, c->job.bad_stage, c->job.bad_code, text);
	take_next(c);
	return 0;
}

static int
on_mail(struct client *c, int code, const char *text)
{
	bool is_refused = code != 250;

	if (is_refused)
		note_refusal(c, code);
	if (is_refused && !is_pipelining(c))
		return give_up_job(c, text);
	c->stage = STAGE_RCPT;
	if (!is_pipelining(c))
		say_rcpt(c, 0);
	return 0;
}

static int
on_rcpt(struct client *c, int code, const char *text)
{
	struct client_job *job = &c->job;

	if (code == 250 || code == 251) {
		job->is_accepted[job->rcpt_next] = true;
		job->rcpt_accepted++;
	} else {
		note_refusal(c, code);
	}
	job->rcpt_next++;
	if (job->rcpt_next < c->plan->recipients) {
		if (!is_pipelining(c))
			say_rcpt(c, job->rcpt_next);
		return 0;
	}
	if (!is_pipelining(c) && job->rcpt_accepted == 0)
		return give_up_job(c, text);
	c->stage = STAGE_DATA;
	if (!is_pipelining(c))
		(void)buf_add_text(&c->wire.out, "DATA\r\n");
	return 0;
}

static int
on_data(struct client *c, int code, const char *text)
{
	struct client_job *job = &c->job;
	char from[PLAN_ADDRESS_MAX];
	char to[PLAN_ADDRESS_MAX];

	if (code != 354) {
		note_refusal(c, code);
		return give_up_job(c, text);
	}
	c->stage = STAGE_DOT;
	if (job->rcpt_accepted == 0) {
		/* RFC 2920 section 3.1: nobody takes it, so send nothing. */
		job->cursor = (struct mail_cursor){.is_complete = true};
		(void)buf_add_text(&c->wire.out, ".\r\n");
		return 0;
	}
	plan_sender(c->plan, job->number, c->account, from);
	plan_recipient(c->plan, job->number, 0, c->account, to);
	mail_start(
	    &job->cursor, &c->plan->pool, job->number, from, to, &c->wire.out);
	return 0;
}

static int
on_dot(struct client *c, int code, const char *text)
{
	if (c->job.dot_us == 0) {
		/* An answer before the dot: the mail's end is unknown. */
		job_done(c, STAGE_DATA, code == 250 ? 0 : code, text);
		return -1;
	}
	if (c->job.rcpt_accepted == 0)
		job_done(c, c->job.bad_stage, c->job.bad_code, text);
	else
		job_done(c, STAGE_DOT, code, text);
	take_next(c);
	return 0;
}

static int (*const handlers[STAGE_COUNT])(
    struct client *c, int code, const char *text) = {
    [STAGE_GREETING] = on_greeting,
    [STAGE_HELLO] = on_hello,
    [STAGE_STARTTLS] = on_starttls,
    [STAGE_AUTH] = on_auth,
    [STAGE_RESET] = on_reset,
    [STAGE_MAIL] = on_mail,
    [STAGE_RCPT] = on_rcpt,
    [STAGE_DATA] = on_data,
    [STAGE_DOT] = on_dot,
};

/* One line of a reply, without its line end. */
static int
on_line(struct client *c, const char *line, size_t n)
{
	int code;

	if (n < 3 || !isdigit((unsigned char)line[0]) ||
	    !isdigit((unsigned char)line[1]) ||
	    !isdigit((unsigned char)line[2]))
		return -1;
	code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
	if (c->stage == STAGE_HELLO && n > 4 &&
	    strcasecmp(line + 4, "PIPELINING") == 0)
		c->has_hello_pipelining = true;
	if (n > 3 && line[3] == '-')
		return 0;
	if (code == 421 && c->has_job && c->stage > STAGE_READY) {
		job_done(c, c->stage, code, line);
		return -1;
	}
	if (handlers[c->stage] == NULL)
		return -1; /* good-bye, or nothing was asked */
	return handlers[c->stage](c, code, n > 4 ? line + 4 : "");
}

/* Every whole line in c->in; stops when STARTTLS was answered. */
static int
on_input(struct client *c)
{
	size_t at = 0;

	while (c->stage != STAGE_HANDSHAKE) {
		char *end = memchr(c->in + at, '\n', c->in_n - at);
		size_t n;

		if (end == NULL)
			break;
		n = (size_t)(end - (c->in + at));
		if (n > 0 && end[-1] == '\r')
			n--;
		c->in[at + n] = '\0';
		if (on_line(c, c->in + at, n) == -1)
			return -1;
		at = (size_t)(end - c->in) + 1;
	}
	if (c->stage == STAGE_HANDSHAKE)
		at = c->in_n;
	memmove(c->in, c->in + at, c->in_n - at);
	c->in_n -= at;
	return 0;
}

/* Writes what waits, and the rest of the mail behind it. */
static int
write_out(struct client *c)
{
	int rc;

	for (;;) {
		bool is_mail = c->stage == STAGE_DOT &&
			       c->job.rcpt_accepted > 0 &&
			       !c->job.cursor.is_complete;

		if (is_mail && c->wire.out.n < CHUNK_BYTES)
			mail_more(&c->job.cursor, CHUNK_BYTES, &c->wire.out);
		if ((rc = wire_flush(&c->wire)) != 1)
			return rc;
		if (!is_mail || c->job.cursor.is_complete)
			break;
	}
	if (c->stage == STAGE_DOT && c->job.dot_us == 0)
		c->job.dot_us = count_now_us();
	return 1;
}

/* Moves the handshake on; 1 when mail may flow. */
static int
shake_hands(struct client *c)
{
	int rc = wire_handshake(&c->wire);

	if (rc != 1)
		return rc;
	c->is_tls_up = true;
	if (c->plan->tls == PLAN_TLS)
		c->stage = STAGE_GREETING;
	else
		say_hello(c);
	return write_out(c) == WIRE_CLOSED ? -1 : 1;
}

static int
read_replies(struct client *c, bool is_ending)
{
	for (;;) {
		size_t room = sizeof(c->in) - c->in_n;
		ssize_t n;

		if (room == 0)
			return -1; /* no reply line is that long */
		if ((n = wire_read(&c->wire, c->in + c->in_n, room)) <= 0)
			return (int)n;
		c->in_n += (size_t)n;
		if (on_input(c) == -1)
			return -1;
		if (c->stage == STAGE_HANDSHAKE)
			return 0;
		if (write_out(c) == WIRE_CLOSED)
			return -1;
		/* Plain and a short read: the next bytes bring an event. */
		if (c->wire.ssl == NULL && !is_ending && (size_t)n < room)
			return 0;
	}
}

void
client_start(struct client *c)
{
	c->stage = STAGE_CONNECT;
	c->in_n = 0;
	c->sent = 0;
	c->has_hello_pipelining = false;
	c->is_tls_up = false;
	c->needs_reset = false;
}

int
client_send(struct client *c)
{
	begin_job(c);
	return write_out(c) == WIRE_CLOSED ? -1 : 0;
}

int
client_quit(struct client *c)
{
	say(c, STAGE_QUIT, "QUIT\r\n");
	return write_out(c) == WIRE_CLOSED ? -1 : 0;
}

int
client_event(struct client *c, uint32_t events)
{
	bool is_ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	int rc;

	if (c->stage == STAGE_CONNECT) {
		if ((events & EPOLLERR) != 0)
			return -1;
		c->stage = STAGE_GREETING;
		if (c->plan->tls == PLAN_TLS)
			start_tls(c);
	}
	/* Twice at most: STARTTLS is answered, then the handshake begins. */
	for (int round = 0; round < 2; round++) {
		if (c->wire.is_handshaking && (rc = shake_hands(c)) != 1)
			return rc;
		if (write_out(c) == WIRE_CLOSED)
			return -1;
		if ((events & EPOLLIN) == 0 && !is_ending)
			return 0;
		if ((rc = read_replies(c, is_ending)) == -1)
			return -1;
		if (!c->wire.is_handshaking)
			return rc;
	}
	return 0;
}
