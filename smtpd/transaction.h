/* SPDX-License-Identifier: ISC */
/*
 * One mail transaction, from MAIL to the answer after the message.  All that
 * it holds is freed by transaction_free(), on every way out of it.
 */
#ifndef SMTPD_TRANSACTION_H
#define SMTPD_TRANSACTION_H

#include "common/ipc.h"
#include "common/smtp_command.h"

struct intake;
struct worker;

/* What a session may hold of recipients, encoded; more is told 452. */
#define TRANSACTION_RECIPIENTS_SIZE 262144

struct transaction {
	struct worker *worker;
	struct address from;
	char from_text[ADDRESS_TEXT_MAX];
	char envid[SMTP_ENVID_MAX + 1];
	uint64_t size_hint; /* SIZE=, or 0 */
	enum smtp_ret ret;
	bool is_utf8;
	bool is_known; /* of who is logged in or trusted */
	/* As QUEUE_SUBMIT wants them: encoded once, when they come. */
	struct ipc_list_writer recipients;
	char first_recipient[ADDRESS_TEXT_MAX];
	size_t charged;        /* of the worker's memory, for recipients */
	struct intake *intake; /* after DATA */
};

struct transaction *transaction_new(
    struct worker *worker, const struct smtp_mail *mail, bool is_known);
void transaction_free(struct transaction *transaction);

/* -1 when it does not fit (452). */
int transaction_add_recipient(struct transaction *transaction,
    const char *address, unsigned notify, const char *orcpt);

#endif
