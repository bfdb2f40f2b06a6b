/* SPDX-License-Identifier: ISC */
/*
 * What becomes of recipients: the rows, the notifications, and that none of
 * them is lost for its size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/queue_refill.h"
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
	    sqlite3_busy_timeout(db, PATIENCE_MS) != SQLITE_OK ||
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
	    "SELECT count(*) FROM msg WHERE size > %d",
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
	    "UPDATE output SET size=%d, content=CAST('Subject: x'"
	    " || x'0d0a0d0a' || replace(hex(zeroblob(%d)), '00',"
	    " 'text' || x'0d0a') AS BLOB)"
	    " WHERE msg=2000; UPDATE msg SET size=(SELECT length(content)"
	    " FROM output WHERE msg=2000) WHERE id=2000",
	    IPC_INLINE_MAX, (IPC_INLINE_MAX + IPC_TRACE_MAX) / 6 - 10);
	world_sql(world, query);
	give_up(world, 2000);
	is_int(count(world, "SELECT count(*) FROM msg WHERE flags & 4"), 1,
	    "the sender is told");
	(void)snprintf(query, sizeof(query),
	    "SELECT count(*) FROM msg WHERE size > %d",
	    IPC_INLINE_MAX + IPC_TRACE_MAX);
	is_int(count(world, query), 0,
	    "and an original that leaves no room is not sent back");
}

/* The time of a destination that is down, as many seconds ago. */
static void
be_born(struct world *world, int64_t seconds_ago)
{
	char query[128];

	(void)snprintf(query, sizeof(query), "UPDATE msg SET created_ms=%lld",
	    (long long)(queued_now_ms(&world->queued) - seconds_ago * 1000));
	world_sql(world, query);
}

/* Loads what is due, and parks it: its destination is down. */
static void
park(struct world *world)
{
	struct dispatch *dispatch = world->queued.dispatch;
	int64_t now_ms = queued_now_ms(&world->queued);
	struct delivery *probe;

	world_sql(world, "UPDATE rcpt SET next_ms=1");
	dispatch_unblock(dispatch, NULL);
	queue_refill_missed(world->queued.refill);
	queue_refill_tick(world->queued.refill);
	world_settle(world);
	while ((probe = dispatch_next(dispatch, now_ms)) != NULL &&
	       strcmp(probe->domain, "down.test") != 0) {
		dispatch_done(dispatch, probe, DISPATCH_TAKEN, now_ms, 0);
		dispatch_forget(dispatch, probe);
	}
	dispatch_done(dispatch, probe, DISPATCH_HOST_DOWN, now_ms, 300000);
	dispatch_forget(dispatch, probe);
	queue_result_park(&world->queued);
	world_settle(world);
}

/* One attempt speaks for all that wait for a destination which is down. */
static void
test_parked(struct world *world)
{
	static const char *const down[] = {"down.test"};
	static const char *const bounces =
	    "SELECT count(*) FROM msg WHERE flags & 4";

	world_sql(world, "DELETE FROM rcpt; DELETE FROM output;"
			 "DELETE FROM msg");
	for (uint64_t id = 3000; id < 3010; id++)
		world_insert(world, id, 1, down, 1);
	world_settle(world);
	park(world);
	is_int(count(world, bounces), 0, "young mail is just put off");
	is_int(count(world, "SELECT count(*) FROM rcpt WHERE attempts=0 AND"
			    " last_ms=0 AND next_ms > 1"),
	    9, "without an attempt of its own");
	be_born(world, 5 * 3600);
	park(world);
	is_int(count(world, bounces), 9, "later the senders are warned");
	park(world);
	ok(count(world, bounces) <= 10, "each of them once");
	be_born(world, 5 * 86400);
	park(world);
	ok(count(world, "SELECT count(*) FROM rcpt WHERE domain='down.test'") <=
		1,
	    "and in the end they get it back");
	ok(count(world, bounces) >= 18, "all of them");
}

int
main(void)
{
	struct world world;

	world_init(&world);
	test_many_failures(&world);
	test_large_original(&world);
	test_parked(&world);
	world_clear(&world);
	return tap_done();
}
