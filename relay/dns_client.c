/* SPDX-License-Identifier: ISC */
/*
 * DNS by way of postern-checkd.
 * Runs in: postern-relayd.  Trusts: checkd's frames as far as the message
 * table checks them; the records' contents are parsed here.
 */
#include <string.h>

#include "relay/dns_client.h"

/* Above dns.timeout's usual value: checkd answers first. */
#define ANSWER_DEADLINE_MS 65000

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	static const struct ipc_dns_answer away = {
	    .status = DNS_TEMPORARY, .reason = {"no answer from checkd", 21}};
	struct dns_question *question = arg;

	question->request_id = 0;
	question->was_lost = frame == NULL;
	if (frame == NULL ||
	    frame->message->dns_answer.status >= DNS_STATUS_COUNT)
		question->answer(question->arg, &away);
	else
		question->answer(question->arg, &frame->message->dns_answer);
}

int
dns_client_ask(struct link *checkd, struct dns_question *question,
    const char *name, enum dns_type type,
    void (*answer)(void *arg, const struct ipc_dns_answer *answer), void *arg)
{
	struct ipc_dns_query query = {
	    .name = slice_of(name), .type = (uint16_t)type};

	*question = (struct dns_question){
	    .channel = link_channel(checkd), .answer = answer, .arg = arg};
	if (question->channel != NULL)
		question->request_id = channel_request(question->channel,
		    MSG_DNS_QUERY, &query, NULL, MSG_DNS_ANSWER,
		    ANSWER_DEADLINE_MS, on_answer, question);
	question->was_lost = question->request_id == 0;
	return question->was_lost ? -1 : 0;
}

void
dns_client_cancel(struct dns_question *question)
{
	if (question->request_id != 0)
		channel_forget(question->channel, question->request_id);
	question->request_id = 0;
}

size_t
dns_client_addresses(
    const struct ipc_dns_answer *answer, struct netaddr *out, size_t size)
{
	struct ipc_list list = answer->records;
	struct ipc_record_rr rr;
	size_t count = 0;

	while (count < size && ipc_rr_next(&list, &rr)) {
		struct netaddr address = {.family = NETADDR_NONE};

		if (rr.type == DNS_TYPE_A && rr.data.n == 4)
			address.family = NETADDR_IPV4;
		else if (rr.type == DNS_TYPE_AAAA && rr.data.n == 16)
			address.family = NETADDR_IPV6;
		else
			continue;
		memcpy(address.bytes, rr.data.p, rr.data.n);
		/* ::ffff:127.0.0.1 is 127.0.0.1 and is checked as that. */
		if (address.family == NETADDR_IPV6) {
			struct sockaddr_storage sa;
			socklen_t n = netaddr_to_sockaddr(&address, 1, &sa);

			if (netaddr_from_sockaddr((struct sockaddr *)&sa, n,
				&address, NULL) == -1)
				continue;
		}
		out[count++] = address;
	}
	return count;
}

size_t
dns_client_mx(
    const struct ipc_dns_answer *answer, struct mx_host *out, size_t size)
{
	struct ipc_list list = answer->records;
	struct ipc_record_rr rr;
	size_t count = 0;

	while (count < size && ipc_rr_next(&list, &rr)) {
		if (rr.type != DNS_TYPE_MX)
			continue;
		out[count].preference = rr.preference;
		if (slice_copy(
			rr.name, out[count].name, sizeof(out[count].name)) == 0)
			count++;
	}
	return count;
}

uint32_t
dns_client_ttl(const struct ipc_dns_answer *answer, uint32_t most)
{
	struct ipc_list list = answer->records;
	struct ipc_record_rr rr;

	while (ipc_rr_next(&list, &rr)) {
		if (rr.ttl_s < most)
			most = rr.ttl_s;
	}
	return most;
}
