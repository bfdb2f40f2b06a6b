/* SPDX-License-Identifier: ISC */
/*
 * Certificates: ours with their keys, those of correspondents, requests.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; a file only as far as the `key` worker read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/key_admin.h"
#include "signer/keyring_token.h"
#include "signer/wrap.h"

/* What an import was asked for beside the file. */
struct wish {
	char subject[ADDRESS_TEXT_MAX]; /* "@domain", or "" */
	char token[KEY_REF_MAX + 1];    /* "pkcs11:...", or "" */
	char pin[128];
};

/* Whom the key is for: the wish, else the certificate's addresses. */
static size_t
subjects_of(const struct key_answer *answer, const struct wish *wish,
    const char *subjects_r[KEY_CALL_ADDRESSES_MAX])
{
	if (wish != NULL && wish->subject[0] != '\0') {
		subjects_r[0] = wish->subject;
		return 1;
	}
	for (size_t i = 0; i < answer->address_count; i++)
		subjects_r[i] = answer->addresses[i];
	return answer->address_count;
}

static bool
has_secret(const struct key_answer *answer)
{
	return key_part(&answer->parts, "secret.sign").n > 0 ||
	       key_part(&answer->parts, "secret.open").n > 0;
}

static enum manage_code
check_answer(struct manage_request *request, const struct key_answer *answer,
    size_t subjects, int64_t now_s)
{
	if (answer->key.kind != KEY_SMIME || answer->key.public.n == 0)
		return manage_fail(request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	if (answer->key.uses == KEY_CERTIFIES)
		return manage_fail(request, MANAGE_USAGE,
		    "postern key anchor add FILE", "it is a CA's certificate");
	if (subjects == 0)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "the certificate names no mail address; --domain binds "
		    "it to all addresses of a domain");
	if (answer->key.not_after_s < now_s && !has_secret(answer))
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "the certificate expired");
	return MANAGE_DONE;
}

/* ---- import ---- */

static int
store_pin(struct signerd *signerd, const struct wish *wish, struct err *err)
{
	static const enum pool_class classes[] = {POOL_SIGN, POOL_OPEN};
	char name[TOKEN_PIN_NAME_SIZE];
	int rc = 0;

	token_pin_name(slice_of(wish->token), name);
	for (size_t i = 0; rc == 0 && i < 2; i++) {
		struct wrap_key key;
		struct wrap_key public;
		struct buf sealed;

		buf_init(&sealed, 4096);
		rc = signerd_class_key(signerd, classes[i], &key, err);
		if (rc == 0)
			rc = wrap_public(&key, &public, err);
		if (rc == 0)
			rc = wrap_seal(&public,
			    slice_of(pool_class_name(classes[i])),
			    slice_of(name), slice_of(wish->pin), &sealed, err);
		if (rc == 0)
			rc = key_file_write(
			    signerd, classes[i], name, buf_slice(&sealed), err);
		explicit_bzero(&key, sizeof(key));
		buf_clear(&sealed);
	}
	return rc;
}

/* NULL: nothing needs to be said of the key that was stored. */
static const char *
note_of(struct signerd *signerd, int64_t id, const struct key_answer *answer)
{
	const struct key *key = keystore_key(signerd->keystore, id, NULL);
	const unsigned both = KEY_SIGNS | KEY_ENCRYPTS;

	if (key != NULL && key->status == KEY_REVOKED)
		return "its CA revoked the certificate: it opens old mail, and "
		       "is used for nothing else";
	return has_secret(answer) && (answer->key.uses & both) == both
		   ? "this key both signs and decrypts, so the processes that "
		     "read hostile mail hold it, too; two certificates are "
		     "safer"
		   : NULL;
}

