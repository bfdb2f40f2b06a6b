/* SPDX-License-Identifier: ISC */
/*
 * A message that came in encrypted or signed with OpenPGP: opened where its
 * root is encrypted (never below it: EFAIL), verified where its root is
 * signed, and told in a verdict of ours.
 *
 *	WORK_KEY_DECRYPT    ref, fingerprint: of the envelope recipient
 *	WORK_KEY_CANDIDATE  public, fingerprint, address ("": that in From)
 *
 * What cannot be opened goes on as it came; what is wrong with it is said in
 * one word to outsiders, and in the log to the administrator.
 *
 * Where a step before went through encryption that does not show changes
 * (FACT_INTEGRITY), a signature that does not fit is what an attack on that
 * encryption looks like: as of S/MIME (smime_open.c), such a message is held.
 * The broker then keeps it as it came; this step's output is not used.
 *
 * Runs in: postern-signerd's pgp-open workers.  Trusts: the task for its keys
 * and for From; nothing of the message.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer/canon_scan.h"
#include "signer/delivery.h"
#include "signer/line_sink.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_data.h"
#include "signer/pgp_decrypt.h"
#include "signer/pgp_harvest.h"
#include "signer/pgp_verdict.h"
#include "signer/shape.h"
#include "signer/transfer.h"

/* S/MIME and OpenPGP together. */
#define LAYERS_MAX 4

/* A detached signature with armor: some hundred octets each. */
#define SIGNATURE_TEXT_MAX ((size_t)128 * 1024)

/* What each layer leaves: as gpg wrote it, and with clean line ends. */
#define STAGES_MAX (2 * LAYERS_MAX + 1)

struct opening {
	struct worker_context *context;
	const struct work *work;
	struct work_answer *answer;
	struct verdict verdict;
	unsigned layers;
	bool is_opened; /* one layer at least */
	bool has_list_id;
	bool is_malleable; /* some encryption does not show changes */
	bool uses_secret;  /* a private key was used, whatever came of it */
	bool is_ambiguous; /* others may see other parts or fields */
	struct content current; /* the message, then what was in it */
	struct content entity;  /* what replaces the root */
	struct content payload; /* what was signed or encrypted soundly */
	bool has_payload;
	struct content_writer stages[STAGES_MAX];
	int stage_fds[STAGES_MAX];
	size_t stage_count;
};

/* A place for content that may be as large as the output. */
static struct content_writer *
new_stage(struct opening *o, struct err *err)
{
	struct content_writer *stage = &o->stages[o->stage_count];
	int fd = -1;

	if (o->stage_count == STAGES_MAX)
		bug("more stages than layers");
	if (o->work->content.fd != -1 &&
	    (fd = open(o->context->scratch_dir, O_TMPFILE | O_RDWR | O_CLOEXEC,
		 0600)) == -1) {
		(void)err_set(err, "no scratch file: %s", strerror(errno));
		return NULL;
	}
	o->stage_fds[o->stage_count++] = fd;
	content_writer_init(stage, fd, o->work->output_limit);
	return stage;
}

static void
clear_stages(struct opening *o)
{
	for (size_t i = 0; i < o->stage_count; i++) {
		content_writer_clear(&o->stages[i]);
		close_if_open(&o->stage_fds[i]);
	}
}

/* ---- reading what is there ---- */

/* The header of a message or part; what it points to is in text. */
static int
read_header(const struct content *content, uint64_t start, struct buf *text,
    struct header *h)
{
	uint64_t n = content->size - start;
	char *room;
	ssize_t got;

	if (n > HEADER_SIZE_MAX)
		n = HEADER_SIZE_MAX;
	if ((room = buf_reserve(text, (size_t)n + 1)) == NULL ||
	    (got = content_read(content, start, room, (size_t)n)) == -1)
		return -1;
	buf_extend(text, (size_t)got);
	return header_read(h, buf_slice(text)) == PARSE_OK ? 0 : -1;
}

