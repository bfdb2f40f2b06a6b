/* SPDX-License-Identifier: ISC */
/*
 * The questions of CHECK_MAIL and their meaning.
 * Runs in: postern-checkd.  Trusts: neither the client's names nor the answers
 * further than DNS goes: a name counts only when it leads back.
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/client_check.h"

static void
add_question(struct client_check *check, enum client_part part,
    const struct domain *name, enum dns_type type)
{
	if (check->count == CLIENT_CHECK_QUESTIONS_MAX)
		bug("client_check: more questions than it may have");
	check->questions[check->count].name = *name;
	check->questions[check->count].type = type;
	check->questions[check->count].part = part;
	check->count++;
	check->pending[part]++;
}

static bool
is_failure(const struct dns_message *message)
{
	return message->status == DNS_TEMPORARY ||
	    message->status == DNS_BOGUS;
}

/* ---- the sender's domain ---- */

static void
decide_sender(struct client_check *check, enum sender_verdict verdict)
{
	if (check->is_sender_known)
		return;
	check->is_sender_known = true;
	check->sender = verdict;
}

/* RFC 7505 §3: one MX that names the root.  Beside others it means nothing. */
static bool
is_null_mx(const struct dns_message *message)
{
	return message->count == 1 &&
	    strcmp(message->records[0].name, ".") == 0;
}

static void
take_mx(struct client_check *check, size_t index,
    const struct dns_message *message)
{
	const struct domain name = check->questions[index].name;

	switch (message->status) {
	case DNS_OK:
		decide_sender(check,
		    is_null_mx(message) ? SENDER_NULL_MX : SENDER_OK);
		break;
	case DNS_NODATA: /* RFC 5321 §5.1: an address will do */
		add_question(check, CLIENT_PART_ADDRESS, &name, DNS_TYPE_A);
		add_question(check, CLIENT_PART_ADDRESS, &name, DNS_TYPE_AAAA);
		break;
	case DNS_NXDOMAIN:
		decide_sender(check, SENDER_NO_DOMAIN);
		break;
	default:
		decide_sender(check, SENDER_TEMPORARY);
		break;
	}
}

static void
take_address(struct client_check *check, size_t index,
    const struct dns_message *message)
{
	(void)index;
	if (message->status == DNS_OK)
		decide_sender(check, SENDER_OK);
	else if (check->pending[CLIENT_PART_ADDRESS] == 0)
		decide_sender(check,
		    check->has_failed[CLIENT_PART_ADDRESS] ? SENDER_TEMPORARY
		                                           : SENDER_NO_DOMAIN);
}

/* ---- the client's name ---- */

static void
decide_ptr(struct client_check *check, enum ptr_status status)
{
	if (check->is_ptr_known)
		return;
	check->is_ptr_known = true;
	check->ptr_status = status;
}

/* RFC 1035 §3.5, RFC 3596 §2.5. */
static void
reverse_name(const struct netaddr *address, struct domain *name_r)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = address->bytes;
	size_t used = 0;

	if (address->family == NETADDR_IPV4) {
		(void)snprintf(name_r->text, sizeof(name_r->text),
		    "%u.%u.%u.%u.in-addr.arpa", p[3], p[2], p[1], p[0]);
		return;
	}
	for (size_t i = 16; i-- > 0;) {
		name_r->text[used++] = digits[p[i] & 15];
		name_r->text[used++] = '.';
		name_r->text[used++] = digits[p[i] >> 4];
		name_r->text[used++] = '.';
	}
	(void)snprintf(
	    name_r->text + used, sizeof(name_r->text) - used, "ip6.arpa");
}

/* Anybody may write anything into his reverse zone: only names count. */
static void
ask_forward(struct client_check *check, const struct dns_message *message)
{
	enum dns_type type = check->client.family == NETADDR_IPV4
	    ? DNS_TYPE_A
	    : DNS_TYPE_AAAA;
	struct domain name;

	for (size_t i = 0; i < message->count; i++) {
		if (check->pending[CLIENT_PART_FORWARD] == CLIENT_CHECK_PTR_MAX)
			return;
		if (domain_parse_dns(slice_of(message->records[i].name), &name,
		        NULL) == 0)
			add_question(check, CLIENT_PART_FORWARD, &name, type);
	}
}

static void
take_ptr(struct client_check *check, size_t index,
    const struct dns_message *message)
{
	(void)index;
	if (is_failure(message))
		decide_ptr(check, PTR_UNKNOWN);
	else if (message->status != DNS_OK)
		decide_ptr(check, PTR_NONE);
	else
		ask_forward(check, message);
	if (check->pending[CLIENT_PART_FORWARD] == 0)
		decide_ptr(check, PTR_UNCONFIRMED);
}

static bool
holds_client(
    const struct client_check *check, const struct dns_message *message)
{
	size_t size = check->client.family == NETADDR_IPV4 ? 4 : 16;

	for (size_t i = 0; i < message->count; i++)
		if (message->records[i].data.n == size &&
		    memcmp(message->records[i].data.p, check->client.bytes,
		        size) == 0)
			return true;
	return false;
}

/* The first of several that lead back, so that each time is like the last. */
static void
take_forward(struct client_check *check, size_t index,
    const struct dns_message *message)
{
	bool is_better =
	    check->ptr_name.text[0] == '\0' || index < check->ptr_rank;

	if (message->status == DNS_OK && is_better &&
	    holds_client(check, message)) {
		check->ptr_name = check->questions[index].name;
		check->ptr_rank = index;
	}
	if (check->pending[CLIENT_PART_FORWARD] > 0)
		return;
	if (check->ptr_name.text[0] != '\0')
		decide_ptr(check, PTR_CONFIRMED);
	else
		decide_ptr(check,
		    check->has_failed[CLIENT_PART_FORWARD] ? PTR_UNKNOWN
		                                           : PTR_UNCONFIRMED);
}

/* ---- exported ---- */

void
client_check_begin(struct client_check *check, const struct netaddr *client,
    const struct domain *sender)
{
	struct domain reverse;

	*check = (struct client_check){.client = *client};
	if (sender != NULL)
		add_question(check, CLIENT_PART_MX, sender, DNS_TYPE_MX);
	else
		decide_sender(check, SENDER_OK);
	reverse_name(client, &reverse);
	add_question(check, CLIENT_PART_PTR, &reverse, DNS_TYPE_PTR);
}

void
client_check_answer(struct client_check *check, size_t index,
    const struct dns_message *message)
{
	static void (*const take[CLIENT_PART_COUNT])(struct client_check *,
	    size_t, const struct dns_message *) = {
	    [CLIENT_PART_MX] = take_mx,
	    [CLIENT_PART_ADDRESS] = take_address,
	    [CLIENT_PART_PTR] = take_ptr,
	    [CLIENT_PART_FORWARD] = take_forward,
	};
	enum client_part part = check->questions[index].part;

	check->pending[part]--;
	if (is_failure(message))
		check->has_failed[part] = true;
	take[part](check, index, message);
}

bool
client_check_is_done(const struct client_check *check)
{
	return check->is_sender_known && check->is_ptr_known;
}

void
client_check_give_up(struct client_check *check)
{
	decide_sender(check, SENDER_TEMPORARY);
	if (!check->is_ptr_known && check->ptr_name.text[0] != '\0')
		decide_ptr(check, PTR_CONFIRMED);
	decide_ptr(check, PTR_UNKNOWN);
}
