/* SPDX-License-Identifier: ISC */
/*
 * Takes a message apart into what is protected and what stays outside.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the message, but
 * that its sender was checked when it came in.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/rand.h>

#include "common/mime_value.h"
#include "common/mime_word.h"
#include "signer/canon.h"
#include "signer/canon_scan.h"
#include "signer/entity.h"
#include "signer/removals.h"
#include "signer/shape_sealed.h"

/* Header blocks are read in pieces of this size. */
#define READ_OCTETS 16384
/* A Subject, encoded anew. */
#define FIELD_MAX HEADER_SIZE_MAX

#define OBSCURED_SUBJECT "Subject: [...]\r\n" /* RFC 9788 §3.2.1 */

struct entity {
	const struct content *message;
	struct ipc_list removals;
	struct shape shape;
	struct header header;
	struct canon *canon; /* made when it is needed */
	bool is_canon_tried;
	struct err canon_err;
	struct buf subject; /* the field without what triggered */
	bool has_new_subject;
	struct buf displayed; /* the Subject as people read it; else empty */
};

static int
read_header(struct entity *e, struct err *err)
{
	char piece[READ_OCTETS];
	uint64_t at = 0;
	int rc = PARSE_MORE;

	while (rc == PARSE_MORE && at < e->message->size) {
		ssize_t n = content_read(e->message, at, piece, sizeof(piece));

		if (n <= 0)
			return err_set(err, "cannot read a content");
		rc = header_feed(&e->header, (struct slice){piece, (size_t)n});
		at += (uint64_t)n;
	}
	if (rc == PARSE_MORE)
		rc = header_finish(&e->header);
	if (rc != PARSE_OK)
		return err_set(
		    err, "%s", header_failure_text(e->header.failure));
	return 0;
}

int
entity_open(const struct content *message, struct ipc_list removals,
    struct entity **entity_r, struct err *err)
{
	struct entity *e = xcalloc(1, sizeof(*e));
	const struct header_field *subject;

	e->message = message;
	e->removals = removals;
	header_init(&e->header, 0);
	buf_init(&e->subject, FIELD_MAX);
	buf_init(&e->displayed, FIELD_MAX);
	if (read_header(e, err) == -1 ||
	    shape_read(message, &e->shape, err) == -1) {
		entity_close(e);
		return -1;
	}
	shape_look_sealed(message, &e->shape);
	subject = header_first(&e->header, HDR_SUBJECT);
	if (subject != NULL)
		e->has_new_subject = removals_clean_subject(removals,
		    header_field_value(&e->header, subject), &e->subject);
	*entity_r = e;
	return 0;
}

void
entity_close(struct entity *e)
{
	if (e == NULL)
		return;
	canon_free(e->canon);
	header_clear(&e->header);
	buf_clear(&e->subject);
	buf_clear(&e->displayed);
	free(e);
}

const struct shape *
entity_shape(const struct entity *e)
{
	return &e->shape;
}

/* ---- which field goes where ---- */

static bool
is_structural(struct slice name)
{
	return slice_starts_nocase(name, "Content-") ||
	       slice_equals_nocase(name, SLICE("MIME-Version"));
}

/*
 * What relays add and change, and what says who else got it: not what the
 * sender wrote for the reader, so never protected (RFC 9788 §1.1.2).
 */
static bool
is_trace(struct slice name)
{
	static const char *const names[] = {"Received", "Return-Path",
	    "Delivered-To", "Authentication-Results", "DKIM-Signature",
	    "Received-SPF", "Bcc", "HP-Outer"};
	static const char *const prefixes[] = {"ARC-", "Resent-", "X-Postern-"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equals_nocase(name, slice_of(names[i])))
			return true;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (slice_starts_nocase(name, prefixes[i]))
			return true;
	return false;
}

static bool
protects(const struct entity *e, const struct entity_wishes *wishes)
{
	return (wishes->protects_headers || wishes->obscures_subject) &&
	       !shape_is_signed(&e->shape) && !shape_is_encrypted(&e->shape);
}

