/* SPDX-License-Identifier: ISC */
/*
 * Finds out where a message has to change before it is signed, as a list of
 * places and what goes there; everything between them is copied.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mime.h"
#include "common/utf8.h"
#include "signer/canon.h"
#include "signer/canon_scan.h"
#include "signer/transfer.h"

#define READ_OCTETS 65536

/* More than one octet in six over 127: base64 is shorter to read and send. */
#define QP_HIGH_PART 6

/* So much of a body tells its charset. */
#define CHARSET_SAMPLE 65536

enum edit_kind {
	EDIT_CUT,
	EDIT_ENCODING, /* the field Content-Transfer-Encoding */
	EDIT_QP,       /* a leaf, to be encoded */
	EDIT_BASE64,
	EDIT_RENEW_QP, /* a leaf that is encoded, but badly */
	EDIT_RENEW_BASE64,
	EDIT_TYPE,    /* the field Content-Type, of a text that ... */
	EDIT_DISPLAY, /* ... shows a Subject */
};

struct edit {
	uint64_t start;
	uint64_t end;
	enum edit_kind kind;
	enum mime_encoding encoding; /* of EDIT_ENCODING, EDIT_DISPLAY */
	bool adds_blank_line;        /* the header had none */
	uint32_t part;               /* of EDIT_TYPE, EDIT_DISPLAY */
};

struct part {
	uint64_t start;
	uint64_t body_start;
	uint64_t body_end;
	uint64_t header_end;  /* behind the last field */
	uint64_t field_start; /* of Content-Transfer-Encoding; equal: none */
	uint64_t field_end;
	uint64_t gap_start; /* behind the last child so far */
	uint32_t parent;
	uint32_t child_count;
	enum mime_kind kind;
	enum mime_encoding encoding;
	bool is_root;
	bool is_open;      /* a container that was walked */
	bool is_protected; /* others signed it */
	bool is_text;
	bool is_fixed; /* message/..., two types: not to be encoded */
	bool has_type;
	bool has_blank_line;
	/* A main text: the first of a mixed, all of an alternative. */
	bool is_main;
	bool is_alternative;
	bool has_first; /* the first child began */
	bool displays;  /* the Subject */
	struct legacy_display display;
	char *type; /* Content-Type then, but for the root */
	uint64_t type_start;
	uint64_t type_end;
};

struct canon {
	struct content content;
	struct part *parts;
	size_t part_count;
	size_t part_capacity;
	struct edit *edits;
	size_t edit_count;
	size_t edit_capacity;
	bool is_full; /* more parts or edits than allowed: nothing changes */
	bool is_7bit;
	const char *root_encoding;
	const char *root_charset;
	struct slice subject; /* to be displayed; empty: none */
	unsigned displays;    /* parts that do */
};

/* ---- edits ---- */

static struct edit *
add_edit(struct canon *c, uint64_t start, uint64_t end, enum edit_kind kind)
{
	struct edit *e;

	if (c->edit_count == c->edit_capacity) {
		if (c->edit_capacity >= CANON_EDITS_MAX) {
			c->is_full = true;
			return &c->edits[c->edit_count - 1];
		}
		c->edit_capacity =
		    c->edit_capacity == 0 ? 16 : 2 * c->edit_capacity;
		c->edits =
		    xrealloc(c->edits, c->edit_capacity * sizeof(*c->edits));
	}
	e = &c->edits[c->edit_count++];
	*e = (struct edit){.start = start, .end = end, .kind = kind};
	return e;
}

