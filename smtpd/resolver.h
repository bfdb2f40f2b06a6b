/* SPDX-License-Identifier: ISC */
/*
 * Questions to the DNS by libunbound on the program's event loop: bounded in
 * number, memory and time, validated by DNSSEC.
 */
#ifndef SMTPD_RESOLVER_H
#define SMTPD_RESOLVER_H

#include "common/domain.h"
#include "common/loop.h"
#include "common/settings.h"
#include "smtpd/dns_message.h"

struct resolver;
struct resolver_question;

/* The message and all that it points to are good until this returns. */
typedef void resolver_answer_fn(void *arg, const struct dns_message *message);

/* Sees each answer before its asker does; or NULL. */
typedef void resolver_observe_fn(
    void *arg, const char *name, const struct dns_message *message);

struct resolver *resolver_new(
    struct loop *loop, resolver_observe_fn *observe, void *arg);

/*
 * Asks by these settings from now on.  What was asked before is still answered
 * by the old ones.  -1 when libunbound refuses them; the old ones stay then.
 * Without any success yet, each question is answered DNS_TEMPORARY.
 */
int resolver_configure(struct resolver *resolver,
    const struct settings *settings, struct err *err);

/*
 * Asks, class IN.  answer is called once, within dns.timeout, never from
 * within this call.  NULL when too many questions wait: it is then not called.
 */
struct resolver_question *resolver_ask(struct resolver *resolver,
    const struct domain *name, enum dns_type type, resolver_answer_fn *answer,
    void *arg);

/* The asker is gone: answer will not be called.  Not after the answer. */
void resolver_forget(struct resolver_question *question);

struct resolver_counts {
	uint64_t asked;
	uint64_t cached;    /* of these, answered without asking anybody */
	uint64_t failed;    /* DNS_TEMPORARY */
	uint64_t bogus;     /* DNS_BOGUS */
	uint64_t refused;   /* never asked: too many waited */
	size_t in_progress; /* those whose asker has his answer already, too */
};

void resolver_count(
    const struct resolver *resolver, struct resolver_counts *counts_r);

#endif
