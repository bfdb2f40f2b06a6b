/* SPDX-License-Identifier: ISC */
/*
 * Reads a CA's list of revoked certificates.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: nothing of the list before its signature was checked with a
 * certificate that leads to an anchor; then the CA for its own certificates.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signer/crl_read.h"
#include "signer/key_x509.h"

/*
 * As for signatures of mail (smime_judge.c), 112 bits: RSA from 2048, no SHA-1
 * in a chain (SSL_CTX_set_security_level).
 */
#define AUTH_LEVEL 2

/* ---- the file ---- */

static X509_CRL *
parse(struct slice file, struct err *err)
{
	const unsigned char *at = (const unsigned char *)file.p;
	X509_CRL *crl = NULL;
	BIO *bio;

	if (file.n == 0 || file.n > IPC_CRL_MAX) {
		(void)err_set(err, "the file is empty or too large");
		return NULL;
	}
	if (memmem(file.p, file.n, "-----BEGIN", 10) != NULL) {
		bio = BIO_new_mem_buf(file.p, (int)file.n);
		crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
		BIO_free(bio);
	} else {
		crl = d2i_X509_CRL(NULL, &at, (long)file.n);
		if (at != (const unsigned char *)file.p + file.n) {
			X509_CRL_free(crl);
			crl = NULL;
		}
	}
	ERR_clear_error();
	if (crl == NULL)
		(void)err_set(
		    err, "the file is not a revocation list, or damaged");
	return crl;
}

/* ---- who signed it ---- */

STACK_OF(X509) * crl_chain_of(X509 *certificate, const char *purpose,
		     int64_t now_s, STACK_OF(X509) * anchors,
		     STACK_OF(X509) * others)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = NULL;
	X509_VERIFY_PARAM *param;

	if (store == NULL || ctx == NULL)
		fatal("out of memory");
	for (int i = 0; i < sk_X509_num(anchors); i++)
		(void)X509_STORE_add_cert(store, sk_X509_value(anchors, i));
	if (X509_STORE_CTX_init(ctx, store, certificate, others) != 1)
		fatal("out of memory");
	param = X509_STORE_CTX_get0_param(ctx);
	if (purpose != NULL)
		(void)X509_STORE_CTX_set_default(ctx, purpose);
	X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
	X509_VERIFY_PARAM_set_depth(param, X509_CHAIN_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
	(void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	if (X509_verify_cert(ctx) == 1)
		chain = X509_STORE_CTX_get1_chain(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return chain;
}

static bool
has_its_name(X509_CRL *crl, X509 *ca)
{
	return X509_NAME_cmp(
		   X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) == 0;
}

static bool
has_signed(X509_CRL *crl, X509 *ca)
{
	const bool is_so = X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1;

	ERR_clear_error();
	return is_so;
}

static const char *
why_not_signed(bool has_name, bool has_signature, bool may_sign)
{
	if (has_signature && !may_sign)
		return "the CA that signed the revocation list may not sign "
		       "such lists";
	if (has_signature)
		return "the CA that signed the revocation list leads to no "
		       "anchor";
	if (has_name)
		return "the revocation list is not signed by the CA that it "
		       "names";
	return "the revocation list is signed by nobody whose certificate is "
	       "known; add the CA with \"postern key anchor add\"";
}

/* Borrowed from anchors or others. */
static X509 *
find_signer(X509_CRL *crl, int64_t now_s, STACK_OF(X509) * anchors,
    STACK_OF(X509) * others, struct err *err)
{
	const int first = sk_X509_num(anchors);
	/* Of no stack it is -1. */
	const int more = others == NULL ? 0 : sk_X509_num(others);
	bool has_name = false;
	bool has_signature = false;
	bool may_sign = true;

	for (int i = 0; i < first + more; i++) {
		const int at = i - first;
		X509 *ca = at < 0 ? sk_X509_value(anchors, i)
				  : sk_X509_value(others, at);
		STACK_OF(X509) * chain;

		if (!has_its_name(crl, ca))
			continue;
		has_name = true;
		if (!has_signed(crl, ca))
			continue;
		has_signature = true;
		may_sign = X509_check_ca(ca) != 0 &&
			   (X509_get_key_usage(ca) & KU_CRL_SIGN) != 0;
		if (!may_sign)
			continue;
		if (at < 0)
			return ca;
		chain = crl_chain_of(ca, NULL, now_s, anchors, others);
		sk_X509_pop_free(chain, X509_free);
		if (chain != NULL)
			return ca;
	}
	(void)err_set(
	    err, "%s", why_not_signed(has_name, has_signature, may_sign));
	return NULL;
}

static int
check_digest(X509_CRL *crl, struct err *err)
{
	int digest = NID_undef;

	if (OBJ_find_sigid_algs(
		X509_CRL_get_signature_nid(crl), &digest, NULL) == 1 &&
	    (digest == NID_sha1 || digest == NID_md5 || digest == NID_md2 ||
		digest == NID_md4 || digest == NID_md5_sha1))
		return err_set(err,
		    "the revocation list is signed by way of %s, which is "
		    "broken",
		    OBJ_nid2sn(digest));
	return 0;
}

/* ---- its time ---- */

static int
check_times(
    X509_CRL *crl, int64_t now_s, struct trust_list *list, struct err *err)
{
	list->this_update_s = x509_time(X509_CRL_get0_lastUpdate(crl));
	list->next_update_s = x509_time(X509_CRL_get0_nextUpdate(crl));
	if (list->this_update_s == 0)
		return err_set(err, "the revocation list has no date");
	if (list->this_update_s > now_s + TRUST_AHEAD_MAX_S)
		return err_set(
		    err, "the revocation list is of a later time than now");
	if (list->next_update_s == 0)
		return err_set(
		    err, "the revocation list does not say how long it counts");
	if (list->next_update_s <= now_s)
		return err_set(err, "the revocation list is expired");
	return 0;
}

/* ---- what it covers ---- */

static int
add_scopes(const ISSUING_DIST_POINT *point, struct crl_facts *facts)
{
	const GENERAL_NAMES *names = point->distpoint->name.fullname;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const struct slice url =
		    trust_name_url(sk_GENERAL_NAME_value(names, i));

		if (url.n > 0 && facts->scope_count < CRL_SCOPES_MAX &&
		    trust_scope_text(point->onlyuser > 0, point->onlyCA > 0,
			url, facts->scopes[facts->scope_count]) == 0)
			facts->scope_count++;
	}
	return facts->scope_count > 0 ? 0 : -1;
}

/* RFC 5280 §5.2.5. */
static int
read_scope(X509_CRL *crl, struct crl_facts *facts, struct err *err)
{
	int critical = -1;
	ISSUING_DIST_POINT *point = X509_CRL_get_ext_d2i(
	    crl, NID_issuing_distribution_point, &critical, NULL);
	int rc = 0;

	facts->scope_count = 0;
	if (point == NULL) {
		/* -1: there is none; else it cannot be read. */
		if (critical != -1)
			return err_set(
			    err, "the revocation list's scope is damaged");
		facts->scopes[facts->scope_count++][0] = '\0';
		return 0;
	}
	if (point->indirectCRL > 0 || point->onlyattr > 0 ||
	    point->onlysomereasons != NULL)
		rc = err_set(err,
		    "the revocation list is for other CAs, for attributes or "
		    "for some reasons alone; such a list is not used");
	else if (point->distpoint == NULL)
		(void)trust_scope_text(point->onlyuser > 0, point->onlyCA > 0,
		    slice_of(""), facts->scopes[facts->scope_count++]);
	else if (point->distpoint->type != 0 || add_scopes(point, facts) == -1)
		rc = err_set(err,
		    "the revocation list covers a part that no URL of the web "
		    "names; such a list is not used");
	ISSUING_DIST_POINT_free(point);
	return rc;
}

static int
check_extensions(X509_CRL *crl, struct err *err)
{
	if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
		return err_set(err,
		    "the revocation list tells changes of another one alone; "
		    "such a list is not used");
	for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
		X509_EXTENSION *extension = X509_CRL_get_ext(crl, i);

		if (X509_EXTENSION_get_critical(extension) &&
		    OBJ_obj2nid(X509_EXTENSION_get_object(extension)) !=
			NID_issuing_distribution_point)
			return err_set(err,
			    "the revocation list has a critical extension "
			    "that is not known");
	}
	return 0;
}

