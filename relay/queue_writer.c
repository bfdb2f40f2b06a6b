/* SPDX-License-Identifier: ISC */
/*
 * Group commit.
 * Runs in: postern-queued, in a thread of its own.  Trusts: its jobs.
 *
 * What can fail: no space (the batch is rolled back; mail being accepted is
 * refused, everything else is tried again without it), and all else (I/O
 * error, damage, a failed sync), after which nothing about the file is sure:
 * the process ends, is started anew and reads what is durable.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/events.h"
#include "common/log.h"
#include "relay/queue_store.h"
#include "relay/queue_writer.h"
#include "relay/schedule.h"

/* One transaction takes no more than this; the next takes the rest. */
#define BATCH_JOBS 256
/* Life events of one outbox row: half of what a frame may hold. */
#define ROW_EVENTS 1024
#define ROW_OCTETS (4u * 1024 * 1024)
/* Events of one job: all recipients of the largest message. */
#define JOB_OCTETS (8u * 1024 * 1024)
/* Pages given back to the file system after a batch, when there are any. */
#define VACUUM_PAGES 64

struct queue_writer {
	struct sql *store;
	struct pool *pool;
	int64_t next_seq;
	int64_t first_outbox;
	_Atomic uint64_t commits;
	_Atomic uint64_t jobs;
};

/* ---- jobs ---- */

struct queue_job *
queue_job_new(enum queue_job_kind kind, struct queue_message *message,
    void (*done)(struct pool_task *task))
{
	struct queue_job *job = xcalloc(1, sizeof(*job));

	job->kind = kind;
	job->task.done = done;
	job->message = message;
	if (message != NULL) {
		message->references++;
		job->has_demand = (message->flags & MSG_FLAG_DEMAND) != 0;
	}
	ipc_list_writer_init(&job->life, JOB_OCTETS);
	return job;
}

void
outbox_row_free(struct outbox_row *row)
{
	ipc_list_writer_clear(&row->events);
	free(row);
}

void
queue_job_free(struct queue_job *job)
{
	if (job == NULL)
		return;
	while (job->rows != NULL) {
		struct outbox_row *row = job->rows;

		job->rows = row->next;
		outbox_row_free(row);
	}
	for (size_t i = 0; i < job->dsn_count; i++)
		queue_message_unref(job->dsns[i]);
	free(job->dsns);
	queue_attempt_free(job->attempt);
	queue_message_unref(job->message);
	ipc_list_writer_clear(&job->life);
	free(job->changes);
	free(job);
}

struct queue_job *
queue_job_of(struct pool_task *task)
{
	return (struct queue_job *)((char *)task -
				    offsetof(struct queue_job, task));
}

void
queue_job_add_dsn(struct queue_job *job, struct queue_message *dsn)
{
	job->dsns =
	    xrealloc(job->dsns, (job->dsn_count + 1) * sizeof(*job->dsns));
	job->dsns[job->dsn_count++] = dsn;
}

static void
add_event(struct queue_job *job, const struct queue_message *message,
    uint32_t number, uint64_t time_us, int event_type, const void *fields)
{
	struct ipc_record_life life = {
	    .message_id = message->id, .number = number};
	struct buf event;

	buf_init(&event, 16384);
	(void)log_encode(&event,
	    (struct log_context){message->session_id, message->id}, time_us,
	    (enum event_type)event_type, fields);
	life.event = buf_slice(&event);
	if (ipc_life_add(&job->life, &life, NULL) == -1)
		bug("a job with too many life events");
	buf_clear(&event);
}

void
queue_job_event(struct queue_job *job, struct queue_message *message,
    uint64_t time_us, int event_type, const void *fields)
{
	add_event(job, message, ++message->events, time_us, event_type, fields);
	if (message == job->message)
		job->events = message->events;
}

/* ---- a batch, in the writer's thread ---- */

struct batch {
	struct queue_writer *writer;
	struct outbox_row *rows;
	struct outbox_row **rows_last;
	struct outbox_row *row; /* being filled, or NULL */
};

