/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into all programs: the wall clock is as far off as the control
 * block says, from one call to the next.  The monotonic clock is left alone.
 * Runs in: every program of a crash test.  Trusts: the test.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>
#include <time.h>

#include "tests/crash/lib_shim.h"

/* Seconds ahead; the test writes it. */
static _Atomic int64_t *ahead_s;

static void __attribute__((constructor)) begin(void)
{
	ahead_s = shim_map(sizeof(*ahead_s));
}

static time_t
ahead(void)
{
	return ahead_s != NULL ? (time_t)atomic_load(ahead_s) : 0;
}

int
clock_gettime(clockid_t clock, struct timespec *now_r)
{
	static int (*real)(clockid_t, struct timespec *);
	int rc;

	SHIM_REAL(real, "clock_gettime");
	rc = real(clock, now_r);
	if (rc == 0 &&
	    (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now_r->tv_sec += ahead();
	return rc;
}

int
gettimeofday(struct timeval *now_r, void *zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now) == -1)
		return -1;
	now_r->tv_sec = now.tv_sec;
	now_r->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *now_r)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (now_r != NULL)
		*now_r = now.tv_sec;
	return now.tv_sec;
}
