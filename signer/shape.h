/* SPDX-License-Identifier: ISC */
/*
 * What the root of a message is: plain, signed, encrypted, an invitation.
 * Only the root counts (RFC 9787: the cryptographic envelope); what is signed
 * or encrypted further below is seen but never opened.  Pure, and parses no
 * CMS and no OpenPGP: of both it looks at the first octets at most.  A bit
 * more is done for mail of our own (shape_sealed.h).
 */
#ifndef SIGNER_SHAPE_H
#define SIGNER_SHAPE_H

#include "common/header.h"
#include "common/mime.h"
#include "signer/content.h"

enum shape_kind {
	SHAPE_PLAIN,
	SHAPE_SMIME_SIGNED,    /* multipart/signed with a PKCS #7 signature */
	SHAPE_SMIME_OPAQUE,    /* pkcs7-mime that holds signed data */
	SHAPE_SMIME_ENCRYPTED, /* pkcs7-mime, enveloped in one way or other */
	SHAPE_SMIME_OTHER,     /* pkcs7-mime: certificates, compressed, junk */
	SHAPE_PGP_SIGNED,      /* multipart/signed with an OpenPGP signature */
	SHAPE_PGP_ENCRYPTED,   /* multipart/encrypted, with armor in it */
	SHAPE_PGP_MIXED_UP,    /* multipart/encrypted after Exchange */
	SHAPE_PGP_INLINE,      /* the whole body is one armored message */
	SHAPE_SIGNED_OTHER,    /* multipart/signed of another protocol */
	SHAPE_ENCRYPTED_OTHER, /* by label alone, or another protocol */
	SHAPE_KIND_COUNT
};

/* Parts below a multipart root that are looked at, for their places. */
#define SHAPE_CHILDREN_MAX 4

struct shape_child {
	uint64_t start; /* of its header */
	uint64_t body_start;
	uint64_t body_end; /* without the delimiter's CR LF */
	enum mime_encoding encoding;
	char type[2 * MIME_NAME_MAX + 2]; /* "application/pgp-encrypted" */
};

struct shape {
	enum shape_kind kind;
	bool is_calendar; /* an invitation or an answer to one */
	bool is_tnef;     /* winmail.dat */
	/* A signed or encrypted part that is not at the root. */
	bool has_errant_layer;
	/* Some readers find other fields or parts than we do. */
	bool is_ambiguous;
	bool is_sealed; /* shape_look_sealed() found nothing but ciphertext */
	enum mime_encoding encoding; /* of the root */
	uint64_t body_start;
	uint64_t body_end;
	size_t child_count; /* all of them, also beyond the table */
	struct shape_child children[SHAPE_CHILDREN_MAX];
};

#define SHAPE_AMBIGUOUS_TEXT "other readers may find other parts"

/* -1 when the message cannot be read. */
int shape_read(
    const struct content *message, struct shape *shape_r, struct err *err);

bool shape_is_signed(const struct shape *shape);
/*
 * By its kind, and sealed.  SHAPE_ENCRYPTED_OTHER is not: nobody knows what it
 * is.
 */
bool shape_is_encrypted(const struct shape *shape);

const char *shape_text(enum shape_kind kind);

#endif
