/* SPDX-License-Identifier: ISC */
/*
 * What one step of opening tells the next one and the broker: whether what is
 * around shows changes, whether a private key was used, and what stays closed.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>

#include "signer/delivery.h"
#include "tests/unit/smime_forge.h"
#include "tests/unit/tap.h"

static void
start(struct world_task *task, struct forge_people *p, struct slice mail)
{
	world_task_init(task, p->ring, mail);
	world_task_key(task, WORK_KEY_ANCHOR, p->ca, false);
	world_task_removal(task, "subject", "[signed]");
}

static void
is_said(const struct world_task *task, const char *name, const char *value,
    const char *label)
{
	is_slice(world_said(task, name), value, "%s: %s", label, name);
}

static const char pgp_signed[] =
    "Content-Type: multipart/signed; boundary=b;\r\n"
    "\tprotocol=\"application/pgp-signature\"\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
    "Content-Type: application/pgp-signature\r\n\r\n"
    "-----BEGIN PGP SIGNATURE-----\r\n\r\nAAAA\r\n"
    "-----END PGP SIGNATURE-----\r\n--b--\r\n";

/* What the step for OpenPGP is told. */
static void
test_told(struct forge_people *p)
{
	struct world_task task;
	struct buf der, mail;

	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&mail, FORGE_MAIL_MAX);
	forge_encrypt(slice_of(pgp_signed), p->bob, EVP_aes_256_cbc(), &der);
	forge_encrypted_mail(&mail, buf_slice(&der));
	start(&task, p, buf_slice(&mail));
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_open(&task);
	is_int(task.answer.outcome, SIGNED_DONE, "OpenPGP in CBC: opened");
	is_said(&task, FACT_SHAPE, "pgp-signed", "OpenPGP in CBC");
	is_said(&task, FACT_INTEGRITY, "none", "OpenPGP in CBC");
	is_said(&task, FACT_SECRET, "used", "OpenPGP in CBC");
	world_task_clear(&task);

	buf_reset(&der);
	forge_encrypt(slice_of(pgp_signed), p->bob, EVP_aes_256_gcm(), &der);
	forge_encrypted_mail(&mail, buf_slice(&der));
	start(&task, p, buf_slice(&mail));
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_open(&task);
	is_said(&task, FACT_SHAPE, "pgp-signed", "OpenPGP in GCM");
	is_said(&task, FACT_INTEGRITY, "", "OpenPGP in GCM");
	is_said(&task, FACT_SECRET, "used", "OpenPGP in GCM");
	world_task_clear(&task);
	buf_clear(&der);
	buf_clear(&mail);
}

/* What the step before knew counts here, too. */
static void
test_known(struct forge_people *p)
{
	struct world_task task;
	struct buf mail;
	char *at;

	buf_init(&mail, FORGE_MAIL_MAX);
	forge_signed_mail(p, FORGE_FROM_ALICE, &mail);
	start(&task, p, buf_slice(&mail));
	world_task_fact(&task, FACT_INTEGRITY, "none");
	world_open(&task);
	is_int(task.answer.outcome, SIGNED_DONE,
	    "a signature that fits within what may have been changed");
	is_said(&task, FACT_INTEGRITY, "none", "and the next one is told");
	world_task_clear(&task);

	at = memmem(mail.p, mail.n, "secret", 6);
	if (at == NULL)
		bug("no text");
	memcpy(at, "public", 6);
	start(&task, p, buf_slice(&mail));
	world_task_fact(&task, FACT_INTEGRITY, "none");
	world_open(&task);
	is_int(task.answer.outcome, SIGNED_HOLD, "one that does not: held");
	world_task_clear(&task);
	buf_clear(&mail);
}

/* ---- private keys ---- */

