/* SPDX-License-Identifier: ISC */
/*
 * MAIL, RCPT and DATA: who may send to whom, after asking those who know.
 * Runs in: postern-smtpd, in the workers.  Trusts: authd's and checkd's
 * answers; nothing that the client says.  queued decides again.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smtpd/callout.h"
#include "smtpd/intake.h"
#include "smtpd/session.h"

/* checkd asks DNS, and has its own, shorter limit (dns.timeout). */
#define CHECK_MAIL_MS 65000

static struct access_subject
subject_of(const struct session *session)
{
	const struct transaction *transaction = session->transaction;
	bool is_logged_in = session->login != NULL;

	return (struct access_subject){
	    .listener = (enum listener_kind)session->listener,
	    .is_trusted = session->is_trusted,
	    .is_logged_in = is_logged_in,
	    /* The null path names nobody; then From decides alone. */
	    .owns_sender =
		is_logged_in && transaction != NULL &&
		(transaction->from.is_null ||
		    token_allows(&session->login->token, &transaction->from))};
}

/* ---- MAIL ---- */

void
session_mail_refuse(struct session *session, struct smtp_status *status)
{
	char client[NETADDR_TEXT_MAX];
	char reference[SESSION_REFERENCE_SIZE];
	struct event_mail_refused event = {
	    .client = session_client_text(session, client),
	    .account = session_account(session),
	    .from = slice_of(session->transaction->from_text)};

	session_add_reference(session, status, reference);
	event.code = (uint16_t)status->code;
	event.enhanced = slice_of(status->enhanced);
	event.text = slice_of(status->text);
	event.reference = slice_of(reference);
	session_log(session, EV_MAIL_REFUSED, &event);
	session->refused++;
	session_reset(session);
	session_enter(session, SESSION_READY);
	session_reply_status(session, status);
}

static void
accept_mail(struct session *session)
{
	session->transactions++;
	session_enter(session, SESSION_MAIL);
	session_reply(session, 250, "2.1.0", "Ok");
}

static void
on_checked_mail(void *arg, const struct channel_frame *frame)
{
	struct session *session = arg;
	const struct ipc_checked_mail *answer;
	struct smtp_status status;
	const char *domain = session->transaction->from.domain.text;
	unsigned verdict = SENDER_TEMPORARY;

	session_answered(session);
	if (frame != NULL) {
		answer = &frame->message->checked_mail;
		verdict = answer->sender;
		if (answer->ptr_name.n > 0 && session->ptr_name == NULL)
			session->ptr_name = slice_dup(answer->ptr_name);
	}
	switch (verdict) {
	case SENDER_OK:
		accept_mail(session);
		return;
	case SENDER_NO_DOMAIN:
		(void)smtp_status_set(&status, 550, "5.1.8",
		    "Sender's domain %s does not exist", domain);
		break;
	case SENDER_NULL_MX:
		(void)smtp_status_set(&status, 550, "5.7.27",
		    "Sender's domain %s takes no mail (null MX)", domain);
		break;
	default:
		(void)smtp_status_set(&status, 451, "4.4.3",
		    "Sender's domain %s cannot be looked up now", domain);
		break;
	}
	session_mail_refuse(session, &status);
}

/* The null path and address literals have no domain to look up. */
static void
ask_about_sender(struct session *session)
{
	char client[NETADDR_TEXT_MAX];
	struct ipc_check_mail message = {.session_id = session->id,
	    .client = session_client_text(session, client),
	    .helo = slice_of(session->helo),
	    .sender_domain = slice_of(session->transaction->from.domain.text)};
	struct smtp_status status;

	if (session_ask(session, ROLE_CHECKD, MSG_CHECK_MAIL, &message,
		MSG_CHECKED_MAIL, CHECK_MAIL_MS, on_checked_mail) == 0)
		return;
	(void)smtp_status_set(&status, 451, "4.4.3",
	    "Senders cannot be checked now, try again later");
	session_mail_refuse(session, &status);
}

