/* SPDX-License-Identifier: ISC */
/*
 * The management API: takes a request, checks who asks, and gives it to its
 * handler or to the program that owns the matter.
 * Runs in: postern-confd.  Trusts: the asker's user as the kernel tells it;
 * nothing of the request.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/printable.h"
#include "control/confd.h"

/* Work on a million queued messages may take its time. */
#define OWNER_LIMIT_MS 120000
/* What the log keeps of a change. */
#define CHANGE_TEXT_MAX 512

const struct mgmt_verb mgmt_verbs[] = {
    {"init", RIGHT_CHANGE, ROLE_CONFD, mgmt_init},
    {"config.get", RIGHT_READ, ROLE_CONFD, mgmt_config_get},
    {"config.set", RIGHT_CHANGE, ROLE_CONFD, mgmt_config_set},
    {"config.unset", RIGHT_CHANGE, ROLE_CONFD, mgmt_config_unset},
    {"config.list", RIGHT_READ, ROLE_CONFD, mgmt_config_list},
    {"config.diff", RIGHT_READ, ROLE_CONFD, mgmt_config_diff},
    {"config.history", RIGHT_READ, ROLE_CONFD, mgmt_config_history},
    {"config.undo", RIGHT_CHANGE, ROLE_CONFD, mgmt_config_undo},
    {"config.export", RIGHT_READ, ROLE_CONFD, mgmt_config_export},
    {"config.apply", RIGHT_CHANGE, ROLE_CONFD, mgmt_config_apply},
    {"config.check", RIGHT_READ, ROLE_CONFD, mgmt_config_check},
    {"domain.add", RIGHT_CHANGE, ROLE_CONFD, mgmt_domain_add},
    {"domain.remove", RIGHT_CHANGE, ROLE_CONFD, mgmt_domain_remove},
    {"domain.list", RIGHT_READ, ROLE_CONFD, mgmt_domain_list},
    {"domain.recipients", RIGHT_CHANGE, ROLE_CONFD, mgmt_domain_recipients},
    {"route.add", RIGHT_CHANGE, ROLE_CONFD, mgmt_route_add},
    {"route.remove", RIGHT_CHANGE, ROLE_CONFD, mgmt_route_remove},
    {"route.list", RIGHT_READ, ROLE_CONFD, mgmt_route_list},
    {"policy.add", RIGHT_CHANGE, ROLE_CONFD, mgmt_policy_add},
    {"policy.remove", RIGHT_CHANGE, ROLE_CONFD, mgmt_policy_remove},
    {"policy.list", RIGHT_READ, ROLE_CONFD, mgmt_policy_list},
    {"route.test", RIGHT_READ, ROLE_CONFD, mgmt_route_test},
    {"block.add", RIGHT_CHANGE, ROLE_CONFD, mgmt_block_add},
    {"block.remove", RIGHT_CHANGE, ROLE_CONFD, mgmt_block_remove},
    {"block.list", RIGHT_READ, ROLE_CONFD, mgmt_block_list},
    {"allow.add", RIGHT_CHANGE, ROLE_CONFD, mgmt_allow_add},
    {"allow.remove", RIGHT_CHANGE, ROLE_CONFD, mgmt_allow_remove},
    {"allow.list", RIGHT_READ, ROLE_CONFD, mgmt_allow_list},
    {"status", RIGHT_READ, ROLE_CONFD, mgmt_status},
    {"health", RIGHT_READ, ROLE_CONFD, mgmt_health},
    {"alert.raise", RIGHT_SYSTEM, ROLE_CONFD, mgmt_alert_raise},
    {"alert.clear", RIGHT_SYSTEM, ROLE_CONFD, mgmt_alert_clear},
    {"user.add", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"user.passwd", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"user.disable", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"user.enable", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"user.remove", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"user.list", RIGHT_READ, ROLE_AUTHD, NULL},
    {"user.show", RIGHT_READ, ROLE_AUTHD, NULL},
    {"user.import", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"identity.add", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"identity.remove", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"app_password.add", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"app_password.remove", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"app_password.list", RIGHT_READ, ROLE_AUTHD, NULL},
    {"recipient.add", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"recipient.remove", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"recipient.list", RIGHT_READ, ROLE_AUTHD, NULL},
    {"recipient.import", RIGHT_CHANGE, ROLE_AUTHD, NULL},
    {"alias.add", RIGHT_CHANGE, ROLE_AUTHD, mgmt_alias_changed},
    {"alias.remove", RIGHT_CHANGE, ROLE_AUTHD, mgmt_alias_changed},
    {"alias.import", RIGHT_CHANGE, ROLE_AUTHD, mgmt_alias_changed},
    {"alias.list", RIGHT_READ, ROLE_AUTHD, NULL},
    {"queue.list", RIGHT_READ, ROLE_QUEUED, NULL},
    {"queue.summary", RIGHT_READ, ROLE_QUEUED, NULL},
    {"queue.show", RIGHT_READ, ROLE_QUEUED, NULL},
    {"queue.retry", RIGHT_CHANGE, ROLE_QUEUED, NULL},
    {"queue.hold", RIGHT_CHANGE, ROLE_QUEUED, NULL},
    {"queue.release", RIGHT_CHANGE, ROLE_QUEUED, NULL},
    {"queue.delete", RIGHT_CHANGE, ROLE_QUEUED, NULL},
    {"queue.bounce", RIGHT_CHANGE, ROLE_QUEUED, NULL},
    {"explain", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.dkim.new", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.dkim.rotate", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.dkim.activate", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.dkim.retire", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.new", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.import", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.csr", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.install", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.retire", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.remove", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.smime.aead", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.pgp.new", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.pgp.import", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.pgp.retire", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.pgp.remove", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.approve", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.reject", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.anchor.add", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.anchor.remove", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.crl.fetch", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.crl.remove", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.crl.import", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"key.dkim.list", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.dkim.show", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.dkim.export", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.smime.list", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.smime.show", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.smime.export", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.pgp.list", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.pgp.show", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.pgp.export", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.pgp.wkd", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.pending", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.anchor.list", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"key.crl.list", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"ca.new", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"ca.issue", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"ca.revoke", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"ca.crl", RIGHT_CHANGE, ROLE_SIGNERD, NULL},
    {"ca.show", RIGHT_READ, ROLE_SIGNERD, NULL},
    {"trace", RIGHT_READ, ROLE_LOGHUB, NULL},
    {"log.query", RIGHT_READ, ROLE_LOGHUB, NULL},
    {"log.verify", RIGHT_READ, ROLE_LOGHUB, NULL},
    {"log.export", RIGHT_READ, ROLE_LOGHUB, NULL},
    {NULL, RIGHT_SYSTEM, ROLE_NONE, NULL},
};

struct confd_peer *
confd_find_peer(const struct confd *confd, enum role role)
{
	struct confd_peer *peer = confd->peers;

	while (peer != NULL && peer->role != role)
		peer = peer->next;
	return peer;
}

/* ---- arguments ---- */

const char *
mgmt_text(const struct mgmt_ask *ask, const char *name)
{
	return json_string_value(json_object_get(ask->arguments, name));
}

bool
mgmt_flag(const struct mgmt_ask *ask, const char *name)
{
	return json_is_true(json_object_get(ask->arguments, name));
}

int64_t
mgmt_number(const struct mgmt_ask *ask, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(ask->arguments, name);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

/* ---- answers ---- */

static void
free_ask(struct mgmt_ask *ask)
{
	struct mgmt_ask **at = &ask->confd->asks;

	while (*at != NULL && *at != ask)
		at = &(*at)->next;
	if (*at != NULL)
		*at = ask->next;
	json_decref(ask->arguments);
	json_decref(ask->reply);
	free(ask);
}

static void
send_reply(struct mgmt_ask *ask, enum mgmt_code code, struct slice body)
{
	const struct ipc_mgmt_reply reply = {
	    .code = (uint16_t)code, .body = body};
	const struct ipc_mgmt_reply too_large = {.code = MGMT_FAILED,
	    .body = SLICE("{\"error\":\"the answer is too large\","
			  "\"hint\":\"ask for less, with --limit\"}")};

	if (ask->channel != NULL &&
	    channel_answer(
		ask->channel, ask->request_id, MSG_MGMT_REPLY, &reply) == -1)
		(void)channel_answer(
		    ask->channel, ask->request_id, MSG_MGMT_REPLY, &too_large);
}

/* The arguments for the log: without secrets, and short. */
static void
describe(const struct mgmt_ask *ask, char *text_r, size_t size)
{
	static const char *const secret[] = {"password", "csv", "text"};
	json_t *copy = json_is_object(ask->arguments)
			   ? json_copy(ask->arguments)
			   : json_object();
	char *dump;

	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		(void)json_object_del(copy, secret[i]);
	dump = json_dumps(copy, JSON_COMPACT);
	(void)printable(slice_of(dump), text_r, size);
	free(dump);
	json_decref(copy);
}

static bool
is_change(const struct mgmt_ask *ask)
{
	return ask->verb->right >= RIGHT_CHANGE && !mgmt_flag(ask, "dry_run");
}

void
mgmt_note(struct mgmt_ask *ask)
{
	char what[CHANGE_TEXT_MAX];
	struct event_change event = {.actor = slice_of(ask->actor),
	    .verb = slice_of(ask->verb->name),
	    .revision = config_store_revision(ask->confd->store)};

	if (ask->is_noted || !is_change(ask))
		return;
	ask->is_noted = true;
	describe(ask, what, sizeof(what));
	event.what = slice_of(what);
	log_event(daemon_log(ask->confd->daemon), (struct log_context){0, 0},
	    EV_CHANGE, &event);
}

void
mgmt_reply(struct mgmt_ask *ask, enum mgmt_code code, json_t *result)
{
	char *body = json_dumps(result, JSON_COMPACT);

	if (code == MGMT_DONE)
		mgmt_note(ask);
	send_reply(ask, code, body != NULL ? slice_of(body) : SLICE("{}"));
	if (body != NULL)
		explicit_bzero(body, strlen(body));
	free(body);
	json_decref(result);
	free_ask(ask);
}

void
mgmt_fail(struct mgmt_ask *ask, enum mgmt_code code, const char *hint,
    const char *format, ...)
{
	char raw[2048];
	char text[2048];
	json_t *result;
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	result = json_pack(
	    "{s:s}", "error", printable(slice_of(raw), text, sizeof(text)));
	if (hint != NULL)
		(void)json_object_set_new(result, "hint", json_string(hint));
	mgmt_reply(ask, code, result);
}

void
mgmt_channel_closed(struct confd *confd, struct channel *channel)
{
	for (struct mgmt_ask *ask = confd->asks; ask != NULL; ask = ask->next)
		if (ask->channel == channel)
			ask->channel = NULL;
}

/* ---- the owner's answer ---- */

static void
on_owner_reply(void *arg, const struct channel_frame *frame)
{
	struct mgmt_ask *ask = arg;
	const struct ipc_mgmt_reply *reply;

	if (frame == NULL) {
		mgmt_fail(ask, MGMT_AWAY, "postern status",
		    "postern-%s has not answered", role_name(ask->verb->owner));
		return;
	}
	reply = &frame->message->mgmt_reply;
	if (reply->code == MGMT_DONE)
		mgmt_note(ask);
	if (reply->code == MGMT_DONE && ask->verb->handle != NULL) {
		ask->reply = json_loadb(reply->body.p, reply->body.n, 0, NULL);
		ask->verb->handle(ask);
		return;
	}
	send_reply(ask, (enum mgmt_code)reply->code, reply->body);
	free_ask(ask);
}

static void
forward(struct mgmt_ask *ask, struct slice arguments)
{
	const struct confd_peer *peer =
	    confd_find_peer(ask->confd, ask->verb->owner);
	const struct ipc_mgmt_request request = {
	    .verb = slice_of(ask->verb->name),
	    .actor = slice_of(ask->actor),
	    .arguments = arguments.n > 0 ? arguments : SLICE("{}")};

	if (peer == NULL ||
	    channel_request(peer->channel, MSG_MGMT_REQUEST, &request, NULL,
		MSG_MGMT_REPLY, OWNER_LIMIT_MS, on_owner_reply, ask) == 0)
		mgmt_fail(ask, MGMT_AWAY, "postern status",
		    "postern-%s is not running", role_name(ask->verb->owner));
}

/* ---- requests ---- */

static const struct mgmt_verb *
find_verb(struct slice name)
{
	const struct mgmt_verb *verb = mgmt_verbs;

	while (verb->name != NULL && !slice_equals(name, slice_of(verb->name)))
		verb++;
	return verb->name != NULL ? verb : NULL;
}

/* "root", "alice (1000)": by the kernel, not by the request. */
static void
name_actor(const struct channel *channel, char *actor_r, size_t size)
{
	const uid_t uid = channel_peer_uid(channel);
	const struct passwd *entry = getpwuid(uid);
	char name[100];

	if (entry != NULL)
		(void)snprintf(actor_r, size, "%s",
		    printable(slice_of(entry->pw_name), name, sizeof(name)));
	else
		(void)snprintf(actor_r, size, "uid %u", (unsigned)uid);
}

/* The socket's mode has let in root, the group postern-admin and our user. */
static enum mgmt_right
right_of(const struct channel *channel)
{
	const uid_t uid = channel_peer_uid(channel);

	return uid == 0 || uid == geteuid() ? RIGHT_SYSTEM : RIGHT_CHANGE;
}

struct mgmt_ask *
mgmt_new_ask(struct confd *confd, struct channel *channel, uint64_t request_id,
    const struct mgmt_verb *verb)
{
	struct mgmt_ask *ask = xcalloc(1, sizeof(*ask));

	ask->confd = confd;
	ask->channel = channel;
	ask->request_id = request_id;
	ask->verb = verb;
	name_actor(channel, ask->actor, sizeof(ask->actor));
	ask->next = confd->asks;
	confd->asks = ask;
	return ask;
}

void
mgmt_forget(struct mgmt_ask *ask, bool is_done)
{
	if (is_done)
		mgmt_note(ask);
	free_ask(ask);
}

int
mgmt_on_request(struct channel *channel, const struct channel_frame *frame)
{
	struct confd *confd = daemon_state(channel_daemon(channel));
	const struct ipc_mgmt_request *request = &frame->message->mgmt_request;
	static const struct mgmt_verb unknown = {
	    "unknown", RIGHT_READ, ROLE_NONE, NULL};
	const struct mgmt_verb *verb = find_verb(request->verb);
	struct mgmt_ask *ask = mgmt_new_ask(
	    confd, channel, frame->request_id, verb != NULL ? verb : &unknown);

	ask->arguments =
	    request->arguments.n == 0
		? json_object()
		: json_loadb(request->arguments.p, request->arguments.n,
		      JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(ask->arguments))
		mgmt_fail(ask, MGMT_USAGE, NULL,
		    "the arguments are not a JSON object");
	else if (ask->verb->owner == ROLE_NONE)
		mgmt_fail(ask, MGMT_USAGE, "postern help",
		    "there is no verb \"%.*s\"", SLICE_ARG(request->verb));
	else if (ask->verb->right > right_of(channel))
		mgmt_fail(ask, MGMT_FORBIDDEN, NULL, "%s is only for root",
		    ask->verb->name);
	else if (ask->verb->owner == ROLE_CONFD)
		ask->verb->handle(ask);
	else
		forward(ask, request->arguments);
	return 0;
}
