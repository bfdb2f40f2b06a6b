/* SPDX-License-Identifier: ISC */
/*
 * What DNS says about a stranger who sends mail: does the sender's domain
 * exist, and does the client's name lead back to its address?  Decides which
 * questions are due and what their answers mean; asks nobody itself.
 */
#ifndef SMTPD_CLIENT_CHECK_H
#define SMTPD_CLIENT_CHECK_H

#include "common/domain.h"
#include "common/netaddr.h"
#include "smtpd/dns_message.h"

/* Names of one address that are tried; whoever has more is no better. */
#define CLIENT_CHECK_PTR_MAX 5
/* The domain's MX, A and AAAA, the client's PTR, and its names' addresses. */
#define CLIENT_CHECK_QUESTIONS_MAX (3 + 1 + CLIENT_CHECK_PTR_MAX)

enum client_part {
	CLIENT_PART_MX,      /* of the sender's domain */
	CLIENT_PART_ADDRESS, /* A and AAAA of it, where it has no MX */
	CLIENT_PART_PTR,     /* of the client's address */
	CLIENT_PART_FORWARD, /* does that name lead back? */
	CLIENT_PART_COUNT
};

struct client_question {
	struct domain name;
	enum dns_type type;
	enum client_part part;
};

struct client_check {
	struct netaddr client;
	struct client_question questions[CLIENT_CHECK_QUESTIONS_MAX];
	size_t count; /* rises as answers make more of them due */
	size_t pending[CLIENT_PART_COUNT];
	bool has_failed[CLIENT_PART_COUNT]; /* DNS gave no answer to one */

	bool is_sender_known;
	enum sender_verdict sender;
	bool is_ptr_known;
	enum ptr_status ptr_status;
	struct domain ptr_name; /* "" unless PTR_CONFIRMED */
	size_t ptr_rank;        /* which question confirmed it */
};

/* Begins; sender NULL for the null sender, which has no domain to check. */
void client_check_begin(struct client_check *check,
    const struct netaddr *client, const struct domain *sender);

/*
 * The answer to questions[index]; each is answered once.  Those that are due
 * at once are there after client_check_begin().
 */
void client_check_answer(struct client_check *check, size_t index,
    const struct dns_message *message);

bool client_check_is_done(const struct client_check *check);

/* No time left: what is not known yet is unknown, a temporary failure. */
void client_check_give_up(struct client_check *check);

#endif
