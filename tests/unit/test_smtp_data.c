/* SPDX-License-Identifier: ISC */
/*
 * The end of DATA, stuffed dots and smuggling (T009 to T017).  Each case is
 * fed whole, in pieces of 1 and 7 octets, and cut in two at every place.
 */
#include <stdlib.h>
#include <string.h>

#include "common/smtp_data.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The sizes of buffers that a reader is likely to have. */
#define EDGE_SMALL 4096
#define EDGE_LARGE 8192

struct row {
	const char *label;
	struct slice wire;
	struct slice content; /* what the sink gets */
	const char *rest;     /* after the end; NULL: no end is found */
	enum smtp_data_fault fault;
	uint64_t fault_offset;
	uint64_t longest;
};

#define S(literal)                             \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}

static const struct row rows[] = {
    {"an empty message", S(".\r\n"), S(""), "", SMTP_DATA_CLEAN, 0, 0},
    {"one line", S("a\r\n.\r\n"), S("a\r\n"), "", SMTP_DATA_CLEAN, 0, 1},
    {"what follows is left", S("a\r\n.\r\nQUIT\r\n"), S("a\r\n"), "QUIT\r\n",
	SMTP_DATA_CLEAN, 0, 1},
    {"a second message is left", S("a\r\n.\r\nb\r\n.\r\n"), S("a\r\n"),
	"b\r\n.\r\n", SMTP_DATA_CLEAN, 0, 1},
    {"empty lines", S("\r\n\r\n.\r\n"), S("\r\n\r\n"), "", SMTP_DATA_CLEAN, 0,
	0},
    {"a stuffed dot goes", S("..\r\n.\r\n"), S(".\r\n"), "", SMTP_DATA_CLEAN, 0,
	1},
    {"only one of the dots goes", S("...\r\n.\r\n"), S("..\r\n"), "",
	SMTP_DATA_CLEAN, 0, 2},
    {"a dot before text goes", S(".a\r\n.\r\n"), S("a\r\n"), "",
	SMTP_DATA_CLEAN, 0, 1},
    {"dots inside a line stay", S("a.b.\r\n.\r\n"), S("a.b.\r\n"), "",
	SMTP_DATA_CLEAN, 0, 4},
    {"stuffing on every line", S("..a\r\n..b\r\nc\r\n.\r\n"),
	S(".a\r\n.b\r\nc\r\n"), "", SMTP_DATA_CLEAN, 0, 2},
    {"the longest line counts without its dot", S("ab\r\n..cd\r\ne\r\n.\r\n"),
	S("ab\r\n.cd\r\ne\r\n"), "", SMTP_DATA_CLEAN, 0, 3},
    {"a space before the dot is content", S("a\r\n .\r\n.\r\n"),
	S("a\r\n .\r\n"), "", SMTP_DATA_CLEAN, 0, 2},
    {"a space after the dot is content", S("a\r\n. \r\n.\r\n"), S("a\r\n \r\n"),
	"", SMTP_DATA_CLEAN, 0, 1},
    {"tabs around the dot are content", S("a\r\n\t.\t\r\n.\r\n"),
	S("a\r\n\t.\t\r\n"), "", SMTP_DATA_CLEAN, 0, 3},
    {"VT and FF end no line", S("a\v.\v\f.\f\r\n.\r\n"), S("a\v.\v\f.\f\r\n"),
	"", SMTP_DATA_CLEAN, 0, 7},
    {"NEL ends no line", S("a\xc2\x85.\xc2\x85\r\n.\r\n"),
	S("a\xc2\x85.\xc2\x85\r\n"), "", SMTP_DATA_CLEAN, 0, 6},
    {"U+2028 ends no line", S("a\xe2\x80\xa8.\xe2\x80\xa8\r\n.\r\n"),
	S("a\xe2\x80\xa8.\xe2\x80\xa8\r\n"), "", SMTP_DATA_CLEAN, 0, 8},
    {"a full-width dot is content", S("a\r\n\xef\xbc\x8e\r\n.\r\n"),
	S("a\r\n\xef\xbc\x8e\r\n"), "", SMTP_DATA_CLEAN, 0, 3},
    {"CR and LF with the high bit end no line",
	S("a\x8d\x8a.\x8d\x8a\r\n.\r\n"), S("a\x8d\x8a.\x8d\x8a\r\n"), "",
	SMTP_DATA_CLEAN, 0, 6},

    {"T009 LF.LF is no end", S("a\n.\nMAIL\r\n.\r\n"), S("a\n.\nMAIL\r\n"), "",
	SMTP_DATA_BARE_LF, 1, 8},
    {"T010 LF.CRLF is no end", S("a\n.\r\nMAIL\r\n.\r\n"),
	S("a\n.\r\nMAIL\r\n"), "", SMTP_DATA_BARE_LF, 1, 4},
    {"T011 CRLF.LF is no end", S("a\r\n.\nMAIL\r\n.\r\n"), S("a\r\n\nMAIL\r\n"),
	"", SMTP_DATA_BARE_LF, 4, 5},
    {"T012 CR.CR is no end", S("a\r.\rMAIL\r\n.\r\n"), S("a\r.\rMAIL\r\n"), "",
	SMTP_DATA_BARE_CR, 1, 8},
    {"T013 CR.CRLF is no end", S("a\r.\r\nMAIL\r\n.\r\n"),
	S("a\r.\r\nMAIL\r\n"), "", SMTP_DATA_BARE_CR, 1, 4},
    {"T014 CR CR LF . CR CR LF is no end", S("a\r\r\n.\r\r\nMAIL\r\n.\r\n"),
	S("a\r\r\n\r\r\nMAIL\r\n"), "", SMTP_DATA_BARE_CR, 1, 4},
    {"CRLF . CR is no end", S("a\r\n.\rMAIL\r\n.\r\n"), S("a\r\n\rMAIL\r\n"),
	"", SMTP_DATA_BARE_CR, 4, 5},
    {"CRLF . CR CRLF is no end", S("a\r\n.\r\r\n.\r\n"), S("a\r\n\r\r\n"), "",
	SMTP_DATA_BARE_CR, 4, 1},
    {"LF CR . LF CR is no end", S("a\n\r.\n\rb\r\n.\r\n"), S("a\n\r.\n\rb\r\n"),
	"", SMTP_DATA_BARE_LF, 1, 7},
    {"T015 NUL before the dot is no end", S("a\r\n\0.\r\nMAIL\r\n.\r\n"),
	S("a\r\n\0.\r\nMAIL\r\n"), "", SMTP_DATA_NUL, 3, 4},
    {"T015 NUL after the dot is no end", S("a\r\n.\0\r\nMAIL\r\n.\r\n"),
	S("a\r\n\0\r\nMAIL\r\n"), "", SMTP_DATA_NUL, 4, 4},
    {"T015 NUL between CR and LF is no end", S("a\r\n.\r\0\nMAIL\r\n.\r\n"),
	S("a\r\n\r\0\nMAIL\r\n"), "", SMTP_DATA_BARE_CR, 4, 7},
    {"a NUL alone is remembered", S("a\0b\r\n.\r\n"), S("a\0b\r\n"), "",
	SMTP_DATA_NUL, 1, 3},
    {"the first fault counts: NUL, then LF", S("\0a\nb\r\n.\r\n"),
	S("\0a\nb\r\n"), "", SMTP_DATA_NUL, 0, 4},
    {"the first fault counts: LF, then NUL", S("a\nb\0\r\n.\r\n"),
	S("a\nb\0\r\n"), "", SMTP_DATA_BARE_LF, 1, 4},
    {"the first fault counts: CR, then LF", S("a\rb\nc\r\n.\r\n"),
	S("a\rb\nc\r\n"), "", SMTP_DATA_BARE_CR, 1, 5},
    {"LF at the very start", S("\n.\r\n\r\n.\r\n"), S("\n.\r\n\r\n"), "",
	SMTP_DATA_BARE_LF, 0, 2},
    {"CR, dot, CRLF at the very start", S("\r.\r\n.\r\n"), S("\r.\r\n"), "",
	SMTP_DATA_BARE_CR, 0, 2},
    {"a CR before the last CRLF", S("a\r\r\n.\r\n"), S("a\r\r\n"), "",
	SMTP_DATA_BARE_CR, 1, 2},
    {"faults after the end are not ours", S("a\r\n.\r\n\n\r\0"), S("a\r\n"),
	"\n\r", SMTP_DATA_CLEAN, 0, 1},

    {"no octet yet", S(""), S(""), NULL, SMTP_DATA_CLEAN, 0, 0},
    {"a dot alone is no end", S("."), S(""), NULL, SMTP_DATA_CLEAN, 0, 0},
    {"a dot and CR are no end", S(".\r"), S(""), NULL, SMTP_DATA_CLEAN, 0, 0},
    {"a dot in the middle is no end", S("a.\r\n"), S("a.\r\n"), NULL,
	SMTP_DATA_CLEAN, 0, 2},
    {"a line without end", S("abc"), S("abc"), NULL, SMTP_DATA_CLEAN, 0, 0},
    {"a CR that waits is no fault", S("abc\r"), S("abc\r"), NULL,
	SMTP_DATA_CLEAN, 0, 0},
};

