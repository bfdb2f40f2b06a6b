/* SPDX-License-Identifier: ISC */
/*
 * The second pass over a message that will be signed: which leaves need another
 * transfer encoding, and what stands between the parts.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <stdlib.h>

#include "common/utf8.h"
#include "signer/canon_parts.h"
#include "signer/canon_scan.h"
#include "signer/transfer.h"

/* More than one octet in six over 127: base64 is shorter to read and send. */
#define QP_HIGH_PART 6

/* So much of a body tells its charset. */
#define CHARSET_SAMPLE 65536

/* ---- leaves ---- */

/* The field of a leaf that is encoded differently from now on. */
static void
set_encoding(struct canon *c, struct canon_part *p, enum mime_encoding encoding)
{
	struct canon_edit *e;

	if (p->is_root) {
		c->root_encoding = mime_encoding_text(encoding);
		return;
	}
	e = canon_add_edit(
	    c, p->field_start, p->field_end, CANON_EDIT_ENCODING);
	e->encoding = encoding;
	e->adds_blank_line = !p->has_blank_line;
}

static void
encode_leaf(struct canon *c, struct canon_part *p, const struct canon_facts *f)
{
	bool is_qp = p->is_text && !f->has_nul && !f->has_bare &&
		     f->high_count * QP_HIGH_PART <= f->size;

	(void)canon_add_edit(c, p->body_start, p->body_end,
	    is_qp ? CANON_EDIT_QP : CANON_EDIT_BASE64);
	set_encoding(c, p,
	    is_qp ? MIME_ENCODING_QUOTED_PRINTABLE : MIME_ENCODING_BASE64);
}

/* The leaf's charset matters only where nothing names one. */
static const char *
guess_charset(const struct canon *c, const struct canon_part *p)
{
	static const size_t sequence_max = 4;
	uint64_t size = p->body_end - p->body_start;
	size_t n = size < CHARSET_SAMPLE ? (size_t)size : CHARSET_SAMPLE;
	char *sample = xmalloc(n + 1);
	struct slice s = {sample, n};
	const char *name = "unknown-8bit"; /* RFC 1428 */
	uint32_t code;

	if (content_read(&c->content, p->body_start, sample, n) == (ssize_t)n) {
		size_t step = 1;

		while (s.n > 0 && (step = utf8_decode(s, &code)) > 0) {
			s.p += step;
			s.n -= step;
		}
		/* The sample may end within a character. */
		if (s.n == 0 || (n < size && s.n < sequence_max))
			name = "utf-8";
	}
	free(sample);
	return name;
}

int
canon_body_load(const struct canon *c, const struct canon_part *p,
    struct buf *text, struct err *err)
{
	struct sink sink = sink_of_buf(text);

	return transfer_decode(
	    &sink, p->encoding, &c->content, p->body_start, p->body_end, err);
}

static bool
accepts_display(const struct canon *c, const struct canon_part *p)
{
	struct buf text;
	bool accepts;

	if (p->body_end - p->body_start > LEGACY_TEXT_MAX)
		return false;
	buf_init(&text, LEGACY_TEXT_MAX);
	accepts = canon_body_load(c, p, &text, NULL) == 0 &&
		  legacy_display_accepts(&p->display, buf_slice(&text));
	buf_clear(&text);
	return accepts;
}

/* All of the text is encoded anew, with the Subject in it. */
static void
display_leaf(struct canon *c, struct canon_part *p, const struct canon_facts *f)
{
	bool is_base64 = p->encoding == MIME_ENCODING_BASE64 ||
			 (p->encoding != MIME_ENCODING_QUOTED_PRINTABLE &&
			     f->high_count * QP_HIGH_PART > f->size);
	enum mime_encoding encoding =
	    is_base64 ? MIME_ENCODING_BASE64 : MIME_ENCODING_QUOTED_PRINTABLE;
	uint32_t number = (uint32_t)(p - c->parts);
	struct canon_edit *e;

	e = canon_add_edit(c, p->body_start, p->body_end, CANON_EDIT_DISPLAY);
	e->encoding = encoding;
	e->part = number;
	if (!p->is_root) {
		e = canon_add_edit(
		    c, p->type_start, p->type_end, CANON_EDIT_TYPE);
		e->part = number;
	}
	if (encoding != p->encoding)
		set_encoding(c, p, encoding);
}

static int
look_at_leaf(struct canon *c, struct canon_part *p, struct err *err)
{
	struct canon_facts f;

	if (canon_scan(&c->content, p->body_start, p->body_end, &f, err) == -1)
		return -1;
	if (p->is_root && !p->has_type && f.high_count > 0)
		c->root_charset = guess_charset(c, p);
	if (p->is_protected || p->is_fixed || p->kind != MIME_LEAF ||
	    p->encoding == MIME_ENCODING_OTHER) {
		if (!canon_facts_are_7bit(&f))
			c->is_7bit = false;
		return 0;
	}
	p->displays = p->displays && accepts_display(c, p);
	if (p->displays) {
		display_leaf(c, p, &f);
		return 0;
	}
	switch (p->encoding) {
	case MIME_ENCODING_QUOTED_PRINTABLE:
	case MIME_ENCODING_BASE64:
		if (!canon_facts_are_clean(&f))
			(void)canon_add_edit(c, p->body_start, p->body_end,
			    p->encoding == MIME_ENCODING_BASE64
				? CANON_EDIT_RENEW_BASE64
				: CANON_EDIT_RENEW_QP);
		break;
	default:
		if (!canon_facts_are_clean(&f))
			encode_leaf(c, p, &f);
		else if (p->encoding != MIME_ENCODING_7BIT)
			set_encoding(c, p, MIME_ENCODING_7BIT);
		break;
	}
	return 0;
}

