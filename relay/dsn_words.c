/* SPDX-License-Identifier: ISC */
/*
 * Tells a person what became of a mail.
 * Runs in: postern-queued.  Trusts: nothing that came from outside: addresses,
 * replies, the original's Subject.
 */
#include <string.h>

#include "common/mime_word.h"
#include "common/rfc5322_date.h"
#include "relay/dsn_parts.h"
#include "relay/dsn_reason.h"
#include "relay/dsn_text.h"

/* More would hide the message in its own report; part 2 has them all. */
#define RECIPIENTS_TOLD_MAX 100
#define SUBJECT_MAX 200
#define ADDRESS_MAX 320 /* RFC 5321 §4.5.3.1: 64, '@', 255 */
#define REPLY_MAX 2000
#define SENTENCE_MAX 1024

/* The order in which kinds of news are told. */
static const struct group {
	enum dsn_action action;
	const char *title;
} groups[] = {
    {DSN_FAILED, "Not delivered, and not tried again:"},
    {DSN_DELAYED, "Not delivered yet, still being tried:"},
    {DSN_EXPANDED, "Given to a mailing list or to several people:"},
    {DSN_RELAYED, "Handed on:"},
    {DSN_DELIVERED, "Delivered:"},
};

static const char *const openings[DSN_ACTION_COUNT] = {
    [DSN_FAILED] = "Your message could not be delivered to everyone it was "
		   "meant for. What happened stands below, address by address.",
    [DSN_DELAYED] = "Your message has not been delivered yet. It is still "
		    "being tried, so you need not send it again.",
    [DSN_EXPANDED] = "Your message was delivered, as you had asked to be told.",
    [DSN_RELAYED] = "Your message was handed on. You had asked to be told.",
    [DSN_DELIVERED] =
	"Your message was delivered, as you had asked to be told.",
};

enum dsn_action
dsn_worst_action(const struct dsn *d)
{
	enum dsn_action worst = DSN_DELIVERED;

	for (size_t i = 0; i < d->recipient_count; i++)
		if (d->recipients[i].action < worst)
			worst = d->recipients[i].action;
	return worst;
}

static struct slice
domain_of(struct slice address)
{
	for (size_t i = address.n; i-- > 0;)
		if (address.p[i] == '@')
			return (struct slice){
			    address.p + i + 1, address.n - i - 1};
	return (struct slice){NULL, 0};
}

/* Puts the recipient's domain in the place of '%'. */
static void
add_sentence(struct buf *out, const char *indent, const char *prefix,
    const char *text, const struct dsn_recipient *r)
{
	struct slice domain = domain_of(r->address);
	struct slice rest = slice_of(text);
	struct buf line;

	buf_init(&line, SENTENCE_MAX);
	(void)buf_add_text(&line, prefix);
	for (;;) {
		size_t mark = slice_find(rest, '%', 0);

		(void)buf_add(&line, rest.p, mark);
		if (mark == rest.n)
			break;
		if (domain.n > 0)
			dsn_add_line(&line, domain, ADDRESS_MAX, true);
		else
			(void)buf_add_text(&line, "the recipient");
		rest.p += mark + 1;
		rest.n -= mark + 1;
	}
	dsn_add_wrapped(out, indent, buf_slice(&line));
	buf_clear(&line);
}

static void
add_answer(struct buf *out, const struct dsn_recipient *r)
{
	if (r->reply.n == 0)
		return;
	(void)buf_add_text(out, "  ");
	if (r->remote_mta.n > 0) {
		(void)buf_add_text(out, "The answer of ");
		dsn_add_line(out, r->remote_mta, ADDRESS_MAX, true);
		(void)buf_add_text(out, ", word for word:\r\n");
	} else {
		(void)buf_add_text(out, "What this server noted:\r\n");
	}
	dsn_add_quotation(out, r->reply, REPLY_MAX, true);
}

static void
add_failed(struct buf *out, const struct dsn_recipient *r)
{
	const struct dsn_reason *reason = dsn_reason(r->status);

	add_sentence(out, "  ", "", reason->what, r);
	add_sentence(out, "  ", "What you can do: ", reason->advice, r);
	add_answer(out, r);
}

