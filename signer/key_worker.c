/* SPDX-License-Identifier: ISC */
/*
 * One operation with a key, from facts and parts to facts and parts
 * (signer/key_task.h).
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: the broker for what is asked; nothing of a file.  It can open no key
 * but the built-in CA's, and only when that is to sign (else keyring_lock()):
 * private parts that are made or imported leave it sealed to the classes that
 * will use them.
 */
#include <openssl/crypto.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/key_import.h"
#include "signer/key_issue.h"
#include "signer/key_work.h"
#include "signer/keyring.h"
#include "signer/pgp_key.h"
#include "signer/wrap.h"

/* A file with what belongs to it, or a revocation list. */
#define CONTENT_MAX ((size_t)IPC_CRL_MAX)

/* Of one address, as many as the store gives. */
#define KNOWN_KEYS_MAX KEYSTORE_LIST_MAX

/* ---- facts and parts ---- */

struct slice
key_work_fact(const struct key_work *task, const char *name)
{
	return work_fact(task->work, name);
}

int
key_work_add(struct key_work *task, const char *name, struct slice data)
{
	return key_part_add(&task->results, name, data, &task->err);
}

static void
say_uses(struct key_work *task, unsigned uses)
{
	work_answer_fact(task->answer, "uses", "%s%s%s",
	    (uses & KEY_SIGNS) != 0 ? "sign " : "",
	    (uses & KEY_ENCRYPTS) != 0 ? "encrypt " : "",
	    (uses & KEY_CERTIFIES) != 0 ? "certify" : "");
}

static void
say_key(struct key_work *task, const struct key *key)
{
	struct work_answer *answer = task->answer;

	work_answer_fact(answer, "kind", "%s",
	    key->kind == KEY_PGP    ? "pgp"
	    : key->kind == KEY_DKIM ? "dkim"
				    : "smime");
	work_answer_fact(answer, "fingerprint", "%s", key->fingerprint);
	work_answer_fact(answer, "algorithm", "%s", key->algorithm);
	work_answer_fact(answer, "bits", "%u", key->bits);
	work_answer_fact(
	    answer, "not_before", "%lld", (long long)key->not_before_s);
	work_answer_fact(
	    answer, "not_after", "%lld", (long long)key->not_after_s);
	work_answer_fact(answer, "subject", "%s", key->subject);
	work_answer_fact(answer, "issuer", "%s", key->issuer);
	work_answer_fact(answer, "serial", "%s", key->serial);
	if (key->status == KEY_REVOKED)
		work_answer_fact(answer, "status", "revoked");
	say_uses(task, key->uses);
}

void
key_work_say(struct key_work *task, const struct x509_facts *facts)
{
	say_key(task, &facts->key);
	work_answer_fact(
	    task->answer, "public_digest", "%s", facts->public_digest);
	for (size_t i = 0; i < facts->address_count; i++)
		work_answer_fact(
		    task->answer, "address", "%s", facts->addresses[i]);
}

/* ---- sealing ---- */

/* Seals for one class, when the broker gave its key. */
static int
seal(struct key_work *task, const char *class_name, struct slice secret)
{
	char name[64];
	struct wrap_key public;
	struct buf sealed;
	int rc;

	(void)snprintf(name, sizeof(name), "seal.%s", class_name);
	if (key_unhex(
		key_work_fact(task, name), public.octets, WRAP_KEY_SIZE) == -1)
		return err_set(
		    &task->err, "no wrapping key for %s", class_name);
	buf_init(&sealed, WRAP_SECRET_MAX + WRAP_OVERHEAD);
	rc = wrap_seal(&public, slice_of(class_name),
	    key_work_fact(task, "ref"), secret, &sealed, &task->err);
	(void)snprintf(name, sizeof(name), "secret.%s", class_name);
	if (rc == 0)
		rc = key_work_add(task, name, buf_slice(&sealed));
	buf_clear(&sealed);
	return rc;
}

