/* SPDX-License-Identifier: ISC */
/*
 * Due recipients, from disk into memory.
 * Runs in: postern-queued; rows and messages are read in the reader's thread.
 * Trusts: queue_store.c to check what it reads back.
 *
 * A cursor moves forward over the index of due rows (next_ms, msg, number)
 * and stays at its end, so each second costs what became due in it.  Rows
 * whose destination is full or blocked are passed over; the cursor goes back
 * to the start when such a one may have room (again).  Each step is bounded:
 * a long way is gone in many of them, and when the start needs another look
 * meanwhile, a second cursor takes it.
 *
 * What was read is old when it arrives.  Whatever left memory since the step
 * began (delivered, deferred, held, removed) is read anew in a later one, or
 * mail would be delivered twice: dispatch_is_touched().
 */
#include <stdlib.h>
#include <string.h>

#include "common/alerts.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_store.h"
#include "relay/route.h"

/* Rows of one query, and messages that are read in one step. */
#define PAGE_ROWS 500
/* Rows that one step passes over in the reader's thread. */
#define STEP_ROWS 10000
/* Rows that one tick passes over; the next goes on. */
#define TICK_ROWS 50000
/* Now and then everything due is looked at, whatever happened. */
#define REWIND_MS (5 * 60 * 1000)
/* Domains known to be without room, while one tick runs. */
#define SKIPS_MAX 10000
#define SKIP_BUCKETS 1024

struct skip {
	struct skip *next;
	char domain[];
};

/* One step: first its rows are read, then the messages of some of them. */
struct page {
	struct pool_task task;
	struct queue_refill *refill;
	int64_t now_ms;
	uint32_t mark;        /* of the moment before it began */
	struct due_row after; /* in: where to begin; out: the last row seen */
	struct due_row rows[2 * PAGE_ROWS];
	size_t row_count;
	size_t scanned;
	bool is_end;
	bool has_failed;
	struct err err;
	uint64_t ids[2 * PAGE_ROWS];
	struct queue_message *messages[2 * PAGE_ROWS]; /* NULL: not read */
	char *failures[2 * PAGE_ROWS]; /* why not, or NULL: it is gone */
	size_t id_count;
};

struct queue_refill {
	struct queued *queued;
	struct due_row cursor;
	struct due_row front;
	bool is_behind;   /* the cursor is not at the end */
	bool is_in_front; /* the front cursor is at work */
	bool has_missed;  /* something is due that was not taken */
	bool is_running;
	int64_t again_ms; /* a blocked destination is tried; 0: none */
	int64_t rewound_ms;
	int64_t seen_ms; /* the last tick */
	size_t scanned;  /* in this tick */
	struct skip *skips[SKIP_BUCKETS];
	size_t skip_count;
	struct page page;
};

/* ---- domains to pass over ---- */

static struct skip **
skip_bucket(struct queue_refill *refill, const char *domain)
{
	uint32_t hash = 2166136261u;

	for (; *domain != '\0'; domain++)
		hash = (hash ^ (unsigned char)*domain) * 16777619u;
	return &refill->skips[hash % SKIP_BUCKETS];
}

static bool
is_skipped(struct queue_refill *refill, const char *domain)
{
	const struct skip *at = *skip_bucket(refill, domain);

	while (at != NULL && strcmp(at->domain, domain) != 0)
		at = at->next;
	return at != NULL;
}

static void
skip_domain(struct queue_refill *refill, const char *domain)
{
	struct skip **bucket = skip_bucket(refill, domain);
	size_t size = strlen(domain) + 1;
	struct skip *skip;

	if (refill->skip_count >= SKIPS_MAX)
		return; /* its rows are looked at one by one */
	skip = xmalloc(sizeof(*skip) + size);
	memcpy(skip->domain, domain, size);
	skip->next = *bucket;
	*bucket = skip;
	refill->skip_count++;
}

static void
clear_skips(struct queue_refill *refill)
{
	for (size_t i = 0; i < SKIP_BUCKETS && refill->skip_count > 0; i++)
		while (refill->skips[i] != NULL) {
			struct skip *skip = refill->skips[i];

			refill->skips[i] = skip->next;
			free(skip);
			refill->skip_count--;
		}
}

/* ---- in the reader's thread ---- */

/* The loop leaves the skips alone while a step is in the thread. */
static void
run_scan(struct pool_task *task)
{
	struct page *page = (struct page *)task;
	struct sql *reader = page->refill->queued->reader;

	while (!page->is_end && page->row_count < PAGE_ROWS &&
	       page->scanned < STEP_ROWS) {
		struct due_row *rows = page->rows + page->row_count;
		size_t count;

		if (queue_store_due(reader, page->now_ms, &page->after, rows,
			PAGE_ROWS, &count, &page->err) == -1) {
			page->has_failed = true;
			return;
		}
		page->is_end = count < PAGE_ROWS;
		page->scanned += count;
		if (count > 0)
			page->after = rows[count - 1];
		for (size_t i = 0; i < count; i++)
			if (!is_skipped(page->refill, rows[i].domain))
				page->rows[page->row_count++] = rows[i];
	}
}

