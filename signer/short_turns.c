/* SPDX-License-Identifier: ISC */
/*
 * The wish for short turns.  Without it, a process that wakes up waits until
 * the one that runs had its turn, or for the clock's next tick: 1 to 4 ms
 * behind a gpg, several times for each message.
 * Runs in: postern-signerd, the broker and `sign` workers.
 */
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "signer/short_turns.h"

/* The least that the kernel takes. */
#define TURN_NS 100000

void
short_turns(void)
{
	/* An administrator may have chosen another policy. */
	struct sched_attr attributes = {.size = sizeof(attributes),
	    .sched_flags = SCHED_FLAG_KEEP_POLICY,
	    .sched_nice = getpriority(PRIO_PROCESS, 0),
	    .sched_runtime = TURN_NS};

	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}
