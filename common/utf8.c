/* SPDX-License-Identifier: ISC */
/*
 * Decodes UTF-8 strictly and knows the code points that deceive.
 * Runs in: every program.  Trusts: nothing about the bytes.
 */
#include <string.h>

#include "common/utf8.h"

struct code_range {
	uint32_t first;
	uint32_t last;
};

/* Ascending. */
static const struct code_range deceptive[] = {
    {0x00ad, 0x00ad},   /* soft hyphen */
    {0x034f, 0x034f},   /* combining grapheme joiner */
    {0x061c, 0x061c},   /* Arabic letter mark */
    {0x115f, 0x1160},   /* Hangul fillers */
    {0x17b4, 0x17b5},   /* Khmer inherent vowels */
    {0x180b, 0x180f},   /* Mongolian selectors and vowel separator */
    {0x200b, 0x200f},   /* zero width, left-to-right and right-to-left mark */
    {0x2028, 0x202e},   /* separators, embeddings and overrides */
    {0x2060, 0x206f},   /* word joiner, isolates, shaping */
    {0x3164, 0x3164},   /* Hangul filler */
    {0xfeff, 0xfeff},   /* byte order mark */
    {0xffa0, 0xffa0},   /* half-width Hangul filler */
    {0xfff9, 0xfffb},   /* interlinear annotation */
    {0xe0000, 0xe0fff}, /* tags and other default ignorables */
};

bool
utf8_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

bool
utf8_is_deceptive(uint32_t code)
{
	for (size_t i = 0; i < sizeof(deceptive) / sizeof(deceptive[0]); i++) {
		if (code < deceptive[i].first)
			return false;
		if (code <= deceptive[i].last)
			return true;
	}
	return false;
}

size_t
utf8_decode(struct slice s, uint32_t *code_r)
{
	/* The least value that needs so many octets; less is overlong. */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t n;
	unsigned char first;

	if (s.n == 0)
		return 0;
	first = (unsigned char)s.p[0];
	if (first < 0x80) {
		*code_r = first;
		return 1;
	}
	if (first >= 0xc2 && first <= 0xdf)
		n = 2;
	else if (first >= 0xe0 && first <= 0xef)
		n = 3;
	else if (first >= 0xf0 && first <= 0xf4)
		n = 4;
	else
		return 0;
	if (s.n < n)
		return 0;
	code = first & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char next = (unsigned char)s.p[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (next & 0x3fu);
	}
	if (code < least[n] || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*code_r = code;
	return n;
}

bool
utf8_is_valid(struct slice s)
{
	uint32_t code;

	while (s.n > 0) {
		size_t n = utf8_decode(s, &code);

		if (n == 0)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

bool
utf8_is_ascii(struct slice s)
{
	size_t i = 0;

	/* Eight octets at a time: this also runs over whole mails. */
	for (; s.n - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, s.p + i, sizeof(word));
		if ((word & UINT64_C(0x8080808080808080)) != 0)
			return false;
	}
	for (; i < s.n; i++)
		if (((unsigned char)s.p[i] & 0x80) != 0)
			return false;
	return true;
}
