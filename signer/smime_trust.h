/* SPDX-License-Identifier: ISC */
/*
 * The anchors of a task, read once and kept until they change.
 */
#ifndef SIGNER_SMIME_TRUST_H
#define SIGNER_SMIME_TRUST_H

#include <openssl/x509_vfy.h>

#include "signer/smime_cert.h"
#include "signer/trust.h"

struct smime_trust {
	char folder[TRUST_FOLDER_SIZE]; /* "": nobody is believed */
	char id[TRUST_ID_SIZE];
	X509_STORE *anchors;
	bool requires_revocation;
	size_t blocked_count;
	unsigned char (*blocked)[32]; /* SHA-256 of certificates */
};

/*
 * What a task's WORK_KEY_TRUST names; it stays the certs' and is good until
 * the next call.  Two empty slices: without such a record.  NULL with a
 * sentence: the message waits.
 */
const struct smime_trust *smime_trust_read(struct smime_certs *certs,
    struct slice folder, struct slice id, struct err *err);
void smime_trust_free(struct smime_trust *trust);

/* Is the certificate one that an administrator blocked? */
bool smime_trust_blocks(const struct smime_trust *trust, X509 *certificate);

#endif
