/* SPDX-License-Identifier: ISC */
/*
 * xtext, the encoding of ENVID, ORCPT and AUTH parameters (RFC 3461 section 4).
 */
#ifndef COMMON_XTEXT_H
#define COMMON_XTEXT_H

#include "common/buf.h"

/* Octets 33 to 126 without "+" and "=", and +HH with upper-case digits. */
bool xtext_is_valid(struct slice s);

/*
 * Decodes into out (room for s.n octets is always enough).  The result is raw
 * and may hold any octet, CR, LF and NUL too: it must never go into a header
 * or a command unless encoded again.  -1 when s is not xtext or out is short.
 */
int xtext_decode(struct slice s, char *out, size_t out_size, size_t *n_r);

/*
 * Encodes into out with a NUL; 3 * s.n + 1 octets are always enough.
 * -1 when out is short.
 */
int xtext_encode(struct slice s, char *out, size_t out_size);

#endif
