/* SPDX-License-Identifier: ISC */
/*
 * Certificates, keys and tasks for tests of S/MIME.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "signer/keyring.h"
#include "signer/smime.h"
#include "signer/smime_cert.h"
#include "signer/smime_memo.h"
#include "tests/unit/smime_world.h"
#include "tests/unit/trust_host.h"

#define DAY_S 86400
#define LISTS_MAX ((size_t)8 * 1024 * 1024)

static EVP_PKEY *
make_key(const struct world_wish *wish)
{
	switch (wish->kind) {
	case WORLD_P256:
		return EVP_EC_gen("P-256");
	case WORLD_P384:
		return EVP_EC_gen("P-384");
	case WORLD_ED25519:
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	case WORLD_RSA:
		break;
	}
	return EVP_RSA_gen(
	    (unsigned)(wish->rsa_bits == 0 ? 2048 : wish->rsa_bits));
}

static void
add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (ext == NULL || X509_add_ext(cert, ext, -1) != 1)
		bug("extension %s", value);
	X509_EXTENSION_free(ext);
}

static void
add_extensions(X509 *cert, X509 *issuer, const struct world_wish *wish)
{
	char text[512];

	add_extension(cert, issuer, NID_subject_key_identifier, "hash");
	if (wish->is_ca) {
		add_extension(
		    cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
		add_extension(cert, issuer, NID_key_usage,
		    "critical,keyCertSign,cRLSign");
		return;
	}
	add_extension(cert, issuer, NID_authority_key_identifier, "keyid");
	add_extension(cert, issuer, NID_key_usage,
	    wish->usage != NULL       ? wish->usage
	    : wish->kind == WORLD_RSA ? "digitalSignature,keyEncipherment"
				      : "digitalSignature,keyAgreement");
	add_extension(cert, issuer, NID_ext_key_usage,
	    wish->extended != NULL ? wish->extended : "emailProtection");
	if (wish->address != NULL) {
		(void)snprintf(text, sizeof(text), "email:%s", wish->address);
		add_extension(cert, issuer, NID_subject_alt_name, text);
	}
}

static void
add_name(X509_NAME *name, const char *field, const char *value)
{
	if (value != NULL &&
	    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
		(const unsigned char *)value, -1, -1, 0) != 1)
		bug("name %s", value);
}

struct world_id *
world_id_new(
    const char *ref, const struct world_wish *wish, struct world_id *issuer)
{
	struct world_id *id = xcalloc(1, sizeof(*id));
	X509 *issuer_cert;
	int n;

	(void)snprintf(id->ref, sizeof(id->ref), "%s", ref);
	id->key = make_key(wish);
	id->cert = X509_new();
	if (id->key == NULL || id->cert == NULL)
		bug("no key");
	issuer_cert = issuer == NULL ? id->cert : issuer->cert;
	(void)X509_set_version(id->cert, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(id->cert),
	    wish->serial != 0
		? wish->serial
		: (long)(strlen(ref) * 1000 + (unsigned char)*ref));
	(void)ASN1_TIME_set(X509_getm_notBefore(id->cert),
	    (time_t)(wish->not_before_s != 0 ? wish->not_before_s
					     : WORLD_NOW_S - DAY_S));
	(void)ASN1_TIME_set(X509_getm_notAfter(id->cert),
	    (time_t)(wish->not_after_s != 0 ? wish->not_after_s
					    : WORLD_NOW_S + 365 * DAY_S));
	add_name(X509_get_subject_name(id->cert), "CN",
	    wish->name != NULL      ? wish->name
	    : wish->address != NULL ? wish->address
				    : ref);
	add_name(X509_get_subject_name(id->cert), "emailAddress",
	    wish->subject_address);
	(void)X509_set_issuer_name(
	    id->cert, X509_get_subject_name(issuer_cert));
	(void)X509_set_pubkey(id->cert, id->key);
	add_extensions(id->cert, issuer_cert, wish);
	if (X509_sign(id->cert, issuer == NULL ? id->key : issuer->key,
		wish->kind == WORLD_ED25519 && issuer == NULL
		    ? NULL
		    : EVP_sha256()) == 0)
		bug("cannot sign a certificate");
	n = i2d_X509(id->cert, &id->der);
	if (n <= 0)
		bug("cannot write a certificate");
	id->der_n = (size_t)n;
	return id;
}

void
world_id_free(struct world_id *id)
{
	if (id == NULL)
		return;
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
	OPENSSL_free(id->der);
	free(id);
}

struct slice
world_crl(struct world_id *ca, struct world_id *const *revoked,
    int64_t next_update_s, struct buf *der)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)(WORLD_NOW_S - DAY_S));
	unsigned char *p = NULL;
	int n;

	(void)X509_CRL_set_version(crl, 1);
	(void)X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert));
	(void)X509_CRL_set1_lastUpdate(crl, time);
	for (; *revoked != NULL; revoked++) {
		X509_REVOKED *r = X509_REVOKED_new();

		(void)X509_REVOKED_set_serialNumber(
		    r, X509_get_serialNumber((*revoked)->cert));
		(void)X509_REVOKED_set_revocationDate(r, time);
		(void)X509_CRL_add0_revoked(crl, r);
	}
	(void)ASN1_TIME_set(time, (time_t)next_update_s);
	(void)X509_CRL_set1_nextUpdate(crl, time);
	(void)X509_CRL_sort(crl);
	if (X509_CRL_sign(crl, ca->key, EVP_sha256()) == 0)
		bug("cannot sign a list");
	n = i2d_X509_CRL(crl, &p);
	buf_reset(der);
	(void)buf_add(der, p, n > 0 ? (size_t)n : 0);
	OPENSSL_free(p);
	ASN1_TIME_free(time);
	X509_CRL_free(crl);
	return buf_slice(der);
}

/* ---- a key ring of what was made ---- */

