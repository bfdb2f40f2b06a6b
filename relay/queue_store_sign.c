/* SPDX-License-Identifier: ISC */
/*
 * Rows of queue.db about what has to be signed, encrypted or opened, and what
 * was.
 * Runs in: postern-queued.  Trusts: nothing read back before it is checked.
 */
#include <stdlib.h>

#include "common/vocabulary.h"
#include "relay/queue_store_parts.h"

/* ---- writing ---- */

static int
insert_demands(
    struct sql *store, const struct queue_message *message, struct err *err)
{
	const struct queue_protection *protection = message->protection;

	for (size_t i = 0; i < protection->demand_count; i++) {
		const struct queue_demand *demand = &protection->demands[i];
		sqlite3_stmt *stmt = sql_use(store, Q_DEMAND_INSERT);

		sql_bind_i64(stmt, 1, (int64_t)message->id);
		sql_bind_i64(stmt, 2, demand->number);
		sql_bind_i64(stmt, 3, demand->sign);
		sql_bind_i64(stmt, 4, demand->encrypt);
		sql_bind_i64(stmt, 5, demand->method);
		sql_bind_i64(stmt, 6, demand->min_trust);
		sql_bind_i64(stmt, 7, demand->options);
		sql_bind_i64(stmt, 8, demand->applied);
		sql_bind_i64(stmt, 9, demand->waits);
		if (sql_run(store, stmt, err) == -1)
			return -1;
	}
	return 0;
}

static int
insert_outputs(struct sql *store, uint64_t id,
    const struct queue_output *outputs, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct queue_output *output = &outputs[i];

		if (queue_store_insert_output(store, id, output->number,
			output->is_8bit ? OUTPUT_SIGNER_8BIT : OUTPUT_SIGNER,
			output->size, output->is_file ? NULL : output->content,
			err) == -1)
			return -1;
	}
	return 0;
}

int
queue_store_insert_protection(
    struct sql *store, const struct queue_message *message, struct err *err)
{
	const struct queue_protection *protection = message->protection;
	sqlite3_stmt *stmt = sql_use(store, Q_PROTECTION_INSERT);

	sql_bind_i64(stmt, 1, (int64_t)message->id);
	sql_bind_i64(stmt, 2, protection->direction);
	sql_bind_i64(stmt, 3, protection->dkim);
	sql_bind_i64(stmt, 4, (message->flags & MSG_FLAG_WAIT_SIGN) != 0);
	sql_bind_i64(stmt, 5, protection->attempts);
	bind_string(stmt, 6, protection->header_from);
	bind_string(stmt, 7, protection->removals);
	if (sql_run(store, stmt, err) == -1 ||
	    insert_demands(store, message, err) == -1)
		return -1;
	return insert_outputs(store, message->id, protection->outputs,
	    protection->output_count, err);
}

int
queue_store_delete_protection(struct sql *store, uint64_t id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_DEMAND_DELETE);

	sql_bind_i64(stmt, 1, (int64_t)id);
	if (sql_run(store, stmt, err) == -1)
		return -1;
	stmt = sql_use(store, Q_PROTECTION_DELETE);
	sql_bind_i64(stmt, 1, (int64_t)id);
	return sql_run(store, stmt, err);
}

/* Is there a row: 1, 0, -1 failed. */
static int
has_row(struct sql *store, sqlite3_stmt *stmt, struct err *err)
{
	int rc = sql_step(store, stmt, err);

	(void)sqlite3_reset(stmt);
	return rc;
}

int
queue_store_waits(
    struct sql *store, uint64_t id, uint32_t number, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_RCPT_WAITS);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, number);
	return has_row(store, stmt, err);
}

static int
update_served(struct sql *store, uint64_t id, const struct queue_served *served,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_DEMAND_APPLIED);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, served->number);
	sql_bind_i64(stmt, 3, served->applied);
	sql_bind_i64(stmt, 4, served->waits);
	if (sql_run(store, stmt, err) == -1)
		return -1;
	stmt = sql_use(store, Q_RCPT_OUTPUT);
	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, served->number);
	sql_bind_i64(stmt, 3, served->output);
	sql_bind_i64(stmt, 4, served->state);
	sql_bind_i64(stmt, 5, served->next_ms);
	return sql_run(store, stmt, err);
}

