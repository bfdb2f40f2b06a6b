/* SPDX-License-Identifier: ISC */
/*
 * Who may do what: entries for clients and senders, senders and recipients by
 * kind of client, and our domains in a From field.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "smtpd/access.h"
#include "tests/unit/tap.h"

#define NOW 1000

static struct domain_entry domains[] = {
    {.name = {"list.example"}, .mode = DOMAIN_LIST},
    {.name = {"ours.example"}, .mode = DOMAIN_ANY},
    {.name = {"xn--mller-kva.example"}, .mode = DOMAIN_ANY},
};

static struct address
address(const char *text)
{
	struct address parsed;
	struct err err;

	if (address_parse_path(slice_of(text),
		ADDRESS_MAY_BE_UTF8 | ADDRESS_MAY_BE_NULL |
		    ADDRESS_MAY_BE_POSTMASTER,
		&parsed, &err) == -1)
		fatal("%s: %s", text, err.text);
	return parsed;
}

static struct snapshot
snapshot_of(struct access_entry *entries, size_t count)
{
	struct snapshot snapshot = {.domains = domains,
	    .domain_count = sizeof(domains) / sizeof(domains[0]),
	    .access = entries,
	    .access_count = count};

	settings_init(&snapshot.settings);
	return snapshot;
}

/* ---- entries ---- */

struct mark_row {
	const char *who;
	enum access_mark mark;
	const char *what;
};

static void
test_clients(void)
{
	struct access_entry entries[] = {
	    {false, true, (char[]){"192.0.2.0/24"}, 0},
	    {true, true, (char[]){"192.0.2.128/25"}, 0},
	    {false, true, (char[]){"192.0.2.200"}, 0},
	    {false, true, (char[]){"198.51.100.0/24"}, NOW},
	    {false, true, (char[]){"203.0.113.0/29"}, NOW + 1},
	    {false, true, (char[]){"2001:db8::/33"}, 0},
	    {false, true, (char[]){"nonsense"}, 0},
	    {false, false, (char[]){"192.0.2.77"}, 0},
	};
	static const struct mark_row rows[] = {
	    {"192.0.2.1", ACCESS_BLOCKED, "a network"},
	    {"192.0.2.129", ACCESS_ALLOWED, "a longer prefix is nearer"},
	    {"192.0.2.200", ACCESS_BLOCKED, "an address is nearest"},
	    {"192.0.3.1", ACCESS_UNMARKED, "beside the network"},
	    {"198.51.100.1", ACCESS_UNMARKED, "an entry that is over"},
	    {"203.0.113.7", ACCESS_BLOCKED, "an entry that is not, within"},
	    {"203.0.113.8", ACCESS_UNMARKED, "just outside of a /29"},
	    {"2001:db8:7fff::1", ACCESS_BLOCKED, "within a /33"},
	    {"2001:db8:8000::1", ACCESS_UNMARKED, "just outside of it"},
	    {"::ffff:192.0.2.1", ACCESS_BLOCKED, "IPv4 written as IPv6"},
	};
	struct snapshot snapshot =
	    snapshot_of(entries, sizeof(entries) / sizeof(entries[0]));
	struct access_list *list = access_list_new(&snapshot);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct netaddr client;

		if (netaddr_parse(slice_of(rows[i].who), &client) == -1)
			fatal("%s", rows[i].who);
		is_int(access_client(list, &client, NOW), rows[i].mark,
		    "client: %s", rows[i].what);
	}
	access_list_free(list);
	settings_clear(&snapshot.settings);
}

