/* SPDX-License-Identifier: ISC */
/*
 * Looks at certificates.
 * Runs in: postern-signerd's workers.  Trusts: nothing in a certificate, but
 * that OpenSSL reads it.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include "common/address.h"
#include "signer/smime_cert.h"
#include "signer/smime_trust.h"

/* RFC 9598: the name form of addresses with UTF-8. */
#define NID_SMTP_UTF8_MAILBOX NID_id_on_SmtpUTF8Mailbox

/* ---- read once ---- */

/* Twice as many places as certificates; a power of two. */
#define PLACES 4096

struct place {
	X509 *cert; /* NULL: free */
	struct slice der;
	char *owned;
};

struct smime_certs {
	size_t count;
	struct smime_trust *trust;
	struct place places[PLACES];
};

struct smime_certs *
smime_certs_new(void)
{
	return xcalloc(1, sizeof(struct smime_certs));
}

static void
forget_all(struct smime_certs *certs)
{
	for (size_t i = 0; i < PLACES; i++) {
		X509_free(certs->places[i].cert);
		free(certs->places[i].owned);
	}
	memset(certs->places, 0, sizeof(certs->places));
	certs->count = 0;
}

void
smime_certs_free(struct smime_certs *certs)
{
	if (certs == NULL)
		return;
	forget_all(certs);
	smime_trust_free(certs->trust);
	free(certs);
}

struct smime_trust **
smime_certs_trust(struct smime_certs *certs)
{
	return &certs->trust;
}

/* Where it is, or where it would be. */
static struct place *
find_place(struct smime_certs *certs, struct slice der)
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
	size_t at;

	for (size_t i = 0; i < der.n; i++)
		hash =
		    (hash ^ (unsigned char)der.p[i]) * UINT64_C(1099511628211);
	at = (size_t)(hash ^ hash >> 32) % PLACES;
	while (certs->places[at].cert != NULL &&
	       !slice_equals(certs->places[at].der, der))
		at = (at + 1) % PLACES;
	return &certs->places[at];
}

static X509 *
parse(struct slice der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509 *cert = NULL;

	if (der.n > 0 && der.n <= LONG_MAX)
		cert = d2i_X509(NULL, &p, (long)der.n);
	if (cert != NULL && p != (const unsigned char *)der.p + der.n) {
		X509_free(cert);
		cert = NULL;
	}
	return cert;
}

X509 *
smime_cert_read(struct smime_certs *certs, struct slice der, struct err *err)
{
	struct place *place = find_place(certs, der);

	if (place->cert == NULL) {
		X509 *cert = parse(der);

		if (cert == NULL) {
			ERR_clear_error();
			err_set(err, "a certificate is damaged");
			return NULL;
		}
		if (certs->count == PLACES / 2) {
			forget_all(certs);
			place = find_place(certs, der);
		}
		place->cert = cert;
		place->owned = xmalloc(der.n);
		memcpy(place->owned, der.p, der.n);
		place->der = (struct slice){place->owned, der.n};
		certs->count++;
	}
	(void)X509_up_ref(place->cert);
	return place->cert;
}

/* Octets of the first SEQUENCE; 0: there is none. */
static size_t
sequence_size(struct slice der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	size_t head = 2;
	size_t n = 0;

	if (der.n < 2 || p[0] != 0x30)
		return 0;
	if (p[1] < 0x80) {
		n = p[1];
	} else {
		size_t octets = p[1] & 0x7f;

		if (octets == 0 || octets > 4 || der.n < 2 + octets)
			return 0;
		for (size_t i = 0; i < octets; i++)
			n = n << 8 | p[2 + i];
		head += octets;
	}
	return n <= der.n - head ? head + n : 0;
}

int
smime_chain_read(struct smime_certs *certs, struct slice der,
    STACK_OF(X509) * chain, struct err *err)
{
	for (int i = 0; der.n > 0; i++) {
		size_t n = sequence_size(der);
		X509 *cert;

		if (i == SMIME_CERTS_MAX)
			return err_set(
			    err, "more than %d certificates", SMIME_CERTS_MAX);
		if (n == 0)
			return err_set(err, "a certificate is damaged");
		cert = smime_cert_read(certs, (struct slice){der.p, n}, err);
		if (cert == NULL)
			return -1;
		if (sk_X509_push(chain, cert) <= 0)
			fatal("out of memory");
		der.p += n;
		der.n -= n;
	}
	return 0;
}

/* ---- keys ---- */

const char *
smime_key_kind(const EVP_PKEY *key)
{
	if (key == NULL)
		return NULL;
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
		return "rsa";
	return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC ? "ec" : NULL;
}

const EVP_MD *
smime_key_digest(const EVP_PKEY *key, struct err *err)
{
	const char *kind = smime_key_kind(key);
	int bits = key == NULL ? 0 : EVP_PKEY_get_bits(key);

	if (kind == NULL) {
		err_set(err, "S/MIME needs an RSA or EC key");
		return NULL;
	}
	if (strcmp(kind, "rsa") == 0) {
		if (bits < SMIME_RSA_BITS_MIN) {
			err_set(
			    err, "an RSA key of %d bits is too short", bits);
			return NULL;
		}
		return EVP_sha256();
	}
	if (bits < 256) {
		err_set(err, "an EC key of %d bits is too short", bits);
		return NULL;
	}
	return bits <= 256   ? EVP_sha256()
	       : bits <= 384 ? EVP_sha384()
			     : EVP_sha512();
}

int
smime_cert_is_current(const X509 *cert, int64_t now_s, struct err *err)
{
	time_t now = (time_t)now_s;

	if (X509_cmp_time(X509_get0_notBefore(cert), &now) >= 0)
		return err_set(err, "its certificate is not valid yet");
	if (X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0)
		return err_set(err, "its certificate has expired");
	return 0;
}

