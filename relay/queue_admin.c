/* SPDX-License-Identifier: ISC */
/*
 * What administrators ask of the queue.  A request is looked up by the reader
 * beside the loop; what it changes goes through the writer like everything
 * else.
 *
 *   queue.list     {match, limit, cursor} -> {messages, next}
 *   queue.summary  {by: domain | reason | sender} -> {messages, groups, ...}
 *   queue.show     {id} -> {message}
 *   queue.retry    {ids | match, cursor, dry_run} -> {count, ids, next}
 *   queue.hold, queue.release, queue.delete: the same
 *   queue.bounce   {..., reason}: the same, and the sender is told
 *   queue.notify   {to, subject, text}: a message from the gateway itself
 *
 * Runs in: postern-queued.  Trusts: confd that the asker may do this; nothing
 * of the JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "relay/queue_admin_parts.h"

#define LIMIT_DEFAULT 100

/* ---- requests ---- */

static void
request_free(struct queue_request *request)
{
	for (size_t i = 0; i < request->found_count; i++)
		queue_message_unref(request->found[i]);
	free(request->found);
	queue_filter_clear(&request->filter);
	json_decref(request->arguments);
	json_decref(request->reply);
	json_decref(request->changed_ids);
	json_decref(request->busy_ids);
	free(request);
}

void
queue_admin_refuse(
    struct queue_request *request, enum exit_code code, const char *sentence)
{
	json_decref(request->reply);
	request->reply = json_pack("{s:s}", "error", sentence);
	request->code = code;
}

/* -1: it does not fit. */
static int
send_reply(const struct queue_request *request)
{
	struct ipc_mgmt_reply reply = {.code = (uint16_t)request->code};
	char *text = json_dumps(request->reply, JSON_COMPACT);
	int rc;

	if (text == NULL)
		return -1;
	reply.body = slice_of(text);
	rc = channel_answer(
	    request->channel, request->request_id, MSG_MGMT_REPLY, &reply);
	free(text);
	return rc;
}

/* The channel may be another one by now: then nobody waits. */
void
queue_admin_answer(struct queue_request *request)
{
	const struct queued *queued = request->queued;

	if (daemon_confd(queued->daemon) == request->channel &&
	    queued->confd_round == request->confd_round &&
	    send_reply(request) == -1) {
		queue_admin_refuse(request, EXIT_CODE_FAILED,
		    "the answer does not fit; ask for fewer messages by "
		    "--limit");
		(void)send_reply(request);
	}
	request_free(request);
}

/* ---- the table ---- */

static const struct queue_verb verbs[] = {
    {"queue.list", queue_admin_look_list, NULL},
    {"queue.summary", queue_admin_look_summary, NULL},
    {"queue.show", queue_admin_look_one, NULL},
    {"queue.retry", queue_admin_look_messages, queue_admin_act_retry},
    {"queue.hold", queue_admin_look_messages, queue_admin_act_hold},
    {"queue.release", queue_admin_look_messages, queue_admin_act_release},
    {"queue.delete", queue_admin_look_messages, queue_admin_act_delete},
    {"queue.bounce", queue_admin_look_messages, queue_admin_act_bounce},
    {"queue.notify", NULL, NULL}};

static const struct queue_verb *
find_verb(struct slice name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (slice_equals(name, slice_of(verbs[i].name)))
			return &verbs[i];
	return NULL;
}

static void
run_look(struct pool_task *task)
{
	struct queue_request *request = (struct queue_request *)task;

	request->verb->look(request);
}

static void
done_look(struct pool_task *task)
{
	struct queue_request *request = (struct queue_request *)task;

	if (request->reply != NULL || request->verb->act == NULL)
		queue_admin_answer(request);
	else
		queue_admin_act_on_all(request);
}

/* The arguments that all verbs share. */
static int
read_arguments(struct queue_request *request, struct err *err)
{
	const json_t *limit = json_object_get(request->arguments, "limit");
	const char *cursor =
	    json_string_value(json_object_get(request->arguments, "cursor"));

	request->limit = LIMIT_DEFAULT;
	if (limit != NULL && !json_is_null(limit)) {
		json_int_t n = json_integer_value(limit);

		if (!json_is_integer(limit) || n < 1 ||
		    n > QUEUE_ADMIN_LIMIT_MAX)
			return err_set(err, "limit: 1 to %d is allowed",
			    QUEUE_ADMIN_LIMIT_MAX);
		request->limit = (size_t)n;
	}
	if (cursor != NULL &&
	    id_parse(slice_of(cursor), &request->cursor) == -1)
		return err_set(err, "cursor: not one that a list gave");
	return queue_filter_parse(json_object_get(request->arguments, "match"),
	    &request->filter, err);
}

int
queue_admin_request(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_mgmt_request *m = &frame->message->mgmt_request;
	struct queue_request *request = xcalloc(1, sizeof(*request));
	struct err err = {""};

	request->queued = queued_of(channel);
	request->channel = channel;
	request->confd_round = request->queued->confd_round;
	request->request_id = frame->request_id;
	request->now_ms = queued_now_ms(request->queued);
	(void)slice_copy(m->actor, request->actor, sizeof(request->actor));
	request->verb = find_verb(m->verb);
	request->arguments =
	    json_loadb(m->arguments.p, m->arguments.n, 0, NULL);
	if (request->verb == NULL)
		queue_admin_refuse(
		    request, EXIT_CODE_USAGE, "no such verb of the queue");
	else if (!json_is_object(request->arguments))
		queue_admin_refuse(
		    request, EXIT_CODE_USAGE, "arguments: not an object");
	else if (read_arguments(request, &err) == -1)
		queue_admin_refuse(request, EXIT_CODE_USAGE, err.text);
	if (request->reply != NULL) {
		queue_admin_answer(request);
	} else if (request->verb->look == NULL) {
		queue_admin_act_notify(request);
	} else {
		request->task.run = run_look;
		request->task.done = done_look;
		request->mark = dispatch_mark(request->queued->dispatch);
		pool_submit(request->queued->reader_pool, &request->task);
	}
	return 0;
}
