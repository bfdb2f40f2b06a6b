/* SPDX-License-Identifier: ISC */
/*
 * Notifications as messages of the queue.
 * Runs in: postern-queued.  Trusts: nothing of the original's content, which
 * dsn.c takes as data.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/header.h"
#include "common/xtext.h"
#include "relay/queue_dsn.h"

/* A notification goes out in one frame, as any content in queue.db. */
#define DSN_SIZE_MAX (IPC_INLINE_MAX + IPC_TRACE_MAX)

bool
queue_dsn_is_wanted(const struct queue_message *message,
    const struct queue_recipient *recipient, enum dsn_action action)
{
	unsigned notify = recipient->notify;

	if (message->sender[0] == '\0' || (notify & DSN_NOTIFY_NEVER) != 0)
		return false;
	switch (action) {
	case DSN_FAILED:
		return notify == 0 || (notify & DSN_NOTIFY_FAILURE) != 0;
	case DSN_DELAYED:
		return notify == 0 || (notify & DSN_NOTIFY_DELAY) != 0;
	case DSN_RELAYED:
	case DSN_DELIVERED:
		return (notify & DSN_NOTIFY_SUCCESS) != 0;
	default:
		return false;
	}
}

struct queue_message *
queue_own_message(
    struct queued *queued, const char *to, struct slice content, bool is_utf8)
{
	struct queue_message *message;
	struct queue_recipient *recipient;
	struct address address;
	char text[ADDRESS_TEXT_MAX];

	if (address_parse(slice_of(to), ADDRESS_MAY_BE_UTF8, &address, NULL) ==
		-1 ||
	    address.is_bare_postmaster)
		return NULL;
	message =
	    queue_message_new(id_next(&queued->ids, clock_wall_us() / 1000), 1);
	message->created_ms = queued_now_ms(queued);
	message->sender = xstrdup("");
	message->account = xstrdup("");
	message->client = xstrdup("");
	message->envid = xstrdup("");
	message->header_message_id = xstrdup("");
	message->flags =
	    (uint16_t)(MSG_FLAG_BOUNCE | MSG_FLAG_TRUSTED |
		       (is_utf8 ? MSG_FLAG_UTF8 | MSG_FLAG_8BIT : 0));
	message->listener_kind = LISTENER_NONE;
	message->size = content.n;
	message->content = xmalloc(content.n);
	memcpy(message->content, content.p, content.n);
	recipient = &message->recipients[0];
	recipient->notify = DSN_NOTIFY_NEVER;
	recipient->address = xstrdup(address_format(&address, text));
	recipient->domain =
	    xstrdup(address.is_literal ? strrchr(recipient->address, '@') + 1
				       : address.domain.text);
	recipient->original = xstrdup("");
	recipient->orcpt = xstrdup("");
	queue_delivery_set_first(queued, message);
	return message;
}

/* xtext of the envelope as text; "" when it holds what a DSN cannot. */
static struct slice
decode_xtext(const char *encoded, char *out, size_t out_size)
{
	size_t n;

	if (xtext_decode(slice_of(encoded), out, out_size, &n) == -1)
		return (struct slice){out, 0};
	return (struct slice){out, n};
}

struct case_text {
	char orcpt[IPC_ORCPT_MAX + 1];
};

/* "rfc822;xtext" with its text decoded. */
static struct slice
decode_orcpt(const char *orcpt, struct case_text *text)
{
	const char *part = strchr(orcpt, ';');
	size_t type_n = part == NULL ? 0 : (size_t)(part - orcpt) + 1;
	struct slice decoded;

	if (part == NULL || type_n >= sizeof(text->orcpt))
		return (struct slice){NULL, 0};
	memcpy(text->orcpt, orcpt, type_n);
	decoded = decode_xtext(
	    part + 1, text->orcpt + type_n, sizeof(text->orcpt) - type_n);
	if (decoded.n == 0)
		return (struct slice){NULL, 0};
	return (struct slice){text->orcpt, type_n + decoded.n};
}

static void
fill_recipient(const struct dsn_case *one, struct case_text *text,
    struct dsn_recipient *out)
{
	const struct queue_recipient *recipient = one->recipient;

	*out = (struct dsn_recipient){.action = one->action,
	    .address = slice_of(recipient->address),
	    .orcpt = decode_orcpt(recipient->orcpt, text),
	    .status = slice_of(one->enhanced),
	    .remote_mta = slice_of(one->host),
	    .reply = slice_of(one->reply),
	    .last_attempt = (time_t)(recipient->last_ms / 1000),
	    .will_retry_until = (time_t)(one->retry_until_ms / 1000)};
}

