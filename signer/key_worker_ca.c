/* SPDX-License-Identifier: ISC */
/*
 * Operations of the built-in CA, and PKCS #12.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: the broker for what is asked; nothing of a file.  The CA's key is
 * opened only when it is to sign.
 */
#include <openssl/crypto.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "signer/key_issue.h"
#include "signer/key_work.h"
#include "signer/keyring.h"

/* CA/B Forum S/MIME BR: no certificate of a person lasts longer. */
#define DAYS_MAX 825
#define CA_DAYS_MAX 7300
/* How often PKCS #12 is hashed that we make. */
#define PKCS12_ITERATIONS 600000

int64_t
key_work_days_after(const struct key_work *task, uint64_t most)
{
	uint64_t days;

	if (slice_to_u64(key_work_fact(task, "days"), &days) == -1 ||
	    days == 0 || days > most)
		days = most;
	return task->work->now_s + (int64_t)days * KEY_DAY_S;
}

static struct issue
issue_of(const struct key_work *task, uint64_t most_days)
{
	return (struct issue){.name = key_work_fact(task, "name"),
	    .address = key_work_fact(task, "address"),
	    .serial = key_work_fact(task, "serial"),
	    .crl_url = key_work_fact(task, "crl_url"),
	    .now_s = task->work->now_s,
	    .not_after_s = key_work_days_after(task, most_days)};
}

int
key_op_ca(struct key_work *task)
{
	const struct issue issue = issue_of(task, CA_DAYS_MAX);
	const struct x509_list none = {.count = 0};
	EVP_PKEY *key = key_work_generate(task);
	X509 *certificate =
	    key == NULL ? NULL : issue_ca(key, &issue, &task->err);
	struct x509_facts facts;
	int rc = certificate == NULL
		     ? -1
		     : x509_read_facts(certificate, &facts, &task->err);

	if (rc == 0)
		rc = key_work_seal(task, key, KEY_CERTIFIES);
	if (rc == 0)
		rc = key_work_certificates(task, certificate, &none);
	if (rc == 0)
		key_work_say(task, &facts);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return rc;
}

int
key_work_open_ca(struct key_work *task, X509 **ca_r, EVP_PKEY **key_r)
{
	struct ipc_list keys = task->work->keys;
	struct ipc_record_work_key record;

	*ca_r = NULL;
	while (ipc_work_key_next(&keys, &record))
		if (record.use == WORK_KEY_ISSUER) {
			*key_r = keyring_key(
			    task->context->keyring, record.ref, &task->err);
			if (*key_r != NULL)
				*ca_r =
				    x509_from_der(record.public, &task->err);
			return *ca_r == NULL ? -1 : 0;
		}
	return err_set(&task->err, "there is no CA");
}

/* A new certificate with the CA's as its chain. */
static int
give_certificate(struct key_work *task, X509 *certificate, X509 *ca)
{
	const struct x509_list chain = {.count = 1, .certificates = {ca}};
	struct x509_facts facts;

	if (x509_read_facts(certificate, &facts, &task->err) == -1 ||
	    key_work_certificates(task, certificate, &chain) == -1)
		return -1;
	key_work_say(task, &facts);
	key_work_say_ca(task, ca);
	return 0;
}

/* Of a request that came, or new. */
static EVP_PKEY *
key_to_certify(struct key_work *task, bool *is_new_r)
{
	const struct slice file = key_part(&task->parts, "file");
	EVP_PKEY *key;
	char algorithm[64];
	unsigned bits;

	*is_new_r = file.n == 0;
	if (*is_new_r)
		return key_work_generate(task);
	if (file.n > KEY_FILE_MAX) {
		(void)err_set(&task->err, "the file is too large");
		return NULL;
	}
	key = key_read_request(file, &task->err);
	if (key != NULL &&
	    x509_check_public(key, algorithm, &bits, &task->err) == -1) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

int
key_op_issue(struct key_work *task)
{
	const struct issue issue = issue_of(task, DAYS_MAX);
	EVP_PKEY *key = NULL;
	EVP_PKEY *ca_key;
	X509 *certificate = NULL;
	X509 *ca;
	bool is_new = false;
	int rc = key_work_open_ca(task, &ca, &ca_key);

	if (rc == 0 && (key = key_to_certify(task, &is_new)) == NULL)
		rc = -1;
	if (rc == 0 && (certificate = issue_certificate(
			    key, &issue, ca, ca_key, &task->err)) == NULL)
		rc = -1;
	if (rc == 0 && is_new)
		rc = key_work_seal(task, key, KEY_SIGNS | KEY_ENCRYPTS);
	if (rc == 0)
		rc = give_certificate(task, certificate, ca);
	X509_free(certificate);
	EVP_PKEY_free(key);
	X509_free(ca);
	return rc;
}

/* ---- PKCS #12 ---- */

static int
add_pkcs12(struct key_work *task, EVP_PKEY *key, X509 *certificate,
    const struct x509_list *chain)
{
	const struct slice words = key_part(&task->parts, "passphrase");
	char *passphrase = slice_dup(words);
	char *name = slice_dup(key_work_fact(task, "address"));
	STACK_OF(X509) *others = sk_X509_new_null();
	PKCS12 *file = NULL;
	unsigned char *der = NULL;
	int n = 0;
	int rc = -1;

	for (size_t i = 0; i < chain->count; i++)
		if (chain->certificates[i] != certificate)
			(void)sk_X509_push(others, chain->certificates[i]);
	file = PKCS12_create(passphrase, name, key, certificate, others,
	    NID_aes_256_cbc, NID_aes_256_cbc, PKCS12_ITERATIONS,
	    PKCS12_ITERATIONS, 0);
	if (file != NULL)
		n = i2d_PKCS12(file, &der);
	if (n <= 0)
		(void)err_set(&task->err, "no PKCS #12 file was made");
	else
		rc = key_work_add(
		    task, "pkcs12", (struct slice){(char *)der, (size_t)n});
	PKCS12_free(file);
	OPENSSL_free(der);
	sk_X509_free(others);
	OPENSSL_cleanse(passphrase, strlen(passphrase));
	free(passphrase);
	free(name);
	return rc;
}

int
key_op_hand_out(struct key_work *task)
{
	const struct issue issue = issue_of(task, DAYS_MAX);
	EVP_PKEY *key = NULL;
	EVP_PKEY *ca_key;
	X509 *certificate = NULL;
	X509 *ca;
	struct x509_list chain = {.count = 0};
	int rc = key_work_open_ca(task, &ca, &ca_key);

	if (rc == 0 && key_part(&task->parts, "passphrase").n == 0)
		rc = err_set(&task->err,
		    "a private key leaves only under a pass phrase");
	if (rc == 0 && (key = key_work_generate(task)) == NULL)
		rc = -1;
	if (rc == 0 && (certificate = issue_certificate(
			    key, &issue, ca, ca_key, &task->err)) == NULL)
		rc = -1;
	chain.certificates[0] = ca;
	chain.count = 1;
	if (rc == 0)
		rc = add_pkcs12(task, key, certificate, &chain);
	if (rc == 0)
		rc = give_certificate(task, certificate, ca);
	X509_free(certificate);
	EVP_PKEY_free(key);
	X509_free(ca);
	return rc;
}

/* Certificates alone: for programs that take nothing else. */
int
key_op_export(struct key_work *task)
{
	struct x509_list list = {.count = 0};
	int rc =
	    x509_read_file(key_part(&task->parts, "file"), &list, &task->err);

	if (rc == 0)
		rc = add_pkcs12(task, NULL, key_work_main(&list), &list);
	x509_list_clear(&list);
	return rc;
}