static void
run_load(struct pool_task *task)
{
	struct page *page = (struct page *)task;
	struct sql *reader = page->refill->queued->reader;

	for (size_t i = 0; i < page->id_count; i++) {
		struct err err;

		page->failures[i] = NULL;
		if (queue_store_read(
			reader, page->ids[i], &page->messages[i], &err) == -1)
			page->failures[i] = xstrdup(err.text);
	}
}

/* ---- rows ---- */

static bool
is_touched(const struct queue_refill *refill, uint64_t message_id)
{
	return dispatch_is_touched(
	    refill->queued->dispatch, message_id, refill->page.mark);
}

/* May this recipient come into memory?  Notes what is to be done if not. */
static bool
is_wanted(struct queue_refill *refill, const struct due_row *row)
{
	struct queued *queued = refill->queued;
	char key[ROUTE_KEY_MAX];
	int64_t blocked_ms;

	if (dispatch_knows(queued->dispatch, row->message_id, row->number) ||
	    is_skipped(refill, row->domain))
		return false;
	if (is_touched(refill, row->message_id)) {
		refill->has_missed = true;
		return false;
	}
	queue_delivery_key(queued, row->domain, key, sizeof(key));
	blocked_ms =
	    dispatch_blocked_until(queued->dispatch, key, refill->page.now_ms);
	if (blocked_ms == 0 && dispatch_room(queued->dispatch, key) > 0)
		return true;
	/* Without room, dispatch says when there is some again. */
	if (blocked_ms != 0 &&
	    (refill->again_ms == 0 || blocked_ms < refill->again_ms))
		refill->again_ms = blocked_ms;
	skip_domain(refill, row->domain);
	return false;
}

static int
compare_ids(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* The ids of the page's wanted rows, each once. */
static void
choose(struct queue_refill *refill)
{
	struct page *page = &refill->page;
	size_t count = 0;

	for (size_t i = 0; i < page->row_count; i++)
		if (is_wanted(refill, &page->rows[i]))
			page->ids[count++] = page->rows[i].message_id;
	qsort(page->ids, count, sizeof(page->ids[0]), compare_ids);
	page->id_count = 0;
	for (size_t i = 0; i < count; i++)
		if (i == 0 || page->ids[i] != page->ids[i - 1])
			page->ids[page->id_count++] = page->ids[i];
}

/* ---- messages ---- */

/*
 * A message that is in memory stays the one struct of its id, since that
 * numbers the life events; it takes over what the rows say of recipients
 * that are not on their way.
 */
static void
merge(struct dispatch *dispatch, struct queue_message *ours,
    struct queue_message *read)
{
	for (size_t i = 0; i < ours->recipient_count; i++) {
		struct queue_recipient *recipient = &ours->recipients[i];
		const struct queue_recipient *row;

		if (dispatch_knows(dispatch, ours->id, recipient->number))
			continue;
		row = queue_message_recipient(read, recipient->number);
		if (row == NULL) { /* delivered, or failed */
			recipient->next_ms = QUEUE_NEVER;
			continue;
		}
		recipient->state = row->state;
		recipient->next_ms = row->next_ms;
		recipient->attempts = row->attempts;
		recipient->last_ms = row->last_ms;
	}
}

static void
take(struct queue_refill *refill, struct queue_message *message)
{
	struct queued *queued = refill->queued;
	struct queue_message *ours =
	    dispatch_message(queued->dispatch, message->id);

	if (is_touched(refill, message->id)) {
		refill->has_missed = true;
	} else if (ours != NULL) {
		merge(queued->dispatch, ours, message);
		queue_delivery_plan(queued, ours, refill->page.now_ms);
	} else {
		queue_message_charge(message, &queued->memory_used);
		queue_delivery_plan(queued, message, refill->page.now_ms);
	}
	queue_message_unref(message);
}

static void
done_aside(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct queued *queued = job->arg;

	queue_outbox_send(queued->outbox, job);
	queue_job_free(job);
}

/* One damaged message is no reason to stop the others (T095, T105). */
static void
set_aside(struct queue_refill *refill, uint64_t message_id, const char *why)
{
	struct queued *queued = refill->queued;
	const struct page *page = &refill->page;
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_POSTPONE, NULL, done_aside);
	char id[ID_TEXT_SIZE];

	id_format(message_id, id);
	daemon_alert_raise(queued->daemon, ALERT_STORE, id,
	    "Message %s cannot be read from the queue: %s", id, why);
	job->changes = xcalloc(page->row_count, sizeof(*job->changes));
	for (size_t i = 0; i < page->row_count; i++)
		if (page->rows[i].message_id == message_id)
			job->changes[job->change_count++] =
			    (struct queue_change){.message_id = message_id,
				.kind = QUEUE_CHANGE_POSTPONE,
				.number = page->rows[i].number,
				.next_ms =
				    page->now_ms + queued->schedule.longest_ms};
	job->arg = queued;
	queue_writer_submit(queued->writer, job);
}

/* ---- steps ---- */

static bool
is_at_or_after(const struct due_row *a, const struct due_row *b)
{
	if (a->next_ms != b->next_ms)
		return a->next_ms > b->next_ms;
	if (a->message_id != b->message_id)
		return a->message_id > b->message_id;
	return a->number >= b->number;
}

