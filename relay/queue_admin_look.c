/* SPDX-License-Identifier: ISC */
/*
 * Finds messages for a request of an administrator, and tells them as JSON.
 * Runs in: postern-queued, the reader's thread.  Trusts: nothing of the JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "common/policy.h"
#include "relay/queue_admin_parts.h"
#include "relay/queue_store.h"

/* Messages looked at for one request; the next page goes on from there. */
#define SCAN_MAX 20000
#define PAGE_IDS 500
/* Recipients of one page; it has to fit into memory and into an answer. */
#define RECIPIENTS_MAX 4000
#define SUMMARY_GROUPS 200

/* ---- messages as JSON ---- */

static json_t *
words_json(unsigned applied)
{
	struct buf words;
	json_t *value;

	buf_init(&words, 64);
	queue_applied_text(applied, &words);
	value = json_string(buf_text(&words));
	buf_clear(&words);
	return value;
}

/* What policy demands for the recipient, and what the signer did. */
static void
add_demand(json_t *json, const struct queue_message *message, uint32_t number)
{
	const struct queue_demand *demand =
	    queue_protection_demand(message->protection, number);
	char text[POLICY_VALUE_TEXT_MAX];

	if (demand == NULL)
		return;
	if (message->protection->direction == DIRECTION_OUT) {
		(void)json_object_set_new(json, "sign",
		    json_string(
			policy_value_name(POLICY_SIGN, demand->sign, text)));
		(void)json_object_set_new(json, "encrypt",
		    json_string(policy_encrypt_name(
			(enum protect_encrypt)demand->encrypt)));
	}
	(void)json_object_set_new(json, "applied", words_json(demand->applied));
	(void)json_object_set_new(json, "waits_for_signer",
	    json_boolean(demand->waits != DEMAND_MET));
}

static json_t *
protection_json(const struct queue_message *message)
{
	const struct queue_protection *protection = message->protection;
	const bool waits = (message->flags & MSG_FLAG_WAIT_SIGN) != 0;
	char text[POLICY_VALUE_TEXT_MAX];

	return json_pack("{s:s, s:b, s:I, s:s, s:i}", "direction",
	    protection->direction == DIRECTION_OUT ? "out" : "in",
	    "waits_for_signer", waits, "attempts",
	    (json_int_t)protection->attempts, "dkim",
	    policy_value_name(POLICY_DKIM, protection->dkim, text), "outputs",
	    (int)protection->output_count);
}

static json_t *
recipient_json(const struct queue_recipient *recipient)
{
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s, s:s, s:s}",
	    "address", recipient->address, "domain", recipient->domain,
	    "original", recipient->original, "status",
	    queue_recipient_status(recipient), "attempts",
	    (json_int_t)recipient->attempts, "next_attempt",
	    (json_int_t)(recipient->next_ms / 1000), "last_attempt",
	    (json_int_t)(recipient->last_ms / 1000), "code",
	    (int)recipient->last_code, "enhanced", recipient->last_enhanced,
	    "reply", recipient->last_reply, "host", recipient->last_host);
}

static json_t *
message_json(const struct queue_message *message)
{
	json_t *recipients = json_array();
	char id[ID_TEXT_SIZE];
	char session[ID_TEXT_SIZE];
	json_t *json;

	for (size_t i = 0; i < message->recipient_count; i++) {
		json_t *recipient = recipient_json(&message->recipients[i]);

		if (message->protection != NULL)
			add_demand(
			    recipient, message, message->recipients[i].number);
		(void)json_array_append_new(recipients, recipient);
	}
	id_format(message->id, id);
	id_format(message->session_id, session);
	json = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:s, s:o}", "id",
	    id, "session", session, "created",
	    (json_int_t)(message->created_ms / 1000), "from", message->sender,
	    "account", message->account, "client", message->client, "size",
	    (json_int_t)message->size, "message_id", message->header_message_id,
	    "recipients", recipients);
	if (message->protection != NULL)
		(void)json_object_set_new(
		    json, "protection", protection_json(message));
	return json;
}

/* ---- looking ---- */

static void
keep(struct queue_request *request, struct queue_message *message)
{
	if (request->found == NULL)
		request->found =
		    xcalloc(request->limit, sizeof(struct queue_message *));
	request->found[request->found_count++] = message;
	request->recipients += message->recipient_count;
}

/* The page is full: the next request goes on. */
static bool
is_full(const struct queue_request *request)
{
	return request->found_count == request->limit ||
	       request->recipients >= RECIPIENTS_MAX;
}

/* One page of ids: true when there may be more. */
static bool
scan_page(struct queue_request *request, size_t *scanned)
{
	struct sql *store = request->queued->reader;
	uint64_t ids[PAGE_IDS];
	sqlite3_stmt *stmt = sql_use(store, Q_MSG_LIST);
	size_t count = 0;

	sql_bind_i64(stmt, 1, (int64_t)request->cursor);
	sql_bind_i64(stmt, 2, PAGE_IDS);
	while (count < PAGE_IDS && sql_step(store, stmt, NULL) == 1)
		ids[count++] = (uint64_t)sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	for (size_t i = 0; i < count; i++) {
		struct queue_message *message;

		if (is_full(request))
			return true;
		request->cursor = ids[i];
		++*scanned;
		if (queue_store_read(store, ids[i], &message, NULL) != 1)
			continue;
		if (queue_filter_matches(
			&request->filter, message, request->now_ms))
			keep(request, message);
		else
			queue_message_unref(message);
	}
	return count == PAGE_IDS;
}

