/* SPDX-License-Identifier: ISC */
/*
 * queue.db: what each step of the queue writes, and what is read back.  Every
 * function but queue_store_open belongs to the thread that owns the struct.
 */
#ifndef RELAY_QUEUE_STORE_H
#define RELAY_QUEUE_STORE_H

#include "common/ipc.h"
#include "common/sql.h"
#include "relay/queue_message.h"

/* The writer's (durable) or a reader's connection. */
int queue_store_open(const char *state_dir, bool is_reader,
    struct sql **store_r, struct err *err);

/* The version of the schema that this program has. */
#define QUEUE_SCHEMA_VERSION \
	(sizeof(queue_migrations) / sizeof(queue_migrations[0]))

/*
 * Without statements, so that it may be of an older version; a new file, of
 * the writer, gets that one.
 */
int queue_store_open_version(const char *state_dir, size_t version,
    bool is_reader, struct sql **store_r, struct err *err);

/* The message's rows; within a transaction.  The id must be new. */
int queue_store_insert(
    struct sql *store, const struct queue_message *message, struct err *err);

/* One recipient's row is done with, or its attempt is noted. */
int queue_store_delete_recipient(
    struct sql *store, uint64_t id, uint32_t number, struct err *err);
int queue_store_defer(struct sql *store, uint64_t id,
    const struct queue_recipient *recipient, struct err *err);
int queue_store_postpone(struct sql *store, uint64_t id, uint32_t number,
    int64_t next_ms, struct err *err);

/* 1: a recipient is left; 0: none; -1 failed. */
int queue_store_has_recipients(struct sql *store, uint64_t id, struct err *err);
int queue_store_delete(struct sql *store, uint64_t id, struct err *err);
int queue_store_update(
    struct sql *store, uint64_t id, uint32_t events, struct err *err);

/* For those of its recipients that are in the state before. */
int queue_store_set_state(struct sql *store, uint64_t id,
    enum rcpt_state before, enum rcpt_state after, int64_t next_ms,
    struct err *err);

/* ---- what the signer has to do, or did ---- */

int queue_store_delete_protection(
    struct sql *store, uint64_t id, struct err *err);
/*
 * 1: that recipient still waits, as the attempt found him; 0: he is held by an
 * administrator, or gone; -1 failed.
 */
int queue_store_waits(
    struct sql *store, uint64_t id, uint32_t number, struct err *err);

/* What the attempt made, and for whom. */
int queue_store_served(struct sql *store, uint64_t id,
    const struct queue_attempt *attempt, struct err *err);

/* That there was an attempt with that number, of which nothing came. */
int queue_store_attempt_number(
    struct sql *store, uint64_t id, uint32_t number, struct err *err);

/*
 * That there was this attempt, and whether somebody goes on to wait; after
 * all that it changed was written.
 */
int queue_store_attempt(struct sql *store, uint64_t id,
    const struct queue_attempt *attempt, struct err *err);

/*
 * Some recipients of messages that wait for the signer become due at now_ms;
 * how many they were, 0: there are no more.  Not those over which it ended.
 */
int queue_store_sign_pull_in(
    struct sql *store, int64_t now_ms, struct err *err);

/*
 * Some recipients that are due after latest_ms become due at now_ms; how many
 * they were, 0: there are no more.
 */
int queue_store_pull_in(
    struct sql *store, int64_t latest_ms, int64_t now_ms, struct err *err);

/* The time that the queue saw last, 0: never; -1 failed. */
int queue_store_seen(struct sql *store, int64_t *seen_ms_r, struct err *err);
int queue_store_see(struct sql *store, int64_t now_ms, struct err *err);

/*
 * The clock is gap_ms ahead of where the queue saw it last (or behind): what
 * is known of the past moves along.  A transaction of its own.
 */
int queue_store_shift(
    struct sql *store, int64_t gap_ms, int64_t now_ms, struct err *err);

/* Outbox rows: life records as one encoded list each. */
int queue_store_outbox_add(struct sql *store, int64_t seq,
    const struct ipc_list_writer *events, struct err *err);
int queue_store_outbox_remove(
    struct sql *store, int64_t up_to_seq, struct err *err);
/* The row after that seq: 1 there is one, 0 none, -1 failed. */
int queue_store_outbox_next(struct sql *store, int64_t after, int64_t *seq_r,
    struct buf *events_r, uint32_t *count_r, struct err *err);
int queue_store_outbox_last(struct sql *store, int64_t *seq_r, struct err *err);

/*
 * The message with all its waiting and held recipients, without content.  1,
 * 0 when there is no such message, -1 failed or its rows make no sense.
 */
int queue_store_read(struct sql *store, uint64_t id,
    struct queue_message **message_r, struct err *err);

/* Content of an output that is not a file: up to limit octets of it. */
int queue_store_content(struct sql *store, uint64_t id, uint16_t output,
    size_t limit, struct buf *content_r, struct err *err);

struct due_row {
	int64_t next_ms;
	uint64_t message_id;
	uint32_t number;
	char domain[256];
};

/*
 * Due recipients in order after *after (zero: from the start), at most limit;
 * count_r of them.
 */
int queue_store_due(struct sql *store, int64_t now_ms,
    const struct due_row *after, struct due_row *rows, size_t limit,
    size_t *count_r, struct err *err);

struct queue_totals {
	int64_t messages;
	int64_t octets;
	int64_t oldest_ms; /* 0: the queue is empty */
};
int queue_store_totals(
    struct sql *store, struct queue_totals *totals_r, struct err *err);

bool queue_store_knows_file(struct sql *store, uint64_t id, unsigned output);

#endif
