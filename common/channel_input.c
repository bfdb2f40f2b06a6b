/* SPDX-License-Identifier: ISC */
/*
 * What a channel's peer sends: octets and descriptors, cut into frames, each
 * checked against its row before a handler sees it.
 * Runs in: every program.  Trusts: nothing that the peer sends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/channel_parts.h"

/* One read; a usual turn's frames fit. */
#define READ_SIZE (256u * 1024)
/* Memory of the input that is kept when all of it was handled. */
#define IN_KEEP (512u * 1024)
/* Input taken in one turn, so that one peer cannot hold the loop. */
#define TURN_INPUT_MAX (1024u * 1024)

bool
channel_waits_for_rest(const struct channel *channel)
{
	return channel->in_used > 0 && !channel->is_paused;
}

static int
handle_hello(struct channel *channel, const struct ipc_hello *hello)
{
	if (channel->is_up)
		return -1;
	if (hello->table_hash != ipc_table_hash()) {
		channel_say_why_and_shut(
		    channel, true, "another build: restart pending");
		return 0;
	}
	if (!slice_equals(
		hello->role, slice_of(role_name(channel->config.peer))))
		return -1;
	channel->is_up = true;
	channel->was_up = true;
	if (channel->config.up != NULL)
		channel->config.up(channel);
	return 0;
}

static const struct channel_handler *
find_handler(const struct channel *channel, enum ipc_type type)
{
	const struct channel_handler *row = channel->config.handlers;

	for (; row != NULL && row->handle != NULL; row++)
		if (row->type == type && row->peer == channel->config.peer)
			return row;
	return NULL;
}

static int
handle_frame(struct channel *channel, const struct ipc_header *header,
    struct slice payload, int *fds)
{
	const struct channel_handler *handler;
	union ipc_message message;
	struct channel_frame frame = {.type = (enum ipc_type)header->type,
	    .request_id = header->request_id,
	    .message = &message,
	    .fds = fds};
	struct err err;

	if (ipc_shape_read(
		&ipc_row(frame.type)->shape, payload, &message, &err) == -1)
		return -1;
	if (frame.type == MSG_HELLO)
		return handle_hello(channel, &message.hello);
	if (!channel->is_up)
		return -1;
	if (frame.type == MSG_BYE) {
		char reason[256 + 1];

		(void)slice_copy(message.bye.reason, reason, sizeof(reason));
		channel_shut(channel, true, reason);
		return 0;
	}
	if (header->is_answer)
		return channel_take_answer(channel, &frame);
	if ((handler = find_handler(channel, frame.type)) == NULL)
		return -1;
	return handler->handle(channel, &frame);
}

/* The first frame in the input: its size, 0 when incomplete, -1 a breach. */
static ssize_t
frame_size(struct channel *channel, struct slice in, struct ipc_header *header)
{
	size_t limit;

	*header = (struct ipc_header){0};
	if (in.n < IPC_HEADER_SIZE)
		return 0;
	ipc_header_read(in.p, header);
	if (header->type >= MSG_COUNT ||
	    (!channel->is_up && header->type != MSG_HELLO) ||
	    header->fds != ipc_row((enum ipc_type)header->type)->fds)
		return -1;
	limit = ipc_max_size((enum ipc_type)header->type);
	if (header->length > limit)
		return -1;
	if (in.n - IPC_HEADER_SIZE < header->length)
		return 0;
	return (ssize_t)(IPC_HEADER_SIZE + header->length);
}

static int
take_frame(struct channel *channel, const struct ipc_header *header,
    struct slice payload)
{
	int fds[IPC_FDS_MAX] = {-1, -1, -1, -1};
	int rc;

	if (header->fds > channel->in_fd_count)
		return -1;
	for (size_t i = 0; i < header->fds; i++)
		fds[i] = channel->in_fds[i];
	channel->in_fd_count -= header->fds;
	memmove(channel->in_fds, channel->in_fds + header->fds,
	    channel->in_fd_count * sizeof(int));
	rc = handle_frame(channel, header, payload, fds);
	if (ipc_is_secret((enum ipc_type)header->type))
		explicit_bzero((void *)(uintptr_t)payload.p, payload.n);
	for (size_t i = 0; i < header->fds; i++)
		close_if_open(&fds[i]);
	return rc;
}

