/* SPDX-License-Identifier: ISC */
/*
 * The statements of queue.db behind names.
 * Runs in: postern-queued.  Trusts: nothing read back before it is checked
 * (a row may have been altered; Exim's CVE-2025-26794 chain began there).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/vocabulary.h"
#include "relay/queue_store.h"
#include "relay/queue_store_parts.h"

static int
open_store(const char *state_dir, size_t version, bool is_reader,
    size_t statement_count, struct sql **store_r, struct err *err)
{
	char path[600];
	struct sql_config config = {.path = path,
	    .durability = SQL_DURABLE,
	    .is_reader = is_reader,
	    .page_size = 8192,
	    .has_incremental_vacuum = true,
	    .migrations = queue_migrations,
	    .migration_count = version,
	    .statements = queue_statements,
	    .statement_count = statement_count,
	    .checkpoint_pages = 4000};

	(void)snprintf(path, sizeof(path), "%s/queue.db", state_dir);
	return sql_open(&config, store_r, err);
}

int
queue_store_open(const char *state_dir, bool is_reader, struct sql **store_r,
    struct err *err)
{
	return open_store(
	    state_dir, QUEUE_SCHEMA_VERSION, is_reader, Q_COUNT, store_r, err);
}

int
queue_store_open_version(const char *state_dir, size_t version, bool is_reader,
    struct sql **store_r, struct err *err)
{
	return open_store(state_dir, version, is_reader, 0, store_r, err);
}

/* ---- writing ---- */

static int
insert_recipient(struct sql *store, uint64_t id,
    const struct queue_recipient *recipient, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_INSERT);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, recipient->number);
	sql_bind_i64(stmt, 3, recipient->output);
	bind_string(stmt, 4, recipient->address);
	bind_string(stmt, 5, recipient->domain);
	bind_string(stmt, 6, recipient->original);
	sql_bind_i64(stmt, 7, recipient->notify);
	bind_string(stmt, 8, recipient->orcpt);
	sql_bind_i64(stmt, 9, recipient->state);
	sql_bind_i64(stmt, 10, recipient->next_ms);
	return sql_run(store, stmt, err);
}

int
queue_store_insert_output(struct sql *store, uint64_t id, unsigned number,
    enum output_kind kind, uint64_t size, const char *content, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTPUT_INSERT);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, number);
	sql_bind_i64(stmt, 3, kind);
	sql_bind_i64(stmt, 4, (int64_t)size);
	sql_bind_i64(stmt, 5, content == NULL);
	if (content == NULL)
		sql_bind_null(stmt, 6);
	else
		sql_bind_blob(stmt, 6, (struct slice){content, size});
	return sql_run(store, stmt, err);
}

int
queue_store_insert(
    struct sql *store, const struct queue_message *message, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_MSG_INSERT);

	sql_bind_i64(stmt, 1, (int64_t)message->id);
	sql_bind_i64(stmt, 2, (int64_t)message->session_id);
	sql_bind_i64(stmt, 3, message->created_ms);
	bind_string(stmt, 4, message->sender);
	bind_string(stmt, 5, message->account);
	bind_string(stmt, 6, message->client);
	bind_string(stmt, 7, message->envid);
	sql_bind_i64(stmt, 8, message->ret);
	sql_bind_i64(stmt, 9, message->flags);
	sql_bind_i64(stmt, 10, (int64_t)message->size);
	bind_string(stmt, 11, message->header_message_id);
	sql_bind_i64(stmt, 12, message->events);
	if (sql_run(store, stmt, err) == -1 ||
	    queue_store_insert_output(store, message->id, 0, OUTPUT_SUBMITTED,
		message->size, message->is_file ? NULL : message->content,
		err) == -1)
		return -1;
	if (message->protection != NULL &&
	    queue_store_insert_protection(store, message, err) == -1)
		return -1;
	for (size_t i = 0; i < message->recipient_count; i++)
		if (insert_recipient(
			store, message->id, &message->recipients[i], err) == -1)
			return -1;
	return 0;
}

int
queue_store_delete_recipient(
    struct sql *store, uint64_t id, uint32_t number, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_DELETE);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, number);
	return sql_run(store, stmt, err);
}

