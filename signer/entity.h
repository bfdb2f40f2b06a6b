/* SPDX-License-Identifier: ISC */
/*
 * A message of a sender of ours, taken apart to be protected: the MIME entity
 * that is signed or encrypted, and the header fields that stay outside.  For
 * S/MIME and OpenPGP alike:
 *
 *	struct entity *e;
 *
 *	entity_open(&message, removals, &e, &err);
 *	entity_write_outer(e, &wishes, &out, &err);   all but Content-*
 *	...  MIME-Version and Content-Type of the protected root, blank line
 *	entity_write(e, &wishes, &digest_or_cipher, &err);
 */
#ifndef SIGNER_ENTITY_H
#define SIGNER_ENTITY_H

#include "common/ipc.h"
#include "signer/content.h"
#include "signer/shape.h"
#include "signer/sink.h"

/* 128 random bits in hexadecimal and a prefix, with a NUL. */
#define ENTITY_BOUNDARY_SIZE 48

struct entity;

/* How the message leaves. */
struct entity_wishes {
	bool is_encrypted;     /* not signed alone */
	bool protects_headers; /* RFC 9788 */
	bool obscures_subject; /* outside it is "[...]"; when encrypted */
	bool displays_subject; /* then it is in the text (legacy_display.h) */
};

/*
 * removals: facts {"subject", words} and {"header", name}: what triggered and
 * is taken out, everywhere it would be written.  The message must outlive the
 * entity.  -1 when it cannot be read.
 */
int entity_open(const struct content *message, struct ipc_list removals,
    struct entity **entity_r, struct err *err);
void entity_close(struct entity *entity);

const struct shape *entity_shape(const struct entity *entity);

/*
 * False: octets over 127 or long lines stay in it, so that it may only travel
 * inside base64 and no multipart/signed is to be made of it.
 */
bool entity_is_7bit(struct entity *entity, const struct entity_wishes *wishes);

/*
 * The canonical entity: Content-* fields, with header protection also the
 * others, blank line, body.  A root that is signed already (shape_is_signed)
 * is written as it came, octet by octet; when the Subject is obscured it stands
 * in front of that, in the header that the signature does not cover.
 */
int entity_write(struct entity *entity, const struct entity_wishes *wishes,
    const struct sink *sink, struct err *err);

/*
 * The fields of the message that stay outside, in their order: all but
 * Content-* and MIME-Version, which the caller writes anew.
 */
int entity_write_outer(struct entity *entity,
    const struct entity_wishes *wishes, const struct sink *sink,
    struct err *err);

/*
 * The whole message, nothing done to it but what triggered taken out.  For
 * what is not protected, or was by its sender.
 */
int entity_write_message(
    struct entity *entity, const struct sink *sink, struct err *err);

/* A new delimiter for a multipart; 128 random bits never occur by chance. */
void entity_boundary(char boundary_r[ENTITY_BOUNDARY_SIZE]);

#endif
