/* SPDX-License-Identifier: ISC */
/*
 * UTF-8 as RFC 3629 has it, and the code points that deceive a reader.
 */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/buf.h"

/*
 * The code point at the front of s.  Returns its length in octets (1 to 4), or
 * 0 when s is empty or does not start with well-formed UTF-8: overlong forms,
 * surrogates, values above U+10FFFF and cut sequences are not.
 */
size_t utf8_decode(struct slice s, uint32_t *code_r);

bool utf8_is_valid(struct slice s);
bool utf8_is_ascii(struct slice s); /* no octet above 0x7f; NUL passes */

/* C0, DEL and C1. */
bool utf8_is_control(uint32_t code);

/*
 * Code points that reorder, hide or blank the text around them: bidi controls,
 * zero-width and filler characters, line and paragraph separators, tags.
 * Nothing that a person compares by eye may hold one.
 */
bool utf8_is_deceptive(uint32_t code);

#endif
