/* SPDX-License-Identifier: ISC */
/*
 * Reads the header of a message line by line: finds its end, its fields, and
 * the shapes that other readers take differently.
 * Runs in: every program that looks at mail.  Trusts: nothing in the bytes.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/header.h"
#include "common/err.h"

/* A usual message has 15 to 40 fields. */
#define FIRST_FIELD_CAPACITY 64

struct known_name {
	const char *text;
	size_t n;
};

static const struct known_name known_names[HDR_OTHER] = {
#define X(id, text) [HDR_##id] = {text, sizeof(text) - 1},
    HEADER_NAMES(X)
#undef X
};

static const char *const failure_texts[HEADER_FAILURE_COUNT] = {
    [HEADER_FAILURE_NONE] = "the header is acceptable",
    [HEADER_FAILURE_TOO_LARGE] = "the message header is too large",
    [HEADER_FAILURE_TOO_MANY_FIELDS] = "the message header has too many fields",
};

void
header_init(struct header *h, size_t limit)
{
	if (limit == 0)
		limit = HEADER_SIZE_MAX;
	if (limit > UINT32_MAX)
		bug("header_init: limit %zu", limit);
	*h = (struct header){.limit = limit};
	buf_init(&h->copy, limit);
}

void
header_clear(struct header *h)
{
	size_t limit = h->limit;

	buf_clear(&h->copy);
	free(h->fields);
	header_init(h, limit);
}

void
header_reset(struct header *h)
{
	struct header fresh = {
	    .limit = h->limit,
	    .copy = h->copy,
	    .fields = h->fields,
	    .field_capacity = h->field_capacity,
	};

	buf_reset(&fresh.copy);
	*h = fresh;
}

const char *
header_failure_text(enum header_failure failure)
{
	return failure_texts[failure];
}

enum header_name
header_name_of(struct slice name)
{
	for (size_t i = 0; i < HDR_OTHER; i++) {
		if (known_names[i].n == name.n &&
		    ((known_names[i].text[0] ^ name.p[0]) & 0x5f) == 0 &&
		    strncasecmp(known_names[i].text, name.p, name.n) == 0)
			return (enum header_name)i;
	}
	return HDR_OTHER;
}

const char *
header_name_text(enum header_name name)
{
	return name < HDR_OTHER ? known_names[name].text : "(other)";
}

static int
fail(struct header *h, enum header_failure failure)
{
	h->failure = failure;
	return PARSE_BAD;
}