static int
to_pkcs8(EVP_PKEY *key, struct buf *secret, struct err *err)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	unsigned char *octets = NULL;
	const int n = info == NULL ? 0 : i2d_PKCS8_PRIV_KEY_INFO(info, &octets);
	const int rc = n > 0
			   ? buf_add(secret, octets, (size_t)n)
			   : err_set(err, "the private key cannot be written");

	OPENSSL_clear_free(octets, n > 0 ? (size_t)n : 0);
	PKCS8_PRIV_KEY_INFO_free(info);
	return rc;
}

/* For those classes whose work the key does. */
int
key_work_seal(struct key_work *task, EVP_PKEY *key, unsigned uses)
{
	struct buf secret;
	int rc;

	buf_init(&secret, WRAP_SECRET_MAX);
	rc = to_pkcs8(key, &secret, &task->err);
	if (rc == 0 && (uses & KEY_SIGNS) != 0)
		rc = seal(task, "sign", buf_slice(&secret));
	if (rc == 0 && (uses & KEY_ENCRYPTS) != 0)
		rc = seal(task, "open", buf_slice(&secret));
	if (rc == 0 && (uses & KEY_CERTIFIES) != 0)
		rc = seal(task, "key", buf_slice(&secret));
	wrap_wipe(&secret);
	return rc;
}

/* ---- certificates ---- */

/* public, and the others of the file as chain. */
int
key_work_certificates(
    struct key_work *task, X509 *own, const struct x509_list *all)
{
	struct buf der;
	int rc;

	buf_init(&der, KEY_FILE_MAX);
	rc = x509_to_der(own, &der, &task->err);
	if (rc == 0)
		rc = key_work_add(task, "public", buf_slice(&der));
	buf_reset(&der);
	for (size_t i = 0; rc == 0 && i < all->count; i++)
		if (all->certificates[i] != own)
			rc =
			    x509_to_der(all->certificates[i], &der, &task->err);
	if (rc == 0)
		rc = key_work_add(task, "chain", buf_slice(&der));
	buf_clear(&der);
	return rc;
}

static int
check_life(struct key_work *task, const struct x509_facts *facts)
{
	if (facts->key.uses == KEY_CERTIFIES)
		return err_set(&task->err,
		    "it is a CA's certificate; \"postern key anchor add\" "
		    "takes those");
	if (facts->address_count == 0)
		return err_set(
		    &task->err, "the certificate names no mail address");
	return 0;
}

static int
parse_smime(struct key_work *task)
{
	struct x509_list list = {.count = 0};
	struct x509_facts facts;
	X509 *certificate;
	int rc =
	    x509_read_file(key_part(&task->parts, "file"), &list, &task->err);

	if (rc == 0) {
		certificate = key_work_main(&list);
		rc = x509_read_facts(certificate, &facts, &task->err);
		if (rc == 0 && key_work_fact(task, "check_chain").n > 0)
			rc = key_work_check_chain(task, certificate);
		if (rc == 0)
			rc = key_work_certificates(task, certificate, &list);
		if (rc == 0) {
			key_work_say(task, &facts);
			key_work_say_issuer(task, certificate, &list);
		}
	}
	x509_list_clear(&list);
	return rc;
}

/* A certificate without a private key, where one may come, too. */
static bool
is_public_alone(const struct key_work *task)
{
	const struct slice file = key_part(&task->parts, "file");
	X509 *certificate;
	bool is_public;

	if (key_work_fact(task, "may_be_public").n == 0)
		return false;
	if (file.n > 0 && memmem(file.p, file.n, "-----BEGIN", 10) != NULL)
		return memmem(file.p, file.n, "PRIVATE KEY", 11) == NULL;
	certificate = x509_from_der(file, NULL);
	is_public = certificate != NULL;
	X509_free(certificate);
	return is_public;
}

