/* SPDX-License-Identifier: ISC */
/*
 * A TCP connection, plain or TLS, over libevent's bare events: OpenSSL works
 * on the descriptor itself, so an idle connection costs no buffers of ours.
 * Runs in: postern-smtpd's workers, postern-relayd.  Trusts: nothing that
 * comes in; its owner's handlers.
 *
 * Callbacks may close the stream: each call out is followed by a look at
 * is_closed, and the memory lives until the end of the turn.
 */
#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stream.h"
#include "common/stream_io.h"

/* One read: a TLS record, or a usual mail whole. */
#define READ_SIZE 16384
/* After a read that filled its room: large mail comes in fewer calls. */
#define READ_SIZE_BULK 65536
/* Of one TLS stream in one turn, so that others get theirs. */
#define TURN_SIZE 131072
/* Memory of a left-over half line is given back above this. */
#define SLACK_SIZE 4096

struct stream {
	struct loop *loop;
	const struct stream_events *events;
	void *arg;
	SSL *ssl;
	int fd;

	struct buf input;
	size_t input_at; /* octets of input already consumed */
	size_t input_limit;
	struct buf output;
	size_t output_at;  /* octets of output already sent */
	size_t plain_left; /* unsent ones that precede the handshake */

	struct event readable;
	struct event writable;
	struct event timer; /* the deadline, and another turn at once */
	struct loop_task turn_end;
	uint64_t deadline_ms; /* monotonic; 0: none */
	uint64_t timer_ms;    /* when the armed timer fires; 0: not armed */
	char *error;

	bool is_connecting;
	bool is_reading;     /* readable is registered */
	bool is_writing;     /* writable is registered */
	bool is_handshaking; /* ssl is there, not to be used for data */
	bool is_paused;
	bool is_bulk;
	bool is_tls_dry;     /* what OpenSSL holds is a part of a record */
	bool wants_turn;     /* the timer is to read, not only to time out */
	bool wants_input;    /* input() is to be called at the turn's end */
	bool is_at_eof;      /* nothing will be read any more */
	bool is_write_dead;  /* nothing can be sent any more */
	enum stream_end end; /* how, when is_at_eof */
	bool is_ended;       /* ended() was called */
	bool is_lingering;   /* close_after_output: all that is left to do */
	bool is_shut;        /* lingering, and all output has left */
	bool is_closed;
};

static void on_readable(int fd, short what, void *arg);
static void on_writable(int fd, short what, void *arg);
static void on_timer(int fd, short what, void *arg);
static void on_turn_end(void *arg);
static void flush(struct stream *s);

static size_t
unread(const struct stream *s)
{
	return s->input.n - s->input_at;
}

static size_t
unsent(const struct stream *s)
{
	return s->output.n - s->output_at;
}

static void
set_error(struct stream *s, const char *text)
{
	free(s->error);
	s->error = xstrdup(text);
}

static void
at_turn_end(struct stream *s)
{
	loop_at_turn_end(s->loop, &s->turn_end);
}

/* ---- the timer ---- */

/*
 * A deadline that moves on does not touch the timer: the timer fires at the
 * old time and arms itself again.  So a busy session arms it rarely.
 */
static void
arm_timer(struct stream *s)
{
	uint64_t now = clock_monotonic_ms();
	uint64_t at = s->wants_turn ? now : s->deadline_ms;

	if (at == 0 || (s->timer_ms != 0 && s->timer_ms <= at))
		return;
	s->timer_ms = at;
	loop_arm(&s->timer, at > now ? at - now : 0);
}

void
stream_deadline(struct stream *s, uint64_t ms_from_now)
{
	if (s->is_closed || s->is_lingering)
		return;
	s->deadline_ms =
	    ms_from_now == 0 ? 0 : clock_monotonic_ms() + ms_from_now;
	arm_timer(s);
}

/* ---- interest ---- */

static void
want_writable(struct stream *s)
{
	if (s->is_writing || s->is_closed)
		return;
	s->is_writing = true;
	(void)event_add(&s->writable, NULL);
}

