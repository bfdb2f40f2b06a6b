/* SPDX-License-Identifier: ISC */
/*
 * The part of a notification for programs, and the original's header.
 * Runs in: postern-queued.  Trusts: nothing that came from outside.
 */
#include <string.h>

#include "common/rfc5322_date.h"
#include "common/utf8.h"
#include "relay/dsn_parts.h"
#include "relay/dsn_text.h"

/*
 * Of any value; a line keeps under 998 with its name, whatever is escaped.
 * Addresses and envelope ids are shorter by the limits of RFC 5321 and 3461.
 */
#define VALUE_MAX 800
/* An address outside ASCII becomes up to ten bytes for each character. */
#define ESCAPED_MAX 900

static const char *const action_texts[DSN_ACTION_COUNT] = {
    [DSN_FAILED] = "failed",
    [DSN_DELAYED] = "delayed",
    [DSN_EXPANDED] = "expanded",
    [DSN_RELAYED] = "relayed",
    [DSN_DELIVERED] = "delivered",
};

const char *
dsn_action_text(enum dsn_action action)
{
	return action_texts[action];
}

/* One field; nothing at all for an empty value. */
static void
add_field(struct buf *out, const char *name, const char *type,
    struct slice value, bool with_utf8)
{
	if (value.n == 0)
		return;
	(void)buf_addf(out, "%s: %s", name, type);
	dsn_add_line(out, value, VALUE_MAX, with_utf8);
	(void)buf_add_text(out, "\r\n");
}

static void
add_date(struct buf *out, const char *name, time_t t)
{
	char date[RFC5322_DATE_SIZE];

	if (t != 0)
		(void)buf_addf(out, "%s: %s\r\n", name, rfc5322_date(t, date));
}

/*
 * The unitext or xtext form of RFC 6533 §3, for an address outside ASCII in a
 * report that must be ASCII: \x{FC} for what has no other place.
 */
static void
add_escaped_address(struct buf *out, struct slice address)
{
	size_t start = out->n;

	while (address.n > 0 && out->n - start < ESCAPED_MAX) {
		uint32_t code = 0;
		size_t n = utf8_decode(address, &code);

		if (n == 0 || utf8_is_control(code))
			(void)buf_add_char(out, '?');
		else if (n > 1 || code == '\\' || code == '+' || code == '=' ||
			 code == ' ')
			(void)buf_addf(out, "\\x{%X}", (unsigned)code);
		else
			(void)buf_add_char(out, (char)code);
		if (out->overflowed)
			return;
		address.p += n > 0 ? n : 1;
		address.n -= n > 0 ? n : 1;
	}
}

/* As it was given, if it can be said so. */
static void
add_original_recipient(struct buf *out, struct slice orcpt, bool with_utf8)
{
	if (with_utf8 || utf8_is_ascii(orcpt)) {
		add_field(out, "Original-Recipient", "", orcpt, with_utf8);
		return;
	}
	(void)buf_add_text(out, "Original-Recipient: ");
	add_escaped_address(out, orcpt);
	(void)buf_add_text(out, "\r\n");
}

static void
add_final_recipient(struct buf *out, struct slice address, bool with_utf8)
{
	bool is_ascii = utf8_is_ascii(address);

	(void)buf_addf(
	    out, "Final-Recipient: %s; ", is_ascii ? "rfc822" : "utf-8");
	if (is_ascii || with_utf8)
		dsn_add_line(out, address, VALUE_MAX, with_utf8);
	else
		add_escaped_address(out, address);
	(void)buf_add_text(out, "\r\n");
}

/* Status codes go out well formed even if a remote server's was not. */
static bool
is_status(struct slice s)
{
	size_t dots = 0;

	if (s.n < 5 || s.n > 9 || s.p[1] != '.' ||
	    memchr("245", s.p[0], 3) == NULL)
		return false;
	for (size_t i = 1; i < s.n; i++) {
		bool is_dot = s.p[i] == '.';

		if (!is_dot && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
		if (is_dot && (i + 1 == s.n || s.p[i + 1] == '.'))
			return false;
		dots += is_dot;
	}
	return dots == 2;
}

static struct slice
status_of(const struct dsn_recipient *r)
{
	if (is_status(r->status))
		return r->status;
	switch (r->action) {
	case DSN_FAILED:
		return SLICE("5.0.0");
	case DSN_DELAYED:
		return SLICE("4.0.0");
	default:
		return SLICE("2.0.0");
	}
}

static void
add_recipient(struct buf *out, const struct dsn *d,
    const struct dsn_recipient *r, bool with_utf8)
{
	bool is_remote = r->remote_mta.n > 0;

	(void)buf_add_text(out, "\r\n");
	add_original_recipient(out, r->orcpt, with_utf8);
	add_final_recipient(out, r->address, with_utf8);
	(void)buf_addf(out, "Action: %s\r\n", dsn_action_text(r->action));
	add_field(out, "Status", "", status_of(r), false);
	add_field(out, "Remote-MTA", "dns; ", r->remote_mta, with_utf8);
	add_field(out, "Diagnostic-Code", is_remote ? "smtp; " : "x-postern; ",
	    r->reply, with_utf8);
	add_date(out, "Last-Attempt-Date", r->last_attempt);
	add_field(out, "Final-Log-ID", "", d->reference, false);
	if (r->action == DSN_DELAYED)
		add_date(out, "Will-Retry-Until", r->will_retry_until);
}

void
dsn_add_status(const struct dsn *d, bool with_utf8, struct buf *out)
{
	add_field(out, "Original-Envelope-Id", "", d->envid, false);
	add_field(out, "Reporting-MTA", "dns; ", d->reporting_mta, with_utf8);
	add_date(out, "Arrival-Date", d->arrival);
	for (size_t i = 0; i < d->recipient_count; i++)
		add_recipient(out, d, &d->recipients[i], with_utf8);
}

/* Who else got a blind copy is nobody's business (RFC 5322 §3.6.3). */
static bool
is_blind_copy(const struct header_field *field)
{
	return field->name == HDR_BCC || field->name == HDR_RESENT_BCC;
}

void
dsn_add_original_header(
    const struct dsn *d, const struct header *original, struct buf *out)
{
	for (size_t i = 0; i < original->field_count; i++) {
		const struct header_field *field = &original->fields[i];
		struct slice text = header_field_text(original, field);

		if (is_blind_copy(field) ||
		    (d->hides_subject && header_tells_subject(header_field_name(
					     original, field))))
			continue;
		if (d->hides_subject && field->name == HDR_SUBJECT) {
			(void)buf_add_text(out, "Subject: [...]\r\n");
			continue;
		}
		(void)buf_add_slice(out, text);
		/* The last line of a header that ends with the message. */
		if (text.p[text.n - 1] != '\n')
			(void)buf_add_text(out, "\r\n");
	}
}
