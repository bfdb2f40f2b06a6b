/* SPDX-License-Identifier: ISC */
/*
 * Users and identities in accounts.db, and the store's own secrets.
 * Runs in: postern-authd, in its loop.  Trusts: the file as far as its types
 * go; verifiers and names are read again by their parsers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "smtpd/accounts_sql.h"
#include "smtpd/accounts_store.h"

static const char *const migrations[] = {ACCOUNTS_SCHEMA_1};

#define ACCOUNTS_TEXT(suffix, text) [ACCOUNTS_##suffix] = (text),
static const char *const statements[ACCOUNTS_STATEMENT_COUNT] = {
    ACCOUNTS_STATEMENTS(ACCOUNTS_TEXT)};
#undef ACCOUNTS_TEXT

/* ---- the store's own values ---- */

static void
fill_random(void *out, size_t size)
{
	if (getrandom(out, size, 0) != (ssize_t)size)
		fatal("getrandom: %s", strerror(errno));
}

/* 1 found, 0 not there or of another size, -1 failed. */
static int
meta_get(struct accounts *accounts, const char *key, void *value_r, size_t size,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_META_GET);
	struct slice value;
	int rc;

	sql_bind_text(stmt, 1, slice_of(key));
	rc = sql_step(accounts->sql, stmt, err);
	if (rc == 1) {
		value = sql_blob(stmt, 0);
		if (value.n == size)
			memcpy(value_r, value.p, size);
		else
			rc = 0;
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

static int
meta_put(struct accounts *accounts, const char *key, const void *value,
    size_t size, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_META_PUT);

	sql_bind_text(stmt, 1, slice_of(key));
	sql_bind_blob(stmt, 2, (struct slice){value, size});
	return sql_run(accounts->sql, stmt, err);
}

static int
load_secret(struct accounts *accounts, struct err *err)
{
	int rc = meta_get(accounts, "secret", accounts->secret,
	    sizeof(accounts->secret), err);

	if (rc != 0)
		return rc == 1 ? 0 : -1;
	fill_random(accounts->secret, sizeof(accounts->secret));
	return meta_put(accounts, "secret", accounts->secret,
	    sizeof(accounts->secret), err);
}

int
accounts_open(const char *dir, struct accounts **accounts_r, struct err *err)
{
	struct accounts *accounts = xcalloc(1, sizeof(*accounts));
	char path[4096];
	struct sql_config config = {.path = path,
	    .durability = SQL_DURABLE,
	    .migrations = migrations,
	    .migration_count = sizeof(migrations) / sizeof(migrations[0]),
	    .statements = statements,
	    .statement_count = ACCOUNTS_STATEMENT_COUNT};

	(void)snprintf(path, sizeof(path), "%s/accounts.db", dir);
	if (sql_open(&config, &accounts->sql, err) == -1 ||
	    load_secret(accounts, err) == -1) {
		accounts_close(accounts);
		return -1;
	}
	*accounts_r = accounts;
	return 0;
}

void
accounts_close(struct accounts *accounts)
{
	if (accounts == NULL)
		return;
	sql_close(accounts->sql);
	explicit_bzero(accounts, sizeof(*accounts));
	free(accounts);
}

struct sql *
accounts_sql(struct accounts *accounts)
{
	return accounts->sql;
}

const unsigned char *
accounts_secret(const struct accounts *accounts)
{
	return accounts->secret;
}

int
accounts_next_revision(
    struct accounts *accounts, uint64_t *revision_r, struct err *err)
{
	uint64_t revision = 0;

	if (meta_get(accounts, "revision", &revision, sizeof(revision), err) ==
	    -1)
		return -1;
	revision++;
	if (meta_put(accounts, "revision", &revision, sizeof(revision), err) ==
	    -1)
		return -1;
	*revision_r = revision;
	return 0;
}

/* ---- keys of tokens ---- */

int
accounts_rotate_keys(struct accounts *accounts, int64_t now_s,
    struct token_keys *keys, struct err *err)
{
	struct token_keys next = {.has_previous = true, .made_s = now_s};
	int rc;

	memcpy(next.previous, keys->current, sizeof(next.previous));
	fill_random(next.current, sizeof(next.current));
	rc = meta_put(accounts, "token keys", &next, sizeof(next), err);
	if (rc == 0)
		*keys = next;
	explicit_bzero(&next, sizeof(next));
	return rc;
}

