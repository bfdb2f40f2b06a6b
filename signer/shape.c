/* SPDX-License-Identifier: ISC */
/*
 * Looks at the structure of a message and names its root.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/mime.h"
#include "common/mime_value.h"
#include "signer/shape.h"
#include "signer/transfer.h"

#define READ_OCTETS 65536
/* So much of a body tells whether it is armor from end to end. */
#define EDGE_OCTETS 512
/* Base64 of a CMS up to its type, with line ends and junk. */
#define CMS_SAMPLE 256

static const char *const shape_texts[SHAPE_KIND_COUNT] = {
    [SHAPE_PLAIN] = "plain",
    [SHAPE_SMIME_SIGNED] = "smime-signed",
    [SHAPE_SMIME_OPAQUE] = "smime-opaque",
    [SHAPE_SMIME_ENCRYPTED] = "smime-encrypted",
    [SHAPE_SMIME_OTHER] = "smime-other",
    [SHAPE_PGP_SIGNED] = "pgp-signed",
    [SHAPE_PGP_ENCRYPTED] = "pgp-encrypted",
    [SHAPE_PGP_MIXED_UP] = "pgp-mixed-up",
    [SHAPE_PGP_INLINE] = "pgp-inline",
    [SHAPE_SIGNED_OTHER] = "signed-other",
    [SHAPE_ENCRYPTED_OTHER] = "encrypted-other",
};

struct walk {
	struct shape shape;
	struct mime_part root;
	char protocol[64];                 /* of a multipart root, lower case */
	bool is_p7m;                       /* octet-stream by that name */
	uint32_t open[SHAPE_CHILDREN_MAX]; /* numbers of the children */
	/* Depth of an attached message that we are in; 0: none. */
	uint32_t attached_depth;
	bool has_layer; /* somewhere below the root */
};

const char *
shape_text(enum shape_kind kind)
{
	return shape_texts[kind];
}

bool
shape_is_signed(const struct shape *shape)
{
	return shape->kind == SHAPE_SMIME_SIGNED ||
	       shape->kind == SHAPE_SMIME_OPAQUE ||
	       shape->kind == SHAPE_PGP_SIGNED ||
	       shape->kind == SHAPE_SIGNED_OTHER;
}

bool
shape_is_encrypted(const struct shape *shape)
{
	return shape->is_sealed && (shape->kind == SHAPE_SMIME_ENCRYPTED ||
				       shape->kind == SHAPE_PGP_ENCRYPTED ||
				       shape->kind == SHAPE_PGP_MIXED_UP);
}

static bool
is_type(const struct mime_part *part, const char *type, const char *subtype)
{
	return strcmp(part->type, type) == 0 &&
	       strcmp(part->subtype, subtype) == 0;
}

static bool
is_pkcs7_mime(const struct mime_part *part)
{
	return is_type(part, "application", "pkcs7-mime") ||
	       is_type(part, "application", "x-pkcs7-mime");
}

/* Lower case; "" when there is none. */
static void
param_of(const struct header *h, enum header_name name, const char *param,
    char *out, size_t out_size)
{
	const struct header_field *field = header_first(h, name);
	struct mime_value value;
	struct buf text;

	out[0] = '\0';
	if (field == NULL ||
	    mime_value_parse(header_field_value(h, field), &value) == -1)
		return;
	buf_init(&text, out_size - 1);
	if (mime_value_param(&value, param, &text) == 0 &&
	    slice_copy(buf_slice(&text), out, out_size) == 0)
		for (char *c = out; *c != '\0'; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c - 'A' + 'a');
	buf_clear(&text);
}

static bool
ends_in_p7m(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && strcmp(name + n - 4, ".p7m") == 0;
}

static void
look_at_root(struct walk *w, const struct header *h)
{
	char name[128];

	/*
	 * With a blank before its colon a field ends the header for some, and
	 * so does a line of blanks: what follows they show as the text.
	 */
	w->shape.is_ambiguous |=
	    (h->quirks &
		(HEADER_QUIRK_SPACED_COLON | HEADER_QUIRK_BLANK_FOLD)) != 0;
	param_of(
	    h, HDR_CONTENT_TYPE, "protocol", w->protocol, sizeof(w->protocol));
	if (!is_type(&w->root, "application", "octet-stream"))
		return;
	param_of(h, HDR_CONTENT_TYPE, "name", name, sizeof(name));
	w->is_p7m = ends_in_p7m(name);
	param_of(h, HDR_CONTENT_DISPOSITION, "filename", name, sizeof(name));
	w->is_p7m |= ends_in_p7m(name);
}

