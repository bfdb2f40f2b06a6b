/* SPDX-License-Identifier: ISC */
/*
 * Reads private keys from files.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: nothing.  PKCS #12 is walked by hand, not by PKCS12_parse(): that
 * takes any number of iterations that the file asks for, and of several keys
 * the first.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>

#include "signer/key_import.h"
#include "signer/key_task.h"

/* Programs of today use up to two million; a bomb asks for 2^31. */
#define ITERATIONS_MAX 10000000
/* Bags within bags. */
#define DEPTH_MAX 4
#define BAGS_MAX 64
#define PASSPHRASE_MAX 1024

struct walk {
	struct key_import *import;
	const char *passphrase; /* NULL: none was given */
	uint64_t number;        /* of the key that is wanted; 0: the only one */
	unsigned keys;
	unsigned bags;
};

void
key_import_clear(struct key_import *import)
{
	EVP_PKEY_free(import->key);
	x509_list_clear(&import->list);
	import->key = NULL;
	import->certificate = NULL;
}

static int
take_key(struct walk *walk, EVP_PKEY *key, struct err *err)
{
	if (key == NULL) {
		ERR_clear_error();
		return err_set(err, "the private key in the file is damaged");
	}
	walk->keys++;
	if (walk->keys != (walk->number == 0 ? 1 : walk->number)) {
		EVP_PKEY_free(key);
		return 0; /* counted; refused at the end when none was wanted */
	}
	walk->import->key = key;
	return 0;
}

/* ---- pass phrases ---- */

static int
check_iterations(const ASN1_INTEGER *iterations, struct err *err)
{
	int64_t count = 1;

	if (iterations != NULL &&
	    (ASN1_INTEGER_get_int64(&count, iterations) != 1 || count < 1 ||
		count > ITERATIONS_MAX))
		return err_set(err,
		    "the file asks for more work to open it (iterations) than "
		    "any honest one does");
	return 0;
}

static int
check_kdf(const X509_ALGOR *algorithm, struct err *err)
{
	const int nid = OBJ_obj2nid(algorithm->algorithm);
	PBKDF2PARAM *pbkdf2;
	int rc;

	if (nid != NID_id_pbkdf2)
		return err_set(err,
		    "the file is encrypted by a way that is not known here; "
		    "export it anew with PBKDF2");
	pbkdf2 = ASN1_TYPE_unpack_sequence(
	    ASN1_ITEM_rptr(PBKDF2PARAM), algorithm->parameter);
	rc = pbkdf2 == NULL ? err_set(err, "the file is damaged")
			    : check_iterations(pbkdf2->iter, err);
	PBKDF2PARAM_free(pbkdf2);
	return rc;
}

/* RC2 and single DES: broken, and not in OpenSSL's default provider. */
static int
check_legacy(int nid, struct err *err)
{
	if (nid == NID_pbe_WithSHA1And40BitRC2_CBC ||
	    nid == NID_pbe_WithSHA1And128BitRC2_CBC ||
	    nid == NID_pbe_WithSHA1And40BitRC4 ||
	    nid == NID_pbe_WithSHA1And128BitRC4 ||
	    nid == NID_pbeWithMD5AndDES_CBC ||
	    nid == NID_pbeWithSHA1AndDES_CBC || nid == NID_pbeWithMD2AndDES_CBC)
		return err_set(err,
		    "the file is encrypted by %s, which is broken; export it "
		    "anew with AES",
		    OBJ_nid2sn(nid));
	return 0;
}

