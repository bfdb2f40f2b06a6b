/* SPDX-License-Identifier: ISC */
/*
 * The original on its way back, in seven bits.  A message/rfc822 may have no
 * encoding of its own (RFC 2046 §5.2.1), but the parts in it may: a leaf with
 * 8-bit text goes in quoted-printable.
 * Runs in: postern-queued.  Trusts: nothing that came from outside.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mime.h"
#include "common/utf8.h"
#include "relay/dsn_parts.h"
#include "relay/dsn_text.h"

/* What comes with more is rarer than anybody's wish to have it back. */
#define PARTS_MAX 200

struct walk {
	struct mime_part parts[PARTS_MAX]; /* by number */
	size_t count;
	bool is_fixed; /* it has too many, or a signature over what they are */
};

static void
note_begin(void *arg, const struct mime_part *part, const struct header *header)
{
	struct walk *walk = arg;

	(void)header;
	walk->count++;
	if (part->number >= PARTS_MAX ||
	    (part->kind == MIME_MULTIPART &&
		strcmp(part->subtype, "signed") == 0))
		walk->is_fixed = true;
}

static void
note_end(void *arg, const struct mime_part *part)
{
	struct walk *walk = arg;

	if (part->number < PARTS_MAX)
		walk->parts[part->number] = *part;
}

static void
walk_message(struct walk *walk, struct slice message)
{
	const struct mime_events events = {note_begin, note_end, walk};
	struct mime *m = mime_new(&events);

	mime_feed(m, message);
	mime_finish(m);
	mime_free(m);
}

static struct slice
between(struct slice message, uint64_t start, uint64_t end)
{
	return (struct slice){message.p + start, (size_t)(end - start)};
}

static bool
has_free_encoding(const struct mime_part *part)
{
	return part->opaque == MIME_CLEAR &&
	       part->encoding <= MIME_ENCODING_BINARY;
}

/* RFC 2045 §6.4: what is a message is not encoded, whatever its kind. */
static bool
is_to_encode(struct slice message, const struct mime_part *part)
{
	return part->kind == MIME_LEAF && has_free_encoding(part) &&
	       strcmp(part->type, "message") != 0 &&
	       !utf8_is_ascii(
		   between(message, part->body_start, part->body_end));
}

/* A container that says "8bit" of itself holds none any more. */
static bool
is_to_relabel(const struct mime_part *part)
{
	return part->kind != MIME_LEAF && has_free_encoding(part) &&
	       part->encoding != MIME_ENCODING_7BIT;
}

static void
add_fields(
    struct slice block, bool is_root, const char *encoding, struct buf *out)
{
	struct header h;

	header_init(&h, 0);
	(void)header_read(&h, block);
	for (size_t i = 0; i < h.field_count; i++)
		if (h.fields[i].name != HDR_CONTENT_TRANSFER_ENCODING)
			(void)buf_add_slice(
			    out, header_field_text(&h, &h.fields[i]));
	if (is_root && header_count(&h, HDR_MIME_VERSION) == 0)
		(void)buf_add_text(out, "MIME-Version: 1.0\r\n");
	(void)buf_addf(out, "Content-Transfer-Encoding: %s\r\n\r\n", encoding);
	header_clear(&h);
}

/* The parts in their order, and what stands between them. */
static void
add_parts(const struct walk *walk, struct slice message, struct buf *out)
{
	uint64_t at = 0;

	for (size_t i = 0; i < walk->count; i++) {
		const struct mime_part *part = &walk->parts[i];
		bool is_encoded = is_to_encode(message, part);

		if (!is_encoded && !is_to_relabel(part))
			continue;
		(void)buf_add_slice(out, between(message, at, part->start));
		add_fields(between(message, part->start, part->body_start),
		    part->number == 0, is_encoded ? "quoted-printable" : "7bit",
		    out);
		at = part->body_start;
		if (!is_encoded)
			continue;
		dsn_add_quoted_printable(
		    out, between(message, at, part->body_end));
		at = part->body_end;
	}
	(void)buf_add_slice(out, between(message, at, message.n));
}

bool
dsn_add_7bit(struct slice message, struct buf *out)
{
	struct walk *walk = xcalloc(1, sizeof(*walk));
	size_t start = out->n;

	walk_message(walk, message);
	if (!walk->is_fixed)
		add_parts(walk, message, out);
	free(walk);
	/* Also what stands in fields, or between parts, has to be plain. */
	return out->n > start && !out->overflowed &&
	       utf8_is_ascii((struct slice){out->p + start, out->n - start});
}
