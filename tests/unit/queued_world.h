/* SPDX-License-Identifier: ISC */
/*
 * postern-queued without its main(): real stores in a folder of their own,
 * real threads, and a peer that speaks for smtpd over a socket pair.
 */
#ifndef TESTS_UNIT_QUEUED_WORLD_H
#define TESTS_UNIT_QUEUED_WORLD_H

#include "relay/queued.h"
#include "tests/unit/channel_pair.h"

/* The end of smtpd, and what it was told. */
struct world_peer {
	struct channel *channel; /* NULL: closed */
	uint16_t slot;
	bool has_slot;
	uint64_t credit; /* of all streams together */
	unsigned answers;
	unsigned empty_answers;
	uint16_t code;
	uint32_t stream;
	char text[512];
	char reason[ERR_TEXT_MAX]; /* why the channel ended */
};

struct world {
	struct queued queued;
	struct snapshot *snapshot;
	struct world_peer peer;
	struct id_maker ids;
	char dir[64];
	bool is_stopping;
	unsigned alerts;
	char alert_subject[64];
};

/* A domain of ours is "ours.test"; mail for it may come from anybody. */
void world_init(struct world *world);
void world_clear(struct world *world); /* and its folder */

/* Everything but the folder ends, and begins again. */
void world_stop(struct world *world);
void world_start(struct world *world);

/* Lines "SENDER RECIPIENT WORDS" in place of the rules there are. */
void world_set_rules(struct world *world, const char *rules);

/* What queued's end of a channel to that peer is made with. */
struct channel_config world_queued_config(struct world *world, enum role peer);

void world_connect(struct world *world);
void world_disconnect(struct world *world);

/* The peer shows a connection that was made from that address of loopback. */
void world_show_client(struct world *world, const char *from);

/* The next id of the peer. */
uint64_t world_next_id(struct world *world);

#define WORLD_WAIT(world, condition) WAIT_UNTIL((world)->queued.loop, condition)

/* All that threads were given is done and reported. */
void world_settle(struct world *world);

/* Puts a message with those recipients' domains into the store. */
void world_insert(struct world *world, uint64_t id, int64_t next_ms,
    const char *const *domains, size_t domain_count);

/* Runs SQL on a connection of its own. */
void world_sql(struct world *world, const char *text);

/* The next delivery goes out and comes back delivered; false: there is none. */
bool world_deliver_one(struct world *world);

#endif