#define RING_MAX 32

struct keyring {
	size_t count;
	struct world_id *ids[RING_MAX];
	struct smime_certs *certs; /* of all tasks with it */
	struct trust_host trust;   /* whom the task at hand believes */
};

struct keyring *
world_keyring(void)
{
	struct keyring *keyring = xcalloc(1, sizeof(*keyring));

	trust_host_init(&keyring->trust);
	return keyring;
}

void
world_keyring_add(struct keyring *keyring, struct world_id *id)
{
	if (keyring->count == RING_MAX)
		bug("too many keys");
	keyring->ids[keyring->count++] = id;
}

void
keyring_free(struct keyring *keyring)
{
	if (keyring != NULL) {
		smime_certs_free(keyring->certs);
		trust_host_clear(&keyring->trust);
	}
	free(keyring);
}

void
keyring_lock(struct keyring *keyring)
{
	if (keyring != NULL)
		keyring->count = 0;
}

EVP_PKEY *
keyring_key(struct keyring *keyring, struct slice ref, struct err *err)
{
	for (size_t i = 0; i < keyring->count; i++)
		if (slice_equals(ref, slice_of(keyring->ids[i]->ref)))
			return keyring->ids[i]->key;
	err_set(err, "no key %.*s", SLICE_ARG(ref));
	return NULL;
}

/* ---- tasks ---- */

void
world_task_init(
    struct world_task *task, struct keyring *keyring, struct slice message)
{
	*task = (struct world_task){
	    .context = {.keyring = keyring, .certs = keyring->certs}};
	ipc_list_writer_init(&task->keys, LISTS_MAX);
	ipc_list_writer_init(&task->removals, LISTS_MAX);
	ipc_list_writer_init(&task->facts, LISTS_MAX);
	work_answer_init(&task->answer, -1, UINT64_MAX);
	task->work.content = content_of(message);
	task->work.sender = SLICE("alice@example.org");
	task->work.recipient = SLICE("bob@example.net");
	task->work.authserv_id = SLICE("gw.example.net");
	task->work.now_s = WORLD_NOW_S;
	task->work.output_limit = UINT64_MAX;
}

