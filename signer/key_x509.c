/* SPDX-License-Identifier: ISC */
/*
 * Reads certificates of anybody.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: nothing; a certificate is taken only when S/MIME can use it.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/printable.h"
#include "signer/key_task.h"
#include "signer/key_x509.h"
#include "signer/trust_x509.h"

/* Below: RFC 8551 §4.  Above: hours of work for one signature. */
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

/* ---- lists ---- */

void
x509_list_clear(struct x509_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		X509_free(list->certificates[i]);
	list->count = 0;
}

int
x509_list_add(struct x509_list *list, X509 *certificate, struct err *err)
{
	if (list->count == X509_CHAIN_MAX) {
		X509_free(certificate);
		return err_set(err, "the file has more than %d certificates",
		    X509_CHAIN_MAX);
	}
	list->certificates[list->count++] = certificate;
	return 0;
}

X509 *
x509_from_der(struct slice der, struct err *err)
{
	const unsigned char *at = (const unsigned char *)der.p;
	X509 *certificate =
	    der.n > KEY_FILE_MAX ? NULL : d2i_X509(NULL, &at, (long)der.n);

	if (certificate != NULL && at == (const unsigned char *)der.p + der.n)
		return certificate;
	X509_free(certificate);
	ERR_clear_error();
	(void)err_set(err, "it is not a certificate, or damaged");
	return NULL;
}

int
x509_to_der(X509 *certificate, struct buf *der, struct err *err)
{
	unsigned char *octets = NULL;
	const int n = i2d_X509(certificate, &octets);
	int rc = -1;

	if (n <= 0 || buf_add(der, octets, (size_t)n) == -1)
		(void)err_set(err, "a certificate is too large");
	else
		rc = 0;
	OPENSSL_free(octets);
	return rc;
}

static int
no_passphrase(char *text, int size, int is_writing, void *arg)
{
	(void)text;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
}

static int
read_pem(struct slice file, struct x509_list *list, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(file.p, (int)file.n);
	X509 *certificate;
	unsigned long code;
	int rc = 0;

	while (rc == 0 && (certificate = PEM_read_bio_X509(
			       bio, NULL, no_passphrase, NULL)) != NULL)
		rc = x509_list_add(list, certificate, err);
	code = ERR_peek_last_error();
	if (rc == 0 && ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		rc = err_set(err, "a certificate in the file is damaged");
	ERR_clear_error();
	BIO_free(bio);
	return rc;
}

int
x509_read_file(struct slice file, struct x509_list *list, struct err *err)
{
	X509 *certificate;

	if (file.n == 0 || file.n > KEY_FILE_MAX)
		return err_set(err, "the file is empty or too large");
	if (memmem(file.p, file.n, "-----BEGIN", 10) != NULL) {
		if (read_pem(file, list, err) == -1)
			return -1;
		return list->count > 0
			   ? 0
			   : err_set(err, "the file holds no certificate");
	}
	certificate = x509_from_der(file, err);
	if (certificate == NULL)
		return -1;
	return x509_list_add(list, certificate, err);
}

/* ---- public keys ---- */

static int
check_rsa(unsigned bits, char algorithm_r[64], struct err *err)
{
	if (bits < RSA_BITS_MIN)
		return err_set(err,
		    "an RSA key of %u bits is too weak; %d is the least", bits,
		    RSA_BITS_MIN);
	if (bits > RSA_BITS_MAX)
		return err_set(err,
		    "an RSA key of %u bits takes too long to use; %d is the "
		    "most",
		    bits, RSA_BITS_MAX);
	(void)snprintf(algorithm_r, 64, "rsa-%u", bits);
	return 0;
}

static int
check_ec(EVP_PKEY *key, char algorithm_r[64], struct err *err)
{
	static const struct {
		const char *group;
		const char *name;
	} curves[] = {{"prime256v1", "p-256"}, {"secp384r1", "p-384"},
	    {"secp521r1", "p-521"}};
	char group[64] = "";
	size_t n;

	if (EVP_PKEY_get_group_name(key, group, sizeof(group), &n) != 1)
		return err_set(
		    err, "an EC key with parameters of its own is not taken");
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
		if (strcmp(group, curves[i].group) == 0) {
			(void)snprintf(algorithm_r, 64, "%s", curves[i].name);
			return 0;
		}
	return err_set(err,
	    "an EC key on the curve %s is not taken; P-256, P-384 and P-521 "
	    "are",
	    group);
}

int
x509_check_public(
    EVP_PKEY *key, char algorithm_r[64], unsigned *bits_r, struct err *err)
{
	if (key == NULL)
		return err_set(err, "its public key cannot be read");
	*bits_r = (unsigned)EVP_PKEY_get_bits(key);
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return check_rsa(*bits_r, algorithm_r, err);
	case EVP_PKEY_EC:
		return check_ec(key, algorithm_r, err);
	case EVP_PKEY_ED25519:
	case EVP_PKEY_ED448:
	case EVP_PKEY_X25519:
	case EVP_PKEY_X448:
		return err_set(err,
		    "a certificate with an %s key cannot be used for mail: no "
		    "S/MIME program of today reads it",
		    EVP_PKEY_get0_type_name(key));
	default:
		return err_set(err,
		    "a certificate with a %s key cannot be used for mail",
		    EVP_PKEY_get0_type_name(key) != NULL
			? EVP_PKEY_get0_type_name(key)
			: "strange");
	}
}

