/* SPDX-License-Identifier: ISC */
/*
 * One output of a job: its steps at workers, each with what the one before
 * made.
 *
 *	out, S/MIME or none   PROTECT (with DKIM)
 *	out, OpenPGP          PGP_PROTECT, then PROTECT for DKIM alone
 *	in                    OPEN or PGP_OPEN by the root that is left, while
 *	                      there is a layer, LAYERS_MAX at most
 *	in, to stay closed    OPEN, which then opens nothing: what is too large,
 *	                      and once more what a later step wants held
 *
 * Runs in: postern-signerd's broker.  Trusts: a worker for the content that it
 * made, and nothing else of what it says.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer/delivery.h"
#include "signer/job_parts.h"
#include "signer/job_twin.h"
#include "signer/crls.h"
#include "signer/key_admin.h"
#include "signer/lookup.h"

#define KEYS_OCTETS_MAX (64u * 1024 * 1024)
#define FACTS_OCTETS_MAX (128u * 1024)
/*
 * What an output may grow to: 8-bit text in base64, encrypted, in base64
 * again, and headers of ours.
 */
#define GROWTH_OUT 6
/* And what may be inside of something compressed: a bomb has more. */
#define GROWTH_IN 20
#define LIMIT_LEAST ((uint64_t)1 << 20)
#define LIMIT_IN_LEAST ((uint64_t)64 << 20)
/* Of the largest message: what queued takes at most (queue_sign_answer.c). */
#define GROWTH_MOST 4

static void on_step_done(struct task *task, struct task_result *result);

void
track_init(struct track *track, struct job *job)
{
	memset(track, 0, sizeof(*track));
	track->job = job;
	track->fd = -1;
	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++)
		ipc_list_writer_init(&track->keys[i], KEYS_OCTETS_MAX);
	ipc_list_writer_init(&track->dkim_keys, KEYS_OCTETS_MAX);
	ipc_list_writer_init(&track->facts, FACTS_OCTETS_MAX);
	buf_init(&track->memory, IPC_OUTPUT_MAX);
	buf_init(&track->whole, IPC_OUTPUT_MAX);
}

void
track_clear(struct track *track)
{
	if (track->is_running)
		pools_cancel(job_signerd(track->job)->pools, &track->task);
	track->is_running = false;
	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++)
		ipc_list_writer_clear(&track->keys[i]);
	ipc_list_writer_clear(&track->dkim_keys);
	ipc_list_writer_clear(&track->facts);
	buf_clear(&track->memory);
	buf_clear(&track->whole);
	close_if_open(&track->fd);
}

void
track_drop_content(struct track *track)
{
	close_if_open(&track->fd);
	buf_clear(&track->memory);
	track->size = 0;
	track->has_content = false;
}

/* ---- the next step ---- */

static bool
is_smime(enum shape_kind kind)
{
	return kind == SHAPE_SMIME_SIGNED || kind == SHAPE_SMIME_OPAQUE ||
	       kind == SHAPE_SMIME_ENCRYPTED || kind == SHAPE_SMIME_OTHER;
}

static bool
is_pgp(enum shape_kind kind)
{
	return kind == SHAPE_PGP_SIGNED || kind == SHAPE_PGP_ENCRYPTED ||
	       kind == SHAPE_PGP_MIXED_UP || kind == SHAPE_PGP_INLINE;
}

/* WORK_OP_COUNT: nothing is left to do. */
static enum work_op
next_op(const struct track *track)
{
	bool is_first = track->steps == 0;

	if (track->job->direction == DIRECTION_IN) {
		if (track->closed != NULL)
			return is_first ? WORK_OPEN : WORK_OP_COUNT;
		if (track->steps >= LAYERS_MAX)
			return WORK_OP_COUNT;
		if (is_pgp(track->shape))
			return WORK_PGP_OPEN;
		/* At least once: forged fields and tags are taken out. */
		return is_first || is_smime(track->shape) ? WORK_OPEN
							  : WORK_OP_COUNT;
	}
	if (track->method == PLAN_PGP && is_first)
		return WORK_PGP_PROTECT;
	if (is_first ||
	    (track->method == PLAN_PGP && track->steps == 1 && track->has_dkim))
		return WORK_PROTECT;
	return WORK_OP_COUNT;
}

/* A PROTECT behind an OpenPGP step makes the DKIM signature alone. */
static struct ipc_list
keys_for(const struct track *track, enum work_op op)
{
	if (op == WORK_PGP_PROTECT || op == WORK_PGP_OPEN)
		return ipc_list_of(&track->keys[PLAN_PGP]);
	if (op == WORK_PROTECT && track->method != PLAN_SMIME)
		return ipc_list_of(&track->dkim_keys);
	return ipc_list_of(&track->keys[PLAN_SMIME]);
}

