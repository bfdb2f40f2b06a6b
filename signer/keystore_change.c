/* SPDX-License-Identifier: ISC */
/*
 * Changes of keys.db that an administrator asks for, and lists for him.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: what callers read
 * in keys; the file as far as its types go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/keystore_crl.h"
#include "signer/keystore_store.h"

/* ---- transactions ---- */

bool
keystore_is_constraint(const struct keystore *keystore)
{
	return (sqlite3_errcode(sql_handle(keystore->sql)) & 0xff) ==
	       SQLITE_CONSTRAINT;
}

enum keystore_change
keystore_end(struct keystore *keystore, int rc, struct err *err)
{
	keystore_changed(keystore);
	if (rc == 0 && sql_commit(keystore->sql, err) == 0)
		return CHANGE_DONE;
	sql_rollback(keystore->sql);
	return CHANGE_FAILED;
}

/* Ends with another result: nothing is kept. */
static enum keystore_change
give_up(struct keystore *keystore, enum keystore_change change)
{
	sql_rollback(keystore->sql);
	return change;
}

/* ---- rows ---- */

int
keystore_insert_key(struct keystore *keystore, const struct key *key,
    int64_t now_s, int64_t *id_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_ADD);
	unsigned char digest[KEYSTORE_DIGEST_SIZE];

	keystore_digest(key->public, digest);
	sql_bind_text(stmt, 1, slice_of(key_kind_name(key->kind)));
	sql_bind_text(stmt, 2, slice_of(key_status_name(key->status)));
	sql_bind_text(stmt, 3, slice_of(key->fingerprint));
	sql_bind_text(stmt, 4, slice_of(key->algorithm));
	sql_bind_i64(stmt, 5, key->bits);
	sql_bind_i64(stmt, 6, key->uses);
	sql_bind_i64(stmt, 7, key->not_before_s);
	sql_bind_i64(stmt, 8, key->not_after_s);
	sql_bind_text(stmt, 9, slice_of(key->subject));
	sql_bind_text(stmt, 10, slice_of(key->issuer));
	sql_bind_text(stmt, 11, slice_of(key->serial));
	sql_bind_text(stmt, 12, slice_of(key->secret_ref));
	sql_bind_text(stmt, 13, slice_of(key->source));
	sql_bind_i64(stmt, 14, key->has_aead);
	sql_bind_i64(stmt, 15, now_s);
	sql_bind_blob(stmt, 16, (struct slice){(char *)digest, sizeof(digest)});
	sql_bind_blob(stmt, 17, key->public);
	sql_bind_blob(stmt, 18, key->chain);
	sql_bind_blob(stmt, 19,
	    (struct slice){(const char *)key->issuer_id,
		key->has_issuer_id ? sizeof(key->issuer_id) : 0});
	if (sql_run(keystore->sql, stmt, err) == -1)
		return -1;
	*id_r = sql_last_rowid(keystore->sql);
	return 0;
}

int
keystore_insert_binding(struct keystore *keystore, int64_t key_id,
    const struct binding_row *row, int64_t now_s, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_BIND);
	char subject[ADDRESS_TEXT_MAX];

	if (keystore_fold(slice_of(row->subject), subject, sizeof(subject)) ==
	    -1)
		return err_set(err, "an address is too long");
	sql_bind_text(stmt, 1, slice_of(subject));
	sql_bind_i64(stmt, 2, key_id);
	sql_bind_text(stmt, 3, slice_of(row->source));
	sql_bind_i64(stmt, 4, row->trust);
	sql_bind_i64(stmt, 5, row->is_pinned);
	sql_bind_text(stmt, 6, slice_of(row->state));
	sql_bind_i64(stmt, 7, now_s);
	return sql_run(keystore->sql, stmt, err);
}

static int
bind_owner(struct keystore *keystore, int64_t id, const struct key_owner *owner,
    int64_t now_s, struct err *err)
{
	struct binding_row row = {.trust = owner->trust,
	    .is_pinned = owner->is_pinned,
	    .state = "active"};
	int rc = 0;

	(void)snprintf(row.source, sizeof(row.source), "%s", owner->source);
	for (size_t i = 0; rc == 0 && i < owner->count; i++) {
		rc = slice_copy(slice_of(owner->subjects[i]), row.subject,
		    sizeof(row.subject));
		if (rc == -1)
			return err_set(err, "an address is too long");
		rc = keystore_insert_binding(keystore, id, &row, now_s, err);
	}
	return rc;
}