struct collected {
	struct smtp_data d;
	struct buf content;
	enum parse_result result;
	size_t used;
};

static void
collect(void *context, const char *p, size_t n)
{
	(void)buf_add(context, p, n);
}

/* Pieces lie in memory of their own, so that a sanitizer sees a step beyond. */
static void
feed(struct collected *c, struct slice piece)
{
	char *copy;
	size_t used = 0;

	if (c->result == PARSE_OK)
		return;
	copy = slice_dup(piece);
	c->result = smtp_data_feed(
	    &c->d, (struct slice){copy, piece.n}, collect, &c->content, &used);
	c->used += used;
	free(copy);
}

/* First a piece of `first` octets, then pieces of `size`. */
static void
run(struct collected *c, struct slice wire, size_t first, size_t size)
{
	memset(c, 0, sizeof(*c));
	smtp_data_init(&c->d);
	buf_init(&c->content, 1 << 20);
	c->result = PARSE_MORE;
	feed(c, (struct slice){wire.p, first});
	for (size_t at = first; at < wire.n; at += size)
		feed(c, (struct slice){wire.p + at,
			    wire.n - at < size ? wire.n - at : size});
}

static bool
is_as_wanted(const struct row *r, const struct collected *c)
{
	const struct smtp_data *d = &c->d;
	bool has_end = r->rest != NULL;
	bool has_8bit = false;

	for (size_t i = 0; i < r->content.n; i++)
		has_8bit |= (r->content.p[i] & 0x80) != 0;
	return c->result == (has_end ? PARSE_OK : PARSE_MORE) &&
	       slice_equals(buf_slice(&c->content), r->content) &&
	       d->content_octets == r->content.n && d->wire_octets == c->used &&
	       d->fault == r->fault && d->fault_offset == r->fault_offset &&
	       d->longest_line_octets == r->longest &&
	       d->has_8bit == has_8bit &&
	       (has_end ? strncmp(r->wire.p + c->used, r->rest,
			      strlen(r->rest)) == 0
			: c->used == r->wire.n);
}

