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
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/events.h"
#include "common/mime_word.h"
#include "common/rfc5322_date.h"
#include "relay/queue_admin.h"
#include "relay/queue_alias.h"
#include "relay/queue_dsn.h"
#include "relay/queue_filter.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_store.h"
#include "relay/submission.h"

/* Messages looked at for one request; the next page goes on from there. */
#define SCAN_MAX 20000
#define PAGE_IDS 500
#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000
/* Recipients of one page; it has to fit into memory and into an answer. */
#define RECIPIENTS_MAX 4000
#define SUMMARY_GROUPS 200
#define NOTICE_TEXT_MAX 65536

/* DESIGN §5. */
enum exit_code {
	EXIT_CODE_DONE = 0,
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_NOTHING = 3
};

struct request;

struct verb {
	const char *name;
	/* In the reader's thread; may set reply or collect messages. */
	void (*look)(struct request *request);
	/* In the loop, for each message that was found. */
	void (*act)(struct request *request, struct queue_message *message);
};

struct request {
	struct pool_task task;
	struct queued *queued;
	struct channel *channel;
	uint32_t confd_round; /* of the channel */
	uint64_t request_id;
	const struct verb *verb;
	char actor[129];
	json_t *arguments;
	struct queue_filter filter;
	int64_t now_ms;
	uint32_t mark; /* of dispatch, before the look */

	struct queue_message **found;
	size_t found_count;
	size_t recipients; /* of all that was found */
	size_t limit;
	uint64_t cursor; /* out: go on after this id; 0: all was seen */

	json_t *reply;
	enum exit_code code;
	size_t pending; /* changes not yet committed */
	size_t changed;
	json_t *changed_ids;
};

/* ---- requests ---- */

static void
request_free(struct request *request)
{
	for (size_t i = 0; i < request->found_count; i++)
		queue_message_unref(request->found[i]);
	free(request->found);
	queue_filter_clear(&request->filter);
	json_decref(request->arguments);
	json_decref(request->reply);
	json_decref(request->changed_ids);
	free(request);
}

static void
refuse(struct request *request, enum exit_code code, const char *sentence)
{
	json_decref(request->reply);
	request->reply = json_pack("{s:s}", "error", sentence);
	request->code = code;
}

/* -1: it does not fit. */
static int
send_reply(const struct request *request)
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
static void
answer(struct request *request)
{
	const struct queued *queued = request->queued;

	if (daemon_confd(queued->daemon) == request->channel &&
	    queued->confd_round == request->confd_round &&
	    send_reply(request) == -1) {
		refuse(request, EXIT_CODE_FAILED,
		    "the answer does not fit; ask for fewer messages by "
		    "--limit");
		(void)send_reply(request);
	}
	request_free(request);
}

/* ---- messages as JSON ---- */

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

	for (size_t i = 0; i < message->recipient_count; i++)
		(void)json_array_append_new(
		    recipients, recipient_json(&message->recipients[i]));
	id_format(message->id, id);
	id_format(message->session_id, session);
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:s, s:o}", "id",
	    id, "session", session, "created",
	    (json_int_t)(message->created_ms / 1000), "from", message->sender,
	    "account", message->account, "client", message->client, "size",
	    (json_int_t)message->size, "message_id", message->header_message_id,
	    "recipients", recipients);
}

/* ---- looking, in the reader's thread ---- */

static void
keep(struct request *request, struct queue_message *message)
{
	if (request->found == NULL)
		request->found =
		    xcalloc(request->limit, sizeof(struct queue_message *));
	request->found[request->found_count++] = message;
	request->recipients += message->recipient_count;
}

/* The page is full: the next request goes on. */
static bool
is_full(const struct request *request)
{
	return request->found_count == request->limit ||
	       request->recipients >= RECIPIENTS_MAX;
}

