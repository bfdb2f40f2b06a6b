/* SPDX-License-Identifier: ISC */
/*
 * From disk to memory: what is loaded, what is passed over, and that nothing
 * goes out twice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_store.h"
#include "tests/unit/queued_world.h"
#include "tests/unit/tap.h"

static const char *const away[] = {"away.test"};
static const char *const other[] = {"other.test"};
static const char *const both[] = {"away.test", "other.test"};

/* One tick, and all that follows from it. */
static void
tick(struct world *world)
{
	queue_refill_tick(world->queued.refill);
	world_settle(world);
}

static size_t
waiting(const struct world *world)
{
	return dispatch_waiting(world->queued.dispatch);
}

static int64_t
now(const struct world *world)
{
	return queued_now_ms(&world->queued);
}

/* Delivers what waits, a tick now and then; returns how many it were. */
static size_t
drain(struct world *world)
{
	size_t count = 0;
	size_t before;

	do {
		before = count;
		while (world_deliver_one(world))
			count++;
		world_settle(world);
		tick(world);
	} while (count > before || waiting(world) > 0);
	return count;
}

/* Many messages for one domain, by SQL: ids first and up. */
static void
insert_many(struct world *world, uint64_t first, unsigned count,
    const char *domain, int64_t next_ms)
{
	char sql[2048];

	(void)snprintf(sql, sizeof(sql),
	    "BEGIN;"
	    "CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL"
	    " SELECT i + 1 FROM c WHERE i < %u) SELECT i FROM c;"
	    "INSERT INTO msg(id, session, created_ms, sender, account, client,"
	    " envid, ret, flags, size, header_message_id, events)"
	    " SELECT %llu + i, 0, %lld, '', '', '', '', 0, 0, 4, '', 2 FROM n;"
	    "INSERT INTO output(msg, number, kind, size, is_file, content)"
	    " SELECT %llu + i, 0, 0, 4, 0, 'abcd' FROM n;"
	    "INSERT INTO rcpt SELECT %llu + i, 0, 0, 'x@%s', '%s', '', 0, '',"
	    " 0, 0, %lld, 0, 0, '', '', '' FROM n;"
	    "COMMIT",
	    count - 1, (unsigned long long)first, (long long)next_ms,
	    (unsigned long long)first, (unsigned long long)first, domain,
	    domain, (long long)next_ms);
	world_sql(world, sql);
}

static void
clear_store(struct world *world)
{
	world_sql(
	    world, "DELETE FROM rcpt; DELETE FROM output; DELETE FROM msg");
}

static void
test_due(struct world *world)
{
	int64_t cursor_ms = now(world) - 1000;
	char sql[128];

	world_insert(world, 1001, cursor_ms, away, 1);
	world_insert(world, 1002, now(world) + 3600000, away, 1);
	world_insert(world, 1003, now(world) + 3600000, other, 1);
	world_insert(world, 1004, 0, both, 2);
	world_settle(world);
	is_u64(waiting(world), 0, "nothing is in memory after a start");
	tick(world);
	is_u64(waiting(world), 3, "what is due is loaded, one per domain");
	ok(dispatch_knows(world->queued.dispatch, 1001, 0) &&
		dispatch_knows(world->queued.dispatch, 1004, 1),
	    "each recipient of it");
	ok(!dispatch_knows(world->queued.dispatch, 1002, 0),
	    "and nothing that is not due");
	tick(world);
	is_u64(waiting(world), 3, "once and not again");
	/* An hour would be long, so its time comes to it: behind the cursor. */
	(void)snprintf(sql, sizeof(sql),
	    "UPDATE rcpt SET next_ms=%lld WHERE msg=1003",
	    (long long)cursor_ms + 1);
	world_sql(world, sql);
	tick(world);
	ok(dispatch_knows(world->queued.dispatch, 1003, 0),
	    "what became due is loaded then");
	is_u64(drain(world), 4, "four deliveries go out");
	is_u64(waiting(world), 0, "and nothing comes back");
	is_u64(world->queued.memory_used, 0, "memory is given back");
}

static void
test_held(struct world *world)
{
	world->queued.is_held = true;
	world_insert(world, 2001, 0, away, 1);
	world_settle(world);
	tick(world);
	is_u64(waiting(world), 0, "nothing is loaded while mail is held");
	world->queued.is_held = false;
	queue_refill_missed(world->queued.refill);
	tick(world);
	is_u64(waiting(world), 1, "it is afterwards");
	world_sql(world, "UPDATE rcpt SET state=1 WHERE msg=2001");
	(void)dispatch_remove(world->queued.dispatch, 2001);
	queue_refill_missed(world->queued.refill);
	tick(world);
	tick(world);
	is_u64(waiting(world), 0, "a held recipient is not due");
	clear_store(world);
}

