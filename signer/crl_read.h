/* SPDX-License-Identifier: ISC */
/*
 * Lists of revoked certificates as CAs publish them, read once: who signed,
 * for how long, for which certificates, and the sorted digests of what is
 * revoked (signer/trust.h).
 */
#ifndef SIGNER_CRL_READ_H
#define SIGNER_CRL_READ_H

#include <openssl/x509.h>

#include "signer/keystore.h"
#include "signer/trust_x509.h"

/* Names that one list has for the part that it covers. */
#define CRL_SCOPES_MAX 4

struct crl_facts {
	struct trust_list list;
	char issuer[KEY_NAME_MAX + 1];
	char number[TRUST_SERIAL_SIZE]; /* "": it has none */
	size_t scope_count;             /* at least one */
	char scopes[CRL_SCOPES_MAX][TRUST_SCOPE_SIZE];
};

/*
 * PEM or DER.  Taken only when an anchor, or one of the others that leads to
 * an anchor, signed it, its time is not over, and all of it is understood;
 * else -1 with the reason.
 */
int crl_read(struct slice file, int64_t now_s, STACK_OF(X509) * anchors,
    STACK_OF(X509) * others, struct crl_facts *facts_r, struct buf *list,
    struct err *err);

/*
 * The certificates that lead from this one to an anchor, itself first and the
 * anchor last; NULL: it leads to none.  purpose: OpenSSL's word for what it is
 * to be good for, or NULL.
 */
STACK_OF(X509) * crl_chain_of(X509 *certificate, const char *purpose,
		     int64_t now_s, STACK_OF(X509) * anchors,
		     STACK_OF(X509) * others);

#endif