static int
compare_edits(const void *a, const void *b)
{
	const struct edit *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

/* ---- pass one: the structure ---- */

static bool
is_protected_type(const struct mime_part *part)
{
	if (strcmp(part->type, "multipart") == 0)
		return strcmp(part->subtype, "signed") == 0 ||
		       strcmp(part->subtype, "encrypted") == 0;
	return strcmp(part->type, "application") == 0 &&
	       (strcmp(part->subtype, "pkcs7-mime") == 0 ||
		   strcmp(part->subtype, "x-pkcs7-mime") == 0);
}

/* Blanks before the line ends of a part's header, which relays cut. */
static void
trim_header(struct canon *c, struct slice block, uint64_t start)
{
	size_t at = 0;

	while (at < block.n) {
		size_t end = slice_find(block, '\n', at);
		size_t text_end = end;

		if (text_end > at && block.p[text_end - 1] == '\r')
			text_end--;
		end = text_end;
		while (text_end > at && (block.p[text_end - 1] == ' ' ||
					    block.p[text_end - 1] == '\t'))
			text_end--;
		/* A fold of blanks alone would become the end of the header. */
		if (text_end < end && text_end > at)
			(void)add_edit(
			    c, start + text_end, start + end, EDIT_CUT);
		at = slice_find(block, '\n', end) + 1;
	}
}

/* The header of a part other than the root, as its own bytes have it. */
static void
look_at_header(struct canon *c, struct part *p, const struct header *h)
{
	struct slice block = {h->p, h->block_end};
	struct content content = content_of(block);
	struct canon_facts facts;

	if (h->failure != HEADER_FAILURE_NONE ||
	    canon_scan(&content, 0, block.n, &facts, NULL) == -1 ||
	    !canon_facts_are_7bit(&facts))
		c->is_7bit = false;
	else if (facts.has_trailing && !p->is_protected)
		trim_header(c, block, p->start);
}

/* ---- pass one: who shows the Subject ---- */

/* RFC 9787 §7.1, by the places of the parts. */
static bool
is_main(struct part *parent, const struct mime_part *part, const struct part *p)
{
	bool is_first = !parent->has_first;

	if (p->is_root)
		return true;
	parent->has_first = true;
	return parent->is_main && parent->kind == MIME_MULTIPART &&
	       !parent->is_protected && part->opaque == MIME_CLEAR &&
	       (is_first || parent->is_alternative);
}

static void
prepare_display(struct canon *c, struct part *p, const struct mime_part *part,
    const struct header *h)
{
	const struct header_field *field = header_first(h, HDR_CONTENT_TYPE);
	struct mime_value value;
	struct buf type;

	if (c->subject.n == 0 || !p->is_main || p->is_protected ||
	    c->displays >= LEGACY_PARTS_MAX ||
	    !legacy_display_fits(c->subject, part, h, &p->display) ||
	    (field != NULL &&
		mime_value_parse(header_field_value(h, field), &value) == -1))
		return;
	c->displays++;
	p->displays = true;
	p->type_start = p->type_end = p->header_end;
	if (field != NULL) {
		p->type_start = p->start + field->start;
		p->type_end = p->start + field->end;
	}
	if (p->is_root)
		return;
	buf_init(&type, HEADER_SIZE_MAX);
	legacy_display_type(
	    field == NULL ? NULL : &value, "us-ascii", &p->display, &type);
	(void)buf_add_text(&type, "\r\n");
	if (type.overflowed)
		p->displays = false;
	else
		p->type = xstrdup(buf_text(&type));
	buf_clear(&type);
}

static void
on_begin(void *arg, const struct mime_part *part, const struct header *h)
{
	struct canon *c = arg;
	const struct header_field *field;
	struct part *parent;
	struct part *p;

	if (c->part_count == c->part_capacity) {
		c->part_capacity =
		    c->part_capacity == 0 ? 16 : 2 * c->part_capacity;
		c->parts =
		    xrealloc(c->parts, c->part_capacity * sizeof(*c->parts));
	}
	p = &c->parts[c->part_count++];
	*p = (struct part){
	    .start = part->start,
	    .body_start = part->body_start,
	    .body_end = part->body_start,
	    .header_end = part->start + h->block_end,
	    .gap_start = part->body_start,
	    .parent = part->parent,
	    .kind = part->kind,
	    .encoding = part->encoding,
	    .is_root = part->number == 0,
	    .is_open = part->kind != MIME_LEAF && part->opaque == MIME_CLEAR,
	    .is_text = strcmp(part->type, "text") == 0,
	    .is_fixed = strcmp(part->type, "message") == 0 ||
			part->opaque == MIME_OPAQUE_TYPE,
	    .has_type = header_count(h, HDR_CONTENT_TYPE) > 0,
	    .has_blank_line = h->end == HEADER_END_BLANK,
	    .is_alternative = strcmp(part->subtype, "alternative") == 0,
	};
	parent = &c->parts[part->parent];
	p->is_protected = is_protected_type(part);
	if (!p->is_root) {
		p->is_protected |= parent->is_protected;
		if (parent->kind == MIME_MESSAGE &&
		    header_count(h, HDR_DKIM_SIGNATURE) > 0)
			p->is_protected = true;
	}
	field = header_first(h, HDR_CONTENT_TRANSFER_ENCODING);
	p->field_start = p->field_end = p->header_end;
	if (field != NULL) {
		p->field_start = p->start + field->start;
		p->field_end = p->start + field->end;
	}
	p->is_main = is_main(parent, part, p);
	prepare_display(c, p, part, h);
	if (!p->is_root)
		look_at_header(c, p, h);
}

static void
on_end(void *arg, const struct mime_part *part)
{
	struct canon *c = arg;

	c->parts[part->number].body_end = part->body_end;
}

static int
walk(struct canon *c, struct err *err)
{
	const struct mime_events events = {on_begin, on_end, c};
	struct mime *m = mime_new(&events);
	char piece[READ_OCTETS];
	int rc = -1;

	if (c->content.fd == -1) {
		mime_feed(m, c->content.memory);
	} else {
		for (uint64_t at = 0; at < c->content.size;) {
			ssize_t n =
			    content_read(&c->content, at, piece, sizeof(piece));

			if (n <= 0) {
				err_set(err, "cannot read a content");
				goto out;
			}
			mime_feed(m, (struct slice){piece, (size_t)n});
			at += (uint64_t)n;
		}
	}
	mime_finish(m);
	c->is_full = !mime_is_complete(m);
	rc = 0;
out:
	mime_free(m);
	return rc;
}

/* ---- pass two: the bodies ---- */

/* The field of a leaf that is encoded differently from now on. */
static void
set_encoding(struct canon *c, struct part *p, enum mime_encoding encoding)
{
	struct edit *e;

	if (p->is_root) {
		c->root_encoding = mime_encoding_text(encoding);
		return;
	}
	e = add_edit(c, p->field_start, p->field_end, EDIT_ENCODING);
	e->encoding = encoding;
	e->adds_blank_line = !p->has_blank_line;
}

static void
encode_leaf(struct canon *c, struct part *p, const struct canon_facts *f)
{
	bool is_qp = p->is_text && !f->has_nul && !f->has_bare &&
		     f->high_count * QP_HIGH_PART <= f->size;

	(void)add_edit(
	    c, p->body_start, p->body_end, is_qp ? EDIT_QP : EDIT_BASE64);
	set_encoding(c, p,
	    is_qp ? MIME_ENCODING_QUOTED_PRINTABLE : MIME_ENCODING_BASE64);
}

/* The leaf's charset matters only where nothing names one. */
static const char *
guess_charset(const struct canon *c, const struct part *p)
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

static int
load_leaf(const struct canon *c, const struct part *p, struct buf *text,
    struct err *err)
{
	struct sink sink = sink_of_buf(text);

	return transfer_decode(
	    &sink, p->encoding, &c->content, p->body_start, p->body_end, err);
}

static bool
accepts_display(const struct canon *c, const struct part *p)
{
	struct buf text;
	bool accepts;

	if (p->body_end - p->body_start > LEGACY_TEXT_MAX)
		return false;
	buf_init(&text, LEGACY_TEXT_MAX);
	accepts = load_leaf(c, p, &text, NULL) == 0 &&
		  legacy_display_accepts(&p->display, buf_slice(&text));
	buf_clear(&text);
	return accepts;
}

/* All of the text is encoded anew, with the Subject in it. */
static void
display_leaf(struct canon *c, struct part *p, const struct canon_facts *f)
{
	bool is_base64 = p->encoding == MIME_ENCODING_BASE64 ||
			 (p->encoding != MIME_ENCODING_QUOTED_PRINTABLE &&
			     f->high_count * QP_HIGH_PART > f->size);
	enum mime_encoding encoding =
	    is_base64 ? MIME_ENCODING_BASE64 : MIME_ENCODING_QUOTED_PRINTABLE;
	uint32_t number = (uint32_t)(p - c->parts);
	struct edit *e;

	e = add_edit(c, p->body_start, p->body_end, EDIT_DISPLAY);
	e->encoding = encoding;
	e->part = number;
	if (!p->is_root) {
		e = add_edit(c, p->type_start, p->type_end, EDIT_TYPE);
		e->part = number;
	}
	if (encoding != p->encoding)
		set_encoding(c, p, encoding);
}

static int
look_at_leaf(struct canon *c, struct part *p, struct err *err)
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
			(void)add_edit(c, p->body_start, p->body_end,
			    p->encoding == MIME_ENCODING_BASE64
				? EDIT_RENEW_BASE64
				: EDIT_RENEW_QP);
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
		(void)add_edit(c, start + text_n, start + n, EDIT_CUT);
	return 0;
}

