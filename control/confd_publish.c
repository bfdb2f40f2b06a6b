/* SPDX-License-Identifier: ISC */
/*
 * Each program's snapshot of the configuration: only the rows that it may
 * read, sent when its channel comes up and on each change (DESIGN §4).
 * Runs in: postern-confd.  Trusts: its own store, whose items are parsed again
 * here; one that no longer holds is left out and told by config.check.
 */
#include <stdlib.h>
#include <string.h>

#include "control/confd.h"
#include "control/config_rules.h"

/* A program that has not answered by then is named to who changed it. */
#define APPLY_LIMIT_MS 5000
/* Octets of one list: above what its row's limits can need. */
#define LIST_MAX (48u * 1024 * 1024)

/* What else than its settings a program needs. */
static const struct audience {
	bool domains;
	bool routes;
	bool secrets; /* passwords of routes */
	bool access;
	bool policies;
} audiences[ROLE_COUNT] = {
    [ROLE_SMTPD] = {.domains = true, .access = true},
    [ROLE_AUTHD] = {.domains = true},
    [ROLE_QUEUED] = {.domains = true, .routes = true, .policies = true},
    [ROLE_RELAYD] = {.domains = true, .routes = true, .secrets = true},
    [ROLE_CONFD] = {.domains = true},
    [ROLE_SIGNERD] = {.domains = true, .policies = true},
};

struct lists {
	struct ipc_list_writer settings;
	struct ipc_list_writer domains;
	struct ipc_list_writer routes;
	struct ipc_list_writer access;
	struct ipc_list_writer policies;
};

/* ---- the parts ---- */

