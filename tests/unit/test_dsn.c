/* SPDX-License-Identifier: ISC */
/*
 * Delivery status notifications: exact ones, the reasons, hostile text.
 */
#include <stdio.h>
#include <string.h>

#include "common/mime.h"
#include "relay/dsn.h"
#include "relay/dsn_reason.h"
#include "relay/dsn_text.h"
#include "tests/unit/tap.h"

#define NOW 1795300800 /* Sat, 21 Nov 2026 22:40:00 +0000 */

static const char original_header[] = "Received: from x by gw.example.test\r\n"
				      "From: Ann <ann@example.test>\r\n"
				      "To: bob@example.org\r\n"
				      "Bcc: secret@example.org\r\n"
				      "Subject: Offer\r\n"
				      "Message-ID: <1@example.test>\r\n"
				      "References: <0@example.test>\r\n"
				      "\r\n";

static struct dsn_recipient
failed_recipient(void)
{
	return (struct dsn_recipient){
	    .action = DSN_FAILED,
	    .address = SLICE("bob@example.org"),
	    .orcpt = SLICE("rfc822;bob@example.org"),
	    .status = SLICE("5.1.1"),
	    .remote_mta = SLICE("mx.example.org"),
	    .reply = SLICE("550 5.1.1 No such user"),
	    .last_attempt = NOW - 10,
	};
}

static struct dsn
usual(const struct dsn_recipient *recipients, size_t count)
{
	return (struct dsn){
	    .reporting_mta = SLICE("gw.example.test"),
	    .from = SLICE("Mail Delivery System <mailer-daemon@example.test>"),
	    .sender = SLICE("ann@example.test"),
	    .message_id = SLICE("2@gw.example.test"),
	    .boundary_seed = SLICE("seed"),
	    .reference = SLICE("0123456789abc"),
	    .envid = SLICE("QQ314159"),
	    .now = NOW,
	    .arrival = NOW - 60,
	    .recipients = recipients,
	    .recipient_count = count,
	    .header = SLICE(original_header),
	};
}

#define TOP(subject)                                                       \
	"From: Mail Delivery System <mailer-daemon@example.test>\r\n"      \
	"To: <ann@example.test>\r\n"                                       \
	"Subject: " subject "\r\n"                                         \
	"Date: Sat, 21 Nov 2026 22:40:00 +0000\r\n"                        \
	"Message-ID: <2@gw.example.test>\r\n"                              \
	"In-Reply-To: <1@example.test>\r\n"                                \
	"References: <0@example.test>\r\n"                                 \
	" <1@example.test>\r\n"                                            \
	"X-Postern-Reference: 0123456789abc\r\n"                           \
	"Auto-Submitted: auto-replied\r\n"                                 \
	"MIME-Version: 1.0\r\n"                                            \
	"Content-Type: multipart/report; report-type=delivery-status;\r\n" \
	" boundary=\"=_postern_seed_0\"\r\n"                               \
	"Content-Transfer-Encoding: 7bit\r\n"                              \
	"\r\n"                                                             \
	"--=_postern_seed_0\r\n"                                           \
	"Content-Type: text/plain; charset=utf-8\r\n"                      \
	"Content-Transfer-Encoding: 7bit\r\n"                              \
	"\r\n"

#define FACTS                                                                 \
	"  Subject:   Offer\r\n"                                              \
	"  Sent:      Sat, 21 Nov 2026 22:39:00 +0000\r\n"                    \
	"  Reference: 0123456789abc\r\n"                                      \
	"             (your administrator can trace the message with it)\r\n" \
	"\r\n"

#define BETWEEN                                                           \
	"\r\n"                                                            \
	"This is the mail server gw.example.test, writing by itself.\r\n" \
	"\r\n"                                                            \
	"--=_postern_seed_0\r\n"                                          \
	"Content-Type: message/delivery-status\r\n"                       \
	"Content-Description: Delivery report\r\n"                        \
	"Content-Transfer-Encoding: 7bit\r\n"                             \
	"\r\n"                                                            \
	"Original-Envelope-Id: QQ314159\r\n"                              \
	"Reporting-MTA: dns; gw.example.test\r\n"                         \
	"Arrival-Date: Sat, 21 Nov 2026 22:39:00 +0000\r\n"               \
	"\r\n"                                                            \
	"Original-Recipient: rfc822;bob@example.org\r\n"                  \
	"Final-Recipient: rfc822; bob@example.org\r\n"

