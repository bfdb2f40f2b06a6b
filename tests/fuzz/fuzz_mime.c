/* SPDX-License-Identifier: ISC */
/*
 * The MIME walker: what comes in pieces must give the same parts as what comes
 * at once, every part ends, and within its parent.  The first byte sets the
 * size of the pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mime.h"
#include "common/mime_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct trail {
	uint64_t hash; /* of all that was told */
	uint64_t size; /* of the message */
	uint64_t last; /* the latest beginning */
	size_t open;
	struct mime_part parts[MIME_DEPTH_MAX + 1]; /* the open ones */
};

static void
mix(struct trail *t, uint64_t value)
{
	t->hash = (t->hash ^ value) * UINT64_C(1099511628211); /* FNV-1a */
}

static void
on_begin(void *arg, const struct mime_part *part, const struct header *header)
{
	struct trail *t = arg;

	if (part->depth != t->open || part->start < t->last ||
	    part->body_start < part->start || part->body_start > t->size)
		bug("part %u begins out of place", part->number);
	if (t->open > 0 && part->parent != t->parts[t->open - 1].number)
		bug("part %u has another parent", part->number);
	t->last = part->start;
	t->parts[t->open++] = *part;
	mix(t, part->start);
	mix(t, part->body_start);
	mix(t, (uint64_t)part->kind * 100 + (uint64_t)part->opaque * 10 +
		   (uint64_t)part->encoding);
	mix(t, header->field_count);
}

static void
on_end(void *arg, const struct mime_part *part)
{
	struct trail *t = arg;

	if (t->open == 0 || part->number != t->parts[t->open - 1].number ||
	    part->body_end < part->body_start || part->body_end > t->size)
		bug("part %u ends out of place", part->number);
	t->open--;
	mix(t, part->body_end);
}

static uint64_t
walk(struct slice message, size_t step)
{
	struct trail t = {
	    .hash = UINT64_C(14695981039346656037), .size = message.n};
	struct mime_events events = {on_begin, on_end, &t};
	struct mime *m = mime_new(&events);

	for (size_t at = 0; at < message.n; at += step) {
		size_t n = message.n - at < step ? message.n - at : step;

		mime_feed(m, (struct slice){message.p + at, n});
	}
	mime_finish(m);
	if (t.open != 0)
		bug("%zu parts did not end", t.open);
	mime_free(m);
	return t.hash;
}

static void
check_value(struct slice raw)
{
	struct mime_value value;
	struct buf text;

	if (mime_value_parse(raw, &value) == -1)
		return;
	buf_init(&text, raw.n);
	if (mime_value_param(&value, "boundary", &text) == -1 &&
	    text.overflowed)
		bug("a parameter grows");
	buf_clear(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice message;

	if (size == 0)
		return 0;
	message = (struct slice){(const char *)data + 1, size - 1};
	if (walk(message, message.n + 1) != walk(message, (size_t)data[0] + 1))
		bug("pieces make a difference");
	check_value(message);
	return 0;
}
