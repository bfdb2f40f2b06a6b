/* SPDX-License-Identifier: ISC */
/*
 * Connections of the pool: opening them, and what comes of a mail that was
 * sent over one, or could not be.
 * Runs in: postern-relayd.  Trusts: its own plans; nothing that servers say.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "relay/pool_parts.h"

/* ---- after a mail ---- */

static uint32_t
host_candidates(const struct plan *plan, size_t host)
{
	uint32_t set = 0;

	for (size_t i = 0; i < plan->candidate_count; i++) {
		if (plan->candidates[i].host == host)
			set |= 1u << i;
	}
	return set;
}

static bool
has_untried(const struct pool_job *job)
{
	return job->plan != NULL &&
	       job->tried != (1u << job->plan->candidate_count) - 1;
}

/* Another server is asked: those who are settled by now were by this one. */
static void
try_another(struct pool_job *job)
{
	size_t count = job->earlier_count;

	for (size_t i = 0; i < job->mail.recipient_count; i++) {
		struct client_recipient *r = &job->mail.recipients[i];

		if (!r->is_settled || r->decider != 0)
			continue;
		r->decider = count + 1;
		if (job->earlier_count > count)
			continue;
		job->earlier =
		    xrealloc(job->earlier, (count + 1) * sizeof(*job->earlier));
		job->earlier[job->earlier_count++] = job->server;
	}
	pool_put_in_front(job);
}

/*
 * Recipients that this server puts off are tried at the next host, if there is
 * one (RFC 5321 §5.1); what the last one says stands.
 */
static void
after_mail(struct pool_job *job, const struct pool_connection *c)
{
	size_t host = c->plan->candidates[c->candidate].host;
	bool is_again = false;

	if (job->plan == c->plan)
		job->tried |= host_candidates(c->plan, host);
	if (has_untried(job) && job->plan == c->plan && !job->mail.is_callout &&
	    clock_monotonic_ms() < job->mail.deadline_ms) {
		for (size_t i = 0; i < job->mail.recipient_count; i++) {
			struct client_recipient *r = &job->mail.recipients[i];

			if (r->outcome != OUTCOME_DEFERRED || !r->is_settled)
				continue;
			r->is_settled = false;
			pool_set_reason(job, r->code, r->enhanced,
			    r->reply != NULL ? r->reply : "");
			is_again = true;
		}
	}
	if (is_again)
		try_another(job);
	else
		pool_complete(job, OUTCOME_DEFERRED);
}

/* ---- connections ---- */

static void
set_idle(struct pool_connection *c, bool is_idle)
{
	struct pool *pool = c->destination->pool;

	if (c->is_idle == is_idle)
		return;
	c->is_idle = is_idle;
	if (!is_idle) {
		TAILQ_REMOVE(&pool->idle, c, idle_link);
		pool->numbers.idle--;
		return;
	}
	c->idle_since_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&pool->idle, c, idle_link);
	pool->numbers.idle++;
}

void
pool_connection_free(struct pool_connection *c, bool is_polite)
{
	struct pool_destination *d = c->destination;

	set_idle(c, false);
	TAILQ_REMOVE(&d->connections, c, link);
	d->connection_count--;
	d->pool->numbers.connections--;
	if (is_polite)
		client_quit(c->client);
	else
		client_free(c->client);
	plan_release(c->plan);
	free(c);
	pool_touch(d);
}

static void
describe(struct pool_job *job, const struct pool_connection *c)
{
	const struct plan_candidate *candidate =
	    &c->plan->candidates[c->candidate];

	(void)snprintf(job->server.host, sizeof(job->server.host), "%s",
	    c->plan->hosts[candidate->host].name);
	job->server.address[0] = '\0';
	if (candidate->address.family != NETADDR_NONE)
		(void)netaddr_format(&candidate->address, job->server.address);
	if (c->client != NULL)
		(void)client_tls_words(
		    c->client, job->server.tls, sizeof(job->server.tls));
}

