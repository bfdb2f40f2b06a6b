/* SPDX-License-Identifier: ISC */
/*
 * Finds out where a message has to change before it is signed, as a list of
 * places and what goes there; everything between them is copied.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <stdlib.h>

#include "signer/canon_parts.h"
#include "signer/transfer.h"

/* ---- edits ---- */

struct canon_edit *
canon_add_edit(
    struct canon *c, uint64_t start, uint64_t end, enum canon_edit_kind kind)
{
	struct canon_edit *e;

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
	*e = (struct canon_edit){.start = start, .end = end, .kind = kind};
	return e;
}

static int
compare_edits(const void *a, const void *b)
{
	const struct canon_edit *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

/* ---- both passes ---- */

int
canon_new_displaying(const struct content *content, struct slice subject,
    struct canon **canon_r, struct err *err)
{
	struct canon *c = xcalloc(1, sizeof(*c));

	c->content = *content;
	c->subject = subject;
	c->is_7bit = true;
	c->root_charset = "us-ascii";
	if (canon_walk(c, err) == -1 ||
	    (!c->is_full && canon_body_look(c, err) == -1)) {
		canon_free(c);
		return -1;
	}
	canon_body_relabel(c);
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
	const struct canon_part *root = &c->parts[0];

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
write_encoding(
    const struct canon_edit *e, const struct sink *sink, struct err *err)
{
	if (sink_text(sink, "Content-Transfer-Encoding: ", err) == -1 ||
	    sink_text(sink, mime_encoding_text(e->encoding), err) == -1 ||
	    sink_text(sink, "\r\n", err) == -1)
		return -1;
	return e->adds_blank_line ? sink_text(sink, "\r\n", err) : 0;
}

static int
write_display(const struct canon *c, const struct canon_edit *e,
    const struct sink *sink, struct err *err)
{
	const struct canon_part *p = &c->parts[e->part];
	struct buf text, shown;
	struct content content;
	int rc = -1;

	buf_init(&text, LEGACY_TEXT_MAX);
	buf_init(&shown, LEGACY_TEXT_MAX + LEGACY_DISPLAY_MAX(c->subject.n));
	if (canon_body_load(c, p, &text, err) == -1)
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
write_edit(const struct canon *c, const struct canon_edit *e,
    const struct sink *sink, struct err *err)
{
	const struct content *in = &c->content;

	switch (e->kind) {
	case CANON_EDIT_CUT:
		return 0;
	case CANON_EDIT_ENCODING:
		return write_encoding(e, sink, err);
	case CANON_EDIT_QP:
		return transfer_encode_qp(sink, in, e->start, e->end, err);
	case CANON_EDIT_BASE64:
		return transfer_encode_base64(sink, in, e->start, e->end, err);
	case CANON_EDIT_RENEW_QP:
		return transfer_renew(sink, MIME_ENCODING_QUOTED_PRINTABLE, in,
		    e->start, e->end, err);
	case CANON_EDIT_RENEW_BASE64:
		return transfer_renew(
		    sink, MIME_ENCODING_BASE64, in, e->start, e->end, err);
	case CANON_EDIT_TYPE:
		return sink_text(sink, c->parts[e->part].type, err);
	case CANON_EDIT_DISPLAY:
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
		const struct canon_edit *e = &c->edits[i];

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
