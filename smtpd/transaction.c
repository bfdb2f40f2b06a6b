/* SPDX-License-Identifier: ISC */
/*
 * Holds the envelope of one message.
 * Runs in: postern-smtpd, in the workers.  Trusts: that its values were
 * parsed; how much of them there is has a limit.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "smtpd/intake.h"
#include "smtpd/transaction.h"
#include "smtpd/worker.h"

/* What a recipient takes beside its texts, and the room that it has spare. */
#define RECIPIENT_SIZE 64

struct transaction *
transaction_new(
    struct worker *worker, const struct smtp_mail *mail, bool is_known)
{
	struct transaction *transaction = xmalloc(sizeof(*transaction));

	transaction->worker = worker;
	transaction->from = mail->from;
	(void)address_format(&mail->from, transaction->from_text);
	memcpy(transaction->envid, mail->envid, sizeof(transaction->envid));
	transaction->size_hint = mail->has_size ? mail->size_bytes : 0;
	transaction->ret = mail->ret;
	transaction->is_utf8 = mail->is_smtputf8;
	transaction->is_known = is_known;
	ipc_list_writer_init(
	    &transaction->recipients, TRANSACTION_RECIPIENTS_SIZE);
	transaction->first_recipient[0] = '\0';
	transaction->charged = 0;
	transaction->intake = NULL;
	return transaction;
}

void
transaction_free(struct transaction *transaction)
{
	if (transaction == NULL)
		return;
	intake_free(transaction->intake);
	worker_refund(transaction->worker, transaction->charged);
	ipc_list_writer_clear(&transaction->recipients);
	free(transaction);
}

int
transaction_add_recipient(struct transaction *transaction, const char *address,
    unsigned notify, const char *orcpt)
{
	struct ipc_list_writer *list = &transaction->recipients;
	struct ipc_record_recipient record = {.id = list->count,
	    .address = slice_of(address),
	    .notify = (uint16_t)notify,
	    .orcpt = slice_of(orcpt)};
	size_t size = record.address.n + record.orcpt.n + RECIPIENT_SIZE;

	if (!worker_charge(transaction->worker, size, transaction->is_known))
		return -1;
	if (ipc_recipient_add(list, &record, NULL) == -1) {
		worker_refund(transaction->worker, size);
		return -1;
	}
	transaction->charged += size;
	if (list->count == 1)
		(void)slice_copy(slice_of(address),
		    transaction->first_recipient,
		    sizeof(transaction->first_recipient));
	return 0;
}
