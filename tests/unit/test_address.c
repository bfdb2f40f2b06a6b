/* SPDX-License-Identifier: ISC */
/*
 * Envelope addresses: what is taken, in what canonical form, what is refused.
 */
#include <string.h>

#include "common/address.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define L64 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01"
#define L63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define L61 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy"

enum { UTF8 = ADDRESS_MAY_BE_UTF8, BARE = ADDRESS_MAY_BE_POSTMASTER };

static const struct {
	const char *label;
	const char *text;
	const char *want; /* NULL: refused */
	unsigned flags;
} rows[] = {
    {"a plain address", "ann@example.org", "ann@example.org", 0},
    {"the local part keeps its case", "Ann@EXAMPLE.org", "Ann@example.org", 0},
    {"all of atext", "!#$%&'*+-/=?^_`{|}~@b.example",
	"!#$%&'*+-/=?^_`{|}~@b.example", 0},
    {"dots between atoms", "a.b.c@d.example", "a.b.c@d.example", 0},
    {"quotes that are not needed go", "\"ann\"@b.example", "ann@b.example", 0},
    {"escapes that are not needed go", "\"\\a\\n\\n\"@b.example",
	"ann@b.example", 0},
    {"quotes that are needed stay", "\"a b\"@b.example", "\"a b\"@b.example",
	0},
    {"an at-sign in quotes is no separator", "\"a@x.example\"@b.example",
	"\"a@x.example\"@b.example", 0},
    {"escapes that are needed stay", "\"a\\\"b\\\\c\"@b.example",
	"\"a\\\"b\\\\c\"@b.example", 0},
    {"a quoted dot at the end stays quoted", "\"a.\"@b.example",
	"\"a.\"@b.example", 0},
    {"a bracket in quotes", "\"a>b\"@b.example", "\"a>b\"@b.example", 0},
    {"an IPv4 literal", "a@[192.0.2.1]", "a@[192.0.2.1]", 0},
    {"an IPv6 literal", "a@[IPv6:2001:DB8:0::1]", "a@[IPv6:2001:db8::1]", 0},
    {"its tag in any case", "a@[ipv6:::1]", "a@[IPv6:::1]", 0},
    {"a mapped literal is IPv4", "a@[IPv6:::ffff:192.0.2.1]", "a@[192.0.2.1]",
	0},
    {"64 octets of local part", L64 "@b.example", L64 "@b.example", 0},
    {"a percent hack is opaque", "a%x.example@b.example",
	"a%x.example@b.example", 0},
    {"a bang path is opaque", "x!y!a@b.example", "x!y!a@b.example", 0},
    {"a leading hyphen is opaque", "-oQ/x@b.example", "-oQ/x@b.example", 0},
    {"an option is opaque", "--help@b.example", "--help@b.example", 0},
    {"a file name is opaque", "/etc/passwd@b.example", "/etc/passwd@b.example",
	0},
    {"a pipe is opaque", "|/bin/sh@b.example", "|/bin/sh@b.example", 0},
    {"an expansion is opaque", "${run{x}}@b.example", "${run{x}}@b.example", 0},
    {"SQL in quotes is opaque", "\"' OR 1=1--\"@b.example",
	"\"' OR 1=1--\"@b.example", 0},
    {"a U-label becomes an A-label",
	"a@b\xc3\xbc"
	"cher.example",
	"a@xn--bcher-kva.example", UTF8},
    {"a UTF-8 local part stays", "m\xc3\xbcller@b.example",
	"m\xc3\xbcller@b.example", UTF8},
    {"UTF-8 in quotes needs none", "\"m\xc3\xbcller\"@b.example",
	"m\xc3\xbcller@b.example", UTF8},
    {"a bare postmaster", "postmaster", "postmaster", BARE},
    {"a bare postmaster in capitals", "Postmaster", "Postmaster", BARE},

    {"nothing", "", NULL, BARE},
    {"an at-sign alone", "@", NULL, BARE},
    {"an empty local part", "@b.example", NULL, BARE},
    {"an empty quoted local part", "\"\"@b.example", NULL, 0},
    {"an empty domain", "a@", NULL, BARE},
    {"an empty domain after commands (CVE-2020-7247)", ";sleep 5;@", NULL,
	BARE},
    {"commands without a domain (CVE-2020-7247)", ";sleep 5;", NULL, BARE},
    {"commands with a domain", ";sleep 5;@b.example", NULL, 0},
    {"no domain", "ann", NULL, BARE},
    {"a bare postmaster where none may be", "postmaster", NULL, 0},
    {"a bare postmaster in quotes", "\"postmaster\"", NULL, BARE},
    {"two at-signs", "a@b@c.example", NULL, 0},
    {"a leading dot", ".a@b.example", NULL, 0},
    {"a final dot", "a.@b.example", NULL, 0},
    {"two dots", "a..b@c.example", NULL, 0},
    {"the directory above", "../../x@b.example", NULL, 0},
    {"a final dot of the domain", "a@b.example.", NULL, 0},
    {"a space", "a b@c.example", NULL, 0},
    {"parentheses", "a(c)@b.example", NULL, 0},
    {"a command in parentheses", "$(id)@b.example", NULL, 0},
    {"a comma", "a,b@c.example", NULL, 0},
    {"brackets", "<a@b.example>", NULL, 0},
    {"a backslash without quotes", "a\\b@c.example", NULL, 0},
    {"a quote in the middle", "a\"b\"@c.example", NULL, 0},
    {"text after the quotes", "\"a\"b@c.example", NULL, 0},
    {"a quote that stays open", "\"a@b.example", NULL, 0},
    {"a quote closed by an escape only", "\"a\\\"@b.example", NULL, 0},
    {"an escape at the very end", "\"a\\", NULL, 0},
    {"65 octets of local part", L64 "2@b.example", NULL, 0},
    {"65 octets with the quotes", "\"" L63 "\"@b.example", NULL, 0},
    {"255 octets in all", L64 "@" L63 "." L63 "." L63 "a", NULL, 0},
    {"CR", "a\r@b.example", NULL, 0},
    {"CRLF in quotes", "\"a\r\nb\"@b.example", NULL, 0},
    {"an escaped LF in quotes", "\"a\\\nb\"@b.example", NULL, 0},
    {"a tab in quotes", "\"a\tb\"@b.example", NULL, 0},
    {"DEL", "a\x7f@b.example", NULL, 0},
    {"UTF-8 without SMTPUTF8", "m\xc3\xbcller@b.example", NULL, 0},
    {"a U-label without SMTPUTF8",
	"a@b\xc3\xbc"
	"cher.example",
	NULL, 0},
    {"Latin-1", "m\xfcller@b.example", NULL, UTF8},
    {"a cut character", "m\xc3@b.example", NULL, UTF8},
    {"the override",
	"a\xe2\x80\xae"
	"b@c.example",
	NULL, UTF8},
    {"the override in quotes",
	"\"a\xe2\x80\xae"
	"b\"@c.example",
	NULL, UTF8},
    {"zero width",
	"a\xe2\x80\x8b"
	"b@c.example",
	NULL, UTF8},
    {"NEL",
	"a\xc2\x85"
	"b@c.example",
	NULL, UTF8},
    {"the line separator",
	"a\xe2\x80\xa8"
	"b@c.example",
	NULL, UTF8},
    {"an IP address without brackets", "a@192.0.2.1", NULL, 0},
    {"a literal without its end", "a@[192.0.2.1", NULL, 0},
    {"text after a literal", "a@[192.0.2.1].example", NULL, 0},
    {"an empty literal", "a@[]", NULL, 0},
    {"half a literal", "a@[", NULL, 0},
    {"IPv6 without its tag", "a@[::1]", NULL, 0},
    {"IPv4 with the tag", "a@[IPv6:192.0.2.1]", NULL, 0},
    {"a literal of another kind", "a@[x-tag:data]", NULL, 0},
    {"a zone in a literal", "a@[IPv6:fe80::1%lo]", NULL, 0},
    {"a number as literal", "a@[2130706433]", NULL, 0},
    {"a domain with an underscore", "a@b_c.example", NULL, 0},
    {"a source route without brackets", "@x.example:a@b.example", NULL, 0},
};

