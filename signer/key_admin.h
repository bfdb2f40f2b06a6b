/* SPDX-License-Identifier: ISC */
/*
 * The management verbs of keys, certificates and the built-in CA, and what
 * the broker itself does with keys that come by mail or from the network.
 */
#ifndef SIGNER_KEY_ADMIN_H
#define SIGNER_KEY_ADMIN_H

#include "signer/key_call.h"
#include "signer/keystore_crl.h"

/* ---- for the broker ---- */

/*
 * A key that came with a mail, or was fetched (source "wkd", "vks"): read in a
 * `key` worker and stored, unless there is nothing new in it.  At most so many
 * wait at a time; more are dropped, they come again.  A certificate is taken
 * only when it leads to an anchor, whatever trust the record says: then that
 * is TRUST_CHAIN.
 */
#define KEY_HARVESTS_MAX 32
/* done may be NULL; is_usable: the address has an active key now. */
typedef void key_harvest_fn(void *arg, bool is_usable);
void key_harvest(struct signerd *signerd,
    const struct ipc_record_harvest *harvest, key_harvest_fn *done, void *arg);

/*
 * A fetched list of revoked certificates.  done is called once: with the list
 * when it is kept, or, said by a reason, a newer one is there; with NULL and
 * the reason when it is refused, and what was there stays.
 */
typedef void key_crl_fn(void *arg, const struct key_crl *crl, size_t revoked,
    const char *reason);
void key_take_crl(struct signerd *signerd, struct slice file, const char *url,
    key_crl_fn *done, void *arg);

/* Lists of the built-in CA that are missing or end soon: new ones. */
void key_ca_renew_crls(struct signerd *signerd);

/* ---- what ends (key_expiry.c) ---- */

/*
 * Alerts of keys of ours, anchors and lists that end soon.  Called after start,
 * every hour, and when one of them changed.
 */
void key_expiry_check(struct signerd *signerd);
/* The key, or anchor, is no longer used: nobody needs to be told. */
void key_expiry_clear(struct signerd *signerd, const char *fingerprint);
void key_expiry_clear_anchor(
    struct signerd *signerd, const char *fingerprint);
/* Of lists that came from there, before they are forgotten. */
void key_expiry_clear_lists(struct signerd *signerd, const char *url);

/* ---- the verbs ---- */

/* For the table in manage.c. */
#define KEY_VERBS(V)                              \
	V("key.dkim.new", key_dkim_new)           \
	V("key.dkim.rotate", key_dkim_rotate)     \
	V("key.dkim.activate", key_dkim_activate) \
	V("key.dkim.list", key_dkim_list)         \
	V("key.dkim.show", key_dkim_show)         \
	V("key.dkim.export", key_dkim_show)       \
	V("key.dkim.retire", key_dkim_retire)     \
	V("key.smime.new", key_smime_new)         \
	V("key.smime.import", key_smime_import)   \
	V("key.smime.csr", key_smime_csr)         \
	V("key.smime.install", key_smime_install) \
	V("key.smime.list", key_smime_list)       \
	V("key.smime.show", key_smime_show)       \
	V("key.smime.export", key_smime_export)   \
	V("key.smime.retire", key_smime_retire)   \
	V("key.smime.remove", key_smime_remove)   \
	V("key.smime.aead", key_smime_aead)       \
	V("key.pgp.new", key_pgp_new)             \
	V("key.pgp.import", key_pgp_import)       \
	V("key.pgp.list", key_pgp_list)           \
	V("key.pgp.show", key_pgp_show)           \
	V("key.pgp.export", key_pgp_export)       \
	V("key.pgp.wkd", key_pgp_wkd)             \
	V("key.pgp.retire", key_pgp_retire)       \
	V("key.pgp.remove", key_pgp_remove)       \
	V("key.pending", key_pending)             \
	V("key.approve", key_approve)             \
	V("key.reject", key_reject)               \
	V("key.anchor.add", key_anchor_add)       \
	V("key.anchor.remove", key_anchor_remove) \
	V("key.anchor.list", key_anchor_list)     \
	V("key.crl.import", key_crl_import)       \
	V("key.crl.list", key_crl_list)           \
	V("key.crl.fetch", key_crl_fetch)         \
	V("key.crl.remove", key_crl_remove)       \
	V("ca.new", ca_new)                       \
	V("ca.issue", ca_issue)                   \
	V("ca.revoke", ca_revoke)                 \
	V("ca.crl", ca_crl)                       \
	V("ca.show", ca_show)

#define KEY_VERB_PROTOTYPE(name, function) manage_verb_fn function;
KEY_VERBS(KEY_VERB_PROTOTYPE)
#undef KEY_VERB_PROTOTYPE

/* ---- for the files of the verbs ---- */

/* A result of the store that is not CHANGE_DONE. */
enum manage_code key_fail_change(struct manage_request *request,
    enum keystore_change change, const struct err *err);

/* Text, number or default of an argument. */
int64_t key_number(
    const struct manage_request *request, const char *name, int64_t otherwise);
/*
 * An address argument in our one spelling.  Not DONE: the reply is set.
 */
enum manage_code key_address(struct manage_request *request, const char *name,
    char address_r[ADDRESS_TEXT_MAX]);
enum manage_code key_domain(
    struct manage_request *request, const char *name, struct domain *domain_r);

/* A file that came in base64; freed by buf_clear(). */
enum manage_code key_file(
    struct manage_request *request, const char *name, struct buf *file_r);

/* The key that argument "key" names: its number or fingerprint. */
enum manage_code key_named(struct manage_request *request, enum key_kind kind,
    const struct key **key_r);

/* A key as answers show it. */
json_t *key_json(struct signerd *signerd, const struct key *key);
/* The list of a kind, by arguments match, limit, cursor. */
enum manage_code key_list_kind(
    struct manage_request *request, enum key_kind kind);
/* The answer "stored": the key as JSON. */
enum manage_code key_reply(
    struct manage_request *request, int64_t id, const char *note);

/* Stores a key of ours that came out of a call, private parts first. */
enum manage_code key_keep(struct key_call *call,
    const struct key_answer *answer, const struct key_owner *owner,
    int64_t *id_r);
/* Base64 with a NUL, the caller's; PEM of it. */
char *key_base64(struct slice octets);
char *key_pem(struct slice der, const char *label);
/* Retired: its signing half is removed, the other kept for old mail. */
enum manage_code key_retire(struct manage_request *request, enum key_kind kind,
    enum pool_class signing_class);
enum manage_code key_remove(struct manage_request *request, enum key_kind kind);

/* Anchors, and certificates that may lead to them, for the call's task. */
void key_call_people(struct key_call *call);
/* For a task with a list: stored certificates whose CA is not known yet. */
void key_call_unbound(struct key_call *call);
/* Keeps the list that a call read; "" as url: it came in a file. */
enum keystore_change key_keep_crl(struct key_call *call,
    const struct key_answer *answer, const char *url, struct key_crl *crl_r,
    size_t *revoked_r, struct err *err);
json_t *key_crl_json(const struct key_crl *crl, size_t revoked);

/* The CA that issues now; NULL: the reply is set. */
const struct key *key_current_ca(
    struct manage_request *request, enum manage_code *code_r);
/* 120 random bits as a serial number, and a NUL. */
#define KEY_SERIAL_SIZE 33
void key_make_serial(char serial_r[KEY_SERIAL_SIZE]);
/* The certificate of a new key by our CA, for `key smime new`. */
enum manage_code key_issue(struct manage_request *request);

#endif
