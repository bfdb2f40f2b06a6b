/* SPDX-License-Identifier: ISC */
/*
 * S/MIME (RFC 8551) by OpenSSL's CMS.  What a key of a work holds:
 *
 *	WORK_KEY_SIGN     ref, public: its certificate, chain: others to send
 *	WORK_KEY_PREFERRED  public: the certificate to answer the signer with
 *	WORK_KEY_ENCRYPT  public: the recipient's certificate, has_aead
 *	WORK_KEY_DECRYPT  ref, public: its certificate
 *	WORK_KEY_INTERMEDIATE  public: a certificate
 *	WORK_KEY_TRUST    ref: the folder of anchors and lists (signer/trust.h),
 *	                  fingerprint: their id
 *
 * Certificates are DER; several in one field follow each other.
 */
#ifndef SIGNER_SMIME_H
#define SIGNER_SMIME_H

#include "signer/work.h"

/* Of a work: other tasks have the same message, signed alike. */
#define FACT_SHARED "shared"

enum smime_result {
	SMIME_FAILED, /* the answer says why and with what outcome */
	SMIME_WRITTEN,
	SMIME_RESULT_COUNT
};

/*
 * Writes the message into out: signed when the work has a key WORK_KEY_SIGN,
 * then encrypted when it has keys WORK_KEY_ENCRYPT; with neither, the message
 * as it is without what triggered.  Keys of other uses are passed over.
 *
 * Keys to encrypt to are the recipient's first, then those that may read
 * along (the sender's own).  Of the latter those that are RSA when his is EC,
 * or the reverse, are left out: many readers know one of them alone, and then
 * cannot open the message at all.
 *
 * answer->applied and method get what was done.  The demand counts as
 * fulfilled too where the sender did it himself (a signed message is not
 * signed again but encrypted as it is, an encrypted one is left alone).
 * Invitations, which mail programs do not recognize when signed, stay as they
 * are, and nothing counts as fulfilled.  Where they should be encrypted that
 * is only with PROTECT_CALENDAR_PLAIN, else SIGNED_PERMANENT with 5.7.3: so
 * the caller gives that option where encryption is no must.
 *
 * On SMIME_FAILED answer has outcome and reason; what is in out is to be
 * thrown away.  answer->output is not used, so that a DKIM signature may go
 * before what is written here.
 */
enum smime_result smime_protect(struct worker_context *context,
    const struct work *work, struct content_writer *out,
    struct work_answer *answer);

#endif
