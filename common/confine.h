/* SPDX-License-Identifier: ISC */
/*
 * What a program may still do after its start: no_new_privs, Landlock as far
 * as the kernel has it, and a seccomp filter (libseccomp: the rules by name,
 * on every architecture).  Built --without-confinement, it does nothing.
 */
#ifndef COMMON_CONFINE_H
#define COMMON_CONFINE_H

#include <stdbool.h>

#include "common/err.h"

/* Rights; the filter allows what every program needs, and these. */
enum confine_right {
	CONFINE_FILES_READ = 1 << 0,  /* below read_dirs and the state dir */
	CONFINE_FILES_WRITE = 1 << 1, /* below the state dir */
	CONFINE_CONNECT_UNIX = 1 << 2,
	CONFINE_CONNECT_INET = 1 << 3,
	CONFINE_THREADS = 1 << 4,
	CONFINE_BIND = 1 << 5,
	/* Alone: starts workers, which confine themselves further. */
	CONFINE_SPAWN = 1 << 6,
	CONFINE_MEMORY_FILES = 1 << 7, /* files without a name, in memory */
	/*
	 * Starts programs of the system, with Unix sockets of their own below
	 * the state dir.  They inherit all that is taken away.  With
	 * CONFINE_SPAWN: workers may have this right.
	 */
	CONFINE_RUN = 1 << 8
};

struct confinement {
	unsigned rights;
	const char *read_dirs[6]; /* further paths that may be read */
};

/*
 * Others of the same user cannot look into this process's memory, and it
 * leaves no core.  Part of confine(); before it for what gets secrets early.
 */
void confine_memory(void);

/*
 * Takes the rights away for good; threads started later inherit it.
 * state_dir: the program's own directory, NULL for none.  Returns
 * -1 when the kernel refuses seccomp; a missing Landlock is not a failure.
 */
int confine(const struct confinement *confinement, const char *state_dir,
    struct err *err);

#endif
