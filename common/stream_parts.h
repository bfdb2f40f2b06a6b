/* SPDX-License-Identifier: ISC */
/*
 * What the files of a stream share: stream.c has its life, its events and the
 * handshake, stream_input.c what is read, stream_output.c what is sent, and
 * the lingering after it.
 */
#ifndef COMMON_STREAM_PARTS_H
#define COMMON_STREAM_PARTS_H

#include <event2/event_struct.h>

#include "common/stream.h"
#include "common/stream_io.h"

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

/* ---- stream.c ---- */

void stream_set_error(struct stream *s, const char *text);

/* on_turn_end() comes, once. */
void stream_at_turn_end(struct stream *s);

/* For the deadline, or at once when wants_turn is set. */
void stream_arm_timer(struct stream *s);

void stream_want_writable(struct stream *s);
void stream_want_readable(struct stream *s);

/* Whether anybody wants what may be there to be read. */
bool stream_may_read(const struct stream *s);

/* ended(), unless it was called; a lingering stream is closed. */
void stream_tell_end(struct stream *s, enum stream_end how);

/* Nothing more can be read; what was read before is told first. */
void stream_at_eof(
    struct stream *s, enum stream_io result, const struct err *err);

/* ---- stream_input.c ---- */

/* Octets received and not consumed. */
size_t stream_unread(const struct stream *s);

/* Gives back memory of input that was consumed. */
void stream_free_consumed(struct stream *s);

/* Calls input(), and ended() when there will be no more. */
void stream_deliver(struct stream *s);

void stream_read_and_deliver(struct stream *s);

/* ---- stream_output.c ---- */

/* Sends what the descriptor takes. */
void stream_flush(struct stream *s);

/* While lingering, when all has been sent. */
void stream_linger_on(struct stream *s);

/* While lingering, when the descriptor is readable. */
void stream_drop_input(struct stream *s);

#endif
