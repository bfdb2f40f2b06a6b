/* SPDX-License-Identifier: ISC */
/*
 * MIME parts: structured values, the walk in pieces of any size, its limits.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mime.h"
#include "common/mime_value.h"
#include "tests/unit/tap.h"

static const struct value_row {
	const char *label;
	const char *raw;
	const char *type;
	const char *subtype;
	const char *param;
	const char *want; /* NULL: there is no such parameter */
	bool is_damaged;
} value_rows[] = {
    {"a type alone", " text/plain", "text", "plain", "x", NULL, false},
    {"a token alone", "attachment; filename=a", "attachment", "", "filename",
	"a", false},
    {"a quoted value", "a/b; x=\"c; \\\"d\\\"\"", "a", "b", "x", "c; \"d\"",
	false},
    {"names in any case", "a/b; ChArSet=UTF-8", "a", "b", "charset", "UTF-8",
	false},
    {"folds, blanks, comments", "a (x;y) / (z) b\r\n ; (;) x = (=) \"y\" (q)",
	"a", "b", "x", "y", false},
    {"a fold in a quoted value", "a/b; x=\"c\r\n d\"", "a", "b", "x", "c d",
	false},
    {"semicolons too many", "a/b;; x=y;", "a", "b", "x", "y", false},
    {"a damaged one before", "a/b; =z; x=y", "a", "b", "x", "y", true},
    {"a damaged one behind", "a/b; x=y; z", "a", "b", "x", "y", true},
    {"an open quote", "a/b; x=\"y", "a", "b", "x", NULL, true},
    {"no value", "a/b; x=", "a", "b", "x", NULL, true},
    {"an empty quoted value", "a/b; x=\"\"", "a", "b", "x", "", false},
    {"no semicolon", "a/b x=y", "a", "b", "x", NULL, true},
    {"twice: the first counts", "a/b; x=1; x=2", "a", "b", "x", "1", false},
    {"extended", "a/b; x*=utf-8'de'%C3%BC%zz%4", "a", "b", "x", "\xc3\xbc%zz%4",
	false},
    {"plain before extended", "a/b; x*=utf-8''b; x=a", "a", "b", "x", "a",
	false},
    {"pieces in any order", "a/b; x*1=c; x*0=b; x*2=\"d e\"", "a", "b", "x",
	"bcd e", false},
    {"pieces, some extended", "a/b; x*0*=utf-8''%41; x*1=%42; x*2*=%43", "a",
	"b", "x", "A%42C", false},
    {"a piece is missing", "a/b; x*0=a; x*2=c", "a", "b", "x", "a", false},
    {"the first piece is missing", "a/b; x*1=a", "a", "b", "x", NULL, false},
    {"a huge section", "a/b; x*9999999999=a; x*0=b", "a", "b", "x", "b", true},
    {"a section with a zero in front", "a/b; x*00=a", "a", "b", "x", NULL,
	true},
    {"an open comment", "a/b; (x=y", "a", "b", "x", NULL, false},
    {"no subtype", "text/; x=y", "text", "", "x", "y", false},
};

static void
check_value_row(const struct value_row *row)
{
	struct mime_value value;
	struct buf got;
	char *own = slice_dup(slice_of(row->raw));
	int rc;

	buf_init(&got, 100);
	is_int(mime_value_parse((struct slice){own, strlen(own)}, &value), 0,
	    "%s: read", row->label);
	is_slice(value.type, row->type, "%s: type", row->label);
	is_slice(value.subtype, row->subtype, "%s: subtype", row->label);
	rc = mime_value_param(&value, row->param, &got);
	is_int(rc, row->want == NULL ? -1 : 0, "%s: found", row->label);
	if (row->want != NULL)
		is_slice(buf_slice(&got), row->want, "%s", row->label);
	ok(value.is_damaged == row->is_damaged, "%s: damage", row->label);
	buf_clear(&got);
	free(own);
}