static void
test_senders(void)
{
	struct access_entry entries[] = {
	    {false, false, (char[]){"bad@evil.example"}, 0},
	    {false, false, (char[]){"@spam.example"}, 0},
	    {true, false, (char[]){"good@spam.example"}, 0},
	    {false, false, (char[]){"*.below.example"}, 0},
	    {true, false, (char[]){"@a.below.example"}, 0},
	};
	static const struct mark_row rows[] = {
	    {"<bad@evil.example>", ACCESS_BLOCKED, "an address"},
	    {"<BAD@Evil.example>", ACCESS_BLOCKED, "in capitals"},
	    {"<other@evil.example>", ACCESS_UNMARKED, "not its neighbour"},
	    {"<x@spam.example>", ACCESS_BLOCKED, "a domain"},
	    {"<x@sub.spam.example>", ACCESS_UNMARKED, "not those below it"},
	    {"<good@spam.example>", ACCESS_ALLOWED,
		"an address before its domain"},
	    {"<x@below.example>", ACCESS_UNMARKED, "below is not itself"},
	    {"<x@b.below.example>", ACCESS_BLOCKED, "below"},
	    {"<x@c.b.below.example>", ACCESS_BLOCKED, "far below"},
	    {"<x@a.below.example>", ACCESS_ALLOWED, "the domain itself first"},
	    {"<>", ACCESS_UNMARKED, "the null sender"},
	    {"<x@[192.0.2.1]>", ACCESS_UNMARKED, "a literal"},
	};
	struct snapshot snapshot =
	    snapshot_of(entries, sizeof(entries) / sizeof(entries[0]));
	struct access_list *list = access_list_new(&snapshot);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address sender = address(rows[i].who);

		is_int(access_sender(list, &sender, NOW), rows[i].mark,
		    "sender: %s", rows[i].what);
	}
	access_list_free(list);
	settings_clear(&snapshot.settings);
}

/* ---- senders and recipients ---- */

#define STRANGER                                   \
	{                                          \
		LISTENER_SMTP, false, false, false \
	}
#define TRUSTED                                   \
	{                                         \
		LISTENER_SMTP, true, false, false \
	}
#define OWNER                                          \
	{                                              \
		LISTENER_SUBMISSION, false, true, true \
	}
#define OTHER                                           \
	{                                               \
		LISTENER_SUBMISSION, false, true, false \
	}

struct sender_row {
	const char *what;
	struct access_subject subject;
	const char *sender;
	enum access_mark mark;
	unsigned code; /* 0: taken */
	bool needs_dns;
};

static const struct sender_row sender_rows[] = {
    {"a stranger", STRANGER, "<a@away.example>", ACCESS_UNMARKED, 0, true},
    {"a stranger on the allow list", STRANGER, "<a@away.example>",
	ACCESS_ALLOWED, 0, false},
    {"a stranger on the block list", STRANGER, "<a@away.example>",
	ACCESS_BLOCKED, 550, false},
    {"a stranger in our name", STRANGER, "<a@ours.example>", ACCESS_UNMARKED,
	550, false},
    {"a stranger in our name, allowed", STRANGER, "<a@ours.example>",
	ACCESS_ALLOWED, 550, false},
    {"a stranger in our name, as U-label", STRANGER,
	"<a@m\xc3\xbcller.example>", ACCESS_UNMARKED, 550, false},
    {"a stranger below our name", STRANGER, "<a@sub.ours.example>",
	ACCESS_UNMARKED, 0, true},
    {"a trusted network in our name", TRUSTED, "<a@ours.example>",
	ACCESS_UNMARKED, 0, false},
    {"a trusted network on the block list", TRUSTED, "<a@ours.example>",
	ACCESS_BLOCKED, 0, false},
    {"a login, one's own", OWNER, "<a@ours.example>", ACCESS_UNMARKED, 0,
	false},
    {"a login, another's", OTHER, "<a@ours.example>", ACCESS_UNMARKED, 550,
	false},
    {"a login, another's, trusted network",
	{LISTENER_SUBMISSION, true, true, false}, "<a@ours.example>",
	ACCESS_UNMARKED, 550, false},
};

static void
test_check_sender(void)
{
	struct snapshot snapshot = snapshot_of(NULL, 0);

	for (size_t i = 0; i < sizeof(sender_rows) / sizeof(sender_rows[0]);
	     i++) {
		const struct sender_row *row = &sender_rows[i];
		struct address sender = address(row->sender);
		struct smtp_status status = {.code = 0};
		bool needs_dns;
		int rc = access_check_sender(&row->subject, &snapshot, &sender,
		    row->mark, &needs_dns, &status);

		ok((rc == 0) == (row->code == 0) && status.code == row->code,
		    "%s: %u", row->what, row->code);
		ok(rc == -1 || needs_dns == row->needs_dns, "%s: DNS %s",
		    row->what, row->needs_dns ? "is asked" : "is not asked");
	}
	settings_clear(&snapshot.settings);
}

