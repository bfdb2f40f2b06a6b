/* SPDX-License-Identifier: ISC */
/*
 * Lists of revoked certificates in keys.db and beside it.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: the `key` worker,
 * which checked who signed a list; its form was checked here.
 *
 * A list's file is written before its row is committed.  When the power goes
 * between them, workers already search the newer list, and the row is written
 * when the list is fetched again: no moment has neither.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer/durable_file.h"
#include "signer/keystore_crl.h"
#include "signer/keystore_store.h"

/* Certificates of one CA that a list names; more wait for the next list. */
#define REVOKED_AT_ONCE 10000

/* ---- in memory ---- */

void
keystore_drop_crls(struct keystore *keystore)
{
	free(keystore->crls);
	free(keystore->sources);
	keystore->crls = NULL;
	keystore->sources = NULL;
	keystore->crl_count = 0;
	keystore->source_count = 0;
	keystore->has_crls = false;
	keystore->has_sources = false;
}

static int
load_crls(struct keystore *keystore, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_CRLS);
	struct key_crl *all = xcalloc(KEYSTORE_CRLS_MAX, sizeof(*all));
	size_t count = 0;
	int rc = 0;

	while (count < KEYSTORE_CRLS_MAX &&
	       (rc = sql_step(keystore->sql, stmt, err)) == 1) {
		const struct slice id = sql_blob(stmt, 4);
		struct key_crl *crl = &all[count++];
		const struct {
			char *out;
			size_t size;
		} texts[] = {{crl->scope, sizeof(crl->scope)},
		    {crl->issuer, sizeof(crl->issuer)},
		    {crl->url, sizeof(crl->url)},
		    {crl->number, sizeof(crl->number)}};

		for (int i = 0; i < 4; i++)
			(void)slice_copy(
			    sql_text(stmt, i), texts[i].out, texts[i].size);
		if (id.n == sizeof(crl->issuer_id))
			memcpy(crl->issuer_id, id.p, id.n);
		crl->entries = sql_i64(stmt, 5);
		crl->this_update_s = sql_i64(stmt, 6);
		crl->next_update_s = sql_i64(stmt, 7);
	}
	(void)sqlite3_reset(stmt);
	keystore->crls = all;
	keystore->crl_count = count;
	keystore->has_crls = rc != -1;
	return rc == -1 ? -1 : 0;
}

int
keystore_crls(struct keystore *keystore, const struct key_crl **crls_r,
    size_t *count_r, struct err *err)
{
	if (!keystore->has_crls && load_crls(keystore, err) == -1) {
		keystore_drop_crls(keystore);
		return -1;
	}
	*crls_r = keystore->crls;
	*count_r = keystore->crl_count;
	return 0;
}

static int
load_sources(struct keystore *keystore, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_SOURCES);
	struct crl_source *all = xcalloc(KEYSTORE_SOURCES_MAX, sizeof(*all));
	size_t count = 0;
	int rc = 0;

	while (count < KEYSTORE_SOURCES_MAX &&
	       (rc = sql_step(keystore->sql, stmt, err)) == 1) {
		struct crl_source *source = &all[count++];

		(void)slice_copy(
		    sql_text(stmt, 0), source->url, sizeof(source->url));
		source->is_wanted = sql_i64(stmt, 1) != 0;
		source->seen_s = sql_i64(stmt, 2);
		source->due_s = sql_i64(stmt, 3);
		source->failures = (unsigned)sql_i64(stmt, 4);
		(void)slice_copy(
		    sql_text(stmt, 5), source->reason, sizeof(source->reason));
	}
	(void)sqlite3_reset(stmt);
	keystore->sources = all;
	keystore->source_count = count;
	keystore->has_sources = rc != -1;
	return rc == -1 ? -1 : 0;
}

int
keystore_sources(struct keystore *keystore, const struct crl_source **sources_r,
    size_t *count_r, struct err *err)
{
	if (!keystore->has_sources && load_sources(keystore, err) == -1) {
		keystore_drop_crls(keystore);
		return -1;
	}
	*sources_r = keystore->sources;
	*count_r = keystore->source_count;
	return 0;
}

