/* SPDX-License-Identifier: ISC */
/*
 * What reading and making OpenPGP keys share: from a file to packets, from a
 * GnuPG home to octets.
 */
#ifndef SIGNER_PGP_KEY_DATA_H
#define SIGNER_PGP_KEY_DATA_H

#include "signer/pgp_home.h"
#include "signer/pgp_packets.h"

/* Subkeys of one key that are taken along. */
#define PGP_SUBKEYS_MAX 32

/*
 * The octets of a file with one key, armored or not.  binary is set up here;
 * the caller clears it in any case.
 */
int pgp_key_data_read(struct slice file, size_t limit, struct buf *binary,
    struct pgp_key_shape *shape_r, struct err *err);

/*
 * Appends the key without images, and with the user ids of that address
 * alone unless it is "".
 */
void pgp_key_data_reduce(
    struct slice binary, struct slice address, struct buf *out);

/* Appends what GnuPG exports for the patterns, which end with NULL. */
int pgp_key_data_export(struct pgp_home *home, const char *const *patterns,
    gpgme_export_mode_t mode, struct buf *out, struct err *err);

#endif
