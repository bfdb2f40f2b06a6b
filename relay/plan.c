/* SPDX-License-Identifier: ISC */
/*
 * Asks DNS for what a delivery needs: MX, addresses, TLSA.
 * Runs in: postern-relayd.  Trusts: checkd's word on DNSSEC; nothing that the
 * records themselves say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/loop.h"
#include "relay/plan.h"

/* How long an answer is used: short enough that a change is soon seen. */
#define PLAN_TTL_MIN_S 5
#define PLAN_TTL_MAX_S 60
/* checkd is soon back. */
#define PLAN_TTL_LOST_S 1
/* MX records that are read; the best MX_HOSTS_MAX of them count. */
#define MX_RECORDS_MAX 256
#define ADDRESSES_MAX 64

/* One host of the batch being asked about. */
struct host_query {
	struct plan_making *making;
	struct plan_host host;
	struct dns_question ipv6;
	struct dns_question ipv4;
	struct dns_question tlsa;
	struct netaddr found6[ADDRESSES_MAX];
	struct netaddr found4[ADDRESSES_MAX];
	size_t found6_count;
	size_t found4_count;
	char canonical[256]; /* where a CNAME leads, or "" */
	unsigned waiting;    /* address questions */
	bool is_secure;
	bool was_base_tried; /* TLSA at the canonical name */
	bool is_done;
};

struct plan_making {
	const struct plan_maker *maker;
	struct plan *plan;
	enum tls_level level;
	bool has_credentials;
	bool is_name_secure;
	void (*done)(void *arg, struct plan *plan);
	void *arg;
	struct dns_question mx;
	struct mx_list list;
	size_t next; /* in list: the first host not asked about */
	struct host_query queries[MX_TRIED_MAX];
	size_t query_count;
	uint32_t ttl_s;
	char why[256]; /* the latest temporary reason */
	bool had_temporary;
	bool had_lost; /* a question that checkd did not answer */
	bool had_self;
	bool had_private;
	bool is_starting; /* within plan_make() */
	bool is_over;
};

static void ask_batch(struct plan_making *m);
static void host_done(struct host_query *q);

struct plan *
plan_keep(struct plan *plan)
{
	if (plan != NULL)
		plan->references++;
	return plan;
}

static void
free_records(struct plan_host *host)
{
	free(host->records);
	free(host->record_data);
}

void
plan_release(struct plan *plan)
{
	if (plan == NULL || --plan->references > 0)
		return;
	for (size_t i = 0; i < plan->host_count; i++)
		free_records(&plan->hosts[i]);
	free(plan->hosts);
	free(plan);
}

static void
free_making(struct plan_making *m)
{
	for (size_t i = 0; i < m->query_count; i++)
		free_records(&m->queries[i].host);
	free(m);
}

static void
finish(struct plan_making *m)
{
	struct plan *plan = m->plan;
	uint32_t ttl = m->ttl_s;

	if (ttl < PLAN_TTL_MIN_S || plan->verdict != PLAN_OK)
		ttl = PLAN_TTL_MIN_S;
	plan->is_our_fault = plan->verdict == PLAN_DEFER && m->had_lost;
	if (plan->is_our_fault)
		ttl = PLAN_TTL_LOST_S;
	plan->expires_ms = clock_monotonic_ms() + (uint64_t)ttl * 1000;
	m->is_over = true;
	m->done(m->arg, plan);
	if (!m->is_starting)
		free_making(m);
}

