/* SPDX-License-Identifier: ISC */
/*
 * Signing, encrypting, opening and verifying by S/MIME, from one end to the
 * other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "signer/delivery.h"
#include "signer/entity.h"
#include "signer/keyring.h"
#include "signer/keystore.h"
#include "signer/shape.h"
#include "signer/smime.h"
#include "signer/smime_memo.h"
#include "tests/unit/smime_world.h"
#include "tests/unit/tap.h"

static const char plain_mail[] =
    "Received: from x by y; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    "From: Alice <alice@example.org>\r\n"
    "To: bob@example.net\r\n"
    "Subject: [secure] the plan\r\n"
    "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    "Message-ID: <1@example.org>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n"
    "\r\n"
    "Gr\303\274\303\237e, \r\n"
    "From here on it is secret.\r\n"
    "-- \r\n"
    "Alice\r\n";

struct people {
	struct world_id *ca;
	struct world_id *alice;    /* RSA */
	struct world_id *alice_ec; /* P-256, the same address */
	struct world_id *alice_384;
	struct world_id *bob;
	struct world_id *bob_ec;
	struct keyring *ring;
};

static struct people
make_people(void)
{
	struct people p = {.ring = world_keyring()};

	p.ca = world_id_new("ca",
	    &(struct world_wish){
		.kind = WORLD_P256, .is_ca = true, .name = "Test CA"},
	    NULL);
	p.alice = world_id_new("alice",
	    &(struct world_wish){
		.kind = WORLD_RSA, .address = "alice@example.org"},
	    p.ca);
	p.alice_ec = world_id_new("alice-ec",
	    &(struct world_wish){
		.kind = WORLD_P256, .address = "alice@example.org"},
	    p.ca);
	p.alice_384 = world_id_new("alice-384",
	    &(struct world_wish){
		.kind = WORLD_P384, .address = "alice@example.org"},
	    p.ca);
	p.bob = world_id_new("bob",
	    &(struct world_wish){
		.kind = WORLD_RSA, .address = "bob@example.net"},
	    p.ca);
	p.bob_ec = world_id_new("bob-ec",
	    &(struct world_wish){
		.kind = WORLD_P256, .address = "bob@example.net"},
	    p.ca);
	world_keyring_add(p.ring, p.alice);
	world_keyring_add(p.ring, p.alice_ec);
	world_keyring_add(p.ring, p.alice_384);
	world_keyring_add(p.ring, p.bob);
	world_keyring_add(p.ring, p.bob_ec);
	return p;
}

static void
free_people(struct people *p)
{
	world_id_free(p->ca);
	world_id_free(p->alice);
	world_id_free(p->alice_ec);
	world_id_free(p->alice_384);
	world_id_free(p->bob);
	world_id_free(p->bob_ec);
	keyring_free(p->ring);
}