/* PUBLISH is for information; all other methods await an answer. */
static void
look_at_calendar(struct walk *w, const struct header *h)
{
	char method[32];

	param_of(h, HDR_CONTENT_TYPE, "method", method, sizeof(method));
	if (method[0] != '\0' && strcmp(method, "publish") != 0)
		w->shape.is_calendar = true;
}

static void
add_child(struct walk *w, const struct mime_part *part)
{
	struct shape_child *child;

	if (w->shape.child_count < SHAPE_CHILDREN_MAX) {
		child = &w->shape.children[w->shape.child_count];
		w->open[w->shape.child_count] = part->number;
		child->start = part->start;
		child->body_start = part->body_start;
		child->encoding = part->encoding;
		(void)snprintf(child->type, sizeof(child->type), "%s/%s",
		    part->type, part->subtype);
	}
	w->shape.child_count++;
}

static void
on_begin(void *arg, const struct mime_part *part, const struct header *h)
{
	struct walk *w = arg;

	if (part->number == 0) {
		w->root = *part;
		w->shape.encoding = part->encoding;
		w->shape.body_start = part->body_start;
		look_at_root(w, h);
	}
	if (part->depth == 1 && w->root.kind == MIME_MULTIPART)
		add_child(w, part);
	if (w->attached_depth > 0)
		return;
	if (part->kind == MIME_MESSAGE)
		w->attached_depth = part->depth + 1;
	if (is_type(part, "text", "calendar"))
		look_at_calendar(w, h);
	if (is_type(part, "application", "ms-tnef"))
		w->shape.is_tnef = true;
	if (part->depth > 0 &&
	    (is_type(part, "multipart", "signed") ||
		is_type(part, "multipart", "encrypted") || is_pkcs7_mime(part)))
		w->has_layer = true;
}

static void
on_end(void *arg, const struct mime_part *part)
{
	struct walk *w = arg;

	if (part->number == 0)
		w->shape.body_end = part->body_end;
	for (size_t i = 0; i < SHAPE_CHILDREN_MAX; i++)
		if (part->number != 0 && w->open[i] == part->number)
			w->shape.children[i].body_end = part->body_end;
	if (w->attached_depth == part->depth + 1)
		w->attached_depth = 0;
}

static int
walk_parts(const struct content *message, struct walk *w, struct err *err)
{
	const struct mime_events events = {on_begin, on_end, w};
	struct mime *m = mime_new(&events);
	int rc = content_feed(message, m, err);

	mime_free(m);
	return rc;
}

/* ---- what CMS it is ---- */

static const unsigned char oid_pkcs7[] = {
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07};
static const unsigned char oid_auth_enveloped[] = {0x06, 0x0b, 0x2a, 0x86, 0x48,
    0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17};

#define PKCS7_SIGNED 2
#define PKCS7_ENVELOPED 3

/*
 * By the content type at the front of the CMS, not by what the label says
 * (smime-type is often wrong or missing).
 */
static enum shape_kind
cms_kind(const unsigned char *p, size_t n)
{
	size_t at = 2;

	/* SEQUENCE, a length in any of its forms. */
	if (n < 2 || p[0] != 0x30)
		return SHAPE_SMIME_OTHER;
	if (p[1] > 0x80 && p[1] <= 0x88)
		at += p[1] & 0x7f;
	if (n >= at + sizeof(oid_auth_enveloped) &&
	    memcmp(p + at, oid_auth_enveloped, sizeof(oid_auth_enveloped)) == 0)
		return SHAPE_SMIME_ENCRYPTED;
	if (n < at + sizeof(oid_pkcs7) + 1 ||
	    memcmp(p + at, oid_pkcs7, sizeof(oid_pkcs7)) != 0)
		return SHAPE_SMIME_OTHER;
	if (p[at + sizeof(oid_pkcs7)] == PKCS7_SIGNED)
		return SHAPE_SMIME_OPAQUE;
	return p[at + sizeof(oid_pkcs7)] == PKCS7_ENVELOPED
		   ? SHAPE_SMIME_ENCRYPTED
		   : SHAPE_SMIME_OTHER;
}

