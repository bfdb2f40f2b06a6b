/* SPDX-License-Identifier: ISC */
/*
 * Signs an entity, into a sink: RFC 8551 §3.5.
 */
#ifndef SIGNER_SMIME_SIGN_H
#define SIGNER_SMIME_SIGN_H

#include <openssl/x509.h>

#include "signer/entity.h"

struct smime_signer {
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) * chain; /* sent along */
	X509 *preferred;        /* to encrypt to him, another one; NULL: cert */
	const EVP_MD *digest;   /* smime_key_digest() */
	int64_t now_s;
};

/*
 * The signed entity from its Content-Type on, multipart/signed or, when
 * is_opaque or where the entity is not 7bit, application/pkcs7-mime.
 */
int smime_sign(const struct smime_signer *signer, struct entity *entity,
    const struct entity_wishes *wishes, bool is_opaque, const struct sink *sink,
    struct err *err);

#endif
