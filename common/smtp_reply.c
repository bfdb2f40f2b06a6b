/* SPDX-License-Identifier: ISC */
/*
 * Reads replies of servers that we deliver to, and writes our own.
 * Runs in: postern-relayd (reading), postern-smtpd (writing).  Trusts: nothing
 * that a server says; it is data, is bounded and made printable before it is
 * kept.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/printable.h"
#include "common/smtp_reply.h"

/* RFC 5321 section 4.5.3.1.5: with code and CRLF. */
#define REPLY_LINE_MAX 512

/* A kept line where each octet became \xNN. */
#define PRINTABLE_LINE_MAX (SMTP_REPLY_LINE_MAX * 4 + 1)

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at the front of s, at most three. */
static size_t
count_digits(struct slice s)
{
	size_t n = 0;

	while (n < s.n && n < 3 && is_digit(s.p[n]))
		n++;
	return n;
}

/*
 * The length of an enhanced status code (RFC 3463) at the front of s, or 0.
 * Its class has to be that of the reply.
 */
static size_t
enhanced_length(struct slice s, unsigned code)
{
	size_t at = 1;

	if (s.n < 1 || (unsigned)(s.p[0] - '0') != code / 100 ||
	    code / 100 == 3)
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t n;

		if (at >= s.n || s.p[at] != '.')
			return 0;
		at++;
		n = count_digits((struct slice){s.p + at, s.n - at});
		if (n == 0)
			return 0;
		at += n;
	}
	return at == s.n || s.p[at] == ' ' ? at : 0;
}

int
smtp_status_set(struct smtp_status *status_r, unsigned code,
    const char *enhanced, const char *format, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	*status_r = (struct smtp_status){.code = code};
	(void)snprintf(
	    status_r->enhanced, sizeof(status_r->enhanced), "%s", enhanced);
	(void)printable_ascii(
	    slice_of(text), status_r->text, sizeof(status_r->text));
	return -1;
}

int
smtp_reply_format(
    struct buf *out, unsigned code, const char *enhanced, struct slice text)
{
	char prefix[SMTP_ENHANCED_MAX + 1] = "";
	char line[REPLY_LINE_MAX];
	size_t line_max;
	size_t at = 0;
	int rc = 0;

	if (code < 200 || code > 599)
		bug("smtp_reply_format: code %u", code);
	if (enhanced != NULL) {
		if (enhanced_length(slice_of(enhanced), code) !=
		    strlen(enhanced))
			bug("smtp_reply_format: %u with %s", code, enhanced);
		(void)snprintf(prefix, sizeof(prefix), "%s ", enhanced);
	}
	/* Less "250-" and CRLF; the NUL takes a place of its own. */
	line_max = REPLY_LINE_MAX - 4 - strlen(prefix) - 2 + 1;
	for (unsigned i = 1; i <= SMTP_REPLY_LINES_MAX; i++) {
		size_t end = slice_find(text, '\n', at);
		bool is_last = end == text.n || i == SMTP_REPLY_LINES_MAX;

		(void)printable_ascii(
		    (struct slice){text.p + at, end - at}, line, line_max);
		if (buf_addf(out, "%u%c%s%s\r\n", code, is_last ? ' ' : '-',
			prefix, line) == -1)
			rc = -1;
		if (is_last)
			break;
		at = end + 1;
	}
	return rc;
}

void
smtp_reply_init(struct smtp_reply *r)
{
	/* Not the whole struct: it is big, and a connection has many. */
	r->code = 0;
	r->enhanced[0] = '\0';
	r->line_count = 0;
	r->octet_count = 0;
	r->cut_octets = 0;
	r->text[0] = '\0';
	r->text_n = 0;
	r->line_n = 0;
	r->is_broken = false;
	r->is_complete = false;
}

/* Adds a line to the kept text; what does not fit is counted. */
static void
keep_text(struct smtp_reply *r, struct slice text)
{
	char line[PRINTABLE_LINE_MAX];
	size_t room = sizeof(r->text) - r->text_n;
	size_t n;

	(void)printable(text, line, sizeof(line));
	n = strlen(line);
	/* One octet for "\n", one for the NUL. */
	if (n + 2 > room) {
		r->cut_octets += text.n;
		return;
	}
	memcpy(r->text + r->text_n, line, n);
	r->text_n += n;
	r->text[r->text_n++] = '\n';
	r->text[r->text_n] = '\0';
}

/* -1: no reply code at the front. */
static int
line_code(struct slice line, unsigned *code_r)
{
	if (count_digits(line) != 3 || line.p[0] < '2' || line.p[0] > '5')
		return -1;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return -1;
	*code_r = (unsigned)(line.p[0] - '0') * 100 +
		  (unsigned)(line.p[1] - '0') * 10 +
		  (unsigned)(line.p[2] - '0');
	return 0;
}

