/* SPDX-License-Identifier: ISC */
/*
 * keys.db: certificates and keys, ours and those of correspondents, to whom
 * they belong, from where they came and how far they are trusted.  Private
 * parts are not in it: secret_ref names their file (signer/keyring.h).
 * Owner: postern-signerd's broker.
 *
 * Look-ups are answered from memory and are meant for every message.  What
 * they return is good until the next call that changes the store.
 *
 * Functions return 0, or -1 when the store failed, unless they say otherwise.
 * Addresses are compared without regard to ASCII case.
 */
#ifndef SIGNER_KEYSTORE_H
#define SIGNER_KEYSTORE_H

#include "common/address.h"
#include "common/ipc.h"
#include "common/sql.h"
#include "common/vocabulary.h"
#include "signer/trust.h"

enum key_kind {
	KEY_SMIME,
	KEY_PGP,
	KEY_DKIM,
	KEY_CA, /* the built-in CA's own */
	KEY_KIND_COUNT
};

enum key_status {
	KEY_ACTIVE,
	KEY_PENDING,      /* waits for an administrator's approval */
	KEY_DECRYPT_ONLY, /* ours, retired: opens old mail, nothing else */
	KEY_REVOKED,
	KEY_DISABLED,
	KEY_RETIRED, /* a DKIM key that signs no more */
	KEY_STATUS_COUNT
};

/* A set: what the key itself permits. */
enum key_use { KEY_SIGNS = 1, KEY_ENCRYPTS = 2, KEY_CERTIFIES = 4 };

/* How far a binding of a key to an address is believed. */
enum key_trust {
	TRUST_NONE = 0,
	TRUST_HKPS = 10,      /* a key server that checks nothing */
	TRUST_HARVESTED = 30, /* it came with a mail */
	TRUST_VKS = 50,       /* a key server that verified the address */
	TRUST_CHAIN = 60,     /* harvested with a chain to an anchor */
	TRUST_WKD = 70,       /* the domain's own web server, by TLS */
	TRUST_DANE = 80,
	TRUST_OWN_CA = 90,
	TRUST_MANUAL = 100
};

#define KEY_FINGERPRINT_MAX 128 /* hexadecimal, capitals */
#define KEY_REF_MAX 512
#define KEY_NAME_MAX 512 /* of an issuer, subject, serial number */

struct key {
	int64_t id;
	enum key_kind kind;
	enum key_status status;
	char fingerprint[KEY_FINGERPRINT_MAX + 1]; /* SMIME: SHA-256, DER */
	char algorithm[64];                        /* "rsa-2048", "p-256" */
	unsigned bits;
	unsigned uses;        /* a set of enum key_use */
	int64_t not_before_s; /* 0: always */
	int64_t not_after_s;  /* 0: for ever */
	char subject[KEY_NAME_MAX + 1];
	char issuer[KEY_NAME_MAX + 1];
	char serial[129];
	/* SMIME: who signed it, as far as that is known (signer/trust.h). */
	bool has_issuer_id;
	unsigned char issuer_id[TRUST_ISSUER_SIZE];
	char secret_ref[KEY_REF_MAX + 1]; /* "": not ours */
	char source[33];                  /* "manual", "wkd", "smime", ... */
	bool has_aead;                    /* its owner reads AES-GCM */
	int64_t created_s;
	int64_t last_used_s;
	/* SMIME: DER; PGP: transferable key; DKIM: SubjectPublicKeyInfo. */
	struct slice public;
	struct slice chain; /* further certificates, DER one after another */
};

/* A key as one address or domain has it. */
struct key_binding {
	const struct key *key;
	char subject[ADDRESS_TEXT_MAX]; /* "alice@a.example", "@a.example" */
	char source[33];
	unsigned trust; /* enum key_trust or between */
	bool is_pinned; /* no other key replaces it without approval */
};

/* "smime", "active": as the store and answers spell them. */
const char *key_kind_name(enum key_kind kind);
const char *key_status_name(enum key_status status);
/* COUNT: no such word. */
enum key_kind key_kind_by_name(struct slice name);

struct keystore;

/* Opens or creates DIR/keys.db. */
int keystore_open(
    const char *dir, struct keystore **keystore_r, struct err *err);
void keystore_close(struct keystore *keystore);
struct sql *keystore_sql(struct keystore *keystore);

/* Rises with each change, so that others know when to look again. */
uint64_t keystore_revision(const struct keystore *keystore);

/* ---- look-ups, in memory ---- */

/* Why there is no key; the most hopeful reason counts. */
enum keystore_result {
	KEYSTORE_FOUND,
	KEYSTORE_NONE,       /* no key of that kind for that address */
	KEYSTORE_UNSUITABLE, /* none that may do that */
	KEYSTORE_REVOKED,
	KEYSTORE_EXPIRED,   /* or not valid yet */
	KEYSTORE_PENDING,   /* one waits for approval */
	KEYSTORE_UNTRUSTED, /* below min_trust */
	KEYSTORE_BROKEN,    /* the store failed; the message waits */
	KEYSTORE_RESULT_COUNT
};

/* "", "no key is known", "its key expired", ... for replies and logs. */
const char *keystore_result_text(enum keystore_result result);

/*
 * The key to sign as that address with (ours, active, valid at now_s): bound
 * to the address, else to its domain; of several the one that is valid the
 * longest.
 */