/* What it takes to open something, before it is tried. */
static int
check_encryption(
    const struct walk *walk, const X509_ALGOR *algorithm, struct err *err)
{
	const int nid = OBJ_obj2nid(algorithm->algorithm);
	PBE2PARAM *pbes2 = NULL;
	PBEPARAM *pbe = NULL;
	int rc = -1;

	if (walk->passphrase == NULL)
		return err_set(err,
		    "the file is protected by a pass phrase, and none was "
		    "given");
	if (check_legacy(nid, err) == -1)
		return -1;
	if (nid == NID_pbes2) {
		pbes2 = ASN1_TYPE_unpack_sequence(
		    ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
		rc = pbes2 == NULL ? err_set(err, "the file is damaged")
				   : check_kdf(pbes2->keyfunc, err);
	} else {
		pbe = ASN1_TYPE_unpack_sequence(
		    ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
		rc = pbe == NULL ? err_set(err, "the file is damaged")
				 : check_iterations(pbe->iter, err);
	}
	PBE2PARAM_free(pbes2);
	PBEPARAM_free(pbe);
	return rc;
}

static int
wrong_passphrase(struct err *err)
{
	ERR_clear_error();
	return err_set(err, "the pass phrase is wrong, or the file is damaged");
}

/* ---- PKCS #12 ---- */

static int walk_bags(struct walk *walk, const STACK_OF(PKCS12_SAFEBAG) * bags,
    unsigned depth, struct err *err);

static int
take_shrouded(struct walk *walk, const X509_SIG *shrouded, struct err *err)
{
	const X509_ALGOR *algorithm;
	const ASN1_OCTET_STRING *octets;
	PKCS8_PRIV_KEY_INFO *info;
	int rc;

	X509_SIG_get0(shrouded, &algorithm, &octets);
	if (check_encryption(walk, algorithm, err) == -1)
		return -1;
	info = PKCS8_decrypt(shrouded, walk->passphrase, -1);
	if (info == NULL)
		return wrong_passphrase(err);
	rc = take_key(walk, EVP_PKCS82PKEY(info), err);
	PKCS8_PRIV_KEY_INFO_free(info);
	return rc;
}

static int
walk_bag(struct walk *walk, const PKCS12_SAFEBAG *bag, unsigned depth,
    struct err *err)
{
	X509 *certificate;

	if (++walk->bags > BAGS_MAX)
		return err_set(err, "the file has too many parts");
	switch (PKCS12_SAFEBAG_get_nid(bag)) {
	case NID_keyBag:
		return take_key(
		    walk, EVP_PKCS82PKEY(PKCS12_SAFEBAG_get0_p8inf(bag)), err);
	case NID_pkcs8ShroudedKeyBag:
		return take_shrouded(walk, PKCS12_SAFEBAG_get0_pkcs8(bag), err);
	case NID_certBag:
		certificate = PKCS12_SAFEBAG_get1_cert(bag);
		if (certificate == NULL)
			return err_set(
			    err, "a certificate in the file is damaged");
		return x509_list_add(&walk->import->list, certificate, err);
	case NID_safeContentsBag:
		if (depth == DEPTH_MAX)
			return err_set(err, "the file has parts within parts");
		return walk_bags(
		    walk, PKCS12_SAFEBAG_get0_safes(bag), depth + 1, err);
	default:
		return 0; /* CRLs and notes of other programs */
	}
}

static int
walk_bags(struct walk *walk, const STACK_OF(PKCS12_SAFEBAG) * bags,
    unsigned depth, struct err *err)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < sk_PKCS12_SAFEBAG_num(bags); i++)
		rc = walk_bag(
		    walk, sk_PKCS12_SAFEBAG_value(bags, i), depth, err);
	return rc;
}

static int
walk_safe(struct walk *walk, PKCS7 *safe, struct err *err)
{
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
	int rc;

	if (PKCS7_type_is_data(safe)) {
		bags = PKCS12_unpack_p7data(safe);
		if (bags == NULL)
			return err_set(err, "the file is damaged");
	} else if (PKCS7_type_is_encrypted(safe) && safe->d.encrypted != NULL) {
		if (check_encryption(walk,
			safe->d.encrypted->enc_data->algorithm, err) == -1)
			return -1;
		bags = PKCS12_unpack_p7encdata(safe, walk->passphrase, -1);
		if (bags == NULL)
			return wrong_passphrase(err);
	} else {
		return err_set(err,
		    "the file is protected by a public key, not by a pass "
		    "phrase");
	}
	rc = walk_bags(walk, bags, 0, err);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	return rc;
}

