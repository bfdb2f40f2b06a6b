/* SPDX-License-Identifier: ISC */
/*
 * Takes command lines apart.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing; the line is what a
 * stranger sent, and may be no SMTP at all.
 */
#include <string.h>

#include "common/smtp_command.h"
#include "common/smtp_parameter.h"
#include "common/utf8.h"

enum argument_rule { ARGUMENT_NONE, ARGUMENT_NEEDED, ARGUMENT_MAY };

struct verb_row {
	const char *name;
	enum argument_rule argument;
	size_t line_max;
};

static const struct verb_row verbs[SMTP_VERB_COUNT] = {
    [SMTP_VERB_UNKNOWN] = {"unknown", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_FOREIGN] = {"foreign", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_HELO] = {"HELO", ARGUMENT_NEEDED, SMTP_LINE_MAX},
    [SMTP_VERB_EHLO] = {"EHLO", ARGUMENT_NEEDED, SMTP_LINE_MAX},
    [SMTP_VERB_STARTTLS] = {"STARTTLS", ARGUMENT_NONE, SMTP_LINE_MAX},
    [SMTP_VERB_AUTH] = {"AUTH", ARGUMENT_NEEDED, SMTP_LINE_AUTH_MAX},
    [SMTP_VERB_MAIL] = {"MAIL", ARGUMENT_NEEDED, SMTP_LINE_EXTENDED_MAX},
    [SMTP_VERB_RCPT] = {"RCPT", ARGUMENT_NEEDED, SMTP_LINE_EXTENDED_MAX},
    [SMTP_VERB_DATA] = {"DATA", ARGUMENT_NONE, SMTP_LINE_MAX},
    [SMTP_VERB_RSET] = {"RSET", ARGUMENT_NONE, SMTP_LINE_MAX},
    [SMTP_VERB_NOOP] = {"NOOP", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_VRFY] = {"VRFY", ARGUMENT_NEEDED, SMTP_LINE_MAX},
    [SMTP_VERB_EXPN] = {"EXPN", ARGUMENT_NEEDED, SMTP_LINE_MAX},
    [SMTP_VERB_HELP] = {"HELP", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_QUIT] = {"QUIT", ARGUMENT_NONE, SMTP_LINE_MAX},
    [SMTP_VERB_BDAT] = {"BDAT", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_ETRN] = {"ETRN", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_TURN] = {"TURN", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_XCLIENT] = {"XCLIENT", ARGUMENT_MAY, SMTP_LINE_MAX},
    [SMTP_VERB_XFORWARD] = {"XFORWARD", ARGUMENT_MAY, SMTP_LINE_MAX},
};

/*
 * First words of other protocols.  A browser, or a server that was made to
 * connect here, speaks them with SMTP in its payload; nothing after the first
 * line may be read as commands.
 */
static const char *const foreign_words[] = {"GET", "POST", "PUT", "HEAD",
    "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI", "PROXY"};

/* A TLS record of a handshake: type 22, then major version 3. */
static const char tls_handshake[] = "\x16\x03";

static const char ssh_banner[] = "SSH-";

const char *
smtp_verb_name(enum smtp_verb verb)
{
	return verbs[verb].name;
}

static bool
is_foreign(struct slice line, struct slice word)
{
	if (slice_starts_nocase(line, ssh_banner) ||
	    slice_starts_nocase(line, tls_handshake))
		return true;
	for (size_t i = 0; i < sizeof(foreign_words) / sizeof(foreign_words[0]);
	     i++)
		if (slice_equals_nocase(word, slice_of(foreign_words[i])))
			return true;
	return false;
}

static enum smtp_verb
find_verb(struct slice line, struct slice word)
{
	for (size_t v = SMTP_VERB_HELO; v < SMTP_VERB_COUNT; v++)
		if (slice_equals_nocase(word, slice_of(verbs[v].name)))
			return (enum smtp_verb)v;
	return is_foreign(line, word) ? SMTP_VERB_FOREIGN : SMTP_VERB_UNKNOWN;
}