void
session_mail_renewed(struct session *session)
{
	const struct worker *worker = session->worker;
	struct transaction *transaction = session->transaction;
	struct access_subject subject = subject_of(session);
	struct smtp_status status;
	bool needs_dns;

	if (access_check_sender(&subject, worker->snapshot, &transaction->from,
		access_sender(
		    worker->access, &transaction->from, (int64_t)time(NULL)),
		&needs_dns, &status) == -1) {
		session_mail_refuse(session, &status);
		return;
	}
	if (needs_dns && transaction->from.domain.text[0] != '\0')
		ask_about_sender(session);
	else
		accept_mail(session);
}

/* What can be said without knowing who it is. */
static int
check_offer(const struct session *session, const struct smtp_mail *mail,
    struct smtp_status *status)
{
	const struct settings *settings = session_settings(session);
	struct access_subject subject = subject_of(session);

	if (access_check_client(&subject, status) == -1)
		return -1;
	if (mail->has_size &&
	    mail->size_bytes > settings->smtp_max_message_size)
		return smtp_status_set(status, 552, "5.3.4",
		    "Message is larger than %llu octets",
		    (unsigned long long)settings->smtp_max_message_size);
	if (session->worker->links[ROLE_QUEUED] == NULL ||
	    !session->worker->has_message_ids)
		return smtp_status_set(status, 451, "4.3.0",
		    "The queue is not there, try again later");
	return 0;
}

void
session_mail_command(struct session *session, struct slice argument)
{
	struct smtp_status status;
	struct smtp_mail mail;

	if (smtp_mail_parse(argument, &mail, &status) == -1) {
		session_reply_status(session, &status);
		return;
	}
	session->transaction = transaction_new(session->worker, &mail,
	    session->login != NULL || session->is_trusted);
	if (check_offer(session, &mail, &status) == -1)
		session_mail_refuse(session, &status);
	else if (session->login != NULL)
		session_auth_renew(session);
	else
		session_mail_renewed(session);
}

/* ---- RCPT ---- */

/* The one that is being decided; the answer may come later. */
static void
refuse_rcpt(struct session *session, const char *to, struct smtp_status *status)
{
	char client[NETADDR_TEXT_MAX];
	char reference[SESSION_REFERENCE_SIZE];
	struct event_rcpt_refused event = {
	    .client = session_client_text(session, client),
	    .account = session_account(session),
	    .from = slice_of(session->transaction->from_text),
	    .to = slice_of(to)};

	session_add_reference(session, status, reference);
	event.code = (uint16_t)status->code;
	event.enhanced = slice_of(status->enhanced);
	event.text = slice_of(status->text);
	event.reference = slice_of(reference);
	session_log(session, EV_RCPT_REFUSED, &event);
	session->refused++;
	session_reply_status(session, status);
}

static void
accept_rcpt(
    struct session *session, const char *to, unsigned notify, const char *orcpt)
{
	struct smtp_status status;

	if (transaction_add_recipient(
		session->transaction, to, notify, orcpt) == -1) {
		(void)smtp_status_set(&status, 452, "4.5.3",
		    "No room for more recipients, send the rest later");
		refuse_rcpt(session, to, &status);
		return;
	}
	session_enter(session, SESSION_RCPT);
	session_reply(session, 250, "2.1.5", "Ok");
}

/* A recipient that authd is asked about. */
struct rcpt_question {
	char to[ADDRESS_TEXT_MAX];
	unsigned notify;
	char orcpt[SMTP_ORCPT_MAX + 1];
};

static void
on_rcpt_checked(void *arg, const struct channel_frame *frame)
{
	struct session *session = arg;
	struct rcpt_question *question = session->rcpt_question;
	struct smtp_status status;
	unsigned verdict = RCPT_TEMPORARY;

	session->rcpt_question = NULL;
	session_answered(session);
	if (frame != NULL)
		verdict = frame->message->rcpt_checked.verdict;
	switch (verdict) {
	case RCPT_EXISTS:
		accept_rcpt(
		    session, question->to, question->notify, question->orcpt);
		break;
	case RCPT_UNKNOWN:
		(void)smtp_status_set(
		    &status, 550, "5.1.1", "No such recipient here");
		refuse_rcpt(session, question->to, &status);
		break;
	default:
		(void)smtp_status_set(&status, 451, "4.3.0",
		    "Recipients cannot be checked now, try again later");
		refuse_rcpt(session, question->to, &status);
		break;
	}
	free(question);
}

