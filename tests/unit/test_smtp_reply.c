/* SPDX-License-Identifier: ISC */
/*
 * Replies: reading those of servers in any pieces, writing our own.
 */
#include <stdlib.h>
#include <string.h>

#include "common/smtp_reply.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *label;
	const char *wire;
	enum parse_result result;
	size_t rest; /* octets left after the reply */
	unsigned code;
	const char *enhanced;
	const char *text;
} rows[] = {
    {"one line", "220 mx.example ESMTP\r\n", PARSE_OK, 0, 220, "",
	"mx.example ESMTP\n"},
    {"two lines", "250-mx.example\r\n250 SIZE 1000\r\n", PARSE_OK, 0, 250, "",
	"mx.example\nSIZE 1000\n"},
    {"the code alone", "250\r\n", PARSE_OK, 0, 250, "", "\n"},
    {"code and blank", "250 \r\n", PARSE_OK, 0, 250, "", "\n"},
    {"an empty line in the middle", "250-a\r\n250-\r\n250 b\r\n", PARSE_OK, 0,
	250, "", "a\n\nb\n"},
    {"an enhanced code", "550 5.1.1 no such user\r\n", PARSE_OK, 0, 550,
	"5.1.1", "5.1.1 no such user\n"},
    {"an enhanced code alone", "250 2.0.0\r\n", PARSE_OK, 0, 250, "2.0.0",
	"2.0.0\n"},
    {"a long enhanced code", "450 4.123.456 x\r\n", PARSE_OK, 0, 450,
	"4.123.456", "4.123.456 x\n"},
    {"one of another class is text", "450 5.1.1 x\r\n", PARSE_OK, 0, 450, "",
	"5.1.1 x\n"},
    {"an IP address is no enhanced code", "550 5.1.2.3 is listed\r\n", PARSE_OK,
	0, 550, "", "5.1.2.3 is listed\n"},
    {"four digits are no enhanced code", "550 5.1234.1 x\r\n", PARSE_OK, 0, 550,
	"", "5.1234.1 x\n"},
    {"LF alone is tolerated", "250-a\n250 b\n", PARSE_OK, 0, 250, "", "a\nb\n"},
    {"what follows is left", "220 go ahead\r\n250 injected\r\n", PARSE_OK, 14,
	220, "", "go ahead\n"},
    {"354", "354 go\r\n", PARSE_OK, 0, 354, "", "go\n"},
    {"controls are shown", "250 a\x1b[2J\rb\x07\r\n", PARSE_OK, 0, 250, "",
	"a\\x1b[2J\\x0db\\x07\n"},
    {"UTF-8 stays", "250 gr\xc3\xbc\xc3\x9f\r\n", PARSE_OK, 0, 250, "",
	"gr\xc3\xbc\xc3\x9f\n"},

    {"nothing yet", "", PARSE_MORE, 0, 0, "", ""},
    {"no line end yet", "250 ok", PARSE_MORE, 0, 0, "", ""},
    {"a line that goes on", "250-a\r\n", PARSE_MORE, 0, 0, "", ""},

    {"codes that differ", "250-a\r\n550 b\r\n", PARSE_BAD, 0, 0, "", ""},
    {"two digits", "25 a\r\n", PARSE_BAD, 0, 0, "", ""},
    {"four digits", "2500 a\r\n", PARSE_BAD, 0, 0, "", ""},
    {"1xx", "150 a\r\n", PARSE_BAD, 0, 0, "", ""},
    {"6xx", "600 a\r\n", PARSE_BAD, 0, 0, "", ""},
    {"no code", "hello\r\n", PARSE_BAD, 0, 0, "", ""},
    {"an empty line", "\r\n", PARSE_BAD, 0, 0, "", ""},
    {"a blank before the code", " 250 a\r\n", PARSE_BAD, 0, 0, "", ""},
    {"a tab after the code", "250\ta\r\n", PARSE_BAD, 0, 0, "", ""},
    {"HTTP", "HTTP/1.1 400 Bad Request\r\n", PARSE_BAD, 0, 0, "", ""},
    {"a banner without code in a later line", "220-a\r\nb\r\n", PARSE_BAD, 0, 0,
	"", ""},
};

static enum parse_result
feed(struct smtp_reply *r, struct slice wire, size_t first, size_t size,
    size_t *used)
{
	enum parse_result result = PARSE_MORE;
	size_t n;

	smtp_reply_init(r);
	*used = 0;
	for (size_t at = 0; at < wire.n && result == PARSE_MORE; at += n) {
		char *copy;
		size_t took;

		n = at == 0 && first > 0 ? first : size;
		n = n < wire.n - at ? n : wire.n - at;
		copy = slice_dup((struct slice){wire.p + at, n});
		result = smtp_reply_feed(r, (struct slice){copy, n}, &took);
		*used += took;
		free(copy);
	}
	return result;
}

