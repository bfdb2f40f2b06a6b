/* SPDX-License-Identifier: ISC */
/*
 * The places for large mail: who gets one, who waits, and who gives his up.
 */
#include "relay/queue_spool.h"
#include "relay/spool_places.h"
#include "tests/unit/sending.h"
#include "tests/unit/tap.h"

static void
test_places(struct world *world)
{
	struct sending sendings[10];

	world->snapshot->settings.queue_memory = 8 << 20;
	world_connect(world);
	for (uint32_t i = 0; i < 10; i++)
		sendings[i] = sending_open(world, i + 1);
	WORLD_WAIT(world, queue_spool_streams(world->queued.spool) == 10 &&
			      world->peer.credit >= 8 * 256 * 1024);
	is_u64(world->peer.credit, 8 * 256 * 1024,
	    "8 MB of memory are eight places");
	sending_abort(&sendings[0]);
	WORLD_WAIT(world, world->peer.credit > 8 * 256 * 1024);
	is_u64(world->peer.credit, 9 * 256 * 1024,
	    "one that is given up is given to the next");
	sending_abort(&sendings[9]);
	sending_chunk(&sendings[5], FORGED, sizeof(FORGED) - 1);
	WORLD_WAIT(world, world->peer.answers > 0);
	world_settle(world);
	is_u64(queue_spool_streams(world->queued.spool), 7,
	    "neither a refused stream keeps its place, nor one that left");
	for (uint32_t i = 0; i < 1008; i++)
		(void)sending_open(world, i + 100);
	WORLD_WAIT(world, world->peer.answers >= 8);
	is_int(world->peer.code, 452, "what cannot even wait is put off");
	is_int(world->peer.answers, 8, "but no more than that");
	world_disconnect(world);
	is_u64(queue_spool_streams(world->queued.spool), 0,
	    "all places are free again");
	is_u64(world->queued.memory_used, 0, "and so is their memory");
	world->snapshot->settings.queue_memory = 64 << 20;
}

/*
 * As if all that wait had done so for long.  Those that go on waiting have
 * time again: the spool's own timer is not to come in between, however long
 * this process was held up.
 */
static void
let_expire(struct world *world)
{
	struct queue_spool *spool = world->queued.spool;

	for (struct stream *at = spool->waiting_first; at != NULL;
	     at = at->next_waiting)
		at->waits_until_ms = 0;
	spool_places_expire(spool);
	for (struct stream *at = spool->waiting_first; at != NULL;
	     at = at->next_waiting)
		at->waits_until_ms = clock_monotonic_ms() + PATIENCE_MS;
}

/* NULL: the peer has none of that number. */
static const struct stream *
stream_of(const struct world *world, uint32_t number)
{
	const struct stream *at = world->queued.spool->peers[world->peer.slot];

	while (at != NULL && at->number != number)
		at = at->next;
	return at;
}

static void
test_greed(struct world *world)
{
	struct queue_spool *spool = world->queued.spool;
	struct world_peer *peer = &world->peer;
	struct sending slow[9];
	const struct stream *oldest;
	const struct stream *first;

	world->snapshot->settings.queue_memory = 8 << 20;
	world_connect(world);
	(void)sending_open_from(
	    world, "198.51.100.1", 1, world_next_id(world), "b@ours.test");
	for (uint32_t i = 0; i < 9; i++)
		slow[i] = sending_open(world, i + 2);
	/* One of them has a file already. */
	sending_chunk(&slow[0], HEADER, sizeof(HEADER) - 1);
	(void)sending_open_from(
	    world, "2001:db8:1:2::1", 20, world_next_id(world), "b@ours.test");
	(void)sending_open_from(
	    world, "2001:db8:1:3::1", 21, world_next_id(world), "b@ours.test");
	WORLD_WAIT(world, queue_spool_streams(spool) == 12);
	world_settle(world);
	is_u64(spool->waiting, 4, "eight have places, of one network but one");
	let_expire(world);
	WORLD_WAIT(world, spool->waiting == 1);
	WORLD_WAIT(world, peer->answers == 3);
	is_int(peer->code, 452, "others of that network are put off");
	oldest = stream_of(world, 2);
	ok(oldest != NULL && oldest->state == STREAM_REFUSED,
	    "one that has its place for longest gives it to another network's");
	first = stream_of(world, 20);
	ok(first != NULL && first->place != 0, "which was first in line");
	ok(spool->waiting_first == stream_of(world, 21),
	    "the next goes on waiting");
	let_expire(world);
	WORLD_WAIT(world, spool->waiting == 0);
	WORLD_WAIT(world, peer->answers == 4);
	is_u64(queue_spool_streams(spool), 8, "and has a place then, too");
	(void)sending_open_from(
	    world, "2001:db8:1:4::1", 22, world_next_id(world), "b@ours.test");
	WORLD_WAIT(world, spool->waiting == 1);
	for (int i = 0; i < 3; i++)
		let_expire(world);
	WORLD_WAIT(world, spool->waiting == 0);
	world_disconnect(world);
	is_u64(queue_spool_streams(spool), 0, "all places are free again");
	is_u64(world->queued.memory_used, 0, "and so is their memory");
	world->snapshot->settings.queue_memory = 64 << 20;
}

int
main(void)
{
	struct world world;

	world_init(&world);
	test_places(&world);
	test_greed(&world);
	world_clear(&world);
	return tap_done();
}
