/* SPDX-License-Identifier: ISC */
/*
 * Writes dates for header fields.
 * Runs in: every program that writes header fields.  Trusts: its callers.
 */
#include <stdint.h>
#include <stdio.h>

#include "common/rfc5322_date.h"
#include "common/err.h"

/* 31 December 9999, 23:59:59. */
#define LAST_TIME INT64_C(253402300799)

static const char *const day_names[7] = {
    "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static const char *const month_names[12] = {"Jan", "Feb", "Mar", "Apr", "May",
    "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

const char *
rfc5322_date(time_t t, char out[RFC5322_DATE_SIZE])
{
	struct tm tm;

	if (t < 0)
		t = 0;
	if (t > LAST_TIME)
		t = LAST_TIME;
	if (gmtime_r(&t, &tm) == NULL)
		bug("rfc5322_date: gmtime_r refused %jd", (intmax_t)t);
	(void)snprintf(out, RFC5322_DATE_SIZE,
	    "%s, %02d %s %04d %02d:%02d:%02d +0000", day_names[tm.tm_wday],
	    tm.tm_mday % 100, month_names[tm.tm_mon],
	    (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100,
	    tm.tm_sec % 100);
	return out;
}
