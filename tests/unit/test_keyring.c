/* SPDX-License-Identifier: ISC */
/*
 * Private keys in a class's folder and in a token (SoftHSM), and the master
 * key.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "signer/keyring.h"
#include "signer/keyring_token.h"
#include "signer/master_key.h"
#include "tests/unit/tap.h"

#define PIN "1234"
#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

struct fixture {
	char root[64];
	char folder[128];
	struct wrap_key key;
	struct wrap_key public;
};

static void
run(char *const *words)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open("/dev/null", O_RDWR);

		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
		(void)execvp(words[0], words);
		_exit(127);
	}
	if (pid == -1 || waitpid(pid, &status, 0) == -1 || status != 0)
		bug("%s failed", words[0]);
}

static void
set_up(struct fixture *f)
{
	struct wrap_key master = {.octets = {7}};
	struct err err;

	(void)snprintf(f->root, sizeof(f->root), "/tmp/keyring-XXXXXX");
	if (mkdtemp(f->root) == NULL)
		bug("no folder");
	(void)snprintf(f->folder, sizeof(f->folder), "%s/sign", f->root);
	if (mkdir(f->folder, 0700) == -1 ||
	    wrap_class_key(&master, "sign", &f->key, &err) == -1 ||
	    wrap_public(&f->key, &f->public, &err) == -1)
		bug("no fixture");
}

static void
write_file(const char *folder, const char *name, struct slice octets)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1 || write(fd, octets.p, octets.n) != (ssize_t)octets.n)
		bug("%s", path);
	(void)close(fd);
}

static void
put_sealed(struct fixture *f, const char *name, struct slice secret)
{
	struct buf sealed;
	struct err err;

	buf_init(&sealed, WRAP_SECRET_MAX);
	if (wrap_seal(&f->public, SLICE("sign"), slice_of(name), secret,
		&sealed, &err) == -1)
		bug("%s", err.text);
	write_file(f->folder, name, buf_slice(&sealed));
	buf_clear(&sealed);
}

static void
put_key(struct fixture *f, const char *name)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	const int n = i2d_PKCS8_PRIV_KEY_INFO(info, &der);

	put_sealed(f, name, (struct slice){(char *)der, (size_t)n});
	OPENSSL_free(der);
	PKCS8_PRIV_KEY_INFO_free(info);
	EVP_PKEY_free(key);
}

static void
test_files(struct fixture *f)
{
	struct keyring *keyring = keyring_new(f->folder, &f->key);
	EVP_PKEY *first;
	struct buf secret;
	struct err err;

	put_key(f, "k-1");
	first = keyring_key(keyring, SLICE("k-1"), &err);
	ok(first != NULL, "a key opens");
	ok(first == keyring_key(keyring, SLICE("k-1"), &err), "and stays open");
	ok(keyring_key(keyring, SLICE("k-2"), &err) == NULL,
	    "one that is not there: %s", err.text);
	ok(keyring_key(keyring, SLICE("../sign/k-1"), &err) == NULL,
	    "nothing outside of the folder: %s", err.text);
	ok(keyring_key(keyring, SLICE(""), &err) == NULL, "nor no name");
	put_sealed(f, "k-3", SLICE("no key"));
	ok(keyring_key(keyring, SLICE("k-3"), &err) == NULL,
	    "nor what is no key: %s", err.text);
	write_file(f->folder, "k-4", SLICE("short"));
	ok(keyring_key(keyring, SLICE("k-4"), &err) == NULL,
	    "nor a damaged file: %s", err.text);
	put_sealed(f, "k-5", SLICE("secret"));
	buf_init(&secret, 64);
	is_int(keyring_secret(keyring, SLICE("k-5"), &secret, &err), 0,
	    "a secret opens");
	keyring_lock(keyring);
	buf_reset(&secret);
	ok(keyring_secret(keyring, SLICE("k-5"), &secret, &err) == -1,
	    "but not without the wrapping key: %s", err.text);
	wrap_wipe(&secret);
	keyring_free(keyring);
}

static void
test_many(struct fixture *f)
{
	struct keyring *keyring = keyring_new(f->folder, &f->key);
	bool all = true;
	struct err err;

	for (int i = 0; i < KEYRING_KEYS_MAX + 5; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "m-%d", i);
		put_key(f, name);
		all &= keyring_key(keyring, slice_of(name), &err) != NULL;
	}
	ok(all, "more keys than are kept");
	ok(keyring_key(keyring, SLICE("m-0"), &err) != NULL,
	    "the oldest is opened again");
	keyring_free(keyring);
}

static bool
signs(EVP_PKEY *key, EVP_PKEY *public)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char signature[1024];
	size_t n = sizeof(signature);
	bool is_good;

	is_good =
	    EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestSign(
		context, signature, &n, (const unsigned char *)"mail", 4) == 1;
	EVP_MD_CTX_free(context);
	context = EVP_MD_CTX_new();
	is_good = is_good &&
		  EVP_DigestVerifyInit(
		      context, NULL, EVP_sha256(), NULL, public) == 1 &&
		  EVP_DigestVerify(context, signature, n,
		      (const unsigned char *)"mail", 4) == 1;
	EVP_MD_CTX_free(context);
	return is_good;
}

/* A token below the test's folder with one RSA key, which we know, too. */
static EVP_PKEY *
make_token(struct fixture *f)
{
	static char *const init[] = {"softhsm2-util", "--init-token", "--free",
	    "--label", "postern", "--pin", PIN, "--so-pin", PIN, NULL};
	char pem[256];
	char *import[] = {"softhsm2-util", "--import", pem, "--token",
	    "postern", "--label", "mail", "--id", "01", "--pin", PIN, NULL};
	char text[512];
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	FILE *file;

	(void)snprintf(text, sizeof(text), "%s/tokens", f->root);
	(void)mkdir(text, 0700);
	(void)snprintf(
	    text, sizeof(text), "directories.tokendir = %s/tokens\n", f->root);
	write_file(f->root, "softhsm.conf", slice_of(text));
	(void)snprintf(text, sizeof(text), "%s/softhsm.conf", f->root);
	(void)setenv("SOFTHSM2_CONF", text, 1);
	(void)snprintf(pem, sizeof(pem), "%s/key.pem", f->root);
	file = fopen(pem, "we");
	if (file == NULL)
		bug("%s", pem);
	(void)PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	(void)fclose(file);
	run(init);
	run(import);
	return key;
}

