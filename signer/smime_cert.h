/* SPDX-License-Identifier: ISC */
/*
 * Certificates for mail: what they are for, whose they are, and how they are
 * named.  Pure but for OpenSSL.
 */
#ifndef SIGNER_SMIME_CERT_H
#define SIGNER_SMIME_CERT_H

#include <openssl/x509.h>

#include "common/buf.h"
#include "common/err.h"

/* RSA keys below this are weak (and cheap to forge). */
#define SMIME_RSA_BITS_MIN 2048

/* Certificates of one chain field, and of one CMS. */
#define SMIME_CERTS_MAX 32

/*
 * Certificates that tasks name again and again, read once: OpenSSL 3.0 takes
 * longer to read one than to sign with its P-256 key.
 */
struct smime_certs;

struct smime_certs *smime_certs_new(void);
void smime_certs_free(struct smime_certs *certs);
/* The place of signer/smime_trust.h, whose life is the same. */
struct smime_trust **smime_certs_trust(struct smime_certs *certs);

/* The one certificate that is all of der, to be freed; NULL and a sentence. */
X509 *smime_cert_read(
    struct smime_certs *certs, struct slice der, struct err *err);

/* Appends all certificates that follow each other.  -1: one is damaged. */
int smime_chain_read(struct smime_certs *certs, struct slice der,
    STACK_OF(X509) * chain, struct err *err);

/* "rsa", "ec", or NULL for what S/MIME by OpenSSL 3.0 cannot use. */
const char *smime_key_kind(const EVP_PKEY *key);

/*
 * The digest to sign with: SHA-256, for larger curves SHA-384 and SHA-512.
 * NULL and a sentence for keys that are too weak or of no use here.
 */
const EVP_MD *smime_key_digest(const EVP_PKEY *key, struct err *err);

/* -1 and a sentence unless now_s lies within its validity. */
int smime_cert_is_current(const X509 *cert, int64_t now_s, struct err *err);

/* -1 and a sentence unless others may encrypt to it now. */
int smime_cert_can_encrypt(const X509 *cert, int64_t now_s, struct err *err);

/*
 * Is the certificate one of that address?  Its rfc822Name and SmtpUTF8Mailbox
 * names count (RFC 8550 §3), only where there are none the emailAddress of the
 * subject.  Domains by A-label, local parts without regard to ASCII case.
 */
bool smime_cert_is_for(const X509 *cert, struct slice address);

/* The first of its addresses, or "". */
void smime_cert_address(const X509 *cert, char *out, size_t out_size);

/* Hexadecimal SHA-256 of the certificate, 65 octets with the NUL. */
#define SMIME_FINGERPRINT_SIZE 65
void smime_cert_fingerprint(const X509 *cert, char out[SMIME_FINGERPRINT_SIZE]);
void smime_cert_serial(const X509 *cert, char *out, size_t out_size);
void smime_cert_issuer(const X509 *cert, char *out, size_t out_size);

/* Appends its DER. */
void smime_cert_write(const X509 *cert, struct buf *der);

#endif
