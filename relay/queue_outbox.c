/* SPDX-License-Identifier: ISC */
/*
 * The outbox.  Rows go to the hub in order of their numbers; while the hub
 * keeps up they come from memory, after a gap they are read from disk.
 * Runs in: postern-queued.  Trusts: the hub's word that events are durable.
 */
#include <stdlib.h>

#include "relay/queue_outbox.h"
#include "relay/queue_store.h"

/* The hub syncs its segment before it answers. */
#define STORED_DEADLINE_MS 30000
/* Octets kept in memory while the hub is slow; the rest is on disk anyway. */
#define WAITING_OCTETS_MAX (4u * 1024 * 1024)
/* Rows that may be under way without an answer, and their octets. */
#define UNDER_WAY_MAX 64
#define UNDER_WAY_OCTETS_MAX (8u * 1024 * 1024)
#define ROW_OCTETS_MAX (16u * 1024 * 1024)

struct queue_outbox {
	struct queued *queued;
	struct outbox_row *first; /* waiting to be sent, in order */
	struct outbox_row **last;
	size_t waiting_octets;
	size_t under_way;
	size_t under_way_octets;
	int64_t sent_seq;    /* the last one sent on this channel */
	int64_t stored_seq;  /* all up to here are in the log */
	int64_t removed_seq; /* and removed, or about to be */
	int64_t newest_seq;  /* the last one committed */
	uint32_t round;  /* answers to rows of an earlier one do not count */
	bool is_reading; /* the reader looks for a row */
};

static void send_rows(struct queue_outbox *outbox);

struct queue_outbox *
queue_outbox_new(struct queued *queued)
{
	struct queue_outbox *outbox = xcalloc(1, sizeof(*outbox));

	outbox->queued = queued;
	outbox->last = &outbox->first;
	outbox->newest_seq = queue_writer_first_outbox(queued->writer);
	return outbox;
}

static struct outbox_row *
take_row(struct queue_outbox *outbox)
{
	struct outbox_row *row = outbox->first;

	if (row == NULL)
		bug("no outbox row waits");
	outbox->first = row->next;
	if (outbox->first == NULL)
		outbox->last = &outbox->first;
	outbox->waiting_octets -= row->events.encoded.n;
	return row;
}

void
queue_outbox_free(struct queue_outbox *outbox)
{
	if (outbox == NULL)
		return;
	while (outbox->first != NULL)
		outbox_row_free(take_row(outbox));
	free(outbox);
}

/* ---- removal ---- */

static void
on_removed(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct queue_outbox *outbox = job->arg;

	queue_outbox_send(outbox, job);
	if (job->status != QUEUE_JOB_DONE)
		outbox->removed_seq =
		    0; /* no space now: with the next answer */
	queue_job_free(job);
}

static void
remove_stored(struct queue_outbox *outbox)
{
	struct queue_job *job;

	if (outbox->removed_seq >= outbox->stored_seq)
		return;
	job = queue_job_new(QUEUE_JOB_OUTBOX, NULL, on_removed);
	job->outbox_seq = outbox->stored_seq;
	job->arg = outbox;
	outbox->removed_seq = outbox->stored_seq;
	queue_writer_submit(outbox->queued->writer, job);
}

/* ---- sending ---- */

struct sent_row {
	struct queue_outbox *outbox;
	int64_t seq;
	size_t octets;
	uint32_t round;
};

/* Back to what is known to be durable: everything after it goes again. */
static void
start_over(struct queue_outbox *outbox)
{
	outbox->round++;
	outbox->sent_seq = outbox->stored_seq;
}

/* The hub answers in order, so an answer speaks for all rows before it. */
static void
on_stored(void *arg, const struct channel_frame *frame)
{
	struct sent_row sent = *(struct sent_row *)arg;
	struct queue_outbox *outbox = sent.outbox;

	free(arg);
	outbox->under_way--;
	outbox->under_way_octets -= sent.octets;
	if (sent.round != outbox->round)
		return;
	if (frame == NULL) {
		start_over(outbox);
	} else {
		outbox->stored_seq = sent.seq;
		remove_stored(outbox);
	}
	send_rows(outbox);
}