static void
add_setting(const struct config_item *item, enum role role, struct lists *lists)
{
	struct ipc_record_setting record = {0};
	struct buf canonical;
	uint64_t number;
	unsigned index;

	if (setting_find(slice_of(item->key), &index) == -1 ||
	    (setting_row(index)->readers & (1u << role)) == 0)
		return;
	buf_init(&canonical, CONFIG_VALUE_MAX);
	if (setting_parse(
		index, slice_of(item->value), &canonical, &number, NULL) == 0) {
		record.index = (uint16_t)index;
		record.number = number;
		record.text = buf_slice(&canonical);
		(void)ipc_setting_add(&lists->settings, &record, NULL);
	}
	buf_clear(&canonical);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Until authd was asked once, any domain may have aliases: ask it each time. */
static bool
has_aliases(const struct confd *confd, const char *name)
{
	return !confd->are_alias_domains_known ||
	       (confd->alias_domain_count > 0 &&
		   bsearch(&name, confd->alias_domains,
		       confd->alias_domain_count, sizeof(*confd->alias_domains),
		       compare_names) != NULL);
}

static void
add_domain(const struct confd *confd, const struct config_item *item,
    struct lists *lists)
{
	struct config_domain domain;
	struct ipc_record_domain record = {.name = slice_of(item->key)};

	if (config_domain_read(item->value, &domain) == -1)
		return;
	record.mode = (uint16_t)domain.mode;
	record.to = slice_of(domain.to);
	record.has_aliases = has_aliases(confd, item->key);
	(void)ipc_domain_add(&lists->domains, &record, NULL);
}

static void
add_route(
    const struct config_item *item, bool with_secrets, struct lists *lists)
{
	struct config_route route;
	struct ipc_record_route record = {.pattern = slice_of(item->key)};

	if (config_route_read(item->value, &route) == 0) {
		record.target = slice_of(route.target);
		record.tls = slice_of(route.tls);
		if (with_secrets) {
			record.user = slice_of(route.user);
			record.password =
			    (struct slice){route.password, route.password_n};
		}
		(void)ipc_route_add(&lists->routes, &record, NULL);
	}
	config_route_clear(&route);
}

static void
add_access(const struct config_item *item, struct lists *lists)
{
	struct config_access access;
	struct ipc_record_access record;

	if (config_access_read(item->key, item->value, &access) == -1)
		return;
	record = (struct ipc_record_access){.is_allow = access.is_allow,
	    .is_client = access.is_client,
	    .pattern = slice_of(access.pattern),
	    .until = access.until};
	(void)ipc_access_add(&lists->access, &record, NULL);
}

static void
add_policy(const struct config_item *item, struct lists *lists)
{
	struct config_policy policy;
	struct ipc_record_policy record = {.rules = slice_of(item->value)};

	if (config_policy_read(item->key, &policy) == -1)
		return;
	record.sender = slice_of(policy.sender);
	record.recipient = slice_of(policy.recipient);
	(void)ipc_policy_add(&lists->policies, &record, NULL);
}

/* In match order: the nearer pattern first. */
static void
add_routes(
    const struct config_items *items, bool with_secrets, struct lists *lists)
{
	size_t count;
	const struct config_item **routes =
	    config_routes_in_order(items, &count);

	for (size_t i = 0; i < count; i++)
		add_route(routes[i], with_secrets, lists);
	free(routes);
}

static void
fill_lists(const struct confd *confd, enum role role, struct lists *lists)
{
	const struct config_items *items = config_store_items(confd->store);
	const struct audience *audience = &audiences[role];

	for (size_t i = 0; i < items->count; i++) {
		const struct config_item *item = &items->list[i];

		if (item->kind == CONFIG_SETTING)
			add_setting(item, role, lists);
		else if (item->kind == CONFIG_DOMAIN && audience->domains)
			add_domain(confd, item, lists);
		else if (item->kind == CONFIG_ACCESS && audience->access)
			add_access(item, lists);
		else if (item->kind == CONFIG_POLICY && audience->policies)
			add_policy(item, lists);
	}
	if (audience->routes)
		add_routes(items, audience->secrets, lists);
}

static struct ipc_conf_snapshot
make_snapshot(const struct confd *confd, enum role role, struct lists *lists)
{
	ipc_list_writer_init(&lists->settings, LIST_MAX);
	ipc_list_writer_init(&lists->domains, LIST_MAX);
	ipc_list_writer_init(&lists->routes, LIST_MAX);
	ipc_list_writer_init(&lists->access, LIST_MAX);
	ipc_list_writer_init(&lists->policies, LIST_MAX);
	fill_lists(confd, role, lists);
	return (struct ipc_conf_snapshot){
	    .revision = config_store_revision(confd->store),
	    .settings = ipc_list_of(&lists->settings),
	    .domains = ipc_list_of(&lists->domains),
	    .routes = ipc_list_of(&lists->routes),
	    .access = ipc_list_of(&lists->access),
	    .policies = ipc_list_of(&lists->policies)};
}

static void
clear_lists(struct lists *lists)
{
	ipc_list_writer_clear(&lists->settings);
	ipc_list_writer_clear(&lists->domains);
	if (lists->routes.encoded.p != NULL)
		explicit_bzero(
		    lists->routes.encoded.p, lists->routes.encoded.n);
	ipc_list_writer_clear(&lists->routes);
	ipc_list_writer_clear(&lists->access);
	ipc_list_writer_clear(&lists->policies);
}

int
publish_own(struct confd *confd, struct err *err)
{
	struct lists lists;
	struct snapshot *snapshot;
	const struct ipc_conf_snapshot message =
	    make_snapshot(confd, ROLE_CONFD, &lists);
	const int rc = snapshot_read(&message, &snapshot, err);

	clear_lists(&lists);
	if (rc == -1)
		return -1;
	return daemon_set_snapshot(confd->daemon, snapshot, err);
}

/* ---- sending, and who took it ---- */

struct round {
	publish_done_fn *done;
	void *arg;
	unsigned waiting;
	json_t *not_applied;
};

struct delivery {
	struct confd *confd;
	struct round *round;
	enum role role;
};

static void
finish_round(struct round *round)
{
	if (--round->waiting > 0)
		return;
	if (round->done != NULL)
		round->done(round->arg, round->not_applied);
	json_decref(round->not_applied);
	free(round);
}

static void
note_failure(
    struct round *round, enum role role, bool is_pending, struct slice reason)
{
	json_t *text = json_stringn(reason.p, reason.n);

	(void)json_array_append_new(round->not_applied,
	    json_pack("{s:s, s:b, s:o}", "program", role_name(role),
		"is_pending", is_pending, "reason",
		text != NULL ? text : json_string("?")));
}

static void
tell_not_applied(const json_t *not_applied, struct buf *text_r)
{
	size_t i;
	const json_t *row;

	json_array_foreach(not_applied, i, row) {
		(void)buf_addf(text_r, "%spostern-%s ", i > 0 ? "; " : "",
		    json_string_value(json_object_get(row, "program")));
		if (json_is_true(json_object_get(row, "is_pending")))
			(void)buf_add_text(text_r,
			    "has not taken it yet and works with what it had "
			    "until it does");
		else
			(void)buf_addf(text_r, "refuses it: %s",
			    json_string_value(json_object_get(row, "reason")));
	}
}

void
publish_reply(struct mgmt_ask *ask, json_t *result, const char *stored,
    json_t *not_applied)
{
	struct buf text;

	if (json_array_size(not_applied) == 0) {
		mgmt_reply(ask, MGMT_DONE, result);
		return;
	}
	buf_init(&text, 8192);
	(void)buf_addf(&text, "%s is stored, but ", stored);
	tell_not_applied(not_applied, &text);
	(void)json_object_set_new(
	    result, "error", json_string(buf_text(&text)));
	(void)json_object_set_new(
	    result, "hint", json_string("postern status"));
	(void)json_object_set(result, "not_applied", not_applied);
	buf_clear(&text);
	mgmt_reply(ask, MGMT_FAILED, result);
}

static void
on_applied(void *arg, const struct channel_frame *frame)
{
	struct delivery *delivery = arg;
	struct confd_peer *peer =
	    confd_find_peer(delivery->confd, delivery->role);
	const struct ipc_conf_applied *applied;

	if (frame == NULL) {
		note_failure(delivery->round, delivery->role, true,
		    SLICE("it has not answered"));
	} else {
		applied = &frame->message->conf_applied;
		if (applied->error.n > 0) {
			note_failure(delivery->round, delivery->role, false,
			    applied->error);
			log_notice("%s refused revision %llu: %.*s",
			    role_name(delivery->role),
			    (unsigned long long)applied->revision,
			    SLICE_ARG(applied->error));
		} else if (peer != NULL) {
			peer->revision = applied->revision;
		}
	}
	finish_round(delivery->round);
	free(delivery);
}

static void
deliver(struct confd *confd, struct confd_peer *peer, struct round *round)
{
	struct lists lists;
	const struct ipc_conf_snapshot message =
	    make_snapshot(confd, peer->role, &lists);
	struct delivery *delivery = xcalloc(1, sizeof(*delivery));

	*delivery = (struct delivery){
	    .confd = confd, .round = round, .role = peer->role};
	round->waiting++;
	if (channel_request(peer->channel, MSG_CONF_SNAPSHOT, &message, NULL,
		MSG_CONF_APPLIED, APPLY_LIMIT_MS, on_applied, delivery) == 0) {
		note_failure(
		    round, peer->role, true, SLICE("it cannot be reached"));
		round->waiting--;
		free(delivery);
	}
	clear_lists(&lists);
}

static struct round *
new_round(publish_done_fn *done, void *arg)
{
	struct round *round = xcalloc(1, sizeof(*round));

	/* One more than there are, until all are sent. */
	*round = (struct round){.done = done,
	    .arg = arg,
	    .waiting = 1,
	    .not_applied = json_array()};
	return round;
}

void
publish_to(struct confd *confd, struct confd_peer *peer)
{
	struct round *round = new_round(NULL, NULL);

	deliver(confd, peer, round);
	finish_round(round);
}

void
publish_all(struct confd *confd, publish_done_fn *done, void *arg)
{
	struct round *round = new_round(done, arg);
	struct err err;

	if (publish_own(confd, &err) == -1)
		note_failure(round, ROLE_CONFD, false, slice_of(err.text));
	for (struct confd_peer *peer = confd->peers; peer != NULL;
	     peer = peer->next)
		deliver(confd, peer, round);
	finish_round(round);
}
