/* SPDX-License-Identifier: ISC */
/*
 * Who may put what into the queue.
 * Runs in: postern-queued.  Trusts: authd's token, the settings; of smtpd no
 * more than that a client it calls trusted has the address that it names.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/from_header.h"
#include "common/token.h"
#include "common/xtext.h"
#include "relay/submission.h"

/* The domain part by which a recipient is routed: "" for a literal. */
static int
parse_recipient(const struct ipc_record_recipient *record, bool is_utf8,
    char text_r[ADDRESS_TEXT_MAX], char domain_r[sizeof(struct domain)])
{
	struct address address;

	if (address_parse(record->address, is_utf8 ? ADDRESS_MAY_BE_UTF8 : 0,
		&address, NULL) == -1 ||
	    address.is_bare_postmaster)
		return -1;
	(void)address_format(&address, text_r);
	if (address.is_literal) {
		const char *at = strrchr(text_r, '@');

		(void)slice_copy(
		    slice_of(at + 1), domain_r, sizeof(struct domain));
	} else {
		memcpy(domain_r, address.domain.text, sizeof(struct domain));
	}
	return 0;
}

static int
compare_recipients(const void *a, const void *b)
{
	const struct queue_recipient *const *left = a;
	const struct queue_recipient *const *right = b;
	int order = strcmp((*left)->address, (*right)->address);

	if (order != 0)
		return order;
	return (*left)->number < (*right)->number ? -1 : 1;
}

/* The same address twice is one recipient; the first one counts (T110). */
static void
drop_doubles(struct queue_message *message)
{
	size_t count = message->recipient_count;
	struct queue_recipient **sorted;
	size_t kept = 0;

	if (count < 2)
		return;
	sorted = xcalloc(count, sizeof(struct queue_recipient *));
	for (size_t i = 0; i < count; i++)
		sorted[i] = &message->recipients[i];
	qsort(sorted, count, sizeof(sorted[0]), compare_recipients);
	for (size_t i = 1; i < count; i++)
		if (strcmp(sorted[i - 1]->address, sorted[i]->address) == 0)
			sorted[i]->state = RCPT_STATE_COUNT; /* a double */
	free(sorted);
	for (size_t i = 0; i < count; i++) {
		struct queue_recipient *recipient = &message->recipients[i];

		if (recipient->state == RCPT_STATE_COUNT) {
			free(recipient->address);
			free(recipient->domain);
			free(recipient->original);
			free(recipient->orcpt);
			continue;
		}
		if (kept != i)
			message->recipients[kept] = *recipient;
		message->recipients[kept].number = (uint32_t)kept;
		kept++;
	}
	message->recipient_count = kept;
}

static int
take_recipients(const struct submission *submission,
    struct queue_message *message, struct smtp_status *refusal_r)
{
	struct ipc_list list = submission->recipients;
	struct ipc_record_recipient record;
	size_t i = 0;

	while (ipc_recipient_next(&list, &record)) {
		struct queue_recipient *recipient = &message->recipients[i];
		char text[ADDRESS_TEXT_MAX];
		char domain[sizeof(struct domain)];

		if (parse_recipient(
			&record, submission->is_utf8, text, domain) == -1)
			return smtp_status_set(refusal_r, 501, "5.1.3",
			    "A recipient address is malformed");
		if (record.notify > DSN_NOTIFY_ALL)
			return smtp_status_set(
			    refusal_r, 501, "5.5.4", "An impossible envelope");
		recipient->number = (uint32_t)i++;
		recipient->notify = record.notify;
		recipient->address = xstrdup(text);
		recipient->domain = xstrdup(domain);
		recipient->original = xstrdup("");
		recipient->orcpt = slice_dup(record.orcpt);
	}
	drop_doubles(message);
	return 0;
}

static bool
is_our_domain(const struct snapshot *snapshot, const struct address *address)
{
	return !address->is_null && !address->is_literal &&
	       snapshot_domain(snapshot, &address->domain) != NULL;
}

static bool
is_own(const void *arg, const struct address *address)
{
	return token_allows(arg, address);
}

/*
 * The address in the header's only From, or -1 and why it is refused.  token:
 * who has to own what the fields beside From name, or NULL.
 */
