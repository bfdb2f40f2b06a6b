/* SPDX-License-Identifier: ISC */
/*
 * One question of postern-signerd: from an address or a URL to octets.
 *
 * Names are resolved by postern-checkd; each address is checked before it is
 * connected to, also that of each redirect, so that neither a certificate nor
 * a web server of a stranger makes us ask this host or its neighbours.
 *
 * Runs in: postern-fetchd.  Trusts: nothing that comes from outside; signerd
 * for what is asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/netaddr.h"
#include "common/vocabulary.h"
#include "signer/fetchd.h"

/* A key with its signatures is a few thousand octets. */
#define KEY_LIMIT ((size_t)256 * 1024)
/* A message's limit; those of large authorities have 10 MB. */
#define CRL_LIMIT ((size_t)IPC_CRL_MAX)

#define JOBS_MAX 32
#define REDIRECTS_MAX 3
#define DNS_DEADLINE_MS 12000
#define GET_TIMEOUT_MS 20000
#define GET_CRL_TIMEOUT_MS 60000

#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 28

enum fetch_kind { FETCH_WKD, FETCH_VKS, FETCH_CRL, FETCH_KIND_COUNT };

static const char *const kind_names[FETCH_KIND_COUNT] = {
    [FETCH_WKD] = "wkd", [FETCH_VKS] = "vks", [FETCH_CRL] = "crl"};

struct fetch_job {
	struct fetchd *fetchd;
	struct fetch_job *next;
	struct fetch_job **previous;
	struct channel *channel; /* NULL: nobody waits any more */
	uint64_t request_id;
	enum fetch_kind kind;
	char what[1025];
	bool is_direct; /* the second way of WKD */
	unsigned redirects;
	char url[FETCH_URL_MAX];
	struct fetch_target target;
	uint64_t questions[2]; /* to checkd; 0: answered */
	struct channel *dns;
	bool has_dns_failed;
	bool has_private; /* an address that is not asked */
	struct netaddr addresses[FETCH_ADDRESSES_MAX];
	size_t address_count;
	struct web_request *request;
	struct loop_task next_step; /* not within another's answer */
};

static void start(struct fetch_job *job);

/* ---- the end ---- */

static void
job_free(struct fetch_job *job)
{
	for (size_t i = 0; i < 2; i++)
		if (job->questions[i] != 0)
			channel_forget(job->dns, job->questions[i]);
	web_cancel(job->request);
	loop_task_cancel(daemon_loop(job->fetchd->daemon), &job->next_step);
	*job->previous = job->next;
	if (job->next != NULL)
		job->next->previous = job->previous;
	job->fetchd->job_count--;
	free(job);
}

static void
answer(struct fetch_job *job, const struct ipc_fetched *fetched)
{
	if (fetched->is_found)
		job->fetchd->found++;
	else if (!fetched->is_final)
		job->fetchd->failed++;
	if (job->channel != NULL)
		(void)channel_answer(
		    job->channel, job->request_id, MSG_FETCHED, fetched);
	job_free(job);
}

static void
give_up(struct fetch_job *job, bool is_final, const char *reason)
{
	const struct ipc_fetched fetched = {.is_final = is_final,
	    .reason = {reason, strnlen(reason, 255)},
	    .source = slice_of(job->url)};

	log_notice(
	    "no %s for %s: %s", kind_names[job->kind], job->what, reason);
	answer(job, &fetched);
}

/* ---- from the web ---- */

static void
follow(struct fetch_job *job, const char *location)
{
	struct fetch_target target;
	struct err err;

	if (++job->redirects > REDIRECTS_MAX)
		give_up(job, true, "too many redirects");
	else if (fetch_url_parse(location, &target, &err) == -1 ||
		 slice_copy(slice_of(location), job->url, sizeof(job->url)) ==
		     -1)
		give_up(job, true, "a redirect that is not followed");
	else if (job->target.is_https && !target.is_https)
		give_up(job, true, "a redirect away from https");
	else
		start(job);
}

static void
on_web(void *arg, const struct web_answer *got)
{
	struct fetch_job *job = arg;
	char reason[256];

	job->request = NULL;
	if (got->is_too_large) {
		give_up(job, true, "it is too large");
	} else if (got->status == 0) {
		(void)snprintf(reason, sizeof(reason), "%s", got->reason);
		give_up(job, false, reason);
	} else if (got->status >= 300 && got->status < 400 &&
		   got->location != NULL) {
		follow(job, got->location);
	} else if (got->status == 200 && got->body.n > 0) {
		const struct ipc_fetched fetched = {.is_found = true,
		    .is_final = true,
		    .source = slice_of(job->url),
		    .content = got->body};

		answer(job, &fetched);
	} else {
		/* Servers that are in trouble say so; the others have none. */
		(void)snprintf(
		    reason, sizeof(reason), "the server said %d", got->status);
		give_up(job, got->status < 500 && got->status != 429, reason);
	}
}