static enum mime_encoding
encoding_of(const struct header *h)
{
	const struct slice value =
	    header_simple(h, HDR_CONTENT_TRANSFER_ENCODING);

	for (int i = 0; i < MIME_ENCODING_OTHER; i++) {
		const char *name = mime_encoding_text((enum mime_encoding)i);

		if (name != NULL && slice_equals_nocase(value, slice_of(name)))
			return (enum mime_encoding)i;
	}
	return value.n == 0 ? MIME_ENCODING_7BIT : MIME_ENCODING_OTHER;
}

/* The decoded body of a part, up to a limit that out has. */
static int
read_part(const struct content *content, uint64_t start, uint64_t body_start,
    uint64_t body_end, struct buf *out, struct err *err)
{
	struct sink sink = sink_of_buf(out);
	struct header h;
	struct buf text;
	enum mime_encoding encoding = MIME_ENCODING_7BIT;

	buf_init(&text, HEADER_SIZE_MAX + 1);
	header_init(&h, 0);
	if (read_header(content, start, &text, &h) == 0)
		encoding = encoding_of(&h);
	header_clear(&h);
	buf_clear(&text);
	return transfer_decode(
	    &sink, encoding, content, body_start, body_end, err);
}

static bool
message_has_list_id(const struct content *message)
{
	struct header h;
	struct buf text;
	bool has = false;

	buf_init(&text, HEADER_SIZE_MAX + 1);
	header_init(&h, 0);
	if (read_header(message, 0, &text, &h) == 0)
		has = header_count(&h, HDR_LIST_ID) > 0;
	header_clear(&h);
	buf_clear(&text);
	return has;
}

/* ---- a signed root ---- */

/* Nothing but signature packets of documents may be in it. */
static int
read_signature(const struct opening *o, const struct shape_child *child,
    struct buf *binary, struct err *err)
{
	enum pgp_armor_kind kind;
	struct buf text;
	size_t count;
	int rc = -1;

	buf_init(&text, SIGNATURE_TEXT_MAX);
	if (read_part(&o->current, child->start, child->body_start,
		child->body_end, &text, err) == 0 &&
	    pgp_armor_read(buf_slice(&text), &kind, binary, NULL, err) == 0 &&
	    (kind == PGP_ARMOR_SIGNATURE ||
		err_set(err, "it is armored as something else") == 0))
		rc = pgp_signatures_check(buf_slice(binary), &count, err);
	buf_clear(&text);
	return rc;
}

static int
take_candidates(struct opening *o, struct pgp_home *home, struct err *err)
{
	struct ipc_list keys = o->work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key))
		if (key.use == WORK_KEY_CANDIDATE &&
		    pgp_worker_public(o->context, home, &key, err) == -1)
			return -1;
	return 0;
}

/* -1: gpg could not be asked. */
static int
run_verify(struct opening *o, struct slice signature,
    const struct shape_child *signed_part, struct err *err)
{
	const struct content signature_content = content_of(signature);
	struct pgp_source text = {.data = NULL};
	struct pgp_source source = {.data = NULL};
	struct pgp_home *home;
	gpgme_ctx_t context;
	gpgme_error_t error;
	int rc = -1;

	if (pgp_worker_begin(o->context, &home, err) == -1 ||
	    take_candidates(o, home, err) == -1 ||
	    pgp_home_context(home, &context, err) == -1 ||
	    pgp_source_open(&source, &signature_content, err) == -1 ||
	    pgp_source_open_range(&text, &o->current, signed_part->start,
		signed_part->body_end, err) == -1)
		goto out;
	error = gpgme_op_verify(context, source.data, text.data, NULL);
	/* No result at all is no word on the signature: gpg died. */
	if (error != 0 || gpgme_op_verify_result(context) == NULL ||
	    gpgme_op_verify_result(context)->signatures == NULL) {
		(void)pgp_err(err, "gpg gave no result", error);
		goto out;
	}
	pgp_verdict_judge(gpgme_op_verify_result(context), o->work,
	    o->has_list_id, &o->verdict);
	rc = 0;
out:
	pgp_source_close(&source);
	pgp_source_close(&text);
	return rc;
}

