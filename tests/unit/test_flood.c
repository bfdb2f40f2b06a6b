/* SPDX-License-Identifier: ISC */
/*
 * The flood shield: limits at once and in a minute, the reserved share, and
 * bounded memory whatever comes.
 */
#include <stdio.h>

#include "common/err.h"
#include "smtpd/flood.h"
#include "tests/unit/tap.h"

#define HOUR_MS ((uint64_t)3600 * 1000)

static const struct flood_limits wide = {.max_connections = 1000,
    .client_connections = 1000,
    .network_connections = 1000,
    .client_rate = 1000,
    .network_rate = 1000,
    .reserved_share = 0};

static struct netaddr
address(const char *text)
{
	struct netaddr netaddr;

	if (netaddr_parse(slice_of(text), &netaddr) == -1)
		fatal("bad address %s", text);
	return netaddr;
}

static enum flood_verdict
open_from(struct flood *flood, const struct flood_limits *limits,
    const char *client, uint64_t now_ms)
{
	struct netaddr netaddr = address(client);

	return flood_open(flood, limits, &netaddr, false, now_ms);
}

static void
close_from(struct flood *flood, const char *client)
{
	struct netaddr netaddr = address(client);

	flood_close(flood, &netaddr);
}

static void
test_at_once(void)
{
	struct flood_limits limits = wide;
	struct flood *flood = flood_new();

	limits.client_connections = 2;
	limits.network_connections = 3;
	(void)open_from(flood, &limits, "192.0.2.1", 0);
	is_int(open_from(flood, &limits, "192.0.2.1", 0), FLOOD_OK,
	    "two connections of an address");
	is_int(open_from(flood, &limits, "192.0.2.1", 0), FLOOD_CLIENT,
	    "the third is refused");
	is_int(open_from(flood, &limits, "192.0.2.200", 0), FLOOD_OK,
	    "its neighbour has its own count");
	is_int(open_from(flood, &limits, "192.0.2.201", 0), FLOOD_NETWORK,
	    "but shares that of the /24");
	is_int(open_from(flood, &limits, "192.0.3.1", 0), FLOOD_OK,
	    "another /24 does not");
	is_u64(flood_connections(flood), 4, "refused ones take no slot");
	close_from(flood, "192.0.2.1");
	is_int(open_from(flood, &limits, "192.0.2.1", 0), FLOOD_OK,
	    "a closed one gives its place back");
	(void)open_from(flood, &limits, "2001:db8:0:1::1", 0);
	(void)open_from(flood, &limits, "2001:db8:0:1::2", 0);
	is_int(open_from(flood, &limits, "2001:db8:0:1:ffff::3", 0),
	    FLOOD_CLIENT, "an IPv6 client is its /64");
	is_int(open_from(flood, &limits, "2001:db8:0:2::1", 0), FLOOD_OK,
	    "another /64 is another client");
	is_int(open_from(flood, &limits, "2001:db8:0:3::1", 0), FLOOD_NETWORK,
	    "of the same /48");
	flood_free(flood);
}

static void
test_rate(void)
{
	struct flood_limits limits = wide;
	struct flood *flood = flood_new();
	unsigned taken = 0;

	limits.client_rate = 60;
	for (int i = 0; i < 100; i++)
		if (open_from(flood, &limits, "192.0.2.1", 1000) == FLOOD_OK) {
			close_from(flood, "192.0.2.1");
			taken++;
		}
	is_u64(taken, 60, "a minute's worth may come at once");
	is_int(open_from(flood, &limits, "192.0.2.1", 1900), FLOOD_CLIENT_RATE,
	    "then the next waits");
	is_int(open_from(flood, &limits, "192.0.2.1", 2000), FLOOD_OK,
	    "for a second at 60 a minute");
	is_int(open_from(flood, &limits, "192.0.2.1", 2000), FLOOD_CLIENT_RATE,
	    "and no two of them");
	is_int(open_from(flood, &limits, "192.0.2.1", 500), FLOOD_CLIENT_RATE,
	    "a clock that goes back gives nothing");
	limits.network_rate = 1;
	limits.client_rate = 1000;
	is_int(open_from(flood, &limits, "198.51.100.1", 5000), FLOOD_OK,
	    "the first of a network");
	is_int(open_from(flood, &limits, "198.51.100.2", 5000),
	    FLOOD_NETWORK_RATE, "the second is too fast");
	flood_free(flood);
}

static void
test_reserved(void)
{
	struct flood_limits limits = wide;
	struct flood *flood = flood_new();
	struct netaddr staff = address("203.0.113.5");
	struct netaddr printer = address("10.0.0.9");

	limits.max_connections = 8;
	limits.reserved_share = 50;
	flood_login(flood, &staff, 0);
	ok(!flood_is_stressed(flood, &limits), "an idle gateway has time");
	for (int i = 0; i < 3; i++)
		(void)open_from(flood, &limits, "192.0.2.1", 0);
	ok(flood_is_stressed(flood, &limits),
	    "three quarters of the open slots are stress");
	is_int(open_from(flood, &limits, "192.0.2.1", 0), FLOOD_OK,
	    "half of the slots are for everyone");
	is_int(open_from(flood, &limits, "198.51.100.1", 0), FLOOD_FULL,
	    "the rest is not");
	is_int(open_from(flood, &limits, "203.0.113.99", 0), FLOOD_OK,
	    "but for networks that logged in lately");
	is_int(flood_open(flood, &limits, &printer, true, 0), FLOOD_OK,
	    "and for trusted ones");
	(void)open_from(flood, &limits, "203.0.113.5", 0);
	is_int(open_from(flood, &limits, "203.0.113.5", 0), FLOOD_OK,
	    "up to the last slot");
	is_int(flood_open(flood, &limits, &printer, true, 0), FLOOD_FULL,
	    "there is no slot behind the last, for nobody");
	close_from(flood, "203.0.113.5");
	is_int(open_from(flood, &limits, "203.0.113.5", 24 * 8 * HOUR_MS),
	    FLOOD_FULL, "a login of last week is forgotten");
	flood_free(flood);
}

static void
test_memory(void)
{
	struct flood_limits limits = wide;
	struct flood *flood = flood_new();
	char text[64];
	size_t most = 0;

	limits.max_connections = 1000000;
	limits.network_connections = 50;
	for (unsigned i = 0; i < 60000; i++) {
		(void)snprintf(text, sizeof(text), "2001:db8:%x::%x", i + 1, i);
		if (open_from(flood, &limits, text, i / 1000) == FLOOD_OK)
			close_from(flood, text);
		if (flood_entries(flood) > most)
			most = flood_entries(flood);
	}
	ok(most <= 65536, "a flood of networks is counted in bounded memory");
	is_int(open_from(flood, &limits, "192.0.2.1", 60), FLOOD_OK,
	    "a stranger finds a place in the crowd");
	is_u64(flood_connections(flood), 1, "and is counted");
	close_from(flood, "192.0.2.1");
	is_u64(flood_connections(flood), 0, "and leaves it");
	for (unsigned i = 0; i < 20000; i++)
		(void)open_from(flood, &limits, "192.0.2.1", HOUR_MS + i * 100);
	for (unsigned i = 0; i < 4096; i++) {
		(void)snprintf(
		    text, sizeof(text), "10.%u.%u.1", i / 256, i % 256);
		(void)open_from(flood, &limits, text, 2 * HOUR_MS);
	}
	ok(flood_entries(flood) < 20000, "quiet ones are forgotten");
	flood_free(flood);
}

int
main(void)
{
	test_at_once();
	test_rate();
	test_reserved();
	test_memory();
	return tap_done();
}
