/* SPDX-License-Identifier: ISC */
/*
 * SQLite as every owner of a store uses it: one table of statements,
 * prepared when the file is opened, values bound and never printed into
 * text, forward migrations by PRAGMA user_version in one transaction (DESIGN
 * §3, GUIDE §10).
 */
#ifndef COMMON_SQL_H
#define COMMON_SQL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct sql;

enum sql_durability {
	SQL_DURABLE, /* synchronous=FULL: a commit survives a power cut */
	SQL_CACHE    /* synchronous=NORMAL: may lose the last commits */
};

struct sql_config {
	const char *path;
	enum sql_durability durability;
	bool is_reader; /* a second connection that only reads */
	int page_size;  /* 0: 4096; takes effect on a new file */
	bool has_incremental_vacuum;
	/* Migration i takes the schema from version i to i + 1. */
	const char *const *migrations;
	size_t migration_count;
	/* SQL texts by the owner's enum; all prepared at open. */
	const char *const *statements;
	size_t statement_count;
	int checkpoint_pages; /* 0: 1000 */
};

/*
 * Opens or creates; WAL mode, foreign keys on, busy timeout.  Refuses, with
 * the file's name and what to do, a database that is damaged, of a newer
 * version, or not one of ours; such a file is not written to.
 */
int sql_open(const struct sql_config *config, struct sql **sql_r,
    struct err *err);
void sql_close(struct sql *sql);

/* The statement, reset and with no values bound. */
sqlite3_stmt *sql_use(struct sql *sql, size_t statement);

/* Values are numbered from 1.  Text and blobs must live until the step. */
void sql_bind_i64(sqlite3_stmt *stmt, int at, int64_t value);
void sql_bind_text(sqlite3_stmt *stmt, int at, struct slice text);
void sql_bind_blob(sqlite3_stmt *stmt, int at, struct slice blob);
void sql_bind_null(sqlite3_stmt *stmt, int at);

/* 1 a row, 0 done, -1 failed (err; sql_is_full(), sql_is_broken()). */
int sql_step(struct sql *sql, sqlite3_stmt *stmt, struct err *err);

/* Step of a statement that returns no row; 0 or -1. */
int sql_run(struct sql *sql, sqlite3_stmt *stmt, struct err *err);

/* Columns from 0; slices are good until the next step or reset. */
int64_t sql_i64(sqlite3_stmt *stmt, int column);
struct slice sql_text(sqlite3_stmt *stmt, int column);
struct slice sql_blob(sqlite3_stmt *stmt, int column);

int sql_begin(struct sql *sql, struct err *err); /* BEGIN IMMEDIATE */
/* What is read until sql_rollback() is of one moment. */
int sql_begin_read(struct sql *sql, struct err *err);
int sql_commit(struct sql *sql, struct err *err);
void sql_rollback(struct sql *sql); /* no harm when none is open */

int64_t sql_changes(const struct sql *sql); /* rows of the last statement */
int64_t sql_last_rowid(const struct sql *sql);
sqlite3 *sql_handle(struct sql *sql);

/* What the last failure was: no space; or an I/O error or damage. */
bool sql_is_full(const struct sql *sql);
bool sql_is_broken(const struct sql *sql);

/* An exclusive lock on a store's directory, held until the process ends. */
int sql_lock_directory(const char *path, struct err *err);

/* Frees pages of the incremental vacuum, up to count. */
void sql_vacuum_some(struct sql *sql, int count);

#endif
