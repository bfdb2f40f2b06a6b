/* SPDX-License-Identifier: ISC */
/*
 * Management: from a request to its verb, and what verbs share.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; arguments are read like anybody's.  Pass phrases are never logged,
 * never echoed, and wiped with the arguments.
 */
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "signer/explain.h"
#include "signer/key_admin.h"
#include "signer/manage.h"
#include "signer/signerd.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MOST 1000
/* An error in words. */
#define SENTENCE_MAX 600

static const struct {
	const char *name;
	manage_verb_fn *run;
} verbs[] = {
#define VERB(name, run) {name, run},
    KEY_VERBS(VERB)
#undef VERB
	{"explain", signer_explain},
	{NULL, NULL},
};

static void
wipe_and_free(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void
manage_init(void)
{
	json_set_alloc_funcs(xmalloc, wipe_and_free);
}

/* ---- answers ---- */

enum manage_code
manage_fail(struct manage_request *request, enum manage_code code,
    const char *hint, const char *format, ...)
{
	char sentence[SENTENCE_MAX];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(sentence, sizeof(sentence), format, ap);
	va_end(ap);
	json_decref(request->reply);
	/* json_string() refuses what is not UTF-8, for instance cut. */
	request->reply = json_pack("{s:s*, s:s*}", "error",
	    utf8_is_valid(slice_of(sentence)) ? sentence : "not UTF-8", "hint",
	    hint);
	return code;
}

static void
request_free(struct manage_request *request)
{
	*request->previous = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;
	json_decref(request->arguments);
	json_decref(request->reply);
	free(request);
}

void
manage_answer(struct manage_request *request, enum manage_code code)
{
	struct ipc_mgmt_reply reply = {.code = (uint16_t)code};
	char *text = NULL;

	if (request->reply != NULL)
		text = json_dumps(request->reply, JSON_COMPACT);
	reply.body = text == NULL ? SLICE("{}") : slice_of(text);
	if (reply.body.n > IPC_JSON_MAX) {
		reply.code = MANAGE_FAILED;
		reply.body = SLICE("{\"error\": \"too much for one answer; "
				   "ask with a smaller limit\"}");
	}
	if (request->channel != NULL)
		(void)channel_answer(request->channel, request->request_id,
		    MSG_MGMT_REPLY, &reply);
	wipe_and_free(text);
	request_free(request);
}

/* ---- requests ---- */

static manage_verb_fn *
find_verb(struct slice name)
{
	for (size_t i = 0; verbs[i].run != NULL; i++)
		if (slice_equals(name, slice_of(verbs[i].name)))
			return verbs[i].run;
	return NULL;
}

static struct manage_request *
request_new(struct signerd *signerd, struct channel *channel,
    const struct channel_frame *frame)
{
	const struct ipc_mgmt_request *message = &frame->message->mgmt_request;
	struct manage_request *request = xcalloc(1, sizeof(*request));

	request->signerd = signerd;
	request->channel = channel;
	request->request_id = frame->request_id;
	request->arguments = json_loadb(message->arguments.p,
	    message->arguments.n, JSON_REJECT_DUPLICATES, NULL);
	request->next = signerd->requests;
	if (request->next != NULL)
		request->next->previous = &request->next;
	request->previous = &signerd->requests;
	signerd->requests = request;
	return request;
}

int
manage_on_request(struct channel *channel, const struct channel_frame *frame)
{
	struct signerd *signerd = daemon_state(channel_daemon(channel));
	manage_verb_fn *verb = find_verb(frame->message->mgmt_request.verb);
	struct manage_request *request = request_new(signerd, channel, frame);
	enum manage_code code;

	if (verb == NULL)
		code = manage_fail(request, MANAGE_USAGE, NULL,
		    "postern-signerd has no such verb");
	else if (!json_is_object(request->arguments))
		code = manage_fail(request, MANAGE_USAGE, NULL,
		    "the arguments are not a JSON object");
	else
		code = verb(request);
	if (code != MANAGE_LATER)
		manage_answer(request, code);
	return 0;
}

void
manage_drop_channel(struct signerd *signerd, const struct channel *channel)
{
	struct manage_request *at = signerd->requests;

	for (; at != NULL; at = at->next)
		if (at->channel == channel)
			at->channel = NULL;
}

/* ---- arguments ---- */

const char *
manage_text(const struct manage_request *request, const char *name)
{
	return json_string_value(json_object_get(request->arguments, name));
}

bool
manage_flag(const struct manage_request *request, const char *name)
{
	return json_is_true(json_object_get(request->arguments, name));
}

size_t
manage_limit(const struct manage_request *request)
{
	json_int_t limit =
	    json_integer_value(json_object_get(request->arguments, "limit"));

	if (limit <= 0)
		return LIMIT_DEFAULT;
	return limit > LIMIT_MOST ? LIMIT_MOST : (size_t)limit;
}
