/* SPDX-License-Identifier: ISC */
/*
 * Takes messages from queued and answers for them; job.h has the table of
 * states.
 * Runs in: postern-signerd's broker.  Trusts: queued for what is demanded and
 * whose message it is; nothing of the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "signer/job_parts.h"

#define BUCKETS 1024
#define REMOVALS_OCTETS_MAX (64u * 1024)
/* 2,000 recipients with a method and a reason each. */
#define RESULT_OCTETS_MAX (8u * 1024 * 1024)

struct jobs {
	struct signerd *signerd;
	struct job *buckets[BUCKETS];
	size_t count;
	uint64_t taken;
	uint64_t outcomes[SIGN_OUTCOME_COUNT];
};

struct signerd *
job_signerd(const struct job *job)
{
	return job->jobs->signerd;
}

struct content
job_content(const struct job *job)
{
	if (job->fd == -1)
		return content_of(
		    (struct slice){job->content, (size_t)job->size});
	return (struct content){.fd = job->fd, .size = job->size};
}

struct ipc_list
job_removals(const struct job *job)
{
	return (struct ipc_list){
	    job->removals.p, job->removals.n, job->removal_count};
}

/* ---- the table of jobs ---- */

static struct job **
bucket_of(struct jobs *jobs, uint64_t message_id)
{
	return &jobs->buckets[(message_id ^ message_id >> 32) % BUCKETS];
}

static struct job *
find_job(struct jobs *jobs, uint64_t message_id)
{
	struct job *at = *bucket_of(jobs, message_id);

	while (at != NULL && at->message_id != message_id)
		at = at->next;
	return at;
}

/* It is in no bucket any more. */
static void
release(struct job *job)
{
	job->jobs->count--;
	for (size_t i = 0; i < job->track_count; i++)
		track_clear(&job->tracks[i]);
	for (size_t i = 0; i < job->recipient_count; i++)
		free(job->recipients[i].address);
	free(job->tracks);
	free(job->recipients);
	free(job->content);
	buf_clear(&job->removals);
	close_if_open(&job->fd);
	free(job);
}

static void
job_free(struct job *job)
{
	struct job **at = bucket_of(job->jobs, job->message_id);

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	release(job);
}

/* ---- the result ---- */

static void
add_protection(const struct job *job, const struct job_recipient *recipient,
    struct ipc_list_writer *list)
{
	struct ipc_record_protection record = {.number = recipient->number,
	    .outcome = (uint16_t)recipient->outcome,
	    .applied = (uint16_t)recipient->already,
	    .enhanced = slice_of(recipient->enhanced),
	    .reason = slice_of(recipient->reason)};

	if (recipient->track != TRACK_NONE) {
		const struct track *track = &job->tracks[recipient->track];

		/* Sent or not, and whoever gets it. */
		record.output = track->number;
		record.applied |= (uint16_t)track->applied;
		record.method = slice_of(track->method_text);
	}
	(void)ipc_protection_add(list, &record, NULL);
}

static void
send_result(struct job *job, enum sign_outcome outcome, struct slice enhanced,
    struct slice reason)
{
	struct jobs *jobs = job->jobs;
	struct channel *queued = link_channel(jobs->signerd->queued);
	struct ipc_list_writer list;
	struct ipc_sign_result message = {.message_id = job->message_id,
	    .attempt = job->attempt,
	    .outcome = (uint16_t)outcome,
	    .enhanced = enhanced,
	    .reason = reason};

	jobs->outcomes[outcome]++;
	if (queued == NULL)
		return;
	ipc_list_writer_init(&list, RESULT_OCTETS_MAX);
	if (outcome == SIGNED_DONE)
		for (size_t i = 0; i < job->recipient_count; i++)
			add_protection(job, &job->recipients[i], &list);
	message.recipients = ipc_list_of(&list);
	if (channel_send(queued, MSG_SIGN_RESULT, &message, NULL) == -1)
		log_notice("a result for queued breaks its row");
	ipc_list_writer_clear(&list);
}

/* What queued demanded and what was done; it compares them as well. */
static const char *
find_missing(const struct job *job, const struct job_recipient *recipient)
{
	unsigned applied = recipient->already;

	if (recipient->track != TRACK_NONE)
		applied |= job->tracks[recipient->track].applied;
	if (job->dkim == DKIM_REQUIRED && (applied & APPLIED_DKIM) == 0)
		return "it could not be signed with DKIM";
	if (job->shape.is_calendar &&
	    (recipient->demand.options & PROTECT_CALENDAR_PLAIN) != 0)
		return NULL;
	if (recipient->demand.sign == SIGN_REQUIRED &&
	    (applied & APPLIED_SIGNED) == 0)
		return "it was not signed";
	if (recipient->demand.encrypt >= ENCRYPT_REQUIRED &&
	    (applied & APPLIED_ENCRYPTED) == 0)
		return "it was not encrypted";
	return NULL;
}

