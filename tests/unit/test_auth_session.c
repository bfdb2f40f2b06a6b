/* SPDX-License-Identifier: ISC */
/*
 * Login attempts against the real Cyrus SASL and a real accounts.db, with a
 * SCRAM client of our own (RFC 5802) that can also misbehave.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base64.h"
#include "smtpd/auth_session.h"
#include "tests/unit/tap.h"

#define EXPORTER "0123456789abcdef0123456789abcdef"
#define UNIQUE "unique012345"
#define END_POINT "endpoint89abcdef0123456789abcdef"

/* Failures of each kind that are timed. */
#define TIMED 100

#define ALICE_PASSWORD "correct horse"
#define APP_PASSWORD "print-print-print"

static const struct sasl_bindings all_bindings = {
    .tls_exporter = {EXPORTER, 32},
    .tls_unique = {UNIQUE, 12},
    .tls_server_end_point = {END_POINT, 32}};
static const struct sasl_bindings no_bindings;

/* What the tests share; the address differs where throttling is not meant. */
struct fixture {
	struct loop *loop;
	struct auth_env env;
	char folder[64];
	struct account alice;
	int64_t app_id;
	uint8_t last_address;
};

/* The last outcome, copied. */
struct seen {
	bool is_there;
	enum auth_verdict verdict;
	char challenge[1024];
	char reason[128];
	char account[256];
	char label[64];
	int64_t app_id;
	uint32_t delay_ms;
	bool is_throttled;
};

static void
on_outcome(void *arg, const struct auth_outcome *outcome)
{
	struct seen *seen = arg;

	seen->is_there = true;
	seen->verdict = outcome->verdict;
	seen->delay_ms = outcome->delay_ms;
	seen->is_throttled = outcome->is_throttled;
	(void)slice_copy(
	    outcome->challenge, seen->challenge, sizeof(seen->challenge));
	(void)snprintf(seen->reason, sizeof(seen->reason), "%s",
	    outcome->reason == NULL ? "" : outcome->reason);
	(void)snprintf(seen->account, sizeof(seen->account), "%s",
	    outcome->account == NULL ? "" : outcome->account->name);
	(void)snprintf(seen->label, sizeof(seen->label), "%s",
	    outcome->app_label == NULL ? "" : outcome->app_label);
	seen->app_id = outcome->app_id;
}

static struct netaddr
make_address(const char *text)
{
	struct netaddr address;

	if (netaddr_parse(slice_of(text), &address) == -1)
		bug("%s", text);
	return address;
}

/* An address from which nobody failed yet, in a network of its own. */
static struct netaddr
fresh_address(struct fixture *f)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "10.9.%u.1", f->last_address++);
	return make_address(text);
}

/* ---- set-up ---- */

static void
make_verifier(struct fixture *f, const char *name, const char *password,
    struct scram_verifier *verifier)
{
	unsigned char salt[SCRAM_SALT_SIZE];
	struct err err;

	scram_salt(accounts_secret(f->env.accounts), slice_of(name), salt);
	if (scram_verifier_make(slice_of(password), salt, verifier, &err) == -1)
		bug("%s", err.text);
}

static void
add_user(struct fixture *f, const char *name, const char *password)
{
	struct scram_verifier verifier;
	int64_t id;
	struct err err;

	make_verifier(f, name, password, &verifier);
	if (accounts_add(f->env.accounts, name, &verifier, 1, &id, &err) !=
	    ACCOUNTS_OK)
		bug("%s", err.text);
}

static int64_t
add_app(struct fixture *f, const char *label, const char *password,
    int64_t expires_s, const char *network)
{
	struct app_password_new app = {.label = label, .expires_s = expires_s};
	struct scram_verifier verifier;
	struct netprefix prefix;
	int64_t id;
	struct err err;

	make_verifier(f, "alice@example.org", password, &verifier);
	app.verifier = &verifier;
	if (network != NULL) {
		(void)netprefix_parse(slice_of(network), &prefix, &err);
		app.networks = &prefix;
		app.network_count = 1;
	}
	if (accounts_app_add(f->env.accounts, &f->alice, &app, 1, &id, &err) !=
	    ACCOUNTS_OK)
		bug("%s", err.text);
	return id;
}