int
smime_cert_can_encrypt(const X509 *cert, int64_t now_s, struct err *err)
{
	X509 *c = (X509 *)(uintptr_t)cert;
	const EVP_PKEY *key = X509_get0_pubkey(cert);
	uint32_t usage = X509_get_key_usage(c);
	uint32_t needed;

	if (smime_key_digest(key, err) == NULL)
		return -1;
	needed = strcmp(smime_key_kind(key), "rsa") == 0 ? KU_KEY_ENCIPHERMENT
							 : KU_KEY_AGREEMENT;
	if ((usage & needed) == 0)
		return err_set(err, "its certificate is not for encryption");
	if ((X509_get_extended_key_usage(c) & (XKU_SMIME | XKU_ANYEKU)) == 0)
		return err_set(err, "its certificate is not for mail");
	return smime_cert_is_current(cert, now_s, err);
}

/* ---- addresses ---- */

static bool
same_address(struct slice name, const struct address *wanted)
{
	struct address a;

	return address_parse(name, ADDRESS_MAY_BE_UTF8, &a, NULL) == 0 &&
	       !a.is_literal && address_equals_folded(&a, wanted);
}

/* An address of the names, or an empty slice where another kind stands. */
static struct slice
address_of(const GENERAL_NAME *name)
{
	const ASN1_STRING *s = NULL;
	int type;
	const void *value = GENERAL_NAME_get0_value(name, &type);

	if (type == GEN_EMAIL) {
		s = value;
	} else if (type == GEN_OTHERNAME) {
		const OTHERNAME *other = value;

		if (OBJ_obj2nid(other->type_id) == NID_SMTP_UTF8_MAILBOX &&
		    other->value->type == V_ASN1_UTF8STRING)
			s = other->value->value.utf8string;
	}
	if (s == NULL)
		return (struct slice){NULL, 0};
	return (struct slice){(const char *)ASN1_STRING_get0_data(s),
	    (size_t)ASN1_STRING_length(s)};
}

/*
 * Calls back for each address until it says that this was it.  A name with a
 * NUL in it is what it is: it compares different, never shorter.
 */
static bool
each_address(const X509 *cert, bool (*fn)(struct slice, void *), void *arg)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const X509_NAME *subject = X509_get_subject_name(cert);
	bool is_any = false;
	bool is_found = false;
	int at = -1;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !is_found; i++) {
		struct slice s = address_of(sk_GENERAL_NAME_value(names, i));

		if (s.n == 0)
			continue;
		is_any = true;
		is_found = fn(s, arg);
	}
	GENERAL_NAMES_free(names);
	while (!is_any && !is_found &&
	       (at = X509_NAME_get_index_by_NID(
		    subject, NID_pkcs9_emailAddress, at)) >= 0) {
		const ASN1_STRING *s =
		    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));

		is_found =
		    fn((struct slice){(const char *)ASN1_STRING_get0_data(s),
			   (size_t)ASN1_STRING_length(s)},
			arg);
	}
	return is_found;
}

static bool
is_wanted(struct slice name, void *arg)
{
	return same_address(name, arg);
}

bool
smime_cert_is_for(const X509 *cert, struct slice address)
{
	struct address wanted;

	if (address_parse(address, ADDRESS_MAY_BE_UTF8, &wanted, NULL) == -1 ||
	    wanted.is_literal)
		return false;
	return each_address(cert, is_wanted, &wanted);
}

struct first_address {
	char *out;
	size_t size;
};

static bool
take_first(struct slice name, void *arg)
{
	struct first_address *first = arg;
	char text[ADDRESS_TEXT_MAX];
	struct address a;

	if (address_parse(name, ADDRESS_MAY_BE_UTF8, &a, NULL) == -1)
		return false;
	return slice_copy(slice_of(address_format(&a, text)), first->out,
		   first->size) == 0;
}

void
smime_cert_address(const X509 *cert, char *out, size_t out_size)
{
	struct first_address first = {out, out_size};

	out[0] = '\0';
	(void)each_address(cert, take_first, &first);
}

/* ---- names ---- */

void
smime_cert_fingerprint(const X509 *cert, char out[SMIME_FINGERPRINT_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (X509_digest(cert, EVP_sha256(), md, &n) != 1)
		n = 0;
	for (unsigned i = 0; i < n && i < 32; i++) {
		*out++ = digits[md[i] >> 4];
		*out++ = digits[md[i] & 15];
	}
	*out = '\0';
}

void
smime_cert_serial(const X509 *cert, char *out, size_t out_size)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *text = n == NULL ? NULL : BN_bn2hex(n);

	if (text == NULL || slice_copy(slice_of(text), out, out_size) == -1)
		out[0] = '\0';
	OPENSSL_free(text);
	BN_free(n);
}

void
smime_cert_issuer(const X509 *cert, char *out, size_t out_size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	long n = 0;

	out[0] = '\0';
	if (bio != NULL && X509_NAME_print_ex(bio, X509_get_issuer_name(cert),
			       0, XN_FLAG_RFC2253) > 0)
		n = BIO_get_mem_data(bio, &p);
	if (n > 0) {
		size_t length = (size_t)n;

		if (length > out_size - 1)
			length = out_size - 1;
		(void)slice_copy((struct slice){p, length}, out, out_size);
	}
	BIO_free(bio);
}

void
smime_cert_write(const X509 *cert, struct buf *der)
{
	unsigned char *p = NULL;
	int n = i2d_X509((X509 *)(uintptr_t)cert, &p);

	if (n > 0)
		(void)buf_add(der, p, (size_t)n);
	OPENSSL_free(p);
}
