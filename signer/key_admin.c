/* SPDX-License-Identifier: ISC */
/*
 * What verbs of keys share: arguments, answers, lists, approval, retirement.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; arguments are read like anybody's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/alerts.h"
#include "common/base64.h"
#include "signer/key_admin.h"

/* ---- failures ---- */

enum manage_code
key_fail_change(struct manage_request *request, enum keystore_change change,
    const struct err *err)
{
	static const enum manage_code codes[] = {[CHANGE_DONE] = MANAGE_DONE,
	    [CHANGE_EXISTS] = MANAGE_CONFLICT,
	    [CHANGE_NONE] = MANAGE_NOTHING,
	    [CHANGE_REFUSED] = MANAGE_USAGE,
	    [CHANGE_FAILED] = MANAGE_FAILED};

	return manage_fail(request, codes[change], NULL, "%s", err->text);
}

/* ---- arguments ---- */

int64_t
key_number(
    const struct manage_request *request, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(request->arguments, name);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

enum manage_code
key_address(struct manage_request *request, const char *name,
    char address_r[ADDRESS_TEXT_MAX])
{
	const char *text = manage_text(request, name);
	struct address address;
	struct err err;

	if (text == NULL)
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "an address is missing");
	if (address_parse(
		slice_of(text), ADDRESS_MAY_BE_UTF8, &address, &err) == -1)
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "%s: %s", text, err.text);
	if (address.is_literal)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "%s: a key belongs to a domain, not to an IP address",
		    text);
	(void)address_format_folded(&address, address_r);
	return MANAGE_DONE;
}

enum manage_code
key_domain(
    struct manage_request *request, const char *name, struct domain *domain_r)
{
	const char *text = manage_text(request, name);
	struct err err;

	if (text == NULL)
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "a domain is missing");
	if (domain_parse(slice_of(text), domain_r, &err) == -1)
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "%s: %s", text, err.text);
	return MANAGE_DONE;
}

enum manage_code
key_file(struct manage_request *request, const char *name, struct buf *file_r)
{
	const struct slice text = slice_of(manage_text(request, name));
	char *room;
	size_t n;

	buf_init(file_r, IPC_JSON_MAX);
	room = buf_reserve(file_r, BASE64_DECODED_MAX(text.n) + 1);
	if (room == NULL ||
	    base64_decode(text, room, BASE64_DECODED_MAX(text.n) + 1, &n) ==
		-1 ||
	    n == 0) {
		buf_clear(file_r);
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "the file is empty, too large, or not sent as base64");
	}
	buf_extend(file_r, n);
	return MANAGE_DONE;
}

/* A fingerprint as people copy it: with colons or blanks, in any case. */
static void
clean_fingerprint(const char *text, char out[KEY_FINGERPRINT_MAX + 1])
{
	size_t n = 0;

	for (; *text != '\0' && n < KEY_FINGERPRINT_MAX; text++)
		if (*text >= 'a' && *text <= 'f')
			out[n++] = (char)(*text - 'a' + 'A');
		else if (*text != ':' && *text != ' ')
			out[n++] = *text;
	out[n] = '\0';
}

enum manage_code
key_named(struct manage_request *request, enum key_kind kind,
    const struct key **key_r)
{
	struct keystore *keystore = request->signerd->keystore;
	const char *text = manage_text(request, "key");
	char fingerprint[KEY_FINGERPRINT_MAX + 1];
	const struct key *key = NULL;
	uint64_t id;
	struct err err;

	if (text == NULL)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "name the key by its number or fingerprint");
	if (strlen(text) < 16 && slice_to_u64(slice_of(text), &id) == 0) {
		key = keystore_key(keystore, (int64_t)id, &err);
	} else {
		clean_fingerprint(text, fingerprint);
		(void)keystore_by_fingerprint(
		    keystore, kind, slice_of(fingerprint), &key);
	}
	if (key == NULL || (kind != KEY_KIND_COUNT && key->kind != kind))
		return manage_fail(request, MANAGE_NOTHING, NULL,
		    "there is no such key: %.80s", text);
	*key_r = key;
	return MANAGE_DONE;
}

/* ---- encodings ---- */

char *
key_base64(struct slice octets)
{
	const size_t size = BASE64_ENCODED_SIZE(octets.n) + 1;
	char *text = xmalloc(size);

	if (base64_encode(octets.p, octets.n, text, size) == -1)
		bug("base64 of %zu octets", octets.n);
	return text;
}

#define PEM_LINE 64

char *
key_pem(struct slice der, const char *label)
{
	char *base64 = key_base64(der);
	struct slice rest = slice_of(base64);
	struct buf text;
	char *pem;

	buf_init(&text, IPC_JSON_MAX);
	(void)buf_addf(&text, "-----BEGIN %s-----\n", label);
	while (rest.n > 0) {
		const size_t n = rest.n > PEM_LINE ? PEM_LINE : rest.n;

		(void)buf_add(&text, rest.p, n);
		(void)buf_add_char(&text, '\n');
		rest.p += n;
		rest.n -= n;
	}
	(void)buf_addf(&text, "-----END %s-----\n", label);
	pem = slice_dup(buf_slice(&text));
	buf_clear(&text);
	free(base64);
	return pem;
}

