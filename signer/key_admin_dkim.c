/* SPDX-License-Identifier: ISC */
/*
 * DKIM keys: made, rotated, shown as the DNS record that goes with them.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask.
 *
 * A domain signs with each key that is active.  Rotation:
 *
 *	step       new selector          old selector
 *	new                              signs
 *	rotate     published, not yet    signs
 *	activate   signs                 signs no more, stays published
 *	retire                           private part removed; the record may
 *	                                 go a week later, when no mail with
 *	                                 such a signature is under way
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/key_admin.h"

/* A selector is one label or several, RFC 6376 §3.1. */
#define SELECTOR_MAX 60
/* TXT strings are at most 255 octets; zone files want several. */
#define STRING_MAX 250
/* "-" and a letter or number behind a made name, tried in turn. */
#define TRIES_MAX 26

enum which { WHICH_RSA = 1, WHICH_ED25519 = 2 };

/* What several calls of one verb share. */
struct plan {
	char domain[256];
	char selector[64]; /* of rsa, or of the only one */
	unsigned left;     /* a set of enum which */
	bool is_active;
	bool is_pair;
};

/* ---- the record ---- */

static const char *
algorithm_word(const struct key *key)
{
	return strcmp(key->algorithm, "ed25519") == 0 ? "ed25519" : "rsa";
}

/* RFC 8463 §4: the 32 octets alone, which end the SubjectPublicKeyInfo. */
static struct slice
record_key(const struct key *key)
{
	if (strcmp(key->algorithm, "ed25519") == 0 && key->public.n > 32)
		return (struct slice){key->public.p + key->public.n - 32, 32};
	return key->public;
}

static void
add_record(
    json_t *json, const struct dkim_selector *selector, const struct key *key)
{
	char *base64 = key_base64(record_key(key));
	struct buf name;
	struct buf value;
	struct buf zone;
	struct slice rest;

	buf_init(&name, 512);
	buf_init(&value, IPC_KEY_MAX);
	buf_init(&zone, IPC_KEY_MAX);
	(void)buf_addf(
	    &name, "%s._domainkey.%s", selector->selector, selector->domain);
	(void)buf_addf(
	    &value, "v=DKIM1; k=%s; p=%s", algorithm_word(key), base64);
	(void)buf_addf(&zone, "%s. IN TXT (", buf_text(&name));
	for (rest = buf_slice(&value); rest.n > 0;) {
		const size_t n = rest.n > STRING_MAX ? STRING_MAX : rest.n;

		(void)buf_addf(&zone, " \"%.*s\"", (int)n, rest.p);
		rest.p += n;
		rest.n -= n;
	}
	(void)buf_add_text(&zone, " )");
	(void)json_object_set_new(
	    json, "record_name", json_string(buf_text(&name)));
	(void)json_object_set_new(
	    json, "record_value", json_string(buf_text(&value)));
	(void)json_object_set_new(json, "record", json_string(buf_text(&zone)));
	buf_clear(&name);
	buf_clear(&value);
	buf_clear(&zone);
	free(base64);
}

static const char *
phase(const struct dkim_selector *selector, const struct key *key)
{
	if (key->status != KEY_ACTIVE)
		return "retired";
	if (selector->active_from_s == 0)
		return "published";
	return selector->active_to_s != 0 ? "ended" : "signs";
}

/* A key as list and show have it; NULL: its selector is gone. */
static json_t *
dkim_json(struct signerd *signerd, const struct key *key, bool with_record)
{
	struct dkim_selector selector;
	json_t *json;

	if (keystore_selector_of(signerd->keystore, key->id, &selector, NULL) !=
	    1)
		return NULL;
	json = key_json(signerd, key);
	(void)json_object_set_new(json, "domain", json_string(selector.domain));
	(void)json_object_set_new(
	    json, "selector", json_string(selector.selector));
	(void)json_object_set_new(
	    json, "phase", json_string(phase(&selector, key)));
	if (selector.active_from_s != 0)
		(void)json_object_set_new(
		    json, "active_from", json_integer(selector.active_from_s));
	if (selector.active_to_s != 0)
		(void)json_object_set_new(
		    json, "active_to", json_integer(selector.active_to_s));
	if (with_record)
		add_record(json, &selector, key);
	return json;
}

/* ---- new ---- */

static enum manage_code next_key(struct signerd *signerd,
    struct manage_request *request, const struct plan *plan);

