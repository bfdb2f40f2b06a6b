/* SPDX-License-Identifier: ISC */
/*
 * One task of the `key` worker on behalf of a verb or of a harvest: arguments
 * go in, the task runs, what came out is checked and handed on.
 */
#ifndef SIGNER_KEY_CALL_H
#define SIGNER_KEY_CALL_H

#include "signer/key_task.h"
#include "signer/keystore_change.h"
#include "signer/manage.h"
#include "signer/signerd.h"
#include "signer/trust.h"

/* "k-", 32 digits and a NUL: name of a private key's files. */
#define KEY_CALL_REF_SIZE 35
#define KEY_CALL_ADDRESSES_MAX 32
#define KEY_CALL_SCOPES_MAX 4

/* What the worker said, read and checked; good until done() returns. */
struct key_answer {
	struct key key; /* secret_ref is the call's when it was stored */
	char public_digest[65];
	/* Of a revocation list; who signed it stands in key. */
	char number[131];
	int64_t entries;
	int64_t this_update_s;
	int64_t next_update_s;
	size_t scope_count;
	char scopes[KEY_CALL_SCOPES_MAX][TRUST_SCOPE_SIZE];
	size_t address_count;
	char addresses[KEY_CALL_ADDRESSES_MAX][ADDRESS_TEXT_MAX];
	struct key_parts parts;
};

struct key_call;

/* Of a call of a verb: its answer, or LATER when it made another call. */
typedef enum manage_code key_call_fn(
    struct key_call *call, const struct key_answer *answer);

struct key_call {
	struct task task;
	struct signerd *signerd;
	struct manage_request *request; /* NULL: nobody waits */
	enum key_op op;
	struct ipc_list_writer facts;
	struct ipc_list_writer parts;
	struct ipc_list_writer keys;
	struct buf content;
	struct slice file; /* instead of parts; read by key_call_run() */
	char ref[KEY_CALL_REF_SIZE];
	int64_t now_s;
	key_call_fn *done;
	/* When it failed, with a sentence; NULL: the request is told. */
	void (*failed)(
	    struct key_call *call, const char *reason, bool is_temporary);
	/* The caller's, freed with the call. */
	void *context;
};

struct key_call *key_call_new(
    struct signerd *signerd, struct manage_request *request, enum key_op op);
void key_call_free(struct key_call *call);

void key_call_fact(struct key_call *call, const char *name, const char *value);
void key_call_part(struct key_call *call, const char *name, struct slice data);
void key_call_key(
    struct key_call *call, enum work_key_use use, const struct key *key);
/* The private part may go to that class. */
void key_call_seal(struct key_call *call, enum pool_class class);

/*
 * Runs it; the call is freed when it is over, or now when it cannot run.
 * Returns LATER, or the request's answer.
 */
enum manage_code key_call_run(struct key_call *call, key_call_fn *done);

/*
 * Stores the private parts of the answer in their classes' folders, durably;
 * -1 with a sentence, and nothing is left.
 */
int key_call_store(
    struct key_call *call, const struct key_answer *answer, struct err *err);
/* Takes them back, when the store refused the key. */
void key_call_unstore(struct key_call *call);

/* ---- key files (key_files.c) ---- */

int key_file_write(const struct signerd *signerd, enum pool_class class,
    const char *name, struct slice octets, struct err *err);
/* No harm when there is none. */
void key_file_remove(
    const struct signerd *signerd, enum pool_class class, const char *name);

#endif
