/* SPDX-License-Identifier: ISC */
/*
 * Judges headers, and writes the lines that a gateway adds.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing in the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/forged_field.h"
#include "common/from_header.h"
#include "common/printable.h"
#include "common/rfc5322_date.h"
#include "smtpd/intake_header.h"
#include "smtpd/received.h"

/* As the message to queued has it. */
#define MESSAGE_ID_MAX 998

static bool
is_submission(const struct session *session)
{
	return session->listener != LISTENER_SMTP;
}

/* ---- facts ---- */

static char *
read_message_id(const struct header *header)
{
	const struct header_field *field = header_first(header, HDR_MESSAGE_ID);
	char text[MESSAGE_ID_MAX + 1];
	struct buf value;
	char *copy = NULL;

	if (field == NULL)
		return NULL;
	buf_init(&value, MESSAGE_ID_MAX);
	(void)header_unfold(header_field_value(header, field), &value);
	if (value.n > 0)
		copy =
		    xstrdup(printable(buf_slice(&value), text, sizeof(text)));
	buf_clear(&value);
	return copy;
}

void
intake_header_facts(const struct header *header, char *from_r, size_t from_size,
    char **message_id_r)
{
	const struct header_field *field = header_first(header, HDR_FROM);
	struct mailbox_list list;
	struct mailbox mailbox;

	*message_id_r = read_message_id(header);
	if (field == NULL)
		return;
	mailbox_list_init(&list, header_field_value(header, field),
	    MAILBOX_LIST_GROUPS | MAILBOX_LIST_UTF8);
	if (mailbox_list_next(&list, &mailbox) == 1)
		(void)printable(mailbox.address, from_r, from_size);
}

/* ---- checks ---- */

static int
check_shape(const struct session *session, const struct header *header,
    struct smtp_status *status)
{
	const struct settings *settings = session_settings(session);

	if (header->failure == HEADER_FAILURE_TOO_LARGE)
		return smtp_status_set(status, 552, "5.3.4",
		    "The header is larger than %llu octets",
		    (unsigned long long)settings->smtp_max_header_size);
	if (header->failure != HEADER_FAILURE_NONE)
		return smtp_status_set(status, 554, "5.6.0", "Refused: %s",
		    header_failure_text(header->failure));
	if (header_count(header, HDR_RECEIVED) > settings->smtp_max_hops)
		return smtp_status_set(status, 554, "5.4.6",
		    "Too many Received lines: the message goes in circles");
	return 0;
}

static bool
is_own(const void *arg, const struct address *address)
{
	const struct login *login = arg;

	return token_allows(&login->token, address);
}

/*
 * The one mailbox in From must be one of the sender's own, and so must be
 * whoever else is said to have sent it.
 */
static int
check_own_from(const struct session *session, const struct header *header,
    struct smtp_status *status)
{
	const struct transaction *transaction = session->transaction;
	struct from_header from;
	struct address address;

	if (from_header_check(header, transaction->is_utf8, &from) == -1)
		return smtp_status_set(status, 550, "5.7.1", "%s", from.reason);
	if (address_parse(from.mailbox.address,
		transaction->is_utf8 ? ADDRESS_MAY_BE_UTF8 : 0, &address,
		NULL) == -1)
		return smtp_status_set(
		    status, 550, "5.7.1", "The address in From is malformed");
	if (!token_allows(&session->login->token, &address))
		return smtp_status_set(status, 550, "5.7.1",
		    "The address in From is not one of yours");
	if (from_header_check_others(header, transaction->is_utf8, is_own,
		session->login, &from) == -1)
		return smtp_status_set(status, 550, "5.7.1", "%s", from.reason);
	return 0;
}

/* Strangers may not write in the name of one of our domains. */
static int
check_foreign_from(const struct session *session, const struct header *header,
    struct smtp_status *status)
{
	const struct header_field *field = header_first(header, HDR_FROM);
	enum access_from found;

	if (header_count(header, HDR_FROM) > 1)
		return smtp_status_set(status, 550, "5.7.1",
		    "The message has more than one From field");
	if (!session_settings(session)->smtp_spoof_protection || field == NULL)
		return 0;
	found = access_from_names(
	    session->worker->snapshot, header_field_value(header, field));
	if (found == ACCESS_FROM_OURS)
		return smtp_status_set(status, 550, "5.7.1",
		    "Senders of the domain in From have to log in");
	if (found == ACCESS_FROM_TOO_MANY)
		return smtp_status_set(status, 550, "5.7.1",
		    "The From field names too many addresses");
	return 0;
}

int
intake_header_check(const struct session *session, const struct header *header,
    struct smtp_status *status_r)
{
	if (check_shape(session, header, status_r) == -1)
		return -1;
	if (session->login != NULL)
		return check_own_from(session, header, status_r);
	if (!session->is_trusted)
		return check_foreign_from(session, header, status_r);
	return 0;
}

/* ---- our lines ---- */

