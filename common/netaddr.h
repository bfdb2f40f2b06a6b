/* SPDX-License-Identifier: ISC */
/*
 * IPv4 and IPv6 addresses and prefixes as values.  An IPv4-mapped IPv6 address
 * (::ffff:192.0.2.1) is the IPv4 address everywhere, so that no rule about one
 * is passed by writing it as the other.
 */
#ifndef COMMON_NETADDR_H
#define COMMON_NETADDR_H

#include <sys/socket.h>

#include "common/buf.h"
#include "common/err.h"

enum netaddr_family {
	NETADDR_NONE,
	NETADDR_IPV4,
	NETADDR_IPV6,
	NETADDR_FAMILY_COUNT
};

struct netaddr {
	uint8_t family;    /* enum netaddr_family */
	uint8_t bytes[16]; /* network order; IPv4 uses four, the rest is 0 */
};

struct netprefix {
	struct netaddr address; /* host bits are zero */
	uint8_t bits;
};

/* The longest text is an IPv6 address and "/128"; with the NUL. */
#define NETADDR_TEXT_MAX 52

/*
 * "192.0.2.1" or "2001:db8::1": four decimal parts, no leading zeros, no
 * brackets, no zone.  -1 on anything else.
 */
int netaddr_parse(struct slice s, struct netaddr *address_r);

/* "192.0.2.1:25" or "[2001:db8::1]:25"; the port is 1 to 65535. */
int netaddr_parse_endpoint(struct slice s, struct netaddr *address_r,
    uint16_t *port_r, struct err *err);

/* Returns out: RFC 5952 text, or "none". */
const char *netaddr_format(
    const struct netaddr *address, char out[NETADDR_TEXT_MAX]);

/* -1 when it is neither AF_INET nor AF_INET6, or too short.  port_r: or NULL */
int netaddr_from_sockaddr(const struct sockaddr *sa, socklen_t length,
    struct netaddr *address_r, uint16_t *port_r);

/* Returns the length to hand to the system; address must not be "none". */
socklen_t netaddr_to_sockaddr(const struct netaddr *address, uint16_t port,
    struct sockaddr_storage *sa_r);

bool netaddr_equals(const struct netaddr *a, const struct netaddr *b);

/* The network that limits count by: the /24 of IPv4, the /64 of IPv6. */
struct netprefix netaddr_network(const struct netaddr *address);
/* That of a site, which has many IPv6 networks: the /24, the /48. */
struct netprefix netaddr_site(const struct netaddr *address);

/* private: RFC 1918, 6598, 4193; multicast: broadcast too. */
bool netaddr_is_loopback(const struct netaddr *address);
bool netaddr_is_private(const struct netaddr *address);
bool netaddr_is_link_local(const struct netaddr *address);
bool netaddr_is_unspecified(const struct netaddr *address); /* 0.0.0.0/8, :: */
bool netaddr_is_multicast(const struct netaddr *address);

/*
 * "10.0.0.0/8", or an address alone for itself.  Host bits that are set are
 * refused: "10.1.0.0/8" is more often a slip than a wish.
 */
int netprefix_parse(
    struct slice s, struct netprefix *prefix_r, struct err *err);
const char *netprefix_format(
    const struct netprefix *prefix, char out[NETADDR_TEXT_MAX]);
bool netprefix_equals(const struct netprefix *a, const struct netprefix *b);
bool netprefix_contains(
    const struct netprefix *prefix, const struct netaddr *address);
bool netprefix_list_contains(
    const struct netprefix *list, size_t count, const struct netaddr *address);

#endif
