/* SPDX-License-Identifier: ISC */
/*
 * What the signer sends: outputs, then the result that they belong to.
 * Runs in: postern-queued.  Trusts: nothing of it.  An answer of nobody is
 * forgotten; one that breaks a rule ends the channel, and the message waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/header.h"
#include "common/utf8.h"
#include "relay/queue_sign_check.h"
#include "relay/queue_sign_parts.h"

/*
 * Of one attempt.  Signing, encrypting and two codings make four times of a
 * message at most; what was decrypted may have been compressed.
 */
#define OUTPUT_GROWTH 4
#define OUTPUT_SLACK (1u << 20)
/*
 * Outputs in memory, of one attempt, until its result is there: more than
 * SIGN_SHARE_OUTPUTS of the largest in a frame.
 */
#define MEMORY_MAX (64u << 20)

static struct queue_sign *
sign_of(const struct channel *channel)
{
	return queued_of(channel)->sign;
}

/* The job whose attempt that is, or NULL. */
static struct sign_job *
find_attempt(const struct queue_sign *sign, const struct channel *channel,
    uint64_t message_id, uint32_t attempt)
{
	struct sign_job *job = sign_job_find(sign, message_id);

	if (sign->signer != channel || job == NULL || !job->is_out ||
	    job->is_reading || job->attempt != attempt)
		return NULL;
	return job;
}

static uint64_t
output_limit(const struct queue_sign *sign)
{
	return queued_settings(sign->queued)->smtp_max_message_size *
		   OUTPUT_GROWTH +
	       OUTPUT_SLACK;
}

/* NULL: its number is not the next one, or there are more than recipients. */
static struct sign_output *
add_output(struct sign_job *job, uint16_t number)
{
	struct sign_output *output;

	if (number != job->output_count + 1 ||
	    job->output_count >= job->share.count)
		return NULL;
	job->outputs = xrealloc(
	    job->outputs, (job->output_count + 1) * sizeof(*job->outputs));
	output = &job->outputs[job->output_count++];
	*output = (struct sign_output){.number = number, .fd = -1};
	return output;
}

/* Behind it comes the message as it was sent, all of it, or nothing does. */
static bool
is_possible(const struct sign_job *job, const struct ipc_sign_output *m)
{
	const struct queue_message *message = job->message;

	if (m->follows_octets == 0)
		return m->content.n > 0;
	return !message->is_file && m->follows_octets == message->size;
}

static void
take_content(struct sign_output *output, const struct queue_message *message,
    const struct ipc_sign_output *m)
{
	const size_t follows = (size_t)m->follows_octets;

	output->size = m->content.n + follows;
	output->content = xmalloc(output->size);
	memcpy(output->content, m->content.p, m->content.n);
	if (follows > 0)
		memcpy(
		    output->content + m->content.n, message->content, follows);
	/* Of the message that is known since it came in. */
	output->is_8bit =
	    !utf8_is_ascii(m->content) ||
	    (follows > 0 && (message->flags & MSG_FLAG_8BIT) != 0);
}

static void
give_up(struct sign_job *job, const char *enhanced, const char *reason)
{
	sign_send_forget(job);
	sign_settle_temporary(job, enhanced, reason);
}

int
queue_sign_on_output(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_sign_output *m = &frame->message->sign_output;
	struct sign_job *job =
	    find_attempt(sign_of(channel), channel, m->message_id, m->attempt);
	struct sign_output *output;

	if (job == NULL)
		return 0;
	if (!is_possible(job, m))
		return -1;
	/* Memory was short when it was committed; the next attempt reads it. */
	if (m->follows_octets > 0 && job->message->content == NULL) {
		give_up(job, "4.3.0", "Its content is no longer in memory");
		return 0;
	}
	/* Of many recipients each may have his own: no breach. */
	if (job->memory + m->content.n + m->follows_octets > MEMORY_MAX) {
		give_up(job, "4.3.4",
		    "What it becomes for all its recipients is too much at "
		    "once");
		return 0;
	}
	if ((output = add_output(job, m->number)) == NULL)
		return -1;
	take_content(output, job->message, m);
	job->memory += (size_t)output->size;
	return 0;
}

