/* SPDX-License-Identifier: ISC */
/*
 * keys.db: the store, and what is kept of it in memory; which of several keys
 * is used is for keystore_choose.c.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: the file as far as
 * its types go.
 *
 * An entry in memory is the answer to one question (an address, a domain, a
 * fingerprint); a change of the store throws all of them away, which is rare
 * beside look-ups, and cannot forget one.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/keystore_store.h"

/* What entries may take before keystore_trim() drops them. */
#define CACHE_OCTETS_MAX ((size_t)48 * 1024 * 1024)

static const char *const migrations[] = {
    KEYSTORE_SCHEMA_1, KEYSTORE_SCHEMA_2, KEYSTORE_SCHEMA_3, KEYSTORE_SCHEMA_4};

#define KEYSTORE_TEXT(suffix, text) [KEYSTORE_##suffix] = (text),
static const char *const statements[KEYSTORE_STATEMENT_COUNT] = {
    KEYSTORE_STATEMENTS(KEYSTORE_TEXT)};
#undef KEYSTORE_TEXT

static const char *const kind_names[KEY_KIND_COUNT] = {[KEY_SMIME] = "smime",
    [KEY_PGP] = "pgp",
    [KEY_DKIM] = "dkim",
    [KEY_CA] = "ca"};

static const char *const status_names[KEY_STATUS_COUNT] = {
    [KEY_ACTIVE] = "active",
    [KEY_PENDING] = "pending",
    [KEY_DECRYPT_ONLY] = "decrypt_only",
    [KEY_REVOKED] = "revoked",
    [KEY_DISABLED] = "disabled",
    [KEY_RETIRED] = "retired"};

/* ---- words ---- */

const char *
key_kind_name(enum key_kind kind)
{
	return kind_names[kind];
}

const char *
key_status_name(enum key_status status)
{
	return status_names[status];
}

static unsigned
word_index(const char *const *words, unsigned count, struct slice word)
{
	unsigned i = 0;

	while (i < count && !slice_equals(word, slice_of(words[i])))
		i++;
	return i;
}

enum key_kind
key_kind_by_name(struct slice name)
{
	return (enum key_kind)word_index(kind_names, KEY_KIND_COUNT, name);
}

int
keystore_fold(struct slice text, char *out, size_t size)
{
	if (text.n >= size)
		return -1;
	for (size_t i = 0; i < text.n; i++)
		out[i] = text.p[i] >= 'A' && text.p[i] <= 'Z'
			     ? (char)(text.p[i] + ('a' - 'A'))
			     : text.p[i];
	out[text.n] = '\0';
	return 0;
}

void
keystore_digest(
    struct slice public, unsigned char digest_r[KEYSTORE_DIGEST_SIZE])
{
	if (EVP_Digest(
		public.p, public.n, digest_r, NULL, EVP_sha256(), NULL) != 1)
		fatal("SHA-256 failed");
}

/* ---- open and close ---- */

int
keystore_open(const char *dir, struct keystore **keystore_r, struct err *err)
{
	struct keystore *keystore = xcalloc(1, sizeof(*keystore));
	char path[4096];
	struct sql_config config = {.path = path,
	    .durability = SQL_DURABLE,
	    .migrations = migrations,
	    .migration_count = sizeof(migrations) / sizeof(migrations[0]),
	    .statements = statements,
	    .statement_count = KEYSTORE_STATEMENT_COUNT};

	(void)snprintf(path, sizeof(path), "%s/keys.db", dir);
	keystore->revision = 1;
	if (trust_folder(dir, keystore->trust_folder, err) == -1) {
		keystore_close(keystore);
		return -1;
	}
	if (sql_open(&config, &keystore->sql, err) == -1) {
		keystore_close(keystore);
		return -1;
	}
	*keystore_r = keystore;
	return 0;
}

static void
free_entry(struct cache_entry *entry)
{
	for (size_t i = 0; i < entry->count; i++)
		free(entry->items[i]);
	free(entry);
}

static void
drop_cache(struct keystore *keystore)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		while (keystore->slots[i] != NULL) {
			struct cache_entry *entry = keystore->slots[i];

			keystore->slots[i] = entry->next;
			free_entry(entry);
		}
	keystore->cached_octets = 0;
}

void
keystore_close(struct keystore *keystore)
{
	if (keystore == NULL)
		return;
	drop_cache(keystore);
	keystore_drop_trust(keystore);
	sql_close(keystore->sql);
	free(keystore);
}

struct sql *
keystore_sql(struct keystore *keystore)
{
	return keystore->sql;
}

uint64_t
keystore_revision(const struct keystore *keystore)
{
	return keystore->revision;
}

