/* SPDX-License-Identifier: ISC */
/*
 * Refused connections are told once, then as one event a minute.
 */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "smtpd/refusals.h"
#include "tests/unit/tap.h"

static const char *const busy = "busy";
static const char *const blocked = "blocked";

struct told {
	unsigned events;
	unsigned times; /* of all events */
	char last[NETADDR_TEXT_MAX];
	const char *reason;
};

static void
tell(
    void *arg, const struct netaddr *client, const char *reason, uint32_t times)
{
	struct told *told = arg;

	told->events++;
	told->times += times;
	told->reason = reason;
	(void)netaddr_format(client, told->last);
}

static void
note(struct refusals *refusals, const char *client, const char *reason)
{
	struct netaddr address;

	if (netaddr_parse(slice_of(client), &address) == -1)
		fatal("bad address %s", client);
	refusals_note(refusals, &address, reason);
}

static void
test_few(void)
{
	struct told told = {0};
	struct refusals *refusals = refusals_new(tell, &told);

	note(refusals, "192.0.2.1", busy);
	is_u64(told.events, 1, "the first is told at once");
	is_str(told.last, "192.0.2.1", "with its address");
	for (int i = 0; i < 99; i++)
		note(refusals, "192.0.2.7", busy);
	is_u64(told.events, 1, "others of the network wait");
	note(refusals, "192.0.2.1", blocked);
	is_u64(told.events, 2, "another reason is another event");
	note(refusals, "198.51.100.1", busy);
	is_u64(told.events, 3, "another network, too");
	refusals_flush(refusals);
	is_u64(told.events, 4, "after a minute what waited is one event");
	is_u64(told.times, 102, "with its number");
	is_str(told.last, "192.0.2.7", "and the latest address");
	refusals_flush(refusals);
	is_u64(told.events, 4, "a quiet minute tells nothing");
	note(refusals, "192.0.2.1", busy);
	is_u64(told.events, 5, "and forgets: the next is told at once");
	refusals_free(refusals);
}

static void
test_many(void)
{
	struct told told = {0};
	struct refusals *refusals = refusals_new(tell, &told);
	char text[64];

	for (unsigned i = 0; i < 50000; i++) {
		(void)snprintf(
		    text, sizeof(text), "10.%u.%u.1", i / 250, i % 250);
		note(refusals, text, busy);
	}
	refusals_flush(refusals);
	ok(told.events <= 2 * 1024 + 1,
	    "a flood from everywhere is no flood of events");
	is_u64(told.times, 50000, "but each is counted");
	refusals_free(refusals);
}

int
main(void)
{
	test_few();
	test_many();
	return tap_done();
}
