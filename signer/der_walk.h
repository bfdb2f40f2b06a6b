/* SPDX-License-Identifier: ISC */
/*
 * Looks through a CMS (RFC 5652) before OpenSSL gets to see it: is it well
 * formed, within bounds, and made of nothing but what mail needs?  Most holes
 * of CMS libraries lay in what mail never uses (password recipients, other key
 * formats, unusual ciphers, tags of one octet), so all of that ends here.
 *
 * Iterative, bounded, BER with indefinite lengths as S/MIME programs write it.
 * Pure; reads no key and verifies nothing.
 */
#ifndef SIGNER_DER_WALK_H
#define SIGNER_DER_WALK_H

#include "common/buf.h"
#include "common/err.h"

/* Values within values; a CMS with certificates has less than 20. */
#define DER_DEPTH_MAX 40
/* Values in all: a CRL, which may be in a signature, has many. */
#define DER_VALUES_MAX 200000

/*
 * Octets of all certificates, and of all lists: as many as a detached
 * signature may have.  Names in them are octets to this walk; OpenSSL makes
 * forty times as much of each, again for each signer.
 */
#define DER_SET_MAX ((size_t)1024 * 1024)

/* Signers and recipients of one message. */
#define DER_SIGNERS_MAX 8
#define DER_RECIPIENTS_MAX 1000

/* RFC 5084 §3.2 allows 4 octets; forging that is a matter of minutes. */
#define DER_GCM_TAG_MIN 12

enum der_cms {
	DER_CMS_SIGNED,
	DER_CMS_ENVELOPED,
	DER_CMS_AUTH_ENVELOPED,
	DER_CMS_OTHER, /* well formed, but none of these */
	DER_CMS_COUNT
};

struct der_facts {
	enum der_cms kind;
	size_t signers;
	bool has_content;     /* signed data has its content inside */
	bool has_attributes;  /* every signer has signed attributes */
	bool has_weak_digest; /* some signer's is SHA-1 or MD5 */
	char digest[16];      /* of the first signer, "sha256" */
	size_t recipients;
	char cipher[24];    /* "aes-256-cbc" */
	bool has_integrity; /* an authenticated cipher */
	bool is_old_cipher; /* 3DES: read only */
};

/*
 * -1 and a sentence unless all of der is one CMS within the bounds and, where
 * its kind is known, made of what is allowed:
 *   signed      SHA-2, or SHA-1 and MD5 (told as weak); 1 signer or more, but
 *               none where has_content is false and there are certificates
 *               alone; eContentType id-data
 *   encrypted   recipients by RSA or ECDH only; AES-CBC, AES-GCM with a tag of
 *               DER_GCM_TAG_MIN or more, 3DES; content type id-data
 */
int der_walk(struct slice der, struct der_facts *facts_r, struct err *err);

#endif
