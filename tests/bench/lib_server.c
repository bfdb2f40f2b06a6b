/* SPDX-License-Identifier: ISC */
/*
 * Takes mail as fast as it comes: commands, data up to the dot, the verdict
 * on each mail, and the misbehaviour that a test asks for.
 * Runs in: tests/bench/sink.  Trusts: its options; nothing of the input but
 * that the machine has memory for it.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "common/err.h"
#include "tests/bench/lib_server.h"
#include "tests/bench/lib_taken.h"

#define COMMAND_MAX 4096 /* longer than any that SMTP extensions allow */
#define MESSAGE_MAX (268435456 + (1u << 20)) /* SIZE and some headers */
#define ENVELOPE_MAX (1u << 20)
#define KEPT_MAX (1u << 20)
#define ADDRESS_MAX 512

static const char extensions[] = "250-PIPELINING\r\n250-8BITMIME\r\n"
				 "250-SMTPUTF8\r\n250-SIZE 268435456\r\n"
				 "250-DSN\r\n";

void
server_clear(struct server *server)
{
	id_set_clear(&server->ids);
	id_set_clear(&server->deliveries);
	id_set_clear(&server->tries);
	SSL_CTX_free(server->tls_context);
}

void
session_init(struct server_session *s, struct server *server)
{
	*s = (struct server_session){.server = server, .wire.fd = -1};
	buf_init(&s->line, COMMAND_MAX);
	buf_init(&s->kept, KEPT_MAX);
	buf_init(&s->message, MESSAGE_MAX);
	buf_init(&s->sender, COMMAND_MAX);
	buf_init(&s->recipients, ENVELOPE_MAX);
}

void
session_clear(struct server_session *s)
{
	wire_clear(&s->wire);
	buf_clear(&s->line);
	buf_clear(&s->kept);
	buf_clear(&s->message);
	buf_clear(&s->sender);
	buf_clear(&s->recipients);
}

static void
reset_transaction(struct server_session *s)
{
	s->has_sender = false;
	s->recipient_count = 0;
	buf_reset(&s->message);
	buf_reset(&s->sender);
	buf_reset(&s->recipients);
}

static void
reply(struct server_session *s, const char *line)
{
	(void)buf_add_text(&s->wire.out, line);
	(void)buf_add_text(&s->wire.out, "\r\n");
}

static void
cmd_hello(struct server_session *s, struct slice rest)
{
	const struct server *server = s->server;

	(void)rest;
	reset_transaction(s);
	(void)buf_add_text(&s->wire.out, "250-sink.invalid\r\n");
	(void)buf_add_text(&s->wire.out, extensions);
	if (server->tls_context != NULL && s->wire.ssl == NULL)
		(void)buf_add_text(&s->wire.out, "250-STARTTLS\r\n");
	reply(s, "250 ENHANCEDSTATUSCODES");
}

static void
cmd_old_hello(struct server_session *s, struct slice rest)
{
	(void)rest;
	reset_transaction(s);
	reply(s, "250 sink.invalid");
}

static void
cmd_starttls(struct server_session *s, struct slice rest)
{
	(void)rest;
	if (s->server->tls_context == NULL || s->wire.ssl != NULL) {
		reply(s, "503 5.5.1 Not offered now");
		return;
	}
	reply(s, "220 2.0.0 Go ahead");
	reset_transaction(s);
	s->is_tls_starting = true;
}

static void
cmd_mail(struct server_session *s, struct slice rest)
{
	if (s->server->hang == SERVER_HANG_MAIL) {
		s->state = SERVER_HANGING;
		return;
	}
	if (s->has_sender) {
		reply(s, "503 5.5.1 Sender already given");
		return;
	}
	s->has_sender = true;
	(void)buf_add_slice(&s->sender, rest);
	reply(s, "250 2.1.0 Ok");
}

static bool
is_rejected(const struct server *server, struct slice address)
{
	char text[ADDRESS_MAX];

	return server->reject_rcpt != NULL &&
	       slice_copy(address, text, sizeof(text)) == 0 &&
	       fnmatch(server->reject_rcpt, text, FNM_CASEFOLD) == 0;
}

static void
cmd_rcpt(struct server_session *s, struct slice rest)
{
	if (!s->has_sender) {
		reply(s, "503 5.5.1 MAIL first");
		return;
	}
	if (is_rejected(s->server, taken_address(rest))) {
		s->server->counts.rejected_recipients++;
		reply(s, "550 5.1.1 No such recipient here");
		return;
	}
	if (buf_add_slice(&s->recipients, rest) == -1 ||
	    buf_add_char(&s->recipients, '\0') == -1) {
		reply(s, "452 4.5.3 Too many recipients");
		return;
	}
	s->recipient_count++;
	reply(s, "250 2.1.5 Ok");
}

