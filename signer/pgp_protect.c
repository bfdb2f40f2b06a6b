/* SPDX-License-Identifier: ISC */
/*
 * PGP/MIME (RFC 3156): a message of a sender of ours is signed, encrypted, or
 * both in one OpenPGP message.
 *
 *	WORK_KEY_SIGN     ref, fingerprint
 *	WORK_KEY_ENCRYPT  public, fingerprint, address
 *	fact "hidden"     any value: the message does not say for which keys
 *
 * Runs in: postern-signerd's pgp-sign workers.  Trusts: the task for its keys;
 * nothing of the message.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer/entity.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_data.h"
#include "signer/pgp_worker.h"

/* A detached signature: some hundred octets, with RSA a few more. */
#define SIGNATURE_MAX 16384

/* Fingerprints and paths of keys, one on a line. */
#define RECIPIENTS_MAX (512u * 600)

struct protection {
	struct worker_context *context;
	const struct work *work;
	struct work_answer *answer;
	struct pgp_home *home;
	struct entity *entity;
	struct entity_wishes wishes;
	const struct pgp_private *signer; /* NULL: it is not signed */
	struct buf recipients;            /* for gpg; empty: not encrypted */
	struct buf fingerprints;          /* of them, for the log */
	struct content_writer plain;      /* the canonical entity */
	int plain_fd;
	struct content plain_content;
};

/* ---- keys ---- */

static int
add_recipient(struct protection *p, const struct ipc_record_work_key *key,
    struct err *err)
{
	struct pgp_recipient recipient;

	if (pgp_worker_recipient(p->context, key, &recipient, err) == -1)
		return -1;
	(void)buf_addf(&p->recipients, "%s%s\n%s",
	    p->recipients.n > 0 ? "\n" : "",
	    recipient.is_file ? "--file" : "--no-file", recipient.text);
	(void)buf_addf(&p->fingerprints, " %.*s", SLICE_ARG(key->fingerprint));
	return p->recipients.overflowed ? err_set(err, "too many recipients")
					: 0;
}

static int
take_keys(struct protection *p, struct err *err)
{
	struct ipc_list keys = p->work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key)) {
		if (key.use == WORK_KEY_SIGN && p->signer == NULL &&
		    pgp_worker_private(p->context, &key, &p->signer, err) == -1)
			return -1;
		if (key.use == WORK_KEY_ENCRYPT &&
		    add_recipient(p, &key, err) == -1)
			return -1;
	}
	return 0;
}

static bool
is_encrypting(const struct protection *p)
{
	return p->recipients.n > 0;
}

/* ---- what gpg gets ---- */

/* Large ones lie on disk, not in our memory. */
static int
scratch_file(const char *dir, struct err *err)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd == -1)
		(void)err_set(err, "no scratch file: %s", strerror(errno));
	return fd;
}

static int
write_plain(struct protection *p, struct err *err)
{
	struct sink sink;

	p->plain_fd = -1;
	if (p->work->content.fd != -1 &&
	    (p->plain_fd = scratch_file(p->context->scratch_dir, err)) == -1)
		return -1;
	/* Twice the message: base64 and quoted-printable add to it. */
	content_writer_init(&p->plain, p->plain_fd,
	    3 * p->work->content.size + HEADER_SIZE_MAX * 4);
	sink = sink_of_writer(&p->plain);
	if (entity_write(p->entity, &p->wishes, &sink, err) == -1)
		return -1;
	if (content_writer_finish(&p->plain, &p->plain_content) == -1) {
		*err = p->plain.err;
		return -1;
	}
	return 0;
}

/* ---- gpg ---- */

static int
set_signer(struct protection *p, gpgme_ctx_t context, struct err *err)
{
	gpgme_error_t error;

	if (p->signer == NULL)
		return 0;
	error = gpgme_signers_add(context, p->signer->key);
	pgp_home_unlock(p->home, p->signer->words);
	return error == 0 ? 0 : pgp_err(err, "cannot sign", error);
}

/*
 * The one signature that was asked for: the name of its hash.  NULL when gpg
 * did something else.
 */
