/* SPDX-License-Identifier: ISC */
/*
 * Prints TAP for tests/unit.  Values in a failure's comment lines are printed
 * with their odd bytes escaped, so that a test of hostile bytes cannot upset
 * the reader's terminal or the TAP stream.
 * Runs in: unit tests.  Trusts: the test.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "tests/unit/tap.h"

/* As much of a value as helps the reader. */
#define SHOWN_BYTES 200

/* Exit code of a child of OK_DIES that came back from its statement. */
#define SURVIVED 77

static struct {
	unsigned run;
	unsigned failed;
} tap;

/* One line of a test: '#' would begin a directive, a line end a new line. */
static void TAP_PRINTF(1, 0)
print_name(const char *format, va_list ap)
{
	char name[512];

	(void)vsnprintf(name, sizeof(name), format, ap);
	for (const char *p = name; *p != '\0'; p++) {
		if (*p == '#')
			(void)putchar('\\');
		(void)putchar((unsigned char)*p < ' ' ? '?' : *p);
	}
}

static bool TAP_PRINTF(4, 0)
report(const char *file, int line, bool held, const char *format, va_list ap)
{
	tap.run++;
	(void)printf("%s %u - ", held ? "ok" : "not ok", tap.run);
	print_name(format, ap);
	(void)putchar('\n');
	if (!held) {
		tap.failed++;
		(void)printf("#   failed at %s:%d\n", file, line);
	}
	(void)fflush(stdout);
	return held;
}

static void
show_bytes(const char *label, const void *p, size_t n)
{
	const unsigned char *bytes = p;

	(void)printf("#   %s: ", label);
	if (bytes == NULL) {
		(void)printf("NULL\n");
		return;
	}
	(void)putchar('"');
	for (size_t i = 0; i < n && i < SHOWN_BYTES; i++) {
		unsigned char c = bytes[i];

		if (c == '\r' || c == '\n' || c == '\t')
			(void)printf("\\%c", c == '\r'       ? 'r'
						: c == '\n' ? 'n'
							    : 't');
		else if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
			(void)printf("\\x%02x", c);
		else
			(void)putchar(c);
	}
	(void)printf("\"%s (%zu bytes)\n", n > SHOWN_BYTES ? "..." : "", n);
}

bool
tap_ok(const char *file, int line, bool condition, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)report(file, line, condition, format, ap);
	va_end(ap);
	return condition;
}

bool
tap_is_int(const char *file, int line, intmax_t got, intmax_t want,
    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (!report(file, line, got == want, format, ap))
		tap_diag("  got: %jd\n  want: %jd", got, want);
	va_end(ap);
	return got == want;
}

bool
tap_is_u64(const char *file, int line, uint64_t got, uint64_t want,
    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (!report(file, line, got == want, format, ap))
		tap_diag("  got: %ju (0x%jx)\n  want: %ju (0x%jx)",
		    (uintmax_t)got, (uintmax_t)got, (uintmax_t)want,
		    (uintmax_t)want);
	va_end(ap);
	return got == want;
}

static bool TAP_PRINTF(5, 0)
compare(const char *file, int line, struct slice got, struct slice want,
    const char *format, va_list ap)
{
	bool held = slice_equals(got, want);

	if (!report(file, line, held, format, ap)) {
		show_bytes(" got", got.p, got.n);
		show_bytes("want", want.p, want.n);
		(void)fflush(stdout);
	}
	return held;
}

bool
tap_is_str(const char *file, int line, const char *got, const char *want,
    const char *format, ...)
{
	va_list ap;
	bool held = false;

	va_start(ap, format);
	if ((got == NULL) == (want == NULL)) {
		held = compare(
		    file, line, slice_of(got), slice_of(want), format, ap);
	} else {
		(void)report(file, line, false, format, ap);
		show_bytes(" got", got, got == NULL ? 0 : strlen(got));
		show_bytes("want", want, want == NULL ? 0 : strlen(want));
	}
	va_end(ap);
	return held;
}

bool
tap_is_slice(const char *file, int line, struct slice got, const char *want,
    const char *format, ...)
{
	va_list ap;
	bool held;

	va_start(ap, format);
	held = compare(file, line, got, slice_of(want), format, ap);
	va_end(ap);
	return held;
}

bool
tap_is_mem(const char *file, int line, const void *got, size_t got_size,
    const void *want, size_t want_size, const char *format, ...)
{
	va_list ap;
	bool held;

	va_start(ap, format);
	held = compare(file, line, (struct slice){got, got_size},
	    (struct slice){want, want_size}, format, ap);
	va_end(ap);
	return held;
}

void
tap_skip(unsigned count, const char *format, ...)
{
	va_list ap;

	while (count-- > 0) {
		(void)printf("ok %u # SKIP ", ++tap.run);
		va_start(ap, format);
		print_name(format, ap);
		va_end(ap);
		(void)putchar('\n');
	}
	(void)fflush(stdout);
}

void
tap_diag(const char *format, ...)
{
	char text[2048];
	char *rest = text;
	char *line;
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	while ((line = strsep(&rest, "\n")) != NULL)
		(void)printf("# %s\n", line);
	(void)fflush(stdout);
}

int
tap_done(void)
{
	(void)printf("1..%u\n", tap.run);
	if (tap.failed > 0)
		(void)printf("# %u of %u failed\n", tap.failed, tap.run);
	(void)fflush(stdout);
	return tap.failed == 0 && tap.run > 0 ? 0 : 1;
}

bool
tap_dies_begin(struct tap_child *child)
{
	int words[2];

	(void)fflush(NULL);
	if (pipe(words) == -1)
		fatal("pipe for a child that is to die");
	if ((child->pid = fork()) == -1)
		fatal("fork for a child that is to die");
	if (child->pid == 0) {
		/* An abort is wanted here, its core file is not. */
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		if (dup2(words[1], STDERR_FILENO) == -1)
			_exit(SURVIVED);
		(void)close(words[0]);
		(void)close(words[1]);
		return true;
	}
	(void)close(words[1]);
	child->words_fd = words[0];
	return false;
}

void
tap_dies_survived(void)
{
	_exit(SURVIVED);
}

/* Drains fd, so that the child never blocks; keeps what fits. */
static void
read_words(int fd, char *words, size_t words_size)
{
	char spill[512];
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, spill, sizeof(spill))) > 0) {
		size_t keep = (size_t)got;

		if (keep > words_size - 1 - n)
			keep = words_size - 1 - n;
		memcpy(words + n, spill, keep);
		n += keep;
	}
	words[n] = '\0';
	(void)close(fd);
}

bool
tap_dies_end(const char *file, int line, struct tap_child *child,
    const char *format, ...)
{
	char words[2048];
	int status = 0;
	bool held;
	va_list ap;

	read_words(child->words_fd, words, sizeof(words));
	if (waitpid(child->pid, &status, 0) != child->pid)
		fatal("waitpid for a child that is to die");
	held = (WIFEXITED(status) && WEXITSTATUS(status) == 1 &&
		   strstr(words, ": fatal: ") != NULL) ||
	    (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
		strstr(words, ": bug: ") != NULL);
	va_start(ap, format);
	(void)report(file, line, held, format, ap);
	va_end(ap);
	if (held)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED)
		tap_diag("  the statement came back");
	else
		tap_diag("  wait status 0x%x, its last words: %s",
		    (unsigned)status, words);
	return false;
}
