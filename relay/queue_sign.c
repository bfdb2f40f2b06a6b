/* SPDX-License-Identifier: ISC */
/*
 * The turns of jobs and their deadlines, before messages are committed and
 * after.  queue_sign.h has their states.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>

#include "common/alerts.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_sign_parts.h"

/* How long a client waits at most; then the message waits instead. */
#define EARLY_DEADLINE_MS 3000
/* How often deadlines of clients are looked at. */
#define TIMER_MS 100
/* Attempts at the signer, and octets of their contents in frames. */
#define OUT_MAX 200
#define OUT_OCTETS_MAX (16u << 20)
/*
 * Of those with more than one output: tasks, and octets of contents in the
 * signer's queues, of which other mail leaves it half.  Else it says "busy".
 */
#define WIDE_OUTPUTS_MAX 1000
#define WIDE_OCTETS_MAX (32u << 20)
/* Without anything overdue for so long, the alert is over. */
#define ALERT_OVER_MS (10 * 60 * 1000)

/* ---- turns ---- */

bool
sign_turn_has_signer(const struct queue_sign *sign)
{
	return sign->signer != NULL && channel_is_up(sign->signer);
}

static bool
has_room(const struct queue_sign *sign)
{
	return sign_turn_has_signer(sign) && sign->out < OUT_MAX &&
	       sign->out_octets < OUT_OCTETS_MAX;
}

/* Among the others there is room for what this one needs. */
static bool
has_room_for(const struct sign_job *job)
{
	const struct queue_sign *sign = job->sign;

	return has_room(sign) && (job->share.outputs <= 1 ||
				     (sign->wide_outputs + job->share.outputs <=
					     WIDE_OUTPUTS_MAX &&
					 sign->wide_octets + job->wide_octets <=
					     WIDE_OCTETS_MAX));
}

bool
sign_turn_take_share(
    struct sign_job *job, const uint32_t *numbers, size_t count)
{
	const struct queue_message *message = job->message;
	const bool is_all =
	    sign_share_take(message, numbers, count, &job->share);

	job->wide_octets =
	    message->is_file ? 0 : message->size * job->share.outputs;
	return is_all;
}

void
sign_turn_push(struct sign_job *job)
{
	struct queue_sign *sign = job->sign;

	job->state = SIGN_QUEUED;
	job->next_queued = NULL;
	*sign->queued_last = job;
	sign->queued_last = &job->next_queued;
	sign->queued_count++;
	sign->queued_wide += job->share.outputs > 1;
}

static struct sign_job *
pop_queued(struct queue_sign *sign)
{
	struct sign_job *job = sign->queued_first;

	if (job == NULL)
		return NULL;
	sign->queued_first = job->next_queued;
	if (sign->queued_first == NULL)
		sign->queued_last = &sign->queued_first;
	sign->queued_count--;
	sign->queued_wide -= job->share.outputs > 1;
	return job;
}

void
sign_turn_drop(struct sign_job *job)
{
	struct queue_sign *sign = job->sign;
	struct sign_job **at = &sign->queued_first;

	while (*at != job)
		at = &(*at)->next_queued;
	*at = job->next_queued;
	if (*at == NULL)
		sign->queued_last = at;
	sign->queued_count--;
	sign->queued_wide -= job->share.outputs > 1;
}

/*
 * The next job that may start.  Of messages over which the signer ended one
 * is there at a time: then it is known which one it was, and the others of
 * that moment are not held up by it for long.  Those with many outputs let
 * others pass while there are too many of them.
 */
static struct sign_job *
next_queued(struct queue_sign *sign)
{
	for (size_t left = sign->queued_count; left > 0; left--) {
		struct sign_job *job = pop_queued(sign);

		if ((!sign->has_suspect ||
			!job->message->protection->is_suspect) &&
		    has_room_for(job))
			return job;
		sign_turn_push(job);
	}
	return NULL;
}

static void
start(struct sign_job *job)
{
	struct err err;

	job->state = SIGN_OUT;
	job->sign->has_suspect |= job->message->protection->is_suspect;
	if (sign_send(job, &err) == -1)
		sign_settle_temporary(job, "4.3.0", err.text);
}

static void
pump(void *arg)
{
	struct queue_sign *sign = arg;
	struct sign_job *job;

	while (has_room(sign) && !sign->queued->is_held &&
	       (job = next_queued(sign)) != NULL)
		start(job);
}

void
queue_sign_pump(struct queue_sign *sign)
{
	if (!sign->is_ending)
		loop_at_turn_end(sign->queued->loop, &sign->pump);
}

