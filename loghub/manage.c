/* SPDX-License-Identifier: ISC */
/*
 * Questions of the management API: each runs in a thread beside the loop, and
 * its answer goes back by confd's channel if that is still there.
 * Runs in: postern-loghub.  Trusts: confd for who may ask; nothing of the
 * arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loghub/event_json.h"
#include "loghub/hub.h"
#include "loghub/log_query.h"
#include "loghub/trace.h"
#include "loghub/verify.h"

/* Questions at work or waiting; more are told to come again. */
#define REQUESTS_MAX 32

/* Each may keep some days open and a page of events. */
#define QUERY_THREADS 2

/* Exit codes of DESIGN §5 that stand here. */
enum {
	CODE_DONE = 0,
	CODE_FAILED = 1,
	CODE_USAGE = 2,
	CODE_PROBLEMS = 7
};

struct verb;

struct request {
	struct pool_task task;
	struct hub *hub;
	struct request *next;
	const struct verb *verb;
	struct channel *channel; /* NULL: confd is gone */
	uint64_t request_id;
	json_t *arguments;
	struct segment_position written;
	bool is_full;
	int code;
	char *body; /* of the answer; its memory is jansson's */
};

struct verb {
	const char *name;
	bool is_verify; /* in the thread for long work, one at a time */
	int (*run)(struct request *request, json_t **result_r,
	    struct err *err);
};

/* ---- the verbs, in a thread ---- */

static int
with_view(struct request *request, json_t **result_r, struct err *err,
    int (*ask)(struct log_view *view, const json_t *arguments,
        json_t **result_r, struct err *err))
{
	struct hub *hub = request->hub;
	struct log_view view;
	int code = CODE_FAILED;

	if (log_view_open(&view, daemon_state_dir(hub->daemon),
	        hub->writer.dir_fd, hub->indexer, err) == 0)
		code = ask(&view, request->arguments, result_r, err);
	log_view_close(&view);
	return code;
}

static int
run_trace(struct request *request, json_t **result_r, struct err *err)
{
	return with_view(request, result_r, err, trace_query);
}

static int
run_log(struct request *request, json_t **result_r, struct err *err)
{
	return with_view(request, result_r, err, log_query);
}

static int
run_export(struct request *request, json_t **result_r, struct err *err)
{
	return with_view(request, result_r, err, log_export);
}

