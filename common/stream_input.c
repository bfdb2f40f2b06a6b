/* SPDX-License-Identifier: ISC */
/*
 * What a stream reads: as much as its owner wants, in turns.
 * Runs in: postern-smtpd's workers, postern-relayd.  Trusts: nothing that
 * comes in; its owner's handlers, which may close it.
 */
#include <stdlib.h>

#include "common/stream_parts.h"

/* One read: a TLS record, or a usual mail whole. */
#define READ_SIZE 16384
/* After a read that filled its room: large mail comes in fewer calls. */
#define READ_SIZE_BULK 65536
/* Of one TLS stream in one turn, so that others get theirs. */
#define TURN_SIZE 131072
/* Memory of a left-over half line is given back above this. */
#define SLACK_SIZE 4096

size_t
stream_unread(const struct stream *s)
{
	return s->input.n - s->input_at;
}

void
stream_free_consumed(struct stream *s)
{
	size_t left = stream_unread(s);

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

void
stream_deliver(struct stream *s)
{
	s->wants_input = false;
	if (s->is_closed || s->is_ended || s->is_paused || s->is_lingering)
		return;
	if (stream_unread(s) > 0) {
		s->events->input(s->arg);
		if (s->is_closed)
			return;
		stream_free_consumed(s);
	}
	if (s->is_at_eof && !s->is_paused)
		stream_tell_end(s, s->end);
}

/* Room for one read, within the limit; NULL when the limit is reached. */
static char *
reserve(struct stream *s, size_t *size_r)
{
	size_t size = s->is_bulk ? READ_SIZE_BULK : READ_SIZE;
	size_t have = stream_unread(s);

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
		stream_want_writable(s);
	else if (result != STREAM_IO_WANT_READ)
		stream_at_eof(s, result, &err);
}

void
stream_read_and_deliver(struct stream *s)
{
	read_input(s);
	stream_deliver(s);
	/* An empty read left its room behind. */
	if (!s->is_closed && stream_unread(s) == 0)
		stream_free_consumed(s);
	stream_want_readable(s);
}

struct slice
stream_input(const struct stream *s)
{
	if (stream_unread(s) == 0)
		return (struct slice){NULL, 0};
	return (struct slice){s->input.p + s->input_at, stream_unread(s)};
}

void
stream_consume(struct stream *s, size_t n)
{
	if (n > stream_unread(s))
		bug("stream_consume: %zu of %zu octets", n, stream_unread(s));
	if (n == 0)
		return;
	s->input_at += n;
	if (!s->is_reading && stream_may_read(s))
		stream_at_turn_end(s);
}

void
stream_set_input_limit(struct stream *s, size_t limit)
{
	s->input_limit = limit;
	if (!s->is_reading && stream_may_read(s))
		stream_at_turn_end(s);
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
	s->wants_input = stream_unread(s) > 0 || s->is_at_eof;
	if (s->wants_input || !s->is_reading || s->ssl != NULL)
		stream_at_turn_end(s);
}
