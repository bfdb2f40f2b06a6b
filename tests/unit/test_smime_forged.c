/* SPDX-License-Identifier: ISC */
/*
 * Signatures that were forged or changed, each in a way that fooled some mail
 * program ("Johnny, you are fired": CVE-2018-18509, -2019-11720 and others),
 * and what we say.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>

#include "common/header.h"
#include "signer/transfer.h"
#include "tests/unit/smime_forge.h"
#include "tests/unit/tap.h"

/* ---- whose signature it is ---- */

static void
test_identity(struct forge_people *p)
{
	static const struct {
		const char *label;
		const char *fields;
		const char *verdict;
	} rows[] = {
	    {"her own mail", FORGE_FROM_ALICE, "pass"},
	    {"the case of the local part does not count",
		"From: ALICE@Example.ORG\r\n", "pass"},
	    {"her address is a display name",
		"From: \"alice@example.org\" <eve@evil.example>\r\n",
		"mismatch"},
	    {"her address is a comment",
		"From: eve@evil.example (alice@example.org)\r\n", "mismatch"},
	    {"two From fields", FORGE_FROM_ALICE "From: eve@evil.example\r\n",
		"mismatch"},
	    {"the same, the other way round",
		"From: eve@evil.example\r\n" FORGE_FROM_ALICE, "mismatch"},
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

	buf_init(&mail, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		forge_signed_mail(p, rows[i].fields, &mail);
		forge_is_verdict(p, &mail, rows[i].verdict, rows[i].label);
	}
	buf_clear(&mail);
}

static void
test_certificates(struct forge_people *p)
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

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world_id *id = world_id_new("odd", &rows[i].wish,
		    rows[i].is_self_signed ? NULL : p->ca);

		forge_sign(slice_of(forge_entity), id, NULL, CMS_DETACHED,
		    EVP_sha256(), &der);
		(void)buf_add_text(&mail, FORGE_FROM_ALICE);
		forge_add_signed(&mail, slice_of(forge_entity), buf_slice(&der),
		    FORGE_SIGNATURE_TYPE);
		forge_is_verdict(p, &mail, rows[i].verdict, rows[i].label);
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
test_signatures(struct forge_people *p)
{
	static const struct signature rows[] = {
	    {"two signers, one of them another", "mismatch", CMS_DETACHED, true,
		false, false, FORGE_SIGNATURE_TYPE},
	    {"signed by another", "mismatch", CMS_DETACHED, false, true, false,
		FORGE_SIGNATURE_TYPE},
	    {"over SHA-1", "weak", CMS_DETACHED, false, false, true,
		FORGE_SIGNATURE_TYPE},
	    {"without signed attributes", "fail", CMS_DETACHED | CMS_NOATTR,
		false, false, false, FORGE_SIGNATURE_TYPE},
	    {"with its content inside", "fail", 0, false, false, false,
		FORGE_SIGNATURE_TYPE},
	    {"without a certificate", "untrusted", CMS_DETACHED | CMS_NOCERTS,
		false, false, false, FORGE_SIGNATURE_TYPE},
	    {"its part has another type", "fail", CMS_DETACHED, false, false,
		false, "application/octet-stream"},
	    {"its part is a CMS that may be opaque", "fail", CMS_DETACHED,
		false, false, false, "application/pkcs7-mime"},
	};
	struct buf mail, der;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct signature *s = &rows[i];

		forge_sign(slice_of(forge_entity),
		    s->by_eve ? p->eve : p->alice, s->with_eve ? p->eve : NULL,
		    s->flags, s->with_sha1 ? EVP_sha1() : EVP_sha256(), &der);
		(void)buf_add_text(&mail, FORGE_FROM_ALICE);
		forge_add_signed(
		    &mail, slice_of(forge_entity), buf_slice(&der), s->type);
		forge_is_verdict(p, &mail, s->verdict, s->label);
		buf_reset(&der);
	}
	forge_sign_at(slice_of(forge_entity), p->alice, NULL, CMS_DETACHED,
	    EVP_sha256(), WORLD_NOW_S + 2 * 86400, &der);
	(void)buf_add_text(&mail, FORGE_FROM_ALICE);
	forge_add_signed(&mail, slice_of(forge_entity), buf_slice(&der),
	    FORGE_SIGNATURE_TYPE);
	forge_is_verdict(p, &mail, "weak", "signed in the future");
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
test_changed(struct forge_people *p)
{
	static const struct {
		const char *label;
		const char *fields;
		const char *old;
		const char *new;
		const char *verdict;
	} rows[] = {
	    {"a word was changed", FORGE_FROM_ALICE, "secret", "public",
		"fail"},
	    {"a blank was added at a line's end", FORGE_FROM_ALICE,
		"text of it.", "text of it. ", "fail"},
	    {"a field of the part was changed", FORGE_FROM_ALICE,
		"--sig\r\nContent-Type: text/plain",
		"--sig\r\nContent-Type: text/html", "fail"},
	    {"a mailing list added a line",
		FORGE_FROM_ALICE "List-Id: <l.example>\r\n", "has blocks.\r\n",
		"has blocks.\r\n--\r\na list\r\n", "modified"},
	    {"a third part follows", FORGE_FROM_ALICE, "\r\n--sig--",
		"\r\n--sig\r\n\r\nevil\r\n--sig--", "fail"},
	    {"a part stands before", FORGE_FROM_ALICE, "\r\n--sig\r\n",
		"\r\n--sig\r\n\r\nevil\r\n--sig\r\n", "fail"},
	    {"the signature has a wrong transfer encoding", FORGE_FROM_ALICE,
		"Encoding: base64", "Encoding: 7bit", "fail"},
	    {"text is in the preamble, which nobody sees", FORGE_FROM_ALICE,
		"\r\n--sig\r\n", "\r\nevil\r\n--sig\r\n", "pass"},
	    {"the protocol names another kind", FORGE_FROM_ALICE,
		"protocol=\"application/pkcs7-signature\"",
		"protocol=\"application/x-evil\"", "none"},
	    {"the container is encoded", FORGE_FROM_ALICE,
		"Content-Type: multipart",
		"Content-Transfer-Encoding: base64\r\nContent-Type: multipart",
		"fail"},
	    {"two boundaries", FORGE_FROM_ALICE, "boundary=\"sig\"",
		"boundary=\"sig\"; boundary=\"other\"", "fail"},
	    {"another boundary in pieces", FORGE_FROM_ALICE, "boundary=\"sig\"",
		"boundary=\"sig\"; boundary*0=\"other\"", "fail"},
	    {"another boundary, extended", FORGE_FROM_ALICE, "boundary=\"sig\"",
		"boundary*=us-ascii''other; boundary=\"sig\"", "fail"},
	};
	struct buf mail;

	buf_init(&mail, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		forge_signed_mail(p, rows[i].fields, &mail);
		replace(&mail, rows[i].old, rows[i].new);
		if (strcmp(rows[i].verdict, "none") != 0) {
			forge_is_verdict(
			    p, &mail, rows[i].verdict, rows[i].label);
		} else {
			struct forge_answer a = forge_open(p, buf_slice(&mail));

			ok(!forge_has(a.got, "sig=pass"), "%s: nothing is said",
			    rows[i].label);
			free(a.text);
			buf_reset(&mail);
		}
	}
	buf_clear(&mail);
}

/* Some readers take more lines for delimiters, or see the header end early. */
static void
test_ambiguous(struct forge_people *p)
{
	static const struct {
		const char *label;
		const char *fields;
		const char *before; /* of the first delimiter */
		const char *behind; /* the last one */
		const char *want;
	} rows[] = {
	    {"words around the parts", "", "This is signed.\r\n",
		"-the end-\r\n", "pass"},
	    {"a delimiter with more on its line", "", "--sigs\r\n\r\nevil\r\n",
		"", "partial"},
	    {"of another boundary", "", "--evil\r\n\r\nevil\r\n--evil--\r\n",
		"", "partial"},
	    {"behind the last part", "", "", "--evil\r\n\r\nevil\r\n",
		"partial"},
	    {"a field with a blank before its colon", "X-Evil : evil\r\n", "",
		"", "partial"},
	    {"a field with a line of blanks alone",
		"X-Evil: evil\r\n \r\n\tevil\r\n", "", "", "mismatch"},
	};
	struct buf mail, whole;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&whole, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t at;

		buf_reset(&mail);
		buf_reset(&whole);
		forge_signed_mail(p, FORGE_FROM_ALICE, &mail);
		at = (size_t)((char *)memmem(mail.p, mail.n, "--sig", 5) -
			      mail.p);
		(void)buf_add_text(&whole, rows[i].fields);
		(void)buf_add(&whole, mail.p, at);
		(void)buf_add_text(&whole, rows[i].before);
		(void)buf_add(&whole, mail.p + at, mail.n - at);
		(void)buf_add_text(&whole, rows[i].behind);
		forge_is_verdict(p, &whole, rows[i].want, rows[i].label);
	}
	buf_clear(&mail);
	buf_clear(&whole);
}

