/* SPDX-License-Identifier: ISC */
/*
 * Counts connections by address and by network, in bounded memory.
 * Runs in: postern-smtpd, the acceptor.  Trusts: nothing about who connects;
 * addresses are chosen by whoever floods us, so a full table counts the rest
 * together instead of growing.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/err.h"
#include "smtpd/flood.h"

/* Both kinds of entries; 65,536 of them take 4 MB. */
#define BUCKETS 16384
#define ENTRIES_MAX 65536
/* Entries looked at, for each new one, for some that can be forgotten. */
#define SWEEP_BUCKETS 8
/* A login makes its network known for this long. */
#define KNOWN_MS ((uint64_t)7 * 24 * 3600 * 1000)
/* Beyond this share of the slots for everyone, waits become short. */
#define STRESS_PERCENT 75
/* Clients that are not counted one by one may have that share together. */
#define CROWD_PERCENT 25
#define MINUTE_MS 60000

/* What is counted by: an IPv4 address or an IPv6 network; a site. */
enum scope { SCOPE_CLIENT, SCOPE_NETWORK, SCOPE_COUNT };

struct entry {
	struct entry *next;
	struct netprefix prefix;
	uint32_t connections;
	/*
	 * A bucket of a minute's worth of connections that empties evenly:
	 * thousandths of a connection, as of level_ms.
	 */
	uint64_t level;
	uint64_t level_ms;
	uint64_t known_until_ms; /* networks; 0: nobody logged in */
};

struct flood {
	struct entry *buckets[BUCKETS];
	size_t entry_count;
	size_t sweep_at;
	uint32_t connections;
	uint64_t seed; /* so that nobody can aim at one bucket */
	/*
	 * All that found no place in the table.  It has so many members that
	 * the limits of one would refuse everybody: it has a share of the
	 * slots, and no rate.
	 */
	struct entry crowd[SCOPE_COUNT];
};

static const char *const verdict_texts[FLOOD_VERDICT_COUNT] = {
    [FLOOD_OK] = "accepted",
    [FLOOD_FULL] = "no free connection",
    [FLOOD_CLIENT] = "too many connections at once from the address",
    [FLOOD_NETWORK] = "too many connections at once from the network",
    [FLOOD_CLIENT_RATE] = "too many new connections from the address",
    [FLOOD_NETWORK_RATE] = "too many new connections from the network",
};

const char *
flood_verdict_text(enum flood_verdict verdict)
{
	return verdict_texts[verdict];
}

struct flood *
flood_new(void)
{
	struct flood *flood = xcalloc(1, sizeof(*flood));

	if (getrandom(&flood->seed, sizeof(flood->seed), 0) !=
	    sizeof(flood->seed))
		fatal("no random numbers");
	return flood;
}

