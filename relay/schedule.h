/* SPDX-License-Identifier: ISC */
/*
 * When a recipient is tried again, warned about and given up.  Pure: the
 * times are arguments, in milliseconds of the queue's own clock.
 */
#ifndef RELAY_SCHEDULE_H
#define RELAY_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/settings.h"

#define SCHEDULE_STEPS_MAX 32

struct schedule {
	int64_t steps_ms[SCHEDULE_STEPS_MAX];
	unsigned step_count; /* at least 1 */
	int64_t longest_ms;
	int64_t lifetime_ms;
	int64_t bounce_lifetime_ms;
	int64_t warning_ms; /* 0: never */
};

void schedule_init(struct schedule *schedule, const struct settings *settings);

/* The wait after that many attempts (>= 1). */
int64_t schedule_wait(const struct schedule *schedule, uint32_t attempts);

/* No wait is longer. */
int64_t schedule_longest(const struct schedule *schedule);

/* Is it time to give up?  After an attempt at now_ms that was put off. */
bool schedule_is_expired(const struct schedule *schedule, bool is_bounce,
    int64_t created_ms, int64_t now_ms);

/* When the message will be given up. */
int64_t schedule_expiry(
    const struct schedule *schedule, bool is_bounce, int64_t created_ms);

/*
 * Is a delay warning due for a recipient that was put off now, and before at
 * last_ms (0: never)?  The first after warning_ms, one more a day after the
 * arrival; none for bounces.
 */
bool schedule_is_warning_due(const struct schedule *schedule, bool is_bounce,
    int64_t created_ms, int64_t last_ms, int64_t now_ms);

/*
 * The queue's own clock: the wall clock at start, moved by the monotonic one.
 * Small corrections of the wall clock are followed, but never backwards: until
 * it has met a clock that was set back ours only runs slower, so that nothing
 * waits for long.  A jump of more than an hour is not followed, so that mail is
 * never bounced by mass for a bad clock (T103).
 */
struct queue_clock {
	int64_t offset_ms;   /* queue time minus monotonic time */
	int64_t compared_ms; /* monotonic */
	bool has_jumped;
};

void queue_clock_init(
    struct queue_clock *clock, int64_t wall_ms, int64_t monotonic_ms);
int64_t queue_clock_now(const struct queue_clock *clock, int64_t monotonic_ms);

/*
 * How far the wall clock at a start is from the time that the queue saw last
 * (0: never), or 0 when that is no more than an hour.  Was it the clock that
 * jumped, or was the queue not there?  Nobody can tell, and it is the same to
 * mail: it could not be tried in that time, so it is not older by it.
 */
int64_t queue_clock_gap(int64_t seen_ms, int64_t wall_ms);

/* To be called now and then; true when has_jumped changed. */
bool queue_clock_compare(
    struct queue_clock *clock, int64_t wall_ms, int64_t monotonic_ms);

#endif