/* ---- lists ---- */

static struct slice
id_of(const struct key_crl *crl)
{
	return (struct slice){(const char *)crl->issuer_id, TRUST_ISSUER_SIZE};
}

static bool
names_serial(struct slice list, struct slice serial)
{
	unsigned char digest[TRUST_DIGEST_SIZE];

	trust_serial_digest(serial, digest);
	return trust_list_names(list, digest);
}

/* By the CA's key: another CA of that name speaks for none of them. */
static int
revoke_named(struct keystore *keystore, const struct key_crl *crl,
    struct slice list, size_t *count_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_OF_ISSUER);
	int64_t *ids = xcalloc(REVOKED_AT_ONCE, sizeof(*ids));
	size_t count = 0;
	int rc = 0;

	sql_bind_blob(stmt, 1, id_of(crl));
	while (count < REVOKED_AT_ONCE &&
	       (rc = sql_step(keystore->sql, stmt, err)) == 1)
		if (names_serial(list, sql_text(stmt, 1)))
			ids[count++] = sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	for (size_t i = 0; rc != -1 && i < count; i++)
		rc = keystore_put_status(keystore, ids[i], KEY_REVOKED, err);
	free(ids);
	*count_r = count;
	return rc == -1 ? -1 : 0;
}

bool
keystore_is_revoked(struct keystore *keystore, const struct key *key)
{
	unsigned char digest[TRUST_DIGEST_SIZE];
	const struct key_crl *all;
	size_t count;

	if (key->kind != KEY_SMIME || !key->has_issuer_id ||
	    keystore_crls(keystore, &all, &count, NULL) == -1)
		return false;
	trust_serial_digest(slice_of(key->serial), digest);
	for (size_t i = 0; i < count; i++)
		if (memcmp(all[i].issuer_id, key->issuer_id,
			sizeof(key->issuer_id)) == 0 &&
		    trust_list_ask(keystore->trust_folder, key->issuer_id,
			slice_of(all[i].scope), digest, 0) == TRUST_NAMED)
			return true;
	return false;
}

/* Is there room, or has each scope a list already? */
static bool
has_list_room(const struct key_crl *all, size_t count,
    const struct key_crl *crl, size_t scope_count)
{
	size_t known = 0;

	for (size_t i = 0; i < count; i++)
		known += slice_equals(id_of(&all[i]), id_of(crl));
	return known >= scope_count ||
	       count + scope_count - known <= KEYSTORE_CRLS_MAX;
}

/* 1 written, 0 a newer one is there, -1 failed. */
static int
put_row(struct keystore *keystore, const struct key_crl *crl, const char *scope,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_CRL_PUT);

	sql_bind_blob(stmt, 1, id_of(crl));
	sql_bind_text(stmt, 2, slice_of(scope));
	sql_bind_text(stmt, 3, slice_of(crl->issuer));
	sql_bind_text(stmt, 4, slice_of(crl->url));
	sql_bind_text(stmt, 5, slice_of(crl->number));
	sql_bind_i64(stmt, 6, crl->entries);
	sql_bind_i64(stmt, 7, crl->this_update_s);
	sql_bind_i64(stmt, 8, crl->next_update_s);
	if (sql_run(keystore->sql, stmt, err) == -1)
		return -1;
	return sql_changes(keystore->sql) > 0;
}

enum keystore_change
keystore_put_crl(struct keystore *keystore, const struct key_crl *crl,
    const char (*scopes)[TRUST_SCOPE_SIZE], size_t scope_count,
    struct slice list, size_t *count_r, struct err *err)
{
	const struct key_crl *all;
	char name[TRUST_NAME_SIZE];
	size_t count;
	int rc = 1;

