/* SPDX-License-Identifier: ISC */
/*
 * Questions that are not deliveries: does the inner server know this
 * recipient (authd), and which way would mail take (confd).
 * Runs in: postern-relayd.  Trusts: its peers' frames as far as the message
 * table checks them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "relay/relayd.h"

/* authd's client waits for the answer to its RCPT. */
#define CALLOUT_DEADLINE_MS 20000
#define FACTS_MAX 131072

/* Either of the two; what it is is told by answer. */
struct relay_question {
	LIST_ENTRY(relay_question) link;
	struct relayd *relayd;
	struct channel *channel; /* NULL: the asker is gone */
	uint64_t request_id;
	char domain[256];
	/* A callout: */
	struct pool_job job;
	struct client_recipient recipient;
	char address[ADDRESS_TEXT_MAX];
	/* A route test: */
	struct plan_making *making;
	struct route_match match;
	struct ipc_list_writer facts;
};

static struct relay_question *
new_question(struct channel *channel, uint64_t request_id)
{
	struct relay_question *q = xcalloc(1, sizeof(*q));

	q->relayd = daemon_state(channel_daemon(channel));
	q->channel = channel;
	q->request_id = request_id;
	LIST_INSERT_HEAD(&q->relayd->questions, q, link);
	return q;
}

static void
free_question(struct relay_question *q)
{
	LIST_REMOVE(q, link);
	ipc_list_writer_clear(&q->facts);
	free(q->recipient.reply);
	free(q);
}

void
relay_forget_askers(struct relayd *relayd, const struct channel *channel)
{
	struct relay_question *q;

	LIST_FOREACH(q, &relayd->questions, link)
	{
		/* cppcheck-suppress uninitvar ; LIST_FOREACH sets it */
		if (q->channel == channel)
			q->channel = NULL;
	}
}

/* The domain as mail for the address would name it. */
static int
read_domain(
    struct slice text, char domain_r[256], char canonical_r[], struct err *err)
{
	struct address address;
	char literal[NETADDR_TEXT_MAX];

	if (address_parse(text, ADDRESS_MAY_BE_UTF8, &address, err) == -1)
		return -1;
	(void)address_format(&address, canonical_r);
	if (address.is_literal)
		(void)snprintf(domain_r, 256, "[%s%s]",
		    address.literal.family == NETADDR_IPV6 ? "IPv6:" : "",
		    netaddr_format(&address.literal, literal));
	else
		memcpy(domain_r, address.domain.text, 256);
	return 0;
}

/* ---- callouts ---- */

static void
answer_callout(
    struct relay_question *q, enum rcpt_verdict verdict, const char *reply)
{
	struct ipc_called_out answer = {
	    .verdict = (uint16_t)verdict, .reply = slice_of(reply)};

	if (q->channel != NULL)
		(void)channel_answer(
		    q->channel, q->request_id, MSG_CALLED_OUT, &answer);
	free_question(q);
}

static void
callout_done(struct pool_job *job)
{
	static const enum rcpt_verdict verdicts[OUTCOME_COUNT] = {
	    [OUTCOME_DELIVERED] = RCPT_EXISTS,
	    [OUTCOME_DEFERRED] = RCPT_TEMPORARY,
	    [OUTCOME_FAILED] = RCPT_UNKNOWN,
	};
	struct relay_question *q = job->owner;

	answer_callout(q, verdicts[q->recipient.outcome], q->recipient.reply);
}

int
relay_on_callout(struct channel *channel, const struct channel_frame *frame)
{
	struct relay_question *q = new_question(channel, frame->request_id);
	struct err err;
	bool is_utf8;

	if (read_domain(frame->message->callout.address, q->domain, q->address,
		&err) == -1 ||
	    route_find(q->relayd->routes, slice_of(q->address), &q->match,
		&err) == -1) {
		answer_callout(q, RCPT_TEMPORARY, err.text);
		return 0;
	}
	/* Asking the world about our own recipients would ask ourselves. */
	if (q->match.target->kind == ROUTE_MX) {
		answer_callout(q, RCPT_TEMPORARY,
		    "no inner server is set for this domain");
		return 0;
	}
	/* An address outside ASCII is asked about as its mail would name it. */
	is_utf8 = !utf8_is_ascii(slice_of(q->address));
	q->recipient = (struct client_recipient){
	    .address = q->address, .orcpt = "", .is_utf8 = is_utf8};
	q->job.owner = q;
	q->job.done = callout_done;
	q->job.mail = (struct client_mail){.reverse_path = "",
	    .envid = "",
	    .is_callout = true,
	    .is_utf8 = is_utf8,
	    .fd = -1,
	    .deadline_ms = clock_monotonic_ms() + CALLOUT_DEADLINE_MS,
	    .recipients = &q->recipient,
	    .recipient_count = 1};
	pool_submit(q->relayd->pool, &q->job, &q->match, q->domain);
	return 0;
}