static void
set_up(struct fixture *f)
{
	static const unsigned char key[THROTTLE_KEY_SIZE] = {7};
	struct err err;

	memset(f, 0, sizeof(*f));
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/authd-XXXXXX");
	if (mkdtemp(f->folder) == NULL ||
	    accounts_open(f->folder, &f->env.accounts, &err) == -1)
		bug("%s: %s", f->folder, err.text);
	f->loop = loop_new();
	f->env.throttle = throttle_new(key, 10);
	f->env.cache = password_cache_new();
	f->env.pool = pool_new(f->loop, 1, "hash");
	f->env.waiting_max = 16;
	f->env.cache_ms = 60000;
	f->env.allows_login = true;
	add_user(f, "alice@example.org", ALICE_PASSWORD);
	add_user(f, "bob", "bob's secret");
	add_user(f, "carol", "J\xc3\xbcrgen\xc2\xaa");
	if (accounts_find(f->env.accounts, "alice@example.org", &f->alice,
		&err) != ACCOUNTS_OK)
		bug("%s", err.text);
	f->app_id = add_app(f, "printer", APP_PASSWORD, 0, NULL);
	(void)add_app(f, "old", "old-old-old", 5, NULL);
	(void)add_app(f, "office", "office-office", 0, "192.0.2.0/24");
}

static void
tear_down(struct fixture *f)
{
	char path[128];

	pool_free(f->env.pool);
	accounts_close(f->env.accounts);
	throttle_free(f->env.throttle);
	password_cache_free(f->env.cache);
	loop_free(f->loop);
	(void)snprintf(path, sizeof(path), "%s/accounts.db", f->folder);
	(void)unlink(path);
	(void)rmdir(f->folder);
}

/* Forgets all failures: the tests of one account are not to add up. */
static void
forgive(struct fixture *f)
{
	static const unsigned char key[THROTTLE_KEY_SIZE] = {7};

	throttle_free(f->env.throttle);
	f->env.throttle = throttle_new(key, 10);
}

/* ---- driving ---- */