static int
import_smime(struct key_work *task)
{
	struct key_import import;
	struct x509_facts facts;
	uint64_t number = 0;
	int rc;

	if (is_public_alone(task))
		return parse_smime(task);
	(void)slice_to_u64(key_work_fact(task, "number"), &number);
	if (key_import_file(key_part(&task->parts, "file"),
		key_part(&task->parts, "passphrase"), number, &import,
		&task->err) == -1)
		return -1;
	rc = x509_read_facts(import.certificate, &facts, &task->err);
	if (rc == 0)
		rc = check_life(task, &facts);
	if (rc == 0)
		rc = key_work_seal(task, import.key, facts.key.uses);
	if (rc == 0)
		rc = key_work_certificates(
		    task, import.certificate, &import.list);
	if (rc == 0) {
		key_work_say(task, &facts);
		key_work_say_issuer(task, import.certificate, &import.list);
	}
	key_import_clear(&import);
	return rc;
}

/*
 * Of several certificates the one that is meant is the first that is not a
 * CA's; a file with CAs alone means its first.
 */
X509 *
key_work_main(const struct x509_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (X509_check_ca(list->certificates[i]) == 0)
			return list->certificates[i];
	return list->certificates[0];
}

/* ---- OpenPGP ---- */

static void
say_pgp(struct key_work *task, const struct pgp_key_facts *facts)
{
	struct key key = {.kind = KEY_PGP,
	    .bits = facts->bits,
	    .uses = (facts->can_sign ? KEY_SIGNS : 0u) |
		    (facts->can_encrypt ? KEY_ENCRYPTS : 0u),
	    .not_before_s = facts->created_s,
	    .not_after_s = facts->expires_s,
	    .status = facts->is_revoked ? KEY_REVOKED : KEY_ACTIVE};

	(void)snprintf(
	    key.fingerprint, sizeof(key.fingerprint), "%s", facts->fingerprint);
	(void)snprintf(
	    key.algorithm, sizeof(key.algorithm), "%s", facts->algorithm);
	if (facts->address_count > 0)
		(void)snprintf(key.subject, sizeof(key.subject), "%s",
		    facts->addresses[0]);
	say_key(task, &key);
	for (size_t i = 0; i < facts->address_count; i++)
		work_answer_fact(
		    task->answer, "address", "%s", facts->addresses[i]);
}

static int
keep_pair(struct key_work *task, const struct pgp_key_pair *pair)
{
	int rc = key_work_add(task, "public", buf_slice(&pair->public));

	if (rc == 0 && pair->signing.n > 0)
		rc = seal(task, "pgp-sign", buf_slice(&pair->signing));
	if (rc == 0 && pair->decryption.n > 0)
		rc = seal(task, "pgp-open", buf_slice(&pair->decryption));
	if (rc == 0)
		say_pgp(task, &pair->facts);
	return rc;
}

static int
import_pgp(struct key_work *task)
{
	struct pgp_key_pair pair;
	int rc;

	pgp_key_pair_init(&pair);
	rc = pgp_key_import(task->context->scratch_dir,
	    key_part(&task->parts, "file"),
	    key_part(&task->parts, "passphrase"), task->work->now_s, &pair,
	    &task->err);
	if (rc == 0 && pair.facts.address_count == 0)
		rc = err_set(&task->err, "the key names no mail address");
	if (rc == 0)
		rc = keep_pair(task, &pair);
	pgp_key_pair_clear(&pair);
	return rc;
}

static int
parse_pgp(struct key_work *task)
{
	const struct slice address = key_work_fact(task, "address");
	const struct slice file = key_part(&task->parts, "file");
	struct slice keys[KNOWN_KEYS_MAX];
	struct pgp_key_known known = {.keys = keys};
	struct ipc_list list = task->work->keys;
	struct ipc_record_work_key key;
	struct pgp_key_facts *facts = xcalloc(1, sizeof(*facts));
	struct buf public;
	int rc;

	while (known.count < KNOWN_KEYS_MAX && ipc_work_key_next(&list, &key))
		if (key.use == WORK_KEY_CANDIDATE)
			keys[known.count++] = key.public;
	buf_init(&public, PGP_PUBLIC_MAX);
	rc = address.n > 0
		 ? pgp_key_parse_for(task->context->scratch_dir, file, address,
		       &known, task->work->now_s, facts, &public, &task->err)
		 : pgp_key_parse(task->context->scratch_dir, file,
		       task->work->now_s, facts, &public, &task->err);
	if (rc == 0)
		rc = key_work_add(task, "public", buf_slice(&public));
	if (rc == 0)
		say_pgp(task, facts);
	buf_clear(&public);
	free(facts);
	return rc;
}

