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

/*
 * Appends what a person sees of it, for those who look for words in it: as
 * above, but words of all charsets are decoded, what is not ASCII in those that
 * we do not know as U+FFFD; and without characters that nobody sees, which may
 * stand in the middle of any word.
 */
int mime_word_read(struct slice value, struct buf *out);

#define MIME_WORD_OCTETS_MAX 1000

struct mime_word_octets {
	struct slice charset;
	size_t size; /* of the encoded word itself */
	size_t count;
	char octets[MIME_WORD_OCTETS_MAX];
};

/* True: an encoded word in a charset not known to us stands at the front. */
bool mime_word_foreign(struct slice value, struct mime_word_octets *word_r);

#endif
