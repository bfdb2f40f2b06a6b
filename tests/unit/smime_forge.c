/* SPDX-License-Identifier: ISC */
/*
 * Forgeries for tests of S/MIME.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/keyring.h"
#include "signer/sink.h"
#include "tests/unit/smime_forge.h"
#include "tests/unit/tap.h"

const char forge_entity[] =
    "Content-Type: text/plain\r\n"
    "\r\n"
    "it is secret, and this is the text of it.\r\n"
    "it goes on for a while, so that it has blocks,\r\n"
    "it goes on for a while, so that it has blocks.\r\n";

static struct world_id *
make_one(struct forge_people *p, const char *ref, struct world_wish wish)
{
	struct world_id *id = world_id_new(ref, &wish, p->ca);

	world_keyring_add(p->ring, id);
	return id;
}

struct forge_people
forge_people_new(void)
{
	struct forge_people p = {.ring = world_keyring()};

	p.ca = world_id_new("ca",
	    &(struct world_wish){
		.kind = WORLD_P256, .is_ca = true, .name = "Test CA"},
	    NULL);
	p.alice = make_one(&p, "alice",
	    (struct world_wish){
		.kind = WORLD_RSA, .address = "alice@example.org"});
	p.eve = make_one(&p, "eve",
	    (struct world_wish){
		.kind = WORLD_P256, .address = "eve@evil.example"});
	p.bob = make_one(&p, "bob",
	    (struct world_wish){
		.kind = WORLD_RSA, .address = "bob@example.net"});
	return p;
}

void
forge_people_free(struct forge_people *p)
{
	world_id_free(p->ca);
	world_id_free(p->alice);
	world_id_free(p->eve);
	world_id_free(p->bob);
	keyring_free(p->ring);
}

/* ---- making ---- */

void
forge_add_der(CMS_ContentInfo *cms, struct buf *out)
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
void
forge_sign_at(struct slice content, struct world_id *first,
    struct world_id *second, unsigned flags, const EVP_MD *digest,
    int64_t time_s, struct buf *der)
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
	forge_add_der(cms, der);
}

void
forge_sign(struct slice content, struct world_id *first,
    struct world_id *second, unsigned flags, const EVP_MD *digest,
    struct buf *der)
{
	forge_sign_at(content, first, second, flags, digest, WORLD_NOW_S, der);
}

void
forge_encrypt(struct slice content, struct world_id *reader,
    const EVP_CIPHER *cipher, struct buf *der)
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
	forge_add_der(cms, der);
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
void
forge_add_signed(
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

void
forge_add_pkcs7(struct buf *out, struct slice der)
{
	(void)buf_add_text(out,
	    "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\n");
	add_base64(out, der);
}

/* Alice's good signature below fields that the case gives. */
void
forge_signed_mail(struct forge_people *p, const char *fields, struct buf *mail)
{
	struct buf der;

	buf_init(&der, FORGE_MAIL_MAX);
	forge_sign(slice_of(forge_entity), p->alice, NULL, CMS_DETACHED,
	    EVP_sha256(), &der);
	(void)buf_add_text(mail, fields);
	forge_add_signed(mail, slice_of(forge_entity), buf_slice(&der),
	    FORGE_SIGNATURE_TYPE);
	buf_clear(&der);
}

void
forge_encrypted_mail(struct buf *mail, struct slice der)
{
	buf_reset(mail);
	(void)buf_add_text(mail, FORGE_FROM_ALICE "Subject: s\r\n");
	forge_add_pkcs7(mail, der);
}

/* ---- asking ---- */

bool
forge_has(struct slice text, const char *part)
{
	return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

struct forge_answer
forge_open(struct forge_people *p, struct slice mail)
{
	struct world_task task;
	struct forge_answer a;
	struct slice got;

	world_task_init(&task, p->ring, mail);
	world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_task_removal(&task, "subject", "[signed]");
	world_open(&task);
	got = world_result(&task);
	a = (struct forge_answer){.outcome = task.answer.outcome,
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
void
forge_is_verdict(struct forge_people *p, struct buf *mail, const char *verdict,
    const char *label)
{
	struct forge_answer a = forge_open(p, buf_slice(mail));
	char wanted[64];

	(void)snprintf(wanted, sizeof(wanted), "sig=%s", verdict);
	if (!ok(a.outcome == SIGNED_DONE && forge_has(a.got, wanted), "%s: %s",
		label, verdict))
		diag("%d %s: %.*s", (int)a.outcome, a.reason, SLICE_ARG(a.got));
	if (strcmp(verdict, "pass") != 0)
		ok(!forge_has(a.got, "smime=pass") && a.harvested == 0,
		    "%s: nothing says otherwise", label);
	free(a.text);
	buf_reset(mail);
}
