/* SPDX-License-Identifier: ISC */
/*
 * What the broker and its throw-away `key` worker say to each other in a task
 * WORK_KEY.  Arguments and results are facts; what is larger, or secret, is a
 * part of the content: named octets.
 *
 * Facts of a task:
 *	op           the operation, below
 *	kind         "smime", "pgp": what the file is to be
 *	algorithm    "rsa-2048", "p-256", "ed25519", ...
 *	address      whom a certificate or key is for
 *	name         his name, or the CA's; may be ""
 *	days         how long it is to be valid
 *	serial       of what is issued, hexadecimal
 *	crl_url      where the CA's list is, to stand in what is issued
 *	ref          name of the files that get the private part
 *	may_be_public  "yes": a file without a private part is read, too
 *	check_chain  "yes": a certificate is to lead to an anchor
 *	seal.CLASS   public half of that class's wrapping key, hexadecimal
 * and its parts:
 *	file         what was given: PKCS #12, PEM, DER, OpenPGP, CSR
 *	passphrase   of it
 *	revoked      "SERIAL TIME\n"..., for a CRL
 *	chain        certificates that may lead from "file" to an anchor
 * and its keys: WORK_KEY_ISSUER (the built-in CA); WORK_KEY_ANCHOR and
 * WORK_KEY_INTERMEDIATE (who may have signed a CRL, or lead to who is
 * believed), WORK_KEY_BLOCKED (who is not, whatever he leads to),
 * WORK_KEY_CANDIDATE (whose lists are wanted; others of its chain may follow it
 * in public; for a CRL certificates, one after another, of which the broker
 * does not know who signed them).
 * The content of "read crl" is the file itself.
 *
 * Facts of an answer: those of struct key by their names there (uses as words
 * "sign encrypt certify", issuer_id in hexadecimal when the CA is known),
 * address (several), public_digest (of the public key);
 * of a CRL issuer_id, number, entries, this_update, next_update, scope
 * (several).  Its parts:
 *	public, chain     as struct key has them
 *	secret.CLASS      the sealed private part for that class
 *	csr, crl, pkcs12, text   what was made
 *	list              of a CRL, what it revokes (signer/trust.h)
 *	issued            of "read crl" and "make crl": a struct key_issued of
 *	                  each candidate whose CA is among the keys
 *	url, others, issuers  of "find points", by turns: where a list is; URLs
 *	                  where it is, too, a line each; the certificates that
 *	                  lead from who signs it to an anchor
 */
#ifndef SIGNER_KEY_TASK_H
#define SIGNER_KEY_TASK_H

#include "common/ipc.h"
#include "signer/trust.h"

/* Files of keys and certificates; a CRL has a limit of its own. */
#define KEY_FILE_MAX ((size_t)256 * 1024)
/* Parts of one content. */
#define KEY_PARTS_MAX 64
/* Lists that one task finds. */
#define KEY_POINTS_MAX (KEY_PARTS_MAX / 3)

enum key_op {
	KEY_OP_GENERATE_DKIM,
	KEY_OP_GENERATE_PGP,
	KEY_OP_IMPORT,      /* with a private part */
	KEY_OP_PARSE,       /* a certificate or public key of anybody */
	KEY_OP_REQUEST,     /* a new private key and its CSR */
	KEY_OP_CA,          /* a new built-in CA */
	KEY_OP_ISSUE,       /* by the CA: for a new key of ours, or for a CSR */
	KEY_OP_HAND_OUT,    /* the same, key and all in a PKCS #12, not kept */
	KEY_OP_MAKE_CRL,    /* of the CA */
	KEY_OP_READ_CRL,    /* of anybody whose certificate is among the keys */
	KEY_OP_FIND_POINTS, /* where lists about certificates are */
	KEY_OP_EXPORT,      /* certificates as PKCS #12 */
	KEY_OP_COUNT
};

/* A certificate and who signed it; the fingerprint is in capitals, no NUL. */
struct key_issued {
	char fingerprint[64];
	unsigned char issuer_id[TRUST_ISSUER_SIZE];
};

const char *key_op_name(enum key_op op);
enum key_op key_op_by_name(struct slice name); /* COUNT: none */

struct key_parts {
	struct ipc_list parts; /* of part */
};

/* Appends the content that holds these. */
int key_parts_write(
    const struct ipc_list_writer *parts, struct buf *content, struct err *err);
/* What it points to is the content's. */
int key_parts_read(
    struct slice content, struct key_parts *parts_r, struct err *err);
/* That part, or an empty slice. */
struct slice key_part(const struct key_parts *parts, const char *name);
int key_part_add(struct ipc_list_writer *parts, const char *name,
    struct slice data, struct err *err);

/* Lower case digits; out has room for 2 n + 1. */
void key_hex(const void *octets, size_t n, char *out);
/* Exactly n octets; -1 when it is something else. */
int key_unhex(struct slice text, void *octets, size_t n);

#endif