/* Also of what its sender signed: what is outside he did not sign. */
static bool
obscures(const struct entity *e, const struct entity_wishes *wishes)
{
	return wishes->obscures_subject && wishes->is_encrypted &&
	       !shape_is_encrypted(&e->shape);
}

/* The field without what triggered; empty when all of it goes. */
static struct slice
cleaned(const struct entity *e, const struct header_field *field)
{
	struct slice name = header_field_name(&e->header, field);

	if (removals_name_field(e->removals, name))
		return (struct slice){NULL, 0};
	if (!e->has_new_subject || field->name != HDR_SUBJECT)
		return header_field_text(&e->header, field);
	/* A second Subject could still hold what triggered. */
	if (field != header_first(&e->header, HDR_SUBJECT))
		return (struct slice){NULL, 0};
	return buf_slice(&e->subject);
}

/* As it is outside, or empty. */
static struct slice
outer_of(const struct entity *e, const struct entity_wishes *wishes,
    const struct header_field *field)
{
	struct slice name = header_field_name(&e->header, field);

	if (is_structural(name))
		return (struct slice){NULL, 0};
	/* It has a meaning inside alone (RFC 9788 §2.2). */
	if (protects(e, wishes) && slice_equals_nocase(name, SLICE("HP-Outer")))
		return (struct slice){NULL, 0};
	if (obscures(e, wishes)) {
		if (header_tells_subject(name))
			return (struct slice){NULL, 0};
		if (field->name == HDR_SUBJECT)
			return SLICE(OBSCURED_SUBJECT);
	}
	return cleaned(e, field);
}

/*
 * Programs that do not know of protected headers show what is outside; for
 * them the Subject is also in the text, where it is told apart (RFC 9788
 * §5.2.1).
 */
static void
read_displayed(struct entity *e, const struct entity_wishes *wishes)
{
	const struct header_field *field =
	    header_first(&e->header, HDR_SUBJECT);
	struct slice text;
	size_t colon;

	if (!wishes->displays_subject || !protects(e, wishes) ||
	    !obscures(e, wishes) || field == NULL)
		return;
	text = cleaned(e, field);
	colon = slice_find(text, ':', 0);
	if (colon < text.n)
		(void)mime_word_decode(
		    slice_trim(
			(struct slice){text.p + colon + 1, text.n - colon - 1}),
		    &e->displayed, NULL);
}

static struct canon *
canon_of(struct entity *e, const struct entity_wishes *wishes, struct err *err)
{
	if (!e->is_canon_tried) {
		e->is_canon_tried = true;
		read_displayed(e, wishes);
		(void)canon_new_displaying(e->message,
		    slice_trim(buf_slice(&e->displayed)), &e->canon,
		    &e->canon_err);
	}
	if (e->canon == NULL)
		(void)err_set(err, "%s", e->canon_err.text);
	return e->canon;
}

static bool
ends_in_line_end(struct slice s)
{
	return s.n >= 2 && s.p[s.n - 2] == '\r' && s.p[s.n - 1] == '\n';
}

static int
write_whole(const struct sink *sink, struct slice field, struct err *err)
{
	if (sink_slice(sink, field, err) == -1)
		return -1;
	return ends_in_line_end(field) ? 0 : sink_text(sink, "\r\n", err);
}

int
entity_write_outer(struct entity *e, const struct entity_wishes *wishes,
    const struct sink *sink, struct err *err)
{
	for (size_t i = 0; i < e->header.field_count; i++) {
		struct slice field = outer_of(e, wishes, &e->header.fields[i]);

		if (field.n > 0 && write_whole(sink, field, err) == -1)
			return -1;
	}
	return 0;
}

/* ---- what is protected ---- */

/* Line by line without blanks at the ends, which some relays cut. */
static int
write_trimmed(const struct sink *sink, struct slice field, struct err *err)
{
	size_t at = 0;

	while (at < field.n) {
		size_t end = slice_find(field, '\n', at);
		size_t n = end;

		while (n > at && strchr(" \t\r", field.p[n - 1]) != NULL &&
		       field.p[n - 1] != '\0')
			n--;
		/* A fold of blanks alone would be the end of the header. */
		if (n > at &&
		    (sink_write(sink, field.p + at, n - at, err) == -1 ||
			sink_text(sink, "\r\n", err) == -1))
			return -1;
		at = end + 1;
	}
	return 0;
}