static void
cmd_data(struct server_session *s, struct slice rest)
{
	(void)rest;
	if (s->recipient_count == 0) {
		reply(s, "503 5.5.1 RCPT first");
		return;
	}
	reply(s, "354 End with a dot");
	s->state = SERVER_DATA;
	s->dot = DOT_LINE;
}

static void
cmd_reset(struct server_session *s, struct slice rest)
{
	(void)rest;
	reset_transaction(s);
	reply(s, "250 2.0.0 Ok");
}

static void
cmd_noop(struct server_session *s, struct slice rest)
{
	(void)rest;
	reply(s, "250 2.0.0 Ok");
}

static void
cmd_quit(struct server_session *s, struct slice rest)
{
	(void)rest;
	reply(s, "221 2.0.0 Bye");
	s->state = SERVER_QUITTING;
}

static const struct command {
	const char *name;
	void (*run)(struct server_session *s, struct slice rest);
	bool is_smtp;
	bool is_lmtp;
} commands[] = {
    {"MAIL FROM:", cmd_mail, true, true},
    {"RCPT TO:", cmd_rcpt, true, true},
    {"DATA", cmd_data, true, true},
    {"EHLO ", cmd_hello, true, false},
    {"LHLO ", cmd_hello, false, true},
    {"HELO ", cmd_old_hello, true, false},
    {"QUIT", cmd_quit, true, true},
    {"RSET", cmd_reset, true, true},
    {"NOOP", cmd_noop, true, true},
    {"STARTTLS", cmd_starttls, true, true},
};

static void
run_command(struct server_session *s, struct slice line)
{
	bool is_lmtp = s->server->is_lmtp;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *cmd = &commands[i];
		size_t n = strlen(cmd->name);

		if (!slice_starts_nocase(line, cmd->name) ||
		    !(is_lmtp ? cmd->is_lmtp : cmd->is_smtp))
			continue;
		cmd->run(s, (struct slice){line.p + n, line.n - n});
		return;
	}
	reply(s, "500 5.5.1 Unknown command");
}

/* One answer, or in LMTP one for each recipient. */
static void
answer_dot(struct server_session *s)
{
	uint32_t answers = s->server->is_lmtp ? s->recipient_count : 1;
	bool is_too_large = s->message.overflowed;
	bool is_taken = !is_too_large && taken_mail(s);

	for (uint32_t i = 0; i < answers; i++) {
		if (is_too_large)
			reply(s, "552 5.3.4 Too large");
		else if (is_taken)
			(void)buf_addf(&s->wire.out,
			    "250 2.0.0 Ok: queued as %" PRIu64 "\r\n",
			    s->server->counts.received);
		else
			reply(s, "451 4.7.1 Come again later");
	}
	reset_transaction(s);
	s->state = SERVER_COMMAND;
}

static void
dot_reached(struct server_session *s)
{
	const struct server *server = s->server;

	if (server->hang == SERVER_HANG_DOT) {
		s->state = SERVER_HANGING;
	} else if (server->delay_dot_ms > 0) {
		s->resume_us =
		    count_now_us() + (uint64_t)server->delay_dot_ms * 1000;
		s->state = SERVER_DELAYED;
	} else {
		answer_dot(s);
	}
}

/* The state after n bytes of text none of which needs a look. */
static enum server_dot
dot_after(enum server_dot dot, const char *p, size_t n)
{
	if (n == 0)
		return dot;
	if (p[n - 1] == '\r')
		return DOT_CR;
	if (p[n - 1] != '\n')
		return DOT_TEXT;
	if (n >= 2)
		return p[n - 2] == '\r' ? DOT_LINE : DOT_TEXT;
	return dot == DOT_CR ? DOT_LINE : DOT_TEXT;
}

/* One byte at the start of a line or behind a dot there. */
static void
dot_byte(struct server_session *s, char c)
{
	struct buf *message = &s->message;

	if (s->dot == DOT_LINE && c == '.') {
		s->dot = DOT_DOT; /* stuffed, or the end */
	} else if (s->dot == DOT_DOT && c == '\r') {
		s->dot = DOT_DOT_CR;
	} else if (s->dot == DOT_DOT_CR && c == '\n') {
		s->dot = DOT_END;
	} else {
		if (s->dot == DOT_DOT_CR)
			(void)buf_add_char(message, '\r');
		s->dot = c == '\r' ? DOT_CR : DOT_TEXT;
		(void)buf_add_char(message, c);
	}
}

/* Takes message text up to its end; returns the bytes used. */
static size_t
feed_data(struct server_session *s, struct slice in)
{
	size_t at = 0;

	while (at < in.n && s->dot != DOT_END) {
		size_t end;

		if (s->dot == DOT_LINE || s->dot >= DOT_DOT) {
			dot_byte(s, in.p[at++]);
			continue;
		}
		/* Only a dot at the start of a line matters: look for it. */
		for (end = at; end < in.n; end++) {
			end = slice_find(in, '.', end);
			if (dot_after(s->dot, in.p + at, end - at) == DOT_LINE)
				break;
		}
		if (end > in.n)
			end = in.n;
		(void)buf_add(&s->message, in.p + at, end - at);
		s->dot = dot_after(s->dot, in.p + at, end - at);
		at = end;
	}
	return at;
}

