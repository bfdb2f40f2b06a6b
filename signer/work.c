/* SPDX-License-Identifier: ISC */
/*
 * What crypto modules use to answer a task.
 * Runs in: postern-signerd's workers.  Trusts: nothing; texts may come from a
 * mail, so they are made printable and cut.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/printable.h"
#include "signer/work.h"

/* More octets of facts than the rows' limits allow in all. */
#define FACTS_MAX (128u * 1024)
/* So many of keys: 16 of the largest. */
#define HARVESTED_MAX (16u * (IPC_KEY_MAX + 1024))

void
work_answer_init(
    struct work_answer *answer, int output_fd, uint64_t output_limit)
{
	memset(answer, 0, sizeof(*answer));
	answer->outcome = SIGNED_TEMPORARY;
	(void)snprintf(answer->enhanced, sizeof(answer->enhanced), "4.3.0");
	ipc_list_writer_init(&answer->facts, FACTS_MAX);
	ipc_list_writer_init(&answer->harvested, HARVESTED_MAX);
	content_writer_init(&answer->output, output_fd, output_limit);
}

void
work_answer_clear(struct work_answer *answer)
{
	ipc_list_writer_clear(&answer->facts);
	ipc_list_writer_clear(&answer->harvested);
	content_writer_clear(&answer->output);
}

void
work_refuse(struct work_answer *answer, enum sign_outcome outcome,
    const char *enhanced, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	answer->outcome = outcome;
	answer->applied = 0;
	(void)snprintf(
	    answer->enhanced, sizeof(answer->enhanced), "%s", enhanced);
	(void)printable(slice_of(text), answer->reason, sizeof(answer->reason));
}

void
work_note(struct work_answer *answer, const char *format, ...)
{
	size_t used = strlen(answer->method);
	char text[512];
	char clean[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	(void)printable(slice_of(text), clean, sizeof(clean));
	/* What does not fit is not for the log. */
	if (used + 1 + strlen(clean) < sizeof(answer->method)) {
		if (used > 0)
			answer->method[used++] = ' ';
		memcpy(answer->method + used, clean, strlen(clean) + 1);
	}
}

struct slice
work_fact(const struct work *work, const char *name)
{
	struct ipc_list facts = work->facts;
	struct ipc_record_fact fact;

	while (ipc_fact_next(&facts, &fact))
		if (slice_equals(fact.name, slice_of(name)))
			return fact.value;
	return (struct slice){NULL, 0};
}

void
work_answer_fact(
    struct work_answer *answer, const char *name, const char *format, ...)
{
	struct ipc_record_fact fact = {.name = slice_of(name)};
	char text[1024];
	char clean[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	(void)printable(slice_of(text), clean, sizeof(clean));
	fact.value = slice_of(clean);
	(void)ipc_fact_add(&answer->facts, &fact, NULL);
}