void
pool_connection_send(struct pool_connection *c, struct pool_job *job)
{
	set_idle(c, false);
	c->job = job;
	c->is_sending = true;
	c->mails++;
	job->connection = c;
	if (job->plan == NULL)
		job->plan = plan_keep(c->plan);
	job->may_be_up = true;
	describe(job, c);
	client_send(c->client, &job->mail);
}

static void
on_ready(void *arg)
{
	struct pool_connection *c = arg;

	if (c->job != NULL) {
		pool_connection_send(c, c->job);
		return;
	}
	/* Its job was cancelled meanwhile. */
	set_idle(c, true);
	pool_touch(c->destination);
}

static void
on_done(void *arg, bool is_reusable)
{
	struct pool_connection *c = arg;
	struct pool_job *job = c->job;

	if (!is_reusable)
		return; /* on_ended() is next, and knows why */
	c->job = NULL;
	c->is_sending = false;
	set_idle(c, true);
	pool_touch(c->destination);
	after_mail(job, c);
}

/* The session ended while a mail was on its way. */
static void
mail_broken_off(struct pool_connection *c, const struct client_end *end)
{
	struct pool_job *job = c->job;

	describe(job, c);
	if (!job->mail.was_answered && c->mails > 1 &&
	    clock_monotonic_ms() < job->mail.deadline_ms) {
		/* It had grown old and was closed: no fault of the mail. */
		pool_put_in_front(job);
		return;
	}
	if (job->mail.was_dot_sent)
		pool_set_reason(job, 0, "4.4.2",
		    "the connection ended after the message was sent, before "
		    "the server's answer");
	else
		pool_set_reason(job, end->code, end->enhanced, end->text);
	if (!pool_has_open_recipients(job))
		after_mail(job, c);
	else if (job->mail.was_dot_sent || job->plan != c->plan)
		pool_complete(job, OUTCOME_DEFERRED);
	else {
		job->tried |= 1u << c->candidate;
		if (has_untried(job) && !job->mail.is_callout)
			try_another(job);
		else
			pool_complete(job, OUTCOME_DEFERRED);
	}
}

/* The session ended before it could take its first mail. */
static void
opening_failed(struct pool_connection *c, const struct client_end *end)
{
	struct pool_destination *d = c->destination;
	struct pool_job *job = c->job;

	if (end->is_tls_failure && c->tls.action == TLS_MAY) {
		c->plan->candidates[c->candidate].is_tls_broken = true;
		pool_put_in_front(job);
		return;
	}
	describe(job, c);
	pool_set_reason(job, end->code, end->enhanced, end->text);
	job->may_be_up = job->may_be_up || end->is_reached;
	if (end->is_loop) {
		pool_complete(job, OUTCOME_FAILED);
		return;
	}
	job->tried |= 1u << c->candidate;
	if (d->plan == c->plan)
		d->failed_ms[c->candidate] = clock_monotonic_ms();
	pool_put_in_front(job);
}

static void
on_ended(void *arg, const struct client_end *end)
{
	struct pool_connection *c = arg;
	bool was_sending = c->is_sending;
	struct pool_job *job = c->job;

	/* Off the list first: what follows may look for connections. */
	if (job != NULL) {
		if (was_sending)
			mail_broken_off(c, end);
		else
			opening_failed(c, end);
	}
	pool_connection_free(c, false);
}

static const struct client_events client_handlers = {
    .ready = on_ready, .done = on_done, .ended = on_ended};

/* A socket that connects; -1 with errno. */
static int
start_connect(const struct plan *plan, const struct plan_candidate *candidate,
    uint16_t mx_port)
{
	struct sockaddr_storage sa = {0};
	struct sockaddr_un *path = (struct sockaddr_un *)&sa;
	uint16_t port =
	    plan->target.kind == ROUTE_MX ? mx_port : plan->target.port;
	socklen_t size = sizeof(*path);
	int fd;
	int saved_errno;

	if (candidate->address.family == NETADDR_NONE) {
		path->sun_family = AF_UNIX;
		(void)slice_copy(slice_of(plan->target.path), path->sun_path,
		    sizeof(path->sun_path));
	} else {
		size = netaddr_to_sockaddr(&candidate->address, port, &sa);
	}
	fd =
	    socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1 || connect(fd, (struct sockaddr *)&sa, size) == 0 ||
	    errno == EINPROGRESS)
		return fd;
	saved_errno = errno;
	close_if_open(&fd);
	errno = saved_errno;
	return -1;
}