static int
generate_pgp(struct key_work *task)
{
	const enum pgp_key_kind kind =
	    pgp_key_kind_by_name(key_work_fact(task, "algorithm"));
	struct pgp_key_pair pair;
	uint64_t days = 0;
	int rc;

	if (kind == PGP_KEY_KIND_COUNT)
		return err_set(&task->err,
		    "an OpenPGP key is ed25519, rsa3072 or rsa4096");
	(void)slice_to_u64(key_work_fact(task, "days"), &days);
	pgp_key_pair_init(&pair);
	rc = pgp_key_generate(task->context->scratch_dir, kind,
	    key_work_fact(task, "name"), key_work_fact(task, "address"),
	    (int64_t)days * KEY_DAY_S, &pair, &task->err);
	if (rc == 0)
		rc = keep_pair(task, &pair);
	pgp_key_pair_clear(&pair);
	return rc;
}

/* ---- operations ---- */

static int
op_import(struct key_work *task)
{
	return slice_equals(key_work_fact(task, "kind"), SLICE("pgp"))
		   ? import_pgp(task)
		   : import_smime(task);
}

static int
op_parse(struct key_work *task)
{
	return slice_equals(key_work_fact(task, "kind"), SLICE("pgp"))
		   ? parse_pgp(task)
		   : parse_smime(task);
}

/* The public half as the DNS record wants it (RFC 6376, RFC 8463). */
static int
say_dkim(struct key_work *task, EVP_PKEY *key)
{
	struct key facts = {.kind = KEY_DKIM,
	    .bits = (unsigned)EVP_PKEY_get_bits(key),
	    .uses = KEY_SIGNS};
	unsigned char *spki = NULL;
	const int n = i2d_PUBKEY(key, &spki);
	unsigned char digest[32];
	int rc = -1;

	(void)slice_copy(key_work_fact(task, "algorithm"), facts.algorithm,
	    sizeof(facts.algorithm));
	if (n > 0 && EVP_Digest(spki, (size_t)n, digest, NULL, EVP_sha256(),
			 NULL) == 1) {
		key_hex(digest, sizeof(digest), facts.fingerprint);
		for (char *p = facts.fingerprint; *p != '\0'; p++)
			if (*p >= 'a')
				*p = (char)(*p - 'a' + 'A');
		say_key(task, &facts);
		rc = key_work_add(
		    task, "public", (struct slice){(char *)spki, (size_t)n});
	}
	OPENSSL_free(spki);
	return rc;
}

static int
op_generate_dkim(struct key_work *task)
{
	const struct slice algorithm = key_work_fact(task, "algorithm");
	EVP_PKEY *key;
	int rc;

	if (!slice_equals(algorithm, SLICE("rsa-2048")) &&
	    !slice_equals(algorithm, SLICE("ed25519")))
		return err_set(&task->err, "a DKIM key is rsa-2048 or ed25519");
	key = key_generate(algorithm, &task->err);
	rc = key == NULL ? -1 : key_work_seal(task, key, KEY_SIGNS);
	if (rc == 0)
		rc = say_dkim(task, key);
	EVP_PKEY_free(key);
	return rc;
}

EVP_PKEY *
key_work_generate(struct key_work *task)
{
	const struct slice algorithm = key_work_fact(task, "algorithm");

	if (slice_equals(algorithm, SLICE("ed25519"))) {
		(void)err_set(&task->err,
		    "a certificate with an Ed25519 key cannot be used for "
		    "mail: no S/MIME program of today reads it");
		return NULL;
	}
	return key_generate(algorithm, &task->err);
}