static void
read_number(X509_CRL *crl, struct crl_facts *facts)
{
	ASN1_INTEGER *number =
	    X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);

	facts->number[0] = '\0';
	if (number != NULL)
		trust_serial_text(number, facts->number);
	ASN1_INTEGER_free(number);
}

/* ---- what is revoked ---- */

static int
read_entries(
    X509_CRL *crl, struct crl_facts *facts, struct buf *list, struct err *err)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	const int count =
	    sk_X509_REVOKED_num(all) < 0 ? 0 : sk_X509_REVOKED_num(all);
	unsigned char *digests;
	int rc = 0;

	if (count > TRUST_ENTRIES_MAX)
		return err_set(err,
		    "the revocation list has %d entries; %d are the most",
		    count, TRUST_ENTRIES_MAX);
	digests = xmalloc((size_t)count * TRUST_DIGEST_SIZE + 1);
	for (int i = 0; rc == 0 && i < count; i++) {
		const X509_REVOKED *entry = sk_X509_REVOKED_value(all, i);
		char serial[TRUST_SERIAL_SIZE];

		trust_serial_text(
		    X509_REVOKED_get0_serialNumber(entry), serial);
		if (serial[0] == '\0')
			rc = err_set(err,
			    "a serial number in the revocation list is too "
			    "long");
		else if (X509_REVOKED_get_ext_by_critical(entry, 1, -1) >= 0)
			rc = err_set(err,
			    "an entry of the revocation list has a critical "
			    "extension that is not known");
		else
			trust_serial_digest(slice_of(serial),
			    digests + (size_t)i * TRUST_DIGEST_SIZE);
	}
	facts->list.count = (uint64_t)count;
	if (rc == 0)
		rc = trust_list_write(&facts->list, digests, list, err);
	free(digests);
	return rc;
}

int
crl_read(struct slice file, int64_t now_s, STACK_OF(X509) * anchors,
    STACK_OF(X509) * others, struct crl_facts *facts_r, struct buf *list,
    struct err *err)
{
	X509_CRL *crl = parse(file, err);
	X509 *ca = NULL;
	int rc = -1;

	memset(facts_r, 0, sizeof(*facts_r));
	if (crl != NULL)
		ca = find_signer(crl, now_s, anchors, others, err);
	if (ca != NULL && check_digest(crl, err) == 0 &&
	    check_times(crl, now_s, &facts_r->list, err) == 0 &&
	    check_extensions(crl, err) == 0 &&
	    read_scope(crl, facts_r, err) == 0 &&
	    x509_name_text(X509_CRL_get_issuer(crl), facts_r->issuer,
		sizeof(facts_r->issuer), err) == 0) {
		read_number(crl, facts_r);
		trust_issuer_id(ca, facts_r->list.issuer);
		rc = read_entries(crl, facts_r, list, err);
	}
	X509_CRL_free(crl);
	return rc;
}
