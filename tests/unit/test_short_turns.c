/* SPDX-License-Identifier: ISC */
/*
 * signer/short_turns.c: what the kernel says of this process afterwards.
 */
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"
#include "signer/short_turns.h"
#include "tests/unit/tap.h"

#define USUAL_NICE 3

/* The kernel's struct sched_attr in its first form. */
struct attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t turn_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

static struct attributes
look(void)
{
	struct attributes attributes = {0};

	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) ==
	    -1)
		fatal("the scheduler tells nothing");
	return attributes;
}

int
main(void)
{
	struct attributes before;
	struct attributes after;

	(void)setpriority(PRIO_PROCESS, 0, USUAL_NICE);
	before = look();
	short_turns();
	after = look();
	ok(after.policy == before.policy, "its policy is what it was");
	ok(after.nice == USUAL_NICE, "so is its nice value");
	if (before.turn_ns == 0)
		skip(1, "this kernel has no turns to choose");
	else
		ok(after.turn_ns > 0 && after.turn_ns < before.turn_ns,
		    "its turns are shorter");
	return tap_done();
}
