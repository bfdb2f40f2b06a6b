/* SPDX-License-Identifier: ISC */
/*
 * Domains: canonical form, refusals, patterns.
 */
#include <string.h>

#include "common/domain.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define L63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define L61 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy"

static const struct {
	const char *label;
	const char *text;
	const char *want; /* NULL: refused */
} rows[] = {
    {"a plain name", "example.org", "example.org"},
    {"capitals become small", "ExAmPlE.ORG", "example.org"},
    {"one final dot goes", "example.org.", "example.org"},
    {"one label is a name", "localhost", "localhost"},
    {"digits and hyphens", "a-1.3com.example", "a-1.3com.example"},
    {"hyphens in third and fourth place", "r3---sn-x.example",
	"r3---sn-x.example"},
    {"a U-label becomes an A-label",
	"b\xc3\xbc"
	"cher.example",
	"xn--bcher-kva.example"},
    {"capitals of a U-label become small",
	"B\xc3\x9c"
	"CHER.example",
	"xn--bcher-kva.example"},
    {"a decomposed U-label is the same",
	"bu\xcc\x88"
	"cher.example",
	"xn--bcher-kva.example"},
    {"sharp s stays (non-transitional)",
	"stra\xc3\x9f"
	"e.example",
	"xn--strae-oqa.example"},
    {"an A-label stays", "xn--bcher-kva.example", "xn--bcher-kva.example"},
    {"an A-label in capitals", "XN--BCHER-KVA.Example",
	"xn--bcher-kva.example"},
    {"full-width letters are mapped", "\xef\xbd\x85\xef\xbd\x98.example",
	"ex.example"},
    {"the ideographic stop is a dot",
	"a\xe3\x80\x82"
	"example",
	"a.example"},
    {"63 characters in a part", L63 ".example", L63 ".example"},
    {"253 characters", L63 "." L63 "." L63 "." L61,
	L63 "." L63 "." L63 "." L61},
    {"254 characters are refused", L63 "." L63 "." L63 "." L61 "0", NULL},
    {"64 characters in a part are refused", L63 "0.example", NULL},
    {"a far too long name is refused",
	L63 "." L63 "." L63 "." L63 "." L63 "." L63 "." L63 "." L63 "." L63
	    "." L63 "." L63 "." L63 "." L63 "." L63 "." L63 "." L63 "." L63,
	NULL},
    {"nothing is refused", "", NULL},
    {"a dot alone is refused", ".", NULL},
    {"two final dots are refused", "example.org..", NULL},
    {"a leading dot is refused", ".example.org", NULL},
    {"an empty part is refused", "a..example", NULL},
    {"a leading hyphen is refused", "-a.example", NULL},
    {"a final hyphen is refused", "a-.example", NULL},
    {"a space is refused", "a b.example", NULL},
    {"a line end is refused", "a.example\n", NULL},
    {"a slash is refused", "a/b.example", NULL},
    {"an at-sign is refused", "a@b.example", NULL},
    {"a star is refused", "*.example", NULL},
    {"an underscore is refused", "_dmarc.example", NULL},
    {"an IP address is refused", "127.0.0.1", NULL},
    {"a last part of digits is refused", "example.123", NULL},
    {"a number is refused", "2130706433", NULL},
    {"a literal is refused", "[127.0.0.1]", NULL},
    {"an IPv6 address is refused", "::1", NULL},
    {"a wrong A-label is refused", "xn--a.example", NULL},
    {"an A-label of ASCII is refused", "xn--abc-.example", NULL},
    {"an A-label that no U-label gives is refused",
	"xn--B\xc3\xbc"
	"cher.example",
	NULL},
    {"an A-label of a capital U-label is refused", "xn--bcher-2pa.example",
	NULL},
    {"broken UTF-8 is refused",
	"b\xfc"
	"cher.example",
	NULL},
    {"the override is refused",
	"\xe2\x80\xae"
	"abc.example",
	NULL},
    {"account-of becomes a slash and is refused", "\xe2\x84\x80.example", NULL},
    {"full-width at is refused",
	"a\xef\xbc\xa0"
	"b.example",
	NULL},
    {"full-width digits make an address: refused", "\xef\xbc\x91.\xef\xbc\x91",
	NULL},
    {"full-width slash is refused",
	"a\xef\xbc\x8f"
	"b.example",
	NULL},
    {"full-width underscore is refused",
	"a\xef\xbc\xbf"
	"b.example",
	NULL},
    {"an A-label with an underscore is refused", "xn--a_b-hoa.example", NULL},
    {"an emoji's A-label is refused", "xn--ls8h.example", NULL},
    {"a soft hyphen vanishes and leaves the name", "exam\xc2\xadple.org",
	"example.org"},
};

static struct domain
domain_of(const char *text)
{
	struct domain d = {""};

	(void)domain_parse(slice_of(text), &d, NULL);
	return d;
}

