/* SPDX-License-Identifier: ISC */
/*
 * Lists of revoked certificates of others: read, kept, shown.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; a list only as far as the `key` worker read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/events.h"
#include "signer/crls.h"
#include "signer/key_admin.h"
#include "signer/lookup.h"
#include "signer/trust_x509.h"

/* Stored keys whose chain may hold who signed a list. */
#define CHAINS_MAX 200
/* A task has 512 keys at the most; so many are left for what it is about. */
#define PEOPLE_MAX (512 - 64)
/* Certificates of one task of which is asked who signed them. */
#define UNBOUND_MAX 500

/* ---- who may have signed ---- */

struct chains {
	struct key_call *call;
	size_t count;
};

static void
add_chain(void *arg, const struct key *key)
{
	struct chains *chains = arg;
	const struct ipc_record_work_key record = {
	    .use = WORK_KEY_INTERMEDIATE, .public = key->chain};

	if (key->chain.n > 0 && chains->count < CHAINS_MAX &&
	    chains->call->keys.count < PEOPLE_MAX &&
	    ipc_work_key_add(&chains->call->keys, &record, NULL) == 0)
		chains->count++;
}

static void
add_issuers(void *arg, struct slice issuers)
{
	struct key_call *call = arg;
	const struct ipc_record_work_key record = {
	    .use = WORK_KEY_INTERMEDIATE, .public = issuers};

	if (call->keys.count < PEOPLE_MAX)
		(void)ipc_work_key_add(&call->keys, &record, NULL);
}

void
key_call_people(struct key_call *call)
{
	struct keystore *keystore = call->signerd->keystore;
	struct chains chains = {.call = call};
	const struct key_anchor *anchors;
	size_t count;

	if (keystore_anchors(keystore, &anchors, &count, NULL) == 0)
		for (size_t i = 0; i < count; i++) {
			const struct ipc_record_work_key record = {
			    .use = anchors[i].is_blocked ? WORK_KEY_BLOCKED
							 : WORK_KEY_ANCHOR,
			    .public = anchors[i].certificate};

			(void)ipc_work_key_add(&call->keys, &record, NULL);
		}
	(void)keystore_source_issuers(keystore, add_issuers, call, NULL);
	(void)keystore_list(
	    keystore, KEY_SMIME, "", 0, 1000, add_chain, &chains, NULL);
}

struct unbound {
	struct key_call *call;
	struct buf octets; /* certificates, one after another */
};

static void
flush_unbound(struct unbound *unbound)
{
	const struct ipc_record_work_key record = {
	    .use = WORK_KEY_CANDIDATE, .public = buf_slice(&unbound->octets)};

	if (unbound->octets.n > 0)
		(void)ipc_work_key_add(&unbound->call->keys, &record, NULL);
	buf_reset(&unbound->octets);
}

static void
add_unbound(void *arg, const struct key *key)
{
	struct unbound *unbound = arg;

	if (unbound->octets.n + key->public.n > IPC_KEY_MAX)
		flush_unbound(unbound);
	(void)buf_add_slice(&unbound->octets, key->public);
}

void
key_call_unbound(struct key_call *call)
{
	struct unbound unbound = {.call = call};

	buf_init(&unbound.octets, IPC_KEY_MAX);
	(void)keystore_unbound(
	    call->signerd->keystore, UNBOUND_MAX, add_unbound, &unbound, NULL);
	flush_unbound(&unbound);
	buf_clear(&unbound.octets);
}

/* ---- keeping ---- */

json_t *
key_crl_json(const struct key_crl *crl, size_t revoked)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I}", "issuer", crl->issuer,
	    "this_update", (json_int_t)crl->this_update_s, "next_update",
	    (json_int_t)crl->next_update_s, "entries", (json_int_t)crl->entries,
	    "revoked", (json_int_t)revoked);
}

static void
tell(struct signerd *signerd, const struct key_crl *crl, size_t revoked)
{
	char what[700];
	struct event_change event = {.actor = SLICE("postern-signerd"),
	    .verb = SLICE("key.crl.take"),
	    .revision = keystore_revision(signerd->keystore)};

	(void)snprintf(what, sizeof(what),
	    "%lld certificates of %.200s are revoked, %zu of them known here "
	    "and in use until now; from %.200s",
	    (long long)crl->entries, crl->issuer, revoked,
	    crl->url[0] != '\0' ? crl->url : "a file");
	event.what = slice_of(what);
	log_event(daemon_log(signerd->daemon), (struct log_context){0, 0},
	    EV_CHANGE, &event);
}

