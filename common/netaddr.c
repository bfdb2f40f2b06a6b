/* SPDX-License-Identifier: ISC */
/*
 * Network addresses and prefixes: text, sockaddr, comparing, kinds.
 * Runs in: every program.  Trusts: nothing about texts; sockaddrs come from
 * the kernel.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/netaddr.h"
#include "common/printable.h"

#define IPV4_BITS 32
#define IPV6_BITS 128
/* An IPv4-mapped address is 96 fixed bits and the IPv4 address. */
#define MAPPED_BITS 96

/* What limits count as one network. */
#define NETWORK_BITS_IPV4 24
#define NETWORK_BITS_IPV6 64
#define SITE_BITS_IPV6 48

static const uint8_t mapped_prefix[12] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Known networks, by the bytes that are not zero. */
static const struct netprefix loopback_networks[] = {
    {{NETADDR_IPV4, {127}}, 8},
    {{NETADDR_IPV6, {[15] = 1}}, 128},
};
static const struct netprefix private_networks[] = {
    {{NETADDR_IPV4, {10}}, 8}, /* RFC 1918 */
    {{NETADDR_IPV4, {172, 16}}, 12}, {{NETADDR_IPV4, {192, 168}}, 16},
    {{NETADDR_IPV4, {100, 64}}, 10}, /* RFC 6598 */
    {{NETADDR_IPV6, {0xfc}}, 7},     /* RFC 4193 */
};
static const struct netprefix link_local_networks[] = {
    {{NETADDR_IPV4, {169, 254}}, 16},
    {{NETADDR_IPV6, {0xfe, 0x80}}, 10},
};
static const struct netprefix unspecified_networks[] = {
    {{NETADDR_IPV4, {0}}, 8}, /* RFC 1122: this network */
    {{NETADDR_IPV6, {0}}, 128},
};
static const struct netprefix multicast_networks[] = {
    {{NETADDR_IPV4, {224}}, 4},
    {{NETADDR_IPV4, {255, 255, 255, 255}}, 32},
    {{NETADDR_IPV6, {0xff}}, 8},
};

#define IS_IN(list, address)     \
	netprefix_list_contains( \
	    (list), sizeof(list) / sizeof((list)[0]), address)

static void
from_ipv4(const void *four, struct netaddr *address_r)
{
	*address_r = (struct netaddr){.family = NETADDR_IPV4};
	memcpy(address_r->bytes, four, 4);
}

/* Returns whether it was an IPv4-mapped one. */
static bool
from_ipv6(const uint8_t sixteen[16], struct netaddr *address_r)
{
	if (memcmp(sixteen, mapped_prefix, sizeof(mapped_prefix)) == 0) {
		from_ipv4(sixteen + sizeof(mapped_prefix), address_r);
		return true;
	}
	*address_r = (struct netaddr){.family = NETADDR_IPV6};
	memcpy(address_r->bytes, sixteen, 16);
	return false;
}

static int
parse_address(struct slice s, struct netaddr *address_r, bool *is_mapped_r)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	*is_mapped_r = false;
	if (slice_copy(s, text, sizeof(text)) == -1)
		return -1;
	if (inet_pton(AF_INET, text, bytes) == 1) {
		from_ipv4(bytes, address_r);
		return 0;
	}
	if (inet_pton(AF_INET6, text, bytes) == 1) {
		*is_mapped_r = from_ipv6(bytes, address_r);
		return 0;
	}
	return -1;
}

int
netaddr_parse(struct slice s, struct netaddr *address_r)
{
	bool is_mapped;

	return parse_address(s, address_r, &is_mapped);
}

