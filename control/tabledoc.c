/* SPDX-License-Identifier: ISC */
/*
 * Prints postern.conf(5) and postern-events(7) from the tables of settings
 * and of events, so that the manual cannot fall behind them.  Used while
 * building and not installed: tabledoc settings | events.
 * Trusts: the tables.
 */
#include <stdio.h>
#include <string.h>

#include "common/events.h"
#include "common/settings.h"

/* Pages need a date; a row's own history is git's business. */
#define PAGE_DATE "November 21, 2026"

/* ---- mdoc ---- */

/* Where a line of the page may end; what mandoc asks for is 80. */
#define LINE_SOFT 60

/* One character of a table's text; nothing in it is taken for a request. */
static void
put_char(char c, bool is_first)
{
	if (is_first && (c == '.' || c == '\''))
		(void)fputs("\\&", stdout);
	if (c == '\\')
		(void)fputs("\\e", stdout);
	else if (c == '"')
		(void)fputs("\\(dq", stdout);
	else
		(void)putchar(c);
}

/* Text of a table as mdoc: each sentence begins a line. */
static void
put_text(const char *text)
{
	size_t column = 0;

	for (; *text != '\0'; text++) {
		bool ends = column > 0 && strchr(".?", text[-1]) != NULL;

		if (*text == ' ' && (ends || column >= LINE_SOFT)) {
			(void)putchar('\n');
			column = 0;
		} else {
			put_char(*text, column++ == 0);
		}
	}
	(void)putchar('\n');
}

/* A fragment of the table ("a bounce was made") as a sentence. */
static void
put_sentence(const char *text)
{
	struct buf sentence;
	size_t n = strlen(text);
	bool has_end = n > 0 && strchr(".?!", text[n - 1]) != NULL;

	buf_init(&sentence, ERR_TEXT_MAX * 4);
	if (n > 0 && text[0] >= 'a' && text[0] <= 'z') {
		(void)buf_add_char(&sentence, (char)(text[0] - 'a' + 'A'));
		text++;
	}
	(void)buf_addf(&sentence, "%s%s", text, has_end ? "" : ".");
	put_text(buf_text(&sentence));
	buf_clear(&sentence);
}

static void
put_header(const char *name, const char *title, const char *volume,
    const char *summary)
{
	(void)printf(".\\\" SPDX-License-Identifier: ISC\n"
		     ".\\\" Made by tabledoc from the table; change that.\n"
		     ".Dd %s\n.Dt %s %s\n.Os\n.Sh NAME\n.Nm %s\n.Nd %s\n",
	    PAGE_DATE, title, volume, name, summary);
}

/* ---- postern.conf(5) ---- */

static const char conf_intro[] =
    ".Sh DESCRIPTION\n"
    "The configuration lives in the database of\n"
    ".Xr postern-confd 8 ,\n"
    "as numbered revisions.\n"
    "Settings are changed by\n"
    ".Dq postern config set NAME=VALUE ,\n"
    "on the web pages, or as a whole by a text:\n"
    ".Dq postern config export\n"
    "writes it and\n"
    ".Dq postern config apply\n"
    "makes the configuration exactly what it says.\n"
    "A change that one of the programs cannot work with, or that contradicts\n"
    "another setting, is refused with a sentence that says why.\n"
    ".Ss The text\n"
    "Each line holds one item.\n"
    "Empty lines and lines that begin with\n"
    ".Sq #\n"
    "are skipped.\n"
    "What is not named has its default.\n"
    ".Bd -literal -offset indent\n"
    "set smtp.hostname = gw.example.org\n"
    "set submission.listen = *:587 *:2525\n"
    "set queue.lifetime = 5d\n"
    ".Ed\n"
    ".Pp\n"
    "Besides\n"
    ".Ic set ,\n"
    "lines begin with\n"
    ".Ic domain ,\n"
    ".Ic route ,\n"
    ".Ic block\n"
    "or\n"
    ".Ic allow\n"
    "and say what the command of that name in\n"
    ".Xr postern 1\n"
    "says.\n"
    ".Ss Values\n"
    "Sizes end in K, M, G or T, of 1024 each; times in s, m, h or d.\n"
    "Lists are separated by spaces or commas.\n"
    "Where a setting listens or connects, an address is followed by a colon\n"
    "and a port, an IPv6 address stands in brackets before it, and\n"
    ".Sq *\n"
    "is every address of the host.\n"
    ".Sh SETTINGS\n";

/* What the part of a name before the dot stands for. */
static const struct {
	const char *name;
	const char *heading;
} sections[] = {
    {"smtp", "Receiving mail"},
    {"submission", "Submission by STARTTLS"},
    {"submissions", "Submission by TLS"},
    {"auth", "Logins"},
    {"dns", "DNS"},
    {"relay", "Delivery"},
    {"queue", "The queue"},
    {"crypto", "Encryption and signatures"},
    {"fetch", "Keys and revocation lists from the web"},
    {"log", "The log"},
    {"alert", "Alerts"},
    {"web", "Web pages"},
    {"system", "The whole system"},
};

static const char *
section_heading(struct slice section)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		if (slice_equals(section, slice_of(sections[i].name)))
			return sections[i].heading;
	fatal("section %.*s has no heading in control/tabledoc.c",
	    SLICE_ARG(section));
}