struct recipient_row {
	const char *what;
	struct access_subject subject;
	const char *recipient;
	enum access_recipient result;
};

static const struct recipient_row recipient_rows[] = {
    {"a stranger to us", STRANGER, "<x@ours.example>", ACCESS_RCPT_OK},
    {"a stranger to a list", STRANGER, "<x@list.example>", ACCESS_RCPT_ASK},
    {"a stranger elsewhere", STRANGER, "<x@else.example>", ACCESS_RCPT_REFUSED},
    {"a stranger below us", STRANGER, "<x@sub.ours.example>",
	ACCESS_RCPT_REFUSED},
    {"a stranger to a literal", STRANGER, "<x@[192.0.2.1]>",
	ACCESS_RCPT_REFUSED},
    {"the percent hack", STRANGER, "<x%else.example@ours.example>",
	ACCESS_RCPT_REFUSED},
    {"a bang path", STRANGER, "<else!x@ours.example>", ACCESS_RCPT_REFUSED},
    {"an at sign in quotes", STRANGER, "<\"x@else\"@ours.example>",
	ACCESS_RCPT_REFUSED},
    {"the same by a login", OWNER, "<\"x@else\"@ours.example>", ACCESS_RCPT_OK},
    {"postmaster alone", STRANGER, "<PostMaster>", ACCESS_RCPT_POSTMASTER},
    {"postmaster of a list", STRANGER, "<Postmaster@list.example>",
	ACCESS_RCPT_OK},
    {"abuse of a list", STRANGER, "<abuse@list.example>", ACCESS_RCPT_OK},
    {"a login elsewhere", OWNER, "<x@else.example>", ACCESS_RCPT_OK},
    {"a login to a list", OWNER, "<x@list.example>", ACCESS_RCPT_ASK},
    {"a trusted network elsewhere", TRUSTED, "<x@else.example>",
	ACCESS_RCPT_OK},
};

static void
test_check_recipient(void)
{
	struct snapshot snapshot = snapshot_of(NULL, 0);

	settings_put(&snapshot.settings, SET_system_postmaster, 0,
	    SLICE("boss@ours.example"));
	for (size_t i = 0;
	     i < sizeof(recipient_rows) / sizeof(recipient_rows[0]); i++) {
		const struct recipient_row *row = &recipient_rows[i];
		struct address recipient = address(row->recipient);
		struct smtp_status status = {.code = 0};

		is_int(access_check_recipient(
			   &row->subject, &snapshot, &recipient, &status),
		    row->result, "recipient: %s", row->what);
		ok((status.code == 550) == (row->result == ACCESS_RCPT_REFUSED),
		    "recipient: %s: the reply", row->what);
	}
	settings_clear(&snapshot.settings);
}

static void
test_check_client(void)
{
	const struct access_subject stranger = {
	    LISTENER_SUBMISSION, false, false, false};
	const struct access_subject printer = {
	    LISTENER_SUBMISSION, true, false, false};
	const struct access_subject anybody = STRANGER;
	struct smtp_status status;

	is_int(access_check_client(&stranger, &status), -1,
	    "a submission port is for who is known");
	is_u64(status.code, 530, "530 says so");
	is_int(
	    access_check_client(&printer, &status), 0, "trusted networks are");
	is_int(access_check_client(&anybody, &status), 0,
	    "port 25 is for everybody");
}

/* ---- From ---- */

struct from_row {
	const char *value;
	bool is_ours;
};

