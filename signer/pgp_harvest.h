/* SPDX-License-Identifier: ISC */
/*
 * Public keys that a message brings along: parts of type application/pgp-keys
 * and the Autocrypt field.  Not read by GnuPG here; a `key` worker does.
 */
#ifndef SIGNER_PGP_HARVEST_H
#define SIGNER_PGP_HARVEST_H

#include "signer/work.h"

/*
 * Adds records for keys of that sender: from the opened content, and from the
 * header of the message as it came.
 */
void pgp_harvest(const struct content *opened, const struct content *message,
    struct slice sender, struct work_answer *answer);

#endif
