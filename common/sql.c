/* SPDX-License-Identifier: ISC */
/*
 * SQLite behind one small door.
 * Runs in: queued, authd, checkd, confd, loghub.  Trusts: the owner's
 * statement table; what it reads back is checked again by the owner.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sql.h"

/* Between a writer and its readers; never long. */
#define BUSY_TIMEOUT_MS 5000
#define DEFAULT_PAGE_SIZE 4096
#define DEFAULT_CHECKPOINT_PAGES 1000
/* A WAL that grew in a burst is cut back to this. */
#define JOURNAL_SIZE_LIMIT (64 * 1024 * 1024)

struct sql {
	sqlite3 *db;
	char *path;
	sqlite3_stmt **statements;
	size_t statement_count;
	int last_failure; /* extended result code */
	bool is_full;     /* it was for want of space */
	int checkpoint_pages;
};

/*
 * The end of a quota is as harmless as that of a disk: what was to be written
 * is not there, and that is all.  SQLite itself knows ENOSPC alone, and not
 * everywhere.  A failed sync is another matter, whatever it says.
 */
static bool
is_out_of_space(int code)
{
	if ((code & 0xff) == SQLITE_FULL)
		return true;
	/* sqlite3_system_errno() is not set where a COMMIT fails. */
	return (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMSIZE) &&
	       (errno == EDQUOT || errno == ENOSPC);
}

static bool
is_damage(int code)
{
	return (code & 0xff) == SQLITE_CORRUPT ||
	       (code & 0xff) == SQLITE_NOTADB;
}

static int
failed(struct sql *sql, const char *what, struct err *err)
{
	sql->last_failure = sqlite3_extended_errcode(sql->db);
	sql->is_full = is_out_of_space(sql->last_failure);
	return err_set(err, "%s: %s: %s%s", sql->path, what,
	    sqlite3_errmsg(sql->db),
	    is_damage(sql->last_failure)
		? "; see SALVAGE in the manual page of its program"
		: "");
}

static int
run_text(struct sql *sql, const char *text, struct err *err)
{
	if (sqlite3_exec(sql->db, text, NULL, NULL, NULL) != SQLITE_OK)
		return failed(sql, text, err);
	return 0;
}

/* The value of a pragma that gives one number. */
static int
read_number(
    struct sql *sql, const char *text, int64_t *value_r, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = -1;

	if (sqlite3_prepare_v2(sql->db, text, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW) {
		(void)failed(sql, text, err);
		goto out;
	}
	*value_r = sqlite3_column_int64(stmt, 0);
	rc = 0;
out:
	(void)sqlite3_finalize(stmt);
	return rc;
}

/*
 * SQLite's own checkpoints swallow a failed sync and try it again, after which
 * the kernel may call pages clean that never reached the disk.
 */
static int
on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	const struct sql *sql = arg;
	int rc;

	if (pages < sql->checkpoint_pages)
		return SQLITE_OK;
	rc = sqlite3_wal_checkpoint_v2(
	    db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if ((rc & 0xff) == SQLITE_IOERR && !is_out_of_space(rc))
		fatal("%s: checkpoint: %s", sql->path, sqlite3_errmsg(db));
	return SQLITE_OK;
}

/* auto_vacuum and page_size only take effect before the first table. */
static int
set_pragmas(struct sql *sql, const struct sql_config *config, struct err *err)
{
	char text[256];

	if (!config->is_reader) {
		(void)snprintf(text, sizeof(text),
		    "PRAGMA page_size=%d; PRAGMA auto_vacuum=%s;"
		    "PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=%d",
		    config->page_size != 0 ? config->page_size
					   : DEFAULT_PAGE_SIZE,
		    config->has_incremental_vacuum ? "INCREMENTAL" : "NONE",
		    JOURNAL_SIZE_LIMIT);
		if (run_text(sql, text, err) == -1)
			return -1;
		sql->checkpoint_pages = config->checkpoint_pages != 0
					    ? config->checkpoint_pages
					    : DEFAULT_CHECKPOINT_PAGES;
		(void)sqlite3_wal_hook(sql->db, on_commit, sql);
	}
	return run_text(sql,
	    config->durability == SQL_DURABLE
		? "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"
		: "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON",
	    err);
}

static int
migrate(struct sql *sql, const struct sql_config *config, struct err *err)
{
	int64_t version;
	char text[64];

	if (read_number(sql, "PRAGMA user_version", &version, err) == -1)
		return -1;
	if ((uint64_t)version == config->migration_count || config->is_reader)
		return 0;
	if (sql_begin(sql, err) == -1)
		return -1;
	for (size_t i = (size_t)version; i < config->migration_count; i++)
		if (run_text(sql, config->migrations[i], err) == -1) {
			sql_rollback(sql);
			return -1;
		}
	(void)snprintf(text, sizeof(text), "PRAGMA user_version=%zu",
	    config->migration_count);
	if (run_text(sql, text, err) == -1) {
		sql_rollback(sql);
		return -1;
	}
	return sql_commit(sql, err);
}

static int
prepare_all(struct sql *sql, const struct sql_config *config, struct err *err)
{
	sql->statements =
	    xcalloc(config->statement_count, sizeof(*sql->statements));
	sql->statement_count = config->statement_count;
	for (size_t i = 0; i < config->statement_count; i++)
		if (config->statements[i] != NULL &&
		    sqlite3_prepare_v3(sql->db, config->statements[i], -1,
			SQLITE_PREPARE_PERSISTENT, &sql->statements[i],
			NULL) != SQLITE_OK)
			return failed(sql, config->statements[i], err);
	return 0;
}

/* The file cannot be read: what is it, and what is to be done? */
static int
refuse_unreadable(struct sql *sql, const char *reason, struct err *err)
{
	switch (sqlite3_errcode(sql->db) & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(err,
		    "%s: damaged, or not a database; it was not touched. "
		    "Restore a backup, or salvage it (%s)",
		    sql->path, reason);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err,
		    "%s: another program has locked it; \"fuser %s\" says "
		    "which. It was not touched (%s)",
		    sql->path, sql->path, reason);
	default:
		return err_set(err,
		    "%s: it cannot be used now; see what the system says of "
		    "its disk, and of the owner and mode of the file and its "
		    "folder (%s)",
		    sql->path, reason);
	}
}

