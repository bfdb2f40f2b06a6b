/* SPDX-License-Identifier: ISC */
/*
 * Looks into what its sender encrypted.
 * Runs in: postern-signerd's broker and its workers, for mail of our own.
 * Trusts: nothing in the octets.
 */
#include <string.h>

#include "signer/der_walk.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_packets.h"
#include "signer/shape_sealed.h"
#include "signer/transfer.h"

#define SEALED_MAX ((size_t)64 << 20)
#define READ_OCTETS 65536
/* "Version: 1", and what stands before the first part or behind the last. */
#define EDGE_MAX ((size_t)1024)

/* What programs say to a reader who sees the source. */
static const char *const remarks[] = {
    "This is an OpenPGP/MIME encrypted message (RFC 2440 and 3156)",
    "This is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)",
    "This is an OpenPGP/MIME encrypted message (RFC 9580 and 3156)",
    "This is a multi-part message in MIME format.", NULL};

static struct slice
trim(struct slice s)
{
	while (s.n > 0 && memchr(" \t\r\n", s.p[0], 4) != NULL) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && memchr(" \t\r\n", s.p[s.n - 1], 4) != NULL)
		s.n--;
	return s;
}

/* Readers pass over other octets, and show them to nobody; here they count. */
static bool
is_base64_alone(const struct content *content, uint64_t start, uint64_t end)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char piece[READ_OCTETS];
	bool is_over = false;

	while (start < end) {
		const uint64_t left = end - start;
		const ssize_t n = content_read(content, start, piece,
		    left < sizeof(piece) ? (size_t)left : sizeof(piece));

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n; i++) {
			if (memchr(" \t\r\n", piece[i], 4) != NULL)
				continue;
			is_over |= piece[i] == '=';
			if (piece[i] != '=' &&
			    (is_over || memchr(digits, piece[i],
					    sizeof(digits) - 1) == NULL))
				return false;
		}
		start += (uint64_t)n;
	}
	return true;
}

static bool
decode(const struct content *message, enum mime_encoding encoding,
    uint64_t start, uint64_t end, struct buf *out)
{
	struct sink sink = sink_of_buf(out);

	return (encoding != MIME_ENCODING_BASE64 ||
		   is_base64_alone(message, start, end)) &&
	       transfer_decode(&sink, encoding, message, start, end, NULL) == 0;
}

/* ---- S/MIME ---- */

static bool
is_sealed_cms(const struct content *message, const struct shape *shape)
{
	struct der_facts facts;
	struct buf der;
	bool is_sealed;

	buf_init(&der, SEALED_MAX);
	is_sealed = decode(message, shape->encoding, shape->body_start,
			shape->body_end, &der) &&
		    der_walk(buf_slice(&der), &facts, NULL) == 0 &&
		    (facts.kind == DER_CMS_ENVELOPED ||
			facts.kind == DER_CMS_AUTH_ENVELOPED) &&
		    facts.recipients > 0;
	buf_clear(&der);
	return is_sealed;
}

/* ---- OpenPGP ---- */

/* Session keys, and then the encrypted data, to the end. */
static bool
are_sealed_packets(struct slice binary)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	size_t session_keys = 0;

	while (pgp_packet_next(&walk, &packet) == PARSE_OK)
		switch (packet.tag) {
		case PGP_TAG_PKESK:
		case PGP_TAG_SKESK:
			session_keys++;
			break;
		case PGP_TAG_MARKER:
		case PGP_TAG_PADDING:
			break;
		case PGP_TAG_SED:
		case PGP_TAG_SEIPD:
		case PGP_TAG_AEAD:
			return session_keys > 0 && walk.rest.n == 0;
		default:
			return false;
		}
	return false;
}

static bool
is_sealed_armor(const struct content *message, const struct shape_child *child)
{
	static const char armor[] = "-----BEGIN PGP MESSAGE-----";
	enum pgp_armor_kind kind;
	struct slice rest;
	struct buf text;
	struct buf binary;
	bool is_sealed;

	buf_init(&text, SEALED_MAX);
	buf_init(&binary, SEALED_MAX);
	is_sealed = decode(message, child->encoding, child->body_start,
			child->body_end, &text) &&
		    slice_starts_nocase(trim(buf_slice(&text)), armor) &&
		    pgp_armor_read(
			buf_slice(&text), &kind, &binary, &rest, NULL) == 0 &&
		    kind == PGP_ARMOR_MESSAGE && trim(rest).n == 0 &&
		    are_sealed_packets(buf_slice(&binary));
	buf_clear(&text);
	buf_clear(&binary);
	return is_sealed;
}

/* RFC 3156 §4: so much and nothing else. */
static bool
is_version(const struct content *message, const struct shape_child *child)
{
	struct buf text;
	bool is_good;

	buf_init(&text, EDGE_MAX);
	is_good =
	    strcmp(child->type, "application/pgp-encrypted") == 0 &&
	    child->body_end - child->body_start <= EDGE_MAX &&
	    decode(message, child->encoding, child->body_start, child->body_end,
		&text) &&
	    slice_equals_nocase(trim(buf_slice(&text)), SLICE("Version: 1"));
	buf_clear(&text);
	return is_good;
}

static bool
is_remark(struct slice line)
{
	size_t i = 0;

	while (remarks[i] != NULL && !slice_equals(line, slice_of(remarks[i])))
		i++;
	return line.n == 0 || remarks[i] != NULL;
}

/* Beside the parts: one delimiter, which is a single word, and remarks. */
static bool
is_silent(const struct content *message, uint64_t start, uint64_t end)
{
	char text[EDGE_MAX];
	struct slice rest = {text, (size_t)(end - start)};
	size_t delimiters = 0;

	if (end - start > sizeof(text) ||
	    content_read(message, start, text, rest.n) != (ssize_t)rest.n)
		return false;
	while (rest.n > 0) {
		const size_t n = slice_find(rest, '\n', 0);
		const struct slice line = trim((struct slice){rest.p, n});

		if (slice_starts_nocase(line, "--") &&
		    slice_find(line, ' ', 0) == line.n)
			delimiters++;
		else if (!is_remark(line))
			return false;
		if (n == rest.n)
			break;
		rest.p += n + 1;
		rest.n -= n + 1;
	}
	return delimiters <= 1;
}

/* The last two parts; one before them was seen to be empty. */
static bool
is_sealed_pgp(const struct content *message, const struct shape *shape)
{
	const struct shape_child *last;

	if (shape->child_count < 2 || shape->child_count > SHAPE_CHILDREN_MAX)
		return false;
	last = &shape->children[shape->child_count - 1];
	return strcmp(last->type, "application/octet-stream") == 0 &&
	       is_version(message, last - 1) &&
	       is_silent(
		   message, shape->body_start, shape->children[0].start) &&
	       is_silent(message, last->body_end, shape->body_end) &&
	       is_sealed_armor(message, last);
}

void
shape_look_sealed(const struct content *message, struct shape *shape)
{
	switch (shape->kind) {
	case SHAPE_SMIME_ENCRYPTED:
		shape->is_sealed = is_sealed_cms(message, shape);
		break;
	case SHAPE_PGP_ENCRYPTED:
	case SHAPE_PGP_MIXED_UP:
		shape->is_sealed = is_sealed_pgp(message, shape);
		break;
	default:
		shape->is_sealed = false;
		break;
	}
}
