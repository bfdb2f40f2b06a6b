/* SPDX-License-Identifier: ISC */
/*
 * The built-in CA for one's own users; anchors; revocation lists.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; a file only as far as the `key` worker read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/key_admin.h"
#include "signer/wrap.h"

/* How long our own revocation list counts. */
#define CRL_DAYS "30"
#define OWN_URL "built-in"
/* Certificates that a list may be signed by, besides anchors. */
#define ISSUERS_MAX 200
#define SERIALS_OCTETS_MAX ((size_t)2 * 1024 * 1024)

/* ---- the CA ---- */

struct newest {
	const struct key *key;
	int64_t now_s;
};

static void
take_newest(void *arg, const struct key *key)
{
	struct newest *newest = arg;

	if (key->status == KEY_ACTIVE && key->not_after_s > newest->now_s)
		newest->key = key;
}

const struct key *
key_current_ca(struct manage_request *request, enum manage_code *code_r)
{
	struct newest newest = {.now_s = (int64_t)time(NULL)};
	struct err err;

	if (keystore_list(request->signerd->keystore, KEY_CA, "", 0, 1000,
		take_newest, &newest, &err) == -1) {
		*code_r =
		    manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text);
		return NULL;
	}
	if (newest.key == NULL)
		*code_r = manage_fail(request, MANAGE_NOTHING,
		    "postern ca new NAME", "there is no CA of our own");
	return newest.key;
}

static enum keystore_change
trust_ca(struct keystore *keystore, int64_t id, struct err *err)
{
	const struct key *ca = keystore_key(keystore, id, err);
	struct key_anchor anchor = {.is_blocked = false};
	char *copy;
	enum keystore_change change;

	if (ca == NULL)
		return CHANGE_FAILED;
	memcpy(anchor.fingerprint, ca->fingerprint, sizeof(ca->fingerprint));
	memcpy(anchor.subject, ca->subject, sizeof(ca->subject));
	anchor.not_after_s = ca->not_after_s;
	/* The change makes what the key points to invalid. */
	copy = xmalloc(ca->public.n + 1);
	memcpy(copy, ca->public.p, ca->public.n);
	anchor.certificate = (struct slice){copy, ca->public.n};
	change = keystore_add_anchor(keystore, &anchor, err);
	free(copy);
	return change == CHANGE_EXISTS ? CHANGE_DONE : change;
}