/* Splits "[address]:port" or "address:port". */
static int
split_endpoint(struct slice s, struct slice *host_r, struct slice *port_r)
{
	size_t end;

	if (s.n > 0 && s.p[0] == '[') {
		end = slice_find(s, ']', 1);
		if (s.n - end < 2 || s.p[end + 1] != ':')
			return -1;
		*host_r = (struct slice){s.p + 1, end - 1};
		*port_r = (struct slice){s.p + end + 2, s.n - end - 2};
		/* Brackets are for IPv6 alone. */
		return slice_find(*host_r, ':', 0) < host_r->n ? 0 : -1;
	}
	end = slice_find(s, ':', 0);
	if (end == s.n)
		return -1;
	*host_r = (struct slice){s.p, end};
	*port_r = (struct slice){s.p + end + 1, s.n - end - 1};
	return 0;
}

int
netaddr_parse_endpoint(struct slice s, struct netaddr *address_r,
    uint16_t *port_r, struct err *err)
{
	char shown[80];
	struct netaddr address;
	struct slice host;
	struct slice port_text;
	uint64_t port;

	if (split_endpoint(s, &host, &port_text) == -1 ||
	    netaddr_parse(host, &address) == -1 || port_text.n > 5 ||
	    slice_to_u64(port_text, &port) == -1 || port < 1 || port > 65535)
		return err_set(err,
		    "\"%s\" is not ADDRESS:PORT (192.0.2.1:25 or "
		    "[2001:db8::1]:25)",
		    printable(s, shown, sizeof(shown)));
	*address_r = address;
	*port_r = (uint16_t)port;
	return 0;
}

const char *
netaddr_format(const struct netaddr *address, char out[NETADDR_TEXT_MAX])
{
	int family = address->family == NETADDR_IPV4 ? AF_INET : AF_INET6;

	if (address->family == NETADDR_NONE ||
	    inet_ntop(family, address->bytes, out, NETADDR_TEXT_MAX) == NULL)
		(void)snprintf(out, NETADDR_TEXT_MAX, "none");
	return out;
}

int
netaddr_from_sockaddr(const struct sockaddr *sa, socklen_t length,
    struct netaddr *address_r, uint16_t *port_r)
{
	uint16_t port;

	if (length <
	    sizeof(sa->sa_family) + offsetof(struct sockaddr, sa_family))
		return -1;
	if (sa->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		from_ipv4(&in.sin_addr, address_r);
		port = in.sin_port;
	} else if (sa->sa_family == AF_INET6 &&
		   length >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		(void)from_ipv6(in6.sin6_addr.s6_addr, address_r);
		port = in6.sin6_port;
	} else {
		return -1;
	}
	if (port_r != NULL)
		*port_r = ntohs(port);
	return 0;
}

socklen_t
netaddr_to_sockaddr(
    const struct netaddr *address, uint16_t port, struct sockaddr_storage *sa_r)
{
	memset(sa_r, 0, sizeof(*sa_r));
	if (address->family == NETADDR_IPV4) {
		struct sockaddr_in in = {
		    .sin_family = AF_INET, .sin_port = htons(port)};

		memcpy(&in.sin_addr, address->bytes, sizeof(in.sin_addr));
		memcpy(sa_r, &in, sizeof(in));
		return sizeof(in);
	}
	if (address->family == NETADDR_IPV6) {
		struct sockaddr_in6 in6 = {
		    .sin6_family = AF_INET6, .sin6_port = htons(port)};

		memcpy(&in6.sin6_addr, address->bytes, sizeof(in6.sin6_addr));
		memcpy(sa_r, &in6, sizeof(in6));
		return sizeof(in6);
	}
	bug("netaddr_to_sockaddr: no address");
}

