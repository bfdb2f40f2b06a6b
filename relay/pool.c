/* SPDX-License-Identifier: ISC */
/*
 * Destinations, their connections and the mails that wait for them.
 * Runs in: postern-relayd.  Trusts: its own plans; nothing that servers say.
 *
 * All starting of mails is done at the end of a turn, from a list of
 * destinations that have changed: so events of clients never call each other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "relay/pool.h"

/* Idle connections, and deadlines of waiting mails, are looked at this often. */
#define SWEEP_MS 1000
/* More than this are not kept: descriptors are finite, destinations are not. */
#define IDLE_MAX 500
/* A server that did not answer is tried last for this long. */
#define FAILED_MS 60000
/* A connection is not used for ever: load balancers, rotated certificates. */
#define MAILS_MAX 1000

TAILQ_HEAD(job_list, pool_job);
TAILQ_HEAD(connection_list, pool_connection);

struct pool_connection {
	TAILQ_ENTRY(pool_connection) link;      /* of its destination */
	TAILQ_ENTRY(pool_connection) idle_link; /* of the pool, oldest first */
	struct pool_destination *destination;
	struct client *client;
	struct plan *plan;
	size_t candidate;
	struct tls_decision tls;
	struct pool_job *job; /* NULL: idle */
	bool is_sending;      /* the job's mail was handed to the client */
	bool is_idle;
	unsigned mails; /* sent over it, the current one included */
	uint64_t idle_since_ms;
};

struct pool_destination {
	LIST_ENTRY(pool_destination) link;
	TAILQ_ENTRY(pool_destination) dirty_link;
	struct pool *pool;
	char *key;
	struct route_target target;
	char *domain;
	enum tls_level level;
	char *user;
	char *password;
	struct plan *plan;
	struct plan_making *making;
	uint64_t failed_ms[PLAN_CANDIDATES_MAX]; /* of the plan in force */
	struct job_list waiting;
	struct connection_list connections;
	unsigned connection_count;
	unsigned job_count;
	bool is_dirty;
	bool is_retired; /* of earlier settings: ends with its jobs */
};

LIST_HEAD(destination_list, pool_destination);
TAILQ_HEAD(dirty_list, pool_destination);

#define BUCKETS 1024u

struct pool {
	struct loop *loop;
	struct plan_maker maker;
	struct pool_settings settings;
	char *own_name;
	struct destination_list buckets[BUCKETS];
	struct destination_list retired;
	struct dirty_list dirty;
	struct connection_list idle;
	struct loop_task task;
	struct event *sweep;
	struct pool_numbers numbers;
};

static void run_dirty(void *arg);
static void on_sweep(int fd, short what, void *arg);

/* ---- destinations ---- */

static struct destination_list *
bucket_of(struct pool *pool, const char *key)
{
	uint64_t h = 14695981039346656037u;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211u;
	return &pool->buckets[(h ^ h >> 32) % BUCKETS];
}

/* It is looked at again at the end of this turn. */
static void
touch(struct pool_destination *d)
{
	struct pool *pool = d->pool;

	if (!d->is_dirty) {
		d->is_dirty = true;
		TAILQ_INSERT_TAIL(&pool->dirty, d, dirty_link);
	}
	loop_at_turn_end(pool->loop, &pool->task);
}

static struct pool_destination *
find_destination(struct pool *pool, const struct route_match *match,
    const char *domain)
{
	char key[ROUTE_KEY_MAX];
	struct destination_list *bucket =
	    bucket_of(pool, route_key(match, domain, key));
	struct pool_destination *d;

	LIST_FOREACH(d, bucket, link) {
		if (strcmp(d->key, key) == 0)
			return d;
	}
	d = xcalloc(1, sizeof(*d));
	d->pool = pool;
	d->key = xstrdup(key);
	d->target = *match->target;
	d->domain = xstrdup(domain);
	d->level = pool->settings.default_level;
	(void)tls_level_parse(slice_of(match->tls), &d->level);
	d->user = xstrdup(match->user);
	d->password = xstrdup(match->password);
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->connections);
	LIST_INSERT_HEAD(bucket, d, link);
	pool->numbers.destinations++;
	return d;
}

