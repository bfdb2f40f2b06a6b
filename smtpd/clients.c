/* SPDX-License-Identifier: ISC */
/*
 * Sessions by id, in a table that grows with them.
 * Runs in: postern-smtpd, the acceptor.  Trusts: ids are made here; a worker
 * may name only its own.
 */
#include <stdlib.h>

#include "common/err.h"
#include "smtpd/clients.h"

/* A power of two; chains stay short up to the largest smtp.max_connections. */
#define BUCKETS 16384

struct client {
	struct client *next;
	uint64_t session_id;
	unsigned slot;
	struct netaddr address;
};

struct clients {
	struct client *buckets[BUCKETS];
};

struct clients *
clients_new(void)
{
	return xcalloc(1, sizeof(struct clients));
}

/* Ids differ in their lowest bits and in their milliseconds. */
static struct client **
bucket_of(struct clients *clients, uint64_t session_id)
{
	uint64_t hash = (session_id ^ session_id >> 20) * 0x9e3779b97f4a7c15u;

	return &clients->buckets[hash >> 50];
}

static struct netaddr
take(struct client **at)
{
	struct client *client = *at;
	struct netaddr address = client->address;

	*at = client->next;
	free(client);
	return address;
}

void
clients_free(struct clients *clients)
{
	if (clients == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (clients->buckets[i] != NULL)
			(void)take(&clients->buckets[i]);
	free(clients);
}

void
clients_add(struct clients *clients, uint64_t session_id, unsigned slot,
    const struct netaddr *address)
{
	struct client **bucket = bucket_of(clients, session_id);
	struct client *client = xmalloc(sizeof(*client));

	*client = (struct client){.next = *bucket,
	    .session_id = session_id,
	    .slot = slot,
	    .address = *address};
	*bucket = client;
}

int
clients_remove(struct clients *clients, uint64_t session_id, unsigned slot,
    struct netaddr *address_r)
{
	struct client **at = bucket_of(clients, session_id);

	while (*at != NULL && (*at)->session_id != session_id)
		at = &(*at)->next;
	if (*at == NULL || (*at)->slot != slot)
		return -1;
	*address_r = take(at);
	return 0;
}

bool
clients_take(struct clients *clients, unsigned slot, struct netaddr *address_r)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct client **at = &clients->buckets[i];

		while (*at != NULL && (*at)->slot != slot)
			at = &(*at)->next;
		if (*at != NULL) {
			*address_r = take(at);
			return true;
		}
	}
	return false;
}