bool
netaddr_equals(const struct netaddr *a, const struct netaddr *b)
{
	return a->family == b->family &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Sets all but the first bits to zero. */
static void
mask(struct netaddr *address, unsigned bits)
{
	for (unsigned i = 0; i < sizeof(address->bytes); i++) {
		unsigned kept = bits >= 8 ? 8 : bits;

		address->bytes[i] &= (uint8_t)(0xff00u >> kept);
		bits -= kept;
	}
}

static struct netprefix
prefix_of(const struct netaddr *address, uint8_t ipv4_bits, uint8_t ipv6_bits)
{
	struct netprefix prefix = {.address = *address};

	if (address->family == NETADDR_IPV4)
		prefix.bits = ipv4_bits;
	else if (address->family == NETADDR_IPV6)
		prefix.bits = ipv6_bits;
	mask(&prefix.address, prefix.bits);
	return prefix;
}

struct netprefix
netaddr_network(const struct netaddr *address)
{
	return prefix_of(address, NETWORK_BITS_IPV4, NETWORK_BITS_IPV6);
}

struct netprefix
netaddr_site(const struct netaddr *address)
{
	return prefix_of(address, NETWORK_BITS_IPV4, SITE_BITS_IPV6);
}

bool
netaddr_is_loopback(const struct netaddr *address)
{
	return IS_IN(loopback_networks, address);
}

bool
netaddr_is_private(const struct netaddr *address)
{
	return IS_IN(private_networks, address);
}

bool
netaddr_is_link_local(const struct netaddr *address)
{
	return IS_IN(link_local_networks, address);
}

bool
netaddr_is_unspecified(const struct netaddr *address)
{
	return IS_IN(unspecified_networks, address);
}

bool
netaddr_is_multicast(const struct netaddr *address)
{
	return IS_IN(multicast_networks, address);
}

/* The bits after "/", or all of them; -1 when they are none. */
static int
parse_bits(struct slice s, unsigned most, unsigned *bits_r)
{
	uint64_t bits;

	if (s.n > 3 || slice_to_u64(s, &bits) == -1 || bits > most ||
	    (s.n > 1 && s.p[0] == '0'))
		return -1;
	*bits_r = (unsigned)bits;
	return 0;
}

int
netprefix_parse(struct slice s, struct netprefix *prefix_r, struct err *err)
{
	char shown[80];
	size_t slash = slice_find(s, '/', 0);
	struct netprefix prefix;
	struct netaddr masked;
	bool is_mapped;
	unsigned most;
	unsigned bits;

	(void)printable(s, shown, sizeof(shown));
	if (parse_address(
		(struct slice){s.p, slash}, &prefix.address, &is_mapped) == -1)
		return err_set(
		    err, "\"%s\" is not an IP address or network", shown);
	most = prefix.address.family == NETADDR_IPV4 && !is_mapped ? IPV4_BITS
								   : IPV6_BITS;
	bits = most;
	if (slash < s.n &&
	    parse_bits((struct slice){s.p + slash + 1, s.n - slash - 1}, most,
		&bits) == -1)
		return err_set(err,
		    "\"%s\": the number after \"/\" must be 0 to %u", shown,
		    most);
	if (is_mapped) {
		if (bits < MAPPED_BITS)
			return err_set(
			    err, "\"%s\" mixes IPv4 and IPv6 addresses", shown);
		bits -= MAPPED_BITS;
	}
	masked = prefix.address;
	mask(&masked, bits);
	if (!netaddr_equals(&masked, &prefix.address))
		return err_set(
		    err, "\"%s\" has bits set after the first %u", shown, bits);
	prefix.bits = (uint8_t)bits;
	*prefix_r = prefix;
	return 0;
}

const char *
netprefix_format(const struct netprefix *prefix, char out[NETADDR_TEXT_MAX])
{
	char address[NETADDR_TEXT_MAX];

	(void)netaddr_format(&prefix->address, address);
	(void)snprintf(
	    out, NETADDR_TEXT_MAX, "%.45s/%u", address, prefix->bits);
	return out;
}

bool
netprefix_equals(const struct netprefix *a, const struct netprefix *b)
{
	return a->bits == b->bits && netaddr_equals(&a->address, &b->address);
}

bool
netprefix_contains(
    const struct netprefix *prefix, const struct netaddr *address)
{
	struct netaddr masked = *address;

	if (address->family == NETADDR_NONE)
		return false;
	mask(&masked, prefix->bits);
	return netaddr_equals(&masked, &prefix->address);
}

bool
netprefix_list_contains(
    const struct netprefix *list, size_t count, const struct netaddr *address)
{
	for (size_t i = 0; i < count; i++)
		if (netprefix_contains(&list[i], address))
			return true;
	return false;
}
