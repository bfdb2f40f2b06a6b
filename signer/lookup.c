/* SPDX-License-Identifier: ISC */
/*
 * Look-ups of keys in the network, by way of postern-fetchd.
 *
 * What came of them is kept in keys.db: found for a week, nothing for a day,
 * failed for some minutes, pending while the answer is awaited.  A message
 * waits while one is pending or failed lately, but not for longer than
 * PATIENCE_S: then the address counts as one without a key.
 *
 * Runs in: postern-signerd's broker.  Trusts: nothing of what is fetched; a
 * `key` worker reads it, and keystore_trust.c says what it may replace.
 */
#include <stdlib.h>
#include <string.h>

#include "signer/crls.h"
#include "signer/key_admin.h"
#include "signer/lookup.h"
#include "signer/signerd.h"

#define FOUND_S (7 * 86400)
#define NONE_S 86400
#define FAILED_S 300
/* As long as fetchd may take; after a restart nobody answers. */
#define PENDING_S 90
#define DEADLINE_MS 80000
#define PATIENCE_S (4 * 3600)

/* Refreshes are not to come all at once. */
#define JITTER_S 43200

/* At once; more messages wait with the others. */
#define ASKED_MAX 32
/* Addresses whose first failure is remembered. */
#define FAILURES_MAX 256

enum lookup_source { LOOKUP_WKD, LOOKUP_VKS, LOOKUP_SOURCE_COUNT };

struct source_row {
	const char *name;
	unsigned trust;
};

static const struct source_row sources[LOOKUP_SOURCE_COUNT] = {
    [LOOKUP_WKD] = {"wkd", TRUST_WKD},
    [LOOKUP_VKS] = {"vks", TRUST_VKS},
};

struct failure {
	char address[ADDRESS_TEXT_MAX];
	int64_t first_s;
};

struct lookup {
	struct signerd *signerd;
	struct link *fetchd;
	struct asked *asked;
	size_t asked_count;
	uint64_t asked_total;
	struct failure failures[FAILURES_MAX];
	size_t next_failure;
	struct crls *crls;
};

/* One question under way. */
struct asked {
	struct lookup *lookup; /* NULL: it went away */
	struct asked *next;
	struct asked **previous;
	struct channel *channel;
	uint64_t request_id; /* 0: the key worker has the answer */
	enum lookup_source source;
	bool is_refresh;
	char what[1025]; /* an address */
};

/* ---- what is asked ---- */

static struct asked *
asked_new(struct lookup *lookup, struct slice what)
{
	struct asked *asked = xcalloc(1, sizeof(*asked));

	asked->lookup = lookup;
	(void)slice_copy(what, asked->what, sizeof(asked->what));
	asked->next = lookup->asked;
	if (asked->next != NULL)
		asked->next->previous = &asked->next;
	asked->previous = &lookup->asked;
	lookup->asked = asked;
	lookup->asked_count++;
	lookup->asked_total++;
	return asked;
}

static void
asked_unlink(struct asked *asked)
{
	*asked->previous = asked->next;
	if (asked->next != NULL)
		asked->next->previous = asked->previous;
	if (asked->lookup != NULL)
		asked->lookup->asked_count--;
	asked->lookup = NULL;
}

static void
asked_free(struct asked *asked)
{
	if (asked->lookup != NULL)
		asked_unlink(asked);
	free(asked);
}

static bool
is_under_way(const struct lookup *lookup, struct slice what)
{
	for (const struct asked *at = lookup->asked; at != NULL; at = at->next)
		if (slice_equals_nocase(slice_of(at->what), what))
			return true;
	return false;
}

static bool
is_enabled(const struct lookup *lookup, enum lookup_source source)
{
	const struct settings *settings =
	    daemon_settings(lookup->signerd->daemon);

	return source == LOOKUP_WKD ? settings->fetch_wkd
				    : settings->fetch_vks[0] != '\0';
}

/* ---- what came of it ---- */

static void
note(const struct asked *asked, enum lookup_result result, int64_t for_s)
{
	struct err err;

	if (asked->lookup != NULL &&
	    keystore_set_lookup(asked->lookup->signerd->keystore,
		slice_of(asked->what), sources[asked->source].name, result,
		(int64_t)time(NULL) + for_s, &err) == -1)
		log_notice("look-ups: %s", err.text);
}