/* A certificate whose key is in a token, or a correspondent's. */
static enum manage_code
keep_open_part(struct key_call *call, const struct key_answer *answer,
    const struct key_owner *owner, const struct wish *wish)
{
	struct key key = answer->key;
	enum keystore_change change;
	int64_t id;
	struct err err;

	if (wish->token[0] != '\0') {
		if (store_pin(call->signerd, wish, &err) == -1)
			return manage_fail(
			    call->request, MANAGE_FAILED, NULL, "%s", err.text);
		(void)snprintf(
		    key.secret_ref, sizeof(key.secret_ref), "%s", wish->token);
	}
	(void)snprintf(key.source, sizeof(key.source), "%s", owner->source);
	change = keystore_add(
	    call->signerd->keystore, &key, owner, call->now_s, &id, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	return key_reply(call->request, id, note_of(call->signerd, id, answer));
}

static enum manage_code
on_imported(struct key_call *call, const struct key_answer *answer)
{
	const struct wish *wish = call->context;
	const char *subjects[KEY_CALL_ADDRESSES_MAX];
	const struct key_owner owner = {.subjects = subjects,
	    .count = subjects_of(answer, wish, subjects),
	    .source = "manual",
	    .trust = TRUST_MANUAL,
	    .is_pinned = true};
	enum manage_code code =
	    check_answer(call->request, answer, owner.count, call->now_s);
	int64_t id;

	if (code != MANAGE_DONE)
		return code;
	if (!has_secret(answer))
		return keep_open_part(call, answer, &owner, wish);
	code = key_keep(call, answer, &owner, &id);
	if (code != MANAGE_DONE)
		return code;
	return key_reply(call->request, id, note_of(call->signerd, id, answer));
}

static enum manage_code
read_wish(struct manage_request *request, struct wish *wish)
{
	const char *token = manage_text(request, "pkcs11");
	const char *pin = manage_text(request, "password");
	struct domain domain;
	enum manage_code code;

	if (manage_text(request, "domain") != NULL) {
		code = key_domain(request, "domain", &domain);
		if (code != MANAGE_DONE)
			return code;
		(void)snprintf(
		    wish->subject, sizeof(wish->subject), "@%s", domain.text);
	}
	if (token == NULL)
		return MANAGE_DONE;
	if (strncmp(token, "pkcs11:", 7) != 0 ||
	    strstr(token, "pin-value") != NULL || strlen(token) > KEY_REF_MAX)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "a key in a token is named by a URI \"pkcs11:...\" "
		    "(RFC 7512), without its PIN");
	if (pin == NULL || strlen(pin) >= sizeof(wish->pin))
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "the token's PIN comes as the password");
	(void)snprintf(wish->token, sizeof(wish->token), "%s", token);
	(void)snprintf(wish->pin, sizeof(wish->pin), "%s", pin);
	return MANAGE_DONE;
}

enum manage_code
key_smime_import(struct manage_request *request)
{
	struct wish *wish = xcalloc(1, sizeof(*wish));
	struct key_call *call;
	struct buf file;
	char number[32];
	enum manage_code code = read_wish(request, wish);

	if (code == MANAGE_DONE)
		code = key_file(request, "text", &file);
	if (code != MANAGE_DONE) {
		free(wish);
		return code;
	}
	call = key_call_new(request->signerd, request,
	    wish->token[0] != '\0' ? KEY_OP_PARSE : KEY_OP_IMPORT);
	call->context = wish;
	key_call_fact(call, "kind", "smime");
	key_call_fact(call, "may_be_public", "yes");
	(void)snprintf(number, sizeof(number), "%lld",
	    (long long)key_number(request, "number", 0));
	key_call_fact(call, "number", number);
	key_call_part(call, "file", buf_slice(&file));
	if (wish->token[0] == '\0' && manage_text(request, "password") != NULL)
		key_call_part(call, "passphrase",
		    slice_of(manage_text(request, "password")));
	key_call_seal(call, POOL_SIGN);
	key_call_seal(call, POOL_OPEN);
	key_call_people(call);
	wrap_wipe(&file);
	return key_call_run(call, on_imported);
}

/* ---- new, by the built-in CA ---- */