int
accounts_token_keys(struct accounts *accounts, int64_t now_s,
    struct token_keys *keys_r, struct err *err)
{
	struct token_keys keys;
	int rc = meta_get(accounts, "token keys", &keys, sizeof(keys), err);

	if (rc == -1)
		return -1;
	if (rc == 0) {
		memset(&keys, 0, sizeof(keys));
		fill_random(keys.current, sizeof(keys.current));
		keys.made_s = now_s;
		if (meta_put(
			accounts, "token keys", &keys, sizeof(keys), err) == -1)
			return -1;
	}
	*keys_r = keys;
	explicit_bzero(&keys, sizeof(keys));
	return 0;
}

/* ---- users ---- */

/* -1 when the row is not what this program writes. */
static int
read_account(sqlite3_stmt *stmt, struct account *account_r, struct err *err)
{
	struct account account = {.id = sql_i64(stmt, 0),
	    .is_disabled = sql_i64(stmt, 3) != 0,
	    .revision = (uint64_t)sql_i64(stmt, 4),
	    .created_s = sql_i64(stmt, 5),
	    .password_changed_s = sql_i64(stmt, 6),
	    .last_login_s = sql_i64(stmt, 7)};

	if (slice_copy(sql_text(stmt, 1), account.name, sizeof(account.name)) ==
		-1 ||
	    slice_copy(sql_text(stmt, 2), account.verifier,
		sizeof(account.verifier)) == -1)
		return err_set(err, "accounts.db: user %lld is malformed",
		    (long long)account.id);
	*account_r = account;
	return 0;
}

enum accounts_result
accounts_find(struct accounts *accounts, const char *name,
    struct account *account_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_USER_FIND);
	enum accounts_result result = ACCOUNTS_FAILED;

	sql_bind_text(stmt, 1, slice_of(name));
	switch (sql_step(accounts->sql, stmt, err)) {
	case 1:
		if (read_account(stmt, account_r, err) == 0)
			result = ACCOUNTS_OK;
		break;
	case 0:
		(void)err_set(err, "there is no user %s", name);
		result = ACCOUNTS_NONE;
		break;
	default:
		break;
	}
	(void)sqlite3_reset(stmt);
	return result;
}

static bool
is_constraint(struct accounts *accounts)
{
	return (sqlite3_errcode(sql_handle(accounts->sql)) & 0xff) ==
	       SQLITE_CONSTRAINT;
}

int
accounts_begin(struct accounts *accounts, struct err *err)
{
	return accounts->is_batch ? 0 : sql_begin(accounts->sql, err);
}

enum accounts_result
accounts_end(struct accounts *accounts, int rc, struct err *err)
{
	if (accounts->is_batch)
		return rc == 0 ? ACCOUNTS_OK : ACCOUNTS_FAILED;
	if (rc == 0 && sql_commit(accounts->sql, err) == 0)
		return ACCOUNTS_OK;
	sql_rollback(accounts->sql);
	return ACCOUNTS_FAILED;
}

int
accounts_batch_begin(struct accounts *accounts, struct err *err)
{
	if (sql_begin(accounts->sql, err) == -1)
		return -1;
	accounts->is_batch = true;
	return 0;
}

int
accounts_batch_end(struct accounts *accounts, bool is_kept, struct err *err)
{
	accounts->is_batch = false;
	if (is_kept)
		return sql_commit(accounts->sql, err);
	sql_rollback(accounts->sql);
	return 0;
}

enum accounts_result
accounts_add(struct accounts *accounts, const char *name,
    const struct scram_verifier *verifier, int64_t now_s, int64_t *id_r,
    struct err *err)
{
	char text[SCRAM_TEXT_MAX] = "";
	uint64_t revision;
	sqlite3_stmt *stmt;
	int rc;

	if (verifier != NULL)
		(void)scram_verifier_format(verifier, text);
	if (accounts_begin(accounts, err) == -1)
		return ACCOUNTS_FAILED;
	if (accounts_next_revision(accounts, &revision, err) == -1)
		return accounts_end(accounts, -1, err);
	stmt = sql_use(accounts->sql, ACCOUNTS_USER_ADD);
	sql_bind_text(stmt, 1, slice_of(name));
	sql_bind_text(stmt, 2, slice_of(text));
	sql_bind_i64(stmt, 3, (int64_t)revision);
	sql_bind_i64(stmt, 4, now_s);
	rc = sql_run(accounts->sql, stmt, err);
	if (rc == -1 && is_constraint(accounts)) {
		(void)accounts_end(accounts, -1, NULL);
		(void)err_set(err, "there is a user %s already", name);
		return ACCOUNTS_EXISTS;
	}
	*id_r = sql_last_rowid(accounts->sql);
	return accounts_end(accounts, rc, err);
}

