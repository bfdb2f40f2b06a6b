/* SPDX-License-Identifier: ISC */
/*
 * What the preloaded shims of the crash tests share: which program this is,
 * the test's control block, and a way into workers.
 *
 * A test puts a shim into LD_PRELOAD of postern-run, so every program has it;
 * it does nothing but in the program that the control block names.  A spawner
 * gives its workers a clean environment: our execve() adds the shim again.
 */
#ifndef TESTS_CRASH_LIB_SHIM_H
#define TESTS_CRASH_LIB_SHIM_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

/* Names the file that shim_map() maps. */
#define SHIM_CONTROL "POSTERN_SHIM_CONTROL"

/*
 * The libc's own function behind ours, looked up once.  The pointer is a
 * static of the wrapper, since nothing else may use it.
 */
#define SHIM_REAL(pointer, name)                                       \
	do {                                                           \
		if ((pointer) == NULL)                                 \
			*(void **)&(pointer) = dlsym(RTLD_NEXT, name); \
	} while (0)

/* "postern-queued", or "postern-smtpd/smtp" for a worker. */
const char *shim_program(void);

/* The first size octets of the control file, shared with the test, or NULL. */
void *shim_map(size_t size);

#endif
