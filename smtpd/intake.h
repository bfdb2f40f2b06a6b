/* SPDX-License-Identifier: ISC */
/*
 * What follows DATA: the end of the message, the checks of its header, our
 * lines before it, and the hand-over to queued, in one frame when it is small,
 * as a stream with credit when it is not.
 */
#ifndef SMTPD_INTAKE_H
#define SMTPD_INTAKE_H

#include "common/channel.h"

struct intake;
struct session;
struct worker;

/* Answers DATA: 354, or a refusal. */
void intake_begin(struct session *session);

/*
 * Takes what it can of the input; false when it waits for something else than
 * more input.
 */
bool intake_input(struct session *session, struct slice in);

/* Forgets the message, at queued too.  NULL is fine. */
void intake_free(struct intake *intake);

/* Frames of queued about streams: 0, or -1 when they name none of ours. */
int intake_credit(struct worker *worker, uint32_t stream, uint32_t octets);
int intake_refused(
    struct worker *worker, const struct ipc_queue_answer *answer);

#endif
