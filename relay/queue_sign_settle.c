/* SPDX-License-Identifier: ISC */
/*
 * What follows from an answer of the signer, or from none.
 * Runs in: postern-queued.  Trusts: nothing of the signer's word: what was
 * demanded is compared with what it says and with what it gave.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alerts.h"
#include "common/events.h"
#include "common/smtp_reply.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign_check.h"
#include "relay/queue_sign_parts.h"
#include "relay/queue_spool.h"

/* Waits between attempts: twice as long each time. */
#define WAIT_FIRST_MS 5000
#define WAIT_LONGEST_MS (5 * 60 * 1000)
/* Somebody should look when something waits longer. */
#define ALERT_AFTER_MS (15 * 60 * 1000)

/* What a result comes to for the message. */
enum verdict {
	VERDICT_TEMPORARY,
	VERDICT_MET,     /* for everybody, or it is to be held */
	VERDICT_PARTIAL, /* some are refused */
	VERDICT_REFUSED  /* all are */
};

/* ---- looking at it ---- */

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

static void
tell_no_more(const struct sign_job *job)
{
	char id[ID_TEXT_SIZE];

	id_format(job->message->id, id);
	daemon_alert_clear(job->sign->queued->daemon, ALERT_PROTECTION, id);
}

/* *why_r: of VERDICT_TEMPORARY. */
static enum verdict
judge_answers(struct sign_job *job, const char **enhanced_r, const char **why_r)
{
	size_t refused = 0;

	for (size_t i = 0; i < job->answer_count; i++) {
		struct sign_answer *answer = &job->answers[i];

		switch ((enum sign_outcome)answer->outcome) {
		case SIGNED_DONE:
		case SIGNED_HOLD:
			*why_r = find_missing(job, answer);
			*enhanced_r = "4.7.5";
			if (*why_r == NULL)
				break;
			tell_missing(job, *why_r);
			return VERDICT_TEMPORARY;
		case SIGNED_PERMANENT:
			refused++;
			break;
		case SIGNED_TEMPORARY:
		case SIGN_OUTCOME_COUNT:
			*why_r = answer->reason;
			*enhanced_r = answer->enhanced;
			return VERDICT_TEMPORARY;
		}
	}
	if (refused == 0)
		return VERDICT_MET;
	return refused < job->answer_count ? VERDICT_PARTIAL : VERDICT_REFUSED;
}

/* The same answer for every recipient. */
static void
answer_for_all(struct sign_job *job)
{
	const struct queue_message *message = job->message;

	job->answers = xcalloc(message->recipient_count, sizeof(*job->answers));
	job->answer_count = message->recipient_count;
	for (size_t i = 0; i < job->answer_count; i++) {
		struct sign_answer *answer = &job->answers[i];

		answer->number = message->recipients[i].number;
		answer->outcome = (uint16_t)job->outcome;
		answer->method = xstrdup("");
		answer->reason = xstrdup(job->reason);
		memcpy(answer->enhanced, job->enhanced, sizeof(job->enhanced));
	}
}

static enum verdict
judge(struct sign_job *job, const char **enhanced_r, const char **why_r)
{
	switch (job->outcome) {
	case SIGNED_DONE:
		return judge_answers(job, enhanced_r, why_r);
	case SIGNED_PERMANENT:
	case SIGNED_HOLD:
		if (job->answers == NULL)
			answer_for_all(job);
		if (job->outcome == SIGNED_PERMANENT)
			return VERDICT_REFUSED;
		if (job->message->protection->direction == DIRECTION_IN)
			return VERDICT_MET;
		*why_r = "The signer wants to hold mail that goes out";
		*enhanced_r = "4.7.5";
		return VERDICT_TEMPORARY;
	case SIGNED_TEMPORARY:
	case SIGN_OUTCOME_COUNT:
		break;
	}
	*why_r = job->reason;
	*enhanced_r = job->enhanced;
	return VERDICT_TEMPORARY;
}

/* ---- taking it over ---- */

