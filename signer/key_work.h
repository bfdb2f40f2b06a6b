/* SPDX-License-Identifier: ISC */
/*
 * What the files of the `key` worker share; for nobody else.
 */
#ifndef SIGNER_KEY_WORK_H
#define SIGNER_KEY_WORK_H

#include "signer/key_task.h"
#include "signer/key_x509.h"
#include "signer/work.h"

#define KEY_DAY_S 86400
/* All parts of an answer: a list and what was read of it. */
#define KEY_WORK_MAX ((size_t)IPC_CRL_MAX + IPC_JSON_MAX)

/* One operation. */
struct key_work {
	struct worker_context *context;
	const struct work *work;
	struct work_answer *answer;
	struct key_parts parts;
	struct slice file; /* the content of those that have no parts */
	struct ipc_list_writer results;
	struct err err;
};

/* -1 with task->err: then nothing of the results is sent. */
typedef int key_op_fn(struct key_work *task);

/* key_worker_ca.c */
key_op_fn key_op_ca;
key_op_fn key_op_issue;
key_op_fn key_op_hand_out;
key_op_fn key_op_export;

/* key_worker_crl.c */
key_op_fn key_op_make_crl;
key_op_fn key_op_read_crl;
key_op_fn key_op_find_points;

struct slice key_work_fact(const struct key_work *task, const char *name);
int key_work_add(struct key_work *task, const char *name, struct slice data);

/* Seals the private key for those classes whose work it does. */
int key_work_seal(struct key_work *task, EVP_PKEY *key, unsigned uses);

/* The facts of a certificate; itself as public, the others as chain. */
void key_work_say(struct key_work *task, const struct x509_facts *facts);
int key_work_certificates(
    struct key_work *task, X509 *own, const struct x509_list *all);

/*
 * Of several certificates the one that is meant: the first that is not a
 * CA's, or of CAs alone the first.
 */
X509 *key_work_main(const struct x509_list *list);

/* The CA of the task: its certificate (the caller's) and key (borrowed). */
int key_work_open_ca(struct key_work *task, X509 **ca_r, EVP_PKEY **key_r);
/* Now and the days of the task, at most so many. */
int64_t key_work_days_after(const struct key_work *task, uint64_t most);

/* Adds all that follow each other; a damaged one, or too many, end it. */
void key_work_push(STACK_OF(X509) * list, struct slice certificates, int most);
/* Borrowed from those that are known; NULL: none of them signed it. */
X509 *key_work_issuer(X509 *certificate, STACK_OF(X509) * known);
/* Who signed it, when that one is in its file, or came with the task. */
void key_work_say_issuer(
    struct key_work *task, X509 *certificate, const struct x509_list *file);
void key_work_say_ca(struct key_work *task, X509 *ca);

/* -1 unless it leads to an anchor of the task; the part "chain" may help. */
int key_work_check_chain(struct key_work *task, X509 *certificate);

/* A new key of the task's algorithm, fit for a certificate. */
EVP_PKEY *key_work_generate(struct key_work *task);

#endif