static void
free_destination(struct pool_destination *d)
{
	struct pool *pool = d->pool;

	if (d->is_dirty)
		TAILQ_REMOVE(&pool->dirty, d, dirty_link);
	LIST_REMOVE(d, link);
	plan_cancel(d->making);
	plan_release(d->plan);
	free(d->key);
	free(d->domain);
	free(d->user);
	explicit_bzero(d->password, strlen(d->password));
	free(d->password);
	free(d);
	pool->numbers.destinations--;
}

/* ---- jobs ---- */

static void
put_in_front(struct pool_job *job)
{
	struct pool_destination *d = job->destination;

	job->connection = NULL;
	TAILQ_INSERT_HEAD(&d->waiting, job, link);
	d->pool->numbers.waiting++;
	touch(d);
}

static void
take_out(struct pool_job *job)
{
	TAILQ_REMOVE(&job->destination->waiting, job, link);
	job->destination->pool->numbers.waiting--;
}

static void
set_reason(struct pool_job *job, unsigned code, const char *enhanced,
    const char *text)
{
	job->code = code;
	(void)snprintf(job->enhanced, sizeof(job->enhanced), "%s", enhanced);
	(void)snprintf(job->text, sizeof(job->text), "%s", text);
}

static bool
has_open_recipients(const struct pool_job *job)
{
	for (size_t i = 0; i < job->mail.recipient_count; i++) {
		if (!job->mail.recipients[i].is_settled)
			return true;
	}
	return false;
}

/* What is not settled gets the latest reason.  The job must wait nowhere. */
static void
complete(struct pool_job *job, enum outcome outcome)
{
	struct pool_destination *d = job->destination;

	job->is_host_down = !job->was_reached &&
	    outcome == OUTCOME_DEFERRED && has_open_recipients(job);
	for (size_t i = 0; i < job->mail.recipient_count; i++)
		client_settle(&job->mail.recipients[i], outcome, job->code,
		    job->enhanced, job->text);
	plan_release(job->plan);
	job->plan = NULL;
	job->connection = NULL;
	d->job_count--;
	touch(d);
	job->done(job);
}

/* A dead destination: those who wait for it need not each find out. */
static void
complete_waiting(struct pool_destination *d, const struct pool_job *like)
{
	char text[SMTP_REPLY_SUMMARY_MAX];
	char enhanced[SMTP_ENHANCED_MAX];
	unsigned code = like->code;
	struct pool_job *job;
	unsigned count = 0;

	(void)snprintf(text, sizeof(text), "%s", like->text);
	(void)snprintf(enhanced, sizeof(enhanced), "%s", like->enhanced);
	TAILQ_FOREACH(job, &d->waiting, link)
		count++;
	/* What is submitted meanwhile is not of this list. */
	while (count-- > 0 && (job = TAILQ_FIRST(&d->waiting)) != NULL) {
		take_out(job);
		set_reason(job, code, enhanced, text);
		complete(job, OUTCOME_DEFERRED);
	}
}

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
	if (has_untried(job) && job->plan == c->plan &&
	    !job->mail.is_callout &&
	    clock_monotonic_ms() < job->mail.deadline_ms) {
		for (size_t i = 0; i < job->mail.recipient_count; i++) {
			struct client_recipient *r = &job->mail.recipients[i];

			if (r->outcome != OUTCOME_DEFERRED || !r->is_settled)
				continue;
			r->is_settled = false;
			set_reason(job, r->code, r->enhanced,
			    r->reply != NULL ? r->reply : "");
			is_again = true;
		}
	}
	if (is_again)
		put_in_front(job);
	else
		complete(job, OUTCOME_DEFERRED);
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

static void
free_connection(struct pool_connection *c, bool is_polite)
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
	touch(d);
}

static void
describe(struct pool_job *job, const struct pool_connection *c)
{
	const struct plan_candidate *candidate =
	    &c->plan->candidates[c->candidate];

	(void)snprintf(job->host, sizeof(job->host), "%s",
	    c->plan->hosts[candidate->host].name);
	job->address[0] = '\0';
	if (candidate->address.family != NETADDR_NONE)
		(void)netaddr_format(&candidate->address, job->address);
	if (c->client != NULL)
		(void)client_tls_words(c->client, job->tls, sizeof(job->tls));
}

