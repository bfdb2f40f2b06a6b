/* SPDX-License-Identifier: ISC */
/*
 * One login attempt.
 * Runs in: postern-authd, in its loop; the PBKDF2 of PLAIN and LOGIN in a
 * thread, on its own copy of everything.  Trusts: nothing from the client.
 * Known and unknown names take the same way: a decoy verifier, the same work.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "smtpd/auth_session.h"

/* Where the secret of a message is. */
enum message_form { FORM_SCRAM, FORM_PLAIN, FORM_LOGIN };

static const struct {
	const char *name;
	enum message_form form;
} mechanisms[] = {
    {"SCRAM-SHA-256-PLUS", FORM_SCRAM},
    {"SCRAM-SHA-256", FORM_SCRAM},
    {"PLAIN", FORM_PLAIN},
    {"LOGIN", FORM_LOGIN},
};

/* A password on its way through a thread; outlives an abandoned session. */
struct hash_job {
	struct hash_task task;
	struct auth_session *session; /* NULL: abandoned */
	struct login login;
	struct buf password;
	int found; /* index of the credential, or -1 */
};

struct auth_session {
	const struct auth_env *env;
	const char *mechanism;
	enum message_form form;
	struct netaddr client;
	struct sasl_exchange *exchange;
	auth_outcome_fn *outcome;
	void *arg;

	/* Who it is about, once a name was given. */
	struct account_name name;
	char login_text[ACCOUNT_LOGIN_SIZE];
	struct account account;
	struct credential credential; /* the one that counts, or why not */
	bool is_known;                /* the account exists */
	bool is_verified;             /* the password is that credential's */

	/*
	 * PLAIN and LOGIN: what was verified, to be met in the library again.
	 * SCRAM: the first message of one that waits.
	 */
	struct buf message;
	struct buf password;
	bool has_user; /* LOGIN: the next message is the password */
	struct hash_job *job;

	struct throttle_try try;
	struct login_waiter waiter;
	bool has_try;     /* it is counted, and has no outcome yet */
	bool has_to_wait; /* for room in the throttle */
	bool is_throttled;
	bool is_unavailable; /* store failed, too many wait */
	bool is_stepping;
	bool is_over;
};

/* Far above any password and name. */
#define SECRET_MAX SASL_GLUE_STEP_MAX

static int64_t
now_s(void)
{
	return (int64_t)(clock_wall_us() / 1000000);
}

static void
clear_secret(struct buf *secret)
{
	if (secret->p != NULL)
		explicit_bzero(secret->p, secret->capacity);
	buf_clear(secret);
}

/* ---- who is it ---- */

static int
take_verdict(struct auth_session *session, enum throttle_verdict verdict)
{
	session->has_try = verdict == THROTTLE_GO;
	session->has_to_wait = verdict == THROTTLE_WAIT;
	session->is_throttled = verdict == THROTTLE_REFUSE;
	return session->has_try ? 0 : -1;
}

static int
begin_try(struct auth_session *session, bool is_known_network)
{
	return take_verdict(session,
	    throttle_begin(session->env->throttle, slice_of(session->name.name),
		&session->client, is_known_network, clock_monotonic_ms(),
		&session->try));
}

typedef void settle_fn(
    struct throttle *throttle, const struct throttle_try *try);

/* The outcome of the try, if there is one: others may wait for it. */
static void
settle_try(struct auth_session *session, settle_fn *settle)
{
	if (!session->has_try)
		return;
	session->has_try = false;
	settle(session->env->throttle, &session->try);
	login_line_settled(session->env->line, &session->try);
}

/*
 * Looks a name up and counts the try.  -1: not to be gone on with, the flags
 * say why.  One that waited is counted already, and looked up anew: things may
 * have changed.
 */
