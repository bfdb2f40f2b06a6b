/* SPDX-License-Identifier: ISC */
/*
 * Frames over a Unix stream socket: the life of a channel, what goes out, and
 * the questions that wait for an answer.  What comes in: channel_input.c.
 * Runs in: every program.  Trusts: nothing that the peer sends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/channel_parts.h"
#include "config.h"

/* A peer says HELLO within this time, or it is no peer. */
#define HELLO_DEADLINE_MS 5000
/* A peer that reads nothing for this long is cut (it may be stopped). */
#define STALL_MS 60000
#define DEFAULT_OUTPUT_LIMIT (64u * 1024 * 1024)
/*
 * A frame that began is there within this time: counted in ticks of ours, so
 * that a halt of our own is not the peer's fault.
 */
#define FRAME_TICKS 45

static void flush_output(void *arg);

/* ---- end ---- */

static void
fail_requests(struct channel *channel)
{
	for (uint32_t i = 0; i < channel->request_slots; i++) {
		struct channel_question *request = &channel->requests[i];

		if (request->id == 0)
			continue;
		request->id = 0;
		channel->requests_waiting--;
		request->answer(request->arg, NULL);
	}
}

static void
release(void *arg)
{
	struct channel *channel = arg;

	fail_requests(channel);
	if (channel->tells_owner && channel->config.closed != NULL)
		channel->config.closed(channel, channel->reason);
	loop_task_cancel(channel->config.loop, &channel->flush);
	frame_out_clear(&channel->out);
	for (size_t i = 0; i < channel->in_fd_count; i++)
		close_if_open(&channel->in_fds[i]);
	if (channel->in != NULL)
		explicit_bzero(channel->in, channel->in_used);
	free(channel->in);
	free(channel->requests);
	if (channel->config.released != NULL)
		channel->config.released(
		    channel->config.keeper, channel->was_up);
	free(channel);
}

void
channel_shut(struct channel *channel, bool tells_owner, const char *reason)
{
	if (channel->is_closed)
		return;
	channel->is_closed = true;
	channel->is_up = false;
	channel->tells_owner = tells_owner;
	(void)slice_copy(
	    slice_of(reason), channel->reason, sizeof(channel->reason));
	event_free(channel->readable);
	event_free(channel->writable);
	event_free(channel->timer);
	close_if_open(&channel->fd);
	channel->release = (struct loop_task){.run = release, .arg = channel};
	loop_at_turn_end(channel->config.loop, &channel->release);
}

void
channel_close(struct channel *channel)
{
	channel_shut(channel, false, "closed here");
}

void
channel_say_why_and_shut(
    struct channel *channel, bool tells_owner, const char *reason)
{
	struct ipc_bye bye = {.reason = slice_of(reason)};

	if (channel->is_closed)
		return;
	if (channel_send(channel, MSG_BYE, &bye, NULL) == 0)
		flush_output(channel);
	channel_shut(channel, tells_owner, reason);
	channel->tells_owner = tells_owner; /* also if the flush shut it */
}

void
channel_close_with(struct channel *channel, const char *reason)
{
	channel_say_why_and_shut(channel, false, reason);
}

/* ---- output ---- */

/*
 * Nobody reads any more.  The peer may have said why (BYE) or answered before
 * it went: what it sent is still read, and then comes the end of the stream.
 */
static void
lose_output(struct channel *channel)
{
	if (channel->is_paused) {
		channel_shut(channel, true, "the peer closed");
		return;
	}
	frame_out_clear(&channel->out);
	frame_out_init(&channel->out);
}

static void
flush_output(void *arg)
{
	struct channel *channel = arg;
	enum frame_out_result result;
	bool moved;

	if (channel->is_closed)
		return;
	result = frame_out_send(&channel->out, channel->fd, &moved);
	if (moved)
		channel->out_progress_ms = clock_monotonic_ms();
	if (result == FRAME_OUT_FULL) {
		(void)event_add(channel->writable, NULL);
		if (!event_pending(channel->timer, EV_TIMEOUT, NULL))
			loop_arm(channel->timer, CHANNEL_TICK_MS);
	} else if (result == FRAME_OUT_BROKEN) {
		/* Frames were lost: an end is better than a gap. */
		if (errno == EPIPE || errno == ECONNRESET)
			lose_output(channel);
		else
			channel_shut(channel, true, strerror(errno));
	}
}

