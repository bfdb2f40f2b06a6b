/* SPDX-License-Identifier: ISC */
/*
 * Addresses, prefixes and their kinds.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "common/netaddr.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *label;
	const char *text;
	const char *want; /* NULL: refused */
} addresses[] = {
    {"IPv4", "192.0.2.1", "192.0.2.1"},
    {"IPv6 is compressed", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
    {"mapped IPv6 is IPv4", "::ffff:192.0.2.1", "192.0.2.1"},
    {"mapped in hexadecimal is IPv4", "::ffff:c000:201", "192.0.2.1"},
    {"the old compatible form is not mapped", "::192.0.2.1", "::192.0.2.1"},
    {"all zeros", "::", "::"},
    {"leading zeros are refused", "192.000.002.001", NULL},
    {"octal is refused", "010.0.0.1", NULL},
    {"hexadecimal is refused", "0x7f.0.0.1", NULL},
    {"one number is refused", "2130706433", NULL},
    {"three parts are refused", "127.0.1", NULL},
    {"256 is refused", "256.0.0.1", NULL},
    {"a zone is refused", "fe80::1%lo", NULL},
    {"brackets are refused", "[::1]", NULL},
    {"a space is refused", " 192.0.2.1", NULL},
    {"text after it is refused", "192.0.2.1 ", NULL},
    {"a prefix is refused", "192.0.2.1/32", NULL},
    {"nothing is refused", "", NULL},
    {"a name is refused", "localhost", NULL},
    {"a very long text is refused",
	"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", NULL},
};

static const struct {
	const char *label;
	const char *text;
	const char *want;
} prefixes[] = {
    {"a network", "10.0.0.0/8", "10.0.0.0/8"},
    {"an address alone", "192.0.2.1", "192.0.2.1/32"},
    {"an IPv6 address alone", "::1", "::1/128"},
    {"everything", "0.0.0.0/0", "0.0.0.0/0"},
    {"all of IPv6", "::/0", "::/0"},
    {"IPv6", "2001:db8::/32", "2001:db8::/32"},
    {"an odd number of bits", "172.16.0.0/12", "172.16.0.0/12"},
    {"a mapped network is IPv4", "::ffff:10.0.0.0/104", "10.0.0.0/8"},
    {"a mapped address is IPv4", "::ffff:10.0.0.1", "10.0.0.1/32"},
    {"a network across the mapped ones is refused", "::ffff:0:0/95", NULL},
    {"host bits are refused", "10.0.0.1/8", NULL},
    {"IPv6 host bits are refused", "2001:db8::1/64", NULL},
    {"33 bits are refused", "10.0.0.0/33", NULL},
    {"129 bits are refused", "::/129", NULL},
    {"no number is refused", "10.0.0.0/", NULL},
    {"a sign is refused", "10.0.0.0/+8", NULL},
    {"a leading zero is refused", "10.0.0.0/08", NULL},
    {"a mask is refused", "10.0.0.0/255.0.0.0", NULL},
    {"no address is refused", "/8", NULL},
    {"a second slash is refused", "10.0.0.0/8/8", NULL},
};

static const struct {
	const char *prefix;
	const char *address;
	bool is_inside;
} members[] = {
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.0.0.0/8", "::ffff:10.1.2.3", true},
    {"0.0.0.0/0", "192.0.2.1", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "192.0.2.1", false},
    {"::/0", "2001:db8::1", true},
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"172.16.0.0/12", "172.31.255.255", true},
    {"172.16.0.0/12", "172.32.0.0", false},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
};

static const struct {
	const char *address;
	const char *kinds; /* l, p, k (link-local), u, m */
} kinds[] = {
    {"127.0.0.1", "l"},
    {"127.255.255.254", "l"},
    {"::1", "l"},
    {"::ffff:127.0.0.1", "l"},
    {"10.1.2.3", "p"},
    {"172.16.0.1", "p"},
    {"172.15.0.1", ""},
    {"172.32.0.1", ""},
    {"192.168.3.4", "p"},
    {"100.64.0.1", "p"},
    {"100.128.0.1", ""},
    {"fd00::1", "p"},
    {"169.254.1.1", "k"},
    {"fe80::1", "k"},
    {"febf::1", "k"},
    {"fec0::1", ""},
    {"0.0.0.0", "u"},
    {"0.1.2.3", "u"},
    {"::", "u"},
    {"224.0.0.1", "m"},
    {"255.255.255.255", "m"},
    {"ff02::1", "m"},
    {"192.0.2.1", ""},
    {"2001:db8::1", ""},
};

static struct netaddr
address_of(const char *text)
{
	struct netaddr a = {0};

	ok(netaddr_parse(slice_of(text), &a) == 0, "%s parses", text);
	return a;
}

static void
test_text(void)
{
	char text[NETADDR_TEXT_MAX];
	struct err err;

	for (size_t i = 0; i < COUNT(addresses); i++) {
		struct netaddr a = {.family = 77};
		int rc = netaddr_parse(slice_of(addresses[i].text), &a);

		if (addresses[i].want == NULL)
			ok(rc == -1 && a.family == 77, "%s",
			    addresses[i].label);
		else
			is_str(rc == 0 ? netaddr_format(&a, text) : "refused",
			    addresses[i].want, "%s", addresses[i].label);
	}
	for (size_t i = 0; i < COUNT(prefixes); i++) {
		struct netprefix p = {.bits = 77};
		int rc = netprefix_parse(slice_of(prefixes[i].text), &p, &err);

		if (prefixes[i].want == NULL)
			ok(rc == -1 && p.bits == 77, "%s", prefixes[i].label);
		else
			is_str(rc == 0 ? netprefix_format(&p, text) : err.text,
			    prefixes[i].want, "%s", prefixes[i].label);
	}
	is_str(netaddr_format(&(struct netaddr){0}, text), "none",
	    "no address has a text, too");
}