/* One page of ids: true when there may be more. */
static bool
scan_page(struct request *request, size_t *scanned)
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
look_by_filter(struct request *request)
{
	size_t scanned = 0;

	while (scan_page(request, &scanned))
		if (is_full(request) || scanned >= SCAN_MAX)
			return;
	request->cursor = 0;
}

static void
look_by_ids(struct request *request, const json_t *ids)
{
	size_t count = json_array_size(ids);

	if (count > LIMIT_MAX) {
		refuse(request, EXIT_CODE_USAGE, "ids: too many at once");
		return;
	}
	request->limit = count != 0 ? count : 1;
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(ids, i));
		struct queue_message *message;
		uint64_t id;

		if (text == NULL || id_parse(slice_of(text), &id) == -1) {
			refuse(request, EXIT_CODE_USAGE,
			    "ids: a message id has 13 characters, as "
			    "\"postern queue\" prints it");
			return;
		}
		if (queue_store_read(
			request->queued->reader, id, &message, NULL) == 1)
			keep(request, message);
	}
}

static void
look_messages(struct request *request)
{
	const json_t *ids = json_object_get(request->arguments, "ids");

	if (ids != NULL)
		look_by_ids(request, ids);
	else
		look_by_filter(request);
}

static void
look_one(struct request *request)
{
	json_t *ids = json_array();

	(void)json_array_append(ids, json_object_get(request->arguments, "id"));
	look_by_ids(request, ids);
	json_decref(ids);
	if (request->reply != NULL)
		return;
	if (request->found_count == 0)
		refuse(request, EXIT_CODE_NOTHING,
		    "no such message is in the queue; \"postern trace ID\" "
		    "knows those that have left it");
	else
		request->reply = json_pack(
		    "{s:o}", "message", message_json(request->found[0]));
}

static json_t *
next_cursor(const struct request *request)
{
	char text[ID_TEXT_SIZE];

	if (request->cursor == 0)
		return json_null();
	id_format(request->cursor, text);
	return json_string(text);
}

