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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stream_parts.h"

void
stream_set_error(struct stream *s, const char *text)
{
	free(s->error);
	s->error = xstrdup(text);
}

void
stream_at_turn_end(struct stream *s)
{
	loop_at_turn_end(s->loop, &s->turn_end);
}

/* ---- the timer ---- */

/*
 * A deadline that moves on does not touch the timer: the timer fires at the
 * old time and arms itself again.  So a busy session arms it rarely.
 */
void
stream_arm_timer(struct stream *s)
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
	stream_arm_timer(s);
}

/* ---- interest ---- */

void
stream_want_writable(struct stream *s)
{
	if (s->is_writing || s->is_closed)
		return;
	s->is_writing = true;
	(void)event_add(&s->writable, NULL);
}

bool
stream_may_read(const struct stream *s)
{
	return !s->is_closed && !s->is_ended && !s->is_at_eof &&
	       !s->is_connecting && !s->is_paused &&
	       stream_output_pending(s) < STREAM_OUTPUT_HIGH &&
	       (s->is_lingering || stream_unread(s) < s->input_limit);
}

/*
 * Registering is done here alone and taken back only when the descriptor
 * turns out to be readable while nobody wants it: a pause while the other
 * side is silent costs no system call.
 */
void
stream_want_readable(struct stream *s)
{
	if (!stream_may_read(s))
		return;
	if (!s->is_reading) {
		s->is_reading = true;
		(void)event_add(&s->readable, NULL);
	}
	/* What OpenSSL holds already makes no descriptor readable. */
	if (s->ssl != NULL && !s->is_handshaking && !s->is_lingering &&
	    !s->is_tls_dry && SSL_has_pending(s->ssl)) {
		s->wants_turn = true;
		stream_arm_timer(s);
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
	stream_at_turn_end(s);
}

void
stream_tell_end(struct stream *s, enum stream_end how)
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

void
stream_at_eof(struct stream *s, enum stream_io result, const struct err *err)
{
	s->is_at_eof = true;
	s->end = STREAM_CLOSED;
	if (result != STREAM_IO_CLOSED) {
		stream_set_error(s, err->text);
		s->end =
		    result == STREAM_IO_RESET ? STREAM_RESET : STREAM_TLS_ERROR;
	}
	if (s->is_reading) {
		s->is_reading = false;
		(void)event_del(&s->readable);
	}
}

/* ---- the handshake ---- */

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
		stream_want_writable(s);
		return;
	case STREAM_IO_CLOSED:
		err_set(&err, "closed within the handshake");
		/* fall through */
	case STREAM_IO_RESET:
	case STREAM_IO_TLS_ERROR:
		stream_set_error(s, err.text);
		stream_tell_end(s, STREAM_TLS_ERROR);
		return;
	}
	s->is_handshaking = false;
	s->events->secured(s->arg);
	if (s->is_closed)
		return;
	stream_at_turn_end(s);
	/* The first command may have come with the last flight. */
	if (SSL_has_pending(s->ssl) && stream_may_read(s))
		stream_read_and_deliver(s);
}

int
stream_start_tls(struct stream *s, SSL *ssl)
{
	if (s->is_closed || s->is_ended || s->ssl != NULL ||
	    stream_unread(s) > 0 || SSL_set_fd(ssl, s->fd) != 1) {
		SSL_free(ssl);
		return -1;
	}
	stream_free_consumed(s);
	s->ssl = ssl;
	s->is_handshaking = true;
	s->is_bulk = false;
	s->plain_left = stream_output_pending(s);
	/* A server waits for the client's first flight, a client sends it. */
	if (!SSL_is_server(ssl))
		stream_at_turn_end(s);
	return 0;
}

/* ---- events of the descriptor ---- */

static void
on_readable(int fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	if (!stream_may_read(s)) {
		s->is_reading = false;
		(void)event_del(&s->readable);
		return;
	}
	if (s->is_lingering)
		stream_drop_input(s);
	else if (s->is_handshaking)
		handshake(s);
	else
		stream_read_and_deliver(s);
}

static void
connect_done(struct stream *s)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		error = errno;
	if (error != 0) {
		stream_set_error(s, strerror(error));
		stream_tell_end(s, STREAM_RESET);
		return;
	}
	s->is_connecting = false;
	stream_want_readable(s);
	s->events->connected(s->arg);
	if (!s->is_closed && stream_output_pending(s) > 0)
		stream_at_turn_end(s);
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
	stream_flush(s);
	if (s->is_closed || s->is_ended)
		return;
	if (s->is_handshaking && s->plain_left == 0)
		handshake(s);
	else if (s->is_lingering && stream_output_pending(s) == 0)
		stream_linger_on(s);
	else
		stream_want_readable(s);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	s->timer_ms = 0;
	if (s->deadline_ms != 0 && clock_monotonic_ms() >= s->deadline_ms) {
		stream_set_error(s, "timed out");
		stream_tell_end(s, STREAM_TIMEOUT);
		return;
	}
	if (s->wants_turn) {
		s->wants_turn = false;
		if (stream_may_read(s) && !s->is_lingering)
			stream_read_and_deliver(s);
	}
	if (!s->is_closed && !s->is_ended)
		stream_arm_timer(s);
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
		stream_deliver(s);
	if (!s->is_writing)
		stream_flush(s);
	if (s->is_closed || s->is_ended || s->is_connecting)
		return;
	if (s->is_handshaking && s->plain_left == 0 && !s->is_lingering &&
	    !SSL_is_server(s->ssl) && SSL_in_before(s->ssl))
		handshake(s);
	if (s->is_closed || s->is_ended)
		return;
	if (s->is_lingering && stream_output_pending(s) == 0)
		stream_linger_on(s);
	else
		stream_want_readable(s);
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

	stream_want_readable(s);
	return s;
}

struct stream *
stream_new_connecting(struct loop *loop, int fd,
    const struct stream_events *events, void *arg, size_t input_limit)
{
	struct stream *s = new_stream(loop, fd, events, arg, input_limit);

	s->is_connecting = true;
	stream_want_writable(s);
	return s;
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
