/* SPDX-License-Identifier: ISC */
/*
 * The messages about recipients: does one exist, what do aliases make of it,
 * and what does the inner server say.
 * Runs in: postern-authd.  Trusts: relayd for what the inner server said.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/authd.h"
#include "smtpd/callout.h"
#include "smtpd/directory.h"

/* Answers that are remembered; a newer one takes an older one's slot. */
#define CACHE_SIZE 4096
#define EXISTS_LIFE_MS 3600000
/* Short: somebody who was just added should get his mail. */
#define UNKNOWN_LIFE_MS 300000
/* Questions on their way; a harvest of addresses is not to be passed on. */
#define CALLOUTS_MAX 64

struct known {
	char address[ADDRESS_TEXT_MAX];
	enum rcpt_verdict verdict;
	uint64_t until_ms;
};

/* A question on its way to relayd. */
struct callout {
	struct authd *authd;
	struct channel *channel; /* who waits; NULL: went away */
	uint64_t request_id;
	char address[ADDRESS_TEXT_MAX];
	struct callout *next;
};

struct authd_callouts {
	struct known known[CACHE_SIZE];
	struct callout *running;
	size_t count;
};

struct authd_callouts *
authd_callouts_new(void)
{
	return xcalloc(1, sizeof(struct authd_callouts));
}

void
authd_callouts_drop_channel(struct authd *authd, const struct channel *channel)
{
	struct callout *at = authd->callouts->running;

	for (; at != NULL; at = at->next)
		if (at->channel == channel)
			at->channel = NULL;
}

static int
answer(struct channel *channel, uint64_t request_id, enum rcpt_verdict verdict)
{
	struct ipc_rcpt_checked checked = {.verdict = (uint16_t)verdict};

	return channel_answer(channel, request_id, MSG_RCPT_CHECKED, &checked);
}

/* ---- callouts ---- */

/* FNV-1a: it only spreads; who aims at a slot costs us a question. */
static struct known *
find_known(struct authd_callouts *callouts, const char *address)
{
	uint32_t hash = 2166136261u;

	for (; *address != '\0'; address++)
		hash = (hash ^ (unsigned char)*address) * 16777619u;
	return &callouts->known[hash % CACHE_SIZE];
}

static void
remember(struct authd_callouts *callouts, const char *address,
    enum rcpt_verdict verdict)
{
	struct known *known = find_known(callouts, address);

	if (verdict == RCPT_TEMPORARY)
		return;
	(void)slice_copy(
	    slice_of(address), known->address, sizeof(known->address));
	known->verdict = verdict;
	known->until_ms =
	    clock_monotonic_ms() +
	    (verdict == RCPT_EXISTS ? EXISTS_LIFE_MS : UNKNOWN_LIFE_MS);
}

static void
on_called_out(void *arg, const struct channel_frame *frame)
{
	struct callout *callout = arg;
	struct authd_callouts *callouts = callout->authd->callouts;
	struct callout **at = &callouts->running;
	enum rcpt_verdict verdict = RCPT_TEMPORARY;

	if (frame != NULL &&
	    frame->message->called_out.verdict < RCPT_VERDICT_COUNT)
		verdict = (enum rcpt_verdict)frame->message->called_out.verdict;
	remember(callouts, callout->address, verdict);
	if (callout->channel != NULL)
		(void)answer(callout->channel, callout->request_id, verdict);
	while (*at != callout)
		at = &(*at)->next;
	*at = callout->next;
	callouts->count--;
	free(callout);
}

static struct channel *
find_relayd(struct authd *authd)
{
	for (struct peer *at = authd->peers; at != NULL; at = at->next)
		if (channel_peer(at->channel) == ROLE_RELAYD)
			return at->channel;
	return NULL;
}

