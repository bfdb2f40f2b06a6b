/* SPDX-License-Identifier: ISC */
/*
 * The domains with DKIM keys outlive this program: after a start, before the
 * signer is there, mail of these must wait and other mail need not.
 * Runs in: postern-queued.  Trusts: its own state directory; each name is
 * parsed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/queue_sign_parts.h"

#define READY_FILE "sign-domains"
/* 20000 names, each with a line end. */
#define READY_SIZE_MAX (20000u * 256)

static void
write_path(const struct queue_sign *sign, const char *suffix, char *path_r,
    size_t size)
{
	(void)snprintf(path_r, size, "%s/%s%s",
	    daemon_state_dir(sign->queued->daemon), READY_FILE, suffix);
}

static void
take_lines(struct queue_sign *sign, struct slice rest)
{
	struct ipc_list_writer facts;

	ipc_list_writer_init(&facts, 2 * READY_SIZE_MAX);
	while (rest.n > 0) {
		const size_t end = slice_find(rest, '\n', 0);
		struct ipc_record_fact fact = {
		    .name = SLICE("domain"), .value = {rest.p, end}};

		(void)ipc_fact_add(&facts, &fact, NULL);
		rest.p += end < rest.n ? end + 1 : end;
		rest.n -= end < rest.n ? end + 1 : end;
	}
	sign_domains_set(&sign->domains, ipc_list_of(&facts));
	ipc_list_writer_clear(&facts);
}

void
sign_ready_load(struct queue_sign *sign)
{
	char path[600];
	struct buf text;
	ssize_t n = 0;
	int fd;

	write_path(sign, "", path, sizeof(path));
	if ((fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) == -1)
		return; /* the signer was never there: any domain may have keys
			 */
	buf_init(&text, READY_SIZE_MAX);
	do {
		char *room = buf_reserve(&text, 65536);

		n = room != NULL ? read(fd, room, 65536) : -1;
		if (n > 0)
			buf_extend(&text, (size_t)n);
	} while (n > 0);
	if (n == 0)
		take_lines(sign, buf_slice(&text));
	buf_clear(&text);
	(void)close(fd);
}

static int
write_names(int fd, const struct sign_domains *domains)
{
	struct buf text;
	ssize_t n;
	int rc;

	buf_init(&text, READY_SIZE_MAX);
	for (size_t i = 0; i < domains->count; i++)
		(void)buf_addf(&text, "%s\n", domains->names[i]);
	n = write(fd, text.p, text.n);
	rc = n >= 0 && (size_t)n == text.n && fdatasync(fd) == 0 ? 0 : -1;
	buf_clear(&text);
	return rc;
}

/* What cannot be kept is asked again: then mail waits, and is not lost. */
void
sign_ready_save(const struct queue_sign *sign)
{
	char path[600];
	char draft[600];
	int fd;
	int rc;

	write_path(sign, "", path, sizeof(path));
	write_path(sign, ".new", draft, sizeof(draft));
	fd = open(
	    draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = fd == -1 ? -1 : write_names(fd, &sign->domains);
	if (rc == -1 || rename(draft, path) == -1)
		log_notice("the list of domains with DKIM keys cannot be "
			   "kept: %s",
		    strerror(errno));
	if (fd != -1)
		(void)close(fd);
}
