/* SPDX-License-Identifier: ISC */
/*
 * Large bodies, from smtpd's streams into files of the spool.
 * Runs in: postern-queued; files are written and synced in a pool.  Trusts:
 * nothing of smtpd: ids, credit, order and sizes are checked here, the
 * envelope and header From in submission.c.
 *
 *   OPEN    WAITING   for one of the places; the peer has no credit yet
 *   place   HEADER    chunks are kept until the header is complete
 *   check   WRITING   chunks go to the file, one task of a stream at a time,
 *                     and what is written comes back as credit
 *   END     ENDED     the rest is written, file and folder are synced; then
 *                     the message is queue_intake's
 *   any     REFUSED   the refusal was sent; what is under way is swallowed
 *
 * On disk: a file without a row, from its creation to the commit that names
 * it; such files go when the stream ends badly, or at the next start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/header.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/spool_file.h"
#include "relay/submission.h"

/* What a peer may send ahead on one stream. */
#define STREAM_CREDIT (256u * 1024)
/* Streams at once may take this part of queue.memory. */
#define MEMORY_PART 4
/* A stream waits this long for a place. */
#define PLACE_WAIT_MS 30000
#define WAITING_MAX 1000
/* Of one peer, with those that were refused and not yet ended by it. */
#define PEER_STREAMS_MAX 4096
/* Syncs overlap; more than this one disk does not reward. */
#define SPOOL_THREADS 3

enum stream_state {
	STREAM_WAITING,
	STREAM_HEADER,
	STREAM_WRITING,
	STREAM_ENDED,
	STREAM_REFUSED,
	STREAM_STATE_COUNT
};

struct chunk {
	struct chunk *next;
	size_t owed; /* credit that is given back when it is written */
	size_t n;
	char p[];
};

struct chunk_list {
	struct chunk *first;
	struct chunk **last;
};

struct stream {
	struct pool_task task;
	struct queue_spool *spool;
	struct smtp_peer *peer; /* holds a reference */
	struct stream *next;    /* of the same peer */
	struct stream *next_waiting;
	enum stream_state state;
	uint32_t number;
	uint64_t open_request;
	uint64_t end_request;
	uint64_t message_id;
	char *envelope; /* the OPEN's payload, until the header is complete */
	size_t envelope_n;
	struct header header;
	struct queue_message *message; /* once it was checked */
	struct smtp_status refusal;
	struct chunk_list chunks; /* not yet given to the pool */
	uint64_t received;
	size_t credit;
	size_t charged; /* in queued->memory_used */
	uint64_t waits_until_ms;
	bool has_place;
	bool is_listed;
	bool is_busy;
	/* The pool's while it is busy: */
	struct chunk_list work;
	bool is_last;
	bool has_file;
	int fd;
	int failure; /* an errno */
};

struct queue_spool {
	struct queued *queued;
	struct spool_folders folders;
	struct pool *pool;
	struct event *timer;
	struct stream *peers[QUEUED_PEER_SLOTS];
	struct stream *waiting_first;
	struct stream **waiting_last;
	size_t waiting;
	size_t places_taken;
	bool is_ending;
};

/* ---- small things ---- */

