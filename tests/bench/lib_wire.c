/* SPDX-License-Identifier: ISC */
/*
 * Non-blocking reads and writes over a socket or TLS on it.
 * Runs in: tests/bench/load, tests/bench/sink.  Trusts: OpenSSL.
 */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "common/err.h"
#include "tests/bench/lib_wire.h"

/* More than a chunk of a mail or the replies to a full input buffer. */
#define OUT_MAX (4u << 20)

void
wire_init(struct wire *w, int fd)
{
	w->fd = fd;
	w->ssl = NULL;
	w->is_handshaking = false;
	w->out.limit = OUT_MAX;
	buf_reset(&w->out);
	w->out_done = 0;
}

void
wire_close(struct wire *w)
{
	if (w->ssl != NULL) {
		/* Says that the peer may resume; sends nothing. */
		SSL_set_shutdown(
		    w->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(w->ssl);
	}
	w->ssl = NULL;
	close_if_open(&w->fd);
}

void
wire_clear(struct wire *w)
{
	wire_close(w);
	buf_clear(&w->out);
}

void
wire_start_tls(
    struct wire *w, SSL_CTX *context, bool is_server, SSL_SESSION *session)
{
	if ((w->ssl = SSL_new(context)) == NULL ||
	    SSL_set_fd(w->ssl, w->fd) != 1)
		fatal("cannot make a TLS connection");
	if (session != NULL)
		(void)SSL_set_session(w->ssl, session);
	if (is_server)
		SSL_set_accept_state(w->ssl);
	else
		SSL_set_connect_state(w->ssl);
	w->is_handshaking = true;
}

static int
tls_result(struct wire *w, int rc)
{
	int why = SSL_get_error(w->ssl, rc);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return WIRE_AGAIN;
	return WIRE_CLOSED;
}

int
wire_handshake(struct wire *w)
{
	int rc;

	ERR_clear_error();
	if ((rc = SSL_do_handshake(w->ssl)) != 1)
		return tls_result(w, rc);
	w->is_handshaking = false;
	return 1;
}

ssize_t
wire_read(struct wire *w, char *p, size_t n)
{
	ssize_t got;

	if (w->ssl != NULL) {
		int rc;

		ERR_clear_error();
		rc = SSL_read(w->ssl, p, n > INT_MAX ? INT_MAX : (int)n);
		return rc > 0 ? rc : tls_result(w, rc);
	}
	do
		got = recv(w->fd, p, n, 0);
	while (got == -1 && errno == EINTR);
	if (got > 0)
		return got;
	return got == -1 && errno == EAGAIN ? WIRE_AGAIN : WIRE_CLOSED;
}

static ssize_t
write_some(struct wire *w, const char *p, size_t n)
{
	ssize_t sent;

	if (w->ssl != NULL) {
		int rc;

		ERR_clear_error();
		rc = SSL_write(w->ssl, p, n > INT_MAX ? INT_MAX : (int)n);
		return rc > 0 ? rc : tls_result(w, rc);
	}
	do
		sent = send(w->fd, p, n, MSG_NOSIGNAL);
	while (sent == -1 && errno == EINTR);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN ? WIRE_AGAIN : WIRE_CLOSED;
}

int
wire_flush(struct wire *w)
{
	while (w->out_done < w->out.n) {
		ssize_t sent = write_some(
		    w, w->out.p + w->out_done, w->out.n - w->out_done);

		if (sent <= 0)
			return (int)sent;
		w->out_done += (size_t)sent;
	}
	buf_reset(&w->out);
	w->out_done = 0;
	return 1;
}
