/* SPDX-License-Identifier: ISC */
/*
 * The built-in CA for one's own users; anchors.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; a file only as far as the `key` worker read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/key_admin.h"
#include "signer/trust_x509.h"
#include "signer/wrap.h"

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
	/* An empty list: what it issues is known not to be revoked. */
	key_ca_renew_crls(call->signerd);
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

/* It stands in certificates for years: so it is looked at before. */
static bool
has_good_url(struct manage_request *request, enum manage_code *code_r)
{
	const struct slice url = slice_of(
	    daemon_settings(request->signerd->daemon)->crypto_ca_crl_url);

	if (url.n == 0 || trust_is_web_url(url))
		return true;
	*code_r = manage_fail(request, MANAGE_USAGE,
	    "postern config set crypto.ca_crl_url=URL",
	    "crypto.ca_crl_url is no URL of the web");
	return false;
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
	key_call_fact(call, "crl_url",
	    daemon_settings(request->signerd->daemon)->crypto_ca_crl_url);
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

	if (code != MANAGE_DONE || !has_good_url(request, &code))
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

	if (code != MANAGE_DONE || !has_good_url(request, &code))
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
	key_expiry_check(call->signerd);
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
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	key_expiry_clear_anchor(request->signerd, fingerprint);
	return MANAGE_DONE;
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
