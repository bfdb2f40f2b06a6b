/* SPDX-License-Identifier: ISC */
/*
 * Passwords that were verified a short while ago, as a hash under a key of
 * this process alone, so that a client that logs in for each mail does not
 * cost a PBKDF2 each time.  Time is an argument.
 */
#ifndef SMTPD_PASSWORD_CACHE_H
#define SMTPD_PASSWORD_CACHE_H

#include "common/buf.h"

struct password_cache;

struct password_cache *password_cache_new(void);
void password_cache_free(struct password_cache *cache);

/* login: the name as it was given, canonical, with its label. */
void password_cache_add(struct password_cache *cache, struct slice login,
    struct slice password, int64_t user_id, int64_t app_id,
    uint64_t expires_ms);

/* Which credential that password was: false when it is not known. */
bool password_cache_find(struct password_cache *cache, struct slice login,
    struct slice password, uint64_t now_ms, int64_t *user_id_r,
    int64_t *app_id_r);

/* After any change of the account. */
void password_cache_drop(struct password_cache *cache, int64_t user_id);
void password_cache_drop_all(struct password_cache *cache);

#endif
