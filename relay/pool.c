/* SPDX-License-Identifier: ISC */
/*
 * Destinations, their connections and the mails that wait for them.
 * Runs in: postern-relayd.  Trusts: its own plans; nothing that servers say.
 *
 * All starting of mails is done at the end of a turn, from a list of
 * destinations that have changed: so events of clients never call each other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/pool_parts.h"

/* Idle connections, and deadlines of waiting mails, are looked at this often.
 */
#define SWEEP_MS 1000
/* More than this are not kept: descriptors are finite, destinations are not. */
#define IDLE_MAX 500
/* A server that did not answer is tried last for this long. */
#define FAILED_MS 60000
/*
 * checkd is back within a second when it died, and mail is not put off by the
 * minutes of a schedule for that.  When it stays away, those whose servers are
 * known without it have a right to the places of those who wait.
 */
#define PATIENCE_MS 30000
/* A connection is not used for ever: load balancers, rotated certificates. */
#define MAILS_MAX 1000

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

void
pool_touch(struct pool_destination *d)
{
	struct pool *pool = d->pool;

	if (!d->is_dirty) {
		d->is_dirty = true;
		TAILQ_INSERT_TAIL(&pool->dirty, d, dirty_link);
	}
	loop_at_turn_end(pool->loop, &pool->task);
}

static struct pool_destination *
find_destination(
    struct pool *pool, const struct route_match *match, const char *domain)
{
	char key[ROUTE_KEY_MAX];
	struct destination_list *bucket =
	    bucket_of(pool, route_key(match, domain, key));
	struct pool_destination *d;

	LIST_FOREACH(d, bucket, link)
	{
		/* cppcheck-suppress uninitvar ; LIST_FOREACH sets it */
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

void
pool_put_in_front(struct pool_job *job)
{
	struct pool_destination *d = job->destination;

	job->connection = NULL;
	TAILQ_INSERT_HEAD(&d->waiting, job, link);
	d->pool->numbers.waiting++;
	pool_touch(d);
}

static void
take_out(struct pool_job *job)
{
	TAILQ_REMOVE(&job->destination->waiting, job, link);
	job->destination->pool->numbers.waiting--;
}

void
pool_set_reason(
    struct pool_job *job, unsigned code, const char *enhanced, const char *text)
{
	job->code = code;
	(void)snprintf(job->enhanced, sizeof(job->enhanced), "%s", enhanced);
	(void)snprintf(job->text, sizeof(job->text), "%s", text);
}

bool
pool_has_open_recipients(const struct pool_job *job)
{
	for (size_t i = 0; i < job->mail.recipient_count; i++) {
		if (!job->mail.recipients[i].is_settled)
			return true;
	}
	return false;
}

void
pool_complete(struct pool_job *job, enum outcome outcome)
{
	struct pool_destination *d = job->destination;

	job->is_host_down = !job->may_be_up && outcome == OUTCOME_DEFERRED &&
			    pool_has_open_recipients(job);
	for (size_t i = 0; i < job->mail.recipient_count; i++)
		client_settle(&job->mail.recipients[i], outcome, job->code,
		    job->enhanced, job->text);
	plan_release(job->plan);
	job->plan = NULL;
	job->connection = NULL;
	d->job_count--;
	pool_touch(d);
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
		pool_set_reason(job, code, enhanced, text);
		pool_complete(job, OUTCOME_DEFERRED);
	}
}

/* ---- starting mails ---- */

static struct pool_connection *
idle_connection(const struct pool_destination *d, const struct pool_job *job)
{
	struct pool_connection *c;

	TAILQ_FOREACH(c, &d->connections, link)
	{
		/* cppcheck-suppress uninitvar ; LIST_FOREACH sets it */
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
	pool_touch(d);
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

/* checkd is away: the sweep looks again, with every plan that expires. */
static bool
has_patience(struct pool_job *job, const struct plan *plan)
{
	if (!plan->is_our_fault || job->destination->pool->is_stopping ||
	    clock_monotonic_ms() >= job->patient_until_ms)
		return false;
	pool_set_reason(job, plan->code, plan->enhanced, plan->text);
	return true;
}

static void
fail_by_plan(struct pool_job *job, const struct plan *plan)
{
	pool_set_reason(job, plan->code, plan->enhanced, plan->text);
	job->may_be_up = job->may_be_up || plan->is_our_fault;
	pool_complete(job,
	    plan->verdict == PLAN_FAIL ? OUTCOME_FAILED : OUTCOME_DEFERRED);
}

/* Idle connections end until so many are left, or none is idle. */
static void
drop_idle(struct pool_destination *d, unsigned left)
{
	struct pool_connection *c;
	struct pool_connection *next;

	for (c = TAILQ_FIRST(&d->connections);
	     c != NULL && d->connection_count > left; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->is_idle)
			pool_connection_free(c, true);
	}
}

/*
 * Whether the destination may have one more connection.  Those that are idle
 * led to servers that the job was at: they make room, or it and all mail
 * behind it would wait until they are old.
 */
static bool
has_room(struct pool_destination *d)
{
	const unsigned most = d->pool->settings.connections;

	drop_idle(d, most - 1);
	return d->connection_count < most;
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
			if (has_patience(job, d->plan))
				return false;
			take_out(job);
			fail_by_plan(job, d->plan);
			return true;
		}
	}
	if (!has_room(d))
		return false;
	if (job->plan == NULL)
		job->plan = plan_keep(d->plan);
	candidate = next_candidate(d, job);
	take_out(job);
	if (candidate < job->plan->candidate_count) {
		pool_connection_open(job, candidate);
		return true;
	}
	if (!job->may_be_up && d->connection_count == 0)
		complete_waiting(d, job);
	pool_complete(job, OUTCOME_DEFERRED);
	return true;
}

