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
	request->reply = json_pack("{s:I, s:O, s:o}", "count",
	    (json_int_t)request->changed, "ids", request->changed_ids, "next",
	    queue_admin_next_cursor(request));
	if (request->changed == 0 && request->cursor == 0)
		request->code = EXIT_CODE_NOTHING;
	queue_admin_answer(request);
}

static void
count_change(struct queue_request *request, uint64_t id)
{
	char text[ID_TEXT_SIZE];

	id_format(id, text);
	request->changed++;
	(void)json_array_append_new(request->changed_ids, json_string(text));
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

static void
set_state(struct queue_request *request, struct queue_message *message,
    const char *action, enum rcpt_state before, enum rcpt_state state)
{
	struct event_handled handled = {
	    .action = slice_of(action), .actor = slice_of(request->actor)};
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_STATE, message, on_state_set);
	struct change *change = new_change(request, message);

	change->claim = dispatch_claim(request->queued->dispatch, message);
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
 * what another request has.
 */
static bool
is_out(struct queue_request *request, const struct queue_message *message)
{
	struct queued *queued = request->queued;

	if (dispatch_remove(queued->dispatch, message->id) == 0)
		return false;
	queue_refill_missed(queued->refill); /* the rest of it, if any */
	return true;
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
	if (!is_out(request, message) && has_state(message, RCPT_WAITING))
		set_state(
		    request, message, "retry", RCPT_WAITING, RCPT_WAITING);
}

void
queue_admin_act_hold(
    struct queue_request *request, struct queue_message *message)
{
	if (!is_out(request, message))
		set_state(request, message, "hold", RCPT_WAITING, RCPT_HELD);
}

void
queue_admin_act_release(
    struct queue_request *request, struct queue_message *message)
{
	if (!is_out(request, message) && has_state(message, RCPT_HELD))
		set_state(request, message, "release", RCPT_HELD, RCPT_WAITING);
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

/* Puts those that may have changed behind the others; how many others. */
static size_t
part_changed(struct queue_request *request)
{
	size_t part = request->acted_count;

	for (size_t i = part; i < request->found_count; i++) {
		struct queue_message *message = request->found[i];

		if (has_changed(request, message))
			continue;
		request->found[i] = request->found[part];
		request->found[part++] = message;
	}
	return part;
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

/* Acting leaves marks of its own, so all are parted before the first. */
static void
act_on_rest(struct queue_request *request)
{
	size_t part = part_changed(request);

	while (request->acted_count < part)
		request->verb->act(
		    request, request->found[request->acted_count++]);
	if (part < request->found_count) {
		request->task.run = run_again;
		request->task.done = done_again;
		request->mark = dispatch_mark(request->queued->dispatch);
		pool_submit(request->queued->reader_pool, &request->task);
		return;
	}
	request->pending--;
	finish_if_done(request);
}

void
queue_admin_act_on_all(struct queue_request *request)
{
	request->changed_ids = json_array();
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