int
queue_store_served(struct sql *store, uint64_t id,
    const struct queue_attempt *attempt, struct err *err)
{
	if (insert_outputs(
		store, id, attempt->outputs, attempt->output_count, err) == -1)
		return -1;
	for (size_t i = 0; i < attempt->served_count; i++)
		if (update_served(store, id, &attempt->served[i], err) == -1)
			return -1;
	return 0;
}

int
queue_store_attempt(struct sql *store, uint64_t id,
    const struct queue_attempt *attempt, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_MSG_WAITS);
	int waits;

	sql_bind_i64(stmt, 1, (int64_t)id);
	if ((waits = has_row(store, stmt, err)) == -1)
		return -1;
	if (waits == 0) {
		stmt = sql_use(store, Q_MSG_SIGNED);
		sql_bind_i64(stmt, 1, (int64_t)id);
		if (sql_run(store, stmt, err) == -1)
			return -1;
	}
	stmt = sql_use(store, Q_PROTECTION_ATTEMPT);
	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, attempt->number);
	sql_bind_i64(stmt, 3,
	    waits == 0            ? PROTECTION_DONE
	    : attempt->is_suspect ? PROTECTION_SUSPECT
				  : PROTECTION_WAITS);
	return sql_run(store, stmt, err);
}

int
queue_store_attempt_number(
    struct sql *store, uint64_t id, uint32_t number, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_PROTECTION_NUMBER);

	sql_bind_i64(stmt, 1, (int64_t)id);
	sql_bind_i64(stmt, 2, number);
	return sql_run(store, stmt, err);
}

int
queue_store_sign_pull_in(struct sql *store, int64_t now_ms, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_SIGN_PULL_IN);

	sql_bind_i64(stmt, 1, now_ms);
	sql_bind_i64(stmt, 2, PULL_IN_ROWS);
	if (sql_run(store, stmt, err) == -1)
		return -1;
	return (int)sql_changes(store);
}

/* ---- reading ---- */

static int
read_protection_row(struct sql *store, uint64_t id,
    struct queue_protection *protection, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_PROTECTION_GET);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)id);
	if ((rc = sql_step(store, stmt, err)) != 1) {
		/* Without it nobody knows what must not leave unprotected. */
		if (rc == 0)
			rc = err_set(err, "its row in protection is gone");
		return rc;
	}
	if (!in_range(sql_i64(stmt, 0), 0, DIRECTION_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 1), 0, DKIM_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 2), 0, UINT32_MAX) ||
	    !in_range(sql_i64(stmt, 5), 0, PROTECTION_WAITS_COUNT - 1)) {
		rc = err_set(err, "its row in protection makes no sense");
	} else {
		protection->direction = (uint8_t)sql_i64(stmt, 0);
		protection->dkim = (uint8_t)sql_i64(stmt, 1);
		protection->attempts = (uint32_t)sql_i64(stmt, 2);
		protection->is_suspect = sql_i64(stmt, 5) == PROTECTION_SUSPECT;
		protection->header_from = take_string(stmt, 3);
		protection->removals = take_string(stmt, 4);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

static int
take_demand(sqlite3_stmt *stmt, struct queue_demand *demand, struct err *err)
{
	if (!in_range(sql_i64(stmt, 0), 0, UINT32_MAX) ||
	    !in_range(sql_i64(stmt, 1), 0, SIGN_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 2), 0, ENCRYPT_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 3), 0, METHOD_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 4), 0, UINT8_MAX) ||
	    !in_range(sql_i64(stmt, 5), 0, PROTECT_OPTION_ALL) ||
	    !in_range(sql_i64(stmt, 6), 0, APPLIED_ALL | QUEUE_WAIVED) ||
	    !in_range(sql_i64(stmt, 7), 0, DEMAND_WAITS_COUNT - 1))
		return err_set(err, "a row of demand makes no sense");
	*demand = (struct queue_demand){.number = (uint32_t)sql_i64(stmt, 0),
	    .sign = (uint8_t)sql_i64(stmt, 1),
	    .encrypt = (uint8_t)sql_i64(stmt, 2),
	    .method = (uint8_t)sql_i64(stmt, 3),
	    .min_trust = (uint8_t)sql_i64(stmt, 4),
	    .options = (uint16_t)sql_i64(stmt, 5),
	    .applied = (uint16_t)sql_i64(stmt, 6),
	    .waits = (uint8_t)sql_i64(stmt, 7)};
	return 0;
}

