/* SPDX-License-Identifier: ISC */
/*
 * The broker's care for lists of revoked certificates: which are fetched from
 * where and when, and where certificates say that lists are.
 *
 * Nothing of it is on the way of a mail: a message is judged by the lists that
 * are there.  A place is asked only when an administrator named it, or a
 * certificate that leads to an anchor: of our own keys, of correspondents, of
 * who signed a mail.
 */
#ifndef SIGNER_CRLS_H
#define SIGNER_CRLS_H

#include "common/channel.h"
#include "common/daemon.h"
#include "signer/manage.h"

struct crls;
struct signerd;

/* fetchd stays the caller's, and is there until crls_free(). */
struct crls *crls_new(struct signerd *signerd, struct link *fetchd);
void crls_free(struct crls *crls);

/* Lists that are due, places that are not known yet; every few seconds. */
void crls_tick(struct crls *crls, int64_t now_s);

/*
 * Fetches it now, or again when the place is being asked already.  Returns
 * LATER, the answer follows when the list was read; when it is taken, the
 * place is asked again before the list ends.  CONFLICT: somebody else waits
 * for the same.
 */
enum manage_code crls_fetch(
    struct crls *crls, const char *url, struct manage_request *request);

/*
 * Of a signer about whom a list was missing: certificates, his own first, DER
 * one after another.  As far as a worker that reads hostile mail may be
 * believed: a `key` worker looks at them, one at a time.
 */
void crls_look(struct crls *crls, struct slice certificates, int64_t now_s);

void crls_status(const struct crls *crls, struct status_writer *status);

#endif
