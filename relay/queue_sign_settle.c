/* SPDX-License-Identifier: ISC */
/*
 * What follows from an answer of the signer, or from none.
 * Runs in: postern-queued.  Trusts: queue_sign_judge.c to have looked at it.
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
#include "relay/queue_sign_parts.h"
#include "relay/queue_spool.h"

/* Waits between attempts: as long as it has waited, within these. */
#define WAIT_FIRST_MS 5000
#define WAIT_LONGEST_MS (5 * 60 * 1000)
/* Somebody should look when something waits longer. */
#define ALERT_AFTER_MS (15 * 60 * 1000)

/* Contents stay in memory up to this part of queue.memory. */
#define CONTENT_PART 4

/* ---- taking it over ---- */

/* Outputs that somebody gets are numbered on from those that there are. */
static void
number_outputs(struct sign_job *job)
{
	uint16_t last = queue_protection_last_output(job->message->protection);

	for (size_t i = 0; i < job->output_count; i++)
		job->outputs[i].stored = 0;
	for (size_t i = 0; i < job->answer_count; i++) {
		const uint16_t number = job->answers[i].output;

		if (number != 0 && job->outputs[number - 1].stored == 0)
			job->outputs[number - 1].stored = ++last;
	}
}

static void
move_outputs(struct sign_job *job, struct queue_attempt *attempt)
{
	attempt->outputs =
	    xcalloc(job->output_count + 1, sizeof(*attempt->outputs));
	for (size_t i = 0; i < job->output_count; i++) {
		struct sign_output *from = &job->outputs[i];
		struct queue_output *to =
		    &attempt->outputs[attempt->output_count];
		const bool is_file =
		    from->content == NULL || from->size > IPC_INLINE_MAX;

		if (from->stored == 0 || from->is_there)
			continue;
		*to = (struct queue_output){.number = from->stored,
		    .is_file = is_file,
		    .is_8bit = from->is_8bit,
		    .size = from->size};
		if (!is_file) {
			to->content = from->content;
			from->content = NULL;
		}
		attempt->output_count++;
	}
}

static int64_t
next_attempt_ms(const struct sign_job *job)
{
	const int64_t now_ms = queued_now_ms(job->sign->queued);
	const int64_t waited_ms = now_ms - job->message->created_ms;

	if (waited_ms < WAIT_FIRST_MS)
		return now_ms + WAIT_FIRST_MS;
	return now_ms +
	       (waited_ms < WAIT_LONGEST_MS ? waited_ms : WAIT_LONGEST_MS);
}

/* Who is ready is not looked at before the others are tried again. */
static void
serve(struct sign_job *job, struct queue_attempt *attempt,
    const struct sign_answer *answer, enum demand_waits waits)
{
	struct queue_message *message = job->message;
	const struct queue_recipient *recipient =
	    queue_message_recipient(message, answer->number);

	if (recipient == NULL)
		bug("the signer served no recipient");
	attempt->served[attempt->served_count++] = (struct queue_served){
	    .number = answer->number,
	    .output = answer->output == 0
			  ? 0
			  : job->outputs[answer->output - 1].stored,
	    .applied = answer->applied,
	    .state = answer->outcome == SIGNED_HOLD ? RCPT_HELD : RCPT_WAITING,
	    .waits = (uint8_t)waits,
	    .next_ms = waits == DEMAND_READY
			   ? next_attempt_ms(job)
			   : queue_delivery_first_ms(
				 job->sign->queued, recipient->domain)};
}

/* Those who had theirs before, and waited for the others. */
static void
release_ready(struct sign_job *job, struct queue_attempt *attempt)
{
	struct queue_message *message = job->message;

	for (size_t i = 0; i < job->claim->number_count; i++) {
		const uint32_t number = job->claim->numbers[i];
		const struct queue_demand *demand =
		    queue_protection_demand(message->protection, number);
		const struct queue_recipient *recipient =
		    queue_message_recipient(message, number);

		if (demand == NULL || recipient == NULL ||
		    demand->waits != DEMAND_READY)
			continue;
		attempt->served[attempt->served_count++] =
		    (struct queue_served){.number = number,
			.output = recipient->output,
			.applied = demand->applied,
			.state = recipient->state,
			.waits = DEMAND_MET,
			.next_ms = queue_delivery_first_ms(
			    job->sign->queued, recipient->domain)};
	}
}

