/* SPDX-License-Identifier: ISC */
/*
 * Lines as SMTP has them, on their way to another sink.  What was encrypted
 * may hold anything, also a bare LF, a dot and a bare LF, by which a mail would
 * be smuggled past whoever ends lines there (RFC 5321 §2.3.8).
 */
#ifndef SIGNER_LINE_SINK_H
#define SIGNER_LINE_SINK_H

#include "signer/sink.h"

struct line_sink {
	struct sink out;
	bool was_cr; /* held back: an LF may follow */
};

void line_sink_init(struct line_sink *l, struct sink out);

/* A bare CR or LF becomes CR LF, a NUL goes. */
struct sink sink_of_lines(struct line_sink *l);
int line_sink_finish(struct line_sink *l, struct err *err);

#endif