/* A correspondent's key becomes ours. */
static int
make_ours(struct keystore *keystore, int64_t id, const struct key *key,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_OWN);

	sql_bind_i64(stmt, 1, id);
	sql_bind_text(stmt, 2, slice_of(key->secret_ref));
	sql_bind_text(stmt, 3, slice_of(key->source));
	sql_bind_blob(stmt, 4, key->public);
	sql_bind_blob(stmt, 5, key->chain);
	sql_bind_text(stmt, 6, slice_of(key_status_name(key->status)));
	return sql_run(keystore->sql, stmt, err);
}

int
keystore_put_status(struct keystore *keystore, int64_t id,
    enum key_status status, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_STATUS);

	sql_bind_i64(stmt, 1, id);
	sql_bind_text(stmt, 2, slice_of(key_status_name(status)));
	return sql_run(keystore->sql, stmt, err);
}

/* ---- adding ---- */

/* To a key that is there already. */
static enum keystore_change
add_to_known(struct keystore *keystore, const struct key *known,
    const struct key *key, const struct key_owner *owner, int64_t now_s,
    int64_t *id_r, struct err *err)
{
	const int64_t id = known->id;
	const bool gets_secret = key->secret_ref[0] != '\0';
	const bool was_waiting = known->status == KEY_PENDING;
	int rc = 0;

	if (known->secret_ref[0] != '\0') {
		(void)err_set(
		    err, "key %lld is that key already", (long long)id);
		return CHANGE_EXISTS;
	}
	if (known->status == KEY_REVOKED) {
		(void)err_set(
		    err, "key %lld is that key, and revoked", (long long)id);
		return CHANGE_REFUSED;
	}
	if (sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	if (gets_secret)
		rc = make_ours(keystore, id, key, err);
	else if (was_waiting)
		rc = keystore_put_status(keystore, id, KEY_ACTIVE, err);
	if (rc == 0 && key->has_issuer_id)
		rc = keystore_note_issuer(keystore, id, key->issuer_id, err);
	if (rc == 0)
		rc = bind_owner(keystore, id, owner, now_s, err);
	*id_r = id;
	return keystore_end(keystore, rc, err);
}

enum keystore_change
keystore_add(struct keystore *keystore, const struct key *key,
    const struct key_owner *owner, int64_t now_s, int64_t *id_r,
    struct err *err)
{
	const struct key *known = NULL;
	struct key kept = *key;
	int rc;

	if (keystore_is_revoked(keystore, key)) {
		(void)err_set(err, "its CA revoked the certificate");
		/* With one of ours old mail may still be opened. */
		if (key->secret_ref[0] == '\0')
			return CHANGE_REFUSED;
		kept.status = KEY_REVOKED;
	}
	switch (keystore_by_fingerprint(
	    keystore, key->kind, slice_of(key->fingerprint), &known)) {
	case KEYSTORE_FOUND:
		return add_to_known(
		    keystore, known, &kept, owner, now_s, id_r, err);
	case KEYSTORE_NONE:
		break;
	default:
		(void)err_set(err, "the key store failed");
		return CHANGE_FAILED;
	}
	if (sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	rc = keystore_insert_key(keystore, &kept, now_s, id_r, err);
	if (rc == 0)
		rc = bind_owner(keystore, *id_r, owner, now_s, err);
	return keystore_end(keystore, rc, err);
}

/* ---- changing ---- */

/* Runs a statement that changes one row; NONE when there is no such row. */
static enum keystore_change
change_one(struct keystore *keystore, sqlite3_stmt *stmt, const char *what,
    struct err *err)
{
	if (sql_run(keystore->sql, stmt, err) == -1)
		return CHANGE_FAILED;
	if (sql_changes(keystore->sql) == 0) {
		(void)err_set(err, "there is no such %s", what);
		return CHANGE_NONE;
	}
	keystore_changed(keystore);
	return CHANGE_DONE;
}

enum keystore_change
keystore_set_status(struct keystore *keystore, int64_t id,
    enum key_status status, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_STATUS);

	sql_bind_i64(stmt, 1, id);
	sql_bind_text(stmt, 2, slice_of(key_status_name(status)));
	return change_one(keystore, stmt, "key", err);
}

enum keystore_change
keystore_set_aead(
    struct keystore *keystore, int64_t id, bool has_aead, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_AEAD);

	sql_bind_i64(stmt, 1, id);
	sql_bind_i64(stmt, 2, has_aead);
	return change_one(keystore, stmt, "key", err);
}