void
keystore_changed(struct keystore *keystore)
{
	keystore->revision++;
	drop_cache(keystore);
	keystore_drop_trust(keystore);
}

void
keystore_trim(struct keystore *keystore)
{
	if (keystore->cached_octets > CACHE_OCTETS_MAX)
		drop_cache(keystore);
}

/* ---- rows ---- */

static int
read_texts(sqlite3_stmt *stmt, struct key *key)
{
	const struct {
		char *out;
		size_t size;
		int column;
	} texts[] = {
	    {key->fingerprint, sizeof(key->fingerprint), 3},
	    {key->algorithm, sizeof(key->algorithm), 4},
	    {key->subject, sizeof(key->subject), 9},
	    {key->issuer, sizeof(key->issuer), 10},
	    {key->serial, sizeof(key->serial), 11},
	    {key->secret_ref, sizeof(key->secret_ref), 12},
	    {key->source, sizeof(key->source), 13},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (slice_copy(sql_text(stmt, texts[i].column), texts[i].out,
			texts[i].size) == -1)
			return -1;
	return 0;
}

static void
read_issuer(sqlite3_stmt *stmt, struct key *key)
{
	const struct slice id = sql_blob(stmt, 19);

	key->has_issuer_id = id.n == sizeof(key->issuer_id);
	if (key->has_issuer_id)
		memcpy(key->issuer_id, id.p, id.n);
}

/* All but public and chain. */
static int
read_key(sqlite3_stmt *stmt, struct key *key_r, struct err *err)
{
	const unsigned kind =
	    word_index(kind_names, KEY_KIND_COUNT, sql_text(stmt, 1));
	const unsigned status =
	    word_index(status_names, KEY_STATUS_COUNT, sql_text(stmt, 2));
	struct key key = {.id = sql_i64(stmt, 0),
	    .kind = (enum key_kind)kind,
	    .status = (enum key_status)status,
	    .bits = (unsigned)sql_i64(stmt, 5),
	    .uses = (unsigned)sql_i64(stmt, 6),
	    .not_before_s = sql_i64(stmt, 7),
	    .not_after_s = sql_i64(stmt, 8),
	    .has_aead = sql_i64(stmt, 14) != 0,
	    .created_s = sql_i64(stmt, 15),
	    .last_used_s = sql_i64(stmt, 16)};

	read_issuer(stmt, &key);
	if (read_texts(stmt, &key) == -1 || kind == KEY_KIND_COUNT ||
	    status == KEY_STATUS_COUNT)
		return err_set(
		    err, "keys.db: key %lld is malformed", (long long)key.id);
	*key_r = key;
	return 0;
}

/* The columns behind the key's: of a binding, or of a selector. */
static int
read_place(sqlite3_stmt *stmt, bool is_selector, struct cache_item *item)
{
	const int at = KEY_COLUMN_COUNT;
	struct dkim_selector *selector = &item->selector;

	if (is_selector) {
		selector->key = &item->key;
		selector->active_from_s = sql_i64(stmt, at + 2);
		selector->active_to_s = sql_i64(stmt, at + 3);
		if (slice_copy(sql_text(stmt, at), selector->domain,
			sizeof(selector->domain)) == -1)
			return -1;
		return slice_copy(sql_text(stmt, at + 1), selector->selector,
		    sizeof(selector->selector));
	}
	item->trust = (unsigned)sql_i64(stmt, at + 2);
	item->is_pinned = sql_i64(stmt, at + 3) != 0;
	item->is_pending =
	    slice_equals(sql_text(stmt, at + 4), SLICE("pending"));
	if (slice_copy(
		sql_text(stmt, at), item->subject, sizeof(item->subject)) == -1)
		return -1;
	return slice_copy(
	    sql_text(stmt, at + 1), item->source, sizeof(item->source));
}

static struct cache_item *
read_item(sqlite3_stmt *stmt, bool is_selector, struct err *err)
{
	const struct slice public = sql_blob(stmt, 17);
	const struct slice chain = sql_blob(stmt, 18);
	struct cache_item *item =
	    xcalloc(1, sizeof(*item) + public.n + chain.n);

	if (read_key(stmt, &item->key, err) == -1) {
		free(item);
		return NULL;
	}
	if (read_place(stmt, is_selector, item) == -1) {
		(void)err_set(err,
		    "keys.db: a binding of key %lld is malformed",
		    (long long)item->key.id);
		free(item);
		return NULL;
	}
	if (public.n > 0)
		memcpy(item->octets, public.p, public.n);
	if (chain.n > 0)
		memcpy(item->octets + public.n, chain.p, chain.n);
	item->key.public = (struct slice){item->octets, public.n};
	item->key.chain = (struct slice){item->octets + public.n, chain.n};
	return item;
}

/* ---- questions ---- */

static size_t
slot_of(const char *name)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (const char *p = name; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 1099511628211u;
	return (size_t)(hash ^ hash >> 32) % CACHE_SLOTS;
}

static struct cache_entry *
find_entry(const struct keystore *keystore, const char *name)
{
	struct cache_entry *entry = keystore->slots[slot_of(name)];

	while (entry != NULL && strcmp(entry->name, name) != 0)
		entry = entry->next;
	return entry;
}

/* Runs a bound statement; its rows are the entry. */
static const struct cache_entry *
load_entry(struct keystore *keystore, sqlite3_stmt *stmt, const char *name,
    bool is_selector, struct err *err)
{
	struct cache_entry *entry =
	    xcalloc(1, sizeof(*entry) + strlen(name) + 1);
	struct cache_entry **slot = &keystore->slots[slot_of(name)];
	size_t octets = sizeof(*entry) + strlen(name) + 1;
	int rc = 0;

	memcpy(entry->name, name, strlen(name) + 1);
	while (entry->count < KEYSTORE_LIST_MAX &&
	       (rc = sql_step(keystore->sql, stmt, err)) == 1) {
		struct cache_item *item = read_item(stmt, is_selector, err);

		if (item == NULL) {
			rc = -1;
			break;
		}
		entry->items[entry->count++] = item;
		octets +=
		    sizeof(*item) + item->key.public.n + item->key.chain.n;
	}
	(void)sqlite3_reset(stmt);
	if (rc == -1) {
		free_entry(entry);
		return NULL;
	}
	entry->next = *slot;
	*slot = entry;
	keystore->cached_octets += octets;
	return entry;
}

const struct cache_entry *
keystore_lookup_subject(
    struct keystore *keystore, struct slice subject, struct err *err)
{
	static const struct cache_entry nothing = {.count = 0};
	char name[CACHE_NAME_MAX];
	const struct cache_entry *entry;
	sqlite3_stmt *stmt;

	/* What is too long to be an address has no key. */
	if (keystore_fold(subject, name + 1, ADDRESS_TEXT_MAX) == -1)
		return &nothing;
	name[0] = '='; /* so that no address is one of our own questions */
	entry = find_entry(keystore, name);
	if (entry != NULL)
		return entry;
	stmt = sql_use(keystore->sql, KEYSTORE_BY_SUBJECT);
	sql_bind_text(stmt, 1, slice_of(name + 1));
	sql_bind_i64(stmt, 2, KEYSTORE_LIST_MAX);
	return load_entry(keystore, stmt, name, false, err);
}

static const struct cache_entry *
lookup_fingerprint(struct keystore *keystore, enum key_kind kind,
    struct slice fingerprint, struct err *err)
{
	char name[CACHE_NAME_MAX];
	const struct cache_entry *entry;
	sqlite3_stmt *stmt;

	(void)snprintf(name, sizeof(name), "#%s:%.*s", kind_names[kind],
	    (int)(fingerprint.n > KEY_FINGERPRINT_MAX ? KEY_FINGERPRINT_MAX
						      : fingerprint.n),
	    fingerprint.p);
	entry = find_entry(keystore, name);
	if (entry != NULL)
		return entry;
	stmt = sql_use(keystore->sql, KEYSTORE_BY_FINGERPRINT);
	sql_bind_text(stmt, 1, slice_of(kind_names[kind]));
	sql_bind_text(stmt, 2, fingerprint);
	return load_entry(keystore, stmt, name, false, err);
}

const struct key *
keystore_key(struct keystore *keystore, int64_t id, struct err *err)
{
	char name[CACHE_NAME_MAX];
	const struct cache_entry *entry;
	sqlite3_stmt *stmt;

	(void)snprintf(name, sizeof(name), "#%lld", (long long)id);
	entry = find_entry(keystore, name);
	if (entry == NULL) {
		stmt = sql_use(keystore->sql, KEYSTORE_BY_ID);
		sql_bind_i64(stmt, 1, id);
		entry = load_entry(keystore, stmt, name, false, err);
	}
	if (entry == NULL)
		return NULL;
	if (entry->count == 0) {
		(void)err_set(err, "there is no key %lld", (long long)id);
		return NULL;
	}
	return &entry->items[0]->key;
}

enum keystore_result
keystore_by_fingerprint(struct keystore *keystore, enum key_kind kind,
    struct slice fingerprint, const struct key **key_r)
{
	const struct cache_entry *entry =
	    lookup_fingerprint(keystore, kind, fingerprint, NULL);

	if (entry == NULL)
		return KEYSTORE_BROKEN;
	if (entry->count == 0)
		return KEYSTORE_NONE;
	*key_r = &entry->items[0]->key;
	return KEYSTORE_FOUND;
}

/* ---- DKIM ---- */

int
keystore_selectors(struct keystore *keystore, const char *domain,
    struct dkim_selector selectors_r[static KEYSTORE_SELECTORS_MAX],
    size_t *count_r, struct err *err)
{
	char name[CACHE_NAME_MAX];
	const struct cache_entry *entry;
	sqlite3_stmt *stmt;

	(void)snprintf(name, sizeof(name), "#dkim:%s", domain);
	entry = find_entry(keystore, name);
	if (entry == NULL) {
		stmt = sql_use(keystore->sql, KEYSTORE_BY_DOMAIN);
		sql_bind_text(stmt, 1, slice_of(domain));
		sql_bind_i64(stmt, 2, KEYSTORE_SELECTORS_MAX);
		entry = load_entry(keystore, stmt, name, true, err);
	}
	if (entry == NULL)
		return -1;
	for (size_t i = 0; i < entry->count; i++)
		selectors_r[i] = entry->items[i]->selector;
	*count_r = entry->count;
	return 0;
}

/*
 * An activation is never planned ahead: one in the future tells of a clock that
 * was set back, for which no mail goes unsigned.
 */
static bool
signs_now(const struct dkim_selector *selector, int64_t now_s)
{
	return selector->key->status == KEY_ACTIVE &&
	       selector->active_from_s != 0 &&
	       (selector->active_to_s == 0 || now_s < selector->active_to_s);
}

int
keystore_dkim(struct keystore *keystore, struct slice domain, int64_t now_s,
    struct dkim_selector selectors_r[static KEYSTORE_SELECTORS_MAX],
    size_t *count_r, struct err *err)
{
	char name[256];
	size_t all;
	size_t count = 0;

	*count_r = 0;
	if (keystore_fold(domain, name, sizeof(name)) == -1)
		return 0;
	if (keystore_selectors(keystore, name, selectors_r, &all, err) == -1)
		return -1;
	for (size_t i = 0; i < all; i++)
		if (signs_now(&selectors_r[i], now_s))
			selectors_r[count++] = selectors_r[i];
	*count_r = count;
	return 0;
}

int
keystore_dkim_domains(struct keystore *keystore, int64_t now_s,
    keystore_text_fn *each, void *arg, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_DKIM_DOMAINS);
	int rc;

	sql_bind_i64(stmt, 1, now_s);
	while ((rc = sql_step(keystore->sql, stmt, err)) == 1)
		each(arg, sql_text(stmt, 0));
	(void)sqlite3_reset(stmt);
	return rc;
}