static int
look_up(struct auth_session *session, struct slice user, struct login *login_r)
{
	const struct auth_env *env = session->env;
	int is_known_network = 0;
	struct err err;

	if (account_name_parse(user, &session->name, &err) == -1)
		return -1;
	(void)account_name_format(&session->name, session->login_text);
	if (accounts_login(env->accounts, &session->name, &session->client,
		now_s(), login_r, &err) == -1 ||
	    (login_r->is_known &&
		(is_known_network = accounts_is_known_network(env->accounts,
		     login_r->account.id, &session->client, now_s(), &err)) ==
		    -1)) {
		session->is_unavailable = true;
		return -1;
	}
	session->is_known = login_r->is_known;
	session->account = login_r->account;
	if (session->has_try)
		return 0;
	return begin_try(session, is_known_network == 1);
}

static void
choose(struct auth_session *session, const struct login *login, int index)
{
	if (index < 0)
		return;
	session->credential = login->credentials[index];
	session->is_verified =
	    login->is_known && session->credential.refusal == NULL;
}

/* ---- answers to the library ---- */

/*
 * SCRAM names a user.  Without a label the account's own password counts: the
 * proof is made of one verifier, so there is no trying several.
 */
static int
on_verifier(void *arg, struct slice user, char text_r[SCRAM_TEXT_MAX])
{
	struct auth_session *session = arg;
	struct scram_verifier verifier;
	struct login login;

	if (session->form != FORM_SCRAM || look_up(session, user, &login) == -1)
		return -1;
	scram_verifier_decoy(accounts_secret(session->env->accounts),
	    slice_of(session->name.name), &verifier);
	session->credential.refusal = "no such password";
	for (size_t i = 0; i < login.count; i++) {
		if (session->name.label[0] == '\0' &&
		    login.credentials[i].app_id != 0)
			continue;
		choose(session, &login, (int)i);
		if (session->is_verified)
			verifier = login.verifiers[i];
		break;
	}
	(void)scram_verifier_format(&verifier, text_r);
	explicit_bzero(&verifier, sizeof(verifier));
	explicit_bzero(&login, sizeof(login));
	return 0;
}

/* Says yes to exactly what was verified beforehand. */
static bool
on_password(void *arg, struct slice user, struct slice password)
{
	struct auth_session *session = arg;
	struct account_name name;

	return session->is_verified && session->form != FORM_SCRAM &&
	       account_name_parse(user, &name, NULL) == 0 &&
	       strcmp(name.name, session->name.name) == 0 &&
	       strcmp(name.label, session->name.label) == 0 &&
	       password.n == session->password.n &&
	       CRYPTO_memcmp(password.p, session->password.p, password.n) == 0;
}

static const struct sasl_hooks hooks = {
    .verifier = on_verifier, .password = on_password};

/* ---- the verdict ---- */

static void
finish(struct auth_session *session, struct auth_outcome *outcome)
{
	outcome->login = session->login_text;
	session->is_stepping = false;
	session->is_over = outcome->verdict != AUTH_CHALLENGE;
	if (session->is_over) {
		clear_secret(&session->message);
		clear_secret(&session->password);
	}
	session->outcome(session->arg, outcome);
}

static const char *
reason_of(const struct auth_session *session, enum auth_verdict verdict)
{
	if (session->is_throttled)
		return "too many failures";
	if (session->is_unavailable)
		return "not available";
	if (verdict == AUTH_BAD)
		return "malformed";
	if (session->login_text[0] == '\0')
		return "no user name";
	if (!session->is_known)
		return "unknown user";
	if (session->credential.refusal != NULL)
		return session->credential.refusal;
	return session->is_verified && session->form == FORM_SCRAM
		   ? "wrong password or channel binding"
		   : "wrong password";
}

