/* SPDX-License-Identifier: ISC */
/*
 * Which addresses exist, and where aliases lead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smtpd/directory.h"
#include "tests/unit/tap.h"

struct fixture {
	char folder[64];
	char path[128];
	struct accounts *accounts;
	struct snapshot snapshot;
	struct domain_entry domains[3];
};

static void
add_domain(struct fixture *f, const char *name, enum domain_mode mode)
{
	struct domain_entry *entry = &f->domains[f->snapshot.domain_count++];

	entry->mode = mode;
	if (domain_parse(slice_of(name), &entry->name, NULL) == -1)
		bug("%s", name);
}

static void
add_alias(struct fixture *f, const char *address, const char *target)
{
	if (directory_alias_add(f->accounts, address, strchr(address, '@') + 1,
		target, NULL) != ACCOUNTS_OK)
		bug("%s", address);
}

static void
set_up(struct fixture *f)
{
	int64_t id;
	struct err err;

	memset(f, 0, sizeof(*f));
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/directory-XXXXXX");
	if (mkdtemp(f->folder) == NULL ||
	    accounts_open(f->folder, &f->accounts, &err) == -1)
		bug("no store");
	(void)snprintf(f->path, sizeof(f->path), "%s/accounts.db", f->folder);
	settings_init(&f->snapshot.settings);
	settings_put(&f->snapshot.settings, SET_system_postmaster, 0,
	    SLICE("root@list.example"));
	f->snapshot.domains = f->domains;
	/* In the order of names. */
	add_domain(f, "any.example", DOMAIN_ANY);
	add_domain(f, "ask.example", DOMAIN_CALLOUT);
	add_domain(f, "list.example", DOMAIN_LIST);
	(void)directory_recipient_add(
	    f->accounts, "anna@list.example", "list.example", NULL);
	(void)directory_recipient_add(
	    f->accounts, "abuse@list.example", "list.example", NULL);
	(void)accounts_add(
	    f->accounts, "user@list.example", NULL, 1, &id, NULL);
	add_alias(f, "info@list.example", "anna@list.example");
	add_alias(f, "info@list.example", "Bob@elsewhere.example");
	add_alias(f, "both@list.example", "info@list.example");
	add_alias(f, "both@list.example", "anna@list.example");
	add_alias(f, "copy@list.example", "copy@list.example");
	add_alias(f, "copy@list.example", "anna@list.example");
	add_alias(f, "round@list.example", "trip@list.example");
	add_alias(f, "trip@list.example", "round@list.example");
	add_alias(f, "half@list.example", "round@list.example");
	add_alias(f, "half@list.example", "anna@list.example");
	add_alias(f, "@any.example", "all@list.example");
	add_alias(f, "kept@any.example", "kept@any.example");
}

static void
tear_down(struct fixture *f)
{
	accounts_close(f->accounts);
	settings_clear(&f->snapshot.settings);
	(void)unlink(f->path);
	(void)rmdir(f->folder);
}

static struct address
parse(const char *text)
{
	char path[300];
	struct address address;

	(void)snprintf(path, sizeof(path), "<%s>", text);
	if (address_parse_path(slice_of(path),
		ADDRESS_MAY_BE_UTF8 | ADDRESS_MAY_BE_POSTMASTER, &address,
		NULL) == -1)
		bug("%s", text);
	return address;
}

