/* SPDX-License-Identifier: ISC */
/*
 * Whom to believe: anchors, keys that came with mail, and what look-ups in the
 * network said.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: the `key` worker,
 * which read the key, for its facts alone: what a key may replace is decided
 * here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/durable_file.h"
#include "signer/keystore_crl.h"
#include "signer/keystore_store.h"

/* All of them fit into one task of the `key` worker, and one file. */
#define ANCHORS_MAX 200
/* Of one address; whoever sends more different keys is not asked about. */
#define PENDING_MAX 8

/* ---- in memory ---- */

void
keystore_drop_trust(struct keystore *keystore)
{
	for (size_t i = 0; i < keystore->anchor_count; i++)
		free((void *)(uintptr_t)keystore->anchors[i].certificate.p);
	free(keystore->anchors);
	keystore->anchors = NULL;
	keystore->anchor_count = 0;
	keystore->has_anchors = false;
	keystore->is_trust_current = false;
	keystore_drop_crls(keystore);
}

static struct slice
copy_octets(struct slice octets)
{
	char *copy = xmalloc(octets.n + 1);

	if (octets.n > 0)
		memcpy(copy, octets.p, octets.n);
	return (struct slice){copy, octets.n};
}

static int
load_anchors(struct keystore *keystore, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_ANCHORS);
	struct key_anchor *all = xcalloc(ANCHORS_MAX, sizeof(*all));
	size_t count = 0;
	int rc = 0;

	while (count < ANCHORS_MAX &&
	       (rc = sql_step(keystore->sql, stmt, err)) == 1) {
		struct key_anchor *anchor = &all[count++];

		anchor->id = sql_i64(stmt, 0);
		(void)slice_copy(sql_text(stmt, 1), anchor->fingerprint,
		    sizeof(anchor->fingerprint));
		(void)slice_copy(sql_text(stmt, 2), anchor->subject,
		    sizeof(anchor->subject));
		anchor->not_after_s = sql_i64(stmt, 3);
		anchor->is_blocked = sql_i64(stmt, 4) != 0;
		anchor->certificate = copy_octets(sql_blob(stmt, 5));
	}
	(void)sqlite3_reset(stmt);
	keystore->anchors = all;
	keystore->anchor_count = count;
	keystore->has_anchors = rc != -1;
	return rc == -1 ? -1 : 0;
}

int
keystore_anchors(struct keystore *keystore, const struct key_anchor **anchors_r,
    size_t *count_r, struct err *err)
{
	if (!keystore->has_anchors && load_anchors(keystore, err) == -1) {
		keystore_drop_trust(keystore);
		return -1;
	}
	*anchors_r = keystore->anchors;
	*count_r = keystore->anchor_count;
	return 0;
}

/* ---- for workers ---- */

static int
add_anchor(struct ipc_list_writer *list, const struct key_anchor *anchor,
    struct err *err)
{
	const struct ipc_record_work_key record = {
	    .use = anchor->is_blocked ? WORK_KEY_BLOCKED : WORK_KEY_ANCHOR,
	    .public = anchor->certificate};

	return ipc_work_key_add(list, &record, err);
}

static int
write_trust(
    struct keystore *keystore, bool requires_revocation, struct err *err)
{
	struct trust_anchors all = {.requires_revocation = requires_revocation};
	const struct key_anchor *anchors;
	struct ipc_list_writer list;
	char id[TRUST_ID_SIZE];
	struct buf octets;
	size_t count;
	int rc = keystore_anchors(keystore, &anchors, &count, err);

	ipc_list_writer_init(&list, TRUST_ANCHORS_MAX - 4096);
	buf_init(&octets, TRUST_ANCHORS_MAX);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = add_anchor(&list, &anchors[i], err);
	all.keys = ipc_list_of(&list);
	if (rc == 0)
		rc = trust_anchors_write(&all, &octets, id, err);
	/* Most changes of the store are of other things. */
	if (rc == 0 && strcmp(id, keystore->trust_id) != 0) {
		keystore->trust_id[0] = '\0';
		rc = durable_file_write(keystore->trust_folder, TRUST_ANCHORS,
		    buf_slice(&octets), err);
	}
	if (rc == 0) {
		memcpy(keystore->trust_id, id, sizeof(id));
		keystore->is_trust_current = true;
		keystore->requires_revocation = requires_revocation;
	}
	buf_clear(&octets);
	ipc_list_writer_clear(&list);
	return rc;
}

