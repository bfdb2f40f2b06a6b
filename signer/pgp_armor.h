/* SPDX-License-Identifier: ISC */
/*
 * ASCII armor (RFC 9580 §6), both ways.  GnuPG is given binary packets alone,
 * so that nobody but us decides what an armored text means, and so that what
 * the packet walk saw is what GnuPG sees.
 */
#ifndef SIGNER_PGP_ARMOR_H
#define SIGNER_PGP_ARMOR_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"

enum pgp_armor_kind {
	PGP_ARMOR_MESSAGE,
	PGP_ARMOR_SIGNATURE,
	PGP_ARMOR_PUBLIC_KEY,
	PGP_ARMOR_PRIVATE_KEY,
	PGP_ARMOR_KIND_COUNT
};

/* Appends the armored text, lines ended by CRLF; -1 when out is full. */
int pgp_armor_write(
    enum pgp_armor_kind kind, struct slice binary, struct buf *out);

/* True when a line of the text starts a block of any kind. */
bool pgp_armor_is(struct slice text);

/*
 * Appends the octets of the one block in text; *kind_r says of which.
 * *rest_r, when not NULL, is the text behind the block.  -1: none, damaged,
 * a bad checksum, or two blocks where rest_r is NULL.
 */
int pgp_armor_read(struct slice text, enum pgp_armor_kind *kind_r,
    struct buf *out, struct slice *rest_r, struct err *err);

#endif