static void
add_delayed(struct buf *out, const struct dsn_recipient *r)
{
	char date[RFC5322_DATE_SIZE];

	add_sentence(out, "  ", "So far: ", dsn_reason(r->status)->what, r);
	if (r->will_retry_until != 0)
		(void)buf_addf(out, "  It will be tried until %s.\r\n",
		    rfc5322_date(r->will_retry_until, date));
	add_answer(out, r);
}

static void
add_relayed(struct buf *out, const struct dsn_recipient *r)
{
	struct buf line;

	buf_init(&line, SENTENCE_MAX);
	(void)buf_add_text(&line, "The server ");
	if (r->remote_mta.n > 0)
		dsn_add_line(&line, r->remote_mta, ADDRESS_MAX, true);
	else
		(void)buf_add_text(&line, "behind this address");
	(void)buf_add_text(&line,
	    " has taken the message. It sends no receipts, so this is the last "
	    "news unless something goes wrong there.");
	dsn_add_wrapped(out, "  ", buf_slice(&line));
	buf_clear(&line);
}

static void
add_recipient(struct buf *out, const struct dsn_recipient *r)
{
	(void)buf_add_text(out, "\r\n<");
	dsn_add_line(out, r->address, ADDRESS_MAX, true);
	(void)buf_add_text(out, ">\r\n");
	switch (r->action) {
	case DSN_FAILED:
		add_failed(out, r);
		break;
	case DSN_DELAYED:
		add_delayed(out, r);
		break;
	case DSN_RELAYED:
		add_relayed(out, r);
		break;
	default:
		break;
	}
}

static size_t
add_group(struct buf *out, const struct dsn *d, const struct group *group,
    size_t room)
{
	size_t told = 0;

	for (size_t i = 0; i < d->recipient_count && told < room; i++) {
		if (d->recipients[i].action != group->action)
			continue;
		if (told++ == 0)
			(void)buf_addf(out, "\r\n%s\r\n", group->title);
		add_recipient(out, &d->recipients[i]);
	}
	return told;
}

static void
add_recipients(struct buf *out, const struct dsn *d)
{
	size_t told = 0;

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		told +=
		    add_group(out, d, &groups[i], RECIPIENTS_TOLD_MAX - told);
	if (told < d->recipient_count)
		(void)buf_addf(out,
		    "\r\nThe report below lists %zu more recipients.\r\n",
		    d->recipient_count - told);
}

/* So that the reader knows which of his messages this is about. */
static void
add_facts(struct buf *out, const struct dsn *d, const struct header *original)
{
	const struct header_field *subject =
	    header_first(original, HDR_SUBJECT);
	char date[RFC5322_DATE_SIZE];
	struct buf text;

	if (subject != NULL && !d->hides_subject) {
		buf_init(&text, SENTENCE_MAX);
		(void)mime_word_decode(
		    header_field_value(original, subject), &text, NULL);
		(void)buf_add_text(out, "  Subject:   ");
		dsn_add_line(out, buf_slice(&text), SUBJECT_MAX, true);
		(void)buf_add_text(out, "\r\n");
		buf_clear(&text);
	}
	(void)buf_addf(
	    out, "  Sent:      %s\r\n", rfc5322_date(d->arrival, date));
	(void)buf_add_text(out, "  Reference: ");
	dsn_add_line(out, d->reference, ADDRESS_MAX, true);
	(void)buf_add_text(out,
	    "\r\n             (your administrator can trace the message "
	    "with it)\r\n");
}

void
dsn_add_words(const struct dsn *d, const struct header *original,
    bool body_was_dropped, struct buf *out)
{
	enum dsn_action worst = dsn_worst_action(d);

	if (worst == DSN_FAILED && d->recipient_count == 1)
		dsn_add_wrapped(out, "",
		    SLICE("Your message could not be delivered to the address "
			  "below."));
	else
		dsn_add_wrapped(out, "", slice_of(openings[worst]));
	(void)buf_add_text(out, "\r\n");
	add_facts(out, d, original);
	add_recipients(out, d);
	(void)buf_add_text(out, "\r\n");
	if (body_was_dropped)
		dsn_add_wrapped(out, "",
		    SLICE("Only the header of your message is attached: its "
			  "form does not allow to send it back as it was."));
	(void)buf_add_text(out, "This is the mail server ");
	dsn_add_line(out, d->reporting_mta, ADDRESS_MAX, true);
	(void)buf_add_text(out, ", writing by itself.\r\n");
}
