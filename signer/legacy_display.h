/* SPDX-License-Identifier: ISC */
/*
 * The legacy display of RFC 9788 (§2.1.2, §5.2): a Subject that is hidden
 * outside stands once more at the start of the text, for programs that decrypt
 * but know nothing of protected headers.  Those that do know leave it out by
 * the parameter "hp-legacy-display".  Pure.
 */
#ifndef SIGNER_LEGACY_DISPLAY_H
#define SIGNER_LEGACY_DISPLAY_H

#include "common/header.h"
#include "common/mime.h"
#include "common/mime_value.h"

/* Longer texts have none, nor has what comes behind so many of them. */
#define LEGACY_TEXT_MAX ((size_t)1024 * 1024)
#define LEGACY_PARTS_MAX 8
/* What a Subject of n octets becomes at the most: "&#1114111;" and a frame. */
#define LEGACY_DISPLAY_MAX(n) (256 + 10 * (n))

/* In which octets a text has it. */
enum legacy_charset {
	LEGACY_ASCII,   /* nothing else is needed */
	LEGACY_UTF8,    /* the text is in UTF-8 */
	LEGACY_TO_UTF8, /* it is ASCII, and called UTF-8 from now on */
	LEGACY_LATIN1,  /* ISO-8859-1, or the same for letters */
	LEGACY_CHARSET_COUNT
};

/* One text that shows it. */
struct legacy_display {
	bool is_html;
	enum legacy_charset charset;
};

/*
 * May this part show that Subject (UTF-8, not empty)?  It may when it is
 * text/plain or text/html, no attachment, and its charset has the characters.
 * Whether it is one of the main parts of the message the caller knows.
 */
bool legacy_display_fits(struct slice subject, const struct mime_part *part,
    const struct header *header, struct legacy_display *display_r);

/* Of LEGACY_TO_UTF8: is the decoded text as it has to be? */
bool legacy_display_accepts(
    const struct legacy_display *display, struct slice text);

/*
 * Appends Content-Type with all its parameters but those that this file and
 * header protection write, and with "hp-legacy-display" unless display is
 * NULL; no line end.  value NULL: text/plain in charset.
 */
void legacy_display_type(const struct mime_value *value, const char *charset,
    const struct legacy_display *display, struct buf *out);

/* The decoded text with the Subject in it.  -1: out is full. */
int legacy_display_insert(const struct legacy_display *display,
    struct slice subject, struct slice text, struct buf *out);

#endif
