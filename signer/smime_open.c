/* SPDX-License-Identifier: ISC */
/*
 * S/MIME of what came in: decrypts and verifies, layer by layer, as long as
 * each stands at the root of what the one before it held.  What is further
 * below is told (a part only), never opened: decrypted octets are never put
 * among octets of somebody else (EFAIL).
 *
 *	layer at the root         what is done
 *	encrypted                 decrypted, if a key of this recipient fits;
 *	                          goes on with what was in it
 *	signed, opaque or not     verified; if it fits, goes on with its content
 *	anything else             ends
 *
 * A signature that does not fit, inside of encryption that does not show
 * changes, is what an attack on that encryption looks like: the message is
 * held as it came, and nothing of what was in it gets out.  Whether a step
 * before this one went through such encryption, a fact of the work says; and
 * this step says it to the next one.
 *
 * A work may also ask to leave all of it closed (FACT_CLOSED), so that only
 * what is forged in its header goes.
 *
 * Runs in: postern-signerd's `open` workers.  Trusts: the task; nothing in the
 * message.
 */
#include <stdio.h>
#include <string.h>

#include "common/from_header.h"
#include "common/mime.h"
#include "common/mime_value.h"
#include "signer/canon_scan.h"
#include "signer/delivery.h"
#include "signer/line_sink.h"
#include "signer/shape.h"
#include "signer/smime.h"
#include "signer/smime_cert.h"
#include "signer/smime_decrypt.h"
#include "signer/smime_verify.h"
#include "signer/transfer.h"

#define LAYERS_MAX 4
/* OpenSSL reads a CMS as a whole, and needs it three times over. */
#define CMS_MAX ((size_t)64 * 1024 * 1024)
/* A detached signature with its certificates and lists. */
#define SIGNATURE_MAX ((size_t)1024 * 1024)

#define READ_OCTETS 16384

struct opener {
	struct worker_context *context;
	const struct work *work;
	struct work_answer *answer;
	struct header header;           /* of the message */
	char from[IPC_ADDRESS_MAX + 1]; /* its one address, or "" */
	struct verdict verdict;
	unsigned layers;
	struct content current; /* what stands at the root now */
	/* Contents that were made on the way; current points into one. */
	struct content_writer stages[2 * LAYERS_MAX];
	size_t stage_count;
	bool is_fresh;  /* current was decrypted and not looked at yet */
	bool is_opened; /* entity takes the place of the root */
	struct content entity;
	bool has_payload; /* of sound layers, with headers perhaps */
	struct content payload;
	bool is_malleable; /* some encryption does not show changes */
	bool uses_secret;  /* a private key was used, whatever came of it */
	bool is_closed;    /* it is not to be opened */
	bool is_ambiguous; /* others may see other parts or fields */
	bool is_held;
	enum shape_kind rest; /* what is left for others to open */
};

/* ---- contents ---- */

static struct content_writer *
new_stage(struct opener *o)
{
	struct content_writer *stage = &o->stages[o->stage_count++];

	if (o->stage_count > sizeof(o->stages) / sizeof(o->stages[0]))
		bug("more stages than layers");
	content_writer_init(stage, -1, o->work->output_limit);
	return stage;
}

/* A part of the current content, as a content of its own. */
static int
take_part(struct opener *o, uint64_t start, uint64_t end,
    struct content *part_r, struct err *err)
{
	struct content_writer *stage;
	struct sink sink;

	if (o->current.fd == -1) {
		*part_r = content_of((struct slice){
		    o->current.memory.p + start, (size_t)(end - start)});
		return 0;
	}
	stage = new_stage(o);
	sink = sink_of_writer(stage);
	if (sink_range(&sink, &o->current, start, end, err) == -1)
		return -1;
	return content_writer_finish(stage, part_r);
}

static int
read_header(const struct content *content, uint64_t start,
    struct header *header, struct err *err)
{
	char piece[READ_OCTETS];
	int rc = PARSE_MORE;

	while (rc == PARSE_MORE && start < content->size) {
		ssize_t n = content_read(content, start, piece, sizeof(piece));

		if (n <= 0)
			return err_set(err, "cannot read a content");
		rc = header_feed(header, (struct slice){piece, (size_t)n});
		start += (uint64_t)n;
	}
	if (rc == PARSE_MORE)
		rc = header_finish(header);
	if (rc != PARSE_OK)
		return err_set(err, "%s", header_failure_text(header->failure));
	return 0;
}