static void
get(struct fetch_job *job)
{
	const struct settings *settings = daemon_settings(job->fetchd->daemon);
	const struct web_question question = {.url = job->url,
	    .target = &job->target,
	    .addresses = job->addresses,
	    .address_count = job->address_count,
	    .ca_file = settings->fetch_ca_file,
	    .limit = job->kind == FETCH_CRL ? CRL_LIMIT : KEY_LIMIT,
	    .timeout_ms = job->kind == FETCH_CRL ? GET_CRL_TIMEOUT_MS
						 : GET_TIMEOUT_MS};

	job->request = web_get(job->fetchd->web, &question, on_web, job);
}

/* ---- addresses ---- */

static void
add_address(struct fetch_job *job, const struct netaddr *address)
{
	const struct settings *settings = daemon_settings(job->fetchd->daemon);

	if (!fetch_address_is_public(address) && !settings->fetch_allow_private)
		job->has_private = true;
	else if (job->address_count < FETCH_ADDRESSES_MAX)
		job->addresses[job->address_count++] = *address;
}

/* By way of sockaddr: ::ffff:127.0.0.1 is 127.0.0.1 and counts as that. */
static void
add_record(struct fetch_job *job, const struct ipc_record_rr *rr)
{
	struct netaddr address = {.family = NETADDR_NONE};
	struct sockaddr_storage sa;
	socklen_t n;

	if (rr->type == DNS_TYPE_A && rr->data.n == 4)
		address.family = NETADDR_IPV4;
	else if (rr->type == DNS_TYPE_AAAA && rr->data.n == 16)
		address.family = NETADDR_IPV6;
	else
		return;
	memcpy(address.bytes, rr->data.p, rr->data.n);
	n = netaddr_to_sockaddr(&address, job->target.port, &sa);
	if (netaddr_from_sockaddr((struct sockaddr *)&sa, n, &address, NULL) ==
	    0)
		add_address(job, &address);
}

/* The domain has no web server for keys: the other way, or none. */
static void
no_such_host(struct fetch_job *job)
{
	const uint16_t port =
	    (uint16_t)daemon_settings(job->fetchd->daemon)->fetch_port;

	if (job->kind != FETCH_WKD || job->is_direct || job->redirects > 0) {
		give_up(job, true, "there is no such host");
		return;
	}
	job->is_direct = true;
	if (fetch_url_wkd(FETCH_WKD_DIRECT, slice_of(job->what), port, job->url,
		NULL) == -1)
		give_up(job, true, "the address has no domain");
	else
		start(job);
}

static void
resolved(struct fetch_job *job)
{
	if (job->address_count > 0)
		get(job);
	else if (job->has_private)
		give_up(job, true, "the host is in a private network");
	else if (job->has_dns_failed)
		give_up(job, false, "its address cannot be found out now");
	else
		no_such_host(job);
}

static void
run_resolved(void *arg)
{
	resolved(arg);
}

static void
on_dns(struct fetch_job *job, size_t which, const struct channel_frame *frame)
{
	const struct ipc_dns_answer *got =
	    frame == NULL ? NULL : &frame->message->dns_answer;
	struct ipc_record_rr rr;
	struct ipc_list list;

	job->questions[which] = 0;
	if (got == NULL || got->status == DNS_TEMPORARY ||
	    got->status == DNS_BOGUS || got->status >= DNS_STATUS_COUNT) {
		job->has_dns_failed = true;
	} else if (got->status == DNS_OK) {
		list = got->records;
		while (ipc_rr_next(&list, &rr))
			add_record(job, &rr);
	}
	if (job->questions[0] == 0 && job->questions[1] == 0)
		loop_at_turn_end(
		    daemon_loop(job->fetchd->daemon), &job->next_step);
}

static void
on_a(void *arg, const struct channel_frame *frame)
{
	on_dns(arg, 0, frame);
}

static void
on_aaaa(void *arg, const struct channel_frame *frame)
{
	on_dns(arg, 1, frame);
}