/* Content-Type with the parameter "hp", of which we are the only source. */
static int
write_protecting_type(const struct entity *e, const struct header_field *field,
    const struct entity_wishes *wishes, const struct sink *sink,
    struct err *err)
{
	struct mime_value value;
	bool has_value = field != NULL &&
			 mime_value_parse(header_field_value(&e->header, field),
			     &value) == 0;
	struct buf out;
	int rc = -1;

	buf_init(&out, FIELD_MAX);
	legacy_display_type(has_value ? &value : NULL,
	    canon_root_charset(e->canon), canon_root_display(e->canon), &out);
	(void)buf_addf(&out, ";\r\n\thp=\"%s\"\r\n",
	    wishes->is_encrypted ? "cipher" : "clear");
	if (out.overflowed)
		err_set(err, "a Content-Type is too long");
	else
		rc = sink_slice(sink, buf_slice(&out), err);
	buf_clear(&out);
	return rc;
}

static int
write_type(const struct entity *e, const struct entity_wishes *wishes,
    const struct sink *sink, struct err *err)
{
	const struct header_field *field =
	    header_first(&e->header, HDR_CONTENT_TYPE);

	if (protects(e, wishes))
		return write_protecting_type(e, field, wishes, sink, err);
	if (field != NULL)
		return write_trimmed(
		    sink, header_field_text(&e->header, field), err);
	if (sink_text(sink, "Content-Type: text/plain; charset=", err) == -1 ||
	    sink_text(sink, canon_root_charset(e->canon), err) == -1)
		return -1;
	return sink_text(sink, "\r\n", err);
}

/* Content-* but the first type, and an encoding that changes. */
static int
write_content_fields(
    const struct entity *e, const struct sink *sink, struct err *err)
{
	const char *encoding = canon_root_encoding(e->canon);

	if (encoding != NULL &&
	    (sink_text(sink, "Content-Transfer-Encoding: ", err) == -1 ||
		sink_text(sink, encoding, err) == -1 ||
		sink_text(sink, "\r\n", err) == -1))
		return -1;
	for (size_t i = 0; i < e->header.field_count; i++) {
		const struct header_field *field = &e->header.fields[i];

		if (!slice_starts_nocase(
			header_field_name(&e->header, field), "Content-") ||
		    field == header_first(&e->header, HDR_CONTENT_TYPE) ||
		    (field->name == HDR_CONTENT_TRANSFER_ENCODING &&
			encoding != NULL))
			continue;
		if (write_trimmed(
			sink, header_field_text(&e->header, field), err) == -1)
			return -1;
	}
	return 0;
}

/* RFC 9788 §2.2: what stands outside is told inside, too. */
static int
write_outer_copy(struct slice field, const struct sink *sink, struct err *err)
{
	if (field.n == 0)
		return 0;
	if (sink_text(sink, "HP-Outer: ", err) == -1)
		return -1;
	return write_trimmed(sink, field, err);
}

static int
write_protected_fields(const struct entity *e,
    const struct entity_wishes *wishes, const struct sink *sink,
    struct err *err)
{
	for (size_t i = 0; i < e->header.field_count; i++) {
		const struct header_field *field = &e->header.fields[i];
		struct slice name = header_field_name(&e->header, field);

		if (is_structural(name) || is_trace(name))
			continue;
		if (write_trimmed(sink, cleaned(e, field), err) == -1)
			return -1;
		if (wishes->is_encrypted &&
		    write_outer_copy(outer_of(e, wishes, field), sink, err) ==
			-1)
			return -1;
	}
	return 0;
}

/* What is not told outside stands here, or it would be lost. */
static int
write_hidden(struct entity *e, const struct sink *sink, struct err *err)
{
	for (size_t i = 0; i < e->header.field_count; i++) {
		const struct header_field *field = &e->header.fields[i];
		struct slice name = header_field_name(&e->header, field);
		struct slice now = cleaned(e, field);

		if ((field->name == HDR_SUBJECT ||
			header_tells_subject(name)) &&
		    now.n > 0 && write_whole(sink, now, err) == -1)
			return -1;
	}
	return 0;
}

