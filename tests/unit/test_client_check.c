/* SPDX-License-Identifier: ISC */
/*
 * Which questions a stranger's mail needs, and what their answers mean.
 */
#include <string.h>

#include "smtpd/client_check.h"
#include "tests/unit/tap.h"

static struct client_check check;
static struct dns_message message;

static void
begin(const char *client, const char *sender)
{
	struct netaddr address;
	struct domain domain;

	if (netaddr_parse(slice_of(client), &address) == -1 ||
	    domain_parse_dns(slice_of(sender != NULL ? sender : "a.test"),
	        &domain, NULL) == -1)
		bug("a wrong address or domain in a test");
	client_check_begin(&check, &address, sender != NULL ? &domain : NULL);
}

/* The answer to the question of that part and type, without records. */
static void
answer(size_t index, enum dns_status status)
{
	dns_message_set(&message, status, "");
	client_check_answer(&check, index, &message);
}

/* With names (up to a NULL), as MX or PTR. */
static void
answer_names(size_t index, const char *const *names)
{
	dns_message_set(&message, DNS_OK, "");
	for (; *names != NULL; names++) {
		message.records[message.count] = (struct dns_record){0};
		message.records[message.count++].name = *names;
	}
	client_check_answer(&check, index, &message);
}

#define ANSWER_NAMES(index, ...) \
	answer_names(index, (const char *const[]){__VA_ARGS__, NULL})

static void
answer_address(size_t index, const char *address)
{
	struct netaddr parsed;

	if (netaddr_parse(slice_of(address), &parsed) == -1)
		bug("a wrong address in a test");
	dns_message_set(&message, DNS_OK, "");
	message.count = 1;
	message.records[0] = (struct dns_record){.name = "",
	    .data = {(const char *)parsed.bytes,
	        parsed.family == NETADDR_IPV4 ? 4 : 16}};
	client_check_answer(&check, index, &message);
}

static void
test_questions(void)
{
	begin("192.0.2.1", "example.test");
	is_u64(check.count, 2, "two questions at first");
	is_str(check.questions[0].name.text, "example.test", "the sender's");
	ok(check.questions[0].type == DNS_TYPE_MX, "MX");
	is_str(check.questions[1].name.text, "1.2.0.192.in-addr.arpa",
	    "the client's");
	ok(check.questions[1].type == DNS_TYPE_PTR, "PTR");
	begin("2001:db8::1", NULL);
	is_u64(check.count, 1, "the null sender has no domain");
	ok(check.is_sender_known && check.sender == SENDER_OK, "and is fine");
	is_str(check.questions[0].name.text,
	    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
	    "ip6.arpa",
	    "an IPv6 client's");
}

static enum sender_verdict
sender_after(enum dns_status mx, enum dns_status a, enum dns_status aaaa)
{
	begin("192.0.2.1", "example.test");
	answer(0, mx);
	if (check.count == 4) {
		answer(2, a);
		answer(3, aaaa);
	}
	if (!check.is_sender_known)
		bug("the sender is not decided");
	return check.sender;
}