int
queue_sign_on_output_file(
    struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_sign_output_file *m =
	    &frame->message->sign_output_file;
	struct queue_sign *sign = sign_of(channel);
	struct sign_job *job =
	    find_attempt(sign, channel, m->message_id, m->attempt);
	struct sign_output *output;
	struct stat st;

	if (job == NULL)
		return 0;
	if (m->size_octets == 0 || m->size_octets > output_limit(sign) ||
	    fstat(frame->fds[0], &st) == -1 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != m->size_octets ||
	    (output = add_output(job, m->number)) == NULL)
		return -1;
	output->fd = frame->fds[0];
	frame->fds[0] = -1;
	output->size = m->size_octets;
	return 0;
}

/* ---- results ---- */

static int
take_answer(const struct sign_job *job, struct sign_answer *answer,
    const struct ipc_record_protection *record)
{
	const struct queue_protection *protection = job->message->protection;
	const bool has_output =
	    record->outcome == SIGNED_DONE || record->outcome == SIGNED_HOLD;

	if (record->outcome >= SIGN_OUTCOME_COUNT ||
	    (record->applied & ~(unsigned)APPLIED_ALL) != 0 ||
	    record->output > job->output_count ||
	    (record->outcome == SIGNED_HOLD &&
		protection->direction != DIRECTION_IN))
		return -1;
	*answer = (struct sign_answer){.number = record->number,
	    .output = has_output ? record->output : 0,
	    .named = record->output,
	    .outcome = record->outcome,
	    .applied = record->applied,
	    .method = slice_dup(record->method),
	    .reason = slice_dup(record->reason)};
	(void)slice_copy(
	    record->enhanced, answer->enhanced, sizeof(answer->enhanced));
	return 0;
}

/* Each recipient of the share once, in their order. */
static int
take_answers(struct sign_job *job, struct ipc_list list)
{
	struct ipc_record_protection record;

	if (list.count != job->share.count)
		return -1;
	job->answers = xcalloc(list.count, sizeof(*job->answers));
	while (ipc_protection_next(&list, &record)) {
		const size_t at = job->answer_count;

		if (record.number != job->share.numbers[at] ||
		    take_answer(job, &job->answers[at], &record) == -1)
			return -1;
		job->answer_count++;
	}
	return 0;
}

/* Each was made for somebody, whatever became of him. */
static bool
is_every_output_named(const struct sign_job *job)
{
	for (size_t i = 0; i < job->output_count; i++) {
		bool is_named = false;

		for (size_t k = 0; k < job->answer_count; k++)
			is_named |=
			    job->answers[k].named == job->outputs[i].number;
		if (!is_named)
			return false;
	}
	return true;
}

int
queue_sign_on_result(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_sign_result *m = &frame->message->sign_result;
	struct sign_job *job =
	    find_attempt(sign_of(channel), channel, m->message_id, m->attempt);

	if (job == NULL)
		return 0;
	if (m->outcome >= SIGN_OUTCOME_COUNT)
		return -1;
	if (m->outcome == SIGNED_DONE &&
	    (take_answers(job, m->recipients) == -1 ||
		!is_every_output_named(job)))
		return -1;
	job->outcome = (enum sign_outcome)m->outcome;
	job->reason = slice_dup(m->reason);
	(void)slice_copy(m->enhanced, job->enhanced, sizeof(job->enhanced));
	job->has_result = true;
	sign_job_end_attempt(job);
	job->message->protection->is_suspect = false; /* it lived through it */
	sign_settle(job);
	return 0;
}

int
queue_sign_on_ready(struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);
	struct queue_sign *sign = queued->sign;

	if (sign->signer != NULL && sign->signer != channel)
		return -1; /* there is one signer */
	sign_domains_set(
	    &sign->domains, frame->message->sign_ready.dkim_domains);
	sign_ready_save(sign);
	if (sign->signer == NULL) {
		sign->signer = channel;
		queue_sign_pull_in(sign);
	}
	queue_sign_pump(sign);
	return 0;
}