/*
 * A file that is no database of ours, or a newer one, must not be written to:
 * this comes before the pragmas, of which some write.
 */
static int
refuse_foreign(
    struct sql *sql, const struct sql_config *config, struct err *err)
{
	int64_t tables;
	int64_t version;
	struct err inner;

	if (read_number(sql, "SELECT count(*) FROM sqlite_schema", &tables,
		&inner) == -1 ||
	    read_number(sql, "PRAGMA user_version", &version, &inner) == -1)
		return refuse_unreadable(sql, inner.text, err);
	if (version == 0 && tables != 0)
		return err_set(err,
		    "%s: a database, but not one of Postern's; it was not "
		    "touched",
		    sql->path);
	if (version < 0 || (uint64_t)version > config->migration_count)
		return err_set(err,
		    "%s: made by a newer version of Postern (schema %lld, this "
		    "program knows %zu); it was not touched. Install that "
		    "version again, or restore a backup",
		    sql->path, (long long)version, config->migration_count);
	return 0;
}

int
sql_open(const struct sql_config *config, struct sql **sql_r, struct err *err)
{
	struct sql *sql = xcalloc(1, sizeof(*sql));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
		    SQLITE_OPEN_NOFOLLOW |
		    (config->is_reader ? 0 : SQLITE_OPEN_CREATE);

	sql->path = xstrdup(config->path);
	if (sqlite3_open_v2(config->path, &sql->db, flags, NULL) != SQLITE_OK) {
		(void)failed(sql, "open", err);
		goto fail;
	}
	(void)sqlite3_extended_result_codes(sql->db, 1);
	(void)sqlite3_busy_timeout(sql->db, BUSY_TIMEOUT_MS);
	if (refuse_foreign(sql, config, err) == -1 ||
	    set_pragmas(sql, config, err) == -1 ||
	    migrate(sql, config, err) == -1 ||
	    prepare_all(sql, config, err) == -1)
		goto fail;
	*sql_r = sql;
	return 0;
fail:
	sql_close(sql);
	*sql_r = NULL;
	return -1;
}

void
sql_close(struct sql *sql)
{
	if (sql == NULL)
		return;
	for (size_t i = 0; i < sql->statement_count; i++)
		(void)sqlite3_finalize(sql->statements[i]);
	(void)sqlite3_close(sql->db);
	free(sql->statements);
	free(sql->path);
	free(sql);
}

sqlite3_stmt *
sql_use(struct sql *sql, size_t statement)
{
	sqlite3_stmt *stmt;

	if (statement >= sql->statement_count ||
	    (stmt = sql->statements[statement]) == NULL)
		bug("%s: no statement %zu", sql->path, statement);
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	return stmt;
}