void
world_task_clear(struct world_task *task)
{
	task->context.keyring->certs = task->context.certs;
	smime_memo_free(task->context.memo);
	if (task->believes)
		trust_host_forget(&task->context.keyring->trust);
	ipc_list_writer_clear(&task->keys);
	ipc_list_writer_clear(&task->removals);
	ipc_list_writer_clear(&task->facts);
	work_answer_clear(&task->answer);
}

void
world_task_key(struct world_task *task, enum work_key_use use,
    const struct world_id *id, bool has_aead)
{
	const struct ipc_record_work_key key = {
	    .use = (uint16_t)use,
	    .ref = slice_of(id->ref),
	    .address = task->work.recipient,
	    .has_aead = has_aead,
	    .public = {(const char *)id->der, id->der_n},
	};
	struct err err;

	if (use == WORK_KEY_ANCHOR || use == WORK_KEY_BLOCKED) {
		task->believes = true;
		if (use == WORK_KEY_ANCHOR)
			trust_host_anchor(
			    &task->context.keyring->trust, key.public);
		else
			trust_host_block(
			    &task->context.keyring->trust, key.public);
	} else if (ipc_work_key_add(&task->keys, &key, &err) == -1) {
		bug("%s", err.text);
	}
}

void
world_task_crl(struct world_task *task, struct slice der)
{
	struct err err;

	task->believes = true;
	/* Read when it was made: it may be out of date by now. */
	if (trust_host_list(&task->context.keyring->trust, der,
		WORLD_NOW_S - DAY_S + 1, &err) == -1)
		bug("%s", err.text);
}

void
world_task_strict(struct world_task *task)
{
	task->believes = true;
	task->context.keyring->trust.requires_revocation = true;
}

void
world_task_removal(struct world_task *task, const char *name, const char *value)
{
	const struct ipc_record_fact fact = {
	    .name = slice_of(name), .value = slice_of(value)};
	struct err err;

	if (ipc_fact_add(&task->removals, &fact, &err) == -1)
		bug("%s", err.text);
}

void
world_task_fact(struct world_task *task, const char *name, const char *value)
{
	const struct ipc_record_fact fact = {
	    .name = slice_of(name), .value = slice_of(value)};
	struct err err;

	if (ipc_fact_add(&task->facts, &fact, &err) == -1)
		bug("%s", err.text);
}

struct slice
world_said(const struct world_task *task, const char *name)
{
	struct ipc_list facts = ipc_list_of(&task->answer.facts);
	struct ipc_record_fact fact;

	while (ipc_fact_next(&facts, &fact))
		if (slice_equals(fact.name, slice_of(name)))
			return fact.value;
	return SLICE("");
}

static void
prepare(struct world_task *task)
{
	struct ipc_record_work_key trust;
	struct err err;

	if (task->believes) {
		trust = trust_host_publish(&task->context.keyring->trust);
		if (ipc_work_key_add(&task->keys, &trust, &err) == -1)
			bug("%s", err.text);
	}
	task->work.keys = ipc_list_of(&task->keys);
	task->work.removals = ipc_list_of(&task->removals);
	task->work.facts = ipc_list_of(&task->facts);
}

bool
world_protect(struct world_task *task)
{
	prepare(task);
	return smime_protect(&task->context, &task->work, &task->answer.output,
		   &task->answer) == SMIME_WRITTEN;
}

void
world_open(struct world_task *task)
{
	prepare(task);
	task->work.op = WORK_OPEN;
	work_open(&task->context, &task->work, &task->answer);
}

struct slice
world_result(struct world_task *task)
{
	if (content_writer_finish(&task->answer.output, &task->result) == -1 ||
	    task->result.fd != -1)
		return (struct slice){NULL, 0};
	return task->result.memory;
}

bool
world_has_bare_line_end(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			return true;
		if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
			return true;
	}
	return false;
}
