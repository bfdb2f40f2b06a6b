/* SPDX-License-Identifier: ISC */
/*
 * Keys that came with mail or were fetched.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: nothing of a key
 * but what the `key` worker read; what it may replace, keystore_trust.c says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/alerts.h"
#include "common/events.h"
#include "signer/key_admin.h"

/* ---- harvest ---- */

struct harvest {
	char kind[17];
	char address[ADDRESS_TEXT_MAX];
	char source[33];
	uint16_t trust;
	key_harvest_fn *done;
	void *arg;
	/* The public part as it came: by its digest it is known again. */
	size_t n;
	char octets[];
};

static struct ipc_record_harvest
record_of(const struct harvest *harvest)
{
	return (struct ipc_record_harvest){.kind = slice_of(harvest->kind),
	    .address = slice_of(harvest->address),
	    .source = slice_of(harvest->source),
	    .trust = harvest->trust,
	    .public = {harvest->octets, harvest->n}};
}

static void
finish(struct signerd *signerd, const struct harvest *harvest, bool is_usable)
{
	signerd->harvests--;
	if (harvest->done != NULL)
		harvest->done(harvest->arg, is_usable);
}

static void
tell(struct signerd *signerd, const struct harvest *harvest,
    const struct key *key, enum keystore_harvested harvested)
{
	char what[700];
	struct event_change event = {.actor = SLICE("postern-signerd"),
	    .verb = harvested == HARVEST_PENDING ? SLICE("key.pending")
						 : SLICE("key.harvest"),
	    .revision = keystore_revision(signerd->keystore)};

	if (harvested != HARVEST_ADDED && harvested != HARVEST_PENDING &&
	    harvested != HARVEST_REPLACED)
		return;
	(void)snprintf(what, sizeof(what), "%s key %s of %s from %s%s",
	    harvest->kind, key->fingerprint, harvest->address, harvest->source,
	    harvested == HARVEST_PENDING
		? " is another one than before and waits for approval"
	    : harvested == HARVEST_REPLACED
		? " takes the place of one that came with mail"
		: "");
	event.what = slice_of(what);
	log_event(daemon_log(signerd->daemon), (struct log_context){0, 0},
	    EV_CHANGE, &event);
	if (harvested == HARVEST_PENDING)
		daemon_alert_raise(signerd->daemon, ALERT_KEY_CHANGED,
		    harvest->address,
		    "%s sent another %s key (%s) than the one that is known",
		    harvest->address, harvest->kind, key->fingerprint);
	else if (harvested == HARVEST_REPLACED)
		daemon_alert_raise(signerd->daemon, ALERT_KEY_CHANGED,
		    harvest->address,
		    "the %s key of %s is now %s (%s), not the one that came "
		    "with mail",
		    harvest->kind, harvest->address, key->fingerprint,
		    harvest->source);
}

/* Does the key itself name the address?  A mail says whatever it likes. */
static bool
names_address(const struct key_answer *answer, const char *address)
{
	for (size_t i = 0; i < answer->address_count; i++)
		if (strcmp(answer->addresses[i], address) == 0)
			return true;
	return false;
}

static enum manage_code
on_harvested(struct key_call *call, const struct key_answer *answer)
{
	const struct harvest *harvest = call->context;
	const struct ipc_record_harvest record = record_of(harvest);
	enum keystore_harvested harvested = HARVEST_IGNORED;
	struct err err;

	if (answer->key.public.n == 0 ||
	    strcmp(key_kind_name(answer->key.kind), harvest->kind) != 0 ||
	    !names_address(answer, harvest->address))
		log_notice("a key that came for %s does not name it",
		    harvest->address);
	else if (keystore_harvest(call->signerd->keystore, &record,
		     &answer->key, call->now_s, &harvested, &err) == -1)
		log_notice("a key that came with a mail: %s", err.text);
	else if (harvested == HARVEST_REVOKED)
		log_notice("a certificate that came for %s is not taken: its "
			   "CA revoked it",
		    harvest->address);
	else
		tell(call->signerd, harvest, &answer->key, harvested);
	finish(call->signerd, harvest,
	    harvested == HARVEST_ADDED || harvested == HARVEST_REFRESHED ||
		harvested == HARVEST_REPLACED);
	return MANAGE_LATER;
}

