/* SPDX-License-Identifier: ISC */
/*
 * Signs by CMS.  The digest of a detached signature is ours: one pass over the
 * entity hashes it and writes it, where CMS would want it whole or chop it by
 * lines.
 * Runs in: postern-signerd's `sign` workers.  Trusts: the entity; it is what
 * the sender wrote.
 */
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>

#include "signer/sink_bio.h"
#include "signer/smime_sign.h"

/* The fields and the first delimiter of a multipart/signed. */
#define START_MAX 1024

/* ---- an entity that is hashed while it passes ---- */

struct hash_sink {
	EVP_MD_CTX *digest;
	struct sink out;
};

static int
write_hashed(void *arg, const void *p, size_t n, struct err *err)
{
	struct hash_sink *h = arg;

	if (EVP_DigestUpdate(h->digest, p, n) != 1)
		return err_set(err, "cannot make a digest");
	return sink_write(&h->out, p, n, err);
}

/* ---- the signature ---- */

/*
 * RFC 8551 §2.5.3: which of his certificates to answer with, by its issuer and
 * serial.  Without it readers take the one that signed.
 */
static bool
add_preference(CMS_SignerInfo *si, const struct smime_signer *signer)
{
	PKCS7_ISSUER_AND_SERIAL *name;
	unsigned char *der = NULL;
	bool is_done = false;
	int n = -1;

	if (signer->preferred == NULL)
		return true;
	name = PKCS7_ISSUER_AND_SERIAL_new();
	if (name != NULL &&
	    X509_NAME_set(
		&name->issuer, X509_get_issuer_name(signer->preferred)) == 1 &&
	    ASN1_STRING_copy(
		name->serial, X509_get0_serialNumber(signer->preferred)) == 1)
		n = i2d_PKCS7_ISSUER_AND_SERIAL(name, &der);
	if (n > 0) {
		/*
		 * issuerAndSerialNumber [0] IMPLICIT.  OpenSSL writes what it
		 * takes for a sequence as it is.
		 */
		der[0] = 0xa0;
		is_done = CMS_signed_add1_attr_by_NID(si,
			      NID_id_smime_aa_encrypKeyPref, V_ASN1_SEQUENCE,
			      der, n) == 1;
	}
	OPENSSL_free(der);
	PKCS7_ISSUER_AND_SERIAL_free(name);
	return is_done;
}

/*
 * The signed attributes of RFC 8551 §2.5 that do not depend on the content:
 * the time, what we can decrypt ourselves, and by which certificate.
 */
static bool
add_attributes(CMS_SignerInfo *si, const struct smime_signer *signer)
{
	static const int ciphers[] = {
	    NID_aes_256_gcm, NID_aes_256_cbc, NID_aes_128_gcm, NID_aes_128_cbc};
	STACK_OF(X509_ALGOR) *capabilities = NULL;
	ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)signer->now_s);
	bool is_done = now != NULL;

	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
		is_done = is_done && CMS_add_simple_smimecap(
					 &capabilities, ciphers[i], -1) == 1;
	is_done = is_done && CMS_add_smimecap(si, capabilities) == 1 &&
		  CMS_signed_add1_attr_by_NID(
		      si, NID_pkcs9_signingTime, now->type, now, -1) == 1;
	sk_X509_ALGOR_pop_free(capabilities, X509_ALGOR_free);
	ASN1_TIME_free(now);
	return is_done && add_preference(si, signer);
}

/* Type and digest of a content that CMS does not get to see. */
static bool
add_digest(CMS_SignerInfo *si, const unsigned char *md, size_t md_n)
{
	return CMS_signed_add1_attr_by_NID(si, NID_pkcs9_contentType,
		   V_ASN1_OBJECT, OBJ_nid2obj(NID_pkcs7_data), -1) == 1 &&
	       CMS_signed_add1_attr_by_NID(si, NID_pkcs9_messageDigest,
		   V_ASN1_OCTET_STRING, md, (int)md_n) == 1;
}