/* The selector of one of a pair: S, and S-ed beside it. */
static void
selector_of(const struct plan *plan, enum which which, char out[80])
{
	(void)snprintf(out, 80, "%s%s", plan->selector,
	    plan->is_pair && which == WHICH_ED25519 ? "-ed" : "");
}

static enum which
next_which(const struct plan *plan)
{
	return (plan->left & WHICH_RSA) != 0 ? WHICH_RSA : WHICH_ED25519;
}

static void
add_to_reply(struct manage_request *request, int64_t id)
{
	const struct key *key =
	    keystore_key(request->signerd->keystore, id, NULL);
	json_t *keys;

	if (request->reply == NULL)
		request->reply = json_pack("{s:[]}", "keys");
	keys = json_object_get(request->reply, "keys");
	if (key != NULL)
		(void)json_array_append_new(
		    keys, dkim_json(request->signerd, key, true));
}

static enum manage_code
on_made(struct key_call *call, const struct key_answer *answer)
{
	const struct plan *plan = call->context;
	struct plan rest = *plan;
	struct key key = answer->key;
	char selector[80];
	enum keystore_change change;
	int64_t id = 0;
	struct err err;

	if (key_call_store(call, answer, &err) == -1)
		return manage_fail(
		    call->request, MANAGE_FAILED, NULL, "%s", err.text);
	(void)snprintf(key.secret_ref, sizeof(key.secret_ref), "%s", call->ref);
	(void)snprintf(key.source, sizeof(key.source), "made");
	selector_of(plan, next_which(plan), selector);
	change = keystore_add_dkim(call->signerd->keystore, &key, plan->domain,
	    selector, plan->is_active ? call->now_s : 0, call->now_s, &id,
	    &err);
	if (change != CHANGE_DONE) {
		key_call_unstore(call);
		return key_fail_change(call->request, change, &err);
	}
	add_to_reply(call->request, id);
	rest.left &= ~(unsigned)next_which(plan);
	if (rest.left != 0)
		return next_key(call->signerd, call->request, &rest);
	signerd_keys_changed(call->signerd);
	return MANAGE_DONE;
}

static enum manage_code
next_key(struct signerd *signerd, struct manage_request *request,
    const struct plan *plan)
{
	struct key_call *call =
	    key_call_new(signerd, request, KEY_OP_GENERATE_DKIM);
	struct plan *copy = xmalloc(sizeof(*copy));

	*copy = *plan;
	call->context = copy;
	key_call_fact(call, "algorithm",
	    next_which(plan) == WHICH_RSA ? "rsa-2048" : "ed25519");
	key_call_seal(call, POOL_SIGN);
	return key_call_run(call, on_made);
}

static bool
is_selector(const char *text)
{
	const size_t n = strlen(text);

	if (n == 0 || n > SELECTOR_MAX || text[0] == '-' || text[0] == '.' ||
	    text[n - 1] == '-' || text[n - 1] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		const char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			c == '-' || (c == '.' && text[i + 1] != '.')))
			return false;
	}
	return true;
}

static bool
is_taken(const struct dkim_selector *selectors, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(selectors[i].selector, name, strlen(name)) == 0)
			return true;
	return false;
}

/* "p20261122", then "p20261122b" and so on. */
static int
make_selector(struct signerd *signerd, struct plan *plan, struct err *err)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	const time_t now = time(NULL);
	struct tm tm;
	size_t count;

	if (keystore_selectors(
		signerd->keystore, plan->domain, selectors, &count, err) == -1)
		return -1;
	(void)gmtime_r(&now, &tm);
	(void)strftime(plan->selector, sizeof(plan->selector), "p%Y%m%d", &tm);
	for (int i = 0; i < TRIES_MAX; i++) {
		const size_t n = strlen("pYYYYMMDD");

		if (i > 0) {
			plan->selector[n] = (char)('a' + i);
			plan->selector[n + 1] = '\0';
		}
		/* The plain name is a beginning of the others. */
		if (!is_taken(selectors, count, plan->selector))
			return 0;
	}
	return err_set(err, "no selector is free today; name one");
}

