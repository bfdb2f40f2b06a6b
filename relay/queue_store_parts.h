/* SPDX-License-Identifier: ISC */
/*
 * What queue_store.c and queue_store_sign.c share.
 */
#ifndef RELAY_QUEUE_STORE_PARTS_H
#define RELAY_QUEUE_STORE_PARTS_H

#include "relay/queue_store.h"

/* Rows that become due in one step; the next step takes the next. */
#define PULL_IN_ROWS 1000
/* Rows that are read in one go for one message. */
#define RECIPIENTS_MAX IPC_RECIPIENTS_MAX

static inline void
bind_string(sqlite3_stmt *stmt, int at, const char *text)
{
	sql_bind_text(stmt, at, slice_of(text));
}

static inline char *
take_string(sqlite3_stmt *stmt, int column)
{
	return slice_dup(sql_text(stmt, column));
}

static inline bool
in_range(int64_t value, int64_t low, int64_t high)
{
	return value >= low && value <= high;
}

/* content: NULL when it is a file. */
int queue_store_insert_output(struct sql *store, uint64_t id, unsigned number,
    enum output_kind kind, uint64_t size, const char *content, struct err *err);

/* The rows of a message that has a protection; within a transaction. */
int queue_store_insert_protection(
    struct sql *store, const struct queue_message *message, struct err *err);

/* Reads it if the flags say that there is one: 1, or -1. */
int queue_store_read_protection(
    struct sql *store, struct queue_message *message, struct err *err);

#endif
