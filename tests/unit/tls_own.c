/* SPDX-License-Identifier: ISC */
/*
 * Makes what tls_own.h says.  Runs in: tests.  Trusts: itself.
 */
#include <time.h>

#include "tests/unit/tls_own.h"

#define PEM_MAX 65536

SSL_CTX *
tls_own_server(const char *hostname)
{
	SSL_CTX *context = NULL;
	struct buf chain;
	struct buf key;
	struct err err;

	buf_init(&chain, PEM_MAX);
	buf_init(&key, PEM_MAX);
	if (tls_self_signed(
		hostname, (int64_t)time(NULL), &chain, &key, &err) == -1 ||
	    (context = tls_server_new(buf_slice(&chain), buf_slice(&key),
		 "smtp", (struct slice){NULL, 0}, &err)) == NULL)
		fatal("%s", err.text);
	buf_clear(&chain);
	buf_clear(&key);
	return context;
}

SSL_CTX *
tls_own_client(void)
{
	struct err err;
	SSL_CTX *context = tls_client_new(NULL, &err);

	if (context == NULL)
		fatal("%s", err.text);
	return context;
}
