/* SPDX-License-Identifier: ISC */
/*
 * Certificates as the key worker reads them: which it takes, what is in them,
 * and the making of new ones.
 */
#ifndef SIGNER_KEY_X509_H
#define SIGNER_KEY_X509_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/address.h"
#include "signer/keystore.h"

/* Addresses of one certificate that are looked at. */
#define X509_ADDRESSES_MAX 32
/* Of a file: the one that is meant, and those of its issuers. */
#define X509_CHAIN_MAX 10

struct x509_facts {
	struct key key; /* public and chain are not set */
	char public_digest[65];
	size_t address_count;
	char addresses[X509_ADDRESSES_MAX][ADDRESS_TEXT_MAX];
};

/* Certificates in the order in which they came; owned. */
struct x509_list {
	size_t count;
	X509 *certificates[X509_CHAIN_MAX];
};

void x509_list_clear(struct x509_list *list);
/* Takes it over; -1: too many, and it is freed. */
int x509_list_add(struct x509_list *list, X509 *certificate, struct err *err);

/* One DER certificate and nothing behind it; NULL with a sentence. */
X509 *x509_from_der(struct slice der, struct err *err);
int x509_to_der(X509 *certificate, struct buf *der, struct err *err);

/*
 * All certificates of a file: one as DER, or PEM blocks.  -1: none, damaged,
 * or too many.
 */
int x509_read_file(struct slice file, struct x509_list *list, struct err *err);

/*
 * "rsa-2048", "p-256" and so on.  -1 with the reason why a key of that kind is
 * not taken: CMS cannot use it (Ed25519, X25519), or it is too weak.
 */
int x509_check_public(
    EVP_PKEY *key, char algorithm_r[64], unsigned *bits_r, struct err *err);

/*
 * What is in it; -1 when it is not fit for mail.  May be a CA's: then uses is
 * KEY_CERTIFIES alone.
 */
int x509_read_facts(
    X509 *certificate, struct x509_facts *facts_r, struct err *err);

/* SHA-256, capitals. */
void x509_fingerprint(X509 *certificate, char out[KEY_FINGERPRINT_MAX + 1]);
void x509_public_digest(EVP_PKEY *key, char out[65]);

/* A serial number as the store has it: capitals, no leading zeros. */
int x509_serial_text(
    const ASN1_INTEGER *serial, char *out, size_t size, struct err *err);
/* A name as one line, RFC 2253. */
int x509_name_text(
    const X509_NAME *name, char *out, size_t size, struct err *err);
int64_t x509_time(const ASN1_TIME *time); /* 0: it cannot be read */

#endif