void
key_make_serial(char serial_r[KEY_SERIAL_SIZE])
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		fatal("getrandom: %s", strerror(errno));
	/* Positive, and its first digit counts. */
	random[0] = (unsigned char)((random[0] & 0x3f) | 0x40);
	key_hex(random, sizeof(random), serial_r);
	for (char *p = serial_r; *p != '\0'; p++)
		if (*p >= 'a')
			*p = (char)(*p - 'a' + 'A');
}

/* ---- keys as JSON ---- */

struct shown {
	json_t *addresses;
	json_t *pending;
	unsigned trust;
	bool is_pinned;
};

static void
show_binding(void *arg, const struct binding_row *row)
{
	struct shown *shown = arg;
	const bool is_pending = strcmp(row->state, "pending") == 0;

	if (strcmp(row->state, "rejected") == 0)
		return;
	(void)json_array_append_new(
	    is_pending ? shown->pending : shown->addresses,
	    json_string(row->subject));
	if (row->trust > shown->trust)
		shown->trust = row->trust;
	shown->is_pinned |= row->is_pinned;
}

static json_t *
uses_json(unsigned uses)
{
	json_t *list = json_array();

	if ((uses & KEY_SIGNS) != 0)
		(void)json_array_append_new(list, json_string("sign"));
	if ((uses & KEY_ENCRYPTS) != 0)
		(void)json_array_append_new(list, json_string("encrypt"));
	if ((uses & KEY_CERTIFIES) != 0)
		(void)json_array_append_new(list, json_string("certify"));
	return list;
}

static void
set_time(json_t *json, const char *name, int64_t time_s)
{
	if (time_s != 0)
		(void)json_object_set_new(json, name, json_integer(time_s));
}

static void
add_bindings(struct signerd *signerd, const struct key *key, json_t *json)
{
	struct shown shown = {
	    .addresses = json_array(), .pending = json_array()};

	(void)keystore_bindings(
	    signerd->keystore, key->id, show_binding, &shown, NULL);
	(void)json_object_set_new(json, "addresses", shown.addresses);
	if (json_array_size(shown.pending) > 0)
		(void)json_object_set_new(json, "pending", shown.pending);
	else
		json_decref(shown.pending);
	(void)json_object_set_new(json, "trust", json_integer(shown.trust));
	(void)json_object_set_new(
	    json, "is_pinned", json_boolean(shown.is_pinned));
}

json_t *
key_json(struct signerd *signerd, const struct key *key)
{
	json_t *json = json_pack(
	    "{s:I, s:s, s:s, s:s, s:s, s:i, s:b, s:s, s:s, s:s, s:s, s:b}",
	    "id", (json_int_t)key->id, "kind", key_kind_name(key->kind),
	    "status", key_status_name(key->status), "fingerprint",
	    key->fingerprint, "algorithm", key->algorithm, "bits",
	    (int)key->bits, "is_ours", key->secret_ref[0] != '\0', "subject",
	    key->subject, "issuer", key->issuer, "serial", key->serial,
	    "source", key->source, "has_aead", key->has_aead);

	if (json == NULL)
		return json_pack("{s:I}", "id", (json_int_t)key->id);
	(void)json_object_set_new(json, "uses", uses_json(key->uses));
	set_time(json, "not_before", key->not_before_s);
	set_time(json, "not_after", key->not_after_s);
	set_time(json, "created", key->created_s);
	set_time(json, "last_used", key->last_used_s);
	if (key->kind == KEY_SMIME || key->kind == KEY_PGP)
		add_bindings(signerd, key, json);
	return json;
}

/* ---- lists ---- */

struct list {
	struct signerd *signerd;
	json_t *keys;
	int64_t last;
};

static void
list_key(void *arg, const struct key *key)
{
	struct list *list = arg;

	(void)json_array_append_new(list->keys, key_json(list->signerd, key));
	list->last = key->id;
}

enum manage_code
key_list_kind(struct manage_request *request, enum key_kind kind)
{
	struct list list = {.signerd = request->signerd, .keys = json_array()};
	const char *match = manage_text(request, "match");
	const size_t limit = manage_limit(request);
	char folded[ADDRESS_TEXT_MAX];
	struct err err;
	size_t n;

	if (match == NULL || strlen(match) >= sizeof(folded))
		match = "";
	for (n = 0; match[n] != '\0'; n++)
		folded[n] = match[n] >= 'A' && match[n] <= 'Z'
				? (char)(match[n] - 'A' + 'a')
				: match[n];
	folded[n] = '\0';
	if (keystore_list(request->signerd->keystore, kind, folded,
		key_number(request, "cursor", 0), limit, list_key, &list,
		&err) == -1) {
		json_decref(list.keys);
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	}
	request->reply = json_pack("{s:O}", "keys", list.keys);
	if (json_array_size(list.keys) == limit)
		(void)json_object_set_new(
		    request->reply, "next", json_integer(list.last));
	json_decref(list.keys);
	return MANAGE_DONE;
}