static const char *
check_signed(const struct protection *p, gpgme_ctx_t context)
{
	gpgme_sign_result_t result = gpgme_op_sign_result(context);
	gpgme_new_signature_t signature;

	if (result == NULL || result->invalid_signers != NULL ||
	    (signature = result->signatures) == NULL ||
	    signature->next != NULL || signature->fpr == NULL)
		return NULL;
	for (gpgme_subkey_t at = p->signer->key->subkeys; at != NULL;
	     at = at->next)
		if (strcmp(at->fpr, signature->fpr) == 0)
			return gpgme_hash_algo_name(signature->hash_algo);
	return NULL;
}

/* Names a recipient whose key gpg does not take: that will not change. */
static bool
refuse_recipient(struct protection *p, gpgme_ctx_t context)
{
	gpgme_encrypt_result_t result = gpgme_op_encrypt_result(context);

	if (result == NULL || result->invalid_recipients == NULL)
		return false;
	work_refuse(p->answer, SIGNED_PERMANENT, "5.7.3",
	    "gpg cannot encrypt to one of the keys%s: %s",
	    p->fingerprints.n > 0 ? buf_text(&p->fingerprints) : "",
	    gpgme_strerror(result->invalid_recipients->reason));
	return true;
}

/* Appends the armored signature; *micalg_r as in RFC 3156 §5. */
static int
make_signature(struct protection *p, struct buf *armored, char micalg_r[32],
    struct err *err)
{
	struct content_writer binary;
	struct content content = content_of((struct slice){NULL, 0});
	struct pgp_source source = {.data = NULL};
	struct pgp_drain drain = {.data = NULL};
	const char *hash = NULL;
	gpgme_error_t error;
	gpgme_ctx_t context;
	int rc = -1;

