/* SPDX-License-Identifier: ISC */
/*
 * Keys of correspondents that postern-fetchd looks for: who is asked when, and
 * what an answer changes.  Lists of revoked certificates are crls.h's.
 */
#ifndef SIGNER_LOOKUP_H
#define SIGNER_LOOKUP_H

#include "common/channel.h"
#include "common/daemon.h"

struct crls;
struct lookup;
struct signerd;

struct lookup *lookup_new(struct signerd *signerd);
/* Before the link to fetchd goes. */
void lookup_free(struct lookup *lookup);

/*
 * No OpenPGP key of that address can be used.  Asks for one unless that was
 * done lately; true: an answer may still come, so the message is to wait.
 */
bool lookup_is_awaited(
    struct lookup *lookup, struct slice address, int64_t now_s);

/*
 * The address has a key from that source.  Asks again when the last answer is
 * old; the message does not wait for it.
 */
void lookup_refresh(struct lookup *lookup, struct slice address,
    const char *source, int64_t now_s);

/* Lists of revoked certificates; called every few seconds. */
void lookup_tick(struct lookup *lookup, int64_t now_s);
struct crls *lookup_crls(struct lookup *lookup); /* of NULL: NULL */

void lookup_status(const struct lookup *lookup, struct status_writer *status);

#endif