/* One step, waited for.  text NULL: no initial response. */
static void
step(struct fixture *f, struct auth_session *session, struct seen *seen,
    const char *text, size_t n)
{
	struct slice message = {text, n};

	memset(seen, 0, sizeof(*seen));
	if (auth_session_step(session, text == NULL ? NULL : &message) == -1)
		bug("a step was refused");
	while (!seen->is_there)
		(void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
}

static struct auth_session *
begin(struct fixture *f, const char *mechanism, const struct netaddr *client,
    const struct sasl_bindings *bindings, struct seen *seen)
{
	struct netaddr fresh = client == NULL ? fresh_address(f) : *client;

	return auth_session_new(
	    &f->env, slice_of(mechanism), &fresh, bindings, on_outcome, seen);
}

/* PLAIN with everything in the initial response. */
static void
plain(struct fixture *f, const struct netaddr *client, struct seen *seen,
    const char *user, const char *password)
{
	struct auth_session *session =
	    begin(f, "PLAIN", client, &all_bindings, seen);
	char message[2048];
	int n = snprintf(
	    message, sizeof(message), "%c%s%c%s", 0, user, 0, password);

	step(f, session, seen, message, (size_t)n);
	auth_session_free(session);
}

/* ---- a SCRAM client ---- */

struct client {
	const char *user;
	const char *password; /* as SASLprep leaves it */
	const char *gs2;      /* "n,,", "p=tls-unique,,"... */
	const char *binding;  /* the value that is sent */
	size_t binding_n;
	bool is_late;    /* no initial response */
	char first[512]; /* client-first-message */
	char server_first[1024];
	char final[1200];
};

static void
hmac(const unsigned char *key, const void *text, size_t n, unsigned char *out)
{
	unsigned size;

	(void)HMAC(EVP_sha256(), key, 32, text, n, out, &size);
}

/* The value of attribute "x=" in a SCRAM message. */
static void
attribute(const char *message, char name, char *out, size_t out_size)
{
	const char *at = message;

	out[0] = '\0';
	while (at != NULL && !(at[0] == name && at[1] == '=')) {
		at = strchr(at, ',');
		at = at == NULL ? NULL : at + 1;
	}
	if (at != NULL)
		(void)snprintf(
		    out, out_size, "%.*s", (int)strcspn(at + 2, ","), at + 2);
}

static void
write_final(struct client *c)
{
	char nonce[256];
	char salt_text[128];
	char count[16];
	unsigned char salt[64];
	size_t salt_n = 0;
	unsigned char salted[32];
	unsigned char client_key[32];
	unsigned char stored[32];
	unsigned char signature[32];
	char channel[256];
	size_t channel_n = strlen(c->gs2);
	char channel_text[512];
	char proof[64];
	char without[1024];
	char auth[3072];

	attribute(c->server_first, 'r', nonce, sizeof(nonce));
	attribute(c->server_first, 's', salt_text, sizeof(salt_text));
	attribute(c->server_first, 'i', count, sizeof(count));
	(void)base64_decode(slice_of(salt_text), salt, sizeof(salt), &salt_n);
	(void)PKCS5_PBKDF2_HMAC(c->password, (int)strlen(c->password), salt,
	    (int)salt_n, (int)strtol(count, NULL, 10), EVP_sha256(), 32,
	    salted);
	hmac(salted, "Client Key", 10, client_key);
	(void)SHA256(client_key, 32, stored);
	memcpy(channel, c->gs2, channel_n);
	if (c->binding_n > 0)
		memcpy(channel + channel_n, c->binding, c->binding_n);
	(void)base64_encode(channel, channel_n + c->binding_n, channel_text,
	    sizeof(channel_text));
	(void)snprintf(
	    without, sizeof(without), "c=%s,r=%s", channel_text, nonce);
	(void)snprintf(auth, sizeof(auth), "%s,%s,%s",
	    c->first + strlen(c->gs2), c->server_first, without);
	hmac(stored, auth, strlen(auth), signature);
	for (int i = 0; i < 32; i++)
		client_key[i] ^= signature[i];
	(void)base64_encode(client_key, 32, proof, sizeof(proof));
	(void)snprintf(c->final, sizeof(c->final), "%s,p=%s", without, proof);
}

/* Up to the proof and its answer. */
static void
scram_prove(struct fixture *f, struct auth_session *session, struct client *c,
    struct seen *seen)
{
	(void)snprintf(c->first, sizeof(c->first), "%sn=%s,r=clientnonce",
	    c->gs2, c->user);
	if (c->is_late)
		step(f, session, seen, NULL, 0);
	step(f, session, seen, c->first, strlen(c->first));
	memcpy(c->server_first, seen->challenge, sizeof(c->server_first));
	if (seen->verdict != AUTH_CHALLENGE)
		return;
	write_final(c);
	step(f, session, seen, c->final, strlen(c->final));
}

/* All of it; the server's signature is acknowledged by an empty message. */
static void
scram(struct fixture *f, const char *mechanism, const struct netaddr *client,
    const struct sasl_bindings *bindings, struct client *c, struct seen *seen)
{
	struct auth_session *session =
	    begin(f, mechanism, client, bindings, seen);

	if (session == NULL)
		bug("no session for %s", mechanism);
	scram_prove(f, session, c, seen);
	if (seen->verdict == AUTH_CHALLENGE)
		step(f, session, seen, "", 0);
	auth_session_free(session);
}

/* ---- tests ---- */

static void
test_plain(struct fixture *f)
{
	struct seen seen;
	struct auth_session *session;

	plain(f, NULL, &seen, "alice@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "PLAIN: the right password");
	is_str(seen.account, "alice@example.org", "gives the account");
	plain(f, NULL, &seen, "ALICE@Example.ORG", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "case of the name does not count");
	is_str(seen.account, "alice@example.org", "it is the same account");
	plain(f, NULL, &seen, "alice@example.org", "wrong password");
	is_int(seen.verdict, AUTH_FAILED, "a wrong password is refused");
	is_str(seen.reason, "wrong password", "for the log with its reason");
	plain(f, NULL, &seen, "nobody@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "an unknown user looks the same");
	is_str(seen.reason, "unknown user", "but not in the log");
	plain(f, NULL, &seen, " alice@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "a space before the name counts");
	plain(f, NULL, &seen, "alice@example.org ", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "and one after it");
	plain(f, NULL, &seen, "alice@example.org", "");
	ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
	    "an empty password is refused");
	plain(f, NULL, &seen, "' OR 1=1 --", "x");
	is_int(seen.verdict, AUTH_FAILED, "SQL is no name");

	session = begin(f, "plain", NULL, &no_bindings, &seen);
	step(f, session, &seen, NULL, 0);
	is_int(seen.verdict, AUTH_CHALLENGE,
	    "without an initial response there is a challenge");
	step(f, session, &seen, "\0bob\0bob's secret", 17);
	is_int(seen.verdict, AUTH_OK, "and then the login");
	auth_session_free(session);
	plain(f, NULL, &seen, "carol", "J\xc3\xbcrgen\xc2\xaa");
	is_int(seen.verdict, AUTH_OK, "a password beyond ASCII");
	plain(f, NULL, &seen, "carol", "Ju\xcc\x88rgena");
	is_int(seen.verdict, AUTH_OK, "spelled in other code points");
	plain(f, NULL, &seen, "carol", "J\xfcrgen\xaa");
	is_int(seen.verdict, AUTH_FAILED, "but not in another charset");
}

static void
test_plain_malformed(struct fixture *f)
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
	struct seen seen;
	char *huge = xcalloc(1, SASL_GLUE_STEP_MAX + 1);
	struct auth_session *session;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		session = begin(f, "PLAIN", NULL, &all_bindings, &seen);
		step(f, session, &seen, rows[i].message.p, rows[i].message.n);
		ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD ||
			seen.verdict == AUTH_CHALLENGE,
		    "PLAIN, %s: refused", rows[i].label);
		ok(seen.account[0] == '\0', "and nobody is logged in");
		auth_session_free(session);
	}
	session = begin(f, "PLAIN", NULL, &all_bindings, &seen);
	step(f, session, &seen, huge, SASL_GLUE_STEP_MAX + 1);
	is_int(seen.verdict, AUTH_BAD, "PLAIN, 12,289 octets: refused");
	is_int(auth_session_step(session, &(struct slice){"x", 1}), -1,
	    "an attempt that is over takes no step");
	auth_session_free(session);
	free(huge);
	session = begin(f, "PLAIN", NULL, &all_bindings, &seen);
	step(f, session, &seen, "bob\0bob\0bob's secret", 20);
	is_int(seen.verdict, AUTH_OK,
	    "the own name as authorization identity is fine");
	auth_session_free(session);
}

