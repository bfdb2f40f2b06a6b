/* SPDX-License-Identifier: ISC */
/*
 * What becomes of recipients: the rows, the notifications, and that none of
 * them is lost for its size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/queue_result.h"
#include "relay/queue_store.h"
#include "tests/unit/queued_world.h"
#include "tests/unit/tap.h"

#define MANY 600

/* The number that a query gives. */
static int64_t
count(struct world *world, const char *text)
{
	char path[128];
	sqlite3_stmt *stmt;
	sqlite3 *db;
	int64_t value;

	(void)snprintf(path, sizeof(path), "%s/queue.db", world->dir);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		fatal("%s: %s", text, sqlite3_errmsg(db));
	value = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return value;
}

static void
on_given_up(void *arg, bool is_done)
{
	bool *was_done = arg;

	*was_done = is_done;
}

/* The message bounces for all its recipients. */
static void
give_up(struct world *world, uint64_t id)
{
	struct queue_message *message;
	bool was_done = false;
	struct err err;

	if (queue_store_read(world->queued.reader, id, &message, &err) != 1)
		fatal("%s", err.text);
	queue_result_give_up(&world->queued, message, "No, thank you", false,
	    "admin", on_given_up, &was_done);
	queue_message_unref(message);
	world_settle(world);
	ok(was_done, "the message is given up");
}

static void
test_many_failures(struct world *world)
{
	const char **domains = xcalloc(MANY, sizeof(*domains));
	char query[256];

	for (size_t i = 0; i < MANY; i++)
		domains[i] = "a-domain-with-a-name-of-some-length.away.test";
	world_insert(world, 1000, 1, domains, MANY);
	free(domains);
	world_settle(world);
	give_up(world, 1000);
	is_int(count(world, "SELECT count(*) FROM msg WHERE id=1000"), 0,
	    "it is gone");
	ok(count(world, "SELECT count(*) FROM msg WHERE flags & 4") > 1,
	    "its sender is told in several messages");
	(void)snprintf(query, sizeof(query),
	    "SELECT count(*) FROM msg WHERE size > %u",
	    IPC_INLINE_MAX + IPC_TRACE_MAX);
	is_int(count(world, query), 0, "each of which fits into a frame");
	is_int(count(world,
		   "SELECT sum((length(content) - length(replace(content,"
		   " 'Final-Recipient:', ''))) / 16) FROM output"),
	    MANY, "and which name all recipients");
	world_sql(world, "DELETE FROM rcpt; DELETE FROM output;"
			 "DELETE FROM msg");
}

static void
test_large_original(struct world *world)
{
	static const char *const away[] = {"away.test"};
	char query[256];

	world_insert(world, 2000, 1, away, 1);
	world_settle(world);
	(void)snprintf(query, sizeof(query),
	    "UPDATE output SET size=%u, content=CAST('Subject: x' || x'0d0a0d0a'"
	    " || replace(hex(zeroblob(%u)), '00', 'text' || x'0d0a') AS BLOB)"
	    " WHERE msg=2000; UPDATE msg SET size=(SELECT length(content)"
	    " FROM output WHERE msg=2000) WHERE id=2000",
	    IPC_INLINE_MAX, (IPC_INLINE_MAX + IPC_TRACE_MAX) / 6 - 10);
	world_sql(world, query);
	give_up(world, 2000);
	is_int(count(world, "SELECT count(*) FROM msg WHERE flags & 4"), 1,
	    "the sender is told");
	(void)snprintf(query, sizeof(query),
	    "SELECT count(*) FROM msg WHERE size > %u",
	    IPC_INLINE_MAX + IPC_TRACE_MAX);
	is_int(count(world, query), 0,
	    "and an original that leaves no room is not sent back");
}

int
main(void)
{
	struct world world;

	world_init(&world);
	test_many_failures(&world);
	test_large_original(&world);
	world_clear(&world);
	return tap_done();
}
