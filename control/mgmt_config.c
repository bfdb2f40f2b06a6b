/* SPDX-License-Identifier: ISC */
/*
 * The verbs about settings, revisions and the text form.
 * Runs in: postern-confd.  Trusts: nothing of the arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/confd.h"
#include "control/config_rules.h"
#include "control/config_text.h"

#define HISTORY_LIMIT 50
#define HISTORY_LIMIT_MAX 1000
#define LIST_HINT "postern config list --all"

/* ---- get, list ---- */

static json_t *
setting_json(const struct confd *confd, unsigned index)
{
	const struct setting_row *row = setting_row(index);
	const char *value = config_items_get(
	    config_store_items(confd->store), CONFIG_SETTING, row->name);

	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "name", row->name,
	    "value", value != NULL ? value : row->default_text, "default",
	    row->default_text, "is_default", value == NULL, "label", row->label,
	    "help", row->help);
}

void
mgmt_config_get(struct mgmt_ask *ask)
{
	const json_t *keys = json_object_get(ask->arguments, "keys");
	json_t *list = json_array();
	const json_t *key;
	size_t i;

	json_array_foreach(keys, i, key) {
		unsigned index;

		if (setting_find(slice_of(json_string_value(key)), &index) ==
		    -1) {
			json_decref(list);
			mgmt_fail(ask, MGMT_NOTHING, LIST_HINT,
			    "there is no setting \"%s\"",
			    json_is_string(key) ? json_string_value(key) : "");
			return;
		}
		(void)json_array_append_new(
		    list, setting_json(ask->confd, index));
	}
	mgmt_reply(ask, MGMT_DONE, json_pack("{s:o}", "settings", list));
}

void
mgmt_config_list(struct mgmt_ask *ask)
{
	const bool is_all = mgmt_flag(ask, "all");
	json_t *list = json_array();

	for (unsigned i = 0; i < SETTING_COUNT; i++)
		if (is_all ||
		    config_items_get(config_store_items(ask->confd->store),
			CONFIG_SETTING, setting_row(i)->name) != NULL)
			(void)json_array_append_new(
			    list, setting_json(ask->confd, i));
	mgmt_reply(ask, MGMT_DONE,
	    json_pack("{s:o, s:I}", "settings", list, "revision",
		(json_int_t)config_store_revision(ask->confd->store)));
}

/* ---- set, unset ---- */

/* Puts one item as a person wrote it; the default is not stored. */
static int
put_parsed(struct config_items *items, enum config_kind kind, struct slice key,
    struct slice value, struct err *err)
{
	struct buf key_text;
	struct buf value_text;
	int rc;

	buf_init(&key_text, CONFIG_KEY_MAX);
	buf_init(&value_text, CONFIG_VALUE_MAX);
	rc = config_item_parse(kind, key, value, &key_text, &value_text, err);
	if (rc == 0)
		config_items_put(items, kind, buf_text(&key_text),
		    config_is_default(
			kind, buf_text(&key_text), buf_text(&value_text))
			? NULL
			: buf_text(&value_text));
	buf_clear(&key_text);
	buf_clear(&value_text);
	return rc;
}

void
mgmt_config_set(struct mgmt_ask *ask)
{
	json_t *values = json_object_get(ask->arguments, "values");
	struct config_items wanted;
	struct err err;
	const char *key;
	json_t *value;

	if (!json_is_object(values) || json_object_size(values) == 0) {
		mgmt_fail(ask, MGMT_USAGE, "postern config set KEY=VALUE",
		    "no values to set");
		return;
	}
	config_items_copy(config_store_items(ask->confd->store), &wanted);
	json_object_foreach(values, key, value) {
		const char *text = json_string_value(value);

		if (text == NULL)
			(void)err_set(&err, "%s: the value is not a text", key);
		if (text == NULL ||
		    put_parsed(&wanted, CONFIG_SETTING, slice_of(key),
			slice_of(text), &err) == -1) {
			config_items_clear(&wanted);
			mgmt_fail(ask, MGMT_USAGE, LIST_HINT, "%s", err.text);
			return;
		}
	}
	mgmt_change_to(ask, &wanted, "");
}