static int
call_out(struct authd *authd, struct channel *channel, uint64_t request_id,
    const char *address)
{
	struct authd_callouts *callouts = authd->callouts;
	const struct known *known = find_known(callouts, address);
	struct channel *relayd = find_relayd(authd);
	struct ipc_callout message = {.address = slice_of(address)};
	struct callout *callout;

	if (strcmp(known->address, address) == 0 &&
	    clock_monotonic_ms() < known->until_ms)
		return answer(channel, request_id, known->verdict);
	if (relayd == NULL || callouts->count >= CALLOUTS_MAX)
		return answer(channel, request_id, RCPT_TEMPORARY);
	callout = xcalloc(1, sizeof(*callout));
	callout->authd = authd;
	callout->channel = channel;
	callout->request_id = request_id;
	(void)slice_copy(
	    slice_of(address), callout->address, sizeof(callout->address));
	if (channel_request(relayd, MSG_CALLOUT, &message, NULL, MSG_CALLED_OUT,
		CALLOUT_MS, on_called_out, callout) == 0) {
		free(callout);
		return answer(channel, request_id, RCPT_TEMPORARY);
	}
	callout->next = callouts->running;
	callouts->running = callout;
	callouts->count++;
	return 0;
}

/* ---- RCPT ---- */

static int
parse_recipient(struct slice text, struct address *address_r)
{
	char path[ADDRESS_PATH_MAX + 8];
	int n;

	if (text.n > ADDRESS_PATH_MAX - 2)
		return -1;
	/* In its brackets a bare postmaster is one. */
	n = snprintf(path, sizeof(path), "<%.*s>", SLICE_ARG(text));
	return address_parse_path((struct slice){path, (size_t)n},
	    ADDRESS_MAY_BE_UTF8 | ADDRESS_MAY_BE_POSTMASTER, address_r, NULL);
}

int
authd_on_rcpt_check(struct channel *channel, const struct channel_frame *frame)
{
	struct authd *authd = daemon_state(channel_daemon(channel));
	const struct ipc_rcpt_check *message = &frame->message->rcpt_check;
	char folded[ADDRESS_TEXT_MAX];
	struct address address;

	if (parse_recipient(message->address, &address) == -1)
		return answer(channel, frame->request_id, RCPT_UNKNOWN);
	switch (directory_check(
	    authd->accounts, daemon_snapshot(authd->daemon), &address)) {
	case DIRECTORY_EXISTS:
		return answer(channel, frame->request_id, RCPT_EXISTS);
	case DIRECTORY_UNKNOWN:
		return answer(channel, frame->request_id, RCPT_UNKNOWN);
	case DIRECTORY_ASK:
		return call_out(authd, channel, frame->request_id,
		    address_format_folded(&address, folded));
	default:
		return answer(channel, frame->request_id, RCPT_TEMPORARY);
	}
}

/* ---- aliases ---- */

struct answer_list {
	struct ipc_list_writer writer;
	uint16_t index;
	bool is_whole;
};

static void
add_target(void *arg, struct slice address)
{
	struct answer_list *list = arg;
	struct ipc_record_target target = {
	    .index = list->index, .address = address};

	if (list->writer.count >= IPC_RECIPIENTS_MAX ||
	    ipc_target_add(&list->writer, &target, NULL) == -1)
		list->is_whole = false;
}

int
authd_on_alias_expand(
    struct channel *channel, const struct channel_frame *frame)
{
	struct authd *authd = daemon_state(channel_daemon(channel));
	struct ipc_list recipients = frame->message->alias_expand.recipients;
	struct ipc_alias_expanded expanded;
	struct answer_list list = {.is_whole = true};
	struct ipc_record_target recipient;
	struct address address;
	struct err err;
	int rc;

	ipc_list_writer_init(&list.writer,
	    (size_t)IPC_RECIPIENTS_MAX *
		ipc_shape_max_size(ipc_record_shape(IPC_RECORD_KIND_target)));
	while (list.is_whole && ipc_target_next(&recipients, &recipient)) {
		list.index = recipient.index;
		if (parse_recipient(recipient.address, &address) == -1) {
			/* Ours to expand, not to judge. */
			add_target(&list, recipient.address);
		} else if (directory_expand(authd->accounts,
			       daemon_snapshot(authd->daemon), &address,
			       add_target, &list, &err) == -1) {
			log_notice("aliases: %s", err.text);
			list.is_whole = false;
		}
	}
	expanded.is_complete = list.is_whole;
	expanded.targets = ipc_list_of(&list.writer);
	rc = channel_answer(
	    channel, frame->request_id, MSG_ALIAS_EXPANDED, &expanded);
	ipc_list_writer_clear(&list.writer);
	return rc;
}