static bool
may_read(const struct stream *s)
{
	return !s->is_closed && !s->is_ended && !s->is_at_eof &&
	       !s->is_connecting && !s->is_paused &&
	       unsent(s) < STREAM_OUTPUT_HIGH &&
	       (s->is_lingering || unread(s) < s->input_limit);
}

/*
 * Registering is done here alone and taken back only when the descriptor
 * turns out to be readable while nobody wants it: a pause while the other
 * side is silent costs no system call.
 */
static void
want_readable(struct stream *s)
{
	if (!may_read(s))
		return;
	if (!s->is_reading) {
		s->is_reading = true;
		(void)event_add(&s->readable, NULL);
	}
	/* What OpenSSL holds already makes no descriptor readable. */
	if (s->ssl != NULL && !s->is_handshaking && !s->is_lingering &&
	    !s->is_tls_dry && SSL_has_pending(s->ssl)) {
		s->wants_turn = true;
		arm_timer(s);
	}
}

/* ---- the end ---- */

static void
stop_events(struct stream *s)
{
	(void)event_del(&s->readable);
	(void)event_del(&s->writable);
	(void)event_del(&s->timer);
	s->is_reading = s->is_writing = false;
	s->timer_ms = 0;
}

static void
free_stream(struct stream *s)
{
	buf_clear(&s->input);
	buf_clear(&s->output);
	free(s->error);
	free(s);
}

void
stream_close(struct stream *s)
{
	if (s == NULL || s->is_closed)
		return;
	s->is_closed = true;
	stop_events(s);
	if (s->ssl != NULL) {
		ERR_clear_error();
		if (!s->is_handshaking && !s->is_shut && !s->is_write_dead)
			(void)SSL_shutdown(s->ssl);
		SSL_free(s->ssl);
		s->ssl = NULL;
	}
	close_if_open(&s->fd);
	at_turn_end(s);
}

static void
tell_end(struct stream *s, enum stream_end how)
{
	if (s->is_closed || s->is_ended)
		return;
	if (s->is_lingering) {
		stream_close(s);
		return;
	}
	s->is_ended = true;
	stop_events(s);
	s->events->ended(s->arg, how);
}

/* Nothing more can be read; what was read before is told first. */
static void
at_eof(struct stream *s, enum stream_io result, const struct err *err)
{
	s->is_at_eof = true;
	s->end = STREAM_CLOSED;
	if (result != STREAM_IO_CLOSED) {
		set_error(s, err->text);
		s->end =
		    result == STREAM_IO_RESET ? STREAM_RESET : STREAM_TLS_ERROR;
	}
	if (s->is_reading) {
		s->is_reading = false;
		(void)event_del(&s->readable);
	}
}

/* ---- input ---- */

static void
free_consumed(struct stream *s)
{
	size_t left = unread(s);

	if (left == 0) {
		buf_clear(&s->input);
		s->input_at = 0;
		return;
	}
	if (s->input.capacity - left <= SLACK_SIZE)
		return;
	buf_consume(&s->input, s->input_at);
	s->input_at = 0;
	s->input.capacity = left + 1;
	s->input.p = xrealloc(s->input.p, s->input.capacity);
}

static void
deliver(struct stream *s)
{
	s->wants_input = false;
	if (s->is_closed || s->is_ended || s->is_paused || s->is_lingering)
		return;
	if (unread(s) > 0) {
		s->events->input(s->arg);
		if (s->is_closed)
			return;
		free_consumed(s);
	}
	if (s->is_at_eof && !s->is_paused)
		tell_end(s, s->end);
}

/* Room for one read, within the limit; NULL when the limit is reached. */
static char *
reserve(struct stream *s, size_t *size_r)
{
	size_t size = s->is_bulk ? READ_SIZE_BULK : READ_SIZE;
	size_t have = unread(s);

	if (have >= s->input_limit)
		return NULL;
	if (size > s->input_limit - have)
		size = s->input_limit - have;
	if (s->input_at > 0) {
		buf_consume(&s->input, s->input_at);
		s->input_at = 0;
	}
	*size_r = size;
	return buf_reserve(&s->input, size);
}

