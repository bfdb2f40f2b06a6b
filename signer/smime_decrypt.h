/* SPDX-License-Identifier: ISC */
/*
 * Decrypts one CMS with the keys of a task.
 *
 * No oracle: whatever goes wrong with the secret parts (the key transport, the
 * padding, the tag, what came out is no mail) is one and the same answer, told
 * to the outside in the same words; what it was stands nowhere.
 */
#ifndef SIGNER_SMIME_DECRYPT_H
#define SIGNER_SMIME_DECRYPT_H

#include "signer/der_walk.h"
#include "signer/work.h"

enum smime_decrypted {
	SMIME_DECRYPT_FAILED,    /* see above */
	SMIME_DECRYPT_NO_KEY,    /* it is for other keys than these */
	SMIME_DECRYPT_REFUSED,   /* its outside is not what we read; err says */
	SMIME_DECRYPT_TEMPORARY, /* our own trouble: a key file, the limit */
	SMIME_DECRYPT_DONE
};

/*
 * plain_r, initialised by the caller, gets the entity when DONE, with CR LF
 * when it had bare LF throughout, as some programs encrypt it.
 */
enum smime_decrypted smime_decrypt(struct worker_context *context,
    const struct work *work, struct slice der, struct content_writer *plain_r,
    struct der_facts *facts_r, struct err *err);

#endif
