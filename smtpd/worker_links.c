/* SPDX-License-Identifier: ISC */
/*
 * Connects a worker's links and counts them: one to each program.
 * Runs in: postern-smtpd, the acceptor.  Trusts: nothing that a worker says,
 * since it is the process that strangers talk to.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/link.h"
#include "smtpd/worker_links.h"

#define PATH_SIZE 512

static const enum role link_roles[WORKER_LINKS] = {
    ROLE_LOGHUB, ROLE_QUEUED, ROLE_AUTHD, ROLE_CHECKD};

/* A copy of ours remains open, so that it ends when we want it to. */
static void
end_link(struct worker_links *links, size_t i)
{
	if (links->fds[i] != -1)
		(void)shutdown(links->fds[i], SHUT_RDWR);
	close_if_open(&links->fds[i]);
}

void
worker_links_init(struct worker_links *links)
{
	for (size_t i = 0; i < WORKER_LINKS; i++) {
		links->is_wanted[i] = false;
		links->fds[i] = -1;
	}
}

void
worker_links_want_all(struct worker_links *links)
{
	for (size_t i = 0; i < WORKER_LINKS; i++)
		links->is_wanted[i] = true;
}

/*
 * A worker that lies about its link's end loses it here: otherwise one that
 * was taken over could use up the links that a program has for all.
 */
int
worker_links_want(struct worker_links *links, enum role role)
{
	for (size_t i = 0; i < WORKER_LINKS; i++)
		if (link_roles[i] == role) {
			end_link(links, i);
			links->is_wanted[i] = true;
			return 0;
		}
	return -1;
}

void
worker_links_end(struct worker_links *links)
{
	for (size_t i = 0; i < WORKER_LINKS; i++) {
		end_link(links, i);
		links->is_wanted[i] = false;
	}
}

/* ---- connecting ---- */

/* The hub's socket takes datagrams; all others are streams. */
static int
connect_log(const char *run_dir, struct err *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char name[ROLE_SOCKET_NAME_MAX];
	int fd;

	role_event_socket_name(ROLE_SMTPD, name);
	(void)snprintf(
	    sun.sun_path, sizeof(sun.sun_path), "%s/%s.sock", run_dir, name);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return err_set(err, "socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1) {
		(void)err_set(err, "%s: %s", sun.sun_path, strerror(errno));
		close_if_open(&fd);
	}
	return fd;
}

static int
connect_role(const char *run_dir, enum role role, struct err *err)
{
	char name[ROLE_SOCKET_NAME_MAX];
	char path[PATH_SIZE];

	if (role == ROLE_LOGHUB)
		return connect_log(run_dir, err);
	role_socket_name(role, ROLE_SMTPD, name);
	(void)snprintf(path, sizeof(path), "%s/%s.sock", run_dir, name);
	return link_connect_fd(path, err);
}

static bool
give(struct worker_links *links, size_t i, const char *run_dir,
    struct channel *worker)
{
	struct ipc_worker_link message = {.role = (uint16_t)link_roles[i]};
	int fd = connect_role(run_dir, link_roles[i], NULL);

	if (fd == -1)
		return false;
	if (channel_send(worker, MSG_WORKER_LINK, &message, &fd) == -1) {
		(void)close(fd);
		return false;
	}
	links->is_wanted[i] = false;
	if (link_roles[i] != ROLE_LOGHUB)
		links->fds[i] = fd;
	else
		(void)close(fd);
	return true;
}

bool
worker_links_give(
    struct worker_links *links, const char *run_dir, struct channel *worker)
{
	bool is_complete = true;

	for (size_t i = 0; i < WORKER_LINKS; i++)
		if (links->is_wanted[i] && !give(links, i, run_dir, worker))
			is_complete = false;
	return is_complete;
}