int
keystore_trust(struct keystore *keystore, bool requires_revocation,
    const char **folder_r, const char **id_r, struct err *err)
{
	if ((!keystore->is_trust_current ||
		keystore->requires_revocation != requires_revocation) &&
	    write_trust(keystore, requires_revocation, err) == -1)
		return -1;
	*folder_r = keystore->trust_folder;
	*id_r = keystore->trust_id;
	return 0;
}

/* ---- anchors ---- */

enum keystore_change
keystore_add_anchor(
    struct keystore *keystore, const struct key_anchor *anchor, struct err *err)
{
	const struct key_anchor *all;
	size_t count;
	sqlite3_stmt *stmt;

	if (keystore_anchors(keystore, &all, &count, err) == -1)
		return CHANGE_FAILED;
	if (count >= ANCHORS_MAX) {
		(void)err_set(err, "there are %d anchors already", ANCHORS_MAX);
		return CHANGE_REFUSED;
	}
	stmt = sql_use(keystore->sql, KEYSTORE_ANCHOR_ADD);
	sql_bind_text(stmt, 1, slice_of(anchor->fingerprint));
	sql_bind_text(stmt, 2, slice_of(anchor->subject));
	sql_bind_i64(stmt, 3, anchor->not_after_s);
	sql_bind_i64(stmt, 4, anchor->is_blocked);
	sql_bind_blob(stmt, 5, anchor->certificate);
	if (sql_run(keystore->sql, stmt, err) == 0) {
		keystore_changed(keystore);
		return CHANGE_DONE;
	}
	if (!keystore_is_constraint(keystore))
		return CHANGE_FAILED;
	(void)err_set(err, "that certificate is an anchor or blocked already");
	return CHANGE_EXISTS;
}

enum keystore_change
keystore_remove_anchor(
    struct keystore *keystore, const char *fingerprint, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_ANCHOR_REMOVE);

	sql_bind_text(stmt, 1, slice_of(fingerprint));
	if (sql_run(keystore->sql, stmt, err) == -1)
		return CHANGE_FAILED;
	if (sql_changes(keystore->sql) == 0) {
		(void)err_set(err, "there is no anchor with that fingerprint");
		return CHANGE_NONE;
	}
	keystore_changed(keystore);
	return CHANGE_DONE;
}

/* ---- harvest ---- */

bool
keystore_knows(
    struct keystore *keystore, const struct ipc_record_harvest *harvest)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KNOWS);
	unsigned char digest[KEYSTORE_DIGEST_SIZE];
	char address[ADDRESS_TEXT_MAX];
	int rc;

	if (keystore_fold(harvest->address, address, sizeof(address)) == -1)
		return true; /* nobody's: there is nothing to learn */
	keystore_digest(harvest->public, digest);
	sql_bind_text(stmt, 1, slice_of(address));
	sql_bind_text(stmt, 2, harvest->kind);
	sql_bind_blob(stmt, 3, (struct slice){(char *)digest, sizeof(digest)});
	sql_bind_i64(stmt, 4, harvest->trust);
	rc = sql_step(keystore->sql, stmt, NULL);
	(void)sqlite3_reset(stmt);
	return rc == 1;
}

/*
 * Anybody may bring a key for somebody else's address along; who has it from
 * the domain, or an anchor's word for it, does not wait behind that one.
 */
static bool
outranks(
    const struct ipc_record_harvest *harvest, const struct cache_item *item)
{
	const unsigned least =
	    item->key.kind == KEY_SMIME ? TRUST_CHAIN : TRUST_WKD;

	return harvest->trust >= least && item->trust <= TRUST_HARVESTED &&
	       !item->is_pinned;
}

