/* SPDX-License-Identifier: ISC */
/*
 * New keys, certificate requests, and the built-in CA for one's own users.
 */
#ifndef SIGNER_KEY_ISSUE_H
#define SIGNER_KEY_ISSUE_H

#include "signer/key_x509.h"

/* "rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384", "ed25519". */
EVP_PKEY *key_generate(struct slice algorithm, struct err *err);

/* A PKCS #10 request for that address, PEM, appended. */
int key_make_request(EVP_PKEY *key, struct slice name, struct slice address,
    struct buf *pem, struct err *err);

/* The public key of a request, PEM or DER, whose signature is right. */
EVP_PKEY *key_read_request(struct slice file, struct err *err);

struct issue {
	struct slice name;    /* common name; "": the address */
	struct slice address; /* "": a CA */
	struct slice serial;  /* hexadecimal */
	struct slice crl_url; /* where the CA's list is; "": nowhere */
	int64_t now_s;
	int64_t not_after_s;
};

/* A CA's certificate, signed by itself. */
X509 *issue_ca(EVP_PKEY *key, const struct issue *issue, struct err *err);

/* For a public key; never valid longer than the CA itself. */
X509 *issue_certificate(EVP_PKEY *public, const struct issue *issue, X509 *ca,
    EVP_PKEY *ca_key, struct err *err);

/* revoked: lines "SERIAL TIME"; DER, appended. */
int issue_crl(struct slice revoked, struct slice number, int64_t now_s,
    int64_t next_s, X509 *ca, EVP_PKEY *ca_key, struct buf *der,
    struct err *err);

#endif