static void
test_reading(void)
{
	struct smtp_reply r;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice wire = slice_of(rows[i].wire);
		size_t bad = 0;

		for (size_t first = 0; first <= wire.n; first++)
			for (size_t size = 1; size < 40; size += 6) {
				size_t used;
				enum parse_result result =
				    feed(&r, wire, first, size, &used);

				bad += result != rows[i].result;
				if (result != PARSE_OK)
					continue;
				bad +=
				    used != wire.n - rows[i].rest ||
				    r.code != rows[i].code ||
				    strcmp(r.enhanced, rows[i].enhanced) != 0 ||
				    strcmp(r.text, rows[i].text) != 0;
			}
		is_u64(bad, 0, "%s", rows[i].label);
	}
}

static void
test_limits(void)
{
	struct smtp_reply r;
	struct buf wire;
	size_t used;

	buf_init(&wire, 1 << 20);
	for (int i = 0; i < 99; i++)
		buf_add_text(&wire, "250-x\r\n");
	buf_add_text(&wire, "250 x\r\n");
	is_int(feed(&r, buf_slice(&wire), 0, 13, &used), PARSE_OK, "100 lines");
	is_u64(r.line_count, 100, "are counted");
	buf_reset(&wire);
	for (int i = 0; i < 100; i++)
		buf_add_text(&wire, "250-x\r\n");
	buf_add_text(&wire, "250 x\r\n");
	is_int(feed(&r, buf_slice(&wire), 0, 13, &used), PARSE_BAD,
	    "101 are too many");

	buf_reset(&wire);
	buf_add_text(&wire, "250 ");
	for (int i = 0; i < 5000; i++)
		buf_add_char(&wire, 'x');
	buf_add_text(&wire, "\r\n");
	is_int(feed(&r, buf_slice(&wire), 0, 512, &used), PARSE_OK,
	    "a line of 5,000 octets");
	is_u64(strlen(r.text), SMTP_REPLY_LINE_MAX - 4 + 1, "is cut");
	is_u64(r.cut_octets, 5005 - SMTP_REPLY_LINE_MAX, "and counted");

	buf_reset(&wire);
	for (int i = 0; i < 20; i++) {
		buf_add_text(&wire, i < 19 ? "250-" : "250 ");
		for (int j = 0; j < 400; j++)
			buf_add_char(&wire, '\x01');
		buf_add_text(&wire, "\r\n");
	}
	is_int(feed(&r, buf_slice(&wire), 0, 512, &used), PARSE_OK,
	    "more text than is kept");
	ok(strlen(r.text) < SMTP_REPLY_TEXT_MAX && r.cut_octets > 0,
	    "is cut, too");

	buf_reset(&wire);
	for (int i = 0; i <= SMTP_REPLY_OCTETS_MAX; i++)
		buf_add_char(&wire, 'x');
	is_int(feed(&r, buf_slice(&wire), 0, 1000, &used), PARSE_BAD,
	    "an endless line ends after 64 KiB");
	is_int(smtp_reply_feed(&r, SLICE("250 ok\r\n"), &used), PARSE_BAD,
	    "and stays bad");
	is_int(feed(&r, SLICE("250 ok\r\n"), 0, 8, &used), PARSE_OK, "fresh");
	is_int(smtp_reply_feed(&r, SLICE("250 ok\r\n"), &used), PARSE_OK,
	    "a complete one stays complete");
	is_u64(used, 0, "and takes no more");
	is_int(feed(&r, SLICE("250 a\0b\r\n"), 0, 3, &used), PARSE_OK, "NUL");
	is_str(r.text, "a\\x00b\n", "is shown");
	buf_clear(&wire);
}

static void
test_summary(void)
{
	char out[SMTP_REPLY_SUMMARY_MAX];
	struct smtp_reply r;
	struct buf wire;
	size_t used;

	(void)feed(
	    &r, SLICE("550-5.1.1 no\r\n550 5.1.1 user\r\n"), 0, 99, &used);
	is_str(smtp_reply_summary(&r, out), "550 5.1.1 no 5.1.1 user",
	    "a summary is one line");
	buf_init(&wire, 1 << 16);
	for (int i = 0; i < 3; i++) {
		buf_add_text(&wire, i < 2 ? "250-" : "250 ");
		for (int j = 0; j < 900; j++)
			buf_add_char(&wire, 'x');
		buf_add_text(&wire, "\r\n");
	}
	(void)feed(&r, buf_slice(&wire), 0, 512, &used);
	is_u64(strlen(smtp_reply_summary(&r, out)), sizeof(out) - 1,
	    "a long one is cut to 1 KiB");
	buf_clear(&wire);
}

