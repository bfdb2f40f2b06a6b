/* SPDX-License-Identifier: ISC */
/*
 * Connecting to a server's socket, and taking a peer's connections.
 * Runs in: every program.  Trusts: the run directory's owner; a peer only as
 * far as its uid goes, and then nothing it says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/link.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 2000

struct link {
	struct channel_config config; /* the caller's, with our hooks */
	char *path;
	struct channel *channel; /* connected, maybe not yet up */
	struct event *retry;
	uint64_t backoff_ms;
};

static void link_try(struct link *link);

int
link_connect_fd(const char *socket_path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (slice_copy(slice_of(socket_path), address.sun_path,
		sizeof(address.sun_path)) == -1)
		return err_set(err, "%s: too long for a socket", socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return err_set(err, "socket: %s", strerror(errno));
	/* A full backlog gives EAGAIN at once: the back-off deals with it. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) ==
	    -1) {
		(void)err_set(err, "%s: %s", socket_path, strerror(errno));
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void
retry_later(struct link *link)
{
	loop_arm(link->retry, link->backoff_ms);
	link->backoff_ms *= 2;
	if (link->backoff_ms > BACKOFF_MAX_MS)
		link->backoff_ms = BACKOFF_MAX_MS;
}

/* A peer that refuses us (another build) is asked again more slowly. */
static void
on_released(void *keeper, bool was_up)
{
	struct link *link = keeper;

	if (was_up)
		link->backoff_ms = BACKOFF_FIRST_MS;
	link->channel = NULL;
	retry_later(link);
}

static void
link_try(struct link *link)
{
	int fd = link_connect_fd(link->path, NULL);

	if (fd == -1) {
		retry_later(link);
		return;
	}
	link->channel = channel_new(&link->config, fd);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	link_try(arg);
}

struct link *
link_new(const struct channel_config *config, const char *socket_path)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->config = *config;
	link->config.keeper = link;
	link->config.released = on_released;
	link->path = xstrdup(socket_path);
	link->backoff_ms = BACKOFF_FIRST_MS;
	link->retry = event_new(loop_base(config->loop), -1, 0, on_retry, link);
	if (link->retry == NULL)
		fatal("out of memory for a link");
	link_try(link);
	return link;
}

void
link_free(struct link *link)
{
	if (link == NULL)
		return;
	if (link->channel != NULL) {
		channel_drop_keeper(link->channel);
		channel_close(link->channel);
	}
	event_free(link->retry);
	free(link->path);
	free(link);
}

struct channel *
link_channel(const struct link *link)
{
	return link != NULL && link->channel != NULL &&
		       channel_is_up(link->channel)
		   ? link->channel
		   : NULL;
}

/* ---- doors ---- */

/* Descriptors are out: accepting pauses for this long, without spinning. */
#define ACCEPT_PAUSE_MS 100

struct door {
	struct channel_config config; /* the caller's, with our hook */
	int fd;
	uid_t peer_uid;
	struct event *acceptable;
	struct event *resume;
	size_t max_channels;
	size_t channels;
};

static void
on_guest_released(void *keeper, bool was_up)
{
	struct door *door = keeper;

	(void)was_up;
	door->channels--;
}

static bool
is_expected_peer(const struct door *door, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (door->config.peer == ROLE_ADMIN)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1)
		return false;
	return peer.uid == door->peer_uid || peer.uid == 0;
}

static void
pause_accepting(struct door *door)
{
	(void)event_del(door->acceptable);
	loop_arm(door->resume, ACCEPT_PAUSE_MS);
}

static void
on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
	struct door *door = arg;
	int fd;

	(void)what;
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM)
			pause_accepting(door);
		return;
	}
	if (!is_expected_peer(door, fd) ||
	    door->channels >= door->max_channels) {
		(void)close(fd);
		return;
	}
	door->channels++;
	(void)channel_new(&door->config, fd);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct door *door = arg;

	(void)fd;
	(void)what;
	(void)event_add(door->acceptable, NULL);
}

struct door *
door_new(
    const struct channel_config *config, int listen_fd, size_t max_channels)
{
	struct door *door = xcalloc(1, sizeof(*door));
	struct event_base *base = loop_base(config->loop);

	door->config = *config;
	door->config.keeper = door;
	door->config.released = on_guest_released;
	door->fd = listen_fd;
	door->max_channels = max_channels;
	door->peer_uid = role_uid(config->peer);
	(void)evutil_make_socket_nonblocking(listen_fd);
	door->acceptable = event_new(
	    base, listen_fd, EV_READ | EV_PERSIST, on_acceptable, door);
	door->resume = event_new(base, -1, 0, on_resume, door);
	if (door->acceptable == NULL || door->resume == NULL)
		fatal("out of memory for a door");
	(void)event_add(door->acceptable, NULL);
	return door;
}

void
door_free(struct door *door)
{
	if (door == NULL)
		return;
	event_free(door->acceptable);
	event_free(door->resume);
	close_if_open(&door->fd);
	free(door);
}