static void
move_outputs(struct sign_job *job)
{
	struct queue_output *outputs =
	    xcalloc(job->output_count + 1, sizeof(*outputs));

	for (size_t i = 0; i < job->output_count; i++) {
		struct sign_output *from = &job->outputs[i];
		const bool is_file =
		    from->content == NULL || from->size > IPC_INLINE_MAX;

		outputs[i] = (struct queue_output){.number = from->number,
		    .is_file = is_file,
		    .is_8bit = from->is_8bit,
		    .size = from->size};
		if (!is_file) {
			outputs[i].content = from->content;
			from->content = NULL;
		}
	}
	queue_protection_set_outputs(
	    job->message->protection, outputs, job->output_count);
}

/*
 * The message is what the signer made of it.  Who is refused keeps his row
 * for the moment: queue_result_signed() takes it.
 */
static void
take_over(struct sign_job *job)
{
	struct queue_message *message = job->message;
	struct queued *queued = job->sign->queued;

	move_outputs(job);
	message->flags &= (uint16_t)~MSG_FLAG_WAIT_SIGN;
	for (size_t i = 0; i < job->answer_count; i++) {
		const struct sign_answer *answer = &job->answers[i];
		struct queue_demand *demand = queue_protection_demand(
		    message->protection, answer->number);
		struct queue_recipient *recipient = &message->recipients[i];

		demand->applied = answer->applied;
		recipient->output = answer->output;
		recipient->next_ms =
		    queue_delivery_first_ms(queued, recipient->domain);
		if (answer->outcome == SIGNED_HOLD)
			recipient->state = RCPT_HELD;
		if (answer->outcome == SIGNED_PERMANENT)
			recipient->next_ms = INT64_MAX;
	}
	if (message->budget != NULL)
		queue_message_charge(message, message->budget);
	if (message->protection->direction == DIRECTION_IN)
		job->sign->opened_total++;
	else
		job->sign->protected_total++;
}

/* ---- life events ---- */

static void
add_method_event(struct queue_job *job, struct queue_message *message,
    const struct sign_answer *answer, size_t count)
{
	const bool is_in = message->protection->direction == DIRECTION_IN;
	const struct queue_recipient *recipient =
	    queue_message_recipient(message, answer->number);
	struct event_protected event = {.recipient_count = (uint32_t)count,
	    .to = slice_of(count == 1 ? recipient->address : ""),
	    .method = slice_of(answer->method)};
	struct buf applied;

	buf_init(&applied, 64);
	queue_applied_text(answer->applied, &applied);
	event.applied = slice_of(buf_text(&applied));
	if (is_in) {
		struct event_opened opened = {.to = event.to,
		    .recipient_count = event.recipient_count,
		    .applied = event.applied,
		    .method = event.method,
		    .is_held = answer->outcome == SIGNED_HOLD};

		queue_job_event(
		    job, message, clock_wall_us(), EV_OPENED, &opened);
	} else {
		queue_job_event(
		    job, message, clock_wall_us(), EV_PROTECTED, &event);
	}
	buf_clear(&applied);
}

static bool
is_served(const struct sign_answer *answer)
{
	return answer->outcome == SIGNED_DONE || answer->outcome == SIGNED_HOLD;
}

/* One event for all who get the same. */
static void
note_answers(
    struct queue_job *queue_job, struct queue_message *message, void *arg)
{
	const struct sign_job *job = arg;

	for (size_t i = 0; i < job->answer_count; i++) {
		const struct sign_answer *answer = &job->answers[i];
		bool is_told = !is_served(answer);
		size_t count = 0;

		for (size_t k = 0; k < job->answer_count && !is_told; k++) {
			if (!is_served(&job->answers[k]) ||
			    job->answers[k].output != answer->output)
				continue;
			is_told = k < i;
			count++;
		}
		if (!is_told)
			add_method_event(queue_job, message, answer, count);
	}
}

