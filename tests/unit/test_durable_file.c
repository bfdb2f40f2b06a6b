/* SPDX-License-Identifier: ISC */
/*
 * Files that are replaced as a whole: what is in them, who may read them, and
 * what is left when it fails.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signer/durable_file.h"
#include "tests/unit/tap.h"

static char folder[64] = "/tmp/durable-XXXXXX";
static char path[128]; /* path_of() */
static char text[64];  /* content_of() */

static const char *
path_of(const char *name)
{
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* What is in it; "": nothing, or there is none. */
static const char *
content_of(const char *name)
{
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd == -1 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	close_if_open(&fd);
	return text;
}

int
main(void)
{
	struct stat st;
	struct err err;

	if (mkdtemp(folder) == NULL)
		bug("no folder");
	is_int(durable_file_write(folder, "a", SLICE("one, long"), &err), 0,
	    "a new file");
	is_str(content_of("a"), "one, long", "has what was given");
	ok(stat(path_of("a"), &st) == 0 && (st.st_mode & 0777) == 0600,
	    "for its owner alone");
	is_int(durable_file_write(folder, "a", SLICE("two"), &err), 0,
	    "it is replaced");
	is_str(content_of("a"), "two", "as a whole");
	ok(access(path_of(".a"), F_OK) == -1, "and nothing is beside it");

	(void)mkdir(path_of("b"), 0700);
	is_int(durable_file_write(folder, "b", SLICE("x"), &err), -1,
	    "what cannot be replaced: %s", err.text);
	ok(access(path_of(".b"), F_OK) == -1, "leaves nothing");
	if (symlink("a", path_of(".c")) == -1)
		bug("no link");
	is_int(durable_file_write(folder, "c", SLICE("x"), &err), -1,
	    "a link that lies in its way is not followed: %s", err.text);
	is_str(content_of("a"), "two", "what it names stays as it was");
	is_int(durable_file_write("/nonexistent", "a", SLICE("x"), &err), -1,
	    "without a folder there is no file");

	(void)unlink(path_of("a"));
	(void)unlink(path_of(".c"));
	(void)rmdir(path_of("b"));
	is_int(rmdir(folder), 0, "nothing else is left");
	return tap_done();
}