/* ---- messages ---- */

struct ipc_record_work_key
keystore_work_key(const struct key *key, enum work_key_use use)
{
	return (struct ipc_record_work_key){.use = (uint16_t)use,
	    .ref = slice_of(key->secret_ref),
	    .fingerprint = slice_of(key->fingerprint),
	    .algorithm = slice_of(key->algorithm),
	    .has_aead = key->has_aead,
	    .public = key->public,
	    .chain = key->chain};
}

/* ---- last use ---- */

void
keystore_note_use(struct keystore *keystore, int64_t key_id, int64_t now_s)
{
	for (size_t i = 0; i < keystore->note_count; i++)
		if (keystore->notes[i].key_id == key_id) {
			keystore->notes[i].time_s = now_s;
			return;
		}
	if (keystore->note_count < USE_NOTES_MAX)
		keystore->notes[keystore->note_count++] =
		    (struct use_note){key_id, now_s};
}

/* What look-ups returned stays good: only the time of the use is written. */
int
keystore_flush(struct keystore *keystore, struct err *err)
{
	int rc = 0;

	if (keystore->note_count == 0)
		return 0;
	if (sql_begin(keystore->sql, err) == -1)
		return -1;
	for (size_t i = 0; rc == 0 && i < keystore->note_count; i++) {
		sqlite3_stmt *stmt = sql_use(keystore->sql, KEYSTORE_KEY_USED);

		sql_bind_i64(stmt, 1, keystore->notes[i].key_id);
		sql_bind_i64(stmt, 2, keystore->notes[i].time_s);
		rc = sql_run(keystore->sql, stmt, err);
	}
	keystore->note_count = 0;
	if (rc == 0 && sql_commit(keystore->sql, err) == 0)
		return 0;
	sql_rollback(keystore->sql);
	return -1;
}
