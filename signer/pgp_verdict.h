/* SPDX-License-Identifier: ISC */
/*
 * What signatures that GnuPG checked are worth: our rules, not its "good".
 */
#ifndef SIGNER_PGP_VERDICT_H
#define SIGNER_PGP_VERDICT_H

#include <gpgme.h>

#include "signer/verdict.h"
#include "signer/work.h"

/*
 * Judges all signatures of a result by the candidates of the task: each has to
 * be sound, recent enough in its methods, and made by a key that is bound to
 * the one address in From.  The worst one counts.  has_list_id: a mailing list
 * may have changed the text.
 *
 * Fills kind, is_signed, matches_from, digest, signer, fingerprint, reason and
 * revocation; a verdict that was there is kept where it is worse.
 */
void pgp_verdict_judge(gpgme_verify_result_t result, const struct work *work,
    bool has_list_id, struct verdict *verdict);

/*
 * True when such a verdict shows that what was signed is what is there,
 * whoever signed it.
 */
bool pgp_verdict_fits(enum verdict_kind kind);

/* The signature is refused before anybody looked at its mathematics. */
void pgp_verdict_fail(struct verdict *verdict, const char *reason);

#endif