int
keystore_note_issuer(struct keystore *keystore, int64_t id,
    const unsigned char issuer_id[TRUST_ISSUER_SIZE], struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_ISSUER);
	int rc;

	sql_bind_i64(stmt, 1, id);
	sql_bind_blob(stmt, 2,
	    (struct slice){(const char *)issuer_id, TRUST_ISSUER_SIZE});
	rc = sql_run(keystore->sql, stmt, err);
	keystore_changed(keystore);
	return rc;
}

enum keystore_change
keystore_remove(struct keystore *keystore, int64_t id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_REMOVE);

	sql_bind_i64(stmt, 1, id);
	return change_one(keystore, stmt, "key of a correspondent", err);
}

/* Of the key: what the answer makes of it. */
static int
resolve_status(struct keystore *keystore, int64_t id, bool is_approved,
    bool was_pending, struct err *err)
{
	if (!was_pending)
		return 0;
	return keystore_put_status(
	    keystore, id, is_approved ? KEY_ACTIVE : KEY_DISABLED, err);
}

enum keystore_change
keystore_resolve(struct keystore *keystore, int64_t id, bool is_approved,
    int64_t now_s, struct err *err)
{
	const struct key *key = keystore_key(keystore, id, err);
	bool was_pending;
	sqlite3_stmt *stmt;
	int rc;

	if (key == NULL)
		return CHANGE_NONE;
	/* It would take the place of a good one. */
	if (is_approved && (key->status == KEY_REVOKED ||
			       keystore_is_revoked(keystore, key))) {
		(void)err_set(err, "key %lld is revoked", (long long)id);
		return CHANGE_REFUSED;
	}
	was_pending = key->status == KEY_PENDING;
	if (sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	stmt = sql_use(keystore->sql, KEYSTORE_RESOLVE);
	sql_bind_i64(stmt, 1, id);
	sql_bind_text(
	    stmt, 2, is_approved ? SLICE("active") : SLICE("rejected"));
	sql_bind_i64(stmt, 3, is_approved ? TRUST_MANUAL : TRUST_NONE);
	sql_bind_i64(stmt, 4, is_approved);
	sql_bind_i64(stmt, 5, now_s);
	rc = sql_run(keystore->sql, stmt, err);
	if (rc == 0 && sql_changes(keystore->sql) == 0) {
		(void)err_set(
		    err, "key %lld does not wait for approval", (long long)id);
		return give_up(keystore, CHANGE_NONE);
	}
	if (rc == 0)
		rc =
		    resolve_status(keystore, id, is_approved, was_pending, err);
	if (rc == 0 && is_approved) {
		/* The approved one is chosen before those of earlier. */
		stmt = sql_use(keystore->sql, KEYSTORE_SUPERSEDE);
		sql_bind_i64(stmt, 1, id);
		rc = sql_run(keystore->sql, stmt, err);
	}
	return keystore_end(keystore, rc, err);
}

/* ---- DKIM ---- */

enum keystore_change
keystore_add_dkim(struct keystore *keystore, const struct key *key,
    const char *domain, const char *selector, int64_t active_from_s,
    int64_t now_s, int64_t *id_r, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc;

	if (sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	rc = keystore_insert_key(keystore, key, now_s, id_r, err);
	if (rc == 0) {
		stmt = sql_use(keystore->sql, KEYSTORE_DKIM_ADD);
		sql_bind_text(stmt, 1, slice_of(domain));
		sql_bind_text(stmt, 2, slice_of(selector));
		sql_bind_i64(stmt, 3, *id_r);
		sql_bind_i64(stmt, 4, active_from_s);
		rc = sql_run(keystore->sql, stmt, err);
	}
	if (rc == -1 && keystore_is_constraint(keystore)) {
		(void)err_set(err, "%s has a selector %s, or this key, already",
		    domain, selector);
		return give_up(keystore, CHANGE_EXISTS);
	}
	return keystore_end(keystore, rc, err);
}

enum keystore_change
keystore_span_dkim(struct keystore *keystore, int64_t id, int64_t active_from_s,
    int64_t active_to_s, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_DKIM_SPAN);

	sql_bind_i64(stmt, 1, id);
	sql_bind_i64(stmt, 2, active_from_s);
	sql_bind_i64(stmt, 3, active_to_s);
	return change_one(keystore, stmt, "DKIM key", err);
}

int
keystore_selector_of(struct keystore *keystore, int64_t id,
    struct dkim_selector *selector_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_SELECTOR_OF);
	int rc;

	sql_bind_i64(stmt, 1, id);
	rc = sql_step(keystore->sql, stmt, err);
	if (rc == 1) {
		memset(selector_r, 0, sizeof(*selector_r));
		(void)slice_copy(sql_text(stmt, 0), selector_r->domain,
		    sizeof(selector_r->domain));
		(void)slice_copy(sql_text(stmt, 1), selector_r->selector,
		    sizeof(selector_r->selector));
		selector_r->active_from_s = sql_i64(stmt, 2);
		selector_r->active_to_s = sql_i64(stmt, 3);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* ---- lists ---- */

/* "%part%" with SQL's own signs escaped. */
static void
like_pattern(const char *match, struct buf *pattern)
{
	if (match[0] == '\0')
		return;
	(void)buf_add_char(pattern, '%');
	for (const char *p = match; *p != '\0'; p++) {
		if (*p == '%' || *p == '_' || *p == '\\')
			(void)buf_add_char(pattern, '\\');
		(void)buf_add_char(pattern, *p);
	}
	(void)buf_add_char(pattern, '%');
}

/* Ids first, so that the caller may ask further questions per key. */
#define LIST_STEP 1000

/* Gives the keys of the rows, which are ids. */
static int
each_key(struct keystore *keystore, sqlite3_stmt *stmt, keystore_key_fn *each,
    void *arg, struct err *err)
{
	int64_t ids[LIST_STEP];
	size_t count = 0;
	int rc = 0;

	while (
	    count < LIST_STEP && (rc = sql_step(keystore->sql, stmt, err)) == 1)
		ids[count++] = sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	if (rc == -1)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const struct key *key = keystore_key(keystore, ids[i], err);

		if (key == NULL)
			return -1;
		each(arg, key);
	}
	return 0;
}

int
keystore_list(struct keystore *keystore, enum key_kind kind, const char *match,
    int64_t after, size_t limit, keystore_key_fn *each, void *arg,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_LIST);
	struct buf pattern;
	int rc;

	buf_init(&pattern, 2 * ADDRESS_TEXT_MAX);
	like_pattern(match, &pattern);
	sql_bind_text(stmt, 1, slice_of(key_kind_name(kind)));
	sql_bind_i64(stmt, 2, after);
	sql_bind_i64(stmt, 3, (int64_t)limit);
	sql_bind_text(stmt, 4, slice_of(buf_text(&pattern)));
	rc = each_key(keystore, stmt, each, arg, err);
	buf_clear(&pattern);
	return rc;
}