static void
resolve(struct fetch_job *job)
{
	struct ipc_dns_query query = {
	    .name = slice_of(job->target.host), .type = DNS_TYPE_A};

	job->dns = link_channel(job->fetchd->checkd);
	if (job->dns != NULL) {
		job->questions[0] = channel_request(job->dns, MSG_DNS_QUERY,
		    &query, NULL, MSG_DNS_ANSWER, DNS_DEADLINE_MS, on_a, job);
		query.type = DNS_TYPE_AAAA;
		job->questions[1] =
		    channel_request(job->dns, MSG_DNS_QUERY, &query, NULL,
			MSG_DNS_ANSWER, DNS_DEADLINE_MS, on_aaaa, job);
	}
	if (job->questions[0] != 0 || job->questions[1] != 0)
		return;
	job->has_dns_failed = true;
	loop_at_turn_end(daemon_loop(job->fetchd->daemon), &job->next_step);
}

/* The URL is set. */
static void
start(struct fetch_job *job)
{
	struct err err;

	job->address_count = 0;
	job->has_private = false;
	job->has_dns_failed = false;
	if (fetch_url_parse(job->url, &job->target, &err) == -1) {
		give_up(job, true, err.text);
		return;
	}
	if (job->kind != FETCH_CRL && !job->target.is_https) {
		give_up(job, true, "keys are fetched by https alone");
		return;
	}
	if (job->target.literal.family == NETADDR_NONE) {
		resolve(job);
		return;
	}
	add_address(job, &job->target.literal);
	loop_at_turn_end(daemon_loop(job->fetchd->daemon), &job->next_step);
}

/* ---- the question ---- */

static int
first_url(struct fetch_job *job, struct err *err)
{
	const struct settings *s = daemon_settings(job->fetchd->daemon);
	const struct slice what = slice_of(job->what);

	if (job->kind == FETCH_WKD && !s->fetch_wkd)
		return err_set(err, "fetch.wkd is off");
	if (job->kind == FETCH_VKS && s->fetch_vks[0] == '\0')
		return err_set(err, "fetch.vks names no server");
	if (job->kind == FETCH_CRL && !s->fetch_crl)
		return err_set(err, "fetch.crl is off");
	if (job->kind == FETCH_WKD)
		return fetch_url_wkd(FETCH_WKD_ADVANCED, what,
		    (uint16_t)s->fetch_port, job->url, err);
	if (job->kind == FETCH_VKS)
		return fetch_url_vks(s->fetch_vks, what, job->url, err);
	return slice_copy(what, job->url, sizeof(job->url)) == -1
		   ? err_set(err, "the URL is too long")
		   : 0;
}

static enum fetch_kind
kind_by_name(struct slice name)
{
	int kind = 0;

	while (kind < FETCH_KIND_COUNT &&
	       !slice_equals(name, slice_of(kind_names[kind])))
		kind++;
	return (enum fetch_kind)kind;
}

static struct fetch_job *
job_new(struct fetchd *fetchd, struct channel *channel,
    const struct channel_frame *frame)
{
	struct fetch_job *job = xcalloc(1, sizeof(*job));

	job->fetchd = fetchd;
	job->channel = channel;
	job->request_id = frame->request_id;
	job->next_step = (struct loop_task){.run = run_resolved, .arg = job};
	job->next = fetchd->jobs;
	if (job->next != NULL)
		job->next->previous = &job->next;
	job->previous = &fetchd->jobs;
	fetchd->jobs = job;
	fetchd->job_count++;
	return job;
}

int
fetch_on_fetch(struct channel *channel, const struct channel_frame *frame)
{
	struct fetchd *fetchd = daemon_state(channel_daemon(channel));
	const struct ipc_fetch *fetch = &frame->message->fetch;
	enum fetch_kind kind = kind_by_name(fetch->kind);
	struct fetch_job *job;
	struct err err;

	if (kind == FETCH_KIND_COUNT)
		return -1;
	fetchd->asked++;
	job = job_new(fetchd, channel, frame);
	job->kind = kind;
	if (slice_copy(fetch->what, job->what, sizeof(job->what)) == -1)
		give_up(job, true, "what is asked for is too long");
	else if (fetchd->job_count > JOBS_MAX)
		give_up(job, false, "too much is asked for at once");
	else if (first_url(job, &err) == -1)
		give_up(job, true, err.text);
	else
		start(job);
	return 0;
}

void
fetch_drop_channel(struct fetchd *fetchd, const struct channel *channel)
{
	for (struct fetch_job *job = fetchd->jobs; job != NULL; job = job->next)
		if (job->channel == channel)
			job->channel = NULL;
}