static void
test_token(struct fixture *f)
{
	static const char uri[] = "pkcs11:token=postern;object=mail";
	struct keyring *keyring;
	char name[TOKEN_PIN_NAME_SIZE];
	EVP_PKEY *known;
	EVP_PKEY *key;
	struct err err;

	if (access(MODULE, R_OK) == -1 ||
	    access("/usr/bin/softhsm2-util", X_OK) == -1) {
		skip(5, "SoftHSM is not installed");
		return;
	}
	known = make_token(f);
	keyring = keyring_new(f->folder, &f->key);
	is_int(keyring_prepare_pkcs11("", &err), 0, "no module is no failure");
	is_int(keyring_prepare_pkcs11(MODULE, &err), 0, "the module loads");
	ok(keyring_key(keyring, slice_of(uri), &err) == NULL,
	    "a token without its PIN: %s", err.text);
	token_pin_name(slice_of(uri), name);
	put_sealed(f, name, SLICE(PIN));
	key = keyring_key(keyring, slice_of(uri), &err);
	ok(key != NULL, "a key in a token");
	ok(key != NULL && signs(key, known), "signs");
	keyring_free(keyring);
	EVP_PKEY_free(known);
}

static void
test_master(struct fixture *f)
{
	struct master_key first;
	struct master_key again;
	char path[128];
	struct stat st;
	struct err err;

	(void)unsetenv("CREDENTIALS_DIRECTORY");
	is_int(master_key_load(f->root, true, &first, &err), -1,
	    "keys without their master key: %s", err.text);
	ok(master_key_load(f->root, false, &first, &err) == 0 && first.was_made,
	    "the first start makes one");
	(void)snprintf(path, sizeof(path), "%s/" MASTER_KEY_FILE, f->root);
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600,
	    "for its owner alone");
	ok(master_key_load(f->root, true, &again, &err) == 0 &&
		!again.was_made &&
		memcmp(&first.key, &again.key, sizeof(first.key)) == 0,
	    "the next start finds it");
	ok(strstr(master_key_text(&again), "backup") != NULL,
	    "a backup holds it, and that is said");
	(void)setenv("CREDENTIALS_DIRECTORY", f->folder, 1);
	write_file(f->folder, MASTER_KEY_CREDENTIAL,
	    SLICE("000102030405060708090a0b0c0d0e0f"
		  "101112131415161718191a1b1c1d1e1f\n"));
	is_int(master_key_load(f->root, true, &again, &err), -1,
	    "another credential than what keys are wrapped under: %s",
	    err.text);
	(void)unlink(path);
	ok(master_key_load(f->root, true, &again, &err) == 0 &&
		again.is_credential && again.key.octets[31] == 0x1f,
	    "a credential");
	write_file(f->folder, MASTER_KEY_CREDENTIAL, SLICE("nonsense"));
	is_int(master_key_load(f->root, true, &again, &err), -1,
	    "one that is none: %s", err.text);
}

int
main(void)
{
	struct fixture f;
	char *remove[] = {"rm", "-rf", f.root, NULL};

	set_up(&f);
	test_files(&f);
	test_many(&f);
	test_token(&f);
	test_master(&f);
	run(remove);
	return tap_done();
}