int
keystore_pending(struct keystore *keystore, size_t limit, keystore_key_fn *each,
    void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_WAITING);

	sql_bind_i64(stmt, 1, (int64_t)limit);
	return each_key(keystore, stmt, each, arg, err);
}

struct counted {
	keystore_key_fn *each;
	void *arg;
	size_t count;
	int64_t last_id;
};

static void
count_key(void *arg, const struct key *key)
{
	struct counted *counted = arg;

	counted->count++;
	counted->last_id = key->id;
	counted->each(counted->arg, key);
}

int
keystore_unbound(struct keystore *keystore, size_t limit, keystore_key_fn *each,
    void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_UNBOUND);
	struct counted counted = {.each = each, .arg = arg};
	int rc;

	sql_bind_i64(stmt, 1, keystore->unbound_after);
	sql_bind_i64(stmt, 2, (int64_t)limit);
	rc = each_key(keystore, stmt, count_key, &counted, err);
	keystore->unbound_after = counted.count < limit ? 0 : counted.last_id;
	return rc;
}

int
keystore_bindings(struct keystore *keystore, int64_t id,
    keystore_binding_fn *each, void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_BINDINGS);
	int rc;

	sql_bind_i64(stmt, 1, id);
	while ((rc = sql_step(keystore->sql, stmt, err)) == 1) {
		struct binding_row row = {.trust = (unsigned)sql_i64(stmt, 2),
		    .is_pinned = sql_i64(stmt, 3) != 0};

		(void)slice_copy(
		    sql_text(stmt, 0), row.subject, sizeof(row.subject));
		(void)slice_copy(
		    sql_text(stmt, 1), row.source, sizeof(row.source));
		(void)slice_copy(
		    sql_text(stmt, 4), row.state, sizeof(row.state));
		each(arg, &row);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

int
keystore_ending(struct keystore *keystore, keystore_ending_fn *each, void *arg,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_ENDING);
	int rc;

	while ((rc = sql_step(keystore->sql, stmt, err)) == 1) {
		const enum key_kind kind = key_kind_by_name(sql_text(stmt, 2));

		each(arg, sql_i64(stmt, 0),
		    kind == KEY_KIND_COUNT ? KEY_SMIME : kind,
		    sql_text(stmt, 1), sql_text(stmt, 4), sql_i64(stmt, 3));
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* ---- certificate requests ---- */

enum keystore_change
keystore_add_request(struct keystore *keystore,
    const struct cert_request *request, const char *public_digest,
    struct slice csr, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_REQUEST_ADD);

	sql_bind_text(stmt, 1, slice_of(request->address));
	sql_bind_text(stmt, 2, slice_of(request->secret_ref));
	sql_bind_text(stmt, 3, slice_of(public_digest));
	sql_bind_text(stmt, 4, slice_of(request->algorithm));
	sql_bind_i64(stmt, 5, request->created_s);
	sql_bind_text(stmt, 6, csr);
	return sql_run(keystore->sql, stmt, err) == 0 ? CHANGE_DONE
						      : CHANGE_FAILED;
}

enum keystore_change
keystore_find_request(struct keystore *keystore, const char *public_digest,
    struct cert_request *request_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_REQUEST_FIND);
	int rc;

	sql_bind_text(stmt, 1, slice_of(public_digest));
	rc = sql_step(keystore->sql, stmt, err);
	if (rc == 1) {
		memset(request_r, 0, sizeof(*request_r));
		request_r->id = sql_i64(stmt, 0);
		(void)slice_copy(sql_text(stmt, 1), request_r->address,
		    sizeof(request_r->address));
		(void)slice_copy(sql_text(stmt, 2), request_r->secret_ref,
		    sizeof(request_r->secret_ref));
	}
	(void)sqlite3_reset(stmt);
	if (rc == 1)
		return CHANGE_DONE;
	if (rc == 0)
		(void)err_set(err, "no certificate request has that key");
	return rc == 0 ? CHANGE_NONE : CHANGE_FAILED;
}

