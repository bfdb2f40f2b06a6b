/* SPDX-License-Identifier: ISC */
/*
 * What GnuPG lists of a key, judged by our rules.  Pure.
 */
#ifndef SIGNER_PGP_KEY_FACTS_H
#define SIGNER_PGP_KEY_FACTS_H

#include <gpgme.h>

#include "signer/pgp_key.h"

/* RSA, DSA and ElGamal keys below this are refused (issue: weak keys). */
#define PGP_BITS_MIN 2048

/* -1 and a reason when it is too weak, or good for nothing. */
int pgp_key_facts_read(gpgme_key_t key, int64_t now_s,
    struct pgp_key_facts *facts_r, struct err *err);

/* Of sound strength and neither revoked nor expired. */
bool pgp_subkey_is_usable(gpgme_subkey_t subkey, int64_t now_s);

/* The addr-spec in a user id, "Name <a@b>" or "a@b"; empty: none. */
struct slice pgp_user_id_address(struct slice user_id);

#endif