static const struct from_row from_rows[] = {
    {" a@away.example", false},
    {" a@ours.example", true},
    {" A <a@OURS.example>", true},
    {" a@away.example, b@ours.example", true},
    {" g: a@away.example, b@ours.example;", true},
    {" \"a@ours.example\" <a@away.example>", false},
    {" a@m\xc3\xbcller.example", true},
    {" a@xn--mller-kva.example", true},
    {" a@sub.ours.example", false},
    {" a@notours.example", false},
    {" <a@ours.example", true},
    {" a@ours.example>", true},
    {" <a@away.example> <b@ours.example>", true},
    {" a@ ours.example", true},
    {" a@\r\n\tours.example", true},
    {" (a@ours.example", true},
    {" a@ours.example.", true},
    {" <a@(x)ours.example>", true},
    {" a@ (x (y\\)) z) ours.example", true},
    {" <a@ours . example>", true},
    {" <a@ours(.away).example>", true},
    {" <a@ours.\r\n example (x)>", true},
    {" =?utf-8?q?a=40ours=2eexample?=", true},
    {" =?utf-8?b?YUBvdXJzLmV4YW1wbGU=?==?utf-8?Q?=00?=@away.example", true},
    {" <=?utf-8?q?a=40ours=2eexample=3e?= x@away.example>", true},
    {" a@away.example (a@ours.example)", false},
    {" <a@away.example> (at ours . example)", false},
    {" <a.@away.example> (a@ours.example)", true},
    {" a@(x", false},
    {" a@(x\\", false},
    {" a@", false},
    {" @", false},
    {"", false},
};

/* What becomes of so many pieces between that start and end. */
static enum access_from
many_from(const struct snapshot *snapshot, const char *start, const char *piece,
    size_t count, const char *end)
{
	enum access_from found;
	struct buf value;

	buf_init(&value, 1 << 20);
	(void)buf_add_text(&value, start);
	for (size_t i = 0; i < count; i++)
		if (buf_addf(&value, "%s%s", i > 0 ? "," : "", piece) == -1)
			break;
	(void)buf_add_text(&value, end);
	found = access_from_names(snapshot, buf_slice(&value));
	buf_clear(&value);
	return found;
}

/* One that would keep us busy is not read to its end. */
static void
test_many_from(const struct snapshot *snapshot)
{
	const size_t most = ACCESS_FROM_ADDRESSES_MAX;

	is_int(many_from(snapshot, "", "a@\xc3\xa9.example", most, ""),
	    ACCESS_FROM_FOREIGN, "From: as many as it may have");
	is_int(many_from(snapshot, "", "a@\xc3\xa9.example", most + 1, ""),
	    ACCESS_FROM_TOO_MANY, "From: one more");
	is_int(many_from(snapshot, "", "a@\xc3\xa9.example", most - 1,
		   ",a@ours.example"),
	    ACCESS_FROM_OURS, "From: ours is the last");
	is_int(many_from(snapshot, "", "a@\xc3\xa9.example", most - 1,
		   ", <a@ours.example"),
	    ACCESS_FROM_OURS, "From: ours is the last of what is no list");
	is_int(many_from(snapshot, "<", "@(", 1 << 20, ""),
	    ACCESS_FROM_TOO_MANY, "From: a megabyte of comments");
	is_int(many_from(snapshot, "<", "@\xc3\xa9.", 1 << 20, ""),
	    ACCESS_FROM_TOO_MANY, "From: a megabyte of names, and no list");
	is_int(many_from(snapshot, "", "a@\xc3\xa9.example", 1 << 20, ""),
	    ACCESS_FROM_TOO_MANY, "From: a megabyte of addresses");
}

static void
test_from(void)
{
	struct snapshot snapshot = snapshot_of(NULL, 0);

	for (size_t i = 0; i < sizeof(from_rows) / sizeof(from_rows[0]); i++)
		ok(access_from_names(&snapshot, slice_of(from_rows[i].value)) ==
			(from_rows[i].is_ours ? ACCESS_FROM_OURS
					      : ACCESS_FROM_FOREIGN),
		    "From:%s names %s domain", from_rows[i].value,
		    from_rows[i].is_ours ? "our" : "another's");
	test_many_from(&snapshot);
	settings_clear(&snapshot.settings);
}

int
main(void)
{
	test_clients();
	test_senders();
	test_check_client();
	test_check_sender();
	test_check_recipient();
	test_from();
	return tap_done();
}
