/* SPDX-License-Identifier: ISC */
/*
 * SMTP sessions of a worker: who may say what, what comes to queued, and what
 * every abuse gets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/unit/smtp_host.h"
#include "tests/unit/tap.h"

#define MAIL "MAIL FROM:<a@away.example>\r\n"
#define RCPT "RCPT TO:<b@any.example>\r\n"

/* "right" for alice, base64 of "\0alice\0right". */
#define LOGIN "AUTH PLAIN AGFsaWNlAHJpZ2h0\r\n"

static bool
starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* Is the line there, among others? */
static bool
has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

static bool
ends_with(struct slice s, const char *end)
{
	size_t n = strlen(end);

	return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

static void
open_client(struct smtp_host *host, struct smtp_client *client)
{
	smtp_client_open(host, client, LISTENER_SMTP, false);
	(void)smtp_say(client, "EHLO client.example\r\n");
}

/* Logged in as alice on a submission port. */
static void
open_login(struct smtp_host *host, struct smtp_client *client)
{
	smtp_client_open(host, client, LISTENER_SUBMISSION, false);
	(void)smtp_say(client, "EHLO client.example\r\n");
	(void)smtp_say(client, "STARTTLS\r\n");
	if (!smtp_client_tls(client))
		fatal("no TLS");
	(void)smtp_say(client, "EHLO client.example\r\n");
	if (!starts(smtp_say(client, LOGIN), "235 2.7.0"))
		fatal("no login: %s", client->reply);
}

/* ---- one line at a time ---- */

struct line_row {
	const char *what;
	const char *before; /* said first */
	const char *line;
	const char *reply; /* how the answer begins */
	bool ends;         /* the session is over then */
};

static const struct line_row line_rows[] = {
    {"MAIL needs a hello", "RSET\r\n", MAIL, "250 2.1.0", false},
    {"RCPT needs MAIL", "", RCPT, "503 5.5.1", false},
    {"DATA needs RCPT", MAIL, "DATA\r\n", "503 5.5.1", false},
    {"MAIL does not nest", MAIL, MAIL, "503 5.5.1", false},
    {"a second EHLO ends the transaction", MAIL "EHLO x\r\n", RCPT, "503 5.5.1",
	false},
    {"an unknown parameter", "", "MAIL FROM:<a@b.example> X=1\r\n", "555",
	false},
    {"SIZE beyond the limit", "", "MAIL FROM:<a@b.example> SIZE=99999999\r\n",
	"552 5.3.4", false},
    {"relaying is denied", MAIL, "RCPT TO:<x@else.example>\r\n",
	"550 5.7.1 Relaying denied [ref ", false},
    {"relaying by a literal", MAIL, "RCPT TO:<x@[192.0.2.9]>\r\n",
	"550 5.7.1 Relaying denied", false},
    {"relaying by the percent hack", MAIL,
	"RCPT TO:<x%else.example@any.example>\r\n", "550 5.7.1 Relaying denied",
	false},
    {"relaying by a bang path", MAIL,
	"RCPT TO:<else.example!x@any.example>\r\n", "550 5.7.1 Relaying denied",
	false},
    {"relaying by a source route", MAIL,
	"RCPT TO:<@any.example:x@else.example>\r\n", "550 5.7.1", false},
    {"a recipient that the directory has", MAIL, "RCPT TO:<x@list.example>\r\n",
	"250 2.1.5", false},
    {"a recipient that it has not", MAIL, "RCPT TO:<unknown@list.example>\r\n",
	"550 5.1.1", false},
    {"a recipient of whom nobody could say", MAIL,
	"RCPT TO:<later@list.example>\r\n", "451 4.3.0", false},
    {"postmaster without a domain, nobody named", MAIL,
	"RCPT TO:<postmaster>\r\n", "550 5.1.1", false},
    {"the name of one of our domains", "", "MAIL FROM:<x@any.example>\r\n",
	"550 5.7.1", false},
    {"a sender domain that is not there", "", "MAIL FROM:<x@nx.example>\r\n",
	"550 5.1.8", false},
    {"a sender domain with a null MX", "", "MAIL FROM:<x@nullmx.example>\r\n",
	"550 5.7.27", false},
    {"a sender domain that nobody knows now", "",
	"MAIL FROM:<x@slow.example>\r\n", "451 4.4.3", false},
    {"the null sender", "", "MAIL FROM:<>\r\n", "250 2.1.0", false},
    {"no AUTH on port 25", "", "AUTH PLAIN AGEAYg==\r\n", "502 5.5.1", false},
    {"VRFY says nothing", "", "VRFY root\r\n", "252", false},
    {"EXPN is not served", "", "EXPN root\r\n", "502", false},
    {"XCLIENT changes nothing", "", "XCLIENT ADDR=192.0.2.9\r\n", "502", false},
    {"HELP", "", "HELP\r\n", "214", false},
    {"BDAT ends the session", MAIL RCPT, "BDAT 5 LAST\r\nabcde", "502", true},
    {"HTTP ends the session", "", "GET / HTTP/1.1\r\nNOOP\r\n", "554", true},
    {"SSH ends the session", "", "SSH-2.0-x\r\nNOOP\r\n", "554", true},
    {"a line with LF alone", "", "NOOP\nNOOP\r\n", "554 5.5.2", true},
    {"a bare CR in a command", "", "NO\rOP\r\n", "500 5.5.2", false},
    {"a message before 354", MAIL RCPT, "DATA\r\nNOOP\r\n.\r\n", "554 5.5.1",
	true},
    {"commands behind STARTTLS", "", "STARTTLS\r\nNOOP\r\n", "554 5.5.1", true},
    {"QUIT", "", "QUIT\r\n", "221 2.0.0", true},
};

static void
test_lines(struct smtp_host *host)
{
	for (size_t i = 0; i < sizeof(line_rows) / sizeof(line_rows[0]); i++) {
		const struct line_row *row = &line_rows[i];
		struct smtp_client client;
		const char *reply;

		open_client(host, &client);
		(void)smtp_say(&client, row->before);
		reply = smtp_say(&client, row->line);
		if (!ok(starts(reply, row->reply), "%s: %s", row->what,
			row->reply))
			diag("said: %s", reply);
		ok(client.is_closed == row->ends, "%s: the session %s",
		    row->what, row->ends ? "ends" : "goes on");
		ok(!row->ends || !has(reply, "\r\n250"),
		    "%s: nothing behind it is run", row->what);
		smtp_client_close(&client);
	}
}

/* ---- messages ---- */

struct data_row {
	const char *what;
	const char *data; /* with the final dot */
	const char *reply;
	const char *content; /* how what queued got ends; NULL: nothing came */
};

static const struct data_row data_rows[] = {
    {"a plain message", "Subject: x\r\n\r\nhello\r\n.\r\n", "250 2.0.0",
	" +0000\r\nSubject: x\r\n\r\nhello\r\n"},
    {"stuffed dots", "Subject: x\r\n\r\n..\r\n...a\r\n.\r\n", "250",
	"\r\n\r\n.\r\n..a\r\n"},
    {"no header: an empty line goes between", "hello\r\n.\r\n", "250",
	" +0000\r\n\r\nhello\r\n"},
    {"nothing at all", ".\r\n", "250", " +0000\r\n"},
    {"a header and no body", "Subject: x\r\n.\r\n", "250",
	" +0000\r\nSubject: x\r\n"},
    {"LF . LF", "Subject: x\r\n\r\na\n.\nb\r\n.\r\n", "554 5.6.0", NULL},
    {"LF . CR LF", "Subject: x\r\n\r\na\n.\r\nb\r\n.\r\n", "554 5.6.0", NULL},
    {"CR . CR", "Subject: x\r\n\r\na\r.\rb\r\n.\r\n", "554 5.6.0", NULL},
    {"CR LF . LF", "Subject: x\r\n\r\na\r\n.\nb\r\n.\r\n", "554 5.6.0", NULL},
    {"our domain in From", "From: x@any.example\r\n\r\n.\r\n", "550 5.7.1",
	NULL},
    {"our domain in one of two From", "From: a@b.c\r\nFrom: d@e.f\r\n\r\n.\r\n",
	"550 5.7.1", NULL},
    {"our domain in a group", "From: g: x@ANY.example;\r\n\r\n.\r\n",
	"550 5.7.1", NULL},
    {"our domain in a From that is none", "From: <x@any.example\r\n\r\n.\r\n",
	"550 5.7.1", NULL},
    {"a From without any address", "From: nobody\r\n\r\n.\r\n", "250",
	"From: nobody\r\n\r\n"},
    {"Bcc stays where nobody submits", "Bcc: a@b.c\r\n\r\nx\r\n.\r\n", "250",
	"Bcc: a@b.c\r\n\r\nx\r\n"},
    {"results in our name go",
	"Authentication-Results: GW.example;\r\n smime=pass\r\nSubject: x\r\n"
	"X-Postern-Crypto: v=1\r\nAuthentication-Results: mx.away.example; "
	"spf=pass\r\nauthentication-results: (\r\n\r\nx\r\n.\r\n",
	"250",
	" +0000\r\nSubject: x\r\nAuthentication-Results: mx.away.example; "
	"spf=pass\r\n\r\nx\r\n"},
    {"what follows a line that is no field is text for everybody",
	"Subject: x\r\nno field\r\nFrom: x@any.example\r\nX-Postern-Crypto: "
	"v=1\r\n\r\nx\r\n.\r\n",
	"250",
	" +0000\r\nSubject: x\r\n\r\nno field\r\nFrom: x@any.example\r\n"
	"X-Postern-Crypto: v=1\r\n\r\nx\r\n"},
    {"a line of an mbox goes", "From a@b.c Sun\r\nSubject: x\r\n\r\nx\r\n.\r\n",
	"250", " +0000\r\nSubject: x\r\n\r\nx\r\n"},
    {"nor does a fold go on with our line",
	" by evil\r\nSubject: x\r\n\r\nx\r\n.\r\n", "250",
	" +0000\r\nSubject: x\r\n\r\nx\r\n"},
    {"nor one that has no field behind it", " by evil\r\n\r\nx\r\n.\r\n", "250",
	" +0000\r\n\r\n by evil\r\n\r\nx\r\n"},
    {"nor one that is all there is", " by evil\r\n.\r\n", "250",
	" +0000\r\n\r\n by evil\r\n"},
    {"nor does an mbox line without fields stand in our header",
	"From a@b.c Sun\r\n\r\nx\r\n.\r\n", "250",
	" +0000\r\n\r\nFrom a@b.c Sun\r\n\r\nx\r\n"},
};

static void
test_messages(struct smtp_host *host)
{
	const struct smtp_host_mail *mail = smtp_host_mail(host);
	struct smtp_client client;

	open_client(host, &client);
	for (size_t i = 0; i < sizeof(data_rows) / sizeof(data_rows[0]); i++) {
		const struct data_row *row = &data_rows[i];
		unsigned before = mail->count;
		const char *reply;

		ok(has(smtp_say(&client, MAIL RCPT "DATA\r\n"), "354 "),
		    "%s: 354", row->what);
		reply = smtp_say(&client, row->data);
		if (!ok(starts(reply, row->reply), "%s: %s", row->what,
			row->reply))
			diag("said: %s", reply);
		ok(mail->count == before + (row->content != NULL ? 1 : 0),
		    "%s: %s to queued", row->what,
		    row->content != NULL ? "goes" : "does not go");
		if (row->content != NULL)
			ok(ends_with(buf_slice(&mail->content), row->content),
			    "%s: as it was", row->what);
		ok(starts(smtp_say(&client, RCPT), "503"),
		    "%s: the transaction is over", row->what);
		(void)smtp_say(&client, "RSET\r\n");
		if (i % 8 == 7) {
			smtp_client_close(&client);
			open_client(host, &client);
		}
	}
	is_str(mail->from, "a@away.example", "the sender comes along");
	is_str(mail->to, "b@any.example ", "the recipient too");
	smtp_client_close(&client);
}

static void
test_cut_anywhere(struct smtp_host *host)
{
	static const char message[] =
	    "Subject: x\r\n\r\n..a\r\n.b\r\n\r\n.\r\n";
	const struct smtp_host_mail *mail = smtp_host_mail(host);
	unsigned before = mail->count;
	struct smtp_client client;
	bool is_right = true;

	open_client(host, &client);
	for (size_t cut = 1; cut < sizeof(message) - 1; cut++) {
		(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
		(void)smtp_say_octets(&client, message, cut);
		is_right = is_right && client.reply[0] == '\0';
		(void)smtp_say(&client, message + cut);
		is_right = is_right && starts(client.reply, "250 2.0.0") &&
			   ends_with(buf_slice(&mail->content),
			       "\r\n\r\n.a\r\nb\r\n\r\n");
	}
	ok(is_right, "a message may be cut anywhere");
	is_u64(mail->count - before, sizeof(message) - 2,
	    "and comes once each time");
	smtp_client_close(&client);
}

/* ---- large ones ---- */

static char *
large_message(size_t size)
{
	static const char head[] = "Subject: large\r\n\r\n";
	char *text = xmalloc(size + 4);

	for (size_t i = 0; i < size; i++)
		text[i] = "abcdefghijklmnopqrstuvwxyz012345"[i * 7 % 31];
	memcpy(text, head, sizeof(head) - 1);
	for (size_t i = 500; i + 2 < size; i += 997)
		memcpy(text + i, "\r\n", 2);
	memcpy(text + size - 2, "\r\n", 2);
	memcpy(text + size, ".\r\n", 4);
	return text;
}

static void
test_large(struct smtp_host *host)
{
	static const size_t sizes[] = {
	    65535, 65536, 65537, 131072, 200000, 1000000};
	static const uint32_t credits[] = {1, 1000, 262144};
	const struct smtp_host_mail *mail = smtp_host_mail(host);
	struct smtp_client client;
	char *text;

	open_client(host, &client);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t k = 0; k < 3; k++) {
			size_t size = sizes[i];

			text = large_message(size);

			if (credits[k] == 1 && size > 65537)
				size = 0; /* an octet a turn takes too long */
			smtp_host_queue(host, 250, credits[k]);
			(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
			text[sizes[i] + 3] = '\0';
			if (size == 0)
				(void)smtp_say(&client, ".\r\n");
			else
				(void)smtp_say(&client, text);
			ok(starts(client.reply, "250 2.0.0") &&
				(size == 0 ||
				    (mail->content.n > size &&
					memcmp(mail->content.p +
						   mail->content.n - size,
					    text, size) == 0)),
			    "%zu octets with %u of credit come whole", sizes[i],
			    credits[k]);
			free(text);
		}
	text = large_message(200000);
	text[199000] = '\xff';
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	(void)smtp_say(&client, text);
	ok(mail->is_8bit, "an octet beyond ASCII near the end is told of");
	free(text);
	smtp_client_close(&client);
}

static void
test_large_refused(struct smtp_host *host)
{
	const struct smtp_host_mail *mail = smtp_host_mail(host);
	struct smtp_client client;
	char *text = large_message(300000);
	unsigned aborts = mail->aborts;

	open_client(host, &client);
	smtp_host_queue(host, 452, 262144);
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	ok(starts(smtp_say(&client, text), "452 4.3.1"),
	    "a stream that queued refuses is read to its end");
	ok(starts(smtp_say(&client, "NOOP\r\n"), "250"),
	    "and the session goes on");
	is_u64(mail->aborts - aborts, 1, "queued may forget that stream");
	aborts = mail->aborts;
	smtp_host_queue(host, 250, 262144);
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	(void)smtp_say_octets(&client, text, 200000);
	smtp_client_close(&client);
	is_u64(mail->aborts - aborts, 1, "a client that leaves aborts it");
	open_client(host, &client);
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	(void)smtp_say_octets(&client, text, 200000);
	smtp_host_link(host, ROLE_QUEUED, false);
	ok(starts(smtp_say(&client, text + 200000), "451 4.3.0"),
	    "queued that goes away in mid-stream: 451 at the end");
	ok(starts(smtp_say(&client, MAIL), "451 4.3.0"),
	    "without queued, MAIL gets 451");
	smtp_host_link(host, ROLE_QUEUED, true);
	ok(starts(smtp_say(&client, MAIL RCPT), "250"), "with it, 250 again");
	smtp_host_link(host, ROLE_QUEUED, false);
	ok(starts(smtp_say(&client, "DATA\r\n"), "451 4.3.0"),
	    "DATA gets 451 when it went after MAIL");
	smtp_host_link(host, ROLE_QUEUED, true);
	smtp_client_close(&client);
	free(text);
}

static void
test_limits(struct smtp_host *host)
{
	struct smtp_client client;
	char *text = large_message(200000);
	unsigned n = 0;

	open_client(host, &client);
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	ok(starts(smtp_say(&client, text), "552 5.3.4"),
	    "a message over the limit gets 552 after its end");
	free(text);
	(void)smtp_say(&client, MAIL);
	while (n < 200 && starts(smtp_say(&client, RCPT), "250"))
		n++;
	is_u64(n, 100, "recipients up to the limit");
	ok(starts(client.reply, "452 4.5.3"), "then 452");
	smtp_client_close(&client);
	open_client(host, &client);
	for (n = 0; n < 100 && !client.is_closed; n++)
		(void)smtp_say(&client, "FOO\r\n");
	is_u64(n, 20, "twenty errors end a session");
	ok(has(client.reply, "421 4.7.0"), "with 421");
	smtp_client_close(&client);
	open_client(host, &client);
	for (n = 0; n < 200 && !client.is_closed; n++)
		(void)smtp_say(&client, "NOOP\r\n");
	is_u64(n, 100, "a hundred idle commands, EHLO among them, too");
	smtp_client_close(&client);
}

static void
test_long_lines(struct smtp_host *host)
{
	struct smtp_client client;
	char line[12000];

	memset(line, 'x', sizeof(line));
	memcpy(line, "NOOP ", 5);
	line[511] = '\0';
	memcpy(line + 509, "\r\n", 3);
	open_client(host, &client);
	ok(starts(smtp_say(&client, line), "250"), "511 octets are a line");
	memset(line, 'x', sizeof(line));
	memcpy(line + sizeof(line) - 3, "\r\n", 3);
	for (int i = 0; i < 3; i++)
		(void)smtp_say_octets(&client, "yyyyyyyyyyyyyyyy", 16);
	(void)smtp_say(&client, line);
	ok(starts(client.reply, "500"), "a line too long gets 500");
	ok(starts(smtp_say(&client, "NOOP\r\n"), "250"), "once");
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 8 && !client.is_closed; i++)
		(void)smtp_say_octets(&client, line, sizeof(line));
	ok(client.is_closed, "one without an end ends the session");
	smtp_client_close(&client);
}

/* ---- logins ---- */

static void
test_login(struct smtp_host *host)
{
	const struct smtp_host_mail *mail = smtp_host_mail(host);
	struct smtp_client client;

	smtp_client_open(host, &client, LISTENER_SUBMISSION, false);
	ok(!has(smtp_say(&client, "EHLO x\r\n"), "AUTH"),
	    "AUTH is not offered without TLS");
	ok(starts(smtp_say(&client, LOGIN), "538 5.7.11"), "nor taken");
	ok(starts(smtp_say(&client, MAIL), "530 5.7.0"),
	    "submission without login gets 530");
	ok(starts(smtp_say(&client, "STARTTLS\r\n"), "220"), "STARTTLS");
	ok(smtp_client_tls(&client), "the handshake");
	ok(starts(smtp_say(&client, MAIL), "503"),
	    "what was said before TLS is forgotten");
	ok(has(smtp_say(&client, "EHLO x\r\n"), "250-AUTH PLAIN\r\n"),
	    "AUTH is offered");
	ok(!has(client.reply, "STARTTLS"), "STARTTLS is not, any more");
	ok(starts(smtp_say(&client, "AUTH PLAIN AGEAYg==\r\n"), "535 5.7.8"),
	    "a wrong password");
	ok(starts(smtp_say(&client, "AUTH NTLM\r\n"), "504"),
	    "a mechanism that was not offered");
	ok(starts(smtp_say(&client, "AUTH PLAIN !!!!\r\n"), "501 5.5.2"),
	    "what is not base64");
	ok(starts(smtp_say(&client, "AUTH PLAIN\r\n"), "334 \r\n"),
	    "a challenge");
	ok(starts(smtp_say(&client, "*\r\n"), "501 5.7.0"), "is cancelled");
	(void)smtp_say(&client, "AUTH PLAIN\r\n");
	ok(starts(smtp_say(&client, "AGFsaWNlAHJpZ2h0\r\n"), "235 2.7.0"),
	    "or answered");
	ok(starts(smtp_say(&client, LOGIN), "503"), "but once");
	ok(starts(smtp_say(&client, "MAIL FROM:<bob@any.example>\r\n"),
	       "550 5.7.1"),
	    "another's address as sender");
	ok(starts(
	       smtp_say(&client, "MAIL FROM:<Alice+x@any.example>\r\n"), "250"),
	    "one's own, with a tag");
	ok(starts(smtp_say(&client, "RCPT TO:<x@else.example>\r\n"), "250"),
	    "relaying is for who logged in");
	(void)smtp_say(&client, "DATA\r\n");
	ok(starts(smtp_say(&client,
		      "Bcc: a@b.c,\r\n d@e.f\r\nFrom: alice@any.example\r\n"
		      "Resent-Bcc: g@h.i\r\n\r\nx\r\n.\r\n"),
	       "250"),
	    "a message of one's own");
	ok(ends_with(buf_slice(&mail->content),
	       " +0000\r\nFrom: alice@any.example\r\n\r\nx\r\n"),
	    "without its Bcc, with a Date");
	ok(mail->message_id[0] == '<' && mail->has_token,
	    "with a Message-ID and the token");
	buf_text(&((struct smtp_host_mail *)(uintptr_t)mail)->content);
	ok(!has(mail->content.p, "192.0.2.1"), "the client is not told of");
	smtp_client_close(&client);
}

static const struct data_row from_rows[] = {
    {"another's address", "From: bob@any.example\r\n\r\n.\r\n", "550 5.7.1",
	NULL},
    {"no From", "Subject: x\r\n\r\n.\r\n", "550 5.7.1", NULL},
    {"two From",
	"From: alice@any.example\r\nfrom: alice@any.example\r\n\r\n"
	".\r\n",
	"550 5.7.1", NULL},
    {"two addresses", "From: alice@any.example, bob@any.example\r\n\r\n.\r\n",
	"550 5.7.1", NULL},
    {"another's address, one's own as name",
	"From: \"alice@any.example\" <bob@any.example>\r\n\r\n.\r\n",
	"550 5.7.1", NULL},
    {"another's address in Sender",
	"From: alice@any.example\r\nSender: bob@any.example\r\n\r\n.\r\n",
	"550 5.7.1 The Sender field names an address that is not yours", NULL},
    {"one's own in capitals", "From: A <ALICE@ANY.EXAMPLE>\r\n\r\n.\r\n", "250",
	"\r\n\r\n"},
};

/* Alice's message, resent by her so many times in one field. */
static const char *
say_resent(struct smtp_client *client, size_t count)
{
	struct buf text;

	buf_init(&text, 65536);
	(void)buf_add_text(&text, "From: alice@any.example\r\nResent-From: ");
	for (size_t i = 0; i < count; i++)
		(void)buf_addf(
		    &text, "%salice@any.example", i > 0 ? ",\r\n " : "");
	(void)buf_add_text(&text, "\r\n\r\n.\r\n");
	(void)smtp_say(client, "MAIL FROM:<alice@any.example>\r\n"
			       "RCPT TO:<x@else.example>\r\nDATA\r\n");
	(void)smtp_say_octets(client, text.p, text.n);
	buf_clear(&text);
	return client->reply;
}

static void
test_own_from(struct smtp_host *host)
{
	struct smtp_client client;

	open_login(host, &client);
	for (size_t i = 0; i < sizeof(from_rows) / sizeof(from_rows[0]); i++) {
		(void)smtp_say(&client, "MAIL FROM:<alice@any.example>\r\n"
					"RCPT TO:<x@else.example>\r\nDATA\r\n");
		if (!ok(starts(smtp_say(&client, from_rows[i].data),
			    from_rows[i].reply),
			"From with %s: %s", from_rows[i].what,
			from_rows[i].reply))
			diag("said: %s", client.reply);
	}
	ok(starts(say_resent(&client, 100), "250"), "many who resent it");
	ok(starts(say_resent(&client, 101),
	       "550 5.7.1 The Resent-From field names too many addresses"),
	    "but not any number");
	smtp_host_link(host, ROLE_AUTHD, false);
	ok(starts(
	       smtp_say(&client, "MAIL FROM:<alice@any.example>\r\n"), "250"),
	    "a login that is fresh needs no authd");
	(void)smtp_say(&client, "RSET\r\nMAIL FROM:<alice@any.example>\r\n");
	ok(starts(
	       smtp_say(&client, "RCPT TO:<x@list.example>\r\n"), "451 4.3.0"),
	    "a recipient of ours does, where there is a list");
	smtp_client_close(&client);
	smtp_client_open(host, &client, LISTENER_SUBMISSIONS, false);
	ok(smtp_client_tls(&client) && starts(client.reply, "220 "),
	    "TLS first, then the banner");
	ok(!has(smtp_say(&client, "EHLO x\r\n"), "AUTH"),
	    "without authd AUTH is not offered");
	ok(starts(smtp_say(&client, LOGIN), "454 4.7.0"), "and gets 454");
	smtp_host_link(host, ROLE_AUTHD, true);
	ok(starts(smtp_say(&client, LOGIN), "235"), "until it is back");
	smtp_client_close(&client);
}

static void
test_trusted(struct smtp_host *host)
{
	struct smtp_client client;
	char *text = large_message(200000);
	unsigned shown = smtp_host_mail(host)->shown;

	smtp_host_link(host, ROLE_CHECKD, false);
	smtp_client_open(host, &client, LISTENER_SMTP, true);
	ok(starts(client.reply, "220 gw.example "), "the banner");
	(void)smtp_say(&client, "HELO x\r\n");
	ok(starts(smtp_say(&client, "MAIL FROM:<x@any.example>\r\n"), "250"),
	    "trusted networks send in our name, without checkd");
	ok(starts(smtp_say(&client, "RCPT TO:<x@else.example>\r\n"), "250"),
	    "and relay");
	(void)smtp_say(&client, "DATA\r\n");
	ok(starts(smtp_say(&client, "Authentication-Results: gw.example; "
				    "none\r\n\r\nx\r\n.\r\n"),
	       "250"),
	    "what they found is taken,");
	ok(ends_with(buf_slice(&smtp_host_mail(host)->content),
	       "Authentication-Results: gw.example; none\r\n\r\nx\r\n"),
	    "and stays as it is");
	is_u64(smtp_host_mail(host)->shown - shown, 1,
	    "queued was shown where it comes from");
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	(void)smtp_say(&client, text);
	is_u64(smtp_host_mail(host)->shown - shown, 1,
	    "once for all messages of a session");
	smtp_host_link(host, ROLE_QUEUED, false);
	smtp_host_link(host, ROLE_QUEUED, true);
	(void)smtp_say(&client, MAIL RCPT "DATA\r\n");
	(void)smtp_say(&client, text);
	is_u64(smtp_host_mail(host)->shown - shown, 2,
	    "and again when queued was restarted, before a large one, too");
	free(text);
	smtp_client_close(&client);
	open_client(host, &client);
	ok(starts(smtp_say(&client, MAIL), "451 4.4.3"),
	    "without checkd strangers get 451");
	smtp_host_link(host, ROLE_CHECKD, true);
	smtp_client_close(&client);
}

/* More than the strangers' share of 4 MiB holds. */
#define SLOW_CLIENTS 64

static void
test_memory(struct smtp_host *host)
{
	static const char slow[] =
	    "MAIL FROM:<a@away.example> SIZE=65536\r\n" RCPT "DATA\r\n";
	struct smtp_client strangers[SLOW_CLIENTS];
	struct smtp_client alice;
	struct smtp_client printer;
	size_t count = 0;

	smtp_host_set(host, SET_smtp_worker_memory, 4194304, NULL);
	open_login(host, &alice);
	smtp_client_open(host, &printer, LISTENER_SMTP, true);
	(void)smtp_say(&printer, "EHLO x\r\n");
	while (count < SLOW_CLIENTS) {
		open_client(host, &strangers[count]);
		(void)smtp_say(&strangers[count++], slow);
		if (has(strangers[count - 1].reply, "452 4.3.1"))
			break;
	}
	ok(count > 1 && has(strangers[count - 1].reply, "452 4.3.1"),
	    "messages that strangers began fill their part (%zu)", count);
	ok(has(smtp_say(&printer, slow), "354"),
	    "a trusted network has another");
	ok(has(smtp_say(&alice,
		   "MAIL FROM:<alice@any.example> SIZE=65536\r\n" RCPT
		   "DATA\r\n"),
	       "354"),
	    "and so has who is logged in");
	smtp_client_close(&printer);
	smtp_client_close(&alice);
	while (count > 0)
		smtp_client_close(&strangers[--count]);
	is_u64(smtp_host_memory(host), 0, "all of it comes back");
	smtp_host_set(host, SET_smtp_worker_memory, 67108864, NULL);
}

static void
test_ends(struct smtp_host *host)
{
	struct smtp_client idle;
	struct smtp_client busy;

	is_u64(smtp_host_memory(host), 0, "no message memory is left behind");
	open_client(host, &idle);
	open_client(host, &busy);
	(void)smtp_say(&busy, MAIL RCPT "DATA\r\n");
	ok(smtp_host_memory(host) > 0, "a message takes of the budget");
	smtp_host_drain(host);
	ok(starts(smtp_say(&idle, ""), "421 4.3.2"),
	    "a worker that drains parts from idle clients");
	(void)smtp_say(&busy, "x\r\n.\r\n");
	ok(starts(busy.reply, "250") && has(busy.reply, "421 4.3.2"),
	    "and from others after their message");
	smtp_client_close(&idle);
	smtp_client_close(&busy);
}

/* A worker that was just started: nobody is told 451 for that. */
static void
test_start(void)
{
	struct smtp_host *host = smtp_host_new_alone();
	struct smtp_client plain;
	struct smtp_client tls;
	struct smtp_client early;

	smtp_client_open(host, &plain, LISTENER_SMTP, false);
	smtp_client_open(host, &early, LISTENER_SMTP, false);
	smtp_client_open(host, &tls, LISTENER_SUBMISSIONS, false);
	smtp_host_link(host, ROLE_QUEUED, true);
	smtp_host_link(host, ROLE_CHECKD, true);
	is_str(smtp_say(&plain, ""), "", "no banner before all links are up");
	is_str(smtp_say(&early, "EHLO x\r\n"), "", "nor an answer");
	/* A client of this kind speaks first. */
	ok(!smtp_client_tls(&tls), "nor a handshake");
	smtp_host_link(host, ROLE_AUTHD, true);
	ok(starts(smtp_say(&plain, ""), "220 "), "then there is");
	(void)smtp_say(&plain, "EHLO x\r\n");
	ok(starts(smtp_say(&plain, MAIL RCPT), "250"), "and mail is taken");
	ok(starts(smtp_say(&early, ""), "554 5.5.1"),
	    "who talked meanwhile is parted from");
	for (int i = 0; i < 20 && SSL_connect(tls.ssl) != 1; i++)
		smtp_host_run(host);
	ok(starts(smtp_say(&tls, ""), "220 "),
	    "TLS begins, and has its banner");
	smtp_host_link(host, ROLE_QUEUED, false);
	smtp_client_close(&early);
	smtp_client_open(host, &early, LISTENER_SMTP, false);
	ok(starts(early.reply, "220 "),
	    "a link that is lost later holds no banner back");
	smtp_client_close(&plain);
	smtp_client_close(&early);
	smtp_client_close(&tls);
	smtp_host_free(host);
}

int
main(void)
{
	struct smtp_host *host = smtp_host_new();

	test_lines(host);
	smtp_host_set(host, SET_smtp_max_errors, 1000, NULL);
	test_messages(host);
	test_cut_anywhere(host);
	test_large(host);
	test_large_refused(host);
	test_login(host);
	test_own_from(host);
	test_trusted(host);
	test_memory(host);
	smtp_host_set(host, SET_smtp_max_errors, 20, NULL);
	test_long_lines(host);
	smtp_host_set(host, SET_smtp_max_message_size, 100000, NULL);
	smtp_host_set(host, SET_smtp_max_recipients, 100, NULL);
	test_limits(host);
	test_ends(host);
	smtp_host_free(host);
	test_start();
	return tap_done();
}