static enum manage_code
read_plan(struct manage_request *request, struct plan *plan_r)
{
	const char *algorithm = manage_text(request, "algorithm");
	const char *selector = manage_text(request, "selector");
	struct domain domain;
	enum manage_code code = key_domain(request, "domain", &domain);
	struct err err;

	memset(plan_r, 0, sizeof(*plan_r));
	if (code != MANAGE_DONE)
		return code;
	(void)snprintf(
	    plan_r->domain, sizeof(plan_r->domain), "%s", domain.text);
	if (algorithm == NULL || strcmp(algorithm, "both") == 0)
		plan_r->left = WHICH_RSA | WHICH_ED25519;
	else if (strcmp(algorithm, "rsa") == 0)
		plan_r->left = WHICH_RSA;
	else if (strcmp(algorithm, "ed25519") == 0)
		plan_r->left = WHICH_ED25519;
	else
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "the algorithm is rsa, ed25519 or both");
	plan_r->is_pair = plan_r->left == (WHICH_RSA | WHICH_ED25519);
	if (selector != NULL && !is_selector(selector))
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "a selector has letters in lower case, digits, hyphens "
		    "and dots between them");
	if (selector != NULL)
		(void)snprintf(
		    plan_r->selector, sizeof(plan_r->selector), "%s", selector);
	else if (make_selector(request->signerd, plan_r, &err) == -1)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	return MANAGE_DONE;
}

/* Both names must be free before the first key is made. */
static enum manage_code
check_free(struct manage_request *request, const struct plan *plan)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	size_t count;
	struct err err;

	if (keystore_selectors(request->signerd->keystore, plan->domain,
		selectors, &count, &err) == -1)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	for (size_t i = 0; i < count; i++)
		for (unsigned which = 1; which <= 2; which++) {
			char name[80];

			selector_of(plan, (enum which)which, name);
			if ((plan->left & which) != 0 &&
			    strcmp(selectors[i].selector, name) == 0)
				return manage_fail(request, MANAGE_CONFLICT,
				    "postern key dkim list",
				    "%s has a selector %s already",
				    plan->domain, name);
		}
	return MANAGE_DONE;
}

enum manage_code
key_dkim_new(struct manage_request *request)
{
	struct plan plan;
	enum manage_code code = read_plan(request, &plan);

	if (code == MANAGE_DONE)
		code = check_free(request, &plan);
	if (code != MANAGE_DONE)
		return code;
	plan.is_active = !manage_flag(request, "later");
	return next_key(request->signerd, request, &plan);
}

enum manage_code
key_dkim_rotate(struct manage_request *request)
{
	struct plan plan;
	enum manage_code code = read_plan(request, &plan);

	if (code == MANAGE_DONE)
		code = check_free(request, &plan);
	if (code != MANAGE_DONE)
		return code;
	return next_key(request->signerd, request, &plan);
}

/* ---- activate ---- */

/* A key takes the place of those of its own algorithm. */
static bool
replaces(const struct dkim_selector *next, const struct dkim_selector *old)
{
	return old->key->status == KEY_ACTIVE && old->active_from_s != 0 &&
	       old->active_to_s == 0 &&
	       strcmp(old->key->algorithm, next->key->algorithm) == 0;
}

static int
activate(struct keystore *keystore, const struct dkim_selector *selectors,
    size_t count, int64_t now_s, const char *only, size_t *changed_r,
    struct err *err)
{
	int64_t begin[KEYSTORE_SELECTORS_MAX];
	int64_t end[KEYSTORE_SELECTORS_MAX];
	int64_t from[KEYSTORE_SELECTORS_MAX];
	size_t begins = 0;
	size_t ends = 0;

	/* Changes make what selectors point to invalid: ids first. */
	for (size_t i = 0; i < count; i++) {
		const struct dkim_selector *next = &selectors[i];

		if (next->key->status != KEY_ACTIVE ||
		    next->active_from_s != 0 ||
		    (only != NULL && strcmp(only, next->selector) != 0))
			continue;
		begin[begins++] = next->key->id;
		for (size_t k = 0; k < count; k++)
			if (replaces(next, &selectors[k]) &&
			    ends < KEYSTORE_SELECTORS_MAX) {
				from[ends] = selectors[k].active_from_s;
				end[ends++] = selectors[k].key->id;
			}
	}
	*changed_r = begins;
	/* The new ones first: between the two the mail is signed twice. */
	for (size_t i = 0; i < begins; i++)
		if (keystore_span_dkim(keystore, begin[i], now_s, 0, err) !=
		    CHANGE_DONE)
			return -1;
	for (size_t i = 0; i < ends; i++)
		if (keystore_span_dkim(keystore, end[i], from[i], now_s, err) !=
		    CHANGE_DONE)
			return -1;
	return 0;
}

static void
list_selectors(struct manage_request *request, const char *domain)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	json_t *keys = json_array();
	size_t count = 0;

	(void)keystore_selectors(
	    request->signerd->keystore, domain, selectors, &count, NULL);
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(
		    keys, dkim_json(request->signerd, selectors[i].key, false));
	request->reply = json_pack("{s:o}", "keys", keys);
}