/* Takes one command line; returns the bytes used. */
static size_t
feed_command(struct server_session *s, struct slice in)
{
	size_t end = slice_find(in, '\n', 0);
	size_t n = end < in.n ? end + 1 : in.n;
	struct slice line = {in.p, n};

	if (s->line.n > 0 || end == in.n) {
		if (buf_add(&s->line, in.p, n) == -1)
			buf_reset(&s->line); /* answered as unknown */
		line = buf_slice(&s->line);
	}
	if (end == in.n)
		return n;
	while (line.n > 0 &&
	       (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	run_command(s, line);
	buf_reset(&s->line);
	return n;
}

static void
feed(struct server_session *s, struct slice in)
{
	while (in.n > 0 && !s->is_tls_starting) {
		size_t used = in.n;

		if (s->state == SERVER_COMMAND)
			used = feed_command(s, in);
		else if (s->state == SERVER_DATA)
			used = feed_data(s, in);
		else if (s->state == SERVER_DELAYED)
			(void)buf_add_slice(&s->kept, in);
		in.p += used;
		in.n -= used;
		if (s->state == SERVER_DATA && s->dot == DOT_END)
			dot_reached(s);
	}
}

static int
greet(struct server_session *s)
{
	if (s->server->hang == SERVER_HANG_GREETING) {
		s->state = SERVER_HANGING;
		return 0;
	}
	reply(s, s->server->is_lmtp ? "220 sink.invalid LMTP"
				    : "220 sink.invalid ESMTP");
	return wire_flush(&s->wire) == WIRE_CLOSED ? -1 : 0;
}

int
session_open(struct server_session *s, int fd)
{
	wire_init(&s->wire, fd);
	s->server->counts.connections++;
	s->state = SERVER_COMMAND;
	s->is_tls_starting = false;
	buf_reset(&s->line);
	buf_reset(&s->kept);
	reset_transaction(s);
	if (s->server->is_tls_implicit) {
		wire_start_tls(&s->wire, s->server->tls_context, true, NULL);
		return 0;
	}
	return greet(s);
}

/* Sends the answers; begins TLS behind the answer to STARTTLS. */
static int
send_replies(struct server_session *s)
{
	int rc = wire_flush(&s->wire);

	if (rc == 1 && s->state == SERVER_QUITTING)
		return -1;
	if (rc == 1 && s->is_tls_starting) {
		s->is_tls_starting = false;
		wire_start_tls(&s->wire, s->server->tls_context, true, NULL);
	}
	return rc == WIRE_CLOSED ? -1 : 0;
}

static int
read_input(struct server_session *s, bool is_ending, char *scratch,
    size_t scratch_bytes)
{
	/* A reader that does not take its replies is not read from. */
	while (s->state != SERVER_DELAYED && s->wire.out.n == 0) {
		ssize_t n = wire_read(&s->wire, scratch, scratch_bytes);

		if (n <= 0)
			return (int)n;
		feed(s, (struct slice){scratch, (size_t)n});
		if (send_replies(s) == -1)
			return -1;
		if (s->wire.is_handshaking)
			return 0;
		/* Plain and a short read: the next bytes bring an event. */
		if (s->wire.ssl == NULL && !is_ending &&
		    (size_t)n < scratch_bytes)
			return 0;
	}
	return 0;
}

int
session_event(struct server_session *s, uint32_t events, char *scratch,
    size_t scratch_bytes)
{
	bool is_ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	int rc;

	/* Twice at most: STARTTLS is taken, then the handshake begins. */
	for (int round = 0; round < 2; round++) {
		if (s->wire.is_handshaking) {
			if ((rc = wire_handshake(&s->wire)) != 1)
				return rc;
			if (s->server->is_tls_implicit && greet(s) == -1)
				return -1;
		}
		if (s->wire.out.n > 0) {
			/* Input may have waited for this. */
			events |= EPOLLIN;
			if (send_replies(s) == -1)
				return -1;
		}
		if ((events & EPOLLIN) == 0 && !is_ending)
			return 0;
		rc = read_input(s, is_ending, scratch, scratch_bytes);
		if (rc == -1 || !s->wire.is_handshaking)
			return rc;
	}
	return 0;
}

int
session_resume(struct server_session *s, char *scratch, size_t scratch_bytes)
{
	struct buf kept = s->kept;

	buf_init(&s->kept, KEPT_MAX);
	answer_dot(s);
	feed(s, buf_slice(&kept));
	buf_clear(&kept);
	if (send_replies(s) == -1)
		return -1;
	return read_input(s, true, scratch, scratch_bytes);
}
