/* SPDX-License-Identifier: ISC */
/*
 * Revisions in config.db: commit, look back, reopen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/config_store.h"
#include "tests/unit/tap.h"

static int64_t
set(struct config_store *store, const char *key, const char *value)
{
	struct config_changes changes = {0};
	int64_t revision;
	struct err err = {""};

	config_changes_add(&changes, CONFIG_SETTING, key,
	    config_items_get(config_store_items(store), CONFIG_SETTING, key),
	    value);
	revision = config_store_commit(
	    store, &changes, "tester", "a note", 1000, &err);
	if (revision == -1)
		diag("%s", err.text);
	config_changes_clear(&changes);
	return revision;
}

static const char *
get(struct config_store *store, const char *key)
{
	return config_items_get(config_store_items(store), CONFIG_SETTING, key);
}

static bool
count_one(void *arg, const struct config_revision *revision)
{
	size_t *count = arg;

	++*count;
	is_slice(revision->actor, "tester", "revision %lld: who",
	    (long long)revision->number);
	return *count < 2;
}

static void
check_changes(struct config_store *store)
{
	struct config_changes changes;
	size_t count = 0;
	struct err err;

	ok(config_store_changes(store, 1, 4, &changes, &err) == 0,
	    "what three revisions changed is known");
	if (is_u64(changes.count, 2, "two items in all")) {
		is_str(changes.list[0].key, "a", "the first");
		is_str(changes.list[0].old_value, "1", "from the oldest value");
		is_str(changes.list[0].new_value, NULL, "to none");
		is_str(changes.list[1].new_value, "9", "the second's newest");
	}
	config_changes_clear(&changes);
	ok(config_store_changes(store, 0, 4, &changes, &err) == 0 &&
		changes.count == 1,
	    "what came and went is no change");
	config_changes_clear(&changes);
	ok(config_store_history(store, 0, count_one, &count, &err) == 0,
	    "the history is read");
	is_u64(count, 2, "as far as it is wanted");
}

static void
note_alert(void *arg, const struct config_alert *alert)
{
	*(unsigned *)arg += alert->alert;
}

static void
note_domain(void *arg, struct slice domain)
{
	if (slice_equals(domain, SLICE("example.org")))
		++*(unsigned *)arg;
}

static void
check_others(struct config_store *store)
{
	const struct config_alert alert = {.alert = 3,
	    .raiser = SLICE("queued"),
	    .subject = SLICE("s"),
	    .text = SLICE("t")};
	char *domains[] = {"example.org", "example.net"};
	unsigned seen = 0;
	bool is_known = true;
	struct err err;

	ok(config_store_put_alert(store, &alert, &err) == 0 &&
		config_store_put_alert(store, &alert, &err) == 0 &&
		config_store_alerts(store, note_alert, &seen, &err) == 0 &&
		seen == 3,
	    "an alert is kept once");
	seen = 0;
	ok(config_store_drop_alert(store, 3, "s", &err) == 0 &&
		config_store_alerts(store, note_alert, &seen, &err) == 0 &&
		seen == 0,
	    "and goes");
	ok(config_store_alias_domains(
	       store, note_domain, &seen, &is_known, &err) == 0 &&
		!is_known,
	    "which domains have aliases is not known at first");
	ok(config_store_put_alias_domains(store, domains, 2, &err) == 0 &&
		config_store_alias_domains(
		    store, note_domain, &seen, &is_known, &err) == 0 &&
		is_known && seen == 1,
	    "then it is");
	ok(config_store_put_alias_domains(store, domains, 0, &err) == 0 &&
		config_store_alias_domains(
		    store, note_domain, &seen, &is_known, &err) == 0 &&
		is_known && seen == 1,
	    "also that none has");
}

/* The lock lasts as long as a process: a second one is a child. */
static void
check_lock(const char *dir)
{
	int status = 0;
	const pid_t pid = fork();

	if (pid == 0) {
		struct config_store *second;
		struct err err;

		_exit(config_store_open(dir, &second, &err) == -1 ? 0 : 1);
	}
	(void)waitpid(pid, &status, 0);
	is_int(status, 0, "nobody else opens it meanwhile");
}

int
main(void)
{
	char dir[] = "/tmp/test_config_store.XXXXXX";
	struct config_store *store;
	char path[64];
	struct err err = {""};

	if (mkdtemp(dir) == NULL)
		fatal("mkdtemp");
	if (!ok(config_store_open(dir, &store, &err) == 0, "a new one opens")) {
		diag("%s", err.text);
		return tap_done();
	}
	is_u64(config_store_revision(store), 0, "at revision 0");
	is_int(set(store, "a", "1"), 1, "the first revision is 1");
	is_int(set(store, "a", "2"), 2, "the second 2");
	is_int(set(store, "b", "9"), 3, "the third 3");
	is_int(set(store, "a", NULL), 4, "what is unset makes one too");
	is_str(get(store, "b"), "9", "the items are those in force");
	is_str(get(store, "a"), NULL, "without what was unset");
	check_changes(store);
	check_others(store);
	check_lock(dir);
	config_store_close(store);
	(void)snprintf(path, sizeof(path), "%s/config.db", dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/.lock", dir);
	(void)unlink(path);
	(void)rmdir(dir);
	return tap_done();
}
