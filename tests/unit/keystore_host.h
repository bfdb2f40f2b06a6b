/* SPDX-License-Identifier: ISC */
/*
 * What the tests of keys.db share.
 */
#ifndef TESTS_UNIT_KEYSTORE_HOST_H
#define TESTS_UNIT_KEYSTORE_HOST_H

#include "signer/keystore_crl.h"

#define NOW_S 1700000000
#define DAY_S 86400

struct keystore_host {
	char folder[64];
	struct keystore *keystore;
};

/* An empty store. */
void keystore_host_init(struct keystore_host *f);
/* Again, after keystore_close(). */
void keystore_host_open(struct keystore_host *f);
/* With the folder. */
void keystore_host_clear(struct keystore_host *f);

/* Valid from yesterday for 100 days; its fingerprint is its serial, too. */
struct key keystore_host_key(
    enum key_kind kind, const char *fingerprint, const char *ref);
/* Its id. */
int64_t keystore_host_add(struct keystore_host *f, const struct key *key,
    const char *subject, unsigned trust);

/* The fingerprint of the key for that address, or the reason for none. */
const char *keystore_host_recipient(struct keystore_host *f, enum key_kind kind,
    const char *address, unsigned min_trust, int64_t now_s);
const char *keystore_host_signer(
    struct keystore_host *f, const char *address, int64_t now_s);

#endif