void
mgmt_config_unset(struct mgmt_ask *ask)
{
	const json_t *keys = json_object_get(ask->arguments, "keys");
	struct config_items wanted;
	const json_t *key;
	size_t i;

	config_items_copy(config_store_items(ask->confd->store), &wanted);
	json_array_foreach(keys, i, key) {
		const char *name = json_string_value(key);
		unsigned index;

		/* A row that this build no longer has may be unset too. */
		if (name == NULL ||
		    (setting_find(slice_of(name), &index) == -1 &&
			config_items_get(&wanted, CONFIG_SETTING, name) ==
			    NULL)) {
			config_items_clear(&wanted);
			mgmt_fail(ask, MGMT_NOTHING, LIST_HINT,
			    "there is no setting \"%s\"",
			    name != NULL ? name : "");
			return;
		}
		config_items_put(&wanted, CONFIG_SETTING, name, NULL);
	}
	mgmt_change_to(ask, &wanted, "");
}

/* ---- diff, history, undo ---- */

void
mgmt_config_diff(struct mgmt_ask *ask)
{
	const int64_t last = (int64_t)config_store_revision(ask->confd->store);
	const int64_t to = mgmt_number(ask, "to", last);
	const int64_t from = mgmt_number(ask, "from", to > 0 ? to - 1 : 0);
	struct config_changes changes;
	struct err err;

	if (from < 0 || to > last || from > to) {
		mgmt_fail(ask, MGMT_NOTHING, "postern config history",
		    "revisions go from 0 to %lld, and the older comes first",
		    (long long)last);
		return;
	}
	if (config_store_changes(ask->confd->store, from, to, &changes, &err) ==
	    -1) {
		mgmt_fail(ask, MGMT_FAILED, NULL, "%s", err.text);
		return;
	}
	mgmt_reply(ask, MGMT_DONE,
	    json_pack("{s:I, s:I, s:o}", "from", (json_int_t)from, "to",
		(json_int_t)to, "changes", mgmt_changes_json(&changes)));
	config_changes_clear(&changes);
}

struct history {
	json_t *list;
	size_t limit;
	int64_t next;
};

static bool
add_revision(void *arg, const struct config_revision *revision)
{
	struct history *history = arg;

	if (json_array_size(history->list) == history->limit)
		return false;
	history->next = revision->number;
	(void)json_array_append_new(history->list,
	    json_pack("{s:I, s:I, s:s%, s:s%, s:I}", "revision",
		(json_int_t)revision->number, "time",
		(json_int_t)revision->time, "actor", revision->actor.p,
		revision->actor.n, "note",
		revision->note.n > 0 ? revision->note.p : "", revision->note.n,
		"changes", (json_int_t)revision->change_count));
	return true;
}

void
mgmt_config_history(struct mgmt_ask *ask)
{
	const int64_t limit = mgmt_number(ask, "limit", HISTORY_LIMIT);
	struct history history = {.list = json_array()};
	json_t *result;
	struct err err;

	history.limit = limit > 0 && limit < HISTORY_LIMIT_MAX
			    ? (size_t)limit
			    : HISTORY_LIMIT_MAX;
	if (config_store_history(ask->confd->store,
		mgmt_number(ask, "cursor", 0), add_revision, &history,
		&err) == -1) {
		json_decref(history.list);
		mgmt_fail(ask, MGMT_FAILED, NULL, "%s", err.text);
		return;
	}
	result = json_pack("{s:o}", "revisions", history.list);
	if (history.next > 1)
		(void)json_object_set_new(
		    result, "next", json_integer(history.next));
	mgmt_reply(ask, MGMT_DONE, result);
}

/* What was changed by the revision must still be as it left it. */
static const char *
changed_since(
    const struct config_items *now, const struct config_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct config_change *change = &changes->list[i];
		const char *value =
		    config_items_get(now, change->kind, change->key);

		if (value == NULL || change->new_value == NULL
			? value != change->new_value
			: strcmp(value, change->new_value) != 0)
			return change->key;
	}
	return NULL;
}

void
mgmt_config_undo(struct mgmt_ask *ask)
{
	const int64_t last = (int64_t)config_store_revision(ask->confd->store);
	const int64_t revision = mgmt_number(ask, "revision", last);
	struct config_changes changes;
	struct config_items wanted;
	const char *since;
	char note[64];
	struct err err;

	if (revision < 1 || revision > last) {
		mgmt_fail(ask, MGMT_NOTHING, "postern config history",
		    "there is no revision %lld", (long long)revision);
		return;
	}
	if (config_store_changes(ask->confd->store, revision - 1, revision,
		&changes, &err) == -1) {
		mgmt_fail(ask, MGMT_FAILED, NULL, "%s", err.text);
		return;
	}
	since = changed_since(config_store_items(ask->confd->store), &changes);
	if (since != NULL) {
		mgmt_fail(ask, MGMT_CONFLICT, "postern config history",
		    "%s was changed again after revision %lld; undo the later "
		    "revision first",
		    since, (long long)revision);
		config_changes_clear(&changes);
		return;
	}
	config_items_copy(config_store_items(ask->confd->store), &wanted);
	for (size_t i = 0; i < changes.count; i++)
		config_items_put(&wanted, changes.list[i].kind,
		    changes.list[i].key, changes.list[i].old_value);
	config_changes_clear(&changes);
	(void)snprintf(
	    note, sizeof(note), "undo of revision %lld", (long long)revision);
	mgmt_change_to(ask, &wanted, note);
}