/* ---- before the commit ---- */

struct sign_rules
queue_sign_rules(const struct queue_sign *sign)
{
	const struct settings *settings = queued_settings(sign->queued);

	return (struct sign_rules){.policy = sign->policy,
	    .domains = &sign->domains,
	    .header_limit = settings->smtp_max_header_size + IPC_TRACE_MAX,
	    .verifies = settings->crypto_verify,
	    .has_tags = settings->crypto_subject_tags};
}

static struct slice
start_of(const struct queue_message *message)
{
	if (message->content != NULL)
		return (struct slice){message->content, message->size};
	return (struct slice){message->start, message->start_n};
}

/* Settles what the message demands; false: nothing. */
static bool
demand(struct queue_sign *sign, struct queue_message *message)
{
	const struct sign_rules rules = queue_sign_rules(sign);
	const struct slice start = start_of(message);

	if (start.n > 0)
		message->protection = queue_sign_need(&rules, message, start);
	free(message->start);
	message->start = NULL;
	message->start_n = 0;
	if (message->protection == NULL)
		return false;
	message->flags |= MSG_FLAG_DEMAND;
	return true;
}

void
queue_sign_own(struct queue_sign *sign, struct queue_message *message)
{
	if (demand(sign, message))
		queue_message_wait(message);
}

/* All of its recipients are asked for at once, or it has to wait. */
static int
send_early(struct sign_job *job)
{
	const struct queue_message *message = job->message;
	uint32_t *numbers = xcalloc(message->recipient_count, sizeof(*numbers));
	bool is_all;
	struct err err;

	for (size_t i = 0; i < message->recipient_count; i++)
		numbers[i] = message->recipients[i].number;
	is_all = sign_turn_take_share(job, numbers, message->recipient_count);
	free(numbers);
	return is_all && has_room_for(job) ? sign_send(job, &err) : -1;
}

bool
queue_sign_before_commit(struct queue_sign *sign, struct queue_message *message,
    queue_sign_done_fn *done, void *arg)
{
	struct sign_job *job;

	if (!demand(sign, message))
		return false;
	/*
	 * What waits for room goes first, but for what lets others pass.  An
	 * id that is at work already is refused when it is committed.
	 */
	if (!has_room(sign) || sign->queued->is_held ||
	    sign->queued_count > sign->queued_wide ||
	    sign_job_find(sign, message->id) != NULL) {
		queue_message_wait(message);
		sign->waited_total++;
		return false;
	}
	job = sign_job_new(sign, message);
	job->state = SIGN_EARLY;
	if (send_early(job) == -1) {
		queue_message_wait(message);
		sign->waited_total++;
		sign_job_free(job);
		return false;
	}
	job->done = done;
	job->arg = arg;
	job->deadline_ms = clock_monotonic_ms() + EARLY_DEADLINE_MS;
	if (sign->early++ == 0)
		loop_arm(sign->timer, TIMER_MS);
	return true;
}

void
queue_sign_not_committed(
    struct queue_sign *sign, const struct queue_message *message)
{
	struct sign_job *job = sign_job_find(sign, message->id);

	if (job == NULL || job->message != message)
		return; /* of an older message with that id */
	if (job->is_out)
		sign_send_forget(job);
	sign_job_free(job);
}

void
queue_sign_gone(struct queue_sign *sign, const struct queue_message *message)
{
	struct sign_job *job;

	/* In any other state its claim was withdrawn first. */
	if (message->protection == NULL ||
	    (job = sign_job_find(sign, message->id)) == NULL ||
	    job->state != SIGN_COMMITTING)
		return;
	if (job->is_out)
		sign_send_forget(job);
	sign_job_free(job);
}

/* ---- time ---- */

static void
expire(struct sign_job *job)
{
	if (job->done != NULL) {
		/* The attempt goes on; its client does not wait for it. */
		sign_settle_late(job);
		return;
	}
	if (job->is_out)
		sign_send_forget(job);
	if (job->state == SIGN_COMMITTING)
		sign_job_free(job); /* held; it waits on disk like others */
	else
		sign_settle_temporary(
		    job, "4.7.5", "The signer did not answer in time");
}

static bool
has_deadline(const struct sign_job *job)
{
	return job->is_out || job->state == SIGN_COMMITTING;
}

