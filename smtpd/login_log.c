/* SPDX-License-Identifier: ISC */
/*
 * Counts refused logins by who, where and why.
 * Runs in: postern-authd.  Trusts: nothing; names are canonical or empty, a
 * password never comes here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/login_log.h"

#define MINUTE_MS 60000
/*
 * Different refusals counted at once.  A flood of more is counted together,
 * in an entry that names nobody.
 */
#define ENTRY_COUNT 256

struct entry {
	bool is_used;
	bool is_throttled;
	char account[ACCOUNT_LOGIN_SIZE];
	char client[64];
	char mechanism[32];
	const char *reason;
	uint64_t begun_ms;
	uint32_t times; /* beyond the first, which was an event */
};

struct login_log {
	struct log *log;
	struct entry entries[ENTRY_COUNT];
	struct entry rest;
};

struct login_log *
login_log_new(struct log *log)
{
	struct login_log *login_log = xcalloc(1, sizeof(*login_log));

	login_log->log = log;
	return login_log;
}

static void
write_refusal(struct login_log *login_log, uint64_t session_id,
    const struct entry *entry, uint32_t times)
{
	struct log_context context = {.session_id = session_id};
	struct event_login_failed failed = {.account = slice_of(entry->account),
	    .client = slice_of(entry->client),
	    .mechanism = slice_of(entry->mechanism),
	    .reason = slice_of(entry->reason),
	    .times = times};
	struct event_login_throttled throttled = {
	    .account = slice_of(entry->account),
	    .client = slice_of(entry->client),
	    .times = times};

	if (entry->is_throttled)
		log_event(
		    login_log->log, context, EV_LOGIN_THROTTLED, &throttled);
	else
		log_event(login_log->log, context, EV_LOGIN_FAILED, &failed);
}

static void
end_entry(struct login_log *login_log, struct entry *entry)
{
	if (entry->is_used && entry->times > 0)
		write_refusal(login_log, 0, entry, entry->times);
	entry->is_used = false;
}

void
login_log_free(struct login_log *login_log)
{
	if (login_log == NULL)
		return;
	for (size_t i = 0; i < ENTRY_COUNT; i++)
		end_entry(login_log, &login_log->entries[i]);
	end_entry(login_log, &login_log->rest);
	free(login_log);
}

void
login_log_tick(struct login_log *login_log, uint64_t now_ms)
{
	for (size_t i = 0; i < ENTRY_COUNT; i++)
		if (login_log->entries[i].begun_ms + MINUTE_MS <= now_ms)
			end_entry(login_log, &login_log->entries[i]);
	if (login_log->rest.begun_ms + MINUTE_MS <= now_ms)
		end_entry(login_log, &login_log->rest);
}

static bool
is_same(const struct entry *a, const struct entry *b)
{
	return a->is_used && a->is_throttled == b->is_throttled &&
	       a->reason == b->reason && strcmp(a->client, b->client) == 0 &&
	       strcmp(a->account, b->account) == 0 &&
	       strcmp(a->mechanism, b->mechanism) == 0;
}

/* The entry of that refusal, or a free one, or NULL. */
static struct entry *
find_entry(struct login_log *login_log, const struct entry *wanted)
{
	struct entry *free_one = NULL;

	for (size_t i = 0; i < ENTRY_COUNT; i++) {
		struct entry *at = &login_log->entries[i];

		if (is_same(at, wanted))
			return at;
		if (!at->is_used && free_one == NULL)
			free_one = at;
	}
	return free_one;
}

static void
note_refusal(
    struct login_log *login_log, uint64_t session_id, struct entry *refusal)
{
	struct entry *entry = find_entry(login_log, refusal);

	if (entry == NULL) {
		entry = &login_log->rest;
		if (!entry->is_used) {
			*entry = (struct entry){.is_used = true,
			    .reason = "many different refusals",
			    .begun_ms = refusal->begun_ms};
			(void)snprintf(
			    entry->client, sizeof(entry->client), "(many)");
		}
		entry->times++;
	} else if (entry->is_used) {
		entry->times++;
	} else {
		*entry = *refusal;
		write_refusal(login_log, session_id, refusal, 1);
	}
}

void
login_log_note(struct login_log *login_log, uint64_t session_id,
    const char *mechanism, const char *client,
    const struct auth_outcome *outcome, uint64_t now_ms)
{
	struct entry refusal = {.is_used = true,
	    .is_throttled = outcome->is_throttled,
	    .reason = outcome->reason,
	    .begun_ms = now_ms};
	struct log_context context = {.session_id = session_id};

	if (outcome->verdict == AUTH_CHALLENGE)
		return;
	if (outcome->verdict == AUTH_OK) {
		struct event_login login = {
		    .account = slice_of(outcome->account->name),
		    .client = slice_of(client),
		    .mechanism = slice_of(mechanism),
		    .app_password = slice_of(outcome->app_label)};

		log_event(login_log->log, context, EV_LOGIN, &login);
		return;
	}
	(void)snprintf(refusal.account, sizeof(refusal.account), "%s",
	    outcome->login == NULL ? "" : outcome->login);
	(void)snprintf(refusal.client, sizeof(refusal.client), "%s", client);
	(void)snprintf(
	    refusal.mechanism, sizeof(refusal.mechanism), "%s", mechanism);
	note_refusal(login_log, session_id, &refusal);
}
