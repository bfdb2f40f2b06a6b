/* SPDX-License-Identifier: ISC */
/*
 * One stream of a large body, from its OPEN to a synced file.  Between
 * queue_spool.c, which takes the frames, spool_places.c and spool_file.c.
 *
 *   OPEN    WAITING   for one of the places; the peer has no credit yet
 *   place   HEADER    chunks are kept until the header is complete
 *   check   WRITING   chunks go to the file, one task of a stream at a time,
 *                     and what is written comes back as credit
 *   END     ENDED     the rest is written, file and folder are synced; then
 *                     the message is queue_intake's
 *   any     REFUSED   the refusal was sent; what is under way is swallowed
 */
#ifndef RELAY_SPOOL_STREAM_H
#define RELAY_SPOOL_STREAM_H

#include "common/header.h"
#include "common/netaddr.h"
#include "common/smtp_reply.h"
#include "relay/queued.h"
#include "relay/spool_file.h"

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
	struct netprefix site; /* the client's, as smtpd says */
	uint64_t place;        /* counts places given; 0: has none */
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
	uint64_t places_given;
	bool is_ending;
};

struct stream *spool_stream_find(const struct queue_spool *spool,
    const struct smtp_peer *peer, uint32_t number);
size_t spool_stream_count(
    const struct queue_spool *spool, const struct smtp_peer *peer);

/* Listed, in state REFUSED until it may wait; NULL when open breaks its row. */
struct stream *spool_stream_new(struct queue_spool *spool,
    struct smtp_peer *peer, const struct ipc_queue_open *open,
    uint64_t request_id);

/* The peer may send so much more. */
void spool_stream_give_credit(struct stream *stream, size_t octets);

/* A chunk within the credit, of a stream in HEADER or WRITING. */
void spool_stream_take(struct stream *stream, struct slice content);

/* END of such a stream, which is answered when all is done. */
void spool_stream_end(struct stream *stream, bool is_8bit, uint64_t request_id);

/* Answers with stream->refusal and lets go what was stored. */
void spool_stream_refuse(struct stream *stream);

/* The stream leaves nothing, and nobody is told. */
void spool_stream_drop(struct stream *stream);

void spool_stream_tell_not_removed(uint64_t message_id, int failure);

#endif
