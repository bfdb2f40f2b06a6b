/* SPDX-License-Identifier: ISC */
/*
 * The world as test_relayd.c plays it for postern-relayd: mail servers on
 * 127.0.0.x, all at one port, and checkd with a small zone.
 *
 *	127.0.0.1	takes everything, also SMTPUTF8 where it is named
 *	127.0.0.2	listens not
 *	127.0.0.3	puts every recipient off
 *	127.0.0.4	offers STARTTLS and then refuses it
 *	127.0.0.5	has STARTTLS, with a certificate of its own
 *	127.0.0.6	knows no recipients
 *	127.0.0.7	takes a message and never answers to its dot
 *	127.0.0.8	leaves with 421 after the dot
 *	127.0.0.9	takes one mail a connection and leaves with 421 at the
 *			next; has no DSN; puts off who is named "later"
 */
#ifndef TESTS_UNIT_RELAY_WORLD_H
#define TESTS_UNIT_RELAY_WORLD_H

#include "common/channel.h"
#include "common/loop.h"
#include "common/tls.h"

#define WORLD_SERVERS 9

struct world;

struct fake_server {
	struct world *world;
	unsigned last; /* of its address, 127.0.0.last */
	int fd;
	struct event *listening;
	unsigned connections;
	unsigned mails;
};

struct world {
	struct loop *loop;
	struct fake_server servers[WORLD_SERVERS];
	uint16_t port;
	SSL_CTX *tls;
	unsigned char key_hash[32]; /* for TLSA 3 1 1 */
	struct buf content;         /* of the latest mail */
};

void world_open(struct world *world, struct loop *loop);
void world_close(struct world *world);

/* Answers a DNS_QUERY by the zone. */
void world_answer(const struct world *world, struct channel *channel,
    const struct channel_frame *frame);

#endif