/*
 * Perhaps the list took the worker over.  Were it of later than now, no other
 * one would ever take its place.
 */
static bool
has_sound_times(const struct key_call *call, const struct key_answer *answer,
    const struct trust_list *head)
{
	return head->this_update_s == answer->this_update_s &&
	       head->next_update_s == answer->next_update_s &&
	       head->this_update_s <= call->now_s + TRUST_AHEAD_MAX_S &&
	       head->next_update_s > call->now_s;
}

/*
 * Of some it was not known who signed them: no certificate of that CA was here
 * when they came.
 */
static void
note_issuers(const struct key_call *call, struct slice issued)
{
	struct keystore *keystore = call->signerd->keystore;
	struct key_issued row;
	struct err err;

	for (; issued.n >= sizeof(row);
	     issued.p += sizeof(row), issued.n -= sizeof(row)) {
		const struct key *key;

		memcpy(&row, issued.p, sizeof(row));
		if (keystore_by_fingerprint(keystore, KEY_SMIME,
			(struct slice){
			    row.fingerprint, sizeof(row.fingerprint)},
			&key) == KEYSTORE_FOUND &&
		    keystore_note_issuer(
			keystore, key->id, row.issuer_id, &err) == -1)
			log_notice("who signed a certificate: %s", err.text);
	}
}

enum keystore_change
key_keep_crl(struct key_call *call, const struct key_answer *answer,
    const char *url, struct key_crl *crl_r, size_t *revoked_r, struct err *err)
{
	const struct slice list = key_part(&answer->parts, "list");
	struct key_crl crl = {.entries = answer->entries,
	    .this_update_s = answer->this_update_s,
	    .next_update_s = answer->next_update_s};
	struct trust_list head;
	enum keystore_change change;

	*revoked_r = 0;
	if (answer->key.issuer[0] == '\0' || !answer->key.has_issuer_id ||
	    answer->scope_count == 0 ||
	    trust_list_check(list, &head, err) == -1 ||
	    !has_sound_times(call, answer, &head) ||
	    memcmp(head.issuer, answer->key.issuer_id, sizeof(head.issuer)) !=
		0 ||
	    slice_copy(slice_of(answer->key.issuer), crl.issuer,
		sizeof(crl.issuer)) == -1 ||
	    slice_copy(slice_of(answer->number), crl.number,
		sizeof(crl.number)) == -1 ||
	    slice_copy(slice_of(url), crl.url, sizeof(crl.url)) == -1) {
		(void)err_set(err, "the key worker's answer is odd");
		return CHANGE_FAILED;
	}
	memcpy(crl.issuer_id, head.issuer, sizeof(crl.issuer_id));
	*crl_r = crl;
	note_issuers(call, key_part(&answer->parts, "issued"));
	change = keystore_put_crl(call->signerd->keystore, &crl, answer->scopes,
	    answer->scope_count, list, revoked_r, err);
	if (change == CHANGE_DONE) {
		tell(call->signerd, &crl, *revoked_r);
		key_expiry_check(call->signerd);
	}
	return change;
}

/* ---- from a file ---- */

static enum manage_code
on_imported(struct key_call *call, const struct key_answer *answer)
{
	struct key_crl *crl = xcalloc(1, sizeof(*crl));
	enum manage_code code = MANAGE_DONE;
	enum keystore_change change;
	size_t revoked;
	struct err err;

	change = key_keep_crl(call, answer, "", crl, &revoked, &err);
	if (change != CHANGE_DONE)
		code = key_fail_change(call->request, change, &err);
	else
		call->request->reply = key_crl_json(crl, revoked);
	free(crl);
	return code;
}

enum manage_code
key_crl_import(struct manage_request *request)
{
	enum manage_code code;
	struct key_call *call;
	struct buf file;

	if ((code = key_file(request, "text", &file)) != MANAGE_DONE)
		return code;
	call = key_call_new(request->signerd, request, KEY_OP_READ_CRL);
	key_call_people(call);
	key_call_unbound(call);
	call->file = buf_slice(&file);
	code = key_call_run(call, on_imported);
	buf_clear(&file);
	return code;
}

/* ---- from the web ---- */

struct take {
	key_crl_fn *done;
	void *arg;
	char url[TRUST_URL_MAX + 1];
};

