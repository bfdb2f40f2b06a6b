/* SPDX-License-Identifier: ISC */
/*
 * How much TLS a connection to another server needs: the level asked, and
 * what DNS says, to what is done.  Pure.  DANE as in RFC 7672: what DNSSEC
 * calls bogus puts mail off and never downgrades.
 */
#ifndef RELAY_TLS_POLICY_H
#define RELAY_TLS_POLICY_H

#include "common/tls.h"
#include "common/vocabulary.h"
#include "relay/route.h"

/* The words of relay.tls and of a route's tls, weakest first. */
enum tls_level {
	TLS_LEVEL_NONE,          /* never */
	TLS_LEVEL_OPPORTUNISTIC, /* when offered and when it works */
	TLS_LEVEL_ENCRYPTED,     /* always, whoever it is */
	TLS_LEVEL_VERIFIED,      /* a known authority vouches for the name */
	TLS_LEVEL_DANE, /* by TLSA where there are, else opportunistic */
	TLS_LEVEL_COUNT
};

int tls_level_parse(struct slice text, enum tls_level *level_r);
const char *tls_level_name(enum tls_level level);

/* What is known of a host when a connection is about to be made. */
struct tls_facts {
	enum route_kind kind;
	bool is_literal;      /* named by address: no certificate fits it */
	bool has_credentials; /* a password will be sent */
	bool is_name_secure;  /* the MX records, or a host that we were told */
	bool is_address_secure; /* its A and AAAA records */
	bool was_tlsa_asked;
	enum dns_status tlsa_status;
	bool is_tlsa_secure;
	size_t tlsa_count;
};

/* Are TLSA records worth asking for (RFC 7672 §2.2)? */
bool tls_policy_wants_tlsa(enum tls_level level, const struct tls_facts *facts);

enum tls_action {
	TLS_PLAIN, /* no TLS, even when it is offered */
	TLS_MAY,   /* when offered; in plain text when it fails */
	TLS_MUST,  /* or not at all */
	TLS_DEFER, /* this host is not to be used now */
	TLS_ACTION_COUNT
};

struct tls_decision {
	enum tls_level level;
	enum tls_action action;
	enum tls_check check;
	bool is_from_start; /* no STARTTLS: TLS before the greeting */
	const char *why;    /* a constant */
};

void tls_policy_decide(enum tls_level level, const struct tls_facts *facts,
    struct tls_decision *decision_r);

/*
 * For the trace: "dane: TLSA records found; verified by TLSA 3 1 1, TLSv1.3
 * TLS_AES_256_GCM_SHA384".  reached: the connection in words, or NULL when it
 * is in plain text.
 */
const char *tls_policy_words(const struct tls_decision *decision,
    const char *reached, char *out, size_t size);

#endif
