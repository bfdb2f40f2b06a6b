/* SPDX-License-Identifier: ISC */
/*
 * Walks MIME parts, line by line, with a stack of boundaries.
 * Runs in: every program that looks into mail.  Trusts: nothing in the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mime.h"
#include "common/mime_value.h"

/* "--", boundary, "--", padding, CR LF. */
#define DELIMITER_MAX (2 + MIME_BOUNDARY_MAX + 2 + MIME_PADDING_MAX + 2)

/* A part that has begun and not ended. */
struct frame {
	struct mime_part part;
	bool is_digest; /* its parts are messages by default */
	/* Delimiter lines are looked for while this is not 0. */
	size_t boundary_n;
	char boundary[MIME_BOUNDARY_MAX];
};

enum state {
	STATE_HEADER, /* of the innermost part, which has not begun yet */
	STATE_BODY,
};

struct mime {
	struct mime_events events;
	enum state state;
	struct header header;
	uint64_t offset; /* of the next byte */
	uint32_t part_count;
	bool is_capped;
	size_t open_boundaries; /* frames that have one */

	bool is_line_start;
	bool is_collecting; /* the line may be a delimiter so far */
	char last_byte;     /* before the next one */
	size_t line_n;
	char line[DELIMITER_MAX];

	/* The innermost is frames[frame_count - 1]. */
	size_t frame_count;
	struct frame frames[MIME_DEPTH_MAX + 1];
};

static const char *const encoding_texts[MIME_ENCODING_COUNT] = {
    [MIME_ENCODING_7BIT] = "7bit",
    [MIME_ENCODING_8BIT] = "8bit",
    [MIME_ENCODING_BINARY] = "binary",
    [MIME_ENCODING_QUOTED_PRINTABLE] = "quoted-printable",
    [MIME_ENCODING_BASE64] = "base64",
    [MIME_ENCODING_OTHER] = "other",
};

static const char *const opaque_texts[MIME_OPAQUE_COUNT] = {
    [MIME_CLEAR] = "walked",
    [MIME_OPAQUE_DEPTH] = "nested too deeply",
    [MIME_OPAQUE_BOUNDARY] = "no usable boundary",
    [MIME_OPAQUE_ENCODED] = "encoded as a whole",
    [MIME_OPAQUE_TYPE] = "no usable Content-Type",
    [MIME_OPAQUE_HEADER] = "broken or oversized header",
};

const char *
mime_encoding_text(enum mime_encoding encoding)
{
	return encoding_texts[encoding];
}

const char *
mime_opaque_text(enum mime_opaque opaque)
{
	return opaque_texts[opaque];
}

static struct frame *
innermost(struct mime *m)
{
	return &m->frames[m->frame_count - 1];
}

/* A new part below the innermost frame; its header comes next. */
static void
push_part(struct mime *m, uint64_t start)
{
	struct frame *f = &m->frames[m->frame_count];
	bool is_root = m->frame_count == 0;

	f->part = (struct mime_part){
	    .number = m->part_count++,
	    .parent = is_root ? 0 : innermost(m)->part.number,
	    .depth = (uint32_t)m->frame_count,
	    .start = start,
	};
	f->boundary_n = 0;
	f->is_digest = false;
	m->frame_count++;
	m->state = STATE_HEADER;
	header_reset(&m->header);
}

struct mime *
mime_new(const struct mime_events *events)
{
	struct mime *m = xcalloc(1, sizeof(*m));

	m->events = *events;
	m->is_line_start = true;
	header_init(&m->header, 0);
	push_part(m, 0);
	return m;
}

void
mime_free(struct mime *m)
{
	if (m == NULL)
		return;
	header_clear(&m->header);
	free(m);
}

bool
mime_is_complete(const struct mime *m)
{
	return !m->is_capped;
}