	if (keystore_crls(keystore, &all, &count, err) == -1)
		return CHANGE_FAILED;
	if (!has_list_room(all, count, crl, scope_count)) {
		(void)err_set(
		    err, "there are %d lists already", KEYSTORE_CRLS_MAX);
		return CHANGE_REFUSED;
	}
	if (sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	for (size_t i = 0; rc == 1 && i < scope_count; i++) {
		rc = put_row(keystore, crl, scopes[i], err);
		trust_list_name(crl->issuer_id, slice_of(scopes[i]), name);
		if (rc == 1 && durable_file_write(keystore->trust_folder, name,
				   list, err) == -1)
			rc = -1;
	}
	if (rc == 0) {
		sql_rollback(keystore->sql);
		(void)err_set(err, "a newer list of that CA is known");
		return CHANGE_EXISTS;
	}
	if (rc == 1)
		rc = revoke_named(keystore, crl, list, count_r, err);
	return keystore_end(keystore, rc, err);
}

static int
remove_row(
    struct keystore *keystore, const struct key_crl *crl, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_CRL_REMOVE);

	sql_bind_blob(stmt, 1, id_of(crl));
	sql_bind_text(stmt, 2, slice_of(crl->scope));
	return sql_run(keystore->sql, stmt, err);
}

static bool
has_file(const struct keystore *keystore, const struct key_crl *crl)
{
	char path[TRUST_FOLDER_SIZE + TRUST_NAME_SIZE];
	char name[TRUST_NAME_SIZE];

	trust_list_name(crl->issuer_id, slice_of(crl->scope), name);
	(void)snprintf(
	    path, sizeof(path), "%s/%s", keystore->trust_folder, name);
	return access(path, R_OK) == 0;
}

int
keystore_check_crls(struct keystore *keystore, size_t *count_r, struct err *err)
{
	const struct key_crl *all;
	size_t count;
	int rc = keystore_crls(keystore, &all, &count, err);

	*count_r = 0;
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (!has_file(keystore, &all[i])) {
			rc = remove_row(keystore, &all[i], err);
			++*count_r;
		}
	if (*count_r > 0)
		keystore_changed(keystore);
	return rc;
}

/* ---- sources ---- */

static enum keystore_change
changed(struct keystore *keystore, int rc)
{
	if (rc == -1)
		return CHANGE_FAILED;
	keystore_drop_crls(keystore);
	return CHANGE_DONE;
}

/* May one more be noted? */
static bool
has_room(struct keystore *keystore, const char *url, bool is_wanted)
{
	const struct crl_source *all;
	size_t found = 0;
	size_t count;

	if (keystore_sources(keystore, &all, &count, NULL) == -1)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(all[i].url, url) == 0)
			return true;
		found += !all[i].is_wanted;
	}
	return count < KEYSTORE_SOURCES_MAX &&
	       (is_wanted || found < KEYSTORE_SOURCES_FOUND_MAX);
}

enum keystore_change
keystore_put_source(struct keystore *keystore, const struct crl_place *place,
    bool is_wanted, int64_t seen_s, struct err *err)
{
	sqlite3_stmt *stmt;

	if (!has_room(keystore, place->url, is_wanted)) {
		(void)err_set(err, "there are too many places of lists");
		return CHANGE_REFUSED;
	}
	stmt = sql_use(keystore->sql, KEYSTORE_SOURCE_PUT);
	sql_bind_text(stmt, 1, slice_of(place->url));
	sql_bind_i64(stmt, 2, is_wanted);
	sql_bind_i64(stmt, 3, seen_s);
	sql_bind_blob(stmt, 4, place->issuers);
	sql_bind_text(stmt, 5, place->others);
	return changed(keystore, sql_run(keystore->sql, stmt, err));
}

