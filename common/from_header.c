/* SPDX-License-Identifier: ISC */
/*
 * Holds the From of a message against forgery by ambiguity: what is taken for
 * the author here is what every mail program shows, or the message is refused.
 * Runs in: postern-smtpd, postern-queued.  Trusts: nothing in the header.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/from_header.h"
#include "common/mime_word.h"
#include "common/utf8.h"

/* Names are short; one that decodes to more is cut, its controls found or not
 * shown. */
#define NAME_SIZE_MAX 4096

static int refuse(struct from_header *from, enum from_header_problem problem,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

static int
refuse(struct from_header *from, enum from_header_problem problem,
    const char *format, ...)
{
	va_list ap;

	*from = (struct from_header){.problem = problem};
	va_start(ap, format);
	(void)vsnprintf(from->reason, sizeof(from->reason), format, ap);
	va_end(ap);
	return -1;
}

/* Shapes after which another reader may find another From, or none. */
static const struct quirk {
	uint32_t bit;
	const char *reason;
} quirks[] = {
    {HEADER_QUIRK_NUL, "The header holds a NUL character"},
    {HEADER_QUIRK_BARE_LINE_END, "The header holds a bare CR or LF"},
    {HEADER_QUIRK_MBOX_LINE,
	"The header starts with an mbox line (\"From \" without a colon)"},
    {HEADER_QUIRK_LEADING_FOLD, "The header starts with a folded line"},
    {HEADER_QUIRK_BLANK_FOLD, "The header holds a line of blanks only"},
};

static int
check_header_shape(const struct header *h, struct from_header *from)
{
	if (h->failure != HEADER_FAILURE_NONE)
		return refuse(from, FROM_HEADER_BROKEN_HEADER,
		    "Cannot be checked: %s", header_failure_text(h->failure));
	for (size_t i = 0; i < sizeof(quirks) / sizeof(quirks[0]); i++)
		if ((h->quirks & quirks[i].bit) != 0)
			return refuse(from, FROM_HEADER_BROKEN_HEADER, "%s",
			    quirks[i].reason);
	if (h->end == HEADER_END_NOT_A_FIELD && h->field_count > 0)
		return refuse(from, FROM_HEADER_BROKEN_HEADER,
		    "The line after %zu header fields is neither a field nor "
		    "empty",
		    h->field_count);
	return 0;
}

static enum from_header_problem
problem_of(enum mailbox_problem problem)
{
	switch (problem) {
	case MAILBOX_GROUP:
		return FROM_HEADER_GROUP;
	case MAILBOX_8BIT:
	case MAILBOX_NOT_UTF8:
		return FROM_HEADER_8BIT;
	case MAILBOX_CONTROL:
		return FROM_HEADER_CONTROL;
	case MAILBOX_TWO_ADDRESSES:
		return FROM_HEADER_SEVERAL_MAILBOXES;
	default:
		return FROM_HEADER_MALFORMED;
	}
}

static int
refuse_mailbox(struct from_header *from, enum mailbox_problem problem)
{
	return refuse(from, problem_of(problem),
	    "The From field is unusable: %s", mailbox_problem_text(problem));
}

/*
 * A quoted local part may hold anything, "boss@ours.example, x" too.  Programs
 * that look for the first '@' see another address in it.
 */
static bool
is_plain_local_part(struct slice local)
{
	for (size_t i = 0; i < local.n; i++) {
		if ((local.p[i] == '"' && (i == 0 || i == local.n - 1)))
			continue;
		if (strchr(" \t\"\\()<>[]:;@,", local.p[i]) != NULL)
			return false;
	}
	return true;
}

/*
 * Encoded NULs and line ends once cut names and addresses short in many mail
 * programs ("Mailsploit", 2017).
 */
static bool
has_hidden_control(struct slice name)
{
	struct buf text;
	bool has_control;

	buf_init(&text, NAME_SIZE_MAX);
	(void)mime_word_decode(name, &text, &has_control);
	buf_clear(&text);
	return has_control;
}

static int
check_mailbox(const struct mailbox_list *list, const struct mailbox *m,
    struct from_header *from)
{
	if (!is_plain_local_part(m->local_part))
		return refuse(from, FROM_HEADER_AMBIGUOUS,
		    "The quoted part before the @ in From holds special "
		    "characters");
	if (list->has_spoofy_comment)
		return refuse(from, FROM_HEADER_AMBIGUOUS,
		    "A comment in the From field looks like an address");
	if (has_hidden_control(m->name))
		return refuse(from, FROM_HEADER_CONTROL,
		    "An encoded word in the From field hides a control "
		    "character");
	return 0;
}

static int
check_value(struct slice value, bool with_utf8, struct from_header *from)
{
	struct mailbox_list list;
	struct mailbox m;
	struct mailbox another;
	int rc;

	if (!utf8_is_valid(value))
		return refuse_mailbox(from, MAILBOX_NOT_UTF8);
	mailbox_list_init(&list, value, with_utf8 ? MAILBOX_LIST_UTF8 : 0);
	if ((rc = mailbox_list_next(&list, &m)) == 0)
		return refuse(
		    from, FROM_HEADER_EMPTY, "The From field is empty");
	if (rc == -1)
		return refuse_mailbox(from, list.problem);
	rc = mailbox_list_next(&list, &another);
	if (rc == -1)
		return refuse_mailbox(from, list.problem);
	if (rc == 1)
		return refuse(from, FROM_HEADER_SEVERAL_MAILBOXES,
		    "The From field names several mailboxes; give exactly one");
	if (check_mailbox(&list, &m, from) == -1)
		return -1;
	*from = (struct from_header){.mailbox = m};
	return 0;
}

int
from_header_check(
    const struct header *h, bool with_utf8, struct from_header *from_r)
{
	const struct header_field *field = header_first(h, HDR_FROM);

	if (h->end == HEADER_END_OPEN && h->failure == HEADER_FAILURE_NONE)
		bug("from_header_check: the header is not read to its end");
	if (header_count(h, HDR_FROM) > 1)
		return refuse(from_r, FROM_HEADER_SEVERAL_FIELDS,
		    "The message has %zu From fields; give exactly one",
		    header_count(h, HDR_FROM));
	if (check_header_shape(h, from_r) == -1)
		return -1;
	if (field == NULL)
		return refuse(from_r, FROM_HEADER_NONE,
		    "The message has no From field; give exactly one");
	if (field->is_spaced)
		return refuse(from_r, FROM_HEADER_SPACED_COLON,
		    "The From field has a blank before its colon");
	return check_value(header_field_value(h, field), with_utf8, from_r);
}

/* ---- the other fields ---- */

static int
refuse_other(
    enum header_name name, const char *why, struct from_header *refusal)
{
	return refuse(refusal, FROM_HEADER_OTHER, "The %s field %s",
	    header_name_text(name), why);
}

/*
 * Mailboxes in all of them.  Mail has one or two; each is compared with
 * everything that its sender may send as, which can be much.
 */
#define OTHERS_MAX 100

static int
check_other(enum header_name name, struct slice value, bool with_utf8,
    from_header_own_fn *is_own, const void *arg, size_t *count,
    struct from_header *refusal)
{
	struct mailbox_list list;
	struct mailbox m;
	int rc;

	mailbox_list_init(&list, value, with_utf8 ? MAILBOX_LIST_UTF8 : 0);
	while ((rc = mailbox_list_next(&list, &m)) == 1) {
		struct address address;

		if (++*count > OTHERS_MAX)
			return refuse_other(
			    name, "names too many addresses", refusal);
		if (address_parse(m.address,
			with_utf8 ? ADDRESS_MAY_BE_UTF8 : 0, &address,
			NULL) == -1)
			return refuse_other(
			    name, "holds a malformed address", refusal);
		if (!is_own(arg, &address))
			return refuse_other(name,
			    "names an address that is not yours", refusal);
	}
	return rc == 0
		   ? 0
		   : refuse(refusal, FROM_HEADER_OTHER,
			 "The %s field is unusable: %s", header_name_text(name),
			 mailbox_problem_text(list.problem));
}

int
from_header_check_others(const struct header *h, bool with_utf8,
    from_header_own_fn *is_own, const void *arg, struct from_header *refusal_r)
{
	static const enum header_name names[] = {
	    HDR_SENDER, HDR_RESENT_FROM, HDR_RESENT_SENDER};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (const struct header_field *field =
			 header_first(h, names[i]);
		     field != NULL; field = header_next(h, field))
			if (check_other(names[i], header_field_value(h, field),
				with_utf8, is_own, arg, &count,
				refusal_r) == -1)
				return -1;
	return 0;
}
