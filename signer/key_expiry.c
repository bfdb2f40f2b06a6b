/* SPDX-License-Identifier: ISC */
/*
 * What ends soon: keys of ours, the built-in CA's, anchors, lists of revoked
 * certificates.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: the key store.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/alerts.h"
#include "signer/key_admin.h"

#define DAY_S 86400
/* Of a fingerprint, in the subject of an alert. */
#define NAME_DIGITS 40
#define NAME_SIZE 128

/*
 * The nearest of these that has come is told, each once.  Keys and anchors
 * last for years; lists for days or weeks.
 */
static const int steps[] = {1, 7, 14, 30};
#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))
/* Days of the first step for what is no list. */
#define KEY_STEP 7

struct ending {
	enum alert alert;
	struct slice name; /* hexadecimal, in the alerts' subjects */
	int64_t not_after_s;
	/* A step as long as this, or longer, does not count. */
	int64_t life_s;
	bool is_list;
};

static void
subject_of(char out[NAME_SIZE], struct slice name, int days)
{
	(void)snprintf(out, NAME_SIZE, "%.*s %d days",
	    (int)(name.n > NAME_DIGITS ? NAME_DIGITS : name.n), name.p, days);
}

static void
clear(struct signerd *signerd, enum alert alert, struct slice name)
{
	char subject[NAME_SIZE];

	for (size_t i = 0; i < STEP_COUNT; i++) {
		subject_of(subject, name, steps[i]);
		daemon_alert_clear(signerd->daemon, alert, subject);
	}
}

static bool
is_step(const struct ending *ending, int days)
{
	return !ending->is_list || days * (int64_t)DAY_S * 2 <= ending->life_s;
}

/* what: a sentence that "ends in 5 days" ends. */
static void
check(struct signerd *signerd, const struct ending *ending, int64_t now_s,
    const char *what)
{
	const int64_t left_s = ending->not_after_s - now_s;
	const long long days =
	    (long long)(left_s < 0 ? -left_s : left_s) / DAY_S;
	char subject[NAME_SIZE];
	bool is_told = false;

	for (size_t i = 0; i < STEP_COUNT; i++) {
		/* What ended is told, however short its life was. */
		const bool has_come =
		    left_s <= 0 ? !is_told
				: left_s <= steps[i] * (int64_t)DAY_S &&
				      is_step(ending, steps[i]);

		if (!ending->is_list && steps[i] < KEY_STEP)
			continue;
		subject_of(subject, ending->name, steps[i]);
		if (is_told || !has_come) {
			daemon_alert_clear(
			    signerd->daemon, ending->alert, subject);
			continue;
		}
		is_told = true;
		daemon_alert_raise(signerd->daemon, ending->alert, subject,
		    "%s %s %lld days", what,
		    left_s < 0 ? "ended, since" : "ends in", days);
	}
}

/* ---- keys ---- */

void
key_expiry_clear(struct signerd *signerd, const char *fingerprint)
{
	clear(signerd, ALERT_KEY_EXPIRES, slice_of(fingerprint));
}

struct walk {
	struct signerd *signerd;
	int64_t now_s;
};

static void
check_key(void *arg, int64_t id, enum key_kind kind, struct slice fingerprint,
    struct slice subject, int64_t not_after_s)
{
	const struct walk *walk = arg;
	const struct ending ending = {.alert = ALERT_KEY_EXPIRES,
	    .name = fingerprint,
	    .not_after_s = not_after_s};
	char what[ADDRESS_TEXT_MAX + 64];

	(void)snprintf(what, sizeof(what), "%s key %lld of %.*s",
	    key_kind_name(kind), (long long)id, SLICE_ARG(subject));
	check(walk->signerd, &ending, walk->now_s, what);
}

/* ---- anchors ---- */

void
key_expiry_clear_anchor(struct signerd *signerd, const char *fingerprint)
{
	clear(signerd, ALERT_TRUST_EXPIRES, slice_of(fingerprint));
}

/* The built-in CA is an anchor, too: of it the key is told. */
static bool
is_our_ca(struct keystore *keystore, const struct key_anchor *anchor)
{
	const struct key *key;

	return keystore_by_fingerprint(keystore, KEY_CA,
		   slice_of(anchor->fingerprint), &key) == KEYSTORE_FOUND;
}

static void
check_anchors(struct signerd *signerd, int64_t now_s)
{
	const struct key_anchor *all;
	size_t count;
	struct err err;

	if (keystore_anchors(signerd->keystore, &all, &count, &err) == -1) {
		log_notice("anchors that end soon: %s", err.text);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const struct ending ending = {.alert = ALERT_TRUST_EXPIRES,
		    .name = slice_of(all[i].fingerprint),
		    .not_after_s = all[i].not_after_s};
		char what[KEY_NAME_MAX + 32];

		if (all[i].is_blocked || is_our_ca(signerd->keystore, &all[i]))
			continue;
		(void)snprintf(
		    what, sizeof(what), "the anchor %.*s", 300, all[i].subject);
		check(signerd, &ending, now_s, what);
	}
}

/* ---- lists of revoked certificates ---- */

/*
 * One that is renewed by itself is told of when that failed until its end,
 * one from a file before.
 */
static void
check_lists(struct signerd *signerd, int64_t now_s)
{
	const struct key_crl *all;
	size_t count;
	struct err err;

	if (keystore_crls(signerd->keystore, &all, &count, &err) == -1) {
		log_notice("lists that end soon: %s", err.text);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		char name[TRUST_NAME_SIZE];
		struct ending ending = {.alert = ALERT_TRUST_EXPIRES,
		    .not_after_s = all[i].next_update_s,
		    .life_s = all[i].url[0] != '\0'
				  ? 0
				  : all[i].next_update_s - all[i].this_update_s,
		    .is_list = true};
		char what[KEY_NAME_MAX + 64];

		trust_list_name(all[i].issuer_id, slice_of(all[i].scope), name);
		ending.name = slice_of(name);
		(void)snprintf(what, sizeof(what),
		    "the list of revoked certificates of %.*s", 300,
		    all[i].issuer);
		check(signerd, &ending, now_s, what);
	}
}

void
key_expiry_clear_lists(struct signerd *signerd, const char *url)
{
	const struct key_crl *all;
	size_t count;

	if (keystore_crls(signerd->keystore, &all, &count, NULL) == -1)
		return;
	for (size_t i = 0; i < count; i++) {
		char name[TRUST_NAME_SIZE];

		if (strcmp(all[i].url, url) != 0)
			continue;
		trust_list_name(all[i].issuer_id, slice_of(all[i].scope), name);
		clear(signerd, ALERT_TRUST_EXPIRES, slice_of(name));
	}
}

void
key_expiry_check(struct signerd *signerd)
{
	struct walk walk = {.signerd = signerd, .now_s = (int64_t)time(NULL)};
	struct err err;

	if (keystore_ending(signerd->keystore, check_key, &walk, &err) == -1)
		log_notice("keys that end soon: %s", err.text);
	check_anchors(signerd, walk.now_s);
	check_lists(signerd, walk.now_s);
}
