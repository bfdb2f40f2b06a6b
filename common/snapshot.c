/* SPDX-License-Identifier: ISC */
/*
 * What confd sent a program of the configuration, as a value.
 * Runs in: every program.  Trusts: that confd parsed the values; numbers and
 * ranges are checked again, names and lists by who uses them.
 */
#include <stdlib.h>
#include <string.h>

#include "common/settings.h"

/* ---- settings ---- */

static bool
is_word_of(struct slice text, const char *words)
{
	struct slice list = slice_of(words);
	struct slice word;

	while (setting_list_next(&list, &word))
		if (slice_equals(word, text))
			return true;
	return false;
}

static int
read_settings(struct ipc_list list, struct settings *settings, struct err *err)
{
	struct ipc_record_setting setting;

	while (ipc_setting_next(&list, &setting)) {
		const struct setting_row *row;

		if (setting.index >= SETTING_COUNT)
			return err_set(err, "setting %u", setting.index);
		row = setting_row(setting.index);
		if (setting_kind_is_number(row->kind)
			? setting.number < row->least ||
			      setting.number > row->most
			: row->words != NULL &&
			      !is_word_of(setting.text, row->words))
			return err_set(
			    err, "%s is out of its range", row->name);
		settings_put(
		    settings, setting.index, setting.number, setting.text);
	}
	return 0;
}

/* ---- domains ---- */

/* The canonical form of common/domain.h, without its library. */
static bool
is_canonical_name(struct slice name)
{
	if (name.n == 0 || name.n > DOMAIN_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' &&
		    c != '.' && c != '_')
			return false;
	}
	return true;
}

static int
compare_domains(const void *a, const void *b)
{
	const struct domain_entry *one = a;
	const struct domain_entry *other = b;

	return strcmp(one->name.text, other->name.text);
}

static int
read_domains(struct ipc_list list, struct snapshot *snapshot, struct err *err)
{
	struct ipc_record_domain record;

	snapshot->domains = xcalloc(list.count, sizeof(*snapshot->domains));
	while (ipc_domain_next(&list, &record)) {
		struct domain_entry *domain =
		    &snapshot->domains[snapshot->domain_count];

		if (!is_canonical_name(record.name) ||
		    record.mode >= DOMAIN_MODE_COUNT)
			return err_set(err, "domain %.*s breaks its row",
			    SLICE_ARG(record.name));
		(void)slice_copy(
		    record.name, domain->name.text, sizeof(domain->name.text));
		domain->mode = (enum domain_mode)record.mode;
		domain->has_aliases = record.has_aliases;
		domain->to = slice_dup(record.to);
		snapshot->domain_count++;
	}
	qsort(snapshot->domains, snapshot->domain_count,
	    sizeof(*snapshot->domains), compare_domains);
	for (size_t i = 1; i < snapshot->domain_count; i++)
		if (compare_domains(
			&snapshot->domains[i - 1], &snapshot->domains[i]) == 0)
			return err_set(err, "domain %s stands there twice",
			    snapshot->domains[i].name.text);
	return 0;
}

const struct domain_entry *
snapshot_domain(const struct snapshot *snapshot, const struct domain *name)
{
	struct domain_entry key = {.name = *name};

	return bsearch(&key, snapshot->domains, snapshot->domain_count,
	    sizeof(*snapshot->domains), compare_domains);
}

/* ---- routes and entries ---- */

static int
read_routes(struct ipc_list list, struct snapshot *snapshot, struct err *err)
{
	struct ipc_record_route record;

	snapshot->routes = xcalloc(list.count, sizeof(*snapshot->routes));
	while (ipc_route_next(&list, &record)) {
		struct route_entry *route =
		    &snapshot->routes[snapshot->route_count];

		if (slice_find(record.password, '\0', 0) < record.password.n)
			return err_set(err, "the password of route %.*s",
			    SLICE_ARG(record.pattern));
		route->pattern = slice_dup(record.pattern);
		route->target = slice_dup(record.target);
		route->tls = slice_dup(record.tls);
		route->user = slice_dup(record.user);
		route->password = slice_dup(record.password);
		snapshot->route_count++;
	}
	return 0;
}

static void
read_access(struct ipc_list list, struct snapshot *snapshot)
{
	struct ipc_record_access record;

	snapshot->access = xcalloc(list.count, sizeof(*snapshot->access));
	while (ipc_access_next(&list, &record))
		snapshot->access[snapshot->access_count++] =
		    (struct access_entry){.is_allow = record.is_allow,
			.is_client = record.is_client,
			.pattern = slice_dup(record.pattern),
			.until = record.until};
}

static void
read_policies(struct ipc_list list, struct snapshot *snapshot)
{
	struct ipc_record_policy record;

	snapshot->policies = xcalloc(list.count, sizeof(*snapshot->policies));
	while (ipc_policy_next(&list, &record))
		snapshot->policies[snapshot->policy_count++] =
		    (struct policy_entry){.sender = slice_dup(record.sender),
			.recipient = slice_dup(record.recipient),
			.words = slice_dup(record.rules)};
}

int
snapshot_read(const struct ipc_conf_snapshot *message,
    struct snapshot **snapshot_r, struct err *err)
{
	struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));

	snapshot->revision = message->revision;
	settings_init(&snapshot->settings);
	read_access(message->access, snapshot);
	read_policies(message->policies, snapshot);
	if (read_settings(message->settings, &snapshot->settings, err) == -1 ||
	    read_domains(message->domains, snapshot, err) == -1 ||
	    read_routes(message->routes, snapshot, err) == -1) {
		snapshot_free(snapshot);
		return -1;
	}
	*snapshot_r = snapshot;
	return 0;
}

void
snapshot_free(struct snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	settings_clear(&snapshot->settings);
	for (size_t i = 0; i < snapshot->domain_count; i++)
		free(snapshot->domains[i].to);
	free(snapshot->domains);
	for (size_t i = 0; i < snapshot->route_count; i++) {
		struct route_entry *route = &snapshot->routes[i];

		free(route->pattern);
		free(route->target);
		free(route->tls);
		free(route->user);
		explicit_bzero(route->password, strlen(route->password));
		free(route->password);
	}
	free(snapshot->routes);
	for (size_t i = 0; i < snapshot->access_count; i++)
		free(snapshot->access[i].pattern);
	free(snapshot->access);
	for (size_t i = 0; i < snapshot->policy_count; i++) {
		free(snapshot->policies[i].sender);
		free(snapshot->policies[i].recipient);
		free(snapshot->policies[i].words);
	}
	free(snapshot->policies);
	free(snapshot);
}
