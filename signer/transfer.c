/* SPDX-License-Identifier: ISC */
/*
 * Quoted-printable and base64, each as a filter before a sink.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <string.h>

#include "signer/transfer.h"

/* Octets that a filter holds before it works on them. */
#define HELD_MAX 4096
/* What has to be seen behind an octet to know what becomes of it: "From ". */
#define LOOKAHEAD 5
/* RFC 2045 §6.7 rule 5: 76 with the "=" of a soft line end. */
#define QP_LINE_MAX 75
/* Blanks at a line's end that are held back; real ones are a few. */
#define BLANKS_MAX 998

/* ---- quoted-printable, encoding ---- */

struct qp_encoder {
	struct sink out;
	unsigned char held[HELD_MAX];
	size_t held_n;
	char text[3 * HELD_MAX + 16];
	size_t text_n;
	size_t column;
	bool is_soft; /* this line began by a soft line end */
};

static void
qp_add(struct qp_encoder *q, const char *p, size_t n)
{
	memcpy(q->text + q->text_n, p, n);
	q->text_n += n;
	q->column += n;
}

static int
qp_flush(struct qp_encoder *q, struct err *err)
{
	size_t n = q->text_n;

	q->text_n = 0;
	return sink_write(&q->out, q->text, n, err);
}

/* The octet at p, of which n are there, must be written as =XX. */
static bool
qp_must_encode(const struct qp_encoder *q, const unsigned char *p, size_t n)
{
	if (*p == ' ' || *p == '\t')
		return n == 1 || (n >= 3 && p[1] == '\r' && p[2] == '\n');
	if (*p < 0x20 || *p > 0x7e || *p == '=')
		return true;
	if (q->column > 0)
		return false;
	/* No soft line end may make a delimiter. */
	if (*p == '-' && q->is_soft)
		return true;
	return n >= LOOKAHEAD && memcmp(p, "From ", LOOKAHEAD) == 0;
}

static void
qp_octet(struct qp_encoder *q, const unsigned char *p, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t cost = qp_must_encode(q, p, n) ? 3 : 1;

	if (q->column + cost > QP_LINE_MAX) {
		qp_add(q, "=\r\n", 3);
		q->column = 0;
		q->is_soft = true;
	}
	if (qp_must_encode(q, p, n)) {
		char code[3] = {'=', digits[*p >> 4], digits[*p & 15]};

		qp_add(q, code, 3);
	} else {
		qp_add(q, (const char *)p, 1);
	}
}

static int
qp_work(struct qp_encoder *q, bool is_end, struct err *err)
{
	size_t at = 0;

	while (at < q->held_n && (is_end || q->held_n - at >= LOOKAHEAD)) {
		const unsigned char *p = q->held + at;
		size_t n = q->held_n - at;

		if (q->text_n + 2 * 3 + 2 > sizeof(q->text) &&
		    qp_flush(q, err) == -1)
			return -1;
		if (n >= 2 && p[0] == '\r' && p[1] == '\n') {
			qp_add(q, "\r\n", 2);
			q->column = 0;
			q->is_soft = false;
			at += 2;
		} else {
			qp_octet(q, p, n);
			at++;
		}
	}
	q->held_n -= at;
	memmove(q->held, q->held + at, q->held_n);
	return qp_flush(q, err);
}

static int
qp_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct qp_encoder *q = arg;
	const unsigned char *in = p;

	while (n > 0) {
		size_t room = sizeof(q->held) - q->held_n;
		size_t piece = n < room ? n : room;

		memcpy(q->held + q->held_n, in, piece);
		q->held_n += piece;
		in += piece;
		n -= piece;
		if (qp_work(q, false, err) == -1)
			return -1;
	}
	return 0;
}

static void
qp_init(struct qp_encoder *q, struct sink out)
{
	q->out = out;
	q->held_n = 0;
	q->text_n = 0;
	q->column = 0;
	q->is_soft = false;
}

int
transfer_encode_qp(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err)
{
	struct qp_encoder q;
	struct sink in = {qp_write, &q};

	qp_init(&q, *sink);
	if (sink_range(&in, content, start, end, err) == -1)
		return -1;
	return qp_work(&q, true, err);
}

int
transfer_encode_base64(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err)
{
	struct base64_sink b;
	struct sink in = sink_of_base64(&b);

	base64_sink_init(&b, *sink);
	if (sink_range(&in, content, start, end, err) == -1)
		return -1;
	return base64_sink_finish(&b, err);
}

/* ---- quoted-printable, decoding ---- */

enum qp_state {
	QP_TEXT,
	QP_EQUALS,  /* "=" was read */
	QP_HIGH,    /* "=" and one digit */
	QP_PADDING, /* "=" and blanks: a soft line end, padded on its way */
	QP_SOFT_CR, /* "=", blanks perhaps, CR */
};

struct qp_decoder {
	struct sink out;
	enum qp_state state;
	unsigned char high; /* the first digit, as it was written */
	unsigned char blanks[BLANKS_MAX];
	size_t blank_n;
	unsigned char text[HELD_MAX];
	size_t text_n;
};

