/* SPDX-License-Identifier: ISC */
/*
 * Writes and reads encoded words (RFC 2047).
 * Runs in: every program that writes or shows header fields.
 * Trusts: nothing in the text, in both directions.
 */
#include <stdint.h>
#include <string.h>

#include "common/base64.h"
#include "common/mime_word.h"
#include "common/utf8.h"

#define LINE_LENGTH_MAX 76 /* RFC 2047 §2, of a line with encoded words */

/* "=?UTF-8?Q?" and "?=". */
#define WORD_FRAME 12
#define PAYLOAD_MAX (MIME_WORD_LENGTH_MAX - WORD_FRAME)

/* With the blanks before it.  Longer ones would leave no place to fold. */
#define PLAIN_WORD_MAX 60

/* Limits of what is looked at as an encoded word: each try costs no more. */
#define CHARSET_LENGTH_MAX 40
#define ENCODED_LENGTH_MAX MIME_WORD_OCTETS_MAX

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/*
 * The next character of text as it may be shown: itself, a blank or U+FFFD.
 * Takes it off the front.
 */
static struct slice
next_shown(struct slice *text)
{
	uint32_t code = 0;
	size_t n = utf8_decode(*text, &code);
	struct slice shown = {text->p, n};

	if (n == 0 || utf8_is_deceptive(code))
		shown = SLICE(replacement);
	else if (utf8_is_control(code))
		shown = SLICE(" ");
	if (n == 0)
		n = 1;
	text->p += n;
	text->n -= n;
	return shown;
}

static bool
is_plain(struct slice text)
{
	size_t word = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c < ' ' || c > '~' ||
		    (c == '=' && i + 1 < text.n && text.p[i + 1] == '?'))
			return false;
		/* A fold may only stand before the first of some blanks. */
		word = c == ' ' && i > 0 && text.p[i - 1] != ' ' ? 1 : word + 1;
		if (word > PLAIN_WORD_MAX)
			return false;
	}
	return true;
}

/*
 * Folds before single blanks only: a line of blanks alone would end the header
 * for some readers.
 */
static void
add_plain(struct slice text, size_t column, struct buf *out)
{
	size_t at = 0;

	while (at < text.n) {
		size_t end = at;

		while (end < text.n && text.p[end] == ' ')
			end++;
		end = slice_find(text, ' ', end);
		if (at > 0 && column + (end - at) > LINE_LENGTH_MAX) {
			(void)buf_add_text(out, "\r\n");
			column = 0;
		}
		(void)buf_add(out, text.p + at, end - at);
		column += end - at;
		at = end;
	}
}

/* Bytes that a Q word may hold as they are, in a phrase too (RFC 2047 §5). */
static bool
is_q_safe(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == ' ';
}

static size_t
q_cost(struct slice s)
{
	size_t cost = 0;

	for (size_t i = 0; i < s.n; i++)
		cost += is_q_safe(s.p[i]) ? 1 : 3;
	return cost;
}

static void
add_q(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ' ')
			(void)buf_add_char(out, '_');
		else if (is_q_safe(s.p[i]))
			(void)buf_add_char(out, s.p[i]);
		else
			(void)buf_addf(out, "=%02X", (unsigned char)s.p[i]);
	}
}

static void
add_word(struct slice s, bool is_b, struct buf *out)
{
	char text[BASE64_ENCODED_SIZE(PAYLOAD_MAX) + 1];

	(void)buf_add_text(out, is_b ? "=?UTF-8?B?" : "=?UTF-8?Q?");
	if (!is_b)
		add_q(s, out);
	else if (base64_encode(s.p, s.n, text, sizeof(text)) == 0)
		(void)buf_add_text(out, text);
	(void)buf_add_text(out, "?=");
}

/*
 * Whole characters go into a word, since each word must decode by itself.
 * clean is valid UTF-8.
 */
static void
add_words(struct slice clean, size_t column, struct buf *out)
{
	bool is_b = BASE64_ENCODED_SIZE(clean.n) < q_cost(clean);
	char word[PAYLOAD_MAX];
	size_t word_n = 0;
	size_t room =
	    column + MIME_WORD_LENGTH_MAX <= LINE_LENGTH_MAX ? PAYLOAD_MAX : 0;

	if (room == 0 && column + WORD_FRAME + WORD_FRAME <= LINE_LENGTH_MAX)
		room = LINE_LENGTH_MAX - column - WORD_FRAME;
	while (clean.n > 0) {
		struct slice c = next_shown(&clean);
		struct slice grown = {word, word_n + c.n};
		size_t cost = 0;

		if (grown.n <= sizeof(word)) {
			memcpy(word + word_n, c.p, c.n);
			cost =
			    is_b ? BASE64_ENCODED_SIZE(grown.n) : q_cost(grown);
		}
		if (grown.n > sizeof(word) || cost > room) {
			if (word_n > 0)
				add_word(
				    (struct slice){word, word_n}, is_b, out);
			(void)buf_add_text(out, "\r\n ");
			room = PAYLOAD_MAX;
			memcpy(word, c.p, c.n);
			word_n = 0;
		}
		word_n += c.n;
	}
	if (word_n > 0)
		add_word((struct slice){word, word_n}, is_b, out);
}