static bool
add_certs(CMS_ContentInfo *cms, const struct smime_signer *signer)
{
	for (int i = 0; i < sk_X509_num(signer->chain); i++) {
		X509 *cert = sk_X509_value(signer->chain, i);

		/* The signer's own is there already. */
		if (X509_cmp(cert, signer->cert) != 0 &&
		    (signer->preferred == NULL ||
			X509_cmp(cert, signer->preferred) != 0) &&
		    CMS_add1_cert(cms, cert) != 1)
			return false;
	}
	return signer->preferred == NULL ||
	       CMS_add1_cert(cms, signer->preferred) == 1;
}

/* The DER of a signature over that digest. */
static int
make_signature(const struct smime_signer *signer, const unsigned char *md,
    size_t md_n, unsigned char **der_r, size_t *der_n_r, struct err *err)
{
	const unsigned flags =
	    CMS_PARTIAL | CMS_DETACHED | CMS_BINARY | CMS_STREAM;
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	CMS_SignerInfo *si = NULL;
	int n = -1;

	*der_r = NULL;
	if (cms != NULL)
		si = CMS_add1_signer(cms, signer->cert, signer->key,
		    signer->digest, flags | CMS_NOSMIMECAP);
	if (si != NULL && add_certs(cms, signer) &&
	    add_attributes(si, signer) && add_digest(si, md, md_n) &&
	    CMS_SignerInfo_sign(si) == 1)
		n = i2d_CMS_ContentInfo(cms, der_r);
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	if (n <= 0)
		return err_set(err, "the key made no signature");
	*der_n_r = (size_t)n;
	return 0;
}

/* RFC 8551 §3.5.3.2 */
static const char *
micalg(const EVP_MD *digest)
{
	switch (EVP_MD_get_size(digest)) {
	case 48:
		return "sha-384";
	case 64:
		return "sha-512";
	default:
		return "sha-256";
	}
}

static int
write_signature_part(const struct sink *sink, const char *boundary,
    const unsigned char *der, size_t der_n, struct err *err)
{
	struct base64_sink base64;
	struct sink encoder = sink_of_base64(&base64);

	base64_sink_init(&base64, *sink);
	if (sink_text(sink, "\r\n--", err) == -1 ||
	    sink_text(sink, boundary, err) == -1 ||
	    sink_text(sink,
		"\r\nContent-Type: application/pkcs7-signature; "
		"name=\"smime.p7s\"\r\n"
		"Content-Transfer-Encoding: base64\r\n"
		"Content-Disposition: attachment; filename=\"smime.p7s\"\r\n"
		"Content-Description: S/MIME Cryptographic Signature\r\n\r\n",
		err) == -1 ||
	    sink_write(&encoder, der, der_n, err) == -1 ||
	    base64_sink_finish(&base64, err) == -1 ||
	    sink_text(sink, "\r\n--", err) == -1 ||
	    sink_text(sink, boundary, err) == -1)
		return -1;
	return sink_text(sink, "--\r\n", err);
}

static int
write_multipart_start(const struct smime_signer *signer, const char *boundary,
    const struct sink *sink, struct err *err)
{
	struct buf b;
	int rc;

	buf_init(&b, START_MAX);
	(void)buf_addf(&b,
	    "Content-Type: multipart/signed; "
	    "protocol=\"application/pkcs7-signature\";\r\n"
	    "\tmicalg=%s; boundary=\"%s\"\r\n\r\n"
	    "This is an S/MIME signed message.\r\n\r\n--%s\r\n",
	    micalg(signer->digest), boundary, boundary);
	rc = sink_slice(sink, buf_slice(&b), err);
	buf_clear(&b);
	return rc;
}

