/* SPDX-License-Identifier: ISC */
/*
 * Who a message says it is from.  The rule of the gateway: exactly one From
 * field with exactly one mailbox (stricter than RFC 5322 §3.6.2, which allows
 * several), and written so that every mail program shows the same one.  Pure.
 */
#ifndef COMMON_FROM_HEADER_H
#define COMMON_FROM_HEADER_H

#include <stdbool.h>

#include "common/address.h"
#include "common/buf.h"
#include "common/header.h"
#include "common/mailbox_list.h"

/* One line of an SMTP reply. */
#define FROM_HEADER_REASON_MAX 160

enum from_header_problem {
	FROM_HEADER_FINE,
	FROM_HEADER_BROKEN_HEADER, /* the header cannot be read in one way */
	FROM_HEADER_NONE,
	FROM_HEADER_SEVERAL_FIELDS,
	FROM_HEADER_SPACED_COLON,
	FROM_HEADER_EMPTY,
	FROM_HEADER_SEVERAL_MAILBOXES,
	FROM_HEADER_GROUP,
	FROM_HEADER_8BIT,      /* in the address, or not UTF-8 at all */
	FROM_HEADER_CONTROL,   /* also hidden in an encoded word */
	FROM_HEADER_AMBIGUOUS, /* well formed, but shown in two ways */
	FROM_HEADER_MALFORMED,
	FROM_HEADER_OTHER, /* another field is unusable or names another */
	FROM_HEADER_PROBLEM_COUNT,
};

struct from_header {
	enum from_header_problem problem;
	struct mailbox mailbox; /* only when fine; points into the header */
	char
	    reason[FROM_HEADER_REASON_MAX]; /* only when not: ASCII, no CR LF */
};

/*
 * Checks a header that was read to its end.  with_utf8: the message came with
 * SMTPUTF8, so that its address may hold UTF-8.  0 and the mailbox, or -1 and
 * a reason fit to follow "550 5.7.1 ".
 */
int from_header_check(
    const struct header *h, bool with_utf8, struct from_header *from_r);

typedef bool from_header_own_fn(const void *arg, const struct address *address);

/*
 * Fields beside From that mail programs show as who sent it ("boss on behalf
 * of alice"): Sender, Resent-From and Resent-Sender.  Each mailbox in them has
 * to be one that is_own() takes.  0, or -1 and problem and reason as above.
 */
int from_header_check_others(const struct header *h, bool with_utf8,
    from_header_own_fn *is_own, const void *arg, struct from_header *refusal_r);

#endif
