/* SPDX-License-Identifier: ISC */
/*
 * Dates in the form of mail.
 */
#include "common/rfc5322_date.h"
#include "tests/unit/tap.h"

static const struct row {
	const char *label;
	time_t t;
	const char *want;
} rows[] = {
    {"the first second", 0, "Thu, 01 Jan 1970 00:00:00 +0000"},
    {"a day of two digits", 1795300800, "Sat, 21 Nov 2026 22:40:00 +0000"},
    {"a day of one digit", 1772323199, "Sat, 28 Feb 2026 23:59:59 +0000"},
    {"a leap day", 1709164800, "Thu, 29 Feb 2024 00:00:00 +0000"},
    {"past 32 bits", 4294967296, "Sun, 07 Feb 2106 06:28:16 +0000"},
    {"the last second", 253402300799, "Fri, 31 Dec 9999 23:59:59 +0000"},
    {"before the first", -1, "Thu, 01 Jan 1970 00:00:00 +0000"},
    {"after the last", 253402300800, "Fri, 31 Dec 9999 23:59:59 +0000"},
};

int
main(void)
{
	char text[RFC5322_DATE_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_str(rfc5322_date(rows[i].t, text), rows[i].want, "%s",
		    rows[i].label);
	return tap_done();
}
