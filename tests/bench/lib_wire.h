/* SPDX-License-Identifier: ISC */
/*
 * A non-blocking byte stream, plain or TLS, with what waits to be written.
 * Meant for edge-triggered epoll: after each event read until WIRE_AGAIN.
 */
#ifndef TESTS_BENCH_LIB_WIRE_H
#define TESTS_BENCH_LIB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <openssl/ssl.h>

#include "common/buf.h"

struct wire {
	int fd;
	SSL *ssl;            /* NULL while plain */
	bool is_handshaking; /* neither side may send mail yet */
	struct buf out;
	size_t out_done;
};

enum wire_result { WIRE_AGAIN = 0, WIRE_CLOSED = -1 };

void wire_init(struct wire *w, int fd);

/* Frees the TLS state and closes; the buffer's memory is kept for reuse. */
void wire_close(struct wire *w);
void wire_clear(struct wire *w); /* and frees the buffer */

/* Puts TLS over the stream.  session may be NULL. */
void wire_start_tls(
    struct wire *w, SSL_CTX *context, bool is_server, SSL_SESSION *session);

/* 1 when the handshake is done, WIRE_AGAIN, WIRE_CLOSED. */
int wire_handshake(struct wire *w);

/* Bytes read, WIRE_AGAIN, or WIRE_CLOSED. */
ssize_t wire_read(struct wire *w, char *p, size_t n);

/* 1 when nothing is left to write, WIRE_AGAIN, WIRE_CLOSED. */
int wire_flush(struct wire *w);

#endif