/* ---- route tests ---- */

static void add_fact(struct relay_question *q, const char *name,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

static void
add_fact(struct relay_question *q, const char *name, const char *format, ...)
{
	char text[1024];
	struct ipc_record_fact fact = {.name = slice_of(name)};
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fact.value = slice_of(text);
	(void)ipc_fact_add(&q->facts, &fact, NULL);
}

static void
answer_test(struct relay_question *q, const char *error)
{
	struct ipc_route_tested answer = {
	    .error = slice_of(error), .facts = ipc_list_of(&q->facts)};

	if (q->channel != NULL)
		(void)channel_answer(
		    q->channel, q->request_id, MSG_ROUTE_TESTED, &answer);
	free_question(q);
}

static void
add_host(struct relay_question *q, const struct plan *plan, size_t i)
{
	const struct plan_host *host = &plan->hosts[i];
	char addresses[700] = "";
	size_t n = 0;

	for (size_t k = 0; k < host->address_count; k++) {
		char text[NETADDR_TEXT_MAX];
		int added;

		if (host->addresses[k].family == NETADDR_NONE)
			continue;
		added = snprintf(addresses + n, sizeof(addresses) - n, " %s",
		    netaddr_format(&host->addresses[k], text));
		if (added > 0 && (size_t)added < sizeof(addresses) - n)
			n += (size_t)added;
	}
	if (plan->target.kind == ROUTE_MX)
		add_fact(q, "mx", "%u %s%s", host->preference, host->name,
		    addresses);
	else
		add_fact(q, "host", "%s%s", host->name, addresses);
	add_fact(q, "tls", "%s: %s (%s)", host->name,
	    tls_level_name(host->tls.level), host->tls.why);
}

static void
test_planned(void *arg, struct plan *plan)
{
	struct relay_question *q = arg;

	q->making = NULL;
	for (size_t i = 0; i < plan->host_count && i < MX_TRIED_MAX; i++)
		add_host(q, plan, i);
	if (plan->verdict != PLAN_OK)
		add_fact(q, plan->verdict == PLAN_FAIL ? "refused" : "put off",
		    "%s%s%s", plan->enhanced, plan->enhanced[0] ? " " : "",
		    plan->text);
	plan_release(plan);
	answer_test(q, "");
}

static void
add_rule(struct relay_question *q)
{
	static const char *const sources[] = {
	    [ROUTE_OF_DOMAIN] = "domain of ours",
	    [ROUTE_OF_TABLE] = "route",
	    [ROUTE_DEFAULT] = "default",
	};
	char target[ROUTE_TARGET_TEXT_MAX];

	add_fact(q, "address", "%s", q->address);
	add_fact(q, "rule", "%s%s%s", sources[q->match.source],
	    q->match.rule[0] != '\0' ? " " : "", q->match.rule);
	add_fact(
	    q, "target", "%s", route_target_format(q->match.target, target));
	if (q->match.user[0] != '\0')
		add_fact(q, "login", "%s", q->match.user);
}

int
relay_on_route_test(struct channel *channel, const struct channel_frame *frame)
{
	struct relay_question *q = new_question(channel, frame->request_id);
	const struct settings *settings = daemon_settings(q->relayd->daemon);
	enum tls_level level = TLS_LEVEL_DANE;
	struct plan_making *making;
	struct err err;

	ipc_list_writer_init(&q->facts, FACTS_MAX);
	if (read_domain(frame->message->route_test.address, q->domain,
		q->address, &err) == -1 ||
	    route_find(q->relayd->routes, slice_of(q->address), &q->match,
		&err) == -1) {
		answer_test(q, err.text);
		return 0;
	}
	add_rule(q);
	(void)tls_level_parse(slice_of(settings->relay_tls), &level);
	(void)tls_level_parse(slice_of(q->match.tls), &level);
	making = plan_make(pool_plan_maker(q->relayd->pool), q->match.target,
	    q->domain, level, q->match.user[0] != '\0', test_planned, q);
	/* NULL: it was answered already, and q is gone. */
	if (making != NULL)
		q->making = making;
	return 0;
}
