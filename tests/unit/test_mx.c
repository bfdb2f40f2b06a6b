/* SPDX-License-Identifier: ISC */
/*
 * The order of mail exchangers, null MX, loops, and addresses that are not to
 * be connected to (T085).
 */
#include <stdio.h>
#include <string.h>

#include "relay/mx.h"
#include "tests/unit/tap.h"

static void
names_of(const struct mx_list *list, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < list->count; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s",
		    i > 0 ? " " : "", list->hosts[i].name);
}

static void
test_order(void)
{
	static const struct {
		const char *label;
		struct mx_host records[5];
		size_t count;
		enum mx_verdict verdict;
		const char *order;
	} rows[] = {
	    {"by preference", {{"c.test", 30}, {"a.test", 10}, {"b.test", 20}},
		3, MX_OK, "a.test b.test c.test"},
	    {"in lower case, once", {{"A.test", 10}, {"a.TEST", 20}}, 2, MX_OK,
		"a.test"},
	    {"null MX", {{".", 0}}, 1, MX_NULL, ""},
	    {"a root beside others is left out", {{".", 0}, {"a.test", 10}}, 2,
		MX_OK, "a.test"},
	    {"we are the best", {{"gw.test", 10}, {"a.test", 20}}, 2, MX_LOOP,
		""},
	    {"we are among the best", {{"a.test", 10}, {"GW.test", 10}}, 2,
		MX_LOOP, ""},
	    {"better ones than we",
		{{"a.test", 5}, {"gw.test", 10}, {"b.test", 10},
		    {"c.test", 20}},
		4, MX_OK, "a.test"},
	    {"an address for a name", {{"192.0.2.1", 10}}, 1, MX_BROKEN, ""},
	    {"a broken one beside a good one", {{"a b", 1}, {"a.test", 10}}, 2,
		MX_OK, "a.test"},
	    {"a bad name", {{"", 10}}, 1, MX_BROKEN, ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mx_list list;
		char order[600];
		enum mx_verdict verdict = mx_order(
		    rows[i].records, rows[i].count, "gw.test", 1, &list);

		names_of(&list, order, sizeof(order));
		is_int(verdict, rows[i].verdict, "%s: verdict", rows[i].label);
		is_str(order, rows[i].order, "%s: order", rows[i].label);
	}
}

static void
test_equal_ones(void)
{
	const struct mx_host records[] = {{"a.test", 10}, {"b.test", 10}};
	unsigned firsts[2] = {0, 0};

	for (uint32_t seed = 1; seed <= 1000; seed++) {
		struct mx_list list;

		(void)mx_order(
		    records, 2, "gw.test", seed * 2654435761u, &list);
		firsts[list.hosts[0].name[0] == 'b']++;
	}
	ok(firsts[0] > 300 && firsts[1] > 300,
	    "equal ones share the mail: %u and %u", firsts[0], firsts[1]);
}

static void
test_many(void)
{
	static struct mx_host records[1000];
	struct mx_list list;

	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(
		    records[i].name, sizeof(records[i].name), "h%u.test", i);
		records[i].preference = (uint16_t)(1000 - i);
	}
	is_int(mx_order(records, 1000, "gw.test", 1, &list), MX_OK,
	    "a thousand MX are read");
	is_u64(list.count, MX_HOSTS_MAX, "twenty are kept");
	is_str(list.hosts[0].name, "h999.test", "the best first");
	is_str(list.hosts[19].name, "h980.test", "and no worse ones");
}

static void
test_addresses(void)
{
	static const struct {
		const char *address;
		enum mx_address_fault fault;
	} rows[] = {
	    {"192.0.2.1", MX_ADDRESS_OK},
	    {"2001:db8::1", MX_ADDRESS_OK},
	    {"127.0.0.1", MX_ADDRESS_SELF},
	    {"127.9.9.9", MX_ADDRESS_SELF},
	    {"::1", MX_ADDRESS_SELF},
	    {"::ffff:127.0.0.1", MX_ADDRESS_SELF},
	    {"0.0.0.0", MX_ADDRESS_SELF},
	    {"::", MX_ADDRESS_SELF},
	    {"198.51.100.7", MX_ADDRESS_SELF},
	    {"10.1.2.3", MX_ADDRESS_PRIVATE},
	    {"192.168.0.1", MX_ADDRESS_PRIVATE},
	    {"fd00::1", MX_ADDRESS_PRIVATE},
	    {"169.254.169.254", MX_ADDRESS_UNUSABLE},
	    {"fe80::1", MX_ADDRESS_UNUSABLE},
	    {"224.0.0.1", MX_ADDRESS_UNUSABLE},
	    {"255.255.255.255", MX_ADDRESS_UNUSABLE},
	};
	struct netaddr own;

	(void)netaddr_parse(SLICE("198.51.100.7"), &own);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct netaddr address;

		(void)netaddr_parse(slice_of(rows[i].address), &address);
		is_int(mx_address_check(&address, &own, 1), rows[i].fault, "%s",
		    rows[i].address);
	}
}

static void
test_interleave(void)
{
	struct netaddr v6[2];
	struct netaddr v4[3];
	struct netaddr out[MX_ADDRESSES_MAX];
	char text[NETADDR_TEXT_MAX];
	static const char *const order[] = {
	    "2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"};

	(void)netaddr_parse(SLICE("2001:db8::1"), &v6[0]);
	(void)netaddr_parse(SLICE("2001:db8::2"), &v6[1]);
	(void)netaddr_parse(SLICE("192.0.2.1"), &v4[0]);
	(void)netaddr_parse(SLICE("192.0.2.2"), &v4[1]);
	(void)netaddr_parse(SLICE("192.0.2.1"), &v4[2]);
	is_u64(mx_interleave(v6, 2, v4, 3, out), 4, "doubles are left out");
	for (unsigned i = 0; i < 4; i++)
		is_str(netaddr_format(&out[i], text), order[i],
		    "the families take turns");
}

int
main(void)
{
	test_order();
	test_equal_ones();
	test_many();
	test_addresses();
	test_interleave();
	return tap_done();
}
