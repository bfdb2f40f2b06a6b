/* SPDX-License-Identifier: ISC */
/*
 * Shares of recipients.
 * Runs in: postern-queued.  Trusts: its callers.
 */
#include <stdlib.h>

#include "common/err.h"
#include "relay/queue_sign_share.h"

static size_t
outputs_most(const struct queue_message *message)
{
	const uint64_t octets =
	    message->is_file ? SIGN_SHARE_FILE_OCTETS : SIGN_SHARE_OCTETS;
	const uint64_t most =
	    message->size > 0 ? octets / message->size : SIGN_SHARE_OUTPUTS;

	if (most > SIGN_SHARE_OUTPUTS)
		return SIGN_SHARE_OUTPUTS;
	return most > 0 ? (size_t)most : 1;
}

/*
 * May he need an output that nobody shares?  What is encrypted is, for each
 * by himself; what is opened is with his own keys.
 */
static bool
is_apart(const struct queue_message *message, uint32_t number)
{
	const struct queue_protection *protection = message->protection;
	const struct queue_demand *demand =
	    queue_protection_demand(protection, number);

	return protection->direction == DIRECTION_IN ||
	       (demand != NULL && demand->encrypt != ENCRYPT_NEVER);
}

/* The place of that number or the first one behind it; else the first. */
static size_t
place_of(const uint32_t *numbers, size_t count, uint32_t number)
{
	for (size_t i = 0; i < count; i++)
		if (numbers[i] >= number)
			return i;
	return 0;
}

static int
compare_numbers(const void *a, const void *b)
{
	const uint32_t *left = a;
	const uint32_t *right = b;

	return *left < *right ? -1 : *left > *right;
}

bool
sign_share_take(const struct queue_message *message, const uint32_t *numbers,
    size_t count, struct sign_share *share_r)
{
	const size_t most = outputs_most(message);
	const size_t start =
	    place_of(numbers, count, message->protection->asked_next);
	size_t apart = 0;

	*share_r = (struct sign_share){
	    .numbers = xcalloc(count + 1, sizeof(*share_r->numbers))};
	for (size_t i = 0; i < count; i++) {
		const uint32_t number = numbers[(start + i) % count];

		if (is_apart(message, number)) {
			if (apart == most)
				continue;
			apart++;
			share_r->next = number + 1;
		}
		share_r->numbers[share_r->count++] = number;
	}
	share_r->outputs = apart > 1 ? apart : 1;
	qsort(share_r->numbers, share_r->count, sizeof(*share_r->numbers),
	    compare_numbers);
	return share_r->count == count;
}

void
sign_share_clear(struct sign_share *share)
{
	free(share->numbers);
	*share = (struct sign_share){0};
}
