/* SPDX-License-Identifier: ISC */
/*
 * accounts.db: users, their app passwords and identities, the networks they
 * are known from, and the keys of tokens.  Recipients and aliases, in the
 * same file, are directory_store.h's.
 *
 * Functions return 0, or -1 when the store failed, unless they say otherwise.
 */
#ifndef SMTPD_ACCOUNTS_H
#define SMTPD_ACCOUNTS_H

#include "common/netaddr.h"
#include "common/sql.h"
#include "common/token.h"
#include "smtpd/account_name.h"
#include "smtpd/scram_verifier.h"

/* A person's devices; all of them are tried with one PBKDF2. */
#define ACCOUNTS_APPS_MAX 64
#define ACCOUNTS_APP_SENDERS_MAX 100
#define ACCOUNTS_APP_NETWORKS_MAX 32

/* Last use is written at most so often: accounts_flush(). */
#define ACCOUNTS_FLUSH_S 60

struct accounts;

/* Opens or creates DIR/accounts.db. */
int accounts_open(
    const char *dir, struct accounts **accounts_r, struct err *err);
void accounts_close(struct accounts *accounts);
struct sql *accounts_sql(struct accounts *accounts);

/* Salts and decoys come of it; made once, with the store. */
const unsigned char *accounts_secret(const struct accounts *accounts);

/* A number that no account had before: tokens of the past stay out. */
int accounts_next_revision(
    struct accounts *accounts, uint64_t *revision_r, struct err *err);

/*
 * Many changes in one transaction.  Within it a change that is refused changes
 * nothing; one that failed fails the whole.
 */
int accounts_batch_begin(struct accounts *accounts, struct err *err);
int accounts_batch_end(
    struct accounts *accounts, bool is_kept, struct err *err);

/* ---- keys of tokens ---- */

struct token_keys {
	unsigned char current[TOKEN_KEY_SIZE];
	unsigned char previous[TOKEN_KEY_SIZE];
	bool has_previous;
	int64_t made_s; /* the current one */
};

int accounts_token_keys(struct accounts *accounts, int64_t now_s,
    struct token_keys *keys_r, struct err *err);
/* The current key becomes the previous one; a new one is made. */
int accounts_rotate_keys(struct accounts *accounts, int64_t now_s,
    struct token_keys *keys, struct err *err);

/* ---- users ---- */

struct account {
	int64_t id;
	char name[ACCOUNT_NAME_MAX + 1];
	char verifier[SCRAM_TEXT_MAX]; /* "": no password of its own */
	bool is_disabled;
	uint64_t revision;
	int64_t created_s;
	int64_t password_changed_s;
	int64_t last_login_s;
};

enum accounts_result {
	ACCOUNTS_OK,
	ACCOUNTS_EXISTS,
	ACCOUNTS_NONE,    /* no such user, identity, app password */
	ACCOUNTS_REFUSED, /* err says why */
	ACCOUNTS_FAILED   /* the store; err says how */
};

/* name is canonical everywhere below. */
enum accounts_result accounts_find(struct accounts *accounts, const char *name,
    struct account *account_r, struct err *err);

/* verifier: NULL for none.  The name's own address is not an identity row. */
enum accounts_result accounts_add(struct accounts *accounts, const char *name,
    const struct scram_verifier *verifier, int64_t now_s, int64_t *id_r,
    struct err *err);
enum accounts_result accounts_set_password(struct accounts *accounts,
    const char *name, const struct scram_verifier *verifier, int64_t now_s,
    struct err *err);
enum accounts_result accounts_set_disabled(struct accounts *accounts,
    const char *name, bool is_disabled, struct err *err);
enum accounts_result accounts_remove(
    struct accounts *accounts, const char *name, struct err *err);
int accounts_count(
    struct accounts *accounts, int64_t *count_r, struct err *err);

/* Up to limit users with names after that one, in order of names. */
typedef void accounts_user_fn(void *arg, const struct account *account);
int accounts_list(struct accounts *accounts, const char *after, size_t limit,
    accounts_user_fn *each, void *arg, struct err *err);

