/* SPDX-License-Identifier: ISC */
/*
 * Frames over a Unix stream socket.
 * Runs in: every program.  Trusts: nothing that the peer sends; each frame is
 * checked against its row before a handler sees it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/frame_out.h"
#include "config.h"

/* A peer says HELLO within this time, or it is no peer. */
#define HELLO_DEADLINE_MS 5000
/* One read; a usual turn's frames fit. */
#define READ_SIZE (256u * 1024)
/* Memory of the input that is kept when all of it was handled. */
#define IN_KEEP (512u * 1024)
/* Input taken in one turn, so that one peer cannot hold the loop. */
#define TURN_INPUT_MAX (1024u * 1024)
/* A peer that reads nothing for this long is cut (it may be stopped). */
#define STALL_MS 60000
#define DEFAULT_OUTPUT_LIMIT (64u * 1024 * 1024)
/* How often deadlines of answers are looked at. */
#define TICK_MS 100
/*
 * A frame that began is there within this time: counted in ticks of ours, so
 * that a halt of our own is not the peer's fault.
 */
#define FRAME_TICKS 45

struct request {
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
	unsigned in_ticks; /* that the frame at hand was unfinished */
	int in_fds[IPC_FDS_MAX]; /* received, their frame not yet */
	size_t in_fd_count;

	struct frame_out out;
	uint64_t out_progress_ms; /* when something left, or began to wait */

	struct request *requests; /* slot in the low half of the id */
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

static void flush_output(void *arg);

/* ---- end ---- */

static void
fail_requests(struct channel *channel)
{
	for (uint32_t i = 0; i < channel->request_slots; i++) {
		struct request *request = &channel->requests[i];

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
	free(channel->in);
	free(channel->requests);
	if (channel->config.released != NULL)
		channel->config.released(
		    channel->config.keeper, channel->was_up);
	free(channel);
}

static void
shut(struct channel *channel, bool tells_owner, const char *reason)
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
	shut(channel, false, "closed here");
}

static void
say_why_and_shut(struct channel *channel, bool tells_owner, const char *reason)
{
	struct ipc_bye bye = {.reason = slice_of(reason)};

	if (channel->is_closed)
		return;
	if (channel_send(channel, MSG_BYE, &bye, NULL) == 0)
		flush_output(channel);
	shut(channel, tells_owner, reason);
	channel->tells_owner = tells_owner; /* also if the flush shut it */
}

void
channel_close_with(struct channel *channel, const char *reason)
{
	say_why_and_shut(channel, false, reason);
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
		shut(channel, true, "the peer closed");
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
			loop_arm(channel->timer, TICK_MS);
	} else if (result == FRAME_OUT_BROKEN) {
		/* Frames were lost: an end is better than a gap. */
		if (errno == EPIPE || errno == ECONNRESET)
			lose_output(channel);
		else
			shut(channel, true, strerror(errno));
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

static struct request *
new_request(struct channel *channel)
{
	struct request *request;

	if (channel->request_free == 0) {
		uint32_t old = channel->request_slots;
		uint32_t slots = old != 0 ? old * 2 : 16;

		channel->requests = xrealloc(
		    channel->requests, slots * sizeof(*channel->requests));
		for (uint32_t i = slots; i-- > old;) {
			channel->requests[i] = (struct request){
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

static struct request *
find_request(struct channel *channel, uint64_t id)
{
	uint32_t slot = (uint32_t)id;

	if (id == 0 || slot >= channel->request_slots ||
	    channel->requests[slot].id != id)
		return NULL;
	return &channel->requests[slot];
}

static void
free_request(struct channel *channel, struct request *request)
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
	struct request *request;

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
		loop_arm(channel->timer, TICK_MS);
	return request->id;
}

void
channel_forget(struct channel *channel, uint64_t request_id)
{
	struct request *request = find_request(channel, request_id);

	if (request != NULL)
		free_request(channel, request);
}

/* A part of a frame is there; while paused, nobody looked for its rest. */
static bool
waits_for_rest(const struct channel *channel)
{
	return channel->in_used > 0 && !channel->is_paused;
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
		shut(channel, true, "the peer never said HELLO");
		return;
	}
	if (frame_out_pending(&channel->out) > 0 &&
	    now_ms - channel->out_progress_ms > STALL_MS) {
		shut(channel, true, "the peer stopped reading");
		return;
	}
	if (waits_for_rest(channel) && ++channel->in_ticks > FRAME_TICKS) {
		shut(channel, true, "the peer never finished a frame");
		return;
	}
	for (uint32_t i = 0; i < channel->request_slots; i++) {
		struct request request = channel->requests[i];

		if (request.id == 0 || request.deadline_ms > now_ms)
			continue;
		free_request(channel, &channel->requests[i]);
		request.answer(request.arg, NULL);
		if (channel->is_closed)
			return;
	}
	if (channel->requests_waiting > 0 || !channel->is_up ||
	    waits_for_rest(channel) || frame_out_pending(&channel->out) > 0)
		loop_arm(channel->timer, TICK_MS);
}

/* ---- input ---- */

static int
handle_hello(struct channel *channel, const struct ipc_hello *hello)
{
	if (channel->is_up)
		return -1;
	if (hello->table_hash != ipc_table_hash()) {
		say_why_and_shut(
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
handle_answer(struct channel *channel, const struct channel_frame *frame)
{
	struct request *found = find_request(channel, frame->request_id);
	struct request request;

	if (found == NULL)
		return 0; /* nobody remembers the question: too late */
	request = *found;
	if (request.answer_type != frame->type)
		return -1;
	free_request(channel, found);
	request.answer(request.arg, frame);
	return 0;
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
		shut(channel, true, reason);
		return 0;
	}
	if (header->is_answer)
		return handle_answer(channel, &frame);
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
	for (size_t i = 0; i < header->fds; i++)
		close_if_open(&fds[i]);
	return rc;
}

static void
handle_input(struct channel *channel)
{
	struct slice in = {channel->in, channel->in_used};
	struct ipc_header header;
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
		shut(channel, true, reason);
		return;
	}
	if (in.n == 0 && channel->in_fd_count > 0) {
		shut(channel, true, "more descriptors than its frames named");
		return;
	}
	if (in.p != channel->in)
		channel->in_ticks = 0;
	if (in.n > 0 && in.p != channel->in)
		memmove(channel->in, in.p, in.n);
	channel->in_used = in.n;
	if (waits_for_rest(channel) &&
	    !event_pending(channel->timer, EV_TIMEOUT, NULL))
		loop_arm(channel->timer, TICK_MS);
	if (in.n == 0 && channel->in_size > IN_KEEP) {
		free(channel->in);
		channel->in = NULL;
		channel->in_size = 0;
	}
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
	if (channel->in_size < want) {
		channel->in = xrealloc(channel->in, want);
		channel->in_size = want;
	}
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
		shut(channel, true, "the peer closed");
		return -1;
	}
	if (keep_fds(channel, &message) == -1) {
		shut(channel, true, "more descriptors than its frames named");
		return -1;
	}
	channel->in_used += (size_t)n;
	return n;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
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
		handle_input(channel);
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
		handle_input(channel);
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
		 on_readable, channel)) == NULL ||
	    (channel->writable = event_new(base, fd, EV_WRITE,
		 on_resumed_or_writable, channel)) == NULL ||
	    (channel->timer = event_new(base, -1, 0, on_tick, channel)) == NULL)
		fatal("out of memory for a channel");
	(void)event_add(channel->readable, NULL);
	loop_arm(channel->timer, TICK_MS);
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