static uint64_t
output_limit(const struct job *job)
{
	const struct settings *settings =
	    daemon_settings(job_signerd(job)->daemon);
	const uint64_t most =
	    settings->smtp_max_message_size * GROWTH_MOST + LIMIT_LEAST;
	uint64_t limit = job->size * GROWTH_OUT + LIMIT_LEAST;

	if (job->direction == DIRECTION_IN) {
		limit = job->size * GROWTH_IN;
		if (limit < LIMIT_IN_LEAST)
			limit = LIMIT_IN_LEAST;
	}
	return limit < most ? limit : most;
}

static void
fill_content(struct track *track)
{
	struct content content = job_content(track->job);

	if (track->has_content) {
		track->task.fd = track->fd;
		track->task.message.content = buf_slice(&track->memory);
		track->task.message.size_octets = track->size;
	} else {
		track->task.fd = content.fd;
		track->task.message.content = content.memory;
		track->task.message.size_octets = content.size;
	}
}

/* Each step may find another Subject inside: forged tags out, ours in. */
static void
add_wishes(struct track *track)
{
	const struct settings *settings =
	    daemon_settings(job_signerd(track->job)->daemon);
	const struct ipc_record_fact tags = {
	    .name = SLICE(FACT_TAGS), .value = SLICE("on")};
	const struct ipc_record_fact closed = {
	    .name = SLICE(FACT_CLOSED), .value = slice_of(track->closed)};

	if (track->job->direction == DIRECTION_IN &&
	    settings->crypto_subject_tags)
		(void)ipc_fact_add(&track->facts, &tags, NULL);
	if (track->closed != NULL)
		(void)ipc_fact_add(&track->facts, &closed, NULL);
}

int
track_start(struct track *track, struct err *err)
{
	struct job *job = track->job;
	enum work_op op = next_op(track);
	struct ipc_work *message = &track->task.message;

	track->task.class = pool_class_of(op);
	track->task.done = on_step_done;
	track->task.owner = track;
	*message = (struct ipc_work){.op = (uint16_t)op,
	    .options = (uint16_t)track->options,
	    .sender = slice_of(job->header_from),
	    .recipient = slice_of(job->recipients[track->recipient].address),
	    .authserv_id = slice_of(
		daemon_settings(job_signerd(job)->daemon)->smtp_hostname),
	    .now_s = job->now_s,
	    .output_limit = output_limit(job),
	    .facts = ipc_list_of(&track->facts),
	    .keys = keys_for(track, op)};
	if (track->steps == 0 || job->direction == DIRECTION_IN) {
		message->removals = job_removals(job);
		add_wishes(track);
		message->facts = ipc_list_of(&track->facts);
	}
	fill_content(track);
	/* DKIM alone, whose keys are in files. */
	track->task.is_short = op == WORK_PROTECT &&
			       track->method != PLAN_SMIME &&
			       track->task.fd == -1;
	if (pools_submit(job_signerd(job)->pools, &track->task, err) == -1)
		return -1;
	track->is_running = true;
	job->running++;
	return 0;
}

/* ---- what a step made ---- */

/*
 * An output may be what stands before the content that the worker was given.
 * The job's own content queued has itself; what a step made is put behind it
 * here.
 */
static int
complete(struct track *track, struct task_result *result, bool is_last)
{
	const struct slice given = track->task.message.content;

	if (is_last && !track->has_content) {
		track->follows = given.n;
		return 0;
	}
	buf_reset(&track->whole);
	if (buf_add_slice(&track->whole, result->content) == -1 ||
	    buf_add_slice(&track->whole, given) == -1)
		return -1;
	result->content = buf_slice(&track->whole);
	result->size_octets = track->whole.n;
	return 0;
}

/* What queued would take for a breach, and end the channel of all jobs. */
static bool
is_output(const struct track *track, const struct task_result *result)
{
	struct content content = content_of(result->content);
	uint64_t size;

	/* A worker says that only of what it was sent. */
	if (result->is_prefix && (track->task.fd != -1 || result->fd != -1))
		return false;
	if (result->fd != -1 &&
	    content_of_file(result->fd, &content, NULL) == -1)
		return false;
	size = content.size +
	       (result->is_prefix ? track->task.message.content.n : 0);
	return size > 0 && content.size == result->size_octets &&
	       size <= track->task.message.output_limit;
}

