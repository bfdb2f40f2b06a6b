/* SPDX-License-Identifier: ISC */
/*
 * OpenPGP keys: ours and those of correspondents, and our own as a Web Key
 * Directory.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; a file only as far as the `key` worker read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/key_admin.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_wkd.h"
#include "signer/wrap.h"

/* Keys of one export; more than that is not a directory of ours. */
#define WKD_KEYS_MAX 1000
#define WKD_ADDRESSES_MAX 2000

static bool
has_secret(const struct key_answer *answer)
{
	return key_part(&answer->parts, "secret.pgp-sign").n > 0 ||
	       key_part(&answer->parts, "secret.pgp-open").n > 0;
}

static enum manage_code
on_stored(struct key_call *call, const struct key_answer *answer)
{
	const char *subjects[KEY_CALL_ADDRESSES_MAX];
	char domain[ADDRESS_TEXT_MAX];
	struct key_owner owner = {.subjects = subjects,
	    .source = "manual",
	    .trust = TRUST_MANUAL,
	    .is_pinned = true};
	struct key key = answer->key;
	enum keystore_change change;
	enum manage_code code;
	int64_t id;
	struct err err;

	for (size_t i = 0; i < answer->address_count; i++)
		subjects[owner.count++] = answer->addresses[i];
	if (manage_text(call->request, "domain") != NULL) {
		struct domain name;

		code = key_domain(call->request, "domain", &name);
		if (code != MANAGE_DONE)
			return code;
		(void)snprintf(domain, sizeof(domain), "@%s", name.text);
		subjects[0] = domain;
		owner.count = 1;
	}
	if (key.kind != KEY_PGP || key.public.n == 0)
		return manage_fail(call->request, MANAGE_FAILED, NULL,
		    "the key worker's answer is odd");
	if (key.status == KEY_REVOKED || (key.uses == 0 && !has_secret(answer)))
		return manage_fail(call->request, MANAGE_USAGE, NULL,
		    "the key is revoked or expired, or can neither sign nor "
		    "encrypt");
	if (owner.count == 0)
		return manage_fail(call->request, MANAGE_USAGE, NULL,
		    "the key names no mail address; --domain binds it to all "
		    "addresses of a domain");
	if (has_secret(answer)) {
		code = key_keep(call, answer, &owner, &id);
		return code == MANAGE_DONE ? key_reply(call->request, id, NULL)
					   : code;
	}
	(void)snprintf(key.source, sizeof(key.source), "%s", owner.source);
	change = keystore_add(
	    call->signerd->keystore, &key, &owner, call->now_s, &id, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(call->request, change, &err);
	return key_reply(call->request, id, NULL);
}

enum manage_code
key_pgp_new(struct manage_request *request)
{
	const char *algorithm = manage_text(request, "algorithm");
	char address[ADDRESS_TEXT_MAX];
	char days[24];
	struct key_call *call;
	enum manage_code code = key_address(request, "address", address);

	if (code != MANAGE_DONE)
		return code;
	call = key_call_new(request->signerd, request, KEY_OP_GENERATE_PGP);
	(void)snprintf(days, sizeof(days), "%lld",
	    (long long)key_number(request, "days", 0));
	key_call_fact(call, "kind", "pgp");
	key_call_fact(
	    call, "algorithm", algorithm != NULL ? algorithm : "ed25519");
	key_call_fact(call, "address", address);
	key_call_fact(call, "name", manage_text(request, "name"));
	key_call_fact(call, "days", days);
	key_call_seal(call, POOL_PGP_SIGN);
	key_call_seal(call, POOL_PGP_OPEN);
	return key_call_run(call, on_stored);
}

/* Does the text say that it is a private key?  Binary ones say it by a tag. */
static bool
is_private(struct slice file)
{
	const unsigned char first = file.n > 0 ? (unsigned char)file.p[0] : 0;

	if ((first & 0x80) == 0)
		return memmem(file.p, file.n, "PGP PRIVATE KEY", 15) != NULL;
	/* RFC 9580 §4.2: tag 5 in either form of the header. */
	return (first & 0x40) != 0 ? (first & 0x3f) == 5
				   : (first >> 2 & 0x0f) == 5;
}

enum manage_code
key_pgp_import(struct manage_request *request)
{
	const char *password = manage_text(request, "password");
	struct key_call *call;
	struct buf file;
	bool has_private;
	enum manage_code code = key_file(request, "text", &file);

	if (code != MANAGE_DONE)
		return code;
	has_private = is_private(buf_slice(&file));
	call = key_call_new(request->signerd, request,
	    has_private ? KEY_OP_IMPORT : KEY_OP_PARSE);
	key_call_fact(call, "kind", "pgp");
	key_call_part(call, "file", buf_slice(&file));
	if (has_private && password != NULL)
		key_call_part(call, "passphrase", slice_of(password));
	key_call_seal(call, POOL_PGP_SIGN);
	key_call_seal(call, POOL_PGP_OPEN);
	wrap_wipe(&file);
	return key_call_run(call, on_stored);
}

enum manage_code
key_pgp_list(struct manage_request *request)
{
	return key_list_kind(request, KEY_PGP);
}

enum manage_code
key_pgp_show(struct manage_request *request)
{
	const struct key *key;
	enum manage_code code = key_named(request, KEY_PGP, &key);

	if (code == MANAGE_DONE)
		request->reply = key_json(request->signerd, key);
	return code;
}

enum manage_code
key_pgp_export(struct manage_request *request)
{
	const struct key *key;
	enum manage_code code = key_named(request, KEY_PGP, &key);
	struct buf text;

	if (code != MANAGE_DONE)
		return code;
	buf_init(&text, IPC_JSON_MAX);
	if (pgp_armor_write(PGP_ARMOR_PUBLIC_KEY, key->public, &text) == -1)
		code = manage_fail(request, MANAGE_FAILED, NULL,
		    "the key is too large to be shown");
	else
		request->reply = json_pack("{s:s}", "text", buf_text(&text));
	buf_clear(&text);
	return code;
}

enum manage_code
key_pgp_retire(struct manage_request *request)
{
	return key_retire(request, KEY_PGP, POOL_PGP_SIGN);
}

enum manage_code
key_pgp_remove(struct manage_request *request)
{
	return key_remove(request, KEY_PGP);
}

/* ---- Web Key Directory ---- */

/* One address after the other: each key is cut down to its user id. */
struct wkd {
	json_t *files;
	size_t count;
	size_t at;
	char (*addresses)[ADDRESS_TEXT_MAX];
};

static enum manage_code wkd_next(
    struct signerd *signerd, struct manage_request *request, struct wkd *wkd);

static void
wkd_free(struct wkd *wkd)
{
	json_decref(wkd->files);
	free(wkd->addresses);
	free(wkd);
}

static void
add_file(struct wkd *wkd, const char *path, struct slice octets)
{
	char *base64 = key_base64(octets);

	(void)json_array_append_new(
	    wkd->files, json_pack("{s:s, s:s}", "path", path, "data", base64));
	free(base64);
}

/* DOMAIN/hu/HASH below /.well-known/openpgpkey/: the advanced method. */
static void
add_key_file(struct wkd *wkd, const char *address, struct slice key)
{
	const char *at = strrchr(address, '@');
	char hash[PGP_WKD_HASH_SIZE];
	char path[400];

	pgp_wkd_hash((struct slice){address, (size_t)(at - address)}, hash);
	(void)snprintf(path, sizeof(path), "%s/hu/%s", at + 1, hash);
	add_file(wkd, path, key);
	(void)snprintf(path, sizeof(path), "%s/policy", at + 1);
	add_file(wkd, path, SLICE(""));
}

/* The call's context: freed with it, so the list is taken out before. */
struct wkd_step {
	struct wkd *wkd;
};

static enum manage_code
on_reduced(struct key_call *call, const struct key_answer *answer)
{
	struct wkd *wkd = ((struct wkd_step *)call->context)->wkd;

	add_key_file(
	    wkd, wkd->addresses[wkd->at], key_part(&answer->parts, "public"));
	wkd->at++;
	return wkd_next(call->signerd, call->request, wkd);
}

/* A key without that user id: it is bound to the address by us alone. */
static void
on_not_reduced(struct key_call *call, const char *reason, bool is_temporary)
{
	struct wkd *wkd = ((struct wkd_step *)call->context)->wkd;
	enum manage_code code;

	if (is_temporary) {
		wkd_free(wkd);
		manage_answer(
		    call->request, manage_fail(call->request, MANAGE_FAILED,
				       NULL, "%s", reason));
		return;
	}
	wkd->at++;
	code = wkd_next(call->signerd, call->request, wkd);
	if (code != MANAGE_LATER)
		manage_answer(call->request, code);
}

static enum manage_code
wkd_end(struct manage_request *request, struct wkd *wkd)
{
	if (json_array_size(wkd->files) == 0) {
		wkd_free(wkd);
		return manage_fail(request, MANAGE_NOTHING,
		    "postern key pgp new ADDRESS",
		    "there is no OpenPGP key of our own");
	}
	request->reply = json_pack("{s:O}", "files", wkd->files);
	wkd_free(wkd);
	return MANAGE_DONE;
}

static enum manage_code
wkd_next(
    struct signerd *signerd, struct manage_request *request, struct wkd *wkd)
{
	struct key_binding binding = {0};
	struct key_call *call;
	struct wkd_step *step;

	while (wkd->at < wkd->count &&
	       keystore_recipient(signerd->keystore, KEY_PGP,
		   slice_of(wkd->addresses[wkd->at]), 0, (int64_t)time(NULL),
		   &binding) != KEYSTORE_FOUND)
		wkd->at++;
	if (wkd->at == wkd->count || binding.key == NULL)
		return wkd_end(request, wkd);
	call = key_call_new(signerd, request, KEY_OP_PARSE);
	step = xmalloc(sizeof(*step));
	step->wkd = wkd;
	call->context = step;
	call->failed = on_not_reduced;
	key_call_fact(call, "kind", "pgp");
	key_call_fact(call, "address", wkd->addresses[wkd->at]);
	key_call_part(call, "file", binding.key->public);
	return key_call_run(call, on_reduced);
}

static void
collect_address(void *arg, const struct binding_row *row)
{
	struct wkd *wkd = arg;

	if (strcmp(row->state, "active") != 0 || row->subject[0] == '@' ||
	    wkd->count == WKD_ADDRESSES_MAX ||
	    strrchr(row->subject, '@') == NULL)
		return;
	for (size_t i = 0; i < wkd->count; i++)
		if (strcmp(wkd->addresses[i], row->subject) == 0)
			return;
	memcpy(
	    wkd->addresses[wkd->count++], row->subject, sizeof(row->subject));
}

struct collecting {
	struct signerd *signerd;
	struct wkd *wkd;
};

static void
collect_key(void *arg, const struct key *key)
{
	struct collecting *c = arg;

	if (key->secret_ref[0] != '\0' && key->status == KEY_ACTIVE)
		(void)keystore_bindings(c->signerd->keystore, key->id,
		    collect_address, c->wkd, NULL);
}

enum manage_code
key_pgp_wkd(struct manage_request *request)
{
	struct wkd *wkd = xcalloc(1, sizeof(*wkd));
	struct collecting c = {.signerd = request->signerd, .wkd = wkd};
	struct err err;

	wkd->files = json_array();
	wkd->addresses = xcalloc(WKD_ADDRESSES_MAX, sizeof(*wkd->addresses));
	if (keystore_list(request->signerd->keystore, KEY_PGP, "", 0,
		WKD_KEYS_MAX, collect_key, &c, &err) == -1) {
		wkd_free(wkd);
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	}
	return wkd_next(request->signerd, request, wkd);
}
