/* SPDX-License-Identifier: ISC */
/*
 * Keys in tokens, by OpenSSL's PKCS #11 engine: the key stays in the token,
 * its use is ours.
 */
#ifndef SIGNER_KEYRING_TOKEN_H
#define SIGNER_KEYRING_TOKEN_H

#include <openssl/evp.h>

#include "common/buf.h"
#include "common/err.h"

/* "pin-", 32 hexadecimal digits and a NUL. */
#define TOKEN_PIN_NAME_SIZE 37

/* Where the PIN for a URI is kept: the URI itself never has it. */
void token_pin_name(struct slice uri, char name_r[TOKEN_PIN_NAME_SIZE]);

/* The key that a URI names (RFC 7512); the caller's. */
EVP_PKEY *token_key(const char *uri, const char *pin, struct err *err);

#endif
