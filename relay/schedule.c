/* SPDX-License-Identifier: ISC */
/*
 * The retry schedule and the queue's clock.
 * Runs in: postern-queued.  Trusts: settings, which were checked.
 */
#include "relay/schedule.h"

#define SECOND_MS 1000
#define DAY_MS (24 * 3600 * (int64_t)SECOND_MS)
/* Further than this the wall clock is not believed while we run. */
#define CLOCK_JUMP_MS (3600 * (int64_t)SECOND_MS)
/* What runs slower for a while loses this part of the time that passes. */
#define SLOW_PART 2

void
schedule_init(struct schedule *schedule, const struct settings *settings)
{
	struct slice list = slice_of(settings->queue_retry);
	struct slice word;
	uint64_t seconds;

	*schedule = (struct schedule){
	    .longest_ms = (int64_t)settings->queue_retry_max * SECOND_MS,
	    .lifetime_ms = (int64_t)settings->queue_lifetime * SECOND_MS,
	    .bounce_lifetime_ms =
		(int64_t)settings->queue_bounce_lifetime * SECOND_MS,
	    .warning_ms = (int64_t)settings->queue_delay_warning * SECOND_MS};
	while (schedule->step_count < SCHEDULE_STEPS_MAX &&
	       setting_list_next(&list, &word))
		if (setting_seconds(word, &seconds) == 0 && seconds > 0)
			schedule->steps_ms[schedule->step_count++] =
			    (int64_t)seconds * SECOND_MS;
	if (schedule->step_count == 0)
		schedule->steps_ms[schedule->step_count++] =
		    schedule->longest_ms;
}

int64_t
schedule_wait(const struct schedule *schedule, uint32_t attempts)
{
	int64_t wait_ms;

	if (attempts == 0)
		return 0;
	if (attempts <= schedule->step_count)
		return schedule->steps_ms[attempts - 1];
	wait_ms = schedule->steps_ms[schedule->step_count - 1];
	for (uint32_t i = schedule->step_count;
	     i < attempts && wait_ms < schedule->longest_ms; i++)
		wait_ms += wait_ms / 2;
	return wait_ms < schedule->longest_ms ? wait_ms : schedule->longest_ms;
}

int64_t
schedule_longest(const struct schedule *schedule)
{
	int64_t longest_ms = schedule->longest_ms;

	for (unsigned i = 0; i < schedule->step_count; i++)
		if (schedule->steps_ms[i] > longest_ms)
			longest_ms = schedule->steps_ms[i];
	return longest_ms;
}

int64_t
schedule_expiry(
    const struct schedule *schedule, bool is_bounce, int64_t created_ms)
{
	return created_ms + (is_bounce ? schedule->bounce_lifetime_ms
				       : schedule->lifetime_ms);
}

bool
schedule_is_expired(const struct schedule *schedule, bool is_bounce,
    int64_t created_ms, int64_t now_ms)
{
	return now_ms >= schedule_expiry(schedule, is_bounce, created_ms);
}

static bool
is_passed(int64_t moment_ms, int64_t last_ms, int64_t now_ms)
{
	return last_ms < moment_ms && moment_ms <= now_ms;
}

bool
schedule_is_warning_due(const struct schedule *schedule, bool is_bounce,
    int64_t created_ms, int64_t last_ms, int64_t now_ms)
{
	if (is_bounce || schedule->warning_ms == 0)
		return false;
	return is_passed(created_ms + schedule->warning_ms, last_ms, now_ms) ||
	       (schedule->warning_ms < DAY_MS &&
		   is_passed(created_ms + DAY_MS, last_ms, now_ms));
}

void
queue_clock_init(
    struct queue_clock *clock, int64_t wall_ms, int64_t monotonic_ms)
{
	clock->offset_ms = wall_ms - monotonic_ms;
	clock->compared_ms = monotonic_ms;
	clock->has_jumped = false;
}

int64_t
queue_clock_gap(int64_t seen_ms, int64_t wall_ms)
{
	int64_t gap_ms = wall_ms - seen_ms;

	if (seen_ms == 0 ||
	    (gap_ms <= CLOCK_JUMP_MS && gap_ms >= -CLOCK_JUMP_MS))
		return 0;
	return gap_ms;
}

int64_t
queue_clock_now(const struct queue_clock *clock, int64_t monotonic_ms)
{
	return monotonic_ms + clock->offset_ms;
}

bool
queue_clock_compare(
    struct queue_clock *clock, int64_t wall_ms, int64_t monotonic_ms)
{
	int64_t offset_ms = wall_ms - monotonic_ms;
	int64_t step_ms = offset_ms - clock->offset_ms;
	/* Set back, it would put off all that is due. */
	int64_t least_ms = (clock->compared_ms - monotonic_ms) / SLOW_PART;
	bool had_jumped = clock->has_jumped;

	clock->compared_ms = monotonic_ms;
	clock->has_jumped = step_ms > CLOCK_JUMP_MS || step_ms < -CLOCK_JUMP_MS;
	if (!clock->has_jumped)
		clock->offset_ms += step_ms > least_ms ? step_ms : least_ms;
	return clock->has_jumped != had_jumped;
}
