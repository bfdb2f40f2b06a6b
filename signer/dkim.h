/* SPDX-License-Identifier: ISC */
/*
 * DKIM signatures (RFC 6376, RFC 8463): relaxed/relaxed, rsa-sha256 and
 * ed25519-sha256, over the fields that readers and replies depend on, each
 * named once more than it occurs, so that none can be added.
 *
 *	struct dkim_task *task = dkim_task_new(dkim, signers, count, now_s);
 *
 *	dkim_task_fields(task, message, &err);     what h= names
 *	...  dkim_task_size(task) octets are left free, the message is written
 *	dkim_task_sign(task, message, offset, &err);
 *	dkim_task_text(task)                       the fields, for that place
 *
 * A message that is not changed is signed in one go, without the place.
 */
#ifndef SIGNER_DKIM_H
#define SIGNER_DKIM_H

#include <openssl/evp.h>

#include "common/err.h"
#include "signer/content.h"

/* More signatures on one message help nobody. */
#define DKIM_SIGNERS_MAX 8

/* What OpenSSL gives for good: made once in a process. */
struct dkim;

struct dkim *dkim_new(void); /* ends the process when OpenSSL fails */
void dkim_free(struct dkim *dkim);

struct dkim_signer {
	struct slice domain;   /* A-labels */
	struct slice selector; /* likewise, may have dots */
	EVP_PKEY *key;         /* RSA of 1024 bits or more, or Ed25519 */
};

struct dkim_task;

/*
 * Takes over nothing; signers and their keys must outlive the task (the
 * array is copied).  NULL: a key that DKIM has no name for.
 */
struct dkim_task *dkim_task_new(struct dkim *dkim,
    const struct dkim_signer *signers, size_t count, int64_t now_s,
    struct err *err);
void dkim_task_free(struct dkim_task *task);

/*
 * Which fields are signed, by those that the message has.  Content-* and
 * MIME-Version are always named twice: they may yet change.  -1: a header that
 * readers could take for different ones is not signed.
 */
int dkim_task_fields(
    struct dkim_task *task, const struct content *message, struct err *err);

/* Octets of all signature fields, known before they are made. */
size_t dkim_task_size(const struct dkim_task *task);

/* Signs what begins at that offset of the content. */
int dkim_task_sign(struct dkim_task *task, const struct content *content,
    uint64_t offset, struct err *err);

/* The fields, first signer first, each with its CR LF; good until free. */
struct slice dkim_task_text(const struct dkim_task *task);

/* ---- the parts, for tests against the RFCs' examples ---- */

/*
 * The digest that is signed: the fields of the header that names (separated
 * by colons) selects, from the last of each name to the first, and then the
 * signature's own field with an empty b=.
 */
struct header;
int dkim_header_digest(struct dkim *dkim, const struct header *header,
    struct slice names, struct slice signature_value,
    unsigned char digest_r[static 32]);

#endif
