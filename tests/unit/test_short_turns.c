/* SPDX-License-Identifier: ISC */
/*
 * signer/short_turns.c: what the kernel says of this process afterwards.
 */
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"
#include "signer/short_turns.h"
#include "tests/unit/tap.h"

#define USUAL_NICE 3

static struct sched_attr
look(void)
{
	struct sched_attr attributes = {0};

	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) ==
	    -1)
		fatal("the scheduler tells nothing");
	return attributes;
}

int
main(void)
{
	struct sched_attr before;
	struct sched_attr after;

	(void)setpriority(PRIO_PROCESS, 0, USUAL_NICE);
	before = look();
	short_turns();
	after = look();
	ok(after.sched_policy == before.sched_policy,
	    "its policy is what it was");
	ok(after.sched_nice == USUAL_NICE, "so is its nice value");
	if (before.sched_runtime == 0)
		skip(1, "this kernel has no turns to choose");
	else
		ok(after.sched_runtime > 0 &&
			after.sched_runtime < before.sched_runtime,
		    "its turns are shorter");
	return tap_done();
}
