/* SPDX-License-Identifier: ISC */
/*
 * The files of wrapped private keys, keys/CLASS/NAME.
 * Runs in: postern-signerd's broker.  Trusts: names that it made itself.
 */
#include <fcntl.h>
#include <unistd.h>

#include "signer/durable_file.h"
#include "signer/key_call.h"

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
	char folder[512];
	struct err why;

	signerd_key_folder(signerd, class, folder, sizeof(folder));
	if (durable_file_write(folder, name, octets, &why) == -1)
		return err_set(
		    err, "the private key is not stored: %s", why.text);
	return 0;
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
