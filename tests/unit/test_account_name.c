/* SPDX-License-Identifier: ISC */
/*
 * Names of accounts: one canonical form, or none.
 */
#include <string.h>

#include "smtpd/account_name.h"
#include "tests/unit/tap.h"

static void
test_names(void)
{
	static const struct {
		const char *text;
		const char *name; /* NULL: refused */
		const char *label;
	} rows[] = {
	    {"alice", "alice", ""},
	    {"Alice", "alice", ""},
	    {"a", "a", ""},
	    {"alice@example.org", "alice@example.org", ""},
	    {"ALICE@EXAMPLE.ORG", "alice@example.org", ""},
	    {"alice@example.org.", "alice@example.org", ""},
	    {"o'brien@example.org", "o'brien@example.org", ""},
	    {"first.last_x-y", "first.last_x-y", ""},
	    {"4711", "4711", ""},
	    {"x@b\xc3\xbc"
	     "cher.example",
		"x@xn--bcher-kva.example", ""},
	    {"x@xn--bcher-kva.example", "x@xn--bcher-kva.example", ""},
	    {"alice+printer", "alice", "printer"},
	    {"Alice+Printer@Example.org", "alice@example.org", "printer"},
	    {"alice+a.b_c-1", "alice", "a.b_c-1"},
	    {"", NULL, NULL},
	    {"@example.org", NULL, NULL},
	    {"alice@", NULL, NULL},
	    {"alice@@example.org", NULL, NULL},
	    {"alice@[192.0.2.1]", NULL, NULL},
	    {" alice", NULL, NULL},
	    {"alice ", NULL, NULL},
	    {"al ice", NULL, NULL},
	    {"alice\n", NULL, NULL},
	    {".alice", NULL, NULL},
	    {"-alice", NULL, NULL},
	    {"'alice", NULL, NULL},
	    {"alice+", NULL, NULL},
	    {"+printer", NULL, NULL},
	    {"alice+a+b", NULL, NULL},
	    {"alice+-a", NULL, NULL},
	    {"alice\"@example.org", NULL, NULL},
	    {"' OR 1=1 --", NULL, NULL},
	    {"j\xc3\xbcrgen", NULL, NULL},
	    {"\xd0\xb0lice", NULL, NULL},
	    {"\xef\xbd\x81lice", NULL, NULL},
	    {"alice\xe2\x80\x8b", NULL, NULL},
	    {"\xff", NULL, NULL},
	    {"a/b", NULL, NULL},
	    {"a\\b", NULL, NULL},
	    {"a%b", NULL, NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct account_name name;
		struct account_name again;
		int rc =
		    account_name_parse(slice_of(rows[i].text), &name, NULL);

		if (rows[i].name == NULL) {
			is_int(rc, -1, "\"%s\" is no name", rows[i].text);
			continue;
		}
		is_int(rc, 0, "\"%s\" is a name", rows[i].text);
		is_str(name.name, rows[i].name, "that of %s", rows[i].name);
		is_str(
		    name.label, rows[i].label, "label \"%s\"", rows[i].label);
		(void)account_name_parse(slice_of(name.name), &again, NULL);
		is_str(again.name, name.name, "which stays as it is");
	}
}

static void
test_format(void)
{
	static const char *const rows[] = {"alice", "alice+printer",
	    "alice@example.org", "alice+printer@example.org"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct account_name name;
		char text[ACCOUNT_LOGIN_SIZE];

		(void)account_name_parse(slice_of(rows[i]), &name, NULL);
		is_str(account_name_format(&name, text), rows[i],
		    "%s is written as it is read", rows[i]);
	}
}

static void
test_limits(void)
{
	struct account_name name;
	char text[512];
	struct slice nul = {"alice\0x", 7};

	memset(text, 'a', sizeof(text));
	is_int(account_name_parse((struct slice){text, 64}, &name, NULL), 0,
	    "64 letters are a name");
	is_int(account_name_parse((struct slice){text, 65}, &name, NULL), -1,
	    "65 are none");
	is_int(account_name_parse(nul, &name, NULL), -1, "nor is one with NUL");
	(void)memcpy(text + 5, "+", 1);
	is_int(account_name_parse((struct slice){text, 69}, &name, NULL), 0,
	    "a label has up to 63");
	is_int(account_name_parse((struct slice){text, 70}, &name, NULL), -1,
	    "and no more");
	for (size_t i = 0; i < 4; i++)
		memcpy(text + 65 + i * 64, i == 0 ? "@" : ".", 1);
	memset(text, 'a', 65);
	text[64] = '@';
	memset(text + 65, 'b', 250);
	for (size_t i = 1; i < 4; i++)
		text[64 + i * 62] = '.';
	is_int(account_name_parse((struct slice){text, 256}, &name, NULL), -1,
	    "the whole has at most 254");
}

int
main(void)
{
	test_names();
	test_format();
	test_limits();
	return tap_done();
}
