/* SPDX-License-Identifier: ISC */
/*
 * Adds up refusals, so that a flood does not become a flood of log events.
 * Runs in: postern-smtpd, the acceptor.  Trusts: nothing; who floods chooses
 * the addresses.
 */
#include <stdlib.h>

#include "common/err.h"
#include "smtpd/refusals.h"

/* A power of two.  More networks than this in a minute: one event for all. */
#define PLACES 1024
/* Places tried before the refusal is added to the rest. */
#define PROBES 8

struct refusal {
	struct netprefix network;
	struct netaddr client; /* the latest */
	const char *reason;    /* NULL: free */
	uint32_t times;        /* not yet told */
};

struct refusals {
	refusals_tell_fn *tell;
	void *arg;
	struct refusal places[PLACES];
	struct refusal rest;
};

struct refusals *
refusals_new(refusals_tell_fn *tell, void *arg)
{
	struct refusals *refusals = xcalloc(1, sizeof(*refusals));

	refusals->tell = tell;
	refusals->arg = arg;
	return refusals;
}

void
refusals_free(struct refusals *refusals)
{
	free(refusals);
}

static struct refusal *
place_for(struct refusals *refusals, const struct netprefix *network,
    const char *reason)
{
	uint64_t hash = network->bits;

	for (size_t i = 0; i < network->bits / 8u; i++)
		hash = (hash ^ network->address.bytes[i]) * 0x100000001b3u;
	for (size_t i = 0; i < PROBES; i++) {
		struct refusal *place =
		    &refusals->places[((hash ^ hash >> 32) + i) & (PLACES - 1)];

		if (place->reason == NULL ||
		    (place->reason == reason &&
			netprefix_equals(&place->network, network)))
			return place;
	}
	return &refusals->rest;
}

void
refusals_note(
    struct refusals *refusals, const struct netaddr *client, const char *reason)
{
	struct netprefix network = netaddr_network(client);
	struct refusal *place = place_for(refusals, &network, reason);
	bool is_first = place->reason == NULL && place != &refusals->rest;

	place->network = network;
	place->client = *client;
	place->reason = reason;
	if (is_first)
		refusals->tell(refusals->arg, client, reason, 1);
	else
		place->times++;
}

static void
flush_place(struct refusals *refusals, struct refusal *place)
{
	if (place->times > 0)
		refusals->tell(
		    refusals->arg, &place->client, place->reason, place->times);
	else
		place->reason = NULL; /* quiet for a minute: forgotten */
	place->times = 0;
}

void
refusals_flush(struct refusals *refusals)
{
	for (size_t i = 0; i < PLACES; i++)
		if (refusals->places[i].reason != NULL)
			flush_place(refusals, &refusals->places[i]);
	if (refusals->rest.reason != NULL)
		flush_place(refusals, &refusals->rest);
}
