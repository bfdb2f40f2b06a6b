/* SPDX-License-Identifier: ISC */
/*
 * The configuration's database.
 * Runs in: postern-confd, its only user.  Trusts: nothing of what is read
 * back: items are checked again by those who use them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/sql.h"
#include "control/config_store.h"

static const char *const migrations[] = {
    "CREATE TABLE item("
    " kind INTEGER NOT NULL,"
    " key TEXT NOT NULL,"
    " value TEXT NOT NULL,"
    " PRIMARY KEY(kind, key)) WITHOUT ROWID;"
    "CREATE TABLE revision("
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"
    " time INTEGER NOT NULL,"
    " actor TEXT NOT NULL,"
    " note TEXT NOT NULL);"
    "CREATE TABLE change("
    " revision INTEGER NOT NULL REFERENCES revision(number),"
    " kind INTEGER NOT NULL,"
    " key TEXT NOT NULL,"
    " old_value TEXT,"
    " new_value TEXT,"
    " PRIMARY KEY(revision, kind, key)) WITHOUT ROWID;"
    "CREATE TABLE alert("
    " alert INTEGER NOT NULL,"
    " subject TEXT NOT NULL,"
    " raiser TEXT NOT NULL,"
    " text TEXT NOT NULL,"
    " since INTEGER NOT NULL,"
    " PRIMARY KEY(alert, subject)) WITHOUT ROWID;"
    "CREATE TABLE alias_domain("
    " name TEXT PRIMARY KEY) WITHOUT ROWID;",
};

enum statement {
	READ_ITEMS,
	PUT_ITEM,
	DROP_ITEM,
	ADD_REVISION,
	ADD_CHANGE,
	LAST_REVISION,
	READ_HISTORY,
	READ_CHANGES,
	READ_ALERTS,
	PUT_ALERT,
	DROP_ALERT,
	READ_ALIAS_DOMAINS,
	ADD_ALIAS_DOMAIN,
	CLEAR_ALIAS_DOMAINS,
	STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
    [READ_ITEMS] = "SELECT kind, key, value FROM item ORDER BY kind, key",
    [PUT_ITEM] = "INSERT INTO item(kind, key, value) VALUES(?1, ?2, ?3)"
		 " ON CONFLICT(kind, key) DO UPDATE SET value = ?3",
    [DROP_ITEM] = "DELETE FROM item WHERE kind = ?1 AND key = ?2",
    [ADD_REVISION] =
	"INSERT INTO revision(time, actor, note) VALUES(?1, ?2, ?3)",
    [ADD_CHANGE] = "INSERT INTO change(revision, kind, key, old_value,"
		   " new_value) VALUES(?1, ?2, ?3, ?4, ?5)",
    [LAST_REVISION] = "SELECT ifnull(max(number), 0) FROM revision",
    [READ_HISTORY] = "SELECT number, time, actor, note,"
		     " (SELECT count(*) FROM change WHERE revision ="
		     " number) FROM revision WHERE number < ?1"
		     " ORDER BY number DESC",
    /* In time's order: of an item's changes the first old value and the
     * last new value count. */
    [READ_CHANGES] = "SELECT kind, key, old_value, new_value FROM change"
		     " WHERE revision > ?1 AND revision <= ?2"
		     " ORDER BY kind, key, revision",
    [READ_ALERTS] = "SELECT alert, subject, raiser, text, since FROM alert"
		    " ORDER BY since, alert, subject",
    [PUT_ALERT] = "INSERT OR IGNORE INTO alert(alert, subject, raiser,"
		  " text, since) VALUES(?1, ?2, ?3, ?4, ?5)",
    [DROP_ALERT] = "DELETE FROM alert WHERE alert = ?1 AND subject = ?2",
    /* The empty name marks that the list is known. */
    [READ_ALIAS_DOMAINS] = "SELECT name FROM alias_domain ORDER BY name",
    [ADD_ALIAS_DOMAIN] = "INSERT OR IGNORE INTO alias_domain(name) VALUES(?1)",
    [CLEAR_ALIAS_DOMAINS] = "DELETE FROM alias_domain",
};

struct config_store {
	struct sql *sql;
	struct config_items items;
	uint64_t revision;
};

/* ---- reading ---- */

static int
read_revision(struct config_store *store, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, LAST_REVISION);

	if (sql_step(store->sql, stmt, err) != 1)
		return -1;
	store->revision = (uint64_t)sql_i64(stmt, 0);
	return 0;
}

static int
read_items(struct config_store *store, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, READ_ITEMS);
	int rc;

	config_items_clear(&store->items);
	while ((rc = sql_step(store->sql, stmt, err)) == 1) {
		const int64_t kind = sql_i64(stmt, 0);
		char *key = slice_dup(sql_text(stmt, 1));
		char *value = slice_dup(sql_text(stmt, 2));

		if (kind >= 0 && kind < CONFIG_KIND_COUNT)
			config_items_put(
			    &store->items, (enum config_kind)kind, key, value);
		free(key);
		free(value);
	}
	return rc;
}

