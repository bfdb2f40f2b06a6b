/* SPDX-License-Identifier: ISC */
/*
 * Has a message to go through the signer before it is accepted?  Pure, and
 * quick for the mail that has not.
 *
 *   mail of a login or a trusted network   a rule of policy demands something
 *                                          or has to take a trigger out, or
 *                                          the domain in From has DKIM keys
 *   mail of anybody else                   its root is signed or encrypted, or
 *                                          its Subject has a tag of ours
 *   notifications of our own               the domain in From has DKIM keys
 */
#ifndef RELAY_QUEUE_SIGN_NEED_H
#define RELAY_QUEUE_SIGN_NEED_H

#include "common/policy.h"
#include "relay/queue_message.h"

/* Domains with DKIM keys, as the signer said last. */
struct sign_domains {
	char **names; /* sorted */
	size_t count;
	bool is_known; /* false: it never said; every domain may have some */
};

bool sign_domains_has(const struct sign_domains *domains, struct slice name);
void sign_domains_clear(struct sign_domains *domains);
/* Takes the values of the facts; what is no domain is left out. */
void sign_domains_set(struct sign_domains *domains, struct ipc_list facts);

struct sign_rules {
	const struct policy *policy;
	const struct sign_domains *domains;
	size_t header_limit;
	bool verifies; /* crypto.verify */
	bool has_tags; /* crypto.subject_tags */
};

/* How much of a body is looked at, beside the header. */
#define SIGN_BODY_START 4096

/*
 * What the message needs, for each of its recipients as they are now (after
 * aliases); NULL: nothing.  start: the header and the start of the body.
 */
struct queue_protection *queue_sign_need(const struct sign_rules *rules,
    const struct queue_message *message, struct slice start);

/*
 * May it need anything?  For large messages, whose start is kept then until
 * the question above can be asked.
 */
bool queue_sign_may_need(const struct sign_rules *rules,
    const struct queue_message *message, struct slice start);

#endif
