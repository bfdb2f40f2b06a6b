/* SPDX-License-Identifier: ISC */
/*
 * Makes outside text harmless and puts it into lines.
 * Runs in: postern-queued.  Trusts: nothing in the text.
 */
#include <string.h>

#include "common/utf8.h"
#include "relay/dsn_text.h"

#define QP_WIDTH 76 /* RFC 2045 §6.7 (5), the soft break included */
#define WRAP_WIDTH (QP_WIDTH - 1) /* so quoted-printable adds no breaks */
#define LINE_MAX_BYTES 998

void
dsn_add_line(struct buf *out, struct slice text, size_t max, bool with_utf8)
{
	size_t start = out->n;

	while (text.n > 0 && out->n - start < max) {
		uint32_t code = 0;
		size_t n = utf8_decode(text, &code);
		bool is_blank = n > 0 && (code == ' ' || utf8_is_control(code));

		if (n == 0 || (n > 1 && !is_blank &&
				  (!with_utf8 || utf8_is_deceptive(code))))
			(void)buf_add_char(out, '?');
		else if (!is_blank)
			(void)buf_add(out, text.p, n);
		else if (out->n > start && out->p[out->n - 1] != ' ')
			(void)buf_add_char(out, ' ');
		if (out->overflowed)
			return;
		text.p += n > 0 ? n : 1;
		text.n -= n > 0 ? n : 1;
	}
	if (text.n > 0)
		(void)buf_add_text(out, "...");
	else if (out->n > start && out->p[out->n - 1] == ' ')
		out->n--;
}

/* How much of s fits a line of that width: whole words, or one cut word. */
static size_t
fitting(struct slice s, size_t width)
{
	size_t n = width;

	if (s.n <= width)
		return s.n;
	while (n > 0 && s.p[n] != ' ')
		n--;
	if (n > 0)
		return n;
	/* Not inside a character of UTF-8. */
	n = width;
	while (n > 1 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void
dsn_add_wrapped(struct buf *out, const char *indent, struct slice words)
{
	size_t width = WRAP_WIDTH - strlen(indent);

	while (words.n > 0) {
		size_t n = fitting(words, width);

		(void)buf_add_text(out, indent);
		(void)buf_add(out, words.p, n);
		(void)buf_add_text(out, "\r\n");
		while (n < words.n && words.p[n] == ' ')
			n++;
		words.p += n;
		words.n -= n;
	}
}

void
dsn_add_quotation(
    struct buf *out, struct slice reply, size_t max, bool with_utf8)
{
	struct buf line;
	size_t left = max;

	buf_init(&line, max + 8);
	while (reply.n > 0 && left > 0) {
		size_t lf = slice_find(reply, '\n', 0);

		buf_reset(&line);
		dsn_add_line(
		    &line, (struct slice){reply.p, lf}, left, with_utf8);
		if (line.n > 0)
			dsn_add_wrapped(out, "  > ", buf_slice(&line));
		/* An empty line counts too, else they cost time for nothing. */
		left -= line.n + 1 < left ? line.n + 1 : left;
		lf = lf < reply.n ? lf + 1 : lf;
		reply.p += lf;
		reply.n -= lf;
	}
	if (reply.n > 0)
		(void)buf_add_text(out, "  > (cut here)\r\n");
	buf_clear(&line);
}

/* A blank may not end a line (RFC 2045 §6.7 (3)). */
static bool
is_qp_literal(struct slice text, size_t at)
{
	char c = text.p[at];

	if (c == ' ' || c == '\t')
		return at + 1 < text.n && text.p[at + 1] != '\r' &&
		       text.p[at + 1] != '\n';
	return c > ' ' && c <= '~' && c != '=';
}

void
dsn_add_quoted_printable(struct buf *out, struct slice text)
{
	size_t column = 0;

	for (size_t i = 0; i < text.n; i++) {
		bool is_literal = is_qp_literal(text, i);
		size_t width = is_literal ? 1 : 3;

		if (text.p[i] == '\r' && i + 1 < text.n &&
		    text.p[i + 1] == '\n') {
			(void)buf_add_text(out, "\r\n");
			column = 0;
			i++;
			continue;
		}
		if (column + width >= QP_WIDTH) {
			(void)buf_add_text(out, "=\r\n");
			column = 0;
		}
		if (is_literal)
			(void)buf_add_char(out, text.p[i]);
		else
			(void)buf_addf(out, "=%02X", (unsigned char)text.p[i]);
		column += width;
	}
}

struct dsn_shape
dsn_shape_of(struct slice text)
{
	struct dsn_shape shape = {false, false, false};
	size_t line_start = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		bool is_cr = c == '\r';

		if (c >= 0x80)
			shape.is_8bit = true;
		if (c == '\0' ||
		    (is_cr && (i + 1 == text.n || text.p[i + 1] != '\n')) ||
		    (c == '\n' && (i == 0 || text.p[i - 1] != '\r')))
			shape.is_binary = true;
		if (c == '\n')
			line_start = i + 1;
		else if (!is_cr && i - line_start >= LINE_MAX_BYTES)
			shape.is_long = true;
	}
	return shape;
}