#define HEADER_PART                                       \
	"\r\n"                                            \
	"--=_postern_seed_0\r\n"                          \
	"Content-Type: text/rfc822-headers\r\n"           \
	"Content-Description: Header of your message\r\n" \
	"Content-Transfer-Encoding: 7bit\r\n"             \
	"\r\n"

#define HEADER_LINES                              \
	"Received: from x by gw.example.test\r\n" \
	"From: Ann <ann@example.test>\r\n"        \
	"To: bob@example.org\r\n"                 \
	"Subject: Offer\r\n"                      \
	"Message-ID: <1@example.test>\r\n"        \
	"References: <0@example.test>\r\n"

#define END    \
	"\r\n" \
	"--=_postern_seed_0--\r\n"

static const char failure[] = TOP(
    "Not delivered: Offer") "Your message could not be delivered to the "
			    "address below.\r\n"
			    "\r\n" FACTS
			    "Not delivered, and not tried again:\r\n"
			    "\r\n"
			    "<bob@example.org>\r\n"
			    "  There is no such mailbox at example.org.\r\n"
			    "  What you can do: Check the address for typing "
			    "mistakes and send the\r\n"
			    "  message again, or ask the person for the right "
			    "address.\r\n"
			    "  The answer of mx.example.org, word for word:\r\n"
			    "  > 550 5.1.1 No such user\r\n" BETWEEN
			    "Action: failed\r\n"
			    "Status: 5.1.1\r\n"
			    "Remote-MTA: dns; mx.example.org\r\n"
			    "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
			    "Last-Attempt-Date: Sat, 21 Nov 2026 22:39:50 "
			    "+0000\r\n"
			    "Final-Log-ID: 0123456789abc\r\n" HEADER_PART
				HEADER_LINES END;

static const char delay[] = TOP(
    "Delivery delayed: Offer") "Your message has not been delivered yet. It is "
			       "still being tried, so you\r\n"
			       "need not send it again.\r\n"
			       "\r\n" FACTS
			       "Not delivered yet, still being tried:\r\n"
			       "\r\n"
			       "<bob@example.org>\r\n"
			       "  So far: The mail server of example.org could "
			       "not be reached.\r\n"
			       "  It will be tried until Wed, 25 Nov 2026 "
			       "22:40:00 +0000.\r\n"
			       "  What this server noted:\r\n"
			       "  > connect to 192.0.2.1 port 25: timed "
			       "out\r\n" BETWEEN "Action: delayed\r\n"
			       "Status: 4.4.1\r\n"
			       "Diagnostic-Code: x-postern; connect to "
			       "192.0.2.1 port 25: timed out\r\n"
			       "Last-Attempt-Date: Sat, 21 Nov 2026 22:39:50 "
			       "+0000\r\n"
			       "Final-Log-ID: 0123456789abc\r\n"
			       "Will-Retry-Until: Wed, 25 Nov 2026 22:40:00 "
			       "+0000\r\n" HEADER_PART HEADER_LINES END;

static const char relayed[] = TOP(
    "Handed on: Offer") "Your message was handed on. You had asked to be "
			"told.\r\n"
			"\r\n" FACTS "Handed on:\r\n"
			"\r\n"
			"<bob@example.org>\r\n"
			"  The server mx.example.org has taken the message. It "
			"sends no receipts, so\r\n"
			"  this is the last news unless something goes wrong "
			"there.\r\n" BETWEEN "Action: relayed\r\n"
			"Status: 2.0.0\r\n"
			"Remote-MTA: dns; mx.example.org\r\n"
			"Diagnostic-Code: smtp; 250 ok\r\n"
			"Last-Attempt-Date: Sat, 21 Nov 2026 22:39:50 +0000\r\n"
			"Final-Log-ID: 0123456789abc\r\n" HEADER_PART
			    HEADER_LINES END;