static int
read_demands(struct sql *store, uint64_t id,
    struct queue_protection *protection, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_DEMAND_OF_MSG);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)id);
	while ((rc = sql_step(store, stmt, err)) == 1) {
		size_t at = protection->demand_count;

		if (at == RECIPIENTS_MAX) {
			rc = err_set(err, "more demands than allowed");
			break;
		}
		protection->demands = xrealloc(protection->demands,
		    (at + 1) * sizeof(*protection->demands));
		if ((rc = take_demand(stmt, &protection->demands[at], err)) ==
		    -1)
			break;
		protection->demand_count++;
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

static int
take_output(sqlite3_stmt *stmt, struct queue_output *output, struct err *err)
{
	if (!in_range(sql_i64(stmt, 0), 1, UINT16_MAX) ||
	    !in_range(sql_i64(stmt, 1), OUTPUT_SIGNER, OUTPUT_KIND_COUNT - 1) ||
	    !in_range(sql_i64(stmt, 2), 0, INT64_MAX))
		return err_set(err, "an output's row makes no sense");
	*output = (struct queue_output){.number = (uint16_t)sql_i64(stmt, 0),
	    .is_8bit = sql_i64(stmt, 1) == OUTPUT_SIGNER_8BIT,
	    .size = (uint64_t)sql_i64(stmt, 2),
	    .is_file = sql_i64(stmt, 3) != 0};
	return 0;
}

static int
read_outputs(struct sql *store, uint64_t id,
    struct queue_protection *protection, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store, Q_OUTPUTS_OF_MSG);
	int rc;

	sql_bind_i64(stmt, 1, (int64_t)id);
	while ((rc = sql_step(store, stmt, err)) == 1) {
		size_t at = protection->output_count;

		protection->outputs = xrealloc(protection->outputs,
		    (at + 1) * sizeof(*protection->outputs));
		if ((rc = take_output(stmt, &protection->outputs[at], err)) ==
		    -1)
			break;
		protection->output_count++;
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* Each recipient has a demand and, unless he waits, the output he is to get. */
static int
check_protection(struct queue_message *message, struct err *err)
{
	const struct queue_protection *protection = message->protection;

	for (size_t i = 0; i < message->recipient_count; i++) {
		const struct queue_recipient *recipient =
		    &message->recipients[i];

		if (queue_protection_demand(protection, recipient->number) ==
		    NULL)
			return err_set(err, "a recipient has no demand");
		if (recipient->output != 0 &&
		    queue_message_output(message, recipient) == NULL)
			return err_set(err, "a recipient's output is gone");
		/* The flag is for those who look for what waits. */
		if (queue_message_waits(message, recipient))
			message->flags |= MSG_FLAG_WAIT_SIGN;
	}
	return 1;
}

int
queue_store_read_protection(
    struct sql *store, struct queue_message *message, struct err *err)
{
	struct queue_protection *protection;

	if ((message->flags & MSG_FLAG_DEMAND) == 0)
		return 1;
	message->protection = protection = queue_protection_new(0);
	if (read_protection_row(store, message->id, protection, err) != 1 ||
	    read_demands(store, message->id, protection, err) == -1 ||
	    read_outputs(store, message->id, protection, err) == -1)
		return -1;
	return check_protection(message, err);
}