/* The part that is signed, as a content of its own. */
static int
copy_payload(struct opening *o, const struct shape_child *part, struct err *err)
{
	struct content_writer *stage = new_stage(o, err);
	struct sink sink;

	if (stage == NULL)
		return -1;
	sink = sink_of_writer(stage);
	if (sink_range(&sink, &o->current, part->start, part->body_end, err) ==
		-1 ||
	    content_writer_finish(stage, &o->payload) == -1)
		return -1;
	o->has_payload = true;
	return 0;
}

static int
verify_root(struct opening *o, const struct shape *shape, struct err *err)
{
	struct buf signature;
	struct err reason = {""};
	int rc = 0;

	buf_init(&signature, SIGNATURE_TEXT_MAX);
	o->has_payload = false;
	if (shape->child_count != 2 ||
	    strcmp(shape->children[1].type, "application/pgp-signature") != 0)
		pgp_verdict_fail(
		    &o->verdict, "not two parts, text and signature");
	else if (read_signature(o, &shape->children[1], &signature, &reason) ==
		 -1)
		pgp_verdict_fail(&o->verdict, "the signature is malformed");
	else
		rc = run_verify(
		    o, buf_slice(&signature), &shape->children[0], err);
	if (reason.text[0] != '\0')
		work_note(o->answer, "pgp signature: %s", reason.text);
	if (rc == 0 && o->verdict.kind == VERDICT_PASS)
		rc = copy_payload(o, &shape->children[0], err);
	buf_clear(&signature);
	return rc;
}

/* ---- an encrypted root ---- */

static const struct shape_child *
sealed_part(const struct shape *shape)
{
	return &shape->children[shape->kind == SHAPE_PGP_MIXED_UP ? 2 : 1];
}

static int
read_armored(const struct opening *o, const struct shape *shape,
    struct buf *text, struct err *err)
{
	const struct shape_child *part;

	if (shape->kind == SHAPE_PGP_INLINE)
		return read_part(&o->current, 0, shape->body_start,
		    shape->body_end, text, err);
	part = sealed_part(shape);
	return read_part(&o->current, part->start, part->body_start,
	    part->body_end, text, err);
}

/*
 * Bare CR and LF, which no hop takes, become CR LF, and a NUL goes: now, so
 * that the reader finds the parts that are judged here and no others.
 */
static int
write_lines(const struct content *content, uint64_t size,
    const struct sink *sink, struct err *err)
{
	struct line_sink lines;
	struct sink in = sink_of_lines(&lines);

	line_sink_init(&lines, *sink);
	if (sink_range(&in, content, 0, size, err) == -1)
		return -1;
	return line_sink_finish(&lines, err);
}

/*
 * What inline PGP held is text, and nothing that was encrypted is ever shown
 * as HTML with what was not (EFAIL).  Also for an entity without a header.
 */
static const char text_header[] = "Content-Type: text/plain; charset=utf-8\r\n"
				  "Content-Transfer-Encoding: 8bit\r\n\r\n";

/* Looked at as it will go on: many write it with the line ends of Unix. */
static bool
has_content_type(const struct content *plain)
{
	const uint64_t size =
	    plain->size > HEADER_SIZE_MAX ? HEADER_SIZE_MAX : plain->size;
	struct header h;
	struct buf text;
	const struct sink sink = sink_of_buf(&text);
	bool has = false;

	/* Each line end may become two octets. */
	buf_init(&text, 2 * HEADER_SIZE_MAX + 2);
	header_init(&h, 0);
	if (write_lines(plain, size, &sink, NULL) == 0 &&
	    header_read(&h, buf_slice(&text)) == PARSE_OK)
		has = header_count(&h, HDR_CONTENT_TYPE) == 1 &&
		      h.end != HEADER_END_NOT_A_FIELD;
	header_clear(&h);
	buf_clear(&text);
	return has;
}

/* From what gpg wrote to a MIME entity that can go on its way. */
static int
make_entity(struct opening *o, const struct content *plain, bool is_inline,
    struct err *err)
{
	struct content_writer *stage = new_stage(o, err);
	struct sink sink;

	if (stage == NULL)
		return -1;
	sink = sink_of_writer(stage);
	if ((is_inline || !has_content_type(plain)) &&
	    sink_text(&sink, text_header, err) == -1)
		return -1;
	if (write_lines(plain, plain->size, &sink, err) == -1 ||
	    content_writer_finish(stage, &o->entity) == -1)
		return -1;
	o->current = o->entity;
	o->payload = o->entity;
	o->has_payload = !is_inline;
	o->is_opened = true;
	o->layers++;
	return 0;
}