/* The header that was encrypted goes on in the place of the one outside. */
static void
test_ambiguous_within(struct forge_people *p)
{
	static const struct {
		const char *label;
		const char *fields;
		const char *want;
	} rows[] = {
	    {"signed, then encrypted", "", "pass"},
	    {"the same below a line of blanks alone",
		"Content-Evil: evil\r\n \r\n\tevil\r\n", "partial"},
	    {"and below a blank before a colon", "Content-Evil : evil\r\n",
		"partial"},
	};
	struct buf mail, inside, der;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&inside, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&inside);
		buf_reset(&der);
		forge_signed_mail(p, rows[i].fields, &inside);
		forge_encrypt(
		    buf_slice(&inside), p->bob, EVP_aes_256_gcm(), &der);
		forge_encrypted_mail(&mail, buf_slice(&der));
		forge_is_verdict(p, &mail, rows[i].want, rows[i].label);
	}
	buf_clear(&mail);
	buf_clear(&inside);
	buf_clear(&der);
}

/* It would never be another time: nobody is to wait for that. */
static void
test_large_header(struct forge_people *p)
{
	struct forge_answer a;
	struct buf mail, signed_mail;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&signed_mail, FORGE_MAIL_MAX);
	(void)buf_add_text(&mail, "X-Long: long\r\n");
	while (mail.n < HEADER_SIZE_MAX)
		(void)buf_add_text(&mail, "\tlong\r\n");
	forge_signed_mail(p, FORGE_FROM_ALICE, &signed_mail);
	(void)buf_add_slice(&mail, buf_slice(&signed_mail));
	a = forge_open(p, buf_slice(&mail));
	is_int(a.outcome, SIGNED_PERMANENT,
	    "a header above what is read: refused (%s)", a.reason);
	free(a.text);
	buf_clear(&mail);
	buf_clear(&signed_mail);
}

