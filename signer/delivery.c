/* SPDX-License-Identifier: ISC */
/*
 * Puts a message together again after it was opened.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the message; of what
 * was inside, only the fields that RFC 9788 has there for the reader.
 */
#include <string.h>

#include "common/forged_field.h"
#include "common/from_header.h"
#include "common/mime_value.h"
#include "common/policy.h"
#include "signer/canon.h"
#include "signer/delivery.h"
#include "signer/line_sink.h"
#include "signer/removals.h"

#define READ_OCTETS 16384
#define FIELD_MAX HEADER_SIZE_MAX

/*
 * What a reader sees of a protected header.  Not From, which policy went by,
 * and not Message-ID, by which mail is traced.
 */
static const enum header_name protected_names[] = {HDR_SUBJECT, HDR_DATE,
    HDR_TO, HDR_CC, HDR_REPLY_TO, HDR_MAIL_REPLY_TO, HDR_MAIL_FOLLOWUP_TO,
    HDR_IN_REPLY_TO, HDR_REFERENCES};

#define PROTECTED_COUNT (sizeof(protected_names) / sizeof(protected_names[0]))

struct headers {
	struct header outer;
	struct header entity;
	struct header payload;
	bool has_protected;   /* payload holds protected fields */
	bool is_subject_only; /* in the form that came before RFC 9788 */
};

static int
read_header(
    const struct content *content, struct header *header, struct err *err)
{
	char piece[READ_OCTETS];
	uint64_t at = 0;
	int rc = PARSE_MORE;

	while (rc == PARSE_MORE && at < content->size) {
		ssize_t n = content_read(content, at, piece, sizeof(piece));

		if (n <= 0)
			return err_set(err, "cannot read a content");
		rc = header_feed(header, (struct slice){piece, (size_t)n});
		at += (uint64_t)n;
	}
	if (rc == PARSE_MORE)
		rc = header_finish(header);
	if (rc != PARSE_OK)
		return err_set(err, "%s", header_failure_text(header->failure));
	return 0;
}

static bool
has_param(const struct mime_value *value, const char *name, const char *text)
{
	struct buf b;
	bool is_equal;

	buf_init(&b, 64);
	is_equal = mime_value_param(value, name, &b) == 0 &&
		   slice_equals_nocase(buf_slice(&b), slice_of(text));
	buf_clear(&b);
	return is_equal;
}

/* RFC 9788 §2.1.1, and "protected-headers" of its drafts. */
static bool
is_protecting(const struct header *payload, bool *is_subject_only_r)
{
	const struct header_field *field =
	    header_first(payload, HDR_CONTENT_TYPE);
	struct mime_value value;

	*is_subject_only_r = false;
	if (field == NULL || header_count(payload, HDR_CONTENT_TYPE) > 1 ||
	    mime_value_parse(header_field_value(payload, field), &value) == -1)
		return false;
	if (has_param(&value, "hp", "cipher") ||
	    has_param(&value, "hp", "clear"))
		return true;
	*is_subject_only_r = true;
	return has_param(&value, "protected-headers", "v1");
}

bool
delivery_from_differs(
    const struct content *message, const struct content *payload)
{
	struct header outer, inner;
	struct from_header from_outer, from_inner;
	bool is_subject_only;
	bool differs = false;

	header_init(&outer, 0);
	header_init(&inner, 0);
	if (read_header(message, &outer, NULL) == 0 &&
	    read_header(payload, &inner, NULL) == 0 &&
	    is_protecting(&inner, &is_subject_only) &&
	    header_count(&inner, HDR_FROM) > 0)
		differs = from_header_check(&outer, true, &from_outer) == -1 ||
			  from_header_check(&inner, true, &from_inner) == -1 ||
			  !slice_equals_nocase(from_outer.mailbox.address,
			      from_inner.mailbox.address);
	header_clear(&outer);
	header_clear(&inner);
	return differs;
}

/* ---- fields ---- */

static bool
is_content_field(struct slice name)
{
	return slice_starts_nocase(name, "Content-") ||
	       slice_equals_nocase(name, SLICE("MIME-Version"));
}

/* What is inside settles the fields of that name. */
static bool
is_settled_inside(const struct headers *h, enum header_name name)
{
	if (!h->has_protected || (h->is_subject_only && name != HDR_SUBJECT))
		return false;
	for (size_t i = 0; i < PROTECTED_COUNT; i++)
		if (protected_names[i] == name)
			return true;
	return false;
}

/* The field inside that replaces those of that name outside, or NULL. */
static const struct header_field *
protected_field(const struct headers *h, enum header_name name)
{
	return is_settled_inside(h, name) ? header_first(&h->payload, name)
					  : NULL;
}