/* ---- between the parts ---- */

/*
 * What stands between the parts of a multipart: a delimiter line, before the
 * first a preamble, behind the last an epilogue, which no one reads.
 */
struct gap {
	uint64_t start;
	uint64_t end;
	bool is_first;
	bool is_last;
};

/* Where in the gap the delimiter line stands; found by its "--". */
static int
find_delimiter(const struct canon *c, const struct gap *g, uint64_t *start_r,
    uint64_t *end_r, struct err *err)
{
	char line[2 + 2 + MIME_BOUNDARY_MAX + 2 + MIME_PADDING_MAX + 2];
	size_t n = sizeof(line);
	uint64_t from = g->start;
	size_t at = 0;
	size_t end;

	if (g->end - g->start < n)
		n = (size_t)(g->end - g->start);
	/* The last line of a gap that a part follows, else the first. */
	if (!g->is_last)
		from = g->end - n;
	if (content_read(&c->content, from, line, n) != (ssize_t)n)
		return err_set(err, "cannot read a content");
	if (!g->is_last) {
		at = n >= 2 ? n - 2 : 0;
		while (at > 0 && line[at - 1] != '\n')
			at--;
		end = n;
	} else {
		if (n >= 2 && line[0] == '\r' && line[1] == '\n')
			at = 2;
		end = slice_find((struct slice){line, n}, '\n', at);
		end = end < n ? end + 1 : n;
	}
	*start_r = from + at;
	*end_r = from + end;
	return 0;
}

/* Cuts blanks behind the delimiter that lies in [start, end). */
static int
trim_delimiter(struct canon *c, uint64_t start, uint64_t end, struct err *err)
{
	char line[2 + MIME_BOUNDARY_MAX + 2 + MIME_PADDING_MAX + 2];
	size_t n = (size_t)(end - start);
	size_t text_n;

	if (n > sizeof(line))
		return err_set(err, "a delimiter is too long");
	if (content_read(&c->content, start, line, n) != (ssize_t)n)
		return err_set(err, "cannot read a content");
	if (n >= 2 && line[n - 2] == '\r' && line[n - 1] == '\n')
		n -= 2;
	text_n = n;
	while (
	    text_n > 0 && (line[text_n - 1] == ' ' || line[text_n - 1] == '\t'))
		text_n--;
	if (text_n < n)
		(void)canon_add_edit(
		    c, start + text_n, start + n, CANON_EDIT_CUT);
	return 0;
}

static int
look_at_gap(struct canon *c, const struct canon_part *p, const struct gap *g,
    struct err *err)
{
	struct canon_facts f;
	uint64_t start = 0, end = 0;

	if (g->start >= g->end)
		return 0;
	if (canon_scan(&c->content, g->start, g->end, &f, err) == -1)
		return -1;
	/* Without any delimiter nobody knows what is in it. */
	if (p->is_protected || p->child_count == 0) {
		if (!canon_facts_are_7bit(&f))
			c->is_7bit = false;
		return 0;
	}
	if (canon_facts_are_clean(&f))
		return 0;
	if (find_delimiter(c, g, &start, &end, err) == -1)
		return -1;
	if (g->is_first && start > g->start)
		(void)canon_add_edit(c, g->start, start, CANON_EDIT_CUT);
	if (g->is_last && end < g->end)
		(void)canon_add_edit(c, end, g->end, CANON_EDIT_CUT);
	return trim_delimiter(c, start, end, err);
}

/* The gap of the parent before this part. */
static int
look_before(struct canon *c, const struct canon_part *p, struct err *err)
{
	struct canon_part *parent = &c->parts[p->parent];
	struct gap g = {.start = parent->gap_start, .end = p->start};

	if (p->is_root || parent->kind != MIME_MULTIPART)
		return 0;
	g.is_first = parent->gap_start == parent->body_start;
	parent->gap_start = p->body_end;
	parent->child_count++;
	return look_at_gap(c, parent, &g, err);
}

/* ---- all of it ---- */

int
canon_body_look(struct canon *c, struct err *err)
{
	for (size_t i = 0; i < c->part_count; i++) {
		struct canon_part *p = &c->parts[i];

		if (look_before(c, p, err) == -1)
			return -1;
		if (!p->is_open && look_at_leaf(c, p, err) == -1)
			return -1;
	}
	for (size_t i = 0; i < c->part_count; i++) {
		const struct canon_part *p = &c->parts[i];
		struct gap g = {p->gap_start, p->body_end, false, true};

		if (p->is_open && p->kind == MIME_MULTIPART &&
		    look_at_gap(c, p, &g, err) == -1)
			return -1;
	}
	return 0;
}

/* Containers are what is in them. */
void
canon_body_relabel(struct canon *c)
{
	if (!c->is_7bit)
		return;
	for (size_t i = 0; i < c->part_count; i++) {
		struct canon_part *p = &c->parts[i];

		if (p->is_open && !p->is_protected &&
		    (p->encoding == MIME_ENCODING_8BIT ||
			p->encoding == MIME_ENCODING_BINARY))
			set_encoding(c, p, MIME_ENCODING_7BIT);
	}
}