bool
queue_refill_has_memory(const struct queued *queued)
{
	return dispatch_waiting(queued->dispatch) == 0 ||
	       queued->memory_used <
		   queued_settings(queued)->queue_memory / 4 * 3;
}

static void done_scan(struct pool_task *task);

static void
start_step(struct queue_refill *refill)
{
	struct page *page = &refill->page;

	page->after = refill->is_in_front ? refill->front : refill->cursor;
	page->row_count = 0;
	page->scanned = 0;
	page->is_end = false;
	page->has_failed = false;
	page->id_count = 0;
	page->task.run = run_scan;
	page->task.done = done_scan;
	refill->is_running = true;
	page->mark = dispatch_mark(refill->queued->dispatch);
	pool_submit(refill->queued->reader_pool, &page->task);
}

/* The front cursor stops where the other one was, or after one step. */
static void
leave_front(struct queue_refill *refill)
{
	if (!refill->page.is_end &&
	    !is_at_or_after(&refill->front, &refill->cursor))
		refill->has_missed = true;
	refill->is_in_front = false;
}

static void
go_on(struct queue_refill *refill)
{
	struct page *page = &refill->page;

	refill->is_running = false;
	refill->scanned += page->scanned;
	if (refill->is_in_front) {
		refill->front = page->after;
		if (page->is_end || refill->scanned >= STEP_ROWS ||
		    is_at_or_after(&refill->front, &refill->cursor))
			leave_front(refill);
	} else {
		refill->cursor = page->after;
		refill->is_behind = !page->is_end;
	}
	if (refill->is_behind && refill->scanned < TICK_ROWS &&
	    !refill->queued->is_held &&
	    queue_refill_has_memory(refill->queued))
		start_step(refill);
	else if (refill->is_in_front)
		leave_front(refill);
}

static void
done_load(struct pool_task *task)
{
	struct page *page = (struct page *)task;
	struct queue_refill *refill = page->refill;

	for (size_t i = 0; i < page->id_count; i++) {
		if (page->messages[i] != NULL)
			take(refill, page->messages[i]);
		else if (page->failures[i] != NULL)
			set_aside(refill, page->ids[i], page->failures[i]);
		free(page->failures[i]);
	}
	go_on(refill);
}

/* The store cannot be read at the moment; the next tick tries again. */
static void
fail(struct queue_refill *refill)
{
	daemon_alert_raise(refill->queued->daemon, ALERT_STORE, "queue.db",
	    "What is due cannot be read: %s", refill->page.err.text);
	refill->is_running = false;
	refill->is_in_front = false;
	refill->has_missed = true;
}

static void
done_scan(struct pool_task *task)
{
	struct page *page = (struct page *)task;
	struct queue_refill *refill = page->refill;

	if (page->has_failed) {
		fail(refill);
		return;
	}
	daemon_alert_clear(refill->queued->daemon, ALERT_STORE, "queue.db");
	choose(refill);
	if (page->id_count == 0) {
		go_on(refill);
		return;
	}
	page->task.run = run_load;
	page->task.done = done_load;
	pool_submit(refill->queued->reader_pool, &page->task);
}

/* ---- ticks ---- */

static bool
wants_rewind(const struct queue_refill *refill, int64_t now_ms)
{
	if (now_ms < refill->seen_ms) /* the clock was set back */
		return true;
	if (refill->again_ms != 0 && now_ms >= refill->again_ms)
		return true;
	if (dispatch_take_relief(refill->queued->dispatch) ||
	    refill->has_missed)
		return true;
	return now_ms >= refill->rewound_ms + REWIND_MS;
}

static void
rewind_cursor(struct queue_refill *refill, int64_t now_ms)
{
	static const struct due_row start = {0};

	refill->has_missed = false;
	refill->again_ms = 0;
	refill->rewound_ms = now_ms;
	if (refill->is_behind) {
		refill->front = start;
		refill->is_in_front = true;
	} else {
		refill->cursor = start;
		refill->is_behind = true;
	}
}

void
queue_refill_tick(struct queue_refill *refill)
{
	struct queued *queued = refill->queued;
	int64_t now_ms = queued_now_ms(queued);

	if (refill->is_running || queued->is_held ||
	    !queue_refill_has_memory(queued))
		return;
	clear_skips(refill);
	refill->scanned = 0;
	if (wants_rewind(refill, now_ms))
		rewind_cursor(refill, now_ms);
	refill->seen_ms = now_ms;
	refill->page.now_ms = now_ms;
	start_step(refill);
}

void
queue_refill_missed(struct queue_refill *refill)
{
	refill->has_missed = true;
}

/* ---- life ---- */

struct queue_refill *
queue_refill_new(struct queued *queued)
{
	struct queue_refill *refill = xcalloc(1, sizeof(*refill));

	refill->queued = queued;
	refill->page.refill = refill;
	return refill;
}

void
queue_refill_free(struct queue_refill *refill)
{
	if (refill == NULL)
		return;
	clear_skips(refill);
	free(refill);
}