/*
 * What others signed: its Content-* fields as they are.  Of those only the
 * first Content-Type tells anything, but none is dropped.
 */
static int
write_raw(struct entity *e, const struct entity_wishes *wishes,
    const struct sink *sink, struct err *err)
{
	if (obscures(e, wishes) && write_hidden(e, sink, err) == -1)
		return -1;
	for (size_t i = 0; i < e->header.field_count; i++) {
		const struct header_field *field = &e->header.fields[i];

		if (slice_starts_nocase(
			header_field_name(&e->header, field), "Content-") &&
		    write_whole(
			sink, header_field_text(&e->header, field), err) == -1)
			return -1;
	}
	if (sink_text(sink, "\r\n", err) == -1)
		return -1;
	return sink_range(
	    sink, e->message, e->header.body_offset, e->message->size, err);
}

int
entity_write(struct entity *e, const struct entity_wishes *wishes,
    const struct sink *sink, struct err *err)
{
	if (shape_is_signed(&e->shape) || shape_is_encrypted(&e->shape))
		return write_raw(e, wishes, sink, err);
	if (canon_of(e, wishes, err) == NULL ||
	    write_type(e, wishes, sink, err) == -1 ||
	    write_content_fields(e, sink, err) == -1)
		return -1;
	if (protects(e, wishes) &&
	    write_protected_fields(e, wishes, sink, err) == -1)
		return -1;
	if (sink_text(sink, "\r\n", err) == -1)
		return -1;
	return canon_write_body(e->canon, sink, err);
}

static bool
stands_inside(const struct entity *e, const struct entity_wishes *wishes,
    const struct header_field *field)
{
	const struct slice name = header_field_name(&e->header, field);

	if (slice_starts_nocase(name, "Content-"))
		return true;
	if (protects(e, wishes))
		return !is_trace(name);
	return obscures(e, wishes) &&
	       (field->name == HDR_SUBJECT || header_tells_subject(name));
}

/* The header as it will be inside. */
static bool
is_header_7bit(struct entity *e, const struct entity_wishes *wishes)
{
	for (size_t i = 0; i < e->header.field_count; i++) {
		const struct header_field *field = &e->header.fields[i];
		struct slice text = header_field_text(&e->header, field);
		struct content content = content_of(text);
		struct canon_facts facts;

		if (!stands_inside(e, wishes, field))
			continue;
		if (canon_scan(&content, 0, text.n, &facts, NULL) == -1 ||
		    !canon_facts_are_7bit(&facts))
			return false;
	}
	return true;
}

bool
entity_is_7bit(struct entity *e, const struct entity_wishes *wishes)
{
	return canon_of(e, wishes, NULL) != NULL && canon_is_7bit(e->canon) &&
	       is_header_7bit(e, wishes);
}

int
entity_write_message(struct entity *e, const struct sink *sink, struct err *err)
{
	uint64_t at = 0;

	for (size_t i = 0; i < e->header.field_count; i++) {
		const struct header_field *field = &e->header.fields[i];
		struct slice now = cleaned(e, field);

		if (now.p == header_field_text(&e->header, field).p)
			continue;
		if (sink_range(sink, e->message, at, field->start, err) == -1 ||
		    sink_slice(sink, now, err) == -1)
			return -1;
		at = field->end;
	}
	return sink_range(sink, e->message, at, e->message->size, err);
}

void
entity_boundary(char boundary_r[ENTITY_BOUNDARY_SIZE])
{
	static const char prefix[] = "=_postern_";
	static const char digits[] = "0123456789abcdef";
	unsigned char random[16];
	char *out = boundary_r + sizeof(prefix) - 1;

	if (RAND_bytes(random, sizeof(random)) != 1)
		fatal("no random octets");
	memcpy(boundary_r, prefix, sizeof(prefix));
	for (size_t i = 0; i < sizeof(random); i++) {
		*out++ = digits[random[i] >> 4];
		*out++ = digits[random[i] & 15];
	}
	*out = '\0';
}