static void
settle_recipient(struct job_recipient *recipient, enum sign_outcome outcome,
    struct slice enhanced, struct slice reason)
{
	recipient->outcome = outcome;
	(void)slice_copy(
	    enhanced, recipient->enhanced, sizeof(recipient->enhanced));
	(void)slice_copy(reason, recipient->reason, sizeof(recipient->reason));
}

/* Of those that a track was to serve. */
static void
settle_track(struct job *job, size_t track, enum sign_outcome outcome,
    struct slice enhanced, struct slice reason)
{
	for (size_t i = 0; i < job->recipient_count; i++)
		if (job->recipients[i].track == track)
			settle_recipient(
			    &job->recipients[i], outcome, enhanced, reason);
}

/* Who has less than demanded waits. */
static void
look_for_missing(struct job *job)
{
	const char *told = NULL;

	for (size_t i = 0; i < job->recipient_count; i++) {
		struct job_recipient *recipient = &job->recipients[i];
		const char *missing = recipient->outcome == SIGNED_DONE
					  ? find_missing(job, recipient)
					  : NULL;

		if (missing == NULL)
			continue;
		if (told == NULL)
			log_notice("message not protected as demanded: %s",
			    told = missing);
		settle_recipient(recipient, SIGNED_TEMPORARY, SLICE("4.7.5"),
		    slice_of(missing));
	}
}

/* All that have one outcome but DONE: it is the message's. */
static bool
is_common(const struct job *job)
{
	const enum sign_outcome first = job->recipients[0].outcome;

	for (size_t i = 1; i < job->recipient_count; i++)
		if (job->recipients[i].outcome != first)
			return false;
	return first == SIGNED_PERMANENT || first == SIGNED_TEMPORARY;
}

static void
finish(struct job *job)
{
	const struct job_recipient *first = &job->recipients[0];

	if (job->direction == DIRECTION_OUT)
		look_for_missing(job);
	if (is_common(job))
		send_result(job, first->outcome, slice_of(first->enhanced),
		    slice_of(first->reason));
	else
		send_result(job, SIGNED_DONE, SLICE(""), SLICE(""));
	job_free(job);
}

void
job_track_done(struct track *track, enum sign_outcome outcome)
{
	struct job *job = track->job;
	size_t index = (size_t)(track - job->tracks);

	track_drop_content(track);
	for (size_t i = 0; i < job->recipient_count; i++)
		if (job->recipients[i].track == index)
			job->recipients[i].outcome = outcome;
	if (job->running == 0)
		finish(job);
}

static bool
fails_everybody(const struct job *job, size_t track)
{
	for (size_t i = 0; i < job->recipient_count; i++)
		if (job->recipients[i].track == track &&
		    job->recipients[i].demand.encrypt == ENCRYPT_REQUIRED_ALL)
			return job->direction == DIRECTION_OUT;
	return false;
}

void
job_track_failed(struct track *track, enum sign_outcome outcome,
    struct slice enhanced, struct slice reason)
{
	struct job *job = track->job;
	size_t index = (size_t)(track - job->tracks);

	track_drop_content(track);
	if (outcome != SIGNED_PERMANENT)
		outcome = SIGNED_TEMPORARY;
	else if (fails_everybody(job, index)) {
		send_result(job, outcome, enhanced, reason);
		job_free(job);
		return;
	}
	settle_track(job, index, outcome, enhanced, reason);
	if (job->running == 0)
		finish(job);
}

/* ---- a new job ---- */

/* -1: a number that is none of its enum's. */
static int
take_recipients(struct job *job, struct ipc_list list)
{
	struct ipc_record_demand demand;

	job->recipients = xcalloc(list.count + 1, sizeof(*job->recipients));
	while (ipc_demand_next(&list, &demand)) {
		struct job_recipient *recipient =
		    &job->recipients[job->recipient_count++];

		*recipient = (struct job_recipient){.number = demand.number,
		    .address = slice_dup(demand.address),
		    .min_trust = demand.min_trust,
		    .track = TRACK_NONE,
		    .demand = {.sign = (enum protect_sign)demand.sign,
			.encrypt = (enum protect_encrypt)demand.encrypt,
			.method = (enum protect_method)demand.method,
			.options = demand.options}};
		if (demand.sign >= SIGN_COUNT ||
		    demand.encrypt >= ENCRYPT_COUNT ||
		    demand.method >= METHOD_COUNT ||
		    (demand.options & ~(unsigned)PROTECT_OPTION_ALL) != 0)
			return -1;
	}
	return job->recipient_count > 0 ? 0 : -1;
}

static struct job *
job_new(struct jobs *jobs, uint64_t message_id)
{
	struct job *job = xcalloc(1, sizeof(*job));
	struct job **bucket = bucket_of(jobs, message_id);

	job->jobs = jobs;
	job->message_id = message_id;
	job->fd = -1;
	job->now_s = (int64_t)time(NULL);
	buf_init(&job->removals, REMOVALS_OCTETS_MAX);
	job->next = *bucket;
	*bucket = job;
	jobs->count++;
	jobs->taken++;
	return job;
}