static void
on_refused(struct key_call *call, const char *reason, bool is_temporary)
{
	const struct harvest *harvest = call->context;

	(void)is_temporary;
	log_notice("a key that came for %s is not taken: %s", harvest->address,
	    reason);
	finish(call->signerd, harvest, false);
}

static struct harvest *
copy_harvest(const struct ipc_record_harvest *record)
{
	struct harvest *harvest =
	    xcalloc(1, sizeof(*harvest) + record->public.n + 1);
	struct address address;

	if (address_parse(
		record->address, ADDRESS_MAY_BE_UTF8, &address, NULL) == -1 ||
	    slice_copy(record->kind, harvest->kind, sizeof(harvest->kind)) ==
		-1 ||
	    slice_copy(record->source, harvest->source,
		sizeof(harvest->source)) == -1) {
		free(harvest);
		return NULL;
	}
	(void)address_format_folded(&address, harvest->address);
	harvest->trust = record->trust;
	harvest->n = record->public.n;
	if (harvest->n > 0)
		memcpy(harvest->octets, record->public.p, harvest->n);
	return harvest;
}

static bool
is_certificate(const struct ipc_record_harvest *record)
{
	return slice_equals(record->kind, SLICE("smime"));
}

/*
 * What a worker that read a mail says of a certificate's chain counts for
 * nothing: the mail may have taken it over.  The `key` worker, which reads
 * this certificate and nothing else, finds an anchor for it or refuses it.
 */
static int
ask_for_chain(struct key_call *call, struct slice issuers, struct err *err)
{
	const struct key_anchor *anchors;
	size_t count;

	if (keystore_anchors(call->signerd->keystore, &anchors, &count, err) ==
	    -1)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const struct ipc_record_work_key record = {
		    .use = anchors[i].is_blocked ? WORK_KEY_BLOCKED
						 : WORK_KEY_ANCHOR,
		    .public = anchors[i].certificate};

		if (ipc_work_key_add(&call->keys, &record, err) == -1)
			return -1;
	}
	key_call_fact(call, "check_chain", "yes");
	key_call_part(call, "chain", issuers);
	return 0;
}

/*
 * A copy of a known key takes its place, whoever sent it: the owner may have
 * prolonged or revoked it.  Without the part that encrypts mail would go out
 * open, so the worker adds what is known to it.
 */
static int
ask_with_known(struct key_call *call, const char *address, struct err *err)
{
	struct key_list known;

	if (keystore_correspondents(call->signerd->keystore, KEY_PGP,
		slice_of(address), &known, err) == -1)
		return -1;
	for (size_t i = 0; i < known.count; i++) {
		const struct ipc_record_work_key record = {
		    .use = WORK_KEY_CANDIDATE, .public = known.keys[i]->public};

		if (ipc_work_key_add(&call->keys, &record, err) == -1)
			return -1;
	}
	key_call_fact(call, "address", address);
	return 0;
}

static int
ask_more(struct key_call *call, const struct ipc_record_harvest *record,
    const struct harvest *harvest, struct err *err)
{
	if (is_certificate(record))
		return ask_for_chain(call, record->chain, err);
	return strcmp(harvest->kind, "pgp") == 0
		   ? ask_with_known(call, harvest->address, err)
		   : 0;
}

void
key_harvest(struct signerd *signerd, const struct ipc_record_harvest *came,
    key_harvest_fn *done, void *arg)
{
	struct ipc_record_harvest record = *came;
	struct harvest *harvest = NULL;
	struct key_call *call;
	struct err err;

	if (is_certificate(&record))
		record.trust = TRUST_CHAIN;
	if (signerd->harvests < KEY_HARVESTS_MAX &&
	    !keystore_knows(signerd->keystore, &record))
		harvest = copy_harvest(&record);
	if (harvest == NULL) {
		if (done != NULL)
			done(arg, false);
		return;
	}
	signerd->harvests++;
	harvest->done = done;
	harvest->arg = arg;
	call = key_call_new(signerd, NULL, KEY_OP_PARSE);
	call->context = harvest;
	call->failed = on_refused;
	key_call_fact(call, "kind", harvest->kind);
	key_call_part(call, "file", record.public);
	if (ask_more(call, &record, harvest, &err) == -1) {
		on_refused(call, err.text, true);
		key_call_free(call);
		return;
	}
	(void)key_call_run(call, on_harvested);
}
