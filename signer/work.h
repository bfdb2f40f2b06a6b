/* SPDX-License-Identifier: ISC */
/*
 * A task of a worker: what a crypto module is given, and what it says.
 *
 * Whatever a module does not know is SIGNED_TEMPORARY: an answer starts as
 * that, and only an explicit success changes it, so that no path lets a mail
 * go unprotected by accident.
 */
#ifndef SIGNER_WORK_H
#define SIGNER_WORK_H

#include "common/ipc.h"
#include "common/vocabulary.h"
#include "signer/content.h"

struct dkim;       /* signer/dkim.h */
struct keyring;    /* signer/keyring.h: private keys of this worker's class */
struct pgp_worker; /* signer/pgp_worker.h */

/*
 * The fields of MSG_WORK and MSG_WORK_FILE that are the same, decoded: slices
 * point into the frame, good until the task is answered.
 */
struct work {
	enum work_op op;
	unsigned options;       /* a set of enum protect_option */
	struct slice sender;    /* header From, one address */
	struct slice recipient; /* envelope recipient; "" for several */
	struct slice authserv_id;
	int64_t now_s;            /* "now" for validity and signing times */
	uint64_t output_limit;    /* octets */
	struct ipc_list removals; /* of fact */
	struct ipc_list facts;    /* of fact */
	struct ipc_list keys;     /* of work_key */
	struct content content;
};

struct work_answer {
	enum sign_outcome outcome;
	unsigned applied; /* a set of enum protect_applied */
	char method[512]; /* words for the log */
	char enhanced[16];
	char reason[512];
	struct ipc_list_writer facts;     /* of fact */
	struct ipc_list_writer harvested; /* of harvest */
	/*
	 * Used when outcome is DONE or HOLD.  is_prefix: what is in it goes
	 * before the content as it was given; for one in memory alone.
	 */
	struct content_writer output;
	bool is_prefix;
};

/* What a worker process keeps from task to task. */
struct worker_context {
	struct keyring *keyring;
	struct dkim *dkim;         /* made at its first use */
	struct pgp_worker *pgp;    /* likewise; pgp_worker_free() */
	struct smime_certs *certs; /* likewise; smime_certs_free() */
	struct smime_memo *memo;   /* likewise; smime_memo_free() */
	const char *scratch_dir;   /* for GPGME's homes; NULL elsewhere */
};

typedef void work_fn(struct worker_context *context, const struct work *work,
    struct work_answer *answer);

/* Each op's function; a worker's class says which of them it serves. */
work_fn work_protect;     /* signer/protect.c: S/MIME, then DKIM */
work_fn work_pgp_protect; /* signer/pgp_protect.c */
work_fn work_open;        /* signer/smime_open.c */
work_fn work_pgp_open;    /* signer/pgp_open.c */
work_fn work_key;         /* signer/key_worker.c */

/* output_fd: an empty file for a large output, or -1; stays the caller's. */
void work_answer_init(
    struct work_answer *answer, int output_fd, uint64_t output_limit);
void work_answer_clear(struct work_answer *answer);

/* Sets outcome, enhanced status code (RFC 3463) and a sentence. */
void work_refuse(struct work_answer *answer, enum sign_outcome outcome,
    const char *enhanced, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds words to answer->method. */
void work_note(struct work_answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The value of a fact, or an empty slice. */
struct slice work_fact(const struct work *work, const char *name);
void work_answer_fact(struct work_answer *answer, const char *name,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