/* OTHER where it cannot be told, and then the octets are taken as they are. */
static enum mime_encoding
encoding_of(const struct header *header)
{
	const struct header_field *field =
	    header_first(header, HDR_CONTENT_TRANSFER_ENCODING);
	struct mime_value value;

	if (field == NULL ||
	    header_count(header, HDR_CONTENT_TRANSFER_ENCODING) > 1 ||
	    mime_value_parse(header_field_value(header, field), &value) == -1)
		return MIME_ENCODING_OTHER;
	if (slice_equals_nocase(value.type, SLICE("base64")))
		return MIME_ENCODING_BASE64;
	return slice_equals_nocase(value.type, SLICE("quoted-printable"))
		   ? MIME_ENCODING_QUOTED_PRINTABLE
		   : MIME_ENCODING_OTHER;
}

/* The decoded body of the part whose header starts there. */
static int
decode_part(const struct content *content, uint64_t start, uint64_t body_start,
    uint64_t body_end, struct buf *out, struct err *err)
{
	struct sink sink = sink_of_buf(out);
	struct header header;
	int rc;

	header_init(&header, 0);
	rc = read_header(content, start, &header, err);
	if (rc == 0)
		rc = transfer_decode(&sink, encoding_of(&header), content,
		    body_start, body_end, err);
	header_clear(&header);
	return rc;
}

/* ---- verdicts ---- */

static void
set_verdict(struct opener *o, enum verdict_kind kind, const char *reason)
{
	if (verdict_worse(o->verdict.kind, kind) == o->verdict.kind &&
	    o->verdict.reason[0] != '\0')
		return;
	o->verdict.kind = verdict_worse(o->verdict.kind, kind);
	(void)snprintf(o->verdict.reason, sizeof(o->verdict.reason), "%.*s",
	    (int)sizeof(o->verdict.reason) - 1, reason);
}

/* Of several signatures the innermost is described, and the worst counts. */
static void
add_verdict(struct opener *o, const struct verdict *v)
{
	struct verdict before = o->verdict;

	o->verdict = *v;
	o->verdict.is_encrypted = before.is_encrypted;
	o->verdict.has_integrity = before.has_integrity;
	memcpy(o->verdict.cipher, before.cipher, sizeof(before.cipher));
	if (before.is_signed) {
		o->verdict.matches_from &= before.matches_from;
		set_verdict(o, before.kind, before.reason);
	}
}

/* ---- one layer ---- */

static void
describe_cipher(struct opener *o, const struct der_facts *facts)
{
	struct verdict *v = &o->verdict;

	/* Of several the outermost is told; the weakest counts. */
	v->has_integrity =
	    facts->has_integrity && (v->has_integrity || !v->is_encrypted);
	if (!v->is_encrypted)
		(void)snprintf(
		    v->cipher, sizeof(v->cipher), "%s", facts->cipher);
	v->is_encrypted = true;
	o->is_malleable |= !facts->has_integrity;
}

/* 1: go on with what was in it; 0: it stays closed; -1: our own trouble. */
static int
open_encrypted(struct opener *o, const struct shape *shape, struct err *err)
{
	struct content_writer *plain = new_stage(o);
	struct der_facts facts = {.kind = DER_CMS_OTHER};
	enum smime_decrypted result;
	struct err reason = {""};
	struct buf der;

	buf_init(&der, CMS_MAX);
	if (decode_part(&o->current, 0, shape->body_start, shape->body_end,
		&der, &reason) == -1)
		result = SMIME_DECRYPT_REFUSED;
	else
		result = smime_decrypt(o->context, o->work, buf_slice(&der),
		    plain, &facts, &reason);
	buf_clear(&der);
	o->uses_secret |=
	    result == SMIME_DECRYPT_DONE || result == SMIME_DECRYPT_FAILED;
	switch (result) {
	case SMIME_DECRYPT_DONE:
		describe_cipher(o, &facts);
		o->layers++;
		o->is_opened = true;
		o->is_fresh = true;
		if (content_writer_finish(plain, &o->current) == -1)
			return err_set(err, "%s", plain->err.text);
		o->entity = o->current;
		o->payload = o->current;
		o->has_payload = true;
		return 1;
	case SMIME_DECRYPT_TEMPORARY:
		return err_set(err, "%s", reason.text);
	case SMIME_DECRYPT_NO_KEY:
		set_verdict(o, VERDICT_UNDECRYPTABLE,
		    "not encrypted to a key of this recipient");
		break;
	case SMIME_DECRYPT_REFUSED:
		set_verdict(o, VERDICT_UNDECRYPTABLE, reason.text);
		break;
	case SMIME_DECRYPT_FAILED:
		set_verdict(o, VERDICT_UNDECRYPTABLE, "it cannot be decrypted");
		break;
	}
	o->verdict.is_encrypted = true;
	return 0;
}