static void
test_login(struct fixture *f)
{
	struct seen seen;
	struct auth_session *session =
	    begin(f, "LOGIN", NULL, &all_bindings, &seen);

	step(f, session, &seen, NULL, 0);
	is_str(seen.challenge, "Username:", "LOGIN asks for the name");
	step(f, session, &seen, "bob", 3);
	is_str(seen.challenge, "Password:", "then for the password");
	step(f, session, &seen, "bob's secret", 12);
	is_int(seen.verdict, AUTH_OK, "and lets bob in");
	auth_session_free(session);
	session = begin(f, "LOGIN", NULL, &all_bindings, &seen);
	step(f, session, &seen, "bob", 3);
	is_str(seen.challenge, "Password:", "the name may come with AUTH");
	step(f, session, &seen, "bob's Secret", 12);
	is_int(seen.verdict, AUTH_FAILED, "a wrong password is refused");
	auth_session_free(session);
	session = begin(f, "LOGIN", NULL, &all_bindings, &seen);
	step(f, session, &seen, "", 0);
	step(f, session, &seen, "bob", 3);
	step(f, session, &seen, "bob's secret", 12);
	is_int(seen.verdict, AUTH_OK, "an empty initial response is none");
	auth_session_free(session);
	f->env.allows_login = false;
	ok(begin(f, "LOGIN", NULL, &all_bindings, &seen) == NULL,
	    "without the setting there is no LOGIN");
	f->env.allows_login = true;
}

static void
test_other_mechanisms(struct fixture *f)
{
	static const char *const names[] = {"CRAM-MD5", "DIGEST-MD5", "NTLM",
	    "GSSAPI", "EXTERNAL", "ANONYMOUS", "XOAUTH2", "SCRAM-SHA-1",
	    "SCRAM-SHA-512", "", "PLAIN LOGIN"};
	struct seen seen;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ok(begin(f, names[i], NULL, &all_bindings, &seen) == NULL,
		    "there is no mechanism \"%s\"", names[i]);
	ok(begin(f, "SCRAM-SHA-256-PLUS", NULL, &no_bindings, &seen) == NULL,
	    "nor -PLUS without a channel binding");
}

