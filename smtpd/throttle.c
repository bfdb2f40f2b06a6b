/* SPDX-License-Identifier: ISC */
/*
 * Counting failed logins in sliding windows.
 * Runs in: postern-authd.  Trusts: nothing about names; a flood of different
 * ones can only push out the table's oldest entries of the same set.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "smtpd/throttle.h"

#define MINUTE_MS 60000
/* Tries that an entry remembers; more per minute make the window shorter. */
#define TIMES_MAX 16
#define SET_COUNT 2048
#define SET_SIZE 8

/* What a key is made of: a kind, a network and an account's name. */
#define KEY_TEXT_MAX 512

#define FIRST_DELAY_MS 500
#define LAST_DELAY_MS 8000

/* What a counter counts; the first octet of what its key is made of. */
enum counted { COUNTED_ADDRESS = 1, COUNTED_ACCOUNT, COUNTED_KNOWN };

struct counter {
	uint64_t key; /* 0: free */
	uint64_t times_ms[TIMES_MAX];
	uint32_t pending; /* bit i: that one has no outcome yet */
	uint32_t count;
};

struct throttle {
	unsigned char key[THROTTLE_KEY_SIZE];
	unsigned tries; /* in a window; at most TIMES_MAX */
	uint64_t window_ms;
	struct counter counters[SET_COUNT][SET_SIZE];
};

struct throttle *
throttle_new(const unsigned char key[THROTTLE_KEY_SIZE], uint64_t tries)
{
	struct throttle *throttle = xcalloc(1, sizeof(*throttle));

	memcpy(throttle->key, key, THROTTLE_KEY_SIZE);
	throttle_set_tries(throttle, tries);
	return throttle;
}

void
throttle_free(struct throttle *throttle)
{
	free(throttle);
}

void
throttle_set_tries(struct throttle *throttle, uint64_t tries)
{
	if (tries == 0)
		tries = 1;
	throttle->tries = (unsigned)(tries < TIMES_MAX ? tries : TIMES_MAX);
	throttle->window_ms = MINUTE_MS * throttle->tries / tries;
	/* An entry may hold more than are allowed now: the latest count. */
}

static uint64_t
make_key(const struct throttle *throttle, enum counted counted,
    struct slice account, const struct netprefix *network)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	struct buf text;
	uint64_t key;

	buf_init(&text, KEY_TEXT_MAX);
	(void)buf_add_char(&text, (char)counted);
	if (network != NULL) {
		(void)buf_add_char(&text, (char)network->address.family);
		(void)buf_add(&text, network->address.bytes,
		    sizeof(network->address.bytes));
	}
	(void)buf_add_slice(&text, account);
	if (HMAC(EVP_sha256(), throttle->key, THROTTLE_KEY_SIZE,
		(const unsigned char *)text.p, text.n, hash, &size) == NULL)
		fatal("HMAC-SHA-256 failed");
	buf_clear(&text);
	memcpy(&key, hash, sizeof(key));
	return key == 0 ? 1 : key;
}

static void
drop_at(struct counter *counter, unsigned i)
{
	uint32_t before = (1u << i) - 1;

	counter->count--;
	memmove(counter->times_ms + i, counter->times_ms + i + 1,
	    (counter->count - i) * sizeof(counter->times_ms[0]));
	counter->pending =
	    (counter->pending & before) | (counter->pending >> 1 & ~before);
	if (counter->count == 0)
		counter->key = 0;
}

static void
forget_old(
    const struct throttle *throttle, struct counter *counter, uint64_t now_ms)
{
	while (counter->count > 0 &&
	       counter->times_ms[0] + throttle->window_ms <= now_ms)
		drop_at(counter, 0);
}

static unsigned
failures(const struct counter *counter)
{
	return counter->count - (unsigned)__builtin_popcount(counter->pending);
}

static struct counter *
find_counter(struct throttle *throttle, uint64_t key)
{
	struct counter *set = throttle->counters[key % SET_COUNT];

	for (size_t i = 0; key != 0 && i < SET_SIZE; i++)
		if (set[i].key == key)
			return &set[i];
	return NULL;
}

static uint64_t
last_time(const struct counter *counter)
{
	return counter->key == 0 ? 0 : counter->times_ms[counter->count - 1];
}

/* The one with that key, or a free one, or the one unused for longest. */
static struct counter *
make_counter(struct throttle *throttle, uint64_t key, uint64_t now_ms)
{
	struct counter *set = throttle->counters[key % SET_COUNT];
	struct counter *found = find_counter(throttle, key);

	if (found != NULL)
		return found;
	found = &set[0];
	for (size_t i = 0; i < SET_SIZE; i++) {
		if (set[i].key != 0)
			forget_old(throttle, &set[i], now_ms);
		if (last_time(&set[i]) < last_time(found))
			found = &set[i];
	}
	found->key = key;
	found->count = 0;
	found->pending = 0;
	return found;
}