static int
apply_change(struct sql *store, const struct queue_job *job,
    const struct queue_change *change, struct err *err)
{
	switch (change->kind) {
	case QUEUE_CHANGE_DELETE:
		return queue_store_delete_recipient(
		    store, job->message->id, change->number, err);
	case QUEUE_CHANGE_DEFER:
		return queue_store_defer(
		    store, job->message->id, change->recipient, err);
	case QUEUE_CHANGE_POSTPONE:
		return queue_store_postpone(store, change->message_id,
		    change->number, change->next_ms, err);
	}
	bug("change %d", (int)change->kind);
}

/* The message goes with its last recipient. */
static int
finish_message(struct sql *store, struct queue_job *job, struct err *err)
{
	struct event_finished finished = {0};
	int rc = queue_store_has_recipients(store, job->message->id, err);

	if (rc == -1)
		return -1;
	if (rc == 1)
		return queue_store_update(
		    store, job->message->id, job->events, err);
	if (job->now_ms > job->message->created_ms)
		finished.queued_ms =
		    (uint64_t)(job->now_ms - job->message->created_ms);
	add_event(job, job->message, QUEUE_EVENT_LAST, clock_wall_us(),
	    EV_FINISHED, &finished);
	job->is_finished = true;
	if (job->has_demand &&
	    queue_store_delete_protection(store, job->message->id, err) == -1)
		return -1;
	return queue_store_delete(store, job->message->id, err);
}

/*
 * Whatever an administrator did to a message that was at the signer stands:
 * what comes of it then is of nobody.
 */
static int
check_waits(struct sql *store, struct queue_job *job, struct err *err)
{
	const struct queue_attempt *attempt = job->attempt;
	const uint64_t id = job->message->id;
	int rc = 1;

	for (size_t i = 0; rc == 1 && i < attempt->served_count; i++)
		rc = queue_store_waits(
		    store, id, attempt->served[i].number, err);
	for (size_t i = 0; rc == 1 && i < job->change_count; i++)
		rc = queue_store_waits(store, id, job->changes[i].number, err);
	job->is_void = rc == 0;
	return rc == -1 ? -1 : 0;
}

static int
apply_changes(struct sql *store, const struct queue_job *job, struct err *err)
{
	for (size_t i = 0; i < job->change_count; i++)
		if (apply_change(store, job, &job->changes[i], err) == -1)
			return -1;
	return 0;
}

static int
apply_attempt(struct sql *store, struct queue_job *job, struct err *err)
{
	const uint64_t id = job->message->id;

	if (check_waits(store, job, err) == -1)
		return -1;
	/* No other attempt is to have its number. */
	if (job->is_void)
		return queue_store_attempt_number(
		    store, id, job->attempt->number, err);
	if (queue_store_served(store, id, job->attempt, err) == -1 ||
	    apply_changes(store, job, err) == -1)
		return -1;
	return queue_store_attempt(store, id, job->attempt, err);
}

static int
apply_result(struct sql *store, struct queue_job *job, struct err *err)
{
	if ((job->attempt != NULL ? apply_attempt(store, job, err)
				  : apply_changes(store, job, err)) == -1)
		return -1;
	if (job->is_void)
		return 0;
	for (size_t i = 0; i < job->dsn_count; i++)
		if (queue_store_insert(store, job->dsns[i], err) == -1)
			return -1;
	return finish_message(store, job, err);
}

static int
apply_state(struct sql *store, const struct queue_job *job, struct err *err)
{
	const uint64_t id = job->message->id;

	if (queue_store_set_state(store, id, job->state_before, job->state,
		job->next_ms, err) == -1)
		return -1;
	if (job->attempt_number != 0 && queue_store_attempt_number(store, id,
					    job->attempt_number, err) == -1)
		return -1;
	return queue_store_update(store, id, job->events, err);
}

