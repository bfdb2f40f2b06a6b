/* SPDX-License-Identifier: ISC */
/*
 * The verbs about domains, routes, and block and allow entries.
 * Runs in: postern-confd.  Trusts: nothing of the arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "control/confd.h"
#include "control/config_rules.h"
#include "control/times.h"

/* ---- shared ---- */

/* Canonical key and value of one item; the caller clears both. */
struct item_texts {
	struct buf key;
	struct buf value;
};

static void
texts_init(struct item_texts *texts)
{
	buf_init(&texts->key, CONFIG_KEY_MAX);
	buf_init(&texts->value, CONFIG_VALUE_MAX);
}

static void
texts_clear(struct item_texts *texts)
{
	if (texts->value.p != NULL)
		explicit_bzero(texts->value.p, texts->value.capacity);
	buf_clear(&texts->key);
	buf_clear(&texts->value);
}

/* Stores one item that is not there yet, or may be replaced. */
static void
put_item(struct mgmt_ask *ask, enum config_kind kind, const char *key,
    const char *value, bool may_replace)
{
	struct item_texts texts;
	struct config_items wanted;
	struct err err;

	texts_init(&texts);
	if (config_item_parse(kind, slice_of(key), slice_of(value), &texts.key,
	    &texts.value, &err) == -1) {
		mgmt_fail(ask, MGMT_USAGE, NULL, "%s", err.text);
		goto out;
	}
	if (!may_replace && config_items_get(config_store_items(
	    ask->confd->store), kind, buf_text(&texts.key)) != NULL) {
		char hint[64];

		(void)snprintf(hint, sizeof(hint), "postern %s list",
		    config_kind_name(kind));
		mgmt_fail(ask, MGMT_CONFLICT, hint, "%s %s is there already",
		    config_kind_name(kind), buf_text(&texts.key));
		goto out;
	}
	config_items_copy(config_store_items(ask->confd->store), &wanted);
	config_items_put(
	    &wanted, kind, buf_text(&texts.key), buf_text(&texts.value));
	mgmt_change_to(ask, &wanted, "");
out:
	texts_clear(&texts);
}

/* Key in canonical form; value only has to be one that parses. */
static int
canonical_key(enum config_kind kind, const char *key, const char *any_value,
    struct item_texts *texts, struct err *err)
{
	return config_item_parse(kind, slice_of(key), slice_of(any_value),
	    &texts->key, &texts->value, err);
}

static void
remove_item(struct mgmt_ask *ask, enum config_kind kind, const char *key,
    const char *any_value)
{
	struct item_texts texts;
	struct config_items wanted;
	char hint[64];
	struct err err;

	texts_init(&texts);
	(void)snprintf(
	    hint, sizeof(hint), "postern %s list", config_kind_name(kind));
	if (canonical_key(kind, key, any_value, &texts, &err) == -1) {
		mgmt_fail(ask, MGMT_USAGE, hint, "%s", err.text);
	} else if (config_items_get(config_store_items(ask->confd->store),
	    kind, buf_text(&texts.key)) == NULL) {
		mgmt_fail(ask, MGMT_NOTHING, hint, "there is no %s %s",
		    config_kind_name(kind), buf_text(&texts.key));
	} else {
		config_items_copy(
		    config_store_items(ask->confd->store), &wanted);
		config_items_put(&wanted, kind, buf_text(&texts.key), NULL);
		mgmt_change_to(ask, &wanted, "");
	}
	texts_clear(&texts);
}

/* ---- domains ---- */

/* "10.0.0.5:25" is what people type for smtp://10.0.0.5:25. */
static void
add_target(struct buf *value, const char *to)
{
	const bool is_bare = strcmp(to, "mx") != 0 &&
	    strncmp(to, "lmtp:", 5) != 0 && strstr(to, "://") == NULL;

	(void)buf_add_text(value, " to ");
	if (is_bare)
		(void)buf_add_text(value, "smtp://");
	(void)buf_add_text(value, to);
}

void
mgmt_domain_add(struct mgmt_ask *ask)
{
	const char *name = mgmt_text(ask, "name");
	const char *mode = mgmt_text(ask, "mode");
	const char *to = mgmt_text(ask, "to");
	struct buf value;

	buf_init(&value, CONFIG_VALUE_MAX);
	(void)buf_add_text(&value, mode != NULL ? mode : "any");
	if (to != NULL)
		add_target(&value, to);
	put_item(ask, CONFIG_DOMAIN, name != NULL ? name : "",
	    buf_text(&value), false);
	buf_clear(&value);
}

