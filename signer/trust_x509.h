/* SPDX-License-Identifier: ISC */
/*
 * What ties certificates to lists of revoked ones (signer/trust.h).
 */
#ifndef SIGNER_TRUST_X509_H
#define SIGNER_TRUST_X509_H

#include <openssl/x509v3.h>

#include "signer/trust.h"

struct trust_points {
	size_t count;
	char urls[TRUST_POINTS_MAX][TRUST_URL_MAX + 1];
};

/* Of the CA: SHA-256 of its name and its public key. */
void trust_issuer_id(X509 *ca, unsigned char id_r[TRUST_ISSUER_SIZE]);

/* As the store spells it: capitals, no leading zeros; "" is too long. */
#define TRUST_SERIAL_SIZE 131
void trust_serial_text(
    const ASN1_INTEGER *serial, char text_r[TRUST_SERIAL_SIZE]);

/* Its distribution points by http and https, for all reasons. */
void trust_points_of(X509 *certificate, struct trust_points *points_r);
/* Is it one that fetchd would ask? */
bool trust_is_web_url(struct slice url);
/* Such a one, or empty: the name is something else. */
struct slice trust_name_url(const GENERAL_NAME *name);

/*
 * Scopes of lists that count for the certificate, the widest first: so many
 * that one of them has a list when any has.
 */
#define TRUST_SCOPES_MAX (2 * (TRUST_POINTS_MAX + 1))
size_t trust_scopes_of(
    X509 *certificate, char scopes_r[TRUST_SCOPES_MAX][TRUST_SCOPE_SIZE]);
/* "", "user URL", ...; -1: it does not fit. */
int trust_scope_text(
    bool is_user, bool is_ca, struct slice url, char scope_r[TRUST_SCOPE_SIZE]);

/* All stored lists about it, signed by that CA. */
enum trust_said trust_ask(
    const char *folder, X509 *certificate, X509 *ca, int64_t now_s);

#endif