/* What is known of the address already. */
struct situation {
	const struct cache_item *same; /* this very key */
	bool is_ours;                  /* the address has a key of ours */
	bool has_other;                /* another one that counts */
	bool must_ask;                 /* it may not be replaced unasked */
	bool has_outranked;            /* active so far, not so any more */
	size_t waiting;
};

static void
look_at(struct situation *s, const struct cache_item *item,
    const struct ipc_record_harvest *harvest, const struct key *facts,
    int64_t now_s)
{
	const struct key *key = &item->key;
	const bool is_over =
	    key->status == KEY_REVOKED ||
	    (key->not_after_s != 0 && key->not_after_s < now_s);

	if (key->kind != facts->kind)
		return;
	if (strcmp(key->fingerprint, facts->fingerprint) == 0) {
		s->same = item;
		return;
	}
	if (item->is_pending || key->status == KEY_PENDING) {
		s->waiting += !outranks(harvest, item);
		return;
	}
	if (key->status != KEY_ACTIVE && key->status != KEY_REVOKED)
		return;
	if (outranks(harvest, item)) {
		s->has_outranked |= key->status == KEY_ACTIVE;
		return;
	}
	s->has_other = true;
	/*
	 * A certificate that ended is renewed without asking when its CA
	 * vouches for the address again; whoever could get that one from the
	 * CA could as well have been first.
	 */
	if (item->is_pinned || !is_over || key->kind != KEY_SMIME ||
	    harvest->trust < TRUST_CHAIN || harvest->trust < item->trust)
		s->must_ask = true;
}

static int
look_around(struct keystore *keystore, const struct ipc_record_harvest *harvest,
    const struct key *facts, int64_t now_s, struct situation *situation_r,
    struct err *err)
{
	const struct cache_entry *entry =
	    keystore_lookup_subject(keystore, harvest->address, err);

	memset(situation_r, 0, sizeof(*situation_r));
	if (entry == NULL)
		return -1;
	for (size_t i = 0; i < entry->count; i++) {
		look_at(situation_r, entry->items[i], harvest, facts, now_s);
		if (entry->items[i]->key.secret_ref[0] != '\0')
			situation_r->is_ours = true;
	}
	return 0;
}

/*
 * A newer copy of a known key.  One that ends earlier is not taken: it may be
 * an old copy, from before its owner prolonged it.
 */
static bool
is_newer(const struct key *known, const struct key *facts)
{
	if (known->kind == KEY_SMIME || facts->public.n == 0)
		return false;
	if (facts->status == KEY_REVOKED)
		return true;
	return facts->not_after_s == 0 ||
	       (known->not_after_s != 0 &&
		   facts->not_after_s >= known->not_after_s);
}

static int
renew_key(struct keystore *keystore, const struct key *known,
    const struct ipc_record_harvest *harvest, const struct key *facts,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_RENEW);
	unsigned char digest[KEYSTORE_DIGEST_SIZE];
	const enum key_status status =
	    facts->status == KEY_REVOKED ? KEY_REVOKED : known->status;

	keystore_digest(harvest->public, digest);
	sql_bind_i64(stmt, 1, known->id);
	sql_bind_text(stmt, 2, slice_of(facts->algorithm));
	sql_bind_i64(stmt, 3, facts->bits);
	sql_bind_i64(stmt, 4, facts->uses);
	sql_bind_i64(stmt, 5, facts->not_before_s);
	sql_bind_i64(stmt, 6, facts->not_after_s);
	sql_bind_text(stmt, 7, slice_of(key_status_name(status)));
	sql_bind_blob(stmt, 8, (struct slice){(char *)digest, sizeof(digest)});
	sql_bind_blob(stmt, 9, facts->public);
	sql_bind_blob(stmt, 10, facts->chain);
	return sql_run(keystore->sql, stmt, err);
}

static int
bind_harvested(struct keystore *keystore, int64_t id,
    const struct ipc_record_harvest *harvest, bool is_pending, int64_t now_s,
    struct err *err)
{
	struct binding_row row = {.trust = harvest->trust};

