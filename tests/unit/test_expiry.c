/* SPDX-License-Identifier: ISC */
/*
 * Which segments of the log are too old, also after a clock was wrong.
 */
#include "loghub/expiry.h"
#include "tests/unit/tap.h"

#define SEGMENTS_MAX 32
#define END INT32_MIN
/* 2026-11-22, and the same day of 2039. */
#define TODAY 20779
#define AHEAD (TODAY + 13 * 365)

static const struct {
	const char *what;
	unsigned keep;
	int32_t today;
	uint32_t expected;          /* the last that goes; 0: none */
	int32_t days[SEGMENTS_MAX]; /* of the segments, counted from TODAY */
} rows[] = {
    {"an empty log has nothing to lose", 1, TODAY, 0, {END}},
    {"nor has one of today", 1, TODAY, 0, {0, END}},
    {"a day is kept as long as it is to be", 3, TODAY, 0, {-3, -2, -1, 0, END}},
    {"and goes a day later", 3, TODAY, 1, {-4, -3, -2, -1, 0, END}},
    {"with all of its segments", 3, TODAY, 3, {-4, -4, -4, -3, -2, -1, 0, END}},
    {"several days at once where fewer are to be kept", 1, TODAY, 3,
	{-4, -3, -2, -1, 0, END}},
    {"what followed is counted in days, not segments", 3, TODAY, 0,
	{-9, -1, -1, -1, -1, 0, 0, 0, END}},
    {"days without events keep what came before them", 3, TODAY, 1,
	{-200, -100, -50, -1, 0, END}},
    {"after such days the last one may not have ended", 3, TODAY, 0,
	{-200, -100, -50, -20, 0, END}},
    {"the segment that is written stays", 1, TODAY, 0, {-9, END}},
    {"a clock far ahead takes nothing", 3, AHEAD, 0,
	{-3, -2, -1, 0, AHEAD - TODAY, END}},
    {"not before it wrote anything either", 3, AHEAD, 0, {-3, -2, -1, 0, END}},
    {"when it is right again nothing goes for it", 3, TODAY, 0,
	{-3, -2, -1, 0, AHEAD - TODAY, 0, END}},
    {"nor when that happened often", 3, TODAY, 0,
	{-3, -2, -1, AHEAD - TODAY, 0, AHEAD - TODAY, 0, AHEAD - TODAY, 0,
	    END}},
    {"what it dated ahead goes in its turn", 3, TODAY + 4, 6,
	{-3, -2, -1, 0, AHEAD - TODAY, 0, 1, 2, 3, 4, END}},
    {"and not before", 3, TODAY + 3, 3,
	{-3, -2, -1, 0, AHEAD - TODAY, 0, 1, 2, 3, END}},
    {"also where it comes first", 3, TODAY, 2,
	{AHEAD - TODAY, -4, -3, -2, -1, 0, END}},
    {"and stays there as long as what follows it", 3, TODAY, 0,
	{AHEAD - TODAY, -3, -2, -1, 0, END}},
    {"a clock at 1970 takes nothing", 3, 0, 0, {-3, -2, -1, 0, -TODAY, END}},
    {"nor when it is right again", 3, TODAY, 0,
	{-3, -2, -1, 0, -TODAY, 0, END}},
    {"what it dated back goes in its turn", 3, TODAY + 4, 6,
	{-3, -2, -1, 0, -TODAY, 0, 1, 2, 3, 4, END}},
    {"a clock that is really years on counts its days", 3, AHEAD + 3, 2,
	{-1, 0, AHEAD - TODAY, AHEAD - TODAY + 1, AHEAD - TODAY + 2,
	    AHEAD - TODAY + 3, END}},
};

int
main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct segment_name names[SEGMENTS_MAX];
		struct segment_list list = {.names = names};
		const struct segment_name *last;

		while (rows[i].days[list.count] != END) {
			struct segment_name *name = &names[list.count];

			name->day = TODAY + rows[i].days[list.count];
			name->number = (uint32_t)++list.count;
		}
		last = expiry_last(&list, rows[i].keep, rows[i].today);
		is_u64(last == NULL ? 0 : last->number, rows[i].expected, "%s",
		    rows[i].what);
	}
	return tap_done();
}
