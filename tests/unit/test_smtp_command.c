/* SPDX-License-Identifier: ISC */
/*
 * Command lines, and the parameters of MAIL and RCPT.
 */
#include <stdio.h>
#include <string.h>

#include "common/smtp_command.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *label;
	const char *line;
	enum smtp_verb verb;
	unsigned code; /* 0: taken */
	const char *argument;
} lines[] = {
    {"a command", "EHLO a.example", SMTP_VERB_EHLO, 0, "a.example"},
    {"in small letters", "ehlo a.example", SMTP_VERB_EHLO, 0, "a.example"},
    {"blanks around the argument go", "HELO   a.example  ", SMTP_VERB_HELO, 0,
	"a.example"},
    {"a blank after the command", "QUIT ", SMTP_VERB_QUIT, 0, ""},
    {"NOOP with text", "NOOP \xc3\xa4", SMTP_VERB_NOOP, 0, "\xc3\xa4"},
    {"HELP alone", "HELP", SMTP_VERB_HELP, 0, ""},
    {"nothing", "", SMTP_VERB_UNKNOWN, 0, ""},
    {"a blank before the command", " QUIT", SMTP_VERB_UNKNOWN, 0, "QUIT"},
    {"a longer word", "QUITX", SMTP_VERB_UNKNOWN, 0, ""},
    {"a shorter word", "QUI", SMTP_VERB_UNKNOWN, 0, ""},
    {"WIZ", "WIZ", SMTP_VERB_UNKNOWN, 0, ""},
    {"BDAT", "BDAT 10 LAST", SMTP_VERB_BDAT, 0, "10 LAST"},
    {"XCLIENT", "XCLIENT ADDR=192.0.2.1", SMTP_VERB_XCLIENT, 0,
	"ADDR=192.0.2.1"},
    {"EHLO without a name", "EHLO", SMTP_VERB_EHLO, 501, NULL},
    {"EHLO with blanks only", "EHLO   ", SMTP_VERB_EHLO, 501, NULL},
    {"DATA with an argument", "DATA x", SMTP_VERB_DATA, 501, NULL},
    {"STARTTLS with an argument", "STARTTLS now", SMTP_VERB_STARTTLS, 501,
	NULL},
    {"RSET with an argument", "RSET x", SMTP_VERB_RSET, 501, NULL},
    {"a CR", "EHLO a\rQUIT", SMTP_VERB_EHLO, 500, NULL},
    {"a LF", "EHLO a\nQUIT", SMTP_VERB_EHLO, 500, NULL},
    {"a tab", "EHLO\ta.example", SMTP_VERB_UNKNOWN, 500, NULL},
    {"ESC", "EHLO a\x1b[2J", SMTP_VERB_EHLO, 500, NULL},
    {"DEL", "NOOP \x7f", SMTP_VERB_NOOP, 500, NULL},
    {"HTTP GET", "GET / HTTP/1.1", SMTP_VERB_FOREIGN, 0, "/ HTTP/1.1"},
    {"HTTP POST", "POST / HTTP/1.1", SMTP_VERB_FOREIGN, 0, "/ HTTP/1.1"},
    {"HTTP CONNECT", "CONNECT a:25 HTTP/1.1", SMTP_VERB_FOREIGN, 0,
	"a:25 HTTP/1.1"},
    {"HTTP/2", "PRI * HTTP/2.0", SMTP_VERB_FOREIGN, 0, "* HTTP/2.0"},
    {"SSH", "SSH-2.0-OpenSSH_9.2", SMTP_VERB_FOREIGN, 0, ""},
    {"TLS", "\x16\x03\x01\x02", SMTP_VERB_FOREIGN, 500, NULL},
    {"PROXY", "PROXY TCP4 192.0.2.1 192.0.2.2 1 25", SMTP_VERB_FOREIGN, 0,
	"TCP4 192.0.2.1 192.0.2.2 1 25"},
};

