/* SPDX-License-Identifier: ISC */
/*
 * The command line: from words to requests, and the manual against the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli.h"
#include "tests/unit/tap.h"

#define WORDS_MAX 12
#define NOW 1000000

struct row {
	const char *label;
	const char *words[WORDS_MAX];
	const char *verb;  /* NULL: none was found */
	const char *json;  /* NULL: refused */
	const char *error; /* a part of the sentence */
};

static const struct row rows[] = {
    {"pairs", {"config", "set", "a=1", "b=x y=z"}, "config set",
	"{\"values\":{\"a\":\"1\",\"b\":\"x y=z\"}}", NULL},
    {"a pair without =", {"config", "set", "a"}, "config set", NULL,
	"KEY=VALUE"},
    {"a pair twice", {"config", "set", "a=1", "a=2"}, "config set", NULL,
	"set twice"},
    {"options may stand anywhere",
	{"--root", "/r", "domain", "--to", "h:1", "add", "x.test"}, NULL, NULL,
	"there is no verb \"domain\""},
    {"behind the verb they do",
	{"domain", "add", "--to", "h:1", "x.test", "--note=why"}, "domain add",
	"{\"to\":\"h:1\",\"name\":\"x.test\",\"note\":\"why\"}", NULL},
    {"the root before the verb", {"--root", "queue", "status"}, "status", "{}",
	NULL},
    {"the shorter verb", {"queue", "--limit", "5"}, "queue", "{\"limit\":5}",
	NULL},
    {"the longer verb", {"queue", "show", "abc"}, "queue show",
	"{\"id\":\"abc\"}", NULL},
    {"a verb that is none", {"queue", "burn"}, "queue", NULL,
	"takes no more: \"burn\""},
    {"a noun that is none", {"burn", "it"}, NULL, NULL,
	"there is no verb \"burn it\""},
    {"nothing at all", {NULL}, NULL, NULL, "a verb is missing"},
    {"an argument is missing", {"domain", "add"}, "domain add", NULL,
	"needs DOMAIN"},
    {"an option that is none", {"domain", "list", "--tree"}, "domain list",
	NULL, "takes no option --tree"},
    {"an option without its value", {"domain", "add", "x.test", "--to"},
	"domain add", NULL, "--to needs HOST:PORT"},
    {"a flag with a value", {"config", "list", "--all=yes"}, "config list",
	NULL, "--all takes no value"},
    {"no number", {"queue", "--limit", "many"}, "queue", NULL,
	"--limit is a number"},
    {"lists take what follows",
	{"user", "app-password", "add", "u", "--from", "a@x", "b@x",
	    "--network", "10.0.0.0/8"},
	"user app-password add",
	"{\"user\":\"u\",\"from\":[\"a@x\",\"b@x\"],"
	"\"networks\":[\"10.0.0.0/8\"]}",
	NULL},
    {"a span ahead", {"block", "add", "192.0.2.1", "--until", "1h"},
	"block add", "{\"patterns\":[\"192.0.2.1\"],\"until\":1003600}", NULL},
    {"a span ago", {"log", "export", "--since", "1h"}, "log export",
	"{\"since\":996400}", NULL},
    {"no time", {"block", "add", "x", "--until", "soon"}, "block add", NULL,
	"--until is a date"},
    {"a filter", {"queue", "retry", "--match", "from=a@b older=2h"},
	"queue retry", "{\"match\":{\"from\":\"a@b\",\"older_than_s\":7200}}",
	NULL},
    {"a filter that is none", {"queue", "retry", "--match", "everything"},
	"queue retry", NULL, "NAME=VALUE"},
    {"a filter that is no UTF-8", {"queue", "delete", "--match", "from=\xff"},
	"queue delete", NULL, "\"from=\\xff\" in the filter is not UTF-8"},
    {"nor is its name", {"queue", "delete", "--match", "\xff=a"},
	"queue delete", NULL, "not UTF-8"},
    {"a filter with a name twice",
	{"queue", "delete", "--match", "from=a@b", "from=c@d"}, "queue delete",
	NULL, "from is in the filter twice"},
    {"also a span", {"queue", "delete", "--match", "older=1h older=2d"},
	"queue delete", NULL, "older is in the filter twice"},
    {"words behind -- are no options", {"trace", "--", "--x"}, "trace",
	"{\"query\":\"--x\"}", NULL},
    {"- is a word", {"queue", "delete", "-"}, "queue delete",
	"{\"ids\":[\"-\"]}", NULL},
    {"follow, and filters", {"log", "-f", "from=a@b", "x"}, "log",
	"{\"follow\":true,\"filters\":[\"from=a@b\",\"x\"]}", NULL},
    {"what is no UTF-8", {"domain", "remove", "\xff"}, "domain remove", NULL,
	"UTF-8"},
    {"a file that is not there", {"config", "apply", "/nonexistent"},
	"config apply", NULL, "/nonexistent: No such file"},
};

