/* SPDX-License-Identifier: ISC */
/*
 * Finds fields that are written in our name.
 * Runs in: postern-smtpd, and workers of postern-signerd.  Trusts: nothing of
 * the field; what is not clearly somebody else's counts as forged.
 */
#include <string.h>

#include "common/domain.h"
#include "common/forged_field.h"

/* A host's name, with quotes and escapes. */
#define ID_MAX 1024

/* White space, folds and comments; -1: a comment that does not end. */
static int
skip_cfws(struct slice *s)
{
	unsigned depth = 0;

	while (s->n > 0) {
		const char c = s->p[0];

		if (depth > 0 && c == '\\' && s->n > 1) {
			s->p++;
			s->n--;
		} else if (c == '(') {
			depth++;
		} else if (c == ')' && depth > 0) {
			depth--;
		} else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' &&
			   c != '\n') {
			return 0;
		}
		s->p++;
		s->n--;
	}
	return depth == 0 ? 0 : -1;
}

/* RFC 2045 §5.1; UTF-8 as of RFC 8616. */
static bool
is_token_char(char c)
{
	const unsigned char u = (unsigned char)c;

	return u > ' ' && u != 127 && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/* A token or a quoted string. */
static int
take_value(struct slice *s, struct buf *value_r)
{
	if (s->n == 0)
		return -1;
	if (s->p[0] != '"') {
		while (s->n > 0 && is_token_char(s->p[0])) {
			(void)buf_add_char(value_r, s->p[0]);
			s->p++;
			s->n--;
		}
		return value_r->n > 0 ? 0 : -1;
	}
	for (size_t i = 1; i < s->n; i++) {
		if (s->p[i] == '"') {
			s->p += i + 1;
			s->n -= i + 1;
			return 0;
		}
		if (s->p[i] == '\\' && i + 1 < s->n)
			i++;
		(void)buf_add_char(value_r, s->p[i]);
	}
	return -1;
}

/* What may follow the id: a version, and then the results or nothing. */
static bool
is_rest_readable(struct slice s)
{
	if (skip_cfws(&s) == -1)
		return false;
	while (s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9') {
		s.p++;
		s.n--;
	}
	return skip_cfws(&s) == 0 && (s.n == 0 || s.p[0] == ';');
}

static bool
are_same(struct slice a, struct slice b)
{
	struct domain one;
	struct domain other;

	if (slice_equals_nocase(a, b))
		return true;
	return domain_parse(a, &one, NULL) == 0 &&
	       domain_parse(b, &other, NULL) == 0 &&
	       domain_equals(&one, &other);
}

/* In our name, or in nobody's that can be read. */
static bool
names_us(struct slice value, struct slice authserv_id)
{
	struct slice rest = value;
	struct buf id;
	bool is_ours = true;

	buf_init(&id, ID_MAX);
	if (skip_cfws(&rest) == 0 && take_value(&rest, &id) == 0 &&
	    !id.overflowed && is_rest_readable(rest))
		is_ours = are_same(slice_trim(buf_slice(&id)), authserv_id);
	buf_clear(&id);
	return is_ours;
}

bool
forged_field(struct slice name, struct slice value, struct slice authserv_id)
{
	if (slice_starts_nocase(name, "X-Postern-"))
		return true;
	return slice_equals_nocase(name, SLICE("Authentication-Results")) &&
	       names_us(value, authserv_id);
}
