/* SPDX-License-Identifier: ISC */
/*
 * The login token: what authd says of a session, so that queued need not
 * believe smtpd (DESIGN §2).  Made and renewed by authd, read by smtpd,
 * verified by queued; the key is authd's and queued's alone.
 *
 * All numbers little endian: u8 version, u8 zero, u16 number of identities,
 * u64 session id, login time, issue time, expiry, identity revision,
 * credential, then the account and the identities, each a u16 length and its
 * octets, then HMAC-SHA-256 over all before it.
 */
#ifndef COMMON_TOKEN_H
#define COMMON_TOKEN_H

#include "common/address.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/ipc_messages.h"

#define TOKEN_VERSION 1
#define TOKEN_KEY_SIZE 32
#define TOKEN_MAC_SIZE 32
#define TOKEN_ACCOUNT_MAX 256

/* An address or "@domain". */
#define TOKEN_IDENTITY_MAX IPC_ADDRESS_MAX
/* Octets of all identities together, with their lengths. */
#define TOKEN_IDENTITIES_SIZE 16000
#define TOKEN_IDENTITIES_MAX 2000

/* smtpd renews at MAIL what is older, so that a lost login is out soon. */
#define TOKEN_FRESH_S 5

/* Slices point into the octets that were read. */
struct token {
	uint8_t version;
	uint64_t session_id;
	uint64_t login_s;  /* when the password was shown */
	uint64_t issued_s; /* when it was made or last renewed */
	uint64_t expires_s;
	uint64_t revision; /* of the account, at the login */
	uint64_t
	    credential; /* 0: the account's password; else an app password */
	struct slice account;
	struct slice identities; /* encoded: token_identity_next() */
	uint32_t identity_count;
};

/*
 * Adds one identity, in canonical form (token_identity_parse), to the list
 * that will be token->identities.  -1 when it is malformed or does not fit:
 * nothing is added then.
 */
int token_identity_add(
    struct buf *identities, struct slice identity, struct err *err);

/* For the list: a buf with the right limit. */
void token_identities_init(struct buf *identities);

/*
 * The canonical form of an identity as a person wrote it: "user@domain" in
 * lower case, or "@domain".
 */
int token_identity_parse(struct slice text,
    char identity_r[TOKEN_IDENTITY_MAX + 1], struct err *err);

/* Takes the first identity off the list; false at its end. */
bool token_identity_next(struct slice *identities, struct slice *identity_r);

/*
 * Writes the token in place of what out held.  version and identity_count of
 * the struct are not used.  -1 when a part is too long or malformed.
 */
int token_make(const unsigned char key[TOKEN_KEY_SIZE],
    const struct token *token, struct buf *out, struct err *err);

/*
 * Without a key, for those who only want to know what it says: -1 unless it is
 * exactly one well-formed token.  It may be forged.
 */
int token_read(struct slice octets, struct token *token_r, struct err *err);

/*
 * -1 unless the token is well-formed and made with one of the two keys.  A
 * key is TOKEN_KEY_SIZE octets, or empty where there is none.  Says nothing
 * of time: that is for authd, which renews what has expired in between.
 */
int token_authenticate(struct slice octets, struct slice current_key,
    struct slice previous_key, struct token *token_r, struct err *err);

/* The same, and not expired at now_s.  The caller compares session_id. */
int token_verify(struct slice octets, struct slice current_key,
    struct slice previous_key, uint64_t now_s, struct token *token_r,
    struct err *err);

/*
 * May the holder send as this address?  ASCII case of the local part does not
 * count; user+tag@ of an own address is own.  The null address and a bare
 * "postmaster" are nobody's: false.
 */
bool token_allows(const struct token *token, const struct address *address);

#endif
