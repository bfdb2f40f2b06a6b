/* SPDX-License-Identifier: ISC */
/*
 * Private keys of a class, opened and kept.
 * Runs in: postern-signerd's workers.  Trusts: the broker for which key is
 * meant; a key file only when it opens under the class's wrapping key and
 * its own name.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/printable.h"
#include "signer/keyring.h"
#include "signer/keyring_token.h"

#define REF_MAX 512
#define FOLDER_MAX 512
/* A power of two, near KEYRING_KEYS_MAX. */
#define SLOTS 1024

struct held_key {
	struct held_key *next;
	EVP_PKEY *key;
	uint64_t used; /* the greatest was used last */
	char ref[];
};

struct keyring {
	char folder[FOLDER_MAX];
	const char *class_name; /* within folder */
	int folder_fd;
	struct wrap_key wrapping_key;
	struct held_key *slots[SLOTS];
	size_t count;
	uint64_t uses;
};

struct keyring *
keyring_new(const char *folder, const struct wrap_key *wrapping_key)
{
	struct keyring *keyring = xcalloc(1, sizeof(*keyring));
	const char *last;

	if (slice_copy(slice_of(folder), keyring->folder,
		sizeof(keyring->folder)) == -1)
		fatal("the name of a key folder is too long");
	last = strrchr(keyring->folder, '/');
	keyring->class_name = last == NULL ? keyring->folder : last + 1;
	keyring->folder_fd = -1;
	keyring->wrapping_key = *wrapping_key;
	return keyring;
}

void
keyring_free(struct keyring *keyring)
{
	if (keyring == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		while (keyring->slots[i] != NULL) {
			struct held_key *held = keyring->slots[i];

			keyring->slots[i] = held->next;
			EVP_PKEY_free(held->key);
			free(held);
		}
	close_if_open(&keyring->folder_fd);
	OPENSSL_cleanse(keyring, sizeof(*keyring));
	free(keyring);
}

void
keyring_lock(struct keyring *keyring)
{
	if (keyring != NULL)
		OPENSSL_cleanse(
		    &keyring->wrapping_key, sizeof(keyring->wrapping_key));
}

/* ---- files ---- */

/* A plain name: nothing that leads out of the folder. */
static bool
is_name(struct slice ref)
{
	if (ref.n == 0 || ref.n > 255 || ref.p[0] == '.')
		return false;
	for (size_t i = 0; i < ref.n; i++)
		if (ref.p[i] == '/' || (unsigned char)ref.p[i] < '!' ||
		    (unsigned char)ref.p[i] > '~')
			return false;
	return true;
}

static int
read_all(int fd, size_t size, struct buf *out)
{
	char *room = buf_reserve(out, size + 1);
	size_t done = 0;

	while (room != NULL && done < size) {
		const ssize_t n = read(fd, room + done, size - done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	if (room == NULL)
		return -1;
	buf_extend(out, size);
	return 0;
}

static int
read_file(struct keyring *keyring, const char *name, struct buf *sealed,
    struct err *err)
{
	struct stat st;
	int fd = -1;
	int rc = -1;

	if (keyring->folder_fd == -1)
		keyring->folder_fd =
		    open(keyring->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd =
	    openat(keyring->folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1)
		(void)err_set(err, "private key %s: %s", name, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_size < WRAP_OVERHEAD ||
		 (size_t)st.st_size > WRAP_SECRET_MAX + WRAP_OVERHEAD)
		(void)err_set(err, "private key %s is damaged", name);
	else if (read_all(fd, (size_t)st.st_size, sealed) == -1)
		(void)err_set(err, "private key %s cannot be read", name);
	else
		rc = 0;
	close_if_open(&fd);
	return rc;
}

int
keyring_secret(struct keyring *keyring, struct slice ref, struct buf *secret_r,
    struct err *err)
{
	char name[256];
	struct buf sealed;
	int rc;

	if (!is_name(ref) || slice_copy(ref, name, sizeof(name)) == -1)
		return err_set(err, "that is no name of a private key");
	buf_init(&sealed, WRAP_SECRET_MAX + WRAP_OVERHEAD + 1);
	rc = read_file(keyring, name, &sealed, err);
	if (rc == 0) {
		rc = wrap_open(&keyring->wrapping_key,
		    slice_of(keyring->class_name), ref, buf_slice(&sealed),
		    secret_r, err);
		if (rc == -1)
			(void)err_wrap(err, "private key %s", name);
	}
	buf_clear(&sealed);
	return rc;
}

static EVP_PKEY *
open_file(struct keyring *keyring, struct slice ref, struct err *err)
{
	struct buf secret;
	const unsigned char *at;
	PKCS8_PRIV_KEY_INFO *info;
	EVP_PKEY *key = NULL;

	buf_init(&secret, WRAP_SECRET_MAX + 1);
	if (keyring_secret(keyring, ref, &secret, err) == 0) {
		at = (const unsigned char *)secret.p;
		info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)secret.n);
		if (info != NULL)
			key = EVP_PKCS82PKEY(info);
		PKCS8_PRIV_KEY_INFO_free(info);
		if (key == NULL)
			(void)err_set(
			    err, "private key %.*s is damaged", SLICE_ARG(ref));
	}
	wrap_wipe(&secret);
	return key;
}

/* The PIN of a token lies in the folder, under a name made from its URI. */
static EVP_PKEY *
open_token(struct keyring *keyring, const char *uri, struct err *err)
{
	char name[TOKEN_PIN_NAME_SIZE];
	struct buf pin;
	EVP_PKEY *key = NULL;

	token_pin_name(slice_of(uri), name);
	buf_init(&pin, WRAP_SECRET_MAX + 1);
	if (keyring_secret(keyring, slice_of(name), &pin, err) == 0)
		key = token_key(uri, buf_text(&pin), err);
	wrap_wipe(&pin);
	return key;
}

/* ---- what is kept ---- */

static struct held_key **
slot_of(struct keyring *keyring, struct slice ref)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < ref.n; i++)
		hash = (hash ^ (unsigned char)ref.p[i]) * 16777619u;
	return &keyring->slots[(hash ^ hash >> 16) % SLOTS];
}