enum keystore_change
keystore_remove_request(struct keystore *keystore, int64_t id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_REQUEST_REMOVE);

	sql_bind_i64(stmt, 1, id);
	return change_one(keystore, stmt, "certificate request", err);
}

int
keystore_requests(struct keystore *keystore, keystore_request_fn *each,
    void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_REQUEST_LIST);
	int rc;

	while ((rc = sql_step(keystore->sql, stmt, err)) == 1) {
		struct cert_request row = {
		    .id = sql_i64(stmt, 0), .created_s = sql_i64(stmt, 3)};

		(void)slice_copy(
		    sql_text(stmt, 1), row.address, sizeof(row.address));
		(void)slice_copy(
		    sql_text(stmt, 2), row.algorithm, sizeof(row.algorithm));
		each(arg, &row);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}

/* ---- what the built-in CA issued ---- */

enum keystore_change
keystore_add_issued(struct keystore *keystore, int64_t ca_id,
    const struct ca_issued *issued, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_ISSUED_ADD);

	sql_bind_i64(stmt, 1, ca_id);
	sql_bind_text(stmt, 2, slice_of(issued->serial));
	sql_bind_text(stmt, 3, slice_of(issued->address));
	sql_bind_i64(stmt, 4, issued->not_after_s);
	return sql_run(keystore->sql, stmt, err) == 0 ? CHANGE_DONE
						      : CHANGE_FAILED;
}

enum keystore_change
keystore_revoke_issued(struct keystore *keystore, int64_t ca_id,
    const char *serial, int64_t now_s, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_ISSUED_REVOKE);

	sql_bind_i64(stmt, 1, ca_id);
	sql_bind_text(stmt, 2, slice_of(serial));
	sql_bind_i64(stmt, 3, now_s);
	return change_one(
	    keystore, stmt, "certificate of this CA, or it is revoked", err);
}

int
keystore_issued(struct keystore *keystore, int64_t ca_id,
    keystore_issued_fn *each, void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_ISSUED_LIST);
	int rc;

	sql_bind_i64(stmt, 1, ca_id);
	while ((rc = sql_step(keystore->sql, stmt, err)) == 1) {
		struct ca_issued row = {.not_after_s = sql_i64(stmt, 2),
		    .revoked_s = sql_i64(stmt, 3)};

		(void)slice_copy(
		    sql_text(stmt, 0), row.serial, sizeof(row.serial));
		(void)slice_copy(
		    sql_text(stmt, 1), row.address, sizeof(row.address));
		each(arg, &row);
	}
	(void)sqlite3_reset(stmt);
	return rc;
}
