/* SPDX-License-Identifier: ISC */
/*
 * Jobs: each is an attempt of a message, found by the message's id.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>
#include <unistd.h>

#include "relay/queue_sign_parts.h"

static struct sign_job **
bucket(struct queue_sign *sign, uint64_t message_id)
{
	return &sign->buckets[(message_id ^ message_id >> 20) % SIGN_BUCKETS];
}

struct sign_job *
sign_job_find(const struct queue_sign *sign, uint64_t message_id)
{
	struct sign_job *at =
	    sign->buckets[(message_id ^ message_id >> 20) % SIGN_BUCKETS];

	while (at != NULL && at->message->id != message_id)
		at = at->next;
	return at;
}

struct sign_job *
sign_job_new(struct queue_sign *sign, struct queue_message *message)
{
	struct sign_job *job = xcalloc(1, sizeof(*job));
	struct sign_job **at = bucket(sign, message->id);

	job->sign = sign;
	job->message = message;
	message->references++;
	job->next = *at;
	*at = job;
	sign->jobs++;
	return job;
}

void
sign_job_drop_answer(struct sign_job *job)
{
	for (size_t i = 0; i < job->output_count; i++) {
		free(job->outputs[i].content);
		free(job->outputs[i].start);
		close_if_open(&job->outputs[i].fd);
	}
	for (size_t i = 0; i < job->answer_count; i++) {
		free(job->answers[i].method);
		free(job->answers[i].reason);
	}
	free(job->outputs);
	free(job->answers);
	free(job->reason);
	free(job->original_start);
	job->outputs = NULL;
	job->output_count = 0;
	job->memory = 0;
	job->answers = NULL;
	job->answer_count = 0;
	job->reason = NULL;
	job->original_start = NULL;
	job->has_result = false;
	job->is_judged = false;
	job->is_refused = false;
	job->is_alarming = false;
}

void
sign_job_end_attempt(struct sign_job *job)
{
	job->is_reading = false;
	if (!job->is_out)
		return;
	job->is_out = false;
	if (job->message->protection->is_suspect)
		job->sign->has_suspect = false;
	job->sign->out--;
	job->sign->out_octets -= job->octets;
	job->octets = 0;
	if (job->share.outputs > 1) {
		job->sign->wide_outputs -= job->share.outputs;
		job->sign->wide_octets -= job->wide_octets;
	}
	queue_sign_pump(job->sign);
}

void
sign_job_free(struct sign_job *job)
{
	struct queue_sign *sign = job->sign;
	struct sign_job **at = bucket(sign, job->message->id);
	struct queue_sign_watch *watch = job->watches;

	sign_job_end_attempt(job);
	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	sign->jobs--;
	sign_job_drop_answer(job);
	sign_share_clear(&job->share);
	if (job->claim != NULL)
		dispatch_forget(sign->queued->dispatch, job->claim);
	queue_message_unref(job->message);
	free(job);
	while (watch != NULL && !sign->is_ending) {
		struct queue_sign_watch *next = watch->next;

		watch->run(watch);
		watch = next;
	}
}

bool
sign_job_is_of(const struct sign_job *job, const struct queue_message *message)
{
	return job->message->session_id == message->session_id &&
	       job->message->created_ms == message->created_ms &&
	       job->message->recipient_count == message->recipient_count &&
	       message->protection != NULL;
}
