/* SPDX-License-Identifier: ISC */
/*
 * The login throttle, with a clock of our own.
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/throttle.h"
#include "tests/unit/tap.h"

#define START_MS 1000000
#define MINUTE_MS 60000

static const unsigned char key[THROTTLE_KEY_SIZE] = {3};

static struct netaddr
address(const char *text)
{
	struct netaddr a;

	if (netaddr_parse(slice_of(text), &a) == -1)
		bug("%s", text);
	return a;
}

/* Tries at that time, all failures; how many were looked at. */
static unsigned
fail_times(struct throttle *t, const char *account, const char *from,
    bool is_known, uint64_t now_ms, unsigned times)
{
	struct netaddr client = address(from);
	struct throttle_try try;
	unsigned served = 0;

	for (unsigned i = 0; i < times; i++)
		if (throttle_begin(
			t, slice_of(account), &client, is_known, now_ms, &try))
			served++;
	return served;
}

static void
test_address(void)
{
	struct throttle *t = throttle_new(key, 10);
	char name[32];
	unsigned served = 0;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "user%d", i);
		served += fail_times(t, name, "192.0.2.1", false, START_MS, 1);
	}
	is_u64(served, 10, "one address, 1,000 accounts: ten are looked at");
	is_u64(fail_times(t, "x", "192.0.2.2", false, START_MS, 1), 1,
	    "its neighbour is not meant");
	is_u64(
	    fail_times(t, "y", "192.0.2.1", false, START_MS + MINUTE_MS - 1, 1),
	    0, "it rests for a minute");
	is_u64(fail_times(t, "y", "192.0.2.1", false, START_MS + MINUTE_MS, 20),
	    10, "then there are ten more");
	is_u64(fail_times(t, "a", "2001:db8::1", false, START_MS, 20), 10,
	    "an IPv6 client has ten");
	is_u64(fail_times(t, "b", "2001:db8::ffff:1", false, START_MS, 20), 0,
	    "together with its /64");
	is_u64(fail_times(t, "c", "2001:db8:0:1::1", false, START_MS, 20), 10,
	    "and not with the next one");
	throttle_free(t);
}

static void
test_account(void)
{
	struct throttle *t = throttle_new(key, 10);
	char from[32];
	unsigned served = 0;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(
		    from, sizeof(from), "10.%d.%d.1", i / 250, i % 250);
		served += fail_times(t, "alice", from, false, START_MS, 1);
	}
	is_u64(served, 10, "one account, 1,000 addresses: ten are looked at");
	is_u64(fail_times(t, "bob", "10.9.9.9", false, START_MS, 1), 1,
	    "another account is not meant");
	is_u64(fail_times(t, "alice", "192.0.2.1", true, START_MS, 20), 10,
	    "the owner has ten at home");
	is_u64(fail_times(t, "alice", "192.0.2.99", true, START_MS, 20), 0,
	    "in that network together");
	is_u64(fail_times(t, "alice", "198.51.100.1", true, START_MS, 20), 10,
	    "and ten in another known one");
	throttle_free(t);
}

/* Any minute, not the clock's. */
static void
test_window(void)
{
	struct throttle *t = throttle_new(key, 10);
	uint64_t served_ms[2000] = {0};
	size_t served = 0;
	size_t most = 0;

	for (uint64_t ms = START_MS; ms < START_MS + 10 * MINUTE_MS; ms += 700)
		if (fail_times(t, "alice", "192.0.2.1", false, ms, 1) == 1)
			served_ms[served++] = ms;
	for (size_t i = 0; i < served; i++) {
		size_t n = 0;

		while (i + n < served &&
		       served_ms[i + n] < served_ms[i] + MINUTE_MS)
			n++;
		if (n > most)
			most = n;
	}
	is_u64(most, 10, "no minute has more than ten");
	ok(served >= 100, "and ten minutes have a hundred: %zu", served);
	throttle_free(t);
}

