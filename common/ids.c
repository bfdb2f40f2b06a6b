/* SPDX-License-Identifier: ISC */
/*
 * Ids that rise with time and need no coordination.
 * Runs in: every program.  Trusts: the caller that slots are not shared.
 */
#include <string.h>

#include "common/err.h"
#include "common/ids.h"

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

void
id_maker_init(struct id_maker *maker, uint32_t slot)
{
	if (slot >= ID_SLOTS)
		bug("id slot %u", slot);
	*maker = (struct id_maker){.slot = slot};
}

uint64_t
id_next(struct id_maker *maker, uint64_t now_ms)
{
	const uint64_t tick = (uint64_t)1 << (ID_SLOT_BITS + ID_COUNTER_BITS);
	const uint64_t counter_mask = ((uint64_t)1 << ID_COUNTER_BITS) - 1;
	uint64_t id = now_ms * tick | (uint64_t)maker->slot << ID_COUNTER_BITS;

	if (id <= maker->last) {
		/* Same or earlier millisecond: count on, then borrow time. */
		if ((maker->last & counter_mask) != counter_mask)
			id = maker->last + 1;
		else
			id = (maker->last - counter_mask) + tick;
	}
	maker->last = id;
	return id;
}

uint32_t
id_slot(uint64_t id)
{
	return (uint32_t)(id >> ID_COUNTER_BITS) & (ID_SLOTS - 1);
}

uint64_t
id_time_ms(uint64_t id)
{
	return id >> (ID_SLOT_BITS + ID_COUNTER_BITS);
}

void
id_format(uint64_t id, char text_r[ID_TEXT_SIZE])
{
	for (int i = ID_TEXT_LENGTH - 1; i >= 0; i--) {
		text_r[i] = alphabet[id & 31];
		id >>= 5;
	}
	text_r[ID_TEXT_LENGTH] = '\0';
}

int
id_parse(struct slice s, uint64_t *id_r)
{
	uint64_t id = 0;

	if (s.n != ID_TEXT_LENGTH)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		const char *at;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c == '\0' || (at = strchr(alphabet, c)) == NULL)
			return -1;
		if (id >> 59 != 0)
			return -1;
		id = id << 5 | (uint64_t)(at - alphabet);
	}
	*id_r = id;
	return 0;
}
