/* SPDX-License-Identifier: ISC */
/*
 * postern-queued: the durable queue, its sole writer and its schedule.
 *
 * Sockets: queued-from-smtpd, queued-from-relayd, queued-from-signerd.  It
 * talks to confd (settings), authd (aliases, token keys) and loghub (life
 * events).  Store: queue.db and spool/ in its state directory.  Network: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/alerts.h"
#include "common/sql.h"
#include "relay/queue_admin.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign.h"
#include "relay/queue_salvage.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/queued.h"
#include "relay/route.h"
#include "relay/spool_file.h"

/* The clock, blocked destinations, due recipients are looked at this often. */
#define TICK_MS 1000
/* Totals and disk space, every so many ticks. */
#define SLOW_TICKS 10
/* The time is noted on disk; by so much it may be short after a crash. */
#define CLOCK_TICKS 600
/* What a start found of the clock is told so long. */
#define GAP_TOLD_TICKS 86400
/* Further than this the clock is looked at by somebody. */
#define GAP_ALERT_MS (86400 * (int64_t)1000)
/* The reader's connection belongs to one thread. */
#define READER_THREADS 1

int64_t
queued_now_ms(const struct queued *queued)
{
	return queue_clock_now(&queued->clock, (int64_t)clock_monotonic_ms());
}

/* ---- what is looked at now and then ---- */

struct totals_read {
	struct pool_task task;
	struct queued *queued;
	struct queue_totals totals;
	int rc;
};

static void
run_totals(struct pool_task *task)
{
	struct totals_read *read = (struct totals_read *)task;

	read->rc =
	    queue_store_totals(read->queued->reader, &read->totals, NULL);
}

static void
check_age(struct queued *queued)
{
	int64_t age_s =
	    queued->oldest_ms == 0
		? 0
		: (queued_now_ms(queued) - queued->oldest_ms) / 1000;

	if (age_s > (int64_t)queued_settings(queued)->queue_age_alert)
		daemon_alert_raise(queued->daemon, ALERT_QUEUE_AGE, "",
		    "The oldest message has been in the queue for %lld "
		    "minutes.",
		    (long long)(age_s / 60));
	else
		daemon_alert_clear(queued->daemon, ALERT_QUEUE_AGE, "");
}

static void
done_totals(struct pool_task *task)
{
	struct totals_read *read = (struct totals_read *)task;
	struct queued *queued = read->queued;

	if (read->rc == 0) {
		queued->messages = (uint64_t)read->totals.messages;
		queued->octets = (uint64_t)read->totals.octets;
		queued->oldest_ms = read->totals.oldest_ms;
		check_age(queued);
	}
	free(read);
}

/* A full count is a scan: not while a large queue is busy. */
#define TOTALS_MAX 50000

static void
look_at_totals(struct queued *queued)
{
	struct totals_read *read;

	if (queued->messages > TOTALS_MAX &&
	    dispatch_active(queued->dispatch) > 0)
		return;
	read = xcalloc(1, sizeof(*read));
	read->task.run = run_totals;
	read->task.done = done_totals;
	read->queued = queued;
	pool_submit(queued->reader_pool, &read->task);
}

static void
look_at_space(struct queued *queued)
{
	const char *dir = daemon_state_dir(queued->daemon);
	uint64_t least = queued_settings(queued)->queue_min_free;
	struct statvfs info;
	uint64_t free_octets;

	if (statvfs(dir, &info) == -1)
		return; /* nothing known: as it was */
	free_octets = (uint64_t)info.f_bavail * info.f_frsize;
	queued->has_space = free_octets >= least && info.f_favail != 0;
	if (queued->has_space)
		daemon_alert_clear(queued->daemon, ALERT_DISK, "queue");
	else
		daemon_alert_raise(queued->daemon, ALERT_DISK, "queue",
		    "%llu MB are free where the queue is; new mail is refused "
		    "below %llu MB (queue.min_free).",
		    (unsigned long long)(free_octets >> 20),
		    (unsigned long long)(least >> 20));
}

