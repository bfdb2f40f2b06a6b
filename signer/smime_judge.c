/* SPDX-License-Identifier: ISC */
/*
 * Chains of certificates, by OpenSSL for trust, then by the stored lists for
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
#include "signer/trust_x509.h"

/* Certificates between a signer and his anchor. */
#define CHAIN_DEPTH_MAX 10
/* 112 bits: RSA from 2048, no SHA-1 in a chain (SSL_CTX_set_security_level). */
#define AUTH_LEVEL 2

int
smime_judge_init(struct smime_judge *j, struct worker_context *context,
    const struct work *work, STACK_OF(X509) * sent, struct err *err)
{
	struct ipc_list keys = work->keys;
	struct ipc_record_work_key key;
	struct slice folder = {NULL, 0};
	struct slice id = {NULL, 0};

	*j = (struct smime_judge){
	    .others = sk_X509_new_null(), .sent = sent, .work = work};
	if (j->others == NULL)
		fatal("out of memory");
	while (ipc_work_key_next(&keys, &key)) {
		X509 *cert;

		if (key.use == WORK_KEY_TRUST) {
			folder = key.ref;
			id = key.fingerprint;
		}
		if (key.use != WORK_KEY_INTERMEDIATE)
			continue;
		cert = smime_cert_read(context->certs, key.public, err);
		if (cert == NULL)
			return -1;
		if (sk_X509_push(j->others, cert) <= 0)
			fatal("out of memory");
	}
	for (int i = 0; i < sk_X509_num(sent); i++) {
		X509 *cert = sk_X509_value(sent, i);

		if (sk_X509_push(j->others, cert) <= 0)
			fatal("out of memory");
		(void)X509_up_ref(cert);
	}
	j->trust = smime_trust_read(context->certs, folder, id, err);
	return j->trust == NULL ? -1 : 0;
}

void
smime_judge_clear(struct smime_judge *j)
{
	sk_X509_pop_free(j->others, X509_free);
	sk_X509_pop_free(j->unlisted, X509_free);
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

/*
 * *chain_r: as far as it was built; the caller's.  Not is_strict: whatever
 * its age and strength.
 */
static int
ask(const struct smime_judge *j, X509 *cert, bool is_strict,
    STACK_OF(X509) * *chain_r)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	int error = X509_V_ERR_UNSPECIFIED;

	if (ctx == NULL ||
	    X509_STORE_CTX_init(ctx, j->trust->anchors, cert, j->others) != 1)
		fatal("out of memory");
	param = X509_STORE_CTX_get0_param(ctx);
	(void)X509_STORE_CTX_set_default(ctx, "smime_sign");
	(void)X509_VERIFY_PARAM_set_purpose(param, purpose_of(j, cert));
	X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, is_strict ? AUTH_LEVEL : 0);
	(void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	/* A time would count in spite of the flag. */
	if (is_strict)
		X509_VERIFY_PARAM_set_time(param, (time_t)j->work->now_s);
	else
		(void)X509_VERIFY_PARAM_set_flags(
		    param, X509_V_FLAG_NO_CHECK_TIME);
	if (X509_verify_cert(ctx) == 1)
		error = X509_V_OK;
	else if (X509_STORE_CTX_get_error(ctx) != X509_V_OK)
		error = X509_STORE_CTX_get_error(ctx);
	*chain_r = X509_STORE_CTX_get1_chain(ctx);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return error;
}

static bool
is_about_age_or_strength(int error)
{
	return error == X509_V_ERR_CERT_HAS_EXPIRED ||
	       error == X509_V_ERR_CERT_NOT_YET_VALID ||
	       error == X509_V_ERR_EE_KEY_TOO_SMALL ||
	       error == X509_V_ERR_CA_KEY_TOO_SMALL ||
	       error == X509_V_ERR_CA_MD_TOO_WEAK;
}

/*
 * OpenSSL stops at the first fault, and looks at ages and strengths before
 * all signatures are verified: a certificate that no CA made would be called
 * old, or weak.  So where that is the fault, it is asked for all others.
 */
