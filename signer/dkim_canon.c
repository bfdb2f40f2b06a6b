/* SPDX-License-Identifier: ISC */
/*
 * DKIM's relaxed canonical forms.
 * Runs in: postern-signerd's workers.  Trusts: nothing of the message.
 */
#include <string.h>

#include "signer/dkim_canon.h"

/* ---- finding what must change ---- */

#define ONES 0x0101010101010101ull
#define LOWS 0x7f7f7f7f7f7f7f7full

static uint64_t
load(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* The high bit of each octet that is c. */
static uint64_t
octets_equal(uint64_t word, unsigned char c)
{
	uint64_t differs = word ^ (ONES * c);

	return ~(((differs & LOWS) + LOWS) | differs | LOWS);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * The first octet that is not its own canonical form: a tab, or a space with
 * a blank or a line's end behind it.  Also the last octet, since what follows
 * it is not known.  Eight at a time, as this is where the time goes.
 */
static size_t
find_change(struct slice s, size_t from)
{
	size_t at = from;

	for (; at + 9 <= s.n; at += 8) {
		uint64_t these = load(s.p + at);
		uint64_t next = load(s.p + at + 1);
		uint64_t spaces = octets_equal(these, ' ');
		uint64_t tabs = octets_equal(these, '\t');
		uint64_t ends = octets_equal(next, ' ') |
				octets_equal(next, '\t') |
				octets_equal(next, '\r');

		if ((tabs | (spaces & ends)) != 0)
			break;
	}
	for (; at + 1 < s.n; at++)
		if (s.p[at] == '\t' ||
		    (s.p[at] == ' ' &&
			(is_blank(s.p[at + 1]) || s.p[at + 1] == '\r')))
			return at;
	return at;
}

/* ---- the body ---- */

static void
digest(struct dkim_body *body, const void *p, size_t n)
{
	if (n > 0 && EVP_DigestUpdate(body->digest, p, n) != 1)
		body->has_failed = true;
}

/* More follows, so the lines that seemed to be the last ones count. */
static void
digest_line_ends(struct dkim_body *body)
{
	static const char lines[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
	const uint64_t most = (sizeof(lines) - 1) / 2;

	while (body->line_ends > 0) {
		uint64_t count =
		    body->line_ends < most ? body->line_ends : most;

		digest(body, lines, (size_t)count * 2);
		body->line_ends -= count;
	}
}

/* Canonical octets, but for line ends at their end, which are counted. */
static void
put(struct dkim_body *body, const char *p, size_t n)
{
	uint64_t lines = 0;

	while (n >= 2 && p[n - 2] == '\r' && p[n - 1] == '\n') {
		n -= 2;
		lines++;
	}
	if (n > 0) {
		digest_line_ends(body);
		digest(body, p, n);
		body->has_text = true;
	}
	body->line_ends += lines;
}

/* A CR that was held back, by what follows it. */
static void
settle_cr(struct dkim_body *body, struct slice *piece)
{
	body->has_cr = false;
	if (piece->n > 0 && piece->p[0] == '\n') {
		piece->p++;
		piece->n--;
		body->has_blank = false;
		put(body, "\r\n", 2);
		return;
	}
	if (body->has_blank)
		put(body, " ", 1);
	body->has_blank = false;
	put(body, "\r", 1);
}

/* Blanks at the beginning of what is left. */
static void
skip_blanks(struct dkim_body *body, struct slice *piece)
{
	while (piece->n > 0 && is_blank(piece->p[0])) {
		body->has_blank = true;
		piece->p++;
		piece->n--;
	}
	if (piece->n == 0 || !body->has_blank || piece->p[0] == '\r')
		return;
	put(body, " ", 1);
	body->has_blank = false;
}

void
dkim_body_init(struct dkim_body *body, EVP_MD_CTX *digest_context)
{
	*body = (struct dkim_body){.digest = digest_context};
}

void
dkim_body_feed(struct dkim_body *body, struct slice piece)
{
	while (piece.n > 0) {
		size_t end;

		if (body->has_cr)
			settle_cr(body, &piece);
		skip_blanks(body, &piece);
		if (piece.n == 0)
			return;
		if (piece.p[0] == '\r' && (body->has_blank || piece.n == 1)) {
			body->has_cr = true;
			piece.p++;
			piece.n--;
			continue;
		}
		end = find_change(piece, 0);
		/* The last octet of a piece is settled by itself. */
		if (end + 1 == piece.n && piece.p[end] != '\r' &&
		    !is_blank(piece.p[end]))
			end++;
		put(body, piece.p, end);
		piece.p += end;
		piece.n -= end;
	}
}

int
dkim_body_finish(struct dkim_body *body)
{
	if (body->has_cr) {
		struct slice nothing = {NULL, 0};

		settle_cr(body, &nothing);
	}
	/* Blanks at the end were those of a last line without CR LF. */
	if (body->has_text)
		digest(body, "\r\n", 2);
	return body->has_failed ? -1 : 0;
}

/* ---- fields ---- */

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void
dkim_canon_field(struct slice name, struct slice value, struct buf *out)
{
	char *start = buf_reserve(out, name.n + value.n + 3);
	char *to = start;
	bool has_blank = false;
	size_t written = 0;

	if (start == NULL)
		return; /* out->overflowed says so */
	for (size_t i = 0; i < name.n; i++)
		*to++ = lower(name.p[i]);
	*to++ = ':';
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];

		if (c == '\r' && i + 1 < value.n && value.p[i + 1] == '\n') {
			i++;
			continue;
		}
		if (is_blank(c)) {
			has_blank = true;
			continue;
		}
		if (has_blank && written > 0)
			*to++ = ' ';
		has_blank = false;
		*to++ = c;
		written++;
	}
	*to++ = '\r';
	*to++ = '\n';
	buf_extend(out, (size_t)(to - start));
}
