/* SPDX-License-Identifier: ISC */
/*
 * Builds the message that tells a sender what became of his: a delivery status
 * notification (RFC 3464) in a multipart/report (RFC 6522), for people first
 * and for programs second.  Pure: the time, the ids and the names are given.
 *
 *   part 1  plain words: which address, what happened, what to do, the other
 *           server's answer as a quotation, the reference for "postern trace"
 *   part 2  message/delivery-status, every field that is known
 *   part 3  the original message or its header (RFC 3461 RET), without Bcc
 *
 * A server on the way back that lacks 8BITMIME would be its end, as nobody is
 * told of a notification that is lost: so it is all in seven bits, unless the
 * sender's own address cannot be named without SMTPUTF8.  Then, with text
 * outside ASCII, parts 2 and 3 are the message/global types of RFC 6533, as
 * they are.  No line passes 998 bytes.  Text from outside stands in the result
 * as data only: no control byte, no line end of its own.
 */
#ifndef RELAY_DSN_H
#define RELAY_DSN_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "common/buf.h"

enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_EXPANDED,
	DSN_RELAYED,
	DSN_DELIVERED,
	DSN_ACTION_COUNT,
};

struct dsn_recipient {
	enum dsn_action action;
	struct slice address; /* of the last attempt */
	struct slice orcpt;   /* "rfc822;address", decoded; empty: none given */
	struct slice status;  /* "5.1.1" (RFC 3463) */
	struct slice remote_mta; /* its name; empty: the verdict is our own */
	struct slice reply;  /* raw, of any length, with line ends; or empty */
	time_t last_attempt; /* 0: none was made */
	time_t will_retry_until; /* of delayed ones; else 0 */
};

struct dsn {
	struct slice reporting_mta; /* our host name */
	struct slice from;   /* "Mail Delivery System <mailer-daemon@…>" */
	struct slice sender; /* of the original, where this goes; not empty */
	struct slice message_id;    /* of this message, without its brackets */
	struct slice boundary_seed; /* random or unique: letters and digits */
	struct slice reference;     /* id of the original, for the trace */
	struct slice envid;         /* decoded; empty: none given */
	time_t now;
	time_t arrival;
	const struct dsn_recipient *recipients;
	size_t recipient_count; /* at least one */

	/* The original's header as it came, with or without its blank line. */
	struct slice header;
	bool hides_subject; /* the original's policy was "must be encrypted" */
	bool is_smtputf8;   /* the original came with SMTPUTF8 */
	/* RET=FULL: the whole message goes back, if its form allows it. */
	bool returns_body;
	struct slice body;
};

struct dsn_result {
	bool needs_smtputf8; /* and may have 8-bit bytes; else it has none */
	bool holds_body;     /* false: returns_body could not be, or was not */
};

/*
 * Appends the message to out.  A null sender is a bug of the caller: there is
 * never a notification about a notification (RFC 5321 §6.1).  -1 when out is
 * full; it then holds a part, and *result_r is not set.
 */
int dsn_build(
    const struct dsn *d, struct buf *out, struct dsn_result *result_r);

/* "failed", "delayed", ... (RFC 3464 §2.3.3). */
const char *dsn_action_text(enum dsn_action action);

#endif
