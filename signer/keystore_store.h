/* SPDX-License-Identifier: ISC */
/*
 * What the files that work on keys.db share; for nobody else.
 */
#ifndef SIGNER_KEYSTORE_STORE_H
#define SIGNER_KEYSTORE_STORE_H

#include "signer/keystore_change.h"
#include "signer/keystore_sql.h"

/* A power of two; entries beyond it hang behind each other. */
#define CACHE_SLOTS 16384
/* "@", a domain or an address, or a fingerprint, with a letter before. */
#define CACHE_NAME_MAX 400
/* Uses that are noted and not written yet; the times are for people. */
#define USE_NOTES_MAX 256

/* A key as a look-up found it: with the binding or the selector it has. */
struct cache_item {
	struct key key;
	struct dkim_selector selector;
	char subject[ADDRESS_TEXT_MAX];
	char source[33];
	unsigned trust;
	bool is_pinned;
	bool is_pending;
	char octets[]; /* public and chain */
};

/* The answer to one question, also that there is nothing. */
struct cache_entry {
	struct cache_entry *next;
	size_t count;
	struct cache_item *items[KEYSTORE_LIST_MAX];
	char name[];
};

struct use_note {
	int64_t key_id;
	int64_t time_s;
};

struct keystore {
	struct sql *sql;
	uint64_t revision;
	struct cache_entry *slots[CACHE_SLOTS];
	size_t cached_octets;
	struct key_anchor *anchors;
	size_t anchor_count;
	bool has_anchors; /* loaded */
	/* In keystore_crl.c: */
	struct key_crl *crls;
	size_t crl_count;
	bool has_crls;
	struct crl_source *sources;
	size_t source_count;
	bool has_sources;
	int64_t unbound_after; /* keys up to this one were given */
	char trust_folder[TRUST_FOLDER_SIZE];
	char trust_id[TRUST_ID_SIZE]; /* of the file as it is; "": none */
	bool is_trust_current;
	bool requires_revocation; /* as the file has it */
	struct use_note notes[USE_NOTES_MAX];
	size_t note_count;
};

/* Something was written: what is in memory is gone. */
void keystore_changed(struct keystore *keystore);

/* In keystore_trust.c and keystore_crl.c. */
void keystore_drop_trust(struct keystore *keystore);
void keystore_drop_crls(struct keystore *keystore);

/* ASCII letters in lower case; -1 when it is too long. */
int keystore_fold(struct slice text, char *out, size_t size);

/* Keys of a question; NULL with err when the store failed. */
const struct cache_entry *keystore_lookup_subject(
    struct keystore *keystore, struct slice subject, struct err *err);

/* Commits when rc is 0, else rolls back. */
enum keystore_change keystore_end(
    struct keystore *keystore, int rc, struct err *err);

bool keystore_is_constraint(const struct keystore *keystore);

/* Within a transaction. */
int keystore_insert_key(struct keystore *keystore, const struct key *key,
    int64_t now_s, int64_t *id_r, struct err *err);
int keystore_put_status(struct keystore *keystore, int64_t key_id,
    enum key_status status, struct err *err);
int keystore_insert_binding(struct keystore *keystore, int64_t key_id,
    const struct binding_row *row, int64_t now_s, struct err *err);
/* What a key's public part is known by again: SHA-256. */
#define KEYSTORE_DIGEST_SIZE 32
void keystore_digest(
    struct slice public, unsigned char digest_r[KEYSTORE_DIGEST_SIZE]);

#endif