/* ---- export, apply ---- */

void
mgmt_config_export(struct mgmt_ask *ask)
{
	struct buf text;

	buf_init(&text, CONFIG_TEXT_MAX);
	config_text_write(config_store_items(ask->confd->store),
	    mgmt_flag(ask, "secrets"), &text);
	if (text.overflowed)
		mgmt_fail(ask, MGMT_FAILED, NULL,
		    "the text would have more than %u octets", CONFIG_TEXT_MAX);
	else
		mgmt_reply(ask, MGMT_DONE,
		    json_pack("{s:s, s:I}", "text", buf_text(&text), "revision",
			(json_int_t)config_store_revision(ask->confd->store)));
	buf_clear(&text);
}

void
mgmt_config_apply(struct mgmt_ask *ask)
{
	const char *text = mgmt_text(ask, "text");
	struct config_items wanted;
	unsigned line;
	struct err err;

	if (text == NULL) {
		mgmt_fail(ask, MGMT_USAGE, "postern config apply FILE",
		    "no text to apply");
		return;
	}
	if (config_text_read(slice_of(text),
		config_store_items(ask->confd->store), &wanted, &line,
		&err) == -1) {
		mgmt_reply(ask, MGMT_USAGE,
		    json_pack(
			"{s:s, s:i}", "error", err.text, "line", (int)line));
		return;
	}
	mgmt_change_to(ask, &wanted, "apply");
}

/* ---- check ---- */

static void
add_problem(json_t *problems, const char *key, const char *text)
{
	(void)json_array_append_new(
	    problems, json_pack("{s:s, s:s}", "key", key, "problem", text));
}

/* Everything that is stored, against the rules of this build. */
void
mgmt_config_check(struct mgmt_ask *ask)
{
	const struct config_items *items =
	    config_store_items(ask->confd->store);
	json_t *problems = json_array();
	struct buf key;
	struct buf value;
	struct err err;

	buf_init(&key, CONFIG_KEY_MAX);
	buf_init(&value, CONFIG_VALUE_MAX);
	for (size_t i = 0; i < items->count; i++)
		if (config_item_parse(items->list[i].kind,
			slice_of(items->list[i].key),
			slice_of(items->list[i].value), &key, &value,
			&err) == -1)
			add_problem(problems, items->list[i].key, err.text);
	if (config_items_check(items, &err) == -1)
		add_problem(problems, "", err.text);
	if (config_store_revision(ask->confd->store) == 0)
		add_problem(problems, "",
		    "nothing is configured yet: \"postern init\" begins");
	buf_clear(&key);
	buf_clear(&value);
	mgmt_reply(ask,
	    json_array_size(problems) == 0 ? MGMT_DONE : MGMT_PROBLEMS,
	    json_pack("{s:o}", "problems", problems));
}

/* ---- init ---- */

void
mgmt_init(struct mgmt_ask *ask)
{
	const char *hostname = mgmt_text(ask, "hostname");
	const char *postmaster = mgmt_text(ask, "postmaster");
	struct config_items wanted = {0};
	struct err err;

	if (config_store_revision(ask->confd->store) != 0) {
		mgmt_fail(ask, MGMT_CONFLICT, "postern config list",
		    "an instance is here already, at revision %llu; it is left "
		    "as it is",
		    (unsigned long long)config_store_revision(
			ask->confd->store));
		return;
	}
	if (hostname == NULL ||
	    put_parsed(&wanted, CONFIG_SETTING, SLICE("smtp.hostname"),
		slice_of(hostname), &err) == -1 ||
	    (postmaster != NULL &&
		put_parsed(&wanted, CONFIG_SETTING, SLICE("system.postmaster"),
		    slice_of(postmaster), &err) == -1)) {
		mgmt_fail(ask, MGMT_USAGE,
		    "postern init --hostname gw.example.test", "%s",
		    hostname == NULL ? "a host name is needed" : err.text);
		config_items_clear(&wanted);
		return;
	}
	mgmt_change_to(ask, &wanted, "init");
}