/* -1: TLS cannot be set up, in words. */
static int
prepare_tls(struct pool_connection *c, SSL **ssl_r, struct err *err)
{
	struct pool *pool = c->destination->pool;
	const struct plan_candidate *candidate =
	    &c->plan->candidates[c->candidate];
	const struct plan_host *host = &c->plan->hosts[candidate->host];
	const char *names[] = {host->name, c->plan->domain};
	size_t usable = 0;

	*ssl_r = NULL;
	c->tls = host->tls;
	if (candidate->is_tls_broken && c->tls.action == TLS_MAY) {
		c->tls.action = TLS_PLAIN;
		c->tls.why = "STARTTLS does not work there";
	}
	if (c->tls.action == TLS_PLAIN)
		return 0;
	if (pool->settings.tls == NULL)
		return err_set(err, "TLS could not be set up on this host");
	*ssl_r = tls_client_connect(pool->settings.tls, host->tls_name, names,
	    c->plan->target.kind == ROUTE_MX && c->plan->domain[0] != '[' ? 2
									  : 1,
	    c->tls.check, host->records, host->record_count, &usable, err);
	if (*ssl_r == NULL)
		return -1;
	if (c->tls.check == TLS_CHECK_DANE && usable == 0) {
		c->tls.check = TLS_CHECK_NONE;
		c->tls.why = "no usable TLSA record";
	}
	return 0;
}

/* This host has not what a connection takes. */
static bool
is_our_fault(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM ||
	       error == ENOBUFS;
}

void
pool_connection_open(struct pool_job *job, size_t candidate)
{
	struct pool_destination *d = job->destination;
	struct pool *pool = d->pool;
	struct pool_connection *c = xcalloc(1, sizeof(*c));
	struct client_config config;
	struct err err = {""};
	SSL *ssl = NULL;
	int fd = -1;

	c->destination = d;
	c->plan = plan_keep(job->plan);
	c->candidate = candidate;
	if (prepare_tls(c, &ssl, &err) == -1) {
		job->may_be_up = true;
	} else if ((fd = start_connect(c->plan, &c->plan->candidates[candidate],
			pool->settings.mx_port)) == -1) {
		if (is_our_fault(errno))
			job->may_be_up = true;
		err_set(&err, "connect: %s", strerror(errno));
	}
	if (fd == -1) {
		SSL_free(ssl);
		describe(job, c);
		pool_set_reason(job, 0, "4.4.1", err.text);
		job->tried |= 1u << candidate;
		plan_release(c->plan);
		free(c);
		pool_put_in_front(job);
		return;
	}
	config = (struct client_config){.loop = pool->loop,
	    .events = &client_handlers,
	    .arg = c,
	    .own_name = pool->own_name,
	    .host = c->plan->hosts[c->plan->candidates[candidate].host].name,
	    .is_lmtp = d->target.kind == ROUTE_LMTP ||
		       d->target.kind == ROUTE_LMTP_UNIX,
	    .is_own_name_a_loop =
		d->target.kind == ROUTE_MX && !pool->settings.may_be_local,
	    .tls = c->tls,
	    .ssl = ssl,
	    .user = d->user,
	    .password = d->password,
	    .connect_ms = pool->settings.connect_ms,
	    .command_ms = pool->settings.command_ms,
	    .dot_ms = pool->settings.dot_ms};
	c->job = job;
	job->connection = c;
	TAILQ_INSERT_TAIL(&d->connections, c, link);
	d->connection_count++;
	pool->numbers.connections++;
	c->client = client_new(&config, fd);
}
