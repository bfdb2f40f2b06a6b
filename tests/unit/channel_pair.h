/* SPDX-License-Identifier: ISC */
/*
 * Two ends of a socket pair for tests of channels: both ends channels, or one
 * end a bare socket that says what no honest peer would.
 */
#ifndef TESTS_UNIT_CHANNEL_PAIR_H
#define TESTS_UNIT_CHANNEL_PAIR_H

#include "common/channel.h"

/* Waiting for something that should happen ends here. */
#define PATIENCE_MS 60000

/* What a handler is to do, beside noting that it was called. */
enum channel_act {
	ACT_NOTE,
	ACT_ANSWER,
	ACT_ANSWER_WRONGLY,
	ACT_CLOSE,
	ACT_CLOSE_TWICE,
	ACT_BREACH,
	ACT_PAUSE,
	ACT_KEEP_FD
};

/* One end and what it saw. */
struct channel_end {
	struct channel *channel;
	enum channel_act act;
	unsigned frames;
	unsigned ups;
	unsigned closes;
	unsigned releases;
	bool was_up;
	char reason[ERR_TEXT_MAX];
	size_t last_content;
	uint64_t last_request;
	int kept_fd;
	unsigned answers;
	unsigned empty_answers;
	uint16_t last_code;
};

struct channel_pair {
	struct loop *loop;
	struct channel_end ours;
	struct channel_end theirs;
	int raw; /* the other end without a channel */
};

/* Both ends are up: ours is smtpd's, theirs queued's. */
void channel_pair_init(struct channel_pair *pair, size_t output_limit);

/* theirs is queued's, raw the bare socket. */
void channel_pair_init_raw(struct channel_pair *pair);

void channel_pair_clear(struct channel_pair *pair);

/* One turn of the loop, at least half a millisecond long. */
void channel_pair_turn(struct loop *loop);

#define WAIT_UNTIL(loop, condition)                                   \
	do {                                                          \
		uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS; \
		while (!(condition) && clock_monotonic_ms() < end_ms) \
			channel_pair_turn(loop);                      \
	} while (0)

/* How many descriptors this process has open. */
unsigned channel_pair_open_fds(void);

#endif
