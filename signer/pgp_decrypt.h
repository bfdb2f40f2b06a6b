/* SPDX-License-Identifier: ISC */
/*
 * One encrypted OpenPGP message: looked at packet by packet, then opened with
 * the recipient's own keys and no others.
 */
#ifndef SIGNER_PGP_DECRYPT_H
#define SIGNER_PGP_DECRYPT_H

#include "signer/pgp_worker.h"
#include "signer/verdict.h"

/* Larger encrypted messages are not opened: gpg streams, armor does not. */
#define PGP_OPEN_MAX ((size_t)64 * 1024 * 1024)

enum pgp_decrypted {
	PGP_DECRYPT_TEMPORARY, /* ours: the agent, the disk */
	/* It stays closed, as reason says: */
	PGP_DECRYPT_UNTRIED, /* malformed, or for others: all can see that */
	PGP_DECRYPT_REFUSED, /* a key of the task was tried */
	PGP_DECRYPT_DONE,
	PGP_DECRYPTED_COUNT
};

/*
 * Opens the armored message with the keys WORK_KEY_DECRYPT of the task.  Only
 * after PGP_DECRYPT_DONE is what is in out to be used: GnuPG writes before it
 * knows that nothing was changed.  The verdict gets the cipher, and what the
 * signatures within are worth.
 *
 * The reason of a refusal is for the log and an administrator; to senders all
 * refusals are the same.
 */
enum pgp_decrypted pgp_decrypt(struct worker_context *context,
    const struct work *work, struct slice armored, struct content_writer *out,
    struct verdict *verdict, struct err *reason);

#endif
