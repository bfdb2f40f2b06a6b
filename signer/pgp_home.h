/* SPDX-License-Identifier: ISC */
/*
 * A GnuPG home of one worker: a folder below its scratch folder, an agent
 * that is the worker's child and dies with it, and a GPGME context.  In it are
 * only keys that were put there; GnuPG looks nowhere else for any.
 *
 * What a process needs that runs gpg, for its confinement: to fork and exec
 * below /usr; to read /usr, /lib*, /etc and /dev/urandom; to write the scratch
 * folder and /dev/null; Unix sockets (the agent listens in the home).
 */
#ifndef SIGNER_PGP_HOME_H
#define SIGNER_PGP_HOME_H

#include <gpgme.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "signer/pgp_key.h"

/* The words that unlock a private part: 256 random bits in hexadecimal. */
#define PGP_WORDS_SIZE 65

struct pgp_home;

/* GPGME itself, once in a process; before confinement is cheaper. */
int pgp_start(struct err *err);

/*
 * A scratch folder for this process alone below that one: who then confines
 * itself to it finds no home of another process.  Folders that ended processes
 * left are removed.  Returns a descriptor that locks it, to be kept as long as
 * it is used, or -1.
 */
int pgp_home_scratch(
    const char *parent, char *path_r, size_t size, struct err *err);

/*
 * A new home with its agent.  Homes that killed workers left in that folder
 * are removed: what is in them opens with words alone that are not there.
 */
int pgp_home_new(
    const char *scratch_dir, struct pgp_home **home_r, struct err *err);
/* Ends the agent and removes the folder. */
void pgp_home_free(struct pgp_home *home);

/*
 * The context, as it is after start: binary, no armor, no signers.  -1: the
 * agent is gone, the home is to be thrown away.
 */
int pgp_home_context(
    struct pgp_home *home, gpgme_ctx_t *context_r, struct err *err);

/* The words that the next operation is asked for; NULL: none. */
void pgp_home_unlock(struct pgp_home *home, const char *words);
/* For a change of them: old, then new; either may be NULL. */
void pgp_home_unlock_twice(
    struct pgp_home *home, const char *first, const char *second);

/* Puts a public or secret key in; binary. */
int pgp_home_import(struct pgp_home *home, struct slice key, struct err *err);

/* The key with that fingerprint; the caller unrefs it. */
int pgp_home_key(struct pgp_home *home, const char *fingerprint, bool is_secret,
    gpgme_key_t *key_r, struct err *err);

/* Path of a file in the home, for what GnuPG reads by name. */
int pgp_home_path(
    const struct pgp_home *home, const char *name, char *path_r, size_t size);

/* A blob (pgp_key.h): the words and the key, which points into it. */
int pgp_blob_read(struct slice blob, char words_r[PGP_WORDS_SIZE],
    struct slice *key_r, struct err *err);
void pgp_blob_write(const char *words, struct slice key, struct buf *out);
int pgp_words_new(char words_r[PGP_WORDS_SIZE], struct err *err);

/* err_set() with what GPGME says. */
int pgp_err(struct err *err, const char *what, gpgme_error_t error);

#endif
