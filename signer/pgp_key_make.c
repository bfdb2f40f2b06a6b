/* SPDX-License-Identifier: ISC */
/*
 * Keys of our own: made or imported, put under new words, split for the two
 * classes of workers, so that who reads hostile mail cannot sign, and who
 * signs cannot read.
 * Runs in: postern-signerd's throw-away `key` worker.  Trusts: nothing of an
 * imported file.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "signer/pgp_key_data.h"
#include "signer/pgp_key_facts.h"

/* As long as a display name may be. */
#define NAME_MAX_OCTETS 200

struct kind_row {
	const char *name;
	const char *primary;
	const char *subkey;
};

static const struct kind_row kinds[PGP_KEY_KIND_COUNT] = {
    [PGP_KEY_ED25519] = {"ed25519", "ed25519", "cv25519"},
    [PGP_KEY_RSA3072] = {"rsa3072", "rsa3072", "rsa3072"},
    [PGP_KEY_RSA4096] = {"rsa4096", "rsa4096", "rsa4096"},
};

enum pgp_key_kind
pgp_key_kind_by_name(struct slice name)
{
	int kind = 0;

	while (kind < PGP_KEY_KIND_COUNT &&
	       !slice_equals(name, slice_of(kinds[kind].name)))
		kind++;
	return (enum pgp_key_kind)kind;
}

void
pgp_key_pair_init(struct pgp_key_pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	buf_init(&pair->public, PGP_PUBLIC_MAX);
	buf_init(&pair->signing, PGP_PRIVATE_MAX);
	buf_init(&pair->decryption, PGP_PRIVATE_MAX);
}

static void
wipe(struct buf *b)
{
	if (b->p != NULL)
		OPENSSL_cleanse(b->p, b->capacity);
	buf_clear(b);
}

void
pgp_key_pair_clear(struct pgp_key_pair *pair)
{
	wipe(&pair->signing);
	wipe(&pair->decryption);
	buf_clear(&pair->public);
}

/* ---- splitting ---- */

/* "FINGERPRINT!": that subkey alone. */
#define PATTERN_SIZE (PGP_FINGERPRINT_MAX + 2)

static int
export_private(struct pgp_home *home, const char *words,
    const char *const *patterns, bool has_primary, struct buf *blob,
    struct err *err)
{
	struct buf key;
	int rc;

	buf_init(&key, PGP_PRIVATE_MAX);
	pgp_home_unlock(home, words);
	rc = pgp_key_data_export(home, patterns,
	    has_primary ? GPGME_EXPORT_MODE_SECRET
			: GPGME_EXPORT_MODE_SECRET_SUBKEY,
	    &key, err);
	if (rc == 0)
		pgp_blob_write(words, buf_slice(&key), blob);
	if (rc == 0 && blob->overflowed)
		rc = err_set(err, "the key is too large");
	wipe(&key);
	return rc;
}

/* The subkey that signs: a usable one, not the primary if there is another. */
static int
export_signing(struct pgp_home *home, gpgme_key_t key, const char *words,
    int64_t now_s, struct pgp_key_pair *pair, struct err *err)
{
	gpgme_subkey_t signs = NULL;
	char text[PATTERN_SIZE];
	const char *const patterns[] = {text, NULL};

	for (gpgme_subkey_t at = key->subkeys; at != NULL; at = at->next)
		if (at->secret && at->can_sign &&
		    pgp_subkey_is_usable(at, now_s))
			signs = at;
	if (signs == NULL)
		return 0;
	(void)snprintf(text, sizeof(text), "%s!", signs->fpr);
	return export_private(
	    home, words, patterns, signs == key->subkeys, &pair->signing, err);
}

/* All that decrypt, old ones too: old mail is still there. */
static int
export_decryption(struct pgp_home *home, gpgme_key_t key, const char *words,
    struct pgp_key_pair *pair, struct err *err)
{
	char texts[PGP_SUBKEYS_MAX][PATTERN_SIZE];
	const char *patterns[PGP_SUBKEYS_MAX + 1] = {NULL};
	bool has_primary = false;
	size_t count = 0;