/* As a mail that the recipient's key is, or is not, there for. */
static void
is_secret(struct forge_people *p, struct buf *der, bool has_key,
    const char *said, const char *label)
{
	struct world_task task;
	struct buf mail;

	buf_init(&mail, FORGE_MAIL_MAX);
	forge_encrypted_mail(&mail, buf_slice(der));
	start(&task, p, buf_slice(&mail));
	if (has_key)
		world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_open(&task);
	is_int(task.answer.outcome, SIGNED_DONE, "%s: done", label);
	is_said(&task, FACT_SECRET, said, label);
	world_task_clear(&task);
	buf_clear(&mail);
}

static void
change(struct buf *der, struct buf *changed, size_t at)
{
	buf_reset(changed);
	(void)buf_add_slice(changed, buf_slice(der));
	changed->p[at] ^= 1;
}

static void
test_secret(struct forge_people *p)
{
	struct buf der, changed;
	size_t key;

	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&changed, FORGE_MAIL_MAX);
	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_cbc(), &der);
	is_secret(p, &der, true, "used", "a mail that is opened");
	is_secret(p, &der, false, "", "one for other keys");
	change(&der, &changed, der.n - strlen(forge_entity));
	is_secret(p, &changed, true, "used", "a changed first block");
	change(&der, &changed, der.n - 1);
	is_secret(p, &changed, true, "used", "a changed last block");
	/* The encrypted key: 256 octets behind this head. */
	key = (size_t)((char *)memmem(der.p, der.n, "\x04\x82\x01\x00", 4) -
		       der.p) +
	      100;
	change(&der, &changed, key);
	is_secret(p, &changed, true, "used", "a changed key");
	buf_reset(&changed);
	(void)buf_add(&changed, der.p, der.n - 5);
	is_secret(p, &changed, true, "", "one that is cut off");
	buf_clear(&der);
	buf_clear(&changed);
}

/* ---- what stays closed ---- */

#define FORGED                                                   \
	"Authentication-Results: gw.example.net; smime=pass\r\n" \
	"X-Postern-Crypto: v=1; sig=pass\r\n"

static void
test_closed(struct forge_people *p)
{
	struct world_task task;
	struct buf der, mail;
	struct slice got;

	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&mail, FORGE_MAIL_MAX);
	forge_encrypt(slice_of(forge_entity), p->bob, EVP_aes_256_cbc(), &der);
	(void)buf_add_text(
	    &mail, FORGED FORGE_FROM_ALICE "Subject: [signed] hello\r\n");
	forge_add_pkcs7(&mail, buf_slice(&der));

	start(&task, p, buf_slice(&mail));
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_task_fact(&task, FACT_CLOSED, CLOSED_LARGE);
	world_open(&task);
	got = world_result(&task);
	is_int(task.answer.outcome, SIGNED_DONE, "too large: it passes");
	is_u64(task.answer.applied, 0, "nothing was done to it");
	is_u64(got.n, mail.n - strlen(FORGED "[signed] "),
	    "but that what is forged is out");
	ok(!forge_has(got, "[signed]") && !forge_has(got, "smime=pass") &&
		!forge_has(got, "X-Postern"),
	    "tag, results and all");
	is_said(&task, FACT_SECRET, "", "too large");
	world_task_clear(&task);

	start(&task, p, buf_slice(&mail));
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_task_fact(&task, FACT_CLOSED, CLOSED_ALTERED);
	world_open(&task);
	got = world_result(&task);
	is_int(task.answer.outcome, SIGNED_HOLD, "altered: it is held");
	ok(forge_has(got, "application/pkcs7-mime") &&
		!forge_has(got, "it is secret") && forge_has(got, "sig=fail"),
	    "as it came, with the verdict");
	ok(!forge_has(got, "[signed]") && !forge_has(got, "sig=pass"),
	    "without what is forged");
	is_said(&task, FACT_VERDICT, "fail", "altered");
	world_task_clear(&task);
	buf_clear(&der);
	buf_clear(&mail);
}

/* ---- fields outside that nobody vouches for ---- */