static int
end_here(struct header *h, enum header_end end, size_t body_offset)
{
	h->end = end;
	h->body_offset = body_offset;
	return PARSE_OK;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* ftext of RFC 5322 §3.6.8. */
static bool
is_name_byte(char c)
{
	return c > ' ' && c < 0x7f && c != ':';
}

/*
 * Splits "name *WSP :" off a line.  Returns the offset of the colon, or 0 when
 * the line is no field; *name_n_r is then not set.
 */
static size_t
find_colon(struct slice line, size_t *name_n_r)
{
	size_t n = 0;
	size_t colon;

	while (n < line.n && is_name_byte(line.p[n]))
		n++;
	colon = n;
	while (colon < line.n && is_blank(line.p[colon]))
		colon++;
	if (n == 0 || n > UINT16_MAX || colon == line.n || line.p[colon] != ':')
		return 0;
	*name_n_r = n;
	return colon;
}

/* A free place at the end of the table, or NULL when there may be no more. */
static struct header_field *
field_new(struct header *h)
{
	if (h->field_count == HEADER_FIELDS_MAX)
		return NULL;
	if (h->field_count == h->field_capacity) {
		h->field_capacity = h->field_capacity == 0
					? FIRST_FIELD_CAPACITY
					: h->field_capacity * 2;
		h->fields =
		    xrealloc(h->fields, h->field_capacity * sizeof(*h->fields));
	}
	return &h->fields[h->field_count++];
}

static void
index_field(struct header *h, enum header_name name)
{
	uint32_t number = (uint32_t)h->field_count; /* counted from one */

	if (h->count[name]++ == 0)
		h->first[name] = number;
	else
		h->fields[h->last[name] - 1].next = number;
	h->last[name] = number;
}

/*
 * The older mbox form puts "From sender date" first.  A field "From :" is told
 * from it by its colon right behind the blanks.
 */
static bool
is_mbox_line(const struct header *h, size_t start, struct slice line)
{
	return start == 0 && h->field_count == 0 && line.n >= 5 &&
	       memcmp(line.p, "From ", 5) == 0;
}

static int
take_first_line_of_field(
    struct header *h, size_t start, size_t end, struct slice line)
{
	struct header_field *field;
	size_t name_n;
	size_t colon = find_colon(line, &name_n);
	enum header_name name;

	if (colon == 0) {
		if (!is_mbox_line(h, start, line))
			return end_here(h, HEADER_END_NOT_A_FIELD, start);
		h->quirks |= HEADER_QUIRK_MBOX_LINE;
		return PARSE_MORE;
	}
	if ((field = field_new(h)) == NULL)
		return fail(h, HEADER_FAILURE_TOO_MANY_FIELDS);
	name = header_name_of((struct slice){line.p, name_n});
	*field = (struct header_field){
	    .start = (uint32_t)start,
	    .value = (uint32_t)(start + colon + 1),
	    .end = (uint32_t)end,
	    .name_n = (uint16_t)name_n,
	    .name = (uint8_t)name,
	    .is_spaced = colon != name_n,
	};
	if (field->is_spaced)
		h->quirks |= HEADER_QUIRK_SPACED_COLON;
	index_field(h, name);
	return PARSE_MORE;
}

static void
take_folded_line(struct header *h, size_t end, struct slice line)
{
	if (slice_trim(line).n == 0)
		h->quirks |= HEADER_QUIRK_BLANK_FOLD;
	if (h->field_count == 0)
		h->quirks |= HEADER_QUIRK_LEADING_FOLD;
	else
		h->fields[h->field_count - 1].end = (uint32_t)end;
}

/*
 * One whole line of the block, [start, end) with its line end if it has one.
 * A bare LF does not end a line here, so that a later reader who takes it for
 * an end finds the header marked.
 */
static int
take_line(struct header *h, size_t start, size_t end, bool has_line_end)
{
	struct slice line = {
	    h->p + start, end - start - (has_line_end ? 2 : 0)};
	int rc = PARSE_MORE;

	if (line.n == 0)
		return end_here(h, HEADER_END_BLANK, end);
	if (memchr(line.p, '\0', line.n) != NULL)
		h->quirks |= HEADER_QUIRK_NUL;
	if (memchr(line.p, '\r', line.n) != NULL)
		h->quirks |= HEADER_QUIRK_BARE_LINE_END;
	if (is_blank(line.p[0]))
		take_folded_line(h, end, line);
	else
		rc = take_first_line_of_field(h, start, end, line);
	if (rc == PARSE_MORE)
		h->block_end = end;
	return rc;
}

/* The block now ends behind an LF: a whole line, unless that LF is bare. */
static int
take_up_to_lf(struct header *h, size_t lf)
{
	size_t start = h->line_start;

	if (lf == start || h->p[lf - 1] != '\r') {
		h->quirks |= HEADER_QUIRK_BARE_LINE_END;
		return PARSE_MORE;
	}
	h->line_start = lf + 1;
	return take_line(h, start, lf + 1, true);
}

static bool
is_settled(const struct header *h)
{
	return h->end != HEADER_END_OPEN || h->failure != HEADER_FAILURE_NONE;
}

static int
settled_result(const struct header *h)
{
	return h->failure == HEADER_FAILURE_NONE ? PARSE_OK : PARSE_BAD;
}

/*
 * Line by line, so that the copy holds the header and not the piece of body
 * that came with its end.
 */
int
header_feed(struct header *h, struct slice piece)
{
	size_t at = 0;
	int rc = PARSE_MORE;

	if (is_settled(h))
		return settled_result(h);
	while (at < piece.n && rc == PARSE_MORE) {
		size_t lf = slice_find(piece, '\n', at);
		bool has_lf = lf < piece.n;
		size_t n = lf - at + (has_lf ? 1 : 0);

		if (buf_add(&h->copy, piece.p + at, n) == -1)
			return fail(h, HEADER_FAILURE_TOO_LARGE);
		at += n;
		h->p = h->copy.p;
		h->n = h->copy.n;
		if (has_lf)
			rc = take_up_to_lf(h, h->n - 1);
	}
	return rc;
}

int
header_finish(struct header *h)
{
	size_t start = h->line_start;
	int rc = PARSE_MORE;

	if (is_settled(h))
		return settled_result(h);
	h->line_start = h->n;
	if (start < h->n)
		rc = take_line(h, start, h->n, false);
	if (rc == PARSE_MORE)
		rc = end_here(h, HEADER_END_MESSAGE, h->n);
	return rc;
}

int
header_read(struct header *h, struct slice message)
{
	size_t limit = message.n < h->limit ? message.n : h->limit;
	struct slice seen = {message.p, limit};
	int rc = PARSE_MORE;

	header_reset(h);
	h->p = message.p;
	while (rc == PARSE_MORE) {
		size_t lf = slice_find(seen, '\n', h->n);

		h->n = lf < limit ? lf + 1 : limit;
		if (lf == limit)
			break;
		rc = take_up_to_lf(h, lf);
	}
	if (rc != PARSE_MORE)
		return rc;
	if (limit < message.n)
		return fail(h, HEADER_FAILURE_TOO_LARGE);
	return header_finish(h);
}

size_t
header_count(const struct header *h, enum header_name name)
{
	return h->count[name];
}

const struct header_field *
header_first(const struct header *h, enum header_name name)
{
	return h->count[name] == 0 ? NULL : &h->fields[h->first[name] - 1];
}

const struct header_field *
header_next(const struct header *h, const struct header_field *field)
{
	return field->next == 0 ? NULL : &h->fields[field->next - 1];
}

struct slice
header_field_name(const struct header *h, const struct header_field *field)
{
	return (struct slice){h->p + field->start, field->name_n};
}

struct slice
header_field_text(const struct header *h, const struct header_field *field)
{
	return (struct slice){h->p + field->start, field->end - field->start};
}

struct slice
header_field_value(const struct header *h, const struct header_field *field)
{
	struct slice value = {h->p + field->value, field->end - field->value};

	if (value.n >= 2 && memcmp(value.p + value.n - 2, "\r\n", 2) == 0)
		value.n -= 2;
	return value;
}

static bool
is_fold_byte(char c)
{
	return is_blank(c) || c == '\r' || c == '\n';
}

/* A value may begin and end with folds, not only with blanks. */
static struct slice
trim_folds(struct slice s)
{
	while (s.n > 0 && is_fold_byte(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_fold_byte(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct slice
header_simple(const struct header *h, enum header_name name)
{
	const struct header_field *field = header_first(h, name);
	struct slice value = {NULL, 0};

	if (field == NULL)
		return value;
	value = trim_folds(header_field_value(h, field));
	if (slice_find(value, '\n', 0) != value.n)
		return (struct slice){NULL, 0};
	return value;
}

int
header_unfold(struct slice value, struct buf *out)
{
	struct slice rest = trim_folds(value);
	size_t at = 0;

	while (at < rest.n) {
		size_t lf = slice_find(rest, '\n', at);
		size_t end = lf;

		if (lf < rest.n && lf > at && rest.p[lf - 1] == '\r')
			end--;
		if (buf_add(out, rest.p + at, end - at) == -1)
			return -1;
		at = lf + 1;
	}
	return 0;
}

bool
header_tells_subject(struct slice name)
{
	return slice_equals_nocase(name, SLICE("Thread-Topic")) ||
	       slice_equals_nocase(name, SLICE("Keywords")) ||
	       slice_equals_nocase(name, SLICE("Comments"));
}
