/* SPDX-License-Identifier: ISC */
/*
 * Changes of keys.db, for the management verbs.  Each is one transaction and
 * makes what look-ups returned before invalid.
 */
#ifndef SIGNER_KEYSTORE_CHANGE_H
#define SIGNER_KEYSTORE_CHANGE_H

#include "signer/keystore.h"

enum keystore_change {
	CHANGE_DONE,
	CHANGE_EXISTS,
	CHANGE_NONE,    /* no such key, anchor, request */
	CHANGE_REFUSED, /* err says why */
	CHANGE_FAILED   /* the store; err says how */
};

/* Whom a new key is for. */
struct key_owner {
	const char *const *subjects; /* addresses, or "@domain" */
	size_t count;
	const char *source;
	unsigned trust;
	bool is_pinned;
};

/*
 * Adds a key, or, to one that is known as a correspondent's, its private part
 * (key->secret_ref) or an owner.  Its id is in *id_r.  A correspondent's
 * certificate that its CA revoked is refused, one of ours becomes KEY_REVOKED.
 */
enum keystore_change keystore_add(struct keystore *keystore,
    const struct key *key, const struct key_owner *owner, int64_t now_s,
    int64_t *id_r, struct err *err);

/* By id, as look-ups return keys; NULL: there is none, or err is set. */
const struct key *keystore_key(
    struct keystore *keystore, int64_t id, struct err *err);

enum keystore_change keystore_set_status(struct keystore *keystore, int64_t id,
    enum key_status status, struct err *err);
enum keystore_change keystore_set_aead(
    struct keystore *keystore, int64_t id, bool has_aead, struct err *err);

/* Who signed a certificate, where that was not known. */
int keystore_note_issuer(struct keystore *keystore, int64_t id,
    const unsigned char issuer_id[TRUST_ISSUER_SIZE], struct err *err);

/* Removes a correspondent's key; one of ours is refused. */
enum keystore_change keystore_remove(
    struct keystore *keystore, int64_t id, struct err *err);

/*
 * Ends the waiting of a key's bindings.  Approved ones are pinned, and the
 * keys that the same addresses had are no more: the approved key is the one
 * that counts.  Rejected ones are remembered, so the key does not come back.
 */
enum keystore_change keystore_resolve(struct keystore *keystore, int64_t id,
    bool is_approved, int64_t now_s, struct err *err);

/* ---- DKIM ---- */

/* active_from_s 0: it is only published for now. */
enum keystore_change keystore_add_dkim(struct keystore *keystore,
    const struct key *key, const char *domain, const char *selector,
    int64_t active_from_s, int64_t now_s, int64_t *id_r, struct err *err);
enum keystore_change keystore_span_dkim(struct keystore *keystore, int64_t id,
    int64_t active_from_s, int64_t active_to_s, struct err *err);

/* ---- lists ---- */

struct binding_row {
	char subject[ADDRESS_TEXT_MAX];
	char source[33];
	unsigned trust;
	bool is_pinned;
	char state[12]; /* "active", "pending", "rejected" */
};

typedef void keystore_key_fn(void *arg, const struct key *key);
typedef void keystore_binding_fn(void *arg, const struct binding_row *row);

/* Keys of a kind with ids above after; match: part of an address, or "". */
int keystore_list(struct keystore *keystore, enum key_kind kind,
    const char *match, int64_t after, size_t limit, keystore_key_fn *each,
    void *arg, struct err *err);
/* Keys with a binding that waits for approval. */
int keystore_pending(struct keystore *keystore, size_t limit,
    keystore_key_fn *each, void *arg, struct err *err);
/* Certificates whose issuer_id is not known, others at each call. */
int keystore_unbound(struct keystore *keystore, size_t limit,
    keystore_key_fn *each, void *arg, struct err *err);
int keystore_bindings(struct keystore *keystore, int64_t id,
    keystore_binding_fn *each, void *arg, struct err *err);
/* 1 found, 0 the key has none, -1 failed. */
int keystore_selector_of(struct keystore *keystore, int64_t id,
    struct dkim_selector *selector_r, struct err *err);
/* All selectors of a domain, those that do not sign now, too. */
int keystore_selectors(struct keystore *keystore, const char *domain,
    struct dkim_selector selectors_r[static KEYSTORE_SELECTORS_MAX],
    size_t *count_r, struct err *err);

/* Our keys that end by themselves, the first to end first. */
typedef void keystore_ending_fn(void *arg, int64_t id, enum key_kind kind,
    struct slice fingerprint, struct slice subject, int64_t not_after_s);
int keystore_ending(struct keystore *keystore, keystore_ending_fn *each,
    void *arg, struct err *err);

/* ---- anchors ---- */

enum keystore_change keystore_add_anchor(struct keystore *keystore,
    const struct key_anchor *anchor, struct err *err);
enum keystore_change keystore_remove_anchor(
    struct keystore *keystore, const char *fingerprint, struct err *err);

/* ---- certificate requests, certificates of the built-in CA ---- */

struct cert_request {
	int64_t id;
	char address[ADDRESS_TEXT_MAX];
	char secret_ref[KEY_REF_MAX + 1];
	char algorithm[64];
	int64_t created_s;
};

enum keystore_change keystore_add_request(struct keystore *keystore,
    const struct cert_request *request, const char *public_digest,
    struct slice csr, struct err *err);
enum keystore_change keystore_find_request(struct keystore *keystore,
    const char *public_digest, struct cert_request *request_r, struct err *err);
enum keystore_change keystore_remove_request(
    struct keystore *keystore, int64_t id, struct err *err);
typedef void keystore_request_fn(void *arg, const struct cert_request *row);
int keystore_requests(struct keystore *keystore, keystore_request_fn *each,
    void *arg, struct err *err);

struct ca_issued {
	char serial[129];
	char address[ADDRESS_TEXT_MAX];
	int64_t not_after_s;
	int64_t revoked_s; /* 0: it is not */
};

enum keystore_change keystore_add_issued(struct keystore *keystore,
    int64_t ca_id, const struct ca_issued *issued, struct err *err);
enum keystore_change keystore_revoke_issued(struct keystore *keystore,
    int64_t ca_id, const char *serial, int64_t now_s, struct err *err);
typedef void keystore_issued_fn(void *arg, const struct ca_issued *row);
int keystore_issued(struct keystore *keystore, int64_t ca_id,
    keystore_issued_fn *each, void *arg, struct err *err);

#endif