enum manage_code
key_reply(struct manage_request *request, int64_t id, const char *note)
{
	struct err err;
	const struct key *key =
	    keystore_key(request->signerd->keystore, id, &err);

	if (key == NULL)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	request->reply = key_json(request->signerd, key);
	if (note != NULL)
		(void)json_object_set_new(
		    request->reply, "note", json_string(note));
	signerd_keys_changed(request->signerd);
	key_expiry_check(request->signerd);
	return MANAGE_DONE;
}

static void
list_pending(void *arg, const struct key *key)
{
	struct list *list = arg;
	json_t *json = key_json(list->signerd, key);

	if (json_object_get(json, "pending") != NULL)
		(void)json_array_append(list->keys, json);
	json_decref(json);
}

enum manage_code
key_pending(struct manage_request *request)
{
	struct list list = {.signerd = request->signerd, .keys = json_array()};
	struct err err;

	if (keystore_pending(request->signerd->keystore, manage_limit(request),
		list_pending, &list, &err) == -1) {
		json_decref(list.keys);
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	}
	request->reply = json_pack("{s:o}", "keys", list.keys);
	return MANAGE_DONE;
}

/* ---- approval ---- */

static void
clear_alert(void *arg, const struct binding_row *row)
{
	struct signerd *signerd = arg;

	daemon_alert_clear(signerd->daemon, ALERT_KEY_CHANGED, row->subject);
}

static enum manage_code
resolve(struct manage_request *request, bool is_approved)
{
	const struct key *key = NULL;
	enum keystore_change change;
	enum manage_code code = key_named(request, KEY_KIND_COUNT, &key);
	struct err err;
	int64_t id;

	if (key == NULL)
		return code;
	id = key->id;
	change = keystore_resolve(request->signerd->keystore, id, is_approved,
	    (int64_t)time(NULL), &err);
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	(void)keystore_bindings(request->signerd->keystore, id, clear_alert,
	    request->signerd, NULL);
	return key_reply(request, id, NULL);
}

enum manage_code
key_approve(struct manage_request *request)
{
	return resolve(request, true);
}

enum manage_code
key_reject(struct manage_request *request)
{
	return resolve(request, false);
}

/* ---- keeping, retiring, removing ---- */

enum manage_code
key_keep(struct key_call *call, const struct key_answer *answer,
    const struct key_owner *owner, int64_t *id_r)
{
	struct key key = answer->key;
	enum keystore_change change;
	struct err err;

	if (key_call_store(call, answer, &err) == -1)
		return manage_fail(
		    call->request, MANAGE_FAILED, NULL, "%s", err.text);
	(void)snprintf(key.secret_ref, sizeof(key.secret_ref), "%s", call->ref);
	(void)snprintf(key.source, sizeof(key.source), "%s", owner->source);
	change = keystore_add(
	    call->signerd->keystore, &key, owner, call->now_s, id_r, &err);
	if (change == CHANGE_DONE)
		return MANAGE_DONE;
	key_call_unstore(call);
	return key_fail_change(call->request, change, &err);
}

enum manage_code
key_retire(struct manage_request *request, enum key_kind kind,
    enum pool_class signing_class)
{
	const struct key *key = NULL;
	enum manage_code code = key_named(request, kind, &key);
	char ref[KEY_REF_MAX + 1];
	char fingerprint[KEY_FINGERPRINT_MAX + 1];
	enum keystore_change change;
	struct err err;
	int64_t id;

	if (key == NULL)
		return code;
	if (key->secret_ref[0] == '\0')
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "key %lld is a correspondent's; \"postern key %s remove "
		    "%lld\" forgets it",
		    (long long)key->id, key_kind_name(kind),
		    (long long)key->id);
	id = key->id;
	memcpy(ref, key->secret_ref, sizeof(ref));
	memcpy(fingerprint, key->fingerprint, sizeof(fingerprint));
	change = keystore_set_status(request->signerd->keystore, id,
	    (key->uses & KEY_ENCRYPTS) != 0 ? KEY_DECRYPT_ONLY : KEY_RETIRED,
	    &err);
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	key_expiry_clear(request->signerd, fingerprint);
	/* What opens old mail stays for ever; what signs is not needed. */
	if (strncmp(ref, "pkcs11:", 7) != 0)
		key_file_remove(request->signerd, signing_class, ref);
	return key_reply(request, id, NULL);
}

enum manage_code
key_remove(struct manage_request *request, enum key_kind kind)
{
	const struct key *key = NULL;
	enum manage_code code = key_named(request, kind, &key);
	enum keystore_change change;
	struct err err;

	if (key == NULL)
		return code;
	if (key->secret_ref[0] != '\0')
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "key %lld is ours: without it old mail stays closed; "
		    "\"postern key %s retire %lld\" ends its use",
		    (long long)key->id, key_kind_name(kind),
		    (long long)key->id);
	change = keystore_remove(request->signerd->keystore, key->id, &err);
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	return MANAGE_DONE;
}
