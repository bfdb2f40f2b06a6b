/* SPDX-License-Identifier: ISC */
/*
 * DNS_QUERY: one question to the DNS, asked for another program.
 * Runs in: postern-checkd.  Trusts: nothing in the question; the name in it
 * may be a stranger's.
 */
#include <stdlib.h>

#include "smtpd/checkd.h"

/* More than any packet holds, names written out in full. */
#define RECORDS_SIZE_MAX 262144

struct query {
	struct checkd_job job;
	struct resolver_question *question;
	enum dns_type type;
};

static void
drop_query(struct checkd_job *job)
{
	struct query *query = (struct query *)job;

	resolver_forget(query->question);
	checkd_job_leave(job);
	free(query);
}

/* A record above its row's limit (a TXT of pages) is left out. */
static void
add_records(struct ipc_list_writer *writer, enum dns_type type,
    const struct dns_message *message)
{
	for (size_t i = 0; i < message->count; i++) {
		const struct dns_record *record = &message->records[i];
		struct ipc_record_rr rr = {.type = (uint16_t)type,
		    .preference = record->preference,
		    .ttl_s = record->ttl_s,
		    .name = slice_of(record->name),
		    .data = record->data};

		(void)ipc_rr_add(writer, &rr, NULL);
	}
}

static void
on_answer(void *arg, const struct dns_message *message)
{
	struct query *query = arg;
	struct ipc_dns_answer answer = {.status = (uint16_t)message->status,
	    .is_secure = message->is_secure,
	    .canonical_name = slice_of(message->canonical_name),
	    .reason = slice_of(message->reason)};
	struct ipc_list_writer writer;

	ipc_list_writer_init(&writer, RECORDS_SIZE_MAX);
	add_records(&writer, query->type, message);
	answer.records = ipc_list_of(&writer);
	checkd_job_end(&query->job, MSG_DNS_ANSWER, &answer);
	ipc_list_writer_clear(&writer);
	free(query);
}

static int
answer_without_asking(struct channel *channel, uint64_t request_id,
    enum dns_status status, const char *reason)
{
	struct ipc_dns_answer answer = {
	    .status = (uint16_t)status, .reason = slice_of(reason)};

	return channel_answer(channel, request_id, MSG_DNS_ANSWER, &answer);
}

int
checkd_on_dns_query(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_dns_query *message = &frame->message->dns_query;
	struct domain name;
	struct query *query;

	if (!dns_type_is_known(message->type))
		return -1;
	if (domain_parse_dns(message->name, &name, NULL) == -1)
		return answer_without_asking(channel, frame->request_id,
		    DNS_NXDOMAIN, "not a domain name");
	query = xcalloc(1, sizeof(*query));
	query->type = (enum dns_type)message->type;
	if (!checkd_job_start(
	        &query->job, channel, frame->request_id, drop_query)) {
		free(query);
		return answer_without_asking(channel, frame->request_id,
		    DNS_TEMPORARY, "too many questions at once");
	}
	query->question = resolver_ask(checkd_of(channel)->resolver, &name,
	    query->type, on_answer, query);
	if (query->question == NULL) {
		checkd_job_leave(&query->job);
		free(query);
		return answer_without_asking(channel, frame->request_id,
		    DNS_TEMPORARY, "too many questions at once");
	}
	return 0;
}
