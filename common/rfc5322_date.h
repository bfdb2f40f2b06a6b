/* SPDX-License-Identifier: ISC */
/*
 * The time in the form of mail (RFC 5322 §3.3).  Pure: no clock, no locale.
 */
#ifndef COMMON_RFC5322_DATE_H
#define COMMON_RFC5322_DATE_H

#include <time.h>

/* "Sat, 21 Nov 2026 22:40:00 +0000" and a NUL. */
#define RFC5322_DATE_SIZE 32

/*
 * Writes t in UTC into out, and returns out.  Times before 1970 and after the
 * year 9999 are moved to those bounds, since the form knows no others.
 */
const char *rfc5322_date(time_t t, char out[RFC5322_DATE_SIZE]);

#endif