static void
test_members(void)
{
	struct netprefix list[2];

	for (size_t i = 0; i < COUNT(members); i++) {
		struct netprefix p = {0};
		struct netaddr a = address_of(members[i].address);

		(void)netprefix_parse(slice_of(members[i].prefix), &p, NULL);
		ok(netprefix_contains(&p, &a) == members[i].is_inside,
		    "%s %s %s", members[i].address,
		    members[i].is_inside ? "in" : "not in", members[i].prefix);
	}
	(void)netprefix_parse(SLICE("10.0.0.0/8"), &list[0], NULL);
	(void)netprefix_parse(SLICE("::1"), &list[1], NULL);
	ok(netprefix_list_contains(list, 2, &(struct netaddr){2, {[15] = 1}}),
	    "the second of a list matches");
	ok(!netprefix_list_contains(list, 0, &(struct netaddr){1, {10}}),
	    "an empty list matches nothing");
	(void)netprefix_parse(SLICE("::/0"), &list[1], NULL);
	ok(!netprefix_list_contains(list, 2, &(struct netaddr){0}),
	    "no address is in no list");
}

static void
test_kinds(void)
{
	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct netaddr a = address_of(kinds[i].address);
		char got[6] = "";
		size_t n = 0;

		if (netaddr_is_loopback(&a))
			got[n++] = 'l';
		if (netaddr_is_private(&a))
			got[n++] = 'p';
		if (netaddr_is_link_local(&a))
			got[n++] = 'k';
		if (netaddr_is_unspecified(&a))
			got[n++] = 'u';
		if (netaddr_is_multicast(&a))
			got[n++] = 'm';
		is_str(got, kinds[i].kinds, "kinds of %s", kinds[i].address);
	}
}

static void
test_network(void)
{
	struct netaddr v4 = address_of("192.0.2.77");
	struct netaddr v6 = address_of("2001:db8:1:2:3:4:5:6");
	struct netprefix p = netaddr_network(&v4);
	struct netprefix q = netaddr_network(&v4);
	char text[NETADDR_TEXT_MAX];

	is_str(netprefix_format(&p, text), "192.0.2.0/24", "the /24 of IPv4");
	ok(netprefix_equals(&p, &q), "it equals itself");
	q = netaddr_network(&v6);
	is_str(
	    netprefix_format(&q, text), "2001:db8:1:2::/64", "the /64 of IPv6");
	ok(!netprefix_equals(&p, &q), "and not the other");
}

static void
test_endpoint(void)
{
	static const struct {
		const char *text;
		const char *address; /* NULL: refused */
		int port;
	} rows[] = {
	    {"192.0.2.1:25", "192.0.2.1", 25},
	    {"[::1]:65535", "::1", 65535},
	    {"[::ffff:127.0.0.1]:1", "127.0.0.1", 1},
	    {"192.0.2.1:0", NULL, 0},
	    {"192.0.2.1:65536", NULL, 0},
	    {"192.0.2.1:000025", NULL, 0},
	    {"192.0.2.1:", NULL, 0},
	    {"192.0.2.1", NULL, 0},
	    {"::1:25", NULL, 0},
	    {"[::1]25", NULL, 0},
	    {"[::1]", NULL, 0},
	    {"[::1", NULL, 0},
	    {"[]:25", NULL, 0},
	    {"[192.0.2.1]:25", NULL, 0},
	    {":25", NULL, 0},
	    {"", NULL, 0},
	    {"192.0.2.1:+5", NULL, 0},
	    {"localhost:25", NULL, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct netaddr a = {0};
		char text[NETADDR_TEXT_MAX];
		uint16_t port = 0;
		int rc = netaddr_parse_endpoint(
		    slice_of(rows[i].text), &a, &port, NULL);

		ok((rc == 0) == (rows[i].address != NULL), "endpoint \"%s\"",
		    rows[i].text);
		if (rc == 0 && rows[i].address != NULL) {
			is_str(netaddr_format(&a, text), rows[i].address,
			    "its address");
			is_int(port, rows[i].port, "its port");
		}
	}
}

static void
test_sockaddr(void)
{
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1"};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_storage ss;
	struct netaddr back;
	uint16_t port = 0;

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct netaddr a = address_of(texts[i]);
		socklen_t length = netaddr_to_sockaddr(&a, 587, &ss);

		is_int(netaddr_from_sockaddr(
			   (struct sockaddr *)&ss, length, &back, &port),
		    0, "%s comes back from its sockaddr", texts[i]);
		ok(netaddr_equals(&a, &back) && port == 587, "unchanged");
		is_int(netaddr_from_sockaddr(
			   (struct sockaddr *)&ss, length - 1, &back, NULL),
		    -1, "a short one is refused");
	}
	is_int(netaddr_from_sockaddr(
		   (struct sockaddr *)&un, sizeof(un), &back, NULL),
	    -1, "a Unix address is refused");
	is_int(netaddr_from_sockaddr((struct sockaddr *)&un, 0, &back, NULL),
	    -1, "an empty one is refused");
	OK_DIES((void)netaddr_to_sockaddr(&(struct netaddr){0}, 1, &ss),
	    "no address has no sockaddr");
}

int
main(void)
{
	test_text();
	test_members();
	test_kinds();
	test_network();
	test_endpoint();
	test_sockaddr();
	return tap_done();
}
