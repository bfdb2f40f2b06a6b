/* SPDX-License-Identifier: ISC */
/*
 * TLS contexts for both sides: >= 1.2, no renegotiation, no compression,
 * stateless tickets under keys that only workers of one policy share
 * (RFC 9325; feasibility: one ticket, RELEASE_BUFFERS).
 */
#ifndef COMMON_TLS_H
#define COMMON_TLS_H

#include <openssl/ssl.h>

#include "common/buf.h"
#include "common/err.h"

/* Loads OpenSSL's provider and configuration: call before confinement. */
void tls_prepare(void);

/*
 * A server context from PEM texts.  name separates tickets of different
 * policy.  ticket_keys: 80 octets (current 16 name, 32 HMAC, 32 AES), or
 * twice that with the previous ones behind them; empty: no tickets.
 */
SSL_CTX *tls_server_new(struct slice chain_pem, struct slice key_pem,
    const char *name, struct slice ticket_keys, struct err *err);

/*
 * Checks a certificate chain against its key, the dates at now and the host
 * name (a mismatch of the name is only told by names_r).  For "tls install".
 */
struct tls_identity {
	int64_t not_before;
	int64_t not_after;
	char subject[256];
	char issuer[256];
	char names[1024];     /* subjectAltName DNS names, spaces between */
	char fingerprint[97]; /* SHA-256, hex with colons */
	bool is_self_signed;
	bool covers_hostname;
};
int tls_identity_check(struct slice chain_pem, struct slice key_pem,
    const char *hostname, int64_t now, struct tls_identity *identity_r,
    struct err *err);

/* A P-256 key and a self-signed certificate for the name, 825 days. */
int tls_self_signed(const char *hostname, int64_t now, struct buf *chain_r,
    struct buf *key_r, struct err *err);

/* The three channel bindings of a server connection; empty where undefined. */
struct tls_bindings {
	char exporter[32]; /* RFC 9266 */
	size_t exporter_n;
	char unique[64]; /* RFC 5929, TLS <= 1.2 */
	size_t unique_n;
	char end_point[64]; /* RFC 5929 */
	size_t end_point_n;
};
void tls_bindings_get(SSL *ssl, struct tls_bindings *bindings_r);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384" for logs and Received. */
void tls_describe(SSL *ssl, char *text_r, size_t size);

/* ---- client ---- */

/* One context for relayd; ca_file NULL or unreadable: nothing verifies. */
SSL_CTX *tls_client_new(const char *ca_file, struct err *err);

/* One TLSA record as in DNS (RFC 6698 §2.1). */
struct tlsa {
	uint8_t usage, selector, matching;
	const unsigned char *data;
	size_t n;
};

enum tls_check {
	TLS_CHECK_NONE, /* any certificate: encrypted only */
	TLS_CHECK_NAME, /* chain to a CA and one of the names (RFC 9525) */
	TLS_CHECK_DANE  /* the TLSA records (RFC 7672); usages 2 and 3 */
};

/*
 * A connection object in connect state with SNI set to host.  names: further
 * names that a certificate may carry for TLS_CHECK_NAME and DANE-TA.  For
 * DANE *usable_r tells how many records were usable; 0 means: encrypt
 * without a check (RFC 7672 §2.2).
 */
SSL *tls_client_connect(SSL_CTX *context, const char *host,
    const char *const *names, size_t name_count, enum tls_check check,
    const struct tlsa *records, size_t record_count, size_t *usable_r,
    struct err *err);

/* After the handshake: was the certificate verified as asked?  In words. */
bool tls_client_verified(SSL *ssl, char *why_r, size_t size);

#endif
