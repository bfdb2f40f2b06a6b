/* SPDX-License-Identifier: ISC */
/*
 * From a route's target to the addresses to connect to, in order, each with
 * what TLS it needs: the questions to DNS that this takes, all asked through
 * postern-checkd without waiting.
 */
#ifndef RELAY_PLAN_H
#define RELAY_PLAN_H

#include "common/smtp_reply.h"
#include "relay/dns_client.h"
#include "relay/mx.h"
#include "relay/tls_policy.h"

/* Addresses tried in one attempt, of all hosts together. */
#define PLAN_CANDIDATES_MAX 20
#define PLAN_TLSA_MAX 32

struct plan_host {
	char name[256];
	char tls_name[256]; /* the name that its TLSA records hang on */
	uint16_t preference;
	struct tls_facts facts;
	struct tls_decision tls;
	struct tlsa *records; /* NULL: none */
	size_t record_count;
	char *record_data; /* what they point into */
	struct netaddr addresses[MX_ADDRESSES_MAX];
	size_t address_count;
};

struct plan_candidate {
	size_t host;
	struct netaddr address; /* family NONE: a Unix socket */
	bool is_tls_broken;     /* STARTTLS failed; plain text where allowed */
};

enum plan_verdict {
	PLAN_OK,
	PLAN_DEFER, /* nobody can say now */
	PLAN_FAIL,  /* there is no such place */
	PLAN_VERDICT_COUNT
};

/* Shared by those who use it; the last plan_release() frees it. */
struct plan {
	unsigned references;
	enum plan_verdict verdict;
	unsigned code; /* for a result, with the two below */
	char enhanced[SMTP_ENHANCED_MAX];
	char text[512];
	struct route_target target;
	char domain[256];
	struct plan_host *hosts;
	size_t host_count;
	struct plan_candidate candidates[PLAN_CANDIDATES_MAX];
	size_t candidate_count;
	uint64_t expires_ms; /* monotonic */
	bool is_our_fault;   /* deferred, as checkd gave no answer */
};

struct plan *plan_keep(struct plan *plan);
void plan_release(struct plan *plan);

/* What holds for every plan; must outlive those being made. */
struct plan_maker {
	struct link *checkd;
	const char *own_name;
	const struct netaddr *own;
	size_t own_count;
	bool may_be_local; /* relay.allow_loopback */
	uint16_t mx_port;
};

struct plan_making;

/*
 * Makes a plan.  done() gets it (with one reference) from the loop, or before
 * this returns where no question is needed; then NULL is returned.
 */
struct plan_making *plan_make(const struct plan_maker *maker,
    const struct route_target *target, const char *domain, enum tls_level level,
    bool has_credentials, void (*done)(void *arg, struct plan *plan),
    void *arg);

/* done() will not be called. */
void plan_cancel(struct plan_making *making);

#endif
