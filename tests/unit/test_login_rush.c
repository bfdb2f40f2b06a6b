/* SPDX-License-Identifier: ISC */
/*
 * Many logins at once: an office behind one address gets in, whoever guesses
 * does not get further than one after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/auth_fixture.h"

#define RUSH 200
#define OFFICE "203.0.113.7"

#define ATTEMPTS_MAX (LOGIN_LINE_NETWORK_MAX + 20)

struct rush {
	struct auth_session *sessions[ATTEMPTS_MAX];
	struct auth_seen seen[ATTEMPTS_MAX];
	unsigned count;
};

/* Users u0, u1, ...: one verifier does for all. */
static void
add_users(struct auth_fixture *f)
{
	struct scram_verifier verifier;
	char name[32];
	int64_t id;

	auth_make_verifier(f, "u", "a secret", &verifier);
	for (int i = 0; i < RUSH; i++) {
		(void)snprintf(name, sizeof(name), "u%d", i);
		if (accounts_add(f->env.accounts, name, &verifier, 1, &id,
			NULL) != ACCOUNTS_OK)
			bug("%s", name);
	}
}

/* Steps without waiting for the outcome. */
static struct auth_session *
begin(struct auth_fixture *f, struct rush *rush, const char *mechanism,
    const char *from, const char *message, size_t n)
{
	struct netaddr client = auth_make_address(from);
	struct auth_seen *seen = &rush->seen[rush->count];
	struct auth_session *session =
	    auth_begin(f, mechanism, &client, &auth_all_bindings, seen);

	rush->sessions[rush->count++] = session;
	(void)auth_session_step(session, &(struct slice){message, n});
	return session;
}

static void
begin_plain(struct auth_fixture *f, struct rush *rush, const char *from,
    int user, const char *password)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%cu%d%c%s", 0, user, 0, password);

	(void)begin(f, rush, "PLAIN", from, text, (size_t)n);
}

static void
begin_scram(
    struct auth_fixture *f, struct rush *rush, const char *from, int user)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "n,,n=u%d,r=clientnonce", user);

	(void)begin(f, rush, "SCRAM-SHA-256", from, text, (size_t)n);
}

static unsigned
verdicts(const struct rush *rush, enum auth_verdict verdict)
{
	unsigned count = 0;

	for (unsigned i = 0; i < rush->count; i++)
		if (rush->seen[i].is_there && rush->seen[i].verdict == verdict)
			count++;
	return count;
}