int
queue_store_defer(struct sql *store, uint64_t id,
    const struct queue_recipient *recipient, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_DEFER);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, recipient->number);
	sql_bind_i64(stmt, 3, recipient->attempts);
	sql_bind_i64(stmt, 4, recipient->next_ms);
	sql_bind_i64(stmt, 5, recipient->last_ms);
	sql_bind_i64(stmt, 6, recipient->last_code);
	bind_string(stmt, 7, recipient->last_enhanced);
	bind_string(stmt, 8, recipient->last_reply);
	bind_string(stmt, 9, recipient->last_host);
	return sql_run(store, stmt, err);
}

int
queue_store_postpone(struct sql *store, uint64_t id, uint32_t number,
    int64_t next_ms, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_POSTPONE);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, number);
	sql_bind_i64(stmt, 3, next_ms);
	return sql_run(store, stmt, err);
}

int
queue_store_has_recipients(struct sql *store, uint64_t id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_ANY);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)id);
	rc = sql_step(store, stmt, err);
	(void)sqlite3_reset(stmt);
	return rc;
}

int
queue_store_delete(struct sql *store, uint64_t id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTPUT_DELETE);

	sql_bind_i64(stmt, 1, (int64_t)id);
	if (sql_run(store, stmt, err) == -1)
		return -1;
	stmt = sql_use(store, Q_MSG_DELETE);
	sql_bind_i64(stmt, 1, (int64_t)id);
	return sql_run(store, stmt, err);
}

int
queue_store_update(
    struct sql *store, uint64_t id, uint32_t events, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_MSG_EVENTS);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, events);
	return sql_run(store, stmt, err);
}

int
queue_store_set_state(struct sql *store, uint64_t id, enum rcpt_state before,
    enum rcpt_state after, int64_t next_ms, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_SET_STATE);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, before);
	sql_bind_i64(stmt, 3, after);
	sql_bind_i64(stmt, 4, next_ms);
	return sql_run(store, stmt, err);
}

int
queue_store_pull_in(
    struct sql *store, int64_t latest_ms, int64_t now_ms, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_PULL_IN);

	sql_bind_i64(stmt, 1, latest_ms);
	sql_bind_i64(stmt, 2, now_ms);
	sql_bind_i64(stmt, 3, PULL_IN_ROWS);
	if (sql_run(store, stmt, err) == -1)
		return -1;
	return (int)sql_changes(store);
}

/* ---- the clock ---- */

int
queue_store_seen(struct sql *store, int64_t *seen_ms_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_CLOCK_GET);
	int rc = sql_step(store, stmt, err);

	*seen_ms_r = rc == 1 ? sql_i64(stmt, 0) : 0;
	(void)sqlite3_reset(stmt);
	return rc == -1 ? -1 : 0;
}

static int
run_with(struct sql *store, size_t statement, int64_t value, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, statement);

	sql_bind_i64(stmt, 1, value);
	return sql_run(store, stmt, err);
}

int
queue_store_see(struct sql *store, int64_t now_ms, struct err *err)
{
	return run_with(store, Q_CLOCK_SET, now_ms, err);
}

int
queue_store_shift(
    struct sql *store, int64_t gap_ms, int64_t now_ms, struct err *err)
{
	if (sql_begin(store, err) == -1)
		return -1;
	if (run_with(store, Q_CLOCK_MSG, gap_ms, err) == -1 ||
	    run_with(store, Q_CLOCK_RCPT, gap_ms, err) == -1 ||
	    queue_store_see(store, now_ms, err) == -1) {
		sql_rollback(store);
		return -1;
	}
	return sql_commit(store, err);
}

/* ---- outbox ---- */

/* A row is the number of its records, 4 octets, and the records. */
#define OUTBOX_HEAD 4

int
queue_store_outbox_add(struct sql *store, int64_t seq,
    const struct ipc_list_writer *events, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTBOX_INSERT);
	struct buf row;
	uint32_t count = events->count;
	int rc;

	buf_init(&row, OUTBOX_HEAD + events->encoded.n);
	(void)buf_add(&row, &count, OUTBOX_HEAD);
	(void)buf_add(&row, events->encoded.p, events->encoded.n);
	sql_bind_i64(stmt, 1, seq);
	sql_bind_blob(stmt, 2, buf_slice(&row));
	rc = sql_run(store, stmt, err);
	buf_clear(&row);
	return rc;
}

int
queue_store_outbox_remove(struct sql *store, int64_t up_to_seq, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTBOX_DELETE);

	sql_bind_i64(stmt, 1, up_to_seq);
	return sql_run(store, stmt, err);
}