static void
start(struct job *job)
{
	char enhanced[16];
	char reason[512];
	enum sign_outcome outcome = job_plan(job, enhanced, reason);
	struct err err;

	if (outcome != SIGNED_DONE) {
		send_result(job, outcome, slice_of(enhanced), slice_of(reason));
		job_free(job);
		return;
	}
	for (size_t i = 0; i < job->track_count; i++)
		if (track_start(&job->tracks[i], &err) == -1)
			settle_track(job, i, SIGNED_TEMPORARY, SLICE("4.3.2"),
			    slice_of(err.text));
	if (job->running == 0)
		finish(job);
}

/* Fields that SIGN_JOB and SIGN_FILE share. */
struct sign_fields {
	uint64_t message_id;
	uint32_t attempt;
	uint16_t direction;
	uint16_t dkim;
	struct slice header_from;
	struct ipc_list removals;
	struct ipc_list recipients;
};

#define FIELDS_OF(message)                                       \
	{                                                        \
		(message)->message_id, (message)->attempt,       \
		    (message)->direction, (message)->dkim,       \
		    (message)->header_from, (message)->removals, \
		    (message)->recipients                        \
	}

/* NULL: a breach.  An older attempt of the message is dropped. */
static struct job *
take_job(struct jobs *jobs, const struct sign_fields *fields)
{
	struct job *job = find_job(jobs, fields->message_id);

	if (fields->direction >= DIRECTION_COUNT || fields->dkim >= DKIM_COUNT)
		return NULL;
	if (job != NULL)
		job_free(job);
	job = job_new(jobs, fields->message_id);
	job->attempt = fields->attempt;
	job->direction = (enum sign_direction)fields->direction;
	job->dkim = (enum protect_dkim)fields->dkim;
	job->removal_count = fields->removals.count;
	if (slice_copy(fields->header_from, job->header_from,
		sizeof(job->header_from)) == -1 ||
	    buf_add(&job->removals, fields->removals.p, fields->removals.n) ==
		-1 ||
	    take_recipients(job, fields->recipients) == -1) {
		job_free(job);
		return NULL;
	}
	return job;
}

int
jobs_on_job(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_sign_job *message = &frame->message->sign_job;
	const struct sign_fields fields = FIELDS_OF(message);
	struct signerd *signerd = daemon_state(channel_daemon(channel));
	struct job *job = take_job(signerd->jobs, &fields);

	if (job == NULL)
		return -1;
	job->content = xmalloc(message->content.n + 1);
	memcpy(job->content, message->content.p, message->content.n);
	job->size = message->content.n;
	start(job);
	return 0;
}

int
jobs_on_file(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_sign_file *message = &frame->message->sign_file;
	const struct sign_fields fields = FIELDS_OF(message);
	struct signerd *signerd = daemon_state(channel_daemon(channel));
	struct content content;
	struct job *job;

	if (content_of_file(frame->fds[0], &content, NULL) == -1 ||
	    content.size != message->size_octets ||
	    (job = take_job(signerd->jobs, &fields)) == NULL)
		return -1;
	job->fd = frame->fds[0];
	frame->fds[0] = -1;
	job->size = content.size;
	start(job);
	return 0;
}

int
jobs_on_forget(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_sign_forget *message = &frame->message->sign_forget;
	struct signerd *signerd = daemon_state(channel_daemon(channel));
	struct job *job = find_job(signerd->jobs, message->message_id);

	if (job != NULL && job->attempt == message->attempt)
		job_free(job);
	return 0;
}

/* ---- all of them ---- */

struct jobs *
jobs_new(struct signerd *signerd)
{
	struct jobs *jobs = xcalloc(1, sizeof(*jobs));

	jobs->signerd = signerd;
	return jobs;
}

void
jobs_drop_all(struct jobs *jobs)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (jobs->buckets[i] != NULL) {
			struct job *job = jobs->buckets[i];

			jobs->buckets[i] = job->next;
			release(job);
		}
}

size_t
jobs_count(const struct jobs *jobs)
{
	return jobs->count;
}

void
jobs_status(const struct jobs *jobs, struct status_writer *status)
{
	status_counter(status, "jobs_running", (int64_t)jobs->count);
	status_counter(status, "jobs_total", (int64_t)jobs->taken);
	status_counter(
	    status, "jobs_done_total", (int64_t)jobs->outcomes[SIGNED_DONE]);
	status_counter(status, "jobs_waiting_total",
	    (int64_t)jobs->outcomes[SIGNED_TEMPORARY]);
	status_counter(status, "jobs_refused_total",
	    (int64_t)jobs->outcomes[SIGNED_PERMANENT]);
}
