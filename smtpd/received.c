/* SPDX-License-Identifier: ISC */
/*
 * Writes the Received line.
 * Runs in: postern-smtpd, in the workers.  Trusts: neither the client's name
 * for itself nor account and recipient: none of them can end the line, a
 * comment or a clause.
 */
#include <string.h>

#include "common/ids.h"
#include "common/rfc5322_date.h"
#include "common/utf8.h"
#include "smtpd/received.h"

const char *
received_protocol(const struct received *received)
{
	static const char *const words[2][2][2] = {
	    {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
	    {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
	};

	if (!received->is_esmtp)
		return "SMTP";
	return words[received->is_utf8][received->tls != NULL]
		    [received->account != NULL];
}

/*
 * Text inside a comment: what has a meaning there (RFC 5322 section 3.2.2), or
 * is not printable ASCII, becomes "?".
 */
static void
add_comment_text(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		bool is_plain = *text > ' ' && *text <= '~' &&
				strchr("()\\\"<>;", *text) == NULL;

		(void)buf_add_char(out, is_plain ? *text : '?');
	}
}

static void
add_literal(struct buf *out, const struct netaddr *address)
{
	char text[NETADDR_TEXT_MAX];

	(void)buf_addf(out,
	    address->family == NETADDR_IPV6 ? "[IPv6:%s]" : "[%s]",
	    netaddr_format(address, text));
}

static void
add_from(struct buf *out, const struct received *received)
{
	if (received->hides_client) {
		/* RFC 5321 wants a domain; RFC 2606 keeps this one unused. */
		(void)buf_add_text(
		    out, "from client.invalid (address withheld)");
		return;
	}
	(void)buf_add_text(out, "from ");
	if (received->helo_kind == SMTP_HELLO_TOKEN)
		add_literal(out, &received->client);
	else
		(void)buf_add_text(out, received->helo);
	(void)buf_add_text(out, " (");
	if (received->helo_kind == SMTP_HELLO_TOKEN) {
		(void)buf_add_text(out, "helo=");
		add_comment_text(out, received->helo);
		(void)buf_add_text(out, " ");
	}
	if (received->ptr_name != NULL) {
		add_comment_text(out, received->ptr_name);
		(void)buf_add_text(out, " ");
	}
	add_literal(out, &received->client);
	(void)buf_add_text(out, ")");
}

static void
add_facts(struct buf *out, const struct received *received)
{
	char id[ID_TEXT_SIZE];

	id_format(received->session_id, id);
	(void)buf_addf(out, "\r\n\t(session %s", id);
	if (received->tls != NULL) {
		(void)buf_add_text(out, ", ");
		for (const char *c = received->tls; *c != '\0'; c++)
			if (*c == ' ')
				(void)buf_add_char(out, ' ');
			else
				add_comment_text(out, (char[]){*c, '\0'});
	}
	if (received->account != NULL && received->hides_client) {
		(void)buf_add_text(out, ", logged in");
	} else if (received->account != NULL) {
		(void)buf_add_text(out, ", login ");
		add_comment_text(out, received->account);
	}
	(void)buf_add_text(out, ")");
}

int
received_format(const struct received *received, struct buf *out)
{
	char id[ID_TEXT_SIZE];
	char date[RFC5322_DATE_SIZE];

	id_format(received->message_id, id);
	(void)buf_add_text(out, "Received: ");
	add_from(out, received);
	(void)buf_addf(out, "\r\n\tby %s (Postern) with %s id %s",
	    received->hostname, received_protocol(received), id);
	add_facts(out, received);
	/* Of several recipients none is to learn of another by this. */
	if (received->recipient != NULL &&
	    (received->is_utf8 || utf8_is_ascii(slice_of(received->recipient))))
		(void)buf_addf(out, "\r\n\tfor <%s>", received->recipient);
	(void)buf_addf(out, "; %s\r\n", rfc5322_date(received->now, date));
	return out->overflowed ? -1 : 0;
}
