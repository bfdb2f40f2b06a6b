/* SPDX-License-Identifier: ISC */
/*
 * Replays a fuzz target's corpus without libFuzzer, so that every build on
 * every compiler runs the inputs that once mattered.  fuzz_mime.replay reads
 * all files of tests/fuzz/corpus/mime/ below $POSTERN_SOURCE, or the files and
 * folders that it is given.  Each input is also tried cut at several lengths:
 * a parser meets the end of its bytes everywhere.
 * Runs in: tests.  Trusts: nothing about the inputs; a crash is the finding.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/err.h"

/* No corpus file is larger; one that is, is a mistake. */
#define INPUT_MAX (4u << 20)

/* Lengths at which an input is cut: all of a small one, some of a large. */
#define CUTS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input in work, for the last words of a crash. */
static const char *current = "none";

static void
name_the_input(int signal_number)
{
	ssize_t n;

	n = write(STDOUT_FILENO, "# died on ", 10);
	n += write(STDOUT_FILENO, current, strlen(current));
	n += write(STDOUT_FILENO, "\n", 1);
	(void)n;
	(void)signal(signal_number, SIG_DFL);
	(void)raise(signal_number);
}

static void
read_input(const char *path, struct buf *input)
{
	FILE *f = fopen(path, "rb");
	char chunk[4096];
	size_t n;

	if (f == NULL)
		fatal("open %s: %s", path, strerror(errno));
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		if (buf_add(input, chunk, n) == -1)
			fatal("%s is over %u bytes", path, INPUT_MAX);
	if (ferror(f) != 0)
		fatal("read %s: %s", path, strerror(errno));
	(void)fclose(f);
}

/* Each run gets its own allocation of just its size, for ASan's sake. */
static void
run_one(struct slice input)
{
	uint8_t *copy = xmalloc(input.n);

	if (input.n > 0)
		memcpy(copy, input.p, input.n);
	(void)LLVMFuzzerTestOneInput(copy, input.n);
	free(copy);
}

static void
replay_file(const char *path)
{
	struct buf input;
	struct slice whole;
	size_t step;

	buf_init(&input, INPUT_MAX);
	read_input(path, &input);
	whole = buf_slice(&input);
	current = path;
	run_one(whole);
	step = whole.n / CUTS_MAX + 1;
	for (size_t n = 0; n < whole.n; n += step)
		run_one((struct slice){whole.p, n});
	current = "none";
	buf_clear(&input);
}

static unsigned replay_path(const char *path);

static unsigned
replay_folder(const char *path)
{
	struct dirent **entries = NULL;
	unsigned count = 0;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n == -1)
		fatal("read the folder %s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *inner;

		if (entries[i]->d_name[0] != '.') {
			if (asprintf(&inner, "%s/%s", path,
				entries[i]->d_name) == -1)
				fatal("out of memory");
			count += replay_path(inner);
			free(inner);
		}
		free(entries[i]);
	}
	free(entries);
	return count;
}

static unsigned
replay_path(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		fatal("%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return replay_folder(path);
	replay_file(path);
	return 1;
}

/* "build/tests/fuzz/fuzz_mime.replay" replays tests/fuzz/corpus/mime. */
static char *
own_corpus(const char *program)
{
	const char *source = getenv("POSTERN_SOURCE");
	const char *slash = strrchr(program, '/');
	const char *name = slash == NULL ? program : slash + 1;
	char *path;

	if (strncmp(name, "fuzz_", 5) == 0)
		name += 5;
	if (asprintf(&path, "%s/tests/fuzz/corpus/%.*s",
		source == NULL ? "." : source, (int)strcspn(name, "."),
		name) == -1)
		fatal("out of memory");
	return path;
}

int
main(int argc, char **argv)
{
	char *corpus = own_corpus(argv[0]);
	unsigned count = 0;

	(void)signal(SIGABRT, name_the_input);
	(void)signal(SIGSEGV, name_the_input);
	(void)signal(SIGBUS, name_the_input);
	(void)signal(SIGFPE, name_the_input);
	(void)signal(SIGALRM, name_the_input);
	run_one((struct slice){NULL, 0});
	if (argc == 1)
		count = replay_path(corpus);
	for (int i = 1; i < argc; i++)
		count += replay_path(argv[i]);
	(void)printf("%s 1 - %u inputs, whole and cut short\n1..1\n",
	    count > 0 ? "ok" : "not ok", count);
	free(corpus);
	return count > 0 ? 0 : 1;
}