static void
test_outside(struct forge_people *p)
{
	static const char inner[] =
	    "Content-Type: text/plain; hp=\"cipher\"\r\n" FORGE_FROM_ALICE
	    "Mail-Followup-To: list@l.example\r\n"
	    "Subject: inner\r\nHP-Outer: Subject: [...]\r\n\r\ntext\r\n";
	struct world_task task;
	struct buf der, mail;
	struct slice got;

	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&mail, FORGE_MAIL_MAX);
	forge_encrypt(slice_of(inner), p->bob, EVP_aes_256_gcm(), &der);
	(void)buf_add_text(&mail,
	    FORGE_FROM_ALICE "Subject: [...]\r\n"
			     "Reply-To: eve@evil.example\r\n"
			     "Cc: eve@evil.example\r\n"
			     "Mail-Reply-To: eve@evil.example\r\n"
			     "mail-followup-to: eve@evil.example\r\n"
			     "Mail-Followup-To: eve@evil.example\r\n"
			     "HP-Outer: Subject: inner\r\n"
			     "List-Id: <l.example>\r\n");
	forge_add_pkcs7(&mail, buf_slice(&der));
	start(&task, p, buf_slice(&mail));
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
	world_open(&task);
	got = world_result(&task);
	ok(forge_has(got, "Subject: inner\r\n") &&
		forge_has(got, FORGE_FROM_ALICE),
	    "protected fields are shown");
	ok(!forge_has(got, "evil.example"),
	    "an answer goes nowhere that stands outside alone");
	ok(forge_has(got, "Mail-Followup-To: list@l.example\r\n"),
	    "but where it is asked for inside");
	ok(!forge_has(got, "HP-Outer"), "HP-Outer means nothing outside");
	ok(forge_has(got, "List-Id: <l.example>\r\n"),
	    "what no header protection is about stays");
	world_task_clear(&task);
	buf_clear(&der);
	buf_clear(&mail);
}

/* ---- a step behind another one ---- */

/* "[decrypted]" is of the step before; inside, anybody may write a tag. */
static void
test_later(struct forge_people *p)
{
	static const char inner[] =
	    "Content-Type: text/plain; hp=\"cipher\"\r\n" FORGE_FROM_ALICE
	    "Subject: [signed] inner\r\n\r\ntext\r\n";
	static const struct {
		const char *label;
		const char *entity;
		bool writes_tag;
		const char *subject;
	} rows[] = {
	    {"a forged tag inside goes", inner, false, "Subject: inner\r\n"},
	    {"and ours comes in its place", inner, true,
		"Subject: [decrypted] inner\r\n"},
	    {"what the step before wrote stays", forge_entity, false,
		"Subject: [decrypted] outer\r\n"},
	    {"and is there once", forge_entity, true,
		"Subject: [decrypted] outer\r\n"},
	};
	struct world_task task;
	struct buf der, mail;

	buf_init(&der, FORGE_MAIL_MAX);
	buf_init(&mail, FORGE_MAIL_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&der);
		buf_reset(&mail);
		forge_encrypt(
		    slice_of(rows[i].entity), p->bob, EVP_aes_256_gcm(), &der);
		(void)buf_add_text(
		    &mail, FORGE_FROM_ALICE "Subject: [decrypted] outer\r\n");
		forge_add_pkcs7(&mail, buf_slice(&der));
		start(&task, p, buf_slice(&mail));
		world_task_removal(&task, "subject", "[decrypted]");
		world_task_key(&task, WORK_KEY_DECRYPT, p->bob, false);
		world_task_fact(&task, FACT_VERDICT, "none");
		if (rows[i].writes_tag)
			world_task_fact(&task, FACT_TAGS, "on");
		world_open(&task);
		ok(forge_has(world_result(&task), rows[i].subject), "%s",
		    rows[i].label);
		world_task_clear(&task);
	}
	buf_clear(&der);
	buf_clear(&mail);
}

int
main(void)
{
	struct forge_people p = forge_people_new();

	test_told(&p);
	test_known(&p);
	test_secret(&p);
	test_closed(&p);
	test_outside(&p);
	test_later(&p);
	forge_people_free(&p);
	return tap_done();
}
