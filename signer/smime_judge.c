/* SPDX-License-Identifier: ISC */
/*
 * Chains of certificates, by OpenSSL, asked twice: for trust, then for
 * revocation.  One question would answer "no list" and "not trusted" alike.
 * Runs in: postern-signerd's `open` workers.  Trusts: the task's anchors.
 */
#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>

#include "signer/keystore.h"
#include "signer/smime_cert.h"
#include "signer/smime_judge.h"

/* Certificates between a signer and his anchor. */
#define CHAIN_DEPTH_MAX 10
/* 112 bits: RSA from 2048, no SHA-1 in a chain (SSL_CTX_set_security_level). */
#define AUTH_LEVEL 2

static int
add_key(struct smime_judge *j, struct worker_context *context,
    const struct ipc_record_work_key *key, struct err *err)
{
	const unsigned char *p = (const unsigned char *)key->public.p;
	X509_CRL *list;
	X509 *cert;

	if (key->use == WORK_KEY_CRL) {
		list = d2i_X509_CRL(NULL, &p, (long)key->public.n);
		if (list == NULL)
			return err_set(err, "a revocation list is damaged");
		if (sk_X509_CRL_push(j->lists, list) <= 0)
			fatal("out of memory");
		return 0;
	}
	if (key->use != WORK_KEY_ANCHOR && key->use != WORK_KEY_INTERMEDIATE)
		return 0;
	cert = smime_cert_read(context->certs, key->public, err);
	if (cert == NULL)
		return -1;
	if (key->use == WORK_KEY_ANCHOR) {
		(void)X509_STORE_add_cert(j->anchors, cert);
		X509_free(cert);
	} else if (sk_X509_push(j->others, cert) <= 0) {
		fatal("out of memory");
	}
	return 0;
}

int
smime_judge_init(struct smime_judge *j, struct worker_context *context,
    const struct work *work, STACK_OF(X509) * sent, struct err *err)
{
	struct ipc_list keys = work->keys;
	struct ipc_record_work_key key;

	*j = (struct smime_judge){
	    .anchors = X509_STORE_new(),
	    .others = sk_X509_new_null(),
	    .lists = sk_X509_CRL_new_null(),
	    .sent = sent,
	    .work = work,
	};
	if (j->anchors == NULL || j->others == NULL || j->lists == NULL)
		fatal("out of memory");
	while (ipc_work_key_next(&keys, &key))
		if (add_key(j, context, &key, err) == -1)
			return -1;
	for (int i = 0; i < sk_X509_num(sent); i++) {
		X509 *cert = sk_X509_value(sent, i);

		if (sk_X509_push(j->others, cert) <= 0)
			fatal("out of memory");
		(void)X509_up_ref(cert);
	}
	return 0;
}

void
smime_judge_clear(struct smime_judge *j)
{
	X509_STORE_free(j->anchors);
	sk_X509_pop_free(j->others, X509_free);
	sk_X509_CRL_pop_free(j->lists, X509_CRL_free);
	*j = (struct smime_judge){.work = NULL};
}

/* ---- one question ---- */

/*
 * A certificate to encrypt to need not be one to sign with.  OpenSSL knows of
 * no encryption by key agreement; smime_cert_can_encrypt() looked at that.
 */
static int
purpose_of(const struct smime_judge *j, X509 *cert)
{
	const uint32_t usage = X509_get_key_usage(cert);

	if (!j->is_for_reading ||
	    (usage & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0)
		return X509_PURPOSE_SMIME_SIGN;
	return (usage & KU_KEY_ENCIPHERMENT) != 0 ? X509_PURPOSE_SMIME_ENCRYPT
						  : X509_PURPOSE_ANY;
}

static int
check_chain(const struct smime_judge *j, X509 *cert, bool with_lists,
    int (*callback)(int, X509_STORE_CTX *), void *arg)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
	X509_VERIFY_PARAM *param;
	int error = X509_V_ERR_UNSPECIFIED;

	if (ctx == NULL ||
	    X509_STORE_CTX_init(ctx, j->anchors, cert, j->others) != 1)
		fatal("out of memory");
	if (with_lists) {
		flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
		X509_STORE_CTX_set0_crls(ctx, j->lists);
	}
	param = X509_STORE_CTX_get0_param(ctx);
	(void)X509_STORE_CTX_set_default(ctx, "smime_sign");
	(void)X509_VERIFY_PARAM_set_purpose(param, purpose_of(j, cert));
	X509_VERIFY_PARAM_set_time(param, (time_t)j->work->now_s);
	X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
	(void)X509_VERIFY_PARAM_set_flags(param, flags);
	if (callback != NULL) {
		X509_STORE_CTX_set_verify_cb(ctx, callback);
		X509_STORE_CTX_set_app_data(ctx, arg);
	}
	if (X509_verify_cert(ctx) == 1)
		error = X509_V_OK;
	else if (X509_STORE_CTX_get_error(ctx) != X509_V_OK)
		error = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return error;
}

static const struct {
	int error;
	enum verdict_kind kind;
	const char *reason;
} trust_errors[] = {
    {X509_V_OK, VERDICT_PASS, ""},
    {X509_V_ERR_CERT_HAS_EXPIRED, VERDICT_EXPIRED, "a certificate expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, VERDICT_EXPIRED,
	"a certificate is not valid yet"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, VERDICT_WEAK, "the key is too short"},
    {X509_V_ERR_CA_KEY_TOO_SMALL, VERDICT_WEAK, "a CA's key is too short"},
    {X509_V_ERR_CA_MD_TOO_WEAK, VERDICT_WEAK,
	"a certificate was signed over a weak digest"},
    {X509_V_ERR_INVALID_PURPOSE, VERDICT_UNTRUSTED,
	"the certificate is not for signing mail"},
};

