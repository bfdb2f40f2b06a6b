/* SPDX-License-Identifier: ISC */
/*
 * What the files of a channel share: channel.c has its life, its output and
 * its questions, channel_input.c what the peer sends.
 */
#ifndef COMMON_CHANNEL_PARTS_H
#define COMMON_CHANNEL_PARTS_H

#include "common/channel.h"
#include "common/frame_out.h"

/* How often deadlines of answers are looked at. */
#define CHANNEL_TICK_MS 100

struct channel_question {
	uint64_t id; /* 0: free */
	enum ipc_type answer_type;
	uint64_t deadline_ms;
	channel_answer_fn *answer;
	void *arg;
	uint32_t next_free;
};

struct channel {
	struct channel_config config;
	void *context;
	int fd;
	struct event *readable;
	struct event *writable;
	struct event *timer;
	struct loop_task flush;
	struct loop_task release;

	char *in; /* received, not yet handled */
	size_t in_used;
	size_t in_size;
	unsigned in_ticks;       /* that the frame at hand was unfinished */
	int in_fds[IPC_FDS_MAX]; /* received, their frame not yet */
	size_t in_fd_count;

	struct frame_out out;
	uint64_t out_progress_ms; /* when something left, or began to wait */

	struct channel_question *requests; /* slot in the low half of the id */
	uint32_t request_slots;
	uint32_t request_free; /* first free slot + 1; 0: none */
	uint32_t request_round;
	size_t requests_waiting;

	bool is_up;
	bool was_up;
	bool is_closed;
	bool is_paused;
	bool tells_owner; /* closed() is due */
	uint64_t opened_ms;
	char reason[ERR_TEXT_MAX];
};

/* ---- channel.c ---- */

/* Ends the channel; its owner hears of it at the end of the turn. */
void channel_shut(
    struct channel *channel, bool tells_owner, const char *reason);

/* The same, and the peer is told the reason. */
void channel_say_why_and_shut(
    struct channel *channel, bool tells_owner, const char *reason);

/* An answer to a question of ours; -1: a breach. */
int channel_take_answer(
    struct channel *channel, const struct channel_frame *frame);

/* ---- channel_input.c ---- */

/* A part of a frame is there; while paused, nobody looked for its rest. */
bool channel_waits_for_rest(const struct channel *channel);

/* Handles the frames that were received whole. */
void channel_handle_input(struct channel *channel);

/* Of the event `readable`. */
void channel_on_readable(evutil_socket_t fd, short what, void *arg);

#endif
