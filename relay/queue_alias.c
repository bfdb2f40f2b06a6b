/* SPDX-License-Identifier: ISC */
/*
 * Alias expansion.
 * Runs in: postern-queued.  Trusts: authd for what addresses become; its
 * addresses are parsed again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "relay/queue_alias.h"

/* The directory is local; a callout is not asked here. */
#define ALIAS_DEADLINE_MS 5000

struct expansion {
	struct queued *queued;
	struct queue_message *message;
	queue_alias_done_fn *done;
	void *arg;
	struct loop_task failed; /* when nothing could be asked */
};

static void
finish(struct expansion *expansion, bool is_known)
{
	expansion->done(expansion->arg, expansion->message, is_known);
	free(expansion);
}

static void
on_not_asked(void *arg)
{
	finish(arg, false);
}

static bool
is_known_address(
    const struct queue_recipient *recipients, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(recipients[i].address, text) == 0)
			return true;
	return false;
}

/*
 * A recipient that an alias made: the DSN wishes of the original go with it
 * (RFC 3461 §5.2.7.1), and the original is kept for the trace.
 */
static int
add_target(struct queue_recipient *out, size_t count,
    const struct queue_recipient *from, struct slice address_text)
{
	struct address address;
	char text[ADDRESS_TEXT_MAX];

	if (address_parse(address_text, ADDRESS_MAY_BE_UTF8, &address, NULL) ==
		-1 ||
	    address.is_bare_postmaster)
		return -1;
	(void)address_format(&address, text);
	if (is_known_address(out, count, text))
		return 0;
	out[count] = (struct queue_recipient){.number = (uint32_t)count,
	    .notify = from->notify,
	    .address = xstrdup(text),
	    .domain = xstrdup(address.is_literal ? strrchr(text, '@') + 1
						 : address.domain.text),
	    .original =
		xstrdup(strcmp(text, from->address) == 0 ? "" : from->address),
	    .orcpt = xstrdup(from->orcpt)};
	return 1;
}

static void
free_recipients(struct queue_recipient *recipients, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(recipients[i].address);
		free(recipients[i].domain);
		free(recipients[i].original);
		free(recipients[i].orcpt);
	}
	free(recipients);
}

/* Puts the answer's targets in place of the recipients they belong to. */
static int
replace_recipients(
    struct queue_message *message, const struct ipc_alias_expanded *answer)
{
	struct queue_recipient *out = xcalloc(IPC_RECIPIENTS_MAX, sizeof(*out));
	bool *has_target = xcalloc(message->recipient_count, sizeof(bool));
	struct ipc_list list = answer->targets;
	struct ipc_record_target target;
	size_t count = 0;

	while (ipc_target_next(&list, &target)) {
		int rc;

		if (target.index >= message->recipient_count ||
		    count == IPC_RECIPIENTS_MAX)
			goto bad;
		rc = add_target(out, count, &message->recipients[target.index],
		    target.address);
		if (rc == -1)
			goto bad;
		count += (size_t)rc;
		has_target[target.index] = true;
	}
	/* Mail for somebody who becomes nobody would be lost. */
	for (size_t i = 0; i < message->recipient_count; i++)
		if (!has_target[i])
			goto bad;
	free(has_target);
	free_recipients(message->recipients, message->recipient_count);
	message->recipients = xrealloc(out, count * sizeof(*out));
	message->recipient_count = count;
	return 0;
bad:
	free(has_target);
	free_recipients(out, count);
	return -1;
}

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct expansion *expansion = arg;
	bool is_known = frame != NULL &&
			frame->message->alias_expanded.is_complete &&
			replace_recipients(expansion->message,
			    &frame->message->alias_expanded) == 0;

	finish(expansion, is_known);
}

static uint64_t
ask(struct expansion *expansion, struct channel *authd)
{
	const struct queue_message *message = expansion->message;
	struct ipc_list_writer writer;
	struct ipc_alias_expand question;
	uint64_t id = 0;

	ipc_list_writer_init(&writer, IPC_RECIPIENTS_MAX * 400);
	for (size_t i = 0; i < message->recipient_count; i++) {
		struct ipc_record_target target = {.index = (uint16_t)i,
		    .address = slice_of(message->recipients[i].address)};

		if (ipc_target_add(&writer, &target, NULL) == -1)
			goto out;
	}
	question.recipients = ipc_list_of(&writer);
	id = channel_request(authd, MSG_ALIAS_EXPAND, &question, NULL,
	    MSG_ALIAS_EXPANDED, ALIAS_DEADLINE_MS, on_answer, expansion);
out:
	ipc_list_writer_clear(&writer);
	return id;
}

void
queue_alias_expand(struct queued *queued, struct queue_message *message,
    queue_alias_done_fn *done, void *arg)
{
	struct expansion *expansion = xcalloc(1, sizeof(*expansion));
	struct channel *authd = link_channel(queued->authd);

	expansion->queued = queued;
	expansion->message = message;
	expansion->done = done;
	expansion->arg = arg;
	if (authd != NULL && ask(expansion, authd) != 0)
		return;
	expansion->failed =
	    (struct loop_task){.run = on_not_asked, .arg = expansion};
	loop_at_turn_end(queued->loop, &expansion->failed);
}
