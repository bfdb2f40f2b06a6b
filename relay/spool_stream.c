/* SPDX-License-Identifier: ISC */
/*
 * Streams of large bodies: their chunks and credit, the header, the file.
 * Who has a place, and who waits for one: spool_places.c.
 * Runs in: postern-queued; files are written and synced in a pool.  Trusts:
 * nothing of smtpd: credit and sizes are checked here and in queue_spool.c,
 * the envelope and header From in submission.c.
 *
 * On disk: a file without a row, from its creation to the commit that names
 * it; such files go when the stream ends badly, or at the next start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay/queue_sign.h"
#include "relay/spool_places.h"
#include "relay/spool_stream.h"
#include "relay/submission.h"

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

void
spool_stream_give_credit(struct stream *stream, size_t octets)
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

struct stream *
spool_stream_find(const struct queue_spool *spool, const struct smtp_peer *peer,
    uint32_t number)
{
	struct stream *at = spool->peers[peer->slot];

	while (at != NULL && at->number != number)
		at = at->next;
	return at;
}

size_t
spool_stream_count(
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
	if (spool_file_remove(&stream->spool->folders, stream->message_id, 0) ==
	    -1)
		stream->failure = errno;
	stream->has_file = false;
}

void
spool_stream_tell_not_removed(uint64_t message_id, int failure)
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
		spool_stream_tell_not_removed(
		    stream->message_id, stream->failure);
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
	spool_places_give_back(stream);
	if (stream->is_listed)
		return; /* its peer has to end it */
	smtp_peer_unref(stream->peer);
	free(stream);
}

static void
let_content_go(struct stream *stream)
{
	if (stream->state == STREAM_WAITING)
		spool_places_leave(stream);
	stream->state = STREAM_REFUSED;
	free_envelope(stream);
	(void)clear_chunks(stream, &stream->chunks);
	queue_message_unref(stream->message);
	stream->message = NULL;
}

/* The stream leaves nothing, and nobody is told. */
void
spool_stream_drop(struct stream *stream)
{
	let_content_go(stream);
	unlist(stream);
	settle(stream);
}

/* Answers with stream->refusal. */
void
spool_stream_refuse(struct stream *stream)
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
		stream->fd = spool_file_create(folders, stream->message_id, 0);
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
	    &stream->spool->folders, stream->message_id, 0, stream->fd);
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
	spool_stream_refuse(stream);
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
		spool_stream_refuse(stream);
		return;
	}
	stream->message = NULL;
	stream->has_file = false;
	message->size = stream->received;
	message->is_file = true;
	queue_intake_take(
	    queued, message, stream->peer, stream->end_request, stream->number);
	spool_stream_drop(stream);
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
		spool_stream_give_credit(stream, owed);
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

/* The header and the start of the body, as far as it is there. */
static void
copy_start(const struct stream *stream, struct buf *start_r)
{
	buf_init(start_r, stream->header.body_offset + SIGN_BODY_START);
	for (const struct chunk *at = stream->chunks.first; at != NULL;
	     at = at->next) {
		const size_t room = start_r->limit - start_r->n;

		(void)buf_add(start_r, at->p, at->n < room ? at->n : room);
	}
}

/* What the signer has to do with it is asked when its aliases are known. */
static void
keep_start(struct stream *stream)
{
	struct queued *queued = stream->spool->queued;
	const struct sign_rules rules = queue_sign_rules(queued->sign);
	struct queue_message *message = stream->message;
	struct buf start;

	copy_start(stream, &start);
	if (queue_sign_may_need(&rules, message, buf_slice(&start))) {
		message->start_n = start.n;
		message->start = start.p; /* taken over */
	} else {
		buf_clear(&start);
	}
}

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

	if (ipc_shape_read(
		&ipc_row(MSG_QUEUE_OPEN)->shape, payload, &open, &err) == -1)
		bug("an envelope that was read once: %s", err.text);
	submission = SUBMISSION_OF(&open);
	if (submission_check(&rules, &submission, header, &stream->message,
		&stream->refusal) == -1) {
		spool_stream_refuse(stream);
		return -1;
	}
	keep_start(stream);
	free_envelope(stream);
	stream->state = STREAM_WRITING;
	return 0;
}

static int
refuse_header(struct stream *stream)
{
	(void)smtp_status_set(&stream->refusal, 554, "5.6.0", "%s",
	    header_failure_text(stream->header.failure));
	spool_stream_refuse(stream);
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
		spool_stream_give_credit(stream, chunk->owed);
		chunk->owed = 0;
	}
	return 0;
}

/* ---- its life ---- */

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
	header_init(
	    &stream->header, settings->smtp_max_header_size + IPC_TRACE_MAX);
	return 0;
}

struct stream *
spool_stream_new(struct queue_spool *spool, struct smtp_peer *peer,
    const struct ipc_queue_open *open, uint64_t request_id)
{
	struct stream *stream = xcalloc(1, sizeof(*stream));
	struct netaddr client;

	stream->spool = spool;
	stream->peer = smtp_peer_ref(peer);
	stream->fd = -1;
	list_init(&stream->chunks);
	list_init(&stream->work);
	stream->next = spool->peers[peer->slot];
	spool->peers[peer->slot] = stream;
	stream->is_listed = true;
	stream->state = STREAM_REFUSED;
	stream->number = open->stream;
	stream->open_request = request_id;
	stream->message_id = open->message_id;
	if (netaddr_parse(open->client, &client) == 0)
		stream->site = netaddr_site(&client);
	if (copy_envelope(stream, open) == -1) {
		spool_stream_drop(stream);
		return NULL;
	}
	return stream;
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

void
spool_stream_take(struct stream *stream, struct slice content)
{
	const struct settings *settings =
	    queued_settings(stream->spool->queued);
	struct chunk *chunk;

	stream->received += content.n;
	if (stream->received >
	    settings->smtp_max_message_size + IPC_TRACE_MAX) {
		(void)smtp_status_set(&stream->refusal, 552, "5.3.4",
		    "The message is larger than allowed");
		spool_stream_refuse(stream);
		return;
	}
	chunk = add_chunk(stream, content);
	if (stream->state == STREAM_HEADER && take_header(stream, chunk) == -1)
		return;
	if (stream->state == STREAM_WRITING)
		start_write(stream);
}

void
spool_stream_end(struct stream *stream, bool is_8bit, uint64_t request_id)
{
	stream->end_request = request_id;
	if (stream->state == STREAM_HEADER) {
		int rc = header_finish(&stream->header) == PARSE_OK
			     ? check(stream)
			     : refuse_header(stream);

		if (rc == -1)
			return;
	}
	if (is_8bit)
		stream->message->flags |= MSG_FLAG_8BIT;
	stream->state = STREAM_ENDED;
	start_write(stream);
}
