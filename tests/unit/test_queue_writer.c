/* SPDX-License-Identifier: ISC */
/*
 * Group commit: what waits goes together, doubles hurt nobody else, events
 * are as durable as the step they tell of.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/events.h"
#include "relay/queue_store.h"
#include "relay/queue_writer.h"
#include "tests/unit/tap.h"

#define MANY 1000

static char dir[64];

/* What jobs reported. */
struct seen {
	unsigned done;
	unsigned doubles;
	unsigned finished;
	unsigned rows;
	unsigned events;
	uint32_t last_number; /* of the last event */
	int64_t last_seq;
	bool is_in_order;
};

static struct seen seen;

static void
note_rows(const struct outbox_row *row)
{
	for (; row != NULL; row = row->next) {
		struct ipc_list list = ipc_list_of(&row->events);
		struct ipc_record_life life;

		while (ipc_life_next(&list, &life))
			seen.last_number = life.number;
		seen.rows++;
		seen.events += row->events.count;
		seen.is_in_order = seen.is_in_order && row->seq > seen.last_seq;
		seen.last_seq = row->seq;
	}
}

static void
on_done(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);

	if (job->status == QUEUE_JOB_DONE)
		seen.done++;
	if (job->status == QUEUE_JOB_DOUBLE)
		seen.doubles++;
	if (job->is_finished)
		seen.finished++;
	note_rows(job->rows);
	queue_job_free(job);
}

static struct queue_message *
make_message(uint64_t id, size_t count)
{
	struct queue_message *message = queue_message_new(id, count);

	message->created_ms = 1000;
	message->sender = xstrdup("a@away.test");
	message->account = xstrdup("");
	message->client = xstrdup("");
	message->envid = xstrdup("");
	message->header_message_id = xstrdup("");
	message->content = xstrdup("x");
	message->size = 1;
	for (size_t i = 0; i < count; i++) {
		struct queue_recipient *recipient = &message->recipients[i];

		recipient->number = (uint32_t)i;
		recipient->address = xstrdup("b@ours.test");
		recipient->domain = xstrdup("ours.test");
		recipient->original = xstrdup("");
		recipient->orcpt = xstrdup("");
		recipient->last_enhanced = xstrdup("");
		recipient->last_reply = xstrdup("");
		recipient->last_host = xstrdup("");
	}
	return message;
}

static void
submit(struct queue_writer *writer, struct queue_job *job,
    struct queue_message *message)
{
	struct event_recipient event = {.to = SLICE("b@ours.test")};

	if (message != NULL)
		queue_job_event(job, message, 1, EV_RECIPIENT, &event);
	queue_writer_submit(writer, job);
}

static void
accept_message(struct queue_writer *writer, uint64_t id, size_t count)
{
	struct queue_message *message = make_message(id, count);

	submit(
	    writer, queue_job_new(QUEUE_JOB_ACCEPT, message, on_done), message);
	queue_message_unref(message);
}

static void
test_group(struct queue_writer *writer)
{
	struct queue_writer_counts before = queue_writer_counts(writer);
	struct queue_writer_counts after;

	seen = (struct seen){.is_in_order = true};
	for (uint64_t i = 0; i < MANY; i++)
		accept_message(writer, 1000 + i, 1);
	queue_writer_finish(writer);
	after = queue_writer_counts(writer);
	is_int(seen.done, MANY, "all are committed");
	is_u64(after.jobs - before.jobs, MANY, "and counted");
	ok(after.commits - before.commits < MANY / 4,
	    "in fewer transactions: %d", (int)(after.commits - before.commits));
	is_int(seen.events, MANY, "each has its event");
	ok(seen.rows >= after.commits - before.commits,
	    "in rows of the outbox");
	ok(seen.is_in_order, "whose numbers rise");
}

static void
test_doubles(struct queue_writer *writer, struct sql *reader)
{
	struct queue_message *message;
	struct err err;

	seen = (struct seen){.is_in_order = true};
	for (uint64_t i = 0; i < 100; i++) {
		accept_message(writer, 5000 + i, 2);
		accept_message(writer, 5000 + i, 2);
	}
	queue_writer_finish(writer);
	is_int(seen.done, 100, "an id is taken once");
	is_int(seen.doubles, 100, "the double is told");
	is_int(seen.events, 100, "and leaves no event");
	is_int(queue_store_read(reader, 5000, &message, &err), 1,
	    "the first is there");
	is_u64(message->recipient_count, 2, "whole");
	queue_message_unref(message);
}

static struct queue_job *
result_job(struct queue_message *message, uint32_t number)
{
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_RESULT, message, on_done);

	job->changes = xcalloc(1, sizeof(*job->changes));
	job->changes[0] = (struct queue_change){
	    .kind = QUEUE_CHANGE_DELETE, .number = number};
	job->change_count = 1;
	job->now_ms = 9000;
	return job;
}

