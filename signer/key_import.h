/* SPDX-License-Identifier: ISC */
/*
 * Private keys with their certificates, from files of anybody: PKCS #12, or
 * PEM blocks.
 */
#ifndef SIGNER_KEY_IMPORT_H
#define SIGNER_KEY_IMPORT_H

#include "signer/key_x509.h"

struct key_import {
	EVP_PKEY *key;
	X509 *certificate;     /* the key's own; in the list, too */
	struct x509_list list; /* all certificates of the file */
};

void key_import_clear(struct key_import *import);

/*
 * One private key and its certificate: of several keys the one of that number,
 * from 1; 0: there is to be one alone.  -1 with a reason: damaged, the pass
 * phrase is missing or wrong, not that many keys, no certificate for the key,
 * a bomb.
 */
int key_import_file(struct slice file, struct slice passphrase, uint64_t number,
    struct key_import *import_r, struct err *err);

#endif
