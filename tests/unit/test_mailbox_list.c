/* SPDX-License-Identifier: ISC */
/*
 * Lists of mailboxes, and the rule of one unmistakable From.
 */
#include <stdlib.h>
#include <string.h>

#include "common/from_header.h"
#include "tests/unit/tap.h"

/* want: "name|address" joined by " ; ", a group's members in brackets. */
static const struct list_row {
	const char *label;
	const char *text;
	unsigned flags;
	const char *want; /* NULL: refused */
	enum mailbox_problem problem;
} list_rows[] = {
    {"a bare address", "a@b.example", 0, "|a@b.example", MAILBOX_FINE},
    {"an address in brackets", "<a@b>", 0, "|a@b", MAILBOX_FINE},
    {"a name", "John <a@b>", 0, "John|a@b", MAILBOX_FINE},
    {"a name of words with a dot", "John Q. Public <a@b>", 0,
	"John Q. Public|a@b", MAILBOX_FINE},
    {"a quoted name with an address in it", "\"a@good\" <b@x>", 0,
	"\"a@good\"|b@x", MAILBOX_FINE},
    {"a quoted name with a comma and an escaped quote",
	"\"Doe, \\\"J\\\"\" <b@x>", 0, "\"Doe, \\\"J\\\"\"|b@x", MAILBOX_FINE},
    {"an encoded name stays as it is", "=?utf-8?Q?J=C3=BC?= <a@b>", 0,
	"=?utf-8?Q?J=C3=BC?=|a@b", MAILBOX_FINE},
    {"a UTF-8 name", "J\xc3\xbc <a@b>", 0, "J\xc3\xbc|a@b", MAILBOX_FINE},
    {"two mailboxes", "a@b, C <c@d>", 0, "|a@b ; C|c@d", MAILBOX_FINE},
    {"folds and blanks around", "\r\n a@b\r\n ,\r\n\tc@d \r\n", 0,
	"|a@b ; |c@d", MAILBOX_FINE},
    {"comments around", "(x) a@b (John (Jr.))", 0, "|a@b", MAILBOX_FINE},
    {"comments in brackets", "J (x) <(y)a@b(z)> (w)", 0, "J|a@b", MAILBOX_FINE},
    {"an escaped bracket in a comment", "a@b (x\\)y)", 0, "|a@b", MAILBOX_FINE},
    {"a quoted local part", "\"a b\"@c", 0, "|\"a b\"@c", MAILBOX_FINE},
    {"a quoted at sign", "\"a@b\"@c", 0, "|\"a@b\"@c", MAILBOX_FINE},
    {"a domain literal", "a@[192.0.2.1]", 0, "|a@[192.0.2.1]", MAILBOX_FINE},
    {"an IPv6 literal", "<a@[IPv6:2001:db8::1]>", 0, "|a@[IPv6:2001:db8::1]",
	MAILBOX_FINE},
    {"all of atext", "!#$%&'*+-/?=^_`{|}~@b", 0, "|!#$%&'*+-/?=^_`{|}~@b",
	MAILBOX_FINE},
    {"nothing", "", 0, "", MAILBOX_FINE},
    {"blanks and a comment only", " \r\n (x) ", 0, "", MAILBOX_FINE},
    {"a UTF-8 address by flag", "j\xc3\xbc@b", MAILBOX_LIST_UTF8,
	"|j\xc3\xbc@b", MAILBOX_FINE},
    {"a group by flag", "Team: a@b, C <c@d>;", MAILBOX_LIST_GROUPS,
	"[|a@b] ; [C|c@d]", MAILBOX_FINE},
    {"an empty group", "undisclosed-recipients:;", MAILBOX_LIST_GROUPS, "",
	MAILBOX_FINE},
    {"an empty group with blanks", "\"x y\" : (z) ; ", MAILBOX_LIST_GROUPS, "",
	MAILBOX_FINE},
    {"groups and mailboxes", "a@b, G: c@d;, H:;, e@f", MAILBOX_LIST_GROUPS,
	"|a@b ; [|c@d] ; |e@f", MAILBOX_FINE},

    {"a group without flag", "Team: a@b;", 0, NULL, MAILBOX_GROUP},
    {"a group that is not closed", "Team: a@b", MAILBOX_LIST_GROUPS, NULL,
	MAILBOX_GROUP},
    {"a group in a group", "A: B: a@b;;", MAILBOX_LIST_GROUPS, NULL,
	MAILBOX_SYNTAX},
    {"a group without name", ": a@b;", MAILBOX_LIST_GROUPS, NULL,
	MAILBOX_SYNTAX},
    {"a comma before the end of a group", "A: a@b,;", MAILBOX_LIST_GROUPS, NULL,
	MAILBOX_NO_ADDRESS},
    {"a mailbox right behind a group", "A: a@b; c@d", MAILBOX_LIST_GROUPS, NULL,
	MAILBOX_SYNTAX},
    {"a comma at the end", "a@b,", 0, NULL, MAILBOX_NO_ADDRESS},
    {"a comma at the front", ",a@b", 0, NULL, MAILBOX_NO_ADDRESS},
    {"two commas", "a@b,,c@d", 0, NULL, MAILBOX_NO_ADDRESS},
    {"a name without address", "John", 0, NULL, MAILBOX_NO_ADDRESS},
    {"empty brackets", "<>", 0, NULL, MAILBOX_NO_ADDRESS},
    {"two addresses side by side", "a@b c@d", 0, NULL, MAILBOX_SYNTAX},
    {"an address before brackets", "a@good <b@x>", 0, NULL,
	MAILBOX_TWO_ADDRESSES},
    {"brackets twice", "<a@good> <b@x>", 0, NULL, MAILBOX_TWO_ADDRESSES},
    {"brackets in brackets", "<<a@b>>", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"an address behind brackets", "<a@good>b@x", 0, NULL, MAILBOX_SYNTAX},
    {"a word behind brackets", "<a@b> John", 0, NULL, MAILBOX_SYNTAX},
    {"a comma in brackets", "<a@b,c@d>", 0, NULL, MAILBOX_OPEN_ANGLE},
    {"a semicolon between", "a@b; c@d", 0, NULL, MAILBOX_TWO_ADDRESSES},
    {"two at signs", "a@b@c", 0, NULL, MAILBOX_TWO_ADDRESSES},
    {"two at signs in brackets", "<a@b@c>", 0, NULL, MAILBOX_TWO_ADDRESSES},
    {"a route", "<@a:b@c>", 0, NULL, MAILBOX_ROUTE},
    {"no closing bracket", "J <a@b", 0, NULL, MAILBOX_OPEN_ANGLE},
    {"no opening bracket", "a@b>", 0, NULL, MAILBOX_OPEN_ANGLE},
    {"an open quote", "\"J <a@b>", 0, NULL, MAILBOX_OPEN_QUOTE},
    {"an escaped closing quote", "\"J\\\" <a@b>", 0, NULL, MAILBOX_OPEN_QUOTE},
    {"a backslash at the end", "\"J\\", 0, NULL, MAILBOX_OPEN_QUOTE},
    {"an open comment", "a@b (x", 0, NULL, MAILBOX_OPEN_COMMENT},
    {"an unopened comment", "a@b x)", 0, NULL, MAILBOX_SYNTAX},
    {"a closing bracket alone", "a@b )", 0, NULL, MAILBOX_OPEN_COMMENT},
    {"a backslash outside quotes", "a\\b@c", 0, NULL, MAILBOX_SYNTAX},
    {"a blank before the at sign", "a @b", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"a blank behind the at sign", "a@ b", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"a comment before the at sign", "a(x)@b", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"a comment in the domain", "a@b.(x)c", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"a fold in a quoted local part", "\"a\r\n b\"@c", 0, NULL,
	MAILBOX_BAD_LOCAL_PART},
    {"an empty quoted local part", "\"\"@c", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"quoted and plain local part", "\"a\".b@c", 0, NULL,
	MAILBOX_BAD_LOCAL_PART},
    {"quoted and plain in brackets", "<\"a\"b@c>", 0, NULL,
	MAILBOX_BAD_LOCAL_PART},
    {"no local part", "@b", 0, NULL, MAILBOX_TWO_ADDRESSES},
    {"no domain", "a@", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"no domain in brackets", "<a@>", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"a dot first", ".a@b", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"a dot last", "a.@b", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"two dots", "a..b@c", 0, NULL, MAILBOX_BAD_LOCAL_PART},
    {"a final dot of the domain", "a@b.", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"an open domain literal", "a@[1.2.3.4", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"a blank in a domain literal", "a@[1.2 .3]", 0, NULL, MAILBOX_BAD_DOMAIN},
    {"text behind a domain literal", "a@[1.2.3.4]x", 0, NULL, MAILBOX_SYNTAX},
    {"8-bit in the address", "j\xc3\xbc@b", 0, NULL, MAILBOX_8BIT},
    {"8-bit in the domain", "a@b\xc3\xbc", 0, NULL, MAILBOX_8BIT},
    {"bad UTF-8 in the address", "j\xc3@b", MAILBOX_LIST_UTF8, NULL,
	MAILBOX_NOT_UTF8},
    {"bad UTF-8 in the name", "J\xfc <a@b>", MAILBOX_LIST_UTF8, NULL,
	MAILBOX_NOT_UTF8},
    {"an encoded word as local part", "=?utf-8?Q?a?=@b", 0, NULL,
	MAILBOX_ENCODED_WORD},
    {"an encoded address before the domain",
	"=?utf-8?b?Ym9zc0BnaXQ=?==?utf-8?Q?=00?=@x", 0, NULL,
	MAILBOX_ENCODED_WORD},
    {"an encoded word in brackets", "<=?utf-8?Q?a=40b?=@x>", 0, NULL,
	MAILBOX_ENCODED_WORD},
    {"an encoded word in a quoted local part", "\"=?utf-8?Q?a?=\"@b", 0, NULL,
	MAILBOX_ENCODED_WORD},
    {"an encoded word in the domain", "a@=?utf-8?Q?b?=", 0, NULL,
	MAILBOX_ENCODED_WORD},
    {"a control byte in the address", "a\x01@b", 0, NULL, MAILBOX_CONTROL},
    {"a control byte in a quoted name", "\"a\x1b\" <a@b>", 0, NULL,
	MAILBOX_CONTROL},
    {"a DEL in a comment", "a@b (\x7f)", 0, NULL, MAILBOX_CONTROL},
    {"an escaped line end", "\"a\\\r\n b\" <a@b>", 0, NULL, MAILBOX_CONTROL},
};

