/* SPDX-License-Identifier: ISC */
/*
 * Attempts on their way to the signer.
 * Runs in: postern-queued.  Trusts: its own store.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/queue_sign_parts.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"

/* ---- the message ---- */

static int
list_demands(const struct sign_job *job, struct ipc_list_writer *list)
{
	struct queue_message *message = job->message;

	for (size_t i = 0; i < job->share.count; i++) {
		const uint32_t number = job->share.numbers[i];
		const struct queue_demand *demand =
		    queue_protection_demand(message->protection, number);
		const struct queue_recipient *recipient =
		    queue_message_recipient(message, number);
		struct ipc_record_demand record;

		if (demand == NULL || recipient == NULL)
			bug("the signer is asked for no recipient");
		record = (struct ipc_record_demand){.number = number,
		    .address = slice_of(recipient->address),
		    .sign = demand->sign,
		    .encrypt = demand->encrypt,
		    .method = demand->method,
		    .options = demand->options,
		    .min_trust = demand->min_trust};
		if (ipc_demand_add(list, &record, NULL) == -1)
			return -1;
	}
	return 0;
}

/* The fields that both forms of a job share. */
#define FILL_JOB(m, job, removal_list, recipient_list)                         \
	do {                                                                   \
		const struct queue_message *message = (job)->message;          \
		(m)->message_id = message->id;                                 \
		(m)->attempt = (job)->attempt;                                 \
		(m)->direction = message->protection->direction;               \
		(m)->dkim = message->protection->dkim;                         \
		(m)->reverse_path = slice_of(message->sender);                 \
		(m)->header_from = slice_of(message->protection->header_from); \
		(m)->size_octets = message->size;                              \
		(m)->removals = (removal_list);                                \
		(m)->recipients = (recipient_list);                            \
	} while (0)

static int
send_inline(
    struct sign_job *job, struct ipc_list removals, struct ipc_list recipients)
{
	struct ipc_sign_job m;

	FILL_JOB(&m, job, removals, recipients);
	m.content = (struct slice){job->message->content, job->message->size};
	return channel_send(job->sign->signer, MSG_SIGN_JOB, &m, NULL);
}

static int
send_file(
    struct sign_job *job, struct ipc_list removals, struct ipc_list recipients)
{
	struct ipc_sign_file m;
	int fd =
	    queue_spool_open(job->sign->queued->spool, job->message->id, 0);
	int rc;

	if (fd == -1)
		return -1;
	FILL_JOB(&m, job, removals, recipients);
	rc = channel_send(job->sign->signer, MSG_SIGN_FILE, &m, &fd);
	(void)close(fd);
	return rc;
}

static int
send_now(struct sign_job *job)
{
	struct ipc_list_writer removals;
	struct ipc_list_writer recipients;
	int rc;

	queue_removals_list(job->message->protection->removals, &removals);
	ipc_list_writer_init(&recipients, IPC_RECIPIENTS_MAX * 512);
	rc = list_demands(job, &recipients);
	if (rc == 0 && job->message->is_file)
		rc = send_file(
		    job, ipc_list_of(&removals), ipc_list_of(&recipients));
	else if (rc == 0)
		rc = send_inline(
		    job, ipc_list_of(&removals), ipc_list_of(&recipients));
	ipc_list_writer_clear(&removals);
	ipc_list_writer_clear(&recipients);
	return rc;
}

void
sign_send_forget(const struct sign_job *job)
{
	struct ipc_sign_forget m = {
	    .message_id = job->message->id, .attempt = job->attempt};

	if (job->sign->signer != NULL && channel_is_up(job->sign->signer))
		(void)channel_send(
		    job->sign->signer, MSG_SIGN_FORGET, &m, NULL);
}

/* ---- content that is only on disk ---- */

struct original_read {
	struct pool_task task;
	struct queue_sign *sign;
	uint64_t message_id;
	struct buf content;
	int rc;
	struct err err;
};

static void
run_read(struct pool_task *task)
{
	struct original_read *read = (struct original_read *)task;

	read->rc = queue_store_content(read->sign->queued->reader,
	    read->message_id, 0, SIZE_MAX, &read->content, &read->err);
}

static void
keep_content(struct sign_job *job, const struct original_read *read)
{
	struct queue_message *message = job->message;

	if (message->content != NULL)
		return;
	message->size = read->content.n;
	message->content = xmalloc(read->content.n);
	memcpy(message->content, read->content.p, read->content.n);
	queue_message_charge(message, &job->sign->queued->memory_used);
}

static void
done_read(struct pool_task *task)
{
	struct original_read *read = (struct original_read *)task;
	struct sign_job *job = sign_job_find(read->sign, read->message_id);

	/* Else its attempt is over, for the channel was lost. */
	if (job != NULL && job->is_reading) {
		job->is_reading = false;
		if (read->rc == 0)
			keep_content(job, read);
		if (read->rc == -1)
			sign_settle_temporary(job, "4.3.0", read->err.text);
		else if (send_now(job) == -1)
			sign_settle_temporary(
			    job, "4.3.0", "It does not fit into a frame");
	}
	buf_clear(&read->content);
	free(read);
}

static void
read_content(struct sign_job *job)
{
	struct original_read *read = xcalloc(1, sizeof(*read));

	read->task.run = run_read;
	read->task.done = done_read;
	read->sign = job->sign;
	read->message_id = job->message->id;
	buf_init(&read->content, IPC_INLINE_MAX + IPC_TRACE_MAX);
	job->is_reading = true;
	pool_submit(job->sign->queued->reader_pool, &read->task);
}

/* ---- an attempt ---- */

int
sign_send(struct sign_job *job, struct err *err)
{
	struct queue_message *message = job->message;

	job->attempt = ++message->protection->attempts;
	message->protection->asked_next = job->share.next;
	if (message->is_file || message->content != NULL) {
		if (send_now(job) == -1)
			return err_set(err, "%s",
			    message->is_file ? "its file cannot be opened"
					     : "it does not fit into a frame");
	} else {
		read_content(job);
	}
	job->is_out = true;
	job->deadline_ms = clock_monotonic_ms() + SIGN_LATE_DEADLINE_MS;
	job->octets = message->is_file ? 0 : (size_t)message->size;
	job->sign->out++;
	job->sign->out_octets += job->octets;
	if (job->share.outputs > 1) {
		job->sign->wide_outputs += job->share.outputs;
		job->sign->wide_octets += job->wide_octets;
	}
	return 0;
}