	content_writer_init(&binary, -1, SIGNATURE_MAX);
	if (pgp_home_context(p->home, &context, err) == -1 ||
	    set_signer(p, context, err) == -1 ||
	    pgp_source_open(&source, &p->plain_content, err) == -1 ||
	    pgp_drain_open(&drain, &binary, false, err) == -1)
		goto out;
	error = gpgme_op_sign(
	    context, source.data, drain.data, GPGME_SIG_MODE_DETACH);
	if (error != 0) {
		(void)pgp_err(err, "gpg cannot sign", error);
		goto out;
	}
	if ((hash = check_signed(p, context)) == NULL ||
	    content_writer_finish(&binary, &content) == -1) {
		(void)err_set(err, "gpg made another signature than asked");
		goto out;
	}
	(void)snprintf(micalg_r, 32, "pgp-%s", hash);
	for (char *c = micalg_r; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	rc = pgp_armor_write(PGP_ARMOR_SIGNATURE, content.memory, armored);
out:
	pgp_source_close(&source);
	pgp_drain_close(&drain);
	content_writer_clear(&binary);
	return rc;
}

static gpgme_encrypt_flags_t
encrypt_flags(const struct work *work)
{
	unsigned flags =
	    GPGME_ENCRYPT_ALWAYS_TRUST | GPGME_ENCRYPT_NO_ENCRYPT_TO;

	if (work_fact(work, "hidden").n > 0)
		flags |= GPGME_ENCRYPT_THROW_KEYIDS;
	return (gpgme_encrypt_flags_t)flags;
}

/* Writes the armored message to the output. */
static int
make_message(struct protection *p, struct err *err)
{
	const gpgme_encrypt_flags_t flags = encrypt_flags(p->work);
	const char *recipients = buf_text(&p->recipients);
	struct pgp_source source = {.data = NULL};
	struct pgp_drain drain = {.data = NULL};
	gpgme_error_t error;
	gpgme_ctx_t context;
	int rc = -1;

	if (pgp_home_context(p->home, &context, err) == -1 ||
	    set_signer(p, context, err) == -1 ||
	    pgp_source_open(&source, &p->plain_content, err) == -1 ||
	    pgp_drain_open(&drain, &p->answer->output, true, err) == -1)
		goto out;
	gpgme_set_armor(context, 1);
	error = p->signer != NULL
		    ? gpgme_op_encrypt_sign_ext(context, NULL, recipients,
			  flags, source.data, drain.data)
		    : gpgme_op_encrypt_ext(context, NULL, recipients, flags,
			  source.data, drain.data);
	if (p->answer->output.failed)
		*err = p->answer->output.err;
	else if (error != 0 && !refuse_recipient(p, context))
		(void)pgp_err(err, "gpg cannot encrypt", error);
	else if (error == 0 && p->signer != NULL &&
		 check_signed(p, context) == NULL)
		(void)err_set(err, "gpg made another signature than asked");
	else if (error == 0)
		rc = 0;
out:
	pgp_source_close(&source);
	pgp_drain_close(&drain);
	return rc;
}

/* ---- the message ---- */

static int
write_signed(struct protection *p, struct err *err)
{
	struct content_writer *out = &p->answer->output;
	const struct sink sink = sink_of_writer(out);
	char boundary[ENTITY_BOUNDARY_SIZE];
	char head[512];
	char tail[512];
	char micalg[32];
	struct buf signature;
	int rc = -1;

	buf_init(&signature, 2 * SIGNATURE_MAX);
	entity_boundary(boundary);
	if (make_signature(p, &signature, micalg, err) == -1)
		goto out;
	(void)snprintf(head, sizeof(head),
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/signed; micalg=%s;\r\n"
	    "\tprotocol=\"application/pgp-signature\";\r\n"
	    "\tboundary=\"%s\"\r\n"
	    "\r\n--%s\r\n",
	    micalg, boundary, boundary);
	(void)snprintf(tail, sizeof(tail),
	    "\r\n--%s\r\n"
	    "Content-Type: application/pgp-signature; name=signature.asc\r\n"
	    "Content-Description: OpenPGP digital signature\r\n"
	    "Content-Disposition: attachment; filename=signature.asc\r\n"
	    "\r\n",
	    boundary);
	if (entity_write_outer(p->entity, &p->wishes, &sink, err) == -1 ||
	    sink_text(&sink, head, err) == -1 ||
	    sink_range(&sink, &p->plain_content, 0, p->plain_content.size,
		err) == -1 ||
	    sink_text(&sink, tail, err) == -1 ||
	    sink_slice(&sink, buf_slice(&signature), err) == -1)
		goto out;
	(void)snprintf(tail, sizeof(tail), "\r\n--%s--\r\n", boundary);
	rc = sink_text(&sink, tail, err);
out:
	buf_clear(&signature);
	return rc;
}

static int
write_encrypted(struct protection *p, struct err *err)
{
	const struct sink sink = sink_of_writer(&p->answer->output);
	char boundary[ENTITY_BOUNDARY_SIZE];
	char text[1024];

	entity_boundary(boundary);
	(void)snprintf(text, sizeof(text),
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/encrypted;\r\n"
	    "\tprotocol=\"application/pgp-encrypted\";\r\n"
	    "\tboundary=\"%s\"\r\n"
	    "\r\n--%s\r\n"
	    "Content-Type: application/pgp-encrypted\r\n"
	    "Content-Description: PGP/MIME version identification\r\n"
	    "\r\nVersion: 1\r\n"
	    "\r\n--%s\r\n"
	    "Content-Type: application/octet-stream; name=encrypted.asc\r\n"
	    "Content-Description: OpenPGP encrypted message\r\n"
	    "Content-Disposition: inline; filename=encrypted.asc\r\n"
	    "\r\n",
	    boundary, boundary, boundary);
	if (entity_write_outer(p->entity, &p->wishes, &sink, err) == -1 ||
	    sink_text(&sink, text, err) == -1 || make_message(p, err) == -1)
		return -1;
	(void)snprintf(text, sizeof(text), "\r\n--%s--\r\n", boundary);
	return sink_text(&sink, text, err);
}

static void
note_protection(struct protection *p)
{
	if (p->signer != NULL)
		work_note(p->answer, "pgp signed %s", p->signer->fingerprint);
	if (is_encrypting(p))
		work_note(
		    p->answer, "pgp encrypted%s", buf_text(&p->fingerprints));
	if (!is_encrypting(p) && !entity_is_7bit(p->entity, &p->wishes))
		work_note(p->answer, "8bit stays, within what others signed");
}

/* ---- what is left as it is ---- */

/* A set of enum protect_applied, by the keys that the task came with. */
static unsigned
demanded(const struct protection *p)
{
	return (p->signer != NULL ? APPLIED_SIGNED : 0u) |
	       (is_encrypting(p) ? APPLIED_ENCRYPTED : 0u);
}

/* Invitations, which break (as smime.h has it). */
static bool
is_left_plain(const struct shape *shape)
{
	return shape->is_calendar && !shape_is_signed(shape) &&
	       !shape_is_encrypted(shape);
}

/*
 * NULL: it is to be protected.  The demand is fulfilled too where the sender
 * did it himself, not for invitations.
 */
static const char *
why_left(const struct protection *p)
{
	const struct shape *shape = entity_shape(p->entity);

	if (shape_is_encrypted(shape))
		return "encrypted by its sender";
	if (shape_is_signed(shape) && !is_encrypting(p))
		return "signed by its sender";
	if (is_left_plain(shape))
		return "an invitation, left as it is";
	return demanded(p) == 0 ? "nothing to do" : NULL;
}

static bool
is_refused(struct protection *p)
{
	const struct shape *shape = entity_shape(p->entity);

	if (!shape->is_calendar || shape_is_signed(shape) ||
	    !is_encrypting(p) ||
	    (p->work->options & PROTECT_CALENDAR_PLAIN) != 0)
		return false;
	work_refuse(p->answer, SIGNED_PERMANENT, "5.7.3",
	    "an invitation cannot be encrypted: mail programs would not "
	    "recognize it");
	return true;
}

/* -1: err says why, unless the answer is a refusal already. */
static int
protect(struct protection *p, struct err *err)
{
	const struct sink sink = sink_of_writer(&p->answer->output);
	const unsigned applied =
	    is_left_plain(entity_shape(p->entity)) ? 0 : demanded(p);
	const char *reason = why_left(p);

	if (is_refused(p))
		return -1;
	if (reason != NULL) {
		work_note(p->answer, "%s", reason);
		if (entity_write_message(p->entity, &sink, err) == -1)
			return -1;
	} else {
		if (shape_is_signed(entity_shape(p->entity)))
			p->signer = NULL;
		if (write_plain(p, err) == -1 ||
		    (is_encrypting(p) ? write_encrypted(p, err)
				      : write_signed(p, err)) == -1)
			return -1;
		note_protection(p);
	}
	p->answer->applied |= applied;
	return 0;
}

static void
refuse(struct protection *p, const struct err *err)
{
	const struct content_writer *out = &p->answer->output;

	if (p->answer->outcome == SIGNED_PERMANENT)
		return;
	if (out->is_over_limit)
		work_refuse(p->answer, SIGNED_PERMANENT, "5.3.4",
		    "the message is too large to be protected");
	else
		work_refuse(p->answer, SIGNED_TEMPORARY, "4.7.5", "OpenPGP: %s",
		    err->text);
}

void
work_pgp_protect(struct worker_context *context, const struct work *work,
    struct work_answer *answer)
{
	struct protection p = {
	    .context = context, .work = work, .answer = answer, .plain_fd = -1};
	struct err err = {""};
	int rc = -1;

	buf_init(&p.recipients, RECIPIENTS_MAX);
	buf_init(&p.fingerprints, sizeof(answer->method) / 2);
	content_writer_init(&p.plain, -1, 0);
	if (pgp_worker_begin(context, &p.home, &err) == 0 &&
	    entity_open(&work->content, work->removals, &p.entity, &err) == 0 &&
	    take_keys(&p, &err) == 0) {
		p.wishes = (struct entity_wishes){
		    .is_encrypted = is_encrypting(&p),
		    .protects_headers = (work->options & PROTECT_HEADERS) != 0,
		    .obscures_subject = is_encrypting(&p) &&
					(work->options & PROTECT_SUBJECT) != 0,
		    .displays_subject = (work->options & PROTECT_LEGACY) != 0};
		rc = protect(&p, &err);
	}
	if (rc == 0)
		answer->outcome = SIGNED_DONE;
	else
		refuse(&p, &err);
	content_writer_clear(&p.plain);
	close_if_open(&p.plain_fd);
	entity_close(p.entity);
	buf_clear(&p.recipients);
	buf_clear(&p.fingerprints);
}
