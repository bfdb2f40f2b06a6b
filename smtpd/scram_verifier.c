/* SPDX-License-Identifier: ISC */
/*
 * SCRAM-SHA-256 verifiers: make, write, read, compare.
 * Runs in: postern-authd, in its loop and in its hashing threads.  Trusts:
 * nothing about passwords and texts; the secret is the store's.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <stringprep.h>

#include "common/base64.h"
#include "common/utf8.h"
#include "smtpd/scram_verifier.h"

/* SASLprep's NFKC makes up to 18 code points of one; more is no password. */
#define PREPARED_MAX (4 * SCRAM_PASSWORD_MAX)

/* A purpose and an account's name, which has 254 octets at most. */
#define NAME_TEXT_MAX 512

#define SALT_TEXT BASE64_ENCODED_SIZE(SCRAM_SALT_SIZE)
#define KEY_TEXT BASE64_ENCODED_SIZE(SCRAM_KEY_SIZE)

static void
hmac(const unsigned char *key, size_t key_size, struct slice text,
    unsigned char out[SCRAM_KEY_SIZE])
{
	unsigned size = 0;

	if (HMAC(EVP_sha256(), key, (int)key_size,
		(const unsigned char *)text.p, text.n, out, &size) == NULL ||
	    size != SCRAM_KEY_SIZE)
		fatal("HMAC-SHA-256 failed");
}

/*
 * Code points that Unicode 3.2 did not know are let through, as SCRAM clients
 * do with what is typed; both ends have to agree.
 */
static int
prepare(struct slice password, char out[PREPARED_MAX], struct err *err)
{
	out[0] = '\0';
	if (password.n == 0 || password.n > SCRAM_PASSWORD_MAX)
		return err_set(err, "a password has at most %d octets",
		    SCRAM_PASSWORD_MAX);
	if (memchr(password.p, '\0', password.n) != NULL ||
	    !utf8_is_valid(password))
		return err_set(err, "a password is UTF-8 without NUL");
	memcpy(out, password.p, password.n);
	out[password.n] = '\0';
	if (stringprep(out, PREPARED_MAX, 0, stringprep_saslprep) !=
		STRINGPREP_OK ||
	    out[0] == '\0') {
		explicit_bzero(out, PREPARED_MAX);
		return err_set(err,
		    "this password holds characters that SASLprep (RFC 4013) "
		    "forbids");
	}
	return 0;
}

/* RFC 5802 section 3: Hi(), then the keys. */
static void
derive(struct slice prepared, const unsigned char salt[SCRAM_SALT_SIZE],
    struct scram_verifier *verifier_r)
{
	unsigned char salted[SCRAM_KEY_SIZE];
	unsigned char client_key[SCRAM_KEY_SIZE];

	if (PKCS5_PBKDF2_HMAC(prepared.n == 0 ? "" : prepared.p,
		(int)prepared.n, salt, SCRAM_SALT_SIZE, SCRAM_ITERATIONS,
		EVP_sha256(), SCRAM_KEY_SIZE, salted) != 1)
		fatal("PBKDF2 failed");
	hmac(salted, sizeof(salted), SLICE("Client Key"), client_key);
	(void)SHA256(client_key, sizeof(client_key), verifier_r->stored_key);
	hmac(salted, sizeof(salted), SLICE("Server Key"),
	    verifier_r->server_key);
	memcpy(verifier_r->salt, salt, SCRAM_SALT_SIZE);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client_key, sizeof(client_key));
}

/* A new password, in the form that is hashed. */
static int
prepare_new(struct slice password, char out[PREPARED_MAX], struct err *err)
{
	if (password.n < SCRAM_PASSWORD_MIN)
		return err_set(err, "a password has at least %d octets",
		    SCRAM_PASSWORD_MIN);
	return prepare(password, out, err);
}

int
scram_password_check(struct slice password, struct err *err)
{
	char prepared[PREPARED_MAX];
	int rc = prepare_new(password, prepared, err);

	explicit_bzero(prepared, sizeof(prepared));
	return rc;
}

int
scram_verifier_make(struct slice password,
    const unsigned char salt[SCRAM_SALT_SIZE],
    struct scram_verifier *verifier_r, struct err *err)
{
	char prepared[PREPARED_MAX];

	if (prepare_new(password, prepared, err) == -1)
		return -1;
	derive(slice_of(prepared), salt, verifier_r);
	explicit_bzero(prepared, sizeof(prepared));
	return 0;
}

int
scram_verifier_find(
    struct slice password, const struct scram_verifier *verifiers, size_t count)
{
	static const unsigned char no_salt[SCRAM_SALT_SIZE];
	char prepared[PREPARED_MAX];
	struct scram_verifier own;
	bool is_password = prepare(password, prepared, NULL) == 0;
	int found = -1;

