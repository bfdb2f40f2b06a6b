/* SPDX-License-Identifier: ISC */
/*
 * What can be read of a damaged queue.db, row by row: keys are looked for in
 * each table and index, from both ends, and every row is fetched by its key
 * into a sound file.  That one has the schema of the damaged file first; what
 * migrations do, they do there, where all can be read.
 * Runs in: postern-queued --salvage.  Trusts: nothing of the damaged file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "relay/queue_salvage_parts.h"
#include "relay/queue_store.h"

/* ---- the schema ---- */

/* -1: not even its schema can be read. */
static int
number_of(sqlite3 *db, const char *query, const char *value)
{
	sqlite3_stmt *stmt = NULL;
	int number = -1;

	if (sqlite3_prepare_v2(db, query, -1, &stmt, NULL) == SQLITE_OK) {
		(void)sqlite3_bind_text(stmt, 1, value, -1, SQLITE_STATIC);
		if (sqlite3_step(stmt) == SQLITE_ROW)
			number = sqlite3_column_int(stmt, 0);
	}
	(void)sqlite3_finalize(stmt);
	return number;
}

static bool
is_alike(sqlite3 *db, sqlite3 *model)
{
	static const char columns[] =
	    "SELECT count(*) FROM pragma_table_info(?1)";
	sqlite3_stmt *names = NULL;
	bool is_like = true;

	if (sqlite3_prepare_v2(model,
		"SELECT name FROM sqlite_schema WHERE type='table'", -1, &names,
		NULL) != SQLITE_OK)
		fatal("%s", sqlite3_errmsg(model));
	while (is_like && sqlite3_step(names) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(names, 0);

		is_like = number_of(db, columns, name) ==
			  number_of(model, columns, name);
	}
	(void)sqlite3_finalize(names);
	return is_like;
}

/* An empty store of that version, in memory. */
static sqlite3 *
new_model(size_t version)
{
	sqlite3 *model = NULL;

	if (sqlite3_open(":memory:", &model) != SQLITE_OK)
		fatal("no store in memory");
	for (size_t i = 0; i < version; i++)
		if (sqlite3_exec(model, queue_migrations[i], NULL, NULL,
			NULL) != SQLITE_OK)
			fatal("%s", sqlite3_errmsg(model));
	return model;
}

int
salvage_find_version(struct salvage *salvage, struct err *err)
{
	sqlite3 *db = sql_handle(salvage->damaged);
	const int version = number_of(db, "PRAGMA user_version", NULL);
	sqlite3 *model;
	bool is_like;

	/* A newer one was refused when it was opened. */
	if (version < 1 || (size_t)version > QUEUE_SCHEMA_VERSION)
		return err_set(
		    err, "%s/queue.db: there is nothing in it", salvage->dir);
	model = new_model((size_t)version);
	is_like = is_alike(db, model);
	(void)sqlite3_close(model);
	if (!is_like)
		return err_set(err,
		    "%s/queue.db: it says that it has version %d of the "
		    "schema, and its tables are others; it was not touched. "
		    "Restore a backup",
		    salvage->dir, version);
	salvage->version = (size_t)version;
	return 0;
}

/* ---- ids ---- */

#define DUE_ROWS "SELECT msg FROM rcpt INDEXED BY rcpt_due WHERE state=0"

static const char *const id_queries[] = {"SELECT id FROM msg ORDER BY id",
    "SELECT id FROM msg ORDER BY id DESC",
    "SELECT msg FROM output ORDER BY msg",
    "SELECT msg FROM output ORDER BY msg DESC",
    "SELECT msg FROM rcpt ORDER BY msg, number",
    "SELECT msg FROM rcpt ORDER BY msg DESC, number DESC",
    DUE_ROWS " ORDER BY next_ms", DUE_ROWS " ORDER BY next_ms DESC"};

static void
add_id(struct salvage *salvage, uint64_t id)
{
	if (salvage->id_count == salvage->id_room) {
		salvage->id_room = salvage->id_room * 2 + 1024;
		salvage->ids = xrealloc(
		    salvage->ids, salvage->id_room * sizeof(*salvage->ids));
	}
	salvage->ids[salvage->id_count++] = id;
}

static int
compare_ids(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return *left < *right ? -1 : *left > *right;
}

static void
sort_ids(struct salvage *salvage)
{
	size_t count = 0;

	if (salvage->id_count > 0)
		qsort(salvage->ids, salvage->id_count, sizeof(*salvage->ids),
		    compare_ids);
	for (size_t i = 0; i < salvage->id_count; i++)
		if (i == 0 || salvage->ids[i] != salvage->ids[i - 1])
			salvage->ids[count++] = salvage->ids[i];
	salvage->id_count = count;
}

/* Each query goes as far as it can. */
void
salvage_find_ids(struct salvage *salvage)
{
	sqlite3 *db = sql_handle(salvage->damaged);

	for (size_t i = 0; i < sizeof(id_queries) / sizeof(id_queries[0]);
	     i++) {
		sqlite3_stmt *stmt = NULL;

		if (sqlite3_prepare_v2(db, id_queries[i], -1, &stmt, NULL) ==
		    SQLITE_OK)
			while (sqlite3_step(stmt) == SQLITE_ROW)
				add_id(salvage,
				    (uint64_t)sqlite3_column_int64(stmt, 0));
		(void)sqlite3_finalize(stmt);
		sort_ids(salvage);
	}
}

/* ---- rows ---- */

/* Rows by a key; those of output have numbers of their own. */
struct table {
	const char *name;
	const char *select;
};

static const struct table tables[] = {{"msg", "SELECT * FROM msg WHERE id=?1"},
    {"rcpt", "SELECT * FROM rcpt WHERE msg=?1"},
    {"protection", "SELECT * FROM protection WHERE msg=?1"},
    {"demand", "SELECT * FROM demand WHERE msg=?1"}};
