/* SPDX-License-Identifier: ISC */
/*
 * App passwords, and what a login is compared with.
 * Runs in: postern-authd, in its loop.  Trusts: the file as far as its types
 * go; verifiers of any other scheme or count are refused (no downgrade).
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/accounts_sql.h"
#include "smtpd/accounts_store.h"

/* A network counts as known this long after the last login from it. */
#define KNOWN_NETWORK_S (90 * 86400)
/* Per user: home, office, a phone's networks; the latest are kept. */
#define KNOWN_NETWORKS_MAX 32

/* ---- app passwords ---- */

static void
read_app(sqlite3_stmt *stmt, struct app_password *app_r)
{
	*app_r = (struct app_password){.id = sql_i64(stmt, 0),
	    .created_s = sql_i64(stmt, 3),
	    .expires_s = sql_i64(stmt, 4),
	    .last_used_s = sql_i64(stmt, 5)};
	(void)slice_copy(sql_text(stmt, 1), app_r->label, sizeof(app_r->label));
	(void)slice_copy(
	    sql_text(stmt, 6), app_r->last_client, sizeof(app_r->last_client));
}

int
accounts_apps(struct accounts *accounts, int64_t user_id, accounts_app_fn *each,
    void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_APP_LIST);
	struct app_password app;
	int rc;

	sql_bind_i64(stmt, 1, user_id);
	while ((rc = sql_step(accounts->sql, stmt, err)) == 1) {
		read_app(stmt, &app);
		each(arg, &app);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

int
accounts_app_senders(struct accounts *accounts, int64_t app_id,
    accounts_text_fn *each, void *arg, struct err *err)
{
	return accounts_each_text(
	    accounts, ACCOUNTS_APP_SENDERS, app_id, each, arg, err);
}

int
accounts_app_networks(struct accounts *accounts, int64_t app_id,
    accounts_text_fn *each, void *arg, struct err *err)
{
	return accounts_each_text(
	    accounts, ACCOUNTS_APP_NETWORKS, app_id, each, arg, err);
}

/* What the new app password may not be; 0 when all is well. */
static enum accounts_result
check_app(struct accounts *accounts, const struct account *account,
    const struct app_password_new *app, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_APP_COUNT);
	int64_t count = 0;
	int rc;

	sql_bind_i64(stmt, 1, account->id);
	if ((rc = sql_step(accounts->sql, stmt, err)) == 1)
		count = sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	if (rc == -1)
		return ACCOUNTS_FAILED;
	if (count >= ACCOUNTS_APPS_MAX) {
		(void)err_set(err, "%s has %d app passwords, the most",
		    account->name, ACCOUNTS_APPS_MAX);
		return ACCOUNTS_REFUSED;
	}
	if (app->sender_count > ACCOUNTS_APP_SENDERS_MAX ||
	    app->network_count > ACCOUNTS_APP_NETWORKS_MAX) {
		(void)err_set(err,
		    "an app password has at most %d senders and %d networks",
		    ACCOUNTS_APP_SENDERS_MAX, ACCOUNTS_APP_NETWORKS_MAX);
		return ACCOUNTS_REFUSED;
	}
	for (size_t i = 0; i < app->sender_count; i++)
		if (!accounts_covers(accounts, account, app->senders[i])) {
			(void)err_set(err, "%s may not send as %s",
			    account->name, app->senders[i]);
			return ACCOUNTS_REFUSED;
		}
	return ACCOUNTS_OK;
}

static int
add_app_text(struct accounts *accounts, size_t statement, int64_t app_id,
    const char *text, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, statement);

	sql_bind_i64(stmt, 1, app_id);
	sql_bind_text(stmt, 2, slice_of(text));
	return sql_run(accounts->sql, stmt, err);
}

static int
insert_app(struct accounts *accounts, const struct account *account,
    const struct app_password_new *app, int64_t now_s, int64_t *id_r,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_APP_ADD);
	char text[SCRAM_TEXT_MAX];
	char network[NETADDR_TEXT_MAX];
	int rc;

	(void)scram_verifier_format(app->verifier, text);
	sql_bind_i64(stmt, 1, account->id);
	sql_bind_text(stmt, 2, slice_of(app->label));
	sql_bind_text(stmt, 3, slice_of(text));
	sql_bind_i64(stmt, 4, now_s);
	sql_bind_i64(stmt, 5, app->expires_s);
	if (sql_run(accounts->sql, stmt, err) == -1)
		return -1;
	*id_r = sql_last_rowid(accounts->sql);
	rc = 0;
	for (size_t i = 0; rc == 0 && i < app->sender_count; i++)
		rc = add_app_text(accounts, ACCOUNTS_APP_SENDER_ADD, *id_r,
		    app->senders[i], err);
	for (size_t i = 0; rc == 0 && i < app->network_count; i++)
		rc = add_app_text(accounts, ACCOUNTS_APP_NETWORK_ADD, *id_r,
		    netprefix_format(&app->networks[i], network), err);
	return rc;
}

