/* SPDX-License-Identifier: ISC */
/*
 * The files of wrapped private keys, keys/CLASS/NAME.
 * Runs in: postern-signerd's broker.  Trusts: names that it made itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "signer/key_call.h"

#define NAME_SIZE 300

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

static int
open_folder(const struct signerd *signerd, enum pool_class class)
{
	char folder[512];

	signerd_key_folder(signerd, class, folder, sizeof(folder));
	return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int
key_file_write(const struct signerd *signerd, enum pool_class class,
    const char *name, struct slice octets, struct err *err)
{
	char next[NAME_SIZE];
	int dir_fd = open_folder(signerd, class);
	int fd = -1;
	int rc = -1;

	(void)snprintf(next, sizeof(next), ".%s", name);
	if (dir_fd != -1)
		fd = openat(dir_fd, next,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd == -1 || write_all(fd, octets) == -1 ||
	    renameat(dir_fd, next, dir_fd, name) == -1 || fsync(dir_fd) == -1)
		(void)err_set(
		    err, "the private key is not stored: %s", strerror(errno));
	else
		rc = 0;
	if (rc == -1 && fd != -1)
		(void)unlinkat(dir_fd, next, 0);
	close_if_open(&fd);
	close_if_open(&dir_fd);
	return rc;
}

void
key_file_remove(
    const struct signerd *signerd, enum pool_class class, const char *name)
{
	int dir_fd = open_folder(signerd, class);

	if (dir_fd != -1 && unlinkat(dir_fd, name, 0) == 0)
		(void)fsync(dir_fd);
	close_if_open(&dir_fd);
}