static void
describe(const struct mailbox *m, struct buf *out)
{
	if (out->n > 0)
		(void)buf_add_text(out, " ; ");
	if (m->is_in_group)
		(void)buf_add_char(out, '[');
	(void)buf_add_slice(out, m->name);
	(void)buf_add_char(out, '|');
	(void)buf_add_slice(out, m->address);
	if (m->is_in_group)
		(void)buf_add_char(out, ']');
}

static void
check_list_row(const struct list_row *row)
{
	struct mailbox_list list;
	struct mailbox m;
	struct buf got;
	/* In memory of its own size, so that a step too far is seen. */
	char *text = slice_dup(slice_of(row->text));
	int rc;

	buf_init(&got, 1000);
	mailbox_list_init(
	    &list, (struct slice){text, strlen(text)}, row->flags);
	while ((rc = mailbox_list_next(&list, &m)) == 1) {
		describe(&m, &got);
		is_u64(m.address.n, m.local_part.n + 1 + m.domain.n,
		    "%s: the parts make the whole", row->label);
	}
	is_int(rc, row->want == NULL ? -1 : 0, "%s", row->label);
	is_str(mailbox_problem_text(list.problem),
	    mailbox_problem_text(row->problem), "%s: problem", row->label);
	is_int(mailbox_list_next(&list, &m), rc, "%s: final", row->label);
	if (row->want != NULL)
		is_str(buf_text(&got), row->want, "%s: content", row->label);
	buf_clear(&got);
	free(text);
}

