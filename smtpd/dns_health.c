/* SPDX-License-Identifier: ISC */
/*
 * Decides when the DNS alert is due.  Pure: time is an argument.
 * Runs in: postern-checkd.  Trusts: its caller.
 */
#include "smtpd/dns_health.h"

/* FNV-1a: two names that meet only make the alert later. */
static uint64_t
hash_of(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return hash;
}

/* Where this failure is kept: the name's own place, or the oldest one. */
static size_t
place_for(const struct dns_health *health, uint64_t name_hash)
{
	size_t oldest = 0;

	for (size_t i = 0; i < health->count; i++) {
		if (health->failures[i].name_hash == name_hash)
			return i;
		if (health->failures[i].time_ms <
		    health->failures[oldest].time_ms)
			oldest = i;
	}
	return health->count < DNS_HEALTH_NAMES ? health->count : oldest;
}

bool
dns_health_note(struct dns_health *health, const char *name, bool was_answered,
    uint64_t now_ms)
{
	bool was_failing = health->is_failing;
	uint64_t name_hash = hash_of(name);
	size_t recent = 0;
	size_t place;

	if (was_answered) {
		*health = (struct dns_health){0};
		return was_failing;
	}
	place = place_for(health, name_hash);
	health->failures[place].name_hash = name_hash;
	health->failures[place].time_ms = now_ms;
	if (place == health->count)
		health->count++;
	for (size_t i = 0; i < health->count; i++)
		recent += now_ms - health->failures[i].time_ms <=
		    DNS_HEALTH_WINDOW_MS;
	if (recent == DNS_HEALTH_NAMES)
		health->is_failing = true;
	return health->is_failing != was_failing;
}
