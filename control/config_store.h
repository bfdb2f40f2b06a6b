/* SPDX-License-Identifier: ISC */
/*
 * config.db: the items in force, and every revision with what it changed, so
 * that differences and undo follow (DESIGN §3).
 */
#ifndef CONTROL_CONFIG_STORE_H
#define CONTROL_CONFIG_STORE_H

#include "control/config_items.h"

struct config_store;

/* Opens or creates <dir>/config.db, under an exclusive lock on dir. */
int config_store_open(
    const char *dir, struct config_store **store_r, struct err *err);
void config_store_close(struct config_store *store);

/* What is in force; good until the next commit. */
const struct config_items *config_store_items(const struct config_store *store);
uint64_t config_store_revision(const struct config_store *store);

/* One revision: all changes or none.  Returns its number, or -1. */
int64_t config_store_commit(struct config_store *store,
    const struct config_changes *changes, const char *actor, const char *note,
    int64_t now, struct err *err);

struct config_revision {
	int64_t number;
	int64_t time;
	int64_t change_count;
	struct slice actor;
	struct slice note;
};

/* Newest first, those below `before` (0: all); each_fn returns false to end. */
typedef bool config_revision_fn(
    void *arg, const struct config_revision *revision);
int config_store_history(struct config_store *store, int64_t before,
    config_revision_fn *each_fn, void *arg, struct err *err);

/* Everything that the revisions after `from` up to `to` changed, by item. */
int config_store_changes(struct config_store *store, int64_t from, int64_t to,
    struct config_changes *changes_r, struct err *err);

/* ---- what else confd remembers; no part of revisions ---- */

struct config_alert {
	unsigned alert;
	int64_t since;
	struct slice raiser; /* a role's name */
	struct slice subject;
	struct slice text;
};
typedef void config_alert_fn(void *arg, const struct config_alert *alert);
int config_store_alerts(struct config_store *store, config_alert_fn *each_fn,
    void *arg, struct err *err);
int config_store_put_alert(struct config_store *store,
    const struct config_alert *alert, struct err *err);
int config_store_drop_alert(struct config_store *store, unsigned alert,
    const char *subject, struct err *err);

/* Domains that had an alias when authd was last asked; is_known: ever. */
int config_store_alias_domains(struct config_store *store,
    void (*each_fn)(void *arg, struct slice domain), void *arg,
    bool *is_known_r, struct err *err);
int config_store_put_alias_domains(struct config_store *store,
    char *const *domains, size_t count, struct err *err);

#endif
