/* SPDX-License-Identifier: ISC */
/*
 * The output of a channel: frames that wait to be sent, and the descriptors
 * that leave with them.
 */
#ifndef COMMON_FRAME_OUT_H
#define COMMON_FRAME_OUT_H

#include "common/ipc.h"

struct evbuffer;
struct fd_entry;

struct frame_out {
	struct evbuffer *buffer;
	uint64_t added; /* octets of all frames so far */
	uint64_t sent;
	struct fd_entry *first;
	struct fd_entry **last;
	bool has_secret; /* among what waits: it is wiped when it leaves */
};

void frame_out_init(struct frame_out *out);
void frame_out_clear(struct frame_out *out);

/* Octets that wait. */
size_t frame_out_pending(const struct frame_out *out);

/*
 * Adds a frame; the header's length and descriptors are filled in from the
 * row.  fds (as many as the row says) are duplicated.  -1 when the message
 * breaks its row, when more than limit octets would wait, or when no
 * descriptor is free: nothing is added then.
 */
int frame_out_add(struct frame_out *out, struct ipc_header header,
    const void *message, const int *fds, size_t limit);

enum frame_out_result {
	FRAME_OUT_EMPTY,  /* all is sent */
	FRAME_OUT_FULL,   /* the socket takes no more now */
	FRAME_OUT_BROKEN, /* nobody reads at the other end */
};

/* Sends what the socket takes; *moved_r: whether anything left. */
enum frame_out_result frame_out_send(
    struct frame_out *out, int fd, bool *moved_r);

#endif