/* Reads until the other side has nothing more for now, or a turn's worth. */
static void
read_input(struct stream *s)
{
	enum stream_io result = STREAM_IO_OK;
	struct err err;
	size_t total = 0;
	size_t size;
	size_t n;
	char *room;

	s->is_tls_dry = false;
	do {
		if ((room = reserve(s, &size)) == NULL)
			break;
		result = stream_io_read(s->fd, s->ssl, room, size, &n, &err);
		if (result != STREAM_IO_OK)
			break;
		buf_extend(&s->input, n);
		total += n;
	} while (
	    s->ssl != NULL && total < TURN_SIZE && SSL_has_pending(s->ssl));
	s->is_bulk = total >= READ_SIZE;
	if (result == STREAM_IO_OK)
		return;
	s->is_tls_dry = true;
	if (result == STREAM_IO_WANT_WRITE)
		want_writable(s);
	else if (result != STREAM_IO_WANT_READ)
		at_eof(s, result, &err);
}

/* ---- the handshake ---- */

static void
read_and_deliver(struct stream *s)
{
	read_input(s);
	deliver(s);
	/* An empty read left its room behind. */
	if (!s->is_closed && unread(s) == 0)
		free_consumed(s);
	want_readable(s);
}

static void
handshake(struct stream *s)
{
	struct err err;

	switch (stream_io_handshake(s->ssl, &err)) {
	case STREAM_IO_OK:
		break;
	case STREAM_IO_WANT_READ:
		return;
	case STREAM_IO_WANT_WRITE:
		want_writable(s);
		return;
	case STREAM_IO_CLOSED:
		err_set(&err, "closed within the handshake");
		/* fall through */
	case STREAM_IO_RESET:
	case STREAM_IO_TLS_ERROR:
		set_error(s, err.text);
		tell_end(s, STREAM_TLS_ERROR);
		return;
	}
	s->is_handshaking = false;
	s->events->secured(s->arg);
	if (s->is_closed)
		return;
	at_turn_end(s);
	/* The first command may have come with the last flight. */
	if (SSL_has_pending(s->ssl) && may_read(s))
		read_and_deliver(s);
}

int
stream_start_tls(struct stream *s, SSL *ssl)
{
	if (s->is_closed || s->is_ended || s->ssl != NULL || unread(s) > 0 ||
	    SSL_set_fd(ssl, s->fd) != 1) {
		SSL_free(ssl);
		return -1;
	}
	free_consumed(s);
	s->ssl = ssl;
	s->is_handshaking = true;
	s->is_bulk = false;
	s->plain_left = unsent(s);
	/* A server waits for the client's first flight, a client sends it. */
	if (!SSL_is_server(ssl))
		at_turn_end(s);
	return 0;
}

/* ---- lingering ---- */

static void
drop_input(struct stream *s)
{
	char dropped[READ_SIZE];
	ssize_t n = recv(s->fd, dropped, sizeof(dropped), 0);

	if (n == 0 && unsent(s) > 0)
		at_eof(s, STREAM_IO_CLOSED, NULL); /* it may still listen */
	else if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
		stream_close(s);
}

static void
linger_on(struct stream *s)
{
	if (s->is_shut)
		return;
	if (s->is_at_eof || s->is_write_dead) {
		stream_close(s);
		return;
	}
	s->is_shut = true;
	if (s->ssl != NULL && !s->is_handshaking) {
		ERR_clear_error();
		(void)SSL_shutdown(s->ssl);
	}
	(void)shutdown(s->fd, SHUT_WR);
	want_readable(s);
}

void
stream_close_after_output(struct stream *s, uint64_t linger_ms)
{
	if (s->is_closed)
		return;
	if (s->is_ended || s->is_write_dead || s->is_connecting ||
	    linger_ms == 0) {
		stream_close(s);
		return;
	}
	buf_clear(&s->input);
	s->input_at = 0;
	stream_deadline(s, linger_ms);
	s->is_lingering = true;
	s->is_paused = false;
	at_turn_end(s);
}