enum accounts_result
accounts_app_add(struct accounts *accounts, const struct account *account,
    const struct app_password_new *app, int64_t now_s, int64_t *id_r,
    struct err *err)
{
	enum accounts_result result = check_app(accounts, account, app, err);
	int rc;

	if (result != ACCOUNTS_OK)
		return result;
	if (accounts_begin(accounts, err) == -1)
		return ACCOUNTS_FAILED;
	rc = insert_app(accounts, account, app, now_s, id_r, err);
	if (rc == -1 && (sqlite3_errcode(sql_handle(accounts->sql)) & 0xff) ==
			    SQLITE_CONSTRAINT) {
		(void)accounts_end(accounts, -1, NULL);
		(void)err_set(err, "%s has an app password %s already",
		    account->name, app->label);
		return ACCOUNTS_EXISTS;
	}
	return accounts_end(accounts, rc, err);
}

enum accounts_result
accounts_app_remove(
    struct accounts *accounts, int64_t user_id, int64_t app_id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_APP_REMOVE);

	sql_bind_i64(stmt, 1, user_id);
	sql_bind_i64(stmt, 2, app_id);
	if (sql_run(accounts->sql, stmt, err) == -1)
		return ACCOUNTS_FAILED;
	if (sql_changes(accounts->sql) > 0)
		return ACCOUNTS_OK;
	(void)err_set(err, "there is no app password %lld", (long long)app_id);
	return ACCOUNTS_NONE;
}

/* ---- logins ---- */

struct network_search {
	const struct netaddr *client;
	size_t count;
	bool is_within;
};

static void
match_network(void *arg, struct slice text)
{
	struct network_search *search = arg;
	struct netprefix prefix;

	search->count++;
	if (netprefix_parse(text, &prefix, NULL) == 0 &&
	    netprefix_contains(&prefix, search->client))
		search->is_within = true;
}

/* Each app password is tried; why one does not count is for the log. */
static int
check_networks(struct accounts *accounts, const struct netaddr *client,
    struct credential *credential, struct err *err)
{
	struct network_search search = {.client = client};

	if (accounts_app_networks(accounts, credential->app_id, match_network,
		&search, err) == -1)
		return -1;
	if (search.count > 0 && !search.is_within)
		credential->refusal =
		    "app password not allowed from this network";
	return 0;
}

/* Adds a credential unless its verifier is none of ours. */
static bool
add_credential(struct login *login, struct slice verifier)
{
	if (login->count == 1 + ACCOUNTS_APPS_MAX ||
	    scram_verifier_parse(
		verifier, &login->verifiers[login->count], NULL) == -1)
		return false;
	login->credentials[login->count] = (struct credential){
	    .refusal = login->account.is_disabled ? "account disabled" : NULL};
	login->count++;
	return true;
}

static int
add_apps(struct accounts *accounts, const char *label, int64_t now_s,
    struct login *login, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_APP_LIST);
	int rc;

	sql_bind_i64(stmt, 1, login->account.id);
	while ((rc = sql_step(accounts->sql, stmt, err)) == 1) {
		struct app_password app;
		struct credential *credential;

		read_app(stmt, &app);
		if ((label[0] != '\0' && strcmp(label, app.label) != 0) ||
		    !add_credential(login, sql_text(stmt, 2)))
			continue;
		credential = &login->credentials[login->count - 1];
		credential->app_id = app.id;
		memcpy(credential->label, app.label, sizeof(app.label));
		if (app.expires_s != 0 && app.expires_s <= now_s &&
		    credential->refusal == NULL)
			credential->refusal = "app password expired";
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* Every name has its salt; only the keys are nobody's. */
static void
add_decoy(struct accounts *accounts, const struct account_name *name,
    struct login *login)
{
	scram_verifier_decoy(accounts->secret, slice_of(name->name),
	    &login->verifiers[login->count]);
	login->credentials[login->count] =
	    (struct credential){.refusal = "no such password"};
	login->count++;
}

int
accounts_login(struct accounts *accounts, const struct account_name *name,
    const struct netaddr *client, int64_t now_s, struct login *login_r,
    struct err *err)
{
	enum accounts_result result;
	int rc = 0;

	memset(login_r, 0, sizeof(*login_r));
	result = accounts_find(accounts, name->name, &login_r->account, err);
	if (result == ACCOUNTS_FAILED)
		return -1;
	login_r->is_known = result == ACCOUNTS_OK;
	if (login_r->is_known) {
		if (name->label[0] == '\0')
			(void)add_credential(
			    login_r, slice_of(login_r->account.verifier));
		rc = add_apps(accounts, name->label, now_s, login_r, err);
	}
	for (size_t i = 0; rc == 0 && i < login_r->count; i++)
		if (login_r->credentials[i].app_id != 0 &&
		    login_r->credentials[i].refusal == NULL)
			rc = check_networks(
			    accounts, client, &login_r->credentials[i], err);
	if (rc == 0 && login_r->count == 0)
		add_decoy(accounts, name, login_r);
	return rc;
}

int
accounts_still_valid(struct accounts *accounts, const char *name,
    uint64_t revision, int64_t app_id, int64_t now_s, struct account *account_r,
    struct err *err)
{
	sqlite3_stmt *stmt;
	int64_t expires_s = 0;
	int rc;

	switch (accounts_find(accounts, name, account_r, err)) {
	case ACCOUNTS_OK:
		break;
	case ACCOUNTS_FAILED:
		return -1;
	default:
		return 0;
	}
	if (account_r->is_disabled || account_r->revision != revision)
		return 0;
	if (app_id == 0)
		return 1;
	stmt = sql_use(accounts->sql, ACCOUNTS_APP_FIND);
	sql_bind_i64(stmt, 1, account_r->id);
	sql_bind_i64(stmt, 2, app_id);
	if ((rc = sql_step(accounts->sql, stmt, err)) == 1)
		expires_s = sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	return rc != 1 ? rc : expires_s == 0 || expires_s > now_s;
}

/* ---- where and when ---- */

static const char *
network_text(const struct netaddr *client, char out[NETADDR_TEXT_MAX])
{
	struct netprefix network = netaddr_network(client);

	return netprefix_format(&network, out);
}

/* What was noted and not written yet counts too. */
static bool
is_noted(const struct accounts *accounts, int64_t user_id,
    const struct netaddr *client)
{
	struct netprefix network = netaddr_network(client);

	for (size_t i = 0; i < accounts->note_count; i++)
		if (accounts->notes[i].user_id == user_id &&
		    netprefix_contains(&network, &accounts->notes[i].client))
			return true;
	return false;
}

int
accounts_is_known_network(struct accounts *accounts, int64_t user_id,
    const struct netaddr *client, int64_t now_s, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_KNOWN_FIND);
	char text[NETADDR_TEXT_MAX];
	int64_t last_seen_s = 0;
	int rc;

	if (is_noted(accounts, user_id, client))
		return 1;
	sql_bind_i64(stmt, 1, user_id);
	sql_bind_text(stmt, 2, slice_of(network_text(client, text)));
	if ((rc = sql_step(accounts->sql, stmt, err)) == 1)
		last_seen_s = sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	return rc != 1 ? rc : now_s - last_seen_s < KNOWN_NETWORK_S;
}