static void
test_rows(void)
{
	struct collected c;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];
		size_t bad = 0;

		run(&c, r->wire, r->wire.n, 1);
		if (!ok(is_as_wanted(r, &c), "%s, whole", r->label))
			diag("fault %d at %llu, longest %llu, used %zu",
			    (int)c.d.fault,
			    (unsigned long long)c.d.fault_offset,
			    (unsigned long long)c.d.longest_line_octets,
			    c.used);
		buf_clear(&c.content);
		run(&c, r->wire, 0, 1);
		ok(is_as_wanted(r, &c), "%s, by 1", r->label);
		buf_clear(&c.content);
		run(&c, r->wire, 0, 7);
		ok(is_as_wanted(r, &c), "%s, by 7", r->label);
		buf_clear(&c.content);
		for (size_t cut = 0; cut <= r->wire.n; cut++) {
			run(&c, r->wire, cut, r->wire.n + 1);
			bad += !is_as_wanted(r, &c);
			buf_clear(&c.content);
		}
		is_u64(bad, 0, "%s, cut anywhere", r->label);
	}
}

/* Each case pushed so that its octets lie across the edge of a buffer. */
static void
test_edges(void)
{
	static const size_t edges[] = {EDGE_SMALL, EDGE_LARGE};

	for (size_t e = 0; e < COUNT(edges); e++) {
		size_t edge = edges[e];
		size_t bad = 0;

		for (size_t i = 0; i < COUNT(rows); i++) {
			const struct row *r = &rows[i];
			char *wire = malloc(edge + r->wire.n + 2);

			if (wire == NULL || r->wire.n == 0) {
				free(wire);
				continue;
			}
			for (size_t before = 1; before < r->wire.n; before++) {
				struct collected c;
				size_t pad = edge - before;

				memset(wire, 'x', pad);
				memcpy(wire + pad - 2, "\r\n", 2);
				memcpy(wire + pad, r->wire.p, r->wire.n);
				run(&c, (struct slice){wire, pad + r->wire.n},
				    edge, edge);
				bad += c.result != (r->rest != NULL
							   ? PARSE_OK
							   : PARSE_MORE) ||
				       c.d.fault != r->fault ||
				       (r->fault != SMTP_DATA_CLEAN &&
					   c.d.fault_offset !=
					       pad + r->fault_offset) ||
				       c.content.n != pad + r->content.n;
				buf_clear(&c.content);
			}
			free(wire);
		}
		is_u64(bad, 0, "all cases across the edge at %zu", edge);
	}
}