/* A destination that cannot be reached. */
static void
test_blocked(struct world *world)
{
	struct dispatch *dispatch = world->queued.dispatch;
	struct delivery *delivery;
	int64_t now_ms;

	world_insert(world, 3001, 0, away, 1);
	world_settle(world);
	queue_refill_missed(world->queued.refill);
	tick(world);
	now_ms = now(world);
	delivery = dispatch_next(dispatch, now_ms);
	ok(delivery != NULL, "one goes out");
	dispatch_done(dispatch, delivery, DISPATCH_HOST_DOWN, now_ms, 3600000);
	dispatch_forget(dispatch, delivery);
	world_insert(world, 3002, 0, away, 1);
	world_insert(world, 3003, 0, other, 1);
	world_settle(world);
	queue_refill_missed(world->queued.refill);
	tick(world);
	is_u64(waiting(world), 1,
	    "what is for a blocked destination stays on disk");
	ok(dispatch_knows(dispatch, 3003, 0), "what is behind it does not");
	tick(world);
	is_u64(waiting(world), 1, "that is not tried each second");
	dispatch_unblock(dispatch, NULL);
	queue_refill_missed(world->queued.refill);
	tick(world);
	is_u64(waiting(world), 3, "after the block all are loaded");
	is_u64(drain(world), 3, "and delivered");
}

/* More for one destination than memory is for. */
static void
test_full(struct world *world)
{
	struct queue_totals totals;
	struct err err;
	size_t count;

	insert_many(world, 10000, 6000, "big.test", 1000);
	world_insert(world, 20000, 2000, other, 1);
	world_settle(world);
	queue_refill_missed(world->queued.refill);
	tick(world);
	ok(waiting(world) <= 4501 && waiting(world) >= 4001,
	    "one destination gets its part: %zu", waiting(world));
	ok(dispatch_knows(world->queued.dispatch, 20000, 0),
	    "mail behind it is not kept waiting");
	count = drain(world);
	is_u64(count, 6001, "all of it goes out, each once");
	is_int(queue_store_totals(world->queued.reader, &totals, &err), 0,
	    "the store is read");
	is_int(totals.messages, 0, "and is empty then");
}

/* A long way over rows that may not come into memory. */
static void
test_long_way(struct world *world)
{
	struct dispatch *dispatch = world->queued.dispatch;
	struct delivery *delivery;
	int64_t now_ms = now(world);
	size_t memory;
	unsigned ticks = 0;

	world_insert(world, 4001, 0, away, 1);
	world_settle(world);
	queue_refill_missed(world->queued.refill);
	tick(world);
	delivery = dispatch_next(dispatch, now_ms);
	dispatch_done(dispatch, delivery, DISPATCH_HOST_DOWN, now_ms, 3600000);
	dispatch_forget(dispatch, delivery);
	insert_many(world, 100000, 120000, "away.test", 1000);
	world_insert(world, 300000, 2000, other, 1);
	world_settle(world);
	memory = world->queued.memory_used;
	queue_refill_missed(world->queued.refill);
	while (!dispatch_knows(dispatch, 300000, 0) && ticks < 20) {
		ticks++;
		/* A busy front must not keep the cursor from going on. */
		queue_refill_missed(world->queued.refill);
		tick(world);
	}
	ok(ticks > 1 && ticks < 6,
	    "what is behind 120,000 rows is found in some ticks: %u", ticks);
	is_u64(waiting(world), 1, "none of those is in memory");
	ok(world->queued.memory_used < memory + 5000, "nor what they cost");
	dispatch_unblock(dispatch, NULL);
	while (dispatch_remove(dispatch, 300000) > 0)
		;
	clear_store(world);
}

/* What was read is not what is true any more. */
static void
test_old_rows(struct world *world)
{
	struct dispatch *dispatch = world->queued.dispatch;
	uint64_t delivered = world->queued.delivered;

	world_insert(world, 5001, 0, away, 1);
	world_insert(world, 5002, 0, other, 1);
	world_settle(world);
	queue_refill_missed(world->queued.refill);
	queue_refill_tick(world->queued.refill);
	dispatch_touch(dispatch, 5001);
	world_settle(world);
	ok(!dispatch_knows(dispatch, 5001, 0),
	    "a message that changed while it was read is not loaded");
	ok(dispatch_knows(dispatch, 5002, 0), "others are");
	tick(world);
	ok(dispatch_knows(dispatch, 5001, 0), "but with the next look");

	is_u64(drain(world), 2, "both go out");
	is_u64(world->queued.delivered - delivered, 2, "once");
}

