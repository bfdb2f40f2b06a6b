/* SPDX-License-Identifier: ISC */
/*
 * Who may do what: block and allow entries, which sender a client may name,
 * which recipient he may name.  Pure: no sockets, no clock, no questions to
 * others; time and what others said are arguments.
 */
#ifndef SMTPD_ACCESS_H
#define SMTPD_ACCESS_H

#include "common/address.h"
#include "common/settings.h"
#include "common/smtp_reply.h"

/* ---- block and allow entries ---- */

enum access_mark {
	ACCESS_UNMARKED,
	ACCESS_BLOCKED,
	ACCESS_ALLOWED,
	ACCESS_MARK_COUNT
};

struct access_list;

/*
 * The entries of a snapshot, put in order for looking up.  Of several that
 * match, the nearest counts: the longest prefix; the address before its
 * domain, that before the domains above it.
 */
struct access_list *access_list_new(const struct snapshot *snapshot);
void access_list_free(struct access_list *list);

enum access_mark access_client(const struct access_list *list,
    const struct netaddr *client, int64_t now_s);
enum access_mark access_sender(const struct access_list *list,
    const struct address *sender, int64_t now_s);

/* ---- senders and recipients ---- */

/* What is known of the client when it says MAIL or RCPT. */
struct access_subject {
	enum listener_kind listener;
	bool is_trusted; /* comes from smtp.trusted_networks */
	bool is_logged_in;
	/* Has the login the right to that sender?  Asked of its token. */
	bool owns_sender;
};

/* May this client say anything about mail?  -1: the reply why not. */
int access_check_client(
    const struct access_subject *subject, struct smtp_status *status_r);

/*
 * May he name this sender?  mark: what access_sender() said.  -1 with the
 * reply; 0 else, and then *needs_dns_r tells whether the sender's domain is to
 * be looked up.
 */
int access_check_sender(const struct access_subject *subject,
    const struct snapshot *snapshot, const struct address *sender,
    enum access_mark mark, bool *needs_dns_r, struct smtp_status *status_r);

enum access_recipient {
	ACCESS_RCPT_OK,
	ACCESS_RCPT_ASK,        /* one of ours: the directory knows */
	ACCESS_RCPT_POSTMASTER, /* <postmaster>: system.postmaster gets it */
	ACCESS_RCPT_REFUSED,
	ACCESS_RECIPIENT_COUNT
};

/* *status_r is set when the answer is ACCESS_RCPT_REFUSED. */
enum access_recipient access_check_recipient(
    const struct access_subject *subject, const struct snapshot *snapshot,
    const struct address *recipient, struct smtp_status *status_r);

/* Is the address within one of our domains? */
bool access_is_ours(
    const struct snapshot *snapshot, const struct address *address);

/* More addresses than these are in no From that a person should read. */
#define ACCESS_FROM_ADDRESSES_MAX 100

enum access_from {
	ACCESS_FROM_FOREIGN,
	ACCESS_FROM_OURS,
	ACCESS_FROM_TOO_MANY, /* addresses: not all were looked at */
	ACCESS_FROM_COUNT
};

/*
 * The value of a From field, however it is written: does it name one of our
 * domains?  A value that is no list of mailboxes is searched for anything
 * that a mail program might show as an address of ours.
 */
enum access_from access_from_names(
    const struct snapshot *snapshot, struct slice from_value);

#endif
