/* SPDX-License-Identifier: ISC */
/*
 * The reader of header blocks: where the header ends, which fields it has, in
 * pieces of any size, and its limits.
 */
#include <stdlib.h>
#include <string.h>

#include "common/header.h"
#include "tests/unit/tap.h"

static const struct end_row {
	const char *label;
	const char *message;
	enum header_end end;
	size_t body_offset;
	size_t fields;
	uint32_t quirks;
} end_rows[] = {
    {"a header, a blank line, a body", "From: a@b\r\nTo: c@d\r\n\r\nHi\r\n",
	HEADER_END_BLANK, 22, 2, 0},
    {"a header without body", "From: a@b\r\n", HEADER_END_MESSAGE, 11, 1, 0},
    {"a header without final line end", "From: a@b", HEADER_END_MESSAGE, 9, 1,
	0},
    {"an empty message", "", HEADER_END_MESSAGE, 0, 0, 0},
    {"a blank line first: no header", "\r\nFrom: a@b\r\n", HEADER_END_BLANK, 2,
	0, 0},
    {"a message without header", "Hello,\r\nthis is it\r\n",
	HEADER_END_NOT_A_FIELD, 0, 0, 0},
    {"a body without blank line before it", "From: a@b\r\nHello\r\n\r\nx\r\n",
	HEADER_END_NOT_A_FIELD, 11, 1, 0},
    {"a last line that is no field and has no end", "A: b\r\nHello",
	HEADER_END_NOT_A_FIELD, 6, 1, 0},
    {"an mbox line is left out", "From a@b Sat Nov 21 2026\r\nA: b\r\n\r\n",
	HEADER_END_BLANK, 34, 1, HEADER_QUIRK_MBOX_LINE},
    {"an mbox line later is no field", "A: b\r\nFrom a@b Sat Nov 21\r\n\r\n",
	HEADER_END_NOT_A_FIELD, 6, 1, 0},
    {"a quoted mbox line is no field", ">From a@b x\r\nA: b\r\n\r\n",
	HEADER_END_NOT_A_FIELD, 0, 0, 0},
    {"a folded line first is left out", " x\r\nA: b\r\n\r\n", HEADER_END_BLANK,
	12, 1, HEADER_QUIRK_LEADING_FOLD},
    {"a folded line of blanks continues", "A: b\r\n \t\r\n c\r\nB: d\r\n\r\n",
	HEADER_END_BLANK, 22, 2, HEADER_QUIRK_BLANK_FOLD},
    {"blanks before the colon", "From \t: a@b\r\n\r\n", HEADER_END_BLANK, 15, 1,
	HEADER_QUIRK_SPACED_COLON},
    {"no name before the colon", "A: b\r\n: c\r\n\r\n", HEADER_END_NOT_A_FIELD,
	6, 1, 0},
    {"an 8-bit name is no field", "A\x80: b\r\n\r\n", HEADER_END_NOT_A_FIELD, 0,
	0, 0},
    {"a control byte in a name is no field", "Fr\x01om: b\r\n\r\n",
	HEADER_END_NOT_A_FIELD, 0, 0, 0},
    {"a bare LF does not end a line", "A: b\nB: c\r\n\r\n", HEADER_END_BLANK,
	13, 1, HEADER_QUIRK_BARE_LINE_END},
    {"two bare LFs do not end the header", "A: b\n\nB: c\r\n\r\n",
	HEADER_END_BLANK, 14, 1, HEADER_QUIRK_BARE_LINE_END},
    {"a bare CR does not end a line", "A: b\rB: c\r\n\r\n", HEADER_END_BLANK,
	13, 1, HEADER_QUIRK_BARE_LINE_END},
    {"CR CR LF ends a line and is noted", "A: b\r\r\n\r\n", HEADER_END_BLANK, 9,
	1, HEADER_QUIRK_BARE_LINE_END},
    {"an empty value is a field", "A:\r\n\r\n", HEADER_END_BLANK, 6, 1, 0},
    {"a lone CR at the end", "A: b\r\n\r", HEADER_END_NOT_A_FIELD, 6, 1,
	HEADER_QUIRK_BARE_LINE_END},
};

static void
check_end_row(const struct end_row *row, const struct header *h, size_t piece)
{
	ok(h->end == row->end && h->body_offset == row->body_offset &&
		h->field_count == row->fields && h->quirks == row->quirks,
	    "%s (pieces of %zu): end %d, body at %zu, %zu fields, quirks %x",
	    row->label, piece, h->end, h->body_offset, h->field_count,
	    h->quirks);
}

