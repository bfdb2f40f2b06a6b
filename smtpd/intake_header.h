/* SPDX-License-Identifier: ISC */
/*
 * The header of a message that comes in: is it acceptable, which lines of
 * ours go before it, which of its own go.
 */
#ifndef SMTPD_INTAKE_HEADER_H
#define SMTPD_INTAKE_HEADER_H

#include "common/header.h"
#include "smtpd/session.h"

/*
 * What the log wants to know also of a refused one: the address in From ("" if
 * there is none that can be read) and the Message-ID (allocated; NULL: none).
 */
void intake_header_facts(const struct header *header, char *from_r,
    size_t from_size, char **message_id_r);

/* -1 and the refusal when the message may not come in. */
int intake_header_check(const struct session *session,
    const struct header *header, struct smtp_status *status_r);

/*
 * Our lines: Received; at submission Message-ID and Date where they are
 * missing (then *header_message_id is set); an empty line where the message
 * has no header at all.  -1 when they do not fit.
 */
int intake_header_lines(const struct session *session,
    const struct header *header, uint64_t message_id, char **header_message_id,
    struct buf *lines);

/*
 * An empty line goes before one that is no field, as it ended the header here:
 * programs that pass over it would find fields behind it that nobody judged.
 * -1: there is no room for it.
 */
int intake_header_end(
    const struct header *header, struct buf *content, size_t offset);

/*
 * Takes fields out of the content, which begins at offset: Bcc of people who
 * submit here, which must not reach anybody; of strangers, what they wrote in
 * our name.
 */
void intake_header_drop(const struct session *session,
    const struct header *header, struct buf *content, size_t offset);

/* queued's answer as a reply; one that is none becomes 451. */
void intake_status(
    const struct ipc_queue_answer *answer, struct smtp_status *status_r);

#endif