int
accounts_note_login(struct accounts *accounts, int64_t user_id, int64_t app_id,
    const struct netaddr *client, int64_t now_s, struct err *err)
{
	int rc = 0;
	struct login_note note = {.user_id = user_id,
	    .app_id = app_id,
	    .client = *client,
	    .time_s = now_s};

	for (size_t i = 0; i < accounts->note_count; i++) {
		struct login_note *at = &accounts->notes[i];

		if (at->user_id == user_id && at->app_id == app_id &&
		    netaddr_equals(&at->client, client)) {
			at->time_s = now_s;
			return 0;
		}
	}
	if (accounts->note_count == ACCOUNTS_NOTES_MAX)
		rc = accounts_flush(accounts, err);
	accounts->notes[accounts->note_count++] = note;
	return rc;
}

static int
write_note(
    struct accounts *accounts, const struct login_note *note, struct err *err)
{
	char text[NETADDR_TEXT_MAX];
	char address[NETADDR_TEXT_MAX];
	sqlite3_stmt *stmt = sql_use(accounts->sql, ACCOUNTS_USER_USED);

	sql_bind_i64(stmt, 1, note->user_id);
	sql_bind_i64(stmt, 2, note->time_s);
	if (sql_run(accounts->sql, stmt, err) == -1)
		return -1;
	stmt = sql_use(accounts->sql, ACCOUNTS_KNOWN_ADD);
	sql_bind_i64(stmt, 1, note->user_id);
	sql_bind_text(stmt, 2, slice_of(network_text(&note->client, text)));
	sql_bind_i64(stmt, 3, note->time_s);
	if (sql_run(accounts->sql, stmt, err) == -1)
		return -1;
	stmt = sql_use(accounts->sql, ACCOUNTS_KNOWN_TRIM);
	sql_bind_i64(stmt, 1, note->user_id);
	sql_bind_i64(stmt, 2, KNOWN_NETWORKS_MAX);
	if (sql_run(accounts->sql, stmt, err) == -1)
		return -1;
	if (note->app_id == 0)
		return 0;
	stmt = sql_use(accounts->sql, ACCOUNTS_APP_USED);
	sql_bind_i64(stmt, 1, note->app_id);
	sql_bind_i64(stmt, 2, note->time_s);
	sql_bind_text(
	    stmt, 3, slice_of(netaddr_format(&note->client, address)));
	return sql_run(accounts->sql, stmt, err);
}

int
accounts_flush(struct accounts *accounts, struct err *err)
{
	int rc = 0;

	if (accounts->note_count == 0)
		return 0;
	if (accounts_begin(accounts, err) == -1)
		return -1;
	for (size_t i = 0; rc == 0 && i < accounts->note_count; i++)
		rc = write_note(accounts, &accounts->notes[i], err);
	accounts->note_count = 0;
	return accounts_end(accounts, rc, err) == ACCOUNTS_OK ? 0 : -1;
}