static void
test_check(struct fixture *f)
{
	static const struct {
		const char *address;
		enum directory_answer answer;
	} rows[] = {
	    {"x@any.example", DIRECTORY_EXISTS},
	    {"anna@list.example", DIRECTORY_EXISTS},
	    {"ANNA@List.Example", DIRECTORY_EXISTS},
	    {"anna+tag@list.example", DIRECTORY_EXISTS},
	    {"user@list.example", DIRECTORY_EXISTS},
	    {"user+tag@list.example", DIRECTORY_EXISTS},
	    {"info@list.example", DIRECTORY_EXISTS},
	    {"info+tag@list.example", DIRECTORY_EXISTS},
	    {"nobody@list.example", DIRECTORY_UNKNOWN},
	    {"+anna@list.example", DIRECTORY_UNKNOWN},
	    {"anna%list.example@list.example", DIRECTORY_UNKNOWN},
	    {"\"' OR 1=1 --\"@list.example", DIRECTORY_UNKNOWN},
	    {"postmaster@list.example", DIRECTORY_EXISTS},
	    {"PostMaster@ask.example", DIRECTORY_EXISTS},
	    {"abuse@ask.example", DIRECTORY_EXISTS},
	    {"postmaster", DIRECTORY_EXISTS},
	    {"x@ask.example", DIRECTORY_ASK},
	    {"x@elsewhere.example", DIRECTORY_FAILED},
	    {"x@sub.any.example", DIRECTORY_FAILED},
	    {"x@[192.0.2.1]", DIRECTORY_FAILED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address address = parse(rows[i].address);

		is_int(directory_check(f->accounts, &f->snapshot, &address),
		    rows[i].answer, "%s", rows[i].address);
	}
}

static void
collect(void *arg, struct slice text)
{
	char *out = arg;
	size_t n = strlen(out);

	(void)snprintf(out + n, 1024 - n, "%.*s ", SLICE_ARG(text));
}

static void
test_expand(struct fixture *f)
{
	static const struct {
		const char *label;
		const char *address;
		const char *targets; /* NULL: refused */
	} rows[] = {
	    {"no alias", "anna@list.example", "anna@list.example "},
	    {"its case is kept", "Anna@list.example", "Anna@list.example "},
	    {"another's domain", "x@elsewhere.example", "x@elsewhere.example "},
	    {"an address literal", "x@[192.0.2.1]", "x@[192.0.2.1] "},
	    {"two targets", "info@list.example",
		"Bob@elsewhere.example anna@list.example "},
	    {"in another case", "INFO@list.example",
		"Bob@elsewhere.example anna@list.example "},
	    {"with a tag", "info+x@list.example",
		"Bob@elsewhere.example anna@list.example "},
	    {"an alias of an alias, each target once", "both@list.example",
		"anna@list.example Bob@elsewhere.example "},
	    {"a copy stays", "copy@list.example",
		"anna@list.example copy@list.example "},
	    {"a circle", "round@list.example", NULL},
	    {"a circle beside a target", "half@list.example",
		"anna@list.example "},
	    {"all of a domain", "whoever@any.example", "all@list.example "},
	    {"but for its own aliases", "kept@any.example",
		"kept@any.example "},
	    {"postmaster", "postmaster@list.example", "root@list.example "},
	    {"postmaster, before the domain's alias", "Postmaster@any.example",
		"root@list.example "},
	    {"abuse where it is listed", "abuse@list.example",
		"abuse@list.example "},
	    {"abuse elsewhere of ours", "abuse@ask.example",
		"root@list.example "},
	    {"postmaster alone", "postmaster", "root@list.example "},
	    {"postmaster of others", "postmaster@elsewhere.example",
		"postmaster@elsewhere.example "},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address address = parse(rows[i].address);
		char targets[1024] = "";
		int rc = directory_expand(f->accounts, &f->snapshot, &address,
		    collect, targets, NULL);

		is_int(rc, rows[i].targets == NULL ? -1 : 0, "%s: %s",
		    rows[i].label, rows[i].address);
		if (rows[i].targets != NULL)
			is_str(targets, rows[i].targets, "it becomes %s",
			    rows[i].targets);
	}
}

static void
test_depth(struct fixture *f)
{
	char from[64];
	char to[64];
	char targets[1024] = "";
	struct address address;
	struct err err;

	for (int i = 0; i < 12; i++) {
		(void)snprintf(from, sizeof(from), "n%d@list.example", i);
		(void)snprintf(to, sizeof(to), "n%d@list.example", i + 1);
		add_alias(f, from, to);
	}
	address = parse("n5@list.example");
	is_int(directory_expand(
		   f->accounts, &f->snapshot, &address, collect, targets, &err),
	    0, "seven levels are fine");
	is_str(targets, "n12@list.example ", "to the end");
	address = parse("n0@list.example");
	is_int(directory_expand(
		   f->accounts, &f->snapshot, &address, collect, targets, &err),
	    -1, "twelve are too many");
}

static void
test_no_postmaster(struct fixture *f)
{
	struct address address = parse("postmaster@list.example");
	char targets[1024] = "";

	settings_put(&f->snapshot.settings, SET_system_postmaster, 0,
	    SLICE("Postmaster@list.example"));
	is_int(directory_expand(
		   f->accounts, &f->snapshot, &address, collect, targets, NULL),
	    0, "a postmaster who is postmaster@ himself");
	is_str(targets, "postmaster@list.example ", "stays");
	settings_put(
	    &f->snapshot.settings, SET_system_postmaster, 0, SLICE(""));
	targets[0] = '\0';
	(void)directory_expand(
	    f->accounts, &f->snapshot, &address, collect, targets, NULL);
	is_str(targets, "postmaster@list.example ",
	    "and without the setting so does the address");
}

static void
test_store(struct fixture *f)
{
	char text[1024] = "";

	is_int(directory_recipient_add(
		   f->accounts, "anna@list.example", "list.example", NULL),
	    ACCOUNTS_EXISTS, "a recipient is listed once");
	(void)directory_recipients(
	    f->accounts, "list.example", "", 1, collect, text, NULL);
	is_str(text, "abuse@list.example ", "a list has its limit");
	text[0] = '\0';
	(void)directory_recipients(
	    f->accounts, "", "abuse@list.example", 10, collect, text, NULL);
	is_str(text, "anna@list.example ", "and goes on");
	is_int(
	    directory_recipient_remove(f->accounts, "anna@list.example", NULL),
	    ACCOUNTS_OK, "one is removed");
	is_int(
	    directory_recipient_remove(f->accounts, "anna@list.example", NULL),
	    ACCOUNTS_NONE, "once");
	text[0] = '\0';
	(void)directory_alias_domains(f->accounts, collect, text, NULL);
	is_str(text, "any.example list.example ",
	    "the domains with aliases are known");
	is_int(directory_alias_remove(f->accounts, "@any.example", NULL, NULL),
	    ACCOUNTS_OK, "an alias is removed");
	is_int(directory_alias_remove(f->accounts, "info@list.example",
		   "Bob@elsewhere.example", NULL),
	    ACCOUNTS_OK, "or one of its targets");
	text[0] = '\0';
	(void)directory_alias_targets(
	    f->accounts, "info@list.example", collect, text, NULL);
	is_str(text, "anna@list.example ", "the other one stays");
}

int
main(void)
{
	struct fixture f;

	set_up(&f);
	test_check(&f);
	test_expand(&f);
	test_depth(&f);
	test_no_postmaster(&f);
	test_store(&f);
	tear_down(&f);
	return tap_done();
}
