/* SPDX-License-Identifier: ISC */
/*
 * Deliveries in memory: fairness between destinations, how many at once, what
 * blocks, and what is known.
 */
#include <stdio.h>
#include <string.h>

#include "relay/dispatch.h"
#include "tests/unit/tap.h"

static struct queue_message *
make_message(uint64_t id)
{
	return queue_message_new(id, 0);
}

/* Adds a delivery of a message of its own to recipient 0. */
static void
add(struct dispatch *dispatch, uint64_t id, const char *domain)
{
	struct queue_message *message = make_message(id);
	const uint32_t number = 0;

	(void)dispatch_add(dispatch, message, domain, domain, &number, 1);
	queue_message_unref(message);
}

static void
add_many(struct dispatch *dispatch, uint64_t id, const char *domain, int n)
{
	for (int i = 0; i < n; i++)
		add(dispatch, id + (uint64_t)i, domain);
}

/* Starts all that may start; returns how many. */
static unsigned
start_all(struct dispatch *dispatch, struct delivery **out, unsigned max)
{
	unsigned n = 0;

	while (n < max && (out[n] = dispatch_next(dispatch, 0)) != NULL)
		n++;
	return n;
}

static void
finish(struct dispatch *dispatch, struct delivery *delivery,
    enum dispatch_verdict verdict)
{
	dispatch_done(dispatch, delivery, verdict, 0, 1000);
	dispatch_forget(dispatch, delivery);
}

static void
test_fairness(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct delivery *out[8];
	char order[9] = "";

	dispatch_set_limit(dispatch, 20);
	add_many(dispatch, 100, "a", 4);
	add_many(dispatch, 200, "b", 2);
	add_many(dispatch, 300, "c", 2);
	is_u64(start_all(dispatch, out, 8), 8, "eight may start");
	for (unsigned i = 0; i < 8; i++)
		order[i] = out[i]->domain[0];
	is_str(order, "abcabcaa", "one of each destination in turn");
	is_u64(dispatch_waiting(dispatch), 0, "none waits");
	is_u64(dispatch_active(dispatch), 8, "all are out");
	dispatch_free(dispatch);
}

static void
test_concurrency(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct delivery *out[200];
	unsigned n;

	dispatch_set_limit(dispatch, 8);
	add_many(dispatch, 1, "a", 150);
	is_u64(start_all(dispatch, out, 200), 5, "a destination begins with 5");
	for (unsigned i = 0; i < 5; i++)
		finish(dispatch, out[i], DISPATCH_TAKEN);
	is_u64(start_all(dispatch, out, 200), 6, "as many successes: one more");
	for (int round = 0; round < 6; round++) {
		n = (unsigned)dispatch_active(dispatch);
		for (unsigned i = 0; i < n; i++)
			finish(dispatch, out[i], DISPATCH_TAKEN);
		n = start_all(dispatch, out, 200);
	}
	is_u64(n, 8, "up to relay.connections");
	finish(dispatch, out[0], DISPATCH_REFUSED);
	is_u64(
	    start_all(dispatch, out + 8, 1), 0, "one that was put off: less");
	finish(dispatch, out[1], DISPATCH_REFUSED);
	finish(dispatch, out[2], DISPATCH_TAKEN);
	is_u64(start_all(dispatch, out + 8, 100), 1, "and less");
	dispatch_free(dispatch);
}

static void
test_overdue(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct delivery *first;
	struct delivery *second;

	dispatch_set_limit(dispatch, 8);
	add_many(dispatch, 1, "a", 2);
	first = dispatch_next(dispatch, 100);
	second = dispatch_next(dispatch, 200);
	ok(dispatch_overdue(dispatch, 99) == NULL, "none is out so long");
	ok(dispatch_overdue(dispatch, 100) == first, "then the first is");
	finish(dispatch, first, DISPATCH_TAKEN);
	ok(dispatch_overdue(dispatch, 199) == NULL, "it came back");
	ok(dispatch_overdue(dispatch, 200) == second, "then the second is");
	dispatch_free(dispatch);
}

