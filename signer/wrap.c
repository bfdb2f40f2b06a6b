/* SPDX-License-Identifier: ISC */
/*
 * Seals private keys for a class of workers, and opens them.
 * Runs in: postern-signerd: the broker makes the classes' keys, the `key`
 * worker seals, the other workers open.  Trusts: nothing of a sealed file.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/core_names.h>
#include <string.h>

#include "signer/wrap.h"

#define MAGIC "PSTRNW1\n"
#define MAGIC_SIZE 8
#define HEAD_SIZE (MAGIC_SIZE + WRAP_KEY_SIZE)
#define TAG_SIZE 16
#define NONCE_SIZE 12
/* A class, a file's name, and the words around them. */
#define INFO_MAX 1024

struct seal_key {
	unsigned char key[WRAP_KEY_SIZE];
	unsigned char nonce[NONCE_SIZE];
};

/* ---- derivation ---- */

static int
hkdf(struct slice secret, struct slice salt, struct slice info, void *out,
    size_t size, struct err *err)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
	char digest[] = "SHA256";
	OSSL_PARAM parameters[] = {
	    OSSL_PARAM_construct_utf8_string(
		OSSL_KDF_PARAM_DIGEST, digest, sizeof(digest) - 1),
	    OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret.p, secret.n),
	    OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt.p, salt.n),
	    OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info.p, info.n),
	    OSSL_PARAM_construct_end()};
	const int rc = context == NULL
			   ? 0
			   : EVP_KDF_derive(context, out, size, parameters);

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return rc == 1 ? 0 : err_set(err, "HKDF failed");
}

int
wrap_class_key(const struct wrap_key *master, const char *class_name,
    struct wrap_key *key_r, struct err *err)
{
	char info[INFO_MAX];
	struct buf text;
	int rc;

	buf_init(&text, sizeof(info));
	(void)buf_addf(&text, "postern class 1 %s", class_name);
	rc = hkdf((struct slice){(const char *)master->octets, WRAP_KEY_SIZE},
	    SLICE("postern-signerd"), buf_slice(&text), key_r->octets,
	    WRAP_KEY_SIZE, err);
	buf_clear(&text);
	return rc;
}

int
wrap_public(
    const struct wrap_key *key, struct wrap_key *public_r, struct err *err)
{
	EVP_PKEY *private = EVP_PKEY_new_raw_private_key(
	    EVP_PKEY_X25519, NULL, key->octets, WRAP_KEY_SIZE);
	size_t n = WRAP_KEY_SIZE;
	const int rc = private == NULL ? 0
				       : EVP_PKEY_get_raw_public_key(
					     private, public_r->octets, &n);

	EVP_PKEY_free(private);
	return rc == 1 ? 0 : err_set(err, "no public half of a wrapping key");
}

/* X25519; OpenSSL refuses a peer of small order by itself. */
static int
agree(EVP_PKEY *private, const unsigned char *public,
    unsigned char shared_r[WRAP_KEY_SIZE], struct err *err)
{
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(
	    EVP_PKEY_X25519, NULL, public, WRAP_KEY_SIZE);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(private, NULL);
	size_t n = WRAP_KEY_SIZE;
	int rc = -1;

	if (peer == NULL || context == NULL ||
	    EVP_PKEY_derive_init(context) != 1 ||
	    EVP_PKEY_derive_set_peer(context, peer) != 1 ||
	    EVP_PKEY_derive(context, shared_r, &n) != 1 || n != WRAP_KEY_SIZE)
		(void)err_set(err, "the key agreement failed");
	else
		rc = 0;
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(peer);
	return rc;
}

/* "CLASS NUL NAME" behind what the text is for. */
static void
add_place(struct buf *text, struct slice class_name, struct slice name)
{
	(void)buf_add_slice(text, class_name);
	(void)buf_add_char(text, '\0');
	(void)buf_add_slice(text, name);
}

static int
seal_key(const unsigned char shared[WRAP_KEY_SIZE], const char *ephemeral,
    const struct wrap_key *public, struct slice class_name, struct slice name,
    struct seal_key *key_r, struct err *err)
{
	char salt[2 * WRAP_KEY_SIZE];
	struct buf info;
	int rc;

	memcpy(salt, ephemeral, WRAP_KEY_SIZE);
	memcpy(salt + WRAP_KEY_SIZE, public->octets, WRAP_KEY_SIZE);
	buf_init(&info, INFO_MAX);
	(void)buf_add_text(&info, "postern wrap 1 ");
	add_place(&info, class_name, name);
	if (info.overflowed)
		rc = err_set(err, "the name of a key file is too long");
	else
		rc = hkdf((struct slice){(const char *)shared, WRAP_KEY_SIZE},
		    (struct slice){salt, sizeof(salt)}, buf_slice(&info), key_r,
		    sizeof(*key_r), err);
	buf_clear(&info);
	return rc;
}

/* ---- AES-256-GCM ---- */

/* Starts one way or the other and takes the associated data in. */
static EVP_CIPHER_CTX *
start_cipher(const struct seal_key *key, const char *head,
    struct slice class_name, struct slice name, int is_sealing)
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	struct buf place;
	int n;
	int rc;

	buf_init(&place, INFO_MAX);
	(void)buf_add(&place, head, HEAD_SIZE);
	add_place(&place, class_name, name);
	rc = cipher != NULL && !place.overflowed &&
	     EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key->key,
		 key->nonce, is_sealing) == 1 &&
	     EVP_CipherUpdate(cipher, NULL, &n, (const unsigned char *)place.p,
		 (int)place.n) == 1;
	buf_clear(&place);
	if (rc)
		return cipher;
	EVP_CIPHER_CTX_free(cipher);
	return NULL;
}

