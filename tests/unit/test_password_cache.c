/* SPDX-License-Identifier: ISC */
/*
 * Tests of smtpd/password_cache.c: what was verified is found until it
 * expires or is dropped, and a whole office fits.
 */
#include <stdio.h>

#include "smtpd/password_cache.h"
#include "tests/unit/tap.h"

#define USERS 1000
#define EXPIRES_MS 5000

static bool
finds(struct password_cache *cache, int user, const char *password,
    uint64_t now_ms, int64_t *app_id_r)
{
	char name[32];
	int64_t user_id = 0;

	(void)snprintf(name, sizeof(name), "user%d", user);
	return password_cache_find(cache, slice_of(name), slice_of(password),
		   now_ms, &user_id, app_id_r) &&
	       user_id == user;
}

static void
add(struct password_cache *cache, int user, int64_t app_id, uint64_t expires_ms)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "user%d", user);
	password_cache_add(cache, slice_of(name), slice_of("secret"), user,
	    app_id, expires_ms);
}

static int
count_found(struct password_cache *cache, uint64_t now_ms)
{
	int64_t app_id;
	int found = 0;

	for (int user = 1; user <= USERS; user++)
		found += finds(cache, user, "secret", now_ms, &app_id);
	return found;
}

int
main(void)
{
	struct password_cache *cache = password_cache_new();
	int64_t app_id = 0;

	for (int user = 1; user <= USERS; user++)
		add(cache, user, user % 3, EXPIRES_MS);
	is_int(count_found(cache, EXPIRES_MS - 1), USERS,
	    "a thousand users do not push each other out");
	is_int(count_found(cache, EXPIRES_MS), 0, "until they expire");
	ok(!finds(cache, 7, "Secret", 0, &app_id),
	    "another password is not found");
	ok(finds(cache, 8, "secret", 0, &app_id) && app_id == 2,
	    "which credential it was is known");
	add(cache, 8, 5, EXPIRES_MS * 2);
	ok(finds(cache, 8, "secret", EXPIRES_MS, &app_id) && app_id == 5,
	    "a later login takes the place of the earlier one");
	password_cache_drop(cache, 8);
	ok(!finds(cache, 8, "secret", 0, &app_id), "a user is dropped");
	is_int(count_found(cache, 0), USERS - 1, "and nobody else");
	password_cache_drop_all(cache);
	is_int(count_found(cache, 0), 0, "all are dropped");
	password_cache_free(cache);
	return tap_done();
}