static void
refuse(struct auth_session *session, enum auth_verdict verdict)
{
	struct auth_outcome outcome = {.verdict = verdict};

	/* What names nobody still counts for the address; it cannot wait. */
	if (!session->has_try && !session->is_throttled &&
	    !session->is_unavailable && begin_try(session, false) == -1)
		session->is_throttled = true;
	if (session->is_throttled || session->is_unavailable)
		outcome.verdict = AUTH_TEMPORARY;
	outcome.is_throttled = session->is_throttled;
	if (session->is_throttled) {
		outcome.delay_ms = THROTTLE_REFUSED_DELAY_MS;
	} else if (session->is_unavailable) {
		settle_try(session, throttle_take_back);
	} else {
		settle_try(session, throttle_failed);
		outcome.delay_ms = throttle_delay_ms(session->env->throttle,
		    &session->try, clock_monotonic_ms());
	}
	outcome.reason = reason_of(session, verdict);
	finish(session, &outcome);
}

/*
 * A password is hashed for a while, a client may take minutes between SCRAM's
 * messages, and an administrator changes the account meanwhile.  What was read
 * at the beginning then lets nobody in: it would be remembered, too, after all
 * that is remembered was dropped.  -1: refused, or not to be known now.
 */
static int
check_unchanged(struct auth_session *session)
{
	struct account now;
	struct err err;

	switch (accounts_still_valid(session->env->accounts,
	    session->account.name, session->account.revision,
	    session->credential.app_id, now_s(), &now, &err)) {
	case 1:
		return 0;
	case 0:
		session->credential.refusal = "changed meanwhile";
		break;
	default:
		session->is_unavailable = true;
		break;
	}
	session->is_verified = false;
	return -1;
}

/* The library's yes counts only together with ours. */
static void
accept_login(struct auth_session *session)
{
	const struct auth_env *env = session->env;
	struct auth_outcome outcome = {.verdict = AUTH_OK,
	    .account = &session->account,
	    .app_id = session->credential.app_id,
	    .app_label = session->credential.label};
	struct err err;

	if (!session->is_verified ||
	    !slice_equals(sasl_exchange_user(session->exchange),
		slice_of(session->login_text)) ||
	    check_unchanged(session) == -1) {
		refuse(session, AUTH_FAILED);
		return;
	}
	settle_try(session, throttle_succeeded);
	if (accounts_note_login(env->accounts, session->account.id,
		session->credential.app_id, &session->client, now_s(),
		&err) == -1)
		log_notice("last logins not written: %s", err.text);
	if (session->form != FORM_SCRAM && env->cache_ms > 0)
		password_cache_add(env->cache, slice_of(session->login_text),
		    buf_slice(&session->password), session->account.id,
		    session->credential.app_id,
		    clock_monotonic_ms() + env->cache_ms);
	finish(session, &outcome);
}

/* The turn comes in on_turn(). */
static void
stand_in_line(struct auth_session *session)
{
	if (login_line_join(session->env->line, &session->waiter, &session->try,
		&session->client) == 0)
		return;
	(void)take_verdict(session, THROTTLE_REFUSE);
	refuse(session, AUTH_FAILED);
}

static void
step_library(struct auth_session *session, const struct slice *message)
{
	struct auth_outcome outcome = {.verdict = AUTH_CHALLENGE};
	enum sasl_verdict verdict =
	    sasl_exchange_step(session->exchange, message, &outcome.challenge);

	if (session->has_to_wait && message != NULL) {
		/* SCRAM, which names its user within the library. */
		(void)buf_add_slice(&session->message, *message);
		stand_in_line(session);
		return;
	}
	switch (verdict) {
	case SASL_VERDICT_CHALLENGE:
		finish(session, &outcome);
		break;
	case SASL_VERDICT_OK:
		accept_login(session);
		break;
	case SASL_VERDICT_MALFORMED:
		refuse(session, AUTH_BAD);
		break;
	default:
		refuse(session, AUTH_FAILED);
		break;
	}
}

/* ---- PLAIN and LOGIN: the password first ---- */

