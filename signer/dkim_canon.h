/* SPDX-License-Identifier: ISC */
/*
 * DKIM's "relaxed" canonical forms (RFC 6376 §3.4.2, §3.4.4), straight into a
 * digest.  Pure, in one pass, with memory for no more than a few octets.
 */
#ifndef SIGNER_DKIM_CANON_H
#define SIGNER_DKIM_CANON_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * A body, fed in pieces of any size.  Runs of blanks become one space, those
 * at a line's end and empty lines at the body's end do not count, and a body
 * that is not empty ends in CR LF.  Only CR LF is a line's end.
 */
struct dkim_body {
	EVP_MD_CTX *digest;
	uint64_t line_ends; /* CR LFs that count if more follows */
	bool has_text;      /* anything but line ends */
	bool has_blank;     /* blanks were seen, but not what follows them */
	bool has_cr;        /* likewise a CR */
	bool has_failed;
};

void dkim_body_init(struct dkim_body *body, EVP_MD_CTX *digest);
void dkim_body_feed(struct dkim_body *body, struct slice piece);
/* -1: the digest failed. */
int dkim_body_finish(struct dkim_body *body);

/*
 * One field: name and value as they stand in the message (the value with its
 * folds, with or without its last CR LF).  What is added ends in CR LF.
 */
void dkim_canon_field(struct slice name, struct slice value, struct buf *out);

#endif
