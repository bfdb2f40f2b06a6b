/* SPDX-License-Identifier: ISC */
/*
 * Slices and limited growing buffers.
 * Runs in: every program.  Trusts: nothing about the bytes; sizes come from
 * outsiders and end in a limit.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/err.h"

/* A first allocation that holds a usual SMTP line with its NUL. */
#define BUF_FIRST 256

struct slice
slice_of(const char *text)
{
	return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

bool
slice_equals(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
slice_equals_nocase(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool
slice_starts_nocase(struct slice s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.n >= n && (n == 0 || strncasecmp(s.p, prefix, n) == 0);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct slice
slice_trim(struct slice s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

size_t
slice_find(struct slice s, char c, size_t from)
{
	const char *at;

	if (from >= s.n)
		return s.n;
	at = memchr(s.p + from, c, s.n - from);
	return at == NULL ? s.n : (size_t)(at - s.p);
}

int
slice_to_u64(struct slice s, uint64_t *value_r)
{
	uint64_t value = 0;

	if (s.n == 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return -1;
		value = value * 10 + digit;
	}
	*value_r = value;
	return 0;
}

char *
slice_dup(struct slice s)
{
	return xstrndup(s.p != NULL ? s.p : "", s.n);
}

int
slice_copy(struct slice s, char *out, size_t out_size)
{
	out[0] = '\0';
	if (s.n >= out_size || (s.n > 0 && memchr(s.p, '\0', s.n) != NULL))
		return -1;
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return 0;
}

void
buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf){.limit = limit};
}

void
buf_clear(struct buf *b)
{
	free(b->p);
	*b = (struct buf){.limit = b->limit};
}

void
buf_reset(struct buf *b)
{
	b->n = 0;
	b->overflowed = false;
}

char *
buf_reserve(struct buf *b, size_t n)
{
	size_t want;

	if (n > b->limit || b->n > b->limit - n) {
		b->overflowed = true;
		return NULL;
	}
	want = b->n + n + 1; /* one more for the NUL of buf_text() */
	if (want > b->capacity) {
		size_t capacity = b->capacity != 0 ? b->capacity : BUF_FIRST;

		while (capacity < want)
			capacity *= 2;
		if (capacity - 1 > b->limit) /* the limit may be SIZE_MAX */
			capacity = b->limit + 1;
		b->p = xrealloc(b->p, capacity);
		b->capacity = capacity;
	}
	return b->p + b->n;
}

void
buf_extend(struct buf *b, size_t n)
{
	if (b->capacity < b->n + n + 1)
		bug("buf_extend: %zu bytes were not reserved", n);
	b->n += n;
}

int
buf_add(struct buf *b, const void *p, size_t n)
{
	char *room;

	if (n == 0)
		return 0;
	if ((room = buf_reserve(b, n)) == NULL)
		return -1;
	memcpy(room, p, n);
	b->n += n;
	return 0;
}

int
buf_add_slice(struct buf *b, struct slice s)
{
	return buf_add(b, s.p, s.n);
}

int
buf_add_text(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

int
buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int
buf_addf(struct buf *b, const char *format, ...)
{
	va_list ap;
	char *room;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n < 0)
		bug("buf_addf: bad format \"%s\"", format);
	if ((room = buf_reserve(b, (size_t)n)) == NULL)
		return -1;
	va_start(ap, format);
	(void)vsnprintf(room, (size_t)n + 1, format, ap);
	va_end(ap);
	b->n += (size_t)n;
	return 0;
}

void
buf_consume(struct buf *b, size_t n)
{
	if (n > b->n)
		bug("buf_consume: %zu of %zu bytes", n, b->n);
	b->n -= n;
	if (b->n > 0 && n > 0)
		memmove(b->p, b->p + n, b->n);
}

struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){b->p, b->n};
}

const char *
buf_text(struct buf *b)
{
	if (b->p == NULL)
		return "";
	b->p[b->n] = '\0';
	return b->p;
}