static int
digit_of(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int
qd_add(struct qp_decoder *d, const unsigned char *p, size_t n, struct err *err)
{
	if (d->text_n + n > sizeof(d->text)) {
		if (sink_write(&d->out, d->text, d->text_n, err) == -1)
			return -1;
		d->text_n = 0;
	}
	memcpy(d->text + d->text_n, p, n);
	d->text_n += n;
	return 0;
}

/* Blanks that turned out to stand within a line. */
static int
qd_keep_blanks(struct qp_decoder *d, struct err *err)
{
	size_t n = d->blank_n;

	d->blank_n = 0;
	return qd_add(d, d->blanks, n, err);
}

static int
qd_text(struct qp_decoder *d, unsigned char c, struct err *err)
{
	if (c == ' ' || c == '\t') {
		if (d->blank_n == BLANKS_MAX && qd_keep_blanks(d, err) == -1)
			return -1;
		d->blanks[d->blank_n++] = c;
		return 0;
	}
	/* Blanks at a line's end were added on the way (§6.7 rule 3). */
	if (c == '\r' || c == '\n')
		d->blank_n = 0;
	else if (qd_keep_blanks(d, err) == -1)
		return -1;
	if (c == '=') {
		d->state = QP_EQUALS;
		return 0;
	}
	return qd_add(d, &c, 1, err);
}

static int
qd_equals(struct qp_decoder *d, unsigned char c, struct err *err)
{
	if (digit_of(c) != -1) {
		d->high = c;
		d->state = QP_HIGH;
		return 0;
	}
	if (c == '\r') {
		d->state = QP_SOFT_CR;
		return 0;
	}
	if (c == ' ' || c == '\t') {
		d->state = QP_PADDING;
		return 0;
	}
	d->state = QP_TEXT;
	if (c == '\n')
		return 0;
	if (qd_add(d, (const unsigned char *)"=", 1, err) == -1)
		return -1;
	return qd_text(d, c, err);
}

static int
qd_high(struct qp_decoder *d, unsigned char c, struct err *err)
{
	unsigned char octet;

	d->state = QP_TEXT;
	if (digit_of(c) == -1) {
		unsigned char kept[2] = {'=', d->high};

		if (qd_add(d, kept, 2, err) == -1)
			return -1;
		return qd_text(d, c, err);
	}
	octet = (unsigned char)((unsigned)digit_of(d->high) << 4 |
				(unsigned)digit_of(c));
	return qd_add(d, &octet, 1, err);
}

static int
qd_octet(struct qp_decoder *d, unsigned char c, struct err *err)
{
	switch (d->state) {
	case QP_TEXT:
		return qd_text(d, c, err);
	case QP_EQUALS:
		return qd_equals(d, c, err);
	case QP_HIGH:
		return qd_high(d, c, err);
	case QP_PADDING:
		if (c == ' ' || c == '\t')
			return 0;
		if (c == '\r') {
			d->state = QP_SOFT_CR;
			return 0;
		}
		d->state = QP_TEXT;
		return c == '\n' ? 0 : qd_text(d, c, err);
	case QP_SOFT_CR:
		d->state = QP_TEXT;
		return c == '\n' ? 0 : qd_text(d, c, err);
	}
	return 0;
}

static int
qd_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct qp_decoder *d = arg;
	const unsigned char *in = p;

	for (size_t i = 0; i < n; i++)
		if (qd_octet(d, in[i], err) == -1)
			return -1;
	return 0;
}

static int
decode_qp(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err)
{
	struct qp_decoder d = {.out = *sink, .state = QP_TEXT};
	struct sink in = {qd_write, &d};

	if (sink_range(&in, content, start, end, err) == -1)
		return -1;
	if (d.state == QP_HIGH &&
	    (qd_add(&d, (const unsigned char *)"=", 1, err) == -1 ||
		qd_add(&d, &d.high, 1, err) == -1))
		return -1;
	return sink_write(&d.out, d.text, d.text_n, err);
}

/* ---- base64, decoding ---- */

struct base64_decoder {
	struct sink out;
	uint32_t bits;
	unsigned bit_count;
	unsigned char text[HELD_MAX];
	size_t text_n;
};

static int
base64_digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int
bd_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct base64_decoder *d = arg;
	const unsigned char *in = p;

	for (size_t i = 0; i < n; i++) {
		int digit = base64_digit(in[i]);

		if (in[i] == '=')
			d->bit_count = 0;
		if (digit == -1)
			continue;
		d->bits = d->bits << 6 | (uint32_t)digit;
		d->bit_count += 6;
		if (d->bit_count < 8)
			continue;
		d->bit_count -= 8;
		d->text[d->text_n++] =
		    (unsigned char)(d->bits >> d->bit_count & 0xff);
		if (d->text_n == sizeof(d->text)) {
			d->text_n = 0;
			if (sink_write(
				&d->out, d->text, sizeof(d->text), err) == -1)
				return -1;
		}
	}
	return 0;
}

static int
decode_base64(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err)
{
	struct base64_decoder d = {.out = *sink};
	struct sink in = {bd_write, &d};

	if (sink_range(&in, content, start, end, err) == -1)
		return -1;
	return sink_write(&d.out, d.text, d.text_n, err);
}

int
transfer_decode(const struct sink *sink, enum mime_encoding encoding,
    const struct content *content, uint64_t start, uint64_t end,
    struct err *err)
{
	if (encoding == MIME_ENCODING_QUOTED_PRINTABLE)
		return decode_qp(sink, content, start, end, err);
	if (encoding == MIME_ENCODING_BASE64)
		return decode_base64(sink, content, start, end, err);
	return sink_range(sink, content, start, end, err);
}

int
transfer_renew(const struct sink *sink, enum mime_encoding encoding,
    const struct content *content, uint64_t start, uint64_t end,
    struct err *err)
{
	struct qp_encoder q;
	struct base64_sink b;
	struct sink in = {qp_write, &q};

	if (encoding == MIME_ENCODING_QUOTED_PRINTABLE) {
		qp_init(&q, *sink);
		if (decode_qp(&in, content, start, end, err) == -1)
			return -1;
		return qp_work(&q, true, err);
	}
	base64_sink_init(&b, *sink);
	in = sink_of_base64(&b);
	if (transfer_decode(&in, encoding, content, start, end, err) == -1)
		return -1;
	return base64_sink_finish(&b, err);
}