/* After a signature: 1: go on with its content; 0: that was it. */
static int
finish_signed(struct opener *o, const struct verdict *v, bool fits,
    const struct content *inside)
{
	add_verdict(o, v);
	if (!fits) {
		o->is_held = o->is_malleable;
		o->has_payload = false;
		return 0;
	}
	o->layers++;
	o->current = *inside;
	o->payload = *inside;
	o->has_payload = v->kind == VERDICT_PASS;
	return 1;
}

static int
fail_structure(struct opener *o, const char *reason)
{
	const struct content nothing = {.fd = -1};
	struct verdict v = {
	    .kind = VERDICT_FAIL, .method = VERDICT_SMIME, .is_signed = true};

	(void)snprintf(v.reason, sizeof(v.reason), "%s", reason);
	return finish_signed(o, &v, false, &nothing);
}

static bool
is_signature_part(const struct shape_child *child)
{
	return strcmp(child->type, "application/pkcs7-signature") == 0 ||
	       strcmp(child->type, "application/x-pkcs7-signature") == 0;
}

static struct smime_verify
verify_task(struct opener *o)
{
	return (struct smime_verify){
	    .context = o->context,
	    .work = o->work,
	    .message = &o->current,
	    .from = slice_of(o->from),
	    .is_ambiguous = o->is_ambiguous,
	    .is_list_mail = header_count(&o->header, HDR_LIST_ID) > 0,
	    .answer = o->answer,
	};
}

static int
open_signed(struct opener *o, const struct shape *shape, struct err *err)
{
	const struct shape_child *content = &shape->children[0];
	const struct shape_child *signature = &shape->children[1];
	struct verdict v = {.method = VERDICT_SMIME};
	struct smime_verify task = verify_task(o);
	struct content inside = {.fd = -1};
	bool fits = false;
	struct buf der;
	int rc = -1;

	if (shape->child_count != 2)
		return fail_structure(o, "a multipart/signed of other than "
					 "two parts");
	if (!is_signature_part(signature))
		return fail_structure(o, "the second part is not a signature");
	buf_init(&der, SIGNATURE_MAX);
	if (decode_part(&o->current, signature->start, signature->body_start,
		signature->body_end, &der, err) == -1) {
		rc = fail_structure(o, "the signature cannot be decoded");
		goto out;
	}
	task.der = buf_slice(&der);
	task.start = content->start;
	task.end = content->body_end;
	if (smime_verify(&task, &v, &fits, err) == -1 ||
	    (fits && take_part(o, task.start, task.end, &inside, err) == -1))
		goto out;
	rc = finish_signed(o, &v, fits, &inside);
out:
	buf_clear(&der);
	return rc;
}

static int
open_opaque(struct opener *o, const struct shape *shape, struct err *err)
{
	struct verdict v = {.method = VERDICT_SMIME};
	struct smime_verify task = verify_task(o);
	struct content inside = {.fd = -1};
	bool fits = false;
	struct buf der;
	int rc = -1;

	buf_init(&der, CMS_MAX);
	task.is_opaque = true;
	task.inside_r = new_stage(o);
	if (decode_part(&o->current, 0, shape->body_start, shape->body_end,
		&der, err) == -1) {
		rc = fail_structure(o, "the signature cannot be decoded");
		goto out;
	}
	task.der = buf_slice(&der);
	if (smime_verify(&task, &v, &fits, err) == -1)
		goto out;
	if (fits && content_writer_finish(task.inside_r, &inside) == -1) {
		err_set(err, "%s", task.inside_r->err.text);
		goto out;
	}
	rc = finish_signed(o, &v, fits, &inside);
out:
	buf_clear(&der);
	return rc;
}

/* ---- all layers ---- */

