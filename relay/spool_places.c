/* SPDX-License-Identifier: ISC */
/*
 * The places for large mail: who waits for one, and who gives his up.
 * Runs in: postern-queued.  Trusts: nothing of smtpd but the client's address,
 * by whose network the places are shared out.
 */
#include "relay/spool_places.h"

/* What a peer may send ahead on one stream. */
#define STREAM_CREDIT (256u * 1024)
/* Streams at once may take this part of queue.memory. */
#define MEMORY_PART 4
/* A stream waits this long for a place. */
#define PLACE_WAIT_MS 30000
/* And this long for one that is being given back. */
#define PLACE_SOON_MS 1000

static size_t
places(const struct queue_spool *spool)
{
	uint64_t count = queued_settings(spool->queued)->queue_memory /
			 (MEMORY_PART * STREAM_CREDIT);

	return count > 0 ? (size_t)count : 1;
}

/* ---- waiting for a place ---- */

void
spool_places_leave(struct stream *stream)
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
		spool_places_leave(stream);
		spool->places_taken++;
		stream->place = ++spool->places_given;
		stream->state = STREAM_HEADER;
		spool_stream_give_credit(stream, STREAM_CREDIT);
	}
	if (stream != NULL && !evtimer_pending(spool->timer, NULL))
		loop_arm(spool->timer, PLACE_WAIT_MS);
}

void
spool_places_give_back(struct stream *stream)
{
	if (stream->place == 0)
		return;
	stream->place = 0;
	stream->spool->places_taken--;
	if (!stream->spool->is_ending)
		start_waiting(stream->spool);
}

void
spool_places_wait(struct stream *stream)
{
	struct queue_spool *spool = stream->spool;

	stream->state = STREAM_WAITING;
	stream->waits_until_ms = clock_monotonic_ms() + PLACE_WAIT_MS;
	*spool->waiting_last = stream;
	spool->waiting_last = &stream->next_waiting;
	spool->waiting++;
	start_waiting(spool);
}

/* ---- giving one up ---- */

static size_t
count_places(const struct queue_spool *spool, const struct netprefix *site)
{
	size_t count = 0;

	for (size_t i = 0; i < QUEUED_PEER_SLOTS; i++)
		for (const struct stream *at = spool->peers[i]; at != NULL;
		     at = at->next)
			if (at->place != 0 && netprefix_equals(&at->site, site))
				count++;
	return count;
}

static bool
is_being_given_back(const struct queue_spool *spool)
{
	for (size_t i = 0; i < QUEUED_PEER_SLOTS; i++)
		for (const struct stream *at = spool->peers[i]; at != NULL;
		     at = at->next)
			if (at->place != 0 && at->state == STREAM_REFUSED)
				return true;
	return false;
}

/*
 * Of the network that has the most places, and more than that one, the stream
 * that has its for longest; NULL: none has more.
 */
static struct stream *
find_greediest(const struct queue_spool *spool, const struct netprefix *site)
{
	size_t most = count_places(spool, site) + 1;
	struct stream *found = NULL;

	for (size_t i = 0; i < QUEUED_PEER_SLOTS; i++)
		for (struct stream *at = spool->peers[i]; at != NULL;
		     at = at->next) {
			size_t count;

			if (at->place == 0 || (at->state != STREAM_HEADER &&
						  at->state != STREAM_WRITING))
				continue;
			count = count_places(spool, &at->site);
			if (count < most || (count == most && found != NULL &&
						at->place > found->place))
				continue;
			most = count;
			found = at;
		}
	return found;
}

/*
 * A client may take an hour for its message.  A few slow ones would hold all
 * places and keep everybody's large mail out: they stand back for others.
 */
static bool
make_place(struct stream *stream)
{
	struct queue_spool *spool = stream->spool;
	struct stream *greediest;

	stream->waits_until_ms = clock_monotonic_ms() + PLACE_SOON_MS;
	if (is_being_given_back(spool))
		return true;
	if ((greediest = find_greediest(spool, &stream->site)) == NULL)
		return false;
	(void)smtp_status_set(&greediest->refusal, 452, "4.3.1",
	    "Too much large mail from your network; please try again");
	spool_stream_refuse(greediest);
	return true;
}

void
spool_places_expire(struct queue_spool *spool)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct stream *stream;

	/* A refusal takes the stream off the list; or it waits on, at its head.
	 */
	/* NOLINTBEGIN(clang-analyzer-unix.Malloc) */
	while ((stream = spool->waiting_first) != NULL &&
	       stream->waits_until_ms <= now_ms) {
		if (make_place(stream))
			continue;
		(void)smtp_status_set(&stream->refusal, 452, "4.3.1",
		    "Too much large mail at once; please try again");
		spool_stream_refuse(stream);
	}
	/* NOLINTEND(clang-analyzer-unix.Malloc) */
	if (stream != NULL)
		loop_arm(spool->timer, stream->waits_until_ms - now_ms);
}
