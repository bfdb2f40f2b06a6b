/* SPDX-License-Identifier: ISC */
/*
 * Words outside ASCII in header fields (RFC 2047): written into the fields
 * that we make, and read back for people's eyes.  Pure.
 */
#ifndef COMMON_MIME_WORD_H
#define COMMON_MIME_WORD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/* RFC 2047 §2. */
#define MIME_WORD_LENGTH_MAX 75

/*
 * Appends text (UTF-8) as the value of an unstructured field (Subject): as it
 * is when it is plain ASCII, else in encoded words, Q or B, whichever is
 * shorter.  Bytes that are not UTF-8 become U+FFFD, control characters blanks.
 * column is where the value begins in its line; lines are folded before they
 * pass 76.  -1 when out is full.
 */
int mime_word_encode(struct slice text, size_t column, struct buf *out);

/*
 * Appends what a person should read, as UTF-8: encoded words in UTF-8, ASCII,
 * ISO-8859-1 and Windows-1252 decoded, all others left as they stand, folds
 * undone.  Tolerant: what cannot be decoded stays as it is, and nothing of it
 * is ever an error.  Control characters come out as blanks, bytes that are not
 * UTF-8 and characters that turn text around as U+FFFD.  *has_control_r (may
 * be NULL) tells whether an encoded word, of any charset, hid a NUL, CR or LF.
 * -1 when out is full, and then holds a beginning.
 */
int mime_word_decode(struct slice value, struct buf *out, bool *has_control_r);

#endif
