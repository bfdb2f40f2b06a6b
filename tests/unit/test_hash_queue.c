/* SPDX-License-Identifier: ISC */
/*
 * The queue of passwords: turns of networks, room, and tasks taken back.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "smtpd/hash_queue.h"
#include "tests/unit/tap.h"

#define MANY 64

struct job {
	struct hash_task task;
	char name;
	bool is_done;
	bool was_run;
};

static struct job jobs[MANY];
static char order[MANY + 1];

static void
run_job(struct pool_task *task)
{
	(void)task;
}

static void
job_done(struct hash_task *task, bool was_run)
{
	struct job *job = (struct job *)task;

	job->is_done = true;
	job->was_run = was_run;
	if (was_run)
		order[strlen(order)] = job->name;
}

/* The name's letter is its network. */
static int
add(struct hash_queue *queue, unsigned i, char name)
{
	struct netaddr client = {.family = NETADDR_IPV4,
	    .bytes = {10, 0, (uint8_t)name, (uint8_t)i}};

	memset(&jobs[i], 0, sizeof(jobs[i]));
	jobs[i].task.task.run = run_job;
	jobs[i].task.done = job_done;
	jobs[i].name = name;
	return hash_queue_add(queue, &jobs[i].task, &client);
}

static void
add_all(struct hash_queue *queue, const char *names)
{
	memset(order, 0, sizeof(order));
	for (unsigned i = 0; names[i] != '\0'; i++)
		(void)add(queue, i, names[i]);
}

static void
finish(struct loop *loop, struct hash_queue *queue)
{
	while (hash_queue_count(queue) > 0)
		(void)event_base_loop(loop_base(loop), EVLOOP_ONCE);
}

static void
test_turns(struct loop *loop, struct pool *pool)
{
	struct hash_queue *queue = hash_queue_new(pool, 1, 50);

	add_all(queue, "aaaaaaaaaabbbc");
	is_u64(hash_queue_count(queue), 14, "all are taken");
	finish(loop, queue);
	is_str(order, "aabcababaaaaaa", "networks take turns");
	add_all(queue, "cab");
	finish(loop, queue);
	is_str(order, "cab", "and then in order of arrival");
	hash_queue_free(queue);
}

static void
test_room(struct loop *loop, struct pool *pool)
{
	struct hash_queue *queue = hash_queue_new(pool, 1, 4);

	add_all(queue, "aaaaa");
	is_int(add(queue, 5, 'a'), -1, "one runs, four wait, and no more");
	is_int(add(queue, 6, 'b'), 0, "but of another network");
	ok(jobs[4].is_done && !jobs[4].was_run,
	    "for which the last of the longest line goes");
	is_int(add(queue, 7, 'b'), 0, "twice");
	ok(jobs[3].is_done && !jobs[3].was_run, "the same");
	is_int(add(queue, 8, 'b'), -1, "until lines are equally long");
	is_int(add(queue, 9, 'c'), 0, "a third has its part of it");
	finish(loop, queue);
	is_u64(strlen(order), 5, "what was taken is run");
	hash_queue_free(queue);

	queue = hash_queue_new(pool, 1, 0);
	is_int(add(queue, 0, 'a'), 0, "one that need not wait has room");
	is_int(add(queue, 1, 'b'), -1, "where none may wait");
	finish(loop, queue);
	hash_queue_free(queue);
}

static void
test_cancel(struct loop *loop, struct pool *pool)
{
	struct hash_queue *queue = hash_queue_new(pool, 1, 50);

	add_all(queue, "abbbcc");
	ok(!hash_queue_cancel(&jobs[0].task), "what runs is not taken back");
	ok(hash_queue_cancel(&jobs[3].task), "what waits is");
	ok(!hash_queue_cancel(&jobs[3].task), "once");
	ok(hash_queue_cancel(&jobs[4].task), "from any place");
	(void)add(queue, 6, 'b');
	finish(loop, queue);
	ok(jobs[0].was_run && !jobs[3].is_done && !jobs[4].is_done,
	    "and never heard of");
	is_str(order, "abcbb", "the others are run in their turn");
	hash_queue_free(queue);
}

static void
test_threads(struct loop *loop)
{
	struct pool *pool = pool_new(loop, 3, "hash");
	struct hash_queue *queue = hash_queue_new(pool, 6, 50);

	for (unsigned i = 0; i < 50; i++)
		(void)add(queue, i, (char)('a' + i % 5));
	finish(loop, queue);
	for (unsigned i = 0; i < 50; i++)
		if (!jobs[i].was_run)
			fail("one was forgotten");
	ok(true, "several threads run all of them");
	pool_free(pool);
	hash_queue_free(queue);
}

int
main(void)
{
	struct loop *loop = loop_new();
	struct pool *pool = pool_new(loop, 1, "hash");

	test_turns(loop, pool);
	test_room(loop, pool);
	test_cancel(loop, pool);
	memset(order, 0, sizeof(order));
	test_threads(loop);
	pool_free(pool);
	loop_free(loop);
	return tap_done();
}
