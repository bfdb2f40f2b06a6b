/* SPDX-License-Identifier: ISC */
/*
 * Walks a list of mailboxes, one at a time, refusing what could be read in two
 * ways.
 * Runs in: postern-smtpd, postern-queued, postern-signerd.
 * Trusts: nothing in the text.
 */
#include <string.h>

#include "common/mailbox_list.h"
#include "common/utf8.h"

static const char *const problem_texts[MAILBOX_PROBLEM_COUNT] = {
    [MAILBOX_FINE] = "it is well formed",
    [MAILBOX_GROUP] = "it names a group instead of a mailbox",
    [MAILBOX_8BIT] = "the address holds 8-bit characters without SMTPUTF8",
    [MAILBOX_NOT_UTF8] = "it holds 8-bit bytes that are not UTF-8",
    [MAILBOX_CONTROL] = "it holds a control character",
    [MAILBOX_ENCODED_WORD] = "the address holds an encoded word",
    [MAILBOX_NO_ADDRESS] = "an address is missing",
    [MAILBOX_TWO_ADDRESSES] = "two addresses stand where one belongs",
    [MAILBOX_OPEN_QUOTE] = "a quoted string is not closed",
    [MAILBOX_OPEN_COMMENT] = "a comment is not closed or not opened",
    [MAILBOX_DEEP_COMMENT] = "comments are nested too deeply",
    [MAILBOX_OPEN_ANGLE] = "an angle bracket is not closed or not opened",
    [MAILBOX_ROUTE] = "the address holds a route",
    [MAILBOX_BAD_LOCAL_PART] = "the part before the @ is malformed",
    [MAILBOX_BAD_DOMAIN] = "the part after the @ is malformed",
    [MAILBOX_SYNTAX] = "it is malformed",
};

const char *
mailbox_problem_text(enum mailbox_problem problem)
{
	return problem_texts[problem];
}

void
mailbox_list_init(struct mailbox_list *list, struct slice text, unsigned flags)
{
	*list = (struct mailbox_list){.text = text, .flags = flags};
}

/* The next byte, or -1 at the end. */
static int
peek(const struct mailbox_list *list)
{
	return list->at < list->text.n ? (unsigned char)list->text.p[list->at]
				       : -1;
}

static int
fail(struct mailbox_list *list, enum mailbox_problem problem)
{
	list->problem = problem;
	return -1;
}

static struct slice
since(const struct mailbox_list *list, size_t start)
{
	return (struct slice){list->text.p + start, list->at - start};
}

