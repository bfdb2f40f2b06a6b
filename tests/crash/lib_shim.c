/* SPDX-License-Identifier: ISC */
/*
 * What the preloaded shims of the crash tests share.
 * Runs in: whatever postern-run starts in a crash test.  Trusts: the test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/crash/lib_shim.h"

/* LD_PRELOAD and the control file, as the spawner's own process got them. */
static char preload[1024];
static char control[1024];
static char program[128];

static void
note(char *line_r, size_t size, const char *name)
{
	const char *value = getenv(name);

	if (value != NULL)
		(void)snprintf(line_r, size, "%s=%s", name, value);
}

/* The loader calls it before the other parts of a shim ask for anything. */
static void __attribute__((constructor(101))) begin(int argc, char **argv)
{
	const char *worker = "";

	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--worker") == 0)
			worker = argv[i + 1];
	(void)snprintf(program, sizeof(program), "%s%s%s",
	    program_invocation_short_name, *worker != '\0' ? "/" : "", worker);
	note(preload, sizeof(preload), "LD_PRELOAD");
	note(control, sizeof(control), SHIM_CONTROL);
}

const char *
shim_program(void)
{
	return program;
}

void *
shim_map(size_t size)
{
	const char *path = getenv(SHIM_CONTROL);
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *block;

	if (fd == -1)
		return NULL;
	block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	/* It is there as long as the process. */
	/* cppcheck-suppress memleak */
	return block != MAP_FAILED ? block : NULL;
}

/* Room for the short environment that a spawner gives. */
#define ENVIRONMENT_MAX 64

static bool
has_preload(char *const envp[])
{
	for (; *envp != NULL; envp++)
		if (strncmp(*envp, "LD_PRELOAD=", 11) == 0)
			return true;
	return false;
}

int
execve(const char *path, char *const argv[], char *const envp[])
{
	static int (*real)(const char *, char *const *, char *const *);
	char *longer[ENVIRONMENT_MAX];
	size_t n = 0;

	SHIM_REAL(real, "execve");
	if (has_preload(envp))
		return real(path, argv, envp);
	for (; n < ENVIRONMENT_MAX - 3 && envp[n] != NULL; n++)
		longer[n] = envp[n];
	if (preload[0] != '\0')
		longer[n++] = preload;
	if (control[0] != '\0')
		longer[n++] = control;
	longer[n] = NULL;
	return real(path, argv, longer);
}
