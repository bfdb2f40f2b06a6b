/* SPDX-License-Identifier: ISC */
/*
 * The first pass over a message that will be signed: its parts, which of them
 * others have signed, which show the Subject, and their headers.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <stdlib.h>
#include <string.h>

#include "signer/canon_parts.h"
#include "signer/canon_scan.h"

/* ---- headers ---- */

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
			(void)canon_add_edit(
			    c, start + text_end, start + end, CANON_EDIT_CUT);
		at = slice_find(block, '\n', end) + 1;
	}
}

/* The header of a part other than the root, as its own bytes have it. */
static void
look_at_header(struct canon *c, struct canon_part *p, const struct header *h)
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

/* ---- who shows the Subject ---- */

/* RFC 9787 §7.1, by the places of the parts. */
static bool
is_main(struct canon_part *parent, const struct mime_part *part,
    const struct canon_part *p)
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
prepare_display(struct canon *c, struct canon_part *p,
    const struct mime_part *part, const struct header *h)
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

/* ---- the walk ---- */

static void
on_begin(void *arg, const struct mime_part *part, const struct header *h)
{
	struct canon *c = arg;
	const struct header_field *field;
	struct canon_part *parent;
	struct canon_part *p;

	if (c->part_count == c->part_capacity) {
		c->part_capacity =
		    c->part_capacity == 0 ? 16 : 2 * c->part_capacity;
		c->parts =
		    xrealloc(c->parts, c->part_capacity * sizeof(*c->parts));
	}
	p = &c->parts[c->part_count++];
	*p = (struct canon_part){
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

int
canon_walk(struct canon *c, struct err *err)
{
	const struct mime_events events = {on_begin, on_end, c};
	struct mime *m = mime_new(&events);
	int rc = content_feed(&c->content, m, err);

	c->is_full = !mime_is_complete(m);
	mime_free(m);
	return rc;
}