static void
add_received(
    const struct session *session, uint64_t message_id, struct buf *lines)
{
	const struct settings *settings = session_settings(session);
	const struct transaction *transaction = session->transaction;
	struct received received = {.hostname = settings->smtp_hostname,
	    .helo = session->helo,
	    .helo_kind = (enum smtp_hello_kind)session->helo_kind,
	    .client = session->client,
	    .ptr_name = session->ptr_name,
	    .hides_client =
		session->login != NULL && settings->submission_hide_client,
	    .is_esmtp = session->is_esmtp,
	    .is_utf8 = transaction->is_utf8,
	    .tls = session->tls,
	    .account = session->login != NULL ? session->login->account : NULL,
	    .session_id = session->id,
	    .message_id = message_id,
	    .recipient = transaction->recipients.count == 1
			     ? transaction->first_recipient
			     : NULL,
	    .now = time(NULL)};

	(void)received_format(&received, lines);
}

static void
add_message_id(const struct session *session, uint64_t message_id,
    char **header_message_id, struct buf *lines)
{
	char id[ID_TEXT_SIZE];
	char text[ID_TEXT_SIZE + sizeof(struct domain) + 4];

	id_format(message_id, id);
	(void)snprintf(text, sizeof(text), "<%s@%s>", id,
	    session_settings(session)->smtp_hostname);
	(void)buf_addf(lines, "Message-ID: %s\r\n", text);
	free(*header_message_id);
	*header_message_id = xstrdup(text);
}

int
intake_header_lines(const struct session *session, const struct header *header,
    uint64_t message_id, char **header_message_id, struct buf *lines)
{
	char date[RFC5322_DATE_SIZE];

	add_received(session, message_id, lines);
	if (is_submission(session)) {
		if (header_count(header, HDR_MESSAGE_ID) == 0)
			add_message_id(
			    session, message_id, header_message_id, lines);
		if (header_count(header, HDR_DATE) == 0)
			(void)buf_addf(lines, "Date: %s\r\n",
			    rfc5322_date(time(NULL), date));
	}
	/*
	 * Without it, the first line of text would stand behind our header; a
	 * blank at its front would even make it part of our last line.
	 */
	if (header->field_count == 0 &&
	    (header->end == HEADER_END_NOT_A_FIELD || header->block_end > 0))
		(void)buf_add_text(lines, "\r\n");
	return lines->overflowed ? -1 : 0;
}

/* Is it to reach nobody? */
static bool
is_dropped(const struct session *session, const struct header *header,
    const struct header_field *field)
{
	if (is_submission(session) &&
	    (field->name == HDR_BCC || field->name == HDR_RESENT_BCC))
		return true;
	/* A filter gives mail back with what we wrote into it before. */
	if (session->login == NULL && session->is_trusted)
		return false;
	return forged_field(header_field_name(header, field),
	    header_field_value(header, field),
	    slice_of(session_settings(session)->smtp_hostname));
}

int
intake_header_end(
    const struct header *header, struct buf *content, size_t offset)
{
	const size_t at = offset + header->body_offset;

	if (header->end != HEADER_END_NOT_A_FIELD || header->field_count == 0)
		return 0;
	if (buf_reserve(content, 2) == NULL)
		return -1;
	memmove(content->p + at + 2, content->p + at, content->n - at);
	memcpy(content->p + at, "\r\n", 2);
	buf_extend(content, 2);
	return 0;
}

void
intake_header_drop(const struct session *session, const struct header *header,
    struct buf *content, size_t offset)
{
	size_t kept = offset; /* where the next kept octet goes */
	size_t from = offset; /* what is not moved yet */

	/*
	 * Before the first field an mbox line or a fold may stand: behind our
	 * lines it would end the header, or go on with the last of them.
	 */
	if (header->field_count > 0)
		from += header->fields[0].start;
	for (size_t i = 0; i < header->field_count; i++) {
		const struct header_field *field = &header->fields[i];
		size_t n = offset + field->start - from;

		if (!is_dropped(session, header, field))
			continue;
		memmove(content->p + kept, content->p + from, n);
		kept += n;
		from = offset + field->end;
	}
	if (from == kept)
		return;
	memmove(content->p + kept, content->p + from, content->n - from);
	content->n -= from - kept;
}

void
intake_status(
    const struct ipc_queue_answer *answer, struct smtp_status *status_r)
{
	char enhanced[SMTP_ENHANCED_MAX];

	if (answer->code / 100 != 2 && answer->code / 100 != 4 &&
	    answer->code / 100 != 5)
		goto bad;
	if (slice_copy(answer->enhanced, enhanced, sizeof(enhanced)) == -1 ||
	    enhanced[0] != (char)('0' + answer->code / 100) ||
	    enhanced[1] != '.')
		goto bad;
	(void)smtp_status_set(
	    status_r, answer->code, enhanced, "%.*s", SLICE_ARG(answer->text));
	return;
bad:
	(void)smtp_status_set(
	    status_r, 451, "4.3.0", "The queue gave no answer");
}