/*
 * How many lists were missing, and whether any of them names a certificate of
 * the chain: an answer about one is worth more than a missing one of another.
 */
struct revocation_answer {
	bool is_revoked;
	bool is_unknown;
};

static int
note_revocation(int is_good, X509_STORE_CTX *ctx)
{
	struct revocation_answer *answer = X509_STORE_CTX_get_app_data(ctx);

	if (is_good)
		return 1;
	if (X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CERT_REVOKED)
		answer->is_revoked = true;
	else
		answer->is_unknown = true;
	return 1;
}

static enum verdict_revocation
check_revocation(const struct smime_judge *j, X509 *cert)
{
	struct revocation_answer answer = {.is_revoked = false};
	int error;

	if (sk_X509_CRL_num(j->lists) == 0)
		return REVOCATION_UNKNOWN;
	error = check_chain(j, cert, true, note_revocation, &answer);
	if (answer.is_revoked)
		return REVOCATION_REVOKED;
	return answer.is_unknown || error != X509_V_OK ? REVOCATION_UNKNOWN
						       : REVOCATION_GOOD;
}

void
smime_judge_cert(const struct smime_judge *j, X509 *cert,
    struct smime_judgement *judgement_r)
{
	int error = check_chain(j, cert, false, NULL, NULL);

	*judgement_r = (struct smime_judgement){VERDICT_UNTRUSTED,
	    REVOCATION_UNKNOWN, "its certificate leads to no trusted CA"};
	for (size_t i = 0; i < sizeof(trust_errors) / sizeof(trust_errors[0]);
	     i++) {
		if (trust_errors[i].error != error)
			continue;
		judgement_r->kind = trust_errors[i].kind;
		judgement_r->reason = trust_errors[i].reason;
	}
	if (judgement_r->kind == VERDICT_UNTRUSTED)
		return;
	judgement_r->revocation = check_revocation(j, cert);
	if (judgement_r->revocation == REVOCATION_REVOKED) {
		judgement_r->kind = VERDICT_REVOKED;
		judgement_r->reason = "its certificate was revoked";
	}
}

/* ---- harvest ---- */

static bool
may_harvest(struct smime_judge *j, X509 *cert, struct slice from)
{
	struct smime_judgement judgement;

	if (!smime_cert_is_for(cert, from) ||
	    smime_cert_can_encrypt(cert, j->work->now_s, NULL) == -1)
		return false;
	j->is_for_reading = true;
	smime_judge_cert(j, cert, &judgement);
	j->is_for_reading = false;
	return judgement.kind == VERDICT_PASS;
}

/* smimeEncryptionKeyPreference, in its form with issuer and serial. */
static X509 *
preferred(const struct smime_judge *j, CMS_SignerInfo *si)
{
	int at =
	    CMS_signed_get_attr_by_NID(si, NID_id_smime_aa_encrypKeyPref, -1);
	X509_ATTRIBUTE *attr = at < 0 ? NULL : CMS_signed_get_attr(si, at);
	const ASN1_TYPE *type =
	    attr == NULL ? NULL : X509_ATTRIBUTE_get0_type(attr, 0);
	PKCS7_ISSUER_AND_SERIAL *name = NULL;
	unsigned char *der = NULL;
	const unsigned char *p;
	X509 *cert = NULL;
	int n = type == NULL ? -1 : i2d_ASN1_TYPE(type, &der);

	/* [0] IMPLICIT IssuerAndSerialNumber */
	if (n > 2 && der[0] == 0xa0) {
		der[0] = 0x30;
		p = der;
		name = d2i_PKCS7_ISSUER_AND_SERIAL(NULL, &p, n);
	}
	if (name != NULL)
		cert = X509_find_by_issuer_and_serial(
		    j->sent, name->issuer, name->serial);
	PKCS7_ISSUER_AND_SERIAL_free(name);
	OPENSSL_free(der);
	return cert;
}

/* Those that came along and may lead from the certificate to an anchor. */
static void
write_issuers(const struct smime_judge *j, struct buf *der)
{
	for (int i = 0; i < sk_X509_num(j->sent); i++) {
		X509 *cert = sk_X509_value(j->sent, i);

		if (X509_check_ca(cert) != 0)
			smime_cert_write(cert, der);
	}
}

void
smime_judge_harvest(struct smime_judge *j, CMS_ContentInfo *cms,
    struct slice from, struct work_answer *answer)
{
	STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
	CMS_SignerInfo *si = sk_CMS_SignerInfo_value(infos, 0);
	struct ipc_record_harvest harvest = {.kind = SLICE("smime"),
	    .address = from,
	    .source = SLICE("smime"),
	    .trust = TRUST_HARVESTED};
	X509 *cert = si == NULL ? NULL : preferred(j, si);
	struct buf der;
	struct buf issuers;

	if (cert == NULL || !may_harvest(j, cert, from)) {
		cert = NULL;
		if (si != NULL)
			CMS_SignerInfo_get0_algs(si, NULL, &cert, NULL, NULL);
		if (cert == NULL || !may_harvest(j, cert, from))
			return;
	}
	buf_init(&der, IPC_KEY_MAX);
	buf_init(&issuers, IPC_KEY_MAX);
	smime_cert_write(cert, &der);
	write_issuers(j, &issuers);
	harvest.public = buf_slice(&der);
	if (!issuers.overflowed)
		harvest.chain = buf_slice(&issuers);
	if (der.n > 0)
		(void)ipc_harvest_add(&answer->harvested, &harvest, NULL);
	buf_clear(&der);
	buf_clear(&issuers);
}
