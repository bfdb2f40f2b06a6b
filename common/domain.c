/* SPDX-License-Identifier: ISC */
/*
 * Domain names: canonical form, order, patterns.
 * Runs in: every program.  Trusts: nothing about the text; libidn2 to bound
 * its work by the length that is checked here first.
 */
#include <idn2.h>
#include <stdio.h>
#include <string.h>

#include "common/domain.h"
#include "common/printable.h"
#include "common/utf8.h"

/*
 * No name that fits the DNS is longer than this in UTF-8: each label of 63
 * characters holds at most 59 code points of four octets.
 */
#define DOMAIN_INPUT_MAX 1024

/* Enough to recognise a name in a complaint. */
#define SHOWN_MAX 100

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_name_char(char c, bool is_dns)
{
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' ||
	       (c == '_' && is_dns);
}

/* What is wrong with one lower-case label, or NULL. */
static const char *
label_fault(struct slice label, bool is_dns)
{
	if (label.n == 0)
		return "has an empty part";
	if (label.n > DOMAIN_LABEL_MAX)
		return "has a part longer than 63 characters";
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return "has a part that starts or ends with \"-\"";
	for (size_t i = 0; i < label.n; i++)
		if (!is_name_char(label.p[i], is_dns))
			return "holds a character that no domain may hold";
	return NULL;
}

static bool
is_all_digits(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_digit(s.p[i]))
			return false;
	return true;
}

/* What is wrong with a lower-case ASCII name, or NULL. */
static const char *
name_fault(struct slice name, bool is_dns)
{
	struct slice label = {NULL, 0};

	if (name.n == 0)
		return "is empty";
	if (name.n > DOMAIN_LENGTH_MAX)
		return "is longer than 253 characters";
	for (size_t start = 0; start <= name.n; start += label.n + 1) {
		size_t end = slice_find(name, '.', start);
		const char *fault;

		label = (struct slice){name.p + start, end - start};
		if ((fault = label_fault(label, is_dns)) != NULL)
			return fault;
	}
	if (is_all_digits(label))
		return "ends in a number; an IP address needs brackets";
	return NULL;
}

/* Whether it is ASCII without A-labels, so that libidn2 has nothing to say. */
static bool
is_plain(struct slice s)
{
	if (!utf8_is_ascii(s))
		return false;
	for (size_t i = 0; i + 4 <= s.n; i++)
		if ((i == 0 || s.p[i - 1] == '.') &&
		    slice_starts_nocase(
			(struct slice){s.p + i, s.n - i}, "xn--"))
			return false;
	return true;
}

/*
 * Into A-labels.  IDN2_USE_STD3_ASCII_RULES stays away: with it libidn2 2.3.3
 * deletes what STD3 forbids (a full-width "a@b" gave "ab") instead of failing;
 * without it, name_fault() sees the forbidden characters and refuses.
 */