static int64_t
jitter_of(const char *address)
{
	uint64_t sum = 5381;

	for (; *address != '\0'; address++)
		sum = sum * 33 + (unsigned char)*address;
	return (int64_t)(sum % JITTER_S);
}

static struct failure *
failure_of(struct lookup *lookup, struct slice address)
{
	for (size_t i = 0; i < FAILURES_MAX; i++)
		if (slice_equals_nocase(
			slice_of(lookup->failures[i].address), address))
			return &lookup->failures[i];
	return NULL;
}

static void
forget_failure(struct lookup *lookup, struct slice address)
{
	struct failure *failure = failure_of(lookup, address);

	if (failure != NULL)
		memset(failure, 0, sizeof(*failure));
}

/* True: nobody is to wait for it any longer. */
static bool
is_out_of_patience(struct lookup *lookup, struct slice address, int64_t now_s)
{
	struct failure *failure = failure_of(lookup, address);

	if (failure == NULL) {
		failure = &lookup->failures[lookup->next_failure++];
		lookup->next_failure %= FAILURES_MAX;
		failure->first_s = now_s;
		(void)slice_copy(
		    address, failure->address, sizeof(failure->address));
	}
	return now_s - failure->first_s > PATIENCE_S;
}

/* ---- asking ---- */

static bool ask(struct lookup *lookup, enum lookup_source source,
    struct slice address, bool is_refresh);

/* There is none at one source; the next may have one. */
static void
ask_next(const struct asked *asked)
{
	struct lookup *lookup = asked->lookup;
	const struct slice address = slice_of(asked->what);

	if (lookup == NULL || asked->is_refresh)
		return;
	for (int i = (int)asked->source + 1; i < LOOKUP_SOURCE_COUNT; i++)
		if (is_enabled(lookup, (enum lookup_source)i) &&
		    keystore_lookup(lookup->signerd->keystore, address,
			sources[i].name,
			(int64_t)time(NULL)) == LOOKUP_UNKNOWN &&
		    ask(lookup, (enum lookup_source)i, address, false))
			return;
}

static void
on_harvested(void *arg, bool is_usable)
{
	struct asked *asked = arg;

	if (is_usable || asked->is_refresh) {
		note(asked, LOOKUP_FOUND, FOUND_S + jitter_of(asked->what));
		asked_free(asked);
		return;
	}
	note(asked, LOOKUP_NONE, NONE_S);
	if (asked->lookup != NULL) {
		struct asked again = *asked;

		asked_unlink(asked);
		ask_next(&again);
	}
	asked_free(asked);
}

static void
take_key(struct asked *asked, const struct ipc_fetched *fetched)
{
	const struct ipc_record_harvest record = {.kind = SLICE("pgp"),
	    .address = slice_of(asked->what),
	    .source = slice_of(sources[asked->source].name),
	    .trust = (uint16_t)sources[asked->source].trust,
	    .public = fetched->content};

	if (fetched->content.n > IPC_KEY_MAX) {
		note(asked, LOOKUP_NONE, NONE_S);
		asked_free(asked);
		return;
	}
	key_harvest(asked->lookup->signerd, &record, on_harvested, asked);
}

static void
on_fetched(void *arg, const struct channel_frame *frame)
{
	struct asked *asked = arg;
	const struct ipc_fetched *fetched =
	    frame == NULL ? NULL : &frame->message->fetched;

	asked->request_id = 0;
	if (fetched != NULL && fetched->is_final)
		forget_failure(asked->lookup, slice_of(asked->what));
	if (fetched != NULL && fetched->is_found) {
		take_key(asked, fetched);
		return;
	}
	if (fetched == NULL || !fetched->is_final) {
		if (!asked->is_refresh)
			note(asked, LOOKUP_FAILED, FAILED_S);
	} else {
		struct asked again = *asked;

		note(asked, asked->is_refresh ? LOOKUP_FOUND : LOOKUP_NONE,
		    NONE_S);
		asked_unlink(asked);
		ask_next(&again);
	}
	asked_free(asked);
}

