/* SPDX-License-Identifier: ISC */
/*
 * Verifies by CMS, after der_walk() let it pass, and judges the signers.
 * Runs in: postern-signerd's `open` workers.  Trusts: the task for its
 * anchors, lists and time; nothing in the message.
 */
#include <limits.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "signer/der_walk.h"
#include "signer/shape.h"
#include "signer/sink_bio.h"
#include "signer/smime_cert.h"
#include "signer/smime_judge.h"
#include "signer/smime_verify.h"

/* A clock may be wrong by this much; more is a signature for later use. */
#define FUTURE_MAX_S 86400

static void
set_reason(struct verdict *v, enum verdict_kind kind, const char *reason)
{
	if (verdict_worse(v->kind, kind) == v->kind && v->reason[0] != '\0')
		return;
	v->kind = verdict_worse(v->kind, kind);
	(void)slice_copy(slice_of(reason), v->reason, sizeof(v->reason));
}

/* ---- the content, as a BIO to read from ---- */

struct source {
	const struct content *content;
	uint64_t at;
	uint64_t end;
};

static int
source_read(BIO *bio, char *out, int n)
{
	struct source *s = BIO_get_data(bio);
	uint64_t left = s->end - s->at;
	size_t piece = n < 0 ? 0 : (size_t)n;
	ssize_t got;

	if (piece > left)
		piece = (size_t)left;
	if (piece == 0)
		return 0;
	got = content_read(s->content, s->at, out, piece);
	if (got <= 0)
		return -1;
	s->at += (uint64_t)got;
	return (int)got;
}

static long
source_ctrl(BIO *bio, int command, long number, void *p)
{
	const struct source *s = BIO_get_data(bio);

	(void)number;
	(void)p;
	return command == BIO_CTRL_EOF ? s->at == s->end : 0;
}

static BIO *
source_bio(struct source *source, BIO_METHOD **method_r)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "content");
	BIO *bio;

	if (method == NULL || !BIO_meth_set_read(method, source_read) ||
	    !BIO_meth_set_ctrl(method, source_ctrl) ||
	    (bio = BIO_new(method)) == NULL)
		fatal("out of memory");
	BIO_set_data(bio, source);
	BIO_set_init(bio, 1);
	*method_r = method;
	return bio;
}

/* ---- the octets ---- */

static void
add_candidates(const struct smime_verify *t, STACK_OF(X509) * certs)
{
	struct ipc_list keys = t->work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key)) {
		X509 *cert;

		if (key.use != WORK_KEY_CANDIDATE)
			continue;
		cert = smime_cert_read(t->context->certs, key.public, NULL);
		if (cert != NULL && sk_X509_push(certs, cert) <= 0)
			fatal("out of memory");
	}
}

/* CMS_verify() writes also what does not verify: so only into a buffer. */
static bool
fits_opaque(
    const struct smime_verify *t, CMS_ContentInfo *cms, STACK_OF(X509) * certs)
{
	const unsigned flags = CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY;
	struct sink_bio out;
	bool fits;

	sink_bio_init(&out, sink_of_writer(t->inside_r));
	fits = CMS_verify(cms, certs, NULL, NULL, out.bio, flags) == 1;
	sink_bio_clear(&out);
	if (!fits)
		(void)content_writer_reset(t->inside_r);
	return fits;
}

static bool
fits_detached(
    const struct smime_verify *t, CMS_ContentInfo *cms, STACK_OF(X509) * certs)
{
	const unsigned flags = CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY;
	struct source source = {t->message, t->start, t->end};
	BIO_METHOD *method;
	BIO *in = source_bio(&source, &method);
	bool fits = CMS_verify(cms, certs, NULL, in, NULL, flags) == 1;

	BIO_free(in);
	BIO_meth_free(method);
	return fits;
}

static bool
knows_all_signers(CMS_ContentInfo *cms, STACK_OF(X509) * certs)
{
	STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);

	(void)CMS_set1_signers_certs(cms, certs, 0);
	for (int i = 0; i < sk_CMS_SignerInfo_num(infos); i++) {
		X509 *cert = NULL;

		CMS_SignerInfo_get0_algs(
		    sk_CMS_SignerInfo_value(infos, i), NULL, &cert, NULL, NULL);
		if (cert == NULL)
			return false;
	}
	return true;
}

/* ---- the time ---- */

static void
judge_time(const struct smime_verify *t, CMS_SignerInfo *si, struct verdict *v)
{
	int at = CMS_signed_get_attr_by_NID(si, NID_pkcs9_signingTime, -1);
	X509_ATTRIBUTE *attr = at < 0 ? NULL : CMS_signed_get_attr(si, at);
	const ASN1_TYPE *type =
	    attr == NULL ? NULL : X509_ATTRIBUTE_get0_type(attr, 0);
	time_t limit = (time_t)(t->work->now_s + FUTURE_MAX_S);

	if (type == NULL || (type->type != V_ASN1_UTCTIME &&
				type->type != V_ASN1_GENERALIZEDTIME))
		return;
	if (X509_cmp_time(type->value.asn1_string, &limit) > 0)
		set_reason(v, VERDICT_WEAK, "signed in the future");
}

/* ---- the signers ---- */

