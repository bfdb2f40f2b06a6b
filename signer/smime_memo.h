/* SPDX-License-Identifier: ISC */
/*
 * A message for several recipients, signed once: each gets an encryption of
 * his own, of the same signed entity.  A worker keeps that of the last message
 * until it has another task; with RSA, signing takes five times as long as
 * encrypting.
 */
#ifndef SIGNER_SMIME_MEMO_H
#define SIGNER_SMIME_MEMO_H

#include "signer/work.h"

struct smime_memo;

struct smime_memo *smime_memo_new(void);
void smime_memo_free(struct smime_memo *memo);

/*
 * Is the signed entity of this task there?  It depends on the content, what is
 * taken out of it, the options, the time and the keys to sign with: equal
 * tasks alone have the same one.  A task that does not share (no fact
 * FACT_SHARED, or its content is in a file) has none.  What is of another
 * task is forgotten.
 */
enum smime_memo_state {
	SMIME_MEMO_NONE,  /* the task does not share */
	SMIME_MEMO_EMPTY, /* fill smime_memo_room(), then smime_memo_keep() */
	SMIME_MEMO_FULL,  /* it is smime_memo_room() */
	SMIME_MEMO_STATE_COUNT
};
enum smime_memo_state smime_memo_find(
    struct smime_memo *memo, const struct work *work);

struct buf *smime_memo_room(struct smime_memo *memo);
void smime_memo_keep(struct smime_memo *memo);
void smime_memo_forget(struct smime_memo *memo);

#endif
