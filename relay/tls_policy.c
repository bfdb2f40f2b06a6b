/* SPDX-License-Identifier: ISC */
/*
 * The TLS policy of outgoing connections.
 * Runs in: postern-relayd.  Trusts: checkd's word on what DNSSEC says.
 */
#include <stdio.h>

#include "relay/tls_policy.h"

static const char *const level_names[TLS_LEVEL_COUNT] = {
    [TLS_LEVEL_NONE] = "none",
    [TLS_LEVEL_OPPORTUNISTIC] = "opportunistic",
    [TLS_LEVEL_ENCRYPTED] = "encrypted",
    [TLS_LEVEL_VERIFIED] = "verified",
    [TLS_LEVEL_DANE] = "dane",
};

int
tls_level_parse(struct slice text, enum tls_level *level_r)
{
	for (unsigned i = 0; i < TLS_LEVEL_COUNT; i++) {
		if (!slice_equals_nocase(text, slice_of(level_names[i])))
			continue;
		*level_r = (enum tls_level)i;
		return 0;
	}
	return -1;
}

const char *
tls_level_name(enum tls_level level)
{
	return level_names[level];
}

bool
tls_policy_wants_tlsa(enum tls_level level, const struct tls_facts *facts)
{
	return level == TLS_LEVEL_DANE && facts->kind != ROUTE_LMTP_UNIX &&
	       !facts->is_literal && facts->is_name_secure &&
	       facts->is_address_secure;
}

/* Level dane: what the TLSA records ask for. */
static void
decide_dane(const struct tls_facts *facts, struct tls_decision *d)
{
	d->action = TLS_MAY;
	if (!facts->was_tlsa_asked) {
		d->why = "no DNSSEC";
	} else if (facts->tlsa_status == DNS_BOGUS) {
		d->action = TLS_DEFER;
		d->why = "the TLSA records fail DNSSEC validation";
	} else if (facts->tlsa_status == DNS_TEMPORARY) {
		d->action = TLS_DEFER;
		d->why = "DNS gives no answer about TLSA records";
	} else if (facts->tlsa_status == DNS_OK && facts->is_tlsa_secure &&
		   facts->tlsa_count > 0) {
		d->action = TLS_MUST;
		d->check = TLS_CHECK_DANE;
		d->why = "TLSA records";
	} else {
		d->why = "no TLSA records";
	}
}

void
tls_policy_decide(enum tls_level level, const struct tls_facts *facts,
    struct tls_decision *decision_r)
{
	struct tls_decision d = {.level = level, .check = TLS_CHECK_NONE};

	switch (level) {
	case TLS_LEVEL_NONE:
		d.action = TLS_PLAIN;
		d.why = "not wanted";
		break;
	case TLS_LEVEL_ENCRYPTED:
		d.action = TLS_MUST;
		d.why = "required";
		break;
	case TLS_LEVEL_VERIFIED:
		d.action = TLS_MUST;
		d.check = TLS_CHECK_NAME;
		d.why = facts->kind == ROUTE_MX && !facts->is_name_secure
			    ? "required; the MX records are not signed"
			    : "required";
		break;
	case TLS_LEVEL_DANE:
		decide_dane(facts, &d);
		break;
	default:
		d.action = TLS_MAY;
		d.why = "when offered";
	}
	if (facts->has_credentials && d.action < TLS_MUST) {
		d.action = TLS_MUST;
		d.why = "required for a password";
	}
	if (facts->kind == ROUTE_SMTPS && d.action < TLS_MUST) {
		d.action = TLS_MUST;
		d.why = "from the start";
	}
	d.is_from_start = facts->kind == ROUTE_SMTPS;
	if (facts->kind == ROUTE_LMTP_UNIX) {
		d = (struct tls_decision){.level = level,
		    .action = TLS_PLAIN,
		    .check = TLS_CHECK_NONE,
		    .why = "on this host"};
	}
	*decision_r = d;
}

const char *
tls_policy_words(const struct tls_decision *decision, const char *reached,
    char *out, size_t size)
{
	(void)snprintf(out, size, "%s (%s): %s",
	    tls_level_name(decision->level), decision->why,
	    reached != NULL ? reached : "plain text");
	return out;
}
