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
