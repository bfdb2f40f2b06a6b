/* SPDX-License-Identifier: ISC */
/*
 * The test library itself: a check that fails must say so, or every other
 * test is worth nothing.
 * Runs in: unit tests.  Trusts: nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "tests/unit/tap.h"

static void
check_that_holds(void)
{
	pass("one # with a directive's sign");
	exit(tap_done());
}

static void
check_that_fails(void)
{
	is_str("a\r\n", "b", "two texts");
	exit(tap_done());
}

static void
null_is_not_empty(void)
{
	is_str(NULL, "", "nothing and the empty text");
	exit(tap_done());
}

static void
bytes_differ(void)
{
	is_mem("a\0b", 3, "a\0c", 3, "bytes after a NUL");
	exit(tap_done());
}

static void
survives_dying(void)
{
	OK_DIES((void)0, "a statement that comes back");
	exit(tap_done());
}

static void
plain_exit(void)
{
	OK_DIES(exit(1), "exit(1) without fatal's words");
	exit(tap_done());
}

static void
crash(void)
{
	OK_DIES((void)raise(SIGSEGV), "a crash");
	exit(tap_done());
}

static void
no_check(void)
{
	exit(tap_done());
}

/* A program that dies between two checks has printed no plan. */
static void
unfinished(void)
{
	pass("one");
	_exit(0);
}

static const struct {
	const char *label;
	void (*run)(void);
	int status;
	const char *printed;
} rows[] = {
	{"a check that holds: its name's # is no directive", check_that_holds,
	    0, "ok 1 - one \\# with a directive's sign\n1..1\n"},
	{"a check that fails shows both texts, escaped", check_that_fails, 1,
	    "#    got: \"a\\r\\n\" (3 bytes)\n#   want: \"b\" (1 bytes)\n"},
	{"NULL is not the empty text", null_is_not_empty, 1, "got: NULL\n"},
	{"a byte after a NUL counts", bytes_differ, 1, "\"a\\x00b\""},
	{"OK_DIES fails when the statement comes back", survives_dying, 1,
	    "not ok 1"},
	{"OK_DIES fails on a plain exit(1)", plain_exit, 1, "not ok 1"},
	{"OK_DIES fails on a crash", crash, 1, "not ok 1"},
	{"a test without a check fails", no_check, 1, "1..0\n"},
	{"an unfinished test has no plan", unfinished, 0, "ok 1 - one\n"},
};

/* Runs one row in a child and keeps what it prints.  Its wait status. */
static int
run_row(void (*run)(void), char *printed, size_t printed_size)
{
	FILE *out = tmpfile();
	int status = 0;
	size_t n;
	pid_t pid;

	(void)fflush(NULL);
	if (out == NULL || (pid = fork()) == -1)
		fatal("cannot run a row: %s", strerror(errno));
	if (pid == 0) {
		if (dup2(fileno(out), STDOUT_FILENO) == -1)
			_exit(99);
		run();
		_exit(98);
	}
	if (waitpid(pid, &status, 0) != pid)
		fatal("waitpid: %s", strerror(errno));
	rewind(out);
	n = fread(printed, 1, printed_size - 1, out);
	printed[n] = '\0';
	(void)fclose(out);
	return status;
}

int
main(void)
{
	char printed[4096];

	/* First, while no check was counted: a child inherits the count. */
	struct {
		int status;
		bool found;
	} seen[sizeof(rows) / sizeof(rows[0])];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		seen[i].status =
		    run_row(rows[i].run, printed, sizeof(printed));
		seen[i].found = strstr(printed, rows[i].printed) != NULL;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ok(seen[i].found, "%s", rows[i].label);
		is_int(WEXITSTATUS(seen[i].status), rows[i].status,
		    "its exit status: %s", rows[i].label);
	}
	OK_DIES(fatal("no %s", "socket"), "fatal() is a death");
	OK_DIES(bug("impossible"), "bug() is a death");
	return tap_done();
}
