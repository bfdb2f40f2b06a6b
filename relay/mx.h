/* SPDX-License-Identifier: ISC */
/*
 * Which hosts to try for a domain, and at which of their addresses, in which
 * order (RFC 5321 section 5.1, RFC 7505).  Pure: DNS answers in, a list out;
 * chance is an argument.
 */
#ifndef RELAY_MX_H
#define RELAY_MX_H

#include "common/netaddr.h"

/* More hosts than this are not looked at (T085)... */
#define MX_HOSTS_MAX 20
/* ...and not more than this many are tried in one attempt. */
#define MX_TRIED_MAX 5
#define MX_ADDRESSES_MAX 16 /* of one host */

struct mx_host {
	char name[256];
	uint16_t preference;
};

struct mx_list {
	struct mx_host hosts[MX_HOSTS_MAX];
	size_t count;
};

enum mx_verdict {
	MX_OK,
	MX_NULL,  /* RFC 7505: takes no mail; 5.1.10 */
	MX_LOOP,  /* the best of them are we: 5.4.6 */
	MX_BROKEN /* records, but none that names a host: 5.4.4 */
};

/*
 * Puts records into the order to try them: by preference, equal ones by
 * chance (seed), names twice only once.  Where own_name is among them, it and
 * all that are not better are left out (RFC 5321 section 5.1).  Names that are
 * no host names are left out.
 */
enum mx_verdict mx_order(const struct mx_host *records, size_t count,
    const char *own_name, uint32_t seed, struct mx_list *list_r);

/* Why an address of an MX host is not connected to. */
enum mx_address_fault {
	MX_ADDRESS_OK,
	MX_ADDRESS_SELF,    /* loopback, 0.0.0.0, or one of our own: a loop */
	MX_ADDRESS_PRIVATE, /* RFC 1918 and such: nobody else may name them */
	MX_ADDRESS_UNUSABLE /* multicast, link-local */
};

enum mx_address_fault mx_address_check(
    const struct netaddr *address, const struct netaddr *own, size_t own_count);

/*
 * Orders a host's addresses: IPv6 and IPv4 by turns, beginning with IPv6, so
 * that one family that is cut off costs one attempt.  Doubles are left out.
 * Returns how many are in out (at most MX_ADDRESSES_MAX).
 */
size_t mx_interleave(const struct netaddr *ipv6, size_t ipv6_count,
    const struct netaddr *ipv4, size_t ipv4_count, struct netaddr *out);

#endif