	for (gpgme_subkey_t at = key->subkeys;
	     at != NULL && count < PGP_SUBKEYS_MAX; at = at->next) {
		if (!at->secret || !at->can_encrypt)
			continue;
		has_primary |= at == key->subkeys;
		(void)snprintf(texts[count], PATTERN_SIZE, "%s!", at->fpr);
		patterns[count] = texts[count];
		count++;
	}
	if (count == 0)
		return 0;
	return export_private(
	    home, words, patterns, has_primary, &pair->decryption, err);
}

static int
take_out(struct pgp_home *home, const char *fingerprint, const char *words,
    int64_t now_s, struct pgp_key_pair *pair, struct err *err)
{
	const char *const patterns[] = {fingerprint, NULL};
	gpgme_key_t public = NULL;
	gpgme_key_t secret = NULL;
	int rc = -1;

	if (pgp_home_key(home, fingerprint, false, &public, err) == -1 ||
	    pgp_home_key(home, fingerprint, true, &secret, err) == -1 ||
	    pgp_key_facts_read(public, now_s, &pair->facts, err) == -1 ||
	    pgp_key_data_export(home, patterns, GPGME_EXPORT_MODE_MINIMAL,
		&pair->public, err) == -1 ||
	    export_signing(home, secret, words, now_s, pair, err) == -1 ||
	    export_decryption(home, secret, words, pair, err) == -1)
		goto out;
	if (pair->signing.n == 0 && pair->decryption.n == 0)
		(void)err_set(err, "it has no private part of use");
	else
		rc = 0;
out:
	gpgme_key_unref(public);
	gpgme_key_unref(secret);
	return rc;
}

/* ---- making ---- */

static int
user_id(
    struct slice name, struct slice address, struct buf *out, struct err *err)
{
	struct address parsed;
	char text[ADDRESS_TEXT_MAX];

	if (address_parse(address, ADDRESS_MAY_BE_UTF8, &parsed, err) == -1)
		return -1;
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] < ' ' ||
		    strchr("<>()\177", name.p[i]) != NULL)
			return err_set(
			    err, "the name has a character that it may not");
	if (name.n > NAME_MAX_OCTETS)
		return err_set(err, "the name is too long");
	if (name.n > 0)
		(void)buf_addf(out, "%.*s ", SLICE_ARG(name));
	return buf_addf(out, "<%s>", address_format(&parsed, text));
}

static int
create(struct pgp_home *home, enum pgp_key_kind kind, const char *uid,
    unsigned long lifetime_s, const char *words,
    char fingerprint_r[PGP_FINGERPRINT_MAX + 1], struct err *err)
{
	const unsigned flags = lifetime_s == 0 ? GPGME_CREATE_NOEXPIRE : 0;
	gpgme_genkey_result_t result;
	gpgme_ctx_t context;
	gpgme_error_t error;
	gpgme_key_t key;

	if (pgp_home_context(home, &context, err) == -1)
		return -1;
	pgp_home_unlock(home, words);
	error = gpgme_op_createkey(context, uid, kinds[kind].primary, 0,
	    lifetime_s, NULL, flags | GPGME_CREATE_SIGN | GPGME_CREATE_CERT);
	if (error != 0)
		return pgp_err(err, "cannot make a key", error);
	result = gpgme_op_genkey_result(context);
	if (result == NULL || result->fpr == NULL ||
	    slice_copy(slice_of(result->fpr), fingerprint_r,
		PGP_FINGERPRINT_MAX + 1) == -1)
		return err_set(err, "gpg made no key");
	if (pgp_home_key(home, fingerprint_r, true, &key, err) == -1)
		return -1;
	pgp_home_unlock(home, words);
	error = gpgme_op_createsubkey(context, key, kinds[kind].subkey, 0,
	    lifetime_s, flags | GPGME_CREATE_ENCR);
	gpgme_key_unref(key);
	return error == 0 ? 0 : pgp_err(err, "cannot make a subkey", error);
}