/* A bind only fails on a wrong number, or without memory. */
static void
bound(sqlite3_stmt *stmt, int rc)
{
	if (rc == SQLITE_NOMEM)
		fatal("out of memory in SQLite");
	if (rc != SQLITE_OK)
		bug("binding %s: %s", sqlite3_sql(stmt), sqlite3_errstr(rc));
}

void
sql_bind_i64(sqlite3_stmt *stmt, int at, int64_t value)
{
	bound(stmt, sqlite3_bind_int64(stmt, at, value));
}

/* An empty slice may point nowhere, which SQLite would take as NULL. */
void
sql_bind_text(sqlite3_stmt *stmt, int at, struct slice text)
{
	bound(stmt, sqlite3_bind_text64(stmt, at, text.p != NULL ? text.p : "",
			text.n, SQLITE_STATIC, SQLITE_UTF8));
}

void
sql_bind_blob(sqlite3_stmt *stmt, int at, struct slice blob)
{
	bound(stmt, sqlite3_bind_blob64(stmt, at, blob.p != NULL ? blob.p : "",
			blob.n, SQLITE_STATIC));
}

void
sql_bind_null(sqlite3_stmt *stmt, int at)
{
	bound(stmt, sqlite3_bind_null(stmt, at));
}

int
sql_step(struct sql *sql, sqlite3_stmt *stmt, struct err *err)
{
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		(void)sqlite3_reset(stmt);
		return 0;
	default:
		(void)failed(sql, sqlite3_sql(stmt), err);
		(void)sqlite3_reset(stmt);
		return -1;
	}
}

int
sql_run(struct sql *sql, sqlite3_stmt *stmt, struct err *err)
{
	int rc = sql_step(sql, stmt, err);

	if (rc == 1)
		bug("%s returned a row", sqlite3_sql(stmt));
	return rc;
}

int64_t
sql_i64(sqlite3_stmt *stmt, int column)
{
	return sqlite3_column_int64(stmt, column);
}

struct slice
sql_text(sqlite3_stmt *stmt, int column)
{
	const char *p = (const char *)sqlite3_column_text(stmt, column);

	return (struct slice){
	    p, p == NULL ? 0 : (size_t)sqlite3_column_bytes(stmt, column)};
}

struct slice
sql_blob(sqlite3_stmt *stmt, int column)
{
	const char *p = sqlite3_column_blob(stmt, column);

	return (struct slice){
	    p, p == NULL ? 0 : (size_t)sqlite3_column_bytes(stmt, column)};
}

int
sql_begin(struct sql *sql, struct err *err)
{
	return run_text(sql, "BEGIN IMMEDIATE", err);
}

int
sql_begin_read(struct sql *sql, struct err *err)
{
	return run_text(sql, "BEGIN", err);
}

int
sql_commit(struct sql *sql, struct err *err)
{
	if (run_text(sql, "COMMIT", err) == -1) {
		sql_rollback(sql);
		return -1;
	}
	return 0;
}

void
sql_rollback(struct sql *sql)
{
	if (sqlite3_get_autocommit(sql->db) == 0)
		(void)sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
}

int64_t
sql_changes(const struct sql *sql)
{
	return sqlite3_changes64(sql->db);
}

int64_t
sql_last_rowid(const struct sql *sql)
{
	return sqlite3_last_insert_rowid(sql->db);
}

sqlite3 *
sql_handle(struct sql *sql)
{
	return sql->db;
}

bool
sql_is_full(const struct sql *sql)
{
	return sql->is_full;
}

bool
sql_is_broken(const struct sql *sql)
{
	return is_damage(sql->last_failure) ||
	       ((sql->last_failure & 0xff) == SQLITE_IOERR && !sql->is_full);
}

int
sql_lock_directory(const char *path, struct err *err)
{
	char name[4096];
	int fd;

	(void)snprintf(name, sizeof(name), "%s/.lock", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return err_set(err, "%s: %s", name, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		int rc =
		    errno == EWOULDBLOCK
			? err_set(err,
			      "%s: in use by another process of this program",
			      path)
			: err_set(err, "%s: %s", name, strerror(errno));

		(void)close(fd);
		return rc;
	}
	/* fd stays open: the lock lasts as long as the process. */
	/* cppcheck-suppress resourceLeak */
	return 0;
}

void
sql_vacuum_some(struct sql *sql, int count)
{
	char text[64];
	int rc;

	(void)snprintf(
	    text, sizeof(text), "PRAGMA incremental_vacuum(%d)", count);
	rc = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
	/* Without it the file stays large; but see on_commit(). */
	if ((rc & 0xff) == SQLITE_IOERR && !is_out_of_space(rc))
		fatal("%s: %s", sql->path, sqlite3_errmsg(sql->db));
}