void
queue_sign_note(struct queue_sign *sign, struct queue_job *queue_job,
    struct queue_message *message)
{
	const struct event_waiting waiting = {
	    .reason = SLICE("the signer has not answered yet")};
	struct sign_job *job;

	if (message->protection == NULL)
		return;
	if ((message->flags & MSG_FLAG_WAIT_SIGN) != 0)
		queue_job_event(
		    queue_job, message, clock_wall_us(), EV_WAITING, &waiting);
	else if ((job = sign_job_find(sign, message->id)) != NULL)
		note_answers(queue_job, message, job);
}

/* ---- a client waits ---- */

static void
end_early(struct sign_job *job, const struct smtp_status *refusal)
{
	queue_sign_done_fn *done = job->done;

	job->done = NULL;
	job->sign->early--;
	done(job->arg, job->message, refusal);
}

/* It is committed as one that waits; the job goes on behind its client. */
static void
let_client_go(struct sign_job *job)
{
	job->state = SIGN_COMMITTING;
	job->deadline_ms = clock_monotonic_ms() + SIGN_LATE_DEADLINE_MS;
	job->message->flags |= MSG_FLAG_WAIT_SIGN;
	job->sign->waited_total++;
	end_early(job, NULL);
}

void
sign_settle_late(struct sign_job *job)
{
	let_client_go(job);
}

/* One to three digits (RFC 3463 §2), from there on. */
static size_t
count_digits(const char *text)
{
	const size_t n = strspn(text, "0123456789");

	return n <= 3 ? n : 0;
}

/* "5.7.3", of the class that the other one has. */
static const char *
usable_enhanced(const char *enhanced, const char *otherwise)
{
	size_t subject;
	size_t detail;

	if (enhanced[0] != otherwise[0] || enhanced[1] != '.')
		return otherwise;
	subject = count_digits(enhanced + 2);
	if (subject == 0 || enhanced[2 + subject] != '.')
		return otherwise;
	detail = count_digits(enhanced + 3 + subject);
	return detail > 0 && enhanced[3 + subject + detail] == '\0' ? enhanced
								    : otherwise;
}

static void
refuse_client(struct sign_job *job)
{
	const struct sign_answer *answer = &job->answers[0];
	struct smtp_status refusal;

	(void)smtp_status_set(&refusal, 550,
	    usable_enhanced(answer->enhanced, "5.7.5"), "%s",
	    answer->reason[0] != '\0'
		? answer->reason
		: "The message cannot be protected as policy demands");
	end_early(job, &refusal);
	sign_job_free(job);
}

static void
accept_early(struct sign_job *job)
{
	take_over(job);
	/* The events of its commit tell what was done: queue_sign_note(). */
	end_early(job, NULL);
	sign_job_free(job);
}

/* ---- it was waiting ---- */

/* No row names what was written: the next attempt's have the same names. */
static void
remove_files(const struct sign_job *job)
{
	const struct queue_protection *protection = job->message->protection;

	for (size_t i = 0; i < protection->output_count; i++)
		if (protection->outputs[i].is_file)
			queue_spool_remove(job->sign->queued->spool,
			    job->message->id, protection->outputs[i].number);
}

static void
on_settled(void *arg, bool is_done)
{
	struct sign_job *job = arg;
	struct queue_message *message = job->message;
	struct queued *queued = job->sign->queued;

	if (!is_done)
		remove_files(job);
	message->references++;
	sign_job_free(job);
	/* A claim kept it apart from what the refill saw. */
	if (is_done && (message->flags & MSG_FLAG_WAIT_SIGN) == 0 &&
	    dispatch_message(queued->dispatch, message->id) == NULL)
		queue_delivery_plan(queued, message, queued_now_ms(queued));
	else
		queue_refill_missed(queued->refill);
	queue_message_unref(message);
}

