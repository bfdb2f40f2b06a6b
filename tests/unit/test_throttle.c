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
		if (throttle_begin(t, slice_of(account), &client, is_known,
			now_ms, &try) == THROTTLE_GO) {
			throttle_failed(t, &try);
			served++;
		}
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
	is_int(throttle_begin(t, SLICE("alice"), &away, false, START_MS, &try),
	    THROTTLE_REFUSE, "failures stay");
	(void)fail_times(t, "alice", "192.0.2.1", true, START_MS, 9);
	is_int(throttle_begin(t, SLICE("alice"), &home, true, START_MS, &try),
	    THROTTLE_GO, "the tenth try at home");
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
		if (throttle_begin(t, SLICE("mallory"), &evil, false, START_MS,
			&try) == THROTTLE_GO)
			throttle_succeeded(t, &try);
	}
	is_u64(served, 10, "own logins between guesses do not help");
	throttle_free(t);
}

/* Tries of one address that have no outcome yet: as many as there is room. */
static unsigned
begin_many(struct throttle *t, struct throttle_try tries[10], uint64_t now_ms)
{
	struct netaddr client = address("192.0.2.1");
	struct throttle_try try;
	char name[32];
	unsigned begun = 0;

	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "user%d", i);
		if (throttle_begin(t, slice_of(name), &client, false, now_ms,
			&try) == THROTTLE_GO)
			tries[begun++] = try;
	}
	return begun;
}

static void
test_pending(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct netaddr client = address("192.0.2.1");
	struct throttle_try tries[10];
	struct throttle_try late;

	is_u64(begin_many(t, tries, START_MS), 10, "ten at once begin");
	is_int(
	    throttle_begin(t, SLICE("late"), &client, false, START_MS, &late),
	    THROTTLE_WAIT, "the next one waits for them");
	is_u64(throttle_delay_ms(t, &late, START_MS), 500,
	    "none of them has failed");
	throttle_succeeded(t, &tries[0]);
	is_int(throttle_begin_again(t, &late, START_MS + 1), THROTTLE_GO,
	    "a success makes room for it");
	for (int i = 1; i < 10; i++)
		throttle_failed(t, &tries[i]);
	is_int(throttle_begin(
		   t, SLICE("later"), &client, false, START_MS + 2, &tries[0]),
	    THROTTLE_WAIT, "nine failed, one may yet be right");
	throttle_failed(t, &late);
	is_int(throttle_begin_again(t, &tries[0], START_MS + 2),
	    THROTTLE_REFUSE, "ten failures, whatever their order");
	is_int(throttle_begin_again(t, &tries[0], START_MS + MINUTE_MS),
	    THROTTLE_GO, "for a minute from the first one's begin");
	throttle_free(t);
}

/* Tries that never end hold room for a minute, as failures do. */
static void
test_hanging(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct throttle_try tries[10];
	struct throttle_try again[10];

	(void)begin_many(t, tries, START_MS);
	is_u64(begin_many(t, again, START_MS + MINUTE_MS - 1), 0,
	    "ten that hang leave no room");
	is_u64(begin_many(t, again, START_MS + MINUTE_MS), 10, "for a minute");
	for (int i = 0; i < 10; i++)
		throttle_failed(t, &tries[i]);
	is_u64(fail_times(t, "x", "192.0.2.1", false, START_MS + MINUTE_MS, 1),
	    0, "and their late end changes nothing");
	for (int i = 0; i < 10; i++)
		throttle_take_back(t, &again[i]);
	is_u64(fail_times(t, "x", "192.0.2.1", false, START_MS + MINUTE_MS, 20),
	    10, "what is taken back has never been");
	throttle_free(t);
}

/* At home a success forgives slips, and not what may still be guesses. */
static void
test_pending_at_home(void)
{
	struct throttle *t = throttle_new(key, 10);
	struct netaddr home = address("192.0.2.1");
	struct throttle_try tries[9];
	struct throttle_try own;

	for (int i = 0; i < 9; i++)
		(void)throttle_begin(
		    t, SLICE("alice"), &home, true, START_MS, &tries[i]);
	(void)throttle_begin(t, SLICE("alice"), &home, true, START_MS, &own);
	for (int i = 0; i < 4; i++)
		throttle_failed(t, &tries[i]);
	throttle_succeeded(t, &own);
	for (int i = 4; i < 9; i++)
		throttle_failed(t, &tries[i]);
	is_u64(fail_times(t, "alice", "192.0.2.1", true, START_MS, 20), 5,
	    "five that were under way count when they fail");
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
		throttle_failed(t, &try);
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
		throttle_failed(t, &try);
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
	test_pending();
	test_hanging();
	test_pending_at_home();
	test_delay();
	test_settings();
	test_flood();
	return tap_done();
}