/* With what this attempt made, is anybody without his output? */
static bool
is_anybody_left(const struct sign_job *job)
{
	const struct queue_protection *protection = job->message->protection;
	size_t waiting = 0;
	size_t settled = 0;

	for (size_t i = 0; i < job->message->recipient_count; i++) {
		const struct queue_recipient *recipient =
		    &job->message->recipients[i];
		const struct queue_demand *demand =
		    queue_protection_demand(protection, recipient->number);

		waiting += recipient->next_ms != QUEUE_NEVER &&
			   demand != NULL && demand->waits == DEMAND_WAITS;
	}
	for (size_t i = 0; i < job->answer_count; i++)
		settled += job->answers[i].outcome != SIGNED_TEMPORARY;
	return waiting > settled;
}

/* What is committed of a result: who has his output now, and may have it. */
static struct queue_attempt *
make_attempt(struct sign_job *job)
{
	struct queue_message *message = job->message;
	struct queue_attempt *attempt = xcalloc(1, sizeof(*attempt));
	const bool is_ready =
	    queue_protection_is_all_or_none(message->protection) &&
	    job->claim != NULL;
	const bool is_last = !is_ready || !is_anybody_left(job);

	attempt->number = message->protection->attempts;
	attempt->is_suspect = message->protection->is_suspect;
	attempt->served =
	    xcalloc(message->recipient_count, sizeof(*attempt->served));
	if (job->is_refused)
		return attempt;
	move_outputs(job, attempt);
	for (size_t i = 0; i < job->answer_count; i++)
		if (sign_is_served(&job->answers[i]))
			serve(job, attempt, &job->answers[i],
			    is_last ? DEMAND_MET : DEMAND_READY);
	if (is_ready && is_last)
		release_ready(job, attempt);
	return attempt;
}