static int
sign_detached(const struct smime_signer *signer, struct entity *entity,
    const struct entity_wishes *wishes, const struct sink *sink,
    struct err *err)
{
	struct hash_sink h = {EVP_MD_CTX_new(), *sink};
	struct sink hashed = {write_hashed, &h};
	char boundary[ENTITY_BOUNDARY_SIZE];
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned md_n = 0;
	unsigned char *der = NULL;
	size_t der_n = 0;
	int rc = -1;

	entity_boundary(boundary);
	if (h.digest == NULL ||
	    EVP_DigestInit_ex(h.digest, signer->digest, NULL) != 1) {
		err_set(err, "cannot make a digest");
		goto out;
	}
	if (write_multipart_start(signer, boundary, sink, err) == -1 ||
	    entity_write(entity, wishes, &hashed, err) == -1)
		goto out;
	if (EVP_DigestFinal_ex(h.digest, md, &md_n) != 1) {
		err_set(err, "cannot make a digest");
		goto out;
	}
	if (make_signature(signer, md, md_n, &der, &der_n, err) == -1)
		goto out;
	rc = write_signature_part(sink, boundary, der, der_n, err);
out:
	OPENSSL_free(der);
	EVP_MD_CTX_free(h.digest);
	return rc;
}

/* ---- opaque ---- */

/* The octets pass through CMS, which writes itself around them. */
static int
write_opaque(CMS_ContentInfo *cms, struct entity *entity,
    const struct entity_wishes *wishes, const struct sink *sink,
    struct err *err)
{
	struct base64_sink base64;
	struct sink_bio out;
	struct sink in;
	BIO *bio, *next;
	int rc = -1;

	base64_sink_init(&base64, *sink);
	sink_bio_init(&out, sink_of_base64(&base64));
	bio = BIO_new_CMS(out.bio, cms);
	if (bio == NULL) {
		err_set(err, "the key made no signature");
		goto out;
	}
	in = sink_of_bio(bio);
	rc = entity_write(entity, wishes, &in, err);
	if (rc == 0 && BIO_flush(bio) != 1)
		rc = err_set(err, "the key made no signature");
	for (; bio != out.bio; bio = next) {
		next = BIO_pop(bio);
		BIO_free(bio);
	}
out:
	if (rc == -1 && out.err.text[0] != '\0')
		err_set(err, "%s", out.err.text);
	sink_bio_clear(&out);
	ERR_clear_error();
	return rc == 0 ? base64_sink_finish(&base64, err) : -1;
}

static int
sign_opaque(const struct smime_signer *signer, struct entity *entity,
    const struct entity_wishes *wishes, const struct sink *sink,
    struct err *err)
{
	const unsigned flags = CMS_PARTIAL | CMS_BINARY | CMS_STREAM;
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	CMS_SignerInfo *si = NULL;
	int rc = -1;

	if (cms != NULL)
		si = CMS_add1_signer(cms, signer->cert, signer->key,
		    signer->digest, flags | CMS_NOSMIMECAP);
	if (si == NULL || !add_certs(cms, signer) ||
	    !add_attributes(si, signer))
		err_set(err, "the key made no signature");
	else if (sink_text(sink,
		     "Content-Type: application/pkcs7-mime; "
		     "smime-type=signed-data;\r\n\tname=\"smime.p7m\"\r\n"
		     "Content-Transfer-Encoding: base64\r\n"
		     "Content-Disposition: attachment; "
		     "filename=\"smime.p7m\"\r\n\r\n",
		     err) == 0)
		rc = write_opaque(cms, entity, wishes, sink, err);
	CMS_ContentInfo_free(cms);
	return rc;
}

int
smime_sign(const struct smime_signer *signer, struct entity *entity,
    const struct entity_wishes *wishes, bool is_opaque, const struct sink *sink,
    struct err *err)
{
	if (is_opaque || !entity_is_7bit(entity, wishes))
		return sign_opaque(signer, entity, wishes, sink, err);
	return sign_detached(signer, entity, wishes, sink, err);
}
