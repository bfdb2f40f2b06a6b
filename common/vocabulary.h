/* SPDX-License-Identifier: ISC */
/*
 * The words that messages carry as numbers.  A number that is none of its
 * enum's is a breach by the peer.
 */
#ifndef COMMON_VOCABULARY_H
#define COMMON_VOCABULARY_H

/* Which rules hold on a listening socket. */
enum listener_kind {
	LISTENER_SMTP,        /* port 25: mail for us; no AUTH */
	LISTENER_SUBMISSION,  /* 587 and others: STARTTLS, AUTH */
	LISTENER_SUBMISSIONS, /* 465 and others: TLS first, AUTH */
	LISTENER_KIND_COUNT
};

/* Of a message that the gateway itself made. */
#define LISTENER_NONE LISTENER_KIND_COUNT

/* Which recipients of one of our domains exist. */
enum domain_mode {
	DOMAIN_ANY,     /* every local part */
	DOMAIN_LIST,    /* those in the directory */
	DOMAIN_CALLOUT, /* ask the inner server */
	DOMAIN_MODE_COUNT
};

enum auth_verdict {
	AUTH_CHALLENGE, /* go on: AUTH_STEP is due */
	AUTH_OK,
	AUTH_FAILED,    /* 535 5.7.8 */
	AUTH_TEMPORARY, /* 454 4.7.0: the store failed, or too many */
	AUTH_BAD,       /* 501 5.5.2: not what the mechanism asks for */
	AUTH_VERDICT_COUNT
};

enum rcpt_verdict {
	RCPT_EXISTS,
	RCPT_UNKNOWN,   /* 550 5.1.1 */
	RCPT_TEMPORARY, /* 451 4.3.0: nobody could say */
	RCPT_VERDICT_COUNT
};

enum sender_verdict {
	SENDER_OK,
	SENDER_NO_DOMAIN, /* NXDOMAIN, or neither MX nor address */
	SENDER_NULL_MX,   /* RFC 7505: accepts no mail, so cannot be answered */
	SENDER_TEMPORARY, /* DNS gave no answer */
	SENDER_VERDICT_COUNT
};

enum ptr_status {
	PTR_CONFIRMED,   /* the name resolves back to the address */
	PTR_NONE,        /* no PTR record */
	PTR_UNCONFIRMED, /* a name that does not resolve back */
	PTR_UNKNOWN,     /* DNS gave no answer */
	PTR_STATUS_COUNT
};

enum dns_status {
	DNS_OK,
	DNS_NODATA,
	DNS_NXDOMAIN,
	DNS_TEMPORARY, /* SERVFAIL, timeout, refused */
	DNS_BOGUS,     /* DNSSEC validation failed: never use the data */
	DNS_STATUS_COUNT
};

/* What became of a recipient in an attempt. */
enum outcome {
	OUTCOME_DELIVERED,
	OUTCOME_DEFERRED,
	OUTCOME_FAILED,
	OUTCOME_COUNT
};

/* What policy demands; "on trigger" is settled before it gets here. */
enum protect_sign {
	SIGN_NEVER,
	SIGN_IF_POSSIBLE,
	SIGN_REQUIRED,
	SIGN_COUNT
};

enum protect_encrypt {
	ENCRYPT_NEVER,
	ENCRYPT_IF_POSSIBLE,
	ENCRYPT_REQUIRED,     /* else this recipient fails */
	ENCRYPT_REQUIRED_ALL, /* else every recipient of the message fails */
	ENCRYPT_COUNT
};

enum protect_dkim {
	DKIM_NEVER,
	DKIM_IF_POSSIBLE,
	DKIM_REQUIRED,
	DKIM_COUNT
};

/* Which methods may be used, the preferred one first. */
enum protect_method {
	METHOD_SMIME_PGP,
	METHOD_PGP_SMIME,
	METHOD_SMIME,
	METHOD_PGP,
	METHOD_COUNT
};

/* Further wishes of a policy; a set. */
enum protect_option {
	PROTECT_OPAQUE = 1,          /* S/MIME signed-data, not multipart */
	PROTECT_HEADERS = 2,         /* header protection, RFC 9788 */
	PROTECT_SUBJECT = 4,         /* and the outer Subject is "[...]" */
	PROTECT_CALENDAR_PLAIN = 8,  /* invitations leave as they are */
	PROTECT_TO_SELF = 16,        /* the sender can read it, too */
	PROTECT_LEGACY = 32,         /* the hidden Subject is in the text */
	PROTECT_OPTION_ALL = 63
};

/* What was done to an output; a set. */
enum protect_applied {
	APPLIED_SIGNED = 1,
	APPLIED_ENCRYPTED = 2,
	APPLIED_DKIM = 4,
	APPLIED_DECRYPTED = 8,
	APPLIED_VERIFIED = 16, /* a verdict was written, whatever it is */
	APPLIED_ALL = 31
};

/* Which way a message goes through the signer. */
enum sign_direction {
	DIRECTION_OUT, /* sign, encrypt, DKIM */
	DIRECTION_IN,  /* decrypt, verify */
	DIRECTION_COUNT
};

enum sign_outcome {
	SIGNED_TEMPORARY, /* also the default: nobody knows */
	SIGNED_DONE,
	SIGNED_PERMANENT, /* the demand cannot be met: bounce */
	SIGNED_HOLD,      /* in: keep it for an administrator */
	SIGN_OUTCOME_COUNT
};

/* Tasks of the signer's workers. */
enum work_op {
	WORK_PROTECT,     /* S/MIME sign, encrypt; DKIM; any of them */
	WORK_PGP_PROTECT,
	WORK_OPEN,        /* S/MIME decrypt, verify */
	WORK_PGP_OPEN,
	WORK_KEY,         /* one operation with a key */
	WORK_OP_COUNT
};

/* What a key is there for in a task. */
enum work_key_use {
	WORK_KEY_SIGN,
	WORK_KEY_ENCRYPT,
	WORK_KEY_DKIM,
	WORK_KEY_DECRYPT,
	WORK_KEY_ANCHOR,       /* trusted for mail */
	WORK_KEY_INTERMEDIATE, /* may help to build a chain */
	WORK_KEY_TRUST,        /* ref: the folder of signer/trust.h */
	WORK_KEY_BLOCKED,      /* its certificates count for nothing */
	WORK_KEY_CANDIDATE,    /* may have made the signature */
	WORK_KEY_ISSUER,       /* the built-in CA */
	WORK_KEY_PREFERRED,    /* to encrypt to the sender, where he signs */
	WORK_KEY_USE_COUNT
};

/* RFC 3461 §4.1; a set.  0: the client said nothing. */
enum dsn_notify {
	DSN_NOTIFY_NEVER = 1,
	DSN_NOTIFY_SUCCESS = 2,
	DSN_NOTIFY_FAILURE = 4,
	DSN_NOTIFY_DELAY = 8,
	DSN_NOTIFY_ALL = 15
};

/* RFC 3461 §4.3. */
enum dsn_ret {
	DSN_RET_UNSAID,
	DSN_RET_FULL,
	DSN_RET_HDRS,
	DSN_RET_COUNT
};

#endif