static void
test_lines(void)
{
	struct smtp_command c;
	struct smtp_status status;

	for (size_t i = 0; i < COUNT(lines); i++) {
		int rc =
		    smtp_command_parse(slice_of(lines[i].line), &c, &status);

		is_int(rc == 0 ? 0 : status.code, lines[i].code, "%s",
		    lines[i].label);
		is_str(smtp_verb_name(c.verb), smtp_verb_name(lines[i].verb),
		    "%s: verb", lines[i].label);
		if (lines[i].argument != NULL)
			is_slice(c.argument, lines[i].argument, "%s: argument",
			    lines[i].label);
	}
	is_int(smtp_command_parse(SLICE("NOOP a\0b"), &c, &status), -1,
	    "a NUL is refused");
	for (size_t v = 0; v < SMTP_VERB_COUNT; v++)
		ok(smtp_verb_name((enum smtp_verb)v) != NULL,
		    "verb %zu has a name", v);
}

static void
test_lengths(void)
{
	static const struct {
		const char *verb;
		size_t longest; /* with CRLF */
	} rows[] = {
	    {"NOOP ", 512},
	    {"EHLO ", 512},
	    {"WHAT ", 512},
	    {"MAIL ", 2000},
	    {"RCPT ", 2000},
	    {"AUTH ", 12288},
	};
	static char line[20000];
	struct smtp_command c;
	struct smtp_status status;

	for (size_t i = 0; i < COUNT(rows); i++) {
		memset(line, 'a', sizeof(line));
		memcpy(line, rows[i].verb, 5);
		is_int(
		    smtp_command_parse(
			(struct slice){line, rows[i].longest - 2}, &c, &status),
		    0, "%s of %zu octets", rows[i].verb, rows[i].longest);
		is_int(
		    smtp_command_parse(
			(struct slice){line, rows[i].longest - 1}, &c, &status),
		    -1, "%s of one more", rows[i].verb);
		is_int(status.code, 500, "is refused");
	}
}

static void
test_hello(void)
{
	static const struct {
		const char *text;
		int kind; /* -1: refused */
	} rows[] = {
	    {"a.example", SMTP_HELLO_DOMAIN},
	    {"localhost", SMTP_HELLO_DOMAIN},
	    {"[192.0.2.1]", SMTP_HELLO_LITERAL},
	    {"[IPv6:::1]", SMTP_HELLO_LITERAL},
	    {"[192.0.2.1", SMTP_HELLO_TOKEN},
	    {"[x]", SMTP_HELLO_TOKEN},
	    {"192.0.2.1", SMTP_HELLO_TOKEN},
	    {"my_pc", SMTP_HELLO_TOKEN},
	    {"<script>", SMTP_HELLO_TOKEN},
	    {"..", SMTP_HELLO_TOKEN},
	    {"a b", -1},
	    {"b\xc3\xbc"
	     "cher.example",
		-1},
	    {"a\x1b", -1},
	    {"a\x7f", -1},
	    {"", -1},
	};
	char text[300];
	struct smtp_hello h;
	struct smtp_status status;

	for (size_t i = 0; i < COUNT(rows); i++) {
		int rc = smtp_hello_parse(slice_of(rows[i].text), &h, &status);

		is_int(rc == 0 ? (int)h.kind : -1, rows[i].kind, "EHLO \"%s\"",
		    rows[i].text);
		if (rc == 0)
			is_str(h.text, rows[i].text, "as it came");
		else
			is_int(status.code, 501, "is a syntax error");
	}
	memset(text, '[', sizeof(text));
	is_int(smtp_hello_parse((struct slice){text, 255}, &h, &status), 0,
	    "255 characters");
	is_int(smtp_hello_parse((struct slice){text, 256}, &h, &status), -1,
	    "but not 256");
}

