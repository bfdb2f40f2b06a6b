/* SPDX-License-Identifier: ISC */
/*
 * The flood shield: may this client have a connection now?  Counts
 * connections and their rate for each address and each network, and keeps a
 * share of the slots for networks from which somebody logged in lately.
 * Pure: no sockets, no clock; time is an argument.
 *
 * An address is counted by its IPv4 address or its IPv6 /64, a network by the
 * IPv4 /24 or the IPv6 /48.
 */
#ifndef SMTPD_FLOOD_H
#define SMTPD_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/netaddr.h"

struct flood_limits {
	uint32_t max_connections;
	uint32_t client_connections;
	uint32_t network_connections;
	uint32_t client_rate; /* new connections a minute */
	uint32_t network_rate;
	uint32_t reserved_share; /* percent of max_connections */
};

enum flood_verdict {
	FLOOD_OK,
	FLOOD_FULL,    /* no slot, or only reserved ones */
	FLOOD_CLIENT,  /* too many at once from the address */
	FLOOD_NETWORK, /* too many at once from its network */
	FLOOD_CLIENT_RATE,
	FLOOD_NETWORK_RATE,
	FLOOD_VERDICT_COUNT
};

/* "too many connections from this address", for the log. */
const char *flood_verdict_text(enum flood_verdict verdict);

struct flood;

struct flood *flood_new(void);
void flood_free(struct flood *flood);

/*
 * Asks for a slot; only FLOOD_OK takes one, to be given back by
 * flood_close().  is_exempt: a trusted network, bound only by
 * max_connections, and never short of the reserved share.
 */
enum flood_verdict flood_open(struct flood *flood,
    const struct flood_limits *limits, const struct netaddr *client,
    bool is_exempt, uint64_t now_ms);
void flood_close(struct flood *flood, const struct netaddr *client);

/* Somebody logged in from there. */
void flood_login(
    struct flood *flood, const struct netaddr *client, uint64_t now_ms);

/* Slots run short: idle clients should be waited for less long. */
bool flood_is_stressed(
    const struct flood *flood, const struct flood_limits *limits);

uint32_t flood_connections(const struct flood *flood);

/* Networks and addresses remembered now, for tests and status. */
size_t flood_entries(const struct flood *flood);

#endif
