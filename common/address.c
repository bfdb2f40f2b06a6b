/* SPDX-License-Identifier: ISC */
/*
 * The one parser of envelope addresses.  Each rule refuses by itself; nothing
 * is taken by default (CVE-2020-7247 came from a check that was skipped when
 * the domain was empty).
 * Runs in: every program.  Trusts: nothing about the text.
 */
#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "common/utf8.h"

/* A path without its brackets. */
#define MAILBOX_MAX (ADDRESS_PATH_MAX - 2)

static bool
is_atext(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

static bool
is_ascii(char c)
{
	return ((unsigned char)c & 0x80) == 0;
}

/* Dot-string of RFC 5321, with the UTF-8 of RFC 6531 section 3.3. */
static bool
is_dot_string(struct slice s)
{
	bool is_atom_open = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (!is_atom_open)
				return false;
			is_atom_open = false;
		} else if (is_atext(s.p[i]) || !is_ascii(s.p[i])) {
			is_atom_open = true;
		} else {
			return false;
		}
	}
	return is_atom_open;
}

/* Checks what may stand anywhere in an address: no control, no disguise. */
static int
check_characters(struct slice s, unsigned flags, struct err *err)
{
	bool is_ascii_only = utf8_is_ascii(s);

	if (!is_ascii_only && (flags & ADDRESS_MAY_BE_UTF8) == 0)
		return err_set(err, "address is not ASCII");
	while (s.n > 0) {
		uint32_t code;
		size_t n = utf8_decode(s, &code);

		if (n == 0)
			return err_set(err, "address is not valid UTF-8");
		if (utf8_is_control(code))
			return err_set(
			    err, "address holds a control character");
		if (utf8_is_deceptive(code))
			return err_set(
			    err, "address holds an invisible character");
		s.p += n;
		s.n -= n;
	}
	return 0;
}

/*
 * The length of the local part at the front of s, quotes included: up to the
 * "@" outside quotes, or all of s without one.  -1: a quote is not closed.
 */
static int
local_length(struct slice s, size_t *n_r, struct err *err)
{
	size_t i = 1;

	if (s.n == 0 || s.p[0] != '"') {
		*n_r = slice_find(s, '@', 0);
		return 0;
	}
	while (i < s.n && s.p[i] != '"')
		i += s.p[i] == '\\' ? 2 : 1;
	if (i >= s.n)
		return err_set(err, "local part: the quote is not closed");
	*n_r = i + 1;
	return 0;
}

/* Copies without quotes and escapes.  raw is a closed quoted string. */
static void
unquote(struct slice raw, char out[ADDRESS_LOCAL_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 1; i + 1 < raw.n; i++) {
		if (raw.p[i] == '\\')
			i++;
		out[n++] = raw.p[i];
	}
	out[n] = '\0';
}

static int
parse_local(struct slice raw, struct address *a, struct err *err)
{
	if (raw.n == 0)
		return err_set(err, "local part is empty");
	if (raw.n > ADDRESS_LOCAL_MAX)
		return err_set(err, "local part is longer than 64 octets");
	if (slice_copy(raw, a->raw_local, sizeof(a->raw_local)) == -1)
		return err_set(err, "local part holds a NUL");
	a->is_utf8 = !utf8_is_ascii(raw);
	if (raw.p[0] == '"') {
		unquote(raw, a->local);
		if (a->local[0] == '\0')
			return err_set(err, "local part is empty");
		return 0;
	}
	if (!is_dot_string(raw))
		return err_set(err,
		    "local part holds a character that needs quotes, or "
		    "a dot at an end or beside another");
	(void)slice_copy(raw, a->local, sizeof(a->local));
	return 0;
}

/* RFC 5321 section 4.1.3: only the forms that name a host we could know. */
static int
parse_literal(struct slice s, struct address *a, struct err *err)
{
	enum netaddr_family want = NETADDR_IPV4;

	if (s.n < 2 || s.p[s.n - 1] != ']')
		return err_set(err, "address literal does not end in \"]\"");
	s = (struct slice){s.p + 1, s.n - 2};
	if (slice_starts_nocase(s, "IPv6:")) {
		want = NETADDR_IPV6;
		s = (struct slice){s.p + 5, s.n - 5};
	}
	if (netaddr_parse(s, &a->literal) == -1 ||
	    (slice_find(s, ':', 0) < s.n) != (want == NETADDR_IPV6))
		return err_set(err, "address literal is not an IP address");
	a->is_literal = true;
	return 0;
}

static bool
is_postmaster(struct slice s)
{
	return slice_equals_nocase(s, SLICE("postmaster"));
}

/* characters are checked; s has neither brackets nor route. */
static int
parse_mailbox(
    struct slice s, unsigned flags, struct address *a, struct err *err)
{
	struct slice local;
	struct slice domain;

	if (s.n > MAILBOX_MAX)
		return err_set(err, "address is longer than 256 octets");
	if (local_length(s, &local.n, err) == -1)
		return -1;
	local.p = s.p;
	if (parse_local(local, a, err) == -1)
		return -1;
	if (local.n == s.n) {
		if ((flags & ADDRESS_MAY_BE_POSTMASTER) == 0 ||
		    !is_postmaster(local))
			return err_set(err, "address has no domain");
		a->is_bare_postmaster = true;
		return 0;
	}
	if (s.p[local.n] != '@')
		return err_set(err, "text after the quoted local part");
	domain = (struct slice){s.p + local.n + 1, s.n - local.n - 1};
	if (domain.n == 0)
		return err_set(err, "domain is empty");
	if (domain.p[0] == '[')
		return parse_literal(domain, a, err);
	/* RFC 5321 has no final dot; taking one would allow two spellings. */
	if (domain.p[domain.n - 1] == '.')
		return err_set(err, "domain ends in a dot");
	if (domain_parse(domain, &a->domain, err) == -1)
		return -1;
	/* A-labels can be longer than what came; we send them on. */
	if (local.n + 1 + strlen(a->domain.text) > MAILBOX_MAX)
		return err_set(err, "address is longer than 256 octets");
	return 0;
}