static void
send_job(struct pool_connection *c, struct pool_job *job)
{
	set_idle(c, false);
	c->job = job;
	c->is_sending = true;
	c->mails++;
	job->connection = c;
	if (job->plan == NULL)
		job->plan = plan_keep(c->plan);
	job->was_reached = true;
	describe(job, c);
	client_send(c->client, &job->mail);
}

static void
on_ready(void *arg)
{
	struct pool_connection *c = arg;

	if (c->job != NULL) {
		send_job(c, c->job);
		return;
	}
	/* Its job was cancelled meanwhile. */
	set_idle(c, true);
	touch(c->destination);
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
	touch(c->destination);
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
		put_in_front(job);
		return;
	}
	if (job->mail.was_dot_sent)
		set_reason(job, 0, "4.4.2",
		    "the connection ended after the message was sent, before "
		    "the server's answer");
	else
		set_reason(job, end->code, end->enhanced, end->text);
	if (!has_open_recipients(job))
		after_mail(job, c);
	else if (job->mail.was_dot_sent || job->plan != c->plan)
		complete(job, OUTCOME_DEFERRED);
	else {
		job->tried |= 1u << c->candidate;
		if (has_untried(job) && !job->mail.is_callout)
			put_in_front(job);
		else
			complete(job, OUTCOME_DEFERRED);
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
		put_in_front(job);
		return;
	}
	describe(job, c);
	set_reason(job, end->code, end->enhanced, end->text);
	job->was_reached = job->was_reached || end->is_reached;
	if (end->is_loop) {
		complete(job, OUTCOME_FAILED);
		return;
	}
	job->tried |= 1u << c->candidate;
	if (d->plan == c->plan)
		d->failed_ms[c->candidate] = clock_monotonic_ms();
	put_in_front(job);
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
	free_connection(c, false);
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
	fd = socket(
	    sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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
	    c->plan->target.kind == ROUTE_MX && c->plan->domain[0] != '['
		? 2
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

/* Opens the candidate for the job, which is on no list. */
static void
open_connection(struct pool_job *job, size_t candidate)
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
	if (prepare_tls(c, &ssl, &err) == 0 &&
	    (fd = start_connect(
		 c->plan, &c->plan->candidates[candidate], pool->settings.mx_port)) == -1)
		err_set(&err, "connect: %s", strerror(errno));
	if (fd == -1) {
		SSL_free(ssl);
		describe(job, c);
		set_reason(job, 0, "4.4.1", err.text);
		job->tried |= 1u << candidate;
		plan_release(c->plan);
		free(c);
		put_in_front(job);
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

/* ---- starting mails ---- */

static struct pool_connection *
idle_connection(const struct pool_destination *d, const struct pool_job *job)
{
	struct pool_connection *c;

	TAILQ_FOREACH(c, &d->connections, link) {
		if (!c->is_idle)
			continue;
		if (job->tried == 0 ||
		    (job->plan == c->plan &&
			(job->tried & 1u << c->candidate) == 0))
			return c;
	}
	return NULL;
}

/*
 * The next address to try: in order, but those that failed a moment ago last.
 * The count when all were tried.
 */
static size_t
next_candidate(const struct pool_destination *d, const struct pool_job *job)
{
	const struct plan *plan = job->plan;
	uint64_t now = clock_monotonic_ms();
	size_t late = plan->candidate_count;

	for (size_t i = 0; i < plan->candidate_count; i++) {
		if ((job->tried & 1u << i) != 0)
			continue;
		if (plan != d->plan || d->failed_ms[i] == 0 ||
		    now - d->failed_ms[i] > FAILED_MS)
			return i;
		if (late == plan->candidate_count)
			late = i;
	}
	return late;
}

static void
on_plan(void *arg, struct plan *plan)
{
	struct pool_destination *d = arg;

	d->making = NULL;
	plan_release(d->plan);
	d->plan = plan;
	memset(d->failed_ms, 0, sizeof(d->failed_ms));
	touch(d);
}

/* Whether the destination has a plan; if not, one is being made. */
static bool
has_plan(struct pool_destination *d)
{
	struct plan_making *making;

	if (d->making != NULL)
		return false;
	if (d->plan != NULL && clock_monotonic_ms() < d->plan->expires_ms)
		return true;
	making = plan_make(&d->pool->maker, &d->target, d->domain, d->level,
	    d->user[0] != '\0', on_plan, d);
	/* NULL: on_plan() was called already. */
	d->making = making;
	return making == NULL;
}

static void
fail_by_plan(struct pool_job *job, const struct plan *plan)
{
	set_reason(job, plan->code, plan->enhanced, plan->text);
	complete(job,
	    plan->verdict == PLAN_FAIL ? OUTCOME_FAILED : OUTCOME_DEFERRED);
}

/* A new connection for the job; false: it has to wait. */
static bool
start_opening(struct pool_job *job)
{
	struct pool_destination *d = job->destination;
	size_t candidate;

	if (clock_monotonic_ms() >= job->mail.deadline_ms)
		return false; /* the sweep ends it */
	if (job->plan == NULL) {
		if (!has_plan(d))
			return false;
		if (d->plan->verdict != PLAN_OK) {
			take_out(job);
			fail_by_plan(job, d->plan);
			return true;
		}
	}
	if (d->connection_count >= d->pool->settings.connections)
		return false;
	if (job->plan == NULL)
		job->plan = plan_keep(d->plan);
	candidate = next_candidate(d, job);
	take_out(job);
	if (candidate < job->plan->candidate_count) {
		open_connection(job, candidate);
		return true;
	}
	if (!job->was_reached && d->connection_count == 0)
		complete_waiting(d, job);
	complete(job, OUTCOME_DEFERRED);
	return true;
}

static void
drop_idle(struct pool_destination *d)
{
	struct pool_connection *c;
	struct pool_connection *next;

	for (c = TAILQ_FIRST(&d->connections); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->is_idle)
			free_connection(c, true);
	}
}

static void
run_destination(struct pool_destination *d)
{
	struct pool_job *job;

	while ((job = TAILQ_FIRST(&d->waiting)) != NULL) {
		struct pool_connection *c = idle_connection(d, job);

		if (c != NULL && c->mails >= MAILS_MAX) {
			free_connection(c, true);
		} else if (c != NULL) {
			take_out(job);
			send_job(c, job);
		} else if (!start_opening(job)) {
			return;
		}
	}
	if (d->is_retired || d->pool->settings.idle_ms == 0)
		drop_idle(d);
}

static bool
is_of_no_use(const struct pool_destination *d)
{
	return d->job_count == 0 && d->connection_count == 0 &&
	    d->making == NULL &&
	    (d->is_retired || d->plan == NULL ||
		clock_monotonic_ms() >= d->plan->expires_ms);
}

/*
 * The list as it is now; what is added meanwhile has its turn in the same
 * task, which loop_at_turn_end() runs again.
 */
static void
run_dirty(void *arg)
{
	struct pool *pool = arg;
	struct pool_destination *d;

	while ((d = TAILQ_FIRST(&pool->dirty)) != NULL) {
		TAILQ_REMOVE(&pool->dirty, d, dirty_link);
		d->is_dirty = false;
		run_destination(d);
		if (!d->is_dirty && is_of_no_use(d))
			free_destination(d);
	}
	while (pool->numbers.idle > IDLE_MAX)
		free_connection(TAILQ_FIRST(&pool->idle), true);
	if (pool->numbers.destinations > 0 &&
	    !evtimer_pending(pool->sweep, NULL))
		loop_arm(pool->sweep, SWEEP_MS);
}

/* ---- now and then ---- */

static void
sweep_waiting(struct pool_destination *d, uint64_t now)
{
	struct pool_job *job;
	struct pool_job *next;

	for (job = TAILQ_FIRST(&d->waiting); job != NULL; job = next) {
		next = TAILQ_NEXT(job, link);
		if (now < job->mail.deadline_ms)
			continue;
		take_out(job);
		if (job->text[0] == '\0')
			set_reason(job, 0, "4.4.5",
			    "no connection was free for too long");
		/* Others are busy there, so it is not down. */
		job->was_reached = true;
		complete(job, OUTCOME_DEFERRED);
		next = TAILQ_FIRST(&d->waiting);
	}
}

static void
on_sweep(int fd, short what, void *arg)
{
	struct pool *pool = arg;
	uint64_t now = clock_monotonic_ms();
	struct pool_connection *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&pool->idle)) != NULL &&
	    now - c->idle_since_ms >= pool->settings.idle_ms)
		free_connection(c, true);
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct pool_destination *d;

		LIST_FOREACH(d, &pool->buckets[i], link) {
			sweep_waiting(d, now);
			if (is_of_no_use(d))
				touch(d);
		}
	}
	loop_at_turn_end(pool->loop, &pool->task);
}