static const char *
to_a_labels(const char *text, char *out, size_t out_size)
{
	char *found = NULL;
	const char *fault = NULL;
	int rc;

	rc = idn2_lookup_u8((const uint8_t *)text, (uint8_t **)(void *)&found,
	    IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
	if (rc != IDN2_OK)
		fault = idn2_strerror(rc);
	else if (slice_copy(slice_of(found), out, out_size) == -1)
		fault = "is longer than 253 characters";
	idn2_free(found);
	return fault;
}

static const char *
canonicalise(struct slice s, bool is_dns, struct domain *out)
{
	char text[DOMAIN_INPUT_MAX + 1];
	struct slice name;

	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	if (s.n == 0)
		return "is empty";
	if (slice_copy(s, text, sizeof(text)) == -1)
		return "is too long or holds a NUL";
	if (!is_plain(s)) {
		const char *fault;

		if (!utf8_is_valid(s))
			return "is not valid UTF-8";
		fault = to_a_labels(text, out->text, sizeof(out->text));
		if (fault != NULL)
			return fault;
	} else if (slice_copy(s, out->text, sizeof(out->text)) == -1) {
		return "is longer than 253 characters";
	}
	name = slice_of(out->text);
	for (size_t i = 0; i < name.n; i++)
		out->text[i] = lower(out->text[i]);
	return name_fault(name, is_dns);
}

static int
parse(struct slice s, bool is_dns, struct domain *domain_r, struct err *err)
{
	struct domain domain = {""};
	const char *fault = canonicalise(s, is_dns, &domain);
	char shown[SHOWN_MAX];

	if (fault != NULL)
		return err_set(err, "domain \"%s\": %s",
		    printable(s, shown, sizeof(shown)), fault);
	*domain_r = domain;
	return 0;
}

int
domain_parse(struct slice s, struct domain *domain_r, struct err *err)
{
	return parse(s, false, domain_r, err);
}

int
domain_parse_dns(struct slice s, struct domain *domain_r, struct err *err)
{
	return parse(s, true, domain_r, err);
}

bool
domain_equals(const struct domain *a, const struct domain *b)
{
	return strcmp(a->text, b->text) == 0;
}

int
domain_compare(const struct domain *a, const struct domain *b)
{
	return strcmp(a->text, b->text);
}

bool
domain_is_subdomain(const struct domain *d, const struct domain *of)
{
	size_t n = strlen(d->text);
	size_t of_n = strlen(of->text);

	return of_n > 0 && n > of_n + 1 && d->text[n - of_n - 1] == '.' &&
	       memcmp(d->text + n - of_n, of->text, of_n) == 0;
}

int
domain_parent(const struct domain *d, struct domain *parent_r)
{
	const char *dot = strchr(d->text, '.');
	struct domain parent = {""};

	if (dot == NULL)
		return -1;
	memcpy(parent.text, dot + 1, strlen(dot + 1));
	*parent_r = parent;
	return 0;
}

int
domain_pattern_parse(
    struct slice s, struct domain_pattern *pattern_r, struct err *err)
{
	struct domain_pattern pattern = {DOMAIN_PATTERN_EXACT, {""}};

	if (slice_equals(s, SLICE("*"))) {
		pattern.kind = DOMAIN_PATTERN_ANY;
		*pattern_r = pattern;
		return 0;
	}
	if (slice_starts_nocase(s, "*.")) {
		pattern.kind = DOMAIN_PATTERN_BELOW;
		s = (struct slice){s.p + 2, s.n - 2};
	} else if (slice_starts_nocase(s, ".")) {
		pattern.kind = DOMAIN_PATTERN_BELOW;
		s = (struct slice){s.p + 1, s.n - 1};
	}
	if (domain_parse(s, &pattern.domain, err) == -1)
		return -1;
	*pattern_r = pattern;
	return 0;
}

const char *
domain_pattern_format(
    const struct domain_pattern *pattern, char out[DOMAIN_PATTERN_TEXT_MAX])
{
	static const char *const before[DOMAIN_PATTERN_KIND_COUNT] = {
	    [DOMAIN_PATTERN_ANY] = "*",
	    [DOMAIN_PATTERN_BELOW] = "*.",
	    [DOMAIN_PATTERN_EXACT] = "",
	};

	(void)snprintf(out, DOMAIN_PATTERN_TEXT_MAX, "%s%.*s",
	    before[pattern->kind], DOMAIN_LENGTH_MAX, pattern->domain.text);
	return out;
}

bool
domain_pattern_matches(
    const struct domain_pattern *pattern, const struct domain *d)
{
	if (pattern->kind == DOMAIN_PATTERN_EXACT)
		return domain_equals(&pattern->domain, d);
	if (pattern->kind == DOMAIN_PATTERN_BELOW)
		return domain_is_subdomain(d, &pattern->domain);
	return true;
}

unsigned
domain_pattern_rank(const struct domain_pattern *pattern)
{
	if (pattern->kind == DOMAIN_PATTERN_EXACT)
		return DOMAIN_LENGTH_MAX + 1;
	/* Any is 0: its domain is empty. */
	return (unsigned)strlen(pattern->domain.text);
}
