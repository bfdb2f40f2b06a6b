/* SPDX-License-Identifier: ISC */
/*
 * What the tests of logins share: a store with users, attempts driven to
 * their outcome, and a SCRAM client of our own (RFC 5802) that can misbehave.
 */
#ifndef TESTS_UNIT_AUTH_FIXTURE_H
#define TESTS_UNIT_AUTH_FIXTURE_H

#include "smtpd/auth_session.h"
#include "tests/unit/tap.h"

/* Values of a TLS session. */
#define EXPORTER "0123456789abcdef0123456789abcdef"
#define UNIQUE "unique012345"
#define END_POINT "endpoint89abcdef0123456789abcdef"

#define ALICE_PASSWORD "correct horse"
#define APP_PASSWORD "print-print-print"

extern const struct sasl_bindings auth_all_bindings;
extern const struct sasl_bindings auth_no_bindings;

/* What the tests share; the address differs where throttling is not meant. */
struct auth_fixture {
	struct loop *loop;
	struct auth_env env;
	char folder[64];
	struct account alice;
	int64_t app_id;
	uint8_t last_address;
};

/* The last outcome, copied. */
struct auth_seen {
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

struct scram_client {
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

struct netaddr auth_make_address(const char *text);

/* An address from which nobody failed yet, in a network of its own. */
struct netaddr auth_fresh_address(struct auth_fixture *f);

void auth_make_verifier(struct auth_fixture *f, const char *name,
    const char *password, struct scram_verifier *verifier);

void auth_add_user(
    struct auth_fixture *f, const char *name, const char *password);

void auth_set_up(struct auth_fixture *f);

void auth_tear_down(struct auth_fixture *f);

/* Forgets all failures: the tests of one account are not to add up. */
void auth_forgive(struct auth_fixture *f);

/* One step, waited for.  text NULL: no initial response. */
void auth_step(struct auth_fixture *f, struct auth_session *session,
    struct auth_seen *seen, const char *text, size_t n);

struct auth_session *auth_begin(struct auth_fixture *f, const char *mechanism,
    const struct netaddr *client, const struct sasl_bindings *bindings,
    struct auth_seen *seen);

/* PLAIN with everything in the initial response. */
void auth_plain(struct auth_fixture *f, const struct netaddr *client,
    struct auth_seen *seen, const char *user, const char *password);

/* The value of attribute "x=" in a SCRAM message. */
void auth_attribute(const char *message, char name, char *out, size_t out_size);

void auth_write_final(struct scram_client *c);

/* Up to the proof and its answer. */
void auth_scram_prove(struct auth_fixture *f, struct auth_session *session,
    struct scram_client *c, struct auth_seen *seen);

/* All of it; the server's signature is acknowledged by an empty message. */
void auth_scram(struct auth_fixture *f, const char *mechanism,
    const struct netaddr *client, const struct sasl_bindings *bindings,
    struct scram_client *c, struct auth_seen *seen);

#endif