/* What the last layer holds, or the message has without any. */
static void
look_at_rest(struct opener *o, const struct shape *shape)
{
	/* Behind a signature that stays, others cannot open it in its place. */
	bool is_root = !o->verdict.is_signed;

	o->rest = shape->kind == SHAPE_PGP_ENCRYPTED ||
			  shape->kind == SHAPE_PGP_SIGNED ||
			  shape->kind == SHAPE_PGP_MIXED_UP ||
			  shape->kind == SHAPE_PGP_INLINE
		      ? shape->kind
		      : SHAPE_PLAIN;
	if (!is_root)
		o->rest = SHAPE_PLAIN;
	if (shape->has_errant_layer) {
		o->verdict.is_signed = true;
		set_verdict(o, VERDICT_PARTIAL,
		    "only a part of the message is signed or encrypted");
	}
}

/*
 * What was encrypted goes on with clean line ends.  A reader must find no
 * other fields and parts in it than those that are judged here, so they are
 * made before, but within leaves, which are encoded instead (canon.h).
 */
static int
clean_lines(struct opener *o, struct shape *shape, struct err *err)
{
	const uint64_t end =
	    shape->kind == SHAPE_PLAIN ? shape->body_start : o->current.size;
	struct content_writer *stage;
	struct canon_facts facts;
	struct line_sink lines;
	struct sink in = sink_of_lines(&lines);

	if (!o->is_fresh)
		return 0;
	o->is_fresh = false;
	if (canon_scan(&o->current, 0, end, &facts, err) == -1)
		return -1;
	if (!facts.has_bare && !facts.has_nul)
		return 0;
	stage = new_stage(o);
	line_sink_init(&lines, sink_of_writer(stage));
	if (sink_range(&in, &o->current, 0, o->current.size, err) == -1 ||
	    line_sink_finish(&lines, err) == -1 ||
	    content_writer_finish(stage, &o->current) == -1)
		return -1;
	o->entity = o->current;
	o->payload = o->current;
	return shape_read(&o->current, shape, err);
}

static int
open_layers(struct opener *o, struct err *err)
{
	struct shape shape;
	int more = 1;

	while (more == 1) {
		if (shape_read(&o->current, &shape, err) == -1 ||
		    clean_lines(o, &shape, err) == -1)
			return -1;
		o->is_ambiguous |= shape.is_ambiguous;
		if (o->layers >= LAYERS_MAX) {
			set_verdict(
			    o, VERDICT_PARTIAL, "more layers than are opened");
			return 0;
		}
		switch (shape.kind) {
		case SHAPE_SMIME_ENCRYPTED:
			more = open_encrypted(o, &shape, err);
			break;
		case SHAPE_SMIME_SIGNED:
			more = open_signed(o, &shape, err);
			break;
		case SHAPE_SMIME_OPAQUE:
			more = open_opaque(o, &shape, err);
			break;
		default:
			look_at_rest(o, &shape);
			return 0;
		}
	}
	return more;
}

/* ---- the answer ---- */

static void
read_from(struct opener *o)
{
	struct from_header from;

	o->from[0] = '\0';
	if (from_header_check(&o->header, true, &from) == 0)
		(void)slice_copy(
		    from.mailbox.address, o->from, sizeof(o->from));
}

/* RFC 9788 §4.4: what is inside may not be from somebody else. */
static void
judge_from(struct opener *o)
{
	if (!o->has_payload || !o->verdict.is_signed ||
	    !delivery_from_differs(&o->work->content, &o->payload))
		return;
	o->verdict.matches_from = false;
	set_verdict(o, VERDICT_MISMATCH, "a protected From differs");
}

static bool
has_anything_to_say(const struct opener *o)
{
	return o->verdict.is_signed || o->verdict.is_encrypted ||
	       o->verdict.kind != VERDICT_NONE;
}

static int
write_output(struct opener *o, struct err *err)
{
	const struct sink sink = sink_of_writer(&o->answer->output);
	bool is_whole = o->is_opened && !o->is_held;
	const struct delivery delivery = {
	    .message = &o->work->content,
	    .entity = is_whole ? &o->entity : NULL,
	    .payload = o->has_payload && !o->is_held ? &o->payload : NULL,
	    .verdict = has_anything_to_say(o) ? &o->verdict : NULL,
	    .authserv_id = o->work->authserv_id,
	    .removals = o->work->removals,
	    .is_later_step = work_fact(o->work, FACT_VERDICT).n > 0,
	    .writes_tag =
		slice_equals(work_fact(o->work, FACT_TAGS), SLICE("on")),
	};

	return delivery_write(&delivery, &sink, err);
}