/* Begins a change of one user, who gets a new revision; see accounts_end. */
static enum accounts_result
begin_change(struct accounts *accounts, const char *name,
    struct account *account_r, uint64_t *revision_r, struct err *err)
{
	enum accounts_result result =
	    accounts_find(accounts, name, account_r, err);

	if (result != ACCOUNTS_OK)
		return result;
	if (accounts_begin(accounts, err) == -1)
		return ACCOUNTS_FAILED;
	if (accounts_next_revision(accounts, revision_r, err) == -1)
		return accounts_end(accounts, -1, err);
	return ACCOUNTS_OK;
}

enum accounts_result
accounts_set_password(struct accounts *accounts, const char *name,
    const struct scram_verifier *verifier, int64_t now_s, struct err *err)
{
	struct account account;
	char text[SCRAM_TEXT_MAX] = "";
	uint64_t revision;
	sqlite3_stmt *stmt;
	enum accounts_result result =
	    begin_change(accounts, name, &account, &revision, err);

	if (result != ACCOUNTS_OK)
		return result;
	if (verifier != NULL)
		(void)scram_verifier_format(verifier, text);
	stmt = sql_use(accounts->sql, ACCOUNTS_USER_PASSWORD);
	sql_bind_i64(stmt, 1, account.id);
	sql_bind_text(stmt, 2, slice_of(text));
	sql_bind_i64(stmt, 3, (int64_t)revision);
	sql_bind_i64(stmt, 4, now_s);
	return accounts_end(accounts, sql_run(accounts->sql, stmt, err), err);
}

enum accounts_result
accounts_set_disabled(struct accounts *accounts, const char *name,
    bool is_disabled, struct err *err)
{
	struct account account;
	uint64_t revision;
	sqlite3_stmt *stmt;
	enum accounts_result result =
	    begin_change(accounts, name, &account, &revision, err);

	if (result != ACCOUNTS_OK)
		return result;
	stmt = sql_use(accounts->sql, ACCOUNTS_USER_DISABLE);
	sql_bind_i64(stmt, 1, account.id);
	sql_bind_i64(stmt, 2, is_disabled);
	sql_bind_i64(stmt, 3, (int64_t)revision);
	return accounts_end(accounts, sql_run(accounts->sql, stmt, err), err);
}

enum accounts_result
accounts_remove(struct accounts *accounts, const char *name, struct err *err)
{
	struct account account;
	sqlite3_stmt *stmt;
	enum accounts_result result =
	    accounts_find(accounts, name, &account, err);

	if (result != ACCOUNTS_OK)
		return result;
	stmt = sql_use(accounts->sql, ACCOUNTS_USER_REMOVE);
	sql_bind_i64(stmt, 1, account.id);
	return sql_run(accounts->sql, stmt, err) == 0 ? ACCOUNTS_OK
						      : ACCOUNTS_FAILED;
}

int
accounts_count(struct accounts *accounts, int64_t *count_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_USER_COUNT);
	int rc = sql_step(accounts->sql, stmt, err);

	if (rc == 1)
		*count_r = sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	return rc == 1 ? 0 : -1;
}

int
accounts_list(struct accounts *accounts, const char *after, size_t limit,
    accounts_user_fn *each, void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_USER_LIST);
	struct account account;
	int rc;

	sql_bind_text(stmt, 1, slice_of(after));
	sql_bind_i64(stmt, 2, (int64_t)limit);
	while ((rc = sql_step(accounts->sql, stmt, err)) == 1) {
		if (read_account(stmt, &account, err) == -1) {
			rc = -1;
			break;
		}
		each(arg, &account);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* ---- identities ---- */

int
accounts_each_text(struct accounts *accounts, size_t statement, int64_t id,
    accounts_text_fn *each, void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, statement);
	int rc;

	sql_bind_i64(stmt, 1, id);
	while ((rc = sql_step(accounts->sql, stmt, err)) == 1)
		each(arg, sql_text(stmt, 0));
	(void)sqlite3_reset(stmt);
	return rc;
}