static void
test_auth(void)
{
	static const struct {
		const char *text;
		const char *mechanism; /* NULL: refused */
		const char *initial;   /* NULL: none */
	} rows[] = {
	    {"plain", "PLAIN", NULL},
	    {"PLAIN AGEAYg==", "PLAIN", "AGEAYg=="},
	    {"PLAIN =", "PLAIN", ""},
	    {"SCRAM-SHA-256-PLUS  cA", "SCRAM-SHA-256-PLUS", "cA"},
	    {"PLAIN a b", NULL, NULL},
	    {"ABCDEFGHIJKLMNOPQRSTU", NULL, NULL},
	    {"PL/AIN", NULL, NULL},
	    {"", NULL, NULL},
	};
	struct smtp_auth a;
	struct smtp_status status;

	for (size_t i = 0; i < COUNT(rows); i++) {
		int rc = smtp_auth_parse(slice_of(rows[i].text), &a, &status);

		ok((rc == 0) == (rows[i].mechanism != NULL), "AUTH \"%s\"",
		    rows[i].text);
		if (rc == -1 || rows[i].mechanism == NULL)
			continue;
		is_str(a.mechanism, rows[i].mechanism, "mechanism");
		ok(a.has_initial == (rows[i].initial != NULL),
		    "initial response or none");
		is_slice(a.initial, rows[i].initial ? rows[i].initial : "",
		    "which is");
	}
}

#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10

