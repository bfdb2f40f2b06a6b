/* SPDX-License-Identifier: ISC */
/*
 * One mail within a session: MAIL, RCPT, DATA, the content and its dot, with
 * each reply matched to its command.
 * Runs in: postern-relayd.  Trusts: addresses and parameters that its owner
 * has parsed; nothing that the server says.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"
#include "relay/client_parts.h"

/* Large content leaves in such pieces, and so many are kept waiting. */
#define PIECE_SIZE 65536
#define OUTPUT_WANTED 131072

/* ---- recipients ---- */

/* The next one from there on whose RCPT is part of the transaction. */
static size_t
next_sent(const struct client_mail *mail, size_t at)
{
	while (at < mail->recipient_count && !mail->recipients[at].is_sent)
		at++;
	return at;
}

static size_t
next_accepted(const struct client_mail *mail, size_t at)
{
	while (at < mail->recipient_count && !mail->recipients[at].is_accepted)
		at++;
	return at;
}

static void
settle_by_reply(
    struct client_recipient *recipient, const struct smtp_reply *reply)
{
	static const enum outcome outcomes[] = {[2] = OUTCOME_DELIVERED,
	    [4] = OUTCOME_DEFERRED,
	    [5] = OUTCOME_FAILED};
	char text[SMTP_REPLY_SUMMARY_MAX];

	client_settle(recipient, outcomes[reply->code / 100], reply->code,
	    reply->enhanced, smtp_reply_summary(reply, text));
}

static void
settle_all(struct client_mail *mail, enum outcome outcome, unsigned code,
    const char *enhanced, const char *text)
{
	for (size_t i = 0; i < mail->recipient_count; i++)
		client_settle(
		    &mail->recipients[i], outcome, code, enhanced, text);
}

static void
settle_accepted(struct client *c, const struct smtp_reply *reply)
{
	struct client_mail *mail = c->mail;

	for (size_t i = next_accepted(mail, 0); i < mail->recipient_count;
	     i = next_accepted(mail, i + 1))
		settle_by_reply(&mail->recipients[i], reply);
}

/*
 * A reply to one of a mail's commands.  False when the session is at its end:
 * the server leaves, or says what is no answer.
 */
static bool
is_answer(struct client *c, const struct smtp_reply *reply)
{
	c->mail->was_answered = true;
	if (reply->code == 421)
		client_end_by_reply(c, reply);
	else if (reply->code / 100 == 3)
		client_end_with(c, 0, "4.5.0",
		    "the server said %u in the wrong place", reply->code);
	else
		return true;
	return false;
}

/* ---- what the server cannot do ---- */

/*
 * Some programs name SMTPUTF8 with all they send, where it is offered; that
 * alone is no reason to refuse (RFC 6531 section 3.4: it is not told where
 * nothing needs it).  Without 8-bit octets of its own the message may still
 * have a Received of ours that names an address; it is at the beginning.
 */
static bool
needs_utf8(const struct client_mail *mail)
{
	char start[PIECE_SIZE];
	struct slice seen = mail->content;

	if (!mail->is_utf8)
		return false;
	if (mail->is_8bit || !utf8_is_ascii(slice_of(mail->reverse_path)))
		return true;
	if (mail->fd != -1) {
		ssize_t n = pread(mail->fd, start, sizeof(start), 0);

		if (n == -1)
			return true;
		seen = (struct slice){start, (size_t)n};
	}
	return !utf8_is_ascii(seen);
}

/*
 * Picks the recipients to send to.  -1: nobody is left whom this server could
 * take it for.
 */
