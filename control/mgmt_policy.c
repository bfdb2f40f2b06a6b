/* SPDX-License-Identifier: ISC */
/*
 * The verbs about rules of protection.
 * Runs in: postern-confd.  Trusts: nothing of the arguments.
 */
#include "common/words.h"
#include "control/confd.h"
#include "control/config_rules.h"

/* "SENDER RECIPIENT" */
static void
write_key(const struct mgmt_ask *ask, struct buf *key)
{
	const char *sender = mgmt_text(ask, "sender");
	const char *recipient = mgmt_text(ask, "recipient");

	(void)buf_addf(key, "%s %s", sender != NULL ? sender : "",
	    recipient != NULL ? recipient : "");
}

void
mgmt_policy_add(struct mgmt_ask *ask)
{
	const json_t *words = json_object_get(ask->arguments, "words");
	struct buf key;
	struct buf value;
	const json_t *word;
	size_t i;

	buf_init(&key, CONFIG_KEY_MAX);
	buf_init(&value, CONFIG_VALUE_MAX);
	write_key(ask, &key);
	json_array_foreach(words, i, word) {
		const char *text = json_string_value(word);

		words_add(&value, text != NULL ? text : "");
	}
	mgmt_put_item(ask, CONFIG_POLICY, buf_text(&key), buf_text(&value),
	    mgmt_flag(ask, "replace"));
	buf_clear(&key);
	buf_clear(&value);
}

void
mgmt_policy_remove(struct mgmt_ask *ask)
{
	struct buf key;

	buf_init(&key, CONFIG_KEY_MAX);
	write_key(ask, &key);
	mgmt_remove_item(ask, CONFIG_POLICY, buf_text(&key), "sign never");
	buf_clear(&key);
}

void
mgmt_policy_list(struct mgmt_ask *ask)
{
	const struct config_items *items =
	    config_store_items(ask->confd->store);
	json_t *list = json_array();

	for (size_t i = 0; i < items->count; i++) {
		struct config_policy policy;

		if (items->list[i].kind != CONFIG_POLICY ||
		    config_policy_read(items->list[i].key, &policy) == -1)
			continue;
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s, s:s}", "sender", policy.sender,
			      "recipient", policy.recipient, "rule",
			      items->list[i].value));
	}
	mgmt_reply(ask, MGMT_DONE, json_pack("{s:o}", "policies", list));
}