static void
check_exact(const char *label, const struct dsn *d, const char *want)
{
	struct dsn_result result;
	struct buf out;

	buf_init(&out, 100000);
	is_int(dsn_build(d, &out, &result), 0, "%s: built", label);
	is_str(buf_text(&out), want, "%s", label);
	ok(!result.needs_smtputf8 && !result.holds_body, "%s: goes anywhere",
	    label);
	buf_clear(&out);
}

static void
test_exact(void)
{
	struct dsn_recipient r = failed_recipient();
	struct dsn d = usual(&r, 1);

	check_exact("a failure", &d, failure);
	r.action = DSN_RELAYED;
	r.status = SLICE("2.0.0");
	r.reply = SLICE("250 ok\r\n");
	check_exact("handed on", &d, relayed);
	r.action = DSN_DELAYED;
	r.status = SLICE("4.4.1");
	r.remote_mta = (struct slice){NULL, 0};
	r.reply = SLICE("connect to 192.0.2.1 port 25: timed out");
	r.will_retry_until = NOW + 4 * 86400;
	check_exact("a delay", &d, delay);
}

/* Builds, and holds whatever comes out against the rules for all of them. */
static struct dsn_result
build(const char *label, const struct dsn *d, struct buf *out)
{
	struct dsn_result result = {0};
	struct dsn_shape shape;

	buf_reset(out);
	is_int(dsn_build(d, out, &result), 0, "%s: built", label);
	shape = dsn_shape_of(buf_slice(out));
	ok(!shape.is_long && !shape.is_binary, "%s: lines are in order", label);
	ok(!shape.is_8bit || result.needs_smtputf8,
	    "%s: 8 bits only where the address needs them", label);
	return result;
}

static bool
holds(const struct buf *out, const char *text)
{
	return memmem(out->p, out->n, text, strlen(text)) != NULL;
}

static void
note_part(void *arg, const struct mime_part *part, const struct header *header)
{
	(void)header;
	(void)buf_addf(
	    arg, "%u:%s/%s ", part->depth, part->type, part->subtype);
}

static void
check_structure(const char *label, const struct buf *out, const char *want)
{
	struct buf got;
	struct mime_events events = {note_part, NULL, &got};
	struct mime *m;

	buf_init(&got, 1000);
	m = mime_new(&events);
	mime_feed(m, buf_slice(out));
	mime_finish(m);
	mime_free(m);
	is_slice(buf_slice(&got), want, "%s: parts", label);
	buf_clear(&got);
}

#define PARTS "0:multipart/report 1:text/plain 1:message/delivery-status "

/* T072: whatever a remote server says stays data. */
static void
test_hostile_reply(void)
{
	struct dsn_recipient r = failed_recipient();
	struct dsn d = usual(&r, 1);
	struct buf out;

	buf_init(&out, 100000);
	r.reply = SLICE("550-a\r\nBcc: x@y\r\n.\r\n\x1b[2J\b\r\n\r\n"
			"--=_postern_seed_0--\r\n<b>\xff\xe2\x80\xae$(id)\r\n");
	r.remote_mta = SLICE("mx\r\nBcc: a@b\x1b");
	r.orcpt = SLICE("rfc822;a\r\nX: y");
	r.address = SLICE("a\r\n\r\nb@c\r\nd");
	d.envid = SLICE("a\r\nb");
	build("a hostile reply", &d, &out);
	check_structure(
	    "a hostile reply", &out, PARTS "1:text/rfc822-headers ");
	ok(!holds(&out, "\r\nBcc:") && !holds(&out, "\r\n.\r\n") &&
		!holds(&out, "\x1b") && !holds(&out, "\r\nX: y"),
	    "nothing of it is a line of its own");
	ok(holds(&out, "  > <b>") && holds(&out, "  > Bcc: x@y\r\n"),
	    "it is quoted line by line");
	ok(holds(&out, "\r\n--=_postern_seed_1--\r\n"),
	    "a boundary that stands in it is not taken");
	ok(holds(&out, "Diagnostic-Code: smtp; 550-a Bcc: x@y . [2J "
		       "--=_postern_seed_0-- <b>??$(id)\r\n"),
	    "the field has it on one line, in ASCII");
	buf_clear(&out);
}