enum manage_code
key_dkim_activate(struct manage_request *request)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	struct keystore *keystore = request->signerd->keystore;
	struct domain domain;
	enum manage_code code = key_domain(request, "domain", &domain);
	size_t count;
	size_t changed;
	struct err err;

	if (code != MANAGE_DONE)
		return code;
	if (keystore_selectors(
		keystore, domain.text, selectors, &count, &err) == -1 ||
	    activate(keystore, selectors, count, (int64_t)time(NULL),
		manage_text(request, "selector"), &changed, &err) == -1)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	if (changed == 0)
		return manage_fail(request, MANAGE_NOTHING,
		    "postern key dkim rotate DOMAIN",
		    "%s has no key that waits to be activated", domain.text);
	list_selectors(request, domain.text);
	signerd_keys_changed(request->signerd);
	return MANAGE_DONE;
}

/* ---- list, show, retire ---- */

struct listing {
	struct signerd *signerd;
	const char *domain;
	json_t *keys;
	int64_t last;
	size_t count;
};

static void
list_one(void *arg, const struct key *key)
{
	struct listing *listing = arg;
	json_t *json = dkim_json(listing->signerd, key, false);
	const char *domain = json_string_value(json_object_get(json, "domain"));

	listing->last = key->id;
	listing->count++;
	if (domain != NULL &&
	    (listing->domain == NULL || strcmp(listing->domain, domain) == 0))
		(void)json_array_append(listing->keys, json);
	json_decref(json);
}

enum manage_code
key_dkim_list(struct manage_request *request)
{
	struct listing listing = {.signerd = request->signerd,
	    .domain = manage_text(request, "domain"),
	    .keys = json_array()};
	const size_t limit = manage_limit(request);
	struct err err;

	if (keystore_list(request->signerd->keystore, KEY_DKIM, "",
		key_number(request, "cursor", 0), limit, list_one, &listing,
		&err) == -1) {
		json_decref(listing.keys);
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	}
	request->reply = json_pack("{s:o}", "keys", listing.keys);
	if (listing.count == limit)
		(void)json_object_set_new(
		    request->reply, "next", json_integer(listing.last));
	return MANAGE_DONE;
}

/* By number, fingerprint, or "SELECTOR._domainkey.DOMAIN". */
static enum manage_code
find_named(struct manage_request *request, const struct key **key_r)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	const char *text = manage_text(request, "key");
	const char *at = text == NULL ? NULL : strstr(text, "._domainkey.");
	size_t count = 0;

	if (at == NULL)
		return key_named(request, KEY_DKIM, key_r);
	(void)keystore_selectors(request->signerd->keystore,
	    at + strlen("._domainkey."), selectors, &count, NULL);
	for (size_t i = 0; i < count; i++)
		if (slice_equals((struct slice){text, (size_t)(at - text)},
			slice_of(selectors[i].selector))) {
			*key_r = selectors[i].key;
			return MANAGE_DONE;
		}
	return manage_fail(request, MANAGE_NOTHING, "postern key dkim list",
	    "there is no such key: %.200s", text);
}

enum manage_code
key_dkim_show(struct manage_request *request)
{
	const struct key *key;
	enum manage_code code = find_named(request, &key);

	if (code == MANAGE_DONE)
		request->reply = dkim_json(request->signerd, key, true);
	return code;
}

enum manage_code
key_dkim_retire(struct manage_request *request)
{
	struct keystore *keystore = request->signerd->keystore;
	const int64_t now_s = (int64_t)time(NULL);
	const struct key *key = NULL;
	struct dkim_selector selector;
	char ref[KEY_REF_MAX + 1];
	enum manage_code code = find_named(request, &key);
	struct err err;
	int64_t id;

	if (key == NULL)
		return code;
	id = key->id;
	memcpy(ref, key->secret_ref, sizeof(ref));
	if (keystore_selector_of(keystore, id, &selector, &err) == -1 ||
	    keystore_set_status(keystore, id, KEY_RETIRED, &err) !=
		CHANGE_DONE ||
	    keystore_span_dkim(keystore, id, selector.active_from_s, now_s,
		&err) != CHANGE_DONE)
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	key_file_remove(request->signerd, POOL_SIGN, ref);
	return key_reply(request, id,
	    "leave its DNS record for a week: mail under way is checked "
	    "with it");
}