static void
test_scram(struct fixture *f)
{
	struct client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "n,,"};
	struct seen seen;

	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK, "SCRAM: the right password");
	is_str(seen.account, "alice@example.org", "gives the account");
	ok(strstr(c.server_first, ",i=10000") != NULL, "10,000 iterations");
	c.is_late = true;
	c.user = "Alice@example.org";
	scram(f, "SCRAM-SHA-256", NULL, &no_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK,
	    "the first message may come late, the name in another case");
	c.password = "wrong";
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "a wrong password is refused");
	c.password = "Ju\xcc\x88rgena";
	c = (struct client){
	    .user = "carol", .password = "J\xc3\xbcrgena", .gs2 = "n,,"};
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK,
	    "the verifier was made of what SASLprep leaves");
}

/* A name that nobody has goes the whole way, with the same salt each time. */
static void
test_decoy(struct fixture *f)
{
	struct client c = {.user = "nobody", .password = "x", .gs2 = "n,,"};
	char salt[2][128];
	char count[16];
	char nonce[2][256];
	struct seen seen;

	for (int i = 0; i < 2; i++) {
		scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
		is_int(seen.verdict, AUTH_FAILED,
		    "an unknown user fails at the proof");
		attribute(c.server_first, 's', salt[i], sizeof(salt[i]));
		attribute(c.server_first, 'r', nonce[i], sizeof(nonce[i]));
	}
	is_str(salt[0], salt[1], "his salt is the same each time");
	is_u64(strlen(salt[0]), 24, "and has the usual size");
	attribute(c.server_first, 'i', count, sizeof(count));
	is_str(count, "10000", "and the count is that of all");
	ok(strcmp(nonce[0], nonce[1]) != 0, "each nonce is new");
	c.user = "dave";
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	attribute(c.server_first, 's', salt[0], sizeof(salt[0]));
	add_user(f, "dave", "dave's secret");
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	attribute(c.server_first, 's', salt[1], sizeof(salt[1]));
	is_str(salt[0], salt[1], "nor does it change when he is added");
	c.user = "dave+phone";
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	attribute(c.server_first, 's', salt[1], sizeof(salt[1]));
	is_str(salt[0], salt[1], "nor with a label that he has not");
	is_int(seen.verdict, AUTH_FAILED, "which lets nobody in");
}

static void
test_bindings(struct fixture *f)
{
	static const struct {
		const char *label;
		const char *mechanism;
		const char *gs2;
		struct slice value;
		enum auth_verdict verdict;
	} rows[] = {
	    {"tls-exporter", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,",
		{EXPORTER, 32}, AUTH_OK},
	    {"tls-unique", "SCRAM-SHA-256-PLUS", "p=tls-unique,,", {UNIQUE, 12},
		AUTH_OK},
	    {"tls-server-end-point", "SCRAM-SHA-256-PLUS",
		"p=tls-server-end-point,,", {END_POINT, 32}, AUTH_OK},
	    {"another session's value", "SCRAM-SHA-256-PLUS",
		"p=tls-exporter,,", {"X123456789abcdef0123456789abcdef", 32},
		AUTH_FAILED},
	    {"one binding's value as another's", "SCRAM-SHA-256-PLUS",
		"p=tls-unique,,", {EXPORTER, 32}, AUTH_FAILED},
	    {"no value", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,", {"", 0},
		AUTH_FAILED},
	    {"none with -PLUS", "SCRAM-SHA-256-PLUS", "n,,", {"", 0},
		AUTH_FAILED},
	    {"a downgrade", "SCRAM-SHA-256", "y,,", {"", 0}, AUTH_FAILED},
	};
	struct seen seen;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int late = 0; late < 2; late++) {
			struct client c = {.user = "alice@example.org",
			    .password = ALICE_PASSWORD,
			    .gs2 = rows[i].gs2,
			    .binding = rows[i].value.p,
			    .binding_n = rows[i].value.n,
			    .is_late = late == 1};

			forgive(f);
			scram(f, rows[i].mechanism, NULL, &all_bindings, &c,
			    &seen);
			if (rows[i].verdict == AUTH_OK)
				is_int(seen.verdict, AUTH_OK,
				    "binding %s: taken%s", rows[i].label,
				    late ? ", late" : "");
			else
				ok(seen.verdict == AUTH_FAILED ||
					seen.verdict == AUTH_BAD,
				    "binding %s: refused%s", rows[i].label,
				    late ? ", late" : "");
			ok((seen.account[0] != '\0') ==
				(rows[i].verdict == AUTH_OK),
			    "and nobody else is in");
		}
}