static int
send_frame(struct channel *channel, enum ipc_type type, uint64_t request_id,
    bool is_answer, const void *message, const int *fds)
{
	struct ipc_header header = {.type = (uint16_t)type,
	    .is_answer = is_answer,
	    .request_id = request_id};
	bool was_empty;

	if (channel->is_closed)
		return -1;
	was_empty = frame_out_pending(&channel->out) == 0;
	if (frame_out_add(&channel->out, header, message, fds,
		channel->config.output_limit) == -1)
		return -1;
	if (was_empty)
		channel->out_progress_ms = clock_monotonic_ms();
	/* Not moved by frames to come, and wiped at once. */
	if (ipc_is_secret(type))
		flush_output(channel);
	else
		loop_at_turn_end(channel->config.loop, &channel->flush);
	return 0;
}

int
channel_send(struct channel *channel, enum ipc_type type, const void *message,
    const int *fds)
{
	return send_frame(channel, type, 0, false, message, fds);
}

int
channel_answer(struct channel *channel, uint64_t request_id, enum ipc_type type,
    const void *message)
{
	return send_frame(channel, type, request_id, true, message, NULL);
}

/* ---- requests ---- */

static struct channel_question *
new_request(struct channel *channel)
{
	struct channel_question *request;

	if (channel->request_free == 0) {
		uint32_t old = channel->request_slots;
		uint32_t slots = old != 0 ? old * 2 : 16;

		channel->requests = xrealloc(
		    channel->requests, slots * sizeof(*channel->requests));
		for (uint32_t i = slots; i-- > old;) {
			channel->requests[i] = (struct channel_question){
			    .next_free = channel->request_free};
			channel->request_free = i + 1;
		}
		channel->request_slots = slots;
	}
	request = &channel->requests[channel->request_free - 1];
	/* The round makes an old answer to a reused slot recognisable. */
	if (++channel->request_round == 0)
		channel->request_round = 1;
	request->id = (uint64_t)channel->request_round << 32 |
		      (channel->request_free - 1);
	channel->request_free = request->next_free;
	channel->requests_waiting++;
	return request;
}

static struct channel_question *
find_request(struct channel *channel, uint64_t id)
{
	uint32_t slot = (uint32_t)id;

	if (id == 0 || slot >= channel->request_slots ||
	    channel->requests[slot].id != id)
		return NULL;
	return &channel->requests[slot];
}

static void
free_request(struct channel *channel, struct channel_question *request)
{
	uint32_t slot = (uint32_t)(request - channel->requests);

	request->id = 0;
	request->next_free = channel->request_free;
	channel->request_free = slot + 1;
	channel->requests_waiting--;
}

uint64_t
channel_request(struct channel *channel, enum ipc_type type,
    const void *message, const int *fds, enum ipc_type answer_type,
    uint32_t deadline_ms, channel_answer_fn *answer, void *arg)
{
	struct channel_question *request;

	if (channel->is_closed)
		return 0;
	request = new_request(channel);
	request->answer_type = answer_type;
	request->deadline_ms = clock_monotonic_ms() + deadline_ms;
	request->answer = answer;
	request->arg = arg;
	if (send_frame(channel, type, request->id, false, message, fds) == -1) {
		free_request(channel, request);
		return 0;
	}
	if (!event_pending(channel->timer, EV_TIMEOUT, NULL))
		loop_arm(channel->timer, CHANNEL_TICK_MS);
	return request->id;
}

void
channel_forget(struct channel *channel, uint64_t request_id)
{
	struct channel_question *request = find_request(channel, request_id);

	if (request != NULL)
		free_request(channel, request);
}

