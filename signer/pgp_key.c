/* SPDX-License-Identifier: ISC */
/*
 * Keys of others: read, judged, brought into the form in which they are kept.
 * Runs in: postern-signerd's throw-away `key` worker.  Trusts: nothing of the
 * file.
 */
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_key_data.h"
#include "signer/pgp_key_facts.h"
#include "signer/pgp_packets.h"

/* ---- the file ---- */

int
pgp_key_data_read(struct slice file, size_t limit, struct buf *binary,
    struct pgp_key_shape *shape_r, struct err *err)
{
	enum pgp_armor_kind kind = PGP_ARMOR_PUBLIC_KEY;

	buf_init(binary, limit);
	if (file.n == 0)
		return err_set(err, "the file is empty");
	/* The text of armor is a third longer, and then some. */
	if (file.n > 2 * limit)
		return err_set(err, "the file is too large for one key");
	if (((unsigned char)file.p[0] & 0x80) == 0) {
		if (pgp_armor_read(file, &kind, binary, NULL, err) == -1)
			return -1;
	} else {
		(void)buf_add_slice(binary, file);
	}
	if (kind != PGP_ARMOR_PUBLIC_KEY && kind != PGP_ARMOR_PRIVATE_KEY)
		return err_set(err, "it is no key, but a message");
	if (binary->overflowed)
		return err_set(err, "the file is too large for one key");
	if (pgp_key_shape_read(buf_slice(binary), shape_r, err) == -1)
		return -1;
	if (shape_r->keys > 1)
		return err_set(
		    err, "there are %zu keys in it, not one", shape_r->keys);
	if (shape_r->image_octets > PGP_IMAGES_MAX)
		return err_set(err, "its images are too large");
	return 0;
}

/* A user id that is to go: an image, or of another address than wanted. */
static bool
is_dropped(const struct pgp_packet *packet, struct slice address)
{
	if (packet->tag == PGP_TAG_USER_ATTRIBUTE)
		return true;
	return packet->tag == PGP_TAG_USER_ID && address.n > 0 &&
	       !slice_equals_nocase(pgp_user_id_address(packet->body), address);
}

void
pgp_key_data_reduce(struct slice binary, struct slice address, struct buf *out)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	bool is_dropping = false;

	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		/* The signatures on an id go with it. */
		if (packet.tag != PGP_TAG_SIGNATURE)
			is_dropping = is_dropped(&packet, address);
		if (!is_dropping && packet.tag != PGP_TAG_TRUST &&
		    packet.tag != PGP_TAG_MARKER)
			(void)buf_add_slice(out, packet.whole);
	}
}

/* ---- out of GnuPG ---- */

int
pgp_key_data_export(struct pgp_home *home, const char *const *patterns,
    gpgme_export_mode_t mode, struct buf *out, struct err *err)
{
	const char *list[PGP_SUBKEYS_MAX + 1] = {NULL};
	gpgme_ctx_t context;
	gpgme_data_t data = NULL;
	gpgme_error_t error;
	char *p;
	size_t n = 0;
	int rc = -1;

	for (size_t i = 0; i < PGP_SUBKEYS_MAX && patterns[i] != NULL; i++)
		list[i] = patterns[i];
	if (pgp_home_context(home, &context, err) == -1)
		return -1;
	error = gpgme_data_new(&data);
	if (error == 0)
		error = gpgme_op_export_ext(context, list, mode, data);
	if (error != 0) {
		gpgme_data_release(data);
		return pgp_err(err, "cannot get the key out", error);
	}
	p = gpgme_data_release_and_get_mem(data, &n);
	if (p == NULL || n == 0)
		(void)err_set(err, "gpg gave no key");
	else if (buf_add(out, p, n) == -1)
		(void)err_set(err, "the key is too large");
	else
		rc = 0;
	if (p != NULL)
		explicit_bzero(p, n);
	gpgme_free(p);
	return rc;
}

/* The key as it is kept: no third parties' signatures. */
static int
export_public(struct pgp_home *home, const char *fingerprint,
    struct buf *public, struct err *err)
{
	const char *const patterns[] = {fingerprint, NULL};

	return pgp_key_data_export(
	    home, patterns, GPGME_EXPORT_MODE_MINIMAL, public, err);
}

static int
take_in(struct pgp_home *home, struct slice binary, const char *fingerprint,
    int64_t now_s, struct pgp_key_facts *facts_r, struct buf *public,
    struct err *err)
{
	gpgme_key_t key = NULL;
	int rc = -1;

	if (pgp_home_import(home, binary, err) == -1 ||
	    pgp_home_key(home, fingerprint, false, &key, err) == -1)
		return -1;
	if (pgp_key_facts_read(key, now_s, facts_r, err) == 0)
		rc = export_public(home, fingerprint, public, err);
	gpgme_key_unref(key);
	return rc;
}

/* GnuPG puts both together: it keeps all parts, and the newer of two facts. */
static int
take_known(struct pgp_home *home, const char *fingerprint,
    const struct pgp_key_known *known, struct err *err)
{
	struct pgp_key_shape shape;

	for (size_t i = 0; i < known->count; i++)
		if (pgp_key_shape_read(known->keys[i], &shape, NULL) == 0 &&
		    strcmp(shape.primary.fingerprint, fingerprint) == 0)
			return pgp_home_import(home, known->keys[i], err);
	return 0;
}

int
pgp_key_parse_for(const char *scratch_dir, struct slice file,
    struct slice address, const struct pgp_key_known *known, int64_t now_s,
    struct pgp_key_facts *facts_r, struct buf *public, struct err *err)
{
	struct pgp_key_shape shape;
	struct pgp_home *home = NULL;
	struct buf binary;
	struct buf reduced;
	int rc = -1;

	buf_init(&reduced, PGP_PUBLIC_MAX);
	if (pgp_key_data_read(file, PGP_PUBLIC_MAX, &binary, &shape, err) == -1)
		goto out;
	if (shape.has_secret) {
		(void)err_set(err, "it is a secret key");
		goto out;
	}
	pgp_key_data_reduce(buf_slice(&binary), address, &reduced);
	if (pgp_start(err) == -1 || pgp_home_new(scratch_dir, &home, err) == -1)
		goto out;
	rc = take_known(home, shape.primary.fingerprint, known, err);
	if (rc == 0)
		rc = take_in(home, buf_slice(&reduced),
		    shape.primary.fingerprint, now_s, facts_r, public, err);
	if (rc == 0 && address.n > 0 && !pgp_key_has_address(facts_r, address))
		rc = err_set(err, "the key is not of that address");
out:
	pgp_home_free(home);
	buf_clear(&reduced);
	buf_clear(&binary);
	return rc;
}

int
pgp_key_parse(const char *scratch_dir, struct slice file, int64_t now_s,
    struct pgp_key_facts *facts_r, struct buf *public, struct err *err)
{
	const struct pgp_key_known nothing = {.count = 0};

	return pgp_key_parse_for(scratch_dir, file, (struct slice){NULL, 0},
	    &nothing, now_s, facts_r, public, err);
}
