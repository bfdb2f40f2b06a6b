/* SPDX-License-Identifier: ISC */
/*
 * The syntax of SMTP command lines: which verb, what arguments.  Which command
 * may come when is the session's business.
 */
#ifndef COMMON_SMTP_COMMAND_H
#define COMMON_SMTP_COMMAND_H

#include "common/address.h"
#include "common/buf.h"
#include "common/smtp_reply.h"

/*
 * Longest lines, with CRLF: RFC 5321 section 4.5.3.1.4; what the parameters of
 * RFC 1870, 3461, 4954, 6152 and 6531 add to MAIL and RCPT; RFC 4954 section 4.
 */
#define SMTP_LINE_MAX 512
#define SMTP_LINE_EXTENDED_MAX 2000
#define SMTP_LINE_AUTH_MAX 12288

enum smtp_verb {
	SMTP_VERB_UNKNOWN,
	SMTP_VERB_FOREIGN, /* HTTP, SSH, TLS, PROXY: hang up, read no more */
	SMTP_VERB_HELO,
	SMTP_VERB_EHLO,
	SMTP_VERB_STARTTLS,
	SMTP_VERB_AUTH,
	SMTP_VERB_MAIL,
	SMTP_VERB_RCPT,
	SMTP_VERB_DATA,
	SMTP_VERB_RSET,
	SMTP_VERB_NOOP,
	SMTP_VERB_VRFY,
	SMTP_VERB_EXPN,
	SMTP_VERB_HELP,
	SMTP_VERB_QUIT,
	SMTP_VERB_BDAT, /* not served; its octets follow: hang up */
	SMTP_VERB_ETRN,
	SMTP_VERB_TURN,
	SMTP_VERB_XCLIENT,
	SMTP_VERB_XFORWARD,
	SMTP_VERB_COUNT
};

/* "MAIL"; for logs and counters. */
const char *smtp_verb_name(enum smtp_verb verb);

struct smtp_command {
	enum smtp_verb verb;
	struct slice argument; /* of the line; blanks at both ends removed */
};

/*
 * Reads one line without its line end.  -1 with *status_r when its form is
 * wrong (controls, too long, argument missing or not allowed);
 * command_r->verb is then set all the same, so that the caller can count, and
 * hang up on SMTP_VERB_FOREIGN and SMTP_VERB_BDAT.  Unknown verbs are no
 * failure here.
 */
int smtp_command_parse(struct slice line, struct smtp_command *command_r,
    struct smtp_status *status_r);

/* The argument of HELO and EHLO. */
enum smtp_hello_kind {
	SMTP_HELLO_DOMAIN,
	SMTP_HELLO_LITERAL,
	SMTP_HELLO_TOKEN, /* neither, as many clients send; printable */
	SMTP_HELLO_KIND_COUNT
};

#define SMTP_HELLO_MAX 255

struct smtp_hello {
	enum smtp_hello_kind kind;
	char text[SMTP_HELLO_MAX +
		  1];           /* as it came: printable ASCII, no space */
	struct domain domain;   /* for SMTP_HELLO_DOMAIN */
	struct netaddr literal; /* for SMTP_HELLO_LITERAL */
};

int smtp_hello_parse(struct slice argument, struct smtp_hello *hello_r,
    struct smtp_status *status_r);

/* The argument of AUTH (RFC 4954 section 4). */
#define SMTP_MECHANISM_MAX 20 /* RFC 4422 section 3.1 */

struct smtp_auth {
	char mechanism[SMTP_MECHANISM_MAX + 1]; /* upper case */
	bool has_initial;
	struct slice initial; /* base64, "" for "="; points into argument */
};

int smtp_auth_parse(struct slice argument, struct smtp_auth *auth_r,
    struct smtp_status *status_r);

enum smtp_body {
	SMTP_BODY_UNSAID, /* 7BIT by RFC 6152; many send 8-bit all the same */
	SMTP_BODY_7BIT,
	SMTP_BODY_8BITMIME,
	SMTP_BODY_COUNT
};

enum smtp_ret { SMTP_RET_UNSAID, SMTP_RET_FULL, SMTP_RET_HDRS, SMTP_RET_COUNT };

enum smtp_notify {
	SMTP_NOTIFY_UNSAID = 0,
	SMTP_NOTIFY_NEVER = 1, /* alone */
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};

/* RFC 3461 sections 4.2 and 4.4; RFC 4954 section 5 has the same for AUTH. */
#define SMTP_ENVID_MAX 100
#define SMTP_ORCPT_MAX 500
#define SMTP_MAIL_AUTH_MAX 500

/* xtext stays encoded here: it is decoded nowhere but where it is shown. */
struct smtp_mail {
	struct address from;
	bool has_size;
	uint64_t size_bytes; /* UINT64_MAX for what is larger still */
	enum smtp_body body;
	bool is_smtputf8;
	enum smtp_ret ret;
	char envid[SMTP_ENVID_MAX + 1];    /* "": none */
	char auth[SMTP_MAIL_AUTH_MAX + 1]; /* "": none; "<>": not known */
};

struct smtp_rcpt {
	struct address to;
	unsigned notify;                /* enum smtp_notify, or-ed */
	char orcpt[SMTP_ORCPT_MAX + 1]; /* "rfc822;xtext"; "": none */
};

/*
 * "FROM:<path> [parameters]" and "TO:<path> [parameters]".  -1 with *status_r:
 * 501 for bad syntax, bad values and parameters that came twice; 555 for
 * unknown ones (RFC 5321 section 4.1.1.11); 553 5.6.7 for UTF-8 in an address
 * without SMTPUTF8 (RFC 6531 section 3.5); 550 for source routes, which are
 * relaying by another name.  Outputs are then untouched.
 */
int smtp_mail_parse(struct slice argument, struct smtp_mail *mail_r,
    struct smtp_status *status_r);
int smtp_rcpt_parse(struct slice argument, bool is_smtputf8,
    struct smtp_rcpt *rcpt_r, struct smtp_status *status_r);

#endif