/* Takes the line that just ended. */
static enum parse_result
take_line(struct smtp_reply *r)
{
	struct slice line = {r->line, r->line_n};
	struct slice text = {NULL, 0};
	unsigned code;
	bool is_last;

	r->line_n = 0;
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line_code(line, &code) == -1 ||
	    (r->line_count > 0 && code != r->code) ||
	    ++r->line_count > SMTP_REPLY_LINES_MAX)
		return PARSE_BAD;
	/* RFC 5321 section 4.2: the code alone ends a reply, too. */
	is_last = line.n == 3 || line.p[3] == ' ';
	if (line.n > 4)
		text = (struct slice){line.p + 4, line.n - 4};
	if (r->line_count == 1) {
		size_t n = enhanced_length(text, code);

		r->code = code;
		(void)slice_copy((struct slice){text.p, n}, r->enhanced,
		    sizeof(r->enhanced));
	}
	keep_text(r, text);
	return is_last ? PARSE_OK : PARSE_MORE;
}

/* Adds a piece of a line without its LF. */
static void
keep_line(struct smtp_reply *r, const char *p, size_t n)
{
	size_t room = sizeof(r->line) - r->line_n;
	size_t kept = n < room ? n : room;

	memcpy(r->line + r->line_n, p, kept);
	r->line_n += kept;
	r->cut_octets += n - kept;
}

enum parse_result
smtp_reply_feed(struct smtp_reply *r, struct slice in, size_t *used_r)
{
	enum parse_result result = PARSE_MORE;
	size_t at = 0;

	*used_r = 0;
	if (r->is_complete)
		return PARSE_OK;
	while (result == PARSE_MORE && at < in.n && !r->is_broken) {
		size_t end = slice_find(in, '\n', at);
		size_t next = end < in.n ? end + 1 : end;

		r->octet_count += next - at;
		if (r->octet_count > SMTP_REPLY_OCTETS_MAX) {
			result = PARSE_BAD;
			break;
		}
		keep_line(r, in.p + at, end - at);
		at = next;
		if (end < in.n)
			result = take_line(r);
	}
	*used_r = at;
	if (result == PARSE_BAD)
		r->is_broken = true;
	r->is_complete = result == PARSE_OK;
	return r->is_broken ? PARSE_BAD : result;
}

const char *
smtp_reply_summary(const struct smtp_reply *r, char out[SMTP_REPLY_SUMMARY_MAX])
{
	char all[SMTP_REPLY_TEXT_MAX + 8];
	int n = snprintf(all, sizeof(all), "%03u %s", r->code, r->text);
	struct slice line;

	for (int i = 0; i < n; i++)
		if (all[i] == '\n')
			all[i] = ' ';
	line = slice_trim(slice_of(all));
	return printable(line, out, SMTP_REPLY_SUMMARY_MAX);
}

bool
smtp_ehlo_next(const struct smtp_reply *r, size_t *at, struct slice *keyword_r,
    struct slice *arguments_r)
{
	struct slice text = {r->text, r->text_n};
	struct slice line;
	size_t end;
	size_t n = 0;

	if (*at == 0)
		*at = slice_find(text, '\n', 0) + 1;
	if (*at >= text.n)
		return false;
	end = slice_find(text, '\n', *at);
	line = slice_trim((struct slice){text.p + *at, end - *at});
	*at = end + 1;
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '=')
		n++;
	*keyword_r = (struct slice){line.p, n};
	*arguments_r = (struct slice){NULL, 0};
	if (n < line.n)
		*arguments_r =
		    slice_trim((struct slice){line.p + n + 1, line.n - n - 1});
	return true;
}

/* Several AUTH lines add up: old servers send "AUTH=" besides. */
static void
add_mechanisms(struct smtp_ehlo *e, struct slice names)
{
	size_t n = strlen(e->mechanisms);

	if (names.n + 3 > sizeof(e->mechanisms) - n)
		return;
	(void)snprintf(e->mechanisms + n, sizeof(e->mechanisms) - n, " %.*s ",
	    SLICE_ARG(names));
}

void
smtp_ehlo_read(const struct smtp_reply *r, struct smtp_ehlo *ehlo_r)
{
	struct smtp_ehlo e = {.has_size = false};
	const struct {
		const char *keyword;
		bool *has;
	} flags[] = {
	    {"STARTTLS", &e.has_starttls},
	    {"PIPELINING", &e.has_pipelining},
	    {"8BITMIME", &e.has_8bitmime},
	    {"SMTPUTF8", &e.has_smtputf8},
	    {"DSN", &e.has_dsn},
	    {"ENHANCEDSTATUSCODES", &e.has_enhanced_codes},
	    {"SIZE", &e.has_size},
	};
	struct slice keyword;
	struct slice arguments;

	for (size_t at = 0; smtp_ehlo_next(r, &at, &keyword, &arguments);) {
		for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			if (slice_equals_nocase(
				keyword, slice_of(flags[i].keyword)))
				*flags[i].has = true;
		if (slice_equals_nocase(keyword, SLICE("SIZE")) &&
		    slice_to_u64(arguments, &e.size_bytes) == -1)
			e.size_bytes = 0;
		if (slice_equals_nocase(keyword, SLICE("AUTH")))
			add_mechanisms(&e, arguments);
	}
	*ehlo_r = e;
}

bool
smtp_ehlo_has_mechanism(const struct smtp_ehlo *e, const char *name)
{
	struct slice all = slice_of(e->mechanisms);
	size_t at = 0;

	while (at < all.n) {
		size_t end = slice_find(all, ' ', at);

		if (end > at &&
		    slice_equals_nocase(
			(struct slice){all.p + at, end - at}, slice_of(name)))
			return true;
		at = end + 1;
	}
	return false;
}