/* -1 when out is full. */
static int
add_shown(struct slice text, struct buf *out)
{
	while (text.n > 0)
		if (buf_add_slice(out, next_shown(&text)) == -1)
			return -1;
	return 0;
}

int
mime_word_encode(struct slice text, size_t column, struct buf *out)
{
	struct buf clean;

	/* A byte becomes three at the most, by U+FFFD. */
	buf_init(&clean, text.n * 3);
	(void)add_shown(slice_trim(text), &clean);
	if (is_plain(buf_slice(&clean)))
		add_plain(buf_slice(&clean), column, out);
	else
		add_words(buf_slice(&clean), column, out);
	buf_clear(&clean);
	return out->overflowed ? -1 : 0;
}

enum charset {
	CHARSET_UNKNOWN,
	CHARSET_UTF8, /* and US-ASCII */
	CHARSET_LATIN1,
};

static const struct charset_name {
	const char *name;
	enum charset charset;
} charset_names[] = {
    {"utf-8", CHARSET_UTF8},
    {"utf8", CHARSET_UTF8},
    {"us-ascii", CHARSET_UTF8},
    {"iso-8859-1", CHARSET_LATIN1},
    {"windows-1252", CHARSET_LATIN1},
};

/*
 * Windows-1252 in 0x80 to 0x9f.  Those are controls in ISO-8859-1, which no
 * mail means; so both names are read this way (as browsers do).
 */
static const uint16_t windows_1252[32] = {
    0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, /* 80 */
    0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, /* 88 */
    0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, /* 90 */
    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178, /* 98 */
};

/* "utf-8*en" names a language too (RFC 2231 §5). */
static enum charset
charset_of(struct slice name)
{
	name.n = slice_find(name, '*', 0);
	for (size_t i = 0; i < sizeof(charset_names) / sizeof(charset_names[0]);
	     i++)
		if (slice_equals_nocase(name, slice_of(charset_names[i].name)))
			return charset_names[i].charset;
	return CHARSET_UNKNOWN;
}

static void
add_latin1(unsigned char c, struct buf *out)
{
	uint32_t code = c >= 0x80 && c < 0xa0 ? windows_1252[c - 0x80] : c;

	if (code >= 0x800)
		(void)buf_add_char(out, (char)(0xe0 | code >> 12));
	if (code >= 0x800)
		(void)buf_add_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
	else if (code >= 0x80)
		(void)buf_add_char(out, (char)(0xc0 | code >> 6));
	(void)buf_add_char(
	    out, code < 0x80 ? (char)code : (char)(0x80 | (code & 0x3f)));
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static size_t
decode_q(struct slice s, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
		int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;

		if (s.p[i] == '=' && high != -1 && low != -1) {
			out[n++] = (char)(high << 4 | low);
			i += 2;
		} else {
			out[n++] = s.p[i] == '_' ? ' ' : s.p[i];
		}
	}
	return n;
}

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * Tolerant, unlike base64_decode(): mail programs decode what lacks its
 * padding too, and we want to see what they show.
 */
static size_t
decode_b(struct slice s, char *out)
{
	uint32_t bits = 0;
	unsigned bit_count = 0;
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int digit = base64_digit(s.p[i]);

		if (digit == -1)
			continue;
		bits = bits << 6 | (uint32_t)digit;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			out[n++] = (char)(bits >> bit_count & 0xff);
		}
	}
	return n;
}

/* The pieces of "=?charset?encoding?text?=". */
struct word {
	struct slice charset;
	char encoding; /* 'q' or 'b' */
	struct slice text;
	size_t n; /* of the whole */
};

static struct slice
sub(struct slice s, size_t from, size_t n_max)
{
	struct slice part = {s.p + from, s.n - from};

	if (part.n > n_max)
		part.n = n_max;
	return part;
}

/* Looks for an encoded word at the front of s, in bounded time. */
static bool
word_parse(struct slice s, struct word *word_r)
{
	struct word w;
	struct slice rest;

	if (s.n < 8 || memcmp(s.p, "=?", 2) != 0)
		return false;
	w.charset = sub(s, 2, CHARSET_LENGTH_MAX);
	w.charset.n = slice_find(w.charset, '?', 0);
	if (w.charset.n == 0 || 2 + w.charset.n + 3 > s.n)
		return false;
	rest = sub(s, 2 + w.charset.n, 3 + ENCODED_LENGTH_MAX + 2);
	if (rest.n < 5 || rest.p[0] != '?' || rest.p[2] != '?')
		return false;
	w.encoding = (char)(rest.p[1] | 0x20);
	if (w.encoding != 'q' && w.encoding != 'b')
		return false;
	w.text = sub(rest, 3, ENCODED_LENGTH_MAX);
	w.text.n = slice_find(rest, '?', 3) - 3;
	if (3 + w.text.n + 2 > rest.n || rest.p[3 + w.text.n + 1] != '=')
		return false;
	w.n = 2 + w.charset.n + 3 + w.text.n + 2;
	*word_r = w;
	return true;
}

