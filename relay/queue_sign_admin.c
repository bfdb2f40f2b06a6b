/* SPDX-License-Identifier: ISC */
/*
 * An administrator has a message in his hands while it is on its way through
 * the signer.  queue_sign.h has what follows in each state.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include "relay/queue_sign_parts.h"

struct queue_message *
queue_sign_settling(const struct queue_sign *sign, uint64_t message_id)
{
	const struct sign_job *job = sign_job_find(sign, message_id);

	return job != NULL && job->state == SIGN_SETTLING ? job->message : NULL;
}

void
queue_sign_watch(const struct queue_sign *sign, uint64_t message_id,
    struct queue_sign_watch *watch)
{
	struct sign_job *job = sign_job_find(sign, message_id);

	if (job == NULL || job->state != SIGN_SETTLING)
		bug("a watch of a message that is not settling");
	watch->next = job->watches;
	job->watches = watch;
}

bool
queue_sign_has_claim(const struct queue_sign *sign, uint64_t message_id)
{
	const struct sign_job *job = sign_job_find(sign, message_id);

	return job != NULL && job->claim != NULL;
}

/* While a client waits it is not in the queue yet. */
static bool
is_of_queue(const struct sign_job *job, const struct queue_message *message)
{
	return job->state == SIGN_COMMITTING ? sign_job_is_of(job, message)
					     : job->claim != NULL;
}

uint32_t
queue_sign_withdraw(
    struct queue_sign *sign, const struct queue_message *message)
{
	struct sign_job *job = sign_job_find(sign, message->id);
	uint32_t attempt;

	if (job == NULL || !is_of_queue(job, message))
		return 0;
	attempt = job->message->protection->attempts;
	if (job->is_out)
		sign_send_forget(job);
	if (job->state == SIGN_QUEUED)
		sign_turn_drop(job);
	if (job->state == SIGN_STORING) {
		/* A thread is at it. */
		dispatch_forget(sign->queued->dispatch, job->claim);
		job->claim = NULL;
		job->is_withdrawn = true;
	} else {
		sign_job_free(job);
	}
	return attempt;
}
