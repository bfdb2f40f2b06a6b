/* SPDX-License-Identifier: ISC */
/*
 * Recipients and aliases in accounts.db.
 * Runs in: postern-authd, in its loop.  Trusts: callers for canonical forms.
 */
#include <string.h>

#include "smtpd/accounts_sql.h"
#include "smtpd/accounts_store.h"
#include "smtpd/directory_store.h"

/* Runs a statement with up to three texts bound; how many rows changed. */
static enum accounts_result
change(struct accounts *accounts, size_t statement, const char *const texts[3],
    enum accounts_result unchanged, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, statement);

	for (int i = 0; i < 3 && texts[i] != NULL; i++)
		sql_bind_text(stmt, i + 1, slice_of(texts[i]));
	if (sql_run(accounts->sql, stmt, err) == -1)
		return ACCOUNTS_FAILED;
	return sql_changes(accounts->sql) > 0 ? ACCOUNTS_OK : unchanged;
}

/* The first column of every row. */
static int
each_row(struct accounts *accounts, sqlite3_stmt *stmt, accounts_text_fn *each,
    void *arg, struct err *err)
{
	int rc;

	while ((rc = sql_step(accounts->sql, stmt, err)) == 1)
		each(arg, sql_text(stmt, 0));
	(void)sqlite3_reset(stmt);
	return rc;
}

static int
list(struct accounts *accounts, size_t statement, const char *domain,
    const char *after, size_t limit, accounts_text_fn *each, void *arg,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, statement);

	sql_bind_text(stmt, 1, slice_of(after));
	sql_bind_i64(stmt, 2, (int64_t)limit);
	if (domain[0] != '\0')
		sql_bind_text(stmt, 3, slice_of(domain));
	return each_row(accounts, stmt, each, arg, err);
}

enum accounts_result
directory_recipient_add(struct accounts *accounts, const char *address,
    const char *domain, struct err *err)
{
	const char *const texts[3] = {address, domain, NULL};

	return change(
	    accounts, ACCOUNTS_RECIPIENT_ADD, texts, ACCOUNTS_EXISTS, err);
}

enum accounts_result
directory_recipient_remove(
    struct accounts *accounts, const char *address, struct err *err)
{
	const char *const texts[3] = {address, NULL, NULL};

	return change(
	    accounts, ACCOUNTS_RECIPIENT_REMOVE, texts, ACCOUNTS_NONE, err);
}

int
directory_has_recipient(
    struct accounts *accounts, const char *address, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_RECIPIENT_FIND);
	struct account account;
	int rc;

	sql_bind_text(stmt, 1, slice_of(address));
	rc = sql_step(accounts->sql, stmt, err);
	(void)sqlite3_reset(stmt);
	if (rc != 0)
		return rc;
	switch (accounts_find(accounts, address, &account, err)) {
	case ACCOUNTS_OK:
		return 1;
	case ACCOUNTS_FAILED:
		return -1;
	default:
		return 0;
	}
}

int
directory_recipients(struct accounts *accounts, const char *domain,
    const char *after, size_t limit, accounts_text_fn *each, void *arg,
    struct err *err)
{
	return list(accounts,
	    domain[0] != '\0' ? ACCOUNTS_RECIPIENT_LIST_DOMAIN
			      : ACCOUNTS_RECIPIENT_LIST,
	    domain, after, limit, each, arg, err);
}

enum accounts_result
directory_alias_add(struct accounts *accounts, const char *address,
    const char *domain, const char *target, struct err *err)
{
	const char *const texts[3] = {address, target, domain};

	return change(
	    accounts, ACCOUNTS_ALIAS_ADD, texts, ACCOUNTS_EXISTS, err);
}

enum accounts_result
directory_alias_remove(struct accounts *accounts, const char *address,
    const char *target, struct err *err)
{
	const char *const texts[3] = {address, target, NULL};

	return change(accounts,
	    target == NULL ? ACCOUNTS_ALIAS_REMOVE
			   : ACCOUNTS_ALIAS_REMOVE_TARGET,
	    texts, ACCOUNTS_NONE, err);
}

int
directory_alias_targets(struct accounts *accounts, const char *address,
    accounts_text_fn *each, void *arg, struct err *err)
{
	return list(accounts, ACCOUNTS_ALIAS_TARGETS, "", address,
	    DIRECTORY_TARGETS_MAX, each, arg, err);
}

int
directory_aliases(struct accounts *accounts, const char *domain,
    const char *after, size_t limit, accounts_text_fn *each, void *arg,
    struct err *err)
{
	return list(accounts,
	    domain[0] != '\0' ? ACCOUNTS_ALIAS_LIST_DOMAIN
			      : ACCOUNTS_ALIAS_LIST,
	    domain, after, limit, each, arg, err);
}

int
directory_alias_domains(struct accounts *accounts, accounts_text_fn *each,
    void *arg, struct err *err)
{
	return each_row(accounts,
	    sql_use(accounts->sql, ACCOUNTS_ALIAS_DOMAINS), each, arg, err);
}
