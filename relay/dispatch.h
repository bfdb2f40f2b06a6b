/* SPDX-License-Identifier: ISC */
/*
 * What is to be delivered now, by destination: fair between destinations,
 * each with a number of deliveries at once that adapts from 5 between 1 and
 * relay.connections.  Pure memory: no clock, database or sockets.
 */
#ifndef RELAY_DISPATCH_H
#define RELAY_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/queue_message.h"

struct dispatch;
struct destination;

/* One message on its way to the recipients of one domain. */
struct delivery {
	struct queue_message *message;   /* holds a reference */
	struct destination *destination; /* NULL: it came back */
	uint32_t *numbers;               /* of the recipients */
	size_t number_count;
	uint64_t job_id; /* while it is out; 0 while it waits */
	struct delivery *next;
	char domain[256];
};

struct dispatch *dispatch_new(void);
void dispatch_free(struct dispatch *dispatch); /* also what waits */

/* limit: deliveries at once to one destination. */
void dispatch_set_limit(struct dispatch *dispatch, unsigned limit);

/*
 * Adds a delivery to the destination with that key (the next hop).  Takes its
 * own reference to the message and copies the numbers.
 */
struct delivery *dispatch_add(struct dispatch *dispatch,
    struct queue_message *message, const char *domain, const char *key,
    const uint32_t *numbers, size_t number_count);

/*
 * The next delivery to start, now out under a job id, or NULL: nothing waits
 * for a destination that has room and is not blocked at now_ms.
 */
struct delivery *dispatch_next(struct dispatch *dispatch, int64_t now_ms);

/* The delivery that is out under that id, or NULL. */
struct delivery *dispatch_find(struct dispatch *dispatch, uint64_t job_id);

/* One that is out since then or longer, or NULL. */
struct delivery *dispatch_overdue(
    const struct dispatch *dispatch, int64_t since_ms);

/* Puts a delivery that was out back to the front. */
void dispatch_return(struct dispatch *dispatch, struct delivery *delivery);

/* Every delivery that is out goes back: relayd is gone. */
void dispatch_return_all(struct dispatch *dispatch);

enum dispatch_verdict {
	DISPATCH_TAKEN,    /* the next hop works */
	DISPATCH_REFUSED,  /* it answers, and is overloaded */
	DISPATCH_HOST_DOWN /* it cannot be reached */
};

/*
 * The delivery came back: adapts the destination.  The delivery is no longer
 * out, but still known, until its result is committed: dispatch_forget().
 * A host that is down blocks its destination until now_ms + wait_ms, and one
 * delivery is then let through to try.
 */
void dispatch_done(struct dispatch *dispatch, struct delivery *delivery,
    enum dispatch_verdict verdict, int64_t now_ms, int64_t wait_ms);

/*
 * All recipients of the message are in an administrator's hands: nothing of
 * it is loaded, planned or claimed again until dispatch_forget().
 */
struct delivery *dispatch_claim(
    struct dispatch *dispatch, struct queue_message *message);

/* The same for some recipients; others of the message may be on their way. */
struct delivery *dispatch_claim_some(struct dispatch *dispatch,
    struct queue_message *message, const uint32_t *numbers, size_t count);

/* What became of it is committed: frees the delivery, or the claim. */
void dispatch_forget(struct dispatch *dispatch, struct delivery *delivery);

/* Is the destination with that key blocked, and until when (0: no)? */
int64_t dispatch_blocked_until(
    struct dispatch *dispatch, const char *key, int64_t now_ms);

/*
 * Blocked destinations whose time has come may be tried, those with nothing
 * to do are forgotten; call now and then.
 */
void dispatch_wake(struct dispatch *dispatch, int64_t now_ms);

/* Lets a blocked destination be tried at once; all when key is NULL. */
void dispatch_unblock(struct dispatch *dispatch, const char *key);

/*
 * Takes deliveries that wait for blocked destinations off them, at most
 * limit, as a list; they are known until dispatch_forget().
 */
struct delivery *dispatch_take_blocked(
    struct dispatch *dispatch, int64_t now_ms, size_t limit);

/*
 * Waiting deliveries of a message are taken out (held, deleted); the number
 * that is out stays and is returned.
 */
size_t dispatch_remove(struct dispatch *dispatch, uint64_t message_id);

/* Is that recipient of the message in memory, waiting or out? */
bool dispatch_knows(
    struct dispatch *dispatch, uint64_t message_id, uint32_t number);

/* The message with that id of a delivery in memory, or NULL. */
struct queue_message *dispatch_message(
    struct dispatch *dispatch, uint64_t message_id);

/*
 * What is read from disk beside the loop is old when it arrives.  Take a mark
 * before the reading; of a message that was touched since (a delivery of it
 * left memory, or dispatch_remove() or dispatch_touch() was called for it)
 * what was read does not count.  Rarely an untouched one is said to be.
 */
uint32_t dispatch_mark(struct dispatch *dispatch);
void dispatch_touch(struct dispatch *dispatch, uint64_t message_id);
bool dispatch_is_touched(
    const struct dispatch *dispatch, uint64_t message_id, uint32_t mark);

size_t dispatch_waiting(const struct dispatch *dispatch);
size_t dispatch_active(const struct dispatch *dispatch);

/*
 * How many more deliveries of that destination may wait in memory.  With 0 the
 * caller leaves them on disk; when most of what waits is gone,
 * dispatch_take_relief() says once that it is time to look there again.
 */
size_t dispatch_room(struct dispatch *dispatch, const char *key);
bool dispatch_take_relief(struct dispatch *dispatch);

#endif