static void
test_long_reply(void)
{
	struct dsn_recipient r = failed_recipient();
	struct dsn d = usual(&r, 1);
	struct buf out;
	struct buf reply;

	buf_init(&out, 100000);
	buf_init(&reply, 200000);
	for (int i = 0; i < 100000; i++)
		(void)buf_add_char(&reply, 'a');
	r.reply = buf_slice(&reply);
	build("a reply of one long word", &d, &out);
	ok(out.n < 8000 && holds(&out, "aaa...\r\n"), "is cut, and shows it");
	buf_reset(&reply);
	for (int i = 0; i < 50000; i++)
		(void)buf_add_text(&reply, "\r\n");
	r.reply = buf_slice(&reply);
	build("a reply of empty lines", &d, &out);
	ok(out.n < 8000, "takes no room");
	buf_clear(&reply);
	buf_clear(&out);
}

static void
test_full(void)
{
	static const char body[] = "Hello\r\n--=_postern_seed_0\r\n";
	struct dsn_recipient r = failed_recipient();
	struct dsn d = usual(&r, 1);
	struct dsn_result result;
	struct buf out;

	buf_init(&out, 100000);
	d.returns_body = true;
	d.body = SLICE(body);
	result = build("RET=FULL", &d, &out);
	ok(result.holds_body, "has the body");
	check_structure(
	    "RET=FULL", &out, PARTS "1:message/rfc822 2:text/plain ");
	ok(holds(&out, "References: <0@example.test>\r\n\r\nHello\r\n"),
	    "header, blank line, body");
	ok(!holds(&out, "secret@"), "no Bcc");
	ok(holds(&out, "\r\n--=_postern_seed_1--\r\n"),
	    "the boundary is not one that stands in the body");
	d.body = SLICE("a\nb");
	result = build("a body with a bare LF", &d, &out);
	ok(!result.holds_body && holds(&out, "Only the header of your message"),
	    "stays away, and the words say so");
	buf_clear(&out);
}

/* What goes back of a message with such a header and body. */
static const struct plain_row {
	const char *label;
	const char *header;
	const char *body;
	const char *want; /* NULL: its header alone */
} plain_rows[] = {
    {"8-bit text",
	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	"Content-Transfer-Encoding: 8bit\r\nTo: b\r\n\r\n",
	"J\xc3\xbc=\r\nx \r\n",
	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	"To: b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
	"J=C3=BC=3D\r\nx=20\r\n"},
    {"8-bit text that tells nothing of itself", "To: b\r\n\r\n", "J\xfcrgen",
	"To: b\r\nMIME-Version: 1.0\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n\r\nJ=FCrgen"},
    {"parts, of which one has 8 bits",
	"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
	"--b\r\n\r\nplain=\r\n--b\r\n\r\nJ\xfc\r\n\r\n--b\r\n"
	"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: "
	"8bit\r\n\r\nA: b\r\n\r\n\xfc\r\n--b--\r\nend\r\n",
	"MIME-Version: 1.0\r\n"
	"Content-Type: multipart/mixed; boundary=b\r\n"
	"Content-Transfer-Encoding: 7bit\r\n\r\n"
	"--b\r\n\r\nplain=\r\n--b\r\nContent-Transfer-Encoding: "
	"quoted-printable\r\n\r\nJ=FC\r\n\r\n--b\r\n"
	"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit"
	"\r\n\r\nA: b\r\nContent-Transfer-Encoding: quoted-printable"
	"\r\n\r\n=FC\r\n--b--\r\nend\r\n"},
    {"a field with 8 bits", "Subject: J\xfcrgen\r\n\r\n", "text\r\n", NULL},
    {"8 bits between parts",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
	"\xfc\r\n--b\r\n\r\n\r\n--b--\r\n", NULL},
    {"8 bits in what says it is base64",
	"Content-Transfer-Encoding: base64\r\n\r\n", "\xfc\r\n", NULL},
    {"8 bits that are signed",
	"Content-Type: multipart/signed; boundary=b\r\n\r\n",
	"--b\r\n\r\n\xfc\r\n--b--\r\n", NULL},
    {"8 bits in a report", "Content-Type: message/delivery-status\r\n\r\n",
	"A: \xfc\r\n", NULL},
};