int
pgp_key_generate(const char *scratch_dir, enum pgp_key_kind kind,
    struct slice name, struct slice address, int64_t lifetime_s,
    struct pgp_key_pair *pair, struct err *err)
{
	char fingerprint[PGP_FINGERPRINT_MAX + 1];
	char words[PGP_WORDS_SIZE] = "";
	struct pgp_home *home = NULL;
	struct buf uid;
	int rc = -1;

	buf_init(&uid, NAME_MAX_OCTETS + ADDRESS_TEXT_MAX + 4);
	if (kind >= PGP_KEY_KIND_COUNT || lifetime_s < 0) {
		(void)err_set(err, "no key can be made like that");
		goto out;
	}
	if (user_id(name, address, &uid, err) == 0 && pgp_start(err) == 0 &&
	    pgp_words_new(words, err) == 0 &&
	    pgp_home_new(scratch_dir, &home, err) == 0 &&
	    create(home, kind, buf_text(&uid), (unsigned long)lifetime_s, words,
		fingerprint, err) == 0)
		rc = take_out(
		    home, fingerprint, words, (int64_t)time(NULL), pair, err);
out:
	OPENSSL_cleanse(words, sizeof(words));
	pgp_home_free(home);
	buf_clear(&uid);
	return rc;
}

/* ---- importing ---- */

/* Under new words; the old ones are asked for only where there are any. */
static int
change_words(struct pgp_home *home, const char *fingerprint,
    const char *old_words, const char *words, struct err *err)
{
	gpgme_ctx_t context;
	gpgme_error_t error;
	gpgme_key_t key = NULL;

	if (pgp_home_context(home, &context, err) == -1 ||
	    pgp_home_key(home, fingerprint, true, &key, err) == -1)
		return -1;
	pgp_home_unlock_twice(home, old_words, words);
	error = gpgme_op_passwd(context, key, 0);
	gpgme_key_unref(key);
	if (error != 0)
		return err_set(err, old_words == NULL
					? "its private part cannot be read"
					: "the pass phrase is wrong");
	return 0;
}

int
pgp_key_import(const char *scratch_dir, struct slice file,
    struct slice passphrase, int64_t now_s, struct pgp_key_pair *pair,
    struct err *err)
{
	char *old_words = slice_dup(passphrase);
	char words[PGP_WORDS_SIZE] = "";
	struct pgp_key_shape shape = {0};
	struct pgp_home *home = NULL;
	const char *fingerprint = shape.primary.fingerprint;
	struct buf binary;
	struct buf reduced;
	int rc = -1;

	buf_init(&reduced, PGP_PRIVATE_MAX);
	if (pgp_key_data_read(file, PGP_PRIVATE_MAX, &binary, &shape, err) ==
	    -1)
		goto out;
	if (!shape.has_secret) {
		(void)err_set(
		    err, "it is a public key: it has no private part");
		goto out;
	}
	if (strlen(old_words) != passphrase.n ||
	    strchr(old_words, '\n') != NULL) {
		(void)err_set(err, "the pass phrase is wrong");
		goto out;
	}
	pgp_key_data_reduce(
	    buf_slice(&binary), (struct slice){NULL, 0}, &reduced);
	if (pgp_start(err) == 0 && pgp_words_new(words, err) == 0 &&
	    pgp_home_new(scratch_dir, &home, err) == 0 &&
	    pgp_home_import(home, buf_slice(&reduced), err) == 0 &&
	    change_words(home, fingerprint,
		shape.is_protected ? old_words : NULL, words, err) == 0)
		rc = take_out(home, fingerprint, words, now_s, pair, err);
out:
	OPENSSL_cleanse(words, sizeof(words));
	OPENSSL_cleanse(old_words, passphrase.n);
	free(old_words);
	pgp_home_free(home);
	wipe(&binary);
	wipe(&reduced);
	return rc;
}
