/* SPDX-License-Identifier: ISC */
/*
 * postern-queued's one state struct, and what its parts are to each other:
 *
 *   queue_intake    from smtpd: a message comes in, is checked and committed
 *   queue_spool     bodies too large for one frame: streams into files
 *   queue_delivery  to relayd: what is due goes out, results come back
 *   queue_sign      to signerd: what has to be signed, encrypted or opened
 *   queue_refill    from disk to memory: what becomes due
 *   queue_notice    notifications to senders (DSN), and alerts by mail
 *   queue_outbox    life events on their way to the log
 *   queue_admin     what administrators ask
 */
#ifndef RELAY_QUEUED_H
#define RELAY_QUEUED_H

#include "common/daemon.h"
#include "common/ids.h"
#include "common/pool.h"
#include "relay/dispatch.h"
#include "relay/queue_writer.h"
#include "relay/schedule.h"

/* Slots of ids: smtpd's workers get 0 and up; our own messages this one. */
#define QUEUED_OWN_SLOT 254
#define QUEUED_PEER_SLOTS 250

struct sql;
struct queue_spool;
struct queue_outbox;
struct queue_sign;
struct queue_refill;
struct route_table;

/* One of smtpd's workers; lives as long as somebody may answer it. */
struct smtp_peer {
	struct channel *channel; /* NULL: it is gone */
	uint32_t references;
	uint32_t slot;
	uint64_t last_id;
	struct netaddr shown; /* where the connection comes from */
};

struct queued {
	struct daemon *daemon;
	struct loop *loop;
	struct queue_writer *writer;
	struct sql *reader; /* only in reader_pool's thread */
	struct pool *reader_pool;
	struct dispatch *dispatch;
	struct schedule schedule;
	struct queue_clock clock;
	struct route_table *routes;
	struct id_maker ids;
	struct event *tick;

	struct queue_spool *spool;
	struct queue_outbox *outbox;
	struct queue_refill *refill;
	struct queue_sign *sign;

	struct link *authd;
	struct link *loghub;
	unsigned char token_key[32];
	unsigned char previous_token_key[32];
	bool has_token_key;
	bool has_previous_token_key;

	uint32_t confd_round;  /* channels to confd that ended */
	struct channel *relay; /* NULL: relayd is not there */
	size_t relay_jobs;     /* how many it takes at once */

	uint32_t next_slot;
	bool slot_is_taken[QUEUED_PEER_SLOTS];

	uint64_t ticks;
	size_t memory_used; /* messages in memory, with their content */
	bool has_space;     /* free disk above queue.min_free */
	bool is_held;       /* management mode, or stopping: nothing goes out */

	struct loop_task pump; /* starts deliveries at the end of the turn */
	size_t settling;       /* results that are being committed */
	struct loop_task end;  /* for the last of them, when we stop */

	/* For status. */
	uint64_t accepted;
	uint64_t refused;
	uint64_t delivered;
	uint64_t deferred;
	uint64_t failed;
	uint64_t messages; /* in the queue now */
	uint64_t octets;
	int64_t oldest_ms;
};

static inline struct queued *
queued_of(const struct channel *channel)
{
	return daemon_state(channel_daemon(channel));
}

static inline const struct settings *
queued_settings(const struct queued *queued)
{
	return daemon_settings(queued->daemon);
}

/* The queue's own clock, milliseconds. */
int64_t queued_now_ms(const struct queued *queued);

/* ---- queue_intake ---- */

int queue_intake_client(
    struct channel *channel, const struct channel_frame *frame);
int queue_intake_submit(
    struct channel *channel, const struct channel_frame *frame);
void queue_intake_peer_up(struct queued *queued, struct channel *channel);
void queue_intake_peer_closed(struct queued *queued, struct channel *channel);

struct smtp_peer *smtp_peer_ref(struct smtp_peer *peer);
void smtp_peer_unref(struct smtp_peer *peer);

/*
 * Takes a checked message (the caller's reference) with its content: aliases
 * are expanded, it is committed, the request answered.  request_id 0 or peer
 * NULL: nobody is answered.
 */
void queue_intake_take(struct queued *queued, struct queue_message *message,
    struct smtp_peer *peer, uint64_t request_id, uint32_t stream);

/* Answers a submission. */
void queue_intake_answer(struct smtp_peer *peer, uint64_t request_id,
    uint32_t stream, unsigned code, const char *enhanced, const char *text);

struct submission_rules;
struct smtp_status;

/* What submission_check() goes by now. */
struct submission_rules queue_intake_rules(const struct queued *queued);

/* -1 and a refusal when no more can be taken at the moment. */
int queue_intake_has_room(
    const struct queued *queued, size_t octets, struct smtp_status *refusal_r);

/* -1: the id is not of this peer's slot, or not above its last. */
int queue_intake_check_id(struct smtp_peer *peer, uint64_t message_id);

/*
 * -1 and a refusal when a client is said to be trusted and no connection from
 * that address was shown before.
 */
int queue_intake_check_client(const struct smtp_peer *peer, bool is_trusted,
    struct slice client, struct smtp_status *refusal_r);

/* A message was committed: life events go on, deliveries are planned. */
void queue_intake_committed(
    struct queued *queued, struct queue_message *message);

/* Notes EV_ACCEPTED and EV_RECIPIENT in the job that inserts the message. */
void queue_intake_note(struct queue_job *job, struct queue_message *message);

/* ---- queue_delivery ---- */

/* Plans deliveries of the recipients that are due, by domain. */
void queue_delivery_plan(
    struct queued *queued, struct queue_message *message, int64_t now_ms);

/* Starts what may start, at the end of the turn. */
void queue_delivery_pump(struct queued *queued);
void queue_delivery_init(struct queued *queued);

int queue_delivery_ready(
    struct channel *channel, const struct channel_frame *frame);
int queue_delivery_result(
    struct channel *channel, const struct channel_frame *frame);
void queue_delivery_relay_gone(struct queued *queued);

/* Deliveries that relayd has not answered in time are put off. */
void queue_delivery_give_up(struct queued *queued);

/*
 * Nothing leaves without what policy demanded when it was accepted, whatever
 * the signer or this program did wrong on the way here.
 */
bool queue_delivery_may_leave(const struct delivery *delivery);

/* Room for a next hop's key. */
#define QUEUE_KEY_MAX 300

/* The next hop's key for a domain, by the settings in force. */
void queue_delivery_key(
    const struct queued *queued, const char *domain, char *key_r, size_t size);

/*
 * When a new recipient of the domain is first due: now, or when its blocked
 * destination is tried again.
 */
int64_t queue_delivery_first_ms(
    const struct queued *queued, const char *domain);

/* The same for all recipients of a message that is about to be committed. */
void queue_delivery_set_first(
    const struct queued *queued, struct queue_message *message);

#endif
