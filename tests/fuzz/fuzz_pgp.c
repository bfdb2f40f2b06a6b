/* SPDX-License-Identifier: ISC */
/*
 * What is read of OpenPGP before GnuPG sees it: armor, packets, and messages
 * up to where gpg would be started (there are no keys, so it is not).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "signer/pgp_armor.h"
#include "signer/pgp_packets.h"
#include "signer/work.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define OUTPUT_MAX ((uint64_t)4 * 1024 * 1024)

static void
read_packets(struct slice binary)
{
	struct pgp_key_shape shape;
	struct pgp_sealed sealed;
	struct buf out;
	size_t count;

	(void)pgp_key_shape_read(binary, &shape, NULL);
	(void)pgp_signatures_check(binary, &count, NULL);
	if (pgp_sealed_check(binary, &sealed, NULL) == -1)
		return;
	if (sealed.first_data > binary.n)
		abort();
	buf_init(&out, binary.n);
	/* What is kept of the session keys fits in their own place. */
	(void)pgp_sealed_filter(
	    (struct slice){binary.p, sealed.first_data}, NULL, 0, true, &out);
	if (out.overflowed || out.n > sealed.first_data)
		abort();
	buf_clear(&out);
}

/* Armor that was read is written and read again the same. */
static void
read_armor(struct slice text)
{
	enum pgp_armor_kind kind;
	enum pgp_armor_kind again;
	struct buf binary;
	struct buf armored;
	struct buf copy;

	buf_init(&binary, text.n + 4);
	buf_init(&armored, 2 * text.n + 1024);
	buf_init(&copy, text.n + 4);
	if (pgp_armor_read(text, &kind, &binary, NULL, NULL) == 0) {
		read_packets(buf_slice(&binary));
		if (pgp_armor_write(kind, buf_slice(&binary), &armored) == 0 &&
		    (pgp_armor_read(buf_slice(&armored), &again, &copy, NULL,
			 NULL) == -1 ||
			again != kind ||
			!slice_equals(buf_slice(&copy), buf_slice(&binary))))
			abort();
	}
	buf_clear(&binary);
	buf_clear(&armored);
	buf_clear(&copy);
}

static void
open_message(struct slice message)
{
	struct worker_context context = {.scratch_dir = NULL};
	const struct work work = {.op = WORK_PGP_OPEN,
	    .sender = SLICE("a@b.example"),
	    .authserv_id = SLICE("gw.example.test"),
	    .output_limit = OUTPUT_MAX,
	    .content = content_of(message)};
	struct work_answer answer;

	work_answer_init(&answer, -1, work.output_limit);
	work_pgp_open(&context, &work, &answer);
	if ((answer.applied & APPLIED_DECRYPTED) != 0)
		abort();
	work_answer_clear(&answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct slice input = {(const char *)p, n};

	read_packets(input);
	read_armor(input);
	open_message(input);
	return 0;
}