/* An empty pass phrase may be written in two ways. */
static int
check_mac(PKCS12 *file, struct walk *walk, struct err *err)
{
	const ASN1_INTEGER *iterations = NULL;

	PKCS12_get0_mac(NULL, NULL, NULL, &iterations, file);
	if (check_iterations(iterations, err) == -1)
		return -1;
	if (walk->passphrase != NULL &&
	    PKCS12_verify_mac(file, walk->passphrase, -1) == 1)
		return 0;
	if (walk->passphrase != NULL && walk->passphrase[0] != '\0')
		return wrong_passphrase(err);
	walk->passphrase = NULL;
	if (PKCS12_verify_mac(file, "", 0) == 1)
		walk->passphrase = "";
	else if (PKCS12_verify_mac(file, NULL, 0) != 1) {
		ERR_clear_error();
		return err_set(err,
		    "the file is protected by a pass phrase, and none was "
		    "given");
	}
	return 0;
}

static int
read_pkcs12(PKCS12 *file, struct walk *walk, struct err *err)
{
	STACK_OF(PKCS7) * safes;
	int rc = 0;

	if (PKCS12_mac_present(file) && check_mac(file, walk, err) == -1)
		return -1;
	safes = PKCS12_unpack_authsafes(file);
	if (safes == NULL) {
		ERR_clear_error();
		return err_set(err, "the file is damaged");
	}
	for (int i = 0; rc == 0 && i < sk_PKCS7_num(safes); i++)
		rc = walk_safe(walk, sk_PKCS7_value(safes, i), err);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	return rc;
}

/* ---- PEM ---- */

static int
give_passphrase(char *out, int size, int is_writing, void *arg)
{
	const struct walk *walk = arg;
	const size_t n =
	    walk->passphrase == NULL ? 0 : strlen(walk->passphrase);

	(void)is_writing;
	if (n == 0 || n > (size_t)size)
		return -1;
	memcpy(out, walk->passphrase, n);
	return (int)n;
}

static int
take_encrypted(struct walk *walk, struct slice der, struct err *err)
{
	const unsigned char *at = (const unsigned char *)der.p;
	X509_SIG *shrouded = d2i_X509_SIG(NULL, &at, (long)der.n);
	int rc;

	if (shrouded == NULL) {
		ERR_clear_error();
		return err_set(err, "the private key in the file is damaged");
	}
	rc = take_shrouded(walk, shrouded, err);
	X509_SIG_free(shrouded);
	return rc;
}

/* "Proc-Type: 4,ENCRYPTED": opened in place. */
static int
open_old_form(struct walk *walk, char *header, unsigned char *octets, long *n,
    struct err *err)
{
	EVP_CIPHER_INFO cipher;

	if (PEM_get_EVP_CIPHER_INFO(header, &cipher) != 1) {
		ERR_clear_error();
		return err_set(err,
		    "the private key in the file is encrypted by a way that "
		    "is not known here");
	}
	if (cipher.cipher == NULL)
		return 0;
	if (walk->passphrase == NULL)
		return err_set(err,
		    "the file is protected by a pass phrase, and none was "
		    "given");
	if (PEM_do_header(&cipher, octets, n, give_passphrase, walk) != 1)
		return wrong_passphrase(err);
	return 0;
}