static void
put_readers(uint32_t readers)
{
	const char *separator = "Read by ";

	if (readers == READS_ALL) {
		(void)puts("Read by all programs.");
		return;
	}
	for (int i = 0; i < ROLE_COUNT; i++) {
		if ((readers & 1u << i) == 0)
			continue;
		(void)printf("%s%s", separator, role_name((enum role)i));
		separator = ", ";
	}
	(void)puts(".");
}

static void
put_setting(unsigned index)
{
	const struct setting_row *row = setting_row(index);
	struct buf allowed;

	buf_init(&allowed, ERR_TEXT_MAX);
	setting_allowed(index, &allowed);
	(void)printf(".It Sy %s\n", row->name);
	put_sentence(row->label);
	if (row->help[0] != '\0')
		put_text(row->help);
	(void)puts(".br");
	(void)puts("Value:");
	put_sentence(buf_text(&allowed));
	if (row->default_text[0] == '\0')
		(void)puts("Default: empty.");
	else
		(void)printf("Default:\n.Li %s .\n", row->default_text);
	put_readers(row->readers);
	buf_clear(&allowed);
}

static struct slice
section_of(const char *name)
{
	return (struct slice){name, strcspn(name, ".")};
}

/* All rows of a section, wherever they stand. */
static void
put_section(struct slice section)
{
	(void)printf(".Ss %s\n.Bl -tag -width Ds\n", section_heading(section));
	for (unsigned i = 0; i < SETTING_COUNT; i++)
		if (slice_equals(section_of(setting_row(i)->name), section))
			put_setting(i);
	(void)puts(".El");
}

static void
put_settings(void)
{
	put_header("postern.conf", "POSTERN.CONF", "5",
	    "the settings of the mail gateway");
	(void)fputs(conf_intro, stdout);
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		struct slice section = section_of(setting_row(i)->name);
		unsigned first = 0;

		while (!slice_equals(
		    section_of(setting_row(first)->name), section))
			first++;
		if (first == i)
			put_section(section);
	}
	(void)puts(".Sh SEE ALSO\n.Xr postern 1 ,\n.Xr postern-events 7 ,\n"
		   ".Xr postern-confd 8");
}

/* ---- postern-events(7) ---- */

static const char events_intro[] =
    ".Sh DESCRIPTION\n"
    "Whatever happens to a message, to a connection or to a program of the\n"
    "gateway is an event in the central log, which\n"
    ".Xr postern-loghub 8\n"
    "keeps.\n"
    ".Dq postern log\n"
    "shows events,\n"
    ".Dq postern trace\n"
    "those of one message.\n"
    "Each has a type, the time when it happened, the program that wrote it\n"
    "as the kernel names it, and, where there is one, the message id and the\n"
    "session id that it hangs on.\n"
    "The rest are the fields of its type, in JSON by the names given here.\n"
    "Text from outside is made printable: control characters and octets that\n"
    "are not UTF-8 stand as \\exNN, characters that deceive the eye as\n"
    "\\eu{NNNN}; a text that is too long ends in an ellipsis.\n"
    ".Pp\n"
    "The events of a message's life are exactly as durable as the message\n"
    "itself.\n"
    "All others are given up rather than that mail waits for the log, and\n"
    "then counted by\n"
    ".Sy log.lost .\n"
    ".Sh EVENTS\n";

static const char *
kind_words(enum ipc_kind kind)
{
	switch (kind) {
	case IPC_BOOL:
		return "true or false";
	case IPC_TEXT:
		return "text";
	case IPC_BYTES:
		return "octets";
	case IPC_LIST:
		return "list";
	case IPC_U16:
	case IPC_U32:
	case IPC_U64:
	case IPC_I64:
		break;
	}
	return "number";
}

static void
put_event(const struct event_row *row)
{
	(void)printf(
	    ".It Sy %s Pq %s\n", row->shape.name, event_level_name(row->level));
	put_sentence(row->meaning);
	(void)puts(".br\nFields:");
	for (uint32_t i = 0; i < row->shape.field_count; i++) {
		const struct ipc_field *field = &row->shape.fields[i];

		(void)printf(".Va %s\n(%s)%s\n", field->name,
		    kind_words(field->kind),
		    i + 1 < row->shape.field_count ? "," : ".");
	}
}

static void
put_events(void)
{
	static const char *const headings[] = {
	    [EVENT_LIFE] = "The life of a message",
	    [EVENT_FLOW] = "Connections, sessions and logins",
	    [EVENT_STATE] = "Programs",
	};

	put_header("postern-events", "POSTERN-EVENTS", "7",
	    "what the central log of the mail gateway holds");
	(void)fputs(events_intro, stdout);
	for (size_t k = 0; k < sizeof(headings) / sizeof(headings[0]); k++) {
		(void)printf(".Ss %s\n.Bl -tag -width Ds\n", headings[k]);
		for (int i = 0; i < EVENT_TYPE_COUNT; i++)
			if (event_row((enum event_type)i)->class == k)
				put_event(event_row((enum event_type)i));
		(void)puts(".El");
	}
	(void)puts(".Sh SEE ALSO\n.Xr postern 1 ,\n.Xr postern.conf 5 ,\n"
		   ".Xr postern-loghub 8");
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "settings") == 0)
		put_settings();
	else if (argc == 2 && strcmp(argv[1], "events") == 0)
		put_events();
	else
		fatal("usage: tabledoc settings|events");
	if (fflush(stdout) != 0)
		fatal("cannot write the page");
	return 0;
}