/* Controls are no part of any command; T011 and its kin end here. */
static bool
has_control(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

static struct slice
trim_spaces(struct slice s)
{
	while (s.n > 0 && s.p[0] == ' ')
		s = (struct slice){s.p + 1, s.n - 1};
	while (s.n > 0 && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

static int
syntax_error(struct smtp_status *status_r, const char *sentence)
{
	return smtp_status_set(status_r, 501, "5.5.4", "%s", sentence);
}

int
smtp_command_parse(struct slice line, struct smtp_command *command_r,
    struct smtp_status *status_r)
{
	struct slice word = {line.p, slice_find(line, ' ', 0)};
	struct slice argument = {line.p + word.n, line.n - word.n};
	const struct verb_row *row;

	argument = trim_spaces(argument);
	command_r->verb = find_verb(line, word);
	command_r->argument = argument;
	row = &verbs[command_r->verb];
	if (line.n + 2 > row->line_max)
		return smtp_status_set(status_r, 500, "5.5.2", "Line too long");
	if (has_control(line))
		return smtp_status_set(
		    status_r, 500, "5.5.2", "Control character in command");
	if (row->argument == ARGUMENT_NEEDED && argument.n == 0)
		return smtp_status_set(
		    status_r, 501, "5.5.4", "%s needs an argument", row->name);
	if (row->argument == ARGUMENT_NONE && argument.n > 0)
		return smtp_status_set(
		    status_r, 501, "5.5.4", "%s takes no argument", row->name);
	return 0;
}

int
smtp_hello_parse(struct slice argument, struct smtp_hello *hello_r,
    struct smtp_status *status_r)
{
	struct smtp_hello hello = {.kind = SMTP_HELLO_TOKEN};
	struct address literal;
	char text[SMTP_HELLO_MAX + 3];
	size_t n;

	for (size_t i = 0; i < argument.n; i++)
		if (argument.p[i] <= ' ' || argument.p[i] > '~')
			return syntax_error(
			    status_r, "The name may hold printable ASCII only");
	if (argument.n == 0 ||
	    slice_copy(argument, hello.text, sizeof(hello.text)) == -1)
		return syntax_error(
		    status_r, "The name must have 1 to 255 characters");
	n = argument.n;
	if (argument.p[0] == '[') {
		/* The address parser knows literals: "x@[192.0.2.1]". */
		memcpy(text, "x@", 2);
		memcpy(text + 2, argument.p, n);
		if (address_parse(
			(struct slice){text, n + 2}, 0, &literal, NULL) == 0) {
			hello.kind = SMTP_HELLO_LITERAL;
			hello.literal = literal.literal;
		}
	} else if (domain_parse(argument, &hello.domain, NULL) == 0) {
		hello.kind = SMTP_HELLO_DOMAIN;
	}
	*hello_r = hello;
	return 0;
}

static bool
is_upper_or_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static char
upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

int
smtp_auth_parse(struct slice argument, struct smtp_auth *auth_r,
    struct smtp_status *status_r)
{
	struct smtp_auth auth = {.has_initial = false};
	struct slice name = {argument.p, slice_find(argument, ' ', 0)};
	struct slice rest = {argument.p + name.n, argument.n - name.n};

	if (name.n == 0 ||
	    slice_copy(name, auth.mechanism, sizeof(auth.mechanism)) == -1)
		return syntax_error(status_r, "No such mechanism");
	for (char *c = auth.mechanism; *c != '\0'; c++) {
		*c = upper(*c);
		if (!is_upper_or_digit(*c) && *c != '-' && *c != '_')
			return syntax_error(status_r, "No such mechanism");
	}
	rest = trim_spaces(rest);
	if (slice_find(rest, ' ', 0) < rest.n)
		return syntax_error(status_r, "AUTH takes two arguments");
	auth.has_initial = rest.n > 0;
	if (slice_equals(rest, SLICE("=")))
		rest.n = 0; /* an empty response, by RFC 4954 */
	auth.initial = rest;
	*auth_r = auth;
	return 0;
}

/*
 * Splits "FROM:<path> parameters".  The path ends at the first ">" outside
 * quotes; the address parser then judges it.
 */
static int
find_path(struct slice argument, const char *word, struct slice *path_r,
    struct slice *parameters_r)
{
	struct slice rest;
	bool is_quoted = false;
	size_t end = 0;

	if (!slice_starts_nocase(argument, word))
		return -1;
	rest = (struct slice){
	    argument.p + strlen(word), argument.n - strlen(word)};
	rest = trim_spaces(rest);
	if (rest.n == 0 || rest.p[0] != ':')
		return -1;
	rest = trim_spaces((struct slice){rest.p + 1, rest.n - 1});
	if (rest.n == 0 || rest.p[0] != '<')
		return -1;
	while (end < rest.n && (is_quoted || rest.p[end] != '>')) {
		if (rest.p[end] == '"')
			is_quoted = !is_quoted;
		else if (is_quoted && rest.p[end] == '\\')
			end++;
		end++;
	}
	if (end >= rest.n || (end + 1 < rest.n && rest.p[end + 1] != ' '))
		return -1;
	*path_r = (struct slice){rest.p, end + 1};
	*parameters_r = (struct slice){rest.p + end + 1, rest.n - end - 1};
	return 0;
}

static int
split_path(struct slice argument, const char *word, struct slice *path_r,
    struct slice *parameters_r, struct smtp_status *status_r)
{
	if (find_path(argument, word, path_r, parameters_r) == 0)
		return 0;
	(void)smtp_status_set(
	    status_r, 501, "5.5.4", "Syntax: %s:<address> [parameters]", word);
	return -1;
}

/* The address itself; enhanced is the code for a bad one. */
static int
read_path(struct slice path, unsigned flags, const char *enhanced,
    struct address *address_r, struct smtp_status *status_r)
{
	struct address address;
	struct err err;

	if ((flags & ADDRESS_MAY_BE_UTF8) == 0 && !utf8_is_ascii(path))
		return smtp_status_set(status_r, 553, "5.6.7",
		    "Address is not ASCII: SMTPUTF8 was not asked for");
	if (address_parse_path(path, flags, &address, &err) == -1)
		return smtp_status_set(
		    status_r, 501, enhanced, "Bad address: %s", err.text);
	if (address.had_source_route)
		return smtp_status_set(
		    status_r, 550, "5.7.1", "Source routes are not served");
	*address_r = address;
	return 0;
}

int
smtp_mail_parse(struct slice argument, struct smtp_mail *mail_r,
    struct smtp_status *status_r)
{
	struct smtp_mail mail = {.size_bytes = 0};
	unsigned flags = ADDRESS_MAY_BE_NULL;
	struct slice path;
	struct slice parameters;

	if (split_path(argument, "FROM", &path, &parameters, status_r) == -1 ||
	    smtp_parameter_read_mail(parameters, &mail, status_r) == -1)
		return -1;
	if (mail.is_smtputf8)
		flags |= ADDRESS_MAY_BE_UTF8;
	if (read_path(path, flags, "5.1.7", &mail.from, status_r) == -1)
		return -1;
	*mail_r = mail;
	return 0;
}

int
smtp_rcpt_parse(struct slice argument, bool is_smtputf8,
    struct smtp_rcpt *rcpt_r, struct smtp_status *status_r)
{
	struct smtp_rcpt rcpt = {.notify = SMTP_NOTIFY_UNSAID};
	unsigned flags = ADDRESS_MAY_BE_POSTMASTER;
	struct slice path;
	struct slice parameters;

	if (split_path(argument, "TO", &path, &parameters, status_r) == -1 ||
	    smtp_parameter_read_rcpt(
		parameters, is_smtputf8, &rcpt, status_r) == -1)
		return -1;
	if (is_smtputf8)
		flags |= ADDRESS_MAY_BE_UTF8;
	if (read_path(path, flags, "5.1.3", &rcpt.to, status_r) == -1)
		return -1;
	*rcpt_r = rcpt;
	return 0;
}
