/* SPDX-License-Identifier: ISC */
/*
 * What a result of the signer is worth.
 * Runs in: postern-queued.  Trusts: nothing of the signer's word: what was
 * demanded is compared with what it says and with what it gave.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alerts.h"
#include "relay/queue_sign_check.h"
#include "relay/queue_sign_parts.h"
#include "relay/queue_spool.h"

/* The first octets of a file; 0: it cannot be read. */
static size_t
read_start(int fd, char **start_r)
{
	ssize_t n;

	*start_r = xmalloc(SIGN_CHECK_START);
	n = fd == -1 ? -1 : pread(fd, *start_r, SIGN_CHECK_START, 0);
	return n > 0 ? (size_t)n : 0;
}

/* The start of what a recipient would get. */
static struct slice
start_of(struct sign_job *job, const struct sign_answer *answer)
{
	const struct queue_message *message = job->message;
	struct sign_output *output;
	int fd;

	if (answer->output == 0) {
		if (message->content != NULL)
			return (struct slice){message->content, message->size};
		if (job->original_start != NULL || !message->is_file)
			return (struct slice){
			    job->original_start, job->original_start_n};
		fd = queue_spool_open(job->sign->queued->spool, message->id, 0);
		job->original_start_n = read_start(fd, &job->original_start);
		close_if_open(&fd);
		return (struct slice){
		    job->original_start, job->original_start_n};
	}
	output = &job->outputs[answer->output - 1];
	if (output->content != NULL)
		return (struct slice){output->content, output->size};
	if (output->start == NULL)
		output->start_n = read_start(output->fd, &output->start);
	return (struct slice){output->start, output->start_n};
}

/* NULL: this recipient may have what the signer made for him. */
static const char *
find_missing(struct sign_job *job, struct sign_answer *answer)
{
	const struct queue_protection *protection = job->message->protection;
	const struct queue_demand *demand =
	    queue_protection_demand(protection, answer->number);
	struct slice start;

	if (demand == NULL)
		return "nobody knows what was demanded";
	if (!queue_demand_is_strict(protection, demand))
		return NULL;
	start = start_of(job, answer);
	if (!queue_demand_is_met(protection, demand, answer->applied) &&
	    (demand->options & PROTECT_CALENDAR_PLAIN) != 0 &&
	    queue_sign_is_calendar(start))
		answer->applied |= QUEUE_WAIVED;
	return queue_sign_missing(protection, demand, answer->applied, start);
}

static void
tell_missing(const struct sign_job *job, const char *missing)
{
	char id[ID_TEXT_SIZE];

	id_format(job->message->id, id);
	daemon_alert_raise(job->sign->queued->daemon, ALERT_PROTECTION, id,
	    "Message %s was to be protected, and %s; it waits in the queue.",
	    id, missing);
}

void
sign_judge_is_well(const struct sign_job *job)
{
	char id[ID_TEXT_SIZE];

	id_format(job->message->id, id);
	daemon_alert_clear(job->sign->queued->daemon, ALERT_PROTECTION, id);
}

bool
sign_is_served(const struct sign_answer *answer)
{
	return answer->outcome == SIGNED_DONE || answer->outcome == SIGNED_HOLD;
}

/* He has less than he must have: the signer's word does not count. */
static void
take_back(struct sign_job *job, struct sign_answer *answer, const char *missing)
{
	tell_missing(job, missing);
	job->is_alarming = true;
	answer->outcome = SIGNED_TEMPORARY;
	answer->output = 0;
	(void)snprintf(answer->enhanced, sizeof(answer->enhanced), "4.7.5");
	free(answer->reason);
	answer->reason = xstrdup(missing);
}

/* One of "all or none" is refused: then everybody is. */
static bool
refuses_all(const struct sign_job *job, const struct sign_answer *answer)
{
	const struct queue_demand *demand =
	    queue_protection_demand(job->message->protection, answer->number);

	return answer->outcome == SIGNED_PERMANENT && demand != NULL &&
	       demand->encrypt == ENCRYPT_REQUIRED_ALL;
}

static enum sign_verdict
judge_answers(struct sign_job *job)
{
	size_t served = 0;
	size_t refused = 0;

	for (size_t i = 0; i < job->answer_count; i++) {
		struct sign_answer *answer = &job->answers[i];
		const char *missing =
		    sign_is_served(answer) ? find_missing(job, answer) : NULL;

		if (missing != NULL)
			take_back(job, answer, missing);
		served += sign_is_served(answer);
		refused += answer->outcome == SIGNED_PERMANENT;
		job->is_refused |= refuses_all(job, answer);
	}
	if (job->is_refused || refused == job->answer_count)
		return SIGN_VERDICT_REFUSED;
	return served == job->answer_count ? SIGN_VERDICT_MET
					   : SIGN_VERDICT_MIXED;
}

/* The same answer for everybody who was asked for. */
static void
answer_for_all(struct sign_job *job)
{
	job->answers = xcalloc(job->share.count, sizeof(*job->answers));
	job->answer_count = job->share.count;
	for (size_t i = 0; i < job->answer_count; i++) {
		struct sign_answer *answer = &job->answers[i];

		answer->number = job->share.numbers[i];
		answer->outcome = (uint16_t)job->outcome;
		answer->method = xstrdup("");
		answer->reason = xstrdup(job->reason);
		memcpy(answer->enhanced, job->enhanced, sizeof(job->enhanced));
	}
}

static enum sign_verdict
judge(struct sign_job *job, const char **enhanced_r, const char **why_r)
{
	switch (job->outcome) {
	case SIGNED_DONE:
		return judge_answers(job);
	case SIGNED_PERMANENT:
	case SIGNED_HOLD:
		if (job->answers == NULL)
			answer_for_all(job);
		if (job->outcome == SIGNED_PERMANENT ||
		    job->message->protection->direction == DIRECTION_IN)
			return judge_answers(job);
		*why_r = "The signer wants to hold mail that goes out";
		*enhanced_r = "4.7.5";
		return SIGN_VERDICT_TEMPORARY;
	case SIGNED_TEMPORARY:
	case SIGN_OUTCOME_COUNT:
		break;
	}
	*why_r = job->reason;
	*enhanced_r = job->enhanced;
	return SIGN_VERDICT_TEMPORARY;
}

enum sign_verdict
sign_judge(struct sign_job *job, const char **enhanced_r, const char **why_r)
{
	if (!job->is_judged)
		job->verdict = judge(job, enhanced_r, why_r);
	job->is_judged = job->verdict != SIGN_VERDICT_TEMPORARY;
	return job->verdict;
}

const struct sign_answer *
sign_refusal_of(const struct sign_job *job)
{
	size_t first = job->answer_count;

	for (size_t i = 0; i < job->answer_count; i++) {
		if (refuses_all(job, &job->answers[i]))
			return &job->answers[i];
		if (first == job->answer_count &&
		    !sign_is_served(&job->answers[i]))
			first = i;
	}
	if (first == job->answer_count)
		bug("a refusal of nobody");
	return &job->answers[first];
}
