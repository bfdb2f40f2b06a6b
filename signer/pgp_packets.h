/* SPDX-License-Identifier: ISC */
/*
 * OpenPGP packets (RFC 9580 §4), walked before GnuPG sees them: what is not
 * of a shape that we expect is refused here, by us, with a reason.  Iterative,
 * bounded, nothing is decrypted or inflated.
 */
#ifndef SIGNER_PGP_PACKETS_H
#define SIGNER_PGP_PACKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/parse.h"

/* A signature, message or key has far fewer; more is an attack. */
#define PGP_PACKETS_MAX 4096

#define PGP_KEY_ID_SIZE 8
/* SHA-256 of a v6 key; 20 octets of a v4 one. */
#define PGP_FINGERPRINT_OCTETS 32

enum pgp_tag {
	PGP_TAG_PKESK = 1,
	PGP_TAG_SIGNATURE = 2,
	PGP_TAG_SKESK = 3,
	PGP_TAG_ONE_PASS = 4,
	PGP_TAG_SECRET_KEY = 5,
	PGP_TAG_PUBLIC_KEY = 6,
	PGP_TAG_SECRET_SUBKEY = 7,
	PGP_TAG_COMPRESSED = 8,
	PGP_TAG_SED = 9, /* without integrity protection */
	PGP_TAG_MARKER = 10,
	PGP_TAG_LITERAL = 11,
	PGP_TAG_TRUST = 12,
	PGP_TAG_USER_ID = 13,
	PGP_TAG_PUBLIC_SUBKEY = 14,
	PGP_TAG_USER_ATTRIBUTE = 17,
	PGP_TAG_SEIPD = 18,
	PGP_TAG_AEAD = 20,
	PGP_TAG_PADDING = 21,
};

struct pgp_packet {
	unsigned tag;
	struct slice whole; /* with its header */
	/* Without it; of a packet in pieces, the first piece alone. */
	struct slice body;
	bool is_partial;
};

struct pgp_walk {
	struct slice rest;
	size_t count;
};

/*
 * The next packet: PARSE_OK; PARSE_MORE at the end of what there is;
 * PARSE_BAD when it is damaged, or one packet too many.
 */
int pgp_packet_next(struct pgp_walk *walk, struct pgp_packet *packet_r);

/* A public or secret key or subkey packet, as far as it is open. */
struct pgp_key_packet {
	unsigned version;
	unsigned algorithm; /* RFC 9580 §9.1 */
	unsigned bits;      /* of RSA, DSA, ElGamal; else 0 */
	int64_t created_s;
	char fingerprint[2 * PGP_FINGERPRINT_OCTETS + 1]; /* upper case */
	unsigned char key_id[PGP_KEY_ID_SIZE];
	bool has_secret;   /* not a stub */
	bool is_protected; /* its secret part needs a pass phrase */
};

/* -1 and a reason: damaged, or not of version 4. */
int pgp_key_packet_read(const struct pgp_packet *packet,
    struct pgp_key_packet *key_r, struct err *err);

/* What a file of keys holds, before anything else looks at it. */
struct pgp_key_shape {
	size_t keys; /* primary ones */
	size_t subkeys;
	size_t user_ids;
	bool has_secret; /* all of them are secret keys */
	bool is_protected;
	struct pgp_key_packet primary;
	size_t image_octets;
};

/* -1 and a reason: foreign packets, a broken order, versions we do not take. */
int pgp_key_shape_read(
    struct slice binary, struct pgp_key_shape *shape_r, struct err *err);

/* True when the octets are signature packets and nothing else. */
int pgp_signatures_check(struct slice binary, size_t *count_r, struct err *err);

/*
 * An encrypted message: session keys for public keys, then one packet of
 * encrypted data with integrity protection, and nothing behind it.
 */
struct pgp_sealed {
	size_t session_keys;
	size_t anonymous;  /* of them: for nobody named */
	size_t first_data; /* where the encrypted data starts */
	bool is_aead;
};

int pgp_sealed_check(
    struct slice binary, struct pgp_sealed *sealed_r, struct err *err);

/*
 * Appends those session keys alone that are for one of the key ids, or, if so
 * wanted, for nobody named; what comes before first_data is head.  Returns how
 * many.
 */
size_t pgp_sealed_filter(struct slice head,
    const unsigned char (*key_ids)[PGP_KEY_ID_SIZE], size_t key_id_count,
    bool with_anonymous, struct buf *out);

#endif
