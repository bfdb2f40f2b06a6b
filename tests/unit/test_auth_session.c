/* SPDX-License-Identifier: ISC */
/*
 * Login attempts by PLAIN and LOGIN against the real Cyrus SASL and a real
 * accounts.db; app passwords, the cache, throttling.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/auth_fixture.h"

/* Failures of each kind that are timed. */
#define TIMED 100

static void
test_plain(struct auth_fixture *f)
{
	struct auth_seen seen;
	struct auth_session *session;

	auth_plain(f, NULL, &seen, "alice@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "PLAIN: the right password");
	is_str(seen.account, "alice@example.org", "gives the account");
	auth_plain(f, NULL, &seen, "ALICE@Example.ORG", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "case of the name does not count");
	is_str(seen.account, "alice@example.org", "it is the same account");
	auth_plain(f, NULL, &seen, "alice@example.org", "wrong password");
	is_int(seen.verdict, AUTH_FAILED, "a wrong password is refused");
	is_str(seen.reason, "wrong password", "for the log with its reason");
	auth_plain(f, NULL, &seen, "nobody@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "an unknown user looks the same");
	is_str(seen.reason, "unknown user", "but not in the log");
	auth_plain(f, NULL, &seen, " alice@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "a space before the name counts");
	auth_plain(f, NULL, &seen, "alice@example.org ", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "and one after it");
	auth_plain(f, NULL, &seen, "alice@example.org", "");
	ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
	    "an empty password is refused");
	auth_plain(f, NULL, &seen, "' OR 1=1 --", "x");
	is_int(seen.verdict, AUTH_FAILED, "SQL is no name");

	session = auth_begin(f, "plain", NULL, &auth_no_bindings, &seen);
	auth_step(f, session, &seen, NULL, 0);
	is_int(seen.verdict, AUTH_CHALLENGE,
	    "without an initial response there is a challenge");
	auth_step(f, session, &seen, "\0bob\0bob's secret", 17);
	is_int(seen.verdict, AUTH_OK, "and then the login");
	auth_session_free(session);
	auth_plain(f, NULL, &seen, "carol", "J\xc3\xbcrgen\xc2\xaa");
	is_int(seen.verdict, AUTH_OK, "a password beyond ASCII");
	auth_plain(f, NULL, &seen, "carol", "Ju\xcc\x88rgena");
	is_int(seen.verdict, AUTH_OK, "spelled in other code points");
	auth_plain(f, NULL, &seen, "carol", "J\xfcrgen\xaa");
	is_int(seen.verdict, AUTH_FAILED, "but not in another charset");
}

static void
test_plain_malformed(struct auth_fixture *f)
{
	static const struct {
		const char *label;
		struct slice message;
	} rows[] = {
	    {"empty", {"", 0}},
	    {"no NUL", {"alice@example.org", 17}},
	    {"one NUL", {"\0alice@example.org", 18}},
	    {"three NULs", {"\0bob\0bob's secret\0x", 19}},
	    {"only NULs", {"\0\0", 2}},
	    {"another authorization identity",
		{"alice@example.org\0bob\0bob's secret", 34}},
	    {"a NUL at the end", {"\0bob\0bob's secret\0", 18}},
	    {"a line end in the name", {"\0bob\r\n\0bob's secret", 19}},
	};
	struct auth_seen seen;
	char *huge = xcalloc(1, SASL_GLUE_STEP_MAX + 1);
	struct auth_session *session;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		session =
		    auth_begin(f, "PLAIN", NULL, &auth_all_bindings, &seen);
		auth_step(
		    f, session, &seen, rows[i].message.p, rows[i].message.n);
		ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD ||
			seen.verdict == AUTH_CHALLENGE,
		    "PLAIN, %s: refused", rows[i].label);
		ok(seen.account[0] == '\0', "and nobody is logged in");
		auth_session_free(session);
	}
	session = auth_begin(f, "PLAIN", NULL, &auth_all_bindings, &seen);
	auth_step(f, session, &seen, huge, SASL_GLUE_STEP_MAX + 1);
	is_int(seen.verdict, AUTH_BAD, "PLAIN, 12,289 octets: refused");
	is_int(auth_session_step(session, &(struct slice){"x", 1}), -1,
	    "an attempt that is over takes no step");
	auth_session_free(session);
	free(huge);
	session = auth_begin(f, "PLAIN", NULL, &auth_all_bindings, &seen);
	auth_step(f, session, &seen, "bob\0bob\0bob's secret", 20);
	is_int(seen.verdict, AUTH_OK,
	    "the own name as authorization identity is fine");
	auth_session_free(session);
}

