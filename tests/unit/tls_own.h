/* SPDX-License-Identifier: ISC */
/*
 * TLS contexts for a server that a test plays: its certificate is made on the
 * spot, and its own.
 */
#ifndef TESTS_UNIT_TLS_OWN_H
#define TESTS_UNIT_TLS_OWN_H

#include "common/tls.h"

/* Both: SSL_CTX_free(). */
SSL_CTX *tls_own_server(const char *hostname);
SSL_CTX *tls_own_client(void);

#endif
