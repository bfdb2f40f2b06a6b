/* SPDX-License-Identifier: ISC */
/*
 * What a sender of ours calls encrypted: whole ciphertexts in the forms that
 * programs write, and plain text under the same labels.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>

#include "common/base64.h"
#include "signer/pgp_armor.h"
#include "signer/shape_sealed.h"
#include "tests/unit/smime_world.h"
#include "tests/unit/tap.h"

#define HEAD "From: a@ours.test\r\nSubject: x\r\n"
#define P7M                                                  \
	HEAD "Content-Type: application/pkcs7-mime; "        \
	     "smime-type=enveloped-data; name=smime.p7m\r\n" \
	     "Content-Transfer-Encoding: base64\r\n\r\n"
#define ENCRYPTED                                              \
	HEAD "Content-Type: multipart/encrypted; boundary=b; " \
	     "protocol=\"application/pgp-encrypted\"\r\n\r\n"
#define VERSION                                                           \
	"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: " \
	"1\r\n\r\n"
#define DATA "--b\r\nContent-Type: application/octet-stream\r\n\r\n"
#define END "\r\n--b--\r\n"

/* A session key (tag 1), encrypted data (tag 18), a literal (tag 11). */
#define PKESK          \
	"\xc1\x0d\x03" \
	"KEYIDKEY"     \
	"\x01"         \
	"abc"
#define SKESK      \
	"\xc3\x03" \
	"\x04\x09\x00"
#define SEIPD          \
	"\xd2\x05\x01" \
	"abcd"
#define LITERAL    \
	"\xcb\x07" \
	"b\0\0\0\0\0x"

static bool
is_sealed(struct slice message)
{
	struct content content = content_of(message);
	struct shape shape;
	struct err err;

	if (shape_read(&content, &shape, &err) == -1)
		bug("%s", err.text);
	shape_look_sealed(&content, &shape);
	return shape_is_encrypted(&shape);
}

static bool
is_sealed_with(const char *before, struct slice text, const char *behind)
{
	struct buf message;
	bool result;

	buf_init(&message, 1 << 20);
	if (buf_add_slice(&message, slice_of(before)) == -1 ||
	    buf_add_slice(&message, text) == -1 ||
	    buf_add_slice(&message, slice_of(behind)) == -1)
		bug("a message is too long");
	result = is_sealed(buf_slice(&message));
	buf_clear(&message);
	return result;
}

/* ---- OpenPGP ---- */

static void
armored(struct slice binary, struct buf *text)
{
	buf_init(text, 1 << 16);
	if (pgp_armor_write(PGP_ARMOR_MESSAGE, binary, text) == -1)
		bug("an armor is too long");
}

static bool
is_sealed_pgp(struct slice binary)
{
	struct buf text;
	bool result;

	armored(binary, &text);
	result = is_sealed_with(ENCRYPTED VERSION DATA, buf_slice(&text), END);
	buf_clear(&text);
	return result;
}

static void
test_packets(void)
{
	ok(is_sealed_pgp(SLICE(PKESK SEIPD)), "PGP/MIME");
	ok(is_sealed_pgp(SLICE(PKESK PKESK SEIPD)), "for two");
	ok(is_sealed_pgp(SLICE(SKESK SEIPD)), "by a pass phrase");
	ok(!is_sealed_pgp(SLICE(SEIPD)), "without a session key");
	ok(!is_sealed_pgp(SLICE(PKESK)), "without data");
	ok(!is_sealed_pgp(SLICE(PKESK SEIPD LITERAL)), "with text behind it");
	ok(!is_sealed_pgp(SLICE(LITERAL)), "text in armor");
	ok(!is_sealed_pgp(SLICE(PKESK LITERAL)), "text behind a session key");
}

struct row {
	const char *label;
	const char *before;
	const char *behind;
	bool is_sealed;
};

