/* SPDX-License-Identifier: ISC */
/*
 * Text from outside made safe for one line of a log, a terminal or a reply.
 */
#ifndef COMMON_PRINTABLE_H
#define COMMON_PRINTABLE_H

#include "common/buf.h"

/*
 * Writes s into out (out_size octets with the NUL) and returns out.  C0
 * controls, DEL and octets that are not UTF-8 become \xNN; C1 controls, bidi
 * and zero-width characters \u{202e}.  What does not fit is cut between
 * characters and ends in an ellipsis.  A backslash stays as it is: the text is
 * for reading, not for decoding.
 */
const char *printable(struct slice s, char *out, size_t out_size);

/*
 * The same in pure ASCII, every other character as \u{e9}: for SMTP replies,
 * where RFC 6531 3.7.4 allows UTF-8 only to some clients.
 */
const char *printable_ascii(struct slice s, char *out, size_t out_size);

#endif
