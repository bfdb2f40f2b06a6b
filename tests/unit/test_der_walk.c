/* SPDX-License-Identifier: ISC */
/*
 * The walk over CMS: what passes, what does not, and that no octet that is
 * changed or missing takes it out of its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/err.h"
#include "signer/der_walk.h"
#include "tests/unit/tap.h"

static EVP_PKEY *key;
static X509 *cert;

static void
make_cert(void)
{
	key = EVP_EC_gen("P-256");
	cert = X509_new();
	(void)X509_set_version(cert, 2);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 1000);
	(void)X509_set_pubkey(cert, key);
	if (X509_sign(cert, key, EVP_sha256()) == 0)
		bug("no certificate");
}

enum made { SIGNED, DETACHED, CBC, GCM, INDEFINITE, MADE_COUNT };

static struct slice
make_cms(enum made kind)
{
	static const char text[] = "Content-Type: text/plain\r\n\r\ntext\r\n";
	BIO *in = BIO_new_mem_buf(text, sizeof(text) - 1);
	BIO *out = BIO_new(BIO_s_mem());
	STACK_OF(X509) *readers = sk_X509_new_null();
	CMS_ContentInfo *cms;
	struct slice der;
	char *p;

	(void)sk_X509_push(readers, cert);
	if (kind == SIGNED || kind == DETACHED)
		cms = CMS_sign(cert, key, NULL, in,
		    CMS_BINARY | (kind == DETACHED ? CMS_DETACHED : 0u));
	else
		cms = CMS_encrypt(readers, in,
		    kind == GCM ? EVP_aes_256_gcm() : EVP_aes_128_cbc(),
		    CMS_BINARY | (kind == INDEFINITE ? CMS_STREAM : 0u));
	if (cms == NULL ||
	    i2d_CMS_bio_stream(out, cms, kind == INDEFINITE ? in : NULL,
		kind == INDEFINITE ? CMS_BINARY | CMS_STREAM : 0) != 1)
		bug("no CMS");
	der.n = (size_t)BIO_get_mem_data(out, &p);
	der.p = slice_dup((struct slice){p, der.n});
	CMS_ContentInfo_free(cms);
	sk_X509_free(readers);
	BIO_free(in);
	BIO_free(out);
	return der;
}

static void
test_kinds(void)
{
	static const struct {
		const char *label;
		enum der_cms kind;
		bool has_content;
		const char *name; /* digest or cipher */
		bool has_integrity;
	} wanted[MADE_COUNT] = {
	    [SIGNED] = {"signed", DER_CMS_SIGNED, true, "sha256", false},
	    [DETACHED] = {"detached", DER_CMS_SIGNED, false, "sha256", false},
	    [CBC] = {"CBC", DER_CMS_ENVELOPED, false, "aes-128-cbc", false},
	    [GCM] = {"GCM", DER_CMS_AUTH_ENVELOPED, false, "aes-256-gcm", true},
	    [INDEFINITE] = {"in pieces", DER_CMS_ENVELOPED, false,
		"aes-128-cbc", false},
	};

	for (int i = 0; i < MADE_COUNT; i++) {
		struct slice der = make_cms((enum made)i);
		const char *label = wanted[i].label;
		struct der_facts f;
		struct err err = {""};

		is_int(der_walk(der, &f, &err), 0, "%s: passes %s", label,
		    err.text);
		is_int(f.kind, wanted[i].kind, "%s: kind", label);
		is_int(
		    f.has_content, wanted[i].has_content, "%s: content", label);
		is_str(f.kind == DER_CMS_SIGNED ? f.digest : f.cipher,
		    wanted[i].name, "%s: %s", label, wanted[i].name);
		is_int(f.has_integrity, wanted[i].has_integrity,
		    "%s: integrity", label);
		is_u64(f.signers + f.recipients, 1, "%s: for or by one", label);
		free((char *)(uintptr_t)der.p);
	}
}

/* In memory of exactly that size, so that a sanitizer sees any overrun. */
static int
walk_exactly(const char *p, size_t n)
{
	char *copy = xmalloc(n == 0 ? 1 : n);
	struct der_facts f;
	int rc;

	if (n > 0)
		memcpy(copy, p, n);
	rc = der_walk((struct slice){copy, n}, &f, NULL);
	free(copy);
	return rc;
}

static void
test_damage(void)
{
	for (int i = 0; i < MADE_COUNT; i++) {
		struct slice der = make_cms((enum made)i);
		char *octets = slice_dup(der);
		bool all_cut = true;

		for (size_t n = 0; n < der.n; n++)
			if (walk_exactly(der.p, n) == 0)
				all_cut = false;
		ok(all_cut, "whatever is missing at the end is missed");
		for (size_t at = 0; at < der.n; at++)
			for (int bit = 0; bit < 8; bit++) {
				octets[at] = (char)(der.p[at] ^ 1 << bit);
				(void)walk_exactly(octets, der.n);
				octets[at] = der.p[at];
			}
		pass("no octet that is changed takes it out of bounds");
		free(octets);
		free((char *)(uintptr_t)der.p);
	}
}