/* The header of the original, as far as it is there. */
static struct slice
original_header(struct slice content, size_t *body_offset_r)
{
	struct header header;
	struct slice block = {content.p, 0};

	header_init(&header, content.n < UINT32_MAX ? content.n + 1 : 1);
	if (content.n > 0 && header_read(&header, content) == PARSE_OK) {
		block.n = header.block_end;
		*body_offset_r = header.body_offset;
	}
	header_clear(&header);
	return block;
}

/* What all notifications about one result say alike. */
struct dsn_frame {
	char id[ID_TEXT_SIZE];
	char seed[ID_TEXT_SIZE];
	char from[400];
	char message_id[400];
	char envid[IPC_ENVID_MAX + 1];
};

static void
fill_frame(struct queued *queued, const struct queue_message *original,
    struct slice content, struct dsn_frame *frame, struct dsn *d)
{
	const char *hostname = queued_settings(queued)->smtp_hostname;
	size_t body_offset = content.n;

	id_format(original->id, frame->id);
	id_format(id_next(&queued->ids, clock_wall_us() / 1000), frame->seed);
	(void)snprintf(frame->from, sizeof(frame->from),
	    "Mail Delivery System <mailer-daemon@%s>", hostname);
	(void)snprintf(frame->message_id, sizeof(frame->message_id),
	    "%s.dsn@%s", frame->seed, hostname);
	*d = (struct dsn){.reporting_mta = slice_of(hostname),
	    .from = slice_of(frame->from),
	    .sender = slice_of(original->sender),
	    .message_id = slice_of(frame->message_id),
	    .boundary_seed = slice_of(frame->seed),
	    .reference = slice_of(frame->id),
	    .envid = decode_xtext(
		original->envid, frame->envid, sizeof(frame->envid)),
	    .now = (time_t)(queued_now_ms(queued) / 1000),
	    .arrival = (time_t)(id_time_ms(original->id) / 1000),
	    .is_smtputf8 = (original->flags & MSG_FLAG_UTF8) != 0};
	d->hides_subject = original->protection != NULL &&
			   queue_protection_hides(original->protection);
	d->header = original_header(content, &body_offset);
	d->body =
	    (struct slice){content.p + body_offset, content.n - body_offset};
}

/* With less and less of the original, until it fits. */
static int
build(struct dsn *d, struct buf *out, struct dsn_result *result_r)
{
	if (dsn_build(d, out, result_r) == 0)
		return 0;
	buf_reset(out);
	d->returns_body = false;
	if (dsn_build(d, out, result_r) == 0)
		return 0;
	buf_reset(out);
	d->header.n = 0;
	return dsn_build(d, out, result_r);
}

/* Builds with as many of the recipients as fit; how many, or 0. */
static size_t
build_some(struct dsn *d, struct buf *out, struct dsn_result *result_r)
{
	for (; d->recipient_count > 0; d->recipient_count /= 2) {
		struct dsn try = *d;

		buf_reset(out);
		if (build(&try, out, result_r) == 0)
			break;
	}
	return d->recipient_count;
}

struct queue_message *
queue_dsn_make(struct queued *queued, const struct queue_message *original,
    const struct dsn_case *cases, size_t case_count, enum dsn_action action,
    struct slice content, bool is_whole, size_t *taken_r)
{
	struct dsn_recipient *recipients =
	    xcalloc(case_count, sizeof(*recipients));
	struct case_text *texts = xcalloc(case_count, sizeof(*texts));
	struct queue_message *message = NULL;
	struct dsn_result result;
	struct dsn_frame frame;
	struct buf out;
	struct dsn d;

	buf_init(&out, DSN_SIZE_MAX);
	fill_frame(queued, original, content, &frame, &d);
	for (size_t i = 0; i < case_count; i++)
		fill_recipient(&cases[i], &texts[i], &recipients[i]);
	d.recipients = recipients;
	d.recipient_count = case_count;
	/* A failure brings the mail back unless the sender asked otherwise. */
	d.returns_body = is_whole && action == DSN_FAILED &&
			 original->ret != DSN_RET_HDRS && !d.hides_subject;
	if ((*taken_r = build_some(&d, &out, &result)) > 0)
		message = queue_own_message(queued, original->sender,
		    buf_slice(&out), result.needs_smtputf8);
	buf_clear(&out);
	free(recipients);
	free(texts);
	return message;
}