/* RFC 4616: [authzid] NUL authcid NUL passwd. */
static bool
split_plain(
    struct slice message, struct slice *user_r, struct slice *password_r)
{
	size_t first = slice_find(message, '\0', 0);
	size_t second = slice_find(message, '\0', first + 1);

	if (second >= message.n)
		return false;
	*user_r = (struct slice){message.p + first + 1, second - first - 1};
	*password_r =
	    (struct slice){message.p + second + 1, message.n - second - 1};
	return true;
}

/*
 * Does this message hold the password?  *user_r is for PLAIN; LOGIN's came in
 * an earlier message, which is remembered in session->message.
 */
static bool
find_password(struct auth_session *session, struct slice message,
    struct slice *user_r, struct slice *password_r)
{
	if (session->form == FORM_PLAIN)
		return split_plain(message, user_r, password_r);
	if (session->has_user) {
		*user_r = buf_slice(&session->message);
		*password_r = message;
		return true;
	}
	if (message.n > 0) {
		session->has_user = true;
		(void)buf_add_slice(&session->message, message);
	}
	return false;
}

static void
free_job(struct hash_job *job)
{
	clear_secret(&job->password);
	explicit_bzero(job, sizeof(*job));
	free(job);
}

static void
run_job(struct pool_task *task)
{
	struct hash_job *job = (struct hash_job *)task;

	job->found = scram_verifier_find(
	    buf_slice(&job->password), job->login.verifiers, job->login.count);
}

/* The message waited in session->message (LOGIN: the password itself). */
static void
go_on(struct auth_session *session)
{
	struct slice message = session->form == FORM_LOGIN
				   ? buf_slice(&session->password)
				   : buf_slice(&session->message);

	step_library(session, &message);
}

/* Too many wait: it is not looked at, and does not count. */
static void
put_off(struct auth_session *session)
{
	session->is_unavailable = true;
	refuse(session, AUTH_FAILED);
}

static void
job_done(struct hash_task *task, bool was_run)
{
	struct hash_job *job = (struct hash_job *)task;
	struct auth_session *session = job->session;

	if (session != NULL) {
		session->job = NULL;
		if (was_run)
			choose(session, &job->login, job->found);
	}
	free_job(job);
	if (session != NULL && was_run)
		go_on(session);
	else if (session != NULL)
		put_off(session);
}

static bool
is_cached(struct auth_session *session, const struct login *login)
{
	int64_t user_id;
	int64_t app_id;

	if (session->env->cache_ms == 0 || !login->is_known ||
	    !password_cache_find(session->env->cache,
		slice_of(session->login_text), buf_slice(&session->password),
		clock_monotonic_ms(), &user_id, &app_id) ||
	    user_id != login->account.id)
		return false;
	for (size_t i = 0; i < login->count; i++)
		if (login->credentials[i].app_id == app_id)
			choose(session, login, (int)i);
	return session->is_verified;
}

static void
start_job(struct auth_session *session, const struct login *login)
{
	struct hash_job *job = xcalloc(1, sizeof(*job));

	job->task.task.run = run_job;
	job->task.done = job_done;
	job->session = session;
	job->login = *login;
	buf_init(&job->password, SECRET_MAX);
	(void)buf_add_slice(&job->password, buf_slice(&session->password));
	session->job = job;
	if (hash_queue_add(
		session->env->hashes, &job->task, &session->client) == 0)
		return;
	session->job = NULL;
	free_job(job);
	put_off(session);
}

/* With name and password in hand. */
static void
look_and_hash(struct auth_session *session, struct slice user)
{
	struct login login;

	if (look_up(session, user, &login) == -1) {
		if (session->has_to_wait)
			stand_in_line(session);
		else if (session->is_throttled || session->is_unavailable)
			refuse(session, AUTH_FAILED);
		else
			go_on(session); /* no name: the library says no */
		return;
	}
	if (is_cached(session, &login))
		go_on(session);
	else
		start_job(session, &login);
	explicit_bzero(&login, sizeof(login));
}