/* A certificate with a CA's name and not by its key. */
static struct world_id *
forge_issued(struct forge_people *p, const struct world_wish *wish,
    const struct world_id *issuer)
{
	struct world_id pretended = *issuer;

	pretended.key = p->eve->key;
	return world_id_new("fake", wish, &pretended);
}

static void
add_certificate(struct slice der, const struct world_id *id, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)der.p;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.n);

	if (cms == NULL || CMS_add1_cert(cms, id->cert) != 1)
		bug("no certificate");
	forge_add_der(cms, out);
}

/*
 * OpenSSL stops at the first thing that it does not like: what it likes less
 * may come behind, and that no CA made this certificate is the worst.
 */
static void
test_behind_others(struct forge_people *p)
{
	static const struct {
		const char *label;
		struct world_wish wish;
		bool is_of_old; /* of a CA that expired */
		bool is_forged;
		const char *verdict;
	} rows[] = {
	    {"a short key, by nobody",
		{.kind = WORLD_RSA,
		    .rsa_bits = 1024,
		    .address = "alice@example.org"},
		false, true, "untrusted"},
	    {"of a CA that expired",
		{.kind = WORLD_P256, .address = "alice@example.org"}, true,
		false, "expired"},
	    {"with the name of a CA that expired",
		{.kind = WORLD_P256, .address = "alice@example.org"}, true,
		true, "untrusted"},
	};
	struct world_id *old = world_id_new("old",
	    &(struct world_wish){.kind = WORLD_P256,
		.is_ca = true,
		.name = "Old CA",
		.not_before_s = WORLD_NOW_S - 2000,
		.not_after_s = WORLD_NOW_S - 1000},
	    p->ca);
	struct buf mail, der, whole;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&whole, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world_id *issuer = rows[i].is_of_old ? old : p->ca;
		struct world_id *id =
		    rows[i].is_forged
			? forge_issued(p, &rows[i].wish, issuer)
			: world_id_new("late", &rows[i].wish, issuer);

		buf_reset(&der);
		buf_reset(&whole);
		forge_sign(slice_of(forge_entity), id, NULL, CMS_DETACHED,
		    EVP_sha256(), &der);
		add_certificate(buf_slice(&der), old, &whole);
		(void)buf_add_text(&mail, FORGE_FROM_ALICE);
		forge_add_signed(&mail, slice_of(forge_entity),
		    buf_slice(&whole), FORGE_SIGNATURE_TYPE);
		forge_is_verdict(p, &mail, rows[i].verdict, rows[i].label);
		world_id_free(id);
	}
	world_id_free(old);
	buf_clear(&mail);
	buf_clear(&der);
	buf_clear(&whole);
}

