/* SPDX-License-Identifier: ISC */
/*
 * Frames of large bodies, the spool's files, and how it begins.
 * Runs in: postern-queued.  Trusts: nothing of smtpd: ids, numbers, credit
 * and order of the frames are checked here.
 */
#include <errno.h>
#include <stdlib.h>

#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/spool_places.h"
#include "relay/spool_stream.h"

/* Each keeps its envelope in memory. */
#define WAITING_MAX 1000
/* Of one peer, with those that were refused and not yet ended by it. */
#define PEER_STREAMS_MAX 4096
/* Syncs overlap; more than this one disk does not reward. */
#define SPOOL_THREADS 3

/* ---- frames ---- */

/* -1 and the refusal. */
static int
may_open(struct stream *stream, const struct ipc_queue_open *open)
{
	struct queued *queued = stream->spool->queued;

	if (open->size_hint >
	    queued_settings(queued)->smtp_max_message_size + IPC_TRACE_MAX)
		return smtp_status_set(&stream->refusal, 552, "5.3.4",
		    "The message is larger than allowed");
	if (stream->spool->waiting >= WAITING_MAX)
		return smtp_status_set(&stream->refusal, 452, "4.3.1",
		    "Too much large mail at once; please try again");
	if (queue_intake_check_client(stream->peer, open->is_trusted,
		open->client, &stream->refusal) == -1)
		return -1;
	return queue_intake_has_room(
	    queued, stream->envelope_n, &stream->refusal);
}

int
queue_spool_on_open(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_open *open = &frame->message->queue_open;
	struct queue_spool *spool = queued_of(channel)->spool;
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (queue_intake_check_id(peer, open->message_id) == -1 ||
	    spool_stream_find(spool, peer, open->stream) != NULL ||
	    spool_stream_count(spool, peer) >= PEER_STREAMS_MAX)
		return -1;
	stream = spool_stream_new(spool, peer, open, frame->request_id);
	if (stream == NULL)
		return -1;
	if (may_open(stream, open) == 0)
		spool_places_wait(stream);
	else
		spool_stream_refuse(stream);
	return 0;
}

int
queue_spool_on_chunk(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_chunk *m = &frame->message->queue_chunk;
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (peer == NULL ||
	    (stream = spool_stream_find(queued->spool, peer, m->stream)) ==
		NULL ||
	    stream->state == STREAM_ENDED || m->content.n == 0 ||
	    m->content.n > stream->credit)
		return -1;
	stream->credit -= m->content.n;
	if (stream->state == STREAM_REFUSED)
		return 0;
	spool_stream_take(stream, m->content);
	return 0;
}

int
queue_spool_on_end(struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (peer == NULL || frame->request_id == 0 ||
	    (stream = spool_stream_find(queued->spool, peer,
		 frame->message->queue_end.stream)) == NULL ||
	    stream->state == STREAM_ENDED || stream->state == STREAM_WAITING)
		return -1;
	if (stream->state == STREAM_REFUSED) {
		/* The refusal crossed it on the way. */
		queue_intake_answer(peer, frame->request_id, stream->number,
		    stream->refusal.code, stream->refusal.enhanced,
		    stream->refusal.text);
		spool_stream_drop(stream);
		return 0;
	}
	spool_stream_end(
	    stream, frame->message->queue_end.is_8bit, frame->request_id);
	return 0;
}

int
queue_spool_on_abort(struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (peer == NULL)
		return -1;
	stream = spool_stream_find(
	    queued->spool, peer, frame->message->queue_abort.stream);
	if (stream != NULL) /* or it was committed meanwhile */
		spool_stream_drop(stream);
	return 0;
}

void
queue_spool_peer_closed(struct queue_spool *spool, struct smtp_peer *peer)
{
	while (spool->peers[peer->slot] != NULL)
		spool_stream_drop(spool->peers[peer->slot]);
}

/* ---- files of messages ---- */

int
queue_spool_open(
    struct queue_spool *spool, uint64_t message_id, unsigned output)
{
	return spool_file_open(&spool->folders, message_id, output);
}

struct removal {
	struct pool_task task;
	struct queue_spool *spool;
	uint64_t message_id;
	unsigned output;
	int failure;
};

static void
run_removal(struct pool_task *task)
{
	struct removal *removal = (struct removal *)task;

	if (spool_file_remove(&removal->spool->folders, removal->message_id,
		removal->output) == -1)
		removal->failure = errno;
}

static void
done_removal(struct pool_task *task)
{
	struct removal *removal = (struct removal *)task;

	if (removal->failure != 0)
		spool_stream_tell_not_removed(
		    removal->message_id, removal->failure);
	free(removal);
}

void
queue_spool_remove(
    struct queue_spool *spool, uint64_t message_id, unsigned output)
{
	struct removal *removal = xcalloc(1, sizeof(*removal));

	removal->task.run = run_removal;
	removal->task.done = done_removal;
	removal->spool = spool;
	removal->message_id = message_id;
	removal->output = output;
	pool_submit(spool->pool, &removal->task);
}

void
queue_spool_remove_all(
    struct queue_spool *spool, const struct queue_message *message)
{
	const struct queue_protection *protection = message->protection;

	if (message->is_file)
		queue_spool_remove(spool, message->id, 0);
	for (size_t i = 0; protection != NULL && i < protection->output_count;
	     i++)
		if (protection->outputs[i].is_file)
			queue_spool_remove(
			    spool, message->id, protection->outputs[i].number);
}

size_t
queue_spool_streams(const struct queue_spool *spool)
{
	return spool->places_taken + spool->waiting;
}

/* ---- life ---- */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue_spool *spool = arg;

	(void)fd;
	(void)what;
	spool_places_expire(spool);
}

static bool
is_known(void *arg, uint64_t id, unsigned output)
{
	const struct queued *queued = arg;

	return queue_store_knows_file(queued->reader, id, output);
}

struct queue_spool *
queue_spool_new(struct queued *queued, struct err *err)
{
	struct queue_spool *spool = xcalloc(1, sizeof(*spool));
	struct spool_scan scan;

	spool->queued = queued;
	spool->waiting_last = &spool->waiting_first;
	if (spool_folders_open(
		&spool->folders, daemon_state_dir(queued->daemon), err) == -1) {
		free(spool);
		return NULL;
	}
	if (spool_folders_scan(&spool->folders, is_known, queued, &scan, err) ==
	    -1) {
		spool_folders_close(&spool->folders);
		free(spool);
		return NULL;
	}
	if (scan.removed > 0)
		log_notice("spool: %llu files of messages that were never "
			   "accepted are removed",
		    (unsigned long long)scan.removed);
	spool->pool = pool_new(queued->loop, SPOOL_THREADS, "queue-spool");
	spool->timer = evtimer_new(loop_base(queued->loop), on_timer, spool);
	if (spool->timer == NULL)
		fatal("out of memory for a timer");
	return spool;
}

void
queue_spool_free(struct queue_spool *spool)
{
	if (spool == NULL)
		return;
	spool->is_ending = true;
	for (size_t i = 0; i < QUEUED_PEER_SLOTS; i++)
		while (spool->peers[i] != NULL)
			spool_stream_drop(spool->peers[i]);
	pool_free(spool->pool);
	event_free(spool->timer);
	spool_folders_close(&spool->folders);
	free(spool);
}