static int
look_at_gap(
    struct canon *c, const struct part *p, const struct gap *g, struct err *err)
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
		(void)add_edit(c, g->start, start, EDIT_CUT);
	if (g->is_last && end < g->end)
		(void)add_edit(c, end, g->end, EDIT_CUT);
	return trim_delimiter(c, start, end, err);
}

/* The gap of the parent before this part. */
static int
look_before(struct canon *c, const struct part *p, struct err *err)
{
	struct part *parent = &c->parts[p->parent];
	struct gap g = {.start = parent->gap_start, .end = p->start};

	if (p->is_root || parent->kind != MIME_MULTIPART)
		return 0;
	g.is_first = parent->gap_start == parent->body_start;
	parent->gap_start = p->body_end;
	parent->child_count++;
	return look_at_gap(c, parent, &g, err);
}

static int
look_at_bodies(struct canon *c, struct err *err)
{
	for (size_t i = 0; i < c->part_count; i++) {
		struct part *p = &c->parts[i];

		if (look_before(c, p, err) == -1)
			return -1;
		if (!p->is_open && look_at_leaf(c, p, err) == -1)
			return -1;
	}
	for (size_t i = 0; i < c->part_count; i++) {
		const struct part *p = &c->parts[i];
		struct gap g = {p->gap_start, p->body_end, false, true};

		if (p->is_open && p->kind == MIME_MULTIPART &&
		    look_at_gap(c, p, &g, err) == -1)
			return -1;
	}
	return 0;
}

