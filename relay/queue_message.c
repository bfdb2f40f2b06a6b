/* SPDX-License-Identifier: ISC */
/*
 * Messages in memory.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "relay/queue_message.h"

struct queue_message *
queue_message_new(uint64_t id, size_t recipient_count)
{
	struct queue_message *message = xcalloc(1, sizeof(*message));

	message->id = id;
	message->references = 1;
	message->recipient_count = recipient_count;
	message->recipients =
	    xcalloc(recipient_count, sizeof(*message->recipients));
	return message;
}

static void
free_recipient(struct queue_recipient *recipient)
{
	free(recipient->address);
	free(recipient->domain);
	free(recipient->original);
	free(recipient->orcpt);
	free(recipient->last_enhanced);
	free(recipient->last_reply);
	free(recipient->last_host);
}

void
queue_message_unref(struct queue_message *message)
{
	if (message == NULL || --message->references > 0)
		return;
	for (size_t i = 0; i < message->recipient_count; i++)
		free_recipient(&message->recipients[i]);
	if (message->budget != NULL)
		*message->budget -= message->charged;
	free(message->recipients);
	free(message->sender);
	free(message->account);
	free(message->client);
	free(message->envid);
	free(message->header_message_id);
	free(message->content);
	free(message->start);
	queue_protection_free(message->protection);
	free(message);
}

const struct queue_output *
queue_message_output(const struct queue_message *message,
    const struct queue_recipient *recipient)
{
	if (recipient->output == 0 || message->protection == NULL)
		return NULL;
	return queue_protection_output(message->protection, recipient->output);
}

void
queue_message_wait(struct queue_message *message)
{
	message->flags |= MSG_FLAG_WAIT_SIGN;
	queue_protection_wait(message->protection);
}

bool
queue_message_waits(const struct queue_message *message,
    const struct queue_recipient *recipient)
{
	const struct queue_demand *demand;

	if (message->protection == NULL)
		return false;
	demand =
	    queue_protection_demand(message->protection, recipient->number);
	return demand != NULL && demand->waits != DEMAND_MET;
}

void
queue_attempt_free(struct queue_attempt *attempt)
{
	if (attempt == NULL)
		return;
	queue_outputs_free(attempt->outputs, attempt->output_count);
	free(attempt->served);
	free(attempt);
}

/* The flag says whether anybody does. */
static void
look_who_waits(struct queue_message *message)
{
	bool waits = false;

	for (size_t i = 0; i < message->recipient_count && !waits; i++)
		waits = message->recipients[i].next_ms != QUEUE_NEVER &&
			queue_message_waits(message, &message->recipients[i]);
	if (waits)
		message->flags |= MSG_FLAG_WAIT_SIGN;
	else
		message->flags &= (uint16_t)~MSG_FLAG_WAIT_SIGN;
}

void
queue_message_apply(
    struct queue_message *message, struct queue_attempt *attempt)
{
	queue_protection_add_outputs(
	    message->protection, attempt->outputs, attempt->output_count);
	for (size_t i = 0; i < attempt->served_count; i++) {
		const struct queue_served *served = &attempt->served[i];
		struct queue_demand *demand = queue_protection_demand(
		    message->protection, served->number);
		struct queue_recipient *recipient =
		    queue_message_recipient(message, served->number);

		if (demand == NULL || recipient == NULL)
			bug("the signer served no recipient");
		demand->applied = served->applied;
		demand->waits = served->waits;
		recipient->output = served->output;
		recipient->state = served->state;
		recipient->next_ms = served->next_ms;
	}
	look_who_waits(message);
	if (message->budget != NULL)
		queue_message_charge(message, message->budget);
}

struct queue_recipient *
queue_message_recipient(struct queue_message *message, uint32_t number)
{
	/* In their order, and mostly without gaps. */
	if (number < message->recipient_count &&
	    message->recipients[number].number == number)
		return &message->recipients[number];
	for (size_t i = 0; i < message->recipient_count; i++)
		if (message->recipients[i].number == number)
			return &message->recipients[i];
	return NULL;
}

/* A recipient's strings, by experience. */
#define RECIPIENT_MEMORY 256

void
queue_message_charge(struct queue_message *message, size_t *budget)
{
	size_t cost = sizeof(*message) + 2 * RECIPIENT_MEMORY +
		      message->recipient_count *
			  (sizeof(*message->recipients) + RECIPIENT_MEMORY) +
		      (message->content != NULL ? message->size : 0) +
		      message->start_n;

	if (message->protection != NULL)
		cost += queue_protection_memory(message->protection);

	*budget += cost - message->charged;
	message->budget = budget;
	message->charged = cost;
}

void
queue_message_drop_content(struct queue_message *message)
{
	struct queue_protection *protection = message->protection;

	free(message->content);
	message->content = NULL;
	for (size_t i = 0; protection != NULL && i < protection->output_count;
	     i++) {
		free(protection->outputs[i].content);
		protection->outputs[i].content = NULL;
	}
	if (message->budget != NULL)
		queue_message_charge(message, message->budget);
}