static void
test_results(struct queue_writer *writer, struct sql *reader)
{
	struct queue_message *message = make_message(7000, 2);
	struct queue_message *read;
	struct queue_job *job;
	struct err err;

	submit(
	    writer, queue_job_new(QUEUE_JOB_ACCEPT, message, on_done), message);
	queue_writer_finish(writer);
	seen = (struct seen){.is_in_order = true};
	submit(writer, result_job(message, 0), message);
	queue_writer_finish(writer);
	is_int(seen.finished, 0, "with a recipient left it is not finished");
	is_int(queue_store_read(reader, 7000, &read, &err), 1, "it is there");
	is_int(read->events, 2, "with the number of its events");
	queue_message_unref(read);
	job = result_job(message, 1);
	queue_job_add_dsn(job, make_message(7001, 1));
	submit(writer, job, message);
	queue_writer_finish(writer);
	is_int(seen.finished, 1, "with the last one it is");
	ok(seen.last_number == QUEUE_EVENT_LAST, "its last event says so");
	is_int(queue_store_read(reader, 7000, &read, &err), 0, "it is gone");
	is_int(queue_store_read(reader, 7001, &read, &err), 1,
	    "its notification came in the same step");
	queue_message_unref(read);
	queue_message_unref(message);
}

static void
test_moves(struct queue_writer *writer, struct sql *reader)
{
	struct queue_message *message = make_message(8000, 1);
	struct queue_message *read;
	struct queue_job *job;
	struct err err;

	submit(
	    writer, queue_job_new(QUEUE_JOB_ACCEPT, message, on_done), message);
	job = queue_job_new(QUEUE_JOB_POSTPONE, NULL, on_done);
	job->changes = xcalloc(2, sizeof(*job->changes));
	job->changes[0] = (struct queue_change){.message_id = 8000,
	    .kind = QUEUE_CHANGE_POSTPONE,
	    .next_ms = 77000};
	job->changes[1] = (struct queue_change){.message_id = 4711,
	    .kind = QUEUE_CHANGE_POSTPONE,
	    .next_ms = 77000};
	job->change_count = 2;
	submit(writer, job, NULL);
	job = queue_job_new(QUEUE_JOB_STATE, message, on_done);
	job->state = RCPT_HELD;
	job->next_ms = 88000;
	seen = (struct seen){.is_in_order = true};
	queue_writer_finish(writer);
	is_int(queue_store_read(reader, 8000, &read, &err), 1, "read");
	is_int(read->recipients[0].next_ms, 77000, "a recipient is put off");
	queue_message_unref(read);
	submit(writer, job, message);
	queue_writer_finish(writer);
	is_int(queue_store_read(reader, 8000, &read, &err), 1, "read again");
	is_int(read->recipients[0].state, RCPT_HELD, "and held");
	queue_message_unref(read);
	queue_message_unref(message);
}

static void
test_outbox(struct queue_writer *writer, struct sql *reader)
{
	struct queue_job *job = queue_job_new(QUEUE_JOB_OUTBOX, NULL, on_done);
	int64_t seq;
	struct err err;

	is_int(queue_store_outbox_last(reader, &seq, &err), 0, "the outbox");
	is_int(seq, seen.last_seq, "has all rows that were reported");
	job->outbox_seq = seq - 1;
	queue_writer_submit(writer, job);
	queue_writer_finish(writer);
	is_int(queue_store_outbox_last(reader, &seq, &err), 0, "afterwards");
	is_int(seq, seen.last_seq, "the last one is left");
}

static void
test_restart(struct loop *loop, struct queue_writer **writer)
{
	struct err err;

	queue_writer_free(*writer);
	if (queue_writer_new(loop, dir, writer, &err) == -1)
		fatal("%s", err.text);
	is_int(queue_writer_first_outbox(*writer), seen.last_seq,
	    "after a restart the outbox is where it was");
	seen.is_in_order = true;
	accept_message(*writer, 9000, 1);
	queue_writer_finish(*writer);
	ok(seen.is_in_order, "and its numbers go on");
}

/* A write that fails for another reason than space: nothing is sure then. */
static void
break_writer(void)
{
	struct rlimit limit = {4096, 4096};
	struct loop *loop = loop_new();
	struct queue_writer *writer;
	struct err err;

	(void)signal(SIGXFSZ, SIG_IGN);
	if (queue_writer_new(loop, dir, &writer, &err) == -1)
		return;
	(void)setrlimit(RLIMIT_FSIZE, &limit);
	accept_message(writer, 9900, 1);
	queue_writer_finish(writer);
}

int
main(void)
{
	const char *tmp = getenv("TMPDIR");
	struct loop *loop = loop_new();
	struct queue_writer *writer = NULL;
	struct sql *reader = NULL;
	struct err err;
	static const char *const files[] = {
	    "queue.db", "queue.db-wal", "queue.db-shm"};

	(void)snprintf(dir, sizeof(dir), "%.40s/writer-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		fatal("mkdtemp");
	if (queue_writer_new(loop, dir, &writer, &err) == -1 ||
	    queue_store_open(dir, true, &reader, &err) == -1)
		fatal("%s", err.text);
	test_group(writer);
	test_doubles(writer, reader);
	test_results(writer, reader);
	test_moves(writer, reader);
	test_outbox(writer, reader);
	test_restart(loop, &writer);
	queue_writer_free(writer);
	sql_close(reader);
	OK_DIES(break_writer(), "a write that fails ends the process");
	loop_free(loop);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		(void)unlink(path);
	}
	(void)rmdir(dir);
	return tap_done();
}