/* Lower case and cut to the room there is. */
static void
copy_name(struct slice name, char out[MIME_NAME_MAX + 1])
{
	size_t n = name.n < MIME_NAME_MAX ? name.n : MIME_NAME_MAX;

	for (size_t i = 0; i < n; i++) {
		char c = name.p[i];

		out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	out[n] = '\0';
}

static enum mime_encoding
read_encoding(const struct header *h)
{
	const struct header_field *field =
	    header_first(h, HDR_CONTENT_TRANSFER_ENCODING);
	struct mime_value value;

	if (field == NULL)
		return MIME_ENCODING_7BIT;
	if (header_count(h, HDR_CONTENT_TRANSFER_ENCODING) > 1 ||
	    mime_value_parse(header_field_value(h, field), &value) == -1)
		return MIME_ENCODING_OTHER;
	for (int i = 0; i < MIME_ENCODING_OTHER; i++)
		if (slice_equals_nocase(
			value.type, slice_of(encoding_texts[i])))
			return (enum mime_encoding)i;
	return MIME_ENCODING_OTHER;
}

static void
read_boundary(struct frame *f, const struct mime_value *value)
{
	struct buf boundary;

	buf_init(&boundary, MIME_BOUNDARY_MAX);
	if (mime_value_param_count(value, "boundary") > 1 ||
	    mime_value_param(value, "boundary", &boundary) == -1 ||
	    boundary.n == 0 || boundary.p[boundary.n - 1] == ' ') {
		f->part.opaque = MIME_OPAQUE_BOUNDARY;
	} else {
		memcpy(f->boundary, boundary.p, boundary.n);
		f->boundary_n = boundary.n;
	}
	buf_clear(&boundary);
}

static void
set_default_type(struct mime_part *part, bool is_message)
{
	copy_name(is_message ? SLICE("message") : SLICE("text"), part->type);
	copy_name(is_message ? SLICE("rfc822") : SLICE("plain"), part->subtype);
}

/* False: no field, or none that can be used; the default stands. */
static bool
read_type(
    const struct header *h, struct mime_part *part, struct mime_value *value_r)
{
	const struct header_field *field = header_first(h, HDR_CONTENT_TYPE);

	if (field == NULL)
		return false;
	if (header_count(h, HDR_CONTENT_TYPE) > 1 ||
	    mime_value_parse(header_field_value(h, field), value_r) == -1 ||
	    value_r->subtype.n == 0) {
		part->opaque = MIME_OPAQUE_TYPE;
		return false;
	}
	copy_name(value_r->type, part->type);
	copy_name(value_r->subtype, part->subtype);
	return true;
}

static enum mime_kind
kind_of(const struct mime_part *part)
{
	if (strcmp(part->type, "multipart") == 0)
		return MIME_MULTIPART;
	if (strcmp(part->type, "message") == 0 &&
	    (strcmp(part->subtype, "rfc822") == 0 ||
		strcmp(part->subtype, "global") == 0))
		return MIME_MESSAGE;
	return MIME_LEAF;
}

/* Why a container cannot be walked, as far as its own header tells. */
static enum mime_opaque
container_opaque(const struct frame *f)
{
	if (f->part.depth >= MIME_DEPTH_MAX)
		return MIME_OPAQUE_DEPTH;
	if (f->part.encoding > MIME_ENCODING_BINARY)
		return MIME_OPAQUE_ENCODED;
	return f->part.opaque;
}

static void
read_part_header(struct mime *m, struct frame *f)
{
	struct mime_value value;
	bool is_in_digest = m->frame_count > 1 && (f - 1)->is_digest;
	bool has_type;

	set_default_type(&f->part, is_in_digest);
	if (m->header.failure != HEADER_FAILURE_NONE) {
		f->part.opaque = MIME_OPAQUE_HEADER;
		return;
	}
	has_type = read_type(&m->header, &f->part, &value);
	f->part.encoding = read_encoding(&m->header);
	f->part.kind = kind_of(&f->part);
	if (f->part.kind == MIME_LEAF)
		return;
	/* The line that broke the header would be the first of the body. */
	if (m->header.end == HEADER_END_NOT_A_FIELD)
		f->part.opaque = MIME_OPAQUE_HEADER;
	else
		f->part.opaque = container_opaque(f);
	if (f->part.opaque != MIME_CLEAR || f->part.kind != MIME_MULTIPART ||
	    !has_type)
		return;
	f->is_digest = strcmp(f->part.subtype, "digest") == 0;
	read_boundary(f, &value);
	m->open_boundaries += f->boundary_n > 0;
}

/*
 * The header of the innermost part is read.  The part in a message/rfc822
 * starts right here, so that one line may begin several parts: a loop, as the
 * header of each comes only after the one before.
 */
static void
begin_part(struct mime *m)
{
	struct frame *f = innermost(m);
	bool is_readable = m->header.failure == HEADER_FAILURE_NONE;

	f->part.body_start =
	    f->part.start + (is_readable ? m->header.body_offset : 0);
	read_part_header(m, f);
	m->state = STATE_BODY;
	if (m->events.begin != NULL)
		m->events.begin(m->events.arg, &f->part, &m->header);
	if (f->part.kind != MIME_MESSAGE || f->part.opaque != MIME_CLEAR)
		return;
	if (m->part_count == MIME_PARTS_MAX)
		m->is_capped = true;
	else
		push_part(m, f->part.body_start);
}

/* Ends the innermost part at that offset. */
static void
end_part(struct mime *m, uint64_t end)
{
	struct frame *f;

	/* Its header may have no end of its own; each turn may open one. */
	while (m->state == STATE_HEADER) {
		(void)header_finish(&m->header);
		begin_part(m);
	}
	f = innermost(m);
	f->part.body_end = end > f->part.body_start ? end : f->part.body_start;
	m->open_boundaries -= f->boundary_n > 0;
	m->frame_count--;
	if (m->events.end != NULL)
		m->events.end(m->events.arg, &f->part);
}

static void
feed_header(struct mime *m, struct slice piece)
{
	if (m->state == STATE_HEADER &&
	    header_feed(&m->header, piece) != PARSE_MORE)
		begin_part(m);
}

/* A delimiter of frames[at], whose line starts at that offset. */
static void
take_delimiter(struct mime *m, size_t at, bool is_close, uint64_t line_start)
{
	uint64_t end = line_start >= 2 ? line_start - 2 : 0;

	while (m->frame_count - 1 > at)
		end_part(m, end);
	m->state = STATE_BODY;
	if (is_close) {
		m->frames[at].boundary_n = 0;
		m->open_boundaries--;
	} else if (m->part_count == MIME_PARTS_MAX) {
		m->is_capped = true;
	} else {
		push_part(m, m->offset);
	}
}

/* Whether the line is "--" boundary, or "--" boundary "--". */
static bool
line_matches(struct slice line, const struct frame *f, bool *is_close_r)
{
	size_t n = f->boundary_n;

	if (n == 0 || line.n < 2 + n || line.n > 2 + n + 2 ||
	    memcmp(line.p + 2, f->boundary, n) != 0)
		return false;
	*is_close_r = line.n == 2 + n + 2;
	return line.n == 2 + n ||
	       (*is_close_r && memcmp(line.p + 2 + n, "--", 2) == 0);
}

/*
 * The line that was collected, without its end.  The innermost boundary is
 * tried first; one of an outer part ends all within it (RFC 2046 §5.1.2).
 */
static bool
try_delimiter(struct mime *m, struct slice line)
{
	uint64_t line_start = m->offset - m->line_n;
	bool is_close;

	line = slice_trim(line);
	for (size_t i = m->frame_count; i-- > 0;) {
		if (line_matches(line, &m->frames[i], &is_close)) {
			take_delimiter(m, i, is_close, line_start);
			return true;
		}
	}
	return false;
}

static void
forget_line(struct mime *m)
{
	m->is_collecting = false;
	m->line_n = 0;
}

/* What was collected is not a delimiter, so it belongs to the part. */
static void
give_up_collecting(struct mime *m)
{
	feed_header(m, (struct slice){m->line, m->line_n});
	forget_line(m);
}

static void
collect_byte(struct mime *m, char c)
{
	m->line[m->line_n++] = c;
	m->offset++;
	if (c == '\n' && m->last_byte == '\r') {
		m->is_line_start = true;
		if (try_delimiter(m, (struct slice){m->line, m->line_n - 2}))
			forget_line(m);
		else
			give_up_collecting(m);
	} else if (m->line_n == DELIMITER_MAX || (m->line_n <= 2 && c != '-')) {
		give_up_collecting(m);
	}
	m->last_byte = c;
}

/* Up to the end of the line or of the piece; returns how much that was. */
static size_t
take_rest_of_line(struct mime *m, struct slice rest)
{
	size_t lf = slice_find(rest, '\n', 0);
	size_t n = lf < rest.n ? lf + 1 : rest.n;
	char before = lf > 0 ? rest.p[lf - 1] : m->last_byte;

	m->offset += n;
	feed_header(m, (struct slice){rest.p, n});
	m->is_line_start = lf < rest.n && before == '\r';
	m->last_byte = rest.p[n - 1];
	return n;
}

void
mime_feed(struct mime *m, struct slice piece)
{
	size_t at = 0;

	while (at < piece.n) {
		/* Nothing to look for: the rest is content. */
		if (m->is_capped ||
		    (m->state == STATE_BODY && m->open_boundaries == 0)) {
			m->offset += piece.n - at;
			return;
		}
		if (m->is_line_start) {
			m->is_line_start = false;
			m->is_collecting = piece.p[at] == '-';
		}
		if (m->is_collecting)
			collect_byte(m, piece.p[at++]);
		else
			at += take_rest_of_line(
			    m, (struct slice){piece.p + at, piece.n - at});
	}
}

/* The last line may lack its end, and be a delimiter all the same. */
static void
take_last_line(struct mime *m)
{
	if (!m->is_collecting)
		return;
	if (m->line_n < 2 ||
	    !try_delimiter(m, (struct slice){m->line, m->line_n}))
		give_up_collecting(m);
}

void
mime_finish(struct mime *m)
{
	if (m->frame_count == 0)
		bug("mime_finish: called twice");
	if (!m->is_capped)
		take_last_line(m);
	while (m->frame_count > 0)
		end_part(m, m->offset);
}
