/* SPDX-License-Identifier: ISC */
/*
 * queue.db: what is written reads back, what makes no sense is refused, and
 * the due query goes by its index.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/queue_store.h"
#include "tests/unit/tap.h"

static char dir[64];

static struct queue_message *
make_message(uint64_t id, size_t count)
{
	struct queue_message *message = queue_message_new(id, count);

	message->session_id = id + 1;
	message->created_ms = 1000;
	message->sender = xstrdup("a@away.test");
	message->account = xstrdup("alice");
	message->client = xstrdup("192.0.2.1");
	message->envid = xstrdup("QQ+2B");
	message->header_message_id = xstrdup("<x@y>");
	message->ret = 1;
	message->flags = MSG_FLAG_8BIT;
	message->events = 3;
	message->content = xstrdup("Subject: x\r\n\r\nbody\r\n");
	message->size = strlen(message->content);
	for (size_t i = 0; i < count; i++) {
		struct queue_recipient *recipient = &message->recipients[i];
		char address[64];

		(void)snprintf(
		    address, sizeof(address), "r%zu@d%zu.test", i, i);
		recipient->number = (uint32_t)i;
		recipient->next_ms = 2000 + (int64_t)i;
		recipient->notify = 2;
		recipient->address = xstrdup(address);
		recipient->domain = xstrdup(strchr(address, '@') + 1);
		recipient->original = xstrdup("list@ours.test");
		recipient->orcpt = xstrdup("rfc822;x");
		recipient->last_enhanced = xstrdup("");
		recipient->last_reply = xstrdup("");
		recipient->last_host = xstrdup("");
	}
	return message;
}

static void
insert(struct sql *store, uint64_t id, size_t count)
{
	struct queue_message *message = make_message(id, count);
	struct err err;

	if (queue_store_insert(store, message, &err) == -1)
		bug("%s", err.text);
	queue_message_unref(message);
}

static void
test_round_trip(struct sql *store, struct sql *reader)
{
	struct queue_message *message;
	struct queue_recipient *recipient;
	struct buf content;
	struct err err;

	insert(store, 10, 3);
	is_int(queue_store_read(reader, 10, &message, &err), 1, "it is read");
	is_u64(message->session_id, 11, "session");
	is_int(message->created_ms, 1000, "time");
	is_str(message->sender, "a@away.test", "sender");
	is_str(message->account, "alice", "account");
	is_str(message->envid, "QQ+2B", "ENVID");
	is_int(message->events, 3, "events");
	is_u64(message->size, 20, "size");
	ok(!message->is_file && message->content == NULL,
	    "the content stays where it is");
	is_u64(message->recipient_count, 3, "recipients");
	recipient = &message->recipients[2];
	is_str(recipient->address, "r2@d2.test", "address");
	is_str(recipient->original, "list@ours.test", "original");
	is_int(recipient->notify, 2, "NOTIFY");
	is_int(recipient->next_ms, 2002, "when it is due");
	recipient->attempts = 4;
	recipient->next_ms = 7000;
	recipient->last_code = 451;
	free(recipient->last_reply);
	recipient->last_reply = xstrdup("later");
	is_int(queue_store_defer(store, 10, recipient, &err), 0, "deferred");
	is_int(
	    queue_store_delete_recipient(store, 10, 0, &err), 0, "delivered");
	is_int(queue_store_update(store, 10, 6, &err), 0, "updated");
	is_int(queue_store_update(store, 10, 5, &err), 0,
	    "and by a job that had to wait for space");
	queue_message_unref(message);
	is_int(queue_store_read(reader, 10, &message, &err), 1, "read again");
	is_u64(message->recipient_count, 2, "one recipient less");
	is_int(message->recipients[1].attempts, 4, "one with its attempts");
	is_str(message->recipients[1].last_reply, "later", "and its reply");
	is_int(message->events, 6, "the number of its events");
	queue_message_unref(message);
	buf_init(&content, 1000);
	is_int(queue_store_content(reader, 10, 0, 8, &content, &err), 0,
	    "content is read");
	is_slice(buf_slice(&content), "Subject:", "as much as wanted");
	is_int(queue_store_content(reader, 10, 9, 8, &content, &err), -1,
	    "no other output is there");
	buf_clear(&content);
	is_int(queue_store_has_recipients(store, 10, &err), 1, "some are left");
	(void)queue_store_delete_recipient(store, 10, 1, &err);
	(void)queue_store_delete_recipient(store, 10, 2, &err);
	is_int(queue_store_has_recipients(store, 10, &err), 0, "then none");
	is_int(queue_store_delete(store, 10, &err), 0, "and it goes");
	is_int(queue_store_read(reader, 10, &message, &err), 0,
	    "what is gone is not there");
}

static void
test_double(struct sql *store, struct sql *reader)
{
	struct queue_message *message = make_message(20, 1);
	struct queue_totals totals;
	struct err err;

	is_int(queue_store_insert(store, message, &err), 0, "an id once");
	is_int(queue_store_insert(store, message, &err), -1, "not twice");
	is_int(queue_store_totals(reader, &totals, &err), 0, "totals");
	is_int(totals.messages, 1, "one message");
	is_int(totals.octets, 20, "its octets");
	is_int(totals.oldest_ms, 1000, "its time");
	ok(!queue_store_knows_file(reader, 20, 0), "it is no file");
	queue_message_unref(message);
	(void)queue_store_delete_recipient(store, 20, 0, &err);
	(void)queue_store_delete(store, 20, &err);
}

static void
test_file(struct sql *store, struct sql *reader)
{
	struct queue_message *message = make_message(30, 1);
	struct queue_message *read;
	struct err err;

	message->is_file = true;
	is_int(queue_store_insert(store, message, &err), 0, "a file's row");
	ok(queue_store_knows_file(reader, 30, 0), "is known");
	ok(!queue_store_knows_file(reader, 31, 0), "others are not");
	is_int(queue_store_read(reader, 30, &read, &err), 1, "and read");
	ok(read->is_file && read->size == message->size, "as a file");
	queue_message_unref(read);
	queue_message_unref(message);
	(void)queue_store_delete_recipient(store, 30, 0, &err);
	(void)queue_store_delete(store, 30, &err);
}

static void
test_due(struct sql *store, struct sql *reader)
{
	struct due_row after = {0};
	struct due_row rows[4];
	size_t count;
	size_t seen = 0;
	struct err err;

	for (uint64_t id = 100; id < 105; id++)
		insert(store, id, 2);
	while (
	    queue_store_due(reader, 2001, &after, rows, 4, &count, &err) == 0 &&
	    count > 0) {
		for (size_t i = 0; i < count; i++)
			ok(rows[i].next_ms > after.next_ms ||
				rows[i].message_id > after.message_id,
			    "rows rise");
		after = rows[count - 1];
		seen += count;
	}
	is_u64(seen, 10, "ten are due, each once");
	is_str(after.domain, "d1.test", "with their domain");
	after = (struct due_row){0};
	is_int(queue_store_due(reader, 2000, &after, rows, 4, &count, &err), 0,
	    "earlier");
	is_u64(rows[3].next_ms, 2000, "only those of the time");
	is_int(
	    queue_store_set_state(store, 100, RCPT_WAITING, RCPT_HELD, 5, &err),
	    0, "a message is held");
	is_int(queue_store_due(reader, 2000, &after, rows, 4, &count, &err), 0,
	    "then");
	is_u64(rows[0].message_id, 101, "it is not due");
	is_int(
	    queue_store_postpone(store, 100, 0, 9000, &err), 0, "a held one");
	(void)queue_store_set_state(
	    store, 100, RCPT_HELD, RCPT_WAITING, 1, &err);
	is_int(queue_store_postpone(store, 101, 0, 9000, &err), 0,
	    "and one that waits are put off");
	(void)queue_store_due(reader, 2000, &after, rows, 4, &count, &err);
	is_int(rows[0].next_ms, 1, "the first is released");
	is_u64(rows[2].message_id, 102, "the other one comes later");
}

/* Without its index the due query would read all of a million rows. */
static void
test_plan(struct sql *reader)
{
	char sql[600];
	sqlite3_stmt *stmt = NULL;
	const char *plan = "";

	(void)snprintf(
	    sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", queue_statements[Q_DUE]);
	if (sqlite3_prepare_v2(sql_handle(reader), sql, -1, &stmt, NULL) ==
		SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW)
		plan = (const char *)sqlite3_column_text(stmt, 3);
	ok(strstr(plan, "SEARCH") != NULL &&
		strstr(plan, "COVERING INDEX rcpt_due") != NULL,
	    "the due query searches its index: %s", plan);
	is_int(sqlite3_step(stmt), SQLITE_DONE, "and sorts nothing");
	(void)sqlite3_finalize(stmt);
}

static void
test_damage(struct sql *store, struct sql *reader)
{
	static const struct {
		const char *label;
		const char *sql;
	} rows[] = {
	    {"RET", "UPDATE msg SET ret=7"},
	    {"flags", "UPDATE msg SET flags=-1"},
	    {"the size", "UPDATE msg SET size=-5"},
	    {"the number of events", "UPDATE msg SET events=1<<40"},
	    {"no recipients", "DELETE FROM rcpt"},
	    {"a recipient's number", "UPDATE rcpt SET number=-1"},
	    {"NOTIFY", "UPDATE rcpt SET notify=99"},
	    {"a state", "UPDATE rcpt SET state=9"},
	    {"attempts", "UPDATE rcpt SET attempts=1<<40"},
	    {"a reply code", "UPDATE rcpt SET last_code=1000"},
	    {"no content", "DELETE FROM output"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sqlite3 *db = sql_handle(store);
		struct queue_message *message;
		struct err err = {{0}};

		(void)sqlite3_exec(db,
		    "DELETE FROM rcpt; DELETE FROM output; DELETE FROM msg",
		    NULL, NULL, NULL);
		insert(store, 500, 1);
		is_int(sqlite3_exec(db, rows[i].sql, NULL, NULL, NULL), 0,
		    "%s is damaged", rows[i].label);
		is_int(queue_store_read(reader, 500, &message, &err), -1,
		    "which is seen: %s", err.text);
		ok(message == NULL && err.text[0] != '\0',
		    "nothing is read, and said why");
	}
}

static void
test_outbox(struct sql *store, struct sql *reader)
{
	struct ipc_list_writer list;
	struct ipc_record_life life = {.message_id = 1, .event = SLICE("abc")};
	struct buf events;
	int64_t seq = 0;
	uint32_t count = 0;
	struct err err;

	ipc_list_writer_init(&list, 4096);
	(void)ipc_life_add(&list, &life, NULL);
	(void)ipc_life_add(&list, &life, NULL);
	is_int(queue_store_outbox_last(store, &seq, &err), 0, "the last row");
	is_int(seq, 0, "there is none");
	for (int64_t i = 1; i <= 3; i++)
		is_int(queue_store_outbox_add(store, i, &list, &err), 0,
		    "row %d", (int)i);
	buf_init(&events, 4096);
	is_int(queue_store_outbox_next(reader, 1, &seq, &events, &count, &err),
	    1, "the next after 1");
	is_int(seq, 2, "is 2");
	is_u64(count, 2, "with two events");
	is_mem(
	    events.p, events.n, list.encoded.p, list.encoded.n, "as they were");
	is_int(queue_store_outbox_remove(store, 2, &err), 0, "two are removed");
	is_int(queue_store_outbox_next(reader, 0, &seq, &events, &count, &err),
	    1, "the first");
	is_int(seq, 3, "is 3 then");
	is_int(queue_store_outbox_next(reader, 3, &seq, &events, &count, &err),
	    0, "and the last");
	(void)sqlite3_exec(sql_handle(store),
	    "INSERT INTO outbox VALUES (9, x'01')", NULL, NULL, NULL);
	is_int(queue_store_outbox_next(reader, 3, &seq, &events, &count, &err),
	    -1, "a damaged row is told: %s", err.text);
	buf_clear(&events);
	ipc_list_writer_clear(&list);
}

static void
test_clock(struct sql *store, struct sql *reader)
{
	struct queue_message *message;
	struct err err;
	int64_t seen_ms = -1;

	is_int(queue_store_seen(reader, &seen_ms, &err), 0, "the clock");
	is_int(seen_ms, 0, "was never noted");
	insert(store, 900, 2);
	is_int(queue_store_read(reader, 900, &message, &err), 1, "a message");
	message->recipients[1].last_ms = 1500;
	is_int(queue_store_defer(store, 900, &message->recipients[1], &err), 0,
	    "that was tried once");
	queue_message_unref(message);
	is_int(queue_store_shift(store, 5000, 9000, &err), 0,
	    "the clock moved by 5 s");
	is_int(queue_store_read(reader, 900, &message, &err), 1, "then");
	is_int(message->created_ms, 6000, "it is no older");
	is_int(message->recipients[0].last_ms, 0, "what was not tried was not");
	is_int(message->recipients[1].last_ms, 6500, "the attempt moved along");
	queue_message_unref(message);
	is_int(queue_store_seen(reader, &seen_ms, &err), 0, "the clock");
	is_int(seen_ms, 9000, "is noted with it");
}

/* Schema 3, in which a message waited as a whole. */
#define WAITED_WHOLE 3

static void
remove_store(void)
{
	static const char *const files[] = {
	    "queue.db", "queue.db-wal", "queue.db-shm"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		(void)unlink(path);
	}
}

static void
make_old_store(void)
{
	char path[128];
	sqlite3 *db;

	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	if (sqlite3_open(path, &db) != SQLITE_OK)
		fatal("%s", path);
	for (size_t i = 0; i < WAITED_WHOLE; i++)
		if (sqlite3_exec(db, queue_migrations[i], NULL, NULL, NULL) !=
		    SQLITE_OK)
			fatal("migration %zu: %s", i, sqlite3_errmsg(db));
	if (sqlite3_exec(db,
		"PRAGMA user_version=3;"
		"INSERT INTO msg VALUES(1,1,1,'','','','',0,48,1,'',1);"
		"INSERT INTO msg VALUES(2,1,1,'','','','',0,16,1,'',1);"
		"INSERT INTO demand VALUES(1,0,2,0,0,0,0,0);"
		"INSERT INTO demand VALUES(2,0,2,0,0,0,0,1);",
		NULL, NULL, NULL) != SQLITE_OK)
		fatal("rows: %s", sqlite3_errmsg(db));
	(void)sqlite3_close(db);
}

/* What waited when the program was replaced goes on to wait. */
static void
test_old_store(void)
{
	struct sql *store = NULL;
	sqlite3_stmt *stmt;
	struct err err;

	make_old_store();
	if (queue_store_open(dir, false, &store, &err) == -1)
		fatal("%s", err.text);
	if (sqlite3_prepare_v2(sql_handle(store),
		"SELECT waits FROM demand ORDER BY msg", -1, &stmt,
		NULL) != SQLITE_OK)
		fatal("%s", sqlite3_errmsg(sql_handle(store)));
	(void)sqlite3_step(stmt);
	is_int(sqlite3_column_int(stmt, 0), DEMAND_WAITS,
	    "who waited before waits");
	(void)sqlite3_step(stmt);
	is_int(sqlite3_column_int(stmt, 0), DEMAND_MET,
	    "and who did not does not");
	(void)sqlite3_finalize(stmt);
	sql_close(store);
	remove_store();
}

/* The signer held what came for one of three. */
static void
test_states(struct sql *store, struct sql *reader)
{
	struct queue_message *read;
	struct err err;

	insert(store, 9000, 3);
	if (sqlite3_exec(sql_handle(store),
		"UPDATE rcpt SET state=1 WHERE msg=9000 AND number=1", NULL,
		NULL, NULL) != SQLITE_OK)
		fatal("rows");
	(void)queue_store_set_state(
	    store, 9000, RCPT_WAITING, RCPT_WAITING, 7, &err);
	(void)queue_store_read(reader, 9000, &read, &err);
	is_int(read->recipients[1].state, RCPT_HELD,
	    "a retry of the others leaves held what is held");
	is_int(read->recipients[2].next_ms, 7, "and they are due");
	queue_message_unref(read);
	(void)queue_store_set_state(
	    store, 9000, RCPT_HELD, RCPT_WAITING, 8, &err);
	(void)queue_store_read(reader, 9000, &read, &err);
	is_int(read->recipients[1].state, RCPT_WAITING, "it is released");
	is_int(read->recipients[0].next_ms, 7, "without the others");
	queue_message_unref(read);
}

int
main(void)
{
	const char *tmp = getenv("TMPDIR");
	struct sql *store = NULL;
	struct sql *reader = NULL;
	struct err err;

	(void)snprintf(
	    dir, sizeof(dir), "%.40s/store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		fatal("mkdtemp");
	test_old_store();
	if (queue_store_open(dir, false, &store, &err) == -1 ||
	    queue_store_open(dir, true, &reader, &err) == -1)
		fatal("%s", err.text);
	test_round_trip(store, reader);
	test_double(store, reader);
	test_file(store, reader);
	test_due(store, reader);
	test_plan(reader);
	test_damage(store, reader);
	test_outbox(store, reader);
	test_clock(store, reader);
	test_states(store, reader);
	sql_close(reader);
	sql_close(store);
	remove_store();
	(void)rmdir(dir);
	return tap_done();
}