/* A commit overtakes the reading of the same rows. */
static void
test_overtaken(struct world *world)
{
	uint64_t delivered = world->queued.delivered;

	for (uint64_t id = 5100; id < 5150; id++) {
		char sql[128];

		world_insert(world, id, 0, both, 2);
		world_settle(world);
		(void)snprintf(sql, sizeof(sql),
		    "UPDATE rcpt SET next_ms=9000000000000"
		    " WHERE msg=%llu AND number=1",
		    (unsigned long long)id);
		world_sql(world, sql);
		queue_refill_missed(world->queued.refill);
		tick(world);
		world_sql(world, "UPDATE rcpt SET next_ms=1");
		queue_refill_missed(world->queued.refill);
		queue_refill_tick(world->queued.refill);
		/* The rows are known: now the message is being read. */
		(void)event_base_loop(
		    loop_base(world->queued.loop), EVLOOP_ONCE);
		(void)world_deliver_one(world);
		queue_writer_finish(world->queued.writer);
		(void)drain(world);
	}
	is_u64(world->queued.delivered - delivered, 100,
	    "nothing goes out twice when commits overtake the reading");
}

/* Two recipients, of which one is on its way when the other is due. */
static void
test_same_struct(struct world *world)
{
	static const char *const three[] = {
	    "away.test", "other.test", "third.test"};
	struct dispatch *dispatch = world->queued.dispatch;
	struct queue_message *message;
	struct delivery *delivery;
	uint64_t delivered = world->queued.delivered;

	world_insert(world, 6001, 0, three, 3);
	world_settle(world);
	world_sql(world, "UPDATE rcpt SET next_ms=9000000000000"
			 " WHERE msg=6001 AND number=2");
	queue_refill_missed(world->queued.refill);
	tick(world);
	is_u64(waiting(world), 2, "two of three are due");
	delivery = dispatch_next(dispatch, now(world));
	message = delivery->message;
	(void)world_deliver_one(world);
	world_settle(world);
	is_u64(world->queued.delivered - delivered, 1, "one is delivered");
	world_sql(world, "UPDATE rcpt SET next_ms=1 WHERE msg=6001");
	queue_refill_missed(world->queued.refill);
	tick(world);
	ok(dispatch_knows(dispatch, 6001, 2), "the third is loaded");
	ok(dispatch_message(dispatch, 6001) == message,
	    "into the struct that is there");
	is_u64(waiting(world), 1, "and what was delivered stays so");
	dispatch_return(dispatch, delivery);
	is_u64(drain(world), 2, "two more deliveries make three");
}

/* Rows that make no sense. */
static void
test_damaged(struct world *world)
{
	struct due_row start = {0};
	struct due_row rows[4];
	size_t count;
	struct err err;

	world_insert(world, 7001, 0, away, 1);
	world_insert(world, 7002, 0, away, 1);
	world_insert(world, 7003, 0, away, 1);
	world_settle(world);
	world_sql(world, "UPDATE msg SET ret=99 WHERE id=7002;"
			 "UPDATE rcpt SET attempts=-1 WHERE msg=7003");
	queue_refill_missed(world->queued.refill);
	world->alerts = 0;
	tick(world);
	is_u64(waiting(world), 1, "a damaged message stops no other");
	is_int(world->alerts, 2, "each gives an alert");
	is_int(queue_store_due(world->queued.reader, now(world), &start, rows,
		   4, &count, &err),
	    0, "rows are read");
	is_u64(count, 1, "and is set aside");
	world->alerts = 0;
	queue_refill_missed(world->queued.refill);
	tick(world);
	is_int(world->alerts, 0, "for hours");
	is_u64(drain(world), 1, "the good one is delivered");
	clear_store(world);
}

int
main(void)
{
	struct world world;

	world_init(&world);
	test_due(&world);
	test_held(&world);
	test_blocked(&world);
	test_full(&world);
	test_long_way(&world);
	test_old_rows(&world);
	test_overtaken(&world);
	test_same_struct(&world);
	test_damaged(&world);
	world_clear(&world);
	return tap_done();
}
