/* SPDX-License-Identifier: ISC */
/*
 * Mail that came in, opened by a worker's function with fixed keys.  Whatever
 * comes: an answer, no line end that SMTP does not have, and never "pass",
 * which needs a key that only the seeds' maker had.
 *
 * An input is a message.  In it @E and @S stand for base64 of the rest of the
 * input, encrypted to the worker's key or signed by a stranger: so the fuzzer
 * also gets behind decryption.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "signer/keyring.h"
#include "signer/sink.h"
#include "tests/unit/smime_world.h"

#define MAIL_MAX ((size_t)4 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once; a fuzz target has no other place for it. */
static struct {
	struct world_id *ca;
	struct world_id *bob;
	struct world_id *stranger;
	struct keyring *ring;
} world;

/* With its folder of anchors. */
static void
free_ring(void)
{
	keyring_free(world.ring);
	world.ring = NULL;
}

static void
make_world(void)
{
	world.ring = world_keyring();
	(void)atexit(free_ring);
	world.ca = world_id_new("ca",
	    &(struct world_wish){
		.kind = WORLD_P256, .is_ca = true, .name = "CA"},
	    NULL);
	world.bob = world_id_new("bob",
	    &(struct world_wish){
		.kind = WORLD_P256, .address = "bob@example.net"},
	    world.ca);
	world.stranger = world_id_new("stranger",
	    &(struct world_wish){
		.kind = WORLD_P256, .address = "alice@example.org"},
	    NULL);
	world_keyring_add(world.ring, world.bob);
}

static void
add_cms(struct buf *mail, struct slice inside, bool is_signed)
{
	BIO *in = BIO_new_mem_buf(inside.p, (int)inside.n);
	STACK_OF(X509) *readers = sk_X509_new_null();
	CMS_ContentInfo *cms;
	struct base64_sink base64;
	struct sink sink = sink_of_base64(&base64);
	unsigned char *der = NULL;
	int n;

	(void)sk_X509_push(readers, world.bob->cert);
	if (is_signed)
		cms = CMS_sign(world.stranger->cert, world.stranger->key, NULL,
		    in, CMS_BINARY);
	else
		cms = CMS_encrypt(readers, in, EVP_aes_128_cbc(), CMS_BINARY);
	n = cms == NULL ? -1 : i2d_CMS_ContentInfo(cms, &der);
	base64_sink_init(&base64, sink_of_buf(mail));
	if (n > 0 && sink_write(&sink, der, (size_t)n, NULL) == 0)
		(void)base64_sink_finish(&base64, NULL);
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	sk_X509_free(readers);
	BIO_free(in);
	ERR_clear_error();
}

/* The message, with the first @E or @S replaced. */
static void
expand(struct slice input, struct buf *mail)
{
	for (size_t i = 0; i + 1 < input.n; i++) {
		if (input.p[i] != '@' ||
		    (input.p[i + 1] != 'E' && input.p[i + 1] != 'S'))
			continue;
		(void)buf_add(mail, input.p, i);
		add_cms(mail, (struct slice){input.p + i + 2, input.n - i - 2},
		    input.p[i + 1] == 'S');
		return;
	}
	(void)buf_add_slice(mail, input);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world_task task;
	struct slice got;
	struct buf mail;

	if (size > MAIL_MAX / 4)
		return 0;
	if (world.ring == NULL)
		make_world();
	buf_init(&mail, MAIL_MAX);
	expand((struct slice){(const char *)data, size}, &mail);
	world_task_init(&task, world.ring, buf_slice(&mail));
	world_task_key(&task, WORK_KEY_ANCHOR, world.ca, false);
	world_task_key(&task, WORK_KEY_DECRYPT, world.bob, false);
	world_open(&task);
	got = world_result(&task);
	if (task.answer.outcome == SIGNED_DONE) {
		static const char passed[] = "; smime=pass";

		if (got.n > 0 &&
		    memmem(got.p, got.n, passed, sizeof(passed) - 1) != NULL &&
		    memmem(data, size, "pass", 4) == NULL)
			bug("a stranger's signature passes");
		/* smtpd refuses bare line ends: none comes from outside. */
		if (!world_has_bare_line_end(buf_slice(&mail)) &&
		    world_has_bare_line_end(got))
			bug("a bare line end gets out");
	}
	world_task_clear(&task);
	buf_clear(&mail);
	return 0;
}
