/* SPDX-License-Identifier: ISC */
/*
 * Fetches lists of revoked certificates, by way of postern-fetchd.
 * Runs in: postern-signerd's broker.  Trusts: nothing of what is fetched; a
 * `key` worker reads it.
 *
 *	place       asked again
 *	has a list  a quarter of its life before its end, a day at most
 *	fails       at once where else the certificate has the list, then
 *	            after 5 minutes, doubled each time, a day at most
 *	is asked by hand while it is being asked
 *	            once more, when that has ended: the answer would be older
 *	            than the question
 *
 * What was known stays until something newer is taken in its place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/crls_state.h"
#include "signer/key_admin.h"
#include "signer/signerd.h"
#include "signer/trust_x509.h"

#define AHEAD_MAX_S 86400
/* A list that its server does not renew is not asked for all the time. */
#define PAUSE_MIN_S 30
#define PAUSE_MAX_S 3600
#define FAILED_S 300
#define FAILED_MAX_S 86400
#define FAILED_DOUBLINGS 9
/* A due time that is farther away was noted by a clock that was wrong. */
#define DUE_MAX_S ((int64_t)400 * 86400)
/* Each may be 16 MB on its way. */
#define AT_ONCE 2
/* As long as fetchd may take: three redirects, a slow line. */
#define DEADLINE_MS 110000

/* ---- one that is under way ---- */

struct crl_get {
	struct crls *crls; /* NULL: it went away */
	struct crl_get *next;
	struct crl_get **previous;
	struct channel *channel;
	uint64_t request_id;            /* 0: the key worker has the answer */
	struct manage_request *request; /* who waits for it, or NULL */
	struct manage_request *later;   /* who came meanwhile, or NULL */
	char url[TRUST_URL_MAX + 1];
	/* Where it is asked for now: there, or at another of its places. */
	char asked[TRUST_URL_MAX + 1];
	size_t others;    /* so many were asked */
	char reason[256]; /* of the first one */
};

static void
get_unlink(struct crl_get *get)
{
	if (get->crls == NULL)
		return;
	*get->previous = get->next;
	if (get->next != NULL)
		get->next->previous = get->previous;
	get->crls->get_count--;
	get->crls = NULL;
}

static struct crl_get *
under_way(const struct crls *crls, const char *url)
{
	for (struct crl_get *at = crls->gets; at != NULL; at = at->next)
		if (strcmp(at->url, url) == 0)
			return at;
	return NULL;
}

static enum manage_code
refuse_stopped(struct manage_request *request)
{
	return manage_fail(
	    request, MANAGE_FAILED, NULL, "postern-signerd stops");
}

/* Answers who waits for it, and asks again for who came meanwhile. */
static void
get_end(struct crl_get *get, enum manage_code code)
{
	struct crls *crls = get->crls;
	struct manage_request *later = get->later;
	enum manage_code later_code;

	get_unlink(get);
	if (get->request != NULL)
		manage_answer(get->request, code);
	if (later != NULL) {
		later_code = crls == NULL ? refuse_stopped(later)
					  : crls_fetch(crls, get->url, later);
		if (later_code != MANAGE_LATER)
			manage_answer(later, later_code);
	}
	free(get);
}

/* ---- what came of it ---- */

const struct crl_source *
crls_source(struct keystore *keystore, const char *url)
{
	const struct crl_source *all;
	size_t count;

	if (keystore_sources(keystore, &all, &count, NULL) == -1)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].url, url) == 0)
			return &all[i];
	return NULL;
}