int
queue_store_outbox_next(struct sql *store, int64_t after, int64_t *seq_r,
    struct buf *events_r, uint32_t *count_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTBOX_NEXT);
	struct slice row;
	int rc;

	sql_bind_i64(stmt, 1, after);
	if ((rc = sql_step(store, stmt, err)) != 1)
		return rc;
	*seq_r = sql_i64(stmt, 0);
	row = sql_blob(stmt, 1);
	if (row.n < OUTBOX_HEAD) {
		rc = err_set(
		    err, "outbox row %lld is damaged", (long long)*seq_r);
	} else {
		memcpy(count_r, row.p, OUTBOX_HEAD);
		buf_reset(events_r);
		rc = buf_add(events_r, row.p + OUTBOX_HEAD,
			 row.n - OUTBOX_HEAD) == 0
			 ? 1
			 : err_set(err, "outbox row %lld is too large",
			       (long long)*seq_r);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

int
queue_store_outbox_last(struct sql *store, int64_t *seq_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTBOX_RANGE);

	if (sql_step(store, stmt, err) != 1)
		return -1;
	*seq_r = sql_i64(stmt, 1); /* NULL reads as 0 */
	(void)sqlite3_reset(stmt);
	return 0;
}

/* ---- reading ---- */

static int
read_message_row(struct sql *store, uint64_t id, struct queue_message *message,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_MSG_GET);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)id);
	if ((rc = sql_step(store, stmt, err)) != 1)
		return rc;
	message->session_id = (uint64_t)sql_i64(stmt, 0);
	message->created_ms = sql_i64(stmt, 1);
	message->sender = take_string(stmt, 2);
	message->account = take_string(stmt, 3);
	message->client = take_string(stmt, 4);
	message->envid = take_string(stmt, 5);
	message->header_message_id = take_string(stmt, 9);
	if (!in_range(sql_i64(stmt, 6), 0, DSN_RET_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 7), 0, UINT16_MAX) ||
	    !in_range(sql_i64(stmt, 8), 0, INT64_MAX) ||
	    !in_range(sql_i64(stmt, 10), 0, UINT32_MAX)) {
		rc = err_set(err, "its row in queue.db makes no sense");
	} else {
		message->ret = (uint16_t)sql_i64(stmt, 6);
		message->flags = (uint16_t)sql_i64(stmt, 7);
		message->size = (uint64_t)sql_i64(stmt, 8);
		message->events = (uint32_t)sql_i64(stmt, 10);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

static int
take_recipient(
    sqlite3_stmt *stmt, struct queue_recipient *recipient, struct err *err)
{
	if (!in_range(sql_i64(stmt, 0), 0, UINT32_MAX) ||
	    !in_range(sql_i64(stmt, 1), 0, UINT16_MAX) ||
	    !in_range(sql_i64(stmt, 5), 0, DSN_NOTIFY_ALL) ||
	    !in_range(sql_i64(stmt, 7), 0, RCPT_STATE_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 8), 0, UINT32_MAX) ||
	    !in_range(sql_i64(stmt, 11), 0, 999))
		return err_set(err, "a recipient's row makes no sense");
	recipient->number = (uint32_t)sql_i64(stmt, 0);
	recipient->output = (uint16_t)sql_i64(stmt, 1);
	recipient->address = take_string(stmt, 2);
	recipient->domain = take_string(stmt, 3);
	recipient->original = take_string(stmt, 4);
	recipient->notify = (uint16_t)sql_i64(stmt, 5);
	recipient->orcpt = take_string(stmt, 6);
	recipient->state = (uint8_t)sql_i64(stmt, 7);
	recipient->attempts = (uint32_t)sql_i64(stmt, 8);
	recipient->next_ms = sql_i64(stmt, 9);
	recipient->last_ms = sql_i64(stmt, 10);
	recipient->last_code = (uint16_t)sql_i64(stmt, 11);
	recipient->last_enhanced = take_string(stmt, 12);
	recipient->last_reply = take_string(stmt, 13);
	recipient->last_host = take_string(stmt, 14);
	return 0;
}