static void
test_sender(void)
{
	static const struct {
		const char *what;
		enum dns_status mx;
		enum dns_status a;
		enum dns_status aaaa;
		enum sender_verdict want;
	} rows[] = {
	    {"no such domain", DNS_NXDOMAIN, DNS_OK, DNS_OK,
	        SENDER_NO_DOMAIN},
	    {"no MX, an IPv4 address", DNS_NODATA, DNS_OK, DNS_NODATA,
	        SENDER_OK},
	    {"no MX, an IPv6 address", DNS_NODATA, DNS_NODATA, DNS_OK,
	        SENDER_OK},
	    {"neither MX nor address", DNS_NODATA, DNS_NODATA, DNS_NODATA,
	        SENDER_NO_DOMAIN},
	    {"an address in spite of a failure", DNS_NODATA, DNS_TEMPORARY,
	        DNS_OK, SENDER_OK},
	    {"no answer about an address", DNS_NODATA, DNS_TEMPORARY,
	        DNS_NODATA, SENDER_TEMPORARY},
	    {"a bogus answer about an address", DNS_NODATA, DNS_NODATA,
	        DNS_BOGUS, SENDER_TEMPORARY},
	    {"no answer about MX", DNS_TEMPORARY, DNS_OK, DNS_OK,
	        SENDER_TEMPORARY},
	    {"a bogus MX", DNS_BOGUS, DNS_OK, DNS_OK, SENDER_TEMPORARY},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(sender_after(rows[i].mx, rows[i].a, rows[i].aaaa),
		    rows[i].want, "%s", rows[i].what);
	begin("192.0.2.1", "example.test");
	ANSWER_NAMES(0, "mx.example.test");
	ok(check.sender == SENDER_OK && check.count == 2,
	    "an MX is enough; its address is not asked");
	begin("192.0.2.1", "example.test");
	ANSWER_NAMES(0, ".");
	is_int(check.sender, SENDER_NULL_MX, "a null MX");
	begin("192.0.2.1", "example.test");
	ANSWER_NAMES(0, ".", "mx.example.test");
	is_int(check.sender, SENDER_OK, "a root beside another MX");
	ok(!client_check_is_done(&check), "the client's name is still due");
}

static void
test_ptr(void)
{
	begin("192.0.2.1", NULL);
	ANSWER_NAMES(0, "one.test", "<b>", "two.test");
	is_u64(check.count, 3, "names that are none are not asked about");
	ok(check.questions[2].type == DNS_TYPE_A, "the client's family is");
	answer_address(2, "192.0.2.1");
	ok(!client_check_is_done(&check), "the first name is waited for");
	answer_address(1, "192.0.2.1");
	ok(client_check_is_done(&check), "then all is known");
	is_int(check.ptr_status, PTR_CONFIRMED, "it leads back");
	is_str(check.ptr_name.text, "one.test", "the first that does");

	begin("2001:db8::1", NULL);
	ANSWER_NAMES(0, "one.test");
	ok(check.questions[1].type == DNS_TYPE_AAAA, "of IPv6, AAAA");
	answer_address(1, "2001:db8::2");
	is_int(check.ptr_status, PTR_UNCONFIRMED, "another address");
	is_str(check.ptr_name.text, "", "and no name");

	begin("192.0.2.1", NULL);
	ANSWER_NAMES(0, "one.test", "two.test");
	answer(1, DNS_BOGUS);
	answer(2, DNS_NXDOMAIN);
	is_int(check.ptr_status, PTR_UNKNOWN, "no answer, and no such name");
	begin("192.0.2.1", NULL);
	answer(0, DNS_NXDOMAIN);
	is_int(check.ptr_status, PTR_NONE, "no PTR");
	begin("192.0.2.1", NULL);
	answer(0, DNS_TEMPORARY);
	is_int(check.ptr_status, PTR_UNKNOWN, "no answer about PTR");
	begin("192.0.2.1", NULL);
	ANSWER_NAMES(0, "", "-.-");
	is_int(check.ptr_status, PTR_UNCONFIRMED, "a PTR to junk alone");
}

static void
test_bounds(void)
{
	const char *names[300];

	begin("192.0.2.1", "example.test");
	answer(0, DNS_NODATA);
	for (size_t i = 0; i < DNS_RECORDS_MAX; i++)
		names[i] = "one.test";
	names[DNS_RECORDS_MAX] = NULL;
	answer_names(1, names);
	is_u64(check.count, CLIENT_CHECK_QUESTIONS_MAX,
	    "no more questions, whatever the answers");

	client_check_give_up(&check);
	ok(client_check_is_done(&check), "giving up ends it");
	ok(check.sender == SENDER_TEMPORARY &&
	        check.ptr_status == PTR_UNKNOWN,
	    "what is not known is a failure for now");
	begin("192.0.2.1", NULL);
	ANSWER_NAMES(0, "one.test", "two.test");
	answer_address(2, "192.0.2.1");
	client_check_give_up(&check);
	ok(check.ptr_status == PTR_CONFIRMED &&
	        strcmp(check.ptr_name.text, "two.test") == 0,
	    "what is confirmed stays so");
	ok(check.sender == SENDER_OK, "and what is decided");
}

int
main(void)
{
	test_questions();
	test_sender();
	test_ptr();
	test_bounds();
	return tap_done();
}