static int
read_from(struct slice content, bool is_utf8, uint64_t header_limit,
    const struct token *token, struct address *from_r,
    struct smtp_status *refusal_r)
{
	struct header header;
	struct from_header from;
	int rc = -1;

	header_init(&header, header_limit);
	if (header_read(&header, content) != PARSE_OK)
		(void)smtp_status_set(refusal_r, 554, "5.6.0", "%s",
		    header_failure_text(header.failure));
	else if (from_header_check(&header, is_utf8, &from) == -1)
		(void)smtp_status_set(
		    refusal_r, 550, "5.7.1", "%s", from.reason);
	else if (address_parse(from.mailbox.address,
		     is_utf8 ? ADDRESS_MAY_BE_UTF8 : 0, from_r, NULL) == -1)
		(void)smtp_status_set(refusal_r, 550, "5.7.1",
		    "The address in From is malformed");
	else if (token != NULL && from_header_check_others(&header, is_utf8,
				      is_own, token, &from) == -1)
		(void)smtp_status_set(
		    refusal_r, 550, "5.7.1", "%s", from.reason);
	else
		rc = 0;
	header_clear(&header);
	return rc;
}

static int
check_login(const struct submission_rules *rules,
    const struct submission *submission, const struct address *sender,
    struct slice content, struct queue_message *message,
    struct smtp_status *refusal_r)
{
	struct token token;
	struct address from;
	struct err err;

	if (rules->token_key.n == 0)
		return smtp_status_set(refusal_r, 451, "4.3.0",
		    "Logins cannot be checked at the moment");
	if (token_verify(submission->token, rules->token_key,
		rules->previous_token_key, rules->now_s, &token, &err) == -1 ||
	    token.session_id != submission->session_id)
		return smtp_status_set(refusal_r, 550, "5.7.1",
		    "The login of this session is not valid");
	if (!sender->is_null && !token_allows(&token, sender))
		return smtp_status_set(refusal_r, 550, "5.7.1",
		    "This sender address is not yours");
	if (read_from(content, submission->is_utf8,
		rules->snapshot->settings.smtp_max_header_size + IPC_TRACE_MAX,
		&token, &from, refusal_r) == -1)
		return -1;
	if (!token_allows(&token, &from))
		return smtp_status_set(refusal_r, 550, "5.7.1",
		    "The address in From is not yours");
	message->account = slice_dup(token.account);
	message->flags |= MSG_FLAG_TRUSTED;
	return 0;
}

static int
check_trusted(const struct submission_rules *rules,
    const struct submission *submission, struct queue_message *message,
    struct smtp_status *refusal_r)
{
	struct netaddr client;

	if (netaddr_parse(submission->client, &client) == -1 ||
	    !setting_networks_match(
		rules->snapshot->settings.smtp_trusted_networks, &client))
		return smtp_status_set(refusal_r, 550, "5.7.1",
		    "This client is not in a trusted network");
	message->flags |= MSG_FLAG_TRUSTED;
	return 0;
}

/* Anybody: only to us, and not in our name. */
static int
check_stranger(const struct submission_rules *rules,
    const struct submission *submission, const struct address *sender,
    struct slice content, const struct queue_message *message,
    struct smtp_status *refusal_r)
{
	const struct settings *settings = &rules->snapshot->settings;
	struct address from = {0};
	struct smtp_status ignored;

	for (size_t i = 0; i < message->recipient_count; i++) {
		struct domain domain;

		if (slice_copy(slice_of(message->recipients[i].domain),
			domain.text, sizeof(domain.text)) == -1 ||
		    snapshot_domain(rules->snapshot, &domain) == NULL)
			return smtp_status_set(
			    refusal_r, 550, "5.7.1", "Relaying denied");
	}
	if (!settings->smtp_spoof_protection)
		return 0;
	if (is_our_domain(rules->snapshot, sender))
		return smtp_status_set(refusal_r, 550, "5.7.1",
		    "Mail in the name of this domain needs a login");
	/* A From that cannot be read names nobody of ours for sure. */
	if (read_from(content, submission->is_utf8,
		settings->smtp_max_header_size + IPC_TRACE_MAX, NULL, &from,
		&ignored) == 0 &&
	    is_our_domain(rules->snapshot, &from))
		return smtp_status_set(refusal_r, 550, "5.7.1",
		    "Mail in the name of this domain needs a login");
	return 0;
}