static enum throttle_verdict
judge(struct throttle *throttle, uint64_t key, uint64_t now_ms)
{
	struct counter *counter = find_counter(throttle, key);

	if (counter == NULL)
		return THROTTLE_GO;
	forget_old(throttle, counter, now_ms);
	if (counter->count < throttle->tries)
		return THROTTLE_GO;
	return failures(counter) < throttle->tries ? THROTTLE_WAIT
						   : THROTTLE_REFUSE;
}

static void
count(struct throttle *throttle, uint64_t key, uint64_t now_ms)
{
	struct counter *counter;

	if (key == 0)
		return;
	counter = make_counter(throttle, key, now_ms);
	counter->pending |= 1u << counter->count;
	counter->times_ms[counter->count++] = now_ms;
}

enum throttle_verdict
throttle_begin_again(
    struct throttle *throttle, struct throttle_try *try, uint64_t now_ms)
{
	enum throttle_verdict first = judge(throttle, try->keys[0], now_ms);
	enum throttle_verdict second = judge(throttle, try->keys[1], now_ms);

	if (first != THROTTLE_GO || second != THROTTLE_GO)
		return first > second ? first : second;
	try->time_ms = now_ms;
	count(throttle, try->keys[0], now_ms);
	count(throttle, try->keys[1], now_ms);
	return THROTTLE_GO;
}

enum throttle_verdict
throttle_begin(struct throttle *throttle, struct slice account,
    const struct netaddr *client, bool is_known_network, uint64_t now_ms,
    struct throttle_try *try_r)
{
	struct throttle_try try = {.keys = {0, 0}};
	struct netprefix network = netaddr_network(client);
	struct netprefix address = network;

	if (client->family == NETADDR_IPV4)
		address = (struct netprefix){*client, 32};
	if (is_known_network) {
		try.keys[0] =
		    make_key(throttle, COUNTED_KNOWN, account, &network);
	} else {
		try.keys[0] = make_key(throttle, COUNTED_ADDRESS,
		    (struct slice){NULL, 0}, &address);
		if (account.n > 0)
			try.keys[1] =
			    make_key(throttle, COUNTED_ACCOUNT, account, NULL);
	}
	*try_r = try;
	return throttle_begin_again(throttle, try_r, now_ms);
}

/*
 * Which of a counter's is that try?  Those of one millisecond are alike.  -1:
 * none is, since it is older than a minute, or a flood took its place.
 */
static int
find_pending(const struct counter *counter, uint64_t time_ms)
{
	for (unsigned i = 0; counter != NULL && i < counter->count; i++)
		if (counter->times_ms[i] == time_ms &&
		    (counter->pending & 1u << i) != 0)
			return (int)i;
	return -1;
}

/* Takes one count of that time off. */
static void
uncount(struct throttle *throttle, uint64_t key, uint64_t time_ms)
{
	struct counter *counter = find_counter(throttle, key);
	int i = find_pending(counter, time_ms);

	if (i != -1)
		drop_at(counter, (unsigned)i);
}

void
throttle_failed(struct throttle *throttle, const struct throttle_try *try)
{
	for (int k = 0; k < 2; k++) {
		struct counter *counter = find_counter(throttle, try->keys[k]);
		int i = find_pending(counter, try->time_ms);

		if (i != -1)
			counter->pending &= ~(1u << i);
	}
}

void
throttle_take_back(struct throttle *throttle, const struct throttle_try *try)
{
	uncount(throttle, try->keys[0], try->time_ms);
	uncount(throttle, try->keys[1], try->time_ms);
}

/*
 * From a known network (the only kind with one key and an account) earlier
 * slips of the owner are forgiven.  Elsewhere they are not: an own account
 * that logs in now and then must not wipe the guesses at others off.  What has
 * no outcome yet is no slip, and stays.
 */
void
throttle_succeeded(struct throttle *throttle, const struct throttle_try *try)
{
	struct counter *counter;
	unsigned i = 0;

	throttle_take_back(throttle, try);
	if (try->keys[1] != 0)
		return;
	counter = find_counter(throttle, try->keys[0]);
	while (counter != NULL && i < counter->count)
		if ((counter->pending & 1u << i) != 0)
			i++;
		else
			drop_at(counter, i);
}

uint32_t
throttle_delay_ms(
    struct throttle *throttle, const struct throttle_try *try, uint64_t now_ms)
{
	unsigned most = 0;
	uint32_t delay_ms = FIRST_DELAY_MS;

	for (int i = 0; i < 2; i++) {
		struct counter *counter = find_counter(throttle, try->keys[i]);

		if (counter == NULL)
			continue;
		forget_old(throttle, counter, now_ms);
		if (failures(counter) > most)
			most = failures(counter);
	}
	for (; most > 1 && delay_ms < LAST_DELAY_MS; most--)
		delay_ms *= 2;
	return delay_ms < LAST_DELAY_MS ? delay_ms : LAST_DELAY_MS;
}