/* Containers are what is in them. */
static void
relabel_containers(struct canon *c)
{
	if (!c->is_7bit)
		return;
	for (size_t i = 0; i < c->part_count; i++) {
		struct part *p = &c->parts[i];

		if (p->is_open && !p->is_protected &&
		    (p->encoding == MIME_ENCODING_8BIT ||
			p->encoding == MIME_ENCODING_BINARY))
			set_encoding(c, p, MIME_ENCODING_7BIT);
	}
}

int
canon_new_displaying(const struct content *content, struct slice subject,
    struct canon **canon_r, struct err *err)
{
	struct canon *c = xcalloc(1, sizeof(*c));

	c->content = *content;
	c->subject = subject;
	c->is_7bit = true;
	c->root_charset = "us-ascii";
	if (walk(c, err) == -1 ||
	    (!c->is_full && look_at_bodies(c, err) == -1)) {
		canon_free(c);
		return -1;
	}
	relabel_containers(c);
	if (c->is_full) {
		c->is_7bit = false;
		c->edit_count = 0;
		c->root_encoding = NULL;
	}
	if (c->edit_count > 0)
		qsort(
		    c->edits, c->edit_count, sizeof(*c->edits), compare_edits);
	*canon_r = c;
	return 0;
}

int
canon_new(
    const struct content *content, struct canon **canon_r, struct err *err)
{
	return canon_new_displaying(
	    content, (struct slice){NULL, 0}, canon_r, err);
}

