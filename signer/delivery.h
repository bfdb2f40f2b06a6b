/* SPDX-License-Identifier: ISC */
/*
 * A message that came in, as it goes on: forged fields and subject tags out,
 * the decrypted entity in place of its root, our verdict on top.  For S/MIME
 * and OpenPGP alike.
 */
#ifndef SIGNER_DELIVERY_H
#define SIGNER_DELIVERY_H

#include "common/ipc.h"
#include "signer/content.h"
#include "signer/sink.h"
#include "signer/verdict.h"

struct delivery {
	const struct content *message; /* as it came */
	/* What replaces its root: an entity that was encrypted, or NULL. */
	const struct content *entity;
	/*
	 * Where protected headers (RFC 9788) stand, an entity whose signature
	 * or encryption is sound, or NULL: the payload of multipart/signed or
	 * the entity itself.
	 */
	const struct content *payload;
	/* Written unless NULL: verdict_write(). */
	const struct verdict *verdict;
	struct slice authserv_id;
	/* {"subject", tag} and {"header", name}; see entity.h. */
	struct ipc_list removals;
	/* An earlier step wrote a verdict: no field outside is forged now. */
	bool is_later_step;
	/* The Subject gets the tag of the verdict (policy_tag_texts). */
	bool writes_tag;
};

/*
 * The names under which a step tells the next one, and the broker, of what it
 * did: facts of a work and of its answer.
 */
#define FACT_LAYERS "layers"   /* opened so far, decimal */
#define FACT_VERDICT "verdict" /* verdict_text() */
#define FACT_CIPHER "cipher"
#define FACT_SIGNER "signer" /* address */
/* shape_text(): what is left at the root for the other method, or plain. */
#define FACT_SHAPE "shape"
#define FACT_TAGS "tags" /* of a work: "on" when Subjects get tags */
/* "none": some encryption around it does not show changes. */
#define FACT_INTEGRITY "integrity"
/*
 * "used": a private key was, whatever came of it.  What depends on that is no
 * sender's to know: from such answers ciphertexts have been read (RFC 3218).
 */
#define FACT_SECRET "secret"
/*
 * Of a work: nothing is opened, and only what is forged is taken out.
 *	large     there is too much of it to be looked into
 *	altered   held: what a later step saw in it looks like an attack
 */
#define FACT_CLOSED "closed"
#define CLOSED_LARGE "large"
#define CLOSED_ALTERED "altered"

/* The whole message.  -1 and err when something cannot be read or written. */
int delivery_write(
    const struct delivery *delivery, const struct sink *sink, struct err *err);

/*
 * True when the payload has protected headers with a From that names another
 * address than the message's own: then a signature is a mismatch.
 */
bool delivery_from_differs(
    const struct content *message, const struct content *payload);

#endif
