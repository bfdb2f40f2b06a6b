/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into GnuPG: for its agent each look at the clock is two seconds
 * after the one before, as if the machine were that slow.
 * Runs in: gpg-agent, for a test.  Trusts: the test.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define STEP_S 2

/* Only the first to look tells the hour. */
static _Atomic time_t looked_s;

time_t
time(time_t *now_r)
{
	struct timespec now = {0};
	time_t seen = 0;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (strcmp(program_invocation_short_name, "gpg-agent") == 0) {
		(void)atomic_compare_exchange_strong(
		    &looked_s, &seen, now.tv_sec);
		now.tv_sec = atomic_fetch_add(&looked_s, STEP_S);
	}
	if (now_r != NULL)
		*now_r = now.tv_sec;
	return now.tv_sec;
}