static void
tell(struct opener *o)
{
	struct work_answer *answer = o->answer;
	const struct verdict *v = &o->verdict;

	work_answer_fact(answer, FACT_LAYERS, "%u", o->layers);
	work_answer_fact(answer, FACT_VERDICT, "%s", verdict_text(v->kind));
	work_answer_fact(answer, FACT_SHAPE, "%s", shape_text(o->rest));
	if (v->cipher[0] != '\0')
		work_answer_fact(answer, FACT_CIPHER, "%s", v->cipher);
	if (v->signer[0] != '\0')
		work_answer_fact(answer, FACT_SIGNER, "%s", v->signer);
	if (o->is_malleable)
		work_answer_fact(answer, FACT_INTEGRITY, "none");
	if (o->uses_secret)
		work_answer_fact(answer, FACT_SECRET, "used");
	if (o->is_opened)
		work_note(answer, "smime decrypted %s", v->cipher);
	if (v->kind != VERDICT_NONE)
		work_note(answer, "smime %s%s%s%s%s", verdict_text(v->kind),
		    v->signer[0] != '\0' ? " by " : "", v->signer,
		    v->reason[0] != '\0' ? ": " : "", v->reason);
}

static void
answer_done(struct opener *o)
{
	struct work_answer *answer = o->answer;

	tell(o);
	if (o->is_held) {
		work_refuse(answer, SIGNED_HOLD, "5.7.7",
		    "its signature does not fit, within encryption that does "
		    "not show changes: perhaps an attack on it");
		return;
	}
	if (!o->is_closed)
		answer->applied |= APPLIED_VERIFIED;
	if (o->is_opened)
		answer->applied |= APPLIED_DECRYPTED;
	answer->outcome = SIGNED_DONE;
}

static unsigned
layers_before(const struct work *work)
{
	uint64_t layers = 0;

	(void)slice_to_u64(work_fact(work, FACT_LAYERS), &layers);
	return layers > LAYERS_MAX ? LAYERS_MAX : (unsigned)layers;
}

static bool
has_fact(const struct work *work, const char *name, const char *value)
{
	return slice_equals(work_fact(work, name), slice_of(value));
}

/* What there is to be said without a look into it. */
static void
stay_closed(struct opener *o)
{
	if (has_fact(o->work, FACT_CLOSED, CLOSED_LARGE)) {
		work_note(o->answer, "too large to be opened");
		return;
	}
	o->is_held = true;
	o->verdict.is_encrypted = true;
	o->verdict.is_signed = true;
	set_verdict(o, VERDICT_FAIL, "a signature within does not fit");
}

void
work_open(struct worker_context *context, const struct work *work,
    struct work_answer *answer)
{
	struct opener o = {
	    .context = context,
	    .work = work,
	    .answer = answer,
	    .verdict = {.kind = VERDICT_NONE, .method = VERDICT_SMIME},
	    .layers = layers_before(work),
	    .current = work->content,
	    .is_malleable = has_fact(work, FACT_INTEGRITY, "none"),
	    .is_closed = work_fact(work, FACT_CLOSED).n > 0,
	};
	struct err err = {""};

	if (context->certs == NULL)
		context->certs = smime_certs_new();
	header_init(&o.header, 0);
	if (read_header(&work->content, 0, &o.header, &err) == 0) {
		read_from(&o);
		if (o.is_closed)
			stay_closed(&o);
		if (o.is_closed || open_layers(&o, &err) == 0) {
			o.verdict.layers = o.layers;
			judge_from(&o);
			if (write_output(&o, &err) == 0)
				answer_done(&o);
		}
	} else if (o.header.failure != HEADER_FAILURE_NONE) {
		/* Our line on top may have made it so; it will not change. */
		work_refuse(answer, SIGNED_PERMANENT, "5.6.0",
		    "the message cannot be read: %s", err.text);
	}
	if (answer->outcome == SIGNED_TEMPORARY)
		work_refuse(
		    answer, SIGNED_TEMPORARY, "4.3.0", "S/MIME: %s", err.text);
	for (size_t i = 0; i < o.stage_count; i++)
		content_writer_clear(&o.stages[i]);
	header_clear(&o.header);
}
