/* SPDX-License-Identifier: ISC */
/*
 * A queued message in memory: its envelope, recipients, and, as long as
 * memory allows, its content.
 */
#ifndef RELAY_QUEUE_MESSAGE_H
#define RELAY_QUEUE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "relay/queue_protection.h"
#include "relay/queue_sql.h"

struct queue_recipient {
	uint32_t number; /* within the message, from 0 */
	uint16_t output;
	uint16_t notify; /* enum dsn_notify */
	uint16_t last_code;
	uint8_t state; /* enum rcpt_state */
	uint32_t attempts;
	int64_t next_ms;
	int64_t last_ms;
	char *address;
	char *domain;
	char *original; /* "" unless an alias led here */
	char *orcpt;
	char *last_enhanced;
	char *last_reply;
	char *last_host;
};

struct queue_message {
	uint64_t id;
	uint64_t session_id;
	int64_t created_ms;
	char *sender;
	char *account;
	char *client;
	char *envid;
	char *header_message_id;
	uint16_t ret;
	uint16_t flags;
	uint16_t listener_kind; /* where it came in; not kept on disk */
	uint32_t events;        /* life events so far */
	uint64_t size;
	bool is_file;  /* the content is a spool file */
	char *content; /* NULL: not in memory */

	struct queue_recipient *recipients;
	size_t recipient_count;

	struct queue_protection *protection; /* NULL: nothing applies */
	/*
	 * Of a file, before it is decided whether anything applies: the start
	 * of the content.  "" or NULL: not kept.
	 */
	char *start;
	size_t start_n;

	uint32_t references; /* deliveries and tasks that use it */
	size_t *budget;      /* where its memory is counted, or NULL */
	size_t charged;
};

/* What the signer did for one recipient. */
struct queue_served {
	uint32_t number;
	uint16_t output;
	uint16_t applied;
	uint8_t state; /* enum rcpt_state */
	uint8_t waits; /* enum demand_waits */
	int64_t next_ms;
};

/* What one attempt at the signer changed, to be committed as a whole. */
struct queue_attempt {
	uint32_t number;
	bool is_suspect;
	struct queue_output *outputs; /* beside those that there are */
	size_t output_count;
	struct queue_served *served;
	size_t served_count;
};
void queue_attempt_free(struct queue_attempt *attempt);

struct queue_message *queue_message_new(uint64_t id, size_t recipient_count);

/* Everybody waits for the signer. */
void queue_message_wait(struct queue_message *message);

/* Is this recipient one that waits for the signer, or for the others? */
bool queue_message_waits(const struct queue_message *message,
    const struct queue_recipient *recipient);

/*
 * next_ms of a recipient whose row is gone, or goes in a job under way, while
 * the message is still in memory for others.
 */
#define QUEUE_NEVER INT64_MAX

/* It is committed: the message is as the attempt made it. */
void queue_message_apply(
    struct queue_message *message, struct queue_attempt *attempt);

/* The output that is this recipient's; NULL: the message as it came. */
const struct queue_output *queue_message_output(
    const struct queue_message *message,
    const struct queue_recipient *recipient);

/* Gives up one reference; the last one frees. */
void queue_message_unref(struct queue_message *message);

/* The recipient with that number, or NULL. */
struct queue_recipient *queue_message_recipient(
    struct queue_message *message, uint32_t number);

/*
 * Counts what it costs in memory in *budget, until it is freed; to be called
 * again when its content came or went.
 */
void queue_message_charge(struct queue_message *message, size_t *budget);

/* Lets the content and outputs go; they are on disk. */
void queue_message_drop_content(struct queue_message *message);

#endif