static const struct table output_table = {
    "output", "SELECT * FROM output NOT INDEXED WHERE rowid=?1"};

/* Those of no message, as far as each goes; the limit is no key. */
static const struct table whole_tables[] = {
    {"outbox", "SELECT * FROM outbox ORDER BY seq LIMIT ?1"},
    {"outbox", "SELECT * FROM outbox ORDER BY seq DESC LIMIT ?1"},
    {"clock", "SELECT * FROM clock LIMIT ?1"}};

static const char *const bound_queries[] = {
    "SELECT min(rowid), max(rowid) FROM output NOT INDEXED",
    ("SELECT min(rowid), max(rowid) FROM output"
     " INDEXED BY sqlite_autoindex_output_1"),
    "SELECT 1, max(rowid) FROM output NOT INDEXED"};

struct copier {
	sqlite3 *from_db;
	sqlite3 *to_db;
	sqlite3_stmt *from;
	sqlite3_stmt *to;
};

static sqlite3_stmt *
prepare(sqlite3 *db, const char *text)
{
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK)
		fatal("%s: %s", text, sqlite3_errmsg(db));
	return stmt;
}

/* False: that version of the schema does not have it. */
static bool
begin_table(struct copier *copier, const struct table *table)
{
	const int columns = number_of(copier->to_db,
	    "SELECT count(*) FROM pragma_table_info(?1)", table->name);
	struct buf insert;

	if (columns < 1)
		return false;
	buf_init(&insert, 1024);
	(void)buf_addf(
	    &insert, "INSERT OR IGNORE INTO %s VALUES(?", table->name);
	for (int i = 1; i < columns; i++)
		(void)buf_add_text(&insert, ",?");
	(void)buf_add_text(&insert, ")");
	copier->from = prepare(copier->from_db, table->select);
	copier->to = prepare(copier->to_db, buf_text(&insert));
	buf_clear(&insert);
	return true;
}

static void
end_table(struct copier *copier)
{
	(void)sqlite3_finalize(copier->from);
	(void)sqlite3_finalize(copier->to);
}

/* What cannot be read is passed over. */
static void
copy_key(struct copier *copier, int64_t key)
{
	(void)sqlite3_bind_int64(copier->from, 1, key);
	while (sqlite3_step(copier->from) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(copier->from); i++)
			(void)sqlite3_bind_value(copier->to, i + 1,
			    sqlite3_column_value(copier->from, i));
		if (sqlite3_step(copier->to) != SQLITE_DONE)
			fatal("%s: %s", sqlite3_sql(copier->to),
			    sqlite3_errmsg(copier->to_db));
		(void)sqlite3_reset(copier->to);
	}
	(void)sqlite3_reset(copier->from);
}

/* From the first to the last number of an output, as far as one can tell. */
static void
find_bounds(sqlite3 *db, int64_t *first_r, int64_t *last_r)
{
	*first_r = 1;
	*last_r = 0;
	for (size_t i = 0; i < sizeof(bound_queries) / sizeof(bound_queries[0]);
	     i++) {
		sqlite3_stmt *stmt = prepare(db, bound_queries[i]);

		if (sqlite3_step(stmt) == SQLITE_ROW &&
		    sqlite3_column_int64(stmt, 1) > *last_r) {
			*first_r = sqlite3_column_int64(stmt, 0);
			*last_r = sqlite3_column_int64(stmt, 1);
		}
		(void)sqlite3_finalize(stmt);
	}
}

static void
copy_rows(struct salvage *salvage, struct copier *copier)
{
	int64_t first;
	int64_t last;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (!begin_table(copier, &tables[i]))
			continue;
		for (size_t k = 0; k < salvage->id_count; k++)
			copy_key(copier, (int64_t)salvage->ids[k]);
		end_table(copier);
	}
	find_bounds(copier->from_db, &first, &last);
	if (!begin_table(copier, &output_table))
		bug("a schema without output");
	for (int64_t number = first; number <= last; number++)
		copy_key(copier, number);
	end_table(copier);
}

static void
copy_whole_tables(struct copier *copier)
{
	/* The row that a new store has. */
	(void)sqlite3_exec(
	    copier->to_db, "DELETE FROM clock", NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(whole_tables) / sizeof(whole_tables[0]);
	     i++) {
		if (!begin_table(copier, &whole_tables[i]))
			continue;
		copy_key(copier, INT64_MAX);
		end_table(copier);
	}
}

/* Nothing rests on this file: it need not be durable, nor in order. */
int
salvage_fetch_rows(struct salvage *salvage, struct err *err)
{
	struct copier copier = {.from_db = sql_handle(salvage->damaged)};
	char rows[SALVAGE_PATH_SIZE + 32];

	(void)snprintf(rows, sizeof(rows), "%s/rows", salvage->folder);
	if (mkdir(rows, 0700) == -1)
		return err_set(err, "%s: %s", rows, strerror(errno));
	if (queue_store_open_version(
		rows, salvage->version, false, &salvage->rows, err) == -1)
		return -1;
	copier.to_db = sql_handle(salvage->rows);
	(void)sqlite3_exec(copier.to_db,
	    "PRAGMA foreign_keys=OFF; PRAGMA synchronous=OFF", NULL, NULL,
	    NULL);
	if (sql_begin(salvage->rows, err) == -1)
		return -1;
	copy_rows(salvage, &copier);
	copy_whole_tables(&copier);
	if (sql_commit(salvage->rows, err) == -1)
		return -1;
	sql_close(salvage->rows);
	return queue_store_open(rows, false, &salvage->rows, err);
}
