/* SPDX-License-Identifier: ISC */
/*
 * One read, write or handshake step on a descriptor, plain or TLS, with one
 * set of results: what stream.c need not know about OpenSSL.
 */
#ifndef COMMON_STREAM_IO_H
#define COMMON_STREAM_IO_H

#include <openssl/ssl.h>

#include "common/err.h"

enum stream_io {
	STREAM_IO_OK,
	STREAM_IO_WANT_READ,
	STREAM_IO_WANT_WRITE,
	STREAM_IO_CLOSED,   /* the other side closed in order */
	STREAM_IO_RESET,    /* it did not; err has the reason */
	STREAM_IO_TLS_ERROR /* likewise */
};

/* ssl NULL: plain.  *n_r is set with STREAM_IO_OK only, and is not 0. */
enum stream_io stream_io_read(
    int fd, SSL *ssl, char *p, size_t size, size_t *n_r, struct err *err);
enum stream_io stream_io_write(
    int fd, SSL *ssl, const char *p, size_t size, size_t *n_r, struct err *err);
enum stream_io stream_io_handshake(SSL *ssl, struct err *err);

#endif
