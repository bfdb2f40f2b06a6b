/* SPDX-License-Identifier: ISC */
/*
 * Strict base64 (RFC 4648 section 4) in exact sizes: no white space, padding
 * where it belongs, unused bits zero, so each value has one spelling.
 */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include "common/buf.h"

/* Octets of text for n octets, without a NUL; n must be below SIZE_MAX / 2. */
#define BASE64_ENCODED_SIZE(n) (((n) + 2) / 3 * 4)

/* An upper bound for what n octets of text decode to. */
#define BASE64_DECODED_MAX(n) ((n) / 4 * 3)

/* The exact decoded size; -1 when length or padding cannot be right. */
int base64_decoded_size(struct slice s, size_t *n_r);

/*
 * Decodes into out.  -1 when s is not strict base64 or out is too short; out
 * may then hold a part, and *n_r is not set.
 */
int base64_decode(struct slice s, void *out, size_t out_size, size_t *n_r);

/* Encodes with a NUL.  -1 when out is too short, and out is then "". */
int base64_encode(const void *p, size_t n, char *out, size_t out_size);

#endif
