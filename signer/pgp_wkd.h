/* SPDX-License-Identifier: ISC */
/*
 * Names of the Web Key Directory (draft-koch-openpgp-webkey-service): where
 * the key of an address lies.  Pure.
 */
#ifndef SIGNER_PGP_WKD_H
#define SIGNER_PGP_WKD_H

#include "common/buf.h"

/* 32 letters of z-base-32 and a NUL. */
#define PGP_WKD_HASH_SIZE 33

/* Of a local part; its ASCII letters are taken as lower case. */
void pgp_wkd_hash(struct slice local_part, char hash_r[PGP_WKD_HASH_SIZE]);

#endif
