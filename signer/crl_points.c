/* SPDX-License-Identifier: ISC */
/*
 * Where certificates say that lists about them are (RFC 5280 §4.2.1.13).
 * Runs in: postern-signerd's broker.  Trusts: the `key` worker for which
 * certificates lead to an anchor, nobody for where a list is: fetchd asks no
 * private address, and places are limited in number.
 *
 * The stored certificates are gone through a few at a time, new ones soon
 * after they came, all of them once a day and when the anchors changed.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "signer/crls_state.h"
#include "signer/key_admin.h"
#include "signer/signerd.h"
#include "signer/trust_x509.h"

#define DAY_S 86400
/* Certificates of one task. */
#define AT_ONCE 50
/* A place that no certificate named for so long is forgotten. */
#define UNSEEN_MAX_S ((int64_t)90 * DAY_S)
/* Signers of mail: each again after an hour, and not one after another. */
#define LOOK_AGAIN_S 3600
#define LOOK_PAUSE_S 5

struct crl_look {
	struct crls *crls; /* NULL: it went away */
};

static bool
may_look(const struct crls *crls)
{
	const struct settings *settings =
	    daemon_settings(crls->signerd->daemon);

	return crls->look == NULL && settings->fetch_crl &&
	       settings->fetch_crl_points;
}

/* ---- the task ---- */

static void
end(const struct key_call *call)
{
	const struct crl_look *look = call->context;

	if (look->crls != NULL)
		look->crls->look = NULL;
}

static void
put(struct crls *crls, struct slice url, struct slice others,
    struct slice issuers, int64_t now_s)
{
	char text[TRUST_URL_MAX + 1];
	const struct crl_place place = {
	    .url = text, .others = others, .issuers = issuers};
	struct err err;

	/* The built-in CA's list is here before it is there. */
	if (!trust_is_web_url(url) || issuers.n > KEY_FILE_MAX ||
	    others.n >= TRUST_OTHERS_SIZE ||
	    slice_equals(url, slice_of(daemon_settings(crls->signerd->daemon)
					   ->crypto_ca_crl_url)) ||
	    slice_copy(url, text, sizeof(text)) == -1)
		return;
	if (keystore_put_source(crls->signerd->keystore, &place, false, now_s,
		&err) != CHANGE_DONE)
		log_notice("%s: %s", text, err.text);
}

static enum manage_code
on_points(struct key_call *call, const struct key_answer *answer)
{
	const struct crl_look *look = call->context;
	struct ipc_list parts = answer->parts.parts;
	struct ipc_record_part url;
	struct ipc_record_part others;
	struct ipc_record_part issuers;

	while (look->crls != NULL && ipc_part_next(&parts, &url) &&
	       ipc_part_next(&parts, &others) &&
	       ipc_part_next(&parts, &issuers))
		put(look->crls, url.data, others.data, issuers.data,
		    call->now_s);
	end(call);
	return MANAGE_LATER;
}

static void
on_failed(struct key_call *call, const char *reason, bool is_temporary)
{
	(void)is_temporary;
	log_notice("where lists of revoked certificates are: %s", reason);
	end(call);
}

static struct key_call *
look_new(struct crls *crls)
{
	struct key_call *call =
	    key_call_new(crls->signerd, NULL, KEY_OP_FIND_POINTS);
	struct crl_look *look = xcalloc(1, sizeof(*look));

	look->crls = crls;
	crls->look = look;
	call->context = look;
	call->failed = on_failed;
	key_call_people(call);
	return call;
}

void
crls_forget_look(struct crls *crls)
{
	if (crls->look != NULL)
		crls->look->crls = NULL;
	crls->look = NULL;
}

/* ---- stored certificates ---- */

struct batch {
	struct crls *crls;
	struct key_call *call;
	int64_t now_s;
	int64_t last_id;
	size_t count;
};

static void
add_candidate(void *arg, const struct key *key)
{
	struct batch *batch = arg;
	struct ipc_record_work_key record =
	    keystore_work_key(key, WORK_KEY_CANDIDATE);

	batch->last_id = key->id;
	if (key->status == KEY_REVOKED || key->status == KEY_DISABLED ||
	    key->not_after_s < batch->now_s)
		return;
	if (batch->call == NULL)
		batch->call = look_new(batch->crls);
	/* Where it may be used does not matter here. */
	record.ref = slice_of("");
	(void)ipc_work_key_add(&batch->call->keys, &record, NULL);
	batch->count++;
}

