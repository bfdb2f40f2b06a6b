/* SPDX-License-Identifier: ISC */
/*
 * postern-run --check: what would keep an instance from running.
 * Runs in: postern-run.  Trusts: nothing.
 */
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/run.h"

static void __attribute__((format(printf, 3, 4)))
problem(FILE *out, unsigned *count, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vfprintf(out, format, ap);
	(void)fputc('\n', out);
	va_end(ap);
	++*count;
}

unsigned
run_check(const struct instance *instance, FILE *out)
{
	unsigned count = 0;

	for (int role = 0; role < ROLE_COUNT; role++)
		if (role_is_daemon((enum role)role) &&
		    !run_is_installed(instance, (enum role)role))
			problem(out, &count, "postern-%s is not in %s",
			    role_name((enum role)role),
			    instance->program_dir);
	if (!instance_is_made(instance))
		problem(out, &count, "there is no configuration in %s; "
		    "\"postern%s%s init --hostname NAME\" makes one",
		    instance->state_dir,
		    instance->root != NULL ? " --root " : "",
		    instance->root != NULL ? instance->root : "");
	return count;
}