static enum shape_kind
pkcs7_kind(const struct content *message, const struct walk *w)
{
	uint64_t start = w->shape.body_start;
	uint64_t size = w->shape.body_end - start;
	enum shape_kind kind = SHAPE_SMIME_OTHER;
	struct buf sample;
	struct sink sink = sink_of_buf(&sample);

	if (size > CMS_SAMPLE)
		size = CMS_SAMPLE;
	buf_init(&sample, CMS_SAMPLE);
	if (transfer_decode(&sink, w->root.encoding, message, start,
		start + size, NULL) == 0)
		kind = cms_kind((const unsigned char *)sample.p, sample.n);
	buf_clear(&sample);
	return kind;
}

/* ---- OpenPGP ---- */

/* Armor of one message or cleartext signature, and nothing around it. */
static bool
is_inline_pgp(const struct content *message, const struct walk *w)
{
	char edge[EDGE_OCTETS];
	uint64_t size = w->shape.body_end - w->shape.body_start;
	size_t n = size < sizeof(edge) ? (size_t)size : sizeof(edge);
	struct slice s = {edge, n};

	if (w->root.encoding == MIME_ENCODING_BASE64 || n == 0 ||
	    content_read(message, w->shape.body_start, edge, n) != (ssize_t)n)
		return false;
	while (s.n > 0 && strchr(" \t\r\n", *s.p) != NULL && *s.p != '\0') {
		s.p++;
		s.n--;
	}
	if (!slice_starts_nocase(s, "-----BEGIN PGP MESSAGE-----") &&
	    !slice_starts_nocase(s, "-----BEGIN PGP SIGNED MESSAGE-----"))
		return false;
	if (content_read(message, w->shape.body_end - n, edge, n) != (ssize_t)n)
		return false;
	s = (struct slice){edge, n};
	while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) != NULL &&
	       s.p[s.n - 1] != '\0')
		s.n--;
	if (s.n > 27 &&
	    memcmp(s.p + s.n - 25, "-----END PGP MESSAGE-----", 25) == 0)
		return true;
	return s.n > 29 &&
	       memcmp(s.p + s.n - 27, "-----END PGP SIGNATURE-----", 27) == 0;
}

/*
 * Senders of ours could else write anything and call it encrypted.  As it is
 * when decoded: some programs put every attachment into base64.
 */
static bool
is_armored(const struct content *message, const struct shape_child *child)
{
	static const char armor[] = "-----BEGIN PGP MESSAGE-----";
	uint64_t size = child->body_end - child->body_start;
	struct buf edge;
	struct sink sink = sink_of_buf(&edge);
	bool is_found = false;
	size_t at = 0;

	if (size > EDGE_OCTETS)
		size = EDGE_OCTETS;
	buf_init(&edge, EDGE_OCTETS);
	if (transfer_decode(&sink, child->encoding, message, child->body_start,
		child->body_start + size, NULL) == 0) {
		while (
		    at < edge.n && (edge.p[at] == '\r' || edge.p[at] == '\n'))
			at++;
		is_found = edge.n - at >= sizeof(armor) - 1 &&
			   memcmp(edge.p + at, armor, sizeof(armor) - 1) == 0;
	}
	buf_clear(&edge);
	return is_found;
}

/* What Exchange makes of multipart/encrypted; exactly this, nothing like it. */
static bool
is_mixed_up(const struct content *message, const struct walk *w)
{
	const struct shape *s = &w->shape;

	if (s->child_count != 3 || !is_type(&w->root, "multipart", "mixed") ||
	    strcmp(s->children[0].type, "text/plain") != 0 ||
	    strcmp(s->children[1].type, "application/pgp-encrypted") != 0 ||
	    strcmp(s->children[2].type, "application/octet-stream") != 0)
		return false;
	for (uint64_t at = s->children[0].body_start;
	     at < s->children[0].body_end; at++) {
		char c;

		if (content_read(message, at, &c, 1) != 1 ||
		    (c != '\r' && c != '\n' && c != ' ') ||
		    at - s->children[0].body_start > EDGE_OCTETS)
			return false;
	}
	return is_armored(message, &s->children[2]);
}