void
x509_public_digest(EVP_PKEY *key, char out[65])
{
	unsigned char digest[32];
	unsigned char *spki = NULL;
	const int n = i2d_PUBKEY(key, &spki);

	out[0] = '\0';
	if (n > 0 &&
	    EVP_Digest(spki, (size_t)n, digest, NULL, EVP_sha256(), NULL) == 1)
		key_hex(digest, sizeof(digest), out);
	OPENSSL_free(spki);
}

/* ---- texts ---- */

static void
capitals(char *text)
{
	for (; *text != '\0'; text++)
		if (*text >= 'a' && *text <= 'f')
			*text = (char)(*text - 'a' + 'A');
}

void
x509_fingerprint(X509 *certificate, char out[KEY_FINGERPRINT_MAX + 1])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	out[0] = '\0';
	if (X509_digest(certificate, EVP_sha256(), digest, &n) == 1)
		key_hex(digest, n, out);
	capitals(out);
}

int
x509_serial_text(
    const ASN1_INTEGER *serial, char *out, size_t size, struct err *err)
{
	char text[TRUST_SERIAL_SIZE];

	/* As lists have it, which are searched for it. */
	trust_serial_text(serial, text);
	if (text[0] == '\0' || slice_copy(slice_of(text), out, size) == -1)
		return err_set(err, "its serial number is too long");
	return 0;
}

int
x509_name_text(const X509_NAME *name, char *out, size_t size, struct err *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long n;
	int rc = -1;

	if (bio == NULL ||
	    X509_NAME_print_ex(bio, name, 0,
		XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0) {
		(void)err_set(err, "a name in it cannot be read");
	} else {
		n = BIO_get_mem_data(bio, &text);
		(void)printable(
		    (struct slice){text, n > 0 ? (size_t)n : 0}, out, size);
		rc = 0;
	}
	BIO_free(bio);
	return rc;
}

int64_t
x509_time(const ASN1_TIME *time)
{
	struct tm tm;

	if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

/* ---- addresses ---- */

static void
add_address(struct x509_facts *facts, struct slice text)
{
	struct address address;
	char folded[ADDRESS_TEXT_MAX];

	/* One that is none, or written oddly, names nobody. */
	if (facts->address_count == X509_ADDRESSES_MAX ||
	    address_parse(text, ADDRESS_MAY_BE_UTF8, &address, NULL) == -1 ||
	    address.is_literal)
		return;
	(void)address_format_folded(&address, folded);
	for (size_t i = 0; i < facts->address_count; i++)
		if (strcmp(facts->addresses[i], folded) == 0)
			return;
	memcpy(
	    facts->addresses[facts->address_count++], folded, sizeof(folded));
}

static struct slice
string_slice(const ASN1_STRING *string)
{
	return (struct slice){(const char *)ASN1_STRING_get0_data(string),
	    (size_t)ASN1_STRING_length(string)};
}

/* SmtpUTF8Mailbox, RFC 9598; *is_r: the name is one of an address. */
static struct slice
name_address(const GENERAL_NAME *name, bool *is_r)
{
	struct slice none = {NULL, 0};

	*is_r = true;
	if (name->type == GEN_EMAIL)
		return string_slice(name->d.rfc822Name);
	*is_r = name->type == GEN_OTHERNAME &&
		OBJ_obj2nid(name->d.otherName->type_id) ==
		    NID_id_on_SmtpUTF8Mailbox &&
		name->d.otherName->value->type == V_ASN1_UTF8STRING;
	return *is_r ? string_slice(name->d.otherName->value->value.utf8string)
		     : none;
}

/* From the alternative names; from the subject only when they have none. */
static void
read_addresses(X509 *certificate, struct x509_facts *facts)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	X509_NAME *subject = X509_get_subject_name(certificate);
	bool has_any = false;
	int at = -1;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		bool is_address;
		const struct slice text =
		    name_address(sk_GENERAL_NAME_value(names, i), &is_address);

		if (is_address)
			add_address(facts, text);
		has_any |= is_address;
	}
	GENERAL_NAMES_free(names);
	while (!has_any && (at = X509_NAME_get_index_by_NID(
				subject, NID_pkcs9_emailAddress, at)) >= 0)
		add_address(facts, string_slice(X509_NAME_ENTRY_get_data(
				       X509_NAME_get_entry(subject, at))));
}