static json_t *
hash_json(const unsigned char *hash)
{
	char text[2 * RECORD_HASH_SIZE + 1];

	for (size_t i = 0; i < RECORD_HASH_SIZE; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
	return json_string(text);
}

static int
run_verify(struct request *request, json_t **result_r, struct err *err)
{
	struct verify_result result;
	json_t *json;

	(void)err;
	verify_run(request->hub->writer.dir_fd, &request->written,
	    &request->hub->is_ending, &result);
	json = json_pack("{s:b, s:I, s:i, s:i, s:I, s:o}", "ok",
	    result.problem == VERIFY_NONE, "records",
	    (json_int_t)result.records, "segments", (int)result.segments,
	    "first_segment", (int)result.first_segment, "cuts",
	    (json_int_t)result.cuts, "head", hash_json(result.head));
	*result_r = json;
	if (result.problem == VERIFY_NONE)
		return CODE_DONE;
	(void)json_object_set_new(json, "problem",
	    json_string(verify_problem_names[result.problem]));
	(void)json_object_set_new(
	    json, "segment", json_integer(result.segment));
	(void)json_object_set_new(
	    json, "number", json_integer((json_int_t)result.number));
	(void)json_object_set_new(json, "error", json_string(result.text));
	(void)json_object_set_new(json, "hint",
	    json_string("what the log says after this place cannot be "
			"trusted; compare it with a backup"));
	return CODE_PROBLEMS;
}

static int
run_status(struct request *request, json_t **result_r, struct err *err)
{
	struct indexer_status status;
	struct segment_list list;
	json_t *json;

	if (segment_list_read(
	        request->hub->writer.dir_fd, &list, err) == -1)
		return CODE_FAILED;
	indexer_status(request->hub->indexer, &status);
	json = json_pack("{s:I, s:I, s:f, s:I, s:i, s:b, s:o}", "records",
	    (json_int_t)status.written.number, "indexed",
	    (json_int_t)status.indexed, "behind_seconds",
	    (double)status.behind_us / 1e6, "indexes_rebuilt",
	    (json_int_t)status.rebuilt, "segments", (int)list.count,
	    "is_full", request->is_full, "head",
	    hash_json(status.written.hash));
	if (list.count > 0) {
		char day[DAY_TEXT_SIZE];

		day_format(list.names[0].day, day);
		(void)json_object_set_new(json, "since", json_string(day));
	}
	if (status.error[0] != '\0')
		(void)json_object_set_new(
		    json, "index_error", json_text(slice_of(status.error)));
	segment_list_clear(&list);
	*result_r = json;
	return CODE_DONE;
}

static const struct verb verbs[] = {
	{"trace", false, run_trace},
	{"log", false, run_log},
	{"log.query", false, run_log},
	{"log.export", false, run_export},
	{"log.verify", true, run_verify},
	{"log.status", false, run_status},
};

/* ---- answers ---- */

static void
run_request(struct pool_task *task)
{
	struct request *request = (struct request *)task;
	json_t *result = NULL;
	struct err err = {.text = ""};

	request->code = CODE_FAILED;
	if (atomic_load(&request->hub->is_ending))
		(void)err_set(&err, "the log is stopping");
	else
		request->code = request->verb->run(request, &result, &err);
	if (result == NULL)
		result = json_pack("{s:s}", "error", err.text);
	request->body = json_dumps(result, JSON_COMPACT);
	json_decref(result);
}

static void
unlink_request(struct hub *hub, const struct request *request)
{
	struct request **at = &hub->requests;

	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	hub->request_count--;
}

static void
answer(struct channel *channel, uint64_t request_id, int code,
    const char *body)
{
	const struct ipc_mgmt_reply reply = {
	    .code = (uint16_t)code, .body = slice_of(body)};
	const struct ipc_mgmt_reply too_large = {
	    .code = CODE_FAILED,
	    .body = SLICE("{\"error\":\"the answer is too large\","
			  "\"hint\":\"ask with a smaller limit\"}"),
	};

	if (channel_answer(channel, request_id, MSG_MGMT_REPLY, &reply) == -1)
		(void)channel_answer(
		    channel, request_id, MSG_MGMT_REPLY, &too_large);
}

static void
request_done(struct pool_task *task)
{
	struct request *request = (struct request *)task;
	struct hub *hub = request->hub;

	unlink_request(hub, request);
	if (request->verb->is_verify)
		hub->is_verifying = false;
	if (request->channel != NULL)
		answer(request->channel, request->request_id, request->code,
		    request->body != NULL ? request->body : "{}");
	json_decref(request->arguments);
	free(request->body);
	free(request);
}

/* ---- requests ---- */

static const struct verb *
find_verb(struct slice name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (slice_equals(name, slice_of(verbs[i].name)))
			return &verbs[i];
	return NULL;
}

static void
submit(struct hub *hub, struct channel *channel, uint64_t request_id,
    const struct verb *verb, json_t *arguments)
{
	struct request *request = xcalloc(1, sizeof(*request));

	*request = (struct request){
	    .task = {.run = run_request, .done = request_done},
	    .hub = hub,
	    .next = hub->requests,
	    .verb = verb,
	    .channel = channel,
	    .request_id = request_id,
	    .arguments = arguments,
	    .written = hub->writer.written,
	    .is_full = hub->is_disk_full,
	};
	hub->requests = request;
	hub->request_count++;
	if (verb->is_verify)
		hub->is_verifying = true;
	pool_submit(verb->is_verify ? hub->verify_pool : hub->query_pool,
	    &request->task);
}

int
manage_request(struct channel *channel, const struct channel_frame *frame)
{
	struct hub *hub = daemon_state(channel_daemon(channel));
	const struct ipc_mgmt_request *message = &frame->message->mgmt_request;
	const struct verb *verb = find_verb(message->verb);
	json_t *arguments;

	if (verb == NULL) {
		answer(channel, frame->request_id, CODE_USAGE,
		    "{\"error\":\"the log has no such verb\"}");
		return 0;
	}
	if (hub->request_count >= REQUESTS_MAX ||
	    (verb->is_verify && hub->is_verifying)) {
		answer(channel, frame->request_id, CODE_FAILED,
		    "{\"error\":\"the log is busy with other questions\","
		    "\"hint\":\"try again in a moment\"}");
		return 0;
	}
	arguments = message->arguments.n == 0
	    ? json_object()
	    : json_loadb(message->arguments.p, message->arguments.n, 0, NULL);
	if (!json_is_object(arguments)) {
		json_decref(arguments);
		answer(channel, frame->request_id, CODE_USAGE,
		    "{\"error\":\"the arguments are no JSON object\"}");
		return 0;
	}
	/* What this turn brought can be asked for in this turn. */
	store_flush(hub);
	submit(hub, channel, frame->request_id, verb, arguments);
	return 0;
}

void
manage_peer_closed(struct hub *hub, const struct channel *channel)
{
	for (struct request *at = hub->requests; at != NULL; at = at->next)
		if (at->channel == channel)
			at->channel = NULL;
}

void
manage_open(struct hub *hub)
{
	atomic_init(&hub->is_ending, false);
	hub->query_pool = pool_new(hub->loop, QUERY_THREADS, "query");
	hub->verify_pool = pool_new(hub->loop, 1, "verify");
}

void
manage_close(struct hub *hub)
{
	atomic_store(&hub->is_ending, true);
	pool_free(hub->verify_pool);
	pool_free(hub->query_pool);
}
