/* SPDX-License-Identifier: ISC */
/*
 * The pieces of a delivery status notification, each by itself: plain words,
 * the machine-readable status, the original's header.  Pure.
 */
#ifndef RELAY_DSN_PARTS_H
#define RELAY_DSN_PARTS_H

#include "common/buf.h"
#include "common/header.h"
#include "relay/dsn.h"

/* What the whole says: the worst of what happened to the recipients. */
enum dsn_action dsn_worst_action(const struct dsn *d);

/* The words for people; UTF-8.  body_was_dropped: say that it is not there. */
void dsn_add_words(const struct dsn *d, const struct header *original,
    bool body_was_dropped, struct buf *out);

/* The content of message/delivery-status (RFC 3464 §2). */
void dsn_add_status(const struct dsn *d, bool with_utf8, struct buf *out);

/* The original's fields, without Bcc, and without Subject when it is hidden. */
void dsn_add_original_header(
    const struct dsn *d, const struct header *original, struct buf *out);

/*
 * Appends the message with each 8-bit part of it in quoted-printable.  Its
 * lines must be in order.  False: it cannot do without 8 bits (a field has
 * some, or a part that may not be encoded), is signed as it is, or out is
 * full; out then holds anything.
 */
bool dsn_add_7bit(struct slice message, struct buf *out);

#endif