/* ---- what it may do ---- */

static int
check_purpose(X509 *certificate, struct err *err)
{
	const uint32_t purposes = X509_get_extended_key_usage(certificate);

	if ((X509_get_extension_flags(certificate) & EXFLAG_INVALID) != 0)
		return err_set(err, "an extension in it is damaged");
	if (purposes != UINT32_MAX &&
	    (purposes & (XKU_SMIME | XKU_ANYEKU)) == 0)
		return err_set(err,
		    "it is not for mail (no emailProtection among its "
		    "purposes)");
	return 0;
}

static unsigned
read_uses(X509 *certificate, EVP_PKEY *key)
{
	const uint32_t usage = X509_get_key_usage(certificate);
	const uint32_t encrypts = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC
				      ? KU_KEY_AGREEMENT
				      : KU_KEY_ENCIPHERMENT;
	unsigned uses = 0;

	if (X509_check_ca(certificate) == 1)
		return KEY_CERTIFIES;
	if ((usage & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0)
		uses |= KEY_SIGNS;
	if ((usage & encrypts) != 0)
		uses |= KEY_ENCRYPTS;
	return uses;
}

/* Whoever can find collisions can have such a certificate for any name. */
static int
check_signature(X509 *certificate, struct err *err)
{
	int digest = NID_undef;

	if (X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) ==
		1 &&
	    (digest == NID_sha1 || digest == NID_md5 || digest == NID_md2 ||
		digest == NID_md4 || digest == NID_md5_sha1) &&
	    X509_check_ca(certificate) == 0)
		return err_set(err,
		    "it is signed by way of %s, which is broken",
		    OBJ_nid2sn(digest));
	return 0;
}

static int
read_names(X509 *certificate, struct key *key, struct err *err)
{
	if (x509_name_text(X509_get_subject_name(certificate), key->subject,
		sizeof(key->subject), err) == -1 ||
	    x509_name_text(X509_get_issuer_name(certificate), key->issuer,
		sizeof(key->issuer), err) == -1)
		return -1;
	return x509_serial_text(X509_get0_serialNumber(certificate),
	    key->serial, sizeof(key->serial), err);
}

int
x509_read_facts(X509 *certificate, struct x509_facts *facts_r, struct err *err)
{
	EVP_PKEY *public = X509_get0_pubkey(certificate);
	struct key *key = &facts_r->key;

	memset(facts_r, 0, sizeof(*facts_r));
	key->kind = KEY_SMIME;
	key->status = KEY_ACTIVE;
	if (x509_check_public(public, key->algorithm, &key->bits, err) == -1 ||
	    check_purpose(certificate, err) == -1 ||
	    check_signature(certificate, err) == -1 ||
	    read_names(certificate, key, err) == -1)
		return -1;
	key->uses = read_uses(certificate, public);
	key->not_before_s = x509_time(X509_get0_notBefore(certificate));
	key->not_after_s = x509_time(X509_get0_notAfter(certificate));
	if (key->uses == 0)
		return err_set(
		    err, "it permits neither signing nor encrypting");
	if (key->not_before_s == 0 || key->not_after_s == 0)
		return err_set(err, "its validity cannot be read");
	x509_fingerprint(certificate, key->fingerprint);
	x509_public_digest(public, facts_r->public_digest);
	read_addresses(certificate, facts_r);
	return 0;
}
