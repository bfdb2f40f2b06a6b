/* SPDX-License-Identifier: ISC */
/*
 * Two shapes of bytes: struct slice points at bytes that somebody else owns;
 * struct buf owns a growing array with a limit that has a reason.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	const char *p; /* not NUL-terminated; may be NULL when n is 0 */
	size_t n;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

/* For printf("%.*s"): slices that may be longer than INT_MAX are cut. */
#define SLICE_ARG(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).p

struct slice slice_of(const char *text); /* NULL gives an empty slice */
bool slice_equals(struct slice a, struct slice b);
bool slice_equals_nocase(struct slice a, struct slice b); /* ASCII case */
bool slice_starts_nocase(struct slice s, const char *prefix);
struct slice slice_trim(struct slice s); /* space and tab, both ends */

/* Index of the first byte c at or after from, or s.n when there is none. */
size_t slice_find(struct slice s, char c, size_t from);

/* Decimal digits only, no sign, no space; -1 on anything else or overflow. */
int slice_to_u64(struct slice s, uint64_t *value_r);

/* A fresh NUL-terminated copy; the caller frees it. */
char *slice_dup(struct slice s);

/*
 * Copies s and a NUL into out.  -1 when it does not fit or holds a NUL; out is
 * then the empty string.
 */
int slice_copy(struct slice s, char *out, size_t out_size);

struct buf {
	char *p; /* NULL until the first byte */
	size_t n;
	size_t capacity;
	size_t limit;    /* never holds more than this */
	bool overflowed; /* an append did not fit: the content is cut short */
};

void buf_init(struct buf *b, size_t limit);
void buf_clear(struct buf *b); /* frees; the limit stays */
void buf_reset(struct buf *b); /* empty, memory kept */

/*
 * Append.  -1 and b->overflowed when the limit would be passed; nothing of
 * that piece is then added.  A sequence of appends may be checked once, at its
 * end, by reading b->overflowed.
 */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_slice(struct buf *b, struct slice s);
int buf_add_text(struct buf *b, const char *text);
int buf_add_char(struct buf *b, char c);
int buf_addf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for n more bytes at the end, or NULL; buf_extend() then counts them. */
char *buf_reserve(struct buf *b, size_t n);
void buf_extend(struct buf *b, size_t n);

/* Removes n bytes from the front. */
void buf_consume(struct buf *b, size_t n);

struct slice buf_slice(const struct buf *b);

/* NUL-terminated view (the NUL is not counted); "" when empty. */
const char *buf_text(struct buf *b);

#endif