static const struct row rows[] = {
    {"with a remark",
	ENCRYPTED "This is an OpenPGP/MIME encrypted message (RFC 4880 and "
		  "3156)\r\n" VERSION DATA,
	END, true},
    {"with blank lines around it", ENCRYPTED "\r\n" VERSION DATA "\r\n",
	"\r\n" END "\r\n", true},
    {"with text before the parts", ENCRYPTED "SECRET\r\n" VERSION DATA, END,
	false},
    {"with text behind the parts", ENCRYPTED VERSION DATA, END "SECRET\r\n",
	false},
    {"with text before the parts like a delimiter",
	ENCRYPTED "--SECRET\r\n" VERSION DATA, END, false},
    {"with text as its version",
	ENCRYPTED "--b\r\nContent-Type: application/pgp-encrypted\r\n\r\n"
		  "SECRET\r\n" DATA,
	END, false},
    {"with text in place of a version",
	ENCRYPTED "--b\r\nContent-Type: text/plain\r\n\r\nSECRET\r\n" DATA, END,
	false},
    {"with text behind the armor", ENCRYPTED VERSION DATA, "SECRET\r\n" END,
	false},
    {"with text before the armor", ENCRYPTED VERSION DATA "SECRET\r\n", END,
	false},
    {"with a third part", ENCRYPTED VERSION DATA, "\r\n--b\r\n\r\nSECRET" END,
	false},
    {"with data of another type",
	ENCRYPTED VERSION "--b\r\nContent-Type: text/plain\r\n\r\n", END,
	false},
    {"as Exchange has it",
	HEAD "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
	     "Content-Type: text/plain\r\n\r\n\r\n" VERSION DATA,
	END, true},
    {"the same with text before",
	HEAD "Content-Type: multipart/mixed; boundary=b\r\n\r\nSECRET\r\n"
	     "--b\r\nContent-Type: text/plain\r\n\r\n\r\n" VERSION DATA,
	END, false},
};

static void
test_around(void)
{
	struct buf text;

	armored(SLICE(PKESK SEIPD), &text);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(is_sealed_with(rows[i].before, buf_slice(&text),
		       rows[i].behind) == rows[i].is_sealed,
		    "%s", rows[i].label);
	buf_clear(&text);
	ok(!is_sealed_with(ENCRYPTED VERSION DATA,
	       SLICE("-----BEGIN PGP MESSAGE-----\r\n\r\nSECRET\r\n"), END),
	    "the first line of an armor alone");
	ok(!is_sealed_with(ENCRYPTED VERSION DATA,
	       SLICE("-----BEGIN PGP MESSAGE-----\r\n\r\nSECRET==\r\n"
		     "-----END PGP MESSAGE-----\r\n"),
	       END),
	    "an armor of something else");
}

/* ---- S/MIME ---- */

static struct buf
enveloped(void)
{
	const struct world_wish wish = {.address = "b@dest.test"};
	struct world_id *id = world_id_new("b", &wish, NULL);
	STACK_OF(X509) *certs = sk_X509_new_null();
	BIO *in = BIO_new_mem_buf("Content-Type: text/plain\r\n\r\nx\r\n", -1);
	unsigned char *der = NULL;
	struct buf out;
	CMS_ContentInfo *cms;
	int n;

	sk_X509_push(certs, id->cert);
	cms = CMS_encrypt(certs, in, EVP_aes_256_cbc(), CMS_BINARY);
	n = i2d_CMS_ContentInfo(cms, &der);
	buf_init(&out, 1 << 16);
	if (n <= 0 || buf_add(&out, (const char *)der, (size_t)n) == -1)
		bug("OpenSSL cannot encrypt");
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	BIO_free(in);
	sk_X509_free(certs);
	world_id_free(id);
	return out;
}

static bool
is_sealed_der(struct slice der, const char *behind)
{
	char text[8192];

	if (base64_encode(der.p, der.n, text, sizeof(text)) == -1)
		bug("a CMS is too long");
	return is_sealed_with(P7M, slice_of(text), behind);
}

static void
test_cms(void)
{
	static const char fake[] =
	    "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80"
	    "SECRET";
	struct buf der = enveloped();
	const struct slice whole = buf_slice(&der);

	ok(is_sealed_der(whole, "\r\n"), "S/MIME");
	ok(is_sealed_with(HEAD "Content-Type: application/pkcs7-mime; "
			       "name=smime.p7m\r\n"
			       "Content-Transfer-Encoding: binary\r\n\r\n",
	       whole, ""),
	    "S/MIME in octets");
	ok(!is_sealed_der(whole, "\r\nSECRET\r\n"), "with text behind it");
	ok(!is_sealed_der(whole, "\r\n[(!)]\r\n"),
	    "with characters that readers pass over");
	ok(!is_sealed_der((struct slice){whole.p, whole.n - 1}, "\r\n"),
	    "cut off");
	ok(!is_sealed_der((struct slice){fake, sizeof(fake) - 1}, "\r\n"),
	    "its type alone");
	ok(!is_sealed(SLICE(P7M "SECRET\r\n")), "no CMS at all");
	buf_clear(&der);
}

static void
test_others(void)
{
	ok(!is_sealed(SLICE(HEAD "\r\nSECRET\r\n")), "plain text");
	ok(!is_sealed(SLICE(ENCRYPTED "--b--\r\n")), "no parts");
	ok(!is_sealed(SLICE(ENCRYPTED VERSION "--b--\r\n")), "one part");
	ok(!is_sealed(SLICE(P7M)), "no body");
}

int
main(void)
{
	test_packets();
	test_around();
	test_cms();
	test_others();
	return tap_done();
}