/* The result in one line, so that a row says all of it. */
static const struct {
	const char *label;
	const char *argument;
	unsigned code;    /* 0: taken */
	const char *want; /* or the enhanced code */
} mails[] = {
    {"a sender", "FROM:<a@b.example>", 0, "a@b.example"},
    {"small letters", "from:<a@b.example>", 0, "a@b.example"},
    {"blanks about the colon", "FROM : <a@b.example>", 0, "a@b.example"},
    {"a blank after the colon", "FROM: <a@b.example>", 0, "a@b.example"},
    {"the null sender", "FROM:<>", 0, ""},
    {"the null sender and a size", "FROM:<> SIZE=7", 0, " size=7"},
    {"all parameters",
	"FROM:<a@b.example> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS "
	"ENVID=QQ+2B1 AUTH=<>",
	0, "a@b.example size=1000 body=2 utf8 ret=2 envid=QQ+2B1 auth=<>"},
    {"in small letters", "FROM:<a@b.example> size=1 body=7bit ret=full", 0,
	"a@b.example size=1 body=1 ret=1"},
    {"several blanks between", "FROM:<a@b.example>   SIZE=1   ", 0,
	"a@b.example size=1"},
    {"20 digits", "FROM:<a@b.example> SIZE=18446744073709551615", 0,
	"a@b.example size=18446744073709551615"},
    {"more than 64 bits", "FROM:<a@b.example> SIZE=99999999999999999999", 0,
	"a@b.example size=18446744073709551615"},
    {"UTF-8", "FROM:<\xc3\xa4@b.example> SMTPUTF8", 0,
	"\xc3\xa4@b.example utf8"},
    {"an AUTH address", "FROM:<a@b.example> AUTH=e+3Dmc2@x.example", 0,
	"a@b.example auth=e+3Dmc2@x.example"},
    {"a quoted path with bracket and blank", "FROM:<\"a> b\"@b.example> SIZE=1",
	0, "\"a> b\"@b.example size=1"},
    {"100 characters of ENVID", "FROM:<a@b.example> ENVID=" A100, 0,
	"a@b.example envid=" A100},

    {"TO", "TO:<a@b.example>", 501, "5.5.4"},
    {"no colon", "FROM <a@b.example>", 501, "5.5.4"},
    {"no path", "FROM:", 501, "5.5.4"},
    {"no brackets", "FROM:a@b.example", 501, "5.5.4"},
    {"an open bracket", "FROM:<a@b.example", 501, "5.5.4"},
    {"an open quote", "FROM:<\"a@b.example> SIZE=1", 501, "5.5.4"},
    {"an escape at the end", "FROM:<\"\\", 501, "5.5.4"},
    {"no blank before parameters", "FROM:<a@b.example>SIZE=1", 501, "5.5.4"},
    {"a tail after the path", "FROM:<a@b.example>.x", 501, "5.5.4"},
    {"nothing", "", 501, "5.5.4"},
    {"an empty domain (CVE-2020-7247)", "FROM:<;sleep 5;@>", 501, "5.1.7"},
    {"no domain (CVE-2020-7247)", "FROM:<;sleep 5;>", 501, "5.1.7"},
    {"postmaster is no sender", "FROM:<postmaster>", 501, "5.1.7"},
    {"two at-signs", "FROM:<x@outside@inside>", 501, "5.1.7"},
    {"a source route", "FROM:<@x.example:a@b.example>", 550, "5.7.1"},
    {"UTF-8 without SMTPUTF8", "FROM:<\xc3\xa4@b.example>", 553, "5.6.7"},
    {"an unknown parameter", "FROM:<a@b.example> XSIZE=1", 555, "5.5.4"},
    {"one of RCPT", "FROM:<a@b.example> NOTIFY=NEVER", 555, "5.5.4"},
    {"no keyword", "FROM:<a@b.example> =1", 555, "5.5.4"},
    {"a parameter twice", "FROM:<a@b.example> SIZE=1 SIZE=1", 501, "5.5.4"},
    {"twice in other letters", "FROM:<a@b.example> SIZE=1 size=1", 501,
	"5.5.4"},
    {"SIZE alone", "FROM:<a@b.example> SIZE", 501, "5.5.4"},
    {"an empty SIZE", "FROM:<a@b.example> SIZE=", 501, "5.5.4"},
    {"a negative SIZE", "FROM:<a@b.example> SIZE=-1", 501, "5.5.4"},
    {"SIZE with a plus", "FROM:<a@b.example> SIZE=+1", 501, "5.5.4"},
    {"SIZE of 23 digits", "FROM:<a@b.example> SIZE=10000000000000000000000",
	501, "5.5.4"},
    {"SIZE in hexadecimal", "FROM:<a@b.example> SIZE=0x10", 501, "5.5.4"},
    {"an unknown BODY", "FROM:<a@b.example> BODY=BINARYMIME", 501, "5.5.4"},
    {"SMTPUTF8 with a value", "FROM:<a@b.example> SMTPUTF8=1", 501, "5.5.4"},
    {"an unknown RET", "FROM:<a@b.example> RET=ALL", 501, "5.5.4"},
    {"an empty ENVID", "FROM:<a@b.example> ENVID=", 501, "5.5.4"},
    {"101 characters of ENVID", "FROM:<a@b.example> ENVID=" A100 "a", 501,
	"5.5.4"},
    {"CRLF in ENVID", "FROM:<a@b.example> ENVID=a+0D+0AX", 501, "5.5.4"},
    {"bad xtext in ENVID", "FROM:<a@b.example> ENVID=a+0", 501, "5.5.4"},
    {"NUL in AUTH", "FROM:<a@b.example> AUTH=a+00", 501, "5.5.4"},
    {"501 characters of AUTH",
	"FROM:<a@b.example> AUTH=" A100 A100 A100 A100 A100 "a", 501, "5.5.4"},
};