/* Feeds the message in pieces, each in memory of its own size. */
static int
feed_pieces(struct header *h, struct slice message, size_t piece)
{
	int rc = PARSE_MORE;

	header_reset(h);
	for (size_t at = 0; at < message.n && rc == PARSE_MORE; at += piece) {
		size_t n = message.n - at < piece ? message.n - at : piece;
		char *own = slice_dup((struct slice){message.p + at, n});

		rc = header_feed(h, (struct slice){own, n});
		free(own);
	}
	return rc == PARSE_MORE ? header_finish(h) : rc;
}

static void
test_ends(void)
{
	static const size_t pieces[] = {1, 2, 3, 7, 4096};
	struct header h;

	header_init(&h, 0);
	for (size_t i = 0; i < sizeof(end_rows) / sizeof(end_rows[0]); i++) {
		struct slice message = slice_of(end_rows[i].message);

		for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]);
		     k++) {
			is_int(feed_pieces(&h, message, pieces[k]), PARSE_OK,
			    "%s: settled", end_rows[i].label);
			check_end_row(&end_rows[i], &h, pieces[k]);
		}
		is_int(header_read(&h, message), PARSE_OK, "%s: read at once",
		    end_rows[i].label);
		check_end_row(&end_rows[i], &h, 0);
	}
	header_clear(&h);
}

static void
test_nul(void)
{
	static const char message[] = "A: b\0c\r\nB: d\r\n\r\n";
	struct header h;

	header_init(&h, 0);
	(void)header_read(&h, SLICE(message));
	ok(h.quirks == HEADER_QUIRK_NUL && h.field_count == 2,
	    "a NUL is noted, and ends nothing");
	header_clear(&h);
}

static void
test_index(void)
{
	static const char message[] = "Received: one\r\n by two\r\n"
				      "FROM: a@b\r\n"
				      "received:three\r\n"
				      "X-Other: x\r\n"
				      "Subject :  four  \r\n\tfive \r\n"
				      "Message-ID:\r\n <x@y>\r\n"
				      "\r\nbody";
	struct header h;
	const struct header_field *f;
	struct buf text;

	header_init(&h, 0);
	buf_init(&text, 100);
	is_int(header_read(&h, SLICE(message)), PARSE_OK, "a usual header");
	is_u64(header_count(&h, HDR_RECEIVED), 2, "both Received are counted");
	is_u64(header_count(&h, HDR_FROM), 1, "case does not count");
	is_u64(header_count(&h, HDR_OTHER), 1, "unknown names are counted");
	is_u64(header_count(&h, HDR_TO), 0, "a name that is not there");
	ok(header_first(&h, HDR_TO) == NULL, "has no first field");
	f = header_first(&h, HDR_RECEIVED);
	is_slice(header_field_value(&h, f), " one\r\n by two",
	    "the first value, with its fold");
	is_slice(header_field_text(&h, f), "Received: one\r\n by two\r\n",
	    "the whole field");
	f = header_next(&h, f);
	is_slice(header_field_value(&h, f), "three", "the next of that name");
	is_slice(header_field_name(&h, f), "received", "its name as it stands");
	ok(header_next(&h, f) == NULL, "and no third");
	f = header_first(&h, HDR_SUBJECT);
	ok(f->is_spaced, "a blank before the colon is noted on its field");
	is_slice(
	    header_field_name(&h, f), "Subject", "and not part of its name");
	is_int(header_unfold(header_field_value(&h, f), &text), 0, "unfolds");
	is_str(buf_text(&text), "four  \tfive", "the CRLF goes, blanks stay");
	is_slice(header_simple(&h, HDR_MESSAGE_ID), "<x@y>",
	    "a value in its second line is simple");
	is_slice(header_simple(&h, HDR_SUBJECT), "", "a folded one is not");
	is_slice(header_simple(&h, HDR_DATE), "", "nor is one that is missing");
	is_u64(
	    h.block_end, h.body_offset - 2, "the block ends at the blank line");
	buf_clear(&text);
	header_clear(&h);
}

static void
test_names(void)
{
	for (int i = 0; i < HDR_OTHER; i++) {
		const char *text = header_name_text((enum header_name)i);

		is_int(header_name_of(slice_of(text)), i, "%s is known", text);
	}
	is_int(header_name_of(SLICE("Frox")), HDR_OTHER, "a near miss is not");
	is_int(header_name_of(SLICE("Fro")), HDR_OTHER, "a beginning is not");
	is_int(header_name_of(SLICE("fROM")), HDR_FROM, "case does not count");
}