static void
look_by_filter(struct queue_request *request)
{
	size_t scanned = 0;

	while (scan_page(request, &scanned))
		if (is_full(request) || scanned >= SCAN_MAX)
			return;
	request->cursor = 0;
}

static void
look_by_ids(struct queue_request *request, const json_t *ids)
{
	size_t count = json_array_size(ids);

	if (count > QUEUE_ADMIN_LIMIT_MAX) {
		queue_admin_refuse(
		    request, EXIT_CODE_USAGE, "ids: too many at once");
		return;
	}
	request->limit = count != 0 ? count : 1;
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(ids, i));
		struct queue_message *message;
		uint64_t id;

		if (text == NULL || id_parse(slice_of(text), &id) == -1) {
			queue_admin_refuse(request, EXIT_CODE_USAGE,
			    "ids: a message id has 13 characters, as "
			    "\"postern queue\" prints it");
			return;
		}
		if (queue_store_read(
			request->queued->reader, id, &message, NULL) == 1)
			keep(request, message);
	}
}

void
queue_admin_look_again(struct queue_request *request)
{
	struct sql *store = request->queued->reader;
	size_t kept = request->acted_count;

	for (size_t i = request->acted_count; i < request->found_count; i++) {
		struct queue_message *message;
		uint64_t id = request->found[i]->id;

		queue_message_unref(request->found[i]);
		if (queue_store_read(store, id, &message, NULL) != 1)
			continue;
		if (queue_filter_matches(
			&request->filter, message, request->now_ms))
			request->found[kept++] = message;
		else
			queue_message_unref(message);
	}
	request->found_count = kept;
}

void
queue_admin_look_messages(struct queue_request *request)
{
	const json_t *ids = json_object_get(request->arguments, "ids");

	if (ids != NULL)
		look_by_ids(request, ids);
	else
		look_by_filter(request);
}

void
queue_admin_look_one(struct queue_request *request)
{
	json_t *ids = json_array();

	(void)json_array_append(ids, json_object_get(request->arguments, "id"));
	look_by_ids(request, ids);
	json_decref(ids);
	if (request->reply != NULL)
		return;
	if (request->found_count == 0)
		queue_admin_refuse(request, EXIT_CODE_NOTHING,
		    "no such message is in the queue; \"postern trace ID\" "
		    "knows those that have left it");
	else
		request->reply = json_pack(
		    "{s:o}", "message", message_json(request->found[0]));
}

json_t *
queue_admin_next_cursor(const struct queue_request *request)
{
	char text[ID_TEXT_SIZE];

	if (request->cursor == 0)
		return json_null();
	id_format(request->cursor, text);
	return json_string(text);
}

void
queue_admin_look_list(struct queue_request *request)
{
	json_t *messages;

	queue_admin_look_messages(request);
	if (request->reply != NULL)
		return;
	messages = json_array();
	for (size_t i = 0; i < request->found_count; i++)
		(void)json_array_append_new(
		    messages, message_json(request->found[i]));
	request->reply = json_pack("{s:o, s:o}", "messages", messages, "next",
	    queue_admin_next_cursor(request));
	if (request->found_count == 0 && request->cursor == 0)
		request->code = EXIT_CODE_NOTHING;
}

static int
summary_statement(const char *by)
{
	static const struct {
		const char *by;
		int statement;
	} rows[] = {{"domain", Q_SUMMARY_DOMAIN}, {"reason", Q_SUMMARY_REASON},
	    {"sender", Q_SUMMARY_SENDER}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(by, rows[i].by) == 0)
			return rows[i].statement;
	return -1;
}

static json_t *
text_json(struct slice text)
{
	json_t *value = json_stringn(text.p != NULL ? text.p : "", text.n);

	return value != NULL ? value : json_string("");
}

void
queue_admin_look_summary(struct queue_request *request)
{
	struct sql *store = request->queued->reader;
	const json_t *by = json_object_get(request->arguments, "by");
	int statement = summary_statement(by == NULL ? "domain"
					  : json_string_value(by) == NULL
					      ? ""
					      : json_string_value(by));
	struct queue_totals totals = {0};
	json_t *groups = json_array();
	sqlite3_stmt *stmt;

	if (statement == -1) {
		json_decref(groups);
		queue_admin_refuse(request, EXIT_CODE_USAGE,
		    "by: domain, reason or sender are allowed");
		return;
	}
	(void)queue_store_totals(store, &totals, NULL);
	stmt = sql_use(store, (size_t)statement);
	sql_bind_i64(stmt, 1, SUMMARY_GROUPS);
	while (sql_step(store, stmt, NULL) == 1)
		(void)json_array_append_new(
		    groups, json_pack("{s:o, s:I, s:I, s:I, s:o}", "key",
				text_json(sql_text(stmt, 0)), "recipients",
				(json_int_t)sql_i64(stmt, 1), "held",
				(json_int_t)sql_i64(stmt, 2), "next_attempt",
				(json_int_t)(sql_i64(stmt, 3) / 1000), "reply",
				text_json(sql_text(stmt, 4))));
	(void)sqlite3_reset(stmt);
	request->reply = json_pack("{s:I, s:I, s:I, s:o}", "messages",
	    (json_int_t)totals.messages, "octets", (json_int_t)totals.octets,
	    "oldest", (json_int_t)(totals.oldest_ms / 1000), "groups", groups);
}