static int
apply_job(struct sql *store, struct queue_job *job, struct err *err)
{
	int rc;

	switch (job->kind) {
	case QUEUE_JOB_ACCEPT:
		return queue_store_insert(store, job->message, err);
	case QUEUE_JOB_RESULT:
		return apply_result(store, job, err);
	case QUEUE_JOB_POSTPONE:
		return apply_changes(store, job, err);
	case QUEUE_JOB_STATE:
		return apply_state(store, job, err);
	case QUEUE_JOB_PULL_IN:
		rc = queue_store_pull_in(store, job->next_ms, job->now_ms, err);
		job->is_finished = rc == 0;
		return rc == -1 ? -1 : 0;
	case QUEUE_JOB_SIGN_PULL_IN:
		rc = queue_store_sign_pull_in(store, job->now_ms, err);
		job->is_finished = rc == 0;
		return rc == -1 ? -1 : 0;
	case QUEUE_JOB_OUTBOX:
		return queue_store_outbox_remove(store, job->outbox_seq, err);
	case QUEUE_JOB_CLOCK:
		return queue_store_see(store, job->now_ms, err);
	case QUEUE_JOB_KIND_COUNT:
		break;
	}
	bug("job %d", (int)job->kind);
}

static int
write_row(struct batch *batch, struct err *err)
{
	struct outbox_row *row = batch->row;

	if (row == NULL)
		return 0;
	batch->row = NULL;
	*batch->rows_last = row;
	batch->rows_last = &row->next;
	row->seq = batch->writer->next_seq++;
	return queue_store_outbox_add(
	    batch->writer->store, row->seq, &row->events, err);
}

/* Moves the job's life events into the batch's outbox rows. */
static int
collect_events(
    struct batch *batch, const struct queue_job *job, struct err *err)
{
	struct outbox_row *row = batch->row;

	if (job->life.count == 0 || job->is_void)
		return 0;
	if (row != NULL &&
	    (row->events.count + job->life.count > ROW_EVENTS ||
		row->events.encoded.n + job->life.encoded.n > ROW_OCTETS)) {
		if (write_row(batch, err) == -1)
			return -1;
		row = NULL;
	}
	if (row == NULL) {
		row = xcalloc(1, sizeof(*row));
		ipc_list_writer_init(&row->events, JOB_OCTETS);
		batch->row = row;
	}
	if (buf_add(&row->events.encoded, job->life.encoded.p,
		job->life.encoded.n) == -1)
		bug("an outbox row with too many events");
	row->events.count += job->life.count;
	return 0;
}

static void
drop_rows(struct batch *batch)
{
	if (batch->row != NULL)
		outbox_row_free(batch->row);
	batch->row = NULL;
	while (batch->rows != NULL) {
		struct outbox_row *row = batch->rows;

		batch->rows = row->next;
		outbox_row_free(row);
	}
	batch->rows_last = &batch->rows;
}

static bool
is_double(struct sql *store)
{
	return (sqlite3_errcode(sql_handle(store)) & 0xff) == SQLITE_CONSTRAINT;
}

/* What a failed first try left in the job is taken back. */
struct job_mark {
	size_t life_n;
	uint32_t life_count;
};

static struct job_mark
mark_job(const struct queue_job *job)
{
	return (struct job_mark){job->life.encoded.n, job->life.count};
}

static void
reset_job(struct queue_job *job, const struct job_mark *mark)
{
	job->life.encoded.n = mark->life_n;
	job->life.count = mark->life_count;
	job->is_finished = false;
	job->is_void = false;
}