static void
test_ehlo(void)
{
	struct smtp_ehlo e;
	struct smtp_reply r;
	struct slice keyword;
	struct slice arguments;
	size_t used;
	size_t at = 0;

	(void)feed(&r,
	    SLICE("250-DSN STARTTLS\r\n250-size 35882577\r\n"
		  "250-AUTH  PLAIN LOGIN\r\n250-AUTH=CRAM-MD5\r\n"
		  "250-PIPELINING \r\n250-8BITMIME\r\n250-\r\n"
		  "250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n"),
	    0, 99, &used);
	smtp_ehlo_read(&r, &e);
	ok(!e.has_dsn && !e.has_starttls, "the greeting is no keyword");
	ok(e.has_size && e.size_bytes == 35882577, "SIZE");
	ok(e.has_pipelining && e.has_8bitmime && e.has_enhanced_codes &&
		e.has_smtputf8,
	    "the flags");
	ok(smtp_ehlo_has_mechanism(&e, "plain") &&
		smtp_ehlo_has_mechanism(&e, "LOGIN") &&
		smtp_ehlo_has_mechanism(&e, "CRAM-MD5"),
	    "the mechanisms, old form too");
	ok(!smtp_ehlo_has_mechanism(&e, "PLAI") &&
		!smtp_ehlo_has_mechanism(&e, ""),
	    "and no others");
	ok(smtp_ehlo_next(&r, &at, &keyword, &arguments), "one by one");
	is_slice(keyword, "size", "the first keyword");
	is_slice(arguments, "35882577", "its argument");

	(void)feed(
	    &r, SLICE("250-a\r\n250-SIZE x\r\n250 STARTTLS\r\n"), 0, 9, &used);
	smtp_ehlo_read(&r, &e);
	ok(e.has_size && e.size_bytes == 0, "a bad SIZE is no limit");
	ok(e.has_starttls, "STARTTLS in the last line");
	(void)feed(&r, SLICE("250 DSN\r\n"), 0, 99, &used);
	smtp_ehlo_read(&r, &e);
	ok(!e.has_dsn, "a greeting alone has no keywords");
}

static void
test_writing(void)
{
	static const struct {
		const char *label;
		unsigned code;
		const char *enhanced;
		struct slice text;
		const char *want;
	} cases[] = {
	    {"one line", 250, "2.1.0", {"ok", 2}, "250 2.1.0 ok\r\n"},
	    {"no enhanced code", 220, NULL, {"mx ESMTP", 8},
		"220 mx ESMTP\r\n"},
	    {"several lines", 250, NULL, {"mx\nSIZE 1\nDSN", 13},
		"250-mx\r\n250-SIZE 1\r\n250 DSN\r\n"},
	    {"several with code", 550, "5.7.1", {"a\nb", 3},
		"550-5.7.1 a\r\n550 5.7.1 b\r\n"},
	    {"no text", 250, NULL, {"", 0}, "250 \r\n"},
	    {"CR cannot end a line", 501, "5.5.4", {"a\r250 ok", 8},
		"501 5.5.4 a\\x0d250 ok\r\n"},
	    {"CRLF stays within the reply", 501, "5.5.4", {"a\r\n250 ok", 9},
		"501-5.5.4 a\\x0d\r\n501 5.5.4 250 ok\r\n"},
	    {"NUL and ESC are shown", 501, "5.5.4", {"\0\x1b", 2},
		"501 5.5.4 \\x00\\x1b\r\n"},
	    {"all is ASCII", 550, "5.1.1", {"\xc3\xa4", 2},
		"550 5.1.1 \\u{e4}\r\n"},
	};
	char text[3000];
	struct buf out;

	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < COUNT(cases); i++) {
		buf_reset(&out);
		is_int(smtp_reply_format(&out, cases[i].code, cases[i].enhanced,
			   cases[i].text),
		    0, "written: %s", cases[i].label);
		is_str(buf_text(&out), cases[i].want, "as it should");
	}
	memset(text, 'x', sizeof(text));
	buf_reset(&out);
	(void)smtp_reply_format(
	    &out, 550, "5.1.1", (struct slice){text, sizeof(text)});
	is_u64(out.n, 512, "a long line has 512 octets");
	buf_reset(&out);
	memset(text, '\n', sizeof(text));
	(void)smtp_reply_format(
	    &out, 550, NULL, (struct slice){text, sizeof(text)});
	is_u64(out.n, 100 * 6, "many lines are 100");
	ok(strncmp(out.p + out.n - 6, "550 \r\n", 6) == 0,
	    "of which the last says so");
	buf_clear(&out);
	buf_init(&out, 5);
	is_int(smtp_reply_format(&out, 250, NULL, SLICE("ok")), -1,
	    "a full buffer is told of");
	buf_clear(&out);
	OK_DIES((void)smtp_reply_format(&out, 199, NULL, SLICE("x")),
	    "code 199 is a bug");
	OK_DIES((void)smtp_reply_format(&out, 550, "4.1.1", SLICE("x")),
	    "codes of two classes are a bug");
	OK_DIES((void)smtp_reply_format(&out, 550, "5.1.1 x", SLICE("x")),
	    "text in the enhanced code is a bug");
}

static void
test_status(void)
{
	struct smtp_status s;

	is_int(smtp_status_set(&s, 501, "5.5.4", "bad \"%s\"", "a\r\nb\xff"),
	    -1, "setting a status returns -1");
	is_int(s.code, 501, "its code");
	is_str(s.enhanced, "5.5.4", "its enhanced code");
	is_str(s.text, "bad \"a\\x0d\\x0ab\\xff\"", "its text is printable");
}

int
main(void)
{
	test_reading();
	test_limits();
	test_summary();
	test_ehlo();
	test_writing();
	test_status();
	return tap_done();
}