static void
commit_answers(struct sign_job *job)
{
	struct sign_failure *failures =
	    xcalloc(job->answer_count, sizeof(*failures));
	size_t count = 0;

	take_over(job);
	for (size_t i = 0; i < job->answer_count; i++) {
		const struct sign_answer *answer = &job->answers[i];

		if (answer->outcome == SIGNED_PERMANENT)
			failures[count++] =
			    (struct sign_failure){.number = answer->number,
				.enhanced =
				    usable_enhanced(answer->enhanced, "5.7.5"),
				.reason = answer->reason};
	}
	job->state = SIGN_SETTLING;
	tell_no_more(job);
	queue_result_signed(job->sign->queued, job->message, job->claim,
	    failures, count, note_answers, on_settled, job);
	job->claim = NULL;
	free(failures);
}

static int64_t
wait_after(uint32_t attempts)
{
	int64_t wait_ms = WAIT_FIRST_MS;

	for (uint32_t i = 1; i < attempts && wait_ms < WAIT_LONGEST_MS; i++)
		wait_ms *= 2;
	return wait_ms < WAIT_LONGEST_MS ? wait_ms : WAIT_LONGEST_MS;
}

static void
look_at_age(struct queue_sign *sign, const struct queue_message *message,
    const char *reason)
{
	struct queued *queued = sign->queued;
	const int64_t now_ms = queued_now_ms(queued);
	char id[ID_TEXT_SIZE];

	if (now_ms - message->created_ms < ALERT_AFTER_MS)
		return;
	id_format(message->id, id);
	sign->overdue_ms = now_ms;
	daemon_alert_raise(queued->daemon, ALERT_SIGNER, "",
	    "Mail waits for the signer, message %s for %lld minutes: %s", id,
	    (long long)((now_ms - message->created_ms) / 60000), reason);
}

/* The next attempt is noted, with when it is due. */
static void
wait_more(struct sign_job *job, const char *enhanced, const char *reason)
{
	struct queue_sign *sign = job->sign;
	struct queued *queued = sign->queued;

	look_at_age(sign, job->message, reason);
	sign_job_drop_answer(job);
	job->state = SIGN_SETTLING;
	queue_result_sign_wait(queued, job->message, job->claim,
	    queued_now_ms(queued) +
		wait_after(job->message->protection->attempts),
	    usable_enhanced(enhanced, "4.7.5"), reason, on_settled, job);
	job->claim = NULL;
}

/* ---- which of these ---- */

static void
on_stored(struct sign_job *job)
{
	if (job->failure != 0)
		sign_settle_temporary(
		    job, "4.3.1", "What the signer made cannot be stored");
	else if (job->done != NULL)
		accept_early(job);
	else
		commit_answers(job);
}

void
sign_settle_temporary(
    struct sign_job *job, const char *enhanced, const char *reason)
{
	sign_job_end_attempt(job);
	if (job->done != NULL) {
		sign_job_drop_answer(job);
		let_client_go(job);
	} else if (job->state == SIGN_COMMITTING) {
		sign_job_drop_answer(job);
	} else {
		/* The reason may be part of what is dropped. */
		char *kept = xstrdup(reason);
		char kept_enhanced[17];

		(void)snprintf(
		    kept_enhanced, sizeof(kept_enhanced), "%s", enhanced);
		wait_more(job, kept_enhanced, kept);
		free(kept);
	}
}

void
sign_settle(struct sign_job *job)
{
	const char *enhanced = "";
	const char *why = "";

	/* Its row is on its way to the disk: afterwards. */
	if (job->state == SIGN_COMMITTING)
		return;
	switch (judge(job, &enhanced, &why)) {
	case VERDICT_TEMPORARY:
		sign_settle_temporary(job, enhanced,
		    why[0] != '\0' ? why : "The signer asks to try again");
		break;
	case VERDICT_MET:
		sign_store(job, on_stored);
		break;
	case VERDICT_PARTIAL:
		if (job->done != NULL)
			let_client_go(job);
		else
			sign_store(job, on_stored);
		break;
	case VERDICT_REFUSED:
		if (job->done != NULL)
			refuse_client(job);
		else
			commit_answers(job);
		break;
	}
}
