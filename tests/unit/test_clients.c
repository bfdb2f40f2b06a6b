/* SPDX-License-Identifier: ISC */
/*
 * Sessions by id: a worker gives back only what it was given.
 */
#include "smtpd/clients.h"
#include "tests/unit/tap.h"

int
main(void)
{
	struct clients *clients = clients_new();
	struct netaddr address = {.family = NETADDR_IPV4};
	struct netaddr got;
	unsigned count = 0;

	for (unsigned i = 0; i < 3000; i++) {
		address.bytes[3] = (uint8_t)i;
		clients_add(clients, (uint64_t)i << 12, i % 3, &address);
	}
	is_int(clients_remove(clients, (uint64_t)4 << 12, 2, &got), -1,
	    "another worker's session is not taken");
	is_int(clients_remove(clients, (uint64_t)4 << 12, 1, &got), 0,
	    "one's own is");
	is_u64(got.bytes[3], 4, "with its address");
	is_int(clients_remove(clients, (uint64_t)4 << 12, 1, &got), -1, "once");
	is_int(clients_remove(clients, 77, 0, &got), -1,
	    "one that never was is not");
	while (clients_take(clients, 2, &got))
		count++;
	is_u64(count, 1000, "a worker that is gone leaves all of its own");
	is_int(clients_remove(clients, (uint64_t)6 << 12, 0, &got), 0,
	    "and nobody else's");
	clients_free(clients);
	clients_free(NULL);
	return tap_done();
}
