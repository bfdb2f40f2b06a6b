/* SPDX-License-Identifier: ISC */
/*
 * What a signer's certificate is worth: its chain to an anchor for mail, and
 * separately from it whether it was revoked.
 */
#ifndef SIGNER_SMIME_JUDGE_H
#define SIGNER_SMIME_JUDGE_H

#include <openssl/cms.h>
#include <openssl/x509_vfy.h>

#include "signer/smime_trust.h"
#include "signer/verdict.h"
#include "signer/work.h"

struct smime_judge {
	const struct smime_trust *trust;
	STACK_OF(X509) * others; /* may help to build a chain */
	STACK_OF(X509) * sent;   /* those in the CMS; the caller's */
	bool is_for_reading;     /* asked: may one encrypt to it? */
	/* Of a signer about whom a list is missing; NULL: of none. */
	STACK_OF(X509) * unlisted;
	const struct work *work;
};

struct smime_judgement {
	enum verdict_kind kind; /* PASS, WEAK, UNTRUSTED, EXPIRED, REVOKED */
	enum verdict_revocation revocation;
	const char *reason;
};

/* Of the task's anchors and intermediates.  Clear it in any case. */
int smime_judge_init(struct smime_judge *judge, struct worker_context *context,
    const struct work *work, STACK_OF(X509) * sent, struct err *err);
void smime_judge_clear(struct smime_judge *judge);

void smime_judge_cert(
    struct smime_judge *judge, X509 *cert, struct smime_judgement *judgement_r);

/*
 * The lists that were missing: "harvested" as kind "crl", so that the broker
 * has them looked for, later than this message and within its own limits.
 */
void smime_judge_tell_unlisted(const struct smime_judge *judge,
    struct slice from, struct work_answer *answer);

/*
 * Of a message that passed: the certificate to which one may encrypt to the
 * sender.  The one that he names (RFC 8551 §2.5.3), else the signer's own,
 * each only when it is his and leads to an anchor.
 */
void smime_judge_harvest(struct smime_judge *judge, CMS_ContentInfo *cms,
    struct slice from, struct work_answer *answer);

#endif