int
address_parse(
    struct slice s, unsigned flags, struct address *address_r, struct err *err)
{
	struct address a = {.is_null = false};

	if (check_characters(s, flags, err) == -1 ||
	    parse_mailbox(s, flags, &a, err) == -1)
		return -1;
	*address_r = a;
	return 0;
}

/*
 * Takes "@a.example,@b.example:" off the front (RFC 5321 appendix C).  The
 * names are checked so that no junk hides in what is ignored.
 */
static int
drop_source_route(struct slice *s, bool *had_route_r, struct err *err)
{
	struct slice rest = *s;

	*had_route_r = rest.n > 0 && rest.p[0] == '@';
	while (rest.n > 0 && rest.p[0] == '@') {
		struct domain hop;
		size_t end = 1;

		while (end < rest.n && rest.p[end] != ',' && rest.p[end] != ':')
			end++;
		if (end == rest.n)
			return err_set(err, "local part is empty");
		if (domain_parse(
			(struct slice){rest.p + 1, end - 1}, &hop, err) == -1)
			return err_wrap(err, "source route");
		if (rest.p[end] == ',' &&
		    (end + 1 == rest.n || rest.p[end + 1] != '@'))
			return err_set(err, "source route is malformed");
		rest = (struct slice){rest.p + end + 1, rest.n - end - 1};
	}
	*s = rest;
	return 0;
}

int
address_parse_path(
    struct slice s, unsigned flags, struct address *address_r, struct err *err)
{
	struct address a = {.is_null = false};
	bool had_route;

	if (s.n < 2 || s.p[0] != '<' || s.p[s.n - 1] != '>')
		return err_set(err, "address is not in \"<\" and \">\"");
	s = (struct slice){s.p + 1, s.n - 2};
	if (s.n == 0) {
		if ((flags & ADDRESS_MAY_BE_NULL) == 0)
			return err_set(err, "address is empty");
		a.is_null = true;
		*address_r = a;
		return 0;
	}
	if (check_characters(s, flags, err) == -1 ||
	    drop_source_route(&s, &had_route, err) == -1)
		return -1;
	if (had_route)
		flags &= ~(unsigned)ADDRESS_MAY_BE_POSTMASTER;
	if (parse_mailbox(s, flags, &a, err) == -1)
		return -1;
	a.had_source_route = had_route;
	*address_r = a;
	return 0;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t
write_local(const char *local, bool is_folded, char *out)
{
	bool is_quoted = !is_dot_string(slice_of(local));
	size_t n = 0;

	if (is_quoted)
		out[n++] = '"';
	for (; *local != '\0'; local++) {
		char c = *local;

		if (c == '"' || c == '\\')
			out[n++] = '\\';
		out[n++] = is_folded ? lower(c) : c;
	}
	if (is_quoted)
		out[n++] = '"';
	out[n] = '\0';
	return n;
}

/*
 * The canonical local part is never longer than the one that came: an escape
 * is written only where one had to be.  So it has at most 64 octets.
 */
static const char *
format(const struct address *a, bool is_folded, char out[ADDRESS_TEXT_MAX])
{
	char literal[NETADDR_TEXT_MAX];
	size_t n;
	size_t room;

	out[0] = '\0';
	if (a->is_null)
		return out;
	n = write_local(a->local, is_folded, out);
	room = ADDRESS_TEXT_MAX - n;
	if (a->is_literal)
		(void)snprintf(out + n, room, "@[%s%s]",
		    a->literal.family == NETADDR_IPV6 ? "IPv6:" : "",
		    netaddr_format(&a->literal, literal));
	else if (!a->is_bare_postmaster)
		(void)snprintf(out + n, room, "@%s", a->domain.text);
	return out;
}

const char *
address_format(const struct address *address, char out[ADDRESS_TEXT_MAX])
{
	return format(address, false, out);
}

const char *
address_format_folded(const struct address *address, char out[ADDRESS_TEXT_MAX])
{
	return format(address, true, out);
}

/* All but the local part. */
static bool
has_equal_host(const struct address *a, const struct address *b)
{
	return a->is_null == b->is_null && a->is_literal == b->is_literal &&
	       a->is_bare_postmaster == b->is_bare_postmaster &&
	       domain_equals(&a->domain, &b->domain) &&
	       netaddr_equals(&a->literal, &b->literal);
}

bool
address_equals(const struct address *a, const struct address *b)
{
	return has_equal_host(a, b) && strcmp(a->local, b->local) == 0;
}

bool
address_equals_folded(const struct address *a, const struct address *b)
{
	size_t i = 0;

	/* Not strcasecmp(), which asks the locale. */
	while (a->local[i] != '\0' && lower(a->local[i]) == lower(b->local[i]))
		i++;
	return lower(a->local[i]) == lower(b->local[i]) && has_equal_host(a, b);
}
