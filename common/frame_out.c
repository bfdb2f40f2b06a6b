/* SPDX-License-Identifier: ISC */
/*
 * Frames on their way out.  A descriptor travels with the first octet of its
 * frame, so a system call ends where the next frame with descriptors begins.
 * Runs in: every program.  Trusts: its own program's messages only as far as
 * their rows.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/frame_out.h"

/* Pieces of memory that one system call sends. */
#define PIECES_MAX 64

/* Descriptors that leave with the octet at that offset of the stream. */
struct fd_entry {
	uint64_t offset;
	int fds[IPC_FDS_MAX];
	size_t count;
	struct fd_entry *next;
};

void
frame_out_init(struct frame_out *out)
{
	*out = (struct frame_out){.buffer = evbuffer_new()};
	if (out->buffer == NULL)
		fatal("out of memory for a channel");
	out->last = &out->first;
}

static void
drop_first_fds(struct frame_out *out)
{
	struct fd_entry *entry = out->first;

	for (size_t i = 0; i < entry->count; i++)
		close_if_open(&entry->fds[i]);
	out->first = entry->next;
	if (out->first == NULL)
		out->last = &out->first;
	free(entry);
}

/* Takes the first n octets off what waits. */
static void
drain(struct frame_out *out, size_t n)
{
	while (out->has_secret && n > 0) {
		size_t take = evbuffer_get_contiguous_space(out->buffer);

		if (take == 0)
			bug("an evbuffer has less than its length");
		if (take > n)
			take = n;
		explicit_bzero(
		    evbuffer_pullup(out->buffer, (ssize_t)take), take);
		(void)evbuffer_drain(out->buffer, take);
		n -= take;
	}
	(void)evbuffer_drain(out->buffer, n);
}

void
frame_out_clear(struct frame_out *out)
{
	while (out->first != NULL)
		drop_first_fds(out);
	if (out->buffer != NULL) {
		drain(out, frame_out_pending(out));
		evbuffer_free(out->buffer);
	}
	out->buffer = NULL;
}

size_t
frame_out_pending(const struct frame_out *out)
{
	return evbuffer_get_length(out->buffer);
}

/* ---- adding ---- */

/* Keeps duplicates for the frame whose first octet is added next. */
static int
add_fds(struct frame_out *out, const int *fds, size_t count)
{
	struct fd_entry *entry = xcalloc(1, sizeof(*entry));

	entry->offset = out->added;
	for (; entry->count < count; entry->count++) {
		int copy = fcntl(fds[entry->count], F_DUPFD_CLOEXEC, 3);

		if (copy == -1) {
			while (entry->count > 0)
				(void)close(entry->fds[--entry->count]);
			free(entry);
			return -1;
		}
		entry->fds[entry->count] = copy;
	}
	*out->last = entry;
	out->last = &entry->next;
	return 0;
}

int
frame_out_add(struct frame_out *out, struct ipc_header header,
    const void *message, const int *fds, size_t limit)
{
	const struct ipc_row *row = ipc_row((enum ipc_type)header.type);
	struct evbuffer_iovec room;
	size_t size;

	if (row->fds > IPC_FDS_MAX || (row->fds > 0 && fds == NULL))
		bug("%s takes %u descriptors", row->shape.name, row->fds);
	if (ipc_shape_size(&row->shape, message, &size, NULL) == -1 ||
	    frame_out_pending(out) + IPC_HEADER_SIZE + size > limit)
		return -1;
	if (row->fds > 0 && add_fds(out, fds, row->fds) == -1)
		return -1;
	if (evbuffer_reserve_space(
		out->buffer, (ssize_t)(IPC_HEADER_SIZE + size), &room, 1) != 1)
		fatal("out of memory for a frame of %zu octets", size);
	header.length = (uint32_t)size;
	header.fds = row->fds;
	ipc_header_write(&header, room.iov_base);
	ipc_shape_write(
	    &row->shape, message, (char *)room.iov_base + IPC_HEADER_SIZE);
	room.iov_len = IPC_HEADER_SIZE + size;
	if (evbuffer_commit_space(out->buffer, &room, 1) == -1)
		bug("evbuffer_commit_space");
	out->has_secret |= ipc_is_secret((enum ipc_type)header.type);
	out->added += room.iov_len;
	return 0;
}

/* ---- sending ---- */

/* Octets that the next system call may send at most. */
static size_t
next_length(const struct frame_out *out, bool has_fds)
{
	const struct fd_entry *next = out->first;

	if (has_fds)
		next = next->next;
	return next == NULL ? frame_out_pending(out)
			    : (size_t)(next->offset - out->sent);
}

static size_t
gather(const struct frame_out *out, size_t length, struct iovec *pieces)
{
	struct evbuffer_iovec found[PIECES_MAX];
	int n = evbuffer_peek(
	    out->buffer, (ssize_t)length, NULL, found, PIECES_MAX);
	size_t count = 0;

	for (; (int)count < n && count < PIECES_MAX && length > 0; count++) {
		size_t take = found[count].iov_len < length
				  ? found[count].iov_len
				  : length;

		pieces[count] = (struct iovec){found[count].iov_base, take};
		length -= take;
	}
	return count;
}

static ssize_t
send_some(struct frame_out *out, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} control;
	struct fd_entry *entry = out->first;
	bool has_fds = entry != NULL && entry->offset == out->sent;
	struct iovec pieces[PIECES_MAX];
	struct msghdr message = {.msg_iov = pieces};
	ssize_t n;

	message.msg_iovlen = gather(out, next_length(out, has_fds), pieces);
	if (has_fds) {
		size_t fds_size = sizeof(int) * entry->count;
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(fds_size);
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_size);
		memcpy(CMSG_DATA(cmsg), entry->fds, fds_size);
	}
	n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0) {
		drain(out, (size_t)n);
		out->sent += (uint64_t)n;
		if (has_fds)
			drop_first_fds(out);
	}
	return n;
}

enum frame_out_result
frame_out_send(struct frame_out *out, int fd, bool *moved_r)
{
	*moved_r = false;
	while (frame_out_pending(out) > 0) {
		ssize_t n = send_some(out, fd);

		if (n > 0)
			*moved_r = true;
		else if (n == -1 && errno == EINTR)
			continue;
		else if (n == -1 && (errno == EAGAIN || errno == ENOBUFS))
			return FRAME_OUT_FULL;
		else
			return FRAME_OUT_BROKEN;
	}
	out->has_secret = false;
	return FRAME_OUT_EMPTY;
}