static bool
hides_control(const char *p, size_t n)
{
	return memchr(p, '\0', n) != NULL || memchr(p, '\r', n) != NULL ||
	       memchr(p, '\n', n) != NULL;
}

/*
 * Of a charset that is not known: ASCII stands for itself in all that mail is
 * written in, but for the shifts between those of ISO 2022.
 */
static void
add_ascii(const char *bytes, size_t n, struct buf *raw)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)bytes[i];

		if (c >= 0x80) {
			(void)buf_add_text(raw, replacement);
		} else if (c == 0x1b) {
			while (i + 1 < n && bytes[i + 1] >= ' ' &&
			       bytes[i + 1] <= '/')
				i++;
			i++;
		} else {
			(void)buf_add_char(raw, (char)c);
		}
	}
}

/* Appends the decoded word.  False: its charset is not known to us. */
static bool
add_decoded(
    const struct word *w, bool is_any, struct buf *raw, bool *has_control_r)
{
	char bytes[ENCODED_LENGTH_MAX];
	size_t n = w->encoding == 'q' ? decode_q(w->text, bytes)
				      : decode_b(w->text, bytes);

	if (hides_control(bytes, n))
		*has_control_r = true;
	switch (charset_of(w->charset)) {
	case CHARSET_UTF8:
		(void)buf_add(raw, bytes, n);
		return true;
	case CHARSET_LATIN1:
		for (size_t i = 0; i < n; i++)
			add_latin1((unsigned char)bytes[i], raw);
		return true;
	default:
		if (is_any)
			add_ascii(bytes, n, raw);
		return is_any;
	}
}

static bool
is_fold_byte(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Folds and encoded words undone; of any charset, or of those we know. */
static void
decode_words(
    struct slice value, bool is_any, struct buf *raw, bool *has_control_r)
{
	size_t word_end = 0; /* in raw; blanks from here may fall away */
	bool is_after_word = false;
	struct word w;

	for (size_t at = 0; at < value.n;) {
		char c = value.p[at];
		size_t n = raw->n;

		if (c == '=' && word_parse(sub(value, at, SIZE_MAX), &w)) {
			/* Blanks between two words go (RFC 2047 §6.2). */
			if (is_after_word)
				raw->n = word_end;
			if (add_decoded(&w, is_any, raw, has_control_r)) {
				is_after_word = true;
				word_end = raw->n;
			} else {
				raw->n = n;
				(void)buf_add(raw, value.p + at, w.n);
				is_after_word = false;
			}
			at += w.n;
			continue;
		}
		if (!is_fold_byte(c))
			is_after_word = false;
		if (c != '\r' && c != '\n')
			(void)buf_add_char(raw, c);
		at++;
	}
}

int
mime_word_decode(struct slice value, struct buf *out, bool *has_control_r)
{
	struct buf raw;
	bool has_control = false;
	int rc;

	/* An octet of Latin-1 becomes three at the most. */
	buf_init(&raw, value.n * 3);
	decode_words(value, false, &raw, &has_control);
	rc = add_shown(slice_trim(buf_slice(&raw)), out);
	buf_clear(&raw);
	if (has_control_r != NULL)
		*has_control_r = has_control;
	return rc;
}

/* Some characters choose the form of the one before. */
static bool
is_seen(uint32_t code)
{
	return !utf8_is_control(code) && !utf8_is_deceptive(code) &&
	       (code < 0xfe00 || code > 0xfe0f);
}

int
mime_word_read(struct slice value, struct buf *out)
{
	bool has_control = false;
	struct buf raw;
	struct slice rest;

	buf_init(&raw, value.n * 3);
	decode_words(value, true, &raw, &has_control);
	rest = slice_trim(buf_slice(&raw));
	while (rest.n > 0 && !out->overflowed) {
		uint32_t code = 0;
		size_t n = utf8_decode(rest, &code);

		if (n == 0)
			(void)buf_add_text(out, replacement);
		else if (code == '\t' || is_seen(code))
			(void)buf_add(out, rest.p, n);
		n += n == 0;
		rest.p += n;
		rest.n -= n;
	}
	buf_clear(&raw);
	return out->overflowed ? -1 : 0;
}

bool
mime_word_foreign(struct slice value, struct mime_word_octets *word_r)
{
	struct word w;

	if (!word_parse(value, &w) || charset_of(w.charset) != CHARSET_UNKNOWN)
		return false;
	word_r->charset = w.charset;
	word_r->size = w.n;
	word_r->count = w.encoding == 'q' ? decode_q(w.text, word_r->octets)
					  : decode_b(w.text, word_r->octets);
	return true;
}