static enum pgp_decrypted
open_root(struct opening *o, const struct shape *shape, struct err *err)
{
	struct content_writer *stage = new_stage(o, err);
	enum pgp_decrypted result = PGP_DECRYPT_UNTRIED;
	struct content plain;
	struct buf text;

	if (stage == NULL)
		return PGP_DECRYPT_TEMPORARY;
	buf_init(&text, PGP_OPEN_MAX);
	if (read_armored(o, shape, &text, err) == 0)
		result = pgp_decrypt(o->context, o->work, buf_slice(&text),
		    stage, &o->verdict, err);
	else if (!text.overflowed)
		result = PGP_DECRYPT_TEMPORARY;
	buf_clear(&text);
	if (result != PGP_DECRYPT_DONE)
		return result;
	if (content_writer_finish(stage, &plain) == -1 ||
	    make_entity(o, &plain, shape->kind == SHAPE_PGP_INLINE, err) == -1)
		return PGP_DECRYPT_TEMPORARY;
	return PGP_DECRYPT_DONE;
}

/* ---- layer by layer ---- */

static bool
is_sealed(const struct opening *o, const struct shape *shape)
{
	char edge[64];
	ssize_t n;

	if (shape->kind != SHAPE_PGP_INLINE)
		return shape->kind == SHAPE_PGP_ENCRYPTED ||
		       shape->kind == SHAPE_PGP_MIXED_UP;
	/* A cleartext signature is text, and stays what it is. */
	n = content_read(&o->current, shape->body_start, edge, sizeof(edge));
	return n <= 0 || memmem(edge, (size_t)n, "SIGNED MESSAGE", 14) == NULL;
}

/* -1: TEMPORARY. */
static int
open_layers(struct opening *o, struct shape *shape_r, struct err *err)
{
	for (;;) {
		struct err reason = {""};
		enum pgp_decrypted result;

		if (shape_read(&o->current, shape_r, err) == -1)
			return -1;
		o->is_ambiguous |= shape_r->is_ambiguous;
		if (shape_r->kind == SHAPE_PGP_SIGNED)
			return verify_root(o, shape_r, err);
		if (!is_sealed(o, shape_r) || o->layers >= LAYERS_MAX)
			return 0;
		result = open_root(o, shape_r, &reason);
		o->uses_secret |= result != PGP_DECRYPT_UNTRIED;
		if (result == PGP_DECRYPT_TEMPORARY)
			return err_set(err, "%s", reason.text);
		if (result != PGP_DECRYPT_DONE) {
			o->verdict.kind = VERDICT_UNDECRYPTABLE;
			o->verdict.is_encrypted = true;
			work_note(
			    o->answer, "pgp not decrypted: %s", reason.text);
			return 0;
		}
	}
}

/* ---- the answer ---- */

static void
judge_shape(struct opening *o)
{
	if (!o->is_ambiguous || o->verdict.kind != VERDICT_PASS)
		return;
	o->verdict.kind = VERDICT_PARTIAL;
	(void)snprintf(o->verdict.reason, sizeof(o->verdict.reason), "%s",
	    SHAPE_AMBIGUOUS_TEXT);
	o->has_payload = false;
}

static void
judge_from(struct opening *o)
{
	if (o->has_payload &&
	    delivery_from_differs(&o->work->content, &o->payload) &&
	    o->verdict.is_signed) {
		o->verdict.kind =
		    verdict_worse(o->verdict.kind, VERDICT_MISMATCH);
		o->verdict.matches_from = false;
		(void)snprintf(o->verdict.reason, sizeof(o->verdict.reason),
		    "a protected From differs");
	}
}

static int
write_output(struct opening *o, struct err *err)
{
	const struct sink sink = sink_of_writer(&o->answer->output);
	const struct delivery delivery = {.message = &o->work->content,
	    .entity = o->is_opened ? &o->entity : NULL,
	    .payload = o->has_payload ? &o->payload : NULL,
	    .verdict = &o->verdict,
	    .authserv_id = o->work->authserv_id,
	    .removals = o->work->removals,
	    .is_later_step = work_fact(o->work, FACT_VERDICT).n > 0,
	    .writes_tag =
		slice_equals(work_fact(o->work, FACT_TAGS), SLICE("on"))};

	return delivery_write(&delivery, &sink, err);
}