static int
read_recipients(
    struct sql *store, struct queue_message *message, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_OF_MSG);
	size_t room = 0;
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)message->id);
	while ((rc = sql_step(store, stmt, err)) == 1) {
		size_t at = message->recipient_count;

		if (at == RECIPIENTS_MAX) {
			rc = err_set(err, "more recipients than allowed");
			break;
		}
		if (at == room) {
			room = room != 0 ? room * 2 : 4;
			message->recipients = xrealloc(message->recipients,
			    room * sizeof(*message->recipients));
		}
		memset(&message->recipients[at], 0,
		    sizeof(message->recipients[at]));
		message->recipient_count++;
		if ((rc = take_recipient(
			 stmt, &message->recipients[at], err)) == -1)
			break;
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* Sizes of output 0 are the message's own. */
static int
read_output_row(
    struct sql *store, struct queue_message *message, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTPUT_GET);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)message->id);
	sql_bind_i64(stmt, 2, 0);
	if ((rc = sql_step(store, stmt, err)) == 1)
		message->is_file = sql_i64(stmt, 1) != 0;
	else if (rc == 0)
		rc = err_set(err, "its content's row is gone");
	(void)sqlite3_reset(stmt);
	return rc;
}

/* All its rows; the store must not change meanwhile. */
static int
read_rows(struct sql *store, struct queue_message *message, struct err *err)
{
	int rc = read_message_row(store, message->id, message, err);

	if (rc != 1)
		return rc;
	if (read_output_row(store, message, err) != 1 ||
	    read_recipients(store, message, err) == -1)
		return -1;
	if (message->recipient_count == 0)
		return err_set(err, "it has no recipients");
	return queue_store_read_protection(store, message, err);
}

int
queue_store_read(struct sql *store, uint64_t id,
    struct queue_message **message_r, struct err *err)
{
	struct queue_message *message;
	int rc;

	*message_r = NULL;
	/* A message that is finished meanwhile is whole, or gone. */
	if (sql_begin_read(store, err) == -1)
		return -1;
	message = queue_message_new(id, 0);
	rc = read_rows(store, message, err);
	sql_rollback(store);
	if (rc == 1)
		*message_r = message;
	else
		queue_message_unref(message);
	return rc;
}

int
queue_store_content(struct sql *store, uint64_t id, uint16_t output,
    size_t limit, struct buf *content_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTPUT_GET);
	int rc = -1;

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, output);
	switch (sql_step(store, stmt, err)) {
	case 1: {
		struct slice content = sql_blob(stmt, 2);

		if (content.n > limit)
			content.n = limit;
		buf_reset(content_r);
		rc = buf_add_slice(content_r, content);
		if (rc == -1)
			(void)err_set(err, "content too large");
		break;
	}
	case 0:
		(void)err_set(err, "no such content");
		break;
	default:
		break;
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

int
queue_store_due(struct sql *store, int64_t now_ms, const struct due_row *after,
    struct due_row *rows, size_t limit, size_t *count_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_DUE);
	size_t count = 0;
	int rc;

	sql_bind_i64(stmt, 1, now_ms);
	sql_bind_i64(stmt, 2, after->next_ms);
	sql_bind_i64(stmt, 3, (int64_t)after->message_id);
	sql_bind_i64(stmt, 4, after->number);
	sql_bind_i64(stmt, 5, (int64_t)limit);
	while ((rc = sql_step(store, stmt, err)) == 1 && count < limit) {
		struct due_row *row = &rows[count];

		row->next_ms = sql_i64(stmt, 0);
		row->message_id = (uint64_t)sql_i64(stmt, 1);
		row->number = (uint32_t)sql_i64(stmt, 2);
		/* A domain that is none is found out with the message. */
		(void)slice_copy(
		    sql_text(stmt, 3), row->domain, sizeof(row->domain));
		count++;
	}
	(void)sqlite3_reset(stmt);
	*count_r = count;
	return rc == -1 ? -1 : 0;
}

int
queue_store_totals(
    struct sql *store, struct queue_totals *totals_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_TOTALS);

	if (sql_step(store, stmt, err) != 1)
		return -1;
	totals_r->messages = sql_i64(stmt, 0);
	totals_r->octets = sql_i64(stmt, 1);
	totals_r->oldest_ms = sql_i64(stmt, 2);
	(void)sqlite3_reset(stmt);
	return 0;
}

bool
queue_store_knows_file(struct sql *store, uint64_t id, unsigned output)
{
	sqlite3_stmt *stmt = sql_use(store, Q_FILE_KNOWN);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, output);
	rc = sql_step(store, stmt, NULL);
	(void)sqlite3_reset(stmt);
	return rc != 0; /* a failed look is no reason to remove mail */
}
