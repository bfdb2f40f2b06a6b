/* SPDX-License-Identifier: ISC */
/*
 * OpenPGP keys: made, imported, split, read.  For the throw-away `key` worker
 * alone: each call makes a GnuPG home of its own below scratch_dir, and
 * leaves nothing there.
 *
 * A private part is kept as one blob for each class of workers: the words
 * that unlock it, 256 random bits, and a transferable secret key under them
 * that holds only what the class needs.  Whoever stores a blob wraps it
 * (signer/wrap.h).
 */
#ifndef SIGNER_PGP_KEY_H
#define SIGNER_PGP_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

/* 64 hexadecimal digits of a v5 or v6 key, 40 of a v4 one. */
#define PGP_FINGERPRINT_MAX 64
/* User ids beyond that are left out: a key of a person has a few. */
#define PGP_ADDRESSES_MAX 32
#define PGP_ADDRESS_SIZE 512
/* A public key with its signatures; a file that is larger is refused. */
#define PGP_PUBLIC_MAX ((size_t)256 * 1024)
/* Images in user attributes, together; larger ones make a key refused. */
#define PGP_IMAGES_MAX ((size_t)64 * 1024)
/* A blob of a private part. */
#define PGP_PRIVATE_MAX ((size_t)512 * 1024)

/* What a key is, as far as we use it. */
struct pgp_key_facts {
	char fingerprint[PGP_FINGERPRINT_MAX + 1]; /* upper case */
	/* "rsa3072" or "ed25519+cv25519": the primary, what encrypts. */
	char algorithm[64];
	unsigned bits; /* of the weakest part in use */
	bool can_sign;
	bool can_encrypt;
	bool is_expired;
	bool is_revoked;
	int64_t created_s;
	int64_t expires_s; /* of what expires first; 0: never */
	/* Of the valid user ids: local part as written, domain lower case. */
	size_t address_count;
	char addresses[PGP_ADDRESSES_MAX][PGP_ADDRESS_SIZE];
};

/* What the key worker hands back; buffers are the caller's to clear. */
struct pgp_key_pair {
	struct pgp_key_facts facts;
	struct buf public;     /* transferable public key, binary */
	struct buf signing;    /* blob for pgp-sign; empty: cannot sign */
	struct buf decryption; /* blob for pgp-open; empty: nothing to open */
};

enum pgp_key_kind {
	PGP_KEY_ED25519, /* with a cv25519 subkey */
	PGP_KEY_RSA3072, /* with an rsa3072 subkey */
	PGP_KEY_RSA4096,
	PGP_KEY_KIND_COUNT
};

/* The word of a kind: "ed25519", "rsa3072", "rsa4096"; COUNT: unknown. */
enum pgp_key_kind pgp_key_kind_by_name(struct slice name);

void pgp_key_pair_init(struct pgp_key_pair *pair);
/* Wipes and frees. */
void pgp_key_pair_clear(struct pgp_key_pair *pair);

/*
 * Makes a pair for "NAME <ADDRESS>" (name may be ""); lifetime_s 0: it never
 * expires.
 */
int pgp_key_generate(const char *scratch_dir, enum pgp_key_kind kind,
    struct slice name, struct slice address, int64_t lifetime_s,
    struct pgp_key_pair *pair, struct err *err);

/*
 * Takes a secret key, armored or binary, whose words are the pass phrase
 * ("": it has none).  Refused as pgp_key_parse() does, and when there is no
 * private part, or the words are wrong.
 */
int pgp_key_import(const char *scratch_dir, struct slice file,
    struct slice passphrase, int64_t now_s, struct pgp_key_pair *pair,
    struct err *err);

/*
 * Reads a public key, armored or binary: one key in the file, version 4 or
 * newer, neither weak (RSA, DSA under 2048 bits), nor a bomb.  An expired or
 * revoked one is read, the facts say so, and it can neither sign nor encrypt;
 * to take it in is the caller's to refuse.  public: the key as it is to be
 * stored, binary, without images; its limit is to be PGP_PUBLIC_MAX.
 */
int pgp_key_parse(const char *scratch_dir, struct slice file, int64_t now_s,
    struct pgp_key_facts *facts_r, struct buf *public, struct err *err);

struct pgp_key_known {
	const struct slice *keys; /* binary */
	size_t count;
};

/*
 * The same of a key that came for an address: reduced to its user ids (as WKD
 * wants it), -1 when the key has none of it.  If it is one of those known, it
 * is put together with that one, so that nothing goes which the file lacks: a
 * copy without some of its parts is no key of its owner's.
 */
int pgp_key_parse_for(const char *scratch_dir, struct slice file,
    struct slice address, const struct pgp_key_known *known, int64_t now_s,
    struct pgp_key_facts *facts_r, struct buf *public, struct err *err);

/* Whether the facts name that address (ASCII case does not count). */
bool pgp_key_has_address(
    const struct pgp_key_facts *facts, struct slice address);

#endif