	(void)snprintf(row.state, sizeof(row.state), "%s",
	    is_pending ? "pending" : "active");
	if (slice_copy(harvest->address, row.subject, sizeof(row.subject)) ==
		-1 ||
	    slice_copy(harvest->source, row.source, sizeof(row.source)) == -1)
		return err_set(err, "an address is too long");
	return keystore_insert_binding(keystore, id, &row, now_s, err);
}

/* Keys of the address that the new one outranks wait for approval now. */
static int
demote_outranked(struct keystore *keystore, int64_t id,
    const struct ipc_record_harvest *harvest, int64_t now_s, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_DEMOTE);
	char address[ADDRESS_TEXT_MAX];

	if (keystore_fold(harvest->address, address, sizeof(address)) == -1)
		return err_set(err, "an address is too long");
	sql_bind_text(stmt, 1, slice_of(address));
	sql_bind_i64(stmt, 2, id);
	sql_bind_text(stmt, 3, harvest->kind);
	sql_bind_i64(stmt, 4, TRUST_HARVESTED);
	sql_bind_i64(stmt, 5, now_s);
	return sql_run(keystore->sql, stmt, err);
}

/* It came once when nobody knew who signed it, or when no list named it. */
static int
revoke(
    struct keystore *keystore, const struct cache_item *item, struct err *err)
{
	if (item->key.status == KEY_REVOKED)
		return 0;
	return keystore_set_status(keystore, item->key.id, KEY_REVOKED, err) ==
		       CHANGE_DONE
		   ? 0
		   : -1;
}

static enum keystore_change
refresh(struct keystore *keystore, const struct situation *s,
    const struct ipc_record_harvest *harvest, const struct key *facts,
    int64_t now_s, enum keystore_harvested *harvested_r, struct err *err)
{
	const struct cache_item *item = s->same;
	const int64_t id = item->key.id;
	const bool renews = is_newer(&item->key, facts);
	const bool is_better = harvest->trust > item->trust && !item->is_pinned;
	/* It waited behind keys that do not count beside this source. */
	const bool takes_over = is_better && facts->status != KEY_REVOKED &&
				outranks(harvest, item) && !s->must_ask &&
				s->waiting == 0;
	int rc = 0;

	if (!renews && !is_better)
		return CHANGE_DONE;
	if (sql_begin(keystore->sql, err) == -1)
		return CHANGE_FAILED;
	*harvested_r = takes_over && s->has_outranked ? HARVEST_REPLACED
						      : HARVEST_REFRESHED;
	if (renews)
		rc = renew_key(keystore, &item->key, harvest, facts, err);
	if (rc == 0 && is_better)
		rc = bind_harvested(keystore, id, harvest,
		    item->is_pending && !takes_over, now_s, err);
	if (rc == 0 && takes_over && item->key.status == KEY_PENDING)
		rc = keystore_put_status(keystore, id, KEY_ACTIVE, err);
	if (rc == 0 && takes_over)
		rc = demote_outranked(keystore, id, harvest, now_s, err);
	return keystore_end(keystore, rc, err);
}

/* The key's row: known by another address already, or new. */
static int
find_or_insert(struct keystore *keystore,
    const struct ipc_record_harvest *harvest, const struct key *facts,
    bool is_pending, int64_t now_s, int64_t *id_r, struct err *err)
{
	const struct key *known = NULL;
	struct key key = *facts;

	if (keystore_by_fingerprint(keystore, facts->kind,
		slice_of(facts->fingerprint), &known) == KEYSTORE_FOUND) {
		*id_r = known->id;
		return facts->has_issuer_id ? keystore_note_issuer(keystore,
						  *id_r, facts->issuer_id, err)
					    : 0;
	}
	key.status = is_pending ? KEY_PENDING : KEY_ACTIVE;
	key.secret_ref[0] = '\0';
	if (slice_copy(harvest->source, key.source, sizeof(key.source)) == -1)
		return err_set(err, "a source is too long");
	return keystore_insert_key(keystore, &key, now_s, id_r, err);
}