static void
look_list(struct request *request)
{
	json_t *messages;

	look_messages(request);
	if (request->reply != NULL)
		return;
	messages = json_array();
	for (size_t i = 0; i < request->found_count; i++)
		(void)json_array_append_new(
		    messages, message_json(request->found[i]));
	request->reply = json_pack(
	    "{s:o, s:o}", "messages", messages, "next", next_cursor(request));
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

static void
look_summary(struct request *request)
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
		refuse(request, EXIT_CODE_USAGE,
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

/* ---- acting, in the loop ---- */

static void
finish_if_done(struct request *request)
{
	if (request->pending > 0)
		return;
	request->reply =
	    json_pack("{s:I, s:O, s:o}", "count", (json_int_t)request->changed,
		"ids", request->changed_ids, "next", next_cursor(request));
	if (request->changed == 0 && request->cursor == 0)
		request->code = EXIT_CODE_NOTHING;
	answer(request);
}

static void
count_change(struct request *request, uint64_t id)
{
	char text[ID_TEXT_SIZE];

	id_format(id, text);
	request->changed++;
	(void)json_array_append_new(request->changed_ids, json_string(text));
}

/* A message in the hands of a request until its change is committed. */
struct change {
	struct request *request;
	uint64_t message_id;
	struct delivery *claim;
};

static struct change *
new_change(struct request *request, struct queue_message *message)
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
	struct request *request = change->request;

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

static void
set_state(struct request *request, struct queue_message *message,
    const char *action, enum rcpt_state state)
{
	struct event_handled handled = {
	    .action = slice_of(action), .actor = slice_of(request->actor)};
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_STATE, message, on_state_set);
	struct change *change = new_change(request, message);

	change->claim = dispatch_claim(request->queued->dispatch, message);
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
is_out(struct request *request, const struct queue_message *message)
{
	struct queued *queued = request->queued;

	if (dispatch_remove(queued->dispatch, message->id) == 0)
		return false;
	queue_refill_missed(queued->refill); /* the rest of it, if any */
	return true;
}

static void
act_retry(struct request *request, struct queue_message *message)
{
	for (size_t i = 0; i < message->recipient_count; i++) {
		char key[QUEUE_KEY_MAX];

		queue_delivery_key(request->queued,
		    message->recipients[i].domain, key, sizeof(key));
		dispatch_unblock(request->queued->dispatch, key);
	}
	if (!is_out(request, message) &&
	    message->recipients[0].state == RCPT_WAITING)
		set_state(request, message, "retry", RCPT_WAITING);
}

static void
act_hold(struct request *request, struct queue_message *message)
{
	if (!is_out(request, message))
		set_state(request, message, "hold", RCPT_HELD);
}

static void
act_release(struct request *request, struct queue_message *message)
{
	if (!is_out(request, message) &&
	    message->recipients[0].state == RCPT_HELD)
		set_state(request, message, "release", RCPT_WAITING);
}

static void
on_given_up(void *arg, bool is_done)
{
	end_change(arg, is_done);
}

static void
give_up(struct request *request, struct queue_message *message,
    const char *reply, bool is_silent)
{
	if (is_out(request, message))
		return;
	queue_result_give_up(request->queued, message, reply, is_silent,
	    request->actor, on_given_up, new_change(request, message));
}

static void
act_delete(struct request *request, struct queue_message *message)
{
	give_up(request, message, "Deleted by an administrator", true);
}

static void
act_bounce(struct request *request, struct queue_message *message)
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

/* Delivered, or put off, while it was read: it is not as it was found. */
static bool
has_changed(const struct request *request, const struct queue_message *message)
{
	return dispatch_is_touched(
	    request->queued->dispatch, message->id, request->mark);
}

static void
act_on_all(struct request *request)
{
	bool is_dry =
	    json_is_true(json_object_get(request->arguments, "dry_run"));

	request->changed_ids = json_array();
	request->pending = 1; /* so that nothing ends before the last one */
	for (size_t i = 0; i < request->found_count; i++) {
		if (is_dry)
			count_change(request, request->found[i]->id);
		else if (!has_changed(request, request->found[i]))
			request->verb->act(request, request->found[i]);
	}
	request->pending--;
	finish_if_done(request);
}

/* ---- a message of our own ---- */

static void
on_notice_committed(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct request *request = job->arg;
	char id[ID_TEXT_SIZE];

	queue_outbox_send(request->queued->outbox, job);
	id_format(job->message->id, id);
	if (job->status == QUEUE_JOB_DONE) {
		request->reply = json_pack("{s:s}", "id", id);
		queue_intake_committed(request->queued, job->message);
	} else {
		refuse(request, EXIT_CODE_FAILED, "no space for the message");
	}
	queue_job_free(job);
	answer(request);
}

/* Text of ours with line ends as SMTP wants them. */
static int
add_lines(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++)
		if (*text == '\n')
			(void)buf_add_text(out, "\r\n");
		else if (*text != '\r')
			(void)buf_add_char(out, *text);
	return buf_add_text(out, "\r\n");
}

static int
write_notice(struct request *request, const char *to, const char *subject,
    const char *text, struct buf *out)
{
	const char *host = queued_settings(request->queued)->smtp_hostname;
	char date[RFC5322_DATE_SIZE];
	char id[ID_TEXT_SIZE];
	struct buf word;

	id_format(id_next(&request->queued->ids, clock_wall_us() / 1000), id);
	buf_init(&word, 4096);
	(void)mime_word_encode(slice_of(subject), sizeof("Subject:"), &word);
	(void)rfc5322_date((time_t)(clock_wall_us() / 1000000), date);
	(void)buf_addf(out,
	    "From: Postern <postmaster@%s>\r\nTo: <%s>\r\nSubject: %s\r\n"
	    "Date: %s\r\nMessage-ID: <%s.notice@%s>\r\n"
	    "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\n",
	    host, to, buf_text(&word), date, id, host);
	buf_clear(&word);
	return add_lines(out, text) == -1 || out->overflowed ? -1 : 0;
}

/* An alias that nobody can expand now goes out as it is. */
static void
commit_notice(void *arg, struct queue_message *message, bool is_known)
{
	struct request *request = arg;
	struct queue_job *job = queue_job_new(
	    QUEUE_JOB_ACCEPT, message, on_notice_committed);

	(void)is_known;
	queue_delivery_set_first(request->queued, message);
	job->arg = request;
	queue_intake_note(job, message);
	queue_message_unref(message);
	queue_writer_submit(request->queued->writer, job);
}

static void
act_notify(struct request *request)
{
	const char *to = NULL;
	const char *subject = NULL;
	const char *text = NULL;
	struct queue_message *message;
	struct buf content;

	buf_init(&content, NOTICE_TEXT_MAX);
	if (json_unpack(request->arguments, "{s:s, s:s, s:s}", "to", &to,
		"subject", &subject, "text", &text) == -1 ||
	    !ipc_is_text(slice_of(to)) || !ipc_is_text(slice_of(subject)) ||
	    write_notice(request, to, subject, text, &content) == -1 ||
	    (message = queue_own_message(request->queued, to,
		 buf_slice(&content), true, false)) == NULL) {
		buf_clear(&content);
		refuse(request, EXIT_CODE_USAGE,
		    "to, subject and text are wanted, to as a mail address");
		answer(request);
		return;
	}
	buf_clear(&content);
	if (submission_needs_aliases(
		daemon_snapshot(request->queued->daemon), message))
		queue_alias_expand(
		    request->queued, message, commit_notice, request);
	else
		commit_notice(request, message, true);
}

/* ---- the table ---- */

static const struct verb verbs[] = {{"queue.list", look_list, NULL},
    {"queue.summary", look_summary, NULL}, {"queue.show", look_one, NULL},
    {"queue.retry", look_messages, act_retry},
    {"queue.hold", look_messages, act_hold},
    {"queue.release", look_messages, act_release},
    {"queue.delete", look_messages, act_delete},
    {"queue.bounce", look_messages, act_bounce}, {"queue.notify", NULL, NULL}};

static const struct verb *
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
	struct request *request = (struct request *)task;

	request->verb->look(request);
}