static void
look_at_clock(struct queued *queued)
{
	if (!queue_clock_compare(&queued->clock,
		(int64_t)(clock_wall_us() / 1000),
		(int64_t)clock_monotonic_ms()))
		return;
	if (queued->clock.has_jumped)
		daemon_alert_raise(queued->daemon, ALERT_CLOCK, "",
		    "The system's clock jumped by more than an hour; the "
		    "queue goes on by its own.");
	else
		daemon_alert_clear(queued->daemon, ALERT_CLOCK, "");
}

static void
done_clock(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	const struct queued *queued = job->arg;

	queue_outbox_send(queued->outbox, job);
	queue_job_free(job);
}

static void
note_clock(struct queued *queued)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_CLOCK, NULL, done_clock);

	job->arg = queued;
	job->now_ms = queued_now_ms(queued);
	queue_writer_submit(queued->writer, job);
}

/* At the start, before anything is done by the clock. */
static int
meet_clock(struct queued *queued, struct err *err)
{
	const int64_t now_ms = queued_now_ms(queued);
	int64_t gap_ms;

	if (queue_writer_meet_clock(queued->writer, now_ms, &gap_ms, err) == -1)
		return -1;
	if (gap_ms == 0)
		return 0;
	log_notice("the clock is %lld minutes from where the queue saw it "
		   "last; queued mail is no older for it",
	    (long long)(gap_ms / 60000));
	if (gap_ms < 0 || gap_ms > GAP_ALERT_MS)
		daemon_alert_raise(queued->daemon, ALERT_CLOCK, "start",
		    "When the queue started, the system's clock was %lld hours "
		    "%s where the queue saw it last. If it was not stopped for "
		    "so long, the clock is wrong.",
		    (long long)((gap_ms < 0 ? -gap_ms : gap_ms) / 3600000),
		    gap_ms < 0 ? "behind" : "ahead of");
	return 0;
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct queued *queued = arg;

	(void)fd;
	(void)what;
	look_at_clock(queued);
	dispatch_wake(queued->dispatch, queued_now_ms(queued));
	queue_result_park(queued);
	queue_sign_tick(queued->sign);
	if (!queued->is_held)
		queue_refill_tick(queued->refill);
	if (++queued->ticks % SLOW_TICKS == 0) {
		look_at_space(queued);
		look_at_totals(queued);
		queue_delivery_give_up(queued);
	}
	if (queued->ticks % CLOCK_TICKS == 0)
		note_clock(queued);
	if (queued->ticks == GAP_TOLD_TICKS)
		daemon_alert_clear(queued->daemon, ALERT_CLOCK, "start");
	queue_delivery_pump(queued);
	loop_arm(queued->tick, TICK_MS);
}

/* ---- peers ---- */

static int
on_token_keys(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_token_keys *keys = &frame->message->token_keys;
	struct queued *queued = queued_of(channel);

	if (keys->current.n != sizeof(queued->token_key) ||
	    (keys->previous.n != 0 &&
		keys->previous.n != sizeof(queued->previous_token_key)))
		return -1;
	memcpy(queued->token_key, keys->current.p, keys->current.n);
	queued->has_token_key = true;
	queued->has_previous_token_key = keys->previous.n != 0;
	if (queued->has_previous_token_key)
		memcpy(queued->previous_token_key, keys->previous.p,
		    keys->previous.n);
	return 0;
}

static void
peer_up(struct daemon *daemon, struct channel *channel)
{
	struct queued *queued = daemon_state(daemon);

	if (channel_peer(channel) == ROLE_SMTPD)
		queue_intake_peer_up(queued, channel);
	else if (channel_peer(channel) == ROLE_LOGHUB)
		queue_outbox_hub_up(queued->outbox);
}

static void
peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct queued *queued = daemon_state(daemon);

	if (channel_peer(channel) == ROLE_SMTPD)
		queue_intake_peer_closed(queued, channel);
	else if (channel_peer(channel) == ROLE_CONFD)
		queued->confd_round++;
	else if (channel == queued->relay)
		queue_delivery_relay_gone(queued);
	else if (channel_peer(channel) == ROLE_SIGNERD)
		queue_sign_channel_closed(queued->sign, channel);
}

