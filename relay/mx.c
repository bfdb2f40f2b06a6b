/* SPDX-License-Identifier: ISC */
/*
 * The order of mail exchangers and addresses.
 * Runs in: postern-relayd.  Trusts: nothing that DNS says.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/domain.h"
#include "relay/mx.h"

/* A host with the number that decides among equals. */
struct drawn {
	struct mx_host host;
	uint32_t lot;
};

static int
compare_drawn(const void *a, const void *b)
{
	const struct drawn *one = a;
	const struct drawn *other = b;

	if (one->host.preference != other->host.preference)
		return one->host.preference < other->host.preference ? -1 : 1;
	return one->lot < other->lot ? -1 : one->lot > other->lot;
}

/* xorshift; chance for load, not for secrets. */
static uint32_t
next_lot(uint32_t *state)
{
	uint32_t x = *state != 0 ? *state : 1;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	*state = x;
	return x;
}

static bool
is_listed(const struct mx_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->hosts[i].name, name) == 0)
			return true;
	}
	return false;
}

/* RFC 7505 §3: one record, preference 0, the root as its host. */
static bool
is_null_mx(const struct mx_host *records, size_t count)
{
	return count == 1 && strcmp(records[0].name, ".") == 0;
}

/*
 * Of very many records the best 20 are kept while going through them, so that
 * a thousand cost no memory.
 */
static void
keep(struct drawn *kept, size_t *count, const struct drawn *host)
{
	size_t worst = 0;

	if (*count < MX_HOSTS_MAX) {
		kept[(*count)++] = *host;
		return;
	}
	for (size_t i = 1; i < *count; i++) {
		if (compare_drawn(&kept[i], &kept[worst]) > 0)
			worst = i;
	}
	if (compare_drawn(host, &kept[worst]) < 0)
		kept[worst] = *host;
}

enum mx_verdict
mx_order(const struct mx_host *records, size_t count, const char *own_name,
    uint32_t seed, struct mx_list *list_r)
{
	struct drawn kept[MX_HOSTS_MAX];
	size_t kept_count = 0;
	uint32_t own_preference = UINT16_MAX + 1u;
	bool has_names = false;

	list_r->count = 0;
	if (is_null_mx(records, count))
		return MX_NULL;
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(records[i].name, own_name) == 0 &&
		    records[i].preference < own_preference)
			own_preference = records[i].preference;
	}
	for (size_t i = 0; i < count; i++) {
		struct drawn host = {.lot = next_lot(&seed)};
		struct domain name;

		if (domain_parse_dns(slice_of(records[i].name), &name, NULL) ==
		    -1)
			continue;
		has_names = true;
		if (records[i].preference >= own_preference)
			continue;
		host.host.preference = records[i].preference;
		memcpy(host.host.name, name.text, sizeof(host.host.name));
		keep(kept, &kept_count, &host);
	}
	qsort(kept, kept_count, sizeof(kept[0]), compare_drawn);
	for (size_t i = 0; i < kept_count; i++) {
		if (!is_listed(list_r, kept[i].host.name))
			list_r->hosts[list_r->count++] = kept[i].host;
	}
	if (list_r->count > 0)
		return MX_OK;
	return has_names ? MX_LOOP : MX_BROKEN;
}

enum mx_address_fault
mx_address_check(
    const struct netaddr *address, const struct netaddr *own, size_t own_count)
{
	if (netaddr_is_loopback(address) || netaddr_is_unspecified(address))
		return MX_ADDRESS_SELF;
	for (size_t i = 0; i < own_count; i++) {
		if (netaddr_equals(address, &own[i]))
			return MX_ADDRESS_SELF;
	}
	if (netaddr_is_private(address))
		return MX_ADDRESS_PRIVATE;
	if (netaddr_is_link_local(address) || netaddr_is_multicast(address))
		return MX_ADDRESS_UNUSABLE;
	return MX_ADDRESS_OK;
}

static void
add_address(struct netaddr *out, size_t *count, const struct netaddr *address)
{
	for (size_t i = 0; i < *count; i++) {
		if (netaddr_equals(&out[i], address))
			return;
	}
	if (*count < MX_ADDRESSES_MAX)
		out[(*count)++] = *address;
}

size_t
mx_interleave(const struct netaddr *ipv6, size_t ipv6_count,
    const struct netaddr *ipv4, size_t ipv4_count, struct netaddr *out)
{
	size_t count = 0;

	for (size_t i = 0; i < ipv6_count || i < ipv4_count; i++) {
		if (i < ipv6_count)
			add_address(out, &count, &ipv6[i]);
		if (i < ipv4_count)
			add_address(out, &count, &ipv4[i]);
	}
	return count;
}
