/* SPDX-License-Identifier: ISC */
/*
 * What an administrator has done to messages that were found: each is one
 * change, committed by the writer like everything else, and the request is
 * answered when the last one is.
 * Runs in: postern-queued, the loop.  Trusts: nothing of the JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "common/events.h"
#include "relay/queue_admin_parts.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"

static void
finish_if_done(struct queue_request *request)
{
	if (request->pending > 0)
		return;
	request->reply = json_pack("{s:I, s:O, s:O, s:o}", "count",
	    (json_int_t)request->changed, "ids", request->changed_ids, "busy",
	    request->busy_ids, "next", queue_admin_next_cursor(request));
	if (request->changed == 0 && request->cursor == 0)
		request->code = EXIT_CODE_NOTHING;
	queue_admin_answer(request);
}

static void
note_id(json_t *ids, uint64_t id)
{
	char text[ID_TEXT_SIZE];

	id_format(id, text);
	(void)json_array_append_new(ids, json_string(text));
}

static void
count_change(struct queue_request *request, uint64_t id)
{
	request->changed++;
	note_id(request->changed_ids, id);
}

/* A message in the hands of a request until its change is committed. */
struct change {
	struct queue_request *request;
	uint64_t message_id;
	struct delivery *claim;
};

static struct change *
new_change(struct queue_request *request, struct queue_message *message)
{
	struct change *change = xcalloc(1, sizeof(*change));

	change->request = request;
	change->message_id = message->id;
	request->pending++;
	return change;
}

static void
end_change(struct change *change, bool is_done)
{
	struct queue_request *request = change->request;

	if (is_done)
		count_change(request, change->message_id);
	free(change);
	request->pending--;
	finish_if_done(request);
}

static void
on_state_set(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct change *change = job->arg;
	struct queued *queued = change->request->queued;
	bool is_done = job->status == QUEUE_JOB_DONE;

	queue_outbox_send(queued->outbox, job);
	dispatch_forget(queued->dispatch, change->claim);
	queue_refill_missed(queued->refill);
	queue_job_free(job);
	end_change(change, is_done);
}

/*
 * One recipient's mail may be held (what cannot be opened for him), while
 * another one's waits for its destination.
 */
static bool
has_state(const struct queue_message *message, enum rcpt_state state)
{
	for (size_t i = 0; i < message->recipient_count; i++)
		if (message->recipients[i].state == state)
			return true;
	return false;
}

/* The struct that is in memory numbers the message's life events. */
static struct queue_message *
known_message(
    const struct queue_request *request, struct queue_message *message)
{
	struct queue_message *known =
	    dispatch_message(request->queued->dispatch, message->id);

	return known != NULL ? known : message;
}

static void
set_state(struct queue_request *request, struct queue_message *found,
    const char *action, enum rcpt_state before, enum rcpt_state state,
    uint32_t attempt_number)
{
	struct queue_message *message = known_message(request, found);
	struct event_handled handled = {
	    .action = slice_of(action), .actor = slice_of(request->actor)};
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_STATE, message, on_state_set);
	struct change *change = new_change(request, message);

	change->claim = dispatch_claim(request->queued->dispatch, message);
	job->attempt_number = attempt_number;
	job->state_before = before;
	job->state = state;
	job->next_ms = request->now_ms;
	job->arg = change;
	job->now_ms = request->now_ms;
	queue_job_event(job, message, clock_wall_us(), EV_HANDLED, &handled);
	queue_writer_submit(request->queued->writer, job);
}

/*
 * What relayd has at this moment is left to it: its result will tell.  So is
 * what another request has.  The asker is told of both.
 */
static bool
is_out(struct queue_request *request, const struct queue_message *message)
{
	struct queued *queued = request->queued;
	const size_t signing =
	    queue_sign_has_claim(queued->sign, message->id) ? 1 : 0;

	if (dispatch_remove(queued->dispatch, message->id) == signing)
		return false;
	queue_refill_missed(queued->refill); /* the rest of it, if any */
	note_id(request->busy_ids, message->id);
	return true;
}

/* What the signer has is nobody's from now on. */
static uint32_t
take_from_signer(
    struct queue_request *request, const struct queue_message *message)
{
	return queue_sign_withdraw(request->queued->sign, message);
}

/* It keeps what it has, unless that was not taken over after the commit. */
static void
leave_to_signer(
    struct queue_request *request, const struct queue_message *message)
{
	if (!queue_sign_has_claim(request->queued->sign, message->id))
		(void)take_from_signer(request, message);
}

void
queue_admin_act_retry(
    struct queue_request *request, struct queue_message *message)
{
	for (size_t i = 0; i < message->recipient_count; i++) {
		char key[QUEUE_KEY_MAX];

		queue_delivery_key(request->queued,
		    message->recipients[i].domain, key, sizeof(key));
		dispatch_unblock(request->queued->dispatch, key);
	}
	if (!has_state(message, RCPT_WAITING) || is_out(request, message))
		return;
	leave_to_signer(request, message);
	set_state(request, message, "retry", RCPT_WAITING, RCPT_WAITING, 0);
}

void
queue_admin_act_hold(
    struct queue_request *request, struct queue_message *message)
{
	uint32_t attempt_number;

	if (is_out(request, message))
		return;
	attempt_number = take_from_signer(request, message);
	set_state(
	    request, message, "hold", RCPT_WAITING, RCPT_HELD, attempt_number);
}