void
flood_free(struct flood *flood)
{
	if (flood == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (flood->buckets[i] != NULL) {
			struct entry *entry = flood->buckets[i];

			flood->buckets[i] = entry->next;
			free(entry);
		}
	free(flood);
}

/* ---- the table ---- */

static struct netprefix
prefix_of(const struct netaddr *client, enum scope scope)
{
	if (scope == SCOPE_NETWORK)
		return netaddr_site(client);
	if (client->family == NETADDR_IPV6)
		return netaddr_network(client);
	return (struct netprefix){.address = *client, .bits = 32};
}

static struct entry **
bucket_of(struct flood *flood, const struct netprefix *prefix)
{
	uint64_t hash = flood->seed ^ prefix->bits;

	for (size_t i = 0; i < prefix->bits / 8u; i++)
		hash = (hash ^ prefix->address.bytes[i]) * 0x100000001b3u;
	hash ^= hash >> 32;
	return &flood->buckets[hash % BUCKETS];
}

static struct entry *
find(struct flood *flood, const struct netprefix *prefix)
{
	struct entry *entry = *bucket_of(flood, prefix);

	while (entry != NULL && !netprefix_equals(&entry->prefix, prefix))
		entry = entry->next;
	return entry;
}

/* The level now, in thousandths of a connection. */
static uint64_t
level_at(const struct entry *entry, uint32_t rate, uint64_t now_ms)
{
	uint64_t drained;

	if (now_ms <= entry->level_ms)
		return entry->level;
	drained = now_ms - entry->level_ms >= MINUTE_MS
		      ? (uint64_t)rate * 1000
		      : (now_ms - entry->level_ms) * rate * 1000 / MINUTE_MS;
	return drained >= entry->level ? 0 : entry->level - drained;
}

/* Forgetting it changes no later answer. */
static bool
is_idle(const struct entry *entry, uint64_t now_ms)
{
	return entry->connections == 0 && entry->known_until_ms <= now_ms &&
	       now_ms >= entry->level_ms + MINUTE_MS;
}

static void
sweep(struct flood *flood, uint64_t now_ms)
{
	for (int i = 0; i < SWEEP_BUCKETS; i++) {
		struct entry **at = &flood->buckets[flood->sweep_at];

		flood->sweep_at = (flood->sweep_at + 1) % BUCKETS;
		while (*at != NULL) {
			struct entry *entry = *at;

			if (!is_idle(entry, now_ms)) {
				at = &entry->next;
				continue;
			}
			*at = entry->next;
			free(entry);
			flood->entry_count--;
		}
	}
}

/* The entry of the client in that scope; the crowd's when there is no room. */
static struct entry *
obtain(struct flood *flood, const struct netaddr *client, enum scope scope,
    uint64_t now_ms)
{
	struct netprefix prefix = prefix_of(client, scope);
	struct entry *entry = find(flood, &prefix);
	struct entry **bucket;

	if (entry != NULL)
		return entry;
	sweep(flood, now_ms);
	if (flood->entry_count >= ENTRIES_MAX)
		return &flood->crowd[scope];
	bucket = bucket_of(flood, &prefix);
	entry = xcalloc(1, sizeof(*entry));
	entry->prefix = prefix;
	entry->level_ms = now_ms;
	entry->next = *bucket;
	*bucket = entry;
	flood->entry_count++;
	return entry;
}

/* ---- decisions ---- */

static bool
has_slot(
    const struct flood *flood, const struct flood_limits *limits, bool is_known)
{
	uint64_t reserved =
	    (uint64_t)limits->max_connections * limits->reserved_share / 100;

	return flood->connections <
	       limits->max_connections - (is_known ? 0 : reserved);
}

static void
count_in(struct entry *entry, uint32_t rate, uint64_t now_ms)
{
	entry->level = level_at(entry, rate, now_ms) + 1000;
	entry->level_ms = now_ms;
	entry->connections++;
}

static bool
is_crowd(const struct flood *flood, const struct entry *entry)
{
	return entry == &flood->crowd[SCOPE_CLIENT] ||
	       entry == &flood->crowd[SCOPE_NETWORK];
}

static bool
has_too_many(const struct flood *flood, const struct flood_limits *limits,
    const struct entry *entry, uint32_t limit)
{
	if (is_crowd(flood, entry))
		limit = limits->max_connections / 100 * CROWD_PERCENT + 1;
	return entry->connections >= limit;
}

static bool
is_too_fast(const struct flood *flood, const struct entry *entry, uint32_t rate,
    uint64_t now_ms)
{
	return !is_crowd(flood, entry) &&
	       level_at(entry, rate, now_ms) + 1000 > (uint64_t)rate * 1000;
}

static enum flood_verdict
judge(const struct flood *flood, const struct flood_limits *limits,
    const struct entry *client, const struct entry *network, bool is_exempt,
    uint64_t now_ms)
{
	bool is_known = is_exempt || network->known_until_ms > now_ms;

	if (!has_slot(flood, limits, is_known))
		return FLOOD_FULL;
	if (is_exempt)
		return FLOOD_OK;
	/* Whoever is known is not refused for what the crowd does. */
	if (has_too_many(flood, limits, client, limits->client_connections) &&
	    !(is_known && is_crowd(flood, client)))
		return FLOOD_CLIENT;
	if (has_too_many(flood, limits, network, limits->network_connections))
		return FLOOD_NETWORK;
	if (is_too_fast(flood, client, limits->client_rate, now_ms))
		return FLOOD_CLIENT_RATE;
	if (is_too_fast(flood, network, limits->network_rate, now_ms))
		return FLOOD_NETWORK_RATE;
	return FLOOD_OK;
}

enum flood_verdict
flood_open(struct flood *flood, const struct flood_limits *limits,
    const struct netaddr *client, bool is_exempt, uint64_t now_ms)
{
	struct entry *own = obtain(flood, client, SCOPE_CLIENT, now_ms);
	struct entry *network = obtain(flood, client, SCOPE_NETWORK, now_ms);
	enum flood_verdict verdict =
	    judge(flood, limits, own, network, is_exempt, now_ms);

	if (verdict != FLOOD_OK)
		return verdict;
	count_in(own, limits->client_rate, now_ms);
	count_in(network, limits->network_rate, now_ms);
	flood->connections++;
	return FLOOD_OK;
}

/*
 * Whoever was counted in the crowd leaves the crowd, also when a place of his
 * own was made meanwhile: that one then has no connections to take off.
 */
static void
count_out(struct flood *flood, const struct netaddr *client, enum scope scope)
{
	struct netprefix prefix = prefix_of(client, scope);
	struct entry *entry = find(flood, &prefix);

	if (entry == NULL || entry->connections == 0)
		entry = &flood->crowd[scope];
	if (entry->connections > 0)
		entry->connections--;
}

void
flood_close(struct flood *flood, const struct netaddr *client)
{
	count_out(flood, client, SCOPE_CLIENT);
	count_out(flood, client, SCOPE_NETWORK);
	if (flood->connections > 0)
		flood->connections--;
}

void
flood_login(struct flood *flood, const struct netaddr *client, uint64_t now_ms)
{
	struct entry *network = obtain(flood, client, SCOPE_NETWORK, now_ms);

	/* The crowd is never known: it would open the share to everyone. */
	if (network != &flood->crowd[SCOPE_NETWORK])
		network->known_until_ms = now_ms + KNOWN_MS;
}

bool
flood_is_stressed(const struct flood *flood, const struct flood_limits *limits)
{
	uint64_t open = (uint64_t)limits->max_connections *
			(100 - limits->reserved_share) / 100;

	return (uint64_t)flood->connections * 100 >= open * STRESS_PERCENT;
}

uint32_t
flood_connections(const struct flood *flood)
{
	return flood->connections;
}

size_t
flood_entries(const struct flood *flood)
{
	return flood->entry_count;
}