static const struct unfold_row {
	const char *label;
	const char *value;
	const char *text;
} unfold_rows[] = {
    {"an empty value", "", ""},
    {"blanks only", " \t ", ""},
    {"folds only", " \r\n \r\n\t", ""},
    {"one line", "  a b ", "a b"},
    {"two lines", "a\r\n b", "a b"},
    {"a bare LF falls away too", "a\n b", "a b"},
    {"a bare CR stays", "a\rb", "a\rb"},
};

static void
test_unfold(void)
{
	struct buf text;

	buf_init(&text, 100);
	for (size_t i = 0; i < sizeof(unfold_rows) / sizeof(unfold_rows[0]);
	     i++) {
		buf_reset(&text);
		is_int(header_unfold(slice_of(unfold_rows[i].value), &text), 0,
		    "%s: unfolds", unfold_rows[i].label);
		is_slice(buf_slice(&text), unfold_rows[i].text, "%s",
		    unfold_rows[i].label);
	}
	buf_clear(&text);
	buf_init(&text, 3);
	is_int(header_unfold(SLICE("abcd"), &text), -1, "a full buffer");
	buf_clear(&text);
}

/* A header of n times the line, read at once and in pieces. */
static void
check_limit(const char *label, const char *line, size_t times, size_t limit,
    int rc, enum header_failure failure)
{
	struct buf message;
	struct header h;

	buf_init(&message, times * strlen(line) + 2);
	for (size_t i = 0; i < times; i++)
		(void)buf_add_text(&message, line);
	(void)buf_add_text(&message, "\r\n");
	header_init(&h, limit);
	is_int(header_read(&h, buf_slice(&message)), rc, "%s", label);
	is_int(h.failure, failure, "%s: reason", label);
	is_int(feed_pieces(&h, buf_slice(&message), 1000), rc, "%s, in pieces",
	    label);
	is_int(h.failure, failure, "%s, in pieces: reason", label);
	is_int(header_feed(&h, SLICE("X: y\r\n")), rc, "%s is final", label);
	is_int(header_finish(&h), rc, "%s at the end too", label);
	ok(strlen(header_failure_text(h.failure)) > 10, "has its sentence");
	header_clear(&h);
	buf_clear(&message);
}

static void
test_limits(void)
{
	check_limit("10,000 fields", "A: b\r\n", 10000, 0, PARSE_OK,
	    HEADER_FAILURE_NONE);
	check_limit("10,001 fields", "A: b\r\n", 10001, 0, PARSE_BAD,
	    HEADER_FAILURE_TOO_MANY_FIELDS);
	check_limit("exactly the limit", "A: b\r\n", 10, 62, PARSE_OK,
	    HEADER_FAILURE_NONE);
	check_limit("one byte over it", "A: b\r\n", 10, 61, PARSE_BAD,
	    HEADER_FAILURE_TOO_LARGE);
	check_limit("a million folds", "A: b\r\n", 1000000, 0, PARSE_BAD,
	    HEADER_FAILURE_TOO_MANY_FIELDS);
	check_limit("300 KB of folds", "   \r\n", 60000, 0, PARSE_BAD,
	    HEADER_FAILURE_TOO_LARGE);
	check_limit("10 MB without line end", "aaaaaaaaaa", 1000000, 0,
	    PARSE_BAD, HEADER_FAILURE_TOO_LARGE);
	check_limit(
	    "an LF each byte", "\n", 200000, 0, PARSE_OK, HEADER_FAILURE_NONE);
	OK_DIES(header_init(&(struct header){0}, (size_t)UINT32_MAX + 1),
	    "offsets must fit their type");
}

/* A body of 64 KB behind the header must not count against the limit. */
static void
test_body_is_not_counted(void)
{
	struct buf message;
	struct header h;

	buf_init(&message, 70000);
	(void)buf_add_text(&message, "A: b\r\n\r\n");
	while (message.n < 65536)
		(void)buf_add_text(&message, "body\r\n");
	header_init(&h, 100);
	is_int(header_read(&h, buf_slice(&message)), PARSE_OK, "read");
	is_int(feed_pieces(&h, buf_slice(&message), 65536), PARSE_OK, "fed");
	is_u64(h.copy.n, 8, "only the header is kept");
	header_clear(&h);
	buf_clear(&message);
}

int
main(void)
{
	test_ends();
	test_nul();
	test_index();
	test_names();
	test_unfold();
	test_limits();
	test_body_is_not_counted();
	return tap_done();
}