/* false: the library is to see the message at once. */
static bool
hash_first(struct auth_session *session, struct slice message)
{
	struct slice user;
	struct slice password;

	if (!find_password(session, message, &user, &password))
		return false;
	(void)buf_add_slice(&session->password, password);
	if (session->form == FORM_PLAIN)
		(void)buf_add_slice(&session->message, message);
	look_and_hash(session, user);
	return true;
}

/* ---- the turn of one that waited ---- */

static void
begin_again(struct auth_session *session)
{
	struct slice message = buf_slice(&session->message);
	struct slice user = message; /* LOGIN */
	struct slice password;

	if (session->form == FORM_SCRAM) {
		if (sasl_exchange_restart(session->exchange) == -1)
			put_off(session);
		else
			step_library(session, &message);
		return;
	}
	if (session->form == FORM_PLAIN)
		(void)split_plain(message, &user, &password);
	look_and_hash(session, user);
}

static void
on_turn(void *arg, bool is_over)
{
	struct auth_session *session = arg;
	enum throttle_verdict verdict = throttle_begin_again(
	    session->env->throttle, &session->try, clock_monotonic_ms());

	if (verdict == THROTTLE_WAIT) {
		if (!is_over)
			return;
		verdict = THROTTLE_REFUSE;
	}
	login_line_leave(session->env->line, &session->waiter);
	if (take_verdict(session, verdict) == 0)
		begin_again(session);
	else
		refuse(session, AUTH_FAILED);
}

/* ---- from outside ---- */

struct auth_session *
auth_session_new(const struct auth_env *env, struct slice mechanism,
    const struct netaddr *client, const struct sasl_bindings *bindings,
    auth_outcome_fn *outcome, void *arg)
{
	struct auth_session *session;
	size_t i = 0;

	while (i < sizeof(mechanisms) / sizeof(mechanisms[0]) &&
	       !slice_equals_nocase(mechanism, slice_of(mechanisms[i].name)))
		i++;
	if (i == sizeof(mechanisms) / sizeof(mechanisms[0]) ||
	    (mechanisms[i].form == FORM_LOGIN && !env->allows_login))
		return NULL;
	session = xcalloc(1, sizeof(*session));
	session->env = env;
	session->mechanism = mechanisms[i].name;
	session->form = mechanisms[i].form;
	session->client = *client;
	session->outcome = outcome;
	session->arg = arg;
	session->waiter.turn = on_turn;
	session->waiter.arg = session;
	buf_init(&session->message, SECRET_MAX);
	buf_init(&session->password, SECRET_MAX);
	session->exchange =
	    sasl_exchange_new(session->mechanism, bindings, &hooks, session);
	if (session->exchange == NULL) {
		auth_session_free(session);
		return NULL;
	}
	return session;
}

void
auth_session_free(struct auth_session *session)
{
	if (session == NULL)
		return;
	login_line_leave(session->env->line, &session->waiter);
	/* Given up is not taken back: who hangs up guesses all the same. */
	settle_try(session, throttle_failed);
	if (session->job != NULL && hash_queue_cancel(&session->job->task))
		free_job(session->job);
	else if (session->job != NULL)
		session->job->session = NULL;
	sasl_exchange_free(session->exchange);
	clear_secret(&session->message);
	clear_secret(&session->password);
	explicit_bzero(session, sizeof(*session));
	free(session);
}

int
auth_session_step(struct auth_session *session, const struct slice *message)
{
	if (session->is_stepping || session->is_over)
		return -1;
	session->is_stepping = true;
	if (message != NULL && session->form != FORM_SCRAM &&
	    message->n <= SECRET_MAX && hash_first(session, *message))
		return 0;
	step_library(session, message);
	return 0;
}

const char *
auth_session_mechanism(const struct auth_session *session)
{
	return session->mechanism;
}