/* ---- the pool ---- */

struct pool *
pool_new(struct loop *loop, struct link *checkd, const struct netaddr *own,
    size_t own_count)
{
	struct pool *pool = xcalloc(1, sizeof(*pool));

	pool->loop = loop;
	pool->maker = (struct plan_maker){
	    .checkd = checkd, .own = own, .own_count = own_count};
	pool->own_name = xstrdup("");
	for (unsigned i = 0; i < BUCKETS; i++)
		LIST_INIT(&pool->buckets[i]);
	LIST_INIT(&pool->retired);
	TAILQ_INIT(&pool->dirty);
	TAILQ_INIT(&pool->idle);
	pool->task = (struct loop_task){.run = run_dirty, .arg = pool};
	pool->sweep = evtimer_new(loop_base(loop), on_sweep, pool);
	if (pool->sweep == NULL)
		fatal("out of memory");
	return pool;
}

/* Every destination moves out of the table: new mail finds a new one. */
static void
retire_all(struct pool *pool)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct pool_destination *d;

		while ((d = LIST_FIRST(&pool->buckets[i])) != NULL) {
			LIST_REMOVE(d, link);
			LIST_INSERT_HEAD(&pool->retired, d, link);
			d->is_retired = true;
			touch(d);
		}
	}
}

