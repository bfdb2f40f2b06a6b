/* SPDX-License-Identifier: ISC */
/*
 * Makes keys, requests, certificates and revocation lists.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: the broker for names and numbers; a request of somebody else for its
 * public key alone.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "signer/key_issue.h"
#include "signer/key_task.h"

/* Clocks of correspondents differ. */
#define BACKDATE_S 3600
/* ub-common-name, RFC 5280. */
#define COMMON_NAME_MAX 64

static int
failed(struct err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return err_set(
	    err, "%s: %s", what, reason == NULL ? "OpenSSL failed" : reason);
}

/* ---- keys ---- */

EVP_PKEY *
key_generate(struct slice algorithm, struct err *err)
{
	EVP_PKEY *key = NULL;

	if (slice_equals(algorithm, SLICE("rsa-2048")))
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	else if (slice_equals(algorithm, SLICE("rsa-3072")))
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)3072);
	else if (slice_equals(algorithm, SLICE("rsa-4096")))
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)4096);
	else if (slice_equals(algorithm, SLICE("p-256")))
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	else if (slice_equals(algorithm, SLICE("p-384")))
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
	else if (slice_equals(algorithm, SLICE("ed25519")))
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else {
		(void)err_set(
		    err, "there is no algorithm %.*s", SLICE_ARG(algorithm));
		return NULL;
	}
	if (key == NULL)
		(void)failed(err, "no key was made");
	return key;
}

/* ---- names ---- */

static int
set_name(X509_NAME *name, struct slice common_name, struct slice address)
{
	const struct slice text = common_name.n > 0 ? common_name : address;
	const int n =
	    (int)(text.n > COMMON_NAME_MAX ? COMMON_NAME_MAX : text.n);

	return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
	    (const unsigned char *)text.p, n, -1, 0);
}

/* rfc822Name, or for a local part in UTF-8 SmtpUTF8Mailbox (RFC 9598). */
static GENERAL_NAME *
address_name(struct slice address)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *text;
	ASN1_TYPE *type = NULL;
	bool is_ascii = true;

	for (size_t i = 0; i < address.n; i++)
		is_ascii &= (unsigned char)address.p[i] < 0x80;
	text = is_ascii ? ASN1_IA5STRING_new() : ASN1_UTF8STRING_new();
	if (name == NULL || text == NULL ||
	    ASN1_STRING_set(text, address.p, (int)address.n) != 1)
		fatal("out of memory for a name");
	if (is_ascii) {
		GENERAL_NAME_set0_value(name, GEN_EMAIL, text);
		return name;
	}
	type = ASN1_TYPE_new();
	if (type == NULL)
		fatal("out of memory for a name");
	ASN1_TYPE_set(type, V_ASN1_UTF8STRING, text);
	if (GENERAL_NAME_set0_othername(
		name, OBJ_nid2obj(NID_id_on_SmtpUTF8Mailbox), type) != 1)
		fatal("out of memory for a name");
	return name;
}

static GENERAL_NAMES *
address_names(struct slice address)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();

	if (names == NULL ||
	    sk_GENERAL_NAME_push(names, address_name(address)) != 1)
		fatal("out of memory for a name");
	return names;
}

/* ---- requests ---- */

static int
add_request_extensions(X509_REQ *request, struct slice address)
{
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	GENERAL_NAMES *names = address_names(address);
	int rc =
	    X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, 0);

	if (rc == 1)
		rc = X509_REQ_add_extensions(request, extensions);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	GENERAL_NAMES_free(names);
	return rc;
}

int
key_make_request(EVP_PKEY *key, struct slice name, struct slice address,
    struct buf *pem, struct err *err)
{
	X509_REQ *request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n;
	int rc = -1;

	if (request == NULL || bio == NULL ||
	    set_name(X509_REQ_get_subject_name(request), name, address) != 1 ||
	    X509_REQ_set_pubkey(request, key) != 1 ||
	    add_request_extensions(request, address) != 1 ||
	    X509_REQ_sign(request, key, EVP_sha256()) == 0 ||
	    PEM_write_bio_X509_REQ(bio, request) != 1) {
		(void)failed(err, "no certificate request was made");
	} else {
		n = BIO_get_mem_data(bio, &text);
		rc = n > 0 ? buf_add(pem, text, (size_t)n) : -1;
	}
	BIO_free(bio);
	X509_REQ_free(request);
	return rc;
}

EVP_PKEY *
key_read_request(struct slice file, struct err *err)
{
	const unsigned char *at = (const unsigned char *)file.p;
	const bool is_pem = memmem(file.p, file.n, "-----BEGIN", 10) != NULL;
	BIO *bio = BIO_new_mem_buf(file.p, (int)file.n);
	X509_REQ *request = is_pem
				? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL)
				: d2i_X509_REQ(NULL, &at, (long)file.n);
	EVP_PKEY *key = request == NULL ? NULL : X509_REQ_get_pubkey(request);

	if (key == NULL) {
		(void)err_set(
		    err, "the file is not a certificate request, or damaged");
	} else if (X509_REQ_verify(request, key) != 1) {
		(void)err_set(err,
		    "the certificate request is not signed by its own key");
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	X509_REQ_free(request);
	BIO_free(bio);
	return key;
}