static void
done_look(struct pool_task *task)
{
	struct request *request = (struct request *)task;

	if (request->reply != NULL || request->verb->act == NULL)
		answer(request);
	else
		act_on_all(request);
}

/* The arguments that all verbs share. */
static int
read_arguments(struct request *request, struct err *err)
{
	const json_t *limit = json_object_get(request->arguments, "limit");
	const char *cursor =
	    json_string_value(json_object_get(request->arguments, "cursor"));

	request->limit = LIMIT_DEFAULT;
	if (limit != NULL && !json_is_null(limit)) {
		json_int_t n = json_integer_value(limit);

		if (!json_is_integer(limit) || n < 1 || n > LIMIT_MAX)
			return err_set(
			    err, "limit: 1 to %d is allowed", LIMIT_MAX);
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
	struct request *request = xcalloc(1, sizeof(*request));
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
		refuse(request, EXIT_CODE_USAGE, "no such verb of the queue");
	else if (!json_is_object(request->arguments))
		refuse(request, EXIT_CODE_USAGE, "arguments: not an object");
	else if (read_arguments(request, &err) == -1)
		refuse(request, EXIT_CODE_USAGE, err.text);
	if (request->reply != NULL) {
		answer(request);
	} else if (request->verb->look == NULL) {
		act_notify(request);
	} else {
		request->task.run = run_look;
		request->task.done = done_look;
		request->mark = dispatch_mark(request->queued->dispatch);
		pool_submit(request->queued->reader_pool, &request->task);
	}
	return 0;
}