int
accounts_identities(struct accounts *accounts, int64_t user_id,
    accounts_text_fn *each, void *arg, struct err *err)
{
	return accounts_each_text(
	    accounts, ACCOUNTS_IDENTITY_LIST, user_id, each, arg, err);
}

struct collected {
	struct buf *identities;
	bool is_full;
};

static void
collect(void *arg, struct slice identity)
{
	struct collected *collected = arg;

	if (token_identity_add(collected->identities, identity, NULL) == -1)
		collected->is_full = true;
}

/* All identities of a user in the form of a token. */
static int
all_identities(struct accounts *accounts, const struct account *account,
    struct buf *identities, struct err *err)
{
	struct collected collected = {.identities = identities};
	char own[TOKEN_IDENTITY_MAX + 1];

	if (strchr(account->name, '@') != NULL &&
	    token_identity_parse(slice_of(account->name), own, NULL) == 0)
		collect(&collected, slice_of(own));
	if (accounts_identities(
		accounts, account->id, collect, &collected, err) == -1)
		return -1;
	if (collected.is_full)
		return err_set(
		    err, "%s has too many identities", account->name);
	return 0;
}

/* Does one of the user's identities cover that one? */
static bool
is_covered(struct slice identities, struct slice wanted)
{
	struct token token = {.identities = identities};
	struct slice identity;
	struct address address;

	while (token_identity_next(&identities, &identity))
		if (slice_equals(identity, wanted))
			return true;
	return address_parse(wanted, ADDRESS_MAY_BE_UTF8, &address, NULL) ==
		   0 &&
	       token_allows(&token, &address);
}

bool
accounts_covers(struct accounts *accounts, const struct account *account,
    const char *identity)
{
	struct buf all;
	bool is;

	token_identities_init(&all);
	is = all_identities(accounts, account, &all, NULL) == 0 &&
	     is_covered(buf_slice(&all), slice_of(identity));
	buf_clear(&all);
	return is;
}

struct narrowing {
	struct slice all;
	struct buf *identities;
	size_t seen;
};

static void
narrow(void *arg, struct slice sender)
{
	struct narrowing *narrowing = arg;

	narrowing->seen++;
	if (is_covered(narrowing->all, sender))
		(void)token_identity_add(narrowing->identities, sender, NULL);
}

int
accounts_login_identities(struct accounts *accounts,
    const struct account *account, int64_t app_id, struct buf *identities,
    struct err *err)
{
	struct narrowing narrowing = {.identities = identities};
	struct buf all;
	int rc;

	token_identities_init(&all);
	rc = all_identities(accounts, account, &all, err);
	narrowing.all = buf_slice(&all);
	if (rc == 0 && app_id != 0)
		rc = accounts_app_senders(
		    accounts, app_id, narrow, &narrowing, err);
	if (rc == 0 && narrowing.seen == 0)
		(void)buf_add_slice(identities, buf_slice(&all));
	buf_clear(&all);
	return rc;
}

enum accounts_result
accounts_identity_add(struct accounts *accounts, const struct account *account,
    const char *identity, struct err *err)
{
	sqlite3_stmt *stmt;
	struct buf all;
	int rc;

	/* It must still fit into a token. */
	token_identities_init(&all);
	rc = all_identities(accounts, account, &all, err);
	if (rc == 0 &&
	    token_identity_add(&all, slice_of(identity), err) == -1) {
		buf_clear(&all);
		return ACCOUNTS_REFUSED;
	}
	buf_clear(&all);
	if (rc == -1)
		return ACCOUNTS_FAILED;
	stmt = sql_use(accounts->sql, ACCOUNTS_IDENTITY_ADD);
	sql_bind_i64(stmt, 1, account->id);
	sql_bind_text(stmt, 2, slice_of(identity));
	if (sql_run(accounts->sql, stmt, err) == -1)
		return ACCOUNTS_FAILED;
	return sql_changes(accounts->sql) > 0 ? ACCOUNTS_OK : ACCOUNTS_EXISTS;
}

enum accounts_result
accounts_identity_remove(struct accounts *accounts, int64_t user_id,
    const char *identity, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_IDENTITY_REMOVE);

	sql_bind_i64(stmt, 1, user_id);
	sql_bind_text(stmt, 2, slice_of(identity));
	if (sql_run(accounts->sql, stmt, err) == -1)
		return ACCOUNTS_FAILED;
	return sql_changes(accounts->sql) > 0 ? ACCOUNTS_OK : ACCOUNTS_NONE;
}