static void
test_values(void)
{
	static const char *const bad[] = {
	    "", "  ", "/plain", ";x=y", "(x", "\"text\"/plain", "\xff"};
	struct mime_value value;
	struct buf text;

	for (size_t i = 0; i < sizeof(value_rows) / sizeof(value_rows[0]); i++)
		check_value_row(&value_rows[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_int(mime_value_parse(slice_of(bad[i]), &value), -1,
		    "\"%s\" is no value", bad[i]);
	buf_init(&text, 1 << 20);
	(void)buf_add_text(&text, "a/b");
	for (int i = 0; i < 100000; i++)
		(void)buf_addf(&text, ";x*%d=y", i);
	is_int(mime_value_parse(buf_slice(&text), &value), 0, "100,000 pieces");
	is_u64(value.param_count, MIME_PARAMS_MAX, "so many are kept");
	ok(value.is_damaged, "and it is noted");
	buf_clear(&text);
	buf_init(&text, 2);
	(void)mime_value_parse(SLICE("a/b; x=123"), &value);
	is_int(mime_value_param(&value, "x", &text), -1, "a full buffer");
	buf_clear(&text);
}

/*
 * The walk as text: "(number type/subtype header-start body-start", the parts
 * within, "body-end)"; an opaque part has its reason in it.
 */
static void
note_begin(void *arg, const struct mime_part *part, const struct header *header)
{
	struct buf *out = arg;

	(void)header;
	(void)buf_addf(
	    out, "(%u %s/%s", part->number, part->type, part->subtype);
	if (part->encoding != MIME_ENCODING_7BIT)
		(void)buf_addf(out, " %s", mime_encoding_text(part->encoding));
	if (part->opaque != MIME_CLEAR)
		(void)buf_addf(out, " [%s]", mime_opaque_text(part->opaque));
	(void)buf_addf(out, " %ju %ju", (uintmax_t)part->start,
	    (uintmax_t)part->body_start);
}

static void
note_end(void *arg, const struct mime_part *part)
{
	(void)buf_addf(arg, " %ju)", (uintmax_t)part->body_end);
}

static void
walk(struct slice message, size_t piece, struct buf *out)
{
	struct mime_events events = {note_begin, note_end, out};
	struct mime *m = mime_new(&events);

	buf_reset(out);
	for (size_t at = 0; at < message.n; at += piece) {
		size_t n = message.n - at < piece ? message.n - at : piece;
		char *own = slice_dup((struct slice){message.p + at, n});

		mime_feed(m, (struct slice){own, n});
		free(own);
	}
	mime_finish(m);
	mime_free(m);
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n" /* 45 */

static const struct walk_row {
	const char *label;
	const char *message;
	const char *want;
} walk_rows[] = {
    {"an empty message", "", "(0 text/plain 0 0 0)"},
    {"a plain message", "A: b\r\n\r\nHi\r\n", "(0 text/plain 0 8 12)"},
    {"a header alone", "A: b\r\n", "(0 text/plain 0 6 6)"},
    {"no header", "Hi\r\n\r\n", "(0 text/plain 0 0 6)"},
    {"an encoding", "Content-Transfer-Encoding: BASE64 (x)\r\n\r\n",
	"(0 text/plain base64 0 41 41)"},
    {"an unknown encoding", "Content-Transfer-Encoding: x-y\r\n\r\n",
	"(0 text/plain other 0 34 34)"},
    {"two encodings",
	"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit"
	"\r\n\r\n",
	"(0 text/plain other 0 68 68)"},
    {"a broken type", "Content-Type: text\r\n\r\n",
	"(0 text/plain [no usable Content-Type] 0 22 22)"},
    {"two types",
	"Content-Type: a/b\r\nContent-Type: multipart/mixed; "
	"boundary=b\r\n\r\n",
	"(0 text/plain [no usable Content-Type] 0 64 64)"},
    {"two parts",
	MIXED "pre\r\n--b\r\n\r\none\r\n--b\r\nA: b\r\n\r\ntwo\r\n"
	      "--b--\r\nepi\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 55 57 60)"
	"(2 text/plain 67 75 78) 92)"},
    {"no final line end", MIXED "--b\r\n\r\none\r\n--b--",
	"(0 multipart/mixed 0 45(1 text/plain 50 52 55) 62)"},
    {"no closing delimiter", MIXED "--b\r\n\r\none\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 50 52 57) 57)"},
    {"no delimiter at all", MIXED "one\r\n", "(0 multipart/mixed 0 45 50)"},
    {"an opening delimiter last", MIXED "--b",
	"(0 multipart/mixed 0 45(1 text/plain 48 48 48) 48)"},
    {"a part that is empty", MIXED "--b\r\n--b--\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 50 50 50) 57)"},
    {"a part with a header and no more", MIXED "--b\r\nA: b\r\n--b--\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 50 56 56) 63)"},
    {"a part without header", MIXED "--b\r\nHello\r\n--b--\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 50 50 55) 64)"},
    {"padding behind a delimiter", MIXED "--b \t\r\n\r\none\r\n--b-- \r\n",
	"(0 multipart/mixed 0 45(1 text/plain 52 54 57) 67)"},
    {"lines that are near misses",
	MIXED "--b\r\n\r\n--bc\r\n--\r\n-b\r\n- \r\n --b\r\n--b-\r\n--c--\r\n"
	      "--b--\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 50 52 87) 96)"},
    {"a bare LF is no line end", MIXED "--b\r\n\r\na\n--b--\nc\r\n--b--\r\n",
	"(0 multipart/mixed 0 45(1 text/plain 50 52 61) 70)"},
    {"a delimiter behind a bare LF", MIXED "x\n--b\r\n\r\n",
	"(0 multipart/mixed 0 45 54)"},
    {"nothing counts after the close", MIXED "--b--\r\n--b\r\n\r\none\r\n",
	"(0 multipart/mixed 0 45 64)"},
    {"a boundary like a header line",
	"Content-Type: multipart/mixed; boundary=\"a: b\"\r\n\r\n"
	"--a: b\r\nC: d\r\n--a: b--\r\n",
	"(0 multipart/mixed 0 50(1 text/plain 58 64 64) 74)"},
    {"a boundary and one that starts with it",
	MIXED "--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
	      "--bb\r\n\r\n1\r\n--bb--\r\n--b--\r\n",
	"(0 multipart/mixed 0 45(1 multipart/mixed 50 96"
	"(2 text/plain 102 104 105) 113) 122)"},
    {"an outer delimiter ends the inner part",
	MIXED "--b\r\nContent-Type: multipart/mixed; boundary=cc\r\n\r\n"
	      "--cc\r\n\r\n1\r\n--b--\r\n",
	"(0 multipart/mixed 0 45(1 multipart/mixed 50 96"
	"(2 text/plain 102 104 105) 105) 114)"},
    {"a message in a message",
	"Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nHi\r\n",
	"(0 message/rfc822 0 32(1 text/plain 32 40 44) 44)"},
    {"a message in a message, empty", "Content-Type: message/rfc822\r\n\r\n",
	"(0 message/rfc822 0 32(1 text/plain 32 32 32) 32)"},
    {"a header that ends inside a message", "Content-Type: message/global\r\n",
	"(0 message/global 0 30(1 text/plain 30 30 30) 30)"},
    {"an attached message in base64",
	"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64"
	"\r\n\r\nQQ==\r\n",
	"(0 message/rfc822 base64 [encoded as a whole] 0 67 73)"},
    {"a digest",
	"Content-Type: multipart/digest; boundary=b\r\n\r\n"
	"--b\r\n\r\nA: b\r\n\r\nx\r\n--b\r\nContent-Type: a/b\r\n\r\n--b--\r\n",
	"(0 multipart/digest 0 46(1 message/rfc822 51 53"
	"(2 text/plain 53 61 62) 62)(3 a/b 69 90 90) 97)"},
    {"a container whose header is broken",
	"Content-Type: message/rfc822\r\nHello\r\n\r\nx\r\n",
	"(0 message/rfc822 [broken or oversized header] 0 30 42)"},
    {"no boundary", "Content-Type: multipart/mixed\r\n\r\n--\r\n",
	"(0 multipart/mixed [no usable boundary] 0 33 37)"},
    {"two boundaries",
	"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n",
	"(0 multipart/mixed [no usable boundary] 0 57 57)"},
    {"a boundary, and another one in pieces",
	"Content-Type: multipart/mixed; boundary=a; boundary*0=b\r\n\r\n",
	"(0 multipart/mixed [no usable boundary] 0 59 59)"},
    {"a boundary of 70",
	"Content-Type: multipart/mixed; boundary=\r\n "
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	"\r\n\r\n"
	"--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	"bbb--\r\n",
	"(0 multipart/mixed 0 117 193)"},
    {"a boundary of 71",
	"Content-Type: multipart/mixed; boundary=\r\n "
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	"c"
	"\r\n\r\n",
	"(0 multipart/mixed [no usable boundary] 0 118 118)"},
    {"a boundary in pieces",
	"Content-Type: multipart/mixed; boundary*0=x; boundary*1=y\r\n\r\n"
	"--xy\r\n\r\n1\r\n--xy--\r\n",
	"(0 multipart/mixed 0 61(1 text/plain 67 69 70) 80)"},
};

static void
test_walks(void)
{
	static const size_t pieces[] = {1, 2, 3, 5, 64, 65536};
	struct buf got;

	buf_init(&got, 4096);
	for (size_t i = 0; i < sizeof(walk_rows) / sizeof(walk_rows[0]); i++) {
		for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]);
		     k++) {
			walk(slice_of(walk_rows[i].message), pieces[k], &got);
			is_slice(buf_slice(&got), walk_rows[i].want,
			    "%s (pieces of %zu)", walk_rows[i].label,
			    pieces[k]);
		}
	}
	buf_clear(&got);
}

