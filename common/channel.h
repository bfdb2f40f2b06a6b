/* SPDX-License-Identifier: ISC */
/*
 * One end of a stream socket between two programs: framing, limits, answers
 * with deadlines, descriptors (DESIGN §4).  Frames written in one turn of the
 * loop leave in one system call.
 *
 * A peer that breaks a rule loses its channel, and nothing else happens.
 */
#ifndef COMMON_CHANNEL_H
#define COMMON_CHANNEL_H

#include "common/ipc.h"
#include "common/loop.h"

struct channel;

struct channel_frame {
	enum ipc_type type;
	uint64_t request_id;              /* for channel_answer() */
	const union ipc_message *message; /* the member of that type */
	int *fds; /* taken by setting to -1; the rest is closed */
};

/* Returns -1 when the frame is a breach: the channel is then closed. */
typedef int channel_handler_fn(
    struct channel *channel, const struct channel_frame *frame);

/* Which frames a program takes from which peer; ends with handle NULL. */
struct channel_handler {
	enum role peer;
	enum ipc_type type;
	channel_handler_fn *handle;
};

/*
 * The answer to a request; NULL when the deadline passed or the channel
 * closed.  Called once for each request unless it was forgotten.
 */
typedef void channel_answer_fn(void *arg, const struct channel_frame *frame);

struct channel_config {
	struct loop *loop;
	enum role self;
	enum role peer;
	const struct channel_handler *handlers;
	void *owner;
	size_t output_limit; /* octets waiting to be sent; 0: 64 MiB */
	void (*up)(struct channel *channel); /* both HELLOs are there */
	/*
	 * The channel ended by the peer or by a breach, up or not; after the
	 * last answer was called; the channel is freed next.
	 */
	void (*closed)(struct channel *channel, const char *reason);
	/* For who made the channel on the owner's behalf (link, door). */
	void *keeper;
	/* Always, as the very last; was_up: both HELLOs had been there. */
	void (*released)(void *keeper, bool was_up);
};

/*
 * Takes the descriptor of a connected Unix stream socket and says HELLO.
 * Frames may be sent at once, they follow it; a peer of another build or role
 * closes without having looked at them.
 */
struct channel *channel_new(const struct channel_config *config, int fd);

/*
 * Closes now: what was not sent yet is lost.  Waiting requests are answered
 * with NULL and the memory is freed at the end of the turn; closed() is not
 * called.  Until then every function may be called and does nothing.
 */
void channel_close(struct channel *channel);

/* Sends what waits as far as the socket takes it, says why (BYE), closes. */
void channel_close_with(struct channel *channel, const char *reason);

void *channel_owner(const struct channel *channel);

/* The keeper goes first: released() will not be called. */
void channel_drop_keeper(struct channel *channel);
enum role channel_peer(const struct channel *channel);
bool channel_is_up(const struct channel *channel);

/* The user at the other end (SO_PEERCRED); (uid_t)-1 when closed. */
uid_t channel_peer_uid(const struct channel *channel);

/* A place for what the owner keeps for this one peer; NULL at first. */
void channel_set_context(struct channel *channel, void *context);
void *channel_context(const struct channel *channel);

/*
 * Sends a message that asks nothing; NULL for one without fields.  Descriptors
 * (row's count) are duplicated, the caller keeps his.  -1 when the message
 * breaks its row or the output is full; nothing is sent then.
 */
int channel_send(struct channel *channel, enum ipc_type type,
    const void *message, const int *fds);

/* Answers the request with that id. */
int channel_answer(struct channel *channel, uint64_t request_id,
    enum ipc_type type, const void *message);

/*
 * Asks; the answer must be of answer_type.  Returns the request's id, or 0
 * when nothing was sent (answer is then never called).
 */
uint64_t channel_request(struct channel *channel, enum ipc_type type,
    const void *message, const int *fds, enum ipc_type answer_type,
    uint32_t deadline_ms, channel_answer_fn *answer, void *arg);

/* The asker is gone: its answer function will not be called. */
void channel_forget(struct channel *channel, uint64_t request_id);

/* Back-pressure: octets not yet sent; reading stopped and resumed. */
size_t channel_output_pending(const struct channel *channel);
void channel_pause(struct channel *channel);
void channel_resume(struct channel *channel);

/*
 * Sends what waits now, not at the turn's end: for a process whose handlers
 * take long.
 */
void channel_flush(struct channel *channel);

/* How many requests wait for an answer. */
size_t channel_requests_waiting(const struct channel *channel);

#endif
