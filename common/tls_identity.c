/* SPDX-License-Identifier: ISC */
/*
 * The certificate that we show: checking one that is to be installed, and
 * making one for the first start.
 * Runs in: postern-smtpd.  Trusts: nothing in the texts.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/printable.h"
#include "common/tls.h"
#include "common/tls_pem.h"

/* What browsers and mail programs accept at the most. */
#define SELF_SIGNED_DAYS 825
#define DAY_S 86400

static int64_t
time_of(const ASN1_TIME *time)
{
	struct tm tm;

	if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

static void
name_text(const X509_NAME *name, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n;

	if (bio == NULL)
		fatal("out of memory");
	(void)X509_NAME_print_ex(bio, name, 0,
	    XN_FLAG_ONELINE & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	n = BIO_get_mem_data(bio, &text);
	(void)printable((struct slice){text, n > 0 ? (size_t)n : 0}, out, size);
	BIO_free(bio);
}

/* What does not fit is left out: names are for a person's eye. */
static void
names_text(const X509 *certificate, char *out, size_t size)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	size_t n = 0;

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct slice text;
		char shown[256];
		int added;

		if (name->type != GEN_DNS)
			continue;
		text = (struct slice){
		    (const char *)ASN1_STRING_get0_data(name->d.dNSName),
		    (size_t)ASN1_STRING_length(name->d.dNSName)};
		added = snprintf(out + n, size - n, "%s%s", n > 0 ? " " : "",
		    printable(text, shown, sizeof(shown)));
		if (added < 0 || (size_t)added >= size - n) {
			out[n] = '\0';
			break;
		}
		n += (size_t)added;
	}
	GENERAL_NAMES_free(names);
}

static void
fingerprint_text(const X509 *certificate, char *out, size_t size)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	out[0] = '\0';
	if (X509_digest(certificate, EVP_sha256(), digest, &n) != 1)
		return;
	for (unsigned i = 0; i < n && (size_t)i * 3 + 3 <= size; i++)
		(void)snprintf(out + (size_t)i * 3, 4, "%02X%s", digest[i],
		    i + 1 < n ? ":" : "");
}

static int
check_dates(const X509 *certificate, int index, int64_t now, struct err *err)
{
	if (now < time_of(X509_get0_notBefore(certificate)))
		return err_set(
		    err, "certificate %d is not valid yet", index + 1);
	if (now > time_of(X509_get0_notAfter(certificate)))
		return err_set(err, "certificate %d has expired", index + 1);
	return 0;
}

static int
check_chain(STACK_OF(X509) * chain, int64_t now, struct err *err)
{
	for (int i = 0; i < sk_X509_num(chain); i++) {
		if (check_dates(sk_X509_value(chain, i), i, now, err) == -1)
			return -1;
		if (i > 0 && X509_check_issued(sk_X509_value(chain, i),
				 sk_X509_value(chain, i - 1)) != X509_V_OK)
			return err_set(err,
			    "certificate %d of the chain did "
			    "not issue the one before it",
			    i + 1);
	}
	return 0;
}

int
tls_identity_check(struct slice chain_pem, struct slice key_pem,
    const char *hostname, int64_t now, struct tls_identity *identity_r,
    struct err *err)
{
	STACK_OF(X509) *chain = tls_pem_chain(chain_pem, err);
	EVP_PKEY *key = NULL;
	struct tls_identity identity = {0};
	X509 *leaf;
	int rc = -1;

	if (chain == NULL || (key = tls_pem_key(key_pem, err)) == NULL)
		goto out;
	leaf = sk_X509_value(chain, 0);
	if (X509_check_private_key(leaf, key) != 1) {
		err_set(err, "the key is not that of the first certificate");
		goto out;
	}
	if (check_chain(chain, now, err) == -1)
		goto out;
	identity.not_before = time_of(X509_get0_notBefore(leaf));
	identity.not_after = time_of(X509_get0_notAfter(leaf));
	name_text(X509_get_subject_name(leaf), identity.subject,
	    sizeof(identity.subject));
	name_text(X509_get_issuer_name(leaf), identity.issuer,
	    sizeof(identity.issuer));
	names_text(leaf, identity.names, sizeof(identity.names));
	fingerprint_text(
	    leaf, identity.fingerprint, sizeof(identity.fingerprint));
	identity.is_self_signed = X509_self_signed(leaf, 1) == 1;
	identity.covers_hostname =
	    X509_check_host(leaf, hostname, strlen(hostname),
		X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
	*identity_r = identity;
	rc = 0;
out:
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}

static int
add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	int ok;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	if (extension == NULL)
		return 0;
	ok = X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return ok;
}

/* Not by the configuration syntax, in which a name could mean more. */
static int
add_host_name(X509 *certificate, const char *hostname)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	int ok = 0;

	if (names == NULL || name == NULL || text == NULL ||
	    ASN1_STRING_set(text, hostname, -1) != 1)
		goto out;
	GENERAL_NAME_set0_value(name, GEN_DNS, text);
	text = NULL;
	if (sk_GENERAL_NAME_push(names, name) == 0)
		goto out;
	name = NULL;
	ok = X509_add1_ext_i2d(
		 certificate, NID_subject_alt_name, names, 0, 0) == 1;
out:
	GENERAL_NAMES_free(names);
	GENERAL_NAME_free(name);
	ASN1_IA5STRING_free(text);
	return ok;
}

static int
fill_self_signed(X509 *x, EVP_PKEY *key, const char *hostname, int64_t now)
{
	/* A common name has 64 characters; names that count are in the SAN. */
	const char *common = strlen(hostname) <= 64 ? hostname : "postern";
	X509_NAME *name = X509_get_subject_name(x);
	BIGNUM *serial = BN_new();
	int ok =
	    serial != NULL &&
	    BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL &&
	    X509_set_version(x, 2) == 1 &&
	    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)now) != NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(x),
		(time_t)now + (time_t)SELF_SIGNED_DAYS * DAY_S) != NULL &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		(const unsigned char *)common, -1, -1, 0) == 1 &&
	    X509_set_issuer_name(x, name) == 1 &&
	    X509_set_pubkey(x, key) == 1 && add_host_name(x, hostname) &&
	    add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(x, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(x, NID_ext_key_usage, "serverAuth") &&
	    X509_sign(x, key, EVP_sha256()) != 0;

	BN_free(serial);
	return ok ? 0 : -1;
}

static int
take_bio(BIO *bio, struct buf *out)
{
	char *text;
	long n = BIO_get_mem_data(bio, &text);

	return n <= 0 ? -1 : buf_add(out, text, (size_t)n);
}

int
tls_self_signed(const char *hostname, int64_t now, struct buf *chain_r,
    struct buf *key_r, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	BIO *key_bio = BIO_new(BIO_s_secmem());
	int rc = -1;

	if (key == NULL || certificate == NULL || bio == NULL ||
	    key_bio == NULL ||
	    fill_self_signed(certificate, key, hostname, now) == -1 ||
	    PEM_write_bio_X509(bio, certificate) != 1 ||
	    PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) !=
		1 ||
	    take_bio(bio, chain_r) == -1 || take_bio(key_bio, key_r) == -1)
		err_set(err, "cannot make a certificate for %s: %s", hostname,
		    tls_pem_error());
	else
		rc = 0;
	EVP_PKEY_free(key);
	X509_free(certificate);
	BIO_free(bio);
	BIO_free(key_bio);
	ERR_clear_error();
	return rc;
}