static void
describe(const struct smime_verify *t, X509 *cert, struct verdict *v)
{
	struct slice from = t->from;

	if (from.n > 0 && smime_cert_is_for(cert, from))
		(void)slice_copy(from, v->signer, sizeof(v->signer));
	else
		smime_cert_address(cert, v->signer, sizeof(v->signer));
	(void)slice_copy(
	    slice_of(v->signer), v->identifier, sizeof(v->identifier));
	smime_cert_serial(cert, v->serial, sizeof(v->serial));
	smime_cert_issuer(cert, v->issuer, sizeof(v->issuer));
	smime_cert_fingerprint(cert, v->fingerprint);
}

static int
judge_signers(const struct smime_verify *t, CMS_ContentInfo *cms,
    struct verdict *v, struct err *err)
{
	STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
	STACK_OF(X509) *certs = CMS_get1_certs(cms);
	struct smime_judge judge;
	int rc;

	rc = smime_judge_init(&judge, t->context, t->work, certs, err);
	v->matches_from = true;
	v->revocation = REVOCATION_GOOD;
	for (int i = 0; rc == 0 && i < sk_CMS_SignerInfo_num(infos); i++) {
		CMS_SignerInfo *si = sk_CMS_SignerInfo_value(infos, i);
		struct smime_judgement j;
		X509 *cert = NULL;

		CMS_SignerInfo_get0_algs(si, NULL, &cert, NULL, NULL);
		smime_judge_cert(&judge, cert, &j);
		if (i == 0)
			describe(t, cert, v);
		if (j.kind != VERDICT_PASS)
			set_reason(v, j.kind, j.reason);
		if (j.revocation != REVOCATION_GOOD &&
		    v->revocation != REVOCATION_REVOKED)
			v->revocation = j.revocation;
		if (t->from.n == 0 || !smime_cert_is_for(cert, t->from)) {
			v->matches_from = false;
			set_reason(v, VERDICT_MISMATCH,
			    t->from.n == 0
				? "the message has no single From"
				: "the certificate is not the sender's");
		}
		judge_time(t, si, v);
	}
	if (rc == 0 && v->kind == VERDICT_PASS)
		smime_judge_harvest(&judge, cms, t->from, t->answer);
	if (rc == 0)
		smime_judge_tell_unlisted(&judge, t->from, t->answer);
	smime_judge_clear(&judge);
	sk_X509_pop_free(certs, X509_free);
	return rc;
}

/* ---- together ---- */

static void
judge_octets(const struct smime_verify *t, CMS_ContentInfo *cms,
    struct verdict *v, bool *fits_r)
{
	STACK_OF(X509) *certs = sk_X509_new_null();

	if (certs == NULL)
		fatal("out of memory");
	add_candidates(t, certs);
	if (!knows_all_signers(cms, certs))
		set_reason(v, VERDICT_UNTRUSTED,
		    "the certificate of a signer is missing");
	else if (t->is_opaque ? fits_opaque(t, cms, certs)
			      : fits_detached(t, cms, certs))
		*fits_r = true;
	else if (t->is_list_mail)
		set_reason(v, VERDICT_MODIFIED,
		    "changed after it was signed, by a mailing list perhaps");
	else
		set_reason(v, VERDICT_FAIL, "changed after it was signed");
	sk_X509_pop_free(certs, X509_free);
	ERR_clear_error();
}

static bool
has_good_structure(
    const struct smime_verify *t, struct der_facts *f, struct verdict *v)
{
	struct err err;

	if (der_walk(t->der, f, &err) == -1) {
		set_reason(v, VERDICT_FAIL, err.text);
		return false;
	}
	if (f->kind != DER_CMS_SIGNED || f->signers == 0)
		set_reason(v, VERDICT_FAIL, "there is no signature in it");
	else if (f->has_content != t->is_opaque)
		set_reason(v, VERDICT_FAIL,
		    t->is_opaque ? "the signed content is missing"
				 : "the signature brings its own content");
	else if (!f->has_attributes)
		set_reason(
		    v, VERDICT_FAIL, "the signature has no signed attributes");
	else
		return true;
	return false;
}

int
smime_verify(const struct smime_verify *t, struct verdict *v, bool *fits_r,
    struct err *err)
{
	const unsigned char *p = (const unsigned char *)t->der.p;
	struct der_facts facts;
	CMS_ContentInfo *cms;
	int rc = 0;

	*fits_r = false;
	v->kind = VERDICT_PASS;
	v->is_signed = true;
	v->matches_from = false;
	v->reason[0] = '\0';
	if (!has_good_structure(t, &facts, v))
		return 0;
	(void)slice_copy(slice_of(facts.digest), v->digest, sizeof(v->digest));
	cms = t->der.n > LONG_MAX
		  ? NULL
		  : d2i_CMS_ContentInfo(NULL, &p, (long)t->der.n);
	if (cms == NULL) {
		set_reason(v, VERDICT_FAIL, "the signature cannot be read");
	} else {
		judge_octets(t, cms, v, fits_r);
		if (*fits_r && facts.has_weak_digest)
			set_reason(
			    v, VERDICT_WEAK, "signed over a weak digest");
		if (*fits_r && t->is_ambiguous)
			set_reason(v, VERDICT_PARTIAL, SHAPE_AMBIGUOUS_TEXT);
		if (*fits_r)
			rc = judge_signers(t, cms, v, err);
	}
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	return rc;
}