/* ---- identities: whom a user may send as, beside his name ---- */

enum accounts_result accounts_identity_add(struct accounts *accounts,
    const struct account *account, const char *identity, struct err *err);
enum accounts_result accounts_identity_remove(struct accounts *accounts,
    int64_t user_id, const char *identity, struct err *err);

typedef void accounts_text_fn(void *arg, struct slice text);
int accounts_identities(struct accounts *accounts, int64_t user_id,
    accounts_text_fn *each, void *arg, struct err *err);

/*
 * The identities of a login, for a token: all of the user's, his name first
 * when it is an address, or with an app password that has senders of its own
 * those of them that are the user's still.
 */
int accounts_login_identities(struct accounts *accounts,
    const struct account *account, int64_t app_id, struct buf *identities,
    struct err *err);

/* ---- app passwords ---- */

struct app_password {
	int64_t id;
	char label[ACCOUNT_LABEL_MAX + 1];
	int64_t created_s;
	int64_t expires_s; /* 0: never */
	int64_t last_used_s;
	char last_client[NETADDR_TEXT_MAX];
};

struct app_password_new {
	const char *label;
	const struct scram_verifier *verifier;
	int64_t expires_s;
	const char *const *senders; /* canonical identities */
	size_t sender_count;
	const struct netprefix *networks;
	size_t network_count;
};

enum accounts_result accounts_app_add(struct accounts *accounts,
    const struct account *account, const struct app_password_new *app,
    int64_t now_s, int64_t *id_r, struct err *err);
enum accounts_result accounts_app_remove(struct accounts *accounts,
    int64_t user_id, int64_t app_id, struct err *err);

typedef void accounts_app_fn(void *arg, const struct app_password *app);
int accounts_apps(struct accounts *accounts, int64_t user_id,
    accounts_app_fn *each, void *arg, struct err *err);
int accounts_app_senders(struct accounts *accounts, int64_t app_id,
    accounts_text_fn *each, void *arg, struct err *err);
int accounts_app_networks(struct accounts *accounts, int64_t app_id,
    accounts_text_fn *each, void *arg, struct err *err);

/* ---- logins ---- */

/* One password that a login may be made with. */
struct credential {
	int64_t app_id; /* 0: the account's own password */
	char label[ACCOUNT_LABEL_MAX + 1];
	const char *refusal; /* why it does not count now; NULL: it does */
};

/* What a name stands for, known or not. */
struct login {
	bool is_known;
	struct account account;
	size_t count;
	struct credential credentials[1 + ACCOUNTS_APPS_MAX];
	struct scram_verifier verifiers[1 + ACCOUNTS_APPS_MAX];
};

/*
 * Everything that a password for that name is compared with: the account's
 * own and its app passwords, or with a label that one alone.  Always one at
 * the least: a decoy where there is none.  -1: the store failed.
 */
int accounts_login(struct accounts *accounts, const struct account_name *name,
    const struct netaddr *client, int64_t now_s, struct login *login_r,
    struct err *err);

/* Is a login of that revision and credential still one?  1, 0 or -1. */
int accounts_still_valid(struct accounts *accounts, const char *name,
    uint64_t revision, int64_t app_id, int64_t now_s, struct account *account_r,
    struct err *err);

/* Did the user log in from that network in the last 90 days?  1, 0 or -1. */
int accounts_is_known_network(struct accounts *accounts, int64_t user_id,
    const struct netaddr *client, int64_t now_s, struct err *err);

/*
 * Notes a login in memory; accounts_flush() writes all of them at once.  -1:
 * there were so many that they had to be written now, and could not be.
 */
int accounts_note_login(struct accounts *accounts, int64_t user_id,
    int64_t app_id, const struct netaddr *client, int64_t now_s,
    struct err *err);
int accounts_flush(struct accounts *accounts, struct err *err);

#endif