static int
check_abilities(const struct client *c, struct client_mail *mail)
{
	const struct smtp_ehlo *e = &c->ehlo;

	if (e->has_size && e->size_bytes > 0 && mail->size > e->size_bytes)
		settle_all(mail, OUTCOME_FAILED, 552, "5.3.4",
		    "the message is larger than the server takes");
	if (!e->has_smtputf8 && needs_utf8(mail))
		settle_all(mail, OUTCOME_FAILED, 553, "5.6.7",
		    "the server does not take SMTPUTF8, which this message "
		    "needs");
	if (mail->is_8bit && !e->has_8bitmime)
		settle_all(mail, OUTCOME_FAILED, 554, "5.6.3",
		    "the server does not take 8BITMIME, which this message "
		    "needs");
	for (size_t i = 0; i < mail->recipient_count; i++) {
		if (mail->recipients[i].is_utf8 && !e->has_smtputf8)
			client_settle(&mail->recipients[i], OUTCOME_FAILED, 553,
			    "5.6.7",
			    "the server does not take SMTPUTF8, which this "
			    "address needs");
	}
	for (size_t i = 0; i < mail->recipient_count; i++)
		mail->recipients[i].is_sent = !mail->recipients[i].is_settled;
	return next_sent(mail, 0) < mail->recipient_count ? 0 : -1;
}

/* ---- commands ---- */

/* The message came so, or an alias leads to an address outside ASCII. */
static bool
names_utf8(const struct client_mail *mail)
{
	bool is_utf8 = mail->is_utf8;

	for (size_t i = next_sent(mail, 0);
	     i < mail->recipient_count && !is_utf8; i = next_sent(mail, i + 1))
		is_utf8 = mail->recipients[i].is_utf8;
	return is_utf8;
}

static void
add_mail(struct client *c, struct buf *out)
{
	static const char *const rets[DSN_RET_COUNT] = {
	    [DSN_RET_FULL] = " RET=FULL", [DSN_RET_HDRS] = " RET=HDRS"};
	const struct client_mail *mail = c->mail;

	(void)buf_addf(out, "MAIL FROM:<%s>", mail->reverse_path);
	if (c->ehlo.has_size && mail->size > 0)
		(void)buf_addf(out, " SIZE=%" PRIu64, mail->size);
	if (mail->is_8bit)
		(void)buf_add_text(out, " BODY=8BITMIME");
	if (c->ehlo.has_smtputf8 && names_utf8(mail))
		(void)buf_add_text(out, " SMTPUTF8");
	if (c->ehlo.has_dsn && rets[mail->ret] != NULL)
		(void)buf_add_text(out, rets[mail->ret]);
	if (c->ehlo.has_dsn && mail->envid[0] != '\0')
		(void)buf_addf(out, " ENVID=%s", mail->envid);
	(void)buf_add_text(out, "\r\n");
}

static void
add_notify(struct buf *out, unsigned notify)
{
	static const struct {
		unsigned flag;
		const char *name;
	} words[] = {{DSN_NOTIFY_NEVER, "NEVER"},
	    {DSN_NOTIFY_SUCCESS, "SUCCESS"}, {DSN_NOTIFY_FAILURE, "FAILURE"},
	    {DSN_NOTIFY_DELAY, "DELAY"}};
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((notify & words[i].flag) == 0)
			continue;
		(void)buf_addf(out, "%s%s", before, words[i].name);
		before = ",";
	}
}

static void
add_rcpt(struct client *c, struct buf *out, size_t at)
{
	const struct client_recipient *r = &c->mail->recipients[at];

	(void)buf_addf(out, "RCPT TO:<%s>", r->address);
	if (c->ehlo.has_dsn) {
		add_notify(out, r->notify);
		if (r->orcpt[0] != '\0')
			(void)buf_addf(out, " ORCPT=%s", r->orcpt);
	}
	(void)buf_add_text(out, "\r\n");
}

static void
finish(struct client *c)
{
	c->mail = NULL;
	client_enter(c, CLIENT_IDLE);
	c->config.events->done(c->config.arg, true);
}

static void
reset(struct client *c)
{
	stream_write(c->stream, "RSET\r\n", 6);
	client_enter(c, CLIENT_RSET);
}

/* All commands in one write where the server takes that (RFC 2920). */
void
client_mail_begin(struct client *c)
{
	struct client_mail *mail = c->mail;
	struct buf *out;

	for (size_t i = 0; i < mail->recipient_count; i++)
		mail->recipients[i].is_accepted = false;
	c->accepted = 0;
	c->is_mail_refused = false;
	mail->was_answered = mail->was_dot_sent = false;
	if (check_abilities(c, mail) == -1) {
		finish(c);
		return;
	}
	c->at = next_sent(mail, 0);
	c->is_pipelined = c->ehlo.has_pipelining && !mail->is_callout;
	out = stream_output(c->stream);
	add_mail(c, out);
	if (c->is_pipelined) {
		for (size_t i = c->at; i < mail->recipient_count;
		     i = next_sent(mail, i + 1))
			add_rcpt(c, out, i);
		(void)buf_add_text(out, "DATA\r\n");
	}
	client_enter(c, CLIENT_MAIL);
}