int
config_store_open(
    const char *dir, struct config_store **store_r, struct err *err)
{
	struct config_store *store = xcalloc(1, sizeof(*store));
	char path[4096];
	const struct sql_config config = {.path = path,
	    .durability = SQL_DURABLE,
	    .migrations = migrations,
	    .migration_count = sizeof(migrations) / sizeof(migrations[0]),
	    .statements = statements,
	    .statement_count = STATEMENT_COUNT};
	const int n = snprintf(path, sizeof(path), "%s/config.db", dir);

	if (n < 0 || (size_t)n >= sizeof(path)) {
		(void)err_set(err, "%s: too long", dir);
		goto fail;
	}
	if (sql_lock_directory(dir, err) == -1 ||
	    sql_open(&config, &store->sql, err) == -1 ||
	    read_revision(store, err) == -1 || read_items(store, err) == -1)
		goto fail;
	*store_r = store;
	return 0;
fail:
	config_store_close(store);
	return -1;
}

void
config_store_close(struct config_store *store)
{
	if (store == NULL)
		return;
	config_items_clear(&store->items);
	sql_close(store->sql);
	free(store);
}

const struct config_items *
config_store_items(const struct config_store *store)
{
	return &store->items;
}

uint64_t
config_store_revision(const struct config_store *store)
{
	return store->revision;
}

/* ---- a revision ---- */

static void
bind_optional(sqlite3_stmt *stmt, int at, const char *text)
{
	if (text == NULL)
		sql_bind_null(stmt, at);
	else
		sql_bind_text(stmt, at, slice_of(text));
}

static int
write_change(struct config_store *store, int64_t revision,
    const struct config_change *change, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, ADD_CHANGE);

	sql_bind_i64(stmt, 1, revision);
	sql_bind_i64(stmt, 2, change->kind);
	sql_bind_text(stmt, 3, slice_of(change->key));
	bind_optional(stmt, 4, change->old_value);
	bind_optional(stmt, 5, change->new_value);
	if (sql_run(store->sql, stmt, err) == -1)
		return -1;
	stmt = sql_use(
	    store->sql, change->new_value == NULL ? DROP_ITEM : PUT_ITEM);
	sql_bind_i64(stmt, 1, change->kind);
	sql_bind_text(stmt, 2, slice_of(change->key));
	if (change->new_value != NULL)
		sql_bind_text(stmt, 3, slice_of(change->new_value));
	return sql_run(store->sql, stmt, err);
}

static int64_t
write_revision(struct config_store *store, const struct config_changes *changes,
    const char *actor, const char *note, int64_t now, struct err *err)
{
	sqlite3_stmt *stmt;
	int64_t number;

	if (sql_begin(store->sql, err) == -1)
		return -1;
	stmt = sql_use(store->sql, ADD_REVISION);
	sql_bind_i64(stmt, 1, now);
	sql_bind_text(stmt, 2, slice_of(actor));
	sql_bind_text(stmt, 3, slice_of(note));
	if (sql_run(store->sql, stmt, err) == -1)
		return -1;
	number = sql_last_rowid(store->sql);
	for (size_t i = 0; i < changes->count; i++)
		if (write_change(store, number, &changes->list[i], err) == -1)
			return -1;
	return sql_commit(store->sql, err) == -1 ? -1 : number;
}

int64_t
config_store_commit(struct config_store *store,
    const struct config_changes *changes, const char *actor, const char *note,
    int64_t now, struct err *err)
{
	const int64_t number =
	    write_revision(store, changes, actor, note, now, err);

	if (number == -1) {
		sql_rollback(store->sql);
		return -1;
	}
	for (size_t i = 0; i < changes->count; i++)
		config_items_put(&store->items, changes->list[i].kind,
		    changes->list[i].key, changes->list[i].new_value);
	store->revision = (uint64_t)number;
	return number;
}

/* ---- looking back ---- */

int
config_store_history(struct config_store *store, int64_t before,
    config_revision_fn *each_fn, void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, READ_HISTORY);
	int rc;

	sql_bind_i64(stmt, 1, before > 0 ? before : INT64_MAX);
	while ((rc = sql_step(store->sql, stmt, err)) == 1) {
		const struct config_revision revision = {
		    .number = sql_i64(stmt, 0),
		    .time = sql_i64(stmt, 1),
		    .actor = sql_text(stmt, 2),
		    .note = sql_text(stmt, 3),
		    .change_count = sql_i64(stmt, 4)};

		if (!each_fn(arg, &revision)) {
			(void)sqlite3_reset(stmt);
			return 0;
		}
	}
	return rc;
}

static char *
optional_text(sqlite3_stmt *stmt, int column)
{
	return sqlite3_column_type(stmt, column) == SQLITE_NULL
		   ? NULL
		   : slice_dup(sql_text(stmt, column));
}

