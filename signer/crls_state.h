/* SPDX-License-Identifier: ISC */
/*
 * What crls.c and crl_points.c share; for nobody else.
 */
#ifndef SIGNER_CRLS_STATE_H
#define SIGNER_CRLS_STATE_H

#include "signer/crls.h"
#include "signer/keystore_crl.h"

/* Signers of mail that are not looked at again for a while. */
#define CRLS_LOOKED_MAX 64

struct crl_look; /* a task of the `key` worker */

struct crls {
	struct signerd *signerd;
	struct link *fetchd;
	struct crl_get *gets;
	size_t get_count;
	uint64_t fetched;
	uint64_t failed;
	/* crl_points.c: */
	struct crl_look *look;        /* under way, or NULL */
	int64_t swept_id;             /* keys up to this one were looked at */
	int64_t sweep_s;              /* when all are looked at again */
	char trust_id[TRUST_ID_SIZE]; /* of the anchors at that time */
	int64_t looked_s;
	size_t next_looked;
	struct {
		unsigned char digest[TRUST_DIGEST_SIZE];
		int64_t time_s;
	} looked[CRLS_LOOKED_MAX];
};

/* NULL: it is no place of lists. */
const struct crl_source *crls_source(
    struct keystore *keystore, const char *url);

void crls_sweep(struct crls *crls, int64_t now_s);
/* Its answer finds nobody. */
void crls_forget_look(struct crls *crls);

#endif