static void
test_binding_without_value(struct fixture *f)
{
	static const struct sasl_bindings only_exporter = {
	    .tls_exporter = {EXPORTER, 32}};
	struct client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "p=tls-unique,,"};
	struct seen seen;

	scram(f, "SCRAM-SHA-256-PLUS", NULL, &only_exporter, &c, &seen);
	ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
	    "a binding that this connection has not is refused");
	c.gs2 = "p=tls-nonsense,,";
	scram(f, "SCRAM-SHA-256-PLUS", NULL, &all_bindings, &c, &seen);
	ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
	    "and so is one that does not exist");
}

/* A downgrade is refused before the library sees it. */
static void
test_extra_step(struct fixture *f)
{
	struct client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "y,,"};
	struct seen seen;
	struct auth_session *session =
	    begin(f, "SCRAM-SHA-256", NULL, &all_bindings, &seen);
	struct slice empty = {"", 0};

	scram_prove(f, session, &c, &seen);
	if (seen.verdict == AUTH_CHALLENGE)
		step(f, session, &seen, "", 0);
	is_int(seen.verdict, AUTH_FAILED, "a downgrade is refused");
	is_int(auth_session_step(session, &empty), -1,
	    "and one more step is not taken");
	is_str(seen.account, "", "so nobody is in");
	auth_session_free(session);
}

static int
give_verifier(void *arg, struct slice user, char text_r[SCRAM_TEXT_MAX])
{
	struct fixture *f = arg;

	(void)user;
	(void)snprintf(text_r, SCRAM_TEXT_MAX, "%s", f->alice.verifier);
	return 0;
}

/*
 * The library answers a right proof with a challenge and looks at the binding
 * only at the empty message after it.  It refuses a wrong one there, and would
 * say yes to one more step: so there is none.
 */
static void
test_extra_step_below(struct fixture *f)
{
	static const struct sasl_hooks hooks = {.verifier = give_verifier};
	struct client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "p=tls-exporter,,",
	    .binding = UNIQUE,
	    .binding_n = 12,
	    .first = "p=tls-exporter,,n=alice@example.org,r=clientnonce"};
	struct sasl_exchange *exchange =
	    sasl_exchange_new("SCRAM-SHA-256-PLUS", &all_bindings, &hooks, f);
	struct slice message = slice_of(c.first);
	struct slice output;
	enum sasl_verdict verdict;

	is_int(sasl_exchange_step(exchange, &message, &output),
	    SASL_VERDICT_CHALLENGE, "the library sends its first message");
	(void)slice_copy(output, c.server_first, sizeof(c.server_first));
	write_final(&c);
	message = slice_of(c.final);
	verdict = sasl_exchange_step(exchange, &message, &output);
	message = (struct slice){"", 0};
	for (int i = 0; verdict == SASL_VERDICT_CHALLENGE && i < 3; i++)
		verdict = sasl_exchange_step(exchange, &message, &output);
	is_int(verdict, SASL_VERDICT_REFUSED, "then refuses the binding");
	for (int i = 0; i < 3; i++)
		is_int(sasl_exchange_step(exchange, &message, &output),
		    SASL_VERDICT_REFUSED, "for good, after %d more steps",
		    i + 1);
	ok(sasl_exchange_user(exchange).n == 0, "and has no user");
	sasl_exchange_free(exchange);
}

static void
test_scram_garbage(struct fixture *f)
{
	static const char *const firsts[] = {"", "n", "n,,",
	    "n,,n=", "n,,n=alice@example.org", "x,,n=alice@example.org,r=abc",
	    "n,a=bob,n=alice@example.org,r=abc", "p=,,n=a,r=b", "p=tls-unique",
	    "n,,m=x,n=alice@example.org,r=abc"};
	struct seen seen;
	struct auth_session *session;

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		session = begin(f, "SCRAM-SHA-256", NULL, &all_bindings, &seen);
		step(f, session, &seen, firsts[i], strlen(firsts[i]));
		for (int n = 0; n < 4 && seen.verdict == AUTH_CHALLENGE; n++)
			step(f, session, &seen, "c=biws,r=abc,p=AAAA", 19);
		ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
		    "SCRAM with \"%s\" is refused", firsts[i]);
		auth_session_free(session);
	}
}

