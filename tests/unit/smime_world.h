/* SPDX-License-Identifier: ISC */
/*
 * Keys and certificates made on the spot, a key ring that holds them, and
 * tasks for the S/MIME modules.
 */
#ifndef TESTS_UNIT_SMIME_WORLD_H
#define TESTS_UNIT_SMIME_WORLD_H

#include <openssl/x509.h>

#include "signer/work.h"

/* The clock of the tests: 2026-11-22. */
#define WORLD_NOW_S INT64_C(1795305600)

enum world_key_kind { WORLD_RSA, WORLD_P256, WORLD_P384, WORLD_ED25519 };

/* What differs from a usual certificate for mail. */
struct world_wish {
	enum world_key_kind kind;
	int rsa_bits;                /* 0: 2048 */
	const char *address;         /* rfc822Name; NULL: none */
	const char *subject_address; /* emailAddress of the subject */
	const char *name;            /* CN; NULL: the address */
	const char *usage;           /* keyUsage; NULL: by the kind */
	const char *extended; /* extendedKeyUsage; NULL: emailProtection */
	int64_t not_before_s; /* 0: a day ago */
	int64_t not_after_s;  /* 0: in a year */
	bool is_ca;
	long serial;
};

struct world_id {
	char ref[32];
	EVP_PKEY *key;
	X509 *cert;
	unsigned char *der;
	size_t der_n;
};

/* issuer NULL: self-signed. */
struct world_id *world_id_new(
    const char *ref, const struct world_wish *wish, struct world_id *issuer);
void world_id_free(struct world_id *id);

/* A list signed by that CA with the serials of these; ends with NULL. */
struct slice world_crl(struct world_id *ca, struct world_id *const *revoked,
    int64_t next_update_s, struct buf *der);

struct keyring *world_keyring(void); /* empty; keyring_free() */
void world_keyring_add(struct keyring *keyring, struct world_id *id);

/* ---- tasks ---- */

struct world_task {
	struct work work;
	struct work_answer answer;
	struct worker_context context;
	struct ipc_list_writer keys;
	struct ipc_list_writer removals;
	struct ipc_list_writer facts;
	struct content result; /* after running, when something was written */
	bool believes;         /* has anchors or lists */
};

void world_task_init(
    struct world_task *task, struct keyring *keyring, struct slice message);
void world_task_clear(struct world_task *task);
void world_task_key(struct world_task *task, enum work_key_use use,
    const struct world_id *id, bool has_aead);
/* After the anchors. */
void world_task_crl(struct world_task *task, struct slice der);
/* A signature counts only when its revocation is known. */
void world_task_strict(struct world_task *task);
void world_task_removal(
    struct world_task *task, const char *name, const char *value);
void world_task_fact(
    struct world_task *task, const char *name, const char *value);
/* What the answer says under that name; "": nothing. */
struct slice world_said(const struct world_task *task, const char *name);

/* smime_protect(); true when the message was written. */
bool world_protect(struct world_task *task);

/* work_open(). */
void world_open(struct world_task *task);

/* What was written, in memory. */
struct slice world_result(struct world_task *task);

/* A CR or LF without the other, which SMTP does not have. */
bool world_has_bare_line_end(struct slice s);

#endif
