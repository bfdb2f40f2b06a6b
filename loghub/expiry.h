/* SPDX-License-Identifier: ISC */
/*
 * Which segments are too old, so that no clock decides it alone.
 */
#ifndef LOGHUB_EXPIRY_H
#define LOGHUB_EXPIRY_H

#include "loghub/segment_file.h"

/*
 * The last segment of those at the begin that may all go, or NULL.  Both the
 * calendar and the log itself must say so: it is dated more than `days` days
 * before `today`, and segments of `days` other days that have ended follow it.
 * So a clock that is wrong for less than a day takes nothing, and one that
 * stays wrong takes a day of the log each day, as ever.  Nor does a date after
 * today keep anything: such a segment has the date of the next one.
 * list: all segments; the last is the one that is written, and stays.
 */
const struct segment_name *expiry_last(
    const struct segment_list *list, unsigned days, int32_t today);

#endif
