/* SPDX-License-Identifier: ISC */
/*
 * Moving octets in and out, plain or TLS.
 * Runs in: postern-smtpd's workers, postern-relayd.  Trusts: nothing that
 * comes in; OpenSSL parses it.
 */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "common/stream_io.h"

static enum stream_io
plain_result(ssize_t n, size_t *n_r, struct err *err)
{
	if (n > 0) {
		*n_r = (size_t)n;
		return STREAM_IO_OK;
	}
	if (n == 0)
		return STREAM_IO_CLOSED;
	err_set(err, "%s", strerror(errno));
	return STREAM_IO_RESET;
}

/* OpenSSL's own words for the latest failure, or the system's. */
static void
set_tls_error(struct err *err, int saved_errno)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (reason == NULL && saved_errno != 0)
		reason = strerror(saved_errno);
	err_set(err, "%s", reason != NULL ? reason : "closed within TLS");
}

static enum stream_io
tls_result(SSL *ssl, int ret, int saved_errno, struct err *err)
{
	unsigned long code;

	switch (SSL_get_error(ssl, ret)) {
	case SSL_ERROR_NONE:
		return STREAM_IO_OK;
	case SSL_ERROR_WANT_READ:
		return STREAM_IO_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return STREAM_IO_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return STREAM_IO_CLOSED;
	case SSL_ERROR_SYSCALL:
		set_tls_error(err, saved_errno);
		return STREAM_IO_RESET;
	default:
		code = ERR_peek_last_error();
		set_tls_error(err, saved_errno);
		return ERR_GET_LIB(code) == ERR_LIB_SSL &&
			       ERR_GET_REASON(code) ==
				   SSL_R_UNEXPECTED_EOF_WHILE_READING
			   ? STREAM_IO_RESET
			   : STREAM_IO_TLS_ERROR;
	}
}

enum stream_io
stream_io_read(
    int fd, SSL *ssl, char *p, size_t size, size_t *n_r, struct err *err)
{
	int ret;

	errno = 0;
	if (ssl == NULL) {
		ssize_t n = recv(fd, p, size, 0);

		return n == -1 && (errno == EAGAIN || errno == EINTR)
			   ? STREAM_IO_WANT_READ
			   : plain_result(n, n_r, err);
	}
	/* SSL_get_error() looks at this thread's queue of errors. */
	ERR_clear_error();
	ret = SSL_read_ex(ssl, p, size, n_r);
	return tls_result(ssl, ret, errno, err);
}

enum stream_io
stream_io_write(
    int fd, SSL *ssl, const char *p, size_t size, size_t *n_r, struct err *err)
{
	int ret;

	errno = 0;
	if (ssl == NULL) {
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

		return n == -1 && (errno == EAGAIN || errno == EINTR)
			   ? STREAM_IO_WANT_WRITE
			   : plain_result(n, n_r, err);
	}
	ERR_clear_error();
	ret = SSL_write_ex(ssl, p, size, n_r);
	return tls_result(ssl, ret, errno, err);
}

enum stream_io
stream_io_handshake(SSL *ssl, struct err *err)
{
	int ret;

	errno = 0;
	ERR_clear_error();
	ret = SSL_do_handshake(ssl);
	return tls_result(ssl, ret, errno, err);
}