static int
add_sealed(struct buf *out, EVP_CIPHER_CTX *cipher, struct slice secret)
{
	char *room = buf_reserve(out, secret.n + TAG_SIZE);
	unsigned char *text = (unsigned char *)room;
	int n = 0;
	int last = 0;

	if (room == NULL || cipher == NULL ||
	    EVP_EncryptUpdate(cipher, text, &n, (const unsigned char *)secret.p,
		(int)secret.n) != 1 ||
	    EVP_EncryptFinal_ex(cipher, text + n, &last) != 1 ||
	    (size_t)n + (size_t)last != secret.n ||
	    EVP_CIPHER_CTX_ctrl(
		cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, text + secret.n) != 1)
		return -1;
	buf_extend(out, secret.n + TAG_SIZE);
	return 0;
}

int
wrap_seal(const struct wrap_key *public, struct slice class_name,
    struct slice name, struct slice secret, struct buf *out_r, struct err *err)
{
	EVP_PKEY *ephemeral = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	EVP_CIPHER_CTX *cipher = NULL;
	unsigned char shared[WRAP_KEY_SIZE];
	struct seal_key key;
	char head[HEAD_SIZE] = MAGIC;
	size_t n = WRAP_KEY_SIZE;
	int rc = -1;

	if (secret.n > WRAP_SECRET_MAX) {
		(void)err_set(err, "a private key is too large");
		goto out;
	}
	if (ephemeral == NULL ||
	    EVP_PKEY_get_raw_public_key(
		ephemeral, (unsigned char *)head + MAGIC_SIZE, &n) != 1) {
		(void)err_set(err, "no key to seal with");
		goto out;
	}
	if (agree(ephemeral, public->octets, shared, err) == -1 ||
	    seal_key(shared, head + MAGIC_SIZE, public, class_name, name, &key,
		err) == -1)
		goto out;
	cipher = start_cipher(&key, head, class_name, name, 1);
	if (buf_add(out_r, head, HEAD_SIZE) == -1 ||
	    add_sealed(out_r, cipher, secret) == -1)
		(void)err_set(err, "a private key could not be sealed");
	else
		rc = 0;
out:
	OPENSSL_cleanse(shared, sizeof(shared));
	OPENSSL_cleanse(&key, sizeof(key));
	EVP_CIPHER_CTX_free(cipher);
	EVP_PKEY_free(ephemeral);
	return rc;
}

/* Nothing is put in out unless the tag is right. */
static int
add_opened(struct buf *out, EVP_CIPHER_CTX *cipher, struct slice text,
    struct slice tag)
{
	/* One octet more: an empty secret has room, too. */
	char *room = buf_reserve(out, text.n + 1);
	unsigned char *plain = (unsigned char *)room;
	int n = 0;
	int last = 0;

	if (room == NULL || cipher == NULL ||
	    EVP_DecryptUpdate(cipher, plain, &n, (const unsigned char *)text.p,
		(int)text.n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE,
		(void *)(uintptr_t)tag.p) != 1 ||
	    EVP_DecryptFinal_ex(cipher, plain + n, &last) != 1) {
		if (room != NULL)
			OPENSSL_cleanse(room, text.n);
		return -1;
	}
	buf_extend(out, text.n);
	return 0;
}

int
wrap_open(const struct wrap_key *key, struct slice class_name,
    struct slice name, struct slice sealed, struct buf *secret_r,
    struct err *err)
{
	EVP_PKEY *private = NULL;
	EVP_CIPHER_CTX *cipher = NULL;
	struct wrap_key public;
	unsigned char shared[WRAP_KEY_SIZE];
	struct seal_key keys;
	int rc = -1;

	if (sealed.n < WRAP_OVERHEAD ||
	    sealed.n > WRAP_SECRET_MAX + WRAP_OVERHEAD ||
	    memcmp(sealed.p, MAGIC, MAGIC_SIZE) != 0)
		return err_set(err, "it is not a wrapped key of this version");
	private = EVP_PKEY_new_raw_private_key(
	    EVP_PKEY_X25519, NULL, key->octets, WRAP_KEY_SIZE);
	if (private == NULL || wrap_public(key, &public, err) == -1 ||
	    agree(private, (const unsigned char *)sealed.p + MAGIC_SIZE, shared,
		err) == -1 ||
	    seal_key(shared, sealed.p + MAGIC_SIZE, &public, class_name, name,
		&keys, err) == -1) {
		(void)err_set(err, "its wrapping is damaged");
		goto out;
	}
	cipher = start_cipher(&keys, sealed.p, class_name, name, 0);
	if (add_opened(secret_r, cipher,
		(struct slice){sealed.p + HEAD_SIZE, sealed.n - WRAP_OVERHEAD},
		(struct slice){sealed.p + sealed.n - TAG_SIZE, TAG_SIZE}) == -1)
		(void)err_set(err,
		    "it does not open: damaged, moved, or wrapped under "
		    "another master key");
	else
		rc = 0;
out:
	OPENSSL_cleanse(shared, sizeof(shared));
	OPENSSL_cleanse(&keys, sizeof(keys));
	EVP_CIPHER_CTX_free(cipher);
	EVP_PKEY_free(private);
	return rc;
}

void
wrap_wipe(struct buf *secret)
{
	if (secret->p != NULL)
		OPENSSL_cleanse(secret->p, secret->capacity);
	buf_clear(secret);
}
