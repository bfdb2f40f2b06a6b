/* SPDX-License-Identifier: ISC */
/*
 * postern-authd: logins by SMTP AUTH, who may send as whom, which recipients
 * exist and where aliases lead.
 * Runs in: postern-authd; talks to smtpd, queued, relayd, confd and the log,
 * and has no network.  Trusts: nobody's frames; confd for settings and
 * management, since it checked who asks.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "smtpd/auth_admin.h"
#include "smtpd/authd.h"
#include "smtpd/login_time.h"

#define TICK_MS 5000
/* queued gets a new key this long before tokens are made with it. */
#define KEY_GRACE_MS 10000
#define KEY_LIFE_S 86400
/*
 * One thread hashes about 400 passwords a second, so the last in the queue
 * waits for a second or two; more are told to come later, and no more than
 * half the processors ever hash.
 */
#define HASHES_WAITING_PER_THREAD 512
#define HASH_THREADS_MAX 4
/* One more, so that no thread waits for the loop's next turn. */
#define HASHES_RUNNING_PER_THREAD 2

int64_t
authd_now_s(void)
{
	return (int64_t)(clock_wall_us() / 1000000);
}

/* ---- keys of tokens ---- */

const unsigned char *
authd_signing_key(const struct authd *authd)
{
	return authd->keys.has_previous &&
		       clock_monotonic_ms() < authd->new_key_from_ms
		   ? authd->keys.previous
		   : authd->keys.current;
}

static void
send_keys(struct authd *authd, struct channel *channel)
{
	struct ipc_token_keys message = {
	    .current = {(const char *)authd->keys.current, TOKEN_KEY_SIZE}};

	if (authd->keys.has_previous)
		message.previous = (struct slice){
		    (const char *)authd->keys.previous, TOKEN_KEY_SIZE};
	(void)channel_send(channel, MSG_TOKEN_KEYS, &message, NULL);
}

static void
rotate_keys(struct authd *authd)
{
	int64_t now_s = authd_now_s();
	struct err err;

	/* A clock that jumped back must not stop the rotation for years. */
	if (now_s >= authd->keys.made_s &&
	    now_s - authd->keys.made_s < KEY_LIFE_S)
		return;
	if (accounts_rotate_keys(authd->accounts, now_s, &authd->keys, &err) ==
	    -1) {
		log_notice("token keys: %s", err.text);
		return;
	}
	authd->new_key_from_ms = clock_monotonic_ms() + KEY_GRACE_MS;
	for (struct peer *at = authd->peers; at != NULL; at = at->next)
		if (channel_peer(at->channel) == ROLE_QUEUED)
			send_keys(authd, at->channel);
}

/* ---- peers ---- */

static void
send_mechanisms(struct authd *authd, struct channel *channel)
{
	struct ipc_auth_mechanisms message = {
	    .mechanisms = authd->env.allows_login
			      ? SLICE(SASL_GLUE_MECHANISMS_LOGIN)
			      : SLICE(SASL_GLUE_MECHANISMS)};

	(void)channel_send(channel, MSG_AUTH_MECHANISMS, &message, NULL);
}

static void
on_peer_up(struct daemon *daemon, struct channel *channel)
{
	struct authd *authd = daemon_state(daemon);
	struct peer *peer = xcalloc(1, sizeof(*peer));

	peer->channel = channel;
	peer->next = authd->peers;
	authd->peers = peer;
	if (channel_peer(channel) == ROLE_SMTPD)
		send_mechanisms(authd, channel);
	else if (channel_peer(channel) == ROLE_QUEUED)
		send_keys(authd, channel);
}

static void
on_peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct authd *authd = daemon_state(daemon);
	struct peer **at = &authd->peers;

	while (*at != NULL && (*at)->channel != channel)
		at = &(*at)->next;
	if (*at != NULL) {
		struct peer *peer = *at;

		*at = peer->next;
		free(peer);
	}
	if (authd->accounts == NULL)
		return; /* not started yet */
	authd_logins_drop_channel(authd, channel);
	authd_callouts_drop_channel(authd, channel);
	auth_admin_drop_channel(authd, channel);
}

/* ---- start, settings, stop ---- */

static int
prepare(struct daemon *daemon, struct err *err)
{
	struct scram_verifier unused;

	(void)daemon;
	/* Neither a core nor another process of this user sees passwords. */
	auth_admin_init();
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* OpenSSL reads its configuration at the first use. */
	(void)scram_verifier_find(SLICE("warm up"), &unused, 0);
	return sasl_glue_init(err);
}

static void
flush(struct authd *authd, uint64_t now_ms)
{
	struct err err;

	authd->flushed_ms = now_ms;
	if (accounts_flush(authd->accounts, &err) == -1)
		log_notice("last logins not written: %s", err.text);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct authd *authd = arg;
	uint64_t now_ms = clock_monotonic_ms();

	(void)fd;
	(void)what;
	login_log_tick(authd->login_log, now_ms);
	authd_logins_drop_old(authd, now_ms);
	if (now_ms - authd->flushed_ms >= ACCOUNTS_FLUSH_S * 1000)
		flush(authd, now_ms);
	rotate_keys(authd);
	loop_arm(authd->tick, TICK_MS);
}

