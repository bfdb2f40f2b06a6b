/* SPDX-License-Identifier: ISC */
/*
 * postern-confd's one state, and what its parts offer each other.
 */
#ifndef CONTROL_CONFD_H
#define CONTROL_CONFD_H

#include <jansson.h>

#include "common/daemon.h"
#include "control/config_store.h"

/* Exit codes of postern(1), which every answer carries (DESIGN §5). */
enum mgmt_code {
	MGMT_DONE = 0,
	MGMT_FAILED = 1,
	MGMT_USAGE = 2,
	MGMT_NOTHING = 3,
	MGMT_FORBIDDEN = 4,
	MGMT_AWAY = 5,
	MGMT_CONFLICT = 6,
	MGMT_PROBLEMS = 7
};

/* Who may use a verb; the higher may what the lower may. */
enum mgmt_right {
	RIGHT_READ,   /* looks */
	RIGHT_CHANGE, /* changes something: noted in the log */
	RIGHT_SYSTEM  /* root and the gateway itself */
};

struct mgmt_verb;
struct confd_alerts;

/* A program whose channel is up. */
struct confd_peer {
	struct confd *confd;
	struct channel *channel;
	enum role role;
	uint64_t revision; /* that it works with */
	struct confd_peer *next;
};

struct confd {
	struct daemon *daemon;
	struct config_store *store;
	struct confd_peer *peers;
	struct mgmt_ask *asks; /* not answered yet */
	struct confd_alerts *alerts;
	char **alias_domains; /* sorted */
	size_t alias_domain_count;
	bool are_alias_domains_known;
};

/* ---- one request of the management API ---- */

struct mgmt_ask {
	struct confd *confd;
	struct channel *channel; /* NULL: the asker has left */
	uint64_t request_id;
	const struct mgmt_verb *verb;
	char actor[128];
	json_t *arguments; /* an object */
	json_t *reply;     /* while it is being made */
	unsigned waiting;  /* for so many programs */
	bool is_noted;     /* the log has the change, or there was none */
	struct mgmt_ask *next;
};

typedef void mgmt_handle_fn(struct mgmt_ask *ask);

struct mgmt_verb {
	const char *name;
	enum mgmt_right right;
	enum role owner;        /* ROLE_CONFD: handle, else forwarded */
	mgmt_handle_fn *handle; /* answers now or later, exactly once */
};

/* Every verb; ends with name NULL. */
extern const struct mgmt_verb mgmt_verbs[];

/* The handlers of MGMT_REQUEST and TLS_INSTALL. */
channel_handler_fn mgmt_on_request, mgmt_on_tls_install;

/* A request under its verb; the actor is who the kernel says. */
struct mgmt_ask *mgmt_new_ask(struct confd *confd, struct channel *channel,
    uint64_t request_id, const struct mgmt_verb *verb);
/* Frees one that was answered in another way; is_done: noted as a change. */
void mgmt_forget(struct mgmt_ask *ask, bool is_done);
void mgmt_channel_closed(struct confd *confd, struct channel *channel);

/*
 * Says in the log what was changed, once; mgmt_reply() does it for what is
 * done.  What is stored is noted at once, whatever becomes of it afterwards.
 */
void mgmt_note(struct mgmt_ask *ask);

/* Answer, take result over and free the request. */
void mgmt_reply(struct mgmt_ask *ask, enum mgmt_code code, json_t *result);
/* hint: the next command to try, or NULL. */
void mgmt_fail(struct mgmt_ask *ask, enum mgmt_code code, const char *hint,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Texts of the arguments; NULL when absent or of another type. */
const char *mgmt_text(const struct mgmt_ask *ask, const char *name);
bool mgmt_flag(const struct mgmt_ask *ask, const char *name);
int64_t mgmt_number(
    const struct mgmt_ask *ask, const char *name, int64_t otherwise);

/* The peer with that role, or NULL. */
struct confd_peer *confd_find_peer(const struct confd *confd, enum role role);

/* ---- snapshots (confd_publish.c) ---- */

/*
 * Brings the configuration in force to every program that is there.  done is
 * called with each that does not work with it: {"program", "is_pending",
 * "reason"}.  Pending: it has not answered; the snapshot waits for it, and if
 * it ends instead, it gets the one of that time when it is back.
 */
typedef void publish_done_fn(void *arg, json_t *not_applied);
void publish_all(struct confd *confd, publish_done_fn *done, void *arg);
void publish_to(struct confd *confd, struct confd_peer *peer);
/*
 * Answers with result, which it takes over: done, or that `stored` ("revision
 * 7") is stored and which programs do not work with it, and why.
 */
void publish_reply(struct mgmt_ask *ask, json_t *result, const char *stored,
    json_t *not_applied);
/* confd's own. */
int publish_own(struct confd *confd, struct err *err);

/* ---- changes (mgmt_change.c) ---- */

/*
 * Checks the wanted items, stores one revision, publishes it and answers.
 * wanted is taken over.  With the argument dry_run only the difference is
 * told; with if_revision another revision is a conflict.
 */
void mgmt_change_to(
    struct mgmt_ask *ask, struct config_items *wanted, const char *note);
json_t *mgmt_changes_json(const struct config_changes *changes);

/* Stores one item that is not there yet, or may be replaced; answers. */
void mgmt_put_item(struct mgmt_ask *ask, enum config_kind kind,
    const char *key, const char *value, bool may_replace);
/* any_value only has to be one that parses. */
void mgmt_remove_item(struct mgmt_ask *ask, enum config_kind kind,
    const char *key, const char *any_value);

/* Canonical key and value of one item; clearing wipes them. */
struct mgmt_texts {
	struct buf key;
	struct buf value;
};
void mgmt_texts_init(struct mgmt_texts *texts);
void mgmt_texts_clear(struct mgmt_texts *texts);
/* The key in canonical form; any_value only has to be one that parses. */
int mgmt_texts_key(enum config_kind kind, const char *key,
    const char *any_value, struct mgmt_texts *texts, struct err *err);

/* ---- alerts (confd_alerts.c) ---- */

int alerts_load(struct confd *confd, struct err *err);
void alerts_raise(struct confd *confd, unsigned alert, struct slice raiser,
    struct slice subject, struct slice text);
void alerts_clear(struct confd *confd, unsigned alert, struct slice subject);
void alerts_peer_up(struct confd *confd, enum role role);
/* An array, for status. */
json_t *alerts_json(const struct confd *confd);

/* ---- handlers of verbs ---- */

mgmt_handle_fn mgmt_init, mgmt_config_get, mgmt_config_set, mgmt_config_unset,
    mgmt_config_list, mgmt_config_diff, mgmt_config_history, mgmt_config_undo,
    mgmt_config_export, mgmt_config_apply, mgmt_config_check;
mgmt_handle_fn mgmt_domain_add, mgmt_domain_remove, mgmt_domain_list,
    mgmt_domain_recipients;
mgmt_handle_fn mgmt_route_add, mgmt_route_remove, mgmt_route_list,
    mgmt_route_test;
mgmt_handle_fn mgmt_policy_add, mgmt_policy_remove, mgmt_policy_list;
mgmt_handle_fn mgmt_block_add, mgmt_block_remove, mgmt_block_list,
    mgmt_allow_add, mgmt_allow_remove, mgmt_allow_list;
mgmt_handle_fn mgmt_status, mgmt_health, mgmt_alert_raise, mgmt_alert_clear;

/* Forwards to the owner, then learns which domains have aliases now. */
mgmt_handle_fn mgmt_alias_changed;
void directory_ask(struct confd *confd);
int directory_load(struct confd *confd, struct err *err);

#endif