const struct legacy_display *
canon_root_display(const struct canon *c)
{
	const struct part *root = &c->parts[0];

	return root->displays && !c->is_full ? &root->display : NULL;
}

void
canon_free(struct canon *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->part_count; i++)
		free(c->parts[i].type);
	free(c->parts);
	free(c->edits);
	free(c);
}

const char *
canon_root_encoding(const struct canon *c)
{
	return c->root_encoding;
}

const char *
canon_root_charset(const struct canon *c)
{
	return c->root_charset;
}

bool
canon_is_7bit(const struct canon *c)
{
	return c->is_7bit;
}

bool
canon_is_untouched(const struct canon *c)
{
	return c->edit_count == 0 && c->root_encoding == NULL;
}

/* ---- writing ---- */

static int
write_encoding(const struct edit *e, const struct sink *sink, struct err *err)
{
	if (sink_text(sink, "Content-Transfer-Encoding: ", err) == -1 ||
	    sink_text(sink, mime_encoding_text(e->encoding), err) == -1 ||
	    sink_text(sink, "\r\n", err) == -1)
		return -1;
	return e->adds_blank_line ? sink_text(sink, "\r\n", err) : 0;
}

static int
write_display(const struct canon *c, const struct edit *e,
    const struct sink *sink, struct err *err)
{
	const struct part *p = &c->parts[e->part];
	struct buf text, shown;
	struct content content;
	int rc = -1;

	buf_init(&text, LEGACY_TEXT_MAX);
	buf_init(&shown, LEGACY_TEXT_MAX + LEGACY_DISPLAY_MAX(c->subject.n));
	if (load_leaf(c, p, &text, err) == -1)
		goto out;
	if (legacy_display_insert(
		&p->display, c->subject, buf_slice(&text), &shown) == -1) {
		err_set(err, "a Subject is too long");
		goto out;
	}
	content = content_of(buf_slice(&shown));
	rc = e->encoding == MIME_ENCODING_BASE64
		 ? transfer_encode_base64(sink, &content, 0, content.size, err)
		 : transfer_encode_qp(sink, &content, 0, content.size, err);
out:
	buf_clear(&text);
	buf_clear(&shown);
	return rc;
}

static int
write_edit(const struct canon *c, const struct edit *e, const struct sink *sink,
    struct err *err)
{
	const struct content *in = &c->content;

	switch (e->kind) {
	case EDIT_CUT:
		return 0;
	case EDIT_ENCODING:
		return write_encoding(e, sink, err);
	case EDIT_QP:
		return transfer_encode_qp(sink, in, e->start, e->end, err);
	case EDIT_BASE64:
		return transfer_encode_base64(sink, in, e->start, e->end, err);
	case EDIT_RENEW_QP:
		return transfer_renew(sink, MIME_ENCODING_QUOTED_PRINTABLE, in,
		    e->start, e->end, err);
	case EDIT_RENEW_BASE64:
		return transfer_renew(
		    sink, MIME_ENCODING_BASE64, in, e->start, e->end, err);
	case EDIT_TYPE:
		return sink_text(sink, c->parts[e->part].type, err);
	case EDIT_DISPLAY:
		return write_display(c, e, sink, err);
	}
	return -1;
}

int
canon_write_body(
    const struct canon *c, const struct sink *sink, struct err *err)
{
	uint64_t at = c->parts[0].body_start;

	for (size_t i = 0; i < c->edit_count; i++) {
		const struct edit *e = &c->edits[i];

		/* A blank in a field that is replaced as a whole. */
		if (e->start < at)
			continue;
		if (sink_range(sink, &c->content, at, e->start, err) == -1 ||
		    write_edit(c, e, sink, err) == -1)
			return -1;
		at = e->end;
	}
	return sink_range(sink, &c->content, at, c->content.size, err);
}
