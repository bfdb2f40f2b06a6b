/* SPDX-License-Identifier: ISC */
/*
 * What the files of postern-authd share.
 */
#ifndef SMTPD_AUTHD_H
#define SMTPD_AUTHD_H

#include "common/daemon.h"
#include "common/pool.h"
#include "smtpd/accounts.h"
#include "smtpd/auth_session.h"
#include "smtpd/login_log.h"

struct authd_logins;    /* attempts that wait for the client */
struct authd_callouts;  /* what the inner server said */
struct auth_admin_jobs; /* imports that run */

struct authd {
	struct daemon *daemon;
	struct accounts *accounts;
	struct auth_env env;
	struct login_log *login_log;
	struct authd_logins *logins;
	struct authd_callouts *callouts;
	struct auth_admin_jobs *admin_jobs;
	struct event *tick;
	uint64_t flushed_ms;

	struct token_keys keys;
	/* A new key is used once queued had time to take it in. */
	uint64_t new_key_from_ms;

	struct peer *peers; /* channels that are up */

	uint64_t logins_done;
	uint64_t logins_refused;
	uint64_t logins_throttled;
};

/* One channel of smtpd, queued or relayd. */
struct peer {
	struct channel *channel;
	struct peer *next;
};

/* The key that tokens are made with now. */
const unsigned char *authd_signing_key(const struct authd *authd);

int64_t authd_now_s(void);

/* ---- authd_login.c ---- */

struct authd_logins *authd_logins_new(void);
size_t authd_logins_count(const struct authd_logins *logins);
/* Gives up attempts of a channel that ended, or that rest for too long. */
void authd_logins_drop_channel(
    struct authd *authd, const struct channel *channel);
void authd_logins_drop_old(struct authd *authd, uint64_t now_ms);

int authd_on_start(struct channel *channel, const struct channel_frame *frame);
int authd_on_step(struct channel *channel, const struct channel_frame *frame);
int authd_on_abort(struct channel *channel, const struct channel_frame *frame);
int authd_on_renew(struct channel *channel, const struct channel_frame *frame);

/* ---- authd_directory.c ---- */

struct authd_callouts *authd_callouts_new(void);
void authd_callouts_drop_channel(
    struct authd *authd, const struct channel *channel);
int authd_on_rcpt_check(
    struct channel *channel, const struct channel_frame *frame);
int authd_on_alias_expand(
    struct channel *channel, const struct channel_frame *frame);

#endif
