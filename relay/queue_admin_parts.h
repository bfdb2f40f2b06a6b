/* SPDX-License-Identifier: ISC */
/*
 * What the files of queue_admin share: queue_admin.c takes requests in and
 * answers them, queue_admin_look.c finds messages, queue_admin_act.c changes
 * what was found, queue_admin_notice.c sends a message of our own.
 */
#ifndef RELAY_QUEUE_ADMIN_PARTS_H
#define RELAY_QUEUE_ADMIN_PARTS_H

#include <jansson.h>

#include "relay/queue_admin.h"
#include "relay/queue_filter.h"
#include "relay/queue_sign.h"

/* Messages of one page, and ids of one request. */
#define QUEUE_ADMIN_LIMIT_MAX 1000

/* DESIGN §5. */
enum exit_code {
	EXIT_CODE_DONE = 0,
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_NOTHING = 3
};

struct queue_request;

struct queue_verb {
	const char *name;
	/* In the reader's thread; may set reply or collect messages. */
	void (*look)(struct queue_request *request);
	/* In the loop, for each message that was found. */
	void (*act)(
	    struct queue_request *request, struct queue_message *message);
};

struct queue_request {
	struct pool_task task;
	struct queued *queued;
	struct channel *channel;
	uint32_t confd_round; /* of the channel */
	uint64_t request_id;
	const struct queue_verb *verb;
	char actor[129];
	json_t *arguments;
	struct queue_filter filter;
	int64_t now_ms;
	uint32_t mark; /* of dispatch, before the look */

	struct queue_message **found;
	size_t found_count;
	size_t acted_count;    /* of those found, from the first on */
	struct delivery *kept; /* claims on those whose turn comes later */
	struct queue_sign_watch watch;
	size_t recipients; /* of all that was found */
	size_t limit;
	uint64_t cursor; /* out: go on after this id; 0: all was seen */

	json_t *reply;
	enum exit_code code;
	size_t pending; /* changes not yet committed */
	size_t changed;
	json_t *changed_ids;
	json_t *busy_ids; /* left alone: relayd is delivering them */
};

/* ---- queue_admin.c ---- */

/* Sets the reply to a sentence that says why not. */
void queue_admin_refuse(
    struct queue_request *request, enum exit_code code, const char *sentence);

/* Sends the reply, if its asker still waits, and frees the request. */
void queue_admin_answer(struct queue_request *request);

/* ---- queue_admin_look.c: in the reader's thread ---- */

void queue_admin_look_messages(struct queue_request *request);
/* Those that were not acted on, anew; what is gone or fits no more is left. */
void queue_admin_look_again(struct queue_request *request);
void queue_admin_look_one(struct queue_request *request);
void queue_admin_look_list(struct queue_request *request);
void queue_admin_look_summary(struct queue_request *request);

/* Where the next page goes on, for a reply; null after the last. */
json_t *queue_admin_next_cursor(const struct queue_request *request);

/* ---- queue_admin_act.c: in the loop ---- */

/* Does what the verb says with all that was found, and then answers. */
void queue_admin_act_on_all(struct queue_request *request);

void queue_admin_act_retry(
    struct queue_request *request, struct queue_message *message);
void queue_admin_act_hold(
    struct queue_request *request, struct queue_message *message);
void queue_admin_act_release(
    struct queue_request *request, struct queue_message *message);
void queue_admin_act_delete(
    struct queue_request *request, struct queue_message *message);
void queue_admin_act_bounce(
    struct queue_request *request, struct queue_message *message);

/* ---- queue_admin_notice.c: in the loop ---- */

/* queue.notify, whole, with its answer. */
void queue_admin_act_notify(struct queue_request *request);

#endif
