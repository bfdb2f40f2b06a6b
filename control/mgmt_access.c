/* SPDX-License-Identifier: ISC */
/*
 * The verbs about block and allow entries.
 * Runs in: postern-confd.  Trusts: nothing of the arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/netaddr.h"
#include "control/confd.h"
#include "control/config_rules.h"
#include "control/times.h"

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
put_entries(
    struct mgmt_ask *ask, const char *value, struct config_items *wanted)
{
	const json_t *patterns = json_object_get(ask->arguments, "patterns");
	struct mgmt_texts texts;
	struct buf key;
	const json_t *pattern;
	struct err err;
	size_t i;
	int rc = 0;

	mgmt_texts_init(&texts);
	buf_init(&key, CONFIG_KEY_MAX);
	json_array_foreach(patterns, i, pattern) {
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
	mgmt_texts_clear(&texts);
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
	const struct config_items *now = config_store_items(ask->confd->store);
	const json_t *patterns = json_object_get(ask->arguments, "patterns");
	struct mgmt_texts texts;
	struct config_items wanted;
	struct buf key;
	const json_t *pattern;
	const char *missing = NULL;
	size_t i;

	mgmt_texts_init(&texts);
	buf_init(&key, CONFIG_KEY_MAX);
	config_items_copy(now, &wanted);
	json_array_foreach(patterns, i, pattern) {
		const char *text = json_string_value(pattern);
		const char *value;

		access_key(text != NULL ? text : "", &key);
		if (mgmt_texts_key(CONFIG_ACCESS, buf_text(&key), verb, &texts,
			NULL) == -1 ||
		    (value = config_items_get(
			 now, CONFIG_ACCESS, buf_text(&texts.key))) == NULL ||
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
	mgmt_texts_clear(&texts);
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
		    config_access_read(items->list[i].key, items->list[i].value,
			&access) == -1 ||
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
