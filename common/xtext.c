/* SPDX-License-Identifier: ISC */
/*
 * Encodes and decodes xtext.
 * Runs in: every program.  Trusts: nothing about the bytes.
 */
#include <string.h>

#include "common/xtext.h"

static const char hex_digits[] = "0123456789ABCDEF";

static bool
is_plain(unsigned char c)
{
	return c >= 33 && c <= 126 && c != '+' && c != '=';
}

/* RFC 3461 knows upper case only: -1 for anything else. */
static int
hex_value(char c)
{
	const char *at = c != '\0' ? strchr(hex_digits, c) : NULL;

	return at == NULL ? -1 : (int)(at - hex_digits);
}

/* The octet at s.p[*at], which moves on; -1 when it is not xtext. */
static int
next_octet(struct slice s, size_t *at)
{
	unsigned char c = (unsigned char)s.p[*at];
	int high;
	int low;

	if (is_plain(c)) {
		*at += 1;
		return c;
	}
	if (c != '+' || s.n - *at < 3)
		return -1;
	high = hex_value(s.p[*at + 1]);
	low = hex_value(s.p[*at + 2]);
	if (high == -1 || low == -1)
		return -1;
	*at += 3;
	return high * 16 + low;
}

bool
xtext_is_valid(struct slice s)
{
	for (size_t at = 0; at < s.n;)
		if (next_octet(s, &at) == -1)
			return false;
	return true;
}

int
xtext_decode(struct slice s, char *out, size_t out_size, size_t *n_r)
{
	size_t n = 0;

	for (size_t at = 0; at < s.n;) {
		int octet = next_octet(s, &at);

		if (octet == -1 || n == out_size)
			return -1;
		out[n++] = (char)octet;
	}
	*n_r = n;
	return 0;
}

int
xtext_encode(struct slice s, char *out, size_t out_size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		size_t need = is_plain(c) ? 1 : 3;

		if (n + need >= out_size)
			return -1;
		if (need == 3) {
			out[n++] = '+';
			out[n++] = hex_digits[c >> 4];
			out[n++] = hex_digits[c & 15];
		} else {
			out[n++] = (char)c;
		}
	}
	if (n >= out_size)
		return -1;
	out[n] = '\0';
	return 0;
}