/* 1 when that key was rejected for that address, 0 not, -1 failed. */
static int
was_rejected(struct keystore *keystore,
    const struct ipc_record_harvest *harvest, const struct key *facts)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_REJECTED);
	char address[ADDRESS_TEXT_MAX];
	int rc;

	if (keystore_fold(harvest->address, address, sizeof(address)) == -1)
		return 1;
	sql_bind_text(stmt, 1, slice_of(address));
	sql_bind_text(stmt, 2, harvest->kind);
	sql_bind_text(stmt, 3, slice_of(facts->fingerprint));
	rc = sql_step(keystore->sql, stmt, NULL);
	(void)sqlite3_reset(stmt);
	return rc;
}

int
keystore_harvest(struct keystore *keystore,
    const struct ipc_record_harvest *harvest, const struct key *facts,
    int64_t now_s, enum keystore_harvested *harvested_r, struct err *err)
{
	struct situation s;
	bool is_pending;
	int64_t id = 0;
	int rc;

	*harvested_r = HARVEST_IGNORED;
	if (look_around(keystore, harvest, facts, now_s, &s, err) == -1)
		return -1;
	if (s.is_ours)
		return 0;
	if (keystore_is_revoked(keystore, facts)) {
		*harvested_r = HARVEST_REVOKED;
		return s.same == NULL ? 0 : revoke(keystore, s.same, err);
	}
	if (s.same != NULL)
		return refresh(keystore, &s, harvest, facts, now_s, harvested_r,
			   err) == CHANGE_FAILED
			   ? -1
			   : 0;
	rc = was_rejected(keystore, harvest, facts);
	is_pending = (s.has_other && s.must_ask) || s.waiting > 0;
	if (rc != 0 || facts->status == KEY_REVOKED || s.waiting >= PENDING_MAX)
		return rc == -1 ? -1 : 0;
	if (sql_begin(keystore->sql, err) == -1)
		return -1;
	*harvested_r = is_pending        ? HARVEST_PENDING
		       : s.has_outranked ? HARVEST_REPLACED
					 : HARVEST_ADDED;
	rc = find_or_insert(
	    keystore, harvest, facts, is_pending, now_s, &id, err);
	if (rc == 0)
		rc = bind_harvested(
		    keystore, id, harvest, is_pending, now_s, err);
	if (rc == 0 && !is_pending && s.has_outranked)
		rc = demote_outranked(keystore, id, harvest, now_s, err);
	return keystore_end(keystore, rc, err) == CHANGE_DONE ? 0 : -1;
}

/* ---- look-ups ---- */

enum lookup_result
keystore_lookup(struct keystore *keystore, struct slice address,
    const char *source, int64_t now_s)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_LOOKUP_GET);
	char folded[ADDRESS_TEXT_MAX];
	enum lookup_result result = LOOKUP_UNKNOWN;

	if (keystore_fold(address, folded, sizeof(folded)) == -1)
		return LOOKUP_NONE;
	sql_bind_text(stmt, 1, slice_of(folded));
	sql_bind_text(stmt, 2, slice_of(source));
	if (sql_step(keystore->sql, stmt, NULL) == 1 &&
	    sql_i64(stmt, 1) > now_s && sql_i64(stmt, 0) > LOOKUP_UNKNOWN &&
	    sql_i64(stmt, 0) <= LOOKUP_PENDING)
		result = (enum lookup_result)sql_i64(stmt, 0);
	(void)sqlite3_reset(stmt);
	return result;
}

int
keystore_set_lookup(struct keystore *keystore, struct slice address,
    const char *source, enum lookup_result result, int64_t expires_s,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_LOOKUP_PUT);
	char folded[ADDRESS_TEXT_MAX];

	if (keystore_fold(address, folded, sizeof(folded)) == -1)
		return 0;
	sql_bind_text(stmt, 1, slice_of(folded));
	sql_bind_text(stmt, 2, slice_of(source));
	sql_bind_i64(stmt, 3, result);
	sql_bind_i64(stmt, 4, expires_s);
	return sql_run(keystore->sql, stmt, err);
}