/* ---- life ---- */

static void
done_pull_in(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);

	struct queued *queued = job->arg;

	queue_outbox_send(queued->outbox, job);
	if (job->status == QUEUE_JOB_DONE && !job->is_finished &&
	    !daemon_is_stopping(queued->daemon))
		queue_writer_submit(queued->writer, job);
	else
		queue_job_free(job);
}

/*
 * What the schedule puts off by no more than so much is not due later: then
 * the clock was ahead when it was, before this start.
 */
static void
pull_in(struct queued *queued)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_PULL_IN, NULL, done_pull_in);

	job->arg = queued;
	job->now_ms = queued_now_ms(queued);
	job->next_ms = job->now_ms + schedule_longest(&queued->schedule);
	queue_writer_submit(queued->writer, job);
}

static int
start(struct daemon *daemon, struct err *err)
{
	struct queued *queued = daemon_state(daemon);
	const char *dir = daemon_state_dir(daemon);

	queued->daemon = daemon;
	queued->loop = daemon_loop(daemon);
	queued->is_held = daemon_is_managing(daemon);
	queued->has_space = true;
	queue_clock_init(&queued->clock, (int64_t)(clock_wall_us() / 1000),
	    (int64_t)clock_monotonic_ms());
	id_maker_init(&queued->ids, QUEUED_OWN_SLOT);
	queued->dispatch = dispatch_new();
	queue_delivery_init(queued);
	if (sql_lock_directory(dir, err) == -1 ||
	    spool_has_store(dir, err) == -1 ||
	    queue_writer_new(queued->loop, dir, &queued->writer, err) == -1 ||
	    meet_clock(queued, err) == -1 ||
	    queue_store_open(dir, true, &queued->reader, err) == -1)
		return -1;
	queued->reader_pool =
	    pool_new(queued->loop, READER_THREADS, "queue-reader");
	queued->outbox = queue_outbox_new(queued);
	queued->refill = queue_refill_new(queued);
	if ((queued->sign = queue_sign_new(queued, err)) == NULL)
		return -1;
	if ((queued->spool = queue_spool_new(queued, err)) == NULL)
		return -1;
	queued->authd = daemon_link(daemon, ROLE_AUTHD);
	queued->loghub = daemon_link(daemon, ROLE_LOGHUB);
	queued->tick =
	    event_new(loop_base(queued->loop), -1, 0, on_tick, queued);
	if (queued->tick == NULL)
		return err_set(err, "out of memory for a timer");
	loop_arm(queued->tick, 0);
	return 0;
}

static int
settings_changed(struct daemon *daemon, struct err *err)
{
	struct queued *queued = daemon_state(daemon);
	const struct settings *settings = daemon_settings(daemon);

	if (queue_sign_configure(queued->sign, err) == -1)
		return -1;
	schedule_init(&queued->schedule, settings);
	pull_in(queued);
	dispatch_set_limit(
	    queued->dispatch, (unsigned)settings->relay_connections);
	route_table_free(queued->routes);
	queued->routes = route_table_new(daemon_snapshot(daemon));
	look_at_space(queued);
	look_at_totals(queued);
	return 0;
}