static bool
send_question(struct asked *asked, const char *kind)
{
	const struct ipc_fetch fetch = {
	    .kind = slice_of(kind), .what = slice_of(asked->what)};

	asked->channel = link_channel(asked->lookup->fetchd);
	if (asked->channel != NULL)
		asked->request_id = channel_request(asked->channel, MSG_FETCH,
		    &fetch, NULL, MSG_FETCHED, DEADLINE_MS, on_fetched, asked);
	if (asked->request_id != 0)
		return true;
	asked_free(asked);
	return false;
}

static bool
ask(struct lookup *lookup, enum lookup_source source, struct slice address,
    bool is_refresh)
{
	struct asked *asked;

	if (address.n >= sizeof(asked->what) ||
	    lookup->asked_count >= ASKED_MAX ||
	    link_channel(lookup->fetchd) == NULL)
		return false;
	asked = asked_new(lookup, address);
	asked->source = source;
	asked->is_refresh = is_refresh;
	if (!is_refresh)
		note(asked, LOOKUP_PENDING, PENDING_S);
	return send_question(asked, sources[source].name);
}

/* ---- for the broker ---- */

bool
lookup_is_awaited(struct lookup *lookup, struct slice address, int64_t now_s)
{
	bool may_come = false;

	if (lookup == NULL)
		return false;
	if (is_under_way(lookup, address))
		return true;
	for (int i = 0; i < LOOKUP_SOURCE_COUNT && !may_come; i++) {
		enum lookup_result result;

		if (!is_enabled(lookup, (enum lookup_source)i))
			continue;
		result = keystore_lookup(
		    lookup->signerd->keystore, address, sources[i].name, now_s);
		if (result == LOOKUP_UNKNOWN)
			(void)ask(
			    lookup, (enum lookup_source)i, address, false);
		/* Not asked: fetchd is away or busy, which ends some time. */
		may_come = result != LOOKUP_NONE && result != LOOKUP_FOUND;
	}
	return may_come && !is_out_of_patience(lookup, address, now_s);
}

void
lookup_refresh(struct lookup *lookup, struct slice address, const char *source,
    int64_t now_s)
{
	if (lookup == NULL || is_under_way(lookup, address))
		return;
	for (int i = 0; i < LOOKUP_SOURCE_COUNT; i++)
		if (strcmp(sources[i].name, source) == 0 &&
		    is_enabled(lookup, (enum lookup_source)i) &&
		    keystore_lookup(lookup->signerd->keystore, address, source,
			now_s) == LOOKUP_UNKNOWN)
			(void)ask(lookup, (enum lookup_source)i, address, true);
}

/* ---- lists of revoked certificates ---- */

struct crls *
lookup_crls(struct lookup *lookup)
{
	return lookup == NULL ? NULL : lookup->crls;
}

void
lookup_tick(struct lookup *lookup, int64_t now_s)
{
	crls_tick(lookup_crls(lookup), now_s);
}

/* ---- its life ---- */

struct lookup *
lookup_new(struct signerd *signerd)
{
	struct lookup *lookup = xcalloc(1, sizeof(*lookup));

	lookup->signerd = signerd;
	lookup->fetchd = daemon_link(signerd->daemon, ROLE_FETCHD);
	lookup->crls = crls_new(signerd, lookup->fetchd);
	return lookup;
}

/* What the key worker has now finds nobody: on_harvested() frees it. */
void
lookup_free(struct lookup *lookup)
{
	struct asked *next;

	if (lookup == NULL)
		return;
	crls_free(lookup->crls);
	for (struct asked *at = lookup->asked; at != NULL; at = next) {
		next = at->next;
		if (at->request_id == 0) {
			asked_unlink(at);
			continue;
		}
		channel_forget(at->channel, at->request_id);
		asked_free(at);
	}
	link_free(lookup->fetchd);
	free(lookup);
}

void
lookup_status(const struct lookup *lookup, struct status_writer *status)
{
	if (lookup == NULL)
		return;
	status_fact(status, "fetchd", "%s",
	    link_channel(lookup->fetchd) != NULL ? "connected"
						 : "not connected");
	status_counter(status, "lookups_total", (int64_t)lookup->asked_total);
	status_counter(status, "lookups", (int64_t)lookup->asked_count);
	crls_status(lookup->crls, status);
}