enum manage_code
key_smime_new(struct manage_request *request)
{
	return key_issue(request);
}

/* ---- requests ---- */

static enum manage_code
on_requested(struct key_call *call, const struct key_answer *answer)
{
	struct cert_request *row = call->context;
	const struct slice csr = key_part(&answer->parts, "csr");
	enum keystore_change change;
	char *text;
	struct err err;

	if (csr.n == 0 || !has_secret(answer))
		return manage_fail(call->request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	if (key_call_store(call, answer, &err) == -1)
		return manage_fail(
		    call->request, MANAGE_FAILED, NULL, "%s", err.text);
	(void)snprintf(
	    row->secret_ref, sizeof(row->secret_ref), "%s", call->ref);
	row->created_s = call->now_s;
	change = keystore_add_request(
	    call->signerd->keystore, row, answer->public_digest, csr, &err);
	if (change != CHANGE_DONE) {
		key_call_unstore(call);
		return key_fail_change(call->request, change, &err);
	}
	text = slice_dup(csr);
	call->request->reply =
	    json_pack("{s:s, s:s}", "address", row->address, "csr", text);
	free(text);
	return MANAGE_DONE;
}

enum manage_code
key_smime_csr(struct manage_request *request)
{
	struct cert_request *row = xcalloc(1, sizeof(*row));
	const char *algorithm = manage_text(request, "algorithm");
	struct key_call *call;
	enum manage_code code = key_address(request, "address", row->address);

	if (code != MANAGE_DONE) {
		free(row);
		return code;
	}
	if (algorithm == NULL)
		algorithm = "rsa-2048";
	call = key_call_new(request->signerd, request, KEY_OP_REQUEST);
	call->context = row;
	(void)snprintf(row->algorithm, sizeof(row->algorithm), "%s", algorithm);
	key_call_fact(call, "algorithm", algorithm);
	key_call_fact(call, "address", row->address);
	key_call_fact(call, "name", manage_text(request, "name"));
	key_call_seal(call, POOL_SIGN);
	key_call_seal(call, POOL_OPEN);
	return key_call_run(call, on_requested);
}

static enum manage_code
on_installed(struct key_call *call, const struct key_answer *answer)
{
	struct keystore *keystore = call->signerd->keystore;
	struct cert_request row;
	const char *subjects[1] = {row.address};
	const struct key_owner owner = {.subjects = subjects,
	    .count = 1,
	    .source = "manual",
	    .trust = TRUST_MANUAL,
	    .is_pinned = true};
	struct key key = answer->key;
	enum keystore_change change;
	enum manage_code code =
	    check_answer(call->request, answer, 1, call->now_s);
	bool is_named = false;
	int64_t id;
	struct err err;

	if (code != MANAGE_DONE)
		return code;
	change =
	    keystore_find_request(keystore, answer->public_digest, &row, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	for (size_t i = 0; i < answer->address_count; i++)
		is_named |= strcmp(answer->addresses[i], row.address) == 0;
	if (!is_named)
		return manage_fail(call->request, MANAGE_USAGE, NULL,
		    "the request was for %s, and the certificate does not "
		    "name it",
		    row.address);
	memcpy(key.secret_ref, row.secret_ref, sizeof(key.secret_ref));
	(void)snprintf(key.source, sizeof(key.source), "manual");
	change = keystore_add(keystore, &key, &owner, call->now_s, &id, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	(void)keystore_remove_request(keystore, row.id, &err);
	/* What it may not do, nobody needs a private key for. */
	if ((key.uses & KEY_SIGNS) == 0)
		key_file_remove(call->signerd, POOL_SIGN, row.secret_ref);
	if ((key.uses & KEY_ENCRYPTS) == 0)
		key_file_remove(call->signerd, POOL_OPEN, row.secret_ref);
	return key_reply(call->request, id, note_of(call->signerd, id, answer));
}

enum manage_code
key_smime_install(struct manage_request *request)
{
	struct key_call *call;
	struct buf file;
	enum manage_code code = key_file(request, "text", &file);

	if (code != MANAGE_DONE)
		return code;
	call = key_call_new(request->signerd, request, KEY_OP_PARSE);
	key_call_fact(call, "kind", "smime");
	key_call_part(call, "file", buf_slice(&file));
	key_call_people(call);
	buf_clear(&file);
	return key_call_run(call, on_installed);
}

/* ---- list, show, export, retire ---- */

enum manage_code
key_smime_list(struct manage_request *request)
{
	return key_list_kind(request, KEY_SMIME);
}

enum manage_code
key_smime_show(struct manage_request *request)
{
	const struct key *key;
	enum manage_code code = key_named(request, KEY_SMIME, &key);

	if (code == MANAGE_DONE)
		request->reply = key_json(request->signerd, key);
	return code;
}

/* The length of the DER value at the front, or 0. */
static size_t
der_size(struct slice der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	size_t n = 0;
	size_t octets;

	if (der.n < 2)
		return 0;
	octets = p[1] & 0x7f;
	if ((p[1] & 0x80) == 0)
		return 2 + octets <= der.n ? 2 + octets : 0;
	if (octets == 0 || octets > 4 || 2 + octets > der.n)
		return 0;
	for (size_t i = 0; i < octets; i++)
		n = n << 8 | p[2 + i];
	n += 2 + octets;
	return n <= der.n ? n : 0;
}

/* The certificate and those of its chain, as PEM. */
static char *
pem_of(const struct key *key)
{
	const struct slice fields[] = {key->public, key->chain};
	struct buf text;
	char *all;

	buf_init(&text, IPC_JSON_MAX);
	for (size_t i = 0; i < 2; i++) {
		struct slice rest = fields[i];
		size_t n;

		while ((n = der_size(rest)) > 0) {
			char *pem =
			    key_pem((struct slice){rest.p, n}, "CERTIFICATE");

			(void)buf_add_text(&text, pem);
			free(pem);
			rest.p += n;
			rest.n -= n;
		}
	}
	all = slice_dup(buf_slice(&text));
	buf_clear(&text);
	return all;
}

static enum manage_code
on_exported(struct key_call *call, const struct key_answer *answer)
{
	char *text = key_base64(key_part(&answer->parts, "pkcs12"));

	call->request->reply = json_pack("{s:s}", "pkcs12", text);
	free(text);
	return MANAGE_DONE;
}

enum manage_code
key_smime_export(struct manage_request *request)
{
	const char *password = manage_text(request, "password");
	const struct key *key;
	struct key_call *call;
	enum manage_code code = key_named(request, KEY_SMIME, &key);
	char *pem;

	if (code != MANAGE_DONE)
		return code;
	pem = pem_of(key);
	if (!manage_flag(request, "pkcs12")) {
		request->reply = json_pack("{s:s}", "text", pem);
		free(pem);
		return MANAGE_DONE;
	}
	call = key_call_new(request->signerd, request, KEY_OP_EXPORT);
	key_call_part(call, "file", slice_of(pem));
	key_call_part(call, "passphrase", slice_of(password));
	free(pem);
	return key_call_run(call, on_exported);
}

enum manage_code
key_smime_retire(struct manage_request *request)
{
	return key_retire(request, KEY_SMIME, POOL_SIGN);
}

enum manage_code
key_smime_remove(struct manage_request *request)
{
	return key_remove(request, KEY_SMIME);
}

enum manage_code
key_smime_aead(struct manage_request *request)
{
	const char *value = manage_text(request, "value");
	const struct key *key;
	enum manage_code code = key_named(request, KEY_SMIME, &key);
	enum keystore_change change;
	struct err err;
	int64_t id;

	if (code != MANAGE_DONE)
		return code;
	if (value == NULL ||
	    (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0))
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "say yes or no");
	id = key->id;
	change = keystore_set_aead(
	    request->signerd->keystore, id, strcmp(value, "yes") == 0, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	return key_reply(request, id, NULL);
}