static void
list_init(struct chunk_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

/* Frees the chunks; returns the credit owed for them. */
static size_t
list_clear(struct chunk_list *list)
{
	size_t owed = 0;

	while (list->first != NULL) {
		struct chunk *chunk = list->first;

		list->first = chunk->next;
		owed += chunk->owed;
		free(chunk);
	}
	list_init(list);
	return owed;
}

static void
charge(struct stream *stream, size_t octets)
{
	stream->charged += octets;
	stream->spool->queued->memory_used += octets;
}

static void
discharge(struct stream *stream, size_t octets)
{
	stream->charged -= octets;
	stream->spool->queued->memory_used -= octets;
}

static size_t
list_octets(const struct chunk_list *list)
{
	size_t octets = 0;

	for (const struct chunk *at = list->first; at != NULL; at = at->next)
		octets += sizeof(*at) + at->n;
	return octets;
}

static size_t
clear_chunks(struct stream *stream, struct chunk_list *list)
{
	discharge(stream, list_octets(list));
	return list_clear(list);
}

static size_t
places(const struct queue_spool *spool)
{
	uint64_t count = queued_settings(spool->queued)->queue_memory /
	    (MEMORY_PART * STREAM_CREDIT);

	return count > 0 ? (size_t)count : 1;
}

static void
give_credit(struct stream *stream, size_t octets)
{
	struct ipc_queue_credit message = {
	    .stream = stream->number, .octets = (uint32_t)octets};

	if (octets == 0 || stream->peer->channel == NULL)
		return;
	stream->credit += octets;
	(void)channel_send(
	    stream->peer->channel, MSG_QUEUE_CREDIT, &message, NULL);
}

/* ---- the peer's list of streams ---- */

static struct stream *
find_stream(const struct queue_spool *spool, const struct smtp_peer *peer,
    uint32_t number)
{
	struct stream *at = spool->peers[peer->slot];

	while (at != NULL && at->number != number)
		at = at->next;
	return at;
}

static size_t
count_streams(
    const struct queue_spool *spool, const struct smtp_peer *peer)
{
	size_t count = 0;

	for (const struct stream *at = spool->peers[peer->slot]; at != NULL;
	     at = at->next)
		count++;
	return count;
}

static void
unlist(struct stream *stream)
{
	struct stream **at = &stream->spool->peers[stream->peer->slot];

	if (!stream->is_listed)
		return;
	while (*at != stream)
		at = &(*at)->next;
	*at = stream->next;
	stream->is_listed = false;
}

/* ---- waiting for a place ---- */

static void
leave_waiting(struct stream *stream)
{
	struct queue_spool *spool = stream->spool;
	struct stream **at = &spool->waiting_first;

	while (*at != stream)
		at = &(*at)->next_waiting;
	*at = stream->next_waiting;
	if (*at == NULL)
		spool->waiting_last = at;
	spool->waiting--;
}

static void
start_waiting(struct queue_spool *spool)
{
	struct stream *stream;

	while ((stream = spool->waiting_first) != NULL &&
	    spool->places_taken < places(spool)) {
		leave_waiting(stream);
		spool->places_taken++;
		stream->has_place = true;
		stream->state = STREAM_HEADER;
		give_credit(stream, STREAM_CREDIT);
	}
	if (stream != NULL && !evtimer_pending(spool->timer, NULL))
		loop_arm(spool->timer, PLACE_WAIT_MS);
}

static void
give_place_back(struct stream *stream)
{
	if (!stream->has_place)
		return;
	stream->has_place = false;
	stream->spool->places_taken--;
	if (!stream->spool->is_ending)
		start_waiting(stream->spool);
}

/* ---- ends ---- */

static void
free_envelope(struct stream *stream)
{
	if (stream->envelope == NULL)
		return;
	free(stream->envelope);
	stream->envelope = NULL;
	discharge(stream, stream->envelope_n);
	header_clear(&stream->header);
}

static void
run_discard(struct pool_task *task)
{
	struct stream *stream = (struct stream *)task;

	close_if_open(&stream->fd);
	stream->failure = 0;
	if (spool_file_remove(&stream->spool->folders, stream->message_id) ==
	    -1)
		stream->failure = errno;
	stream->has_file = false;
}

static void
tell_not_removed(uint64_t message_id, int failure)
{
	char id[ID_TEXT_SIZE];

	id_format(message_id, id);
	log_notice("spool file %s cannot be removed: %s; it goes at the next "
	           "start",
	    id, strerror(failure));
}

static void settle(struct stream *stream);

static void
done_discard(struct pool_task *task)
{
	struct stream *stream = (struct stream *)task;

	stream->is_busy = false;
	if (stream->failure != 0)
		tell_not_removed(stream->message_id, stream->failure);
	settle(stream);
}

/*
 * After a stream was refused, or left the list: lets go what it holds, now or
 * when the pool is done with it.
 */
static void
settle(struct stream *stream)
{
	if (stream->is_busy)
		return;
	if (stream->has_file) {
		stream->is_busy = true;
		stream->task.run = run_discard;
		stream->task.done = done_discard;
		if (!stream->spool->is_ending) {
			pool_submit(stream->spool->pool, &stream->task);
			return;
		}
		run_discard(&stream->task);
		stream->is_busy = false;
	}
	(void)clear_chunks(stream, &stream->work);
	give_place_back(stream);
	if (stream->is_listed)
		return; /* its peer has to end it */
	smtp_peer_unref(stream->peer);
	free(stream);
}

static void
let_content_go(struct stream *stream)
{
	if (stream->state == STREAM_WAITING)
		leave_waiting(stream);
	stream->state = STREAM_REFUSED;
	free_envelope(stream);
	(void)clear_chunks(stream, &stream->chunks);
	queue_message_unref(stream->message);
	stream->message = NULL;
}

/* The stream leaves nothing, and nobody is told. */
static void
drop(struct stream *stream)
{
	let_content_go(stream);
	unlist(stream);
	settle(stream);
}

/* Answers with stream->refusal. */
static void
refuse(struct stream *stream)
{
	bool has_ended = stream->end_request != 0;

	stream->spool->queued->refused++;
	queue_intake_answer(stream->peer,
	    has_ended ? stream->end_request : stream->open_request,
	    stream->number, stream->refusal.code, stream->refusal.enhanced,
	    stream->refusal.text);
	let_content_go(stream);
	if (has_ended)
		unlist(stream);
	settle(stream);
}

/* ---- into the file ---- */

static void
write_chunks(struct stream *stream)
{
	const struct spool_folders *folders = &stream->spool->folders;

	if (!stream->has_file) {
		stream->fd = spool_file_create(folders, stream->message_id);
		if (stream->fd == -1) {
			stream->failure = errno;
			return;
		}
		stream->has_file = true;
	}
	for (const struct chunk *at = stream->work.first; at != NULL;
	     at = at->next)
		if (spool_file_write(stream->fd, at->p, at->n) == -1) {
			stream->failure = errno;
			return;
		}
}

static void
run_write(struct pool_task *task)
{
	struct stream *stream = (struct stream *)task;

	write_chunks(stream);
	if (!stream->is_last || stream->failure != 0)
		return;
	spool_file_sync(
	    &stream->spool->folders, stream->message_id, stream->fd);
	close_if_open(&stream->fd);
}

static void
refuse_failed(struct stream *stream)
{
	int failure = stream->failure;

	if (failure == ENOSPC || failure == EDQUOT) {
		(void)smtp_status_set(&stream->refusal, 452, "4.3.1",
		    "Insufficient system storage");
	} else {
		char id[ID_TEXT_SIZE];

		id_format(stream->message_id, id);
		log_notice("spool file %s cannot be written: %s", id,
		    strerror(failure));
		(void)smtp_status_set(&stream->refusal, 451, "4.3.0",
		    "The message cannot be stored at the moment");
	}
	refuse(stream);
}

/* Whole and synced: from here it is like any other message. */
static void
hand_over(struct stream *stream)
{
	struct queued *queued = stream->spool->queued;
	struct queue_message *message = stream->message;

	if (daemon_is_stopping(queued->daemon)) {
		(void)smtp_status_set(&stream->refusal, 451, "4.3.2",
		    "The queue is being restarted");
		refuse(stream);
		return;
	}
	stream->message = NULL;
	stream->has_file = false;
	message->size = stream->received;
	message->is_file = true;
	queue_intake_take(queued, message, stream->peer, stream->end_request,
	    stream->number);
	drop(stream);
}

static void start_write(struct stream *stream);

static void
done_write(struct pool_task *task)
{
	struct stream *stream = (struct stream *)task;
	size_t owed = clear_chunks(stream, &stream->work);

	stream->is_busy = false;
	if (stream->state == STREAM_REFUSED)
		settle(stream);
	else if (stream->failure != 0)
		refuse_failed(stream);
	else if (stream->is_last)
		hand_over(stream);
	else {
		give_credit(stream, owed);
		start_write(stream);
	}
}

/* Gives the pool what is there; a stream has one task at a time. */
static void
start_write(struct stream *stream)
{
	bool is_last = stream->state == STREAM_ENDED;

	if (stream->is_busy || (stream->chunks.first == NULL && !is_last))
		return;
	stream->work = stream->chunks;
	if (stream->work.first == NULL)
		list_init(&stream->work);
	list_init(&stream->chunks);
	stream->is_last = is_last;
	stream->is_busy = true;
	stream->task.run = run_write;
	stream->task.done = done_write;
	pool_submit(stream->spool->pool, &stream->task);
}

/* ---- the header ---- */

/* The header is complete: may this message come in?  -1: it was refused. */
static int
check(struct stream *stream)
{
	struct queued *queued = stream->spool->queued;
	struct submission_rules rules = queue_intake_rules(queued);
	struct slice payload = {stream->envelope, stream->envelope_n};
	struct slice header = {stream->header.p, stream->header.n};
	struct submission submission;
	struct ipc_queue_open open;
	struct err err;

	if (ipc_shape_read(&ipc_row(MSG_QUEUE_OPEN)->shape, payload, &open,
	        &err) == -1)
		bug("an envelope that was read once: %s", err.text);
	submission = SUBMISSION_OF(&open);
	if (submission_check(&rules, &submission, header, &stream->message,
	        &stream->refusal) == -1) {
		refuse(stream);
		return -1;
	}
	free_envelope(stream);
	stream->state = STREAM_WRITING;
	return 0;
}

static int
refuse_header(struct stream *stream)
{
	(void)smtp_status_set(&stream->refusal, 554, "5.6.0", "%s",
	    header_failure_text(stream->header.failure));
	refuse(stream);
	return -1;
}

/* -1: the stream was refused. */
static int
take_header(struct stream *stream, struct chunk *chunk)
{
	struct slice piece = {chunk->p, chunk->n};

	switch (header_feed(&stream->header, piece)) {
	case PARSE_OK:
		return check(stream);
	case PARSE_BAD:
		return refuse_header(stream);
	default:
		break;
	}
	/* A header may be longer than the credit; its size has a limit. */
	if (stream->credit < IPC_CHUNK_MAX) {
		give_credit(stream, chunk->owed);
		chunk->owed = 0;
	}
	return 0;
}

/* ---- frames ---- */

static int
copy_envelope(struct stream *stream, const struct ipc_queue_open *open)
{
	const struct ipc_shape *shape = &ipc_row(MSG_QUEUE_OPEN)->shape;
	const struct settings *settings =
	    queued_settings(stream->spool->queued);

	if (ipc_shape_size(shape, open, &stream->envelope_n, NULL) == -1)
		return -1;
	stream->envelope = xmalloc(stream->envelope_n);
	ipc_shape_write(shape, open, stream->envelope);
	charge(stream, stream->envelope_n);
	header_init(&stream->header,
	    settings->smtp_max_header_size + IPC_TRACE_MAX);
	return 0;
}

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
	return queue_intake_has_room(
	    queued, stream->envelope_n, &stream->refusal);
}

