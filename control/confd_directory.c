/* SPDX-License-Identifier: ISC */
/*
 * Which of our domains have aliases: authd knows, and the snapshots say it, so
 * that queued asks authd only where something may come of it.
 * Runs in: postern-confd.  Trusts: authd's list for names of domains only.
 */
#include <stdlib.h>
#include <string.h>

#include "control/confd.h"

#define ANSWER_LIMIT_MS 5000

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
clear_domains(struct confd *confd)
{
	for (size_t i = 0; i < confd->alias_domain_count; i++)
		free(confd->alias_domains[i]);
	free(confd->alias_domains);
	confd->alias_domains = NULL;
	confd->alias_domain_count = 0;
}

static void
load_one(void *arg, struct slice name)
{
	struct confd *confd = arg;

	confd->alias_domains = xrealloc(confd->alias_domains,
	    (confd->alias_domain_count + 1) * sizeof(*confd->alias_domains));
	confd->alias_domains[confd->alias_domain_count++] = slice_dup(name);
}

int
directory_load(struct confd *confd, struct err *err)
{
	return config_store_alias_domains(confd->store, load_one, confd,
	    &confd->are_alias_domains_known, err);
}

static bool
is_same(const struct confd *confd, char *const *domains, size_t count)
{
	if (!confd->are_alias_domains_known ||
	    count != confd->alias_domain_count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(domains[i], confd->alias_domains[i]) != 0)
			return false;
	return true;
}

/* True when the snapshots have changed. */
static bool
take_list(struct confd *confd, const json_t *list)
{
	const size_t most = json_array_size(list);
	char **domains = xcalloc(most + 1, sizeof(*domains));
	size_t count = 0;
	bool is_new;
	struct err err;

	for (size_t i = 0; i < most; i++) {
		const char *name = json_string_value(json_array_get(list, i));

		if (name != NULL && name[0] != '\0')
			domains[count++] = xstrdup(name);
	}
	qsort(domains, count, sizeof(*domains), compare_names);
	is_new = !is_same(confd, domains, count);
	if (is_new && config_store_put_alias_domains(
			  confd->store, domains, count, &err) == -1)
		log_notice("domains with aliases not stored: %s", err.text);
	clear_domains(confd);
	confd->alias_domains = domains;
	confd->alias_domain_count = count;
	confd->are_alias_domains_known = true;
	return is_new;
}

/* ---- asking ---- */

struct directory_ask {
	struct confd *confd;
	struct mgmt_ask *then; /* answered when all programs know; or NULL */
};

/* As a change of the configuration is answered. */
static void
on_published(void *arg, json_t *not_applied)
{
	struct mgmt_ask *ask = arg;
	json_t *result = ask->reply;

	ask->reply = NULL;
	if (!json_is_object(result)) {
		json_decref(result);
		result = json_object();
	}
	publish_reply(ask, result, "the change of aliases", not_applied);
}

static void
go_on(struct directory_ask *directory, bool is_changed)
{
	if (is_changed)
		publish_all(directory->confd,
		    directory->then != NULL ? on_published : NULL,
		    directory->then);
	else if (directory->then != NULL)
		on_published(directory->then, NULL);
	free(directory);
}

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct directory_ask *directory = arg;
	struct confd *confd = directory->confd;
	const struct ipc_mgmt_reply *reply =
	    frame != NULL ? &frame->message->mgmt_reply : NULL;
	json_t *body;
	const json_t *list;
	bool is_changed = false;

	if (reply != NULL && reply->code == MGMT_DONE) {
		body = json_loadb(reply->body.p, reply->body.n, 0, NULL);
		list = json_object_get(body, "domains");
		if (json_is_array(list))
			is_changed = take_list(confd, list);
		json_decref(body);
	} else if (confd->store != NULL) { /* we do not stop just now */
		/* It cannot say: any domain may have some. */
		is_changed = confd->are_alias_domains_known;
		confd->are_alias_domains_known = false;
	}
	go_on(directory, is_changed);
}

static void
ask_authd(struct confd *confd, struct mgmt_ask *then)
{
	const struct confd_peer *authd = confd_find_peer(confd, ROLE_AUTHD);
	struct directory_ask *directory = xcalloc(1, sizeof(*directory));
	const struct ipc_mgmt_request request = {
	    .verb = SLICE("directory.alias_domains"),
	    .actor = SLICE("postern-confd"),
	    .arguments = SLICE("{}")};

	*directory = (struct directory_ask){.confd = confd, .then = then};
	if (authd == NULL ||
	    channel_request(authd->channel, MSG_MGMT_REQUEST, &request, NULL,
		MSG_MGMT_REPLY, ANSWER_LIMIT_MS, on_answer, directory) == 0)
		go_on(directory, false);
}

void
directory_ask(struct confd *confd)
{
	ask_authd(confd, NULL);
}

void
mgmt_alias_changed(struct mgmt_ask *ask)
{
	ask_authd(ask->confd, ask);
}
