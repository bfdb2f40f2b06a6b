/* SPDX-License-Identifier: ISC */
/*
 * What a stream sends, and the lingering of one that is closed after its
 * output.
 * Runs in: postern-smtpd's workers, postern-relayd.  Trusts: nothing that
 * comes in; its owner's handlers, which may close it.
 */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "common/stream_parts.h"

/* Dropped in one call while lingering. */
#define DROP_SIZE 16384

/*
 * The other side takes no more.  It may have said why before it left, so what
 * can be read is read, and the end comes from there.
 */
static void
write_failed(struct stream *s, const char *why)
{
	if (s->error == NULL)
		stream_set_error(s, why);
	s->is_write_dead = true;
	buf_clear(&s->output);
	s->output_at = 0;
	if (s->is_lingering)
		stream_close(s);
	else
		stream_want_readable(s);
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
		stream_want_writable(s);
		return 0;
	case STREAM_IO_WANT_READ:
		stream_want_readable(s);
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
	stream_set_error(s, err.text);
	s->is_write_dead = true;
	stream_tell_end(s, STREAM_TLS_ERROR);
	return 0;
}

void
stream_flush(struct stream *s)
{
	size_t left;

	if (stream_output_pending(s) == 0 || s->is_closed || s->is_ended ||
	    s->is_connecting)
		return;
	if (s->is_write_dead) {
		buf_clear(&s->output);
		s->output_at = 0;
		return;
	}
	/* What was written since stream_start_tls() waits for TLS. */
	while ((left = s->is_handshaking ? s->plain_left
					 : stream_output_pending(s)) > 0) {
		size_t n = send_some(s, left);

		if (n == 0)
			return;
		s->output_at += n;
		if (s->is_handshaking)
			s->plain_left -= n;
	}
	if (stream_output_pending(s) > 0)
		return;
	buf_clear(&s->output);
	s->output_at = 0;
	if (s->events->drained != NULL && !s->is_lingering &&
	    !s->is_handshaking)
		s->events->drained(s->arg);
}

void
stream_write(struct stream *s, const void *p, size_t n)
{
	if (n == 0 || s->is_closed || s->is_ended)
		return;
	if (buf_add(stream_output(s), p, n) == -1)
		bug("stream_write: %zu octets wait already",
		    stream_output_pending(s));
}

struct buf *
stream_output(struct stream *s)
{
	if (s->output_at > 0 && s->output_at >= s->output.n / 2) {
		buf_consume(&s->output, s->output_at);
		s->output_at = 0;
	}
	stream_at_turn_end(s);
	return &s->output;
}

size_t
stream_output_pending(const struct stream *s)
{
	return s->output.n - s->output_at;
}

/* ---- lingering ---- */

void
stream_drop_input(struct stream *s)
{
	char dropped[DROP_SIZE];
	ssize_t n = recv(s->fd, dropped, sizeof(dropped), 0);

	if (n == 0 && stream_output_pending(s) > 0)
		stream_at_eof(
		    s, STREAM_IO_CLOSED, NULL); /* it may still listen */
	else if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
		stream_close(s);
}

void
stream_linger_on(struct stream *s)
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
	stream_want_readable(s);
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
	stream_at_turn_end(s);
}