static void
test_plain(void)
{
	struct dsn_recipient r = failed_recipient();
	struct buf out;

	buf_init(&out, 100000);
	for (size_t i = 0; i < sizeof(plain_rows) / sizeof(plain_rows[0]);
	     i++) {
		const struct plain_row *row = &plain_rows[i];
		struct dsn d = usual(&r, 1);
		struct dsn_result result;

		d.returns_body = true;
		d.header = slice_of(row->header);
		d.body = slice_of(row->body);
		result = build(row->label, &d, &out);
		ok(result.holds_body == (row->want != NULL),
		    "%s: it goes back whole, or not", row->label);
		if (row->want != NULL)
			ok(holds(&out, row->want), "%s: in seven bits",
			    row->label);
		else
			ok(holds(&out, "Only the header of your message"),
			    "%s: the words say so", row->label);
	}
	buf_clear(&out);
}

static void
test_utf8(void)
{
	struct dsn_recipient r = failed_recipient();
	struct dsn d = usual(&r, 1);
	struct dsn_result result;
	struct buf out;

	buf_init(&out, 100000);
	r.address = SLICE("j\xc3\xbcrgen@b\xc3\xbc"
			  "cher.example");
	d.is_smtputf8 = true;
	d.sender = SLICE("\xc3\xa4nn@example.test");
	result = build("an address outside ASCII", &d, &out);
	ok(result.needs_smtputf8, "needs SMTPUTF8, as the sender's own does");
	check_structure("an address outside ASCII", &out,
	    "0:multipart/report 1:text/plain 1:message/global-delivery-status "
	    "1:message/global-headers ");
	ok(holds(&out, "Final-Recipient: utf-8; j\xc3\xbcrgen@b\xc3\xbc"
		       "cher.example\r\n"),
	    "stands as it is");
	d.sender = SLICE("ann@example.test");
	r.orcpt = SLICE("utf-8;j\xc3\xbcrgen@x.example");
	result = build("the same for a sender in ASCII", &d, &out);
	ok(!result.needs_smtputf8, "needs nothing");
	ok(holds(&out, "Original-Recipient: utf-8;j\\x{FC}rgen@x.example\r\n"),
	    "what was given is escaped");
	d.is_smtputf8 = false;
	result = build("the same without SMTPUTF8", &d, &out);
	ok(!result.needs_smtputf8, "needs nothing");
	ok(holds(&out,
	       "Final-Recipient: utf-8; j\\x{FC}rgen@b\\x{FC}cher.example\r\n"),
	    "is escaped");
	ok(holds(&out, "<j=C3=BCrgen@b=C3=BCcher.example>"),
	    "and readable in the words");
	r = failed_recipient();
	d.header = SLICE("Subject: Gr\xc3\xbc\xc3\x9f"
			 "e\r\n\r\n");
	build("a raw 8-bit header", &d, &out);
	ok(holds(&out, "\r\nSubject: Gr=C3=BC=C3=9Fe\r\n") &&
		holds(&out, "Subject: =?UTF-8?"),
	    "goes back in quoted-printable");
	check_structure(
	    "a raw 8-bit header", &out, PARTS "1:text/rfc822-headers ");
	d.is_smtputf8 = true;
	build("the same with SMTPUTF8", &d, &out);
	ok(holds(&out, "\r\nSubject: Gr=C3=BC=C3=9Fe\r\n"), "likewise");
	check_structure(
	    "the same with SMTPUTF8", &out, PARTS "1:message/global-headers ");
	d.returns_body = true;
	d.body = SLICE("J\xc3\xbcrgen\r\n");
	result = build("and its body", &d, &out);
	ok(result.holds_body && holds(&out, "\r\n\r\nJ=C3=BCrgen\r\n"),
	    "goes back whole, in quoted-printable (RFC 6533)");
	check_structure("and its body", &out, PARTS "1:message/global ");
	d.sender = SLICE("\xc3\xa4nn@example.test");
	result = build("the same for a sender outside ASCII", &d, &out);
	ok(result.needs_smtputf8 &&
		holds(&out, "\r\nSubject: Gr\xc3\xbc\xc3\x9f"
			    "e\r\n") &&
		holds(&out, "\r\n\r\nJ\xc3\xbcrgen\r\n"),
	    "goes back as it is");
	buf_clear(&out);
}