/* 0 committed; -1 rolled back for want of space; ends the process else. */
static int
try_batch(struct batch *batch, struct pool_task *list, bool accepts)
{
	struct sql *store = batch->writer->store;
	struct err err;

	if (sql_begin(store, &err) == -1)
		goto failed;
	for (; list != NULL; list = list->next) {
		struct queue_job *job = queue_job_of(list);
		struct job_mark mark = mark_job(job);

		if (job->kind == QUEUE_JOB_ACCEPT && !accepts) {
			job->status = QUEUE_JOB_FULL;
			continue;
		}
		job->status = QUEUE_JOB_DONE;
		if (apply_job(store, job, &err) == -1) {
			if (job->kind != QUEUE_JOB_ACCEPT || !is_double(store))
				goto failed;
			/* Its first statement failed: nothing to undo. */
			reset_job(job, &mark);
			job->status = QUEUE_JOB_DOUBLE;
			continue;
		}
		if (collect_events(batch, job, &err) == -1)
			goto failed;
	}
	if (write_row(batch, &err) == -1 || sql_commit(store, &err) == -1)
		goto failed;
	return 0;
failed:
	if (!sql_is_full(store))
		fatal("queue.db: %s", err.text);
	sql_rollback(store);
	drop_rows(batch);
	return -1;
}

static void
mark_all_full(struct pool_task *list)
{
	for (; list != NULL; list = list->next)
		queue_job_of(list)->status = QUEUE_JOB_FULL;
}

static void
run_batch(void *arg, struct pool_task *list)
{
	struct queue_writer *writer = arg;
	struct batch batch = {.writer = writer};
	struct job_mark marks[BATCH_JOBS] = {{0}};
	size_t count = 0;

	batch.rows_last = &batch.rows;
	for (struct pool_task *at = list; at != NULL; at = at->next)
		marks[count++] = mark_job(queue_job_of(at));
	if (try_batch(&batch, list, true) == -1) {
		count = 0;
		for (struct pool_task *at = list; at != NULL; at = at->next)
			reset_job(queue_job_of(at), &marks[count++]);
		if (try_batch(&batch, list, false) == -1) {
			count = 0;
			for (struct pool_task *at = list; at != NULL;
			     at = at->next)
				reset_job(queue_job_of(at), &marks[count++]);
			mark_all_full(list);
		}
	}
	queue_job_of(list)->rows = batch.rows;
	atomic_fetch_add(&writer->commits, 1);
	atomic_fetch_add(&writer->jobs, count);
	sql_vacuum_some(writer->store, VACUUM_PAGES);
}

/* ---- life ---- */

int
queue_writer_new(struct loop *loop, const char *state_dir,
    struct queue_writer **writer_r, struct err *err)
{
	struct queue_writer *writer = xcalloc(1, sizeof(*writer));

	if (queue_store_open(state_dir, false, &writer->store, err) == -1 ||
	    queue_store_outbox_last(
		writer->store, &writer->first_outbox, err) == -1) {
		sql_close(writer->store);
		free(writer);
		return -1;
	}
	writer->next_seq = writer->first_outbox + 1;
	writer->pool = pool_new_batching(
	    loop, "queue-writer", run_batch, writer, BATCH_JOBS);
	*writer_r = writer;
	return 0;
}

void
queue_writer_submit(struct queue_writer *writer, struct queue_job *job)
{
	pool_submit(writer->pool, &job->task);
}

void
queue_writer_finish(struct queue_writer *writer)
{
	pool_finish(writer->pool);
}

int
queue_writer_meet_clock(struct queue_writer *writer, int64_t now_ms,
    int64_t *gap_ms_r, struct err *err)
{
	int64_t seen_ms;

	if (queue_store_seen(writer->store, &seen_ms, err) == -1)
		return -1;
	*gap_ms_r = queue_clock_gap(seen_ms, now_ms);
	if (*gap_ms_r != 0)
		return queue_store_shift(writer->store, *gap_ms_r, now_ms, err);
	return queue_store_see(writer->store, now_ms, err);
}

int64_t
queue_writer_first_outbox(const struct queue_writer *writer)
{
	return writer->first_outbox;
}

struct queue_writer_counts
queue_writer_counts(const struct queue_writer *writer)
{
	return (struct queue_writer_counts){
	    atomic_load(&writer->commits), atomic_load(&writer->jobs)};
}

void
queue_writer_free(struct queue_writer *writer)
{
	if (writer == NULL)
		return;
	pool_free(writer->pool);
	sql_close(writer->store);
	free(writer);
}
