/* SPDX-License-Identifier: ISC */
/*
 * The configuration's text form: there and back, and what it refuses.
 */
#include <stdlib.h>
#include <string.h>

#include "control/config_rules.h"
#include "control/config_text.h"
#include "tests/unit/tap.h"

static const char whole[] =
    "set smtp.hostname = gw.example.test\n"
    "set smtp.max_message_size = 20M\n"
    "domain example.org any to smtp://10.0.0.5:25\n"
    "domain example.net list\n"
    "route * smtp://relay.example:587 tls verified user u password c2VjcmV0\n"
    "block client 192.0.2.0/24 until 2030-01-31T12:00:00Z\n"
    "allow sender @example.com\n";

/* Sorted by kind and key. */
static const char sorted[] =
    "set smtp.hostname = gw.example.test\n"
    "set smtp.max_message_size = 20M\n"
    "domain example.net list\n"
    "domain example.org any to smtp://10.0.0.5:25\n"
    "route * smtp://relay.example:587 tls verified user u password c2VjcmV0\n"
    "block client 192.0.2.0/24 until 2030-01-31T12:00:00Z\n"
    "allow sender @example.com\n";

static const struct config_items nothing = {0};

static void
check_round(void)
{
	struct config_items items;
	struct config_items again;
	struct config_changes changes;
	struct buf text;
	unsigned line;
	struct err err = {""};

	buf_init(&text, CONFIG_TEXT_MAX);
	if (!ok(config_text_read(
		    slice_of(whole), &nothing, &items, &line, &err) == 0,
		"the text is read"))
		diag("line %u: %s", line, err.text);
	config_text_write(&items, true, &text);
	is_str(buf_text(&text), sorted, "and written in its one order");

	buf_reset(&text);
	config_text_write(&items, false, &text);
	ok(strstr(buf_text(&text), "password") == NULL,
	    "without secrets there is no password");
	ok(config_text_read(buf_slice(&text), &items, &again, &line, &err) == 0,
	    "which is read as well");
	config_items_compare(&items, &again, &changes);
	is_u64(changes.count, 0, "and keeps the password that is there");
	config_changes_clear(&changes);
	config_items_clear(&again);
	ok(config_text_read(buf_slice(&text), &nothing, &again, &line, &err) ==
		    0 &&
		config_items_check(&again, &err) == -1,
	    "where there is none, the user without a password is refused");
	config_items_clear(&again);
	config_items_clear(&items);
	buf_clear(&text);
}

struct row {
	const char *label;
	const char *text;
	unsigned line;
	const char *want; /* a part of the sentence; NULL: it is good */
};

static const struct row rows[] = {
    {"an empty text", "", 0, NULL},
    {"comments and empty lines", "# a\n\n   # b\n", 3, NULL},
    {"line ends of another system", "set smtp.workers = 2\r\n", 1, NULL},
    {"no end of the last line", "set smtp.workers = 2", 1, NULL},
    {"an unknown word", "\nfoo bar\n", 2, "not with \"foo\""},
    {"an unknown setting", "set a.b = c\n", 1, "no setting \"a.b\""},
    {"a setting without =", "set smtp.workers 2\n", 1, "NAME = VALUE"},
    {"a value out of its range",
	"set smtp.workers = 2\nset smtp.max_recipients = 1\n", 2,
	"smtp.max_recipients"},
    {"the same twice", "domain a.test any\ndomain A.test list\n", 2,
	"is there twice"},
    {"an entry without its kind", "block 192.0.2.1\n", 1, "client or sender"},
    {"a rule without words", "policy * *\n", 1, "words such as"},
    {"a rule without a recipient", "policy *\n", 1, "one for recipients"},
    {"the same rule twice",
	"policy A@a.test * sign never\npolicy a@A.test * sign required\n", 2,
	"is there twice"},
    {"an include, which there is not", "include /etc/passwd\n", 1,
	"not with \"include\""},
    {"control characters", "set smtp.hostname = a\x1b[2J\n", 1,
	"control characters"},
};

static void
check_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_items items;
		unsigned line = 0;
		struct err err = {""};
		const int rc = config_text_read(
		    slice_of(rows[i].text), &nothing, &items, &line, &err);

		if (!ok((rc == 0) == (rows[i].want == NULL) &&
			    (rc == 0 || strstr(err.text, rows[i].want) != NULL),
			"%s", rows[i].label))
			diag("%d: %s", rc, err.text);
		is_u64(line, rows[i].line, "%s: the line", rows[i].label);
		config_items_clear(&items);
	}
}

static void
check_size(void)
{
	const size_t n = CONFIG_TEXT_MAX + 1;
	char *text = xmalloc(n);
	struct config_items items;
	unsigned line;
	struct err err;

	memset(text, '\n', n);
	ok(config_text_read(
	       (struct slice){text, n}, &nothing, &items, &line, &err) == -1,
	    "a text of megabytes is refused");
	memset(text, 'a', n - 1);
	ok(config_text_read((struct slice){text, n - 1}, &nothing, &items,
	       &line, &err) == -1,
	    "so is a line of megabytes");
	free(text);
}

int
main(void)
{
	check_round();
	check_rows();
	check_size();
	return tap_done();
}
