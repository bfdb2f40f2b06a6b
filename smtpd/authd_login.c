/* SPDX-License-Identifier: ISC */
/*
 * The messages of logins: attempts by session, tokens, renewals.
 * Runs in: postern-authd.  Trusts: smtpd's workers not at all.  One that lies
 * about its client's address or TLS hurts only the clients it has; it gets a
 * token only for a password that it was shown.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/authd.h"

/*
 * Attempts at once; each costs about 10 KB, most of it Cyrus SASL's.  Beyond
 * them the one that has waited for its client for longest is given up: whoever
 * begins logins and leaves them keeps nobody from theirs.
 */
#define LOGINS_MAX 2048
#define BUCKETS 1024
/* A client has five minutes for a step (RFC 5321 section 4.5.3.2). */
#define LOGIN_LIFE_MS 600000
/* A token outlives the longest message that it was fresh for, and its end. */
#define TOKEN_SLACK_S 300
/* Who is connected for longer logs in again. */
#define TOKEN_SESSION_S 86400

struct login_attempt {
	struct channel *channel;
	uint64_t session_id;
	uint64_t request_id; /* of the step that waits for its outcome */
	uint64_t begun_ms;
	uint64_t challenged; /* counts challenges; 0: its client's step came */
	struct auth_session *session;
	struct authd *authd;
	char client[NETADDR_TEXT_MAX];
	struct login_attempt *next;
};

struct authd_logins {
	struct login_attempt *buckets[BUCKETS];
	size_t count;
	uint64_t challenges;
};

struct authd_logins *
authd_logins_new(void)
{
	return xcalloc(1, sizeof(struct authd_logins));
}

size_t
authd_logins_count(const struct authd_logins *logins)
{
	return logins->count;
}

/* ---- the table ---- */

static struct login_attempt **
find_attempt(
    struct authd *authd, const struct channel *channel, uint64_t session_id)
{
	/* The counter in the low bits of an id spreads them. */
	struct login_attempt **at =
	    &authd->logins->buckets[session_id % BUCKETS];

	while (*at != NULL &&
	       ((*at)->session_id != session_id || (*at)->channel != channel))
		at = &(*at)->next;
	return at;
}

static void
remove_attempt(struct authd *authd, struct login_attempt **at)
{
	struct login_attempt *attempt = *at;

	*at = attempt->next;
	authd->logins->count--;
	auth_session_free(attempt->session);
	free(attempt);
}

void
authd_logins_drop_channel(struct authd *authd, const struct channel *channel)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct login_attempt **at = &authd->logins->buckets[i];

		while (*at != NULL)
			if ((*at)->channel == channel)
				remove_attempt(authd, at);
			else
				at = &(*at)->next;
	}
}

void
authd_logins_drop_old(struct authd *authd, uint64_t now_ms)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct login_attempt **at = &authd->logins->buckets[i];

		while (*at != NULL)
			if ((*at)->begun_ms + LOGIN_LIFE_MS <= now_ms)
				remove_attempt(authd, at);
			else
				at = &(*at)->next;
	}
}

/* Is there room for one more, or can some be made? */
static bool
make_room(struct authd *authd)
{
	struct login_attempt **longest = NULL;

	if (authd->logins->count < LOGINS_MAX)
		return true;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct login_attempt **at = &authd->logins->buckets[i];
		     *at != NULL; at = &(*at)->next)
			if ((*at)->challenged != 0 &&
			    (longest == NULL ||
				(*at)->challenged < (*longest)->challenged))
				longest = at;
	if (longest != NULL)
		remove_attempt(authd, longest);
	return longest != NULL;
}

/* ---- tokens ---- */

struct grant {
	uint64_t session_id;
	const struct account *account;
	int64_t app_id;
	uint64_t login_s;
};

static int
make_token(struct authd *authd, const struct grant *grant, struct buf *token_r,
    struct err *err)
{
	uint64_t now_s = (uint64_t)authd_now_s();
	struct buf identities;
	struct token token = {.session_id = grant->session_id,
	    .login_s = grant->login_s,
	    .issued_s = now_s,
	    .expires_s = now_s + TOKEN_SLACK_S +
			 daemon_settings(authd->daemon)->smtp_message_deadline,
	    .revision = grant->account->revision,
	    .credential = (uint64_t)grant->app_id,
	    .account = slice_of(grant->account->name)};
	int rc;