static int
op_request(struct key_work *task)
{
	EVP_PKEY *key = key_work_generate(task);
	char digest[65];
	struct buf pem;
	int rc;

	if (key == NULL)
		return -1;
	buf_init(&pem, KEY_FILE_MAX);
	/* What it may do is for the CA to say; it is kept for both. */
	rc = key_work_seal(task, key, KEY_SIGNS | KEY_ENCRYPTS);
	if (rc == 0)
		rc = key_make_request(key, key_work_fact(task, "name"),
		    key_work_fact(task, "address"), &pem, &task->err);
	if (rc == 0)
		rc = key_work_add(task, "csr", buf_slice(&pem));
	x509_public_digest(key, digest);
	work_answer_fact(task->answer, "public_digest", "%s", digest);
	buf_clear(&pem);
	EVP_PKEY_free(key);
	return rc;
}

/* ---- the task ---- */

static const struct {
	key_op_fn *run;
	bool signs_as_ca; /* the others read hostile files without its key */
} ops[KEY_OP_COUNT] = {[KEY_OP_GENERATE_DKIM] = {op_generate_dkim, false},
    [KEY_OP_GENERATE_PGP] = {generate_pgp, false},
    [KEY_OP_IMPORT] = {op_import, false},
    [KEY_OP_PARSE] = {op_parse, false},
    [KEY_OP_REQUEST] = {op_request, false},
    [KEY_OP_CA] = {key_op_ca, false},
    [KEY_OP_ISSUE] = {key_op_issue, true},
    [KEY_OP_HAND_OUT] = {key_op_hand_out, true},
    [KEY_OP_MAKE_CRL] = {key_op_make_crl, true},
    [KEY_OP_READ_CRL] = {key_op_read_crl, false},
    [KEY_OP_FIND_POINTS] = {key_op_find_points, false},
    [KEY_OP_EXPORT] = {key_op_export, false}};

/* A list may be too large for parts, which are copied on their way. */
static int
read_content(struct key_work *task, enum key_op op, struct slice content)
{
	if (op == KEY_OP_READ_CRL) {
		task->file = content;
		return 0;
	}
	return key_parts_read(content, &task->parts, &task->err);
}

static int
write_results(struct key_work *task)
{
	struct buf content;
	int rc;

	buf_init(&content, KEY_WORK_MAX + KEY_FILE_MAX);
	rc = key_parts_write(&task->results, &content, &task->err);
	if (rc == 0)
		rc = content_write_slice(
		    &task->answer->output, buf_slice(&content));
	buf_clear(&content);
	return rc;
}

/*
 * A refusal leaves nothing: neither facts nor parts of what was read before
 * the reason for it was found.
 */
static void
finish(struct key_work *task, int rc)
{
	struct work_answer *answer = task->answer;

	if (rc == 0 && write_results(task) == 0) {
		answer->outcome = SIGNED_DONE;
		return;
	}
	ipc_list_writer_clear(&answer->facts);
	(void)content_writer_reset(&answer->output);
	work_refuse(answer, SIGNED_PERMANENT, "5.7.5", "%s",
	    task->err.text[0] != '\0' ? task->err.text
				      : "the key operation failed");
}

void
work_key(struct worker_context *context, const struct work *work,
    struct work_answer *answer)
{
	struct key_work task = {
	    .context = context, .work = work, .answer = answer};
	const enum key_op op = key_op_by_name(work_fact(work, "op"));
	struct slice content;
	char *owned = NULL;
	int rc = -1;

	ipc_list_writer_init(&task.results, KEY_WORK_MAX);
	if (op == KEY_OP_COUNT || !ops[op].signs_as_ca)
		keyring_lock(context->keyring);
	if (op == KEY_OP_COUNT)
		(void)err_set(&task.err, "there is no such key operation");
	else if (content_load(&work->content, CONTENT_MAX, &content, &owned,
		     &task.err) == 0 &&
		 read_content(&task, op, content) == 0)
		rc = ops[op].run(&task);
	finish(&task, rc);
	ipc_list_writer_clear(&task.results);
	if (owned != NULL)
		OPENSSL_cleanse(owned, content.n);
	free(owned);
}