static void
test_after_end(void)
{
	struct collected c;
	struct smtp_status status;
	size_t used = 7;

	run(&c, SLICE("a\r\n.\r\n"), 6, 1);
	is_int(smtp_data_feed(&c.d, SLICE("x"), collect, &c.content, &used),
	    PARSE_OK, "feeding after the end stays at the end");
	is_u64(used, 0, "and uses nothing");
	OK_DIES(smtp_data_refusal(&c.d, &status),
	    "a clean message cannot be refused for its octets");
	buf_clear(&c.content);
	run(&c, SLICE("a\nb\r\n.\r\n"), 9, 1);
	smtp_data_refusal(&c.d, &status);
	is_int(status.code, 554, "a bare LF is refused for good");
	is_str(status.text,
	    "Message refused: line feed without carriage return (at octet 1)",
	    "in a sentence that says where");
	buf_clear(&c.content);
}

static const struct {
	const char *label;
	struct slice content;
	const char *wire; /* NULL: refused */
} written[] = {
    {"nothing", S(""), ".\r\n"},
    {"one line", S("a\r\n"), "a\r\n.\r\n"},
    {"a missing line end is added", S("a"), "a\r\n.\r\n"},
    {"an empty line stays", S("\r\n"), "\r\n.\r\n"},
    {"a dot is stuffed", S(".\r\n"), "..\r\n.\r\n"},
    {"a dot without line end is stuffed", S("."), "..\r\n.\r\n"},
    {"dots at line starts only", S(".a.\r\nb.c\r\n..\r\n"),
	"..a.\r\nb.c\r\n...\r\n.\r\n"},
    {"an end inside is stuffed", S("a\r\n.\r\nMAIL\r\n"),
	"a\r\n..\r\nMAIL\r\n.\r\n"},
    {"a dot before an empty end", S("a\r\n.\r\n\r\n"), "a\r\n..\r\n\r\n.\r\n"},
    {"a bare LF is refused", S("a\nb\r\n"), NULL},
    {"a bare CR is refused", S("a\rb\r\n"), NULL},
    {"CR CR LF is refused", S("a\r\r\n"), NULL},
    {"a CR at the end is refused", S("a\r"), NULL},
    {"LF at the start is refused", S("\n"), NULL},
    {"LF.LF is refused", S("a\n.\nb\r\n"), NULL},
    {"LF after a line is refused", S("a\r\n\n"), NULL},
    {"NUL is refused", S("a\0\r\n"), NULL},
};

static int
stuff(struct slice content, size_t first, size_t size, struct buf *out)
{
	struct smtp_stuffer s;
	size_t n;
	int rc = 0;

	smtp_stuffer_init(&s);
	for (size_t at = 0; at < content.n && rc == 0; at += n) {
		char *copy;

		n = at == 0 && first > 0 ? first : size;
		n = n < content.n - at ? n : content.n - at;
		copy = malloc(n);
		if (copy == NULL)
			return -1;
		memcpy(copy, content.p + at, n);
		rc = smtp_data_stuff(&s, (struct slice){copy, n}, out, NULL);
		free(copy);
	}
	return rc == -1 ? -1 : smtp_data_stuff_end(&s, out, NULL);
}

static void
test_writer(void)
{
	struct buf out;

	for (size_t i = 0; i < COUNT(written); i++) {
		struct slice content = written[i].content;
		const char *want = written[i].wire;
		size_t bad = 0;

		for (size_t first = 0; first <= content.n; first++) {
			for (size_t size = 1; size < 9; size++) {
				bool is_done;

				buf_init(&out, 100);
				is_done =
				    stuff(content, first, size, &out) == 0;
				bad +=
				    is_done != (want != NULL) ||
				    (is_done && !slice_equals(buf_slice(&out),
						    slice_of(want)));
				buf_clear(&out);
			}
		}
		is_u64(bad, 0, "written: %s", written[i].label);
	}
	buf_init(&out, 4);
	is_int(
	    stuff(SLICE("abcdef"), 0, 6, &out), -1, "a full buffer is told of");
	buf_clear(&out);
	buf_init(&out, 4);
	is_int(stuff(SLICE("a\r\n"), 0, 6, &out), -1, "at the end, too");
	buf_clear(&out);
}

/* What the writer makes of clean content, the reader takes back. */
static void
test_round_trip(void)
{
	struct buf out;
	size_t bad = 0;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct collected c;

		if (rows[i].rest == NULL || rows[i].fault != SMTP_DATA_CLEAN)
			continue;
		buf_init(&out, 100);
		bad += stuff(rows[i].content, 0, 3, &out) != 0;
		run(&c, buf_slice(&out), 0, 5);
		bad += c.result != PARSE_OK ||
		       !slice_equals(buf_slice(&c.content), rows[i].content);
		buf_clear(&c.content);
		buf_clear(&out);
	}
	is_u64(bad, 0, "what is written is read back");
}

int
main(void)
{
	test_rows();
	test_edges();
	test_after_end();
	test_writer();
	test_round_trip();
	return tap_done();
}
