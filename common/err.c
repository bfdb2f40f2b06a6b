/* SPDX-License-Identifier: ISC */
/*
 * Failure in its three forms, and allocation that cannot fail silently.
 * Runs in: every program.  Trusts: its callers' format strings.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"

int
err_set(struct err *err, const char *format, ...)
{
	int saved_errno = errno;
	va_list ap;

	if (err != NULL) {
		va_start(ap, format);
		(void)vsnprintf(err->text, sizeof(err->text), format, ap);
		va_end(ap);
	}
	errno = saved_errno;
	return -1;
}

int
err_wrap(struct err *err, const char *format, ...)
{
	char inner[ERR_TEXT_MAX];
	int length;
	va_list ap;

	if (err == NULL)
		return -1;
	memcpy(inner, err->text, sizeof(inner));
	va_start(ap, format);
	length = vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	if (length < 0 || (size_t)length >= sizeof(err->text))
		return -1;
	if (snprintf(err->text + length, sizeof(err->text) - (size_t)length,
		": %s", inner) < 0)
		err->text[length] = '\0';
	return -1;
}

static void __attribute__((format(printf, 2, 0)))
last_words(const char *kind, const char *format, va_list ap)
{
	char line[1024];

	(void)vsnprintf(line, sizeof(line), format, ap);
	(void)fprintf(
	    stderr, "%s: %s: %s\n", program_invocation_short_name, kind, line);
	(void)fflush(stderr);
}

void
fatal(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	last_words("fatal", format, ap);
	va_end(ap);
	_exit(1);
}

void
bug(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	last_words("bug", format, ap);
	va_end(ap);
	abort();
}

void *
xmalloc(size_t size)
{
	void *p = malloc(size != 0 ? size : 1);

	if (p == NULL)
		fatal("out of memory: %zu bytes", size);
	return p;
}

void *
xcalloc(size_t count, size_t size)
{
	void *p = calloc(count != 0 ? count : 1, size != 0 ? size : 1);

	if (p == NULL)
		fatal("out of memory: %zu times %zu bytes", count, size);
	return p;
}

void *
xrealloc(void *p, size_t size)
{
	void *q = realloc(p, size != 0 ? size : 1);

	if (q == NULL)
		fatal("out of memory: %zu bytes", size);
	return q;
}

char *
xstrndup(const char *text, size_t length)
{
	char *copy = xmalloc(length + 1);

	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
xstrdup(const char *text)
{
	return xstrndup(text, strlen(text));
}

void
close_if_open(int *fd)
{
	int saved_errno = errno;

	if (*fd != -1)
		(void)close(*fd);
	*fd = -1;
	errno = saved_errno;
}
