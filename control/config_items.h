/* SPDX-License-Identifier: ISC */
/*
 * The configuration as a set of items, each with a kind, a key and a value in
 * canonical text: what is stored, compared, exported and undone.  Pure: no
 * clock, no files.
 *
 *   kind     key                     value
 *   setting  smtp.hostname           gw.example.test
 *   domain   example.org             any to smtp://10.0.0.5:25
 *   route    *.example.net           smtp://relay.example:587 user U
 *   access   client 192.0.2.0/24     block until 2030-01-01T00:00:00Z
 *   policy   @example.org *          sign required encrypt if-possible
 */
#ifndef CONTROL_CONFIG_ITEMS_H
#define CONTROL_CONFIG_ITEMS_H

#include "common/buf.h"
#include "common/err.h"
#include "common/vocabulary.h"

/* Numbers are kept in config.db: new kinds go to the end. */
enum config_kind {
	CONFIG_SETTING,
	CONFIG_DOMAIN,
	CONFIG_ROUTE,
	CONFIG_ACCESS,
	CONFIG_POLICY,
	CONFIG_KIND_COUNT
};

/* Limits of an item's canonical texts. */
#define CONFIG_VALUE_MAX 16384
#define CONFIG_KEY_MAX 1024

struct config_item {
	enum config_kind kind;
	char *key;
	char *value;
};

/* Sorted by kind and key; each key once for its kind. */
struct config_items {
	struct config_item *list;
	size_t count;
	size_t capacity;
};

struct config_change {
	enum config_kind kind;
	char *key;
	char *old_value; /* NULL: it was not there */
	char *new_value; /* NULL: it is taken away */
};

struct config_changes {
	struct config_change *list;
	size_t count;
	size_t capacity;
};

const char *config_kind_name(enum config_kind kind);

void config_items_clear(struct config_items *items);
void config_items_copy(
    const struct config_items *items, struct config_items *copy_r);

/* The value, or NULL. */
const char *config_items_get(
    const struct config_items *items, enum config_kind kind, const char *key);

/* Canonical texts, copied; value NULL takes the item away. */
void config_items_put(struct config_items *items, enum config_kind kind,
    const char *key, const char *value);

/* What leads from one to the other, in order. */
void config_items_compare(const struct config_items *from,
    const struct config_items *to, struct config_changes *changes_r);
void config_changes_add(struct config_changes *changes, enum config_kind kind,
    const char *key, const char *old_value, const char *new_value);
void config_changes_clear(struct config_changes *changes);

#endif