static int64_t
between(int64_t value, int64_t least, int64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static int64_t
due_after(const struct key_crl *crl, int64_t now_s)
{
	const int64_t ahead = between(
	    (crl->next_update_s - crl->this_update_s) / 4, 0, AHEAD_MAX_S);
	const int64_t pause =
	    between((crl->next_update_s - now_s) / 4, PAUSE_MIN_S, PAUSE_MAX_S);
	const int64_t due = crl->next_update_s - ahead;

	return due > now_s + pause ? due : now_s + pause;
}

static bool ask(struct crl_get *get);

/* Who asks by hand for one place is told of that. */
static bool
ask_other(struct crl_get *get, const char *reason)
{
	if (get->crls == NULL || get->request != NULL ||
	    get->others == TRUST_POINTS_MAX - 1 ||
	    keystore_source_other(get->crls->signerd->keystore, get->url,
		get->others, get->asked) == -1 ||
	    !trust_is_web_url(slice_of(get->asked)))
		return false;
	if (get->others++ == 0)
		(void)snprintf(get->reason, sizeof(get->reason), "%s", reason);
	return ask(get);
}

static void
failed(struct crl_get *get, const char *reason)
{
	const int64_t now_s = (int64_t)time(NULL);
	const char *url = get->url;
	const struct crl_source *source;
	unsigned failures;
	struct err err;

	log_notice(
	    "no list of revoked certificates from %s: %s", get->asked, reason);
	if (ask_other(get, reason))
		return;
	if (get->others > 0)
		reason = get->reason;
	if (get->crls != NULL) {
		struct keystore *keystore = get->crls->signerd->keystore;

		get->crls->failed++;
		source = crls_source(keystore, url);
		failures = source == NULL ? 0 : source->failures;
		if (source != NULL &&
		    keystore_tell_source(keystore, url,
			now_s + between((int64_t)FAILED_S << between(
					    failures, 0, FAILED_DOUBLINGS),
				    FAILED_S, FAILED_MAX_S),
			failures + 1, reason, &err) == CHANGE_FAILED)
			log_notice("%s: %s", url, err.text);
	}
	if (get->request != NULL)
		(void)manage_fail(get->request, MANAGE_FAILED, NULL,
		    "no list of revoked certificates from %s: %s", url, reason);
	get_end(get, MANAGE_FAILED);
}

/* By hand: it is to stay; else the place is known already. */
static void
note_source(const struct crl_get *get, const struct key_crl *crl)
{
	struct keystore *keystore = get->crls->signerd->keystore;
	struct err err;
	enum keystore_change change = CHANGE_DONE;

	if (get->request != NULL)
		change = keystore_put_source(keystore,
		    &(struct crl_place){.url = get->url}, true, 0, &err);
	if (change == CHANGE_DONE)
		change = keystore_tell_source(keystore, get->url,
		    due_after(crl, (int64_t)time(NULL)), 0, "", &err);
	if (change != CHANGE_DONE)
		log_notice("%s: %s", get->url, err.text);
}

static void
on_taken(
    void *arg, const struct key_crl *crl, size_t revoked, const char *reason)
{
	struct crl_get *get = arg;

	if (crl == NULL || get->crls == NULL) {
		failed(get, reason);
		return;
	}
	get->crls->fetched++;
	note_source(get, crl);
	if (get->request != NULL)
		get->request->reply = key_crl_json(crl, revoked);
	if (get->request != NULL && reason[0] != '\0')
		(void)json_object_set_new(
		    get->request->reply, "note", json_string(reason));
	get_end(get, MANAGE_DONE);
}

static void
on_fetched(void *arg, const struct channel_frame *frame)
{
	struct crl_get *get = arg;
	const struct ipc_fetched *fetched =
	    frame == NULL ? NULL : &frame->message->fetched;
	char reason[256];

	get->request_id = 0;
	if (fetched != NULL && fetched->is_found) {
		key_take_crl(get->crls->signerd, fetched->content, get->url,
		    on_taken, get);
		return;
	}
	if (fetched == NULL)
		(void)snprintf(
		    reason, sizeof(reason), "postern-fetchd did not answer");
	else
		(void)snprintf(
		    reason, sizeof(reason), "%.*s", SLICE_ARG(fetched->reason));
	failed(get, reason);
}

/* ---- asking ---- */

static bool
ask(struct crl_get *get)
{
	const struct ipc_fetch fetch = {
	    .kind = SLICE("crl"), .what = slice_of(get->asked)};

	get->channel = link_channel(get->crls->fetchd);
	if (get->channel != NULL)
		get->request_id = channel_request(get->channel, MSG_FETCH,
		    &fetch, NULL, MSG_FETCHED, DEADLINE_MS, on_fetched, get);
	return get->request_id != 0;
}

/* False: nothing was asked, and the request is the caller's still. */
static bool
start(struct crls *crls, const char *url, struct manage_request *request)
{
	struct crl_get *get = xcalloc(1, sizeof(*get));

	(void)snprintf(get->url, sizeof(get->url), "%s", url);
	(void)snprintf(get->asked, sizeof(get->asked), "%s", url);
	get->crls = crls;
	if (!ask(get)) {
		free(get);
		return false;
	}
	get->request = request;
	get->next = crls->gets;
	if (get->next != NULL)
		get->next->previous = &get->next;
	get->previous = &crls->gets;
	crls->gets = get;
	crls->get_count++;
	return true;
}

enum manage_code
crls_fetch(struct crls *crls, const char *url, struct manage_request *request)
{
	struct crl_get *get = under_way(crls, url);

	if (get != NULL && get->later != NULL)
		return manage_fail(request, MANAGE_CONFLICT,
		    "postern key crl list", "%s is being asked just now", url);
	if (get != NULL) {
		get->later = request;
		return MANAGE_LATER;
	}
	if (crls->get_count >= 2 * AT_ONCE || !start(crls, url, request))
		return manage_fail(request, MANAGE_FAILED, "postern status",
		    "postern-fetchd is away or busy");
	return MANAGE_LATER;
}

static bool
is_due(const struct crls *crls, const struct crl_source *source, int64_t now_s)
{
	if (!source->is_wanted &&
	    !daemon_settings(crls->signerd->daemon)->fetch_crl_points)
		return false;
	return (source->due_s <= now_s || source->due_s - now_s > DUE_MAX_S) &&
	       under_way(crls, source->url) == NULL;
}

static void
fetch_due(struct crls *crls, int64_t now_s)
{
	const struct crl_source *all;
	size_t count;

	if (!daemon_settings(crls->signerd->daemon)->fetch_crl ||
	    link_channel(crls->fetchd) == NULL ||
	    keystore_sources(crls->signerd->keystore, &all, &count, NULL) == -1)
		return;
	for (size_t i = 0; i < count && crls->get_count < AT_ONCE; i++)
		if (is_due(crls, &all[i], now_s) &&
		    !start(crls, all[i].url, NULL))
			break;
}

void
crls_tick(struct crls *crls, int64_t now_s)
{
	if (crls == NULL)
		return;
	fetch_due(crls, now_s);
	crls_sweep(crls, now_s);
}

/* ---- its life ---- */

struct crls *
crls_new(struct signerd *signerd, struct link *fetchd)
{
	struct crls *crls = xcalloc(1, sizeof(*crls));

	crls->signerd = signerd;
	crls->fetchd = fetchd;
	return crls;
}

/* What the key worker has now finds nobody: on_taken() frees it. */
void
crls_free(struct crls *crls)
{
	struct crl_get *next;

	if (crls == NULL)
		return;
	for (struct crl_get *at = crls->gets; at != NULL; at = next) {
		next = at->next;
		if (at->request_id == 0) {
			get_unlink(at);
			continue;
		}
		channel_forget(at->channel, at->request_id);
		get_unlink(at);
		if (at->request != NULL)
			(void)refuse_stopped(at->request);
		get_end(at, MANAGE_FAILED);
	}
	crls_forget_look(crls);
	free(crls);
}

void
crls_status(const struct crls *crls, struct status_writer *status)
{
	const struct key_crl *lists;
	size_t count;

	if (keystore_crls(crls->signerd->keystore, &lists, &count, NULL) == 0)
		status_counter(status, "crls", (int64_t)count);
	status_counter(status, "crls_fetched", (int64_t)crls->fetched);
	status_counter(status, "crls_failed", (int64_t)crls->failed);
}
