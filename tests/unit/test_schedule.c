/* SPDX-License-Identifier: ISC */
/*
 * When mail is tried again, warned about and given up; and a clock that does
 * not jump.
 */
#include <stdlib.h>

#include "common/err.h"
#include "relay/schedule.h"
#include "tests/unit/tap.h"

#define MINUTE ((int64_t)60 * 1000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static void
set_text(char **member, const char *text)
{
	free(*member);
	*member = xstrdup(text);
}

static void
test_waits(void)
{
	struct settings settings;
	struct schedule schedule;
	uint32_t attempts = 1;

	settings_init(&settings);
	set_text(&settings.queue_retry, "5m 10m 1h");
	settings.queue_retry_max = 4 * 3600;
	schedule_init(&schedule, &settings);
	is_int(schedule_wait(&schedule, 0), 0, "before an attempt: no wait");
	is_int(schedule_wait(&schedule, 1), 5 * MINUTE, "the first step");
	is_int(schedule_wait(&schedule, 2), 10 * MINUTE, "the second");
	is_int(schedule_wait(&schedule, 3), HOUR, "the last of the list");
	is_int(schedule_wait(&schedule, 4), 90 * MINUTE, "then half more");
	is_int(schedule_wait(&schedule, 5), 135 * MINUTE, "each time");
	is_int(schedule_wait(&schedule, 50), 4 * HOUR, "up to the longest");
	is_int(schedule_wait(&schedule, UINT32_MAX), 4 * HOUR,
	    "with any number of attempts");
	while (attempts < 40 && schedule_wait(&schedule, attempts + 1) >=
				    schedule_wait(&schedule, attempts))
		attempts++;
	is_int(attempts, 40, "it never gets shorter");
	set_text(&settings.queue_retry, "");
	schedule_init(&schedule, &settings);
	is_int(schedule_wait(&schedule, 1), 4 * HOUR,
	    "an empty list is the longest wait");
	settings_clear(&settings);
}

static void
test_ends(void)
{
	struct settings settings;
	struct schedule schedule;
	const int64_t born = 1000 * DAY;

	settings_init(&settings);
	settings.queue_lifetime = 4 * 86400;
	settings.queue_bounce_lifetime = 86400;
	settings.queue_delay_warning = 4 * 3600;
	schedule_init(&schedule, &settings);
	ok(!schedule_is_expired(&schedule, false, born, born + 4 * DAY - 1),
	    "a message lives its lifetime");
	ok(schedule_is_expired(&schedule, false, born, born + 4 * DAY),
	    "and no longer");
	ok(schedule_is_expired(&schedule, true, born, born + DAY),
	    "a bounce less long");
	is_int(schedule_expiry(&schedule, false, born), born + 4 * DAY,
	    "which can be told ahead");
	ok(!schedule_is_warning_due(
	       &schedule, false, born, 0, born + 4 * HOUR - 1),
	    "no early warning");
	ok(schedule_is_warning_due(
	       &schedule, false, born, born + 3 * HOUR, born + 4 * HOUR),
	    "the first after the delay");
	ok(schedule_is_warning_due(&schedule, false, born, 0, born + 5 * HOUR),
	    "also with the first attempt of all");
	ok(!schedule_is_warning_due(
	       &schedule, false, born, born + 4 * HOUR, born + DAY - 1),
	    "not again at once");
	ok(schedule_is_warning_due(
	       &schedule, false, born, born + 20 * HOUR, born + DAY),
	    "the second after a day");
	ok(!schedule_is_warning_due(
	       &schedule, false, born, born + DAY, born + 3 * DAY),
	    "and no third");
	ok(!schedule_is_warning_due(&schedule, true, born, 0, born + 3 * DAY),
	    "none for a bounce");
	settings.queue_delay_warning = 0;
	schedule_init(&schedule, &settings);
	ok(!schedule_is_warning_due(&schedule, false, born, 0, born + 3 * DAY),
	    "none when they are off");
	settings_clear(&settings);
}

static void
test_clock(void)
{
	struct queue_clock clock;

	queue_clock_init(&clock, 100 * DAY, 500);
	is_int(queue_clock_now(&clock, 1500), 100 * DAY + 1000,
	    "the clock runs by the monotonic one");
	ok(!queue_clock_compare(&clock, 100 * DAY + 3000, 1500),
	    "a small step is no event");
	is_int(
	    queue_clock_now(&clock, 1500), 100 * DAY + 3000, "and is followed");
	ok(queue_clock_compare(&clock, 3750 * DAY, 2500),
	    "ten years ahead are one");
	ok(clock.has_jumped, "which is noted");
	is_int(queue_clock_now(&clock, 2500), 100 * DAY + 4000,
	    "and not followed: no mail gets old by it");
	ok(!queue_clock_compare(&clock, 3750 * DAY + 1000, 3500),
	    "it is told once");
	ok(queue_clock_compare(&clock, 100 * DAY + 6000, 4500),
	    "and once when it is over");
	ok(!clock.has_jumped, "then all is well");
	ok(queue_clock_compare(&clock, 50 * DAY, 5500), "back is a jump too");
	is_int(queue_clock_now(&clock, 5500), 100 * DAY + 7000,
	    "and not followed either");
}

static void
test_clock_set_back(void)
{
	const int64_t begin = 100 * DAY;
	struct queue_clock clock;

	queue_clock_init(&clock, begin, 0);
	ok(!queue_clock_compare(&clock, begin - HOUR / 2 + 1000, 1000),
	    "half an hour back is no event");
	is_int(queue_clock_now(&clock, 1000), begin + 500,
	    "ours goes on, but slower");
	(void)queue_clock_compare(&clock, begin - HOUR / 2 + 5000, 5000);
	is_int(queue_clock_now(&clock, 5000), begin + 2500, "as long as it is");
	(void)queue_clock_compare(&clock, begin + 6000, 6000);
	is_int(queue_clock_now(&clock, 6000), begin + 6000,
	    "set right, it is right at once");
	(void)queue_clock_compare(&clock, begin + 9900, 10000);
	is_int(queue_clock_now(&clock, 10000), begin + 9900,
	    "a tenth of a second is met at once");
}

static void
test_gap(void)
{
	is_int(queue_clock_gap(0, 100 * DAY), 0, "a first start has no gap");
	is_int(
	    queue_clock_gap(100 * DAY, 100 * DAY + HOUR), 0, "an hour is none");
	is_int(queue_clock_gap(100 * DAY, 103 * DAY), 3 * DAY,
	    "three days are one, whoever was away");
	is_int(queue_clock_gap(3750 * DAY, 100 * DAY), -3650 * DAY,
	    "and a clock that was set right");
}

int
main(void)
{
	test_waits();
	test_ends();
	test_clock();
	test_clock_set_back();
	test_gap();
	return tap_done();
}