static void
join_waiting(struct stream *stream)
{
	struct queue_spool *spool = stream->spool;

	stream->waits_until_ms = loop_now_ms(spool->queued->loop) +
	    PLACE_WAIT_MS;
	*spool->waiting_last = stream;
	spool->waiting_last = &stream->next_waiting;
	spool->waiting++;
	start_waiting(spool);
}

static struct stream *
new_stream(struct queue_spool *spool, struct smtp_peer *peer)
{
	struct stream *stream = xcalloc(1, sizeof(*stream));

	stream->spool = spool;
	stream->peer = smtp_peer_ref(peer);
	stream->fd = -1;
	list_init(&stream->chunks);
	list_init(&stream->work);
	stream->next = spool->peers[peer->slot];
	spool->peers[peer->slot] = stream;
	stream->is_listed = true;
	return stream;
}

int
queue_spool_on_open(
    struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_open *open = &frame->message->queue_open;
	struct queue_spool *spool = queued_of(channel)->spool;
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (queue_intake_check_id(peer, open->message_id) == -1 ||
	    find_stream(spool, peer, open->stream) != NULL ||
	    count_streams(spool, peer) >= PEER_STREAMS_MAX)
		return -1;
	stream = new_stream(spool, peer);
	stream->number = open->stream;
	stream->open_request = frame->request_id;
	stream->message_id = open->message_id;
	stream->state = STREAM_REFUSED; /* until it may wait */
	if (copy_envelope(stream, open) == -1) {
		drop(stream);
		return -1;
	}
	if (may_open(stream, open) == -1) {
		refuse(stream);
		return 0;
	}
	stream->state = STREAM_WAITING;
	join_waiting(stream);
	return 0;
}