static void
ask_about_rcpt(
    struct session *session, const struct smtp_rcpt *rcpt, const char *to)
{
	struct ipc_rcpt_check message = {
	    .session_id = session->id, .address = slice_of(to)};
	struct rcpt_question *question = xmalloc(sizeof(*question));
	struct smtp_status status;

	(void)slice_copy(slice_of(to), question->to, sizeof(question->to));
	question->notify = rcpt->notify;
	memcpy(question->orcpt, rcpt->orcpt, sizeof(question->orcpt));
	session->rcpt_question = question;
	if (session_ask(session, ROLE_AUTHD, MSG_RCPT_CHECK, &message,
		MSG_RCPT_CHECKED, CALLOUT_ANSWER_MS, on_rcpt_checked) == 0)
		return;
	session->rcpt_question = NULL;
	free(question);
	(void)smtp_status_set(&status, 451, "4.3.0",
	    "Recipients cannot be checked now, try again later");
	refuse_rcpt(session, to, &status);
}

/* RFC 5321 section 4.5.1: postmaster without a domain must be taken. */
static void
take_postmaster(struct session *session, const struct smtp_rcpt *rcpt)
{
	const struct snapshot *snapshot = session->worker->snapshot;
	const char *to = snapshot->settings.system_postmaster;
	struct smtp_status status;

	if (to[0] != '\0') {
		accept_rcpt(session, to, rcpt->notify, rcpt->orcpt);
		return;
	}
	(void)smtp_status_set(
	    &status, 550, "5.1.1", "No postmaster is named here yet");
	refuse_rcpt(session, "postmaster", &status);
}

static void
take_rcpt(struct session *session, const struct smtp_rcpt *rcpt)
{
	struct access_subject subject = subject_of(session);
	char to[ADDRESS_TEXT_MAX];
	struct smtp_status status;

	(void)address_format(&rcpt->to, to);
	switch (access_check_recipient(
	    &subject, session->worker->snapshot, &rcpt->to, &status)) {
	case ACCESS_RCPT_OK:
		accept_rcpt(session, to, rcpt->notify, rcpt->orcpt);
		break;
	case ACCESS_RCPT_ASK:
		ask_about_rcpt(session, rcpt, to);
		break;
	case ACCESS_RCPT_POSTMASTER:
		take_postmaster(session, rcpt);
		break;
	default:
		refuse_rcpt(session, to, &status);
		break;
	}
}

void
session_rcpt_command(struct session *session, struct slice argument)
{
	const struct settings *settings = session_settings(session);
	struct transaction *transaction = session->transaction;
	struct smtp_status status;
	struct smtp_rcpt rcpt;

	if (smtp_rcpt_parse(argument, transaction->is_utf8, &rcpt, &status) ==
	    -1) {
		session_reply_status(session, &status);
		return;
	}
	if (transaction->recipients.count >= settings->smtp_max_recipients) {
		char to[ADDRESS_TEXT_MAX];

		(void)smtp_status_set(&status, 452, "4.5.3",
		    "Too many recipients, send the rest in another message");
		refuse_rcpt(session, address_format(&rcpt.to, to), &status);
		return;
	}
	take_rcpt(session, &rcpt);
}

/* ---- DATA ---- */

void
session_data_command(struct session *session, struct slice argument)
{
	(void)argument;
	/*
	 * A message sent before 354 would be run as commands, if DATA were
	 * refused: the client has lost count, or hides something.
	 */
	if (stream_input(session->stream).n > 0) {
		session_end(
		    session, 554, "5.5.1", "The message may only follow 354");
		return;
	}
	intake_begin(session);
}
