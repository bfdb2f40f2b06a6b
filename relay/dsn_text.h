/* SPDX-License-Identifier: ISC */
/*
 * Text from outside on its way into a message that we write: one line of it,
 * a quotation of it, wrapped sentences, quoted-printable.  Pure.
 */
#ifndef RELAY_DSN_TEXT_H
#define RELAY_DSN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/*
 * Appends text as a part of one line: controls and line ends become blanks
 * (several in a row one blank), bytes outside ASCII '?' unless with_utf8 and
 * well formed.  Cut after max bytes, then "..." shows it.
 */
void dsn_add_line(
    struct buf *out, struct slice text, size_t max, bool with_utf8);

/* Appends words as lines of at most 75, each with the indent and CRLF. */
void dsn_add_wrapped(struct buf *out, const char *indent, struct slice words);

/*
 * Appends a reply as "  > " lines, its own line ends kept, all else as in
 * dsn_add_line().  Cut after max bytes.
 */
void dsn_add_quotation(
    struct buf *out, struct slice reply, size_t max, bool with_utf8);

/* Appends text in quoted-printable (RFC 2045 §6.7); its CRLFs are lines. */
void dsn_add_quoted_printable(struct buf *out, struct slice text);

/* Properties of text that decide how it may travel. */
struct dsn_shape {
	bool is_8bit;
	bool is_long;   /* a line over 998 bytes (RFC 5322 §2.1.1) */
	bool is_binary; /* a NUL, bare CR or bare LF */
};

struct dsn_shape dsn_shape_of(struct slice text);

#endif
