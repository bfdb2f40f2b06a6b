/* SPDX-License-Identifier: ISC */
/*
 * Makes signatures and ciphertexts that are forged, and asks what we say of
 * them.
 */
#ifndef TESTS_UNIT_SMIME_FORGE_H
#define TESTS_UNIT_SMIME_FORGE_H

#include <openssl/cms.h>
#include <openssl/evp.h>

#include "tests/unit/smime_world.h"

#define FORGE_MAIL_MAX ((size_t)4 * 1024 * 1024)
#define FORGE_FROM_ALICE "From: Alice <alice@example.org>\r\n"
#define FORGE_SIGNATURE_TYPE "application/pkcs7-signature; name=smime.p7s"

/* What is signed and encrypted: some lines of text with a header. */
extern const char forge_entity[];

struct forge_people {
	struct world_id *ca;
	struct world_id *alice;
	struct world_id *eve; /* of the same CA, with her own address */
	struct world_id *bob;
	struct keyring *ring;
};

struct forge_people forge_people_new(void);
void forge_people_free(struct forge_people *p);

/* ---- making ---- */

/*
 * Signed by one or two (second may be NULL), with flags of CMS_sign() and a
 * digest as the case wants them.
 */
void forge_sign(struct slice content, struct world_id *first,
    struct world_id *second, unsigned flags, const EVP_MD *digest,
    struct buf *der);
void forge_sign_at(struct slice content, struct world_id *first,
    struct world_id *second, unsigned flags, const EVP_MD *digest,
    int64_t time_s, struct buf *der);
void forge_encrypt(struct slice content, struct world_id *reader,
    const EVP_CIPHER *cipher, struct buf *der);
void forge_add_der(CMS_ContentInfo *cms, struct buf *out); /* frees it */

/* From Content-Type on; type is that of the signature's part. */
void forge_add_signed(
    struct buf *out, struct slice content, struct slice der, const char *type);
void forge_add_pkcs7(struct buf *out, struct slice der);

/* Alice's good signature below fields that the case gives. */
void forge_signed_mail(
    struct forge_people *p, const char *fields, struct buf *mail);
void forge_encrypted_mail(struct buf *mail, struct slice der);

/* ---- asking ---- */

struct forge_answer {
	enum sign_outcome outcome;
	char *text; /* to be freed; got points to it */
	struct slice got;
	char reason[512];
	unsigned harvested;
};

/* With the CA as anchor and Bob's key. */
struct forge_answer forge_open(struct forge_people *p, struct slice mail);

bool forge_has(struct slice text, const char *part);

/* The verdict, and that nothing is harvested unless it passes; resets mail. */
void forge_is_verdict(struct forge_people *p, struct buf *mail,
    const char *verdict, const char *label);

#endif
