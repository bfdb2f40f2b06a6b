/* SPDX-License-Identifier: ISC */
/*
 * Times in ISO 8601, UTC.
 * Runs in: postern-confd, postern.  Trusts: nothing of the text.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/settings.h"
#include "control/times.h"

static int
digits(struct slice text, size_t at, size_t count, int *value_r)
{
	uint64_t value;

	if (at + count > text.n ||
	    slice_to_u64((struct slice){text.p + at, count}, &value) == -1)
		return -1;
	*value_r = (int)value;
	return 0;
}

/* Does the text have the shape, where 9 stands for any digit? */
static bool
has_shape(struct slice text, const char *shape)
{
	if (text.n != strlen(shape))
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (shape[i] == '9' ? text.p[i] < '0' || text.p[i] > '9'
				    : text.p[i] != shape[i])
			return false;
	return true;
}

int
times_parse(struct slice text, int64_t *time_r)
{
	struct tm parts = {0};
	struct tm again;
	time_t time;
	const bool is_day = has_shape(text, "9999-99-99");

	if (!is_day && !has_shape(text, "9999-99-99T99:99:99Z"))
		return -1;
	(void)digits(text, 0, 4, &parts.tm_year);
	(void)digits(text, 5, 2, &parts.tm_mon);
	(void)digits(text, 8, 2, &parts.tm_mday);
	if (!is_day) {
		(void)digits(text, 11, 2, &parts.tm_hour);
		(void)digits(text, 14, 2, &parts.tm_min);
		(void)digits(text, 17, 2, &parts.tm_sec);
	}
	parts.tm_year -= 1900;
	parts.tm_mon -= 1;
	again = parts;
	time = timegm(&again);
	/* timegm() makes 3 March of 31 February; we do not. */
	if (again.tm_mon != parts.tm_mon || again.tm_mday != parts.tm_mday ||
	    again.tm_hour != parts.tm_hour || again.tm_min != parts.tm_min ||
	    again.tm_sec != parts.tm_sec || time < 0)
		return -1;
	*time_r = time;
	return 0;
}

int
times_parse_from(struct slice text, int64_t now, int ahead, int64_t *time_r)
{
	uint64_t seconds;

	if (times_parse(text, time_r) == 0)
		return 0;
	if (setting_seconds(text, &seconds) == -1 || seconds > INT32_MAX)
		return -1;
	*time_r = now + ahead * (int64_t)seconds;
	return 0;
}

const char *
times_format(int64_t time, char text_r[TIMES_TEXT_MAX])
{
	const time_t value = (time_t)time;
	struct tm parts;

	if (gmtime_r(&value, &parts) == NULL ||
	    strftime(text_r, TIMES_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		(void)snprintf(text_r, TIMES_TEXT_MAX, "?");
	return text_r;
}