static void
test_apps(struct fixture *f)
{
	struct netaddr office = make_address("192.0.2.7");
	struct client c = {.user = "alice+printer@example.org",
	    .password = APP_PASSWORD,
	    .gs2 = "n,,"};
	struct seen seen;

	plain(f, NULL, &seen, "alice@example.org", APP_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "an app password under the plain name");
	is_str(seen.label, "printer", "is known by its label");
	is_int(seen.app_id, f->app_id, "and its number");
	is_str(seen.account, "alice@example.org", "for the same account");
	plain(f, NULL, &seen, "alice+printer@example.org", APP_PASSWORD);
	is_int(seen.verdict, AUTH_OK, "and under its own");
	plain(f, NULL, &seen, "alice+printer@example.org", ALICE_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED,
	    "where the account's password does not count");
	plain(f, NULL, &seen, "alice+old@example.org", APP_PASSWORD);
	is_int(seen.verdict, AUTH_FAILED, "nor does another app's");
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK, "SCRAM finds it by its label");
	is_str(seen.label, "printer", "as such");
	c.user = "alice@example.org";
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "and not without");
	plain(f, NULL, &seen, "alice@example.org", "old-old-old");
	is_int(seen.verdict, AUTH_FAILED, "an expired one is refused");
	is_str(seen.reason, "app password expired", "and the log says so");
	plain(f, NULL, &seen, "alice@example.org", "office-office");
	is_int(seen.verdict, AUTH_FAILED, "one bound to a network elsewhere");
	is_str(
	    seen.reason, "app password not allowed from this network", "too");
	plain(f, &office, &seen, "alice@example.org", "office-office");
	is_int(seen.verdict, AUTH_OK, "but not there");
	c.user = "alice+office@example.org";
	c.password = "office-office";
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "the network counts for SCRAM too");
	scram(f, "SCRAM-SHA-256", &office, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK, "both ways");
}

static void
test_disabled(struct fixture *f)
{
	struct client c = {
	    .user = "bob", .password = "bob's secret", .gs2 = "n,,"};
	struct seen seen;

	(void)accounts_set_disabled(f->env.accounts, "bob", true, NULL);
	plain(f, NULL, &seen, "bob", "bob's secret");
	is_int(seen.verdict, AUTH_FAILED, "a disabled account is refused");
	is_str(seen.reason, "account disabled", "and the log says why");
	scram(f, "SCRAM-SHA-256", NULL, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "by SCRAM too");
	(void)accounts_set_disabled(f->env.accounts, "bob", false, NULL);
	plain(f, NULL, &seen, "bob", "bob's secret");
	is_int(seen.verdict, AUTH_OK, "until it is enabled");
}

