/* SPDX-License-Identifier: ISC */
/*
 * Strict base64.  Secrets pass here, but only their owner chooses when: the
 * table lookup is not constant in time, which nothing relies on.
 * Runs in: every program.  Trusts: nothing about the bytes.
 */
#include <string.h>

#include "common/base64.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int
digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

int
base64_decoded_size(struct slice s, size_t *n_r)
{
	size_t n;

	if (s.n % 4 != 0)
		return -1;
	n = s.n / 4 * 3;
	if (s.n > 0 && s.p[s.n - 1] == '=')
		n -= s.p[s.n - 2] == '=' ? 2 : 1;
	*n_r = n;
	return 0;
}

int
base64_decode(struct slice s, void *out, size_t out_size, size_t *n_r)
{
	unsigned char *to = out;
	size_t size;
	size_t n = 0;

	if (base64_decoded_size(s, &size) == -1 || size > out_size)
		return -1;
	for (size_t i = 0; i < s.n; i += 4) {
		/* Octets that this group stands for: 3, but at the end. */
		size_t octets = size - n < 3 ? size - n : 3;
		uint32_t group = 0;

		for (size_t j = 0; j < 4; j++) {
			int value = j > octets ? 0 : digit_value(s.p[i + j]);

			if (value == -1)
				return -1;
			group = group << 6 | (uint32_t)value;
		}
		for (size_t j = 0; j < octets; j++)
			to[n++] = (unsigned char)(group >> (16 - 8 * j));
		if ((group & (0xffffffu >> (8 * octets))) != 0)
			return -1; /* a second spelling of the same octets */
	}
	*n_r = n;
	return 0;
}

int
base64_encode(const void *p, size_t n, char *out, size_t out_size)
{
	const unsigned char *from = p;
	size_t at = 0;

	if (out_size > 0)
		out[0] = '\0';
	if (n >= SIZE_MAX / 2 || BASE64_ENCODED_SIZE(n) >= out_size)
		return -1;
	for (size_t i = 0; i < n; i += 3) {
		size_t octets = n - i < 3 ? n - i : 3;
		uint32_t group = (uint32_t)from[i] << 16;

		if (octets > 1)
			group |= (uint32_t)from[i + 1] << 8;
		if (octets > 2)
			group |= from[i + 2];
		for (size_t j = 0; j < 4; j++)
			out[at++] = j > octets
					? '='
					: alphabet[group >> (18 - 6 * j) & 63];
	}
	out[at] = '\0';
	return 0;
}