/* ---- events of the descriptor ---- */

static void
on_readable(int fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	if (!may_read(s)) {
		s->is_reading = false;
		(void)event_del(&s->readable);
		return;
	}
	if (s->is_lingering)
		drop_input(s);
	else if (s->is_handshaking)
		handshake(s);
	else
		read_and_deliver(s);
}

static void
connect_done(struct stream *s)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		error = errno;
	if (error != 0) {
		set_error(s, strerror(error));
		tell_end(s, STREAM_RESET);
		return;
	}
	s->is_connecting = false;
	want_readable(s);
	s->events->connected(s->arg);
	if (!s->is_closed && unsent(s) > 0)
		at_turn_end(s);
}

static void
on_writable(int fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	s->is_writing = false;
	if (s->is_connecting) {
		connect_done(s);
		return;
	}
	flush(s);
	if (s->is_closed || s->is_ended)
		return;
	if (s->is_handshaking && s->plain_left == 0)
		handshake(s);
	else if (s->is_lingering && unsent(s) == 0)
		linger_on(s);
	else
		want_readable(s);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	s->timer_ms = 0;
	if (s->deadline_ms != 0 && clock_monotonic_ms() >= s->deadline_ms) {
		set_error(s, "timed out");
		tell_end(s, STREAM_TIMEOUT);
		return;
	}
	if (s->wants_turn) {
		s->wants_turn = false;
		if (may_read(s) && !s->is_lingering)
			read_and_deliver(s);
	}
	if (!s->is_closed && !s->is_ended)
		arm_timer(s);
}

/* ---- output ---- */

/*
 * The other side takes no more.  It may have said why before it left, so what
 * can be read is read, and the end comes from there.
 */
static void
write_failed(struct stream *s, const char *why)
{
	if (s->error == NULL)
		set_error(s, why);
	s->is_write_dead = true;
	buf_clear(&s->output);
	s->output_at = 0;
	if (s->is_lingering)
		stream_close(s);
	else
		want_readable(s);
}

/* Octets sent; 0: not now, or never again (is_write_dead, is_ended). */
static size_t
send_some(struct stream *s, size_t size)
{
	struct err err;
	size_t n = 0;

	switch (stream_io_write(s->fd, s->is_handshaking ? NULL : s->ssl,
	    s->output.p + s->output_at, size, &n, &err)) {
	case STREAM_IO_OK:
		return n;
	case STREAM_IO_WANT_WRITE:
		want_writable(s);
		return 0;
	case STREAM_IO_WANT_READ:
		want_readable(s);
		return 0;
	case STREAM_IO_CLOSED:
		err_set(&err, "closed");
		/* fall through */
	case STREAM_IO_RESET:
		write_failed(s, err.text);
		return 0;
	case STREAM_IO_TLS_ERROR:
		break;
	}
	set_error(s, err.text);
	s->is_write_dead = true;
	tell_end(s, STREAM_TLS_ERROR);
	return 0;
}

static void
flush(struct stream *s)
{
	size_t left;

	if (unsent(s) == 0 || s->is_closed || s->is_ended || s->is_connecting)
		return;
	if (s->is_write_dead) {
		buf_clear(&s->output);
		s->output_at = 0;
		return;
	}
	/* What was written since stream_start_tls() waits for TLS. */
	while ((left = s->is_handshaking ? s->plain_left : unsent(s)) > 0) {
		size_t n = send_some(s, left);

		if (n == 0)
			return;
		s->output_at += n;
		if (s->is_handshaking)
			s->plain_left -= n;
	}
	if (unsent(s) > 0)
		return;
	buf_clear(&s->output);
	s->output_at = 0;
	if (s->events->drained != NULL && !s->is_lingering &&
	    !s->is_handshaking)
		s->events->drained(s->arg);
}