struct tally {
	size_t begun;
	size_t ended;
	size_t opaque;
	size_t deepest;
};

static void
tally_begin(
    void *arg, const struct mime_part *part, const struct header *header)
{
	struct tally *t = arg;

	(void)header;
	t->begun++;
	t->opaque += part->opaque != MIME_CLEAR;
	if (part->depth > t->deepest)
		t->deepest = part->depth;
}

static void
tally_end(void *arg, const struct mime_part *part)
{
	struct tally *t = arg;

	(void)part;
	t->ended++;
}

static bool
tally_walk(struct slice message, struct tally *t)
{
	struct mime_events events = {tally_begin, tally_end, t};
	struct mime *m = mime_new(&events);
	bool is_complete;

	*t = (struct tally){0};
	mime_feed(m, message);
	mime_finish(m);
	is_complete = mime_is_complete(m);
	mime_free(m);
	return is_complete;
}

static void
test_bombs(void)
{
	struct buf message;
	struct tally t;

	buf_init(&message, (size_t)16 << 20);
	for (int i = 0; i < 5000; i++)
		(void)buf_addf(&message,
		    "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n"
		    "--b%d\r\n",
		    i, i);
	ok(tally_walk(buf_slice(&message), &t), "5,000 multiparts nested");
	ok(t.begun == 101 && t.ended == 101 && t.opaque == 1 &&
		t.deepest == 100,
	    "end at depth 100 (%zu parts, %zu opaque)", t.begun, t.opaque);

	buf_reset(&message);
	for (int i = 0; i < 2000; i++)
		(void)buf_add_text(
		    &message, "Content-Type: message/rfc822\r\n\r\n");
	ok(tally_walk(buf_slice(&message), &t), "2,000 messages nested");
	ok(t.begun == 101 && t.ended == 101 && t.opaque == 1,
	    "end at depth 100 (%zu parts)", t.begun);

	buf_reset(&message);
	(void)buf_add_text(&message, MIXED);
	for (int i = 0; i < 200000; i++)
		(void)buf_add_text(&message, "--b\r\n\r\nx\r\n");
	ok(!tally_walk(buf_slice(&message), &t), "200,000 parts are too many");
	ok(t.begun == MIME_PARTS_MAX && t.ended == t.begun,
	    "so many are told: %zu", t.begun);

	buf_reset(&message);
	(void)buf_add_text(&message, MIXED "--b\r\nA: ");
	while (message.n < HEADER_SIZE_MAX + 1000)
		(void)buf_add_text(
		    &message, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	(void)buf_add_text(&message, "\r\n\r\n--b\r\n\r\n--b--\r\n");
	ok(tally_walk(buf_slice(&message), &t), "a part with a huge header");
	ok(t.begun == 3 && t.opaque == 1, "is opaque, the next one is not");
	buf_clear(&message);
}

static void
test_misuse(void)
{
	struct mime_events events = {NULL, NULL, NULL};
	struct mime *m = mime_new(&events);

	mime_feed(m, SLICE(MIXED "--b\r\n\r\n"));
	mime_finish(m);
	pass("events may be left out");
	OK_DIES(mime_finish(m), "a walk ends once");
	mime_free(m);
	mime_free(NULL);
}

int
main(void)
{
	test_values();
	test_walks();
	test_bombs();
	test_misuse();
	return tap_done();
}
