/* SPDX-License-Identifier: ISC */
/*
 * One login attempt: from AUTH to a verdict.  PLAIN and LOGIN have their
 * password hashed in a thread before Cyrus SASL is asked, so that SCRAM
 * exchanges, which cost microseconds, never wait for it.  Where the throttle
 * has no room for the moment, an attempt stands in line for it.
 */
#ifndef SMTPD_AUTH_SESSION_H
#define SMTPD_AUTH_SESSION_H

#include "common/vocabulary.h"
#include "smtpd/accounts.h"
#include "smtpd/hash_queue.h"
#include "smtpd/login_line.h"
#include "smtpd/password_cache.h"
#include "smtpd/sasl.h"

/* What all attempts share; the owner keeps it longer than any of them. */
struct auth_env {
	struct accounts *accounts;
	struct throttle *throttle;
	struct login_line *line;
	struct password_cache *cache;
	struct pool *pool;
	struct hash_queue *hashes;
	uint64_t cache_ms; /* 0: no cache */
	bool allows_login; /* AUTH LOGIN */
};

struct auth_outcome {
	enum auth_verdict verdict;
	struct slice challenge; /* of AUTH_CHALLENGE */
	uint32_t delay_ms;
	bool is_throttled;
	const char *reason; /* of a refusal, for the log alone */
	const char *login;  /* the canonical name given, with label; or "" */
	const struct account *account; /* of AUTH_OK */
	int64_t app_id;
	const char *app_label; /* "": the account's own password */
};

/*
 * Called once for each step, from within it or later.  It may free the
 * session; what the outcome points at is then gone.
 */
typedef void auth_outcome_fn(void *arg, const struct auth_outcome *outcome);

struct auth_session;

/* mechanism: any case.  NULL when there is no such mechanism (now). */
struct auth_session *auth_session_new(const struct auth_env *env,
    struct slice mechanism, const struct netaddr *client,
    const struct sasl_bindings *bindings, auth_outcome_fn *outcome, void *arg);

/* The outcome function is not called any more, not even for a hash that runs */
void auth_session_free(struct auth_session *session);

/*
 * The client's next message, NULL for no initial response.  After any other
 * outcome than AUTH_CHALLENGE the attempt is over and only to be freed.  -1:
 * the last step has no outcome yet, or the attempt is over; nothing is done
 * then.
 */
int auth_session_step(
    struct auth_session *session, const struct slice *message);

const char *auth_session_mechanism(const struct auth_session *session);

#endif