static void
on_turn_end(void *arg)
{
	struct stream *s = arg;

	if (s->is_closed) {
		free_stream(s);
		return;
	}
	if (s->is_ended)
		return;
	if (s->wants_input)
		deliver(s);
	if (!s->is_writing)
		flush(s);
	if (s->is_closed || s->is_ended || s->is_connecting)
		return;
	if (s->is_handshaking && s->plain_left == 0 && !s->is_lingering &&
	    !SSL_is_server(s->ssl) && SSL_in_before(s->ssl))
		handshake(s);
	if (s->is_closed || s->is_ended)
		return;
	if (s->is_lingering && unsent(s) == 0)
		linger_on(s);
	else
		want_readable(s);
}

void
stream_write(struct stream *s, const void *p, size_t n)
{
	if (n == 0 || s->is_closed || s->is_ended)
		return;
	if (buf_add(stream_output(s), p, n) == -1)
		bug("stream_write: %zu octets wait already", unsent(s));
}

struct buf *
stream_output(struct stream *s)
{
	if (s->output_at > 0 && s->output_at >= s->output.n / 2) {
		buf_consume(&s->output, s->output_at);
		s->output_at = 0;
	}
	at_turn_end(s);
	return &s->output;
}

size_t
stream_output_pending(const struct stream *s)
{
	return unsent(s);
}

/* ---- the rest ---- */

static struct stream *
new_stream(struct loop *loop, int fd, const struct stream_events *events,
    void *arg, size_t input_limit)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	struct event_base *base = loop_base(loop);
	int on = 1;

	*s = (struct stream){.loop = loop,
	    .fd = fd,
	    .events = events,
	    .arg = arg,
	    .input_limit = input_limit,
	    .turn_end = {.run = on_turn_end, .arg = s}};
	buf_init(&s->input, SIZE_MAX / 2);
	buf_init(&s->output, STREAM_OUTPUT_MAX);
	/* Fails for a Unix socket, which has no Nagle either. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)event_assign(
	    &s->readable, base, fd, EV_READ | EV_PERSIST, on_readable, s);
	(void)event_assign(&s->writable, base, fd, EV_WRITE, on_writable, s);
	(void)event_assign(&s->timer, base, -1, 0, on_timer, s);
	return s;
}

struct stream *
stream_new(struct loop *loop, int fd, const struct stream_events *events,
    void *arg, size_t input_limit)
{
	struct stream *s = new_stream(loop, fd, events, arg, input_limit);

	want_readable(s);
	return s;
}

struct stream *
stream_new_connecting(struct loop *loop, int fd,
    const struct stream_events *events, void *arg, size_t input_limit)
{
	struct stream *s = new_stream(loop, fd, events, arg, input_limit);

	s->is_connecting = true;
	want_writable(s);
	return s;
}

struct slice
stream_input(const struct stream *s)
{
	if (unread(s) == 0)
		return (struct slice){NULL, 0};
	return (struct slice){s->input.p + s->input_at, unread(s)};
}

void
stream_consume(struct stream *s, size_t n)
{
	if (n > unread(s))
		bug("stream_consume: %zu of %zu octets", n, unread(s));
	if (n == 0)
		return;
	s->input_at += n;
	if (!s->is_reading && may_read(s))
		at_turn_end(s);
}

void
stream_set_input_limit(struct stream *s, size_t limit)
{
	s->input_limit = limit;
	if (!s->is_reading && may_read(s))
		at_turn_end(s);
}

void
stream_pause(struct stream *s)
{
	s->is_paused = true;
}

void
stream_resume(struct stream *s)
{
	if (!s->is_paused || s->is_closed || s->is_ended)
		return;
	s->is_paused = false;
	s->wants_input = unread(s) > 0 || s->is_at_eof;
	if (s->wants_input || !s->is_reading || s->ssl != NULL)
		at_turn_end(s);
}

SSL *
stream_ssl(const struct stream *s)
{
	return s->is_handshaking ? NULL : s->ssl;
}

const char *
stream_error(const struct stream *s)
{
	return s->error != NULL ? s->error : "";
}

int
stream_fd(const struct stream *s)
{
	return s->fd;
}