static const struct {
	const char *label;
	const char *argument;
	bool is_smtputf8;
	unsigned code;
	const char *want;
} rcpts[] = {
    {"a recipient", "TO:<a@b.example>", false, 0, "a@b.example"},
    {"a blank after the colon", "to: <a@b.example>", false, 0, "a@b.example"},
    {"postmaster", "TO:<PostMaster>", false, 0, "PostMaster"},
    {"NOTIFY=NEVER", "TO:<a@b.example> NOTIFY=NEVER", false, 0,
	"a@b.example notify=1"},
    {"all of NOTIFY", "TO:<a@b.example> notify=success,failure,delay", false, 0,
	"a@b.example notify=14"},
    {"ORCPT", "TO:<a@b.example> ORCPT=rfc822;a+2Bx@b.example", false, 0,
	"a@b.example orcpt=rfc822;a+2Bx@b.example"},
    {"ORCPT in utf-8", "TO:<a@b.example> ORCPT=utf-8;\\x{E4}@b.example", false,
	0, "a@b.example orcpt=utf-8;\\x{E4}@b.example"},
    {"ORCPT in raw utf-8", "TO:<a@b.example> ORCPT=utf-8;\xc3\xa4@b.example",
	true, 0, "a@b.example orcpt=utf-8;\xc3\xa4@b.example"},
    {"UTF-8", "TO:<\xc3\xa4@b.example>", true, 0, "\xc3\xa4@b.example"},
    {"a percent hack is opaque", "TO:<a%x.example@b.example>", false, 0,
	"a%x.example@b.example"},
    {"a bang path is opaque", "TO:<x!a@b.example>", false, 0, "x!a@b.example"},

    {"the null path", "TO:<>", false, 501, "5.1.3"},
    {"an empty local part", "TO:<@b.example>", false, 501, "5.1.3"},
    {"an empty domain", "TO:<a@>", false, 501, "5.1.3"},
    {"no domain", "TO:<a>", false, 501, "5.1.3"},
    {"a source route", "TO:<@x.example,@y.example:a@b.example>", false, 550,
	"5.7.1"},
    {"UTF-8 without SMTPUTF8", "TO:<\xc3\xa4@b.example>", false, 553, "5.6.7"},
    {"the override", "TO:<a\xe2\x80\xae@b.example>", true, 501, "5.1.3"},
    {"broken UTF-8", "TO:<a\xff@b.example>", true, 501, "5.1.3"},
    {"SIZE is one of MAIL", "TO:<a@b.example> SIZE=1", false, 555, "5.5.4"},
    {"NEVER with another", "TO:<a@b.example> NOTIFY=NEVER,DELAY", false, 501,
	"5.5.4"},
    {"an unknown NOTIFY", "TO:<a@b.example> NOTIFY=ALWAYS", false, 501,
	"5.5.4"},
    {"an empty NOTIFY", "TO:<a@b.example> NOTIFY=", false, 501, "5.5.4"},
    {"NOTIFY alone", "TO:<a@b.example> NOTIFY", false, 501, "5.5.4"},
    {"a comma at the end", "TO:<a@b.example> NOTIFY=DELAY,", false, 501,
	"5.5.4"},
    {"a word twice", "TO:<a@b.example> NOTIFY=DELAY,DELAY", false, 501,
	"5.5.4"},
    {"NOTIFY twice", "TO:<a@b.example> NOTIFY=DELAY NOTIFY=DELAY", false, 501,
	"5.5.4"},
    {"ORCPT without a type", "TO:<a@b.example> ORCPT=a@b.example", false, 501,
	"5.5.4"},
    {"ORCPT with an empty type", "TO:<a@b.example> ORCPT=;a", false, 501,
	"5.5.4"},
    {"ORCPT with an empty address", "TO:<a@b.example> ORCPT=rfc822;", false,
	501, "5.5.4"},
    {"CRLF in ORCPT", "TO:<a@b.example> ORCPT=rfc822;a+0D+0A", false, 501,
	"5.5.4"},
    {"high octets in ORCPT", "TO:<a@b.example> ORCPT=rfc822;a+FF", false, 501,
	"5.5.4"},
    {"LF in utf-8 ORCPT", "TO:<a@b.example> ORCPT=utf-8;\\x{A}", false, 501,
	"5.5.4"},
    {"the override in ORCPT", "TO:<a@b.example> ORCPT=utf-8;\\x{202E}", false,
	501, "5.5.4"},
    {"an open escape in ORCPT", "TO:<a@b.example> ORCPT=utf-8;\\x{E4", false,
	501, "5.5.4"},
    {"a far too large escape in ORCPT",
	"TO:<a@b.example> ORCPT=utf-8;\\x{110000}", false, 501, "5.5.4"},
    {"raw utf-8 without SMTPUTF8", "TO:<a@b.example> ORCPT=utf-8;\xc3\xa4",
	false, 501, "5.5.4"},
    {"501 octets of ORCPT",
	"TO:<a@b.example> ORCPT=rfc822;" A100 A100 A100 A100 A10 A10 A10 A10 A10
	    A10 A10 A10 A10 "aaaa",
	false, 501, "5.5.4"},
};