/* OpenPGP that is still there was verified, or stays closed. */
static enum shape_kind
left_for_others(enum shape_kind kind)
{
	return kind == SHAPE_PGP_SIGNED || kind == SHAPE_PGP_ENCRYPTED ||
		       kind == SHAPE_PGP_MIXED_UP || kind == SHAPE_PGP_INLINE
		   ? SHAPE_PLAIN
		   : kind;
}

static void
tell(struct opening *o, const struct shape *shape)
{
	struct work_answer *answer = o->answer;

	answer->applied |= APPLIED_VERIFIED;
	if (o->is_opened)
		answer->applied |= APPLIED_DECRYPTED;
	work_answer_fact(answer, FACT_LAYERS, "%u", o->layers);
	work_answer_fact(
	    answer, FACT_VERDICT, "%s", verdict_text(o->verdict.kind));
	if (o->verdict.cipher[0] != '\0')
		work_answer_fact(answer, FACT_CIPHER, "%s", o->verdict.cipher);
	if (o->verdict.signer[0] != '\0')
		work_answer_fact(answer, FACT_SIGNER, "%s", o->verdict.signer);
	if (o->is_malleable)
		work_answer_fact(answer, FACT_INTEGRITY, "none");
	if (o->uses_secret)
		work_answer_fact(answer, FACT_SECRET, "used");
	work_answer_fact(
	    answer, FACT_SHAPE, "%s", shape_text(left_for_others(shape->kind)));
	work_note(answer, "pgp %s%s%s", verdict_text(o->verdict.kind),
	    o->is_opened ? ", decrypted" : "",
	    o->verdict.is_signed ? ", signed" : "");
}

static bool
is_suspicious(const struct opening *o)
{
	return o->is_malleable && o->verdict.is_signed &&
	       !pgp_verdict_fits(o->verdict.kind);
}

/* Layers are opened, and there is a verdict.  -1: TEMPORARY. */
static int
answer_done(struct opening *o, const struct shape *shape, struct err *err)
{
	struct work_answer *answer = o->answer;

	if (is_suspicious(o)) {
		tell(o, shape);
		work_refuse(answer, SIGNED_HOLD, "5.7.7",
		    "its OpenPGP signature does not fit, within encryption "
		    "that does not show changes: perhaps an attack on it");
		return 0;
	}
	if (write_output(o, err) == -1)
		return -1;
	tell(o, shape);
	pgp_harvest(&o->current, &o->work->content, o->work->sender, answer);
	answer->outcome = SIGNED_DONE;
	return 0;
}

/* Layers opened by an earlier step. */
static unsigned
layers_before(const struct work *work)
{
	uint64_t layers = 0;

	(void)slice_to_u64(work_fact(work, FACT_LAYERS), &layers);
	return layers > LAYERS_MAX ? LAYERS_MAX : (unsigned)layers;
}

void
work_pgp_open(struct worker_context *context, const struct work *work,
    struct work_answer *answer)
{
	struct opening o = {.context = context,
	    .work = work,
	    .answer = answer,
	    .verdict = {.kind = VERDICT_NONE, .method = VERDICT_PGP},
	    .layers = layers_before(work),
	    .is_malleable =
		slice_equals(work_fact(work, FACT_INTEGRITY), SLICE("none")),
	    .current = work->content};
	struct shape shape;
	struct err err = {""};
	int rc;

	o.has_list_id = message_has_list_id(&work->content);
	rc = open_layers(&o, &shape, &err);
	if (rc == 0) {
		o.verdict.layers = o.layers;
		judge_shape(&o);
		judge_from(&o);
		rc = answer_done(&o, &shape, &err);
	}
	if (rc == -1)
		work_refuse(
		    answer, SIGNED_TEMPORARY, "4.3.0", "OpenPGP: %s", err.text);
	clear_stages(&o);
}