static void
turn(struct auth_fixture *f)
{
	(void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
}

static void
settle(struct auth_fixture *f, const struct rush *rush)
{
	for (unsigned i = 0; i < rush->count; i++)
		while (!rush->seen[i].is_there)
			turn(f);
}

static void
clear(struct auth_fixture *f, struct rush *rush)
{
	for (unsigned i = 0; i < rush->count; i++)
		auth_session_free(rush->sessions[i]);
	while (hash_queue_count(f->env.hashes) > 0)
		turn(f);
	memset(rush, 0, sizeof(*rush));
	auth_forgive(f);
	password_cache_drop_all(f->env.cache);
}

static void
test_office(struct auth_fixture *f, struct rush *rush)
{
	for (int i = 0; i < RUSH; i++)
		begin_plain(f, rush, OFFICE, i, "a secret");
	is_u64(hash_queue_count(f->env.hashes), 10,
	    "of 200 first logins ten are hashed at once");
	is_u64(login_line_count(f->env.line), RUSH - 10, "the others wait");
	for (int i = 0; i < 14; i++)
		begin_plain(f, rush, "198.51.100.1", i, "a guess");
	settle(f, rush);
	is_u64(verdicts(rush, AUTH_OK), RUSH, "all of them get in");
	is_u64(verdicts(rush, AUTH_FAILED), 10,
	    "of 14 guesses beside them ten are looked at");
	is_u64(verdicts(rush, AUTH_TEMPORARY), 4, "and no more");
	ok(rush->seen[RUSH + 13].is_throttled, "they are throttled");
	clear(f, rush);

	/* Known by now: each account has its own count there. */
	for (int i = 0; i < 14; i++)
		begin_plain(f, rush, OFFICE, 3, "a guess");
	for (int i = 10; i < 20; i++)
		begin_plain(f, rush, OFFICE, i, "a secret");
	settle(f, rush);
	is_u64(verdicts(rush, AUTH_FAILED), 10,
	    "one who guesses within the office gets no further");
	is_u64(verdicts(rush, AUTH_OK), 10, "and disturbs nobody");
	clear(f, rush);
}

/* One account from its own network: twenty devices at once. */
static void
test_devices(struct auth_fixture *f, struct rush *rush)
{
	for (int i = 0; i < 20; i++)
		begin_plain(f, rush, OFFICE, 0, "a secret");
	settle(f, rush);
	is_u64(verdicts(rush, AUTH_OK), 20,
	    "an account may log in twenty times at once");
	clear(f, rush);
	for (int i = 0; i < 10; i++)
		begin_plain(f, rush, "192.0.2.1", 0, "a guess");
	for (int i = 1; i <= 5; i++)
		begin_plain(f, rush, "192.0.2.1", i, "a secret");
	settle(f, rush);
	is_u64(verdicts(rush, AUTH_OK), 0,
	    "who waited behind ten failures is refused with them");
	clear(f, rush);
}

static void
prove(struct auth_fixture *f, struct rush *rush, unsigned i)
{
	struct scram_client c = {.password = "a secret", .gs2 = "n,,"};

	(void)snprintf(c.first, sizeof(c.first), "n,,n=u%u,r=clientnonce", i);
	memcpy(c.server_first, rush->seen[i].challenge, sizeof(c.server_first));
	auth_write_final(&c);
	auth_step(
	    f, rush->sessions[i], &rush->seen[i], c.final, strlen(c.final));
	if (rush->seen[i].verdict == AUTH_CHALLENGE)
		auth_step(f, rush->sessions[i], &rush->seen[i], "", 0);
}

static void
test_scram(struct auth_fixture *f, struct rush *rush)
{
	for (int i = 0; i < 35; i++)
		begin_scram(f, rush, OFFICE, i);
	is_u64(verdicts(rush, AUTH_CHALLENGE), 35, "at home SCRAM never waits");
	clear(f, rush);
	for (int i = 0; i < 35; i++)
		begin_scram(f, rush, "192.0.3.1", i);
	is_u64(verdicts(rush, AUTH_CHALLENGE), 10,
	    "elsewhere ten of 35 are asked for their proof");
	for (unsigned i = 0; i < 35; i++) {
		while (!rush->seen[i].is_there)
			turn(f);
		prove(f, rush, i);
	}
	is_u64(verdicts(rush, AUTH_OK), 35, "and all get in, in turn");
	clear(f, rush);
}

static void
test_login(struct auth_fixture *f, struct rush *rush)
{
	struct auth_session *session;
	struct slice password = {"a secret", 8};

	for (int i = 0; i < 10; i++)
		begin_scram(f, rush, "192.0.4.1", i);
	session = begin(f, rush, "LOGIN", "192.0.4.1", "u20", 3);
	memset(&rush->seen[10], 0, sizeof(rush->seen[10]));
	(void)auth_session_step(session, &password);
	is_int(auth_session_step(session, &password), -1,
	    "no step while one waits");
	is_u64(login_line_count(f->env.line), 1, "LOGIN waits, too");
	prove(f, rush, 0);
	settle(f, rush);
	is_int(rush->seen[10].verdict, AUTH_OK, "and gets in");
	clear(f, rush);
}

/* What happens to an account while its login waits. */
static void
test_change(struct auth_fixture *f, struct rush *rush)
{
	for (int i = 0; i < 10; i++)
		begin_scram(f, rush, "192.0.5.1", i);
	begin_plain(f, rush, "192.0.5.1", 30, "a secret");
	begin_plain(f, rush, "192.0.5.1", 31, "a secret");
	(void)accounts_set_disabled(f->env.accounts, "u30", true, NULL);
	auth_session_free(rush->sessions[11]);
	is_u64(
	    login_line_count(f->env.line), 1, "who hangs up leaves the line");
	rush->sessions[11] = NULL;
	rush->seen[11].is_there = true;
	prove(f, rush, 0);
	settle(f, rush);
	is_int(rush->seen[10].verdict, AUTH_FAILED,
	    "an account disabled meanwhile is refused");
	is_str(rush->seen[10].reason, "account disabled", "as such");
	clear(f, rush);
}

/* Attempts that never end keep those behind them waiting, not for ever. */
static void
test_hanging(struct auth_fixture *f, struct rush *rush)
{
	struct login_line *line = f->env.line;

	f->env.line = login_line_new(f->loop, 50);
	for (int i = 0; i < 10; i++)
		begin_scram(f, rush, "192.0.6.1", i);
	begin_plain(f, rush, "192.0.6.1", 50, "a secret");
	settle(f, rush);
	is_int(rush->seen[10].verdict, AUTH_TEMPORARY, "told to come later");
	ok(rush->seen[10].is_throttled, "by the throttle");
	is_u64(login_line_count(f->env.line), 0, "and out of the line");
	login_line_free(f->env.line);
	f->env.line = line;

	for (int i = 11; i < 10 + LOGIN_LINE_NETWORK_MAX + 1; i++)
		begin_plain(f, rush, "192.0.6.1", i % RUSH, "a secret");
	is_u64(login_line_count(line), LOGIN_LINE_NETWORK_MAX,
	    "so many of one network wait");
	begin_plain(f, rush, "192.0.6.1", 60, "a secret");
	is_int(rush->seen[rush->count - 1].verdict, AUTH_TEMPORARY,
	    "the next one is told at once");
	begin_plain(f, rush, "198.51.100.9", 61, "a secret");
	while (!rush->seen[rush->count - 1].is_there)
		turn(f);
	is_int(rush->seen[rush->count - 1].verdict, AUTH_OK,
	    "which is not said to others");
	clear(f, rush);
	is_u64(login_line_count(line), 0, "nobody is left behind");
}

/* A flood of guesses, and somebody else: each network has its turn. */
static void
test_fair_hashing(struct auth_fixture *f, struct rush *rush)
{
	struct hash_queue *queue = f->env.hashes;
	unsigned guesses;
	char from[32];

	f->env.hashes = hash_queue_new(f->env.pool, 1, 16);
	for (int i = 0; i < 20; i++) {
		(void)snprintf(from, sizeof(from), "198.51.100.%d", i + 1);
		begin_plain(f, rush, from, i, "a guess");
	}
	is_u64(verdicts(rush, AUTH_TEMPORARY), 3,
	    "guesses fill the queue: one runs, 16 wait");
	begin_plain(f, rush, OFFICE, 40, "a secret");
	is_u64(verdicts(rush, AUTH_TEMPORARY), 4, "one of them makes room");
	while (!rush->seen[20].is_there)
		turn(f);
	is_int(rush->seen[20].verdict, AUTH_OK, "for somebody else");
	guesses = verdicts(rush, AUTH_FAILED);
	ok(guesses <= 4, "who does not wait for all of them: %u", guesses);
	clear(f, rush);
	hash_queue_free(f->env.hashes);
	f->env.hashes = queue;
}

int
main(void)
{
	struct rush *rush = xcalloc(1, sizeof(*rush));
	struct auth_fixture f;
	struct err err;

	if (sasl_glue_init(&err) == -1)
		bug("%s", err.text);
	auth_set_up(&f);
	auth_forgive(&f);
	add_users(&f);
	test_office(&f, rush);
	test_devices(&f, rush);
	test_scram(&f, rush);
	test_login(&f, rush);
	test_change(&f, rush);
	test_hanging(&f, rush);
	test_fair_hashing(&f, rush);
	auth_tear_down(&f);
	free(rush);
	return tap_done();
}
