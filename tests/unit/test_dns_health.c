/* SPDX-License-Identifier: ISC */
/*
 * When DNS as a whole is said to fail.
 */
#include <stdio.h>

#include "smtpd/dns_health.h"
#include "tests/unit/tap.h"

static bool
fail_name(struct dns_health *health, int number, uint64_t now_ms)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "n%d.test", number);
	return dns_health_note(health, name, false, now_ms);
}

int
main(void)
{
	struct dns_health health = {0};

	for (int i = 0; i < 100; i++)
		if (fail_name(&health, i % 4, (uint64_t)i))
			fail("raised by four names");
	ok(!health.is_failing, "four broken names are theirs, not ours");
	ok(fail_name(&health, 5, 100) && health.is_failing,
	    "five are too many");
	ok(!fail_name(&health, 6, 101), "it is said once");
	ok(dns_health_note(&health, "ok.test", true, 102) && !health.is_failing,
	    "one answer ends it");
	ok(!dns_health_note(&health, "ok.test", true, 103), "that, too, once");

	for (int i = 0; i < 4; i++)
		(void)fail_name(&health, i, 1000);
	ok(!fail_name(&health, 9, 1001 + DNS_HEALTH_WINDOW_MS),
	    "failures of long ago do not count");
	for (int i = 0; i < 3; i++)
		(void)fail_name(
		    &health, 20 + i, 1002 + DNS_HEALTH_WINDOW_MS);
	ok(!health.is_failing, "four new ones and an old one");
	ok(fail_name(&health, 30, 1003 + DNS_HEALTH_WINDOW_MS),
	    "the oldest is forgotten for a new one");
	return tap_done();
}