static void finish_without(struct plan_making *m, enum plan_verdict verdict,
    unsigned code, const char *enhanced, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void
finish_without(struct plan_making *m, enum plan_verdict verdict, unsigned code,
    const char *enhanced, const char *format, ...)
{
	struct plan *plan = m->plan;
	va_list ap;

	plan->verdict = verdict;
	plan->code = code;
	(void)snprintf(plan->enhanced, sizeof(plan->enhanced), "%s", enhanced);
	va_start(ap, format);
	(void)vsnprintf(plan->text, sizeof(plan->text), format, ap);
	va_end(ap);
	finish(m);
}

static void
note_temporary(struct plan_making *m, const struct dns_question *question,
    const char *name, const struct ipc_dns_answer *answer)
{
	m->had_temporary = true;
	m->had_lost = m->had_lost || question->was_lost;
	(void)snprintf(m->why, sizeof(m->why), "%s: %s%s%.*s", name,
	    answer->status == DNS_BOGUS ? "DNSSEC validation failed"
					: "DNS gives no answer",
	    answer->reason.n > 0 ? ": " : "", SLICE_ARG(answer->reason));
}

/* ---- hosts ---- */

static void
add_candidates(struct plan_making *m, struct host_query *q)
{
	struct plan *plan = m->plan;
	struct plan_host *host;

	plan->hosts = xrealloc(
	    plan->hosts, (plan->host_count + 1) * sizeof(*plan->hosts));
	host = &plan->hosts[plan->host_count];
	*host = q->host;
	q->host.records = NULL;
	q->host.record_data = NULL;
	for (size_t i = 0; i < host->address_count &&
			   plan->candidate_count < PLAN_CANDIDATES_MAX;
	     i++)
		plan->candidates[plan->candidate_count++] =
		    (struct plan_candidate){.host = plan->host_count,
			.address = host->addresses[i]};
	plan->host_count++;
}

static void
no_candidates(struct plan_making *m)
{
	const char *what = m->plan->target.kind == ROUTE_MX
			       ? m->plan->domain
			       : m->plan->target.host;

	if (m->had_temporary)
		finish_without(m, PLAN_DEFER, 0, "4.4.3", "%s", m->why);
	else if (m->had_self)
		finish_without(m, PLAN_FAIL, 554, "5.4.6",
		    "mail for %s loops back to this host", what);
	else if (m->had_private)
		finish_without(m, PLAN_FAIL, 554, "5.4.4",
		    "the mail servers of %s have private addresses", what);
	else if (m->plan->target.kind == ROUTE_MX)
		finish_without(m, PLAN_FAIL, 550, "5.4.4",
		    "no mail server of %s has an address", what);
	else
		/* A slip in our own settings must not bounce mail. */
		finish_without(m, PLAN_DEFER, 0, "4.4.4",
		    "the host %s has no address", what);
}

/* All hosts of the batch are known. */
static void
batch_done(struct plan_making *m)
{
	for (size_t i = 0; i < m->query_count; i++) {
		struct host_query *q = &m->queries[i];

		if (q->host.address_count == 0)
			continue;
		if (q->host.tls.action == TLS_DEFER) {
			m->had_temporary = true;
			(void)snprintf(m->why, sizeof(m->why), "%.150s: %s",
			    q->host.name, q->host.tls.why);
			continue;
		}
		add_candidates(m, q);
	}
	if (m->plan->candidate_count > 0) {
		m->plan->verdict = PLAN_OK;
		finish(m);
	} else if (m->next < m->list.count) {
		ask_batch(m);
	} else {
		no_candidates(m);
	}
}

static void
host_done(struct host_query *q)
{
	struct plan_making *m = q->making;

	q->is_done = true;
	tls_policy_decide(m->level, &q->host.facts, &q->host.tls);
	for (size_t i = 0; i < m->query_count; i++) {
		if (!m->queries[i].is_done)
			return;
	}
	batch_done(m);
}

/* ---- TLSA ---- */

static void
take_records(struct plan_host *host, const struct ipc_dns_answer *answer)
{
	struct ipc_list list = answer->records;
	struct ipc_record_rr rr;
	size_t at = 0;

	free_records(host);
	host->records = xcalloc(PLAN_TLSA_MAX, sizeof(*host->records));
	host->record_data = xmalloc(list.n + 1);
	host->record_count = 0;
	while (host->record_count < PLAN_TLSA_MAX && ipc_rr_next(&list, &rr)) {
		if (rr.type != DNS_TYPE_TLSA || rr.data.n < 4)
			continue;
		memcpy(host->record_data + at, rr.data.p, rr.data.n);
		host->records[host->record_count++] = (struct tlsa){
		    .usage = (uint8_t)rr.data.p[0],
		    .selector = (uint8_t)rr.data.p[1],
		    .matching = (uint8_t)rr.data.p[2],
		    .data = (const unsigned char *)host->record_data + at + 3,
		    .n = rr.data.n - 3};
		at += rr.data.n;
	}
}

static void ask_tlsa(struct host_query *q, const char *base);

static void
tlsa_answered(void *arg, const struct ipc_dns_answer *answer)
{
	struct host_query *q = arg;
	struct tls_facts *facts = &q->host.facts;

	q->making->had_lost = q->making->had_lost || q->tlsa.was_lost;
	facts->tlsa_status = (enum dns_status)answer->status;
	facts->is_tlsa_secure = answer->is_secure;
	if (answer->status == DNS_OK && answer->is_secure) {
		take_records(&q->host, answer);
		facts->tlsa_count = q->host.record_count;
		q->making->ttl_s = dns_client_ttl(answer, q->making->ttl_s);
	} else if (answer->status != DNS_TEMPORARY &&
		   answer->status != DNS_BOGUS && q->was_base_tried) {
		/* RFC 7672 §2.2.2: then at the name before the CNAME. */
		q->was_base_tried = false;
		ask_tlsa(q, q->host.name);
		return;
	}
	host_done(q);
}

static void
ask_tlsa(struct host_query *q, const char *base)
{
	static const struct ipc_dns_answer away = {.status = DNS_TEMPORARY};
	struct plan_making *m = q->making;
	char name[300];
	unsigned port = m->plan->target.kind == ROUTE_MX ? m->maker->mx_port
							 : m->plan->target.port;

	(void)snprintf(name, sizeof(name), "_%u._tcp.%s", port, base);
	(void)snprintf(q->host.tls_name, sizeof(q->host.tls_name), "%s", base);
	q->host.facts.was_tlsa_asked = true;
	/* Too long a name has no records. */
	if (strlen(name) > DOMAIN_LENGTH_MAX) {
		q->host.facts.tlsa_status = DNS_NXDOMAIN;
		host_done(q);
	} else if (dns_client_ask(m->maker->checkd, &q->tlsa, name,
		       DNS_TYPE_TLSA, tlsa_answered, q) == -1) {
		tlsa_answered(q, &away);
	}
}

/* ---- addresses ---- */

/* Takes out what an MX may not lead to. */
static size_t
sift(struct plan_making *m, struct netaddr *addresses, size_t count)
{
	size_t kept = 0;

	if (m->plan->target.kind != ROUTE_MX || m->maker->may_be_local)
		return count;
	for (size_t i = 0; i < count; i++) {
		switch (mx_address_check(
		    &addresses[i], m->maker->own, m->maker->own_count)) {
		case MX_ADDRESS_OK:
			addresses[kept++] = addresses[i];
			break;
		case MX_ADDRESS_SELF:
			m->had_self = true;
			break;
		case MX_ADDRESS_PRIVATE:
			m->had_private = true;
			break;
		case MX_ADDRESS_UNUSABLE:
			break;
		}
	}
	return kept;
}

static void
addresses_known(struct host_query *q)
{
	struct plan_making *m = q->making;
	struct tls_facts *facts = &q->host.facts;
	bool has_alias;

	q->found6_count = sift(m, q->found6, q->found6_count);
	q->found4_count = sift(m, q->found4, q->found4_count);
	q->host.address_count = mx_interleave(q->found6, q->found6_count,
	    q->found4, q->found4_count, q->host.addresses);
	facts->is_address_secure = q->is_secure;
	if (q->host.address_count == 0 ||
	    !tls_policy_wants_tlsa(m->level, facts)) {
		host_done(q);
		return;
	}
	has_alias =
	    q->canonical[0] != '\0' && strcmp(q->canonical, q->host.name) != 0;
	q->was_base_tried = has_alias;
	ask_tlsa(q, has_alias ? q->canonical : q->host.name);
}

static void
address_answered(struct host_query *q, const struct dns_question *question,
    const struct ipc_dns_answer *answer, struct netaddr *found, size_t *count)
{
	struct plan_making *m = q->making;

	if (answer->status == DNS_OK) {
		*count = dns_client_addresses(answer, found, ADDRESSES_MAX);
		q->is_secure = q->is_secure && answer->is_secure;
		m->ttl_s = dns_client_ttl(answer, m->ttl_s);
		(void)slice_copy(
		    answer->canonical_name, q->canonical, sizeof(q->canonical));
	} else if (answer->status == DNS_TEMPORARY ||
		   answer->status == DNS_BOGUS) {
		note_temporary(m, question, q->host.name, answer);
	}
	if (--q->waiting == 0)
		addresses_known(q);
}

static void
ipv6_answered(void *arg, const struct ipc_dns_answer *answer)
{
	struct host_query *q = arg;

	address_answered(q, &q->ipv6, answer, q->found6, &q->found6_count);
}

static void
ipv4_answered(void *arg, const struct ipc_dns_answer *answer)
{
	struct host_query *q = arg;

	address_answered(q, &q->ipv4, answer, q->found4, &q->found4_count);
}

static void
ask_addresses(struct host_query *q)
{
	static const struct ipc_dns_answer away = {
	    .status = DNS_TEMPORARY, .reason = {"checkd is away", 14}};
	struct link *checkd = q->making->maker->checkd;

	q->waiting = 2;
	q->is_secure = true;
	if (dns_client_ask(checkd, &q->ipv6, q->host.name, DNS_TYPE_AAAA,
		ipv6_answered, q) == -1)
		ipv6_answered(q, &away);
	if (dns_client_ask(checkd, &q->ipv4, q->host.name, DNS_TYPE_A,
		ipv4_answered, q) == -1)
		ipv4_answered(q, &away);
}

static void
init_query(struct plan_making *m, struct host_query *q, const char *name)
{
	*q = (struct host_query){.making = m};
	(void)snprintf(q->host.name, sizeof(q->host.name), "%s", name);
	(void)snprintf(q->host.tls_name, sizeof(q->host.tls_name), "%s", name);
	q->host.facts = (struct tls_facts){.kind = m->plan->target.kind,
	    .has_credentials = m->has_credentials,
	    .is_name_secure = m->is_name_secure};
}

/* Their questions go out together; the slowest decides. */
static void
ask_batch(struct plan_making *m)
{
	size_t count = m->list.count - m->next;

	if (count > MX_TRIED_MAX)
		count = MX_TRIED_MAX;
	m->query_count = count;
	for (size_t i = 0; i < count; i++) {
		const struct mx_host *host = &m->list.hosts[m->next + i];

		init_query(m, &m->queries[i], host->name);
		m->queries[i].host.preference = host->preference;
	}
	m->next += count;
	/* The last one may end all of it at once, when checkd is away. */
	for (size_t i = 0; i < count && !m->is_over; i++)
		ask_addresses(&m->queries[i]);
}

/* ---- MX ---- */

static void
mx_found(struct plan_making *m, const struct ipc_dns_answer *answer)
{
	struct mx_host *records = xcalloc(MX_RECORDS_MAX, sizeof(*records));
	size_t count = dns_client_mx(answer, records, MX_RECORDS_MAX);
	enum mx_verdict verdict = mx_order(records, count, m->maker->own_name,
	    (uint32_t)clock_wall_us(), &m->list);
	const char *domain = m->plan->domain;

	free(records);
	switch (verdict) {
	case MX_OK:
		ask_batch(m);
		return;
	case MX_NULL:
		finish_without(m, PLAN_FAIL, 556, "5.1.10",
		    "%s accepts no mail (null MX)", domain);
		return;
	case MX_LOOP:
		finish_without(m, PLAN_FAIL, 554, "5.4.6",
		    "mail for %s loops back to this host: it is the best MX",
		    domain);
		return;
	case MX_BROKEN:
		finish_without(m, PLAN_FAIL, 550, "5.4.4",
		    "the MX records of %s name no host", domain);
		return;
	}
}

static void
mx_answered(void *arg, const struct ipc_dns_answer *answer)
{
	struct plan_making *m = arg;
	const char *domain = m->plan->domain;

	m->is_name_secure = answer->is_secure;
	switch ((enum dns_status)answer->status) {
	case DNS_OK:
		m->ttl_s = dns_client_ttl(answer, m->ttl_s);
		mx_found(m, answer);
		return;
	case DNS_NODATA:
		/* RFC 5321 §5.1: the domain is its own mail server. */
		m->list.count = 1;
		(void)snprintf(m->list.hosts[0].name,
		    sizeof(m->list.hosts[0].name), "%s", domain);
		ask_batch(m);
		return;
	case DNS_NXDOMAIN:
		finish_without(m, PLAN_FAIL, 550, "5.1.2",
		    "the domain %s does not exist", domain);
		return;
	default:
		note_temporary(m, &m->mx, domain, answer);
		finish_without(m, PLAN_DEFER, 0, "4.4.3", "%s", m->why);
	}
}

static void
ask_mx(struct plan_making *m)
{
	static const struct ipc_dns_answer away = {
	    .status = DNS_TEMPORARY, .reason = {"checkd is away", 14}};

	if (dns_client_ask(m->maker->checkd, &m->mx, m->plan->domain,
		DNS_TYPE_MX, mx_answered, m) == -1)
		mx_answered(m, &away);
}

/* ---- the beginning ---- */

/* A place that needs no DNS: an address, or a socket on this host. */
static void
use_literal(
    struct plan_making *m, const struct netaddr *address, const char *name)
{
	struct host_query *q = &m->queries[0];

	m->query_count = 1;
	init_query(m, q, name);
	q->host.facts.is_literal = true;
	q->found4[0] = *address;
	q->found4_count = sift(m, q->found4, 1);
	q->host.address_count = q->found4_count;
	q->host.addresses[0] = *address;
	host_done(q);
}

/* "[192.0.2.1]" and "[IPv6:2001:db8::1]", RFC 5321 §4.1.3. */
static int
parse_literal(const char *domain, struct netaddr *address_r)
{
	struct slice inner = slice_of(domain);

	if (inner.n < 3 || inner.p[0] != '[' || inner.p[inner.n - 1] != ']')
		return -1;
	inner = (struct slice){inner.p + 1, inner.n - 2};
	if (slice_starts_nocase(inner, "IPv6:"))
		inner = (struct slice){inner.p + 5, inner.n - 5};
	return netaddr_parse(inner, address_r);
}

static void
begin(struct plan_making *m)
{
	const struct route_target *target = &m->plan->target;
	struct netaddr address;

	if (target->kind == ROUTE_LMTP_UNIX) {
		address = (struct netaddr){.family = NETADDR_NONE};
		use_literal(m, &address, target->path);
	} else if (target->kind != ROUTE_MX &&
		   target->literal.family != NETADDR_NONE) {
		use_literal(m, &target->literal, target->host);
	} else if (target->kind != ROUTE_MX) {
		/* We were told the name: nobody can have forged it. */
		m->is_name_secure = true;
		m->list.count = 1;
		(void)snprintf(m->list.hosts[0].name,
		    sizeof(m->list.hosts[0].name), "%s", target->host);
		ask_batch(m);
	} else if (m->plan->domain[0] != '[') {
		ask_mx(m);
	} else if (parse_literal(m->plan->domain, &address) == 0) {
		use_literal(m, &address, m->plan->domain);
	} else {
		finish_without(m, PLAN_FAIL, 550, "5.1.2",
		    "%s is no address of a host", m->plan->domain);
	}
}

struct plan_making *
plan_make(const struct plan_maker *maker, const struct route_target *target,
    const char *domain, enum tls_level level, bool has_credentials,
    void (*done)(void *arg, struct plan *plan), void *arg)
{
	struct plan_making *m = xcalloc(1, sizeof(*m));

	m->plan = xcalloc(1, sizeof(*m->plan));
	m->plan->references = 1;
	m->plan->target = *target;
	(void)snprintf(m->plan->domain, sizeof(m->plan->domain), "%s", domain);
	m->maker = maker;
	m->level = level;
	m->has_credentials = has_credentials;
	m->done = done;
	m->arg = arg;
	m->ttl_s = PLAN_TTL_MAX_S;
	m->is_starting = true;
	begin(m);
	m->is_starting = false;
	if (!m->is_over)
		return m;
	free_making(m);
	return NULL;
}

void
plan_cancel(struct plan_making *m)
{
	if (m == NULL)
		return;
	dns_client_cancel(&m->mx);
	for (size_t i = 0; i < m->query_count; i++) {
		dns_client_cancel(&m->queries[i].ipv6);
		dns_client_cancel(&m->queries[i].ipv4);
		dns_client_cancel(&m->queries[i].tlsa);
	}
	plan_release(m->plan);
	free_making(m);
}
