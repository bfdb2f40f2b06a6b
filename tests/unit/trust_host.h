/* SPDX-License-Identifier: ISC */
/*
 * A folder of anchors and lists of revoked certificates, as the broker writes
 * it for workers that verify.
 */
#ifndef TESTS_UNIT_TRUST_HOST_H
#define TESTS_UNIT_TRUST_HOST_H

#include <openssl/x509.h>

#include "signer/trust.h"

struct trust_host {
	char folder[64];
	char id[TRUST_ID_SIZE];
	struct ipc_list_writer keys;
	STACK_OF(X509) * anchors;
	bool requires_revocation;
};

void trust_host_init(struct trust_host *host);
/* With the folder. */
void trust_host_clear(struct trust_host *host);

/* DER. */
void trust_host_anchor(struct trust_host *host, struct slice certificate);
void trust_host_block(struct trust_host *host, struct slice certificate);
/* As the `key` worker reads it at that time; -1: it refuses. */
int trust_host_list(
    struct trust_host *host, struct slice file, int64_t now_s, struct err *err);

/* Writes what is new; the record for a task. */
struct ipc_record_work_key trust_host_publish(struct trust_host *host);

/* Nobody is believed, and no list is there. */
void trust_host_forget(struct trust_host *host);

#endif