/* ---- replies ---- */

/* A server that wants no bounces has said nothing about the recipient. */
static void
refuse_mail(struct client *c, struct client_recipient *r,
    const struct smtp_reply *reply)
{
	char text[SMTP_REPLY_SUMMARY_MAX];

	if (c->mail->is_callout)
		client_settle(r, OUTCOME_DEFERRED, reply->code, "4.0.0",
		    smtp_reply_summary(reply, text));
	else
		settle_by_reply(r, reply);
}

void
client_mail_reply(struct client *c, const struct smtp_reply *reply)
{
	struct client_mail *mail = c->mail;

	/* Of the session, and perhaps sent before the mail began. */
	if (reply->code == 421) {
		client_end_by_reply(c, reply);
		return;
	}
	if (!is_answer(c, reply))
		return;
	c->is_mail_refused = reply->code / 100 != 2;
	if (c->is_mail_refused) {
		for (size_t i = 0; i < mail->recipient_count; i++)
			refuse_mail(c, &mail->recipients[i], reply);
		if (!c->is_pipelined) {
			reset(c);
			return;
		}
	}
	/* Pipelined, the other replies come all the same, and are read. */
	if (!c->is_pipelined)
		add_rcpt(c, stream_output(c->stream), c->at);
	client_enter(c, CLIENT_RCPT);
}

/* RFC 5321 §4.5.3.1.10: 552 may mean "too many", and that is for later. */
static void
refuse_rcpt(struct client_recipient *r, const struct smtp_reply *reply)
{
	char text[SMTP_REPLY_SUMMARY_MAX];

	if (reply->code == 552 && (reply->enhanced[0] == '\0' ||
				      strcmp(reply->enhanced, "5.5.3") == 0))
		client_settle(r, OUTCOME_DEFERRED, 452, "4.5.3",
		    smtp_reply_summary(reply, text));
	else
		settle_by_reply(r, reply);
}

static void
after_last_rcpt(struct client *c, const struct smtp_reply *reply)
{
	if (c->is_pipelined) {
		client_enter(c, CLIENT_DATA);
	} else if (c->mail->is_callout) {
		settle_accepted(c, reply);
		reset(c);
	} else if (c->accepted == 0) {
		reset(c);
	} else {
		stream_write(c->stream, "DATA\r\n", 6);
		client_enter(c, CLIENT_DATA);
	}
}

void
client_rcpt_reply(struct client *c, const struct smtp_reply *reply)
{
	struct client_mail *mail = c->mail;
	struct client_recipient *r = &mail->recipients[c->at];

	if (!is_answer(c, reply))
		return;
	if (reply->code / 100 != 2) {
		refuse_rcpt(r, reply);
	} else if (!c->is_mail_refused) {
		r->is_accepted = true;
		c->accepted++;
	}
	c->at = next_sent(mail, c->at + 1);
	if (c->at == mail->recipient_count) {
		after_last_rcpt(c, reply);
		return;
	}
	if (!c->is_pipelined)
		add_rcpt(c, stream_output(c->stream), c->at);
	client_enter(c, CLIENT_RCPT);
}

/*
 * Whoever hangs up now may have delivered, and gets the mail again: so all of
 * the time that an answer may take is given (RFC 5321 section 4.5.3.2.6),
 * however little of the mail's own is left.
 */
static void
wait_for_dot(struct client *c)
{
	c->dot_until_ms = clock_monotonic_ms() + c->config.dot_ms;
	if (c->dot_until_ms < c->mail->deadline_ms)
		c->dot_until_ms = c->mail->deadline_ms;
	client_enter(c, CLIENT_DOT);
}

