/* SPDX-License-Identifier: ISC */
/*
 * What queued itself demands of a message before it takes it: smtpd's word
 * alone is not enough (DESIGN §2).  Pure: time and keys are arguments.
 */
#ifndef RELAY_SUBMISSION_H
#define RELAY_SUBMISSION_H

#include "common/ipc.h"
#include "common/settings.h"
#include "common/smtp_reply.h"
#include "relay/queue_message.h"

struct submission_rules {
	const struct snapshot *snapshot;
	struct slice token_key;          /* empty: authd was never there */
	struct slice previous_token_key; /* empty: none */
	uint64_t now_s;
};

/* The envelope as both QUEUE_SUBMIT and QUEUE_OPEN carry it. */
struct submission {
	uint64_t message_id;
	uint64_t session_id;
	struct slice token;
	struct slice client;
	bool is_trusted;
	struct slice reverse_path;
	struct slice envid;
	uint16_t ret;
	bool is_8bit;
	bool is_utf8;
	uint16_t listener_kind;
	struct slice header_message_id;
	struct ipc_list recipients;
};

/* Copies the fields that both messages share. */
#define SUBMISSION_OF(m) \
	((struct submission){(m)->message_id, (m)->session_id, (m)->token, \
	    (m)->client, (m)->is_trusted, (m)->reverse_path, (m)->envid, \
	    (m)->ret, (m)->is_8bit, (m)->is_utf8, (m)->listener_kind, \
	    (m)->header_message_id, (m)->recipients})

/*
 * Checks who sends to whom, and makes the message (without content, created
 * at 0) with each distinct recipient once.  header: the start of the content,
 * with the whole header.  0, or -1 and the refusal.  The sender of a message
 * by login is checked against his token in MAIL FROM and in header From.
 */
int submission_check(const struct submission_rules *rules,
    const struct submission *submission, struct slice header,
    struct queue_message **message_r, struct smtp_status *refusal_r);

/*
 * Does one of the recipients lie in a domain whose addresses the directory
 * may replace (aliases; postmaster and abuse of every domain of ours)?
 */
bool submission_needs_aliases(
    const struct snapshot *snapshot, const struct queue_message *message);

#endif