static int
send_row(struct queue_outbox *outbox, int64_t seq, struct ipc_list events)
{
	struct channel *hub = link_channel(outbox->queued->loghub);
	struct ipc_life_events message = {.events = events};
	struct sent_row *sent;

	if (hub == NULL)
		return -1;
	sent = xmalloc(sizeof(*sent));
	*sent = (struct sent_row){outbox, seq, events.n, outbox->round};
	if (channel_request(hub, MSG_LIFE_EVENTS, &message, NULL,
		MSG_LIFE_STORED, STORED_DEADLINE_MS, on_stored, sent) == 0) {
		free(sent);
		return -1;
	}
	outbox->under_way++;
	outbox->under_way_octets += events.n;
	outbox->sent_seq = seq;
	return 0;
}

/* ---- reading what memory does not have ---- */

struct read_row {
	struct pool_task task;
	struct queue_outbox *outbox;
	int64_t after;
	int64_t newest; /* when it was asked for */
	int64_t seq;
	struct buf events;
	uint32_t count;
	int found; /* as queue_store_outbox_next() */
};

static void
run_read(struct pool_task *task)
{
	struct read_row *read = (struct read_row *)task;

	read->found = queue_store_outbox_next(read->outbox->queued->reader,
	    read->after, &read->seq, &read->events, &read->count, NULL);
}

static void
done_read(struct pool_task *task)
{
	struct read_row *read = (struct read_row *)task;
	struct queue_outbox *outbox = read->outbox;

	outbox->is_reading = false;
	if (read->after != outbox->sent_seq) {
		send_rows(outbox); /* the hub is another one by now */
	} else if (read->found == 1) {
		struct ipc_list events = {
		    read->events.p, read->events.n, read->count};

		if (send_row(outbox, read->seq, events) == 0)
			send_rows(outbox);
	} else if (read->found == 0) {
		outbox->sent_seq = read->newest;
		send_rows(outbox);
	}
	buf_clear(&read->events);
	free(read);
}

static void
read_next(struct queue_outbox *outbox)
{
	struct read_row *read;

	if (outbox->is_reading)
		return;
	outbox->is_reading = true;
	read = xcalloc(1, sizeof(*read));
	read->task.run = run_read;
	read->task.done = done_read;
	read->outbox = outbox;
	read->after = outbox->sent_seq;
	read->newest = outbox->newest_seq;
	buf_init(&read->events, ROW_OCTETS_MAX);
	pool_submit(outbox->queued->reader_pool, &read->task);
}

static void
send_rows(struct queue_outbox *outbox)
{
	if (link_channel(outbox->queued->loghub) == NULL)
		return;
	while (outbox->under_way < UNDER_WAY_MAX &&
	       outbox->under_way_octets < UNDER_WAY_OCTETS_MAX &&
	       outbox->sent_seq < outbox->newest_seq) {
		struct outbox_row *row = outbox->first;

		while (row != NULL && row->seq <= outbox->sent_seq) {
			outbox_row_free(take_row(outbox));
			row = outbox->first;
		}
		if (row == NULL || row->seq != outbox->sent_seq + 1) {
			read_next(outbox);
			return;
		}
		if (send_row(outbox, row->seq, ipc_list_of(&row->events)) == -1)
			return;
		outbox_row_free(take_row(outbox));
	}
}

void
queue_outbox_send(struct queue_outbox *outbox, struct queue_job *job)
{
	while (job->rows != NULL) {
		struct outbox_row *row = job->rows;

		job->rows = row->next;
		row->next = NULL;
		outbox->newest_seq = row->seq;
		*outbox->last = row;
		outbox->last = &row->next;
		outbox->waiting_octets += row->events.encoded.n;
		while (outbox->waiting_octets > WAITING_OCTETS_MAX)
			outbox_row_free(take_row(outbox));
	}
	send_rows(outbox);
}

void
queue_outbox_hub_up(struct queue_outbox *outbox)
{
	start_over(outbox);
	send_rows(outbox);
}

int64_t
queue_outbox_behind(const struct queue_outbox *outbox)
{
	return outbox->newest_seq - outbox->stored_seq;
}