void
channel_handle_input(struct channel *channel)
{
	struct slice in = {channel->in, channel->in_used};
	struct ipc_header header = {0};
	ssize_t size = 0;

	while (!channel->is_closed && !channel->is_paused &&
	       (size = frame_size(channel, in, &header)) > 0) {
		struct slice payload = {in.p + IPC_HEADER_SIZE, header.length};

		if (take_frame(channel, &header, payload) == -1) {
			size = -1;
			break;
		}
		in.p += size;
		in.n -= (size_t)size;
	}
	if (channel->is_closed)
		return;
	if (size == -1) {
		char reason[64];

		(void)snprintf(reason, sizeof(reason),
		    "a frame broke its row: %s",
		    in.n >= 6 && header.type < MSG_COUNT
			? ipc_row((enum ipc_type)header.type)->shape.name
			: "unknown type");
		channel_shut(channel, true, reason);
		return;
	}
	if (in.n == 0 && channel->in_fd_count > 0) {
		channel_shut(
		    channel, true, "more descriptors than its frames named");
		return;
	}
	if (in.p != channel->in)
		channel->in_ticks = 0;
	if (in.n > 0 && in.p != channel->in) {
		memmove(channel->in, in.p, in.n);
		if (ipc_is_secret((enum ipc_type)header.type))
			explicit_bzero(
			    channel->in + in.n, channel->in_used - in.n);
	}
	channel->in_used = in.n;
	if (channel_waits_for_rest(channel) &&
	    !event_pending(channel->timer, EV_TIMEOUT, NULL))
		loop_arm(channel->timer, CHANNEL_TICK_MS);
	if (in.n == 0 && channel->in_size > IN_KEEP) {
		free(channel->in);
		channel->in = NULL;
		channel->in_size = 0;
	}
}

/* A secret that began to come in is not left behind where it was. */
static void
grow(struct channel *channel, size_t size, bool has_secret)
{
	char *old = channel->in;

	if (!has_secret) {
		channel->in = xrealloc(old, size);
	} else {
		channel->in = xmalloc(size);
		memcpy(channel->in, old, channel->in_used);
		explicit_bzero(old, channel->in_used);
		free(old);
	}
	channel->in_size = size;
}

/* Room to read the rest of the frame at hand, and at least READ_SIZE. */
static void
make_room(struct channel *channel)
{
	struct ipc_header header = {0};
	size_t want = channel->in_used + READ_SIZE;

	/* A header that was not looked at yet (paused) does not count. */
	if (frame_size(channel, (struct slice){channel->in, channel->in_used},
		&header) == 0 &&
	    want < IPC_HEADER_SIZE + (size_t)header.length)
		want = IPC_HEADER_SIZE + (size_t)header.length;
	if (!channel->is_up)
		want = 1024; /* nothing but a HELLO */
	if (channel->in_size < want)
		grow(channel, want, ipc_is_secret((enum ipc_type)header.type));
}

static int
keep_fds(struct channel *channel, struct msghdr *message)
{
	struct cmsghdr *cmsg;
	int rc = 0;

	for (cmsg = CMSG_FIRSTHDR(message); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(message, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int),
			    sizeof(int));
			if (channel->in_fd_count < IPC_FDS_MAX)
				channel->in_fds[channel->in_fd_count++] = fd;
			else {
				(void)close(fd);
				rc = -1;
			}
		}
	}
	return (message->msg_flags & MSG_CTRUNC) != 0 ? -1 : rc;
}

/* Octets read; 0 when there are none now; -1 at the end of the channel. */
static ssize_t
read_some(struct channel *channel)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} control;
	struct iovec vec;
	struct msghdr message = {.msg_iov = &vec,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	ssize_t n;

	make_room(channel);
	vec.iov_base = channel->in + channel->in_used;
	vec.iov_len = channel->in_size - channel->in_used;
	n = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		channel_shut(channel, true, "the peer closed");
		return -1;
	}
	if (keep_fds(channel, &message) == -1) {
		channel_shut(
		    channel, true, "more descriptors than its frames named");
		return -1;
	}
	channel->in_used += (size_t)n;
	return n;
}

void
channel_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;
	size_t total = 0;
	ssize_t n;

	(void)fd;
	(void)what;
	do {
		size_t room;

		if ((n = read_some(channel)) <= 0)
			return;
		room = channel->in_size - channel->in_used;
		total += (size_t)n;
		channel_handle_input(channel);
		if (room > 0 && total < READ_SIZE)
			return; /* a short read: there was no more */
	} while (!channel->is_closed && !channel->is_paused &&
		 total < TURN_INPUT_MAX);
}

void
channel_pause(struct channel *channel)
{
	if (channel->is_closed || channel->is_paused)
		return;
	channel->is_paused = true;
	(void)event_del(channel->readable);
}

/* Frames already received are handled from the loop, not from here. */
void
channel_resume(struct channel *channel)
{
	if (channel->is_closed || !channel->is_paused)
		return;
	channel->is_paused = false;
	channel->in_ticks = 0;
	(void)event_add(channel->readable, NULL);
	if (channel->in_used > 0)
		event_active(channel->writable, EV_READ, 0);
}