/*
 * RFC 9788 §4.8.1: fields that are outside alone nobody vouches for.  A
 * Reply-To or Cc that was put there would get an answer, with what it quotes,
 * and so would the Mail-Followup-To and Mail-Reply-To of mailing lists' mail;
 * and HP-Outer has a meaning inside alone (§2.2).
 */
static bool
is_intruder(const struct delivery *d, const struct headers *h,
    const struct header_field *field)
{
	if (slice_equals_nocase(
		header_field_name(&h->outer, field), SLICE("HP-Outer")))
		return h->has_protected || d->entity != NULL;
	return !h->is_subject_only &&
	       is_settled_inside(h, (enum header_name)field->name) &&
	       protected_field(h, (enum header_name)field->name) == NULL;
}

static const char *
tag_of(const struct verdict *v)
{
	if (v->is_signed && v->kind == VERDICT_PASS)
		return policy_tag_texts[POLICY_TAG_SIGNED];
	if (v->is_signed && v->kind == VERDICT_FAIL)
		return policy_tag_texts[POLICY_TAG_INVALID];
	return v->is_encrypted && v->kind != VERDICT_UNDECRYPTABLE
		   ? policy_tag_texts[POLICY_TAG_DECRYPTED]
		   : NULL;
}

static int
write_field(const struct sink *sink, struct slice field, struct err *err)
{
	if (sink_slice(sink, field, err) == -1)
		return -1;
	if (field.n >= 2 && memcmp(field.p + field.n - 2, "\r\n", 2) == 0)
		return 0;
	return sink_text(sink, "\r\n", err);
}

/*
 * The Subject: tags of others out, then perhaps ours in.  The one that an
 * earlier step left outside has ours, which stays unless this step has one.
 */
static int
write_subject(const struct delivery *d, const struct header *header,
    const struct header_field *subject, bool is_inner, const struct sink *sink,
    struct err *err)
{
	const char *tag =
	    d->writes_tag && d->verdict != NULL ? tag_of(d->verdict) : NULL;
	struct slice field = header_field_text(header, subject);
	struct slice value = header_field_value(header, subject);
	struct buf cleaned;
	int rc;

	if (d->is_later_step && !is_inner && tag == NULL)
		return write_field(sink, field, err);
	buf_init(&cleaned, FIELD_MAX);
	if (removals_clean_subject(d->removals, value, &cleaned)) {
		field = buf_slice(&cleaned);
		value = (struct slice){cleaned.p + sizeof("Subject:") - 1,
		    cleaned.n - (sizeof("Subject:") - 1)};
	}
	if (tag == NULL)
		rc = write_field(sink, field, err);
	else if (sink_text(sink, "Subject: ", err) == -1 ||
		 sink_text(sink, tag, err) == -1 ||
		 (value.n > 0 && *value.p != ' ' && *value.p != '\t' &&
		     *value.p != '\r' && sink_text(sink, " ", err) == -1))
		rc = -1;
	else
		rc = write_field(sink, value, err);
	buf_clear(&cleaned);
	return rc;
}

static int
write_one(const struct delivery *d, const struct header *header,
    const struct header_field *field, bool is_inner, const struct sink *sink,
    struct err *err)
{
	if (field->name == HDR_SUBJECT)
		return write_subject(d, header, field, is_inner, sink, err);
	return write_field(sink, header_field_text(header, field), err);
}

/* Lines that follow are folded; else the text would be several fields. */
static bool
is_one_field(const struct buf *text)
{
	for (size_t i = 0; i + 1 < text->n; i++)
		if (text->p[i] == '\n' && text->p[i + 1] != ' ' &&
		    text->p[i + 1] != '\t')
			return false;
	return text->n > 0;
}

/* A field that was inside: no one has looked at its line ends. */
static int
write_inner(const struct delivery *d, const struct headers *h,
    const struct header_field *field, const struct sink *sink, struct err *err)
{
	struct line_sink lines;
	struct sink in = sink_of_lines(&lines);
	struct buf text;
	struct sink unfolded = sink_of_buf(&text);
	int rc = -1;

	buf_init(&text, FIELD_MAX);
	line_sink_init(&lines, unfolded);
	if (write_one(d, &h->payload, field, true, &in, err) == 0 &&
	    line_sink_finish(&lines, err) == 0 && is_one_field(&text))
		rc = sink_slice(sink, buf_slice(&text), err);
	else if (text.n > 0)
		rc = 0; /* left out */
	buf_clear(&text);
	return rc;
}

