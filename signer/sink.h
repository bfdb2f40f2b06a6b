/* SPDX-License-Identifier: ISC */
/*
 * Where octets go that are made piece by piece: a digest, a cipher, an
 * encoder or a content.  What one sink writes may be the input of the next,
 * so that a message of any size is protected in one pass.
 */
#ifndef SIGNER_SINK_H
#define SIGNER_SINK_H

#include "common/buf.h"
#include "common/err.h"
#include "signer/content.h"

struct sink {
	/* -1 and err on failure; no more is then written. */
	int (*write)(void *arg, const void *p, size_t n, struct err *err);
	void *arg;
};

struct sink sink_of_writer(struct content_writer *writer);
struct sink sink_of_buf(struct buf *b);

int sink_write(
    const struct sink *sink, const void *p, size_t n, struct err *err);
int sink_slice(const struct sink *sink, struct slice s, struct err *err);
int sink_text(const struct sink *sink, const char *text, struct err *err);

/* Octets [start, end) of the content. */
int sink_range(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err);

/*
 * Base64 in lines of 76 (RFC 2045 §6.8), each with CR LF, on its way to
 * another sink.
 */
struct base64_sink {
	struct sink out;
	unsigned char rest[57]; /* less than a line */
	size_t rest_n;
};

void base64_sink_init(struct base64_sink *b, struct sink out);
struct sink sink_of_base64(struct base64_sink *b);
int base64_sink_finish(struct base64_sink *b, struct err *err);

#endif