static void
test_success(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct netaddr home = address("192.0.2.1");
	struct netaddr away = address("203.0.113.1");
	struct throttle_try try;

	for (int i = 0; i < 100; i++) {
		(void)throttle_begin(
		    t, SLICE("alice"), &away, false, START_MS, &try);
		throttle_succeeded(t, &try);
	}
	is_u64(fail_times(t, "alice", "203.0.113.1", false, START_MS, 20), 10,
	    "a hundred successes cost nothing");
	ok(!throttle_begin(t, SLICE("alice"), &away, false, START_MS, &try),
	    "failures stay");
	(void)fail_times(t, "alice", "192.0.2.1", true, START_MS, 9);
	ok(throttle_begin(t, SLICE("alice"), &home, true, START_MS, &try),
	    "the tenth try at home");
	throttle_succeeded(t, &try);
	is_u64(fail_times(t, "alice", "192.0.2.1", true, START_MS, 20), 10,
	    "when right, forgives the slips before it");
	throttle_free(t);
}

/* Whoever owns one account must not wipe off his guesses at others. */
static void
test_mixed(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct netaddr evil = address("203.0.113.1");
	struct throttle_try try;
	unsigned served = 0;

	for (int i = 0; i < 100; i++) {
		served +=
		    fail_times(t, "victim", "203.0.113.1", false, START_MS, 1);
		if (throttle_begin(
			t, SLICE("mallory"), &evil, false, START_MS, &try))
			throttle_succeeded(t, &try);
	}
	is_u64(served, 10, "own logins between guesses do not help");
	throttle_free(t);
}

static void
test_delay(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct netaddr client = address("192.0.2.1");
	struct throttle_try try;
	uint32_t last = 0;
	bool is_growing = true;

	for (int i = 0; i < 10; i++) {
		uint32_t delay_ms;

		(void)throttle_begin(
		    t, SLICE("alice"), &client, false, START_MS, &try);
		delay_ms = throttle_delay_ms(t, &try, START_MS);
		if (delay_ms < last || delay_ms == 0)
			is_growing = false;
		last = delay_ms;
	}
	ok(is_growing, "each refusal is held back, longer than the one before");
	is_u64(last, 8000, "up to 8 s");
	is_u64(throttle_delay_ms(t, &try, START_MS + MINUTE_MS), 500,
	    "after a minute it is as in the beginning");
	throttle_free(t);
}

static void
test_settings(void)
{
	struct throttle *t = throttle_new(key, 1000);

	is_u64(fail_times(t, "a", "192.0.2.1", false, START_MS, 100), 16,
	    "many a minute are spread over it");
	is_u64(fail_times(t, "a", "192.0.2.1", false, START_MS + 1000, 100), 16,
	    "a second later there are more");
	throttle_set_tries(t, 1);
	is_u64(fail_times(t, "b", "192.0.2.9", false, START_MS, 5), 1,
	    "one a minute is one");
	is_u64(fail_times(t, "a", "192.0.2.1", false, START_MS + 2000, 5), 0,
	    "for those that were there before, too");
	throttle_free(t);
}

/* A flood of names does not make the table grow, nor wipe it clean. */
static void
test_flood(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct throttle_try try;
	char name[32];
	unsigned served;

	(void)fail_times(t, "alice", "192.0.2.1", false, START_MS, 10);
	for (int i = 0; i < 5000; i++) {
		struct netaddr client = {.family = NETADDR_IPV4,
		    .bytes = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};

		(void)snprintf(name, sizeof(name), "n%d", i);
		(void)throttle_begin(t, slice_of(name), &client, false,
		    START_MS + 1 + (uint64_t)i, &try);
	}
	served =
	    fail_times(t, "alice", "198.51.100.7", false, START_MS + 6000, 10);
	is_u64(served, 0, "after 5,000 others a full counter is still there");
	throttle_free(t);
}

int
main(void)
{
	test_address();
	test_account();
	test_window();
	test_success();
	test_mixed();
	test_delay();
	test_settings();
	test_flood();
	return tap_done();
}