static int
check_chain(const struct smime_judge *j, X509 *cert, STACK_OF(X509) * *chain_r)
{
	STACK_OF(X509) *again = NULL;
	const int error = ask(j, cert, true, chain_r);
	int other;

	if (!is_about_age_or_strength(error))
		return error;
	other = ask(j, cert, false, &again);
	sk_X509_pop_free(again, X509_free);
	return other == X509_V_OK ? error : other;
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

/* All but the anchor, for which its administrator answers. */
static enum verdict_revocation
check_revocation(const struct smime_judge *j, STACK_OF(X509) * chain)
{
	enum verdict_revocation result = REVOCATION_GOOD;

	for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
		const enum trust_said said =
		    trust_ask(j->trust->folder, sk_X509_value(chain, i),
			sk_X509_value(chain, i + 1), j->work->now_s);

		/* Worth more than a list that is missing of another one. */
		if (said == TRUST_NAMED)
			return REVOCATION_REVOKED;
		if (said != TRUST_NOT_NAMED)
			result = REVOCATION_UNKNOWN;
	}
	return result;
}

static bool
is_blocked(const struct smime_judge *j, STACK_OF(X509) * chain)
{
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (smime_trust_blocks(j->trust, sk_X509_value(chain, i)))
			return true;
	return false;
}

static void
judge_revocation(struct smime_judge *j, STACK_OF(X509) * chain,
    struct smime_judgement *judgement)
{
	judgement->revocation = check_revocation(j, chain);
	if (judgement->revocation == REVOCATION_REVOKED) {
		judgement->kind = VERDICT_REVOKED;
		judgement->reason = "its certificate was revoked";
	} else if (judgement->revocation == REVOCATION_UNKNOWN) {
		if (j->unlisted == NULL)
			j->unlisted = X509_chain_up_ref(chain);
		if (j->trust->requires_revocation &&
		    judgement->kind == VERDICT_PASS) {
			judgement->kind = VERDICT_UNTRUSTED;
			judgement->reason = "whether its certificate was "
					    "revoked is not known";
		}
	}
}

void
smime_judge_cert(
    struct smime_judge *j, X509 *cert, struct smime_judgement *judgement_r)
{
	STACK_OF(X509) *chain = NULL;
	int error = check_chain(j, cert, &chain);

	*judgement_r = (struct smime_judgement){VERDICT_UNTRUSTED,
	    REVOCATION_UNKNOWN, "its certificate leads to no trusted CA"};
	for (size_t i = 0; i < sizeof(trust_errors) / sizeof(trust_errors[0]);
	     i++) {
		if (trust_errors[i].error != error)
			continue;
		judgement_r->kind = trust_errors[i].kind;
		judgement_r->reason = trust_errors[i].reason;
	}
	if (is_blocked(j, chain)) {
		judgement_r->kind = VERDICT_UNTRUSTED;
		judgement_r->reason = "a certificate that it leads to is "
				      "blocked";
	}
	if (judgement_r->kind != VERDICT_UNTRUSTED)
		judge_revocation(j, chain, judgement_r);
	sk_X509_pop_free(chain, X509_free);
}

/* ---- lists that are missing ---- */

void
smime_judge_tell_unlisted(
    const struct smime_judge *j, struct slice from, struct work_answer *answer)
{
	struct ipc_record_harvest harvest = {.kind = SLICE("crl"),
	    .address = from,
	    .source = SLICE("smime"),
	    .trust = TRUST_HARVESTED};
	struct trust_points points = {.count = 0};
	struct buf der;

	for (int i = 0; points.count == 0 && i + 1 < sk_X509_num(j->unlisted);
	     i++)
		trust_points_of(sk_X509_value(j->unlisted, i), &points);
	if (points.count == 0)
		return;
	buf_init(&der, IPC_KEY_MAX);
	for (int i = 0; i + 1 < sk_X509_num(j->unlisted); i++)
		smime_cert_write(sk_X509_value(j->unlisted, i), &der);
	harvest.public = buf_slice(&der);
	if (der.n > 0 && !der.overflowed)
		(void)ipc_harvest_add(&answer->harvested, &harvest, NULL);
	buf_clear(&der);
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
