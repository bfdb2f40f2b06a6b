/* SPDX-License-Identifier: ISC */
/*
 * Questions to postern-checkd, which asks DNS for everyone.
 */
#ifndef RELAY_DNS_CLIENT_H
#define RELAY_DNS_CLIENT_H

#include "common/link.h"
#include "common/netaddr.h"
#include "common/vocabulary.h"
#include "relay/mx.h"

/* RFC 1035, 3596, 6698. */
enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_MX = 15,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_TLSA = 52
};

/* A question under way; embedded in its asker, zero before its first use. */
struct dns_question {
	struct channel *channel;
	uint64_t request_id; /* 0: not under way */
	bool was_lost;       /* checkd said nothing: DNS did not fail */
	void (*answer)(void *arg, const struct ipc_dns_answer *answer);
	void *arg;
};

/*
 * Asks; answer() is called once from the loop, with status DNS_TEMPORARY when
 * checkd is away or late.  -1: it is away now, and answer() is not called.
 */
int dns_client_ask(struct link *checkd, struct dns_question *question,
    const char *name, enum dns_type type,
    void (*answer)(void *arg, const struct ipc_dns_answer *answer), void *arg);

/* The asker goes away. */
void dns_client_cancel(struct dns_question *question);

/* Readers for the records of an answer; what breaks its form is left out. */
size_t dns_client_addresses(
    const struct ipc_dns_answer *answer, struct netaddr *out, size_t size);
size_t dns_client_mx(
    const struct ipc_dns_answer *answer, struct mx_host *out, size_t size);

/* The shortest time to live of the records; most when there are none. */
uint32_t dns_client_ttl(const struct ipc_dns_answer *answer, uint32_t most);

#endif