void
mgmt_domain_remove(struct mgmt_ask *ask)
{
	const char *name = mgmt_text(ask, "name");

	remove_item(ask, CONFIG_DOMAIN, name != NULL ? name : "", "any");
}

void
mgmt_domain_list(struct mgmt_ask *ask)
{
	const struct config_items *items =
	    config_store_items(ask->confd->store);
	json_t *list = json_array();

	for (size_t i = 0; i < items->count; i++) {
		struct config_domain domain;

		if (items->list[i].kind != CONFIG_DOMAIN ||
		    config_domain_read(items->list[i].value, &domain) == -1)
			continue;
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:s}", "name", items->list[i].key,
			"recipients", config_domain_mode_name(domain.mode),
			"to", domain.to));
	}
	mgmt_reply(ask, MGMT_DONE, json_pack("{s:o}", "domains", list));
}

/* Changes the mode, keeps the target. */
void
mgmt_domain_recipients(struct mgmt_ask *ask)
{
	const char *name = mgmt_text(ask, "name");
	const char *mode = mgmt_text(ask, "mode");
	struct item_texts texts;
	struct config_domain domain;
	struct buf value;
	const char *old = NULL;
	struct err err;

	texts_init(&texts);
	buf_init(&value, CONFIG_VALUE_MAX);
	if (canonical_key(CONFIG_DOMAIN, name != NULL ? name : "", "any",
	    &texts, &err) == 0)
		old = config_items_get(config_store_items(ask->confd->store),
		    CONFIG_DOMAIN, buf_text(&texts.key));
	if (old == NULL || config_domain_read(old, &domain) == -1) {
		mgmt_fail(ask, MGMT_NOTHING, "postern domain list",
		    "there is no domain %s", name != NULL ? name : "");
		goto out;
	}
	(void)buf_add_text(&value, mode != NULL ? mode : "");
	if (domain.to[0] != '\0')
		(void)buf_addf(&value, " to %s", domain.to);
	put_item(ask, CONFIG_DOMAIN, buf_text(&texts.key), buf_text(&value),
	    true);
out:
	texts_clear(&texts);
	buf_clear(&value);
}

/* ---- routes ---- */

static int
add_password(const struct mgmt_ask *ask, struct buf *value, struct err *err)
{
	const char *password = mgmt_text(ask, "password");
	char encoded[BASE64_ENCODED_SIZE(1024) + 1];
	int rc = 0;

	if (password == NULL)
		return 0;
	if (base64_encode(password, strlen(password), encoded,
	    sizeof(encoded)) == -1)
		rc = err_set(err, "the password is longer than 1024 octets");
	else
		(void)buf_addf(value, " password %s", encoded);
	explicit_bzero(encoded, sizeof(encoded));
	return rc;
}

void
mgmt_route_add(struct mgmt_ask *ask)
{
	const char *pattern = mgmt_text(ask, "pattern");
	const char *target = mgmt_text(ask, "target");
	const char *tls = mgmt_text(ask, "tls");
	const char *user = mgmt_text(ask, "user");
	struct buf value;
	struct err err;

	buf_init(&value, CONFIG_VALUE_MAX);
	config_word_add(&value, target != NULL ? target : "");
	if (tls != NULL) {
		(void)buf_add_text(&value, " tls");
		config_word_add(&value, tls);
	}
	if (user != NULL) {
		(void)buf_add_text(&value, " user");
		config_word_add(&value, user);
	}
	if (add_password(ask, &value, &err) == -1)
		mgmt_fail(ask, MGMT_USAGE, NULL, "%s", err.text);
	else
		put_item(ask, CONFIG_ROUTE, pattern != NULL ? pattern : "",
		    buf_text(&value), mgmt_flag(ask, "replace"));
	if (value.p != NULL)
		explicit_bzero(value.p, value.capacity);
	buf_clear(&value);
}

void
mgmt_route_remove(struct mgmt_ask *ask)
{
	const char *pattern = mgmt_text(ask, "pattern");

	remove_item(ask, CONFIG_ROUTE, pattern != NULL ? pattern : "", "mx");
}