	token_identities_init(&identities);
	rc = accounts_login_identities(
	    authd->accounts, grant->account, grant->app_id, &identities, err);
	token.identities = buf_slice(&identities);
	if (rc == 0)
		rc = token_make(authd_signing_key(authd), &token, token_r, err);
	buf_clear(&identities);
	return rc;
}

/* Answers AUTH_OK with a token, or a temporary failure without. */
static int
answer_granted(struct authd *authd, struct channel *channel,
    uint64_t request_id, const struct grant *grant)
{
	struct ipc_auth_result result = {
	    .session_id = grant->session_id, .verdict = AUTH_TEMPORARY};
	struct buf token;
	struct err err;
	int rc;

	buf_init(&token, IPC_TOKEN_MAX);
	if (make_token(authd, grant, &token, &err) == -1) {
		log_notice(
		    "no token for %s: %s", grant->account->name, err.text);
	} else {
		result.verdict = AUTH_OK;
		result.account = slice_of(grant->account->name);
		result.token = buf_slice(&token);
	}
	rc = channel_answer(channel, request_id, MSG_AUTH_RESULT, &result);
	buf_clear(&token);
	return rc;
}

static int
answer(struct channel *channel, uint64_t request_id, uint64_t session_id,
    enum auth_verdict verdict)
{
	struct ipc_auth_result result = {
	    .session_id = session_id, .verdict = (uint16_t)verdict};

	return channel_answer(channel, request_id, MSG_AUTH_RESULT, &result);
}

/* ---- attempts ---- */

static void
count_outcome(struct authd *authd, const struct auth_outcome *outcome)
{
	if (outcome->verdict == AUTH_OK)
		authd->logins_done++;
	else if (outcome->is_throttled)
		authd->logins_throttled++;
	else if (outcome->verdict != AUTH_CHALLENGE)
		authd->logins_refused++;
}

static void
on_outcome(void *arg, const struct auth_outcome *outcome)
{
	struct login_attempt *attempt = arg;
	struct authd *authd = attempt->authd;
	struct ipc_auth_result result = {.session_id = attempt->session_id,
	    .verdict = (uint16_t)outcome->verdict,
	    .challenge = outcome->challenge,
	    .delay_ms = outcome->delay_ms};
	struct grant grant = {.session_id = attempt->session_id,
	    .account = outcome->account,
	    .app_id = outcome->app_id,
	    .login_s = (uint64_t)authd_now_s()};

	count_outcome(authd, outcome);
	login_log_note(authd->login_log, attempt->session_id,
	    auth_session_mechanism(attempt->session), attempt->client, outcome,
	    clock_monotonic_ms());
	if (outcome->verdict == AUTH_OK)
		(void)answer_granted(
		    authd, attempt->channel, attempt->request_id, &grant);
	else
		(void)channel_answer(attempt->channel, attempt->request_id,
		    MSG_AUTH_RESULT, &result);
	if (outcome->verdict == AUTH_CHALLENGE)
		attempt->challenged = ++authd->logins->challenges;
	else
		remove_attempt(authd,
		    find_attempt(authd, attempt->channel, attempt->session_id));
}

static struct login_attempt *
new_attempt(struct authd *authd, struct channel *channel,
    const struct channel_frame *frame, const struct netaddr *client)
{
	const struct ipc_auth_start *message = &frame->message->auth_start;
	struct sasl_bindings bindings = {.tls_exporter = message->tls_exporter,
	    .tls_unique = message->tls_unique,
	    .tls_server_end_point = message->tls_server_end_point};
	struct login_attempt *attempt = xcalloc(1, sizeof(*attempt));
	struct login_attempt **bucket =
	    &authd->logins->buckets[message->session_id % BUCKETS];

	attempt->session = auth_session_new(&authd->env, message->mechanism,
	    client, &bindings, on_outcome, attempt);
	if (attempt->session == NULL) {
		free(attempt);
		return NULL;
	}
	attempt->authd = authd;
	attempt->channel = channel;
	attempt->session_id = message->session_id;
	attempt->request_id = frame->request_id;
	attempt->begun_ms = clock_monotonic_ms();
	(void)netaddr_format(client, attempt->client);
	attempt->next = *bucket;
	*bucket = attempt;
	authd->logins->count++;
	return attempt;
}

