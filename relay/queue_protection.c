/* SPDX-License-Identifier: ISC */
/*
 * What is demanded of a message, and what was done.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "relay/queue_protection.h"
#include "relay/queue_sql.h"

struct queue_protection *
queue_protection_new(size_t demand_count)
{
	struct queue_protection *protection = xcalloc(1, sizeof(*protection));

	protection->demand_count = demand_count;
	protection->demands =
	    xcalloc(demand_count + 1, sizeof(*protection->demands));
	return protection;
}

void
queue_outputs_free(struct queue_output *outputs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(outputs[i].content);
	free(outputs);
}

void
queue_protection_free(struct queue_protection *protection)
{
	if (protection == NULL)
		return;
	queue_outputs_free(protection->outputs, protection->output_count);
	free(protection->demands);
	free(protection->header_from);
	free(protection->removals);
	free(protection);
}

struct queue_demand *
queue_protection_demand(
    const struct queue_protection *protection, uint32_t number)
{
	/* In their order, and nearly always without gaps. */
	if (number < protection->demand_count &&
	    protection->demands[number].number == number)
		return &protection->demands[number];
	for (size_t i = 0; i < protection->demand_count; i++)
		if (protection->demands[i].number == number)
			return &protection->demands[i];
	return NULL;
}

struct queue_output *
queue_protection_output(
    const struct queue_protection *protection, uint16_t number)
{
	if (number > 0 && number <= protection->output_count &&
	    protection->outputs[number - 1].number == number)
		return &protection->outputs[number - 1];
	for (size_t i = 0; i < protection->output_count; i++)
		if (protection->outputs[i].number == number)
			return &protection->outputs[i];
	return NULL;
}

void
queue_protection_add_outputs(struct queue_protection *protection,
    struct queue_output *outputs, size_t count)
{
	const size_t before = protection->output_count;

	protection->outputs = xrealloc(protection->outputs,
	    (before + count + 1) * sizeof(*protection->outputs));
	for (size_t i = 0; i < count; i++) {
		protection->outputs[before + i] = outputs[i];
		outputs[i].content = NULL;
	}
	protection->output_count = before + count;
}

uint16_t
queue_protection_last_output(const struct queue_protection *protection)
{
	uint16_t last = 0;

	for (size_t i = 0; i < protection->output_count; i++)
		if (protection->outputs[i].number > last)
			last = protection->outputs[i].number;
	return last;
}

void
queue_protection_wait(struct queue_protection *protection)
{
	for (size_t i = 0; i < protection->demand_count; i++)
		protection->demands[i].waits = DEMAND_WAITS;
}

bool
queue_protection_is_all_or_none(const struct queue_protection *protection)
{
	for (size_t i = 0; i < protection->demand_count; i++)
		if (protection->demands[i].encrypt == ENCRYPT_REQUIRED_ALL)
			return true;
	return false;
}

size_t
queue_protection_memory(const struct queue_protection *protection)
{
	size_t octets = sizeof(*protection) +
			protection->demand_count * sizeof(struct queue_demand);

	for (size_t i = 0; i < protection->output_count; i++)
		if (protection->outputs[i].content != NULL)
			octets += (size_t)protection->outputs[i].size;
	return octets;
}

bool
queue_demand_is_met(const struct queue_protection *protection,
    const struct queue_demand *demand, unsigned applied)
{
	if (protection->dkim == DKIM_REQUIRED && (applied & APPLIED_DKIM) == 0)
		return false;
	if ((applied & QUEUE_WAIVED) != 0 &&
	    (demand->options & PROTECT_CALENDAR_PLAIN) != 0)
		return true;
	if (demand->sign == SIGN_REQUIRED && (applied & APPLIED_SIGNED) == 0)
		return false;
	return demand->encrypt < ENCRYPT_REQUIRED ||
	       (applied & APPLIED_ENCRYPTED) != 0;
}

bool
queue_demand_is_strict(const struct queue_protection *protection,
    const struct queue_demand *demand)
{
	return protection->dkim == DKIM_REQUIRED ||
	       demand->sign == SIGN_REQUIRED ||
	       demand->encrypt >= ENCRYPT_REQUIRED;
}

bool
queue_protection_hides(const struct queue_protection *protection)
{
	for (size_t i = 0; i < protection->demand_count; i++) {
		const struct queue_demand *demand = &protection->demands[i];

		if (demand->encrypt >= ENCRYPT_REQUIRED ||
		    (demand->applied & APPLIED_ENCRYPTED) != 0)
			return true;
		/* Not sent yet, and it would have been encrypted, maybe. */
		if (demand->encrypt == ENCRYPT_IF_POSSIBLE &&
		    demand->applied == 0)
			return true;
	}
	return false;
}

/* ---- removals ---- */

/* Far above 32 of them. */
#define REMOVALS_MAX 65536

void
queue_removals_list(const char *removals, struct ipc_list_writer *facts_r)
{
	struct slice rest = slice_of(removals);

	ipc_list_writer_init(facts_r, REMOVALS_MAX);
	while (rest.n > 0) {
		const size_t end = slice_find(rest, '\n', 0);
		const struct slice line = {rest.p, end};
		const size_t space = slice_find(line, ' ', 0);
		struct ipc_record_fact fact = {.name = {line.p, space}};

		if (space < line.n)
			fact.value = (struct slice){
			    line.p + space + 1, line.n - space - 1};
		(void)ipc_fact_add(facts_r, &fact, NULL);
		rest.p += end < rest.n ? end + 1 : end;
		rest.n -= end < rest.n ? end + 1 : end;
	}
}

char *
queue_removals_text(struct ipc_list facts)
{
	struct ipc_record_fact fact;
	struct buf text;
	char *copy;

	buf_init(&text, REMOVALS_MAX);
	while (ipc_fact_next(&facts, &fact))
		(void)buf_addf(&text, "%.*s %.*s\n", SLICE_ARG(fact.name),
		    SLICE_ARG(fact.value));
	copy = xstrdup(buf_text(&text));
	buf_clear(&text);
	return copy;
}

void
queue_applied_text(unsigned applied, struct buf *text_r)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {{APPLIED_SIGNED, "signed"},
	    {APPLIED_ENCRYPTED, "encrypted"}, {APPLIED_DKIM, "dkim"},
	    {APPLIED_DECRYPTED, "decrypted"}, {APPLIED_VERIFIED, "verified"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if ((applied & words[i].bit) != 0)
			(void)buf_addf(text_r, "%s%s", text_r->n > 0 ? " " : "",
			    words[i].word);
}
