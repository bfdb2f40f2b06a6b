/* SPDX-License-Identifier: ISC */
/*
 * Message and session ids: 64 bits, rising with time, unique without asking
 * anybody (DESIGN §5).  From the top: 44 bits of milliseconds since 1970, 8
 * bits of the maker's slot, 12 bits of a counter.
 */
#ifndef COMMON_IDS_H
#define COMMON_IDS_H

#include <stdint.h>

#include "common/buf.h"

#define ID_SLOT_BITS 8
#define ID_COUNTER_BITS 12
#define ID_SLOTS (1u << ID_SLOT_BITS)

/* 13 base-32 characters: digits and lower case without i, l, o and u. */
#define ID_TEXT_LENGTH 13
#define ID_TEXT_SIZE (ID_TEXT_LENGTH + 1)

struct id_maker {
	uint32_t slot; /* no two makers at work share one */
	uint64_t last;
};

void id_maker_init(struct id_maker *maker, uint32_t slot);

/*
 * The next id, greater than every earlier one of this maker, also when now_ms
 * stands still or jumps back.
 */
uint64_t id_next(struct id_maker *maker, uint64_t now_ms);

uint32_t id_slot(uint64_t id);
uint64_t id_time_ms(uint64_t id);

void id_format(uint64_t id, char text_r[ID_TEXT_SIZE]);

/* -1 unless s is exactly 13 such characters (either case) within 64 bits. */
int id_parse(struct slice s, uint64_t *id_r);

#endif