/* ---- certificates ---- */

static int
set_serial(X509 *certificate, struct slice serial)
{
	char text[128];
	BIGNUM *number = NULL;
	int rc;

	rc = slice_copy(serial, text, sizeof(text)) == 0 &&
	     BN_hex2bn(&number, text) > 0 &&
	     BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) !=
		 NULL;
	BN_free(number);
	return rc;
}

static int
set_validity(X509 *certificate, const struct issue *issue, X509 *ca)
{
	int64_t not_after_s = issue->not_after_s;

	if (ca != NULL && x509_time(X509_get0_notAfter(ca)) < not_after_s)
		not_after_s = x509_time(X509_get0_notAfter(ca));
	return ASN1_TIME_set(X509_getm_notBefore(certificate),
		   issue->now_s - BACKDATE_S) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(certificate), not_after_s) !=
		   NULL;
}

/* value: as openssl.cnf writes it. */
static int
add_extension(X509 *certificate, X509 *ca, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	int rc;

	X509V3_set_ctx(&context, ca, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	rc = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return rc;
}

static X509 *
sign_certificate(
    X509 *certificate, int is_ready, EVP_PKEY *key, struct err *err)
{
	if (is_ready && X509_sign(certificate, key, EVP_sha256()) != 0)
		return certificate;
	(void)failed(err, "no certificate was made");
	X509_free(certificate);
	return NULL;
}

X509 *
issue_ca(EVP_PKEY *key, const struct issue *issue, struct err *err)
{
	X509 *certificate = X509_new();
	X509_NAME *name;
	int is_ready;

	if (certificate == NULL)
		fatal("out of memory for a certificate");
	name = X509_get_subject_name(certificate);
	is_ready = X509_set_version(certificate, X509_VERSION_3) &&
		   set_serial(certificate, issue->serial) &&
		   set_name(name, issue->name, issue->address) &&
		   X509_set_issuer_name(certificate, name) &&
		   set_validity(certificate, issue, NULL) &&
		   X509_set_pubkey(certificate, key) &&
		   add_extension(certificate, certificate,
		       NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		   add_extension(certificate, certificate, NID_key_usage,
		       "critical,keyCertSign,cRLSign") &&
		   add_extension(certificate, certificate,
		       NID_subject_key_identifier, "hash");
	return sign_certificate(certificate, is_ready, key, err);
}

static int
add_address(X509 *certificate, struct slice address)
{
	GENERAL_NAMES *names = address_names(address);
	const int rc = X509_add1_ext_i2d(
	    certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);

	GENERAL_NAMES_free(names);
	return rc == 1;
}

/* By its own structures: as text, a comma in a URL would end it. */
static int
add_crl_url(X509 *certificate, struct slice url)
{
	CRL_DIST_POINTS *points = sk_DIST_POINT_new_null();
	DIST_POINT *point = DIST_POINT_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	int rc;

	if (url.n == 0) {
		rc = 1;
		goto out;
	}
	if (points == NULL || point == NULL || name == NULL || text == NULL ||
	    (point->distpoint = DIST_POINT_NAME_new()) == NULL ||
	    (point->distpoint->name.fullname = GENERAL_NAMES_new()) == NULL ||
	    ASN1_STRING_set(text, url.p, (int)url.n) != 1)
		fatal("out of memory for a certificate");
	point->distpoint->type = 0;
	GENERAL_NAME_set0_value(name, GEN_URI, text);
	text = NULL;
	if (sk_GENERAL_NAME_push(point->distpoint->name.fullname, name) <= 0)
		fatal("out of memory for a certificate");
	name = NULL;
	if (sk_DIST_POINT_push(points, point) <= 0)
		fatal("out of memory for a certificate");
	point = NULL;
	rc = X509_add1_ext_i2d(certificate, NID_crl_distribution_points, points,
	    0, X509V3_ADD_DEFAULT);
out:
	ASN1_IA5STRING_free(text);
	GENERAL_NAME_free(name);
	DIST_POINT_free(point);
	CRL_DIST_POINTS_free(points);
	return rc == 1;
}

X509 *
issue_certificate(EVP_PKEY *public, const struct issue *issue, X509 *ca,
    EVP_PKEY *ca_key, struct err *err)
{
	X509 *certificate = X509_new();
	const char *usage = EVP_PKEY_get_base_id(public) == EVP_PKEY_EC
				? "critical,digitalSignature,keyAgreement"
				: "critical,digitalSignature,keyEncipherment";
	int is_ready;

	if (certificate == NULL)
		fatal("out of memory for a certificate");
	is_ready =
	    X509_set_version(certificate, X509_VERSION_3) &&
	    set_serial(certificate, issue->serial) &&
	    set_name(X509_get_subject_name(certificate), issue->name,
		issue->address) &&
	    X509_set_issuer_name(certificate, X509_get_subject_name(ca)) &&
	    set_validity(certificate, issue, ca) &&
	    X509_set_pubkey(certificate, public) &&
	    add_extension(
		certificate, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(certificate, ca, NID_key_usage, usage) &&
	    add_extension(
		certificate, ca, NID_ext_key_usage, "emailProtection") &&
	    add_extension(
		certificate, ca, NID_subject_key_identifier, "hash") &&
	    add_extension(certificate, ca, NID_authority_key_identifier,
		"keyid:always") &&
	    add_address(certificate, issue->address) &&
	    add_crl_url(certificate, issue->crl_url);
	return sign_certificate(certificate, is_ready, ca_key, err);
}

/* ---- revocation lists ---- */

static int
add_revoked(X509_CRL *crl, struct slice line)
{
	const size_t space = slice_find(line, ' ', 0);
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_TIME *when = NULL;
	ASN1_INTEGER *serial = NULL;
	BIGNUM *number = NULL;
	char text[128];
	uint64_t time_s;
	int rc = 0;

	if (revoked == NULL)
		fatal("out of memory for a revocation list");
	if (space < line.n &&
	    slice_copy((struct slice){line.p, space}, text, sizeof(text)) ==
		0 &&
	    slice_to_u64((struct slice){line.p + space + 1, line.n - space - 1},
		&time_s) == 0 &&
	    BN_hex2bn(&number, text) > 0) {
		serial = BN_to_ASN1_INTEGER(number, NULL);
		when = ASN1_TIME_set(NULL, (time_t)time_s);
		rc = serial != NULL && when != NULL &&
		     X509_REVOKED_set_serialNumber(revoked, serial) == 1 &&
		     X509_REVOKED_set_revocationDate(revoked, when) == 1 &&
		     X509_CRL_add0_revoked(crl, revoked) == 1;
	}
	if (rc == 0)
		X509_REVOKED_free(revoked);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(when);
	BN_free(number);
	return rc;
}

static int
add_all_revoked(X509_CRL *crl, struct slice revoked)
{
	while (revoked.n > 0) {
		const size_t end = slice_find(revoked, '\n', 0);
		const size_t used = end < revoked.n ? end + 1 : end;

		if (end > 0 &&
		    !add_revoked(crl, (struct slice){revoked.p, end}))
			return 0;
		revoked.p += used;
		revoked.n -= used;
	}
	return 1;
}

static int
add_crl_extensions(X509_CRL *crl, X509 *ca, struct slice number)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	ASN1_INTEGER *value = ASN1_INTEGER_new();
	uint64_t n = 0;
	int rc;

	X509V3_set_ctx(&context, ca, NULL, NULL, crl, 0);
	extension = X509V3_EXT_conf_nid(
	    NULL, &context, NID_authority_key_identifier, "keyid:always");
	rc = extension != NULL && value != NULL &&
	     X509_CRL_add_ext(crl, extension, -1) == 1 &&
	     slice_to_u64(number, &n) == 0 &&
	     ASN1_INTEGER_set_uint64(value, n) == 1 &&
	     X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0, 0) == 1;
	X509_EXTENSION_free(extension);
	ASN1_INTEGER_free(value);
	return rc;
}

int
issue_crl(struct slice revoked, struct slice number, int64_t now_s,
    int64_t next_s, X509 *ca, EVP_PKEY *ca_key, struct buf *der,
    struct err *err)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = ASN1_TIME_set(NULL, now_s);
	ASN1_TIME *next = ASN1_TIME_set(NULL, next_s);
	unsigned char *octets = NULL;
	int n;
	int rc = -1;

	if (crl == NULL || now == NULL || next == NULL ||
	    X509_CRL_set_version(crl, X509_CRL_VERSION_2) != 1 ||
	    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) != 1 ||
	    X509_CRL_set1_lastUpdate(crl, now) != 1 ||
	    X509_CRL_set1_nextUpdate(crl, next) != 1 ||
	    !add_all_revoked(crl, revoked) ||
	    !add_crl_extensions(crl, ca, number) || X509_CRL_sort(crl) != 1 ||
	    X509_CRL_sign(crl, ca_key, EVP_sha256()) == 0 ||
	    (n = i2d_X509_CRL(crl, &octets)) <= 0)
		(void)failed(err, "no revocation list was made");
	else
		rc = buf_add(der, octets, (size_t)n);
	OPENSSL_free(octets);
	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	X509_CRL_free(crl);
	return rc;
}
