/* SPDX-License-Identifier: ISC */
/*
 * The wish for short turns.  Without it, a process that wakes up waits until
 * the one that runs had its turn, or for the clock's next tick: 1 to 4 ms
 * behind a gpg, several times for each message.
 * Runs in: postern-signerd, the broker and `sign` workers.
 */
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "signer/short_turns.h"

/* The least that the kernel takes. */
#define TURN_NS 100000
/* SCHED_FLAG_KEEP_POLICY: an administrator may have chosen another one. */
#define KEEP_POLICY 0x08

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

void
short_turns(void)
{
	struct attributes attributes = {.size = sizeof(attributes),
	    .flags = KEEP_POLICY,
	    .nice = getpriority(PRIO_PROCESS, 0),
	    .turn_ns = TURN_NS};

	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}
