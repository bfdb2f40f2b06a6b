/* SPDX-License-Identifier: ISC */
/*
 * How many recipients of one message the signer is asked for at once.  Each
 * may need an output of his own, and neither the queues of the signer nor the
 * memory of an attempt here have room for 2,000 of them; so many are asked for
 * in shares, one after the other.  Pure.
 */
#ifndef RELAY_QUEUE_SIGN_SHARE_H
#define RELAY_QUEUE_SIGN_SHARE_H

#include "relay/queue_message.h"

/*
 * Outputs of an attempt.  A client may send to so many recipients at least
 * (RFC 5321 §4.5.3.1.8) and has its answer with the result.  So many of 256
 * KiB, the largest in a frame, stay below half of what an attempt may have in
 * memory (queue_sign_answer.c), and so many descriptors are no burden.
 */
#define SIGN_SHARE_OUTPUTS 100
/*
 * Octets of the message, once for each output: the signer's queue has 64 MiB
 * of contents for all, and outputs of files take as much of its disk.
 */
#define SIGN_SHARE_OCTETS ((uint64_t)4 << 20)
#define SIGN_SHARE_FILE_OCTETS ((uint64_t)256 << 20)

struct sign_share {
	uint32_t *numbers; /* of recipients, ascending */
	size_t count;
	size_t outputs; /* that may come of it: 1, and more where many differ */
	uint32_t next;  /* where the share after this one begins */
};

/*
 * Takes the next share of these recipients (ascending): from
 * protection->asked_next on, so that none of them waits for others which fail
 * again and again.  True: it is all of them.
 */
bool sign_share_take(const struct queue_message *message,
    const uint32_t *numbers, size_t count, struct sign_share *share_r);
void sign_share_clear(struct sign_share *share);

#endif
