/* SPDX-License-Identifier: ISC */
/*
 * Private keys at rest.  A class of workers has a wrapping key, an X25519
 * private key that comes by HKDF-SHA-256 from the master key; a secret is
 * sealed to its public half and AES-256-GCM does the work.  So who stores a
 * key (the throw-away `key` worker, which reads files of strangers) needs no
 * secret for it, and cannot open what others stored.
 *
 *	octets
 *	8      "PSTRNW1\n"
 *	32     the ephemeral public key
 *	n      AES-256-GCM(key, nonce, secret)
 *	16     its tag
 *
 * key and nonce are HKDF-SHA-256(the X25519 agreement; salt: both public
 * keys; info: "postern wrap 1", class and name).  The header, class and name
 * are the associated data: a file under another name or in the folder of
 * another class does not open.
 */
#ifndef SIGNER_WRAP_H
#define SIGNER_WRAP_H

#include "common/buf.h"
#include "common/err.h"

#define WRAP_KEY_SIZE 32
#define WRAP_OVERHEAD (8 + 32 + 16)
/* What is sealed: a PKCS #8 key, an OpenPGP secret key. */
#define WRAP_SECRET_MAX ((size_t)640 * 1024)

struct wrap_key {
	unsigned char octets[WRAP_KEY_SIZE];
};

/* The wrapping key of a class, and its public half. */
int wrap_class_key(const struct wrap_key *master, const char *class_name,
    struct wrap_key *key_r, struct err *err);
int wrap_public(
    const struct wrap_key *key, struct wrap_key *public_r, struct err *err);

/* Appends to out_r. */
int wrap_seal(const struct wrap_key *public, struct slice class_name,
    struct slice name, struct slice secret, struct buf *out_r, struct err *err);

/* The reverse; what is put in secret_r is to be wiped: wrap_wipe(). */
int wrap_open(const struct wrap_key *key, struct slice class_name,
    struct slice name, struct slice sealed, struct buf *secret_r,
    struct err *err);

/* Overwrites and frees. */
void wrap_wipe(struct buf *secret);

#endif
