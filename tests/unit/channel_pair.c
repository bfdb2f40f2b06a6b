/* SPDX-License-Identifier: ISC */
/*
 * What tests of channels share.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/channel_pair.h"

/* ---- a loop that a test can wait in ---- */

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	loop_stop(arg);
}

void
channel_pair_turn(struct loop *loop)
{
	struct timeval wait = {.tv_usec = 500};

	(void)event_base_once(
	    loop_base(loop), -1, EV_TIMEOUT, on_pause_over, loop, &wait);
	loop_run(loop);
}

/* ---- handlers ---- */

static int
handle(struct channel *channel, const struct channel_frame *frame)
{
	struct channel_end *end = channel_owner(channel);
	struct ipc_queue_answer answer = {.code = 250, .text = SLICE("taken")};
	struct ipc_life_stored wrong = {.count = 1};

	end->frames++;
	end->last_request = frame->request_id;
	if (frame->type == MSG_QUEUE_CHUNK)
		end->last_content = frame->message->queue_chunk.content.n;
	if (end->act == ACT_ANSWER)
		(void)channel_answer(
		    channel, frame->request_id, MSG_QUEUE_ANSWER, &answer);
	else if (end->act == ACT_ANSWER_WRONGLY)
		(void)channel_answer(
		    channel, frame->request_id, MSG_LIFE_STORED, &wrong);
	else if (end->act == ACT_CLOSE || end->act == ACT_CLOSE_TWICE)
		channel_close(channel);
	else if (end->act == ACT_PAUSE)
		channel_pause(channel);
	else if (end->act == ACT_KEEP_FD) {
		end->kept_fd = frame->fds[0];
		frame->fds[0] = -1;
	}
	if (end->act == ACT_CLOSE_TWICE)
		channel_close_with(channel, "again");
	return end->act == ACT_BREACH ? -1 : 0;
}

static const struct channel_handler queued_takes[] = {
    {ROLE_SMTPD, MSG_QUEUE_CHUNK, handle},
    {ROLE_SMTPD, MSG_QUEUE_END, handle},
    {ROLE_SMTPD, MSG_RELAY_FILE, handle},
    {ROLE_SMTPD, MSG_TLS_INSTALL, handle},
    {ROLE_RELAYD, MSG_RELAY_READY, handle},
    {ROLE_NONE, MSG_HELLO, NULL},
};
static const struct channel_handler smtpd_takes[] = {
    {ROLE_QUEUED, MSG_QUEUE_CREDIT, handle},
    {ROLE_NONE, MSG_HELLO, NULL},
};

static void
on_up(struct channel *channel)
{
	struct channel_end *end = channel_owner(channel);

	end->ups++;
}

static void
on_closed(struct channel *channel, const char *reason)
{
	struct channel_end *end = channel_owner(channel);

	end->closes++;
	(void)snprintf(end->reason, sizeof(end->reason), "%s", reason);
}

static void
on_released(void *keeper, bool was_up)
{
	struct channel_end *end = keeper;

	end->releases++;
	end->was_up = was_up;
}

/* ---- pairs ---- */

static struct channel *
make_end(struct channel_pair *pair, struct channel_end *end, enum role self,
    enum role peer, int fd, size_t output_limit)
{
	struct channel_config config = {.loop = pair->loop,
	    .self = self,
	    .peer = peer,
	    .handlers = self == ROLE_QUEUED ? queued_takes : smtpd_takes,
	    .owner = end,
	    .output_limit = output_limit,
	    .up = on_up,
	    .closed = on_closed,
	    .keeper = end,
	    .released = on_released};

	*end = (struct channel_end){.kept_fd = -1};
	end->channel = channel_new(&config, fd);
	return end->channel;
}

static void
socket_pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
}

void
channel_pair_init(struct channel_pair *pair, size_t output_limit)
{
	int fds[2];

	*pair = (struct channel_pair){.loop = loop_new(), .raw = -1};
	socket_pair(fds);
	(void)make_end(
	    pair, &pair->ours, ROLE_SMTPD, ROLE_QUEUED, fds[0], output_limit);
	(void)make_end(pair, &pair->theirs, ROLE_QUEUED, ROLE_SMTPD, fds[1], 0);
	WAIT_UNTIL(pair->loop, pair->ours.ups && pair->theirs.ups);
}

void
channel_pair_init_raw(struct channel_pair *pair)
{
	int fds[2];

	*pair = (struct channel_pair){.loop = loop_new()};
	socket_pair(fds);
	(void)make_end(pair, &pair->theirs, ROLE_QUEUED, ROLE_SMTPD, fds[0], 0);
	pair->raw = fds[1];
}

void
channel_pair_clear(struct channel_pair *pair)
{
	if (pair->ours.channel != NULL && pair->ours.releases == 0)
		channel_close(pair->ours.channel);
	if (pair->theirs.channel != NULL && pair->theirs.releases == 0)
		channel_close(pair->theirs.channel);
	close_if_open(&pair->raw);
	close_if_open(&pair->theirs.kept_fd);
	loop_free(pair->loop);
}

unsigned
channel_pair_open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			count++;
	return count;
}
