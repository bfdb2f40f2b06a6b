/* SPDX-License-Identifier: ISC */
/*
 * ASCII armor, read strictly in one pass and written.
 * Runs in: postern-signerd's workers.  Trusts: nothing of the text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "signer/pgp_armor.h"

/* RFC 9580 §6.1.1. */
#define CRC24_START 0xB704CEu
#define CRC24_POLYNOMIAL 0x864CFBu

/* Octets on a line: 48 become 64 characters, as GnuPG does. */
#define LINE_OCTETS 48

/* RFC 2045's limit, and far over the 76 of armor; longer is not armor. */
#define LINE_MAX_OCTETS 998

static const char begin[] = "-----BEGIN PGP ";
static const char end[] = "-----END PGP ";
static const char dashes[] = "-----";

static const char *const kind_names[PGP_ARMOR_KIND_COUNT] = {
    [PGP_ARMOR_MESSAGE] = "MESSAGE",
    [PGP_ARMOR_SIGNATURE] = "SIGNATURE",
    [PGP_ARMOR_PUBLIC_KEY] = "PUBLIC KEY BLOCK",
    [PGP_ARMOR_PRIVATE_KEY] = "PRIVATE KEY BLOCK",
};

static uint32_t
crc24(struct slice s)
{
	uint32_t crc = CRC24_START;

	for (size_t i = 0; i < s.n; i++) {
		crc ^= (uint32_t)(unsigned char)s.p[i] << 16;
		for (int bit = 0; bit < 8; bit++) {
			crc <<= 1;
			if ((crc & 0x1000000u) != 0)
				crc ^= 0x1000000u | CRC24_POLYNOMIAL;
		}
	}
	return crc;
}

/* ---- writing ---- */

static int
write_line(struct slice octets, struct buf *out)
{
	char text[BASE64_ENCODED_SIZE(LINE_OCTETS) + 1];

	if (base64_encode(octets.p, octets.n, text, sizeof(text)) == -1)
		bug("a line of armor is too long");
	return buf_addf(out, "%s\r\n", text);
}

int
pgp_armor_write(enum pgp_armor_kind kind, struct slice binary, struct buf *out)
{
	const char *name = kind_names[kind];
	const uint32_t crc = crc24(binary);
	const char sum[3] = {
	    (char)(crc >> 16), (char)(crc >> 8 & 0xff), (char)(crc & 0xff)};
	char sum_text[5];

	(void)buf_addf(out, "%s%s%s\r\n\r\n", begin, name, dashes);
	for (size_t at = 0; at < binary.n; at += LINE_OCTETS) {
		size_t n = binary.n - at;

		(void)write_line((struct slice){binary.p + at,
				     n < LINE_OCTETS ? n : LINE_OCTETS},
		    out);
	}
	(void)base64_encode(sum, sizeof(sum), sum_text, sizeof(sum_text));
	(void)buf_addf(out, "=%s\r\n%s%s%s\r\n", sum_text, end, name, dashes);
	return out->overflowed ? -1 : 0;
}

/* ---- reading ---- */

static bool
next_line(struct slice *text, struct slice *line_r)
{
	size_t n;

	if (text->n == 0)
		return false;
	n = slice_find(*text, '\n', 0);
	*line_r = (struct slice){text->p, n};
	if (n < text->n)
		n++;
	text->p += n;
	text->n -= n;
	/* Blanks behind a line do not count (RFC 9580 §6.2). */
	while (
	    line_r->n > 0 && strchr(" \t\r", line_r->p[line_r->n - 1]) != NULL)
		line_r->n--;
	return true;
}

static bool
starts(struct slice line, const char *word)
{
	return line.n >= strlen(word) &&
	       memcmp(line.p, word, strlen(word)) == 0;
}

bool
pgp_armor_is(struct slice text)
{
	struct slice line = {NULL, 0};

	while (next_line(&text, &line))
		if (starts(line, begin))
			return true;
	return false;
}