static enum manage_code
on_ca(struct key_call *call, const struct key_answer *answer)
{
	const struct key_owner nobody = {.source = "made"};
	struct key_answer own = *answer;
	enum keystore_change change;
	enum manage_code code;
	int64_t id;
	struct err err;

	if (answer->key.uses != KEY_CERTIFIES)
		return manage_fail(call->request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	own.key.kind = KEY_CA;
	code = key_keep(call, &own, &nobody, &id);
	if (code != MANAGE_DONE)
		return code;
	change = trust_ca(call->signerd->keystore, id, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	return key_reply(call->request, id,
	    "give its certificate (postern ca show) to those who are to "
	    "trust it");
}

static void
put_days(struct key_call *call, const struct manage_request *request)
{
	char days[24];
	const int64_t value = key_number(request, "days", 0);

	if (value <= 0)
		return;
	(void)snprintf(days, sizeof(days), "%lld", (long long)value);
	key_call_fact(call, "days", days);
}

enum manage_code
ca_new(struct manage_request *request)
{
	const char *name = manage_text(request, "name");
	const char *algorithm = manage_text(request, "algorithm");
	char serial[KEY_SERIAL_SIZE];
	struct key_call *call;

	if (name == NULL || name[0] == '\0' || strlen(name) > 64)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "a CA has a name of up to 64 characters");
	call = key_call_new(request->signerd, request, KEY_OP_CA);
	key_make_serial(serial);
	key_call_fact(call, "name", name);
	key_call_fact(
	    call, "algorithm", algorithm != NULL ? algorithm : "rsa-3072");
	key_call_fact(call, "serial", serial);
	put_days(call, request);
	key_call_seal(call, POOL_KEY);
	return key_call_run(call, on_ca);
}

/* ---- issuing ---- */

struct issued {
	int64_t ca_id;
	char address[ADDRESS_TEXT_MAX];
	char serial[KEY_SERIAL_SIZE];
	bool is_external; /* its key is not ours */
};

/* What was issued is remembered, whatever becomes of it: it may be revoked. */
static enum keystore_change
remember(struct key_call *call, const struct key_answer *answer,
    const struct issued *issued, struct err *err)
{
	struct ca_issued row = {.not_after_s = answer->key.not_after_s};

	memcpy(row.serial, issued->serial, sizeof(issued->serial));
	memcpy(row.address, issued->address, sizeof(row.address));
	return keystore_add_issued(
	    call->signerd->keystore, issued->ca_id, &row, err);
}

/* A user's own key: we know it as we know a correspondent's. */
static enum manage_code
keep_external(struct key_call *call, const struct key_answer *answer,
    const struct key_owner *owner, int64_t *id_r)
{
	const struct slice pkcs12 = key_part(&answer->parts, "pkcs12");
	struct key key = answer->key;
	enum keystore_change change;
	enum manage_code code;
	struct err err;
	char *text;

	(void)snprintf(key.source, sizeof(key.source), "%s", owner->source);
	change = keystore_add(
	    call->signerd->keystore, &key, owner, call->now_s, id_r, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	code = key_reply(call->request, *id_r, NULL);
	if (code != MANAGE_DONE)
		return code;
	text = key_pem(answer->key.public, "CERTIFICATE");
	(void)json_object_set_new(
	    call->request->reply, "text", json_string(text));
	free(text);
	if (pkcs12.n > 0) {
		text = key_base64(pkcs12);
		(void)json_object_set_new(
		    call->request->reply, "pkcs12", json_string(text));
		free(text);
	}
	return MANAGE_DONE;
}

static enum manage_code
on_issued(struct key_call *call, const struct key_answer *answer)
{
	const struct issued *issued = call->context;
	const char *subjects[1] = {issued->address};
	const struct key_owner owner = {.subjects = subjects,
	    .count = 1,
	    .source = "own-ca",
	    .trust = issued->is_external ? TRUST_OWN_CA : TRUST_MANUAL,
	    .is_pinned = true};
	enum keystore_change change;
	enum manage_code code;
	int64_t id;
	struct err err;

	if (answer->key.public.n == 0 ||
	    strcmp(answer->key.serial, issued->serial) != 0)
		return manage_fail(call->request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	change = remember(call, answer, issued, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	if (issued->is_external)
		return keep_external(call, answer, &owner, &id);
	code = key_keep(call, answer, &owner, &id);
	return code == MANAGE_DONE ? key_reply(call->request, id, NULL) : code;
}

/* The arguments that all ways of issuing have. */
static struct key_call *
start_issue(struct manage_request *request, const struct key *ca,
    enum key_op op, const char *address, bool is_external)
{
	struct key_call *call = key_call_new(request->signerd, request, op);
	struct issued *issued = xcalloc(1, sizeof(*issued));
	const char *algorithm = manage_text(request, "algorithm");

	issued->ca_id = ca->id;
	issued->is_external = is_external;
	(void)snprintf(issued->address, sizeof(issued->address), "%s", address);
	key_make_serial(issued->serial);
	call->context = issued;
	key_call_fact(call, "address", address);
	key_call_fact(call, "name", manage_text(request, "name"));
	key_call_fact(
	    call, "algorithm", algorithm != NULL ? algorithm : "rsa-2048");
	key_call_fact(call, "serial", issued->serial);
	put_days(call, request);
	key_call_key(call, WORK_KEY_ISSUER, ca);
	return call;
}

enum manage_code
key_issue(struct manage_request *request)
{
	char address[ADDRESS_TEXT_MAX];
	enum manage_code code = key_address(request, "address", address);
	const struct key *ca;
	struct key_call *call;

	if (code != MANAGE_DONE)
		return code;
	if ((ca = key_current_ca(request, &code)) == NULL)
		return code;
	call = start_issue(request, ca, KEY_OP_ISSUE, address, false);
	key_call_seal(call, POOL_SIGN);
	key_call_seal(call, POOL_OPEN);
	return key_call_run(call, on_issued);
}

enum manage_code
ca_issue(struct manage_request *request)
{
	const char *password = manage_text(request, "password");
	const bool has_csr = manage_text(request, "text") != NULL;
	char address[ADDRESS_TEXT_MAX];
	enum manage_code code = key_address(request, "address", address);
	const struct key *ca;
	struct key_call *call;
	struct buf file;

	if (code != MANAGE_DONE)
		return code;
	if (!has_csr && password == NULL)
		return manage_fail(request, MANAGE_USAGE,
		    "postern key smime new ADDRESS",
		    "a user's own key comes as a request (--csr FILE), or is "
		    "handed out in a PKCS #12 file (--pkcs12 FILE)");
	if ((ca = key_current_ca(request, &code)) == NULL)
		return code;
	if (has_csr && (code = key_file(request, "text", &file)) != MANAGE_DONE)
		return code;
	call = start_issue(request, ca,
	    has_csr ? KEY_OP_ISSUE : KEY_OP_HAND_OUT, address, true);
	if (has_csr) {
		key_call_part(call, "file", buf_slice(&file));
		buf_clear(&file);
	} else {
		key_call_part(call, "passphrase", slice_of(password));
	}
	return key_call_run(call, on_issued);
}

/* ---- revoking ---- */

struct serials {
	struct buf lines; /* "SERIAL TIME\n", for the list to be made */
	struct buf names; /* "\nSERIAL\n...", for the store */
	json_t *json;
};

static void
take_issued(void *arg, const struct ca_issued *row)
{
	struct serials *serials = arg;
	json_t *json;

	if (row->revoked_s != 0) {
		(void)buf_addf(&serials->lines, "%s %lld\n", row->serial,
		    (long long)row->revoked_s);
		(void)buf_addf(&serials->names, "%s\n", row->serial);
	}
	if (serials->json == NULL)
		return;
	json = json_pack("{s:s, s:s, s:I}", "serial", row->serial, "address",
	    row->address, "not_after", (json_int_t)row->not_after_s);
	if (row->revoked_s != 0)
		(void)json_object_set_new(
		    json, "revoked", json_integer(row->revoked_s));
	(void)json_array_append_new(serials->json, json);
}

static void
serials_init(struct serials *serials)
{
	buf_init(&serials->lines, SERIALS_OCTETS_MAX);
	buf_init(&serials->names, SERIALS_OCTETS_MAX);
	(void)buf_add_char(&serials->names, '\n');
	serials->json = NULL;
}

static void
serials_clear(struct serials *serials)
{
	buf_clear(&serials->lines);
	buf_clear(&serials->names);
}

static enum manage_code
on_crl_made(struct key_call *call, const struct key_answer *answer)
{
	struct keystore *keystore = call->signerd->keystore;
	const int64_t *ca_id = call->context;
	const struct key *ca = keystore_key(keystore, *ca_id, NULL);
	struct key_crl crl = {.this_update_s = call->now_s,
	    .next_update_s = call->now_s + 30 * 86400,
	    .url = OWN_URL,
	    .der = key_part(&answer->parts, "crl")};
	struct serials serials;
	enum keystore_change change;
	size_t count = 0;
	struct err err;
	char *pem;

	if (ca == NULL || crl.der.n == 0)
		return manage_fail(call->request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	memcpy(crl.issuer, ca->subject, sizeof(crl.issuer));
	serials_init(&serials);
	if (keystore_issued(keystore, *ca_id, take_issued, &serials, &err) ==
	    -1)
		change = CHANGE_FAILED;
	else
		change = keystore_put_crl(
		    keystore, &crl, buf_slice(&serials.names), &count, &err);
	serials_clear(&serials);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	pem = key_pem(crl.der, "X509 CRL");
	call->request->reply =
	    json_pack("{s:s, s:I, s:I}", "text", pem, "next_update",
		(json_int_t)crl.next_update_s, "revoked", (json_int_t)count);
	free(pem);
	return MANAGE_DONE;
}

/* A new list with all that was revoked. */
static enum manage_code
make_crl(struct manage_request *request, const struct key *ca)
{
	struct key_call *call =
	    key_call_new(request->signerd, request, KEY_OP_MAKE_CRL);
	int64_t *ca_id = xmalloc(sizeof(*ca_id));
	struct serials serials;
	char number[24];
	int rc;
	struct err err;

	*ca_id = ca->id;
	call->context = ca_id;
	serials_init(&serials);
	rc = keystore_issued(
	    request->signerd->keystore, ca->id, take_issued, &serials, &err);
	key_call_part(call, "revoked", buf_slice(&serials.lines));
	serials_clear(&serials);
	if (rc == -1) {
		key_call_free(call);
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	}
	/* Rises by itself. */
	(void)snprintf(number, sizeof(number), "%lld", (long long)call->now_s);
	key_call_fact(call, "serial", number);
	key_call_fact(call, "days", CRL_DAYS);
	key_call_key(call, WORK_KEY_ISSUER, ca);
	return key_call_run(call, on_crl_made);
}

enum manage_code
ca_revoke(struct manage_request *request)
{
	const char *serial = manage_text(request, "serial");
	enum manage_code code;
	const struct key *ca = key_current_ca(request, &code);
	enum keystore_change change;
	struct err err;
	int64_t id;

	if (ca == NULL)
		return code;
	if (serial == NULL)
		return manage_fail(request, MANAGE_USAGE, "postern ca show",
		    "name the certificate by its serial number");
	id = ca->id;
	change = keystore_revoke_issued(
	    request->signerd->keystore, id, serial, (int64_t)time(NULL), &err);
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	ca = keystore_key(request->signerd->keystore, id, &err);
	return ca == NULL
		   ? manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text)
		   : make_crl(request, ca);
}

enum manage_code
ca_crl(struct manage_request *request)
{
	enum manage_code code;
	const struct key *ca = key_current_ca(request, &code);

	return ca == NULL ? code : make_crl(request, ca);
}

enum manage_code
ca_show(struct manage_request *request)
{
	enum manage_code code;
	const struct key *ca = key_current_ca(request, &code);
	struct serials serials;
	char *pem;
	struct err err;

	if (ca == NULL)
		return code;
	request->reply = key_json(request->signerd, ca);
	pem = key_pem(ca->public, "CERTIFICATE");
	(void)json_object_set_new(request->reply, "text", json_string(pem));
	free(pem);
	serials_init(&serials);
	serials.json = json_array();
	if (keystore_issued(request->signerd->keystore, ca->id, take_issued,
		&serials, &err) == -1)
		code =
		    manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text);
	else
		code = MANAGE_DONE;
	if (code == MANAGE_DONE)
		(void)json_object_set(request->reply, "issued", serials.json);
	json_decref(serials.json);
	serials_clear(&serials);
	return code;
}

/* ---- anchors ---- */

static enum manage_code
on_anchor(struct key_call *call, const struct key_answer *answer)
{
	struct key_anchor anchor = {
	    .is_blocked = manage_flag(call->request, "block"),
	    .not_after_s = answer->key.not_after_s,
	    .certificate = answer->key.public};
	enum keystore_change change;
	struct err err;

	if (answer->key.public.n == 0)
		return manage_fail(call->request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	if (!anchor.is_blocked && answer->key.uses != KEY_CERTIFIES)
		return manage_fail(call->request, MANAGE_USAGE,
		    "postern key smime import FILE",
		    "it is not a CA's certificate");
	memcpy(anchor.fingerprint, answer->key.fingerprint,
	    sizeof(anchor.fingerprint));
	memcpy(anchor.subject, answer->key.subject, sizeof(anchor.subject));
	change = keystore_add_anchor(call->signerd->keystore, &anchor, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	call->request->reply =
	    json_pack("{s:s, s:s, s:b}", "fingerprint", anchor.fingerprint,
		"subject", anchor.subject, "is_blocked", anchor.is_blocked);
	return MANAGE_DONE;
}

enum manage_code
key_anchor_add(struct manage_request *request)
{
	struct key_call *call;
	struct buf file;
	enum manage_code code = key_file(request, "text", &file);

	if (code != MANAGE_DONE)
		return code;
	call = key_call_new(request->signerd, request, KEY_OP_PARSE);
	key_call_fact(call, "kind", "smime");
	key_call_part(call, "file", buf_slice(&file));
	buf_clear(&file);
	return key_call_run(call, on_anchor);
}

enum manage_code
key_anchor_remove(struct manage_request *request)
{
	const char *fingerprint = manage_text(request, "fingerprint");
	enum keystore_change change;
	struct err err;

	if (fingerprint == NULL)
		return manage_fail(request, MANAGE_USAGE,
		    "postern key anchor list", "name its fingerprint");
	change = keystore_remove_anchor(
	    request->signerd->keystore, fingerprint, &err);
	return change == CHANGE_DONE ? MANAGE_DONE
				     : key_fail_change(request, change, &err);
}

enum manage_code
key_anchor_list(struct manage_request *request)
{
	const struct key_anchor *anchors;
	size_t count;
	json_t *list;
	struct err err;

	if (keystore_anchors(
		request->signerd->keystore, &anchors, &count, &err) == -1)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	list = json_array();
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:I, s:b}", "fingerprint",
			anchors[i].fingerprint, "subject", anchors[i].subject,
			"not_after", (json_int_t)anchors[i].not_after_s,
			"is_blocked", anchors[i].is_blocked));
	request->reply = json_pack("{s:o}", "anchors", list);
	return MANAGE_DONE;
}

/* ---- revocation lists of others ---- */

static enum keystore_change
keep_crl(struct key_call *call, const struct key_answer *answer,
    size_t *count_r, struct err *err)
{
	struct key_crl crl = {.this_update_s = answer->this_update_s,
	    .next_update_s = answer->next_update_s,
	    .der = key_part(&answer->parts, "crl")};
	const char *url = call->context;

	if (crl.der.n == 0 || answer->key.issuer[0] == '\0') {
		(void)err_set(err, "the key worker's answer is odd");
		return CHANGE_FAILED;
	}
	memcpy(crl.issuer, answer->key.issuer, sizeof(crl.issuer));
	if (url != NULL)
		(void)snprintf(crl.url, sizeof(crl.url), "%s", url);
	return keystore_put_crl(call->signerd->keystore, &crl,
	    key_part(&answer->parts, "revoked"), count_r, err);
}

static enum manage_code
on_crl(struct key_call *call, const struct key_answer *answer)
{
	size_t count = 0;
	struct err err;
	const enum keystore_change change =
	    keep_crl(call, answer, &count, &err);

	if (call->request == NULL) {
		if (change != CHANGE_DONE)
			log_notice("a fetched CRL is not taken: %s", err.text);
		return MANAGE_LATER;
	}
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	call->request->reply = json_pack("{s:s, s:I, s:I, s:I}", "issuer",
	    answer->key.issuer, "this_update",
	    (json_int_t)answer->this_update_s, "next_update",
	    (json_int_t)answer->next_update_s, "revoked", (json_int_t)count);
	return MANAGE_DONE;
}

struct issuers {
	struct key_call *call;
	size_t count;
};

/* Whatever came with a certificate may have signed the list. */
static void
add_issuer(void *arg, const struct key *key)
{
	struct issuers *issuers = arg;

	if (key->chain.n > 0 && issuers->count < ISSUERS_MAX) {
		key_call_key(issuers->call, WORK_KEY_INTERMEDIATE, key);
		issuers->count++;
	}
}

static struct key_call *
start_crl(
    struct signerd *signerd, struct manage_request *request, struct slice file)
{
	struct key_call *call = key_call_new(signerd, request, KEY_OP_READ_CRL);
	struct issuers issuers = {.call = call};
	const struct key_anchor *anchors;
	size_t count;

	if (keystore_anchors(signerd->keystore, &anchors, &count, NULL) == 0)
		for (size_t i = 0; i < count; i++) {
			const struct ipc_record_work_key record = {
			    .use = WORK_KEY_ANCHOR,
			    .public = anchors[i].certificate};

			if (!anchors[i].is_blocked)
				(void)ipc_work_key_add(
				    &call->keys, &record, NULL);
		}
	(void)keystore_list(signerd->keystore, KEY_SMIME, "", 0, 1000,
	    add_issuer, &issuers, NULL);
	key_call_part(call, "file", file);
	return call;
}

enum manage_code
key_crl_import(struct manage_request *request)
{
	struct key_call *call;
	struct buf file;
	enum manage_code code = key_file(request, "text", &file);

	if (code != MANAGE_DONE)
		return code;
	call = start_crl(request->signerd, request, buf_slice(&file));
	buf_clear(&file);
	return key_call_run(call, on_crl);
}

static void
on_crl_failed(struct key_call *call, const char *reason, bool is_temporary)
{
	(void)call;
	(void)is_temporary;
	log_notice("a fetched CRL is not taken: %s", reason);
}

void
key_take_crl(struct signerd *signerd, struct slice der, const char *url)
{
	struct key_call *call = start_crl(signerd, NULL, der);

	call->context = xstrdup(url);
	call->failed = on_crl_failed;
	(void)key_call_run(call, on_crl);
}

enum manage_code
key_crl_list(struct manage_request *request)
{
	const struct key_crl *crls;
	size_t count;
	json_t *list;
	struct err err;

	if (keystore_crls(request->signerd->keystore, &crls, &count, &err) ==
	    -1)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	list = json_array();
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s, s:I, s:I}", "issuer",
			      crls[i].issuer, "url", crls[i].url, "this_update",
			      (json_int_t)crls[i].this_update_s, "next_update",
			      (json_int_t)crls[i].next_update_s));
	request->reply = json_pack("{s:o}", "crls", list);
	return MANAGE_DONE;
}