static void
test_block(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct delivery *delivery;
	struct delivery *probe;
	size_t n = 0;

	dispatch_set_limit(dispatch, 8);
	add_many(dispatch, 1, "a", 10);
	delivery = dispatch_next(dispatch, 100);
	dispatch_done(dispatch, delivery, DISPATCH_HOST_DOWN, 100, 1000);
	dispatch_forget(dispatch, delivery);
	is_int(dispatch_blocked_until(dispatch, "a", 100), 1100,
	    "a host that is down is blocked");
	ok(dispatch_next(dispatch, 1099) == NULL, "nothing goes there");
	dispatch_wake(dispatch, 1100);
	probe = dispatch_next(dispatch, 1100);
	ok(probe != NULL, "when the time has come, one does");
	dispatch_wake(dispatch, 1100);
	ok(dispatch_next(dispatch, 1100) == NULL, "and no more than one");
	dispatch_done(dispatch, probe, DISPATCH_HOST_DOWN, 1100, 1000);
	dispatch_forget(dispatch, probe);
	is_int(dispatch_blocked_until(dispatch, "a", 1100), 2100,
	    "it is blocked anew");
	dispatch_unblock(dispatch, "a");
	is_int(dispatch_blocked_until(dispatch, "a", 1100), 0,
	    "an administrator opens it");
	probe = dispatch_next(dispatch, 1100);
	dispatch_done(dispatch, probe, DISPATCH_TAKEN, 1100, 0);
	dispatch_forget(dispatch, probe);
	ok(dispatch_next(dispatch, 1100) != NULL, "it works: mail goes on");

	delivery = dispatch_next(dispatch, 1100);
	if (delivery != NULL)
		dispatch_return(dispatch, delivery);
	add_many(dispatch, 50, "b", 3);
	while ((delivery = dispatch_next(dispatch, 1100)) != NULL)
		if (strcmp(delivery->domain, "b") == 0)
			break;
	dispatch_done(dispatch, delivery, DISPATCH_HOST_DOWN, 1100, 1000);
	dispatch_forget(dispatch, delivery);
	delivery = dispatch_take_blocked(dispatch, 1100, 100);
	while (delivery != NULL) {
		struct delivery *next = delivery->next;
		uint64_t id = delivery->message->id;

		ok(dispatch_knows(dispatch, id, 0), "it is still known");
		dispatch_forget(dispatch, delivery);
		ok(!dispatch_knows(dispatch, id, 0), "until it is forgotten");
		delivery = next;
		n++;
	}
	is_u64(n, 2, "what waits for a blocked one can be taken out");
	dispatch_free(dispatch);
}

static void
test_jobs(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct delivery *delivery;
	uint64_t job_id;

	ok(dispatch_find(dispatch, 0) == NULL, "there is no job 0");
	add(dispatch, 1, "a");
	delivery = dispatch_next(dispatch, 0);
	job_id = delivery->job_id;
	ok(dispatch_find(dispatch, job_id) == delivery, "a job is found");
	ok(dispatch_find(dispatch, job_id + 1) == NULL, "another is not");
	dispatch_return_all(dispatch);
	ok(dispatch_find(dispatch, job_id) == NULL,
	    "nor one that went back: a late result is nobody's");
	is_u64(dispatch_waiting(dispatch), 1, "it waits again");
	ok(dispatch_next(dispatch, 0) == delivery, "and goes out again");
	ok(delivery->job_id != job_id, "under another id");
	dispatch_free(dispatch);
}

static void
test_known(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct queue_message *message = make_message(7);
	const uint32_t numbers[] = {3, 5};
	const uint32_t other[] = {9};
	struct delivery *delivery;

	(void)dispatch_add(dispatch, message, "a", "a", numbers, 2);
	(void)dispatch_add(dispatch, message, "b", "b", other, 1);
	ok(dispatch_knows(dispatch, 7, 3) && dispatch_knows(dispatch, 7, 5) &&
		dispatch_knows(dispatch, 7, 9),
	    "recipients in memory are known");
	ok(!dispatch_knows(dispatch, 7, 4) && !dispatch_knows(dispatch, 8, 3),
	    "others are not");
	ok(dispatch_message(dispatch, 7) == message, "so is the message");
	ok(dispatch_message(dispatch, 7 + 4096) == NULL,
	    "one in the same bucket is not");
	delivery = dispatch_next(dispatch, 0);
	is_u64(dispatch_remove(dispatch, 7), 1, "what is out stays");
	ok(!dispatch_knows(dispatch, 7, 9), "what waited is removed");
	dispatch_done(dispatch, delivery, DISPATCH_TAKEN, 0, 0);
	ok(dispatch_knows(dispatch, 7, 3),
	    "what came back is known until it is committed");
	is_u64(dispatch_remove(dispatch, 7), 1, "and counts as out");
	dispatch_forget(dispatch, delivery);
	ok(dispatch_message(dispatch, 7) == NULL, "then it is forgotten");
	is_u64(message->references, 1, "with its references");
	queue_message_unref(message);
	dispatch_free(dispatch);
}

static void
test_marks(void)
{
	struct dispatch *dispatch = dispatch_new();
	uint32_t first = dispatch_mark(dispatch);
	uint32_t second;

	add_many(dispatch, 1, "a", 3);
	ok(!dispatch_is_touched(dispatch, 1, first),
	    "what came into memory is not touched");
	finish(dispatch, dispatch_next(dispatch, 0), DISPATCH_TAKEN);
	ok(dispatch_is_touched(dispatch, 1, first), "what left it is");
	second = dispatch_mark(dispatch);
	ok(!dispatch_is_touched(dispatch, 1, second), "not since a later mark");
	ok(dispatch_is_touched(dispatch, 1, first), "but since the first");
	(void)dispatch_remove(dispatch, 99);
	ok(dispatch_is_touched(dispatch, 99, second),
	    "a removal touches what is not in memory");
	dispatch_touch(dispatch, 98);
	ok(dispatch_is_touched(dispatch, 98, first) &&
		dispatch_is_touched(dispatch, 98, second),
	    "each watcher sees it");
	dispatch_free(dispatch);
}

