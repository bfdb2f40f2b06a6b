/* SPDX-License-Identifier: ISC */
/*
 * A sorted set of configuration items, and the difference of two.
 * Runs in: postern-confd.  Trusts: its caller for canonical texts.
 */
#include <stdlib.h>
#include <string.h>

#include "control/config_items.h"

static const char *const kind_names[CONFIG_KIND_COUNT] = {
    [CONFIG_SETTING] = "setting",
    [CONFIG_DOMAIN] = "domain",
    [CONFIG_ROUTE] = "route",
    [CONFIG_ACCESS] = "access",
    [CONFIG_POLICY] = "policy",
};

const char *
config_kind_name(enum config_kind kind)
{
	if ((unsigned)kind >= CONFIG_KIND_COUNT)
		bug("configuration kind %d", (int)kind);
	return kind_names[kind];
}

static int
compare(enum config_kind a_kind, const char *a_key, enum config_kind b_kind,
    const char *b_key)
{
	if (a_kind != b_kind)
		return a_kind < b_kind ? -1 : 1;
	return strcmp(a_key, b_key);
}

/* The place of the item, or where it would go. */
static size_t
find(const struct config_items *items, enum config_kind kind, const char *key,
    bool *is_there_r)
{
	size_t low = 0;
	size_t high = items->count;

	*is_there_r = false;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const struct config_item *item = &items->list[middle];
		const int order = compare(item->kind, item->key, kind, key);

		if (order == 0) {
			*is_there_r = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
config_items_clear(struct config_items *items)
{
	for (size_t i = 0; i < items->count; i++) {
		free(items->list[i].key);
		free(items->list[i].value);
	}
	free(items->list);
	*items = (struct config_items){0};
}

void
config_items_copy(const struct config_items *items, struct config_items *copy_r)
{
	*copy_r = (struct config_items){
	    .count = items->count, .capacity = items->count};
	copy_r->list = xcalloc(items->count + 1, sizeof(*copy_r->list));
	for (size_t i = 0; i < items->count; i++)
		copy_r->list[i] =
		    (struct config_item){.kind = items->list[i].kind,
			.key = xstrdup(items->list[i].key),
			.value = xstrdup(items->list[i].value)};
}

const char *
config_items_get(
    const struct config_items *items, enum config_kind kind, const char *key)
{
	bool is_there;
	const size_t at = find(items, kind, key, &is_there);

	return is_there ? items->list[at].value : NULL;
}

static void
remove_at(struct config_items *items, size_t at)
{
	free(items->list[at].key);
	free(items->list[at].value);
	items->count--;
	memmove(&items->list[at], &items->list[at + 1],
	    (items->count - at) * sizeof(*items->list));
}

static void
insert_at(struct config_items *items, size_t at, enum config_kind kind,
    const char *key, const char *value)
{
	if (items->count == items->capacity) {
		items->capacity = items->capacity * 2 + 16;
		items->list = xrealloc(
		    items->list, items->capacity * sizeof(*items->list));
	}
	memmove(&items->list[at + 1], &items->list[at],
	    (items->count - at) * sizeof(*items->list));
	items->count++;
	items->list[at] = (struct config_item){
	    .kind = kind, .key = xstrdup(key), .value = xstrdup(value)};
}

void
config_items_put(struct config_items *items, enum config_kind kind,
    const char *key, const char *value)
{
	bool is_there;
	const size_t at = find(items, kind, key, &is_there);
	char *copy;

	if (value == NULL) {
		if (is_there)
			remove_at(items, at);
	} else if (is_there) {
		copy = xstrdup(value);
		free(items->list[at].value);
		items->list[at].value = copy;
	} else {
		insert_at(items, at, kind, key, value);
	}
}

void
config_changes_add(struct config_changes *changes, enum config_kind kind,
    const char *key, const char *old_value, const char *new_value)
{
	if (changes->count == changes->capacity) {
		changes->capacity = changes->capacity * 2 + 16;
		changes->list = xrealloc(
		    changes->list, changes->capacity * sizeof(*changes->list));
	}
	changes->list[changes->count++] = (struct config_change){.kind = kind,
	    .key = xstrdup(key),
	    .old_value = old_value != NULL ? xstrdup(old_value) : NULL,
	    .new_value = new_value != NULL ? xstrdup(new_value) : NULL};
}

void
config_changes_clear(struct config_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		free(changes->list[i].key);
		free(changes->list[i].old_value);
		free(changes->list[i].new_value);
	}
	free(changes->list);
	*changes = (struct config_changes){0};
}

void
config_items_compare(const struct config_items *from,
    const struct config_items *to, struct config_changes *changes_r)
{
	size_t i = 0;
	size_t j = 0;

	*changes_r = (struct config_changes){0};
	while (i < from->count || j < to->count) {
		const struct config_item *a = &from->list[i];
		const struct config_item *b = &to->list[j];
		int order;

		if (i == from->count)
			order = 1;
		else if (j == to->count)
			order = -1;
		else
			order = compare(a->kind, a->key, b->kind, b->key);
		if (order < 0) {
			config_changes_add(
			    changes_r, a->kind, a->key, a->value, NULL);
			i++;
		} else if (order > 0) {
			config_changes_add(
			    changes_r, b->kind, b->key, NULL, b->value);
			j++;
		} else {
			if (strcmp(a->value, b->value) != 0)
				config_changes_add(changes_r, a->kind, a->key,
				    a->value, b->value);
			i++;
			j++;
		}
	}
}