static enum manage_code
on_taken(struct key_call *call, const struct key_answer *answer)
{
	const struct take *take = call->context;
	struct key_crl *crl = xcalloc(1, sizeof(*crl));
	enum keystore_change change;
	size_t revoked;
	struct err err;

	change = key_keep_crl(call, answer, take->url, crl, &revoked, &err);
	/* That a newer one is there is as good: it need not be fetched. */
	if (change == CHANGE_DONE || change == CHANGE_EXISTS)
		take->done(take->arg, crl, revoked,
		    change == CHANGE_DONE ? "" : err.text);
	else
		take->done(take->arg, NULL, 0, err.text);
	free(crl);
	return MANAGE_LATER;
}

static void
on_refused(struct key_call *call, const char *reason, bool is_temporary)
{
	const struct take *take = call->context;

	(void)is_temporary;
	take->done(take->arg, NULL, 0, reason);
}

void
key_take_crl(struct signerd *signerd, struct slice file, const char *url,
    key_crl_fn *done, void *arg)
{
	struct key_call *call = key_call_new(signerd, NULL, KEY_OP_READ_CRL);
	struct take *take = xcalloc(1, sizeof(*take));

	take->done = done;
	take->arg = arg;
	(void)snprintf(take->url, sizeof(take->url), "%s", url);
	call->context = take;
	call->failed = on_refused;
	key_call_people(call);
	key_call_unbound(call);
	call->file = file;
	(void)key_call_run(call, on_taken);
}

static const char *
url_argument(struct manage_request *request, enum manage_code *code_r)
{
	const char *url = manage_text(request, "url");

	if (url != NULL && trust_is_web_url(slice_of(url)))
		return url;
	*code_r = manage_fail(
	    request, MANAGE_USAGE, NULL, "that is no URL of the web");
	return NULL;
}

enum manage_code
key_crl_fetch(struct manage_request *request)
{
	enum manage_code code;
	const char *url = url_argument(request, &code);

	if (url == NULL)
		return code;
	if (request->signerd->lookup == NULL)
		return manage_fail(request, MANAGE_FAILED, "postern status",
		    "postern-fetchd is away");
	return crls_fetch(lookup_crls(request->signerd->lookup), url, request);
}

enum manage_code
key_crl_remove(struct manage_request *request)
{
	enum manage_code code;
	const char *url = url_argument(request, &code);
	enum keystore_change change;
	struct err err;

	if (url == NULL)
		return code;
	key_expiry_clear_lists(request->signerd, url);
	change = keystore_remove_source(request->signerd->keystore, url, &err);
	return change == CHANGE_DONE ? MANAGE_DONE
				     : key_fail_change(request, change, &err);
}

/* ---- showing ---- */

static json_t *
list_json(const struct key_crl *crl)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "issuer",
	    crl->issuer, "url", crl->url, "number", crl->number, "entries",
	    (json_int_t)crl->entries, "this_update",
	    (json_int_t)crl->this_update_s, "next_update",
	    (json_int_t)crl->next_update_s);

	if (crl->scope[0] != '\0')
		(void)json_object_set_new(
		    json, "scope", json_string(crl->scope));
	return json;
}

static json_t *
source_json(const struct crl_source *source)
{
	json_t *json =
	    json_pack("{s:s, s:b, s:I}", "url", source->url, "is_wanted",
		source->is_wanted, "failures", (json_int_t)source->failures);

	if (source->due_s != 0)
		(void)json_object_set_new(
		    json, "due", json_integer(source->due_s));
	if (source->reason[0] != '\0')
		(void)json_object_set_new(
		    json, "reason", json_string(source->reason));
	return json;
}

enum manage_code
key_crl_list(struct manage_request *request)
{
	struct keystore *keystore = request->signerd->keystore;
	const struct crl_source *sources;
	const struct key_crl *crls;
	json_t *lists = json_array();
	json_t *places = json_array();
	size_t count;
	struct err err;
	int rc;

	rc = keystore_crls(keystore, &crls, &count, &err);
	for (size_t i = 0; rc == 0 && i < count; i++)
		(void)json_array_append_new(lists, list_json(&crls[i]));
	if (rc == 0)
		rc = keystore_sources(keystore, &sources, &count, &err);
	for (size_t i = 0; rc == 0 && i < count; i++)
		(void)json_array_append_new(places, source_json(&sources[i]));
	if (rc == 0)
		request->reply =
		    json_pack("{s:O, s:O}", "crls", lists, "sources", places);
	json_decref(lists);
	json_decref(places);
	return rc == 0
		   ? MANAGE_DONE
		   : manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text);
}