static bool
has(struct slice text, const char *part)
{
	return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* An owned copy of what the task wrote. */
static char *
take(struct world_task *task, struct slice *s_r)
{
	struct slice s = world_result(task);
	char *copy = xmalloc(s.n + 1);

	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	*s_r = (struct slice){copy, s.n};
	return copy;
}

/* How a message is protected, and what comes of it at the other end. */
struct course {
	const char *label;
	size_t signer; /* offset in struct people; 0: none */
	size_t reader;
	bool has_aead;
	unsigned options;
	const char *verdict;
	const char *crypto; /* in X-Postern-Crypto */
};

#define PERSON(name) offsetof(struct people, name)

static const struct course courses[] = {
    {"signed by RSA", PERSON(alice), 0, false, 0, "pass", "enc=none"},
    {"signed by P-256", PERSON(alice_ec), 0, false, 0, "pass", "enc=none"},
    {"signed by P-384", PERSON(alice_384), 0, false, 0, "pass",
	"digest=sha384"},
    {"signed opaquely", PERSON(alice), 0, false, PROTECT_OPAQUE, "pass",
	"enc=none"},
    {"encrypted to RSA", 0, PERSON(bob), false, 0, "none",
	"enc=smime/aes-256-cbc; integrity=none"},
    {"encrypted to P-256", 0, PERSON(bob_ec), false, 0, "none",
	"enc=smime/aes-256-cbc"},
    {"encrypted to RSA with a tag", 0, PERSON(bob), true, 0, "none",
	"enc=smime/aes-256-gcm; integrity=yes"},
    {"encrypted to P-256 with a tag", 0, PERSON(bob_ec), true, 0, "none",
	"enc=smime/aes-256-gcm"},
    {"signed and encrypted", PERSON(alice), PERSON(bob), false, 0, "pass",
	"enc=smime/aes-256-cbc"},
    {"signed opaquely and encrypted with a tag", PERSON(alice_ec),
	PERSON(bob_ec), true, PROTECT_OPAQUE, "pass", "enc=smime/aes-256-gcm"},
    {"signed with protected headers", PERSON(alice), 0, false, PROTECT_HEADERS,
	"pass", "enc=none"},
    {"encrypted with a hidden subject", PERSON(alice), PERSON(bob), false,
	PROTECT_HEADERS | PROTECT_SUBJECT, "pass", "enc=smime/aes-256-cbc"},
    {"encrypted with a hidden subject that is in the text", PERSON(alice),
	PERSON(bob), false, PROTECT_SUBJECT | PROTECT_LEGACY, "pass",
	"enc=smime/aes-256-cbc"},
};

static const struct world_id *
person(const struct people *p, size_t offset)
{
	struct world_id *id;

	memcpy(&id, (const char *)p + offset, sizeof(id));
	return id;
}

static void
check_protected(
    const struct course *c, const struct world_task *task, struct slice sent)
{
	unsigned applied = (c->signer != 0 ? (unsigned)APPLIED_SIGNED : 0) |
			   (c->reader != 0 ? (unsigned)APPLIED_ENCRYPTED : 0);

	is_u64(task->answer.applied, applied, "%s: that is what was applied",
	    c->label);
	ok(!has(sent, "[secure]"), "%s: what triggered is gone", c->label);
	is_int(has(sent, "the plan"), (c->options & PROTECT_SUBJECT) == 0,
	    "%s: the subject is seen unless hidden", c->label);
	is_int(has(sent, "secret"),
	    c->reader == 0 && (c->options & PROTECT_OPAQUE) == 0,
	    "%s: the text is seen unless wrapped", c->label);
	ok(has(sent, "Received: from x by y"), "%s: the trace stays", c->label);
}

static void
check_opened(
    const struct course *c, const struct world_task *task, struct slice got)
{
	struct ipc_list harvested = ipc_list_of(&task->answer.harvested);
	struct ipc_record_harvest record = {.trust = 0};
	char wanted[64];

	is_int(task->answer.outcome, SIGNED_DONE, "%s: opened (%s)", c->label,
	    task->answer.reason);
	(void)snprintf(wanted, sizeof(wanted), "sig=%s", c->verdict);
	if (!ok(has(got, wanted), "%s: the verdict is %s", c->label,
		c->verdict))
		diag("%.*s", SLICE_ARG(got));
	ok(has(got, c->crypto), "%s: %s", c->label, c->crypto);
	ok(has(got, "Subject: the plan\r\n"), "%s: the subject is back",
	    c->label);
	if ((c->options & PROTECT_OPAQUE) == 0 || c->reader == 0)
		is_int(has(got, "it is secret."),
		    (c->options & PROTECT_OPAQUE) == 0,
		    "%s: the text can be read", c->label);
	is_int(has(got, "\r\n\r\nSubject: the plan\r\n\r\n"),
	    (c->options & PROTECT_LEGACY) != 0,
	    "%s: and in the text where it should be", c->label);
	is_int((task->answer.applied & APPLIED_DECRYPTED) != 0, c->reader != 0,
	    "%s: the answer tells whether it was decrypted", c->label);
	is_u64(task->answer.harvested.count, c->signer == 0 ? 0 : 1,
	    "%s: the signer's certificate is kept", c->label);
	(void)ipc_harvest_next(&harvested, &record);
	ok(record.trust <= TRUST_HARVESTED,
	    "%s: and not said to be more than that", c->label);
}

static void
test_course(const struct people *p, const struct course *c)
{
	struct world_task out, in;
	struct slice sent, got;
	char *sent_copy, *got_copy;

	world_task_init(
	    &out, p->ring, (struct slice){plain_mail, sizeof(plain_mail) - 1});
	out.work.options = c->options;
	if (c->signer != 0)
		world_task_key(
		    &out, WORK_KEY_SIGN, person(p, c->signer), false);
	if (c->reader != 0)
		world_task_key(
		    &out, WORK_KEY_ENCRYPT, person(p, c->reader), c->has_aead);
	world_task_removal(&out, "subject", "[secure]");
	ok(world_protect(&out), "%s: written (%s)", c->label,
	    out.answer.reason);
	sent_copy = take(&out, &sent);
	check_protected(c, &out, sent);
	world_task_clear(&out);

	world_task_init(&in, p->ring, sent);
	world_task_key(&in, WORK_KEY_ANCHOR, p->ca, false);
	world_task_key(&in, WORK_KEY_DECRYPT, p->bob, false);
	world_task_key(&in, WORK_KEY_DECRYPT, p->bob_ec, false);
	world_open(&in);
	got_copy = take(&in, &got);
	check_opened(c, &in, got);
	world_task_clear(&in);
	free(sent_copy);
	free(got_copy);
}

/* ---- what is refused, and what is left alone ---- */

static void
test_refused(const struct people *p)
{
	static const struct {
		const char *label;
		struct world_wish wish;
		enum work_key_use use;
		const char *enhanced;
	} rows[] = {
	    {"RSA-1024 does not sign",
		{.kind = WORLD_RSA,
		    .rsa_bits = 1024,
		    .address = "alice@example.org"},
		WORK_KEY_SIGN, "5.7.6"},
	    {"Ed25519 does not sign",
		{.kind = WORLD_ED25519, .address = "alice@example.org"},
		WORK_KEY_SIGN, "5.7.6"},
	    {"an expired certificate does not sign",
		{.kind = WORLD_P256,
		    .address = "alice@example.org",
		    .not_before_s = WORLD_NOW_S - 2000,
		    .not_after_s = WORLD_NOW_S - 1000},
		WORK_KEY_SIGN, "5.7.5"},
	    {"nobody encrypts to Ed25519",
		{.kind = WORLD_ED25519, .address = "bob@example.net"},
		WORK_KEY_ENCRYPT, "5.7.6"},
	    {"nor to RSA-1024",
		{.kind = WORLD_RSA,
		    .rsa_bits = 1024,
		    .address = "bob@example.net"},
		WORK_KEY_ENCRYPT, "5.7.3"},
	    {"nor to a certificate for signing",
		{.kind = WORLD_RSA,
		    .address = "bob@example.net",
		    .usage = "digitalSignature"},
		WORK_KEY_ENCRYPT, "5.7.3"},
	    {"nor to one for web servers",
		{.kind = WORLD_RSA,
		    .address = "bob@example.net",
		    .extended = "serverAuth"},
		WORK_KEY_ENCRYPT, "5.7.3"},
	    {"nor to one that is not valid yet",
		{.kind = WORLD_RSA,
		    .address = "bob@example.net",
		    .not_before_s = WORLD_NOW_S + 1000},
		WORK_KEY_ENCRYPT, "5.7.3"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world_id *id = world_id_new("odd", &rows[i].wish, p->ca);
		struct keyring *ring = world_keyring();
		struct world_task task;

		world_keyring_add(ring, id);
		world_task_init(&task, ring,
		    (struct slice){plain_mail, sizeof(plain_mail) - 1});
		world_task_key(&task, rows[i].use, id, false);
		ok(!world_protect(&task), "%s", rows[i].label);
		is_int(task.answer.outcome, SIGNED_PERMANENT, "%s: for good",
		    rows[i].label);
		is_str(task.answer.enhanced, rows[i].enhanced, "%s: %s",
		    rows[i].label, task.answer.reason);
		world_task_clear(&task);
		world_id_free(id);
		keyring_free(ring);
	}
}

static const char invitation[] =
    "From: alice@example.org\r\n"
    "Subject: [secure] come\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/alternative; boundary=b\r\n"
    "\r\n"
    "--b\r\n"
    "\r\n"
    "come \r\n"
    "--b\r\n"
    "Content-Type: text/calendar; method=REQUEST\r\n"
    "\r\n"
    "BEGIN:VCALENDAR\r\n"
    "--b--\r\n";

static void
test_calendar(const struct people *p)
{
	struct world_task task;
	struct slice got;

	world_task_init(&task, p->ring, slice_of(invitation));
	world_task_key(&task, WORK_KEY_SIGN, p->alice, false);
	ok(world_protect(&task), "an invitation passes where it is signed");
	is_slice(world_result(&task), invitation, "as it is");
	is_u64(task.answer.applied, 0, "and nobody is told that it was signed");
	world_task_clear(&task);

	world_task_init(&task, p->ring, slice_of(invitation));
	world_task_key(&task, WORK_KEY_ENCRYPT, p->bob, false);
	ok(!world_protect(&task), "an invitation is not encrypted");
	is_str(task.answer.enhanced, "5.7.3", "%s", task.answer.reason);
	world_task_clear(&task);

	world_task_init(&task, p->ring, slice_of(invitation));
	task.work.options = PROTECT_CALENDAR_PLAIN;
	world_task_key(&task, WORK_KEY_ENCRYPT, p->bob, false);
	world_task_removal(&task, "subject", "[secure]");
	ok(world_protect(&task), "unless it may leave as it is");
	got = world_result(&task);
	ok(has(got, "Subject: come\r\n") && has(got, "come \r\n--b"),
	    "but for what triggered");
	is_u64(task.answer.applied, 0, "nor that it was encrypted");
	world_task_clear(&task);
}

/* What the sender's own program made is not touched. */
static void
test_client_protected(const struct people *p)
{
	struct world_task first, second;
	struct slice signed_mail, encrypted, got;
	char *signed_copy, *encrypted_copy;

	world_task_init(&first, p->ring,
	    (struct slice){plain_mail, sizeof(plain_mail) - 1});
	world_task_key(&first, WORK_KEY_SIGN, p->alice, false);
	ok(world_protect(&first), "a client signs");
	signed_copy = take(&first, &signed_mail);
	world_task_clear(&first);

	world_task_init(&second, p->ring, signed_mail);
	world_task_key(&second, WORK_KEY_SIGN, p->alice_ec, false);
	ok(world_protect(&second), "a signed mail is not signed again");
	got = world_result(&second);
	is_mem(got.p, got.n, signed_mail.p, signed_mail.n,
	    "it passes octet by octet");
	is_u64(second.answer.applied, APPLIED_SIGNED, "and counts as signed");
	world_task_clear(&second);

	world_task_init(&second, p->ring, signed_mail);
	world_task_key(&second, WORK_KEY_SIGN, p->alice_ec, false);
	world_task_key(&second, WORK_KEY_ENCRYPT, p->bob, false);
	ok(world_protect(&second), "a signed mail is encrypted");
	encrypted_copy = take(&second, &encrypted);
	world_task_clear(&second);

	world_task_init(&first, p->ring, encrypted);
	world_task_key(&first, WORK_KEY_ANCHOR, p->ca, false);
	world_task_key(&first, WORK_KEY_DECRYPT, p->bob, false);
	world_open(&first);
	ok(has(world_result(&first), "sig=pass"),
	    "and its signature still fits inside");
	world_task_clear(&first);

	world_task_init(&second, p->ring, encrypted);
	world_task_key(&second, WORK_KEY_ENCRYPT, p->bob_ec, false);
	ok(world_protect(&second), "an encrypted mail is left alone");
	got = world_result(&second);
	is_mem(got.p, got.n, encrypted.p, encrypted.n, "octet by octet");
	is_u64(second.answer.applied, APPLIED_ENCRYPTED,
	    "and counts as encrypted");
	world_task_clear(&second);
	free(signed_copy);
	free(encrypted_copy);
}

static void
test_readers(const struct people *p)
{
	struct world_task task;
	struct slice sent;
	char *copy;

	world_task_init(
	    &task, p->ring, (struct slice){plain_mail, sizeof(plain_mail) - 1});
	world_task_key(&task, WORK_KEY_ENCRYPT, p->bob, true);
	world_task_key(&task, WORK_KEY_ENCRYPT, p->alice, false);
	ok(world_protect(&task), "two readers with RSA");
	ok(has(world_result(&task), "enveloped-data"),
	    "get the cipher that both know");
	copy = take(&task, &sent);
	world_task_clear(&task);
	for (int i = 0; i < 2; i++) {
		world_task_init(&task, p->ring, sent);
		world_task_key(
		    &task, WORK_KEY_DECRYPT, i == 0 ? p->bob : p->alice, false);
		world_open(&task);
		ok((task.answer.applied & APPLIED_DECRYPTED) != 0,
		    "reader %d opens it", i);
		world_task_clear(&task);
	}
	world_task_init(&task, p->ring, sent);
	world_task_key(&task, WORK_KEY_DECRYPT, p->bob_ec, false);
	world_open(&task);
	is_int(task.answer.outcome, SIGNED_DONE, "another one is given it");
	ok(has(world_result(&task), "sig=undecryptable") &&
		has(world_result(&task), "application/pkcs7-mime"),
	    "as it came");
	world_task_clear(&task);
	free(copy);

	world_task_init(
	    &task, p->ring, (struct slice){plain_mail, sizeof(plain_mail) - 1});
	world_task_key(&task, WORK_KEY_ENCRYPT, p->bob, false);
	world_task_key(&task, WORK_KEY_ENCRYPT, p->alice_ec, false);
	ok(world_protect(&task), "RSA and EC do not meet in one CMS");
	ok(strstr(task.answer.method, "not also to") != NULL,
	    "which is said: %s", task.answer.method);
	world_task_clear(&task);
}

/* ---- a certificate to be answered with ---- */

/* Whose certificate is kept of mail that alice signed. */
static void
is_kept(const struct people *p, struct world_id *preferred, unsigned options,
    const struct world_id *kept, const char *label)
{
	struct world_task task;
	struct ipc_record_harvest harvest = {.trust = 0};
	struct ipc_list list;
	struct slice sent;
	char *copy;

	world_task_init(
	    &task, p->ring, (struct slice){plain_mail, sizeof(plain_mail) - 1});
	task.work.options = options;
	world_task_key(&task, WORK_KEY_SIGN, p->alice, false);
	world_task_key(&task, WORK_KEY_PREFERRED, preferred, false);
	ok(world_protect(&task), "%s: signed", label);
	copy = take(&task, &sent);
	world_task_clear(&task);

	world_task_init(&task, p->ring, sent);
	world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
	world_open(&task);
	ok(has(world_result(&task), "sig=pass"), "%s: it passes", label);
	list = ipc_list_of(&task.answer.harvested);
	ok(ipc_harvest_next(&list, &harvest) &&
		slice_equals(harvest.public,
		    (struct slice){(const char *)kept->der, kept->der_n}),
	    "%s: that one is kept", label);
	world_task_clear(&task);
	free(copy);
}

static void
test_preferred(const struct people *p)
{
	struct world_id *reads = world_id_new("alice-reads",
	    &(struct world_wish){.kind = WORLD_RSA,
		.address = "alice@example.org",
		.usage = "keyEncipherment"},
	    p->ca);
	struct world_id *signs = world_id_new("alice-signs",
	    &(struct world_wish){.kind = WORLD_P256,
		.address = "alice@example.org",
		.usage = "digitalSignature"},
	    p->ca);

	is_kept(p, reads, 0, reads, "another certificate to encrypt to");
	is_kept(p, reads, PROTECT_OPAQUE, reads, "the same, opaque");
	is_kept(p, p->alice, 0, p->alice, "the one that signs");
	is_kept(p, signs, 0, p->alice, "one that is not to encrypt to");
	world_id_free(reads);
	world_id_free(signs);
}

/* ---- signed once for several ---- */

/* The boundary of what alice signed, as that one reads it. */
static void
read_boundary(const struct people *p, struct slice sent, struct world_id *by,
    char boundary_r[ENTITY_BOUNDARY_SIZE])
{
	static const char name[] = "boundary=\"";
	struct world_task task;
	struct slice got;
	const char *at;

	world_task_init(&task, p->ring, sent);
	world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
	world_task_key(&task, WORK_KEY_DECRYPT, by, false);
	world_open(&task);
	got = world_result(&task);
	ok(has(got, "sig=pass"), "%s reads it", by->ref);
	at = memmem(got.p, got.n, name, sizeof(name) - 1);
	if (at == NULL ||
	    got.p + got.n < at + sizeof(name) + ENTITY_BOUNDARY_SIZE)
		bug("no boundary");
	memcpy(boundary_r, at + sizeof(name) - 1, ENTITY_BOUNDARY_SIZE);
	boundary_r[ENTITY_BOUNDARY_SIZE - 1] = '\0';
	world_task_clear(&task);
}

static void
seal(const struct people *p, struct slice mail, struct world_id *reader,
    bool is_shared, struct smime_memo **memo,
    char boundary_r[ENTITY_BOUNDARY_SIZE])
{
	struct world_task task;
	struct slice sent;
	char *copy;

	world_task_init(&task, p->ring, mail);
	task.context.memo = *memo;
	world_task_key(&task, WORK_KEY_SIGN, p->alice, false);
	world_task_key(&task, WORK_KEY_ENCRYPT, reader, false);
	if (is_shared)
		world_task_fact(&task, FACT_SHARED, "on");
	if (!ok(world_protect(&task), "sealed to %s", reader->ref))
		diag("%s", task.answer.reason);
	*memo = task.context.memo;
	task.context.memo = NULL;
	copy = take(&task, &sent);
	world_task_clear(&task);
	read_boundary(p, sent, reader, boundary_r);
	free(copy);
}

static void
test_shared(const struct people *p)
{
	const struct slice mail = {plain_mail, sizeof(plain_mail) - 1};
	char boundaries[5][ENTITY_BOUNDARY_SIZE];
	struct smime_memo *memo = NULL;
	struct buf changed;

	buf_init(&changed, sizeof(plain_mail) + 64);
	(void)buf_addf(&changed, "X-Other: yes\r\n");
	(void)buf_add_slice(&changed, mail);
	seal(p, mail, p->bob, true, &memo, boundaries[0]);
	seal(p, mail, p->bob_ec, true, &memo, boundaries[1]);
	is_str(boundaries[1], boundaries[0],
	    "a message for two is signed for both at once");
	seal(p, buf_slice(&changed), p->bob, true, &memo, boundaries[2]);
	ok(strcmp(boundaries[2], boundaries[1]) != 0,
	    "another message is another one");
	seal(p, mail, p->bob, true, &memo, boundaries[3]);
	ok(strcmp(boundaries[3], boundaries[0]) != 0,
	    "which forgets the first one");
	seal(p, mail, p->bob, false, &memo, boundaries[4]);
	ok(strcmp(boundaries[4], boundaries[3]) != 0,
	    "for one alone nothing is kept");
	smime_memo_free(memo);
	buf_clear(&changed);
}

/* ---- revocation ---- */

static void
check_revocation(const struct people *p, struct slice sent, struct slice list,
    const char *wanted, const char *label)
{
	struct world_task task;

	world_task_init(&task, p->ring, sent);
	world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
	if (list.n > 0)
		world_task_crl(&task, list);
	world_open(&task);
	if (!ok(has(world_result(&task), wanted), "%s: %s", label, wanted))
		diag("%.*s", SLICE_ARG(world_result(&task)));
	world_task_clear(&task);
}

/* Where a signature counts only when its revocation is known. */
static void
test_strict(const struct people *p, struct slice sent, struct slice old_list)
{
	struct world_task task;

	for (int i = 0; i < 2; i++) {
		world_task_init(&task, p->ring, sent);
		world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
		world_task_strict(&task);
		if (i == 1)
			world_task_crl(&task, old_list);
		world_open(&task);
		ok(has(world_result(&task), "sig=untrusted") &&
			has(world_result(&task), "rev=unknown"),
		    "strict, %s: untrusted",
		    i == 0 ? "without a list" : "with one that is too old");
		world_task_clear(&task);
	}
}

static void
test_blocked(const struct people *p, struct slice sent)
{
	struct world_task task;

	world_task_init(&task, p->ring, sent);
	world_task_key(&task, WORK_KEY_ANCHOR, p->ca, false);
	world_task_key(&task, WORK_KEY_BLOCKED, p->alice, false);
	world_open(&task);
	ok(has(world_result(&task), "sig=untrusted"),
	    "a certificate that is blocked");
	world_task_clear(&task);
}

static void
test_revocation(const struct people *p)
{
	struct world_id *const nobody[] = {NULL};
	struct world_id *const alice[] = {p->alice, NULL};
	struct world_task task;
	struct slice sent;
	struct buf der;
	char *copy;

	world_task_init(
	    &task, p->ring, (struct slice){plain_mail, sizeof(plain_mail) - 1});
	world_task_key(&task, WORK_KEY_SIGN, p->alice, false);
	ok(world_protect(&task), "signed");
	copy = take(&task, &sent);
	world_task_clear(&task);
	buf_init(&der, 65536);
	check_revocation(p, sent, (struct slice){NULL, 0},
	    "from=match; rev=unknown", "without a list it passes");
	check_revocation(p, sent,
	    world_crl(p->ca, nobody, WORLD_NOW_S + 1000, &der), "rev=ok",
	    "a list that does not name it");
	check_revocation(p, sent,
	    world_crl(p->ca, alice, WORLD_NOW_S + 1000, &der), "sig=revoked",
	    "a list that names it");
	check_revocation(p, sent,
	    world_crl(p->ca, nobody, WORLD_NOW_S - 1000, &der), "rev=unknown",
	    "a list that is too old");
	check_revocation(p, sent,
	    world_crl(p->ca, alice, WORLD_NOW_S - 1000, &der), "sig=revoked",
	    "an old one that names it");
	test_strict(p, sent, world_crl(p->ca, nobody, WORLD_NOW_S - 1, &der));
	test_blocked(p, sent);
	buf_clear(&der);
	free(copy);
}

/* ---- large mail ---- */

#define LARGE_OCTETS (200u * 1024 * 1024)
#define LARGE_RSS_KIB (16L * 1024)

static int
large_mail(void)
{
	static const char head[] =
	    "From: alice@example.org\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: application/octet-stream\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\n";
	char lines[78 * 64];
	int fd = memfd_create("mail", MFD_CLOEXEC);

	for (size_t i = 0; i < sizeof(lines); i += 78) {
		memset(lines + i, 'A', 76);
		memcpy(lines + i + 76, "\r\n", 2);
	}
	if (fd == -1 || write(fd, head, sizeof(head) - 1) == -1)
		return -1;
	for (size_t n = 0; n < LARGE_OCTETS; n += sizeof(lines))
		if (write(fd, lines, sizeof(lines)) != (ssize_t)sizeof(lines))
			return -1;
	return fd;
}

static long
rss_kib(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void
test_large(
    const struct people *p, const char *label, bool encrypts, unsigned options)
{
	struct world_task task;
	struct err err;
	int in = large_mail();
	int out = memfd_create("output", MFD_CLOEXEC);
	long before = rss_kib();

	world_task_init(&task, p->ring, SLICE(""));
	work_answer_clear(&task.answer);
	work_answer_init(&task.answer, out, UINT64_MAX);
	if (in == -1 || out == -1 ||
	    content_of_file(in, &task.work.content, &err) == -1)
		bug("no large mail");
	task.work.options = options;
	world_task_key(&task, WORK_KEY_SIGN, p->alice, false);
	if (encrypts)
		world_task_key(&task, WORK_KEY_ENCRYPT, p->bob, false);
	ok(world_protect(&task) &&
		content_writer_finish(&task.answer.output, &task.result) == 0,
	    "%s: written (%s)", label, task.answer.reason);
	ok(task.result.size > LARGE_OCTETS, "%s: all of it", label);
	ok(rss_kib() - before < LARGE_RSS_KIB, "%s: %ld KiB of memory more",
	    label, rss_kib() - before);
	world_task_clear(&task);
	close_if_open(&in);
	close_if_open(&out);
}

int
main(void)
{
	struct people p = make_people();

	test_large(&p, "200 MB signed", false, 0);
	test_large(&p, "200 MB signed and encrypted", true, 0);
	test_large(&p, "200 MB signed opaquely", false, PROTECT_OPAQUE);
	for (size_t i = 0; i < sizeof(courses) / sizeof(courses[0]); i++)
		test_course(&p, &courses[i]);
	test_refused(&p);
	test_calendar(&p);
	test_client_protected(&p);
	test_readers(&p);
	test_preferred(&p);
	test_shared(&p);
	test_revocation(&p);
	free_people(&p);
	return tap_done();
}