static void
count_done(struct queue_sign *sign, const struct queue_message *message)
{
	if (message->protection->direction == DIRECTION_IN)
		sign->opened_total++;
	else
		sign->protected_total++;
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

/* One event for all who get the same. */
static void
note_answers(
    struct queue_job *queue_job, struct queue_message *message, void *arg)
{
	const struct sign_job *job = arg;

	for (size_t i = 0; i < job->answer_count; i++) {
		const struct sign_answer *answer = &job->answers[i];
		bool is_told = !sign_is_served(answer);
		size_t count = 0;

		for (size_t k = 0; k < job->answer_count && !is_told; k++) {
			if (!sign_is_served(&job->answers[k]) ||
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
	queue_message_wait(job->message);
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
	const struct sign_answer *answer = sign_refusal_of(job);
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
	struct queue_attempt *attempt = make_attempt(job);

	queue_message_apply(job->message, attempt);
	queue_attempt_free(attempt);
	count_done(job->sign, job->message);
	/* The events of its commit tell what was done: queue_sign_note(). */
	end_early(job, NULL);
	sign_job_free(job);
}

/* ---- it was waiting ---- */

/* No row names what was written: the next attempt's have the same names. */
static void
remove_files(const struct sign_job *job)
{
	const struct queue_attempt *attempt = job->change;

	for (size_t i = 0; i < attempt->output_count; i++)
		if (attempt->outputs[i].is_file)
			queue_spool_remove(job->sign->queued->spool,
			    job->message->id, attempt->outputs[i].number);
}

/* What may leave does, and the next share is asked for. */
static void
plan_rest(struct queued *queued, struct queue_message *message)
{
	const struct queue_message *known =
	    dispatch_message(queued->dispatch, message->id);

	if (known != NULL && known != message) {
		queue_refill_missed(queued->refill);
		return;
	}
	if (queued->memory_used >
	    queued_settings(queued)->queue_memory / CONTENT_PART)
		queue_message_drop_content(message);
	queue_delivery_plan(queued, message, queued_now_ms(queued));
}

static void
on_settled(void *arg, bool is_done)
{
	struct sign_job *job = arg;
	struct queue_message *message = job->message;
	struct queued *queued = job->sign->queued;

	message->references++;
	if (is_done) {
		queue_message_apply(message, job->change);
		if ((message->flags & MSG_FLAG_WAIT_SIGN) == 0 &&
		    job->change->served_count > 0)
			count_done(job->sign, message);
	} else {
		remove_files(job);
	}
	sign_job_free(job);
	/* A claim kept it apart from what the refill saw. */
	if (is_done)
		plan_rest(queued, message);
	else
		queue_refill_missed(queued->refill);
	queue_message_unref(message);
}

/* The attempt's outcome is committed; the claim and misses go with it. */
static void
commit(struct sign_job *job, struct queue_attempt *attempt,
    struct sign_miss *misses, size_t miss_count)
{
	const struct sign_result result = {.attempt = attempt,
	    .misses = misses,
	    .miss_count = miss_count,
	    .now_ms = job->settled_ms,
	    .next_ms = next_attempt_ms(job),
	    .note = job->has_result && !job->is_refused ? note_answers : NULL,
	    .done = on_settled,
	    .arg = job};
	struct delivery *claim = job->claim;

	job->state = SIGN_SETTLING;
	job->change = attempt;
	job->claim = NULL;
	queue_result_signed(job->sign->queued, job->message, claim, &result);
	free(misses);
}

static struct sign_miss
miss_of(const struct sign_answer *answer)
{
	const bool is_final = answer->outcome == SIGNED_PERMANENT;
	const char *otherwise = is_final ? "5.7.5" : "4.7.5";

	return (struct sign_miss){.number = answer->number,
	    .is_final = is_final,
	    .enhanced = usable_enhanced(answer->enhanced, otherwise),
	    .reason = answer->reason[0] != '\0'
			  ? answer->reason
			  : "The signer asks to try again"};
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

/* The same for all who are at it, asked for or not. */
static void
commit_for_all(struct sign_job *job, const struct sign_miss *one)
{
	const size_t count = job->claim->number_count;
	struct sign_miss *misses = xcalloc(count, sizeof(*misses));

	for (size_t i = 0; i < count; i++) {
		misses[i] = *one;
		misses[i].number = job->claim->numbers[i];
	}
	commit(job, make_attempt(job), misses, count);
}

static void
commit_answers(struct sign_job *job)
{
	struct sign_miss *misses;
	size_t count = 0;

	if (!job->is_alarming)
		sign_judge_is_well(job);
	if (job->is_refused) {
		const struct sign_miss one = miss_of(sign_refusal_of(job));

		commit_for_all(job, &one);
		return;
	}
	misses = xcalloc(job->answer_count + 1, sizeof(*misses));
	for (size_t i = 0; i < job->answer_count; i++)
		if (!sign_is_served(&job->answers[i]))
			misses[count++] = miss_of(&job->answers[i]);
	for (size_t i = 0; i < count; i++)
		if (!misses[i].is_final) {
			look_at_age(job->sign, job->message, misses[i].reason);
			break;
		}
	commit(job, make_attempt(job), misses, count);
}

/*
 * All or none, and the time is over: who waits fails now, so nobody has it.
 * Else those who are ready would wait for him for ever.
 */
static bool
is_time_over_for_all(const struct sign_job *job)
{
	const struct queue_message *message = job->message;

	return queue_protection_is_all_or_none(message->protection) &&
	       schedule_is_expired(&job->sign->queued->schedule,
		   (message->flags & MSG_FLAG_BOUNCE) != 0, message->created_ms,
		   job->settled_ms);
}

/* The next attempt is noted, with when it is due. */
static void
wait_more(struct sign_job *job, const char *enhanced, const char *reason)
{
	const struct sign_miss one = {
	    .enhanced = usable_enhanced(enhanced, "4.7.5"), .reason = reason};

	look_at_age(job->sign, job->message, reason);
	sign_job_drop_answer(job);
	commit_for_all(job, &one);
}

/* ---- which of these ---- */

/* Whoever wanted to have it meanwhile could not. */
static void
throw_away(struct sign_job *job)
{
	struct queued *queued = job->sign->queued;

	if (job->failure == 0)
		sign_store_undo(job);
	sign_job_free(job);
	queue_refill_missed(queued->refill);
}

static void
on_stored(struct sign_job *job)
{
	if (job->is_withdrawn)
		throw_away(job);
	else if (job->failure != 0)
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
	job->settled_ms = queued_now_ms(job->sign->queued);
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
	job->settled_ms = queued_now_ms(job->sign->queued);
	switch (sign_judge(job, &enhanced, &why)) {
	case SIGN_VERDICT_TEMPORARY:
		sign_settle_temporary(job, enhanced,
		    why[0] != '\0' ? why : "The signer asks to try again");
		break;
	case SIGN_VERDICT_MET:
		number_outputs(job);
		sign_store(job, on_stored);
		break;
	case SIGN_VERDICT_MIXED:
		if (job->done != NULL) {
			let_client_go(job);
		} else if (is_time_over_for_all(job)) {
			job->is_refused = true;
			commit_answers(job);
		} else {
			number_outputs(job);
			sign_store(job, on_stored);
		}
		break;
	case SIGN_VERDICT_REFUSED:
		if (job->done != NULL)
			refuse_client(job);
		else
			commit_answers(job);
		break;
	}
}
