/* SPDX-License-Identifier: ISC */
/*
 * What each kind of configuration item may say, its canonical text, and its
 * meaning as values.  Pure.
 */
#ifndef CONTROL_CONFIG_RULES_H
#define CONTROL_CONFIG_RULES_H

#include "common/ipc.h"
#include "common/policy.h"
#include "control/config_items.h"

/*
 * Checks key and value as a person wrote them; canonical texts come out.  -1
 * and a sentence that names what was given and what is allowed.
 */
int config_item_parse(enum config_kind kind, struct slice key,
    struct slice value, struct buf *key_r, struct buf *value_r,
    struct err *err);

/* A setting's value that equals its default is not stored. */
bool config_is_default(
    enum config_kind kind, const char *key, const char *value);

/* Relations: of settings, and of routes to their passwords. */
int config_items_check(const struct config_items *items, struct err *err);

/* ---- parts of canonical values; slices and texts are the caller's ---- */

struct config_domain {
	enum domain_mode mode;
	char to[513];
};
int config_domain_read(const char *value, struct config_domain *domain_r);
const char *config_domain_mode_name(enum domain_mode mode);
/* any, list, callout; -1 when it is none of them. */
int config_domain_mode_parse(struct slice word, enum domain_mode *mode_r);

struct config_route {
	char target[513];
	char tls[17];
	char user[257];
	char password[1024]; /* config_route_clear() wipes it */
	size_t password_n;
	bool has_password;
};
int config_route_read(const char *value, struct config_route *route_r);
void config_route_clear(struct config_route *route);
/* The value without its password, for people. */
void config_route_masked(const char *value, struct buf *text_r);

struct config_access {
	bool is_allow;
	bool is_client;
	const char *pattern; /* points into key */
	int64_t until;       /* 0: for good */
};
int config_access_read(
    const char *key, const char *value, struct config_access *access_r);

/* "smtp://HOST:PORT", also smtps and lmtp, "lmtp:/PATH" or "mx". */
int config_target_parse(
    struct slice text, struct buf *canonical_r, struct err *err);

/* Every route, the nearer pattern first; the caller frees the array. */
const struct config_item **config_routes_in_order(
    const struct config_items *items, size_t *count_r);

struct config_policy {
	char sender[POLICY_PATTERN_MAX + 1];
	const char *recipient; /* points into key */
};
int config_policy_read(const char *key, struct config_policy *policy_r);

/* ---- between config_rules.c and its siblings ---- */

/* "<what>: not "<given>", but <allowed>"; returns -1. */
int config_refuse(
    struct err *err, const char *what, struct slice given, const char *allowed);
int config_route_parse(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err);
int config_policy_parse(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err);
int config_routes_check(const struct config_items *items, struct err *err);

#endif
