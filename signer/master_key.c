/* SPDX-License-Identifier: ISC */
/*
 * Finds or makes the master key.
 * Runs in: postern-signerd's broker, at its start.  Trusts: the service
 * manager's credentials; files in its own state directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signer/durable_file.h"
#include "signer/master_key.h"

#define TEXT_DIGITS (2 * WRAP_KEY_SIZE)

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* 32 octets, or 64 digits with a line end or without. */
static int
read_value(const char *text, size_t n, struct wrap_key *key_r)
{
	if (n == WRAP_KEY_SIZE) {
		memcpy(key_r->octets, text, n);
		return 0;
	}
	if (n == TEXT_DIGITS + 1 && text[TEXT_DIGITS] == '\n')
		n--;
	if (n != TEXT_DIGITS)
		return -1;
	for (size_t i = 0; i < WRAP_KEY_SIZE; i++) {
		const int high = digit_value(text[2 * i]);
		const int low = digit_value(text[2 * i + 1]);

		if (high == -1 || low == -1)
			return -1;
		key_r->octets[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

/* 1 read, 0 there is none, -1 with a sentence. */
static int
read_key(const char *path, struct wrap_key *key_r, struct err *err)
{
	char text[TEXT_DIGITS + 2];
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = -1;

	if (fd == -1 && errno == ENOENT)
		return 0;
	if (fd != -1)
		n = read(fd, text, sizeof(text));
	if (n == -1)
		(void)err_set(err, "%s: %s", path, strerror(errno));
	else if (read_value(text, (size_t)n, key_r) == -1)
		(void)err_set(err,
		    "%s is not a master key: 32 octets, or 64 hexadecimal "
		    "digits",
		    path);
	else
		rc = 1;
	close_if_open(&fd);
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static int
make_key(const char *dir, const char *path, bool has_keys,
    struct master_key *master_r, struct err *err)
{
	if (has_keys)
		return err_set(err,
		    "%s is missing, and there are private keys that open with "
		    "nothing else: bring it back, or the systemd credential "
		    "%s",
		    path, MASTER_KEY_CREDENTIAL);
	if (getrandom(master_r->key.octets, WRAP_KEY_SIZE, 0) != WRAP_KEY_SIZE)
		return err_set(err, "no random octets: %s", strerror(errno));
	master_r->was_made = true;
	return durable_file_write(dir, MASTER_KEY_FILE,
	    (struct slice){(char *)master_r->key.octets, WRAP_KEY_SIZE}, err);
}

int
master_key_load(const char *dir, bool has_keys, struct master_key *master_r,
    struct err *err)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	char path[4096];
	struct wrap_key of_file;
	int has_file;
	int has_credential = 0;
	int rc = 0;

	memset(master_r, 0, sizeof(*master_r));
	if (credentials != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s", credentials,
		    MASTER_KEY_CREDENTIAL);
		has_credential = read_key(path, &master_r->key, err);
	}
	(void)snprintf(path, sizeof(path), "%s/%s", dir, MASTER_KEY_FILE);
	has_file = read_key(path, &of_file, err);
	if (has_credential == -1 || has_file == -1) {
		rc = -1;
	} else if (has_credential == 1) {
		master_r->is_credential = true;
		if (has_file == 1 && has_keys &&
		    CRYPTO_memcmp(of_file.octets, master_r->key.octets,
			WRAP_KEY_SIZE) != 0)
			rc = err_set(err,
			    "the systemd credential %s is another key than "
			    "%s, under which the private keys are wrapped; "
			    "make the credential from that file, then remove "
			    "it",
			    MASTER_KEY_CREDENTIAL, path);
	} else if (has_file == 1) {
		master_r->key = of_file;
	} else {
		rc = make_key(dir, path, has_keys, master_r, err);
	}
	OPENSSL_cleanse(&of_file, sizeof(of_file));
	return rc;
}

const char *
master_key_text(const struct master_key *master)
{
	return master->is_credential
		   ? "a systemd credential: keys at rest and copies of the "
		     "state directory are useless without it; who is root, or "
		     "postern-signerd itself, can use them"
		   : "the file master.key beside them (mode 0600): a backup "
		     "of the state directory holds it, and opens every private "
		     "key; with a systemd credential postern-master it would "
		     "not";
}
