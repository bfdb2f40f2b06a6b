/* SPDX-License-Identifier: ISC */
/*
 * What is said of a message that came signed or encrypted, and how: in
 * Authentication-Results (RFC 8601, RFC 7281) and in X-Postern-Crypto.  The
 * verdict is ours, never a library's word.  Pure.
 */
#ifndef SIGNER_VERDICT_H
#define SIGNER_VERDICT_H

#include "common/buf.h"
#include "common/header.h"

/* Name, and what Authentication-Results says (RFC 8601 §2.7.1). */
#define VERDICTS(X)                                                   \
	X(NONE, "none", "none") /* not signed */                      \
	X(PASS, "pass", "pass")                                       \
	X(PARTIAL, "partial", "neutral")    /* of a part only */      \
	X(MISMATCH, "mismatch", "policy")   /* by another address */  \
	X(WEAK, "weak", "policy")           /* SHA-1, short keys */   \
	X(UNTRUSTED, "untrusted", "policy") /* no way to an anchor */ \
	X(EXPIRED, "expired", "policy")                               \
	X(REVOKED, "revoked", "policy")                               \
	X(MODIFIED, "modified", "neutral") /* by a mailing list */    \
	X(FAIL, "fail", "fail")                                       \
	X(UNDECRYPTABLE, "undecryptable", "none") /* no key for it */

enum verdict_kind {
#define X(id, name, result) VERDICT_##id,
	VERDICTS(X)
#undef X
	    VERDICT_KIND_COUNT
};

enum verdict_method { VERDICT_SMIME, VERDICT_PGP, VERDICT_METHOD_COUNT };

enum verdict_revocation {
	REVOCATION_UNKNOWN, /* no usable list */
	REVOCATION_GOOD,
	REVOCATION_REVOKED,
	REVOCATION_COUNT
};

struct verdict {
	enum verdict_kind kind;
	enum verdict_method method;
	enum verdict_revocation revocation;
	bool is_signed;
	bool is_encrypted;
	bool has_integrity;   /* the encryption shows if it was changed */
	bool matches_from;    /* the signer's key is bound to From */
	unsigned layers;      /* opened */
	char cipher[32];      /* "aes-256-cbc"; "" */
	char digest[16];      /* "sha256" */
	char signer[256];     /* address, or "" */
	char identifier[256]; /* RFC 7281 body.smime-identifier; "" */
	char serial[64];      /* hexadecimal */
	char issuer[512];     /* RFC 4514 text */
	char fingerprint[72]; /* hexadecimal, of certificate or key */
	char reason[128];     /* a few words, ours, for fail and the like */
};

const char *verdict_text(enum verdict_kind kind);

/* The worse of two, where several signatures were made. */
enum verdict_kind verdict_worse(enum verdict_kind a, enum verdict_kind b);

/*
 * Both fields, folded, with their CR LF, for the top of the message.  Text
 * from outside is quoted and made printable ASCII.  -1 when out is full.
 */
int verdict_write(
    const struct verdict *verdict, struct slice authserv_id, struct buf *out);

#endif