/* atext of RFC 5322 §3.2.3 and RFC 6532 §3.2. */
static bool
is_atext(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c >= 0x80 ||
	       (c > ' ' && c < 0x7f &&
		   strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_space(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * A byte of any kind inside a quoted string or comment.  Line ends are those
 * of folds: the reader of the header saw to that.
 */
static int
step_text_byte(struct mailbox_list *list)
{
	int c = peek(list);

	if ((c < ' ' && !is_space(c)) || c == 0x7f)
		return fail(list, MAILBOX_CONTROL);
	list->at++;
	return 0;
}

/* A backslash and the byte it protects, which must be there. */
static int
step_quoted_pair(struct mailbox_list *list, enum mailbox_problem if_open)
{
	list->at++;
	if (peek(list) == -1)
		return fail(list, if_open);
	if (peek(list) == '\r' || peek(list) == '\n')
		return fail(list, MAILBOX_CONTROL);
	return step_text_byte(list);
}

static int
skip_comment(struct mailbox_list *list)
{
	unsigned depth = 0;

	do {
		int c = peek(list);
		int rc = 0;

		if (c == -1)
			return fail(list, MAILBOX_OPEN_COMMENT);
		if (c == '(' && ++depth > MAILBOX_COMMENT_DEPTH_MAX)
			return fail(list, MAILBOX_DEEP_COMMENT);
		if (c == ')')
			depth--;
		if (c == '@' || c == '<' || c == '>')
			list->has_spoofy_comment = true;
		if (c == '\\')
			rc = step_quoted_pair(list, MAILBOX_OPEN_COMMENT);
		else
			rc = step_text_byte(list);
		if (rc == -1)
			return -1;
	} while (depth > 0);
	return 0;
}

/* CFWS of RFC 5322 §3.2.2. */
static int
skip_blanks(struct mailbox_list *list)
{
	for (;;) {
		int c = peek(list);

		if (c == '(') {
			if (skip_comment(list) == -1)
				return -1;
		} else if (is_space(c)) {
			list->at++;
		} else {
			return 0;
		}
	}
}

static int
skip_quoted_string(struct mailbox_list *list)
{
	list->at++;
	for (;;) {
		int c = peek(list);
		int rc = 0;

		if (c == '"') {
			list->at++;
			return 0;
		}
		if (c == -1)
			return fail(list, MAILBOX_OPEN_QUOTE);
		if (c == '\\')
			rc = step_quoted_pair(list, MAILBOX_OPEN_QUOTE);
		else
			rc = step_text_byte(list);
		if (rc == -1)
			return -1;
	}
}

/* What an unexpected byte says about the whole. */
static int
fail_at(struct mailbox_list *list)
{
	int c = peek(list);

	switch (c) {
	case -1:
	case ',':
	case ';':
		return fail(list, MAILBOX_NO_ADDRESS);
	case '@':
		return fail(list, MAILBOX_TWO_ADDRESSES);
	case '<':
	case '>':
		return fail(list, MAILBOX_OPEN_ANGLE);
	case ')':
		return fail(list, MAILBOX_OPEN_COMMENT);
	case ':':
		return fail(list, MAILBOX_GROUP);
	default:
		if (c < ' ' || c == 0x7f)
			return fail(list, MAILBOX_CONTROL);
		return fail(list, MAILBOX_SYNTAX);
	}
}

/* The span of atext and dots, which may be empty. */
static struct slice
take_dotted(struct mailbox_list *list)
{
	size_t start = list->at;

	while (is_atext(peek(list)) || peek(list) == '.')
		list->at++;
	return since(list, start);
}

/* dot-atom-text: no dot at the ends, no two together. */
static bool
is_dot_atom(struct slice s)
{
	if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (size_t i = 1; i < s.n; i++)
		if (s.p[i] == '.' && s.p[i - 1] == '.')
			return false;
	return true;
}

static bool
has_8bit(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return true;
	return false;
}

/* Only quoted local parts can hold these: a fold would change the address. */
static bool
has_line_end(struct slice s)
{
	return memchr(s.p, '\r', s.n) != NULL || memchr(s.p, '\n', s.n) != NULL;
}

/* What concerns the address as a whole, once its parts are known. */
static int
check_address(struct mailbox_list *list, const struct mailbox *m)
{
	bool is_quoted = m->local_part.n > 0 && m->local_part.p[0] == '"';

	if (memmem(m->address.p, m->address.n, "=?", 2) != NULL)
		return fail(list, MAILBOX_ENCODED_WORD);
	if (is_quoted ? m->local_part.n == 2 || has_line_end(m->local_part)
		      : !is_dot_atom(m->local_part))
		return fail(list, MAILBOX_BAD_LOCAL_PART);
	if (m->domain.n == 0 ||
	    (m->domain.p[0] != '[' && !is_dot_atom(m->domain)))
		return fail(list, MAILBOX_BAD_DOMAIN);
	if (has_8bit(m->address)) {
		if ((list->flags & MAILBOX_LIST_UTF8) == 0)
			return fail(list, MAILBOX_8BIT);
		if (!utf8_is_valid(m->address))
			return fail(list, MAILBOX_NOT_UTF8);
	}
	return 0;
}

/* dtext of RFC 5322 §3.4.1, without folds. */
static int
take_domain_literal(struct mailbox_list *list)
{
	list->at++;
	while (peek(list) > ' ' && peek(list) < 0x7f && peek(list) != '[' &&
	       peek(list) != ']' && peek(list) != '\\')
		list->at++;
	if (peek(list) != ']')
		return fail(list, MAILBOX_BAD_DOMAIN);
	list->at++;
	return 0;
}

/* Stands at the '@'; the local part is known and begins at start. */
static int
take_domain(struct mailbox_list *list, size_t start, struct mailbox *m)
{
	size_t domain_start;

	m->local_part = since(list, start);
	list->at++;
	domain_start = list->at;
	if (peek(list) == '[') {
		if (take_domain_literal(list) == -1)
			return -1;
	} else {
		(void)take_dotted(list);
	}
	m->domain = since(list, domain_start);
	m->address = since(list, start);
	return check_address(list, m);
}

/* Between '<' and '>', which may have blanks inside at both ends. */
static int
take_angle_address(struct mailbox_list *list, struct mailbox *m)
{
	size_t start;

	list->at++;
	if (skip_blanks(list) == -1)
		return -1;
	start = list->at;
	if (peek(list) == '@')
		return fail(list, MAILBOX_ROUTE);
	if (peek(list) == '>')
		return fail(list, MAILBOX_NO_ADDRESS);
	if (peek(list) == '"') {
		if (skip_quoted_string(list) == -1)
			return -1;
	} else {
		(void)take_dotted(list);
	}
	if (peek(list) != '@')
		return fail(list, peek(list) == -1 ? MAILBOX_OPEN_ANGLE
						   : MAILBOX_BAD_LOCAL_PART);
	if (take_domain(list, start, m) == -1 || skip_blanks(list) == -1)
		return -1;
	if (peek(list) == '@')
		return fail(list, MAILBOX_TWO_ADDRESSES);
	if (peek(list) != '>')
		return fail(list, MAILBOX_OPEN_ANGLE);
	list->at++;
	return 0;
}

/* The words before '<', '@', ':' or the end of the element. */
struct phrase {
	size_t start;
	size_t end; /* of the last word */
	size_t words;
};

static int
take_phrase(struct mailbox_list *list, struct phrase *phrase_r)
{
	struct phrase ph = {.start = list->at, .end = list->at};

	for (;;) {
		if (peek(list) == '"') {
			if (skip_quoted_string(list) == -1)
				return -1;
		} else if (take_dotted(list).n == 0) {
			break;
		}
		ph.words++;
		ph.end = list->at;
		if (skip_blanks(list) == -1)
			return -1;
	}
	*phrase_r = ph;
	return 0;
}

/* A bare address: one word, and the '@' right behind it. */
static int
take_bare_address(
    struct mailbox_list *list, const struct phrase *ph, struct mailbox *m)
{
	if (ph->words != 1 || ph->end != list->at)
		return fail(list, MAILBOX_BAD_LOCAL_PART);
	return take_domain(list, ph->start, m);
}

static int
take_name(struct mailbox_list *list, const struct phrase *ph, struct mailbox *m)
{
	m->name = (struct slice){list->text.p + ph->start, ph->end - ph->start};
	if (has_8bit(m->name) && !utf8_is_valid(m->name))
		return fail(list, MAILBOX_NOT_UTF8);
	return 0;
}

/* Behind a mailbox: the comma or end of the list or of its group. */
static int
take_separator(struct mailbox_list *list)
{
	if (skip_blanks(list) == -1)
		return -1;
	switch (peek(list)) {
	case -1:
		return 0;
	case ',':
		list->at++;
		list->needs_element = true;
		return 0;
	case ';':
		if (list->is_in_group)
			return 0; /* taken by the next call */
		return fail(list, MAILBOX_TWO_ADDRESSES);
	case '<':
	case '@':
		return fail(list, MAILBOX_TWO_ADDRESSES);
	default:
		return fail_at(list);
	}
}

/* 1: a group was opened, so look for its first member. */
static int
open_group(struct mailbox_list *list, const struct phrase *ph)
{
	if ((list->flags & MAILBOX_LIST_GROUPS) == 0)
		return fail(list, MAILBOX_GROUP);
	if (list->is_in_group || ph->words == 0)
		return fail(list, MAILBOX_SYNTAX);
	list->at++;
	list->is_in_group = true;
	list->needs_element = false;
	return 1;
}

/* Behind the ';' of a group stands a comma and more, or the end. */
static int
close_group(struct mailbox_list *list)
{
	list->at++;
	list->is_in_group = false;
	return take_separator(list);
}

static int
take_mailbox(struct mailbox_list *list, struct mailbox *mailbox_r)
{
	struct mailbox m = {.is_in_group = list->is_in_group};
	struct phrase ph;

	if (take_phrase(list, &ph) == -1)
		return -1;
	if (peek(list) == ':')
		return open_group(list, &ph) == -1 ? -1 : 0;
	if (peek(list) == '<') {
		if (take_name(list, &ph, &m) == -1 ||
		    take_angle_address(list, &m) == -1)
			return -1;
	} else if (peek(list) == '@' && ph.words > 0) {
		if (take_bare_address(list, &ph, &m) == -1)
			return -1;
	} else {
		return fail_at(list);
	}
	list->needs_element = false;
	if (take_separator(list) == -1)
		return -1;
	*mailbox_r = m;
	return 1;
}

int
mailbox_list_next(struct mailbox_list *list, struct mailbox *mailbox_r)
{
	int rc = 0;

	if (list->problem != MAILBOX_FINE)
		return -1;
	while (rc == 0) {
		if (skip_blanks(list) == -1)
			return -1;
		if (peek(list) == -1) {
			if (list->needs_element)
				return fail(list, MAILBOX_NO_ADDRESS);
			return list->is_in_group ? fail(list, MAILBOX_GROUP)
						 : 0;
		}
		if (peek(list) == ';' && list->is_in_group &&
		    !list->needs_element)
			rc = close_group(list);
		else
			rc = take_mailbox(list, mailbox_r);
	}
	return rc;
}