static const struct {
	const char *label;
	const char *text;
	const char *want;
	unsigned flags;
	bool has_route;
} paths[] = {
    {"a plain path", "<a@b.example>", "a@b.example", 0, false},
    {"the null path", "<>", "", ADDRESS_MAY_BE_NULL, false},
    {"a source route is dropped and told of",
	"<@x.example,@y.example:a@b.example>", "a@b.example", 0, true},
    {"a source route of one", "<@x.example:a@b.example>", "a@b.example", 0,
	true},
    {"postmaster", "<Postmaster>", "Postmaster", BARE, false},
    {"a bracket in quotes", "<\"a>b\"@c.example>", "\"a>b\"@c.example", 0,
	false},
    {"254 octets", "<" L64 "@" L63 "." L63 "." L61 ">",
	L64 "@" L63 "." L63 "." L61, 0, false},
    {"255 octets are refused", "<" L64 "@" L63 "." L63 "." L61 "a>", NULL, 0,
	false},
    {"the null path where none may be", "<>", NULL, BARE, false},
    {"a null path with a space", "< >", NULL, ADDRESS_MAY_BE_NULL, false},
    {"no brackets", "a@b.example", NULL, 0, false},
    {"no end", "<a@b.example", NULL, 0, false},
    {"half of one", "<", NULL, ADDRESS_MAY_BE_NULL, false},
    {"nothing", "", NULL, ADDRESS_MAY_BE_NULL, false},
    {"spaces inside", "< a@b.example >", NULL, 0, false},
    {"two pairs of brackets", "<<a@b.example>>", NULL, 0, false},
    {"a route without an address", "<@x.example:>", NULL, 0, false},
    {"a route that does not end", "<@x.example", NULL, 0, false},
    {"an empty hop", "<@:a@b.example>", NULL, 0, false},
    {"a bad hop", "<@;id;:a@b.example>", NULL, 0, false},
    {"a comma without a hop", "<@x.example,:a@b.example>", NULL, 0, false},
    {"a comma before a name", "<@x.example,y.example:a@b.example>", NULL, 0,
	false},
    {"a route to a bare postmaster", "<@x.example:postmaster>", NULL, BARE,
	false},
};

