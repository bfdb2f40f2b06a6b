/* SPDX-License-Identifier: ISC */
/*
 * Our small test library: each check prints one line of TAP, tap_done() prints
 * the plan and gives the exit status of main.  Every check takes the sentence
 * that it proves as a printf format, and returns whether it held:
 *
 *	int
 *	main(void)
 *	{
 *		ok(slice_find(s, ',', 0) == 3, "the first comma is found");
 *		is_u64(b.n, 4, "%zu bytes are kept", b.n);
 *		OK_DIES(buf_extend(&b, 9), "extending past the room is a bug");
 *		return tap_done();
 *	}
 */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"

#define TAP_PRINTF(m, n) __attribute__((format(printf, m, n)))

/* Where a check stands, so that a failure names its line. */
#define TAP_HERE __FILE__, __LINE__

#define ok(condition, ...) tap_ok(TAP_HERE, (condition), __VA_ARGS__)
#define is_int(got, want, ...)                                                 \
	tap_is_int(TAP_HERE, (intmax_t)(got), (intmax_t)(want), __VA_ARGS__)
#define is_u64(got, want, ...)                                                 \
	tap_is_u64(TAP_HERE, (uint64_t)(got), (uint64_t)(want), __VA_ARGS__)
/* Either may be NULL; NULL equals only NULL. */
#define is_str(got, want, ...) tap_is_str(TAP_HERE, (got), (want), __VA_ARGS__)
/* got is a struct slice, want a NUL-terminated text. */
#define is_slice(got, want, ...)                                               \
	tap_is_slice(TAP_HERE, (got), (want), __VA_ARGS__)
/* Two areas with their sizes: bytes that may hold NULs. */
#define is_mem(got, got_size, want, want_size, ...)                            \
	tap_is_mem(TAP_HERE, (got), (got_size), (want), (want_size),           \
	    __VA_ARGS__)
#define pass(...) tap_ok(TAP_HERE, true, __VA_ARGS__)
#define fail(...) tap_ok(TAP_HERE, false, __VA_ARGS__)

/* Counts `count` checks as passed, because of the reason given. */
#define skip(count, ...) tap_skip((count), __VA_ARGS__)

/* Comment lines, for whoever reads a failure. */
#define diag(...) tap_diag(__VA_ARGS__)

/*
 * Runs the statement in a child.  Holds when the child ended by fatal() or
 * bug(), told by both its exit and its last words: a sanitizer's report, a
 * crash or a plain exit(1) does not count.
 */
#define OK_DIES(statement, ...)                                                \
	do {                                                                   \
		struct tap_child tap_child_;                                   \
                                                                               \
		if (tap_dies_begin(&tap_child_)) {                             \
			statement;                                             \
			tap_dies_survived();                                   \
		}                                                              \
		tap_dies_end(TAP_HERE, &tap_child_, __VA_ARGS__);              \
	} while (0)

/* Prints the plan.  0 when every check held and there was one, else 1. */
int tap_done(void);

struct tap_child {
	pid_t pid;
	int words_fd; /* the child's standard error */
};

bool tap_ok(const char *file, int line, bool condition, const char *format, ...)
    TAP_PRINTF(4, 5);
bool tap_is_int(const char *file, int line, intmax_t got, intmax_t want,
    const char *format, ...) TAP_PRINTF(5, 6);
bool tap_is_u64(const char *file, int line, uint64_t got, uint64_t want,
    const char *format, ...) TAP_PRINTF(5, 6);
bool tap_is_str(const char *file, int line, const char *got, const char *want,
    const char *format, ...) TAP_PRINTF(5, 6);
bool tap_is_slice(const char *file, int line, struct slice got,
    const char *want, const char *format, ...) TAP_PRINTF(5, 6);
bool tap_is_mem(const char *file, int line, const void *got, size_t got_size,
    const void *want, size_t want_size, const char *format, ...)
    TAP_PRINTF(7, 8);
void tap_skip(unsigned count, const char *format, ...) TAP_PRINTF(2, 3);
void tap_diag(const char *format, ...) TAP_PRINTF(1, 2);

bool tap_dies_begin(struct tap_child *child); /* true in the child */
_Noreturn void tap_dies_survived(void);
bool tap_dies_end(const char *file, int line, struct tap_child *child,
    const char *format, ...) TAP_PRINTF(4, 5);

#endif