void
queue_admin_act_release(
    struct queue_request *request, struct queue_message *message)
{
	if (!has_state(message, RCPT_HELD) || is_out(request, message))
		return;
	leave_to_signer(request, message);
	set_state(request, message, "release", RCPT_HELD, RCPT_WAITING, 0);
}

static void
on_given_up(void *arg, bool is_done)
{
	end_change(arg, is_done);
}

static void
give_up(struct queue_request *request, struct queue_message *message,
    const char *reply, bool is_silent)
{
	if (is_out(request, message))
		return;
	(void)take_from_signer(request, message);
	queue_result_give_up(request->queued, message, reply, is_silent,
	    request->actor, on_given_up, new_change(request, message));
}

void
queue_admin_act_delete(
    struct queue_request *request, struct queue_message *message)
{
	give_up(request, message, "Deleted by an administrator", true);
}

void
queue_admin_act_bounce(
    struct queue_request *request, struct queue_message *message)
{
	const char *reason =
	    json_string_value(json_object_get(request->arguments, "reason"));

	give_up(request, message,
	    reason != NULL && ipc_is_text(slice_of(reason)) &&
		    strlen(reason) <= IPC_REPLY_MAX
		? reason
		: "Returned by an administrator",
	    false);
}

/*
 * Delivered, or put off, while it was read: it may not be as it was found.
 * The marks are few, so one that stands beside such a message looks so, too.
 */
static bool
has_changed(
    const struct queue_request *request, const struct queue_message *message)
{
	return dispatch_is_touched(
	    request->queued->dispatch, message->id, request->mark);
}

/* What the signer made of it is on its way to the disk. */
static bool
is_settling(
    const struct queue_request *request, const struct queue_message *message)
{
	return queue_sign_settling(request->queued->sign, message->id) != NULL;
}

/*
 * Puts those that may have changed, or are about to, behind the others; how
 * many others.
 */
static size_t
part_changed(struct queue_request *request)
{
	size_t part = request->acted_count;

	for (size_t i = part; i < request->found_count; i++) {
		struct queue_message *message = request->found[i];

		if (has_changed(request, message) ||
		    is_settling(request, message))
			continue;
		request->found[i] = request->found[part];
		request->found[part++] = message;
	}
	return part;
}

/* ---- those whose turn comes later ---- */

static struct delivery **
find_kept(struct queue_request *request, uint64_t message_id)
{
	struct delivery **at = &request->kept;

	while (*at != NULL && (*at)->message->id != message_id)
		at = &(*at)->next;
	return at;
}

/* Nothing of it leaves before its turn. */
static void
keep(struct queue_request *request, struct queue_message *message)
{
	struct delivery *claim;

	if (*find_kept(request, message->id) != NULL)
		return;
	claim = dispatch_claim(request->queued->dispatch, message);
	claim->next = request->kept;
	request->kept = claim;
}

static void
let_go(struct queue_request *request, struct delivery **at)
{
	struct delivery *claim = *at;

	*at = claim->next;
	dispatch_forget(request->queued->dispatch, claim);
	queue_refill_missed(request->queued->refill);
}

static void
act_on(struct queue_request *request, struct queue_message *message)
{
	struct delivery **kept = find_kept(request, message->id);

	if (*kept != NULL)
		let_go(request, kept);
	request->verb->act(request, message);
}

static void act_on_rest(struct queue_request *request);

static void
run_again(struct pool_task *task)
{
	queue_admin_look_again((struct queue_request *)task);
}

static void
done_again(struct pool_task *task)
{
	act_on_rest((struct queue_request *)task);
}

static void
look_again(struct queue_request *request)
{
	request->task.run = run_again;
	request->task.done = done_again;
	request->mark = dispatch_mark(request->queued->dispatch);
	pool_submit(request->queued->reader_pool, &request->task);
}

static void
on_watch(struct queue_sign_watch *watch)
{
	look_again(
	    (struct queue_request *)((char *)watch -
				     offsetof(struct queue_request, watch)));
}

/* At once, or when the last of those that are being committed is. */
static void
look_again_in_time(struct queue_request *request)
{
	const struct queue_sign *sign = request->queued->sign;
	uint64_t watched = 0;

	for (size_t i = request->acted_count; i < request->found_count; i++) {
		const uint64_t id = request->found[i]->id;
		struct queue_message *message = queue_sign_settling(sign, id);

		if (message == NULL)
			continue;
		keep(request, message);
		watched = id;
	}
	request->watch.run = on_watch;
	if (watched != 0)
		queue_sign_watch(sign, watched, &request->watch);
	else
		look_again(request);
}

/* Acting leaves marks of its own, so all are parted before the first. */
static void
act_on_rest(struct queue_request *request)
{
	size_t part = part_changed(request);

	while (request->acted_count < part)
		act_on(request, request->found[request->acted_count++]);
	if (part < request->found_count) {
		look_again_in_time(request);
		return;
	}
	while (request->kept != NULL) /* gone by now, or another */
		let_go(request, &request->kept);
	request->pending--;
	finish_if_done(request);
}

void
queue_admin_act_on_all(struct queue_request *request)
{
	request->changed_ids = json_array();
	request->busy_ids = json_array();
	request->pending = 1; /* so that nothing ends before the last one */
	if (!json_is_true(json_object_get(request->arguments, "dry_run"))) {
		act_on_rest(request);
		return;
	}
	for (size_t i = 0; i < request->found_count; i++)
		count_change(request, request->found[i]->id);
	request->pending--;
	finish_if_done(request);
}