void
client_data_reply(struct client *c, const struct smtp_reply *reply)
{
	if (reply->code == 354) {
		c->mail->was_answered = true;
		if (c->accepted > 0) {
			smtp_stuffer_init(&c->stuffer);
			c->content_at = 0;
			client_send_content(c);
			return;
		}
		/* Nobody is to get it, so nothing is said (T071). */
		stream_write(c->stream, ".\r\n", 3);
		c->at = c->mail->recipient_count;
		wait_for_dot(c);
		return;
	}
	if (!is_answer(c, reply))
		return;
	if (reply->code / 100 == 2) {
		client_end_with(c, 0, "4.5.0",
		    "the server said %u to DATA, without taking any",
		    reply->code);
		return;
	}
	settle_accepted(c, reply);
	reset(c);
}

/* The server decides before it has all: nothing was delivered. */
void
client_early_reply(struct client *c, const struct smtp_reply *reply)
{
	if (!is_answer(c, reply))
		return;
	if (reply->code / 100 != 2)
		settle_accepted(c, reply);
	client_end_with(
	    c, 0, "4.5.0", "the server answered before the message was sent");
}

/* LMTP answers for each recipient that it took (RFC 2033 §4.2). */
void
client_dot_reply(struct client *c, const struct smtp_reply *reply)
{
	struct client_mail *mail = c->mail;

	/* What came along with the 354 is no answer to what is still here. */
	if (stream_output_pending(c->stream) > 0) {
		mail->was_dot_sent = false;
		client_early_reply(c, reply);
		return;
	}
	/* It leaves, and has said first that it did not take the message. */
	if (reply->code == 421)
		settle_accepted(c, reply);
	if (!is_answer(c, reply))
		return;
	if (reply->code / 100 == 2 && !c->ehlo.has_dsn)
		mail->was_dsn_lost = true;
	if (c->config.is_lmtp && c->at < mail->recipient_count) {
		settle_by_reply(&mail->recipients[c->at], reply);
		c->at = next_accepted(mail, c->at + 1);
		if (c->at < mail->recipient_count) {
			client_enter(c, CLIENT_DOT);
			return;
		}
	} else {
		settle_accepted(c, reply);
	}
	finish(c);
}

void
client_rset_reply(struct client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 2)
		finish(c);
	else
		client_end_by_reply(c, reply);
}

/* ---- content ---- */

static void
send_dot(struct client *c)
{
	struct err err;

	if (smtp_data_stuff_end(&c->stuffer, stream_output(c->stream), &err) ==
	    -1) {
		settle_all(c->mail, OUTCOME_FAILED, 554, "5.6.0", err.text);
		client_end_with(c, 0, "5.6.0", "%s", err.text);
		return;
	}
	c->mail->was_dot_sent = true;
	c->at = next_accepted(c->mail, 0);
	wait_for_dot(c);
}

/* -1: it may not leave us, and the session is over without a dot. */
static int
send_piece(struct client *c, struct slice piece)
{
	struct err err;

	c->content_at += piece.n;
	if (smtp_data_stuff(
		&c->stuffer, piece, stream_output(c->stream), &err) == 0)
		return 0;
	settle_all(c->mail, OUTCOME_FAILED, 554, "5.6.0", err.text);
	client_end_with(c, 0, "5.6.0", "%s", err.text);
	return -1;
}

static void
send_file(struct client *c)
{
	char piece[PIECE_SIZE];

	while (stream_output_pending(c->stream) < OUTPUT_WANTED) {
		ssize_t n = pread(
		    c->mail->fd, piece, sizeof(piece), (off_t)c->content_at);

		if (n > 0) {
			if (send_piece(c, (struct slice){piece, (size_t)n}) ==
			    -1)
				return;
			continue;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 || c->content_at != c->mail->size) {
			client_end_with(c, 0, "4.3.0",
			    "our copy of the message cannot be read: %s",
			    n == -1 ? strerror(errno) : "wrong size");
			return;
		}
		send_dot(c);
		return;
	}
	client_enter(c, CLIENT_CONTENT);
}

void
client_send_content(struct client *c)
{
	if (c->mail->fd != -1)
		send_file(c);
	else if (send_piece(c, c->mail->content) == 0)
		send_dot(c);
}
