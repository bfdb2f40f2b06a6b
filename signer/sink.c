/* SPDX-License-Identifier: ISC */
/*
 * Octets on their way from one step to the next.
 * Runs in: postern-signerd's workers.  Trusts: nothing; passes octets on.
 */
#include <string.h>

#include <openssl/evp.h>

#include "signer/sink.h"

/* A file is copied in pieces of this size. */
#define COPY_OCTETS 65536

/* RFC 2045 §6.8: 57 octets become a line of 76. */
#define BASE64_LINE_OCTETS ((int)sizeof(((struct base64_sink *)0)->rest))
#define BASE64_LINE_TEXT 76
/* Lines that are encoded before they are handed on. */
#define BASE64_LINES 32

static int
write_writer(void *arg, const void *p, size_t n, struct err *err)
{
	struct content_writer *writer = arg;

	if (content_write(writer, p, n) == -1)
		return err_set(err, "%s", writer->err.text);
	return 0;
}

struct sink
sink_of_writer(struct content_writer *writer)
{
	return (struct sink){write_writer, writer};
}

static int
write_buf(void *arg, const void *p, size_t n, struct err *err)
{
	if (buf_add(arg, p, n) == -1)
		return err_set(err, "more octets than there is room for");
	return 0;
}

struct sink
sink_of_buf(struct buf *b)
{
	return (struct sink){write_buf, b};
}

int
sink_write(const struct sink *sink, const void *p, size_t n, struct err *err)
{
	return n == 0 ? 0 : sink->write(sink->arg, p, n, err);
}

int
sink_slice(const struct sink *sink, struct slice s, struct err *err)
{
	return sink_write(sink, s.p, s.n, err);
}

int
sink_text(const struct sink *sink, const char *text, struct err *err)
{
	return sink_write(sink, text, strlen(text), err);
}

int
sink_range(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err)
{
	char piece[COPY_OCTETS];

	if (end > content->size || start > end)
		return err_set(err, "a part lies outside of its message");
	if (start == end)
		return 0;
	if (content->fd == -1)
		return sink_write(sink, content->memory.p + start,
		    (size_t)(end - start), err);
	while (start < end) {
		uint64_t left = end - start;
		size_t n = left < sizeof(piece) ? (size_t)left : sizeof(piece);

		if (content_read(content, start, piece, n) != (ssize_t)n)
			return err_set(err, "cannot read a content");
		if (sink_write(sink, piece, n, err) == -1)
			return -1;
		start += n;
	}
	return 0;
}

/* ---- base64 ---- */

void
base64_sink_init(struct base64_sink *b, struct sink out)
{
	b->out = out;
	b->rest_n = 0;
}

/* Up to BASE64_LINES lines; only the last may be short. */
static int
write_lines(
    struct base64_sink *b, const unsigned char *p, size_t n, struct err *err)
{
	char text[BASE64_LINES * (BASE64_LINE_TEXT + 2) + 1];
	size_t text_n = 0;

	while (n > 0) {
		int line = n < (size_t)BASE64_LINE_OCTETS ? (int)n
							  : BASE64_LINE_OCTETS;

		text_n += (size_t)EVP_EncodeBlock(
		    (unsigned char *)text + text_n, p, line);
		memcpy(text + text_n, "\r\n", 2);
		text_n += 2;
		p += line;
		n -= (size_t)line;
	}
	return sink_write(&b->out, text, text_n, err);
}

static int
write_base64(void *arg, const void *p, size_t n, struct err *err)
{
	const size_t block =
	    (size_t)BASE64_LINES * sizeof(((struct base64_sink *)0)->rest);
	struct base64_sink *b = arg;
	const unsigned char *in = p;

	if (b->rest_n > 0) {
		size_t room = sizeof(b->rest) - b->rest_n;
		size_t piece = n < room ? n : room;

		memcpy(b->rest + b->rest_n, in, piece);
		b->rest_n += piece;
		in += piece;
		n -= piece;
		if (b->rest_n < sizeof(b->rest))
			return 0;
		if (write_lines(b, b->rest, b->rest_n, err) == -1)
			return -1;
		b->rest_n = 0;
	}
	while (n >= sizeof(b->rest)) {
		size_t whole = n - n % sizeof(b->rest);
		size_t piece = whole < block ? whole : block;

		if (write_lines(b, in, piece, err) == -1)
			return -1;
		in += piece;
		n -= piece;
	}
	memcpy(b->rest, in, n);
	b->rest_n = n;
	return 0;
}

struct sink
sink_of_base64(struct base64_sink *b)
{
	return (struct sink){write_base64, b};
}

int
base64_sink_finish(struct base64_sink *b, struct err *err)
{
	size_t n = b->rest_n;

	b->rest_n = 0;
	return n == 0 ? 0 : write_lines(b, b->rest, n, err);
}