enum keystore_result keystore_signer(struct keystore *keystore,
    enum key_kind kind, struct slice address, int64_t now_s,
    const struct key **key_r);

/* The key to encrypt to that address with; *binding_r tells its trust. */
enum keystore_result keystore_recipient(struct keystore *keystore,
    enum key_kind kind, struct slice address, unsigned min_trust, int64_t now_s,
    struct key_binding *binding_r);

/* More keys than this of one address are not looked at. */
#define KEYSTORE_LIST_MAX 64

struct key_list {
	size_t count;
	const struct key *keys[KEYSTORE_LIST_MAX];
};

/*
 * Our keys that mail to that address may be decrypted with: bound to it or
 * its domain, expired and retired ones too.
 */
int keystore_decryptors(struct keystore *keystore, enum key_kind kind,
    struct slice address, struct key_list *list_r, struct err *err);

/* Keys that may have made a signature of that address, by trust. */
int keystore_candidates(struct keystore *keystore, enum key_kind kind,
    struct slice address, struct key_list *list_r, struct err *err);

/* Others' keys that the address or its domain has, whatever they are good for.
 */
int keystore_correspondents(struct keystore *keystore, enum key_kind kind,
    struct slice address, struct key_list *list_r, struct err *err);

/* FOUND, NONE or BROKEN. */
enum keystore_result keystore_by_fingerprint(struct keystore *keystore,
    enum key_kind kind, struct slice fingerprint, const struct key **key_r);

/* DKIM keys of a domain that sign now; rsa first. */
struct dkim_selector {
	const struct key *key;
	char domain[256];
	char selector[64];
	int64_t active_from_s;
	int64_t active_to_s; /* 0: open */
};

#define KEYSTORE_SELECTORS_MAX 8

int keystore_dkim(struct keystore *keystore, struct slice domain, int64_t now_s,
    struct dkim_selector selectors_r[static KEYSTORE_SELECTORS_MAX],
    size_t *count_r, struct err *err);

/* The domains that have DKIM keys now: for SIGN_READY. */
typedef void keystore_text_fn(void *arg, struct slice text);
int keystore_dkim_domains(struct keystore *keystore, int64_t now_s,
    keystore_text_fn *each, void *arg, struct err *err);

/* ---- whom to believe ---- */

struct key_anchor {
	int64_t id;
	char fingerprint[KEY_FINGERPRINT_MAX + 1];
	char subject[KEY_NAME_MAX + 1];
	int64_t not_after_s;
	bool is_blocked; /* its certificates count for nothing */
	struct slice certificate;
};

/* Of all of them; the array is the store's. */
int keystore_anchors(struct keystore *keystore,
    const struct key_anchor **anchors_r, size_t *count_r, struct err *err);

/*
 * The folder and the id for a task that verifies (WORK_KEY_TRUST); the file of
 * anchors in it is written anew when they changed.  Good until the next call.
 */
int keystore_trust(struct keystore *keystore, bool requires_revocation,
    const char **folder_r, const char **id_r, struct err *err);

/* ---- for the messages to workers ---- */

/* Fills a record; slices point into the key. */
struct ipc_record_work_key keystore_work_key(
    const struct key *key, enum work_key_use use);

/* ---- keys that came with mail, or were fetched ---- */

/*
 * Is there nothing new in it?  To be asked before the key is given to a
 * `key` worker to be read; see key_harvest() in signer/key_admin.h, which
 * does both.
 */
bool keystore_knows(
    struct keystore *keystore, const struct ipc_record_harvest *harvest);

enum keystore_harvested {
	HARVEST_ADDED,     /* active at once: the first for that address */
	HARVEST_REFRESHED, /* the same key, newer or better trusted */
	HARVEST_REPLACED,  /* active; one that just came with mail waits now */
	HARVEST_PENDING,   /* another key than before: an event, an approval */
	HARVEST_REVOKED,   /* by its CA; it is not used, nor kept */
	HARVEST_IGNORED    /* pinned, ours, rejected before, or too many */
};

/* facts: what the `key` worker read in it; its ids are not looked at. */
int keystore_harvest(struct keystore *keystore,
    const struct ipc_record_harvest *harvest, const struct key *facts,
    int64_t now_s, enum keystore_harvested *harvested_r, struct err *err);

/* ---- what look-ups in the network said ---- */

enum lookup_result {
	LOOKUP_UNKNOWN, /* nobody asked, or too long ago */
	LOOKUP_FOUND,
	LOOKUP_NONE,
	LOOKUP_FAILED, /* ask again later */
	LOOKUP_PENDING /* asked, no answer yet */
};

enum lookup_result keystore_lookup(struct keystore *keystore,
    struct slice address, const char *source, int64_t now_s);
int keystore_set_lookup(struct keystore *keystore, struct slice address,
    const char *source, enum lookup_result result, int64_t expires_s,
    struct err *err);

/*
 * From the loop, where nobody holds what a look-up returned: frees memory of
 * look-ups beyond a limit.
 */
void keystore_trim(struct keystore *keystore);

/* Notes that a key was used; written by keystore_flush(), once a minute. */
void keystore_note_use(
    struct keystore *keystore, int64_t key_id, int64_t now_s);
int keystore_flush(struct keystore *keystore, struct err *err);

#endif