static int
write_outer_field(const struct delivery *d, const struct headers *h,
    const struct header_field *field, const struct sink *sink, struct err *err)
{
	struct slice name = header_field_name(&h->outer, field);
	const struct header_field *inner =
	    protected_field(h, (enum header_name)field->name);

	if (d->entity != NULL && is_content_field(name))
		return 0;
	if (!d->is_later_step &&
	    forged_field(
		name, header_field_value(&h->outer, field), d->authserv_id))
		return 0;
	if (removals_name_field(d->removals, name) || is_intruder(d, h, field))
		return 0;
	if (inner == NULL)
		return write_one(d, &h->outer, field, false, sink, err);
	/* In place of the first; others of that name would contradict it. */
	if (field != header_first(&h->outer, (enum header_name)field->name))
		return 0;
	return write_inner(d, h, inner, sink, err);
}

/* Fields that are inside alone. */
static int
write_only_inner(const struct delivery *d, const struct headers *h,
    const struct sink *sink, struct err *err)
{
	for (size_t i = 0; i < PROTECTED_COUNT; i++) {
		const struct header_field *inner =
		    protected_field(h, protected_names[i]);

		if (inner != NULL &&
		    header_count(&h->outer, protected_names[i]) == 0 &&
		    write_inner(d, h, inner, sink, err) == -1)
			return -1;
	}
	return 0;
}

/*
 * The entity in the place of the root.  It comes out of encryption, so no one
 * has looked at it on the way: it becomes what SMTP may carry.
 */
static int
write_entity(const struct delivery *d, const struct headers *h,
    const struct sink *sink, struct err *err)
{
	struct canon *canon;
	struct line_sink lines;
	struct sink in = sink_of_lines(&lines);
	const char *encoding;
	int rc = -1;

	if (canon_new(d->entity, &canon, err) == -1)
		return -1;
	line_sink_init(&lines, *sink);
	encoding = canon_root_encoding(canon);
	if (sink_text(&in, "MIME-Version: 1.0\r\n", err) == -1 ||
	    (encoding != NULL &&
		(sink_text(&in, "Content-Transfer-Encoding: ", err) == -1 ||
		    sink_text(&in, encoding, err) == -1 ||
		    sink_text(&in, "\r\n", err) == -1)))
		goto out;
	for (size_t i = 0; i < h->entity.field_count; i++) {
		const struct header_field *field = &h->entity.fields[i];

		if (!slice_starts_nocase(
			header_field_name(&h->entity, field), "Content-") ||
		    (encoding != NULL &&
			field->name == HDR_CONTENT_TRANSFER_ENCODING))
			continue;
		if (write_field(
			&in, header_field_text(&h->entity, field), err) == -1)
			goto out;
	}
	if (sink_text(&in, "\r\n", err) == -1 ||
	    canon_write_body(canon, &in, err) == -1)
		goto out;
	rc = line_sink_finish(&lines, err);
out:
	canon_free(canon);
	return rc;
}

static int
write_verdict(
    const struct delivery *d, const struct sink *sink, struct err *err)
{
	struct buf text;
	int rc = -1;

	if (d->verdict == NULL)
		return 0;
	buf_init(&text, FIELD_MAX);
	if (verdict_write(d->verdict, d->authserv_id, &text) == -1)
		err_set(err, "a verdict is too long");
	else
		rc = sink_slice(sink, buf_slice(&text), err);
	buf_clear(&text);
	return rc;
}

static int
write_all(const struct delivery *d, const struct headers *h,
    const struct sink *sink, struct err *err)
{
	if (write_verdict(d, sink, err) == -1)
		return -1;
	for (size_t i = 0; i < h->outer.field_count; i++)
		if (write_outer_field(d, h, &h->outer.fields[i], sink, err) ==
		    -1)
			return -1;
	if (write_only_inner(d, h, sink, err) == -1)
		return -1;
	if (d->entity != NULL)
		return write_entity(d, h, sink, err);
	if (sink_text(sink, "\r\n", err) == -1)
		return -1;
	return sink_range(
	    sink, d->message, h->outer.body_offset, d->message->size, err);
}

int
delivery_write(
    const struct delivery *d, const struct sink *sink, struct err *err)
{
	struct headers h = {.has_protected = false};
	int rc = -1;

	header_init(&h.outer, 0);
	header_init(&h.entity, 0);
	header_init(&h.payload, 0);
	if (read_header(d->message, &h.outer, err) == -1 ||
	    (d->entity != NULL && read_header(d->entity, &h.entity, err) == -1))
		goto out;
	if (d->payload != NULL &&
	    read_header(d->payload, &h.payload, NULL) == 0)
		h.has_protected = is_protecting(&h.payload, &h.is_subject_only);
	rc = write_all(d, &h, sink, err);
out:
	header_clear(&h.outer);
	header_clear(&h.entity);
	header_clear(&h.payload);
	return rc;
}
