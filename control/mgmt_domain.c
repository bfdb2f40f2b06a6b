/* SPDX-License-Identifier: ISC */
/*
 * The verbs about domains and routes.
 * Runs in: postern-confd.  Trusts: nothing of the arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/words.h"
#include "control/confd.h"
#include "control/config_rules.h"

/* ---- domains ---- */

/* "10.0.0.5:25" is what people type for smtp://10.0.0.5:25. */
static void
add_target(struct buf *value, const char *to)
{
	const bool is_bare = strcmp(to, "mx") != 0 &&
			     strncmp(to, "lmtp:", 5) != 0 &&
			     strstr(to, "://") == NULL;

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
	mgmt_put_item(ask, CONFIG_DOMAIN, name != NULL ? name : "",
	    buf_text(&value), false);
	buf_clear(&value);
}

void
mgmt_domain_remove(struct mgmt_ask *ask)
{
	const char *name = mgmt_text(ask, "name");

	mgmt_remove_item(ask, CONFIG_DOMAIN, name != NULL ? name : "", "any");
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
	struct mgmt_texts texts;
	struct config_domain domain;
	struct buf value;
	const char *old = NULL;
	struct err err;

	mgmt_texts_init(&texts);
	buf_init(&value, CONFIG_VALUE_MAX);
	if (mgmt_texts_key(CONFIG_DOMAIN, name != NULL ? name : "", "any",
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
	mgmt_put_item(
	    ask, CONFIG_DOMAIN, buf_text(&texts.key), buf_text(&value), true);
out:
	mgmt_texts_clear(&texts);
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
	if (base64_encode(
		password, strlen(password), encoded, sizeof(encoded)) == -1)
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
	words_add(&value, target != NULL ? target : "");
	if (tls != NULL) {
		(void)buf_add_text(&value, " tls");
		words_add(&value, tls);
	}
	if (user != NULL) {
		(void)buf_add_text(&value, " user");
		words_add(&value, user);
	}
	if (add_password(ask, &value, &err) == -1)
		mgmt_fail(ask, MGMT_USAGE, NULL, "%s", err.text);
	else
		mgmt_put_item(ask, CONFIG_ROUTE, pattern != NULL ? pattern : "",
		    buf_text(&value), mgmt_flag(ask, "replace"));
	if (value.p != NULL)
		explicit_bzero(value.p, value.capacity);
	buf_clear(&value);
}

void
mgmt_route_remove(struct mgmt_ask *ask)
{
	const char *pattern = mgmt_text(ask, "pattern");

	mgmt_remove_item(
	    ask, CONFIG_ROUTE, pattern != NULL ? pattern : "", "mx");
}

/* In the order in which they are tried. */
void
mgmt_route_list(struct mgmt_ask *ask)
{
	size_t count;
	const struct config_item **routes = config_routes_in_order(
	    config_store_items(ask->confd->store), &count);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		struct config_route route;

		if (config_route_read(routes[i]->value, &route) == 0)
			(void)json_array_append_new(
			    list, json_pack("{s:s, s:s, s:s, s:s}", "pattern",
				      routes[i]->key, "target", route.target,
				      "tls", route.tls, "user", route.user));
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
		    json_pack("{s:s%, s:s%}", "step", fact.name.p, fact.name.n,
			"value", fact.value.n > 0 ? fact.value.p : "",
			fact.value.n));
	if (tested->error.n > 0)
		mgmt_reply(ask, MGMT_FAILED,
		    json_pack("{s:o, s:s%}", "steps", steps, "error",
			tested->error.p, tested->error.n));
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

	if (relayd == NULL ||
	    channel_request(relayd->channel, MSG_ROUTE_TEST, &question, NULL,
		MSG_ROUTE_TESTED, limit_ms, on_route_tested, ask) == 0)
		mgmt_fail(ask, MGMT_AWAY, "postern status",
		    "postern-relayd is not running");
}