static void
test_login(struct auth_fixture *f)
{
	struct auth_seen seen;
	struct auth_session *session =
	    auth_begin(f, "LOGIN", NULL, &auth_all_bindings, &seen);

	auth_step(f, session, &seen, NULL, 0);
	is_str(seen.challenge, "Username:", "LOGIN asks for the name");
	auth_step(f, session, &seen, "bob", 3);
	is_str(seen.challenge, "Password:", "then for the password");
	auth_step(f, session, &seen, "bob's secret", 12);
	is_int(seen.verdict, AUTH_OK, "and lets bob in");
	auth_session_free(session);
	session = auth_begin(f, "LOGIN", NULL, &auth_all_bindings, &seen);
	auth_step(f, session, &seen, "bob", 3);
	is_str(seen.challenge, "Password:", "the name may come with AUTH");
	auth_step(f, session, &seen, "bob's Secret", 12);
	is_int(seen.verdict, AUTH_FAILED, "a wrong password is refused");
	auth_session_free(session);
	session = auth_begin(f, "LOGIN", NULL, &auth_all_bindings, &seen);
	auth_step(f, session, &seen, "", 0);
	auth_step(f, session, &seen, "bob", 3);
	auth_step(f, session, &seen, "bob's secret", 12);
	is_int(seen.verdict, AUTH_OK, "an empty initial response is none");
	auth_session_free(session);
	f->env.allows_login = false;
	ok(auth_begin(f, "LOGIN", NULL, &auth_all_bindings, &seen) == NULL,
	    "without the setting there is no LOGIN");
	f->env.allows_login = true;
}

static void
test_other_mechanisms(struct auth_fixture *f)
{
	static const char *const names[] = {"CRAM-MD5", "DIGEST-MD5", "NTLM",
	    "GSSAPI", "EXTERNAL", "ANONYMOUS", "XOAUTH2", "SCRAM-SHA-1",
	    "SCRAM-SHA-512", "", "PLAIN LOGIN"};
	struct auth_seen seen;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ok(auth_begin(f, names[i], NULL, &auth_all_bindings, &seen) ==
			NULL,
		    "there is no mechanism \"%s\"", names[i]);
	ok(auth_begin(
	       f, "SCRAM-SHA-256-PLUS", NULL, &auth_no_bindings, &seen) == NULL,
	    "nor -PLUS without a channel binding");
}

static void
test_apps(struct auth_fixture *f)
{
	struct netaddr office = auth_make_address("192.0.2.7");
	struct scram_client c = {.user = "alice+printer@example.org",
	    .password = APP_PASSWORD,
	    .gs2 = "n,,"};
	struct auth_seen seen;

	auth_plain(f, NULL, &seen, "alice@example.org", APP_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "an app password under the plain name");
	is_str(seen.label, "printer", "is known by its label");
	is_int(seen.app_id, f->app_id, "and its number");
	is_str(seen.account, "alice@example.org", "for the same account");
	auth_plain(f, NULL, &seen, "alice+printer@example.org", APP_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "and under its own");
	auth_plain(f, NULL, &seen, "alice+printer@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED,
	    "where the account's password does not count");
	auth_plain(f, NULL, &seen, "alice+old@example.org", APP_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "nor does another app's");
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK, "SCRAM finds it by its label");
	is_str(seen.label, "printer", "as such");
	c.user = "alice@example.org";
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "and not without");
	auth_plain(f, NULL, &seen, "alice@example.org", "old-old-old");
	is_int(seen.verdict, AUTH_FAILED, "an expired one is refused");
	is_str(seen.reason, "app password expired", "and the log says so");
	auth_plain(f, NULL, &seen, "alice@example.org", "office-office");
	is_int(seen.verdict, AUTH_FAILED, "one bound to a network elsewhere");
	is_str(
	    seen.reason, "app password not allowed from this network", "too");
	auth_plain(f, &office, &seen, "alice@example.org", "office-office");
	is_int(seen.verdict, AUTH_OK, "but not there");
	c.user = "alice+office@example.org";
	c.password = "office-office";
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "the network counts for SCRAM too");
	auth_scram(f, "SCRAM-SHA-256", &office, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK, "both ways");
}

