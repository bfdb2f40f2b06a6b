/* SPDX-License-Identifier: ISC */
/*
 * The private keys of one class of workers: opens them by their ref, unwraps
 * them (signer/wrap.h) and keeps the most used ones in memory.  A ref never
 * names another key later, so nothing kept gets stale.
 *
 * A ref is a file's name in the class's folder, or "pkcs11:..." (RFC 7512)
 * for a key in a token, of which only the use is ours.
 */
#ifndef SIGNER_KEYRING_H
#define SIGNER_KEYRING_H

#include <openssl/evp.h>

#include "common/buf.h"
#include "common/err.h"
#include "signer/wrap.h"

/* Keys in memory at once. */
#define KEYRING_KEYS_MAX 1000

struct keyring;

/*
 * What WORKER_SECRET says: the class is the folder's last part.  The folder is
 * opened at the first use of a file.
 */
struct keyring *keyring_new(
    const char *folder, const struct wrap_key *wrapping_key);
void keyring_free(struct keyring *keyring);
/* From now on no file opens: for who is about to read hostile input. */
void keyring_lock(struct keyring *keyring);

/*
 * The private key; stays the keyring's (EVP_PKEY_up_ref() to keep it), good
 * until the next call.  NULL with a sentence, which holds no secret.
 */
EVP_PKEY *keyring_key(
    struct keyring *keyring, struct slice ref, struct err *err);

/* What is sealed in a file as it is (OpenPGP); wipe it: wrap_wipe(). */
int keyring_secret(struct keyring *keyring, struct slice ref,
    struct buf *secret_r, struct err *err);

/*
 * Before the worker confines itself: loads OpenSSL's PKCS #11 engine with that
 * module, "" for none.  Without it a "pkcs11:" ref is an error of its use.
 */
int keyring_prepare_pkcs11(const char *module, struct err *err);

#endif