/* Answers from within the step, without a thread. */
static bool
is_remembered(struct fixture *f, const char *password, struct seen *seen)
{
	struct auth_session *session =
	    begin(f, "PLAIN", NULL, &all_bindings, seen);
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
test_cache(struct fixture *f)
{
	struct account erin;
	struct scram_verifier verifier;
	struct seen seen;

	add_user(f, "erin", "erin's secret");
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
	make_verifier(f, "erin", "changed!", &verifier);
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

static void
test_throttle(struct fixture *f)
{
	struct netaddr home = make_address("198.51.100.1");
	struct netaddr evil = make_address("203.0.113.1");
	struct netaddr other = make_address("203.0.113.200");
	struct client c = {
	    .user = "frank", .password = "frank's secret", .gs2 = "n,,"};
	uint32_t first_delay;
	struct seen seen;

	add_user(f, "frank", "frank's secret");
	plain(f, &home, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_OK, "frank logs in at home");
	plain(f, &evil, &seen, "frank", "guess 0");
	first_delay = seen.delay_ms;
	ok(first_delay > 0, "a failure is answered late");
	for (int i = 1; i < 10; i++)
		plain(f, &evil, &seen, "frank", "guess");
	is_int(seen.verdict, AUTH_FAILED, "ten guesses are looked at");
	ok(seen.delay_ms > first_delay, "later and later");
	plain(f, &evil, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_TEMPORARY,
	    "then even the right password is not");
	ok(seen.is_throttled, "because of throttling");
	scram(f, "SCRAM-SHA-256", &evil, &all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_TEMPORARY, "nor is SCRAM");
	plain(f, &evil, &seen, "bob", "bob's secret");
	is_int(seen.verdict, AUTH_TEMPORARY, "nor another account from there");
	plain(f, &other, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_TEMPORARY,
	    "nor that account from another unknown address");
	plain(f, &home, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_OK, "but frank, at home, gets in");
	for (int i = 0; i < 10; i++)
		plain(f, &home, &seen, "frank", "slip");
	is_int(seen.verdict, AUTH_FAILED, "he too has ten tries there");
	plain(f, &home, &seen, "frank", "frank's secret");
	is_int(seen.verdict, AUTH_TEMPORARY, "and no more");
}

/* One failed login's time, in nanoseconds. */
static int64_t
time_failure(struct fixture *f, const char *user)
{
	struct timespec begun;
	struct timespec ended;
	struct seen seen;

	forgive(f);
	(void)clock_gettime(CLOCK_MONOTONIC, &begun);
	plain(f, NULL, &seen, user, "wrong password");
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

/* Turn by turn, so that a busy machine is busy for both. */
static double
compare_medians(struct fixture *f)
{
	int64_t known[TIMED];
	int64_t unknown[TIMED];

	for (int i = 0; i < TIMED; i++) {
		known[i] = time_failure(f, "alice@example.org");
		unknown[i] = time_failure(f, "nobody@example.org");
	}
	qsort(known, TIMED, sizeof(known[0]), compare_times);
	qsort(unknown, TIMED, sizeof(unknown[0]), compare_times);
	return (double)known[TIMED / 2] / (double)unknown[TIMED / 2];
}

/* Tried three times: other programs run on this machine. */
static void
test_timing(struct fixture *f)
{
	double ratio = 0;

#ifdef __SANITIZE_ADDRESS__
	/* OpenSSL allocates in each iteration; its times are the allocator's */
	skip(1, "a sanitizer's allocator is most of the time");
	(void)f;
	(void)ratio;
	return;
#endif
	for (int i = 0; i < 3 && (ratio < 0.95 || ratio > 1.05); i++)
		ratio = compare_medians(f);
	ok(ratio > 0.95 && ratio < 1.05,
	    "an unknown user takes as long as a wrong password: %.3f", ratio);
}

static void
test_busy(struct fixture *f)
{
	struct seen seen;
	struct auth_session *session;
	size_t room = f->env.waiting_max;

	f->env.waiting_max = 0;
	plain(f, NULL, &seen, "bob", "bob's other secret");
	is_int(seen.verdict, AUTH_TEMPORARY,
	    "when too many hashes wait, the client is to come later");
	ok(!seen.is_throttled, "which is not throttling");
	f->env.waiting_max = room;

	session = begin(f, "PLAIN", NULL, &all_bindings, &seen);
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
	struct fixture f;
	struct err err;

	if (sasl_glue_init(&err) == -1)
		bug("%s", err.text);
	set_up(&f);
	forgive(&f);
	test_plain(&f);
	forgive(&f);
	test_plain_malformed(&f);
	forgive(&f);
	test_login(&f);
	forgive(&f);
	test_other_mechanisms(&f);
	forgive(&f);
	test_scram(&f);
	forgive(&f);
	test_decoy(&f);
	forgive(&f);
	test_bindings(&f);
	forgive(&f);
	test_binding_without_value(&f);
	forgive(&f);
	test_extra_step(&f);
	forgive(&f);
	test_extra_step_below(&f);
	forgive(&f);
	test_scram_garbage(&f);
	forgive(&f);
	test_apps(&f);
	forgive(&f);
	test_disabled(&f);
	forgive(&f);
	test_cache(&f);
	forgive(&f);
	test_throttle(&f);
	test_timing(&f);
	forgive(&f);
	test_busy(&f);
	tear_down(&f);
	return tap_done();
}