static void
run_destination(struct pool_destination *d)
{
	struct pool_job *job;

	while ((job = TAILQ_FIRST(&d->waiting)) != NULL) {
		struct pool_connection *c = idle_connection(d, job);

		if (c != NULL && c->mails >= MAILS_MAX) {
			pool_connection_free(c, true);
		} else if (c != NULL) {
			take_out(job);
			pool_connection_send(c, job);
		} else if (!start_opening(job)) {
			return;
		}
	}
	if (d->is_retired || d->pool->settings.idle_ms == 0)
		drop_idle(d, 0);
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
		pool_connection_free(TAILQ_FIRST(&pool->idle), true);
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
			pool_set_reason(job, 0, "4.4.5",
			    "no connection was free for too long");
		/* Others are busy there, so it is not down. */
		job->may_be_up = true;
		pool_complete(job, OUTCOME_DEFERRED);
		next = TAILQ_FIRST(&d->waiting);
	}
}

static bool
waits_for_checkd(const struct pool_destination *d, uint64_t now)
{
	return !TAILQ_EMPTY(&d->waiting) && d->plan != NULL &&
	       d->plan->is_our_fault && now >= d->plan->expires_ms;
}

static void
sweep_list(const struct destination_list *list, uint64_t now)
{
	struct pool_destination *d;

	LIST_FOREACH(d, list, link)
	{
		/* cppcheck-suppress uninitvar ; LIST_FOREACH sets it */
		sweep_waiting(d, now);
		if (is_of_no_use(d) || waits_for_checkd(d, now))
			pool_touch(d);
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
		pool_connection_free(c, true);
	for (unsigned i = 0; i < BUCKETS; i++)
		sweep_list(&pool->buckets[i], now);
	sweep_list(&pool->retired, now);
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

static void
touch_list(const struct destination_list *list)
{
	struct pool_destination *d;

	LIST_FOREACH(d, list, link)
	{
		/* cppcheck-suppress uninitvar ; LIST_FOREACH sets it */
		pool_touch(d);
	}
}

void
pool_stop_waiting(struct pool *pool)
{
	pool->is_stopping = true;
	for (unsigned i = 0; i < BUCKETS; i++)
		touch_list(&pool->buckets[i]);
	touch_list(&pool->retired);
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
			pool_touch(d);
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
			pool_connection_free(c, c->is_idle);
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
	job->may_be_up = false;
	/* Who calls out answers somebody who waits, too. */
	job->patient_until_ms =
	    job->mail.is_callout ? 0 : clock_monotonic_ms() + PATIENCE_MS;
	job->server = (struct pool_server){.host = ""};
	job->text[0] = '\0';
	d->job_count++;
	TAILQ_INSERT_TAIL(&d->waiting, job, link);
	pool->numbers.waiting++;
	pool_touch(d);
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
			pool_connection_free(c, false);
	}
	plan_release(job->plan);
	job->plan = NULL;
	d->job_count--;
	pool_touch(d);
}

const struct pool_server *
pool_decider(const struct pool_job *job, size_t at)
{
	size_t decider = job->mail.recipients[at].decider;

	return decider == 0 ? &job->server : &job->earlier[decider - 1];
}

struct pool_numbers
pool_count(const struct pool *pool)
{
	return pool->numbers;
}
