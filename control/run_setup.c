/* SPDX-License-Identifier: ISC */
/*
 * Before and beside the programs: descriptors as they should be, one
 * supervisor for one instance, and what programs tell it.
 * Runs in: postern-run.  Trusts: nothing of a datagram but its sender's process
 * id, which the kernel tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/loop.h"
#include "control/run.h"

/* A second command waits so long for the first one's programs to end. */
#define LOCK_LIMIT_MS 10000
#define LOCK_PAUSE_MS 50

void
run_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd == -1)
		_exit(1);
	/* Whatever the caller left open is not for our programs. */
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0) == -1)
		fatal("close_range: %s", strerror(errno));
}

int
run_lock(const struct instance *instance, int *fd_r, struct err *err)
{
	char path[INSTANCE_PATH_MAX];
	const uint64_t limit_ms = clock_monotonic_ms() + LOCK_LIMIT_MS;

	if (snprintf(path, sizeof(path), "%s/run.lock", instance->run_dir) >=
	    (int)sizeof(path))
		return err_set(err, "the path of the run folder is too long");
	*fd_r = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd_r == -1)
		return err_set(err, "open %s: %s", path, strerror(errno));
	while (flock(*fd_r, LOCK_EX | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set(
			    err, "lock %s: %s", path, strerror(errno));
		if (clock_monotonic_ms() > limit_ms)
			return err_set(err,
			    "the gateway runs already here: %s is locked",
			    path);
		(void)usleep(LOCK_PAUSE_MS * 1000);
	}
	return 0;
}

ssize_t
run_notify_receive(int fd, char *text, size_t size, pid_t *pid_r)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(struct ucred)) + 256];
	} control;
	struct iovec part = {.iov_base = text, .iov_len = size};
	struct msghdr message = {.msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = sizeof(control)};
	const ssize_t n =
	    recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*pid_r = 0;
	if (n == -1)
		return -1;
	for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at != NULL;
	     at = CMSG_NXTHDR(&message, at)) {
		struct ucred sender;
		int stray;

		if (at->cmsg_level != SOL_SOCKET)
			continue;
		if (at->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&sender, CMSG_DATA(at), sizeof(sender));
			*pid_r = sender.pid;
		}
		/* Nobody has descriptors to send here. */
		for (size_t i = 0;
		     at->cmsg_type == SCM_RIGHTS &&
		     CMSG_LEN((i + 1) * sizeof(int)) <= at->cmsg_len;
		     i++) {
			memcpy(&stray, CMSG_DATA(at) + i * sizeof(int),
			    sizeof(stray));
			(void)close(stray);
		}
	}
	return n;
}
