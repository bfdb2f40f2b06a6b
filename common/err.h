/* SPDX-License-Identifier: ISC */
/*
 * The three kinds of failure (expected, hopeless, our own mistake) and their
 * one form each.  Used by every program.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stddef.h>

/* Room for one sentence; longer text is cut, never an error. */
#define ERR_TEXT_MAX 512

struct err {
	char text[ERR_TEXT_MAX];
};

/*
 * Sets the sentence that says what failed, and why.  err may be NULL.
 * Returns -1 so that a caller may write "return err_set(...)".
 */
int err_set(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "<what>: " before the sentence already there.  Returns -1. */
int err_wrap(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Ends the process with exit code 1 after one line on standard error.  For
 * what cannot be survived: no memory, a failed fsync, a socket not given.
 */
_Noreturn void fatal(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Aborts with a core: an impossible state, a table out of step. */
_Noreturn void bug(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* malloc, calloc, realloc, strdup that end the process when memory is out. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t length);

/* Closes *fd unless it is -1, and sets it to -1.  errno is kept. */
void close_if_open(int *fd);

#endif