static void
check_repeated(const char *label, const char *before, const char *piece,
    size_t times, const char *after, size_t want, enum mailbox_problem problem)
{
	struct buf text;
	struct mailbox_list list;
	struct mailbox m;
	size_t count = 0;

	buf_init(&text, (size_t)4 << 20);
	(void)buf_add_text(&text, before);
	for (size_t i = 0; i < times; i++)
		(void)buf_add_text(&text, piece);
	(void)buf_add_text(&text, after);
	mailbox_list_init(&list, buf_slice(&text), 0);
	while (mailbox_list_next(&list, &m) == 1)
		count++;
	is_u64(count, want, "%s: mailboxes", label);
	is_int(list.problem, problem, "%s: problem", label);
	buf_clear(&text);
}

static void
test_bombs(void)
{
	check_repeated("100,000 addresses", "", "abc@def.example, ", 100000,
	    "a@b", 100001, MAILBOX_FINE);
	check_repeated("100 comments nested", "a@b ", "(", 100,
	    "))))))))))))))))))))))))))))))))))))))))))))))))))"
	    "))))))))))))))))))))))))))))))))))))))))))))))))))",
	    1, MAILBOX_FINE);
	check_repeated("101 comments nested", "a@b ", "(", 101, "", 0,
	    MAILBOX_DEEP_COMMENT);
	check_repeated("100,000 comments nested", "a@b ", "(", 100000, "", 0,
	    MAILBOX_DEEP_COMMENT);
	check_repeated("100,000 comments in a row", "a@b ", "(x)", 100000, "",
	    1, MAILBOX_FINE);
	check_repeated("50,000 encoded words", "", "=?utf-8?Q?a?= ", 50000,
	    "<a@b>", 1, MAILBOX_FINE);
	check_repeated("100,000 open quotes", "", "\"a\"", 100000, "\"", 0,
	    MAILBOX_OPEN_QUOTE);
	check_repeated(
	    "100,000 brackets", "", "<", 100000, "", 0, MAILBOX_BAD_LOCAL_PART);
}