/*
 * What is in the part of the signature nobody signed: attributes that are not
 * signed and certificates may hold any text, which quoted-printable leaves
 * readable.
 */
static void
add_unsigned_text(struct slice der, const char *text, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)der.p;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.n);
	CMS_SignerInfo *si =
	    sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);

	if (CMS_unsigned_add1_attr_by_txt(si, "1.3.6.1.4.1.99999.1",
		V_ASN1_OCTET_STRING, text, (int)strlen(text)) != 1)
		bug("no attribute");
	forge_add_der(cms, out);
}

static void
test_signature_part(struct forge_people *p)
{
	static const struct {
		const char *label;
		const char *text;
		const char *want;
	} rows[] = {
	    {"words in the part of the signature", "\r\nwords\r\n", "pass"},
	    {"a delimiter in it, with more on its line",
		"\r\n--sigs\r\n\r\nevil\r\n", "partial"},
	    {"a delimiter of another boundary in it",
		"\r\n--evil\r\n\r\nevil\r\n--evil--\r\n", "partial"},
	};
	struct buf mail, der, changed;

	buf_init(&mail, FORGE_MAIL_MAX);
	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&changed, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct sink sink = sink_of_buf(&mail);
		struct content content;

		buf_reset(&der);
		buf_reset(&changed);
		forge_sign(slice_of(forge_entity), p->alice, NULL, CMS_DETACHED,
		    EVP_sha256(), &der);
		add_unsigned_text(buf_slice(&der), rows[i].text, &changed);
		(void)buf_addf(&mail,
		    FORGE_FROM_ALICE
		    "Content-Type: multipart/signed; boundary=\"sig\"; "
		    "protocol=\"application/pkcs7-signature\"\r\n\r\n"
		    "--sig\r\n%s\r\n--sig\r\n"
		    "Content-Type: " FORGE_SIGNATURE_TYPE "\r\n"
		    "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
		    forge_entity);
		content = content_of(buf_slice(&changed));
		if (transfer_encode_qp(
			&sink, &content, 0, content.size, NULL) == -1)
			bug("cannot encode");
		(void)buf_add_text(&mail, "=\r\n\r\n--sig--\r\n");
		ok(forge_has(buf_slice(&mail), rows[i].text),
		    "%s: it can be read", rows[i].label);
		forge_is_verdict(p, &mail, rows[i].want, rows[i].label);
	}
	buf_clear(&mail);
	buf_clear(&der);
	buf_clear(&changed);
}

int
main(void)
{
	struct forge_people p = forge_people_new();

	test_identity(&p);
	test_certificates(&p);
	test_behind_others(&p);
	test_signatures(&p);
	test_changed(&p);
	test_ambiguous(&p);
	test_ambiguous_within(&p);
	test_large_header(&p);
	test_signature_part(&p);
	forge_people_free(&p);
	return tap_done();
}
