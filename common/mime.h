/* SPDX-License-Identifier: ISC */
/*
 * Walks the MIME structure of a message (RFC 2045, 2046) while it streams by:
 * which parts it has, of which type, from which byte to which.  Nothing is
 * decoded, nothing kept but one header and a stack of boundaries; nesting is a
 * stack, never recursion; time is linear.
 *
 * What cannot be walked is opaque: it is one part, whatever is in it, and the
 * part says why.  The message itself stays as it is; only signing, checking
 * and showing "by parts" end there.
 */
#ifndef COMMON_MIME_H
#define COMMON_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/header.h"

/* Deepest part below the message; real mail stays under ten. */
#define MIME_DEPTH_MAX 100
/* Parts of a message, itself included. */
#define MIME_PARTS_MAX 10000
/* RFC 2046 §5.1.1. */
#define MIME_BOUNDARY_MAX 70
/* Blanks that a relay may have left behind a delimiter (RFC 2046 §5.1.1). */
#define MIME_PADDING_MAX 128
/* Longer names of types are cut; no registered one comes near. */
#define MIME_NAME_MAX 63

enum mime_encoding {
	MIME_ENCODING_7BIT, /* also when none is given */
	MIME_ENCODING_8BIT,
	MIME_ENCODING_BINARY,
	MIME_ENCODING_QUOTED_PRINTABLE,
	MIME_ENCODING_BASE64,
	MIME_ENCODING_OTHER,
	MIME_ENCODING_COUNT,
};

enum mime_kind {
	MIME_LEAF,
	MIME_MULTIPART,
	MIME_MESSAGE, /* message/rfc822 or message/global: one part below it */
	MIME_KIND_COUNT,
};

enum mime_opaque {
	MIME_CLEAR,           /* walked as it should be */
	MIME_OPAQUE_DEPTH,    /* nested deeper than MIME_DEPTH_MAX */
	MIME_OPAQUE_BOUNDARY, /* missing, too long, or two of them */
	MIME_OPAQUE_ENCODED,  /* a container in base64 (RFC 2045 §6.4) */
	MIME_OPAQUE_TYPE,     /* no usable Content-Type, or two */
	MIME_OPAQUE_HEADER,   /* its header passes the limits or is broken */
	MIME_OPAQUE_COUNT,
};

/* Offsets count from the first byte of the message. */
struct mime_part {
	uint32_t number; /* in the order of their beginnings; the message: 0 */
	uint32_t parent; /* of the message: 0 */
	uint32_t depth;  /* of the message: 0 */
	uint64_t start;  /* of its header */
	uint64_t body_start;
	uint64_t body_end; /* in end() only; without the delimiter's CRLF */
	enum mime_kind kind;
	enum mime_encoding encoding;
	enum mime_opaque opaque;
	char type[MIME_NAME_MAX + 1]; /* lower case; "text" by default */
	char subtype[MIME_NAME_MAX + 1];
};

struct mime_events {
	/* A header was read.  header is valid during the call only. */
	void (*begin)(void *arg, const struct mime_part *part,
	    const struct header *header);
	/* Parts end innermost first. */
	void (*end)(void *arg, const struct mime_part *part);
	void *arg;
};

struct mime;

/* The events are copied; begin and end may be NULL.  Free with mime_free(). */
struct mime *mime_new(const struct mime_events *events);
void mime_free(struct mime *m);

/* The next bytes of the message, in pieces of any size; then its end. */
void mime_feed(struct mime *m, struct slice piece);
void mime_finish(struct mime *m);

/*
 * False when MIME_PARTS_MAX was reached: what follows is told as content of
 * the parts that were open then.
 */
bool mime_is_complete(const struct mime *m);

const char *mime_encoding_text(enum mime_encoding encoding);
const char *mime_opaque_text(enum mime_opaque opaque);

#endif