/* Ended long ago, and its place is forgotten: nobody renews it. */
static const struct key_crl *
find_left(struct keystore *keystore, int64_t now_s)
{
	const struct crl_source *sources;
	const struct key_crl *all;
	size_t count;

	/* Both are there: asking for a place then drops no list. */
	if (keystore_sources(keystore, &sources, &count, NULL) == -1 ||
	    keystore_crls(keystore, &all, &count, NULL) == -1)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (all[i].next_update_s < now_s - UNSEEN_MAX_S &&
		    trust_is_web_url(slice_of(all[i].url)) &&
		    crls_source(keystore, all[i].url) == NULL)
			return &all[i];
	return NULL;
}

static void
remove_left(struct signerd *signerd, int64_t now_s)
{
	struct keystore *keystore = signerd->keystore;
	const struct key_crl *crl;
	enum keystore_change change = CHANGE_DONE;
	char url[TRUST_URL_MAX + 1];
	struct err err;

	while (change == CHANGE_DONE &&
	       (crl = find_left(keystore, now_s)) != NULL) {
		memcpy(url, crl->url, sizeof(url));
		key_expiry_clear_lists(signerd, url);
		change = keystore_remove_source(keystore, url, &err);
	}
	if (change != CHANGE_DONE)
		log_notice("lists of revoked certificates: %s", err.text);
}

/* All from the start: a day went by, or other CAs are believed. */
static void
start_again(struct crls *crls, int64_t now_s)
{
	const char *folder;
	const char *id;
	struct err err;
	const bool is_known = keystore_trust(crls->signerd->keystore,
				  daemon_settings(crls->signerd->daemon)
				      ->crypto_require_revocation,
				  &folder, &id, NULL) == 0;

	if (now_s < crls->sweep_s && crls->sweep_s - now_s <= DAY_S &&
	    (!is_known || strcmp(id, crls->trust_id) == 0))
		return;
	if (is_known)
		memcpy(crls->trust_id, id, sizeof(crls->trust_id));
	crls->swept_id = 0;
	crls->sweep_s = now_s + DAY_S;
	if (keystore_trim_sources(crls->signerd->keystore, now_s - UNSEEN_MAX_S,
		&err) == CHANGE_FAILED)
		log_notice("places of lists: %s", err.text);
	else
		remove_left(crls->signerd, now_s);
}

void
crls_sweep(struct crls *crls, int64_t now_s)
{
	struct batch batch = {.crls = crls, .now_s = now_s};
	struct err err;

	if (!may_look(crls))
		return;
	start_again(crls, now_s);
	batch.last_id = crls->swept_id;
	if (keystore_list(crls->signerd->keystore, KEY_SMIME, "",
		crls->swept_id, AT_ONCE, add_candidate, &batch, &err) == -1) {
		log_notice("certificates: %s", err.text);
		if (batch.call != NULL) {
			end(batch.call);
			key_call_free(batch.call);
		}
		return;
	}
	crls->swept_id = batch.last_id;
	if (batch.call != NULL)
		(void)key_call_run(batch.call, on_points);
}

/* ---- signers of mail ---- */

static bool
was_looked_at(struct crls *crls, struct slice certificates, int64_t now_s)
{
	unsigned char digest[32];

	if (EVP_Digest(certificates.p, certificates.n, digest, NULL,
		EVP_sha256(), NULL) != 1)
		fatal("SHA-256 failed");
	for (size_t i = 0; i < CRLS_LOOKED_MAX; i++)
		if (memcmp(crls->looked[i].digest, digest, TRUST_DIGEST_SIZE) ==
			0 &&
		    now_s - crls->looked[i].time_s < LOOK_AGAIN_S &&
		    now_s >= crls->looked[i].time_s)
			return true;
	memcpy(
	    crls->looked[crls->next_looked].digest, digest, TRUST_DIGEST_SIZE);
	crls->looked[crls->next_looked].time_s = now_s;
	crls->next_looked = (crls->next_looked + 1) % CRLS_LOOKED_MAX;
	return false;
}

void
crls_look(struct crls *crls, struct slice certificates, int64_t now_s)
{
	struct ipc_record_work_key record = {
	    .use = WORK_KEY_CANDIDATE, .public = certificates};
	struct key_call *call;

	if (crls == NULL || certificates.n == 0 || !may_look(crls) ||
	    (now_s - crls->looked_s < LOOK_PAUSE_S &&
		now_s >= crls->looked_s) ||
	    was_looked_at(crls, certificates, now_s))
		return;
	crls->looked_s = now_s;
	call = look_new(crls);
	(void)ipc_work_key_add(&call->keys, &record, NULL);
	(void)key_call_run(call, on_points);
}