/* What stands between the marker and its last dashes. */
static enum pgp_armor_kind
kind_of(struct slice line, const char *marker)
{
	for (int kind = 0; kind < PGP_ARMOR_KIND_COUNT; kind++) {
		char whole[64];

		(void)snprintf(whole, sizeof(whole), "%s%s%s", marker,
		    kind_names[kind], dashes);
		if (slice_equals(line, slice_of(whole)))
			return (enum pgp_armor_kind)kind;
	}
	return PGP_ARMOR_KIND_COUNT;
}

/* Armor headers, such as "Version: ..." or "Hash: ...", up to a blank line. */
static int
skip_headers(struct slice *text, struct err *err)
{
	struct slice line = {NULL, 0};

	while (next_line(text, &line)) {
		if (line.n == 0)
			return 0;
		if (slice_find(line, ':', 0) == line.n)
			return err_set(err, "armor: a header is damaged");
	}
	return err_set(err, "armor: it ends in its headers");
}

static int
check_sum(struct slice line, struct slice octets, struct err *err)
{
	unsigned char sum[3];
	size_t n;

	line.p++;
	line.n--;
	if (base64_decode(line, sum, sizeof(sum), &n) == -1 || n != 3 ||
	    ((uint32_t)sum[0] << 16 | (uint32_t)sum[1] << 8 | sum[2]) !=
		(crc24(octets) & 0xffffffu))
		return err_set(err, "armor: its checksum is wrong");
	return 0;
}

/* The body: base64 of one piece, whatever the lines are cut at. */
static int
read_body(struct slice *text, enum pgp_armor_kind kind, struct buf *out,
    struct err *err)
{
	struct buf digits;
	struct slice line = {NULL, 0};
	struct slice sum = {NULL, 0};
	size_t start = out->n;
	size_t n;
	char *room;
	int rc = -1;

	buf_init(&digits, text->n);
	while (next_line(text, &line) && !starts(line, dashes)) {
		if (line.n > LINE_MAX_OCTETS || sum.p != NULL) {
			(void)err_set(err, "armor: a line is damaged");
			goto out;
		}
		if (starts(line, "="))
			sum = line;
		else
			(void)buf_add_slice(&digits, line);
	}
	if (kind_of(line, end) != kind) {
		(void)err_set(err, "armor: it has no end");
		goto out;
	}
	room = buf_reserve(out, BASE64_DECODED_MAX(digits.n) + 3);
	if (room == NULL) {
		(void)err_set(err, "armor: it is too large");
		goto out;
	}
	if (digits.n == 0 || base64_decode(buf_slice(&digits), room,
				 digits.n / 4 * 3, &n) == -1) {
		(void)err_set(err, "armor: what it holds is not base64");
		goto out;
	}
	buf_extend(out, n);
	rc = sum.p == NULL
		 ? 0
		 : check_sum(sum, (struct slice){out->p + start, n}, err);
	if (rc == -1)
		out->n = start;
out:
	buf_clear(&digits);
	return rc;
}

int
pgp_armor_read(struct slice text, enum pgp_armor_kind *kind_r, struct buf *out,
    struct slice *rest_r, struct err *err)
{
	enum pgp_armor_kind kind;
	struct slice line = {NULL, 0};

	do {
		if (!next_line(&text, &line))
			return err_set(err, "armor: there is none");
	} while (!starts(line, begin));
	if ((kind = kind_of(line, begin)) == PGP_ARMOR_KIND_COUNT)
		return err_set(err, "armor: it is of a kind not taken here");
	if (skip_headers(&text, err) == -1 ||
	    read_body(&text, kind, out, err) == -1)
		return -1;
	if (rest_r == NULL && pgp_armor_is(text))
		return err_set(err, "armor: there are two of them");
	if (rest_r != NULL)
		*rest_r = text;
	*kind_r = kind;
	return 0;
}