static int
check_shape(const struct submission_rules *rules,
    const struct submission *submission, struct address *sender_r,
    struct smtp_status *refusal_r)
{
	const struct settings *settings = &rules->snapshot->settings;

	if (submission->recipients.count == 0 ||
	    submission->recipients.count > settings->smtp_max_recipients)
		return smtp_status_set(
		    refusal_r, 452, "4.5.3", "Too many recipients, or none");
	/* relayd would break off over another ENVID, again and again. */
	if (submission->ret >= DSN_RET_COUNT ||
	    submission->listener_kind >= LISTENER_KIND_COUNT ||
	    (submission->envid.n > 0 && !xtext_is_valid(submission->envid)))
		return smtp_status_set(
		    refusal_r, 501, "5.5.4", "An impossible envelope");
	memset(sender_r, 0, sizeof(*sender_r));
	if (submission->reverse_path.n == 0) {
		sender_r->is_null = true;
		return 0;
	}
	if (address_parse(submission->reverse_path,
		submission->is_utf8 ? ADDRESS_MAY_BE_UTF8 : 0, sender_r,
		NULL) == -1 ||
	    sender_r->is_bare_postmaster)
		return smtp_status_set(
		    refusal_r, 501, "5.1.7", "The sender address is malformed");
	return 0;
}

/* Texts that stay with the message. */
static void
copy_envelope(const struct submission *submission, const struct address *sender,
    struct queue_message *message)
{
	char text[ADDRESS_TEXT_MAX];

	message->session_id = submission->session_id;
	message->sender =
	    xstrdup(sender->is_null ? "" : address_format(sender, text));
	if (message->account == NULL)
		message->account = xstrdup("");
	message->client = slice_dup(submission->client);
	message->envid = slice_dup(submission->envid);
	message->header_message_id = slice_dup(submission->header_message_id);
	message->ret = submission->ret;
	message->listener_kind = submission->listener_kind;
	if (submission->is_8bit)
		message->flags |= MSG_FLAG_8BIT;
	if (submission->is_utf8)
		message->flags |= MSG_FLAG_UTF8;
}

int
submission_check(const struct submission_rules *rules,
    const struct submission *submission, struct slice header,
    struct queue_message **message_r, struct smtp_status *refusal_r)
{
	struct queue_message *message;
	struct address sender = {0};
	int rc;

	*message_r = NULL;
	if (check_shape(rules, submission, &sender, refusal_r) == -1)
		return -1;
	message = queue_message_new(
	    submission->message_id, submission->recipients.count);
	if ((rc = take_recipients(submission, message, refusal_r)) == 0) {
		if (submission->token.n > 0)
			rc = check_login(rules, submission, &sender, header,
			    message, refusal_r);
		else if (submission->is_trusted)
			rc = check_trusted(
			    rules, submission, message, refusal_r);
		else
			rc = check_stranger(rules, submission, &sender, header,
			    message, refusal_r);
	}
	if (rc == -1) {
		queue_message_unref(message);
		return -1;
	}
	copy_envelope(submission, &sender, message);
	*message_r = message;
	return 0;
}

static bool
is_role_address(const char *address)
{
	const char *at = strrchr(address, '@');
	size_t n = at == NULL ? 0 : (size_t)(at - address);

	return (n == 10 && strncasecmp(address, "postmaster", n) == 0) ||
	       (n == 5 && strncasecmp(address, "abuse", n) == 0);
}

bool
submission_needs_aliases(
    const struct snapshot *snapshot, const struct queue_message *message)
{
	if (snapshot->domain_count == 0)
		return false;
	for (size_t i = 0; i < message->recipient_count; i++) {
		const struct queue_recipient *recipient =
		    &message->recipients[i];
		const struct domain_entry *entry;
		struct domain domain;

		if (slice_copy(slice_of(recipient->domain), domain.text,
			sizeof(domain.text)) == -1)
			continue;
		entry = snapshot_domain(snapshot, &domain);
		if (entry != NULL &&
		    (entry->has_aliases || is_role_address(recipient->address)))
			return true;
	}
	return false;
}