static void
drop_oldest(struct keyring *keyring)
{
	struct held_key **oldest = NULL;
	struct held_key *held;

	for (size_t i = 0; i < SLOTS; i++)
		for (struct held_key **at = &keyring->slots[i]; *at != NULL;
		     at = &(*at)->next)
			if (oldest == NULL || (*at)->used < (*oldest)->used)
				oldest = at;
	if (oldest == NULL)
		return;
	held = *oldest;
	*oldest = held->next;
	EVP_PKEY_free(held->key);
	free(held);
	keyring->count--;
}

EVP_PKEY *
keyring_key(struct keyring *keyring, struct slice ref, struct err *err)
{
	struct held_key **slot = slot_of(keyring, ref);
	struct held_key *held = *slot;
	EVP_PKEY *key;

	while (held != NULL && !slice_equals(ref, slice_of(held->ref)))
		held = held->next;
	if (held == NULL) {
		if (ref.n == 0 || ref.n > REF_MAX ||
		    memchr(ref.p, '\0', ref.n) != NULL) {
			(void)err_set(err, "that is no private key of ours");
			return NULL;
		}
		held = xcalloc(1, sizeof(*held) + ref.n + 1);
		memcpy(held->ref, ref.p, ref.n);
		key = slice_starts_nocase(ref, "pkcs11:")
			  ? open_token(keyring, held->ref, err)
			  : open_file(keyring, ref, err);
		if (key == NULL) {
			free(held);
			return NULL;
		}
		if (keyring->count >= KEYRING_KEYS_MAX)
			drop_oldest(keyring);
		held->key = key;
		held->next = *slot;
		*slot = held;
		keyring->count++;
	}
	held->used = ++keyring->uses;
	return held->key;
}