/* A further change of the item last added: only its outcome counts. */
static bool
continues_last(struct config_changes *changes, enum config_kind kind,
    const char *key, char *new_value)
{
	struct config_change *last;

	if (changes->count == 0)
		return false;
	last = &changes->list[changes->count - 1];
	if (last->kind != kind || strcmp(last->key, key) != 0)
		return false;
	free(last->new_value);
	last->new_value = new_value != NULL ? xstrdup(new_value) : NULL;
	return true;
}

/* What came back to where it was is no change. */
static void
drop_unchanged(struct config_changes *changes)
{
	size_t kept = 0;

	for (size_t i = 0; i < changes->count; i++) {
		struct config_change *change = &changes->list[i];
		const bool is_same =
		    change->old_value == NULL || change->new_value == NULL
			? change->old_value == change->new_value
			: strcmp(change->old_value, change->new_value) == 0;

		if (!is_same) {
			changes->list[kept++] = *change;
			continue;
		}
		free(change->key);
		free(change->old_value);
		free(change->new_value);
	}
	changes->count = kept;
}

int
config_store_changes(struct config_store *store, int64_t from, int64_t to,
    struct config_changes *changes_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, READ_CHANGES);
	int rc;

	*changes_r = (struct config_changes){0};
	sql_bind_i64(stmt, 1, from);
	sql_bind_i64(stmt, 2, to);
	while ((rc = sql_step(store->sql, stmt, err)) == 1) {
		const int64_t kind = sql_i64(stmt, 0);
		char *key = slice_dup(sql_text(stmt, 1));
		char *old_value = optional_text(stmt, 2);
		char *new_value = optional_text(stmt, 3);

		if (kind >= 0 && kind < CONFIG_KIND_COUNT &&
		    !continues_last(
			changes_r, (enum config_kind)kind, key, new_value))
			config_changes_add(changes_r, (enum config_kind)kind,
			    key, old_value, new_value);
		free(key);
		free(old_value);
		free(new_value);
	}
	if (rc == -1)
		config_changes_clear(changes_r);
	else
		drop_unchanged(changes_r);
	return rc;
}

/* ---- alerts ---- */

int
config_store_alerts(struct config_store *store, config_alert_fn *each_fn,
    void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, READ_ALERTS);
	int rc;

	while ((rc = sql_step(store->sql, stmt, err)) == 1) {
		const struct config_alert alert = {
		    .alert = (unsigned)sql_i64(stmt, 0),
		    .subject = sql_text(stmt, 1),
		    .raiser = sql_text(stmt, 2),
		    .text = sql_text(stmt, 3),
		    .since = sql_i64(stmt, 4)};

		each_fn(arg, &alert);
	}
	return rc;
}

int
config_store_put_alert(struct config_store *store,
    const struct config_alert *alert, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, PUT_ALERT);

	sql_bind_i64(stmt, 1, alert->alert);
	sql_bind_text(stmt, 2, alert->subject);
	sql_bind_text(stmt, 3, alert->raiser);
	sql_bind_text(stmt, 4, alert->text);
	sql_bind_i64(stmt, 5, alert->since);
	return sql_run(store->sql, stmt, err);
}

int
config_store_drop_alert(struct config_store *store, unsigned alert,
    const char *subject, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, DROP_ALERT);

	sql_bind_i64(stmt, 1, alert);
	sql_bind_text(stmt, 2, slice_of(subject));
	return sql_run(store->sql, stmt, err);
}

/* ---- domains with aliases ---- */

int
config_store_alias_domains(struct config_store *store,
    void (*each_fn)(void *arg, struct slice domain), void *arg,
    bool *is_known_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(store->sql, READ_ALIAS_DOMAINS);
	int rc;

	*is_known_r = false;
	while ((rc = sql_step(store->sql, stmt, err)) == 1) {
		if (sql_text(stmt, 0).n == 0)
			*is_known_r = true;
		else
			each_fn(arg, sql_text(stmt, 0));
	}
	return rc;
}

static int
write_alias_domains(struct config_store *store, char *const *domains,
    size_t count, struct err *err)
{
	sqlite3_stmt *stmt;

	if (sql_begin(store->sql, err) == -1 ||
	    sql_run(store->sql, sql_use(store->sql, CLEAR_ALIAS_DOMAINS),
		err) == -1)
		return -1;
	for (size_t i = 0; i <= count; i++) {
		stmt = sql_use(store->sql, ADD_ALIAS_DOMAIN);
		sql_bind_text(
		    stmt, 1, i < count ? slice_of(domains[i]) : SLICE(""));
		if (sql_run(store->sql, stmt, err) == -1)
			return -1;
	}
	return sql_commit(store->sql, err);
}

int
config_store_put_alias_domains(struct config_store *store, char *const *domains,
    size_t count, struct err *err)
{
	if (write_alias_domains(store, domains, count, err) == 0)
		return 0;
	sql_rollback(store->sql);
	return -1;
}