int
authd_on_start(struct channel *channel, const struct channel_frame *frame)
{
	struct authd *authd = daemon_state(channel_daemon(channel));
	const struct ipc_auth_start *message = &frame->message->auth_start;
	struct login_attempt **earlier =
	    find_attempt(authd, channel, message->session_id);
	struct login_attempt *attempt;
	struct netaddr client;

	if (netaddr_parse(message->client, &client) == -1)
		return -1;
	if (*earlier != NULL)
		remove_attempt(authd, earlier);
	/* Nobody's password goes in plain text, whatever smtpd thinks. */
	if (!message->is_tls)
		return answer(channel, frame->request_id, message->session_id,
		    AUTH_FAILED);
	if (!make_room(authd))
		return answer(channel, frame->request_id, message->session_id,
		    AUTH_TEMPORARY);
	attempt = new_attempt(authd, channel, frame, &client);
	if (attempt == NULL)
		return answer(
		    channel, frame->request_id, message->session_id, AUTH_BAD);
	(void)auth_session_step(
	    attempt->session, message->has_initial ? &message->initial : NULL);
	return 0;
}

int
authd_on_step(struct channel *channel, const struct channel_frame *frame)
{
	struct authd *authd = daemon_state(channel_daemon(channel));
	const struct ipc_auth_step *message = &frame->message->auth_step;
	struct login_attempt *attempt =
	    *find_attempt(authd, channel, message->session_id);
	uint64_t earlier;

	if (attempt == NULL)
		return answer(channel, frame->request_id, message->session_id,
		    AUTH_TEMPORARY);
	earlier = attempt->request_id;
	attempt->request_id = frame->request_id;
	attempt->challenged = 0;
	if (auth_session_step(attempt->session, &message->response) == 0)
		return 0;
	/* Two steps at once: only this one is answered with a refusal. */
	attempt->request_id = earlier;
	return answer(
	    channel, frame->request_id, message->session_id, AUTH_BAD);
}

int
authd_on_abort(struct channel *channel, const struct channel_frame *frame)
{
	struct authd *authd = daemon_state(channel_daemon(channel));
	struct login_attempt **at =
	    find_attempt(authd, channel, frame->message->auth_abort.session_id);

	if (*at != NULL)
		remove_attempt(authd, at);
	return 0;
}

/* ---- renewals ---- */

/* Is it a token of ours for that session, of a login of today? */
static bool
is_own_token(struct authd *authd, const struct ipc_auth_renew *message,
    struct token *token_r)
{
	struct slice current = {
	    (const char *)authd->keys.current, TOKEN_KEY_SIZE};
	struct slice previous = {(const char *)authd->keys.previous,
	    authd->keys.has_previous ? TOKEN_KEY_SIZE : 0};
	uint64_t now_s = (uint64_t)authd_now_s();

	return token_authenticate(
		   message->token, current, previous, token_r, NULL) == 0 &&
	       token_r->session_id == message->session_id &&
	       now_s < token_r->login_s + TOKEN_SESSION_S;
}

int
authd_on_renew(struct channel *channel, const struct channel_frame *frame)
{
	struct authd *authd = daemon_state(channel_daemon(channel));
	const struct ipc_auth_renew *message = &frame->message->auth_renew;
	char name[TOKEN_ACCOUNT_MAX + 1];
	struct account account;
	struct token token;
	struct grant grant;
	struct err err;
	int rc;

	if (!is_own_token(authd, message, &token) ||
	    slice_copy(token.account, name, sizeof(name)) == -1)
		return answer(channel, frame->request_id, message->session_id,
		    AUTH_FAILED);
	rc = accounts_still_valid(authd->accounts, name, token.revision,
	    (int64_t)token.credential, authd_now_s(), &account, &err);
	if (rc != 1)
		return answer(channel, frame->request_id, message->session_id,
		    rc == 0 ? AUTH_FAILED : AUTH_TEMPORARY);
	grant = (struct grant){.session_id = token.session_id,
	    .account = &account,
	    .app_id = (int64_t)token.credential,
	    .login_s = token.login_s};
	return answer_granted(authd, channel, frame->request_id, &grant);
}