void
pool_configure(struct pool *pool, const struct pool_settings *settings)
{
	char *own_name = xstrdup(settings->own_name);

	free(pool->own_name);
	pool->own_name = own_name;
	pool->settings = *settings;
	pool->settings.own_name = own_name;
	pool->maker.own_name = own_name;
	pool->maker.may_be_local = settings->may_be_local;
	pool->maker.mx_port = settings->mx_port;
	retire_all(pool);
}

static void
free_list(struct destination_list *list)
{
	struct pool_destination *d;

	while ((d = LIST_FIRST(list)) != NULL) {
		struct pool_connection *c;

		while ((c = TAILQ_FIRST(&d->connections)) != NULL)
			free_connection(c, c->is_idle);
		free_destination(d);
	}
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		free_list(&pool->buckets[i]);
	free_list(&pool->retired);
	loop_task_cancel(pool->loop, &pool->task);
	event_free(pool->sweep);
	free(pool->own_name);
	free(pool);
}

const struct plan_maker *
pool_plan_maker(const struct pool *pool)
{
	return &pool->maker;
}

void
pool_submit(struct pool *pool, struct pool_job *job,
    const struct route_match *match, const char *domain)
{
	struct pool_destination *d = find_destination(pool, match, domain);

	job->destination = d;
	job->connection = NULL;
	job->plan = NULL;
	job->tried = 0;
	job->was_reached = false;
	job->host[0] = job->address[0] = job->tls[0] = job->text[0] = '\0';
	d->job_count++;
	TAILQ_INSERT_TAIL(&d->waiting, job, link);
	pool->numbers.waiting++;
	touch(d);
}

void
pool_cancel(struct pool *pool, struct pool_job *job)
{
	struct pool_destination *d = job->destination;
	struct pool_connection *c = job->connection;

	(void)pool;
	if (c == NULL) {
		take_out(job);
	} else {
		c->job = NULL;
		if (c->is_sending)
			free_connection(c, false);
	}
	plan_release(job->plan);
	job->plan = NULL;
	d->job_count--;
	touch(d);
}

struct pool_numbers
pool_count(const struct pool *pool)
{
	return pool->numbers;
}