static int
compare_items(const void *a, const void *b)
{
	const struct config_item *one = *(const struct config_item *const *)a;
	const struct config_item *other = *(const struct config_item *const *)b;
	const int order = config_route_compare(one->key, other->key);

	return order != 0 ? order : strcmp(one->key, other->key);
}

/* In the order in which they are tried. */
void
mgmt_route_list(struct mgmt_ask *ask)
{
	const struct config_items *items =
	    config_store_items(ask->confd->store);
	const struct config_item **routes =
	    xcalloc(items->count + 1, sizeof(const struct config_item *));
	size_t count = 0;
	json_t *list = json_array();

	for (size_t i = 0; i < items->count; i++)
		if (items->list[i].kind == CONFIG_ROUTE)
			routes[count++] = &items->list[i];
	qsort(
	    routes, count, sizeof(const struct config_item *), compare_items);
	for (size_t i = 0; i < count; i++) {
		struct config_route route;

		if (config_route_read(routes[i]->value, &route) == 0)
			(void)json_array_append_new(list,
			    json_pack("{s:s, s:s, s:s, s:s}", "pattern",
				routes[i]->key, "target", route.target, "tls",
				route.tls, "user", route.user));
		config_route_clear(&route);
	}
	free(routes);
	mgmt_reply(ask, MGMT_DONE, json_pack("{s:o}", "routes", list));
}

static void
on_route_tested(void *arg, const struct channel_frame *frame)
{
	struct mgmt_ask *ask = arg;
	const struct ipc_route_tested *tested;
	struct ipc_record_fact fact;
	struct ipc_list facts;
	json_t *steps;

	if (frame == NULL) {
		mgmt_fail(ask, MGMT_AWAY, "postern status",
		    "postern-relayd has not answered");
		return;
	}
	tested = &frame->message->route_tested;
	steps = json_array();
	facts = tested->facts;
	while (ipc_fact_next(&facts, &fact))
		(void)json_array_append_new(steps,
		    json_pack("{s:s%, s:s%}", "step", fact.name.p,
			fact.name.n, "value",
			fact.value.n > 0 ? fact.value.p : "", fact.value.n));
	if (tested->error.n > 0)
		mgmt_reply(ask, MGMT_FAILED, json_pack("{s:o, s:s%}", "steps",
		    steps, "error", tested->error.p, tested->error.n));
	else
		mgmt_reply(ask, MGMT_DONE, json_pack("{s:o}", "steps", steps));
}

void
mgmt_route_test(struct mgmt_ask *ask)
{
	/* DNS, and a connection or two. */
	const uint32_t limit_ms = 60000;
	const struct confd_peer *relayd =
	    confd_find_peer(ask->confd, ROLE_RELAYD);
	const struct ipc_route_test question = {
	    .address = slice_of(mgmt_text(ask, "address"))};

	if (relayd == NULL || channel_request(relayd->channel, MSG_ROUTE_TEST,
	    &question, NULL, MSG_ROUTE_TESTED, limit_ms, on_route_tested,
	    ask) == 0)
		mgmt_fail(ask, MGMT_AWAY, "postern status",
		    "postern-relayd is not running");
}

/* ---- block and allow ---- */

/* Without a word before it: an address or network is a client. */
static void
access_key(const char *pattern, struct buf *key_r)
{
	struct netprefix prefix;

	buf_reset(key_r);
	if (netprefix_parse(slice_of(pattern), &prefix, NULL) == 0)
		(void)buf_add_text(key_r, "client ");
	else
		(void)buf_add_text(key_r, "sender ");
	(void)buf_add_text(key_r, pattern);
}

/* Each pattern into wanted; -1 and an answer to the asker when one is bad. */
static int
put_entries(struct mgmt_ask *ask, const char *value,
    struct config_items *wanted)
{
	const json_t *patterns = json_object_get(ask->arguments, "patterns");
	struct item_texts texts;
	struct buf key;
	const json_t *pattern;
	struct err err;
	size_t i;
	int rc = 0;