int
channel_take_answer(struct channel *channel, const struct channel_frame *frame)
{
	struct channel_question *found =
	    find_request(channel, frame->request_id);
	struct channel_question request;

	if (found == NULL)
		return 0; /* nobody remembers the question: too late */
	request = *found;
	if (request.answer_type != frame->type)
		return -1;
	free_request(channel, found);
	request.answer(request.arg, frame);
	return 0;
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;
	uint64_t now_ms = clock_monotonic_ms();

	(void)fd;
	(void)what;
	if (!channel->is_up &&
	    now_ms - channel->opened_ms > HELLO_DEADLINE_MS) {
		channel_shut(channel, true, "the peer never said HELLO");
		return;
	}
	if (frame_out_pending(&channel->out) > 0 &&
	    now_ms - channel->out_progress_ms > STALL_MS) {
		channel_shut(channel, true, "the peer stopped reading");
		return;
	}
	if (channel_waits_for_rest(channel) &&
	    ++channel->in_ticks > FRAME_TICKS) {
		channel_shut(channel, true, "the peer never finished a frame");
		return;
	}
	for (uint32_t i = 0; i < channel->request_slots; i++) {
		struct channel_question request = channel->requests[i];

		if (request.id == 0 || request.deadline_ms > now_ms)
			continue;
		free_request(channel, &channel->requests[i]);
		request.answer(request.arg, NULL);
		if (channel->is_closed)
			return;
	}
	if (channel->requests_waiting > 0 || !channel->is_up ||
	    channel_waits_for_rest(channel) ||
	    frame_out_pending(&channel->out) > 0)
		loop_arm(channel->timer, CHANNEL_TICK_MS);
}

/* ---- life ---- */

/*
 * channel_resume() activates this event with EV_READ.  That also takes it off
 * the list of what waits for the socket, so output is tried in both cases.
 */
static void
on_resumed_or_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;

	(void)fd;
	if ((what & EV_READ) != 0)
		channel_handle_input(channel);
	flush_output(channel);
}

struct channel *
channel_new(const struct channel_config *config, int fd)
{
	struct channel *channel = xcalloc(1, sizeof(*channel));
	struct event_base *base = loop_base(config->loop);
	struct ipc_hello hello = {.table_hash = ipc_table_hash(),
	    .role = slice_of(role_name(config->self)),
	    .version = SLICE(PACKAGE_VERSION)};

	channel->config = *config;
	if (channel->config.output_limit == 0)
		channel->config.output_limit = DEFAULT_OUTPUT_LIMIT;
	channel->fd = fd;
	channel->opened_ms = clock_monotonic_ms();
	channel->out_progress_ms = channel->opened_ms;
	channel->flush =
	    (struct loop_task){.run = flush_output, .arg = channel};
	(void)evutil_make_socket_nonblocking(fd);
	frame_out_init(&channel->out);
	if ((channel->readable = event_new(base, fd, EV_READ | EV_PERSIST,
		 channel_on_readable, channel)) == NULL ||
	    (channel->writable = event_new(base, fd, EV_WRITE,
		 on_resumed_or_writable, channel)) == NULL ||
	    (channel->timer = event_new(base, -1, 0, on_tick, channel)) == NULL)
		fatal("out of memory for a channel");
	(void)event_add(channel->readable, NULL);
	loop_arm(channel->timer, CHANNEL_TICK_MS);
	if (channel_send(channel, MSG_HELLO, &hello, NULL) == -1)
		bug("HELLO does not fit its row");
	return channel;
}

void *
channel_owner(const struct channel *channel)
{
	return channel->config.owner;
}

void
channel_drop_keeper(struct channel *channel)
{
	channel->config.released = NULL;
}

enum role
channel_peer(const struct channel *channel)
{
	return channel->config.peer;
}

uid_t
channel_peer_uid(const struct channel *channel)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (channel->is_closed || getsockopt(channel->fd, SOL_SOCKET,
				      SO_PEERCRED, &peer, &size) == -1)
		return (uid_t)-1;
	return peer.uid;
}

bool
channel_is_up(const struct channel *channel)
{
	return channel->is_up;
}

void
channel_set_context(struct channel *channel, void *context)
{
	channel->context = context;
}

void *
channel_context(const struct channel *channel)
{
	return channel->context;
}

size_t
channel_output_pending(const struct channel *channel)
{
	return channel->is_closed ? 0 : frame_out_pending(&channel->out);
}

void
channel_flush(struct channel *channel)
{
	flush_output(channel);
}

size_t
channel_requests_waiting(const struct channel *channel)
{
	return channel->requests_waiting;
}