static void
test_mailboxes(void)
{
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address a = {.local = "untouched"};
		struct address b;
		struct err err = {""};
		int rc = address_parse(
		    slice_of(rows[i].text), rows[i].flags, &a, &err);

		if (rows[i].want == NULL) {
			ok(rc == -1 && strcmp(a.local, "untouched") == 0 &&
				err.text[0] != '\0',
			    "refused: %s", rows[i].label);
			continue;
		}
		is_str(rc == 0 ? address_format(&a, text) : err.text,
		    rows[i].want, "%s", rows[i].label);
		ok(address_parse(slice_of(text), rows[i].flags, &b, &err) ==
			    0 &&
			address_equals(&a, &b),
		    "%s: its text reads back", rows[i].label);
	}
	ok(address_parse(
	       SLICE("a\0b@c.example"), UTF8, &(struct address){0}, NULL) == -1,
	    "refused: NUL");
	ok(address_parse(SLICE("\"a\\\0b\"@c.example"), UTF8,
	       &(struct address){0}, NULL) == -1,
	    "refused: an escaped NUL");
}

static void
test_paths(void)
{
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < COUNT(paths); i++) {
		struct address a = {.local = "untouched"};
		struct err err = {""};
		int rc = address_parse_path(
		    slice_of(paths[i].text), paths[i].flags, &a, &err);

		if (paths[i].want == NULL) {
			ok(rc == -1 && strcmp(a.local, "untouched") == 0,
			    "refused: %s", paths[i].label);
			continue;
		}
		is_str(rc == 0 ? address_format(&a, text) : err.text,
		    paths[i].want, "%s", paths[i].label);
		ok(a.had_source_route == paths[i].has_route, "%s: route",
		    paths[i].label);
	}
}

static struct address
address_of(const char *text)
{
	struct address a = {0};

	if (address_parse(slice_of(text), UTF8 | BARE, &a, NULL) == -1)
		fail("%s parses", text);
	return a;
}

static void
test_members(void)
{
	struct address a = address_of("\"a\\ b\"@b.example");

	is_str(a.local, "a b", "the local part without quotes");
	is_str(a.raw_local, "\"a\\ b\"", "and as it came");
	is_str(a.domain.text, "b.example", "the domain");
	ok(!a.is_utf8 && !a.is_literal && !a.is_null, "and nothing else");
	a = address_of("m\xc3\xbcller@b.example");
	ok(a.is_utf8, "a UTF-8 local part is told of");
	a = address_of("a@b\xc3\xbc"
		       "cher.example");
	ok(!a.is_utf8, "a U-label alone needs no SMTPUTF8 further on");
	a = address_of("a@[127.0.0.1]");
	ok(a.is_literal && netaddr_is_loopback(&a.literal) &&
		a.domain.text[0] == '\0',
	    "a literal is an address and no domain");
	a = address_of("postmaster");
	ok(a.is_bare_postmaster, "a bare postmaster is told of");
}

static void
test_comparing(void)
{
	static const struct {
		const char *a;
		const char *b;
		bool equal;
		bool equal_folded;
	} pairs[] = {
	    {"a@b.example", "a@B.EXAMPLE", true, true},
	    {"a@b.example", "A@b.example", false, true},
	    {"a@b.example", "a@c.example", false, false},
	    {"a@b.example", "ab@b.example", false, false},
	    {"ab@b.example", "a@b.example", false, false},
	    {"\"a\"@b.example", "a@b.example", true, true},
	    {"a@b\xc3\xbc"
	     "cher.example",
		"a@XN--bcher-kva.example", true, true},
	    {"\xc3\xbc@b.example", "\xc3\x9c@b.example", false, false},
	    {"a@[192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]", true, true},
	    {"a@[192.0.2.1]", "a@[192.0.2.2]", false, false},
	    {"postmaster", "Postmaster", false, true},
	    {"postmaster", "postmaster@b.example", false, false},
	};
	char text[ADDRESS_TEXT_MAX];
	struct address null = {.is_null = true};
	struct address folded = address_of("\"Ann B\"@B.example");

	for (size_t i = 0; i < COUNT(pairs); i++) {
		struct address a = address_of(pairs[i].a);
		struct address b = address_of(pairs[i].b);

		ok(address_equals(&a, &b) == pairs[i].equal, "%s and %s",
		    pairs[i].a, pairs[i].b);
		ok(address_equals_folded(&a, &b) == pairs[i].equal_folded,
		    "%s and %s, folded", pairs[i].a, pairs[i].b);
	}
	ok(address_equals(&null, &null), "null is null");
	ok(!address_equals(&null, &folded), "and nothing else is");
	is_str(address_format(&null, text), "", "null has the empty text");
	is_str(address_format_folded(&folded, text), "\"ann b\"@b.example",
	    "the folded text");
}

int
main(void)
{
	test_mailboxes();
	test_paths();
	test_members();
	test_comparing();
	return tap_done();
}