static int
take_block(struct walk *walk, const char *name, char *header,
    unsigned char *octets, long n, struct err *err)
{
	const unsigned char *at = octets;

	if (++walk->bags > BAGS_MAX)
		return err_set(err, "the file has too many parts");
	if (strcmp(name, PEM_STRING_X509) == 0 ||
	    strcmp(name, PEM_STRING_X509_OLD) == 0) {
		X509 *certificate = x509_from_der(
		    (struct slice){(char *)octets, (size_t)n}, err);

		return certificate == NULL ? -1
					   : x509_list_add(&walk->import->list,
						 certificate, err);
	}
	if (strcmp(name, PEM_STRING_PKCS8) == 0)
		return take_encrypted(
		    walk, (struct slice){(char *)octets, (size_t)n}, err);
	if (strcmp(name, PEM_STRING_PKCS8INF) != 0 &&
	    strcmp(name, PEM_STRING_RSA) != 0 &&
	    strcmp(name, PEM_STRING_ECPRIVATEKEY) != 0)
		return 0; /* parameters, CRLs, what else there may be */
	if (open_old_form(walk, header, octets, &n, err) == -1)
		return -1;
	return take_key(walk, d2i_AutoPrivateKey(NULL, &at, n), err);
}

static int
read_pem(struct slice file, struct walk *walk, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(file.p, (int)file.n);
	char *name = NULL;
	char *header = NULL;
	unsigned char *octets = NULL;
	long n = 0;
	int rc = 0;

	while (rc == 0 && PEM_read_bio(bio, &name, &header, &octets, &n) == 1) {
		rc = take_block(walk, name, header, octets, n, err);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(octets, n > 0 ? (size_t)n : 0);
		name = NULL;
		header = NULL;
		octets = NULL;
	}
	if (rc == 0 &&
	    ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		rc = err_set(err, "the file is damaged");
	ERR_clear_error();
	BIO_free(bio);
	return rc;
}

/* ---- the whole file ---- */

/* Of the certificates the one that the key is in. */
static int
match(struct walk *walk, struct err *err)
{
	struct key_import *import = walk->import;

	if (walk->keys == 0)
		return err_set(err, "the file holds no private key");
	if (walk->keys > 1 && walk->number == 0)
		return err_set(err,
		    "the file holds %u private keys; one at a time is taken, "
		    "by --number",
		    walk->keys);
	if (import->key == NULL)
		return err_set(
		    err, "the file holds %u private keys alone", walk->keys);
	if (import->list.count == 0)
		return err_set(
		    err, "the file holds a private key and no certificate");
	for (size_t i = 0; i < import->list.count; i++)
		if (X509_check_private_key(
			import->list.certificates[i], import->key) == 1) {
			import->certificate = import->list.certificates[i];
			return 0;
		}
	ERR_clear_error();
	return err_set(
	    err, "the private key belongs to none of the file's certificates");
}

int
key_import_file(struct slice file, struct slice passphrase, uint64_t number,
    struct key_import *import_r, struct err *err)
{
	const unsigned char *at = (const unsigned char *)file.p;
	char words[PASSPHRASE_MAX + 1];
	struct walk walk = {.import = import_r, .number = number};
	PKCS12 *pkcs12 = NULL;
	int rc = -1;

	memset(import_r, 0, sizeof(*import_r));
	if (file.n == 0 || file.n > KEY_FILE_MAX)
		return err_set(err, "the file is empty or too large");
	if (slice_copy(passphrase, words, sizeof(words)) == -1)
		return err_set(err, "the pass phrase is too long");
	if (passphrase.n > 0)
		walk.passphrase = words;
	if (memmem(file.p, file.n, "-----BEGIN", 10) != NULL)
		rc = read_pem(file, &walk, err);
	else if ((pkcs12 = d2i_PKCS12(NULL, &at, (long)file.n)) == NULL)
		(void)err_set(
		    err, "the file is neither PKCS #12 nor PEM, or damaged");
	else
		rc = read_pkcs12(pkcs12, &walk, err);
	if (rc == 0)
		rc = match(&walk, err);
	PKCS12_free(pkcs12);
	ERR_clear_error();
	OPENSSL_cleanse(words, sizeof(words));
	if (rc == -1)
		key_import_clear(import_r);
	return rc;
}