static void
test_header_shapes(void)
{
	struct dsn_recipient r = failed_recipient();
	struct dsn d = usual(&r, 1);
	struct buf out;
	struct buf header;

	buf_init(&out, 1000000);
	buf_init(&header, 300000);
	d.hides_subject = true;
	build("a hidden subject", &d, &out);
	ok(!holds(&out, "Offer") && holds(&out, "\r\nSubject: [...]\r\n") &&
		holds(&out, "\r\nSubject: Not delivered: your message\r\n"),
	    "stands nowhere");
	d.header = SLICE("Thread-Topic: Offer\r\nKeywords: Offer,\r\n x\r\n"
			 "comments: Offer\r\nTo: a@b\r\n\r\n");
	build("nor what goes with it", &d, &out);
	ok(!holds(&out, "Offer") && holds(&out, "\r\nTo: a@b\r\n"),
	    "stands in it");
	d.hides_subject = false;
	d.header = (struct slice){NULL, 0};
	build("no header", &d, &out);
	check_structure("no header", &out, PARTS "1:text/rfc822-headers ");
	d.header = SLICE("Subject: a\r\nBcc: x");
	build("a header without end", &d, &out);
	ok(!holds(&out, "Bcc"), "loses its Bcc");
	d.header = SLICE("Resent-Bcc: x\r\n y\r\nA: b");
	build("a Resent-Bcc with a fold", &d, &out);
	ok(!holds(&out, "x\r\n y") && holds(&out, "\r\nA: b\r\n"),
	    "goes whole");
	d.header = SLICE("Message-ID: <a\r\nReferences: <b@c>\r\n\r\n");
	build("a broken Message-ID", &d, &out);
	ok(!holds(&out, "In-Reply-To"), "makes no reference");
	(void)buf_add_text(&header, "Message-ID: <m@x>\r\nReferences:");
	for (int i = 0; i < 1000; i++)
		(void)buf_addf(&header, " <%d@x> junk", i);
	(void)buf_add_text(&header, "\r\n\r\n");
	d.header = buf_slice(&header);
	build("a thousand references", &d, &out);
	ok(holds(&out, "\r\nReferences: <990@x>\r\n") &&
		holds(&out, "\r\n <999@x>\r\n <m@x>\r\n"),
	    "the last ten stay");
	buf_reset(&header);
	while (header.n < 290000)
		(void)buf_add_text(
		    &header, "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	d.header = buf_slice(&header);
	build("a header over the limit", &d, &out);
	buf_clear(&header);
	buf_clear(&out);
}

static void
test_many(void)
{
	struct dsn_recipient r[300];
	struct dsn d = usual(r, 300);
	struct buf out;

	buf_init(&out, 1000000);
	for (size_t i = 0; i < 300; i++) {
		r[i] = failed_recipient();
		r[i].action = (enum dsn_action)(i % DSN_ACTION_COUNT);
	}
	build("300 recipients, of all kinds", &d, &out);
	ok(holds(&out, "Subject: Not delivered: Offer\r\n"),
	    "the worst counts");
	ok(holds(&out, "The report below lists 200 more recipients."),
	    "the words tell of 100");
	for (int i = 0; i < DSN_ACTION_COUNT; i++) {
		char line[64];

		(void)snprintf(line, sizeof(line), "\r\nAction: %s\r\n",
		    dsn_action_text((enum dsn_action)i));
		ok(holds(&out, line), "the report has \"%s\"",
		    dsn_action_text((enum dsn_action)i));
	}
	buf_clear(&out);
	buf_init(&out, 2000);
	is_int(dsn_build(&d, &out, &(struct dsn_result){0}), -1,
	    "too little room is an error");
	buf_clear(&out);
	d.sender = (struct slice){"", 0};
	OK_DIES((void)dsn_build(&d, &out, &(struct dsn_result){0}),
	    "never to a null sender");
	d = usual(r, 0);
	OK_DIES((void)dsn_build(&d, &out, &(struct dsn_result){0}),
	    "never about nobody");
}

static const struct reason_row {
	const char *status;
	const char *what; /* its beginning */
} reason_rows[] = {
    {"5.1.1", "There is no such mailbox"},
    {"4.1.1", "There is no such mailbox"},
    {"5.1.2", "The domain % does not exist"},
    {"5.1.10", "The domain % says"},
    {"5.1.99", "The address was not accepted"},
    {"5.2.2", "The mailbox is full"},
    {"5.3.4", "The message is larger"},
    {"4.4.1", "The mail server of % could not be reached"},
    {"5.4.6", "The message went round"},
    {"4.4.7", "The message could not be delivered within"},
    {"5.7.1", "The receiving server refused the message by its rules"},
    {"4.7.1", "The receiving server put the message off"},
    {"4.7.10", "The message must travel over a protected"},
    {"5.7.26", "The receiving server could not confirm"},
    {"5.6.7", "The receiving server cannot handle addresses"},
    {"5.5.0", "The receiving server refused the message."},
    {"4.5.0", "A problem that should pass"},
    {"", "The receiving server refused the message."},
    {"5", "The receiving server refused the message."},
    {"5.1", "The receiving server refused the message."},
    {"5.1.1.1", "The receiving server refused the message."},
    {"5..1", "The receiving server refused the message."},
    {"junk", "The receiving server refused the message."},
};

static void
test_reasons(void)
{
	for (size_t i = 0; i < sizeof(reason_rows) / sizeof(reason_rows[0]);
	     i++) {
		const struct reason_row *row = &reason_rows[i];
		const struct dsn_reason *reason =
		    dsn_reason(slice_of(row->status));

		ok(strncmp(reason->what, row->what, strlen(row->what)) == 0,
		    "\"%s\": %s", row->status, reason->what);
	}
}

static const struct status_row {
	const char *label;
	const char *status;
	const char *want;
} status_rows[] = {
    {"a usual one", "5.7.509", "Status: 5.7.509\r\n"},
    {"none", "", "Status: 5.0.0\r\n"},
    {"junk", "5.1.x", "Status: 5.0.0\r\n"},
    {"a wrong class", "3.1.1", "Status: 5.0.0\r\n"},
    {"too few parts", "5.1234", "Status: 5.0.0\r\n"},
    {"an empty part", "5..11", "Status: 5.0.0\r\n"},
    {"too many parts", "5.1.1.1", "Status: 5.0.0\r\n"},
};

static void
test_statuses(void)
{
	struct buf out;

	buf_init(&out, 100000);
	for (size_t i = 0; i < sizeof(status_rows) / sizeof(status_rows[0]);
	     i++) {
		struct dsn_recipient r = failed_recipient();
		struct dsn d = usual(&r, 1);

		r.status = slice_of(status_rows[i].status);
		build(status_rows[i].label, &d, &out);
		ok(holds(&out, status_rows[i].want), "%s goes out well formed",
		    status_rows[i].label);
	}
	buf_clear(&out);
}

static void
test_text(void)
{
	struct buf out;

	buf_init(&out, 10000);
	dsn_add_quoted_printable(&out, SLICE("a \r\n\tb=\r\rc\n \xff "));
	is_slice(buf_slice(&out), "a=20\r\n\tb=3D=0D=0Dc=0A =FF=20",
	    "quoted-printable: blanks at ends, bare line ends, the sign "
	    "itself");
	buf_reset(&out);
	dsn_add_quoted_printable(&out,
	    SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaab"));
	is_u64(slice_find(buf_slice(&out), '\r', 0), 76,
	    "a soft break is within 76");
	buf_reset(&out);
	dsn_add_wrapped(&out, "  ", SLICE("one  two"));
	is_slice(buf_slice(&out), "  one  two\r\n", "a short line is kept");
	buf_clear(&out);
}

int
main(void)
{
	test_exact();
	test_hostile_reply();
	test_long_reply();
	test_full();
	test_plain();
	test_utf8();
	test_header_shapes();
	test_many();
	test_reasons();
	test_statuses();
	test_text();
	return tap_done();
}
