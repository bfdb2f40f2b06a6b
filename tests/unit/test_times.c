/* SPDX-License-Identifier: ISC */
/*
 * Times as people type them.
 */
#include "control/times.h"
#include "tests/unit/tap.h"

static const struct {
	const char *label;
	const char *text;
	int64_t want; /* -1: refused */
} rows[] = {
    {"a day", "2030-01-31", 1896048000},
    {"a time", "2030-01-31T12:34:56Z", 1896093296},
    {"the beginning", "1970-01-01", 0},
    {"a leap day", "2028-02-29", 1835395200},
    {"a leap day that is none", "2030-02-29", -1},
    {"a month that is none", "2030-13-01", -1},
    {"an hour that is none", "2030-01-01T25:00:00Z", -1},
    {"a second that is none", "2030-01-01T23:59:61Z", -1},
    {"another zone", "2030-01-31T12:34:56+01:00", -1},
    {"no time", "tomorrow", -1},
    {"nothing", "", -1},
};

int
main(void)
{
	char text[TIMES_TEXT_MAX];
	int64_t time;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const int rc = times_parse(slice_of(rows[i].text), &time);

		is_int(rc, rows[i].want == -1 ? -1 : 0, "%s", rows[i].label);
		if (rc == 0)
			is_int(
			    time, rows[i].want, "%s: its value", rows[i].label);
	}
	ok(times_parse_from(slice_of("2h"), 1000, 1, &time) == 0 &&
		time == 8200,
	    "a span ahead");
	ok(times_parse_from(slice_of("1d"), 100000, -1, &time) == 0 &&
		time == 13600,
	    "a span ago");
	ok(times_parse_from(slice_of("9999999999d"), 0, 1, &time) == -1,
	    "a span of ages is refused");
	is_str(times_format(1896093296, text), "2030-01-31T12:34:56Z",
	    "a time is written as it is read");
	return tap_done();
}
