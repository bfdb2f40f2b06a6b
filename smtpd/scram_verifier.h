/* SPDX-License-Identifier: ISC */
/*
 * SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677): what is kept in place of a
 * password.  One verifier serves SCRAM, PLAIN and LOGIN.
 */
#ifndef SMTPD_SCRAM_VERIFIER_H
#define SMTPD_SCRAM_VERIFIER_H

#include "common/buf.h"
#include "common/err.h"

/*
 * The same for every account: otherwise an unknown name, which gets a decoy,
 * could be told from a known one by its count.
 */
#define SCRAM_ITERATIONS 10000
#define SCRAM_SALT_SIZE 16
#define SCRAM_KEY_SIZE 32

/* Of a password as it is given, in octets. */
#define SCRAM_PASSWORD_MIN 6
#define SCRAM_PASSWORD_MAX 1024

/* "SCRAM-SHA-256$10000:salt$stored key:server key" and a NUL, with slack. */
#define SCRAM_TEXT_MAX 160

struct scram_verifier {
	unsigned char salt[SCRAM_SALT_SIZE];
	unsigned char stored_key[SCRAM_KEY_SIZE];
	unsigned char server_key[SCRAM_KEY_SIZE];
};

/*
 * From a new password.  -1 when it is too short, too long, not UTF-8, or holds
 * what SASLprep (RFC 4013) forbids; the sentence does not hold the password.
 */
int scram_verifier_make(struct slice password,
    const unsigned char salt[SCRAM_SALT_SIZE],
    struct scram_verifier *verifier_r, struct err *err);

/* Would scram_verifier_make() take it?  Costs nothing. */
int scram_password_check(struct slice password, struct err *err);

/* The form of RFC 5803, which Cyrus SASL reads.  Returns out. */
const char *scram_verifier_format(
    const struct scram_verifier *verifier, char out[SCRAM_TEXT_MAX]);

/* -1 on any other scheme, count, size or spelling: no downgrade by the store */
int scram_verifier_parse(
    struct slice text, struct scram_verifier *verifier_r, struct err *err);

/*
 * Which of the verifiers is the password's: its index, or -1.  Does the whole
 * work of one PBKDF2 for each different salt in the list (one at least),
 * whatever the password, and compares in constant time.  For a thread.
 */
int scram_verifier_find(struct slice password,
    const struct scram_verifier *verifiers, size_t count);

/*
 * The salt of an account: the same for all its passwords, so that one PBKDF2
 * tries them all; and for a name without account, the one that it would have.
 */
void scram_salt(const unsigned char secret[SCRAM_KEY_SIZE], struct slice name,
    unsigned char salt_r[SCRAM_SALT_SIZE]);

/* A verifier that no password fits, the same each time for a name. */
void scram_verifier_decoy(const unsigned char secret[SCRAM_KEY_SIZE],
    struct slice name, struct scram_verifier *verifier_r);

#endif
