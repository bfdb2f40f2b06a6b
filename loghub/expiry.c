/* SPDX-License-Identifier: ISC */
/*
 * Which segments are too old.
 * Runs in: postern-loghub.  Trusts: the names of segments for their order;
 * neither their dates nor the clock alone for their age.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "common/err.h"
#include "loghub/expiry.h"

struct days {
	int32_t *values;
	size_t count;
};

static bool
has(const struct days *days, int32_t day)
{
	/* Neighbours mostly share it, and the newest came last. */
	for (size_t i = days->count; i > 0; i--)
		if (days->values[i - 1] == day)
			return true;
	return false;
}

/*
 * The day before the one that is written, where it may not have ended: the
 * calendar does not go on from it.  Else the one that is written.
 */
static int32_t
open_day(const struct segment_list *list)
{
	const int32_t current = list->names[list->count - 1].day;

	for (size_t i = list->count - 1; i > 0; i--) {
		const int32_t day = list->names[i - 1].day;

		if (day != current)
			return day == current - 1 ? current : day;
	}
	return current;
}

/* How many at the begin of the list have so many other days after them. */
static size_t
followed(const struct segment_list *list, unsigned wanted)
{
	const int32_t current = list->names[list->count - 1].day;
	const int32_t unended = open_day(list);
	struct days days = {.values = xcalloc(wanted, sizeof(int32_t))};
	size_t i = list->count;

	while (i > 0) {
		const int32_t day = list->names[i - 1].day;

		if (day != current && day != unended && !has(&days, day)) {
			if (days.count == wanted)
				break;
			days.values[days.count++] = day;
		}
		i--;
	}
	free(days.values);
	return i;
}

const struct segment_name *
expiry_last(const struct segment_list *list, unsigned days, int32_t today)
{
	const struct segment_name *last = NULL;
	size_t count = list->count > 1 ? followed(list, days) : 0;

	for (size_t i = 0; i < count; i++) {
		if (list->names[i].day > today)
			continue;
		if (list->names[i].day >= today - (int32_t)days)
			break;
		last = &list->names[i];
	}
	return last;
}