	texts_init(&texts);
	buf_init(&key, CONFIG_KEY_MAX);
	json_array_foreach (patterns, i, pattern) {
		const char *text = json_string_value(pattern);

		access_key(text != NULL ? text : "", &key);
		rc = config_item_parse(CONFIG_ACCESS, buf_slice(&key),
		    slice_of(value), &texts.key, &texts.value, &err);
		if (rc == -1) {
			mgmt_fail(ask, MGMT_USAGE, NULL, "%s: %s",
			    text != NULL ? text : "", err.text);
			break;
		}
		config_items_put(wanted, CONFIG_ACCESS, buf_text(&texts.key),
		    buf_text(&texts.value));
	}
	texts_clear(&texts);
	buf_clear(&key);
	return rc;
}

static void
access_add(struct mgmt_ask *ask, const char *verb)
{
	const int64_t until = mgmt_number(ask, "until", 0);
	struct config_items wanted;
	char value[64];
	char text[TIMES_TEXT_MAX];

	if (until != 0)
		(void)snprintf(value, sizeof(value), "%s until %s", verb,
		    times_format(until, text));
	else
		(void)snprintf(value, sizeof(value), "%s", verb);
	config_items_copy(config_store_items(ask->confd->store), &wanted);
	if (put_entries(ask, value, &wanted) == 0)
		mgmt_change_to(ask, &wanted, "");
	else
		config_items_clear(&wanted);
}

static void
access_remove(struct mgmt_ask *ask, const char *verb)
{
	const struct config_items *now =
	    config_store_items(ask->confd->store);
	const json_t *patterns = json_object_get(ask->arguments, "patterns");
	struct item_texts texts;
	struct config_items wanted;
	struct buf key;
	const json_t *pattern;
	const char *missing = NULL;
	size_t i;

	texts_init(&texts);
	buf_init(&key, CONFIG_KEY_MAX);
	config_items_copy(now, &wanted);
	json_array_foreach (patterns, i, pattern) {
		const char *text = json_string_value(pattern);
		const char *value;

		access_key(text != NULL ? text : "", &key);
		if (canonical_key(CONFIG_ACCESS, buf_text(&key), verb, &texts,
		    NULL) == -1 ||
		    (value = config_items_get(now, CONFIG_ACCESS,
			 buf_text(&texts.key))) == NULL ||
		    strncmp(value, verb, strlen(verb)) != 0) {
			missing = text != NULL ? text : "";
			break;
		}
		config_items_put(
		    &wanted, CONFIG_ACCESS, buf_text(&texts.key), NULL);
	}
	if (missing != NULL) {
		char hint[64];

		(void)snprintf(hint, sizeof(hint), "postern %s list", verb);
		mgmt_fail(ask, MGMT_NOTHING, hint, "there is no %s entry %s",
		    verb, missing);
		config_items_clear(&wanted);
	} else {
		mgmt_change_to(ask, &wanted, "");
	}
	texts_clear(&texts);
	buf_clear(&key);
}

static void
access_list(struct mgmt_ask *ask, bool is_allow)
{
	const struct config_items *items =
	    config_store_items(ask->confd->store);
	const int64_t now = (int64_t)(clock_wall_us() / 1000000);
	json_t *list = json_array();

	for (size_t i = 0; i < items->count; i++) {
		struct config_access access;

		if (items->list[i].kind != CONFIG_ACCESS ||
		    config_access_read(items->list[i].key,
			items->list[i].value, &access) == -1 ||
		    access.is_allow != is_allow)
			continue;
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:I, s:b}", "kind",
			access.is_client ? "client" : "sender", "pattern",
			access.pattern, "until", (json_int_t)access.until,
			"is_expired", access.until != 0 && access.until < now));
	}
	mgmt_reply(ask, MGMT_DONE, json_pack("{s:o}", "entries", list));
}

void
mgmt_block_add(struct mgmt_ask *ask)
{
	access_add(ask, "block");
}

void
mgmt_block_remove(struct mgmt_ask *ask)
{
	access_remove(ask, "block");
}

void
mgmt_block_list(struct mgmt_ask *ask)
{
	access_list(ask, false);
}

void
mgmt_allow_add(struct mgmt_ask *ask)
{
	access_add(ask, "allow");
}

void
mgmt_allow_remove(struct mgmt_ask *ask)
{
	access_remove(ask, "allow");
}

void
mgmt_allow_list(struct mgmt_ask *ask)
{
	access_list(ask, true);
}