static void
test_room(void)
{
	struct dispatch *dispatch = dispatch_new();
	size_t room = dispatch_room(dispatch, "a");

	add_many(dispatch, 1, "a", 10);
	is_u64(dispatch_room(dispatch, "a"), room - 10, "room shrinks");
	add_many(dispatch, 100, "a", (int)room);
	is_u64(dispatch_room(dispatch, "a"), 0, "and is never negative");
	dispatch_free(dispatch);
}

/* Destinations that hang take what they can get. */
static void
test_hanging(void)
{
	struct dispatch *dispatch = dispatch_new();
	char key[16];

	for (int i = 0; i < 50; i++) {
		(void)snprintf(key, sizeof(key), "slow%d", i);
		for (uint64_t n = 0; dispatch_room(dispatch, key) > 0; n++)
			add(dispatch, (uint64_t)i * 100000 + n, key);
	}
	ok(dispatch_waiting(dispatch) < 21000, "memory has its bounds: %zu",
	    dispatch_waiting(dispatch));
	ok(dispatch_room(dispatch, "fast") >= 16,
	    "however many hang, the next one gets its part: %zu",
	    dispatch_room(dispatch, "fast"));
	dispatch_free(dispatch);
}

static void
test_relief(void)
{
	struct dispatch *dispatch = dispatch_new();
	size_t room = dispatch_room(dispatch, "a");

	dispatch_set_limit(dispatch, 100000);
	add_many(dispatch, 1, "b", 100);
	add_many(dispatch, 1000, "a", (int)room);
	ok(!dispatch_take_relief(dispatch), "nothing was left on disk");
	is_u64(dispatch_room(dispatch, "a"), 0, "now something is");
	for (size_t i = 0; i < 150; i++)
		finish(dispatch, dispatch_next(dispatch, 0), DISPATCH_TAKEN);
	ok(!dispatch_take_relief(dispatch), "with a few gone it waits");
	while (dispatch_waiting(dispatch) > 10)
		finish(dispatch, dispatch_next(dispatch, 0), DISPATCH_TAKEN);
	ok(dispatch_take_relief(dispatch), "with most gone it is time");
	ok(!dispatch_take_relief(dispatch), "which is said once");
	dispatch_free(dispatch);
}

/* What an administrator has in his hands. */
static void
test_claim(void)
{
	struct dispatch *dispatch = dispatch_new();
	struct queue_message *message = queue_message_new(7, 1);
	struct delivery *claim = dispatch_claim(dispatch, message);
	uint32_t mark = dispatch_mark(dispatch);

	ok(dispatch_knows(dispatch, 7, 0), "its recipients are known");
	is_u64(dispatch_remove(dispatch, 7), 1, "nobody else may have it");
	ok(dispatch_message(dispatch, 7) == message, "it is the one struct");
	ok(dispatch_next(dispatch, 0) == NULL, "it does not go out");
	dispatch_forget(dispatch, claim);
	ok(!dispatch_knows(dispatch, 7, 0), "afterwards it is free");
	ok(dispatch_is_touched(dispatch, 7, mark), "and touched");
	queue_message_unref(message);
	dispatch_free(dispatch);
}

/* Who waits for the signer, while others have theirs already. */
static void
test_claim_some(void)
{
	static const uint32_t numbers[] = {1, 2};
	static const uint32_t other = 0;
	struct dispatch *dispatch = dispatch_new();
	struct queue_message *message = queue_message_new(7, 3);
	struct delivery *claim;

	for (uint32_t i = 0; i < 3; i++)
		message->recipients[i].number = i;
	claim = dispatch_claim_some(dispatch, message, numbers, 2);
	ok(dispatch_knows(dispatch, 7, 1) && dispatch_knows(dispatch, 7, 2),
	    "some recipients are claimed");
	ok(!dispatch_knows(dispatch, 7, 0), "and the others are not");
	(void)dispatch_add(dispatch, message, "a.test", "a.test", &other, 1);
	ok(dispatch_next(dispatch, 0) != NULL, "who may go out");
	is_u64(dispatch_remove(dispatch, 7), 2, "both are out then");
	dispatch_forget(dispatch, claim);
	ok(dispatch_knows(dispatch, 7, 0) && !dispatch_knows(dispatch, 7, 1),
	    "each is forgotten by itself");
	queue_message_unref(message);
	dispatch_free(dispatch);
}

int
main(void)
{
	test_fairness();
	test_concurrency();
	test_overdue();
	test_block();
	test_jobs();
	test_known();
	test_marks();
	test_room();
	test_hanging();
	test_relief();
	test_claim();
	test_claim_some();
	return tap_done();
}