int
keystore_source_other(struct keystore *keystore, const char *url, size_t number,
    char other_r[TRUST_URL_MAX + 1])
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_SOURCE_OTHERS);
	struct slice rest = {NULL, 0};
	int rc = -1;

	sql_bind_text(stmt, 1, slice_of(url));
	if (sql_step(keystore->sql, stmt, NULL) == 1)
		rest = sql_text(stmt, 0);
	for (size_t i = 0; rest.n > 0; i++) {
		const size_t end = slice_find(rest, '\n', 0);
		const size_t n = end < rest.n ? end + 1 : rest.n;

		if (i == number)
			rc = slice_copy((struct slice){rest.p, end}, other_r,
			    TRUST_URL_MAX + 1);
		rest = (struct slice){rest.p + n, rest.n - n};
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

enum keystore_change
keystore_tell_source(struct keystore *keystore, const char *url, int64_t due_s,
    unsigned failures, const char *reason, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_SOURCE_TOLD);

	sql_bind_text(stmt, 1, slice_of(url));
	sql_bind_i64(stmt, 2, due_s);
	sql_bind_i64(stmt, 3, failures);
	sql_bind_text(stmt, 4,
	    (struct slice){reason,
		strnlen(reason, sizeof(((struct crl_source *)0)->reason) - 1)});
	return changed(keystore, sql_run(keystore->sql, stmt, err));
}

enum keystore_change
keystore_remove_source(
    struct keystore *keystore, const char *url, struct err *err)
{
	const struct key_crl *all;
	bool is_found;
	sqlite3_stmt *stmt;
	size_t count;
	int rc = keystore_crls(keystore, &all, &count, err);

	if (rc == -1 || sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	stmt = sql_use(keystore->sql, KEYSTORE_SOURCE_REMOVE);
	sql_bind_text(stmt, 1, slice_of(url));
	rc = sql_run(keystore->sql, stmt, err);
	is_found = rc == 0 && sql_changes(keystore->sql) > 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		char name[TRUST_NAME_SIZE];

		if (strcmp(all[i].url, url) != 0)
			continue;
		is_found = true;
		rc = remove_row(keystore, &all[i], err);
		trust_list_name(all[i].issuer_id, slice_of(all[i].scope), name);
		trust_remove(keystore->trust_folder, name);
	}
	if (rc == 0 && !is_found) {
		sql_rollback(keystore->sql);
		(void)err_set(err, "no list comes from there");
		return CHANGE_NONE;
	}
	return keystore_end(keystore, rc, err);
}

enum keystore_change
keystore_trim_sources(
    struct keystore *keystore, int64_t seen_s, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_SOURCE_TRIM);

	sql_bind_i64(stmt, 1, seen_s);
	return changed(keystore, sql_run(keystore->sql, stmt, err));
}

int
keystore_source_issuers(struct keystore *keystore, keystore_issuers_fn *each,
    void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_SOURCE_ISSUERS);
	int rc;

	while ((rc = sql_step(keystore->sql, stmt, err)) == 1)
		each(arg, sql_blob(stmt, 0));
	(void)sqlite3_reset(stmt);
	return rc;
}

/* ---- the built-in CA's own ---- */

int
keystore_ca_crl(struct keystore *keystore, int64_t ca_id, struct ca_crl *crl_r,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_CA_CRL);
	int rc;

	crl_r->this_update_s = 0;
	crl_r->next_update_s = 0;
	sql_bind_i64(stmt, 1, ca_id);
	rc = sql_step(keystore->sql, stmt, err);
	if (rc == 1) {
		crl_r->this_update_s = sql_i64(stmt, 0);
		crl_r->next_update_s = sql_i64(stmt, 1);
		(void)buf_add_slice(&crl_r->der, sql_blob(stmt, 2));
	}
	(void)sqlite3_reset(stmt);
	return rc == -1 ? -1 : 0;
}

enum keystore_change
keystore_put_ca_crl(struct keystore *keystore, int64_t ca_id,
    int64_t this_update_s, int64_t next_update_s, struct slice der,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_CA_CRL_PUT);

	sql_bind_i64(stmt, 1, ca_id);
	sql_bind_i64(stmt, 2, this_update_s);
	sql_bind_i64(stmt, 3, next_update_s);
	sql_bind_blob(stmt, 4, der);
	return changed(keystore, sql_run(keystore->sql, stmt, err));
}