static void
test_parse(void)
{
	struct domain d;
	struct err err;

	for (size_t i = 0; i < COUNT(rows); i++) {
		int rc;

		(void)slice_copy(SLICE("untouched"), d.text, sizeof(d.text));
		rc = domain_parse(slice_of(rows[i].text), &d, &err);
		if (rows[i].want == NULL)
			ok(rc == -1 && strcmp(d.text, "untouched") == 0, "%s",
			    rows[i].label);
		else
			is_str(rc == 0 ? d.text : err.text, rows[i].want, "%s",
			    rows[i].label);
	}
	ok(domain_parse(SLICE("a\0b.example"), &d, NULL) == -1,
	    "a NUL is refused");
	ok(domain_parse_dns(SLICE("_dmarc.Example.org"), &d, NULL) == 0,
	    "names in the DNS may hold an underscore");
	is_str(d.text, "_dmarc.example.org", "which stays");
	ok(domain_parse_dns(SLICE("_25._tcp.b\xc3\xbc"
				  "cher.example"),
	       &d, NULL) == 0,
	    "beside a U-label, too");
	is_str(d.text, "_25._tcp.xn--bcher-kva.example", "in one name");
	ok(domain_parse_dns(SLICE("a b.b\xc3\xbc"
				  "cher.example"),
	       &d, NULL) == -1,
	    "but no space beside it");
	ok(domain_parse_dns(SLICE("2.0.0.127.bl.example"), &d, NULL) == 0,
	    "a list's query name is one");
}

static void
test_relations(void)
{
	struct domain org = domain_of("example.org");
	struct domain mail = domain_of("mail.example.org");
	struct domain other = domain_of("badexample.org");
	struct domain none = {""};
	struct domain up;

	ok(domain_is_subdomain(&mail, &org), "mail.example.org is below");
	ok(!domain_is_subdomain(&org, &org), "a name is not below itself");
	ok(!domain_is_subdomain(&org, &mail), "nor below its own child");
	ok(!domain_is_subdomain(&other, &org), "badexample.org is not below");
	ok(!domain_is_subdomain(&org, &none), "nothing is below no name");
	ok(domain_equals(&org, &org) && !domain_equals(&org, &mail), "equals");
	ok(domain_compare(&org, &mail) < 0 && domain_compare(&mail, &org) > 0 &&
		domain_compare(&org, &org) == 0,
	    "order");
	is_int(domain_parent(&mail, &up), 0, "a parent");
	is_str(up.text, "example.org", "by one label");
	is_int(domain_parent(&up, &up), 0, "in place");
	is_str(up.text, "org", "once more");
	is_int(domain_parent(&up, &up), -1, "and no further");
}

static void
test_patterns(void)
{
	static const struct {
		const char *pattern;
		const char *canonical; /* NULL: refused */
		const char *domain;
		bool matches;
	} cases[] = {
	    {"*", "*", "a.example", true},
	    {"Example.org", "example.org", "example.org", true},
	    {"example.org", "example.org", "mail.example.org", false},
	    {".example.org", "*.example.org", "mail.example.org", true},
	    {".example.org", "*.example.org", "a.b.example.org", true},
	    {".example.org", "*.example.org", "example.org", false},
	    {"*.example.org", "*.example.org", "mail.example.org", true},
	    {"*.example.org", "*.example.org", "badexample.org", false},
	    {"*.b\xc3\xbc"
	     "cher.example",
		"*.xn--bcher-kva.example",
		"a.b\xc3\xbc"
		"cher.example",
		true},
	    {"**", NULL, NULL, false},
	    {"*example.org", NULL, NULL, false},
	    {"mail.*.org", NULL, NULL, false},
	    {"", NULL, NULL, false},
	    {".", NULL, NULL, false},
	    {"*.", NULL, NULL, false},
	    {"..example.org", NULL, NULL, false},
	};
	static const char *const rising[] = {
	    "*", ".org", ".example.org", ".mail.example.org", "a.org"};
	char text[DOMAIN_PATTERN_TEXT_MAX];
	struct domain_pattern p;
	unsigned last = 0;

	for (size_t i = 0; i < COUNT(cases); i++) {
		int rc =
		    domain_pattern_parse(slice_of(cases[i].pattern), &p, NULL);
		struct domain d;

		ok((rc == 0) == (cases[i].canonical != NULL), "pattern \"%s\"",
		    cases[i].pattern);
		if (rc == -1 || cases[i].canonical == NULL)
			continue;
		d = domain_of(cases[i].domain);
		is_str(domain_pattern_format(&p, text), cases[i].canonical,
		    "its text");
		ok(domain_pattern_matches(&p, &d) == cases[i].matches, "%s it",
		    cases[i].domain);
	}
	for (size_t i = 0; i < COUNT(rising); i++) {
		unsigned rank;

		(void)domain_pattern_parse(slice_of(rising[i]), &p, NULL);
		rank = domain_pattern_rank(&p);
		ok(i == 0 || rank > last, "%s is nearer than the last",
		    rising[i]);
		last = rank;
	}
}

int
main(void)
{
	test_parse();
	test_relations();
	test_patterns();
	return tap_done();
}
