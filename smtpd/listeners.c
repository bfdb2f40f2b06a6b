/* SPDX-License-Identifier: ISC */
/*
 * Accepts connections, many at a time.
 * Runs in: postern-smtpd, the acceptor.  Trusts: bindd for what the sockets
 * are for; that they listen is checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc_messages.h"
#include "smtpd/listeners.h"

/* Connections taken from one socket in one turn, so that all get theirs. */
#define BATCH 64
/* Descriptors or memory are out: accepting pauses without spinning. */
#define PAUSE_MS 100

struct listener {
	struct listener *next;
	struct listeners *set;
	enum listener_kind kind;
	char address[IPC_CLIENT_MAX + 1];
	int fd;
	ino_t inode; /* tells whether bindd sent the same socket again */
	struct event *readable;
	bool is_named; /* by the set that is being received */
};

struct listeners {
	struct loop *loop;
	listeners_accept_fn *accept;
	void *arg;
	struct listener *first;
	size_t count;
	struct event *resume;
	bool is_enabled;
};

static void
watch(struct listener *listener, bool is_on)
{
	if (is_on)
		(void)event_add(listener->readable, NULL);
	else
		(void)event_del(listener->readable);
}

static void
watch_all(struct listeners *listeners, bool is_on)
{
	for (struct listener *at = listeners->first; at != NULL; at = at->next)
		watch(at, is_on);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listeners *listeners = arg;

	(void)fd;
	(void)what;
	watch_all(listeners, listeners->is_enabled);
}

static void
on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listener *listener = arg;
	struct listeners *set = listener->set;

	(void)what;
	for (int i = 0; i < BATCH && set->is_enabled; i++) {
		struct sockaddr_storage sa;
		socklen_t length = sizeof(sa);
		struct netaddr client;
		uint16_t port;
		int fd = accept4(listen_fd, (struct sockaddr *)&sa, &length,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd == -1) {
			if (errno == EMFILE || errno == ENFILE ||
			    errno == ENOBUFS || errno == ENOMEM) {
				watch_all(set, false);
				loop_arm(set->resume, PAUSE_MS);
			}
			/* Of others, ECONNABORTED too, the next may be good. */
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			return;
		}
		if (netaddr_from_sockaddr(
			(struct sockaddr *)&sa, length, &client, &port) == -1) {
			(void)close(fd);
			continue;
		}
		set->accept(set->arg, fd, listener->kind, &client, port,
		    listener->address);
	}
}

struct listeners *
listeners_new(struct loop *loop, listeners_accept_fn *accept_client, void *arg)
{
	struct listeners *listeners = xcalloc(1, sizeof(*listeners));

	listeners->loop = loop;
	listeners->accept = accept_client;
	listeners->arg = arg;
	listeners->resume =
	    event_new(loop_base(loop), -1, 0, on_resume, listeners);
	if (listeners->resume == NULL)
		fatal("out of memory for a timer");
	return listeners;
}

static void
listener_free(struct listener *listener)
{
	event_free(listener->readable);
	close_if_open(&listener->fd);
	free(listener);
}

void
listeners_free(struct listeners *listeners)
{
	if (listeners == NULL)
		return;
	while (listeners->first != NULL) {
		struct listener *listener = listeners->first;

		listeners->first = listener->next;
		listener_free(listener);
	}
	event_free(listeners->resume);
	free(listeners);
}

/* A stream socket of the internet that listens; its number in *inode_r. */
static int
check_socket(int fd, ino_t *inode_r)
{
	int listens = 0;
	int domain = 0;
	socklen_t size = sizeof(int);
	struct stat info;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == -1 ||
	    !listens || (domain != AF_INET && domain != AF_INET6) ||
	    fstat(fd, &info) == -1)
		return -1;
	*inode_r = info.st_ino;
	return 0;
}

int
listeners_add(struct listeners *listeners, enum listener_kind kind,
    struct slice address, int fd)
{
	struct listener *listener;
	ino_t inode;

	if (check_socket(fd, &inode) == -1) {
		(void)close(fd);
		return -1;
	}
	for (listener = listeners->first; listener != NULL;
	     listener = listener->next)
		if (listener->inode == inode) {
			listener->kind = kind;
			listener->is_named = true;
			(void)close(fd);
			return 0;
		}
	listener = xcalloc(1, sizeof(*listener));
	listener->set = listeners;
	listener->kind = kind;
	listener->fd = fd;
	listener->inode = inode;
	listener->is_named = true;
	(void)slice_copy(address, listener->address, sizeof(listener->address));
	(void)evutil_make_socket_nonblocking(fd);
	listener->readable = event_new(loop_base(listeners->loop), fd,
	    EV_READ | EV_PERSIST, on_acceptable, listener);
	if (listener->readable == NULL)
		fatal("out of memory for a listener");
	listener->next = listeners->first;
	listeners->first = listener;
	listeners->count++;
	watch(listener, listeners->is_enabled);
	return 0;
}

void
listeners_commit(struct listeners *listeners)
{
	struct listener **at = &listeners->first;

	while (*at != NULL) {
		struct listener *listener = *at;

		if (listener->is_named) {
			listener->is_named = false;
			at = &listener->next;
			continue;
		}
		*at = listener->next;
		listener_free(listener);
		listeners->count--;
	}
}

void
listeners_enable(struct listeners *listeners, bool is_enabled)
{
	if (listeners->is_enabled == is_enabled)
		return;
	listeners->is_enabled = is_enabled;
	watch_all(listeners, is_enabled);
}

size_t
listeners_count(const struct listeners *listeners)
{
	return listeners->count;
}

void
listeners_each(
    const struct listeners *listeners, listeners_each_fn *each, void *arg)
{
	for (const struct listener *at = listeners->first; at != NULL;
	     at = at->next)
		each(arg, at->kind, at->fd);
}
