/* SPDX-License-Identifier: ISC */
/*
 * Logins in the central log.  A refusal is an event at once; the same again
 * within a minute is counted, and one event with the number follows.
 */
#ifndef SMTPD_LOGIN_LOG_H
#define SMTPD_LOGIN_LOG_H

#include "common/log.h"
#include "smtpd/auth_session.h"

struct login_log;

struct login_log *login_log_new(struct log *log);
/* Writes what was counted. */
void login_log_free(struct login_log *login_log);

/* client: the address as text.  Challenges are no events. */
void login_log_note(struct login_log *login_log, uint64_t session_id,
    const char *mechanism, const char *client,
    const struct auth_outcome *outcome, uint64_t now_ms);

/* Writes what was counted in minutes that are over; call every few seconds. */
void login_log_tick(struct login_log *login_log, uint64_t now_ms);

#endif
