/* SPDX-License-Identifier: ISC */
/*
 * The one way to change the configuration: check, store as a revision, bring
 * to all programs, answer.
 * Runs in: postern-confd.  Trusts: items that config_item_parse() passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/confd.h"
#include "control/config_rules.h"
#include "control/config_text.h"

#define NOTE_MAX 500

/* For people: a route's password is not shown. */
static json_t *
value_json(enum config_kind kind, const char *value)
{
	struct buf text;
	json_t *json;

	if (value == NULL)
		return json_null();
	if (kind != CONFIG_ROUTE)
		return json_string(value);
	buf_init(&text, CONFIG_VALUE_MAX);
	config_route_masked(value, &text);
	json = json_string(buf_text(&text));
	buf_clear(&text);
	return json;
}

json_t *
mgmt_changes_json(const struct config_changes *changes)
{
	json_t *list = json_array();

	for (size_t i = 0; i < changes->count; i++) {
		const struct config_change *change = &changes->list[i];

		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:o, s:o}", "kind",
			config_kind_name(change->kind), "key", change->key,
			"old", value_json(change->kind, change->old_value),
			"new", value_json(change->kind, change->new_value)));
	}
	return list;
}

static void
on_published(void *arg, json_t *not_applied)
{
	struct mgmt_ask *ask = arg;
	json_t *result = ask->reply;
	char stored[40];

	ask->reply = NULL;
	(void)snprintf(stored, sizeof(stored), "revision %lld",
	    (long long)json_integer_value(json_object_get(result, "revision")));
	publish_reply(ask, result, stored, not_applied);
}

static void
commit(struct mgmt_ask *ask, const struct config_changes *changes,
    const char *note)
{
	struct confd *confd = ask->confd;
	struct err err;
	int64_t revision;

	revision = config_store_commit(confd->store, changes, ask->actor, note,
	    (int64_t)(clock_wall_us() / 1000000), &err);
	if (revision == -1) {
		mgmt_fail(ask, MGMT_FAILED, "postern status",
		    "nothing was changed: %s", err.text);
		return;
	}
	mgmt_note(ask);
	ask->reply = json_pack("{s:I, s:o}", "revision", (json_int_t)revision,
	    "changes", mgmt_changes_json(changes));
	publish_all(confd, on_published, ask);
}

/* What would change, or that nothing does: neither is a change to note. */
static void
tell_changes(struct mgmt_ask *ask, const struct config_changes *changes)
{
	ask->is_noted = true;
	mgmt_reply(ask, MGMT_DONE,
	    json_pack("{s:I, s:o, s:b}", "revision",
		(json_int_t)config_store_revision(ask->confd->store), "changes",
		mgmt_changes_json(changes), "dry_run",
		mgmt_flag(ask, "dry_run")));
}

void
mgmt_change_to(
    struct mgmt_ask *ask, struct config_items *wanted, const char *note)
{
	const struct config_items *now = config_store_items(ask->confd->store);
	const int64_t revision =
	    (int64_t)config_store_revision(ask->confd->store);
	const int64_t expected = mgmt_number(ask, "if_revision", revision);
	const char *own_note = mgmt_text(ask, "note");
	struct config_changes changes = {0};
	struct err err;

	if (own_note != NULL)
		note = own_note;
	config_items_compare(now, wanted, &changes);
	if (expected != revision)
		mgmt_fail(ask, MGMT_CONFLICT, "postern config history",
		    "the configuration is at revision %lld, not %lld: somebody "
		    "changed it meanwhile",
		    (long long)revision, (long long)expected);
	else if (strlen(note) > NOTE_MAX || !ipc_is_text(slice_of(note)))
		mgmt_fail(ask, MGMT_USAGE, NULL,
		    "a note is at most %d octets "
		    "without control characters",
		    NOTE_MAX);
	else if (config_items_check(wanted, &err) == -1)
		mgmt_fail(ask, MGMT_FAILED, NULL, "%s", err.text);
	else if (mgmt_flag(ask, "dry_run") || changes.count == 0)
		tell_changes(ask, &changes);
	else
		commit(ask, &changes, note);
	config_changes_clear(&changes);
	config_items_clear(wanted);
}

/* ---- texts of one item ---- */

void
mgmt_texts_init(struct mgmt_texts *texts)
{
	buf_init(&texts->key, CONFIG_KEY_MAX);
	buf_init(&texts->value, CONFIG_VALUE_MAX);
}

void
mgmt_texts_clear(struct mgmt_texts *texts)
{
	if (texts->value.p != NULL)
		explicit_bzero(texts->value.p, texts->value.capacity);
	buf_clear(&texts->key);
	buf_clear(&texts->value);
}

int
mgmt_texts_key(enum config_kind kind, const char *key, const char *any_value,
    struct mgmt_texts *texts, struct err *err)
{
	return config_item_parse(kind, slice_of(key), slice_of(any_value),
	    &texts->key, &texts->value, err);
}

/* ---- one item ---- */

void
mgmt_put_item(struct mgmt_ask *ask, enum config_kind kind, const char *key,
    const char *value, bool may_replace)
{
	struct mgmt_texts texts;
	struct config_items wanted;
	struct err err;

	mgmt_texts_init(&texts);
	if (config_item_parse(kind, slice_of(key), slice_of(value), &texts.key,
		&texts.value, &err) == -1) {
		mgmt_fail(ask, MGMT_USAGE, NULL, "%s", err.text);
		goto out;
	}
	if (!may_replace &&
	    config_items_get(config_store_items(ask->confd->store), kind,
		buf_text(&texts.key)) != NULL) {
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
	mgmt_texts_clear(&texts);
}

void
mgmt_remove_item(struct mgmt_ask *ask, enum config_kind kind, const char *key,
    const char *any_value)
{
	struct mgmt_texts texts;
	struct config_items wanted;
	char hint[64];
	struct err err;

	mgmt_texts_init(&texts);
	(void)snprintf(
	    hint, sizeof(hint), "postern %s list", config_kind_name(kind));
	if (mgmt_texts_key(kind, key, any_value, &texts, &err) == -1) {
		mgmt_fail(ask, MGMT_USAGE, hint, "%s", err.text);
	} else if (config_items_get(config_store_items(ask->confd->store), kind,
		       buf_text(&texts.key)) == NULL) {
		mgmt_fail(ask, MGMT_NOTHING, hint, "there is no %s %s",
		    config_kind_name(kind), buf_text(&texts.key));
	} else {
		config_items_copy(
		    config_store_items(ask->confd->store), &wanted);
		config_items_put(&wanted, kind, buf_text(&texts.key), NULL);
		mgmt_change_to(ask, &wanted, "");
	}
	mgmt_texts_clear(&texts);
}