/* The protocol decides; without one, the type of the part that it is in. */
static enum shape_kind
by_protocol(const struct walk *w, const char *child_type)
{
	const char *p = w->protocol[0] != '\0' ? w->protocol : child_type;

	if (strcmp(p, "application/pkcs7-signature") == 0 ||
	    strcmp(p, "application/x-pkcs7-signature") == 0)
		return SHAPE_SMIME_SIGNED;
	if (strcmp(p, "application/pgp-signature") == 0)
		return SHAPE_PGP_SIGNED;
	if (strcmp(p, "application/pgp-encrypted") == 0)
		return SHAPE_PGP_ENCRYPTED;
	return SHAPE_SIGNED_OTHER;
}

static enum shape_kind
kind_of(const struct content *message, const struct walk *w)
{
	enum shape_kind kind;

	if (is_type(&w->root, "multipart", "signed")) {
		kind = by_protocol(w, w->shape.children[1].type);
		return kind == SHAPE_PGP_ENCRYPTED ? SHAPE_SIGNED_OTHER : kind;
	}
	if (is_type(&w->root, "multipart", "encrypted")) {
		kind = by_protocol(w, w->shape.children[0].type);
		if (kind == SHAPE_PGP_ENCRYPTED && w->shape.child_count == 2 &&
		    is_armored(message, &w->shape.children[1]))
			return kind;
		return SHAPE_ENCRYPTED_OTHER;
	}
	if (is_pkcs7_mime(&w->root) || w->is_p7m) {
		kind = pkcs7_kind(message, w);
		return w->is_p7m && kind == SHAPE_SMIME_OTHER ? SHAPE_PLAIN
							      : kind;
	}
	if (is_mixed_up(message, w))
		return SHAPE_PGP_MIXED_UP;
	if (is_type(&w->root, "text", "plain") && is_inline_pgp(message, w))
		return SHAPE_PGP_INLINE;
	return SHAPE_PLAIN;
}

/* Lines that start like a delimiter, by any kind of line end; -1: no read. */
static int
count_delimiters(const struct content *message, uint64_t start, uint64_t end,
    size_t *count_r)
{
	char piece[READ_OCTETS];
	char before = '\n';
	bool is_first_dash = false;

	*count_r = 0;
	while (start < end) {
		const uint64_t left = end - start;
		ssize_t n = content_read(message, start, piece,
		    left < sizeof(piece) ? (size_t)left : sizeof(piece));

		if (n <= 0)
			return -1;
		for (ssize_t i = 0; i < n; i++) {
			*count_r += is_first_dash && piece[i] == '-';
			is_first_dash = piece[i] == '-' &&
					(before == '\n' || before == '\r');
			before = piece[i];
		}
		start += (uint64_t)n;
	}
	return 0;
}

/* The first and the last line of armor (RFC 9580 §6.2) begin with dashes. */
#define ARMOR_DELIMITERS 2

/*
 * Before the first part and behind the last there may be text, which nobody
 * shows, and in what is not signed of a signature as well.  With lines like
 * delimiters in it, another reading of the boundary (RFC 2046 §5.1.1 lets a
 * line go on behind it, RFC 2231 has it in pieces) makes parts of it, which
 * would be shown as if they were signed.
 */
static int
look_at_unsigned(const struct content *message, struct shape *shape)
{
	const struct shape_child *children = shape->children;
	const size_t own =
	    shape->kind == SHAPE_PGP_SIGNED ? ARMOR_DELIMITERS : 0;
	size_t before;
	size_t within;
	size_t behind;

	if ((shape->kind != SHAPE_SMIME_SIGNED &&
		shape->kind != SHAPE_PGP_SIGNED) ||
	    shape->child_count != 2)
		return 0;
	if (count_delimiters(
		message, shape->body_start, children[0].start, &before) == -1 ||
	    count_delimiters(message, children[1].start, children[1].body_end,
		&within) == -1 ||
	    count_delimiters(
		message, children[1].body_end, shape->body_end, &behind) == -1)
		return -1;
	shape->is_ambiguous |= before > 1 || within > own || behind > 1;
	return 0;
}

int
shape_read(
    const struct content *message, struct shape *shape_r, struct err *err)
{
	struct walk w = {.attached_depth = 0};

	if (walk_parts(message, &w, err) == -1)
		return -1;
	w.shape.kind = kind_of(message, &w);
	w.shape.has_errant_layer = w.has_layer && w.shape.kind == SHAPE_PLAIN;
	if (look_at_unsigned(message, &w.shape) == -1)
		return err_set(err, "cannot read a content");
	*shape_r = w.shape;
	return 0;
}
