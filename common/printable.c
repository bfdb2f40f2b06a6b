/* SPDX-License-Identifier: ISC */
/*
 * Makes bytes from outside printable, so that nobody forges a log line, moves
 * a terminal's cursor or turns text around (CVE-2021-42574 and its kin).
 * Runs in: every program.  Trusts: nothing about the bytes.
 */
#include <stdio.h>
#include <string.h>

#include "common/printable.h"
#include "common/utf8.h"

/* \u{10ffff} and a NUL are the longest piece. */
#define PIECE_MAX 12

/* The form of the first character of s; returns how much of s it took. */
static size_t
next_piece(struct slice s, bool is_ascii_only, char piece[PIECE_MAX])
{
	uint32_t code = 0;
	size_t n = utf8_decode(s, &code);

	if (n == 0 || (n == 1 && utf8_is_control(code))) {
		(void)snprintf(
		    piece, PIECE_MAX, "\\x%02x", (unsigned char)s.p[0]);
		return 1;
	}
	if (n > 1 && (is_ascii_only || utf8_is_control(code) ||
			 utf8_is_deceptive(code))) {
		(void)snprintf(piece, PIECE_MAX, "\\u{%x}", (unsigned)code);
		return n;
	}
	memcpy(piece, s.p, n);
	piece[n] = '\0';
	return n;
}

static const char *
write_printable(struct slice s, bool is_ascii_only, char *out, size_t out_size)
{
	const char *ellipsis = is_ascii_only ? "..." : "\xe2\x80\xa6";
	size_t ellipsis_n = strlen(ellipsis);
	size_t n = 0;
	size_t cut_at = 0; /* the last end of a piece with room for "…" */
	char piece[PIECE_MAX];

	if (out_size == 0)
		return out;
	while (s.n > 0) {
		size_t took = next_piece(s, is_ascii_only, piece);
		size_t piece_n = strlen(piece);

		if (n + piece_n >= out_size) {
			n = cut_at;
			if (n + ellipsis_n < out_size) {
				memcpy(out + n, ellipsis, ellipsis_n);
				n += ellipsis_n;
			}
			break;
		}
		memcpy(out + n, piece, piece_n);
		n += piece_n;
		if (n + ellipsis_n < out_size)
			cut_at = n;
		s.p += took;
		s.n -= took;
	}
	out[n] = '\0';
	return out;
}

const char *
printable(struct slice s, char *out, size_t out_size)
{
	return write_printable(s, false, out, out_size);
}

const char *
printable_ascii(struct slice s, char *out, size_t out_size)
{
	return write_printable(s, true, out, out_size);
}
