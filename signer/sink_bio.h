/* SPDX-License-Identifier: ISC */
/*
 * A sink as a BIO of OpenSSL that is written to, and the reverse.
 */
#ifndef SIGNER_SINK_BIO_H
#define SIGNER_SINK_BIO_H

#include <openssl/bio.h>

#include "signer/sink.h"

struct sink_bio {
	BIO_METHOD *method;
	BIO *bio;
	struct sink out;
	struct err err; /* why a write failed */
};

/* Must not move until it is cleared. */
void sink_bio_init(struct sink_bio *sb, struct sink out);
void sink_bio_clear(struct sink_bio *sb);

/* What is written goes to the BIO. */
struct sink sink_of_bio(BIO *bio);

#endif
