/* SPDX-License-Identifier: ISC */
/*
 * Reads the structured values of MIME fields.
 * Runs in: every program that looks into mail.  Trusts: nothing in the bytes.
 */
#include <string.h>

#include "common/mime_value.h"

/* What is left of the value. */
struct cursor {
	const char *p;
	const char *end;
};

static bool
at_end(const struct cursor *c)
{
	return c->p == c->end;
}

/* token of RFC 2045 §5.1. */
static bool
is_token_byte(char c)
{
	return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/*
 * Blanks, folds and comments, which nest; an open one reaches to the end.  A
 * counter does for the nesting.
 */
static void
skip_blanks(struct cursor *c)
{
	size_t depth = 0;

	for (; !at_end(c); c->p++) {
		if (*c->p == '(')
			depth++;
		else if (*c->p == ')' && depth > 0)
			depth--;
		else if (*c->p == '\\' && depth > 0 && c->p + 1 < c->end)
			c->p++;
		else if (depth == 0 && strchr(" \t\r\n", *c->p) == NULL)
			return;
		else if (depth == 0 && *c->p == '\0')
			return;
	}
}

static struct slice
take_token(struct cursor *c)
{
	struct slice token = {c->p, 0};

	while (!at_end(c) && is_token_byte(*c->p))
		c->p++;
	token.n = (size_t)(c->p - token.p);
	return token;
}

/* Stands at the quote.  False: it is not closed. */
static bool
take_quoted(struct cursor *c, struct slice *value_r)
{
	const char *start = ++c->p;

	for (; !at_end(c); c->p++) {
		if (*c->p == '"') {
			*value_r =
			    (struct slice){start, (size_t)(c->p - start)};
			c->p++;
			return true;
		}
		if (*c->p == '\\' && c->p + 1 < c->end)
			c->p++;
	}
	return false;
}

/*
 * Sections beyond what we keep of parameters cannot be used; "*00" and "*01"
 * are not numbers as RFC 2231 §3 writes them.
 */
static bool
section_parse(struct slice text, unsigned char *section_r)
{
	uint64_t number;

	if (text.n > 2 || (text.n == 2 && text.p[0] == '0') ||
	    slice_to_u64(text, &number) == -1 || number >= MIME_PARAMS_MAX)
		return false;
	*section_r = (unsigned char)number;
	return true;
}

/* Splits "name*3*" into its parts. */
static bool
name_parse(struct slice name, struct mime_param *p)
{
	size_t star;

	p->section = MIME_NO_SECTION;
	if (name.n > 0 && name.p[name.n - 1] == '*') {
		p->is_extended = true;
		name.n--;
	}
	star = slice_find(name, '*', 0);
	p->name = (struct slice){name.p, star};
	if (star == name.n)
		return name.n > 0;
	return section_parse(
	    (struct slice){name.p + star + 1, name.n - star - 1}, &p->section);
}

/* name=value, the blanks before it skipped. */
static bool
take_param(struct cursor *c, struct mime_param *p)
{
	struct slice name = take_token(c);

	*p = (struct mime_param){.section = MIME_NO_SECTION};
	skip_blanks(c);
	if (at_end(c) || *c->p != '=' || !name_parse(name, p))
		return false;
	c->p++;
	skip_blanks(c);
	if (!at_end(c) && *c->p == '"')
		return take_quoted(c, &p->value);
	p->value = take_token(c);
	return p->value.n > 0;
}

static void
take_params(struct cursor *c, struct mime_value *v)
{
	for (;;) {
		struct mime_param p;

		skip_blanks(c);
		if (at_end(c))
			return;
		if (*c->p != ';') {
			v->is_damaged = true;
			while (!at_end(c) && *c->p != ';')
				c->p++;
			continue;
		}
		c->p++;
		skip_blanks(c);
		if (at_end(c) || *c->p == ';')
			continue;
		if (!take_param(c, &p) || v->param_count == MIME_PARAMS_MAX)
			v->is_damaged = true;
		else
			v->params[v->param_count++] = p;
	}
}

int
mime_value_parse(struct slice raw, struct mime_value *value_r)
{
	struct cursor c = {raw.p, raw.p + raw.n};
	struct slice type;

	if (raw.n == 0)
		return -1;
	skip_blanks(&c);
	type = take_token(&c);
	if (type.n == 0)
		return -1;
	value_r->type = type;
	value_r->subtype = (struct slice){NULL, 0};
	value_r->param_count = 0;
	value_r->is_damaged = false;
	skip_blanks(&c);
	if (!at_end(&c) && *c.p == '/') {
		c.p++;
		skip_blanks(&c);
		value_r->subtype = take_token(&c);
	}
	take_params(&c, value_r);
	return 0;
}

enum form { FORM_PLAIN, FORM_ANY };

static const struct mime_param *
find(const struct mime_value *v, const char *name, unsigned section,
    enum form form)
{
	for (size_t i = 0; i < v->param_count; i++) {
		const struct mime_param *p = &v->params[i];

		if (p->section == section &&
		    (form == FORM_ANY || !p->is_extended) &&
		    slice_equals_nocase(p->name, slice_of(name)))
			return p;
	}
	return NULL;
}

static void
add_unquoted(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' || s.p[i] == '\n')
			continue;
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		(void)buf_add_char(out, s.p[i]);
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static void
add_percent_decoded(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
		int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;

		if (s.p[i] == '%' && high != -1 && low != -1) {
			(void)buf_add_char(out, (char)(high << 4 | low));
			i += 2;
		} else {
			(void)buf_add_char(out, s.p[i]);
		}
	}
}

/* The first extended piece starts with "charset'language'". */
static struct slice
without_charset(struct slice s)
{
	size_t first = slice_find(s, '\'', 0);
	size_t second = slice_find(s, '\'', first + 1);

	if (second >= s.n)
		return s;
	return (struct slice){s.p + second + 1, s.n - second - 1};
}

static void
add_param(const struct mime_param *p, bool is_first, struct buf *out)
{
	if (!p->is_extended)
		add_unquoted(p->value, out);
	else
		add_percent_decoded(
		    is_first ? without_charset(p->value) : p->value, out);
}

int
mime_value_param(
    const struct mime_value *value, const char *name, struct buf *out)
{
	const struct mime_param *p =
	    find(value, name, MIME_NO_SECTION, FORM_PLAIN);
	unsigned section = 0;

	if (p == NULL)
		p = find(value, name, MIME_NO_SECTION, FORM_ANY);
	if (p != NULL) {
		add_param(p, true, out);
		return out->overflowed ? -1 : 0;
	}
	while ((p = find(value, name, section, FORM_ANY)) != NULL)
		add_param(p, section++ == 0, out);
	return section == 0 || out->overflowed ? -1 : 0;
}

size_t
mime_value_param_count(const struct mime_value *value, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < value->param_count; i++)
		if ((value->params[i].section == MIME_NO_SECTION ||
			value->params[i].section == 0) &&
		    slice_equals_nocase(value->params[i].name, slice_of(name)))
			count++;
	return count;
}