static int
keep_content(struct track *track, struct task_result *result)
{
	close_if_open(&track->fd);
	buf_reset(&track->memory);
	track->fd = result->fd;
	result->fd = -1;
	track->size = result->size_octets;
	track->has_content = true;
	return track->fd == -1 ? buf_add_slice(&track->memory, result->content)
			       : 0;
}

static void
keep_verdict(struct track *track, struct slice text)
{
	if (slice_equals(text, slice_of(verdict_text(VERDICT_UNDECRYPTABLE))))
		track->is_undecryptable = true;
	if (slice_equals(text, slice_of(verdict_text(VERDICT_FAIL))))
		track->is_forged = true;
}

/* Its facts are those of the next step; the shape is for us. */
static void
keep_facts(struct track *track, struct ipc_list facts)
{
	struct ipc_record_fact fact;

	buf_reset(&track->facts.encoded);
	track->facts.count = 0;
	track->shape = SHAPE_PLAIN;
	while (ipc_fact_next(&facts, &fact)) {
		if (slice_equals(fact.name, SLICE(FACT_VERDICT)))
			keep_verdict(track, fact.value);
		if (slice_equals(fact.name, SLICE(FACT_SECRET)))
			track->uses_secret = true;
		if (!slice_equals(fact.name, SLICE(FACT_SHAPE))) {
			(void)ipc_fact_add(&track->facts, &fact, NULL);
			continue;
		}
		for (unsigned i = 0; i < SHAPE_KIND_COUNT; i++)
			if (slice_equals(fact.value,
				slice_of(shape_text((enum shape_kind)i))))
				track->shape = (enum shape_kind)i;
	}
}

static void
keep_method(struct track *track, struct slice method)
{
	size_t used = strlen(track->method_text);

	if (method.n == 0 || used + 1 + method.n >= sizeof(track->method_text))
		return;
	if (used > 0)
		track->method_text[used++] = ' ';
	(void)slice_copy(method, track->method_text + used,
	    sizeof(track->method_text) - used);
}

/*
 * Right from the worker's frame when it is the last step.  Outputs are
 * numbered as they leave: one may be ready before those that were planned
 * before it, and one that fails has no number.
 */
static int
send_output(struct track *track, const struct task_result *result)
{
	struct job *job = track->job;
	struct channel *queued = link_channel(job_signerd(job)->queued);
	uint16_t number = (uint16_t)(job->outputs_sent + 1);
	struct ipc_sign_output message = {.message_id = job->message_id,
	    .attempt = job->attempt,
	    .number = number,
	    .follows_octets = track->follows,
	    .content = result->content};
	struct ipc_sign_output_file file = {.message_id = job->message_id,
	    .attempt = job->attempt,
	    .number = number,
	    .size_octets = result->size_octets};

	if (queued == NULL ||
	    (result->fd == -1
		    ? channel_send(queued, MSG_SIGN_OUTPUT, &message, NULL)
		    : channel_send(queued, MSG_SIGN_OUTPUT_FILE, &file,
			  &result->fd)) == -1)
		return -1;
	track->number = number;
	track->sent_octets = result->size_octets + track->follows;
	job->outputs_sent++;
	return 0;
}

/* -1: too much is held for others; they are served first. */
static int
look_for_room(struct track *track, const struct task_result *result)
{
	if (track_has_room(track, result->size_octets + track->follows))
		return 0;
	job_track_failed(track, SIGNED_TEMPORARY, SLICE("4.3.1"),
	    SLICE("what it becomes for all its recipients is too much at "
		  "once"));
	return -1;
}

/* Each was made with keys of his own; what came of it may be the same. */
static const struct track *
find_twin(struct track *track, const struct task_result *result)
{
	if (track->job->direction != DIRECTION_IN ||
	    track->job->track_count == 1 || track_print(track, result) == -1)
		return NULL;
	return track_twin(track);
}

static bool
is_of_sender(const struct job *job, struct slice text)
{
	struct address one;
	struct address other;

	return address_parse(text, ADDRESS_MAY_BE_UTF8, &one, NULL) == 0 &&
	       address_parse(slice_of(job->header_from), ADDRESS_MAY_BE_UTF8,
		   &other, NULL) == 0 &&
	       address_equals_folded(&one, &other);
}

/*
 * Keys that came with the mail; they are read while it goes on its way.  A
 * worker that such a mail took over names no other address than its From, and
 * is believed no more than a mail can be; chains are looked at by another one
 * (key_harvest.c).
 */
