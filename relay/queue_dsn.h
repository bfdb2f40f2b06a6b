/* SPDX-License-Identifier: ISC */
/*
 * From a result to the notifications that it asks for (RFC 3461 §5.2): one
 * message for failures, one for a delay, one for successes, and more only for
 * recipients that do not fit into one.
 */
#ifndef RELAY_QUEUE_DSN_H
#define RELAY_QUEUE_DSN_H

#include "relay/dsn.h"
#include "relay/queued.h"

/* What became of one recipient, for a notification. */
struct dsn_case {
	const struct queue_recipient *recipient; /* of the message */
	enum dsn_action action;
	unsigned code;
	char enhanced[16];
	char reply[IPC_REPLY_MAX + 1];
	char host[IPC_DOMAIN_MAX + 1];
	int64_t retry_until_ms; /* of delays */
};

/* Does RFC 3461 want a notification of that to this message's sender? */
bool queue_dsn_is_wanted(const struct queue_message *message,
    const struct queue_recipient *recipient, enum dsn_action action);

/*
 * Makes a notification about cases of that action: a message of the queue's
 * own with the null reverse-path, not yet committed.  It tells of the first
 * *taken_r of them, which is all unless they are too many for one frame.
 * NULL: the sender is no address.  content: the original's, as much as there
 * is; with all of it, is_whole.
 */
struct queue_message *queue_dsn_make(struct queued *queued,
    const struct queue_message *original, const struct dsn_case *cases,
    size_t case_count, enum dsn_action action, struct slice content,
    bool is_whole, size_t *taken_r);

/*
 * A message of our own to one address, with the null reverse-path.  Its content
 * is in seven bits unless is_utf8: then it needs SMTPUTF8 anyway.
 */
struct queue_message *queue_own_message(
    struct queued *queued, const char *to, struct slice content, bool is_utf8);

#endif