static const struct {
	const char *label;
	const char *der;
	size_t n;
} bad[] = {
#define ROW(label, der)                         \
	{                                       \
		(label), (der), sizeof(der) - 1 \
	}
    ROW("nothing", ""),
    ROW("one octet", "\x30"),
    ROW("a long tag", "\x3f\x81\x01\x00"),
    ROW("a length of five octets", "\x30\x85\x01\x01\x01\x01\x01"),
    ROW("a length beyond the end", "\x30\x05\x02\x01\x00"),
    ROW("a primitive without a length", "\x30\x80\x04\x80\x00\x00"),
    ROW("no end of a value without a length", "\x30\x80\x02\x01\x00"),
    ROW("an end where none may be", "\x30\x02\x00\x00"),
    ROW("two values", "\x30\x00\x30\x00"),
    ROW("no type", "\x30\x03\x02\x01\x00"),
    ROW("signed data that is empty",
	"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x00"),
#undef ROW
};

static void
test_bad(void)
{
	char deep[4 * DER_DEPTH_MAX];
	char *wide;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_int(
		    walk_exactly(bad[i].der, bad[i].n), -1, "%s", bad[i].label);
	for (size_t i = 0; i < sizeof(deep); i += 2)
		memcpy(deep + i, "\x30\x80", 2);
	is_int(walk_exactly(deep, sizeof(deep)), -1, "too deep");
	wide = xcalloc(1, 6 + 2 * DER_VALUES_MAX);
	memcpy(wide, "\x30\x84\x00\x06\x1a\x80", 6); /* 400,000 */
	for (size_t i = 0; i < DER_VALUES_MAX; i++)
		memcpy(wide + 6 + 2 * i, "\x05\x00", 2);
	is_int(
	    walk_exactly(wide, 6 + 2 * DER_VALUES_MAX), -1, "too many values");
	free(wide);
}

/* A value of that tag before what is in it, with a length of four octets. */
static void
wrap(unsigned char tag, struct buf *body)
{
	struct buf whole;

	buf_init(&whole, SIZE_MAX / 2);
	(void)buf_add_char(&whole, (char)tag);
	(void)buf_add(&whole, "\x84", 1);
	for (int shift = 24; shift >= 0; shift -= 8)
		(void)buf_add_char(&whole, (char)(body->n >> shift & 0xff));
	(void)buf_add_slice(&whole, buf_slice(body));
	buf_clear(body);
	*body = whole;
}

/* Signed or enveloped data up to one certificate that holds so many octets. */
static void
certificate_of(size_t n, bool is_signed, struct buf *out)
{
	static const char head[] = "\x02\x01\x01\x31\x00\x30\x0b\x06\x09"
				   "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
	struct buf body;

	buf_init(&body, SIZE_MAX / 2);
	buf_init(out, SIZE_MAX / 2);
	memset(buf_reserve(&body, n), 0, n);
	buf_extend(&body, n);
	wrap(0x04, &body);
	wrap(0x30, &body);
	wrap(0xa0, &body);
	if (!is_signed)
		wrap(0xa0, &body);
	(void)buf_add(out, head, is_signed ? sizeof(head) - 1 : 3);
	(void)buf_add_slice(out, buf_slice(&body));
	wrap(0x30, out);
	wrap(0xa0, out);
	buf_reset(&body);
	(void)buf_add(&body, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07", 10);
	(void)buf_add_char(&body, is_signed ? 2 : 3);
	(void)buf_add_slice(&body, buf_slice(out));
	wrap(0x30, &body);
	buf_clear(out);
	*out = body;
}

/* Names in it would be forty times as much in memory. */
static void
test_large_certificates(void)
{
	static const char why[] = "certificates that are too large";

	for (int is_signed = 0; is_signed < 2; is_signed++)
		for (int is_large = 0; is_large < 2; is_large++) {
			struct der_facts f;
			struct err err = {""};
			struct buf der;

			certificate_of(is_large ? DER_SET_MAX : 65536,
			    is_signed == 1, &der);
			is_int(der_walk(buf_slice(&der), &f, &err), -1,
			    "what follows them is missing: %s", err.text);
			is_int(strcmp(err.text, why) == 0, is_large,
			    "%s data, certificates of more than a MiB: %d",
			    is_signed ? "signed" : "enveloped", is_large);
			buf_clear(&der);
		}
}

int
main(void)
{
	make_cert();
	test_kinds();
	test_damage();
	test_bad();
	test_large_certificates();
	X509_free(cert);
	EVP_PKEY_free(key);
	return tap_done();
}
