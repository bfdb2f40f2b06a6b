/* SPDX-License-Identifier: ISC */
/*
 * Verifies one CMS signature and says what it is worth: each step by itself
 * (octets, chain, revocation, identity), so that the verdict is ours and not
 * the first error of a library.
 */
#ifndef SIGNER_SMIME_VERIFY_H
#define SIGNER_SMIME_VERIFY_H

#include "signer/verdict.h"
#include "signer/work.h"

struct smime_verify {
	struct worker_context *context;
	const struct work *work;
	struct slice der;              /* the CMS */
	const struct content *message; /* detached: what holds the content */
	uint64_t start;                /* and where it stands in it */
	uint64_t end;
	bool is_opaque;    /* the content is inside the CMS */
	struct slice from; /* the one address in From; "": none */
	bool is_list_mail; /* went through a mailing list */
	bool is_ambiguous; /* others may see other parts (shape.h) */
	struct content_writer *inside_r; /* opaque: gets the content */
	struct work_answer *answer;      /* gets harvested certificates */
};

/*
 * Fills the verdict.  0, or -1 when our own trouble kept it from being found.
 * inside_r is empty unless the signature fits its octets.
 */
int smime_verify(const struct smime_verify *task, struct verdict *verdict_r,
    bool *fits_r, struct err *err);

#endif
