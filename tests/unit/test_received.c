/* SPDX-License-Identifier: ISC */
/*
 * The Received line in all its forms, and what may not break it.
 */
#include <string.h>

#include "common/err.h"
#include "common/header.h"
#include "smtpd/received.h"
#include "tests/unit/tap.h"

static struct received
usual(void)
{
	struct received received = {.hostname = "gw.example",
	    .helo = "client.example",
	    .helo_kind = SMTP_HELLO_DOMAIN,
	    .is_esmtp = true,
	    .session_id = 1,
	    .message_id = 2,
	    .recipient = "b@any.example",
	    .now = 0};

	if (netaddr_parse(SLICE("192.0.2.1"), &received.client) == -1)
		fatal("bad address");
	return received;
}

static void
is_line(const struct received *received, const char *want, const char *what)
{
	struct buf line;

	buf_init(&line, 4096);
	is_int(received_format(received, &line), 0, "%s: fits", what);
	is_str(buf_text(&line), want, "%s", what);
	buf_clear(&line);
}

static void
test_forms(void)
{
	struct received received = usual();

	is_line(&received,
	    "Received: from client.example ([192.0.2.1])\r\n"
	    "\tby gw.example (Postern) with ESMTP id 0000000000002\r\n"
	    "\t(session 0000000000001)\r\n"
	    "\tfor <b@any.example>; Thu, 01 Jan 1970 00:00:00 +0000\r\n",
	    "a plain session");
	received.ptr_name = "ptr.example";
	received.tls = "TLSv1.3 TLS_AES_256_GCM_SHA384";
	received.recipient = NULL;
	is_line(&received,
	    "Received: from client.example (ptr.example [192.0.2.1])\r\n"
	    "\tby gw.example (Postern) with ESMTPS id 0000000000002\r\n"
	    "\t(session 0000000000001, TLSv1.3 TLS_AES_256_GCM_SHA384); "
	    "Thu, 01 Jan 1970 00:00:00 +0000\r\n",
	    "TLS, a confirmed name, several recipients");
	received.account = "alice";
	is_line(&received,
	    "Received: from client.example (ptr.example [192.0.2.1])\r\n"
	    "\tby gw.example (Postern) with ESMTPSA id 0000000000002\r\n"
	    "\t(session 0000000000001, TLSv1.3 TLS_AES_256_GCM_SHA384, "
	    "login alice); Thu, 01 Jan 1970 00:00:00 +0000\r\n",
	    "a login");
	received.hides_client = true;
	is_line(&received,
	    "Received: from client.invalid (address withheld)\r\n"
	    "\tby gw.example (Postern) with ESMTPSA id 0000000000002\r\n"
	    "\t(session 0000000000001, TLSv1.3 TLS_AES_256_GCM_SHA384, "
	    "logged in); Thu, 01 Jan 1970 00:00:00 +0000\r\n",
	    "a login whose client is hidden");
}

static void
test_protocols(void)
{
	struct received received = usual();

	is_str(received_protocol(&received), "ESMTP", "EHLO");
	received.is_utf8 = true;
	is_str(received_protocol(&received), "UTF8SMTP", "SMTPUTF8");
	received.tls = "TLSv1.3";
	is_str(received_protocol(&received), "UTF8SMTPS", "SMTPUTF8 and TLS");
	received.account = "a";
	is_str(received_protocol(&received), "UTF8SMTPSA",
	    "SMTPUTF8, TLS and login");
	received.is_utf8 = false;
	received.is_esmtp = false;
	is_str(received_protocol(&received), "SMTP", "HELO");
}

/* Whatever the client says, the line is one field. */
static void
test_hostile(void)
{
	struct received received = usual();
	struct header header;
	struct buf line;

	received.helo = "a)(b\\\";<x>";
	received.helo_kind = SMTP_HELLO_TOKEN;
	received.account = "x)\r\nBcc: y";
	received.tls = "TLS";
	buf_init(&line, 4096);
	is_int(received_format(&received, &line), 0, "it is written");
	ok(strstr(buf_text(&line), "from [192.0.2.1] (helo=a??b?????x? "
				   "[192.0.2.1])") != NULL ||
		strstr(line.p, "(helo=a??b????x? [192.0.2.1])") != NULL,
	    "a name that is none stands in a comment, made harmless");
	header_init(&header, 0);
	is_int(
	    header_read(&header, buf_slice(&line)), PARSE_OK, "it reads back");
	is_u64(header.field_count, 1, "as one field");
	header_clear(&header);
	buf_clear(&line);
	buf_init(&line, 20);
	is_int(received_format(&received, &line), -1, "too little room: -1");
	buf_clear(&line);
	received = usual();
	received.recipient = "\xc3\xa9@any.example";
	buf_init(&line, 4096);
	(void)received_format(&received, &line);
	ok(strstr(buf_text(&line), "for <") == NULL,
	    "no UTF-8 where SMTPUTF8 was not asked for");
	buf_clear(&line);
	received = usual();
	if (netaddr_parse(SLICE("2001:db8::1"), &received.client) == -1)
		fatal("bad address");
	(void)received_format(&received, &line);
	ok(strstr(buf_text(&line), "([IPv6:2001:db8::1])") != NULL,
	    "an IPv6 literal has its tag");
	buf_clear(&line);
}

int
main(void)
{
	test_forms();
	test_protocols();
	test_hostile();
	return tap_done();
}
