/* SPDX-License-Identifier: ISC */
/*
 * Writes a file beside the one that it replaces, and then renames it.
 * Runs in: postern-signerd's broker.  Trusts: names that it made itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "signer/durable_file.h"

static int
write_all(int fd, struct slice octets)
{
	size_t done = 0;

	while (done < octets.n) {
		const ssize_t n = write(fd, octets.p + done, octets.n - done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		done += (size_t)n;
	}
	return fsync(fd);
}

int
durable_file_write(
    const char *folder, const char *name, struct slice octets, struct err *err)
{
	int dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char next[DURABLE_NAME_MAX + 2];
	int fd = -1;
	int rc = -1;

	if ((size_t)snprintf(next, sizeof(next), ".%s", name) >= sizeof(next))
		bug("%s is too long a name", name);
	if (dir_fd != -1)
		fd = openat(dir_fd, next,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd == -1 || write_all(fd, octets) == -1 ||
	    renameat(dir_fd, next, dir_fd, name) == -1 || fsync(dir_fd) == -1)
		(void)err_set(
		    err, "%s is not written: %s", name, strerror(errno));
	else
		rc = 0;
	if (rc == -1 && fd != -1)
		(void)unlinkat(dir_fd, next, 0);
	close_if_open(&fd);
	close_if_open(&dir_fd);
	return rc;
}