	/* What is no password costs as much as one that is wrong. */
	derive(
	    slice_of(prepared), count > 0 ? verifiers[0].salt : no_salt, &own);
	for (size_t i = 0; i < count; i++) {
		const struct scram_verifier *at = &verifiers[i];

		if (memcmp(at->salt, own.salt, SCRAM_SALT_SIZE) != 0)
			derive(slice_of(prepared), at->salt, &own);
		if (CRYPTO_memcmp(
			at->stored_key, own.stored_key, SCRAM_KEY_SIZE) == 0 &&
		    is_password)
			found = (int)i;
	}
	explicit_bzero(prepared, sizeof(prepared));
	explicit_bzero(&own, sizeof(own));
	return found;
}

const char *
scram_verifier_format(
    const struct scram_verifier *verifier, char out[SCRAM_TEXT_MAX])
{
	char salt[SALT_TEXT + 1];
	char stored_key[KEY_TEXT + 1];
	char server_key[KEY_TEXT + 1];

	(void)base64_encode(
	    verifier->salt, SCRAM_SALT_SIZE, salt, sizeof(salt));
	(void)base64_encode(verifier->stored_key, SCRAM_KEY_SIZE, stored_key,
	    sizeof(stored_key));
	(void)base64_encode(verifier->server_key, SCRAM_KEY_SIZE, server_key,
	    sizeof(server_key));
	(void)snprintf(out, SCRAM_TEXT_MAX, "SCRAM-SHA-256$%d:%s$%s:%s",
	    SCRAM_ITERATIONS, salt, stored_key, server_key);
	return out;
}

/* Takes text_size octets of base64 for exactly size octets, and an end. */
static int
take(struct slice *rest, size_t text_size, char end, unsigned char *out,
    size_t size)
{
	size_t decoded;

	if (rest->n < text_size ||
	    base64_decode((struct slice){rest->p, text_size}, out, size,
		&decoded) == -1 ||
	    decoded != size)
		return -1;
	rest->p += text_size;
	rest->n -= text_size;
	if (end == '\0')
		return rest->n == 0 ? 0 : -1;
	if (rest->n == 0 || rest->p[0] != end)
		return -1;
	rest->p++;
	rest->n--;
	return 0;
}

int
scram_verifier_parse(
    struct slice text, struct scram_verifier *verifier_r, struct err *err)
{
	struct scram_verifier verifier;
	char head[32];
	size_t head_size;

	(void)snprintf(
	    head, sizeof(head), "SCRAM-SHA-256$%d:", SCRAM_ITERATIONS);
	head_size = strlen(head);
	if (text.n < head_size || memcmp(text.p, head, head_size) != 0)
		return err_set(err,
		    "a verifier of another scheme than SCRAM-SHA-256 with %d "
		    "iterations",
		    SCRAM_ITERATIONS);
	text.p += head_size;
	text.n -= head_size;
	if (take(&text, SALT_TEXT, '$', verifier.salt, SCRAM_SALT_SIZE) == -1 ||
	    take(&text, KEY_TEXT, ':', verifier.stored_key, SCRAM_KEY_SIZE) ==
		-1 ||
	    take(&text, KEY_TEXT, '\0', verifier.server_key, SCRAM_KEY_SIZE) ==
		-1)
		return err_set(err, "a verifier is malformed");
	*verifier_r = verifier;
	return 0;
}

/* HMAC(secret, purpose NUL name). */
static void
derive_from_name(const unsigned char secret[SCRAM_KEY_SIZE],
    const char *purpose, struct slice name, unsigned char out[SCRAM_KEY_SIZE])
{
	struct buf text;

	buf_init(&text, NAME_TEXT_MAX);
	(void)buf_add(&text, purpose, strlen(purpose) + 1);
	(void)buf_add_slice(&text, name);
	hmac(secret, SCRAM_KEY_SIZE, buf_slice(&text), out);
	buf_clear(&text);
}

void
scram_salt(const unsigned char secret[SCRAM_KEY_SIZE], struct slice name,
    unsigned char salt_r[SCRAM_SALT_SIZE])
{
	unsigned char whole[SCRAM_KEY_SIZE];

	derive_from_name(secret, "salt", name, whole);
	memcpy(salt_r, whole, SCRAM_SALT_SIZE);
}

void
scram_verifier_decoy(const unsigned char secret[SCRAM_KEY_SIZE],
    struct slice name, struct scram_verifier *verifier_r)
{
	scram_salt(secret, name, verifier_r->salt);
	derive_from_name(
	    secret, "decoy stored key", name, verifier_r->stored_key);
	derive_from_name(
	    secret, "decoy server key", name, verifier_r->server_key);
}