static void
test_disabled(struct auth_fixture *f)
{
	struct scram_client c = {
	    .user = "bob", .password = "bob's secret", .gs2 = "n,,"};
	struct auth_seen seen;

	(void)accounts_set_disabled(f->env.accounts, "bob", true, NULL);
	auth_plain(f, NULL, &seen, "bob", "bob's secret");
	is_int(seen.verdict, AUTH_FAILED, "a disabled account is refused");
	is_str(seen.reason, "account disabled", "and the log says why");
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "by SCRAM too");
	(void)accounts_set_disabled(f->env.accounts, "bob", false, NULL);
	auth_plain(f, NULL, &seen, "bob", "bob's secret");
	is_int(seen.verdict, AUTH_OK, "until it is enabled");
}

/* Answers from within the step, without a thread. */
static bool
is_remembered(
    struct auth_fixture *f, const char *password, struct auth_seen *seen)
{
	struct auth_session *session =
	    auth_begin(f, "PLAIN", NULL, &auth_all_bindings, seen);
	char text[64];
	int n = snprintf(text, sizeof(text), "%cerin%c%s", 0, 0, password);
	struct slice message = {text, (size_t)n};
	bool is_at_once;

	memset(seen, 0, sizeof(*seen));
	(void)auth_session_step(session, &message);
	is_at_once = seen->is_there;
	while (!seen->is_there)
		(void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
	auth_session_free(session);
	return is_at_once;
}

static void
test_cache(struct auth_fixture *f)
{
	struct account erin;
	struct scram_verifier verifier;
	struct auth_seen seen;

	auth_add_user(f, "erin", "erin's secret");
	(void)accounts_find(f->env.accounts, "erin", &erin, NULL);
	ok(!is_remembered(f, "erin's secret", &seen), "a first login hashes");
	is_int(seen.verdict, AUTH_OK, "and succeeds");
	ok(is_remembered(f, "erin's secret", &seen), "the next one does not");
	is_int(seen.verdict, AUTH_OK, "and succeeds");
	ok(!is_remembered(f, "Erin's secret", &seen),
	    "another password is hashed");
	is_int(seen.verdict, AUTH_FAILED, "and refused");
	(void)accounts_set_disabled(f->env.accounts, "erin", true, NULL);
	(void)is_remembered(f, "erin's secret", &seen);
	is_int(seen.verdict, AUTH_FAILED,
	    "what is remembered does not help a disabled account");
	(void)accounts_set_disabled(f->env.accounts, "erin", false, NULL);
	auth_make_verifier(f, "erin", "changed!", &verifier);
	(void)accounts_set_password(
	    f->env.accounts, "erin", &verifier, 2, NULL);
	password_cache_drop(f->env.cache, erin.id);
	ok(!is_remembered(f, "erin's secret", &seen),
	    "after a change nothing is remembered");
	is_int(seen.verdict, AUTH_FAILED, "the old password is refused");
	f->env.cache_ms = 0;
	(void)is_remembered(f, "changed!", &seen);
	ok(!is_remembered(f, "changed!", &seen), "0 turns it off");
	f->env.cache_ms = 60000;
}

/* What an administrator does while a login is under way. */
static void
change_password(struct auth_fixture *f, const char *name, const char *password)
{
	struct account account;
	struct scram_verifier verifier;

	(void)accounts_find(f->env.accounts, name, &account, NULL);
	auth_make_verifier(f, name, password, &verifier);
	(void)accounts_set_password(f->env.accounts, name, &verifier, 2, NULL);
	password_cache_drop(f->env.cache, account.id);
}

static void
test_change_under_way(struct auth_fixture *f)
{
	static const struct slice heidi = {"\0heidi\0the old one", 18};
	struct auth_seen seen = {.is_there = false};
	struct scram_client c = {
	    .user = "heidi", .password = "the new one", .gs2 = "n,,"};
	struct auth_session *session;

	auth_add_user(f, "heidi", "the old one");
	session = auth_begin(f, "PLAIN", NULL, &auth_all_bindings, &seen);
	(void)auth_session_step(session, &heidi);
	change_password(f, "heidi", "the new one");
	while (!seen.is_there)
		(void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
	auth_session_free(session);
	is_int(seen.verdict, AUTH_FAILED,
	    "PLAIN: a password that was changed while it was hashed");
	is_str(seen.reason, "changed meanwhile", "is refused for that");
	auth_plain(f, NULL, &seen, "heidi", "the old one");
	is_int(seen.verdict, AUTH_FAILED, "and it is not remembered");
	auth_plain(f, NULL, &seen, "heidi", "the new one");
	is_int(seen.verdict, AUTH_OK, "the new one is taken");

	session =
	    auth_begin(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &seen);
	auth_step(f, session, &seen, "n,,n=heidi,r=clientnonce", 24);
	(void)snprintf(c.first, sizeof(c.first), "n,,n=heidi,r=clientnonce");
	memcpy(c.server_first, seen.challenge, sizeof(c.server_first));
	auth_write_final(&c);
	(void)accounts_set_disabled(f->env.accounts, "heidi", true, NULL);
	auth_step(f, session, &seen, c.final, strlen(c.final));
	if (seen.verdict == AUTH_CHALLENGE)
		auth_step(f, session, &seen, "", 0);
	is_int(seen.verdict, AUTH_FAILED,
	    "SCRAM: an account that was disabled between its two messages");
	ok(seen.account[0] == '\0', "lets nobody in");
	auth_session_free(session);
}

static void
test_throttle(struct auth_fixture *f)
{
	struct netaddr home = auth_make_address("198.51.100.1");
	struct netaddr evil = auth_make_address("203.0.113.1");
	struct netaddr other = auth_make_address("203.0.113.200");
	struct scram_client c = {
	    .user = "frank", .password = "frank's secret", .gs2 = "n,,"};
	uint32_t first_delay;
	struct auth_seen seen;

	auth_add_user(f, "frank", "frank's secret");
	auth_plain(f, &home, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_OK, "frank logs in at home");
	auth_plain(f, &evil, &seen, "frank", "guess 0");
	first_delay = seen.delay_ms;
	ok(first_delay > 0, "a failure is answered late");
	for (int i = 1; i < 10; i++)
		auth_plain(f, &evil, &seen, "frank", "guess");
	is_int(seen.verdict, AUTH_FAILED, "ten guesses are looked at");
	ok(seen.delay_ms > first_delay, "later and later");
	auth_plain(f, &evil, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_TEMPORARY,
	    "then even the right password is not");
	ok(seen.is_throttled, "because of throttling");
	auth_scram(f, "SCRAM-SHA-256", &evil, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_TEMPORARY, "nor is SCRAM");
	auth_plain(f, &evil, &seen, "bob", "bob's secret");
	is_int(seen.verdict, AUTH_TEMPORARY, "nor another account from there");
	auth_plain(f, &other, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_TEMPORARY,
	    "nor that account from another unknown address");
	auth_plain(f, &home, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_OK, "but frank, at home, gets in");
	for (int i = 0; i < 10; i++)
		auth_plain(f, &home, &seen, "frank", "slip");
	is_int(seen.verdict, AUTH_FAILED, "he too has ten tries there");
	auth_plain(f, &home, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_TEMPORARY, "and no more");
}

/* One failed login's time, in nanoseconds. */
static int64_t
time_failure(struct auth_fixture *f, const char *user)
{
	struct timespec begun;
	struct timespec ended;
	struct auth_seen seen;

	auth_forgive(f);
	(void)clock_gettime(CLOCK_MONOTONIC, &begun);
	auth_plain(f, NULL, &seen, user, "wrong password");
	(void)clock_gettime(CLOCK_MONOTONIC, &ended);
	return (ended.tv_sec - begun.tv_sec) * 1000000000 +
	       (ended.tv_nsec - begun.tv_nsec);
}

static int
compare_times(const void *a, const void *b)
{
	const int64_t *x = a;
	const int64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * Turn by turn, so that a busy machine is busy for both; and by the fast ones,
 * which nothing came between.
 */
static double
compare_times_of_both(struct auth_fixture *f)
{
	int64_t known[TIMED];
	int64_t unknown[TIMED];

	for (int i = 0; i < TIMED; i++) {
		known[i] = time_failure(f, "alice@example.org");
		unknown[i] = time_failure(f, "nobody@example.org");
	}
	qsort(known, TIMED, sizeof(known[0]), compare_times);
	qsort(unknown, TIMED, sizeof(unknown[0]), compare_times);
	return (double)known[TIMED / 10] / (double)unknown[TIMED / 10];
}

/* Tried several times: other programs run on this machine. */
static void
test_timing(struct auth_fixture *f)
{
	double ratio = 0;

#ifdef __SANITIZE_ADDRESS__
	/* OpenSSL allocates in each iteration; its times are the allocator's */
	skip(1, "a sanitizer's allocator is most of the time");
	(void)f;
	(void)ratio;
	return;
#endif
	for (int i = 0; i < 20 && (ratio < 0.95 || ratio > 1.05); i++)
		ratio = compare_times_of_both(f);
	ok(ratio > 0.95 && ratio < 1.05,
	    "an unknown user takes as long as a wrong password: %.3f", ratio);
}

static void
test_busy(struct auth_fixture *f)
{
	struct auth_seen seen;
	struct auth_session *session;
	struct hash_queue *queue = f->env.hashes;

	f->env.hashes = hash_queue_new(f->env.pool, 0, 0);
	auth_plain(f, NULL, &seen, "bob", "bob's other secret");
	is_int(seen.verdict, AUTH_TEMPORARY,
	    "when too many hashes wait, the client is to come later");
	ok(!seen.is_throttled, "which is not throttling");
	hash_queue_free(f->env.hashes);
	f->env.hashes = queue;

	session = auth_begin(f, "PLAIN", NULL, &auth_all_bindings, &seen);
	memset(&seen, 0, sizeof(seen));
	(void)auth_session_step(
	    session, &(struct slice){"\0bob\0bob's Secret", 17});
	is_int(auth_session_step(session, &(struct slice){"x", 1}), -1,
	    "no step while a password is hashed");
	auth_session_free(session);
	while (pool_waiting(f->env.pool) > 0)
		(void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
	ok(!seen.is_there, "an attempt given up has no outcome");
}

int
main(void)
{
	struct auth_fixture f;
	struct err err;

	if (sasl_glue_init(&err) == -1)
		bug("%s", err.text);
	auth_set_up(&f);
	auth_forgive(&f);
	test_plain(&f);
	auth_forgive(&f);
	test_plain_malformed(&f);
	auth_forgive(&f);
	test_login(&f);
	auth_forgive(&f);
	test_other_mechanisms(&f);
	auth_forgive(&f);
	test_apps(&f);
	auth_forgive(&f);
	test_disabled(&f);
	auth_forgive(&f);
	test_cache(&f);
	auth_forgive(&f);
	test_change_under_way(&f);
	auth_forgive(&f);
	test_throttle(&f);
	auth_forgive(&f);
	test_timing(&f);
	auth_forgive(&f);
	test_busy(&f);
	auth_tear_down(&f);
	return tap_done();
}