static const struct from_row {
	const char *label;
	const char *header;
	bool with_utf8;
	const char *address; /* NULL: refused */
	enum from_header_problem problem;
} from_rows[] = {
    {"a plain From", "From: a@b\r\n\r\n", false, "a@b", FROM_HEADER_FINE},
    {"a usual From", "To: x@y\r\nFROM: \"A, B\" <a@b>\r\nDate: x\r\n\r\n",
	false, "a@b", FROM_HEADER_FINE},
    {"a From in its second line", "From:\r\n a@b\r\n\r\n", false, "a@b",
	FROM_HEADER_FINE},
    {"an address as quoted name", "From: \"a@good\" <b@x>\r\n\r\n", false,
	"b@x", FROM_HEADER_FINE},
    {"cron's comment", "From: root@b (Cron Daemon)\r\n\r\n", false, "root@b",
	FROM_HEADER_FINE},
    {"a header without body", "From: a@b\r\n", false, "a@b", FROM_HEADER_FINE},
    {"a UTF-8 address with SMTPUTF8", "From: \xc3\xbc@b\r\n\r\n", true,
	"\xc3\xbc@b", FROM_HEADER_FINE},
    {"a needlessly quoted local part", "From: \"a.b\"@c\r\n\r\n", false,
	"\"a.b\"@c", FROM_HEADER_FINE},
    {"Japanese in its own charset",
	"From: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= <a@b>\r\n\r\n", false, "a@b",
	FROM_HEADER_FINE},

    {"no From", "To: a@b\r\n\r\n", false, NULL, FROM_HEADER_NONE},
    {"an empty message", "", false, NULL, FROM_HEADER_NONE},
    {"no header", "Hello\r\n", false, NULL, FROM_HEADER_NONE},
    {"From in the body only", "To: a@b\r\n\r\nFrom: a@b\r\n", false, NULL,
	FROM_HEADER_NONE},
    {"two From fields", "From: a@b\r\nFrom: a@b\r\n\r\n", false, NULL,
	FROM_HEADER_SEVERAL_FIELDS},
    {"a second one with a blank before the colon",
	"From: a@b\r\nfrom\t: c@d\r\n\r\n", false, NULL,
	FROM_HEADER_SEVERAL_FIELDS},
    {"a blank before the colon", "From : a@b\r\n\r\n", false, NULL,
	FROM_HEADER_SPACED_COLON},
    {"an empty From", "From: \r\n\r\n", false, NULL, FROM_HEADER_EMPTY},
    {"two mailboxes", "From: a@b, c@d\r\n\r\n", false, NULL,
	FROM_HEADER_SEVERAL_MAILBOXES},
    {"a mailbox and rubbish", "From: a@b, c\r\n\r\n", false, NULL,
	FROM_HEADER_MALFORMED},
    {"two addresses in one", "From: a@good <b@x>\r\n\r\n", false, NULL,
	FROM_HEADER_SEVERAL_MAILBOXES},
    {"a group", "From: G: a@b;\r\n\r\n", false, NULL, FROM_HEADER_GROUP},
    {"an empty group", "From: :;\r\n\r\n", false, NULL, FROM_HEADER_GROUP},
    {"8-bit without SMTPUTF8", "From: \xc3\xbc@b\r\n\r\n", false, NULL,
	FROM_HEADER_8BIT},
    {"Latin-1 in the name", "From: J\xfcrgen <a@b>\r\n\r\n", true, NULL,
	FROM_HEADER_8BIT},
    {"bad UTF-8 in a comment", "From: a@b (\x83<)\r\n\r\n", true, NULL,
	FROM_HEADER_8BIT},
    {"a control byte", "From: a@b\x02\r\n\r\n", false, NULL,
	FROM_HEADER_CONTROL},
    {"an encoded NUL in the name",
	"From: =?utf-8?Q?boss=40ours=00?= <a@b>\r\n\r\n", false, NULL,
	FROM_HEADER_CONTROL},
    {"an encoded line end in the name",
	"From: =?utf-8?b?Ym9zc0BvdXJzCg?= <a@b>\r\n\r\n", false, NULL,
	FROM_HEADER_CONTROL},
    {"an address in a comment", "From: a@b (<c@d>)\r\n\r\n", false, NULL,
	FROM_HEADER_AMBIGUOUS},
    {"an at sign in the local part", "From: \"boss@ours\"@x\r\n\r\n", false,
	NULL, FROM_HEADER_AMBIGUOUS},
    {"a blank in the local part", "From: \"boss x\"@x\r\n\r\n", false, NULL,
	FROM_HEADER_AMBIGUOUS},
    {"an encoded word in the address", "From: =?utf-8?Q?a?=@b\r\n\r\n", false,
	NULL, FROM_HEADER_MALFORMED},
    {"an open quote", "From: \"a <a@b>\r\n\r\n", false, NULL,
	FROM_HEADER_MALFORMED},
    {"an open bracket", "From: <a@b\r\n\r\n", false, NULL,
	FROM_HEADER_MALFORMED},
    {"a bare LF that hides a From", "X: y\nFrom: c@d\r\nFrom: a@b\r\n\r\n",
	false, NULL, FROM_HEADER_BROKEN_HEADER},
    {"a bare CR that hides a From", "X: y\rFrom: c@d\r\nFrom: a@b\r\n\r\n",
	false, NULL, FROM_HEADER_BROKEN_HEADER},
    {"a line of blanks that others take for the end",
	"X: y\r\n \r\nFrom: a@b\r\n\r\n", false, NULL,
	FROM_HEADER_BROKEN_HEADER},
    {"a line that is no field, others read on",
	"From: a@b\r\nrubbish\r\nFrom: c@d\r\n\r\n", false, NULL,
	FROM_HEADER_BROKEN_HEADER},
    {"an mbox line", "From c@d Sat Nov 21\r\nFrom: a@b\r\n\r\n", false, NULL,
	FROM_HEADER_BROKEN_HEADER},
    {"a folded line first", " From: c@d\r\nFrom: a@b\r\n\r\n", false, NULL,
	FROM_HEADER_BROKEN_HEADER},
};