static void
harvest(const struct track *track, struct ipc_list harvested)
{
	const struct job *job = track->job;
	struct ipc_record_harvest record;

	while (ipc_harvest_next(&harvested, &record)) {
		if (job->direction != DIRECTION_IN ||
		    !is_of_sender(job, record.address))
			continue;
		if (record.trust > TRUST_HARVESTED)
			record.trust = TRUST_HARVESTED;
		if (slice_equals(record.kind, SLICE("crl")))
			crls_look(lookup_crls(job_signerd(job)->lookup),
			    record.public, job->now_s);
		else
			key_harvest(job_signerd(job), &record, NULL, NULL);
	}
}

/*
 * "deliver", "hold" or "reject": what is wanted of mail with that verdict.
 *
 * Whoever has a ciphertext of somebody else may send it changed, again and
 * again, and would read it from which of them are refused.  So nothing that
 * was found out with a private key is: it is held instead, and a 250 says
 * nothing.  What is malformed, or for other keys, anybody can see.
 */
static const char *
wanted(const struct track *track)
{
	const struct settings *settings =
	    daemon_settings(job_signerd(track->job)->daemon);
	const char *wish = "deliver";

	if (track->is_undecryptable)
		wish = settings->crypto_undecryptable;
	if (track->is_forged &&
	    strcmp(settings->crypto_bad_signature, "deliver") != 0)
		wish = settings->crypto_bad_signature;
	return track->uses_secret && strcmp(wish, "reject") == 0 ? "hold"
								 : wish;
}

/* The last step was done. */
static void
end_track(struct track *track, const struct task_result *result)
{
	const char *wish = wanted(track);
	enum sign_outcome outcome = result->outcome;
	const struct track *twin;

	/* Held by a worker: of that the sender learns nothing. */
	if (outcome != SIGNED_HOLD && strcmp(wish, "reject") == 0) {
		job_track_failed(track, SIGNED_PERMANENT,
		    track->is_forged ? SLICE("5.7.7") : SLICE("5.7.5"),
		    track->is_forged
			? SLICE("the signature is not valid")
			: SLICE("the message cannot be decrypted"));
		return;
	}
	if (strcmp(wish, "hold") == 0)
		outcome = SIGNED_HOLD;
	track->outcome = outcome;
	twin = find_twin(track, result);
	if (twin != NULL) {
		track->number = twin->number;
		job_track_done(track, outcome);
		return;
	}
	if (look_for_room(track, result) == -1)
		return;
	if (send_output(track, result) == -1)
		job_track_failed(track, SIGNED_TEMPORARY, SLICE("4.3.0"),
		    SLICE("an output could not be sent"));
	else
		job_track_done(track, outcome);
}

/*
 * A later step wants it held.  What that one was given is opened in part, and
 * that is what an attacker wants somebody to see: the mail as it came is held.
 */
static void
hold_closed(struct track *track)
{
	struct err err = {""};

	track_drop_content(track);
	track->steps = 0;
	track->applied = 0;
	buf_reset(&track->facts.encoded);
	track->facts.count = 0;
	track->closed = CLOSED_ALTERED;
	if (track_start(track, &err) == -1)
		job_track_failed(track, SIGNED_TEMPORARY, SLICE("4.3.0"),
		    slice_of(err.text));
}

static void
on_step_done(struct task *task, struct task_result *result)
{
	struct track *track = task->owner;
	struct err err = {""};
	bool is_last;

	track->is_running = false;
	track->job->running--;
	if (result->outcome != SIGNED_DONE && result->outcome != SIGNED_HOLD) {
		job_track_failed(
		    track, result->outcome, result->enhanced, result->reason);
		return;
	}
	if (result->outcome == SIGNED_HOLD && track->has_content) {
		keep_method(track, result->method);
		keep_facts(track, result->facts);
		hold_closed(track);
		return;
	}
	if (!is_output(track, result)) {
		job_track_failed(track, SIGNED_TEMPORARY, SLICE("4.3.0"),
		    SLICE("a worker's output is odd"));
		return;
	}
	track->steps++;
	track->applied |= result->applied;
	keep_method(track, result->method);
	keep_facts(track, result->facts);
	harvest(track, result->harvested);
	is_last =
	    result->outcome == SIGNED_HOLD || next_op(track) == WORK_OP_COUNT;
	if (result->is_prefix && complete(track, result, is_last) == -1) {
		job_track_failed(track, SIGNED_TEMPORARY, SLICE("4.3.0"),
		    SLICE("an output could not be put together"));
		return;
	}
	if (is_last) {
		end_track(track, result);
		return;
	}
	if (look_for_room(track, result) == -1)
		return;
	if (keep_content(track, result) == -1 || track_start(track, &err) == -1)
		job_track_failed(track, SIGNED_TEMPORARY, SLICE("4.3.0"),
		    slice_of(err.text));
}