static void
describe_mail(const struct smtp_mail *m, struct buf *out)
{
	char text[ADDRESS_TEXT_MAX];

	buf_add_text(out, address_format(&m->from, text));
	if (m->has_size)
		buf_addf(out, " size=%llu", (unsigned long long)m->size_bytes);
	if (m->body != SMTP_BODY_UNSAID)
		buf_addf(out, " body=%d", (int)m->body);
	if (m->is_smtputf8)
		buf_add_text(out, " utf8");
	if (m->ret != SMTP_RET_UNSAID)
		buf_addf(out, " ret=%d", (int)m->ret);
	if (m->envid[0] != '\0')
		buf_addf(out, " envid=%s", m->envid);
	if (m->auth[0] != '\0')
		buf_addf(out, " auth=%s", m->auth);
}

static void
test_mails(void)
{
	struct buf got;
	struct smtp_status status;

	buf_init(&got, 2000);
	for (size_t i = 0; i < COUNT(mails); i++) {
		struct smtp_mail m = {.envid = "untouched"};
		int rc =
		    smtp_mail_parse(slice_of(mails[i].argument), &m, &status);

		is_int(rc == 0 ? 0 : status.code, mails[i].code, "MAIL: %s",
		    mails[i].label);
		buf_reset(&got);
		if (rc == 0)
			describe_mail(&m, &got);
		else
			buf_add_text(&got, status.enhanced);
		is_str(buf_text(&got), mails[i].want, "MAIL: %s: result",
		    mails[i].label);
		ok(rc == 0 || strcmp(m.envid, "untouched") == 0,
		    "MAIL: %s: all or nothing", mails[i].label);
	}
	buf_clear(&got);
}

static void
test_rcpts(void)
{
	char text[ADDRESS_TEXT_MAX];
	struct buf got;
	struct smtp_status status;

	buf_init(&got, 2000);
	for (size_t i = 0; i < COUNT(rcpts); i++) {
		struct smtp_rcpt r = {.orcpt = "untouched"};
		int rc = smtp_rcpt_parse(slice_of(rcpts[i].argument),
		    rcpts[i].is_smtputf8, &r, &status);

		is_int(rc == 0 ? 0 : status.code, rcpts[i].code, "RCPT: %s",
		    rcpts[i].label);
		buf_reset(&got);
		if (rc == -1) {
			buf_add_text(&got, status.enhanced);
		} else {
			buf_add_text(&got, address_format(&r.to, text));
			if (r.notify != SMTP_NOTIFY_UNSAID)
				buf_addf(&got, " notify=%u", r.notify);
			if (r.orcpt[0] != '\0')
				buf_addf(&got, " orcpt=%s", r.orcpt);
		}
		is_str(buf_text(&got), rcpts[i].want, "RCPT: %s: result",
		    rcpts[i].label);
		ok(rc == 0 || strcmp(r.orcpt, "untouched") == 0,
		    "RCPT: %s: all or nothing", rcpts[i].label);
	}
	buf_clear(&got);
}

int
main(void)
{
	test_lines();
	test_lengths();
	test_hello();
	test_auth();
	test_mails();
	test_rcpts();
	return tap_done();
}