/* Half the processors, one at least: SCRAM and mail go on beside it. */
static unsigned
hash_threads(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (processors < 4)
		return 1;
	return processors / 2 < HASH_THREADS_MAX ? (unsigned)(processors / 2)
						 : HASH_THREADS_MAX;
}

static void
make_env(struct authd *authd)
{
	const struct settings *settings = daemon_settings(authd->daemon);
	unsigned threads = hash_threads();

	authd->env.accounts = authd->accounts;
	authd->env.throttle = throttle_new(
	    accounts_secret(authd->accounts), settings->auth_tries_per_minute);
	authd->env.line =
	    login_line_new(daemon_loop(authd->daemon), LOGIN_LINE_WAIT_MS);
	authd->env.cache = password_cache_new();
	authd->env.pool = pool_new(daemon_loop(authd->daemon), threads, "hash");
	authd->env.hashes = hash_queue_new(authd->env.pool,
	    (size_t)threads * HASHES_RUNNING_PER_THREAD,
	    (size_t)threads * HASHES_WAITING_PER_THREAD);
}

static int
start(struct daemon *daemon, struct err *err)
{
	struct authd *authd = daemon_state(daemon);
	const char *dir = daemon_state_dir(daemon);

	authd->daemon = daemon;
	if (sql_lock_directory(dir, err) == -1 ||
	    accounts_open(dir, &authd->accounts, err) == -1 ||
	    accounts_token_keys(
		authd->accounts, authd_now_s(), &authd->keys, err) == -1)
		return -1;
	make_env(authd);
	authd->login_log = login_log_new(daemon_log(daemon));
	authd->logins = authd_logins_new();
	authd->callouts = authd_callouts_new();
	authd->flushed_ms = clock_monotonic_ms();
	authd->tick =
	    event_new(loop_base(daemon_loop(daemon)), -1, 0, on_tick, authd);
	if (authd->tick == NULL)
		fatal("out of memory for a timer");
	loop_arm(authd->tick, TICK_MS);
	return 0;
}

static int
settings_changed(struct daemon *daemon, struct err *err)
{
	struct authd *authd = daemon_state(daemon);
	const struct settings *settings = daemon_settings(daemon);
	bool allowed_login = authd->env.allows_login;

	(void)err;
	authd->env.allows_login = settings->auth_allow_login;
	authd->env.cache_ms = settings->auth_cache * 1000;
	if (authd->env.cache_ms == 0)
		password_cache_drop_all(authd->env.cache);
	throttle_set_tries(
	    authd->env.throttle, settings->auth_tries_per_minute);
	if (allowed_login == authd->env.allows_login)
		return 0;
	for (struct peer *at = authd->peers; at != NULL; at = at->next)
		if (channel_peer(at->channel) == ROLE_SMTPD)
			send_mechanisms(authd, at->channel);
	return 0;
}

static void
status(struct daemon *daemon, struct status_writer *out)
{
	struct authd *authd = daemon_state(daemon);
	int64_t users = 0;

	if (accounts_count(authd->accounts, &users, NULL) == 0)
		status_counter(out, "users", users);
	status_counter(out, "logins", (int64_t)authd->logins_done);
	status_counter(out, "logins_refused", (int64_t)authd->logins_refused);
	status_counter(
	    out, "logins_throttled", (int64_t)authd->logins_throttled);
	status_counter(
	    out, "logins_running", (int64_t)authd_logins_count(authd->logins));
	status_counter(
	    out, "logins_in_line", (int64_t)login_line_count(authd->env.line));
	status_counter(out, "hashes_waiting",
	    (int64_t)hash_queue_count(authd->env.hashes));
}

static void
stop(struct daemon *daemon)
{
	struct authd *authd = daemon_state(daemon);

	flush(authd, 0);
	login_log_free(authd->login_log);
	authd->login_log = login_log_new(daemon_log(daemon));
	daemon_stopped(daemon);
}

static const struct channel_handler handlers[] = {
    {ROLE_SMTPD, MSG_AUTH_START, authd_on_start},
    {ROLE_SMTPD, MSG_AUTH_STEP, authd_on_step},
    {ROLE_SMTPD, MSG_AUTH_ABORT, authd_on_abort},
    {ROLE_SMTPD, MSG_AUTH_RENEW, authd_on_renew},
    {ROLE_SMTPD, MSG_RCPT_CHECK, authd_on_rcpt_check},
    {ROLE_QUEUED, MSG_ALIAS_EXPAND, authd_on_alias_expand},
    {ROLE_CONFD, MSG_MGMT_REQUEST, auth_admin_on_request},
    {ROLE_NONE, MSG_HELLO, NULL},
};

static const struct confinement confinement = {
    .rights = CONFINE_FILES_READ | CONFINE_FILES_WRITE | CONFINE_CONNECT_UNIX |
	      CONFINE_THREADS,
};

static const struct program program = {.role = ROLE_AUTHD,
    .handlers = handlers,
    .prepare = prepare,
    .start = start,
    .settings_changed = settings_changed,
    .peer_up = on_peer_up,
    .peer_closed = on_peer_closed,
    .status = status,
    .stop = stop,
    .state_size = sizeof(struct authd),
    .confinement = &confinement};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &program);
}
