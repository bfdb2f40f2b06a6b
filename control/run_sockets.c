/* SPDX-License-Identifier: ISC */
/*
 * The sockets of an instance, from the tables of common/roles.h.  They stay
 * open in the supervisor: while a program restarts, connections and events
 * wait in the kernel.
 * Runs in: postern-run.  Trusts: the tables.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buf.h"
#include "control/run.h"

/* Binds a socket file that nobody can use yet (the umask is 077). */
static int
bind_socket(const char *path, int type, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = -1;

	if (slice_copy(slice_of(path), address.sun_path,
		sizeof(address.sun_path)) == -1)
		return err_set(err,
		    "the path %s is too long for a socket; "
		    "choose a shorter --root",
		    path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return err_set(err, "socket: %s", strerror(errno));
	(void)unlink(path);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) ==
		-1 ||
	    (type == SOCK_STREAM && listen(fd, SOMAXCONN) == -1)) {
		(void)err_set(err, "bind %s: %s", path, strerror(errno));
		close_if_open(&fd);
	}
	return fd;
}

/* To connect, one must be able to write to the file: the peer alone can. */
static int
give_to_peer(const char *path, enum role peer, struct err *err)
{
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	mode_t mode = 0600;

	if (peer == ROLE_ADMIN) {
		gid = instance_admin_group();
		if (gid != (gid_t)-1)
			mode = 0660;
	} else {
		uid = role_uid(peer);
	}
	if (geteuid() == 0 && lchown(path, uid, gid) == -1)
		return err_set(err, "chown %s: %s", path, strerror(errno));
	if (geteuid() != 0)
		mode = 0600;
	if (chmod(path, mode) == -1)
		return err_set(err, "chmod %s: %s", path, strerror(errno));
	return 0;
}

static int
add_socket(struct run_sockets *sockets, const struct instance *instance,
    const struct run_socket *row, bool is_managing, struct err *err)
{
	struct run_socket *socket = &sockets->list[sockets->count];
	const bool is_event =
	    row->server == ROLE_LOGHUB && strncmp(row->name, "events-", 7) == 0;
	int n;

	*socket = *row;
	/* Other commands must not take it for the running gateway's. */
	n = snprintf(socket->path, sizeof(socket->path), "%s/%s%s.sock",
	    instance->run_dir,
	    is_managing && row->peer == ROLE_ADMIN ? "manage." : "", row->name);
	if (n < 0 || (size_t)n >= sizeof(socket->path))
		return err_set(err,
		    "the path %s is too long for a socket; "
		    "choose a shorter --root",
		    instance->run_dir);
	socket->fd =
	    bind_socket(socket->path, is_event ? SOCK_DGRAM : SOCK_STREAM, err);
	if (socket->fd == -1)
		return -1;
	sockets->count++;
	return give_to_peer(socket->path, row->peer, err);
}

int
run_sockets_open(struct run_sockets *sockets, const struct instance *instance,
    const bool *is_wanted, bool is_managing, struct err *err)
{
	struct run_socket row;

	sockets->list =
	    xcalloc(channel_row_count + ROLE_COUNT, sizeof(*sockets->list));
	sockets->count = 0;
	for (size_t i = 0; i < channel_row_count; i++) {
		row = (struct run_socket){.server = channel_rows[i].server,
		    .peer = channel_rows[i].peer};
		if (!is_wanted[row.server])
			continue;
		role_socket_name(row.server, row.peer, row.name);
		if (add_socket(sockets, instance, &row, is_managing, err) == -1)
			return -1;
	}
	for (int role = 0; role < ROLE_COUNT; role++) {
		if (!role_is_daemon((enum role)role) || !is_wanted[ROLE_LOGHUB])
			continue;
		row = (struct run_socket){
		    .server = ROLE_LOGHUB, .peer = (enum role)role};
		role_event_socket_name((enum role)role, row.name);
		if (add_socket(sockets, instance, &row, is_managing, err) == -1)
			return -1;
	}
	return 0;
}

void
run_sockets_close(struct run_sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++) {
		close_if_open(&sockets->list[i].fd);
		(void)unlink(sockets->list[i].path);
	}
	free(sockets->list);
	*sockets = (struct run_sockets){0};
}

int
run_notify_open(
    const struct instance *instance, char path_r[108], struct err *err)
{
	const int one = 1;
	int fd = -1;
	const int n =
	    snprintf(path_r, 108, "%s/notify.sock", instance->run_dir);

	if (n < 0 || n >= 108)
		return err_set(err,
		    "the path %s is too long for a socket; "
		    "choose a shorter --root",
		    instance->run_dir);
	if ((fd = bind_socket(path_r, SOCK_DGRAM, err)) == -1)
		return -1;
	/* All programs write to it; who wrote, the kernel says. */
	if (chmod(path_r, geteuid() == 0 ? 0666 : 0600) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) == -1) {
		(void)err_set(err, "%s: %s", path_r, strerror(errno));
		close_if_open(&fd);
	}
	return fd;
}
