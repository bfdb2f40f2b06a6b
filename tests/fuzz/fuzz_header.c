/* SPDX-License-Identifier: ISC */
/*
 * The header reader: what comes in pieces must give the same as what comes at
 * once, and all spans must lie where they should.  The first byte sets the
 * size of the pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/from_header.h"

#define LIMIT 4096 /* low, so that it is met */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_fields(const struct header *h)
{
	size_t before = 0;
	size_t counted = 0;

	for (size_t i = 0; i < h->field_count; i++) {
		const struct header_field *f = &h->fields[i];
		struct slice value = header_field_value(h, f);
		struct buf text;

		if (f->start < before || f->value <= f->start ||
		    f->end < f->value || f->end > h->block_end ||
		    header_field_name(h, f).n == 0)
			bug("field %zu is out of place", i);
		before = f->end;
		buf_init(&text, LIMIT);
		if (header_unfold(value, &text) == -1 || text.n > value.n)
			bug("field %zu grows", i);
		buf_clear(&text);
	}
	for (int name = 0; name < HDR_COUNT; name++) {
		const struct header_field *f =
		    header_first(h, (enum header_name)name);
		size_t n = 0;

		for (; f != NULL; f = header_next(h, f))
			n++;
		if (n != header_count(h, (enum header_name)name))
			bug("the index of name %d is wrong", name);
		counted += n;
	}
	if (counted != h->field_count)
		bug("a field is not in the index");
}

static void
check_same(const struct header *a, const struct header *b)
{
	if (a->failure != b->failure || a->quirks != b->quirks ||
	    a->end != b->end || a->field_count != b->field_count ||
	    a->block_end != b->block_end || a->body_offset != b->body_offset)
		bug("pieces make a difference");
}

static void
check_from(const struct header *h, bool with_utf8)
{
	struct from_header from;

	if (from_header_check(h, with_utf8, &from) == 0) {
		if (header_count(h, HDR_FROM) != 1 ||
		    memchr(from.mailbox.address.p, '@',
			from.mailbox.address.n) == NULL)
			bug("a From that is none");
	} else if (from.reason[0] == '\0') {
		bug("no reason");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header whole;
	struct header pieces;
	struct slice message;
	size_t step;
	int rc = PARSE_MORE;

	if (size == 0)
		return 0;
	step = (size_t)data[0] + 1;
	message = (struct slice){(const char *)data + 1, size - 1};
	header_init(&whole, LIMIT);
	header_init(&pieces, LIMIT);
	(void)header_read(&whole, message);
	for (size_t at = 0; at < message.n && rc == PARSE_MORE; at += step) {
		size_t n = message.n - at < step ? message.n - at : step;

		rc = header_feed(&pieces, (struct slice){message.p + at, n});
	}
	if (rc == PARSE_MORE)
		(void)header_finish(&pieces);
	check_same(&whole, &pieces);
	check_fields(&whole);
	check_fields(&pieces);
	check_from(&whole, false);
	check_from(&pieces, true);
	header_clear(&whole);
	header_clear(&pieces);
	return 0;
}
