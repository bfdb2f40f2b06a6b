/* SPDX-License-Identifier: ISC */
/*
 * What a worker for OpenPGP keeps from task to task: a GnuPG home with the
 * keys that it was given so far, their words and GPGME's objects of them.
 *
 * That a key lies in the home means nothing: each task names its own keys and
 * looks at no others.
 */
#ifndef SIGNER_PGP_WORKER_H
#define SIGNER_PGP_WORKER_H

#include "signer/pgp_home.h"
#include "signer/pgp_packets.h"
#include "signer/work.h"

/* A private key of ours, as far as this class has it. */
struct pgp_private {
	char ref[513];
	char fingerprint[PGP_FINGERPRINT_MAX + 1];
	char words[PGP_WORDS_SIZE];
	gpgme_key_t key;
	/* Of its parts that are there, not stubs. */
	size_t key_id_count;
	unsigned char key_ids[32][PGP_KEY_ID_SIZE];
};

struct pgp_worker;

/*
 * To be called first in a task: the home, with its agent alive; made at the
 * first use, and anew when the agent ended or the home has too many keys.
 * What the functions below returned in earlier tasks may then be gone.
 */
int pgp_worker_begin(
    struct worker_context *context, struct pgp_home **home_r, struct err *err);
void pgp_worker_free(struct pgp_worker *worker);

/* The home is to be made anew at its next use: an operation went wrong. */
void pgp_worker_spoiled(struct worker_context *context);

/* The private key of that work key, in the home; the worker's. */
int pgp_worker_private(struct worker_context *context,
    const struct ipc_record_work_key *key, const struct pgp_private **private_r,
    struct err *err);

/*
 * The same in a home of its own, for a message that does not say for whom it
 * is: GnuPG then tries each key that it has.  The caller frees both.
 */
int pgp_worker_private_alone(struct worker_context *context,
    const struct ipc_record_work_key *key, struct pgp_home **home_r,
    struct pgp_private *private_r, struct err *err);
void pgp_private_clear(struct pgp_private *private);

/* Puts the public key of a work key into a home; checks its fingerprint. */
int pgp_worker_public(struct worker_context *context, struct pgp_home *home,
    const struct ipc_record_work_key *key, struct err *err);

/* How gpg is told to whom to encrypt. */
struct pgp_recipient {
	bool is_file; /* text is a path, for --file; else a fingerprint */
	char text[600];
};

/*
 * A key is first used from a file, which costs no import but is checked anew
 * each time; from its second use on it lies in the home.
 */
int pgp_worker_recipient(struct worker_context *context,
    const struct ipc_record_work_key *key, struct pgp_recipient *recipient_r,
    struct err *err);

#endif