static void
look_at_deadlines(struct queue_sign *sign)
{
	const uint64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < SIGN_BUCKETS; i++) {
		struct sign_job *next;

		for (struct sign_job *job = sign->buckets[i]; job != NULL;
		     job = next) {
			next = job->next;
			if (has_deadline(job) && job->deadline_ms <= now_ms)
				expire(job);
		}
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue_sign *sign = arg;

	(void)fd;
	(void)what;
	look_at_deadlines(sign);
	if (sign->early > 0)
		loop_arm(sign->timer, TIMER_MS);
}

void
queue_sign_tick(struct queue_sign *sign)
{
	if (sign->jobs > 0)
		look_at_deadlines(sign);
	if (sign->overdue_ms != 0 &&
	    queued_now_ms(sign->queued) - sign->overdue_ms > ALERT_OVER_MS) {
		sign->overdue_ms = 0;
		daemon_alert_clear(sign->queued->daemon, ALERT_SIGNER, "");
	}
}

/* ---- the signer comes and goes ---- */

static void
done_pull_in(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct queued *queued = job->arg;

	queue_outbox_send(queued->outbox, job);
	queue_refill_missed(queued->refill);
	if (job->status == QUEUE_JOB_DONE && !job->is_finished &&
	    !daemon_is_stopping(queued->daemon))
		queue_writer_submit(queued->writer, job);
	else
		queue_job_free(job);
}

void
queue_sign_pull_in(struct queue_sign *sign)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_SIGN_PULL_IN, NULL, done_pull_in);

	job->arg = sign->queued;
	job->now_ms = queued_now_ms(sign->queued);
	queue_writer_submit(sign->queued->writer, job);
}

void
queue_sign_channel_closed(
    struct queue_sign *sign, const struct channel *channel)
{
	struct sign_job *job;

	if (channel != sign->signer)
		return;
	sign->signer = NULL;
	for (size_t i = 0; i < SIGN_BUCKETS; i++) {
		struct sign_job *next;

		for (job = sign->buckets[i]; job != NULL; job = next) {
			next = job->next;
			if (!job->is_out)
				continue;
			sign_job_end_attempt(job);
			job->message->protection->is_suspect = true;
			sign_settle_temporary(job, "4.7.5",
			    "The signer ended while it worked on it");
		}
	}
	while ((job = pop_queued(sign)) != NULL)
		sign_settle_temporary(
		    job, "4.7.5", "The signer is not running");
}

/* ---- life ---- */

int
queue_sign_configure(struct queue_sign *sign, struct err *err)
{
	size_t unread;
	struct policy *policy =
	    policy_of_snapshot(daemon_snapshot(sign->queued->daemon), &unread);

	/* Mail must not leave without what such a rule demands. */
	if (unread > 0) {
		policy_free(policy);
		return err_set(
		    err, "%zu rules of policy cannot be read", unread);
	}
	policy_free(sign->policy);
	sign->policy = policy;
	return 0;
}

struct queue_sign *
queue_sign_new(struct queued *queued, struct err *err)
{
	struct queue_sign *sign = xcalloc(1, sizeof(*sign));

	sign->queued = queued;
	sign->queued_last = &sign->queued_first;
	sign->pump = (struct loop_task){.run = pump, .arg = sign};
	sign->timer = evtimer_new(loop_base(queued->loop), on_timer, sign);
	if (sign->timer == NULL) {
		free(sign);
		(void)err_set(err, "out of memory for a timer");
		return NULL;
	}
	sign->policy = policy_new();
	sign_ready_load(sign);
	return sign;
}

void
queue_sign_free(struct queue_sign *sign)
{
	if (sign == NULL)
		return;
	sign->is_ending = true;
	for (size_t i = 0; i < SIGN_BUCKETS; i++) {
		struct sign_job *next;

		for (struct sign_job *job = sign->buckets[i]; job != NULL;
		     job = next) {
			next = job->next;
			sign_job_free(job);
		}
	}
	event_free(sign->timer);
	policy_free(sign->policy);
	sign_domains_clear(&sign->domains);
	free(sign);
}

void
queue_sign_status(const struct queue_sign *sign, struct status_writer *out)
{
	status_fact(out, "signerd", "%s",
	    sign_turn_has_signer(sign) ? "connected" : "not connected");
	status_counter(out, "signing", (int64_t)sign->out);
	status_counter(out, "waiting_to_sign", (int64_t)sign->queued_count);
	status_counter(out, "protected_total", (int64_t)sign->protected_total);
	status_counter(out, "opened_total", (int64_t)sign->opened_total);
	status_counter(
	    out, "waited_to_sign_total", (int64_t)sign->waited_total);
}