static void
check_row(const struct row *row)
{
	char *argv[WORDS_MAX + 2] = {"postern"};
	int argc = 1;
	struct cli cli = {.verb = NULL};
	struct err err = {""};
	int code;
	char *json;

	while (argc <= WORDS_MAX && row->words[argc - 1] != NULL) {
		argv[argc] = (char *)(uintptr_t)row->words[argc - 1];
		argc++;
	}
	code = cli_parse(&cli, argc, argv, NOW, &err);
	if (!is_int(code, row->json != NULL ? CLI_DONE : CLI_USAGE, "%s",
		row->label))
		diag("%s", err.text);
	is_str(cli.verb != NULL ? cli.verb->words : NULL, row->verb,
	    "%s: the verb", row->label);
	json = json_dumps(cli.arguments, JSON_COMPACT);
	if (row->json != NULL)
		is_str(json, row->json, "%s: the request", row->label);
	else if (!ok(strstr(err.text, row->error) != NULL,
		     "%s: and it says why", row->label))
		diag("%s", err.text);
	free(json);
	json_decref(cli.arguments);
}

/* ---- the manual page ---- */

static char *
read_manual(void)
{
	const char *source = getenv("POSTERN_SOURCE");
	char path[4096];
	char *text = xcalloc(1, 262144);
	FILE *in;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/control/postern.8",
	    source != NULL ? source : ".");
	in = fopen(path, "re");
	if (in == NULL) {
		free(text);
		return NULL;
	}
	n = fread(text, 1, 262143, in);
	text[n] = '\0';
	(void)fclose(in);
	return text;
}

/* mdoc writes --to as "Fl -to". */
static bool
names_option(const char *manual, const struct cli_option *option)
{
	char flag[80];
	const char *at = manual;
	const int n = snprintf(flag, sizeof(flag), "Fl %s", option->name + 1);

	while ((at = strstr(at, flag)) != NULL) {
		at += n;
		if (*at == ' ' || *at == '\n')
			return true;
	}
	return false;
}

static void
check_manual(void)
{
	char *manual = read_manual();
	char line[128];

	if (manual == NULL) {
		skip(1, "the tree is not here: POSTERN_SOURCE is not set");
		return;
	}
	for (const struct cli_verb *verb = cli_verbs; verb->words != NULL;
	     verb++) {
		(void)snprintf(line, sizeof(line), ".It Sy %s", verb->words);
		ok(strstr(manual, line) != NULL, "postern(8) tells \"%s\"",
		    verb->words);
		for (size_t i = 0; i < CLI_OPTIONS_MAX; i++)
			if (verb->options[i].name != NULL)
				ok(names_option(manual, &verb->options[i]),
				    "and its option %s", verb->options[i].name);
	}
	for (size_t i = 0; cli_global_options[i].name != NULL; i++)
		ok(names_option(manual, &cli_global_options[i]),
		    "postern(8) tells %s", cli_global_options[i].name);
	free(manual);
}

/* ---- what a table shows ---- */

static void
check_values(void)
{
	static const struct {
		const char *label;
		const char *json;
		char kind;
		const char *want;
	} values[] = {
	    {"a text", "\"x\"", '\0', "x"},
	    {"what a terminal would obey", "\"a\\u001b[2Jb\"", '\0',
		"a\\x1b[2Jb"},
	    {"a line's end", "\"a\\nb\"", '\0', "a\\x0ab"},
	    {"text that runs backwards", "\"a\\u202eb\"", '\0', "a\\u{202e}b"},
	    {"a list", "[\"a\",\"b\"]", '\0', "a b"},
	    {"a time", "1896093296", 't', "2030-01-31T12:34:56Z"},
	    {"no time", "0", 't', ""},
	    {"yes", "true", '\0', "yes"},
	    {"nothing", "null", '\0', ""},
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		json_t *value =
		    json_loads(values[i].json, JSON_DECODE_ANY, NULL);
		struct buf text;

		buf_init(&text, 1024);
		cli_value_text(value, values[i].kind, &text);
		is_str(buf_text(&text), values[i].want, "%s", values[i].label);
		buf_clear(&text);
		json_decref(value);
	}
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
	check_manual();
	check_values();
	return tap_done();
}