static struct chunk *
add_chunk(struct stream *stream, struct slice content)
{
	struct chunk *chunk = xmalloc(sizeof(*chunk) + content.n);

	chunk->next = NULL;
	chunk->owed = content.n;
	chunk->n = content.n;
	memcpy(chunk->p, content.p, content.n);
	*stream->chunks.last = chunk;
	stream->chunks.last = &chunk->next;
	charge(stream, sizeof(*chunk) + content.n);
	return chunk;
}

int
queue_spool_on_chunk(
    struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_chunk *m = &frame->message->queue_chunk;
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;
	struct chunk *chunk;

	if (peer == NULL ||
	    (stream = find_stream(queued->spool, peer, m->stream)) == NULL ||
	    stream->state == STREAM_ENDED || m->content.n == 0 ||
	    m->content.n > stream->credit)
		return -1;
	stream->credit -= m->content.n;
	if (stream->state == STREAM_REFUSED)
		return 0;
	stream->received += m->content.n;
	if (stream->received >
	    queued_settings(queued)->smtp_max_message_size + IPC_TRACE_MAX) {
		(void)smtp_status_set(&stream->refusal, 552, "5.3.4",
		    "The message is larger than allowed");
		refuse(stream);
		return 0;
	}
	chunk = add_chunk(stream, m->content);
	if (stream->state == STREAM_HEADER &&
	    take_header(stream, chunk) == -1)
		return 0;
	if (stream->state == STREAM_WRITING)
		start_write(stream);
	return 0;
}