static void
check_from_row(const struct from_row *row)
{
	struct header h;
	struct from_header from;
	int rc;

	header_init(&h, 0);
	(void)header_read(&h, slice_of(row->header));
	rc = from_header_check(&h, row->with_utf8, &from);
	is_int(from.problem, row->problem, "%s: %s", row->label, from.reason);
	is_int(rc, row->address == NULL ? -1 : 0, "%s: result", row->label);
	if (row->address != NULL)
		is_slice(from.mailbox.address, row->address, "%s", row->label);
	else
		ok(strlen(from.reason) > 10 && from.mailbox.address.n == 0,
		    "%s: a reason and no address", row->label);
	header_clear(&h);
}

static void
test_from_shapes(void)
{
	static const char nul[] = "X: a\0b\r\nFrom: a@b\r\n\r\n";
	struct header h;
	struct from_header from;

	header_init(&h, 20);
	(void)header_read(&h, SLICE(nul));
	is_int(
	    from_header_check(&h, false, &from), -1, "a header over the limit");
	is_int(from.problem, FROM_HEADER_BROKEN_HEADER, "cannot be checked");
	header_clear(&h);
	header_init(&h, 0);
	(void)header_read(&h, SLICE(nul));
	is_int(from_header_check(&h, false, &from), -1, "a NUL in the header");
	is_int(from.problem, FROM_HEADER_BROKEN_HEADER, "is refused");
	header_reset(&h);
	(void)header_feed(&h, SLICE("From: a@b\r\n"));
	OK_DIES((void)from_header_check(&h, false, &from),
	    "a header that is not read to its end is no question");
	header_clear(&h);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(list_rows) / sizeof(list_rows[0]); i++)
		check_list_row(&list_rows[i]);
	for (size_t i = 0; i < sizeof(from_rows) / sizeof(from_rows[0]); i++)
		check_from_row(&from_rows[i]);
	test_bombs();
	test_from_shapes();
	return tap_done();
}
