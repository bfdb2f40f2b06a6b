/* SPDX-License-Identifier: ISC */
/*
 * A TCP connection to the outside, plain or TLS: bounded input, output that
 * leaves at the end of the turn, one deadline.  Used by smtpd's workers and
 * relayd.  An idle stream holds no buffers (contexts of common/tls.h have
 * SSL_MODE_RELEASE_BUFFERS).  The process must ignore SIGPIPE.
 */
#ifndef COMMON_STREAM_H
#define COMMON_STREAM_H

#include <openssl/ssl.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"

struct stream;

enum stream_end {
	STREAM_CLOSED,   /* the other side closed in order */
	STREAM_RESET,    /* it did not, or a connect() failed */
	STREAM_TIMEOUT,  /* stream_deadline() passed */
	STREAM_TLS_ERROR /* handshake or record; see stream_error() */
};

struct stream_events {
	/*
	 * There is input (or more of it): look at stream_input(), consume what
	 * is understood.  Called again only when more arrives or after
	 * stream_resume().
	 */
	void (*input)(void *arg);
	/* The TLS handshake is done. */
	void (*secured)(void *arg);
	/* All output has left (may be NULL). */
	void (*drained)(void *arg);
	/* An asynchronous connect() is done (clients). */
	void (*connected)(void *arg);
	/*
	 * The stream is at its end, told once; close it.  Input that came
	 * before the end is told by input() first, and while paused the end
	 * waits too: so a client that half-closes after its last command still
	 * gets its answer.
	 */
	void (*ended)(void *arg, enum stream_end how);
};

/*
 * While this much output waits, no input is read: who does not take the
 * answers gets no more of them.
 */
#define STREAM_OUTPUT_HIGH 262144
/* More than this at once is a bug of the owner: write on drained(). */
#define STREAM_OUTPUT_MAX 4194304

/*
 * Takes over a connected non-blocking socket; sets TCP_NODELAY.
 * input_limit: unread octets held before reading stops.
 */
struct stream *stream_new(struct loop *loop, int fd,
    const struct stream_events *events, void *arg, size_t input_limit);

/* As above for a socket whose connect() is under way. */
struct stream *stream_new_connecting(struct loop *loop, int fd,
    const struct stream_events *events, void *arg, size_t input_limit);

/*
 * Closes now, without what is waiting to be sent; the memory is freed at the
 * end of the turn, no event follows.  NULL is fine.
 */
void stream_close(struct stream *stream);

/*
 * Sends what is waiting, then closes; no event follows.  What the other side
 * still sends is read and dropped until it closes, so that our last words are
 * not destroyed by a reset.  All of it takes at most linger_ms.
 */
void stream_close_after_output(struct stream *stream, uint64_t linger_ms);

/* Unread input; good until the next consume or return to the loop. */
struct slice stream_input(const struct stream *stream);
void stream_consume(struct stream *stream, size_t n);

/* Changes how much unread input is held. */
void stream_set_input_limit(struct stream *stream, size_t limit);

/*
 * Stops and resumes reading; resume calls input() again, at the end of this
 * turn, when input is there.
 */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

void stream_write(struct stream *stream, const void *p, size_t n);
size_t stream_output_pending(const struct stream *stream);

/*
 * The output itself, for who writes straight into it (append only): it leaves
 * at the end of this turn like what stream_write() takes.
 */
struct buf *stream_output(struct stream *stream);

/*
 * Starts TLS over the connection; ssl is taken over (accept or connect state
 * set by the caller).  Waiting output leaves in plain text first.  -1 when
 * unread plaintext is there: an injection, the caller must end the session
 * (RFC 3207 §6, CVE-2011-0411); ssl is freed then too.
 */
int stream_start_tls(struct stream *stream, SSL *ssl);

/* NULL while plain or during the handshake. */
SSL *stream_ssl(const struct stream *stream);

/* One deadline, replaced by each call; 0 takes it away. */
void stream_deadline(struct stream *stream, uint64_t ms_from_now);

/* The latest TLS or system error in words; "" when there was none. */
const char *stream_error(const struct stream *stream);

int stream_fd(const struct stream *stream);

#endif
