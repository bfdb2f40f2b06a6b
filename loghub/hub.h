/* SPDX-License-Identifier: ISC */
/*
 * The state of postern-loghub, and its parts: intake (datagrams, life events),
 * store (batches, syncs, what was lost), manage (questions).
 */
#ifndef LOGHUB_HUB_H
#define LOGHUB_HUB_H

#include <stdatomic.h>

#include "common/daemon.h"
#include "common/pool.h"
#include "loghub/indexer.h"
#include "loghub/life_seen.h"
#include "loghub/segment.h"
#include "loghub/writers.h"

/* Why events are not in the log. */
enum loss {
	LOSS_WAY,     /* between the writer and the hub */
	LOSS_RATE,    /* over the writer's budget */
	LOSS_REFUSED, /* malformed, or not the writer's to say */
	LOSS_DISK,    /* the disk is full */
	LOSS_COUNT
};

/* queued sends 64 frames at the most before it waits for an answer. */
#define LIFE_WAITS_MAX 256

/* An answer that is owed when the log up to number is synced. */
struct life_wait {
	struct channel *channel; /* NULL: gone */
	uint64_t request_id;
	uint32_t count;
	uint64_t number;
};

/* One writer role's datagram socket. */
struct event_source {
	struct hub *hub;
	enum role role;
	int fd; /* -1: none was given */
	struct event *event;
};

struct hub_sync {
	struct pool_task task;
	struct segment_sync sync;
	struct hub *hub;
	bool is_running;
};

struct hub {
	struct daemon *daemon;
	struct loop *loop;
	struct event *timer; /* each second */
	struct loop_task flush;

	struct segment_writer writer;
	uint64_t synced; /* number of the last durable record */
	struct hub_sync sync;
	struct pool *sync_pool;
	bool is_disk_full;

	struct event_source sources[ROLE_COUNT];
	struct writers writers;
	int writers_fd;
	bool has_new_numbers; /* the writers' file is out of date */
	struct life_seen *seen;
	struct life_wait waits[LIFE_WAITS_MAX];
	size_t wait_count;
	struct channel *held; /* not read while the disk is full */
	uint64_t held_ms;     /* since when */

	uint64_t lost[ROLE_COUNT][LOSS_COUNT];   /* in all */
	uint64_t untold[ROLE_COUNT][LOSS_COUNT]; /* not in the log yet */
	uint64_t quiet_ms; /* since when nothing was lost */

	struct indexer *indexer;
	struct pool *query_pool;
	struct pool *verify_pool;
	struct request *requests;
	size_t request_count;
	atomic_bool is_ending;
	bool is_verifying;

	uint64_t expire_checked_ms; /* 0: not yet */
	uint32_t expire_segment;    /* delete when that record is durable: */
	uint64_t expire_number;

	uint64_t events;
	uint64_t life_events;
	uint64_t octets;
};

/* ---- store.c ---- */

int store_open(struct hub *hub, struct err *err);
void store_close(struct hub *hub);

/* One event into the batch of this turn; -1: lost, and counted. */
int store_event(struct hub *hub, enum role role, uint32_t life_number,
    struct slice event);

/* An event of the hub itself. */
void store_own(struct hub *hub, enum event_type type, const void *fields);

/*
 * That segments are to be deleted: also below log.min_free, for it makes room.
 * -1: it is not in the log, and nothing may be deleted.
 */
int store_expired(struct hub *hub, const struct event_log_expired *expired);

/* Counts events that are not stored; told in the log within a second. */
void store_lost(
    struct hub *hub, enum role role, enum loss loss, uint64_t count);

/* Writes what waits, and begins a sync when somebody waits for it. */
void store_flush(struct hub *hub);

/* Each second. */
void store_tick(struct hub *hub);

/* ---- intake.c ---- */

void intake_open(struct hub *hub);
void intake_close(struct hub *hub);

/* Takes what is in the sockets now, for a last time. */
void intake_drain(struct hub *hub);

int intake_life_events(
    struct channel *channel, const struct channel_frame *frame);

/* Each second: lets go of a channel that was held long enough. */
void intake_tick(struct hub *hub);

/* The log up to hub->synced is durable: answers what waits for it. */
void intake_synced(struct hub *hub);

/*
 * A batch failed: what was stored lately is not known, so the channels that
 * wait are closed and queued sends again from what was answered.
 */
void intake_failed(struct hub *hub);

void intake_peer_closed(struct hub *hub, const struct channel *channel);

/* ---- retention.c ---- */

/* Looks for segments that are too old, once an hour. */
void retention_tick(struct hub *hub);

/* ---- manage.c ---- */

void manage_open(struct hub *hub);
void manage_close(struct hub *hub);
int manage_request(
    struct channel *channel, const struct channel_frame *frame);
void manage_peer_closed(struct hub *hub, const struct channel *channel);

#endif
