/* SPDX-License-Identifier: ISC */
/*
 * Lists of mailboxes as they stand in From, Sender, Reply-To, To, Cc
 * (RFC 5322 §3.4, RFC 6532, groups by RFC 6854).  Pure, iterative, no memory
 * of its own: it walks the raw, still folded value of a field.
 *
 * The grammar is that of RFC 5322 without its obsolete half, and stricter
 * where mail programs read the same bytes differently:
 *   - no blank, fold or comment inside an address (around it they may stand);
 *   - no route (<@a,@b:c@d>), no empty element between commas;
 *   - one '<' and one '>' for a mailbox, and nothing but comments behind it;
 *   - no control byte anywhere but the CRLF and tab of a fold;
 *   - 8-bit bytes must be valid UTF-8, and in an address only by flag;
 *   - no encoded-word in an address (RFC 2047 §5 forbids it, some decode it).
 * Taken from the obsolete half: a dot in an unquoted name ("John Q. Public").
 */
#ifndef COMMON_MAILBOX_LIST_H
#define COMMON_MAILBOX_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/* Comments nest (RFC 5322 §3.2.2); nobody needs more than a few levels. */
#define MAILBOX_COMMENT_DEPTH_MAX 100

/* Takes groups ("Team: a@b, c@d;"); without it a group is an error. */
#define MAILBOX_LIST_GROUPS 0x1u
/* Addresses may hold UTF-8 (RFC 6532): the message came with SMTPUTF8. */
#define MAILBOX_LIST_UTF8 0x2u

struct mailbox {
	struct slice name;       /* display name, raw; empty: none */
	struct slice address;    /* the addr-spec: local part, '@', domain */
	struct slice local_part; /* with its quotes, if it has some */
	struct slice domain;     /* a domain literal has its brackets */
	bool is_in_group;
};

enum mailbox_problem {
	MAILBOX_FINE,
	MAILBOX_GROUP,
	MAILBOX_8BIT,
	MAILBOX_NOT_UTF8,
	MAILBOX_CONTROL,
	MAILBOX_ENCODED_WORD,
	MAILBOX_NO_ADDRESS,
	MAILBOX_TWO_ADDRESSES,
	MAILBOX_OPEN_QUOTE,
	MAILBOX_OPEN_COMMENT,
	MAILBOX_DEEP_COMMENT,
	MAILBOX_OPEN_ANGLE,
	MAILBOX_ROUTE,
	MAILBOX_BAD_LOCAL_PART,
	MAILBOX_BAD_DOMAIN,
	MAILBOX_SYNTAX,
	MAILBOX_PROBLEM_COUNT,
};

struct mailbox_list {
	struct slice text;
	size_t at;
	unsigned flags;
	bool is_in_group;
	bool needs_element;      /* a comma stands before: one must follow */
	bool has_spoofy_comment; /* a comment with '@', '<' or '>' was seen */
	enum mailbox_problem problem;
};

void mailbox_list_init(
    struct mailbox_list *list, struct slice text, unsigned flags);

/*
 * The next mailbox: 1 and *mailbox_r set, 0 at the end of a list without
 * error, -1 when the text is no list; list->problem then says why, for good.
 * The slices point into the text.
 */
int mailbox_list_next(struct mailbox_list *list, struct mailbox *mailbox_r);

/* A clause for a reply: "a quoted string is not closed". */
const char *mailbox_problem_text(enum mailbox_problem problem);

#endif
