/* SPDX-License-Identifier: ISC */
/*
 * A store, a clock's worth of addresses, and a SCRAM client.
 * Runs in: tests.  Trusts: the tests.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base64.h"
#include "tests/unit/auth_fixture.h"

const struct sasl_bindings auth_all_bindings = {.tls_exporter = {EXPORTER, 32},
    .tls_unique = {UNIQUE, 12},
    .tls_server_end_point = {END_POINT, 32}};
const struct sasl_bindings auth_no_bindings;

static void
on_outcome(void *arg, const struct auth_outcome *outcome)
{
	struct auth_seen *seen = arg;

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

struct netaddr
auth_make_address(const char *text)
{
	struct netaddr address;

	if (netaddr_parse(slice_of(text), &address) == -1)
		bug("%s", text);
	return address;
}

struct netaddr
auth_fresh_address(struct auth_fixture *f)
{
	char text[32];

	(void)snprintf(
	    text, sizeof(text), "10.9.%u.1", (unsigned)f->last_address++);
	return auth_make_address(text);
}

/* ---- set-up ---- */

void
auth_make_verifier(struct auth_fixture *f, const char *name,
    const char *password, struct scram_verifier *verifier)
{
	unsigned char salt[SCRAM_SALT_SIZE];
	struct err err;

	scram_salt(accounts_secret(f->env.accounts), slice_of(name), salt);
	if (scram_verifier_make(slice_of(password), salt, verifier, &err) == -1)
		bug("%s", err.text);
}

void
auth_add_user(struct auth_fixture *f, const char *name, const char *password)
{
	struct scram_verifier verifier;
	int64_t id;
	struct err err;

	auth_make_verifier(f, name, password, &verifier);
	if (accounts_add(f->env.accounts, name, &verifier, 1, &id, &err) !=
	    ACCOUNTS_OK)
		bug("%s", err.text);
}

static int64_t
add_app(struct auth_fixture *f, const char *label, const char *password,
    int64_t expires_s, const char *network)
{
	struct app_password_new app = {.label = label, .expires_s = expires_s};
	struct scram_verifier verifier;
	struct netprefix prefix;
	int64_t id;
	struct err err;

	auth_make_verifier(f, "alice@example.org", password, &verifier);
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

void
auth_set_up(struct auth_fixture *f)
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
	/* A busy machine that hashes slowly turns nobody away. */
	f->env.line = login_line_new(f->loop, 600000);
	f->env.pool = pool_new(f->loop, 1, "hash");
	f->env.hashes = hash_queue_new(f->env.pool, 1, 64);
	f->env.cache_ms = 60000;
	f->env.allows_login = true;
	auth_add_user(f, "alice@example.org", ALICE_PASSWORD);
	auth_add_user(f, "bob", "bob's secret");
	auth_add_user(f, "carol", "J\xc3\xbcrgen\xc2\xaa");
	if (accounts_find(f->env.accounts, "alice@example.org", &f->alice,
		&err) != ACCOUNTS_OK)
		bug("%s", err.text);
	f->app_id = add_app(f, "printer", APP_PASSWORD, 0, NULL);
	(void)add_app(f, "old", "old-old-old", 5, NULL);
	(void)add_app(f, "office", "office-office", 0, "192.0.2.0/24");
}

void
auth_tear_down(struct auth_fixture *f)
{
	char path[128];

	pool_free(f->env.pool);
	hash_queue_free(f->env.hashes);
	login_line_free(f->env.line);
	accounts_close(f->env.accounts);
	throttle_free(f->env.throttle);
	password_cache_free(f->env.cache);
	loop_free(f->loop);
	(void)snprintf(path, sizeof(path), "%s/accounts.db", f->folder);
	(void)unlink(path);
	(void)rmdir(f->folder);
}

void
auth_forgive(struct auth_fixture *f)
{
	static const unsigned char key[THROTTLE_KEY_SIZE] = {7};

	throttle_free(f->env.throttle);
	f->env.throttle = throttle_new(key, 10);
}

/* ---- driving ---- */

void
auth_step(struct auth_fixture *f, struct auth_session *session,
    struct auth_seen *seen, const char *text, size_t n)
{
	struct slice message = {text, n};

	memset(seen, 0, sizeof(*seen));
	if (auth_session_step(session, text == NULL ? NULL : &message) == -1)
		bug("a step was refused");
	while (!seen->is_there)
		(void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
}

struct auth_session *
auth_begin(struct auth_fixture *f, const char *mechanism,
    const struct netaddr *client, const struct sasl_bindings *bindings,
    struct auth_seen *seen)
{
	struct netaddr fresh = client == NULL ? auth_fresh_address(f) : *client;

	return auth_session_new(
	    &f->env, slice_of(mechanism), &fresh, bindings, on_outcome, seen);
}

void
auth_plain(struct auth_fixture *f, const struct netaddr *client,
    struct auth_seen *seen, const char *user, const char *password)
{
	struct auth_session *session =
	    auth_begin(f, "PLAIN", client, &auth_all_bindings, seen);
	char message[2048];
	int n = snprintf(
	    message, sizeof(message), "%c%s%c%s", 0, user, 0, password);

	auth_step(f, session, seen, message, (size_t)n);
	auth_session_free(session);
}

/* ---- a SCRAM client ---- */

static void
hmac(const unsigned char *key, const void *text, size_t n, unsigned char *out)
{
	unsigned size;

	(void)HMAC(EVP_sha256(), key, 32, text, n, out, &size);
}

void
auth_attribute(const char *message, char name, char *out, size_t out_size)
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

void
auth_write_final(struct scram_client *c)
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

	auth_attribute(c->server_first, 'r', nonce, sizeof(nonce));
	auth_attribute(c->server_first, 's', salt_text, sizeof(salt_text));
	auth_attribute(c->server_first, 'i', count, sizeof(count));
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

void
auth_scram_prove(struct auth_fixture *f, struct auth_session *session,
    struct scram_client *c, struct auth_seen *seen)
{
	(void)snprintf(c->first, sizeof(c->first), "%sn=%s,r=clientnonce",
	    c->gs2, c->user);
	if (c->is_late)
		auth_step(f, session, seen, NULL, 0);
	auth_step(f, session, seen, c->first, strlen(c->first));
	memcpy(c->server_first, seen->challenge, sizeof(c->server_first));
	if (seen->verdict != AUTH_CHALLENGE)
		return;
	auth_write_final(c);
	auth_step(f, session, seen, c->final, strlen(c->final));
}

void
auth_scram(struct auth_fixture *f, const char *mechanism,
    const struct netaddr *client, const struct sasl_bindings *bindings,
    struct scram_client *c, struct auth_seen *seen)
{
	struct auth_session *session =
	    auth_begin(f, mechanism, client, bindings, seen);

	if (session == NULL)
		bug("no session for %s", mechanism);
	auth_scram_prove(f, session, c, seen);
	if (seen->verdict == AUTH_CHALLENGE)
		auth_step(f, session, seen, "", 0);
	auth_session_free(session);
}