int
queue_spool_on_end(
    struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (peer == NULL || frame->request_id == 0 ||
	    (stream = find_stream(queued->spool, peer,
	         frame->message->queue_end.stream)) == NULL ||
	    stream->state == STREAM_ENDED || stream->state == STREAM_WAITING)
		return -1;
	if (stream->state == STREAM_REFUSED) {
		/* The refusal crossed it on the way. */
		queue_intake_answer(peer, frame->request_id, stream->number,
		    stream->refusal.code, stream->refusal.enhanced,
		    stream->refusal.text);
		drop(stream);
		return 0;
	}
	stream->end_request = frame->request_id;
	if (stream->state == STREAM_HEADER) {
		int rc = header_finish(&stream->header) == PARSE_OK
		    ? check(stream)
		    : refuse_header(stream);

		if (rc == -1)
			return 0;
	}
	stream->state = STREAM_ENDED;
	start_write(stream);
	return 0;
}

int
queue_spool_on_abort(
    struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct stream *stream;

	if (peer == NULL)
		return -1;
	stream = find_stream(
	    queued->spool, peer, frame->message->queue_abort.stream);
	if (stream != NULL) /* or it was committed meanwhile */
		drop(stream);
	return 0;
}

void
queue_spool_peer_closed(struct queue_spool *spool, struct smtp_peer *peer)
{
	while (spool->peers[peer->slot] != NULL)
		drop(spool->peers[peer->slot]);
}

/* ---- files of messages ---- */

int
queue_spool_open(struct queue_spool *spool, uint64_t message_id)
{
	return spool_file_open(&spool->folders, message_id);
}

struct removal {
	struct pool_task task;
	struct queue_spool *spool;
	uint64_t message_id;
	int failure;
};

static void
run_removal(struct pool_task *task)
{
	struct removal *removal = (struct removal *)task;

	if (spool_file_remove(
	        &removal->spool->folders, removal->message_id) == -1)
		removal->failure = errno;
}

static void
done_removal(struct pool_task *task)
{
	struct removal *removal = (struct removal *)task;

	if (removal->failure != 0)
		tell_not_removed(removal->message_id, removal->failure);
	free(removal);
}

void
queue_spool_remove(struct queue_spool *spool, uint64_t message_id)
{
	struct removal *removal = xcalloc(1, sizeof(*removal));

	removal->task.run = run_removal;
	removal->task.done = done_removal;
	removal->spool = spool;
	removal->message_id = message_id;
	pool_submit(spool->pool, &removal->task);
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
	uint64_t now_ms = loop_now_ms(spool->queued->loop);
	struct stream *stream;

	(void)fd;
	(void)what;
	while ((stream = spool->waiting_first) != NULL &&
	    stream->waits_until_ms <= now_ms) {
		(void)smtp_status_set(&stream->refusal, 452, "4.3.1",
		    "Too much large mail at once; please try again");
		refuse(stream);
	}
	if (stream != NULL)
		loop_arm(spool->timer, stream->waits_until_ms - now_ms);
}

static bool
is_known(void *arg, uint64_t id)
{
	const struct queued *queued = arg;

	return queue_store_knows_file(queued->reader, id);
}

struct queue_spool *
queue_spool_new(struct queued *queued, struct err *err)
{
	struct queue_spool *spool = xcalloc(1, sizeof(*spool));
	struct spool_scan scan;

	spool->queued = queued;
	spool->waiting_last = &spool->waiting_first;
	if (spool_folders_open(&spool->folders,
	        daemon_state_dir(queued->daemon), err) == -1) {
		free(spool);
		return NULL;
	}
	if (spool_folders_scan(
	        &spool->folders, is_known, queued, &scan, err) == -1) {
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
			drop(spool->peers[i]);
	pool_free(spool->pool);
	event_free(spool->timer);
	spool_folders_close(&spool->folders);
	free(spool);
}