static void
status(struct daemon *daemon, struct status_writer *out)
{
	const struct queued *queued = daemon_state(daemon);
	struct queue_writer_counts counts = queue_writer_counts(queued->writer);

	status_counter(out, "messages", (int64_t)queued->messages);
	status_counter(out, "octets", (int64_t)queued->octets);
	status_counter(out, "oldest_s",
	    queued->oldest_ms == 0
		? 0
		: (queued_now_ms(queued) - queued->oldest_ms) / 1000);
	status_counter(
	    out, "waiting", (int64_t)dispatch_waiting(queued->dispatch));
	status_counter(
	    out, "active", (int64_t)dispatch_active(queued->dispatch));
	status_counter(
	    out, "streams", (int64_t)queue_spool_streams(queued->spool));
	status_counter(out, "accepted_total", (int64_t)queued->accepted);
	status_counter(out, "refused_total", (int64_t)queued->refused);
	status_counter(out, "delivered_total", (int64_t)queued->delivered);
	status_counter(out, "deferred_total", (int64_t)queued->deferred);
	status_counter(out, "failed_total", (int64_t)queued->failed);
	status_counter(out, "commits_total", (int64_t)counts.commits);
	status_counter(out, "commit_jobs_total", (int64_t)counts.jobs);
	status_counter(out, "memory_octets", (int64_t)queued->memory_used);
	status_counter(out, "log_behind", queue_outbox_behind(queued->outbox));
	status_fact(out, "relayd", "%s",
	    queued->relay != NULL ? "connected" : "not connected");
	queue_sign_status(queued->sign, out);
}

static void
end(void *arg)
{
	struct queued *queued = arg;

	if (queued->settling > 0)
		return;
	if (queued->writer != NULL) {
		note_clock(queued);
		queue_writer_finish(queued->writer);
	}
	daemon_stopped(queued->daemon);
}

/*
 * What relayd has said is settled first: who got his mail would get it twice
 * else.  What the writer has is finished; what is out at relayd comes back at
 * the next start and may then double, as after any restart.
 */
static void
stop(struct daemon *daemon)
{
	struct queued *queued = daemon_state(daemon);

	queued->is_held = true;
	queued->end = (struct loop_task){.run = end, .arg = queued};
	end(queued);
}

static const struct channel_handler handlers[] = {
    {ROLE_SMTPD, MSG_QUEUE_CLIENT, queue_intake_client},
    {ROLE_SMTPD, MSG_QUEUE_SUBMIT, queue_intake_submit},
    {ROLE_SMTPD, MSG_QUEUE_OPEN, queue_spool_on_open},
    {ROLE_SMTPD, MSG_QUEUE_CHUNK, queue_spool_on_chunk},
    {ROLE_SMTPD, MSG_QUEUE_END, queue_spool_on_end},
    {ROLE_SMTPD, MSG_QUEUE_ABORT, queue_spool_on_abort},
    {ROLE_RELAYD, MSG_RELAY_READY, queue_delivery_ready},
    {ROLE_RELAYD, MSG_RELAY_RESULT, queue_delivery_result},
    {ROLE_SIGNERD, MSG_SIGN_READY, queue_sign_on_ready},
    {ROLE_SIGNERD, MSG_SIGN_OUTPUT, queue_sign_on_output},
    {ROLE_SIGNERD, MSG_SIGN_OUTPUT_FILE, queue_sign_on_output_file},
    {ROLE_SIGNERD, MSG_SIGN_RESULT, queue_sign_on_result},
    {ROLE_AUTHD, MSG_TOKEN_KEYS, on_token_keys},
    {ROLE_CONFD, MSG_MGMT_REQUEST, queue_admin_request},
    {ROLE_NONE, MSG_HELLO, NULL}};

static const struct confinement confinement = {
    .rights = CONFINE_FILES_READ | CONFINE_FILES_WRITE | CONFINE_CONNECT_UNIX |
	      CONFINE_THREADS};

static const struct program program = {.role = ROLE_QUEUED,
    .handlers = handlers,
    .start = start,
    .settings_changed = settings_changed,
    .peer_up = peer_up,
    .peer_closed = peer_closed,
    .status = status,
    .stop = stop,
    .state_size = sizeof(struct queued),
    .confinement = &confinement};

int
main(int argc, char **argv)
{
	/* By hand, instead of a life as a daemon. */
	if (argc == 2 && strcmp(argv[1], "--salvage") == 0)
		return queue_salvage("", &confinement);
	if (argc == 4 && strcmp(argv[1], "--root") == 0 &&
	    strcmp(argv[3], "--salvage") == 0)
		return queue_salvage(argv[2], &confinement);
	return daemon_main(argc, argv, &program);
}
