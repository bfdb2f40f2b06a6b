/* SPDX-License-Identifier: ISC */
/*
 * Certificates and keys in PEM form, for the other tls files.
 */
#ifndef COMMON_TLS_PEM_H
#define COMMON_TLS_PEM_H

#include <openssl/x509.h>

#include "common/buf.h"
#include "common/err.h"

/* The certificates of a PEM text, at least one; NULL with a sentence. */
STACK_OF(X509) * tls_pem_chain(struct slice pem, struct err *err);

/* Its private key; one with a password is refused, nobody is asked for it. */
EVP_PKEY *tls_pem_key(struct slice pem, struct err *err);

/* OpenSSL's word for the first thing that went wrong. */
const char *tls_pem_error(void);

#endif
