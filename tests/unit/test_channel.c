/* SPDX-License-Identifier: ISC */
/*
 * Channels between two ends of a socket pair: both ends ours, or one end a
 * bare socket that says what no honest peer would.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/channel.h"
#include "tests/unit/tap.h"

/* Waiting for something that should happen ends here. */
#define PATIENCE_MS 10000

/* What a handler is to do, beside noting that it was called. */
enum act {
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
struct end {
	struct channel *channel;
	enum act act;
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

struct pair {
	struct loop *loop;
	struct end ours;
	struct end theirs;
	int raw; /* the other end without a channel */
};

/* ---- a loop that a test can wait in ---- */

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	loop_stop(arg);
}

static void
turn(struct loop *loop)
{
	struct timeval wait = {.tv_usec = 500};

	(void)event_base_once(
	    loop_base(loop), -1, EV_TIMEOUT, on_pause_over, loop, &wait);
	loop_run(loop);
}

#define WAIT_UNTIL(loop, condition)                                   \
	do {                                                          \
		uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS; \
		while (!(condition) && clock_monotonic_ms() < end_ms) \
			turn(loop);                                   \
	} while (0)

/* ---- handlers ---- */

static int
handle(struct channel *channel, const struct channel_frame *frame)
{
	struct end *end = channel_owner(channel);
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
	struct end *end = channel_owner(channel);

	end->ups++;
}

static void
on_closed(struct channel *channel, const char *reason)
{
	struct end *end = channel_owner(channel);

	end->closes++;
	(void)snprintf(end->reason, sizeof(end->reason), "%s", reason);
}

static void
on_released(void *keeper, bool was_up)
{
	struct end *end = keeper;

	end->releases++;
	end->was_up = was_up;
}

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct end *end = arg;

	end->answers++;
	if (frame == NULL)
		end->empty_answers++;
	else
		end->last_code = frame->message->queue_answer.code;
}

/* ---- pairs ---- */

static struct channel *
make_end(struct pair *pair, struct end *end, enum role self, enum role peer,
    int fd, size_t output_limit)
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

	*end = (struct end){.kept_fd = -1};
	end->channel = channel_new(&config, fd);
	return end->channel;
}

static void
socket_pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
}

/* ours is smtpd, theirs queued. */
static void
pair_init(struct pair *pair, size_t output_limit)
{
	int fds[2];

	*pair = (struct pair){.loop = loop_new(), .raw = -1};
	socket_pair(fds);
	(void)make_end(
	    pair, &pair->ours, ROLE_SMTPD, ROLE_QUEUED, fds[0], output_limit);
	(void)make_end(pair, &pair->theirs, ROLE_QUEUED, ROLE_SMTPD, fds[1], 0);
	WAIT_UNTIL(pair->loop, pair->ours.ups && pair->theirs.ups);
}

/* theirs is queued, at the other end a bare socket. */
static void
raw_init(struct pair *pair)
{
	int fds[2];

	*pair = (struct pair){.loop = loop_new()};
	socket_pair(fds);
	(void)make_end(pair, &pair->theirs, ROLE_QUEUED, ROLE_SMTPD, fds[0], 0);
	pair->raw = fds[1];
}

static void
pair_clear(struct pair *pair)
{
	if (pair->ours.channel != NULL && pair->ours.releases == 0)
		channel_close(pair->ours.channel);
	if (pair->theirs.channel != NULL && pair->theirs.releases == 0)
		channel_close(pair->theirs.channel);
	close_if_open(&pair->raw);
	close_if_open(&pair->theirs.kept_fd);
	loop_free(pair->loop);
}

/* ---- bare frames ---- */

static size_t
build(char *out, enum ipc_type type, uint16_t fds, bool is_answer,
    const void *message)
{
	struct ipc_header header = {
	    .type = (uint16_t)type, .fds = fds, .is_answer = is_answer};
	size_t size;

	if (ipc_shape_size(&ipc_row(type)->shape, message, &size, NULL) == -1)
		bug("a test's message breaks its row");
	header.length = (uint32_t)size;
	ipc_header_write(&header, out);
	ipc_shape_write(&ipc_row(type)->shape, message, out + IPC_HEADER_SIZE);
	return IPC_HEADER_SIZE + size;
}

static void
push(struct pair *pair, const char *octets, size_t n)
{
	if (send(pair->raw, octets, n, MSG_NOSIGNAL) != (ssize_t)n)
		diag("the peer took less than %zu octets", n);
}

static void
push_with_fds(
    struct pair *pair, const char *octets, size_t n, const int *fds, size_t k)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * 16)];
	} control = {.space = {0}};
	struct iovec vec = {(void *)(uintptr_t)octets, n};
	struct msghdr message = {.msg_iov = &vec,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = CMSG_SPACE(sizeof(int) * k)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * k);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * k);
	if (sendmsg(pair->raw, &message, MSG_NOSIGNAL) != (ssize_t)n)
		diag("sendmsg took less than %zu octets", n);
}

static size_t
build_hello(char *out, uint64_t hash, const char *role)
{
	struct ipc_hello hello = {
	    .table_hash = hash, .role = slice_of(role), .version = SLICE("1")};

	return build(out, MSG_HELLO, 0, false, &hello);
}

static void
say_hello(struct pair *pair)
{
	char frame[256];

	push(pair, frame, build_hello(frame, ipc_table_hash(), "smtpd"));
	WAIT_UNTIL(pair->loop, pair->theirs.ups == 1);
}

static unsigned
open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			count++;
	return count;
}

/* ---- between honest peers ---- */

static void
test_frames(void)
{
	struct pair pair;
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("x")};
	struct ipc_queue_credit credit = {.stream = 1, .octets = 5};
	static char content[IPC_CHUNK_MAX + 1];

	pair_init(&pair, 0);
	ok(channel_is_up(pair.ours.channel), "HELLO goes both ways");
	is_int(channel_peer(pair.ours.channel), ROLE_QUEUED, "the peer's role");
	is_int(channel_peer_uid(pair.ours.channel), getuid(),
	    "the peer's user is known");
	channel_set_context(pair.ours.channel, &pair);
	ok(channel_context(pair.ours.channel) == &pair, "a context is kept");
	for (int i = 0; i < 1000; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	ok(channel_output_pending(pair.ours.channel) > 0,
	    "nothing leaves before the turn's end");
	(void)channel_send(
	    pair.theirs.channel, MSG_QUEUE_CREDIT, &credit, NULL);
	WAIT_UNTIL(
	    pair.loop, pair.theirs.frames == 1000 && pair.ours.frames == 1);
	is_int(pair.theirs.frames, 1000, "a thousand frames arrive");
	is_int(pair.ours.frames, 1, "and one the other way");
	chunk.content = (struct slice){content, IPC_CHUNK_MAX};
	is_int(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    0, "the longest chunk is taken");
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1001);
	is_u64(pair.theirs.last_content, IPC_CHUNK_MAX, "and arrives whole");
	chunk.content.n++;
	is_int(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    -1, "one octet more is refused");
	pair_clear(&pair);
}

static void
test_large_frame(void)
{
	struct pair pair;
	struct ipc_life_events life = {.events = {NULL, 0, 0}};
	struct ipc_list_writer writer;
	static char event[16384];
	struct ipc_record_life record = {.event = {event, sizeof(event)}};
	struct err err;

	pair_init(&pair, 0);
	ipc_list_writer_init(&writer, 12u << 20);
	while (ipc_life_add(&writer, &record, &err) == 0)
		;
	life.events = ipc_list_of(&writer);
	is_int(channel_send(pair.ours.channel, MSG_LIFE_EVENTS, &life, NULL), 0,
	    "a frame of 12 MiB is sent");
	WAIT_UNTIL(pair.loop, pair.theirs.closes == 1);
	is_str(pair.theirs.reason, "a frame broke its row: LIFE_EVENTS",
	    "and read to its end: this peer has no handler for it");
	ipc_list_writer_clear(&writer);
	pair_clear(&pair);
}

static uint64_t
ask(struct pair *pair, uint32_t deadline_ms)
{
	struct ipc_queue_end question = {.stream = 7};

	return channel_request(pair->ours.channel, MSG_QUEUE_END, &question,
	    NULL, MSG_QUEUE_ANSWER, deadline_ms, on_answer, &pair->ours);
}

static void
test_requests(void)
{
	struct pair pair;
	struct ipc_queue_answer late = {.code = 451};
	uint64_t id;

	pair_init(&pair, 0);
	pair.theirs.act = ACT_ANSWER;
	for (int i = 0; i < 100; i++)
		ok(ask(&pair, 5000) != 0, "question %d is sent", i);
	is_u64(
	    channel_requests_waiting(pair.ours.channel), 100, "a hundred wait");
	WAIT_UNTIL(pair.loop, pair.ours.answers == 100);
	is_int(pair.ours.answers, 100, "all are answered");
	is_int(pair.ours.last_code, 250, "by what was said");
	is_u64(channel_requests_waiting(pair.ours.channel), 0, "none waits");

	pair.theirs.act = ACT_NOTE;
	id = ask(&pair, 1);
	WAIT_UNTIL(pair.loop, pair.ours.empty_answers == 1);
	is_int(pair.ours.empty_answers, 1, "a deadline gives no frame");
	is_int(channel_answer(pair.theirs.channel, id, MSG_QUEUE_ANSWER, &late),
	    0, "a late answer is sent");
	(void)channel_answer(pair.theirs.channel, 0, MSG_QUEUE_ANSWER, &late);
	(void)channel_answer(
	    pair.theirs.channel, UINT64_MAX, MSG_QUEUE_ANSWER, &late);
	pair.theirs.act = ACT_ANSWER;
	(void)ask(&pair, 5000);
	WAIT_UNTIL(pair.loop, pair.ours.answers == 102);
	is_int(pair.ours.last_code, 250, "late and unasked ones are forgotten");
	is_int(pair.ours.closes, 0, "and break nothing");

	pair.theirs.act = ACT_NOTE;
	id = ask(&pair, 5000);
	channel_forget(pair.ours.channel, id);
	channel_forget(pair.ours.channel, id);
	channel_forget(pair.ours.channel, 0);
	channel_forget(pair.ours.channel, id + 1);
	is_u64(channel_requests_waiting(pair.ours.channel), 0,
	    "a forgotten question does not wait");
	ok(ask(&pair, 5000) != id, "its id is not used again");
	(void)ask(&pair, 5000);
	channel_close(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.ours.releases == 1);
	is_int(pair.ours.answers, 104, "an end answers those that wait");
	is_int(pair.ours.empty_answers, 3, "with no frame");
	is_int(pair.ours.closes, 1, "the owner is told");
	is_str(pair.ours.reason, "the peer closed", "why");
	is_int(pair.theirs.closes, 0, "who closed himself is not told");
	is_int(pair.theirs.releases, 1, "but its keeper is");
	ok(pair.theirs.was_up, "it had been up");
	pair_clear(&pair);
}

static void
test_wrong_answer(void)
{
	struct pair pair;

	pair_init(&pair, 0);
	pair.theirs.act = ACT_ANSWER_WRONGLY;
	(void)ask(&pair, 5000);
	WAIT_UNTIL(pair.loop, pair.ours.releases == 1);
	is_str(pair.ours.reason, "a frame broke its row: LIFE_STORED",
	    "an answer of another type is a breach");
	is_int(pair.ours.empty_answers, 1, "who asked gets no frame");
	WAIT_UNTIL(pair.loop, pair.theirs.closes == 1);
	is_int(pair.theirs.closes, 1, "the peer sees the end");
	pair_clear(&pair);
}

static void
test_close_inside(void)
{
	static const enum act acts[] = {ACT_CLOSE, ACT_CLOSE_TWICE, ACT_BREACH};
	struct ipc_queue_chunk chunk = {.stream = 1};

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct pair pair;

		pair_init(&pair, 0);
		pair.theirs.act = acts[i];
		for (int k = 0; k < 3; k++)
			(void)channel_send(
			    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
		WAIT_UNTIL(pair.loop,
		    pair.ours.releases == 1 && pair.theirs.releases == 1);
		is_int(pair.theirs.frames, 1,
		    "nothing is handled after the end (%zu)", i);
		is_int(pair.theirs.closes, acts[i] == ACT_BREACH,
		    "a breach tells the owner, closing does not");
		is_int(pair.ours.closes, 1, "the peer's owner is told");
		pair_clear(&pair);
	}
}

static void
test_bye(void)
{
	struct pair pair;
	struct ipc_queue_chunk chunk = {.stream = 1};

	pair_init(&pair, 0);
	channel_close_with(pair.theirs.channel, "no room");
	is_int(channel_send(pair.theirs.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    -1, "a closed channel sends nothing");
	/* The write fails before BYE is read: the reason must not be lost. */
	(void)channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	(void)ask(&pair, 5000);
	WAIT_UNTIL(pair.loop, pair.ours.closes == 1);
	is_str(pair.ours.reason, "no room", "BYE says why");
	is_int(pair.ours.empty_answers, 1, "and the question is answered");
	is_int(pair.theirs.closes, 0, "who says BYE is not told");
	pair_clear(&pair);
}

static void
test_pause(void)
{
	struct pair pair;
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("abc")};

	pair_init(&pair, 0);
	pair.theirs.act = ACT_PAUSE;
	for (int i = 0; i < 10; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	for (int i = 0; i < 20; i++)
		turn(pair.loop);
	is_int(pair.theirs.frames, 1, "nothing is handled while paused");
	channel_resume(pair.theirs.channel);
	is_int(pair.theirs.frames, 1, "nor inside the call that resumes");
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 2);
	for (int i = 0; i < 20; i++)
		turn(pair.loop);
	is_int(pair.theirs.frames, 2, "a handler may pause again");
	pair.theirs.act = ACT_NOTE;
	channel_resume(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 10);
	is_int(pair.theirs.frames, 10, "then the rest comes");
	channel_pause(pair.theirs.channel);
	channel_resume(pair.theirs.channel);
	(void)channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 11);
	is_int(pair.theirs.frames, 11, "and what is sent later");
	pair_clear(&pair);
}

/* Both ends wait for room while one resumes: its output must still leave. */
static void
test_pause_with_output(void)
{
	struct pair pair;
	static char content[IPC_CHUNK_MAX];
	struct ipc_queue_chunk chunk = {
	    .stream = 1, .content = {content, sizeof(content)}};
	unsigned frames = 100;

	pair_init(&pair, 0);
	channel_pause(pair.theirs.channel);
	channel_pause(pair.ours.channel);
	for (unsigned i = 0; i < frames; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	for (int i = 0; i < 5; i++)
		turn(pair.loop);
	ok(channel_output_pending(pair.ours.channel) > 0,
	    "a paused peer fills the socket");
	channel_resume(pair.ours.channel);
	channel_resume(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == frames);
	is_int(pair.theirs.frames, frames, "then all of it leaves");
	pair_clear(&pair);
}

static void
test_output_limit(void)
{
	struct pair pair;
	static char content[IPC_CHUNK_MAX];
	struct ipc_queue_chunk chunk = {
	    .stream = 1, .content = {content, sizeof(content)}};
	unsigned taken = 0;

	pair_init(&pair, 1u << 20);
	while (
	    channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL) == 0)
		taken++;
	is_int(taken, 15, "output ends at its limit");
	ok(channel_output_pending(pair.ours.channel) <= 1u << 20,
	    "which is never passed");
	chunk.content.n = 1;
	ok(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL) == 0,
	    "a small frame still fits");
	chunk.content.n = sizeof(content);
	WAIT_UNTIL(pair.loop, pair.theirs.frames >= taken);
	is_int(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    0, "there is room when it was sent");
	pair_clear(&pair);
}

static void
test_fds(void)
{
	struct pair pair;
	struct ipc_relay_file file = {.job_id = 1};
	struct ipc_tls_install install = {.actor = SLICE("root")};
	int pipes[2];
	struct stat one;
	struct stat other;
	unsigned before;

	pair_init(&pair, 0);
	if (pipe(pipes) == -1)
		fatal("pipe");
	OK_DIES(channel_send(pair.ours.channel, MSG_RELAY_FILE, &file, NULL),
	    "a frame without its descriptors is our own mistake");
	before = open_fds();
	pair.theirs.act = ACT_KEEP_FD;
	is_int(
	    channel_send(pair.ours.channel, MSG_RELAY_FILE, &file, &pipes[0]),
	    0, "a descriptor is sent");
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	(void)fstat(pipes[0], &one);
	is_int(fstat(pair.theirs.kept_fd, &other), 0, "and arrives");
	ok(one.st_ino == other.st_ino, "the right one");
	ok((fcntl(pair.theirs.kept_fd, F_GETFD) & FD_CLOEXEC) != 0,
	    "closed on exec");
	close_if_open(&pair.theirs.kept_fd);
	pair.theirs.act = ACT_NOTE;
	for (int i = 0; i < 50; i++) {
		(void)channel_send(
		    pair.ours.channel, MSG_RELAY_FILE, &file, &pipes[0]);
		(void)channel_send(
		    pair.ours.channel, MSG_TLS_INSTALL, &install, pipes);
	}
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 101);
	is_int(pair.theirs.frames, 101, "many frames with descriptors");
	is_int(open_fds(), before, "those not taken are closed");
	for (int i = 0; i < 5; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_TLS_INSTALL, &install, pipes);
	channel_close(pair.ours.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
	is_int(open_fds(), before - 2, "those not sent are closed");
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	pair_clear(&pair);
}

/* ---- from peers that are none ---- */

static void
test_one_byte_pieces(void)
{
	struct pair pair;
	char frame[512];
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("abcd")};
	size_t n;

	raw_init(&pair);
	n = build_hello(frame, ipc_table_hash(), "smtpd");
	n += build(frame + n, MSG_QUEUE_CHUNK, 0, false, &chunk);
	for (size_t i = 0; i < n; i++) {
		push(&pair, frame + i, 1);
		turn(pair.loop);
	}
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	is_int(pair.theirs.ups, 1, "HELLO in pieces of one octet");
	is_u64(pair.theirs.last_content, 4, "and a frame after it");
	pair_clear(&pair);
}

static void
test_hello(void)
{
	static const struct {
		const char *label;
		uint64_t change; /* of the hash */
		const char *role;
		const char *reason;
	} rows[] = {
	    {"another table", 1, "smtpd", "another build: restart pending"},
	    {"another role", 0, "relayd", "a frame broke its row: HELLO"},
	    {"no role", 0, "", "a frame broke its row: HELLO"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair pair;
		char frame[256];

		raw_init(&pair);
		push(&pair, frame,
		    build_hello(frame, ipc_table_hash() ^ rows[i].change,
			rows[i].role));
		WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
		is_str(pair.theirs.reason, rows[i].reason, "%s", rows[i].label);
		is_int(pair.theirs.ups, 0, "it was never up");
		is_int(pair.theirs.closes, 1, "the owner is told");
		pair_clear(&pair);
	}
}

/* Each is sent after HELLO, or instead of it, and ends the channel. */
static void
test_breaches(void)
{
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("abcd")};
	struct ipc_queue_end end = {.stream = 1};
	struct ipc_relay_ready ready = {.jobs = 1};
	struct ipc_hello hello = {
	    .table_hash = ipc_table_hash(), .role = SLICE("smtpd")};
	struct {
		const char *label;
		bool has_hello;
		size_t n;
		char frame[256];
		const char *reason;
	} rows[] = {
	    {.label = "a frame before HELLO", .reason = "QUEUE_CHUNK"},
	    {.label = "a second HELLO", .has_hello = true, .reason = "HELLO"},
	    {.label = "a type that is none",
		.has_hello = true,
		.reason = "unknown type"},
	    {.label = "a length above the row's",
		.has_hello = true,
		.reason = "QUEUE_END"},
	    {.label = "a length of 4 GiB",
		.has_hello = true,
		.reason = "QUEUE_CHUNK"},
	    {.label = "a payload cut short",
		.has_hello = true,
		.reason = "QUEUE_CHUNK"},
	    {.label = "octets after the last field",
		.has_hello = true,
		.reason = "QUEUE_CHUNK"},
	    {.label = "a descriptor named that the row has not",
		.has_hello = true,
		.reason = "QUEUE_END"},
	    {.label = "a frame of another peer's",
		.has_hello = true,
		.reason = "RELAY_READY"},
	    {.label = "a length above HELLO's before it", .reason = "HELLO"},
	};
	enum { COUNT = sizeof(rows) / sizeof(rows[0]) };

	rows[0].n = build(rows[0].frame, MSG_QUEUE_CHUNK, 0, false, &chunk);
	rows[1].n = build(rows[1].frame, MSG_HELLO, 0, false, &hello);
	rows[2].n = build(rows[2].frame, MSG_QUEUE_END, 0, false, &end);
	ipc_put_number(rows[2].frame + 4, MSG_COUNT, 2);
	rows[3].n = build(rows[3].frame, MSG_QUEUE_END, 0, false, &end);
	ipc_put_number(rows[3].frame, 5, 4);
	rows[4].n = build(rows[4].frame, MSG_QUEUE_CHUNK, 0, false, &chunk);
	ipc_put_number(rows[4].frame, UINT32_MAX, 4);
	rows[5].n = build(rows[5].frame, MSG_QUEUE_CHUNK, 0, false, &chunk) - 1;
	ipc_put_number(rows[5].frame, rows[5].n - IPC_HEADER_SIZE, 4);
	rows[6].n = build(rows[6].frame, MSG_QUEUE_CHUNK, 0, false, &chunk) + 1;
	ipc_put_number(rows[6].frame, rows[6].n - IPC_HEADER_SIZE, 4);
	rows[7].n = build(rows[7].frame, MSG_QUEUE_END, 1, false, &end);
	rows[8].n = build(rows[8].frame, MSG_RELAY_READY, 0, false, &ready);
	rows[9].n = build(rows[9].frame, MSG_HELLO, 0, false, &hello);
	ipc_put_number(rows[9].frame, 4096, 4);
	for (size_t i = 0; i < COUNT; i++) {
		struct pair pair;
		char reason[128];

		(void)snprintf(reason, sizeof(reason),
		    "a frame broke its row: %s", rows[i].reason);
		raw_init(&pair);
		if (rows[i].has_hello)
			say_hello(&pair);
		push(&pair, rows[i].frame, rows[i].n);
		WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
		is_str(pair.theirs.reason, reason, "%s", rows[i].label);
		is_int(pair.theirs.frames, 0, "no handler saw it");
		pair_clear(&pair);
	}
}

static void
test_paused_header(void)
{
	struct pair pair;
	char frames[512];
	struct ipc_queue_chunk chunk = {.stream = 1};
	size_t n;

	raw_init(&pair);
	say_hello(&pair);
	pair.theirs.act = ACT_PAUSE;
	n = build(frames, MSG_QUEUE_CHUNK, 0, false, &chunk);
	n += build(frames + n, MSG_QUEUE_CHUNK, 0, false, &chunk);
	ipc_put_number(frames + n - IPC_HEADER_SIZE - 8, UINT32_MAX, 4);
	push(&pair, frames, n);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	push(&pair, "more", 4);
	channel_resume(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
	is_str(pair.theirs.reason, "a frame broke its row: QUEUE_CHUNK",
	    "a length that waited while paused is checked before it is used");
	pair_clear(&pair);
}

static void
test_hostile_fds(void)
{
	static const struct {
		const char *label;
		size_t fds;
		bool is_named; /* by a frame that takes one */
		const char *reason;
	} rows[] = {
	    {"a descriptor with a frame that has none", 1, false,
		"more descriptors than its frames named"},
	    {"four with a frame that has none", 4, false,
		"more descriptors than its frames named"},
	    {"five at once", 5, false,
		"more descriptors than its frames named"},
	    {"sixteen at once", 16, true,
		"more descriptors than its frames named"},
	    {"two where one is named", 2, true,
		"more descriptors than its frames named"},
	    {"none where one is named", 0, true,
		"a frame broke its row: RELAY_FILE"},
	};
	struct ipc_queue_end end = {.stream = 1};
	struct ipc_relay_file file = {.job_id = 1};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair pair;
		char frame[256];
		int fds[16];
		unsigned before;
		size_t n;

		raw_init(&pair);
		say_hello(&pair);
		for (size_t k = 0; k < 16; k++)
			fds[k] = pair.raw;
		before = open_fds();
		n = rows[i].is_named
			? build(frame, MSG_RELAY_FILE, 1, false, &file)
			: build(frame, MSG_QUEUE_END, 0, false, &end);
		if (rows[i].fds > 0)
			push_with_fds(&pair, frame, n, fds, rows[i].fds);
		else
			push(&pair, frame, n);
		WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
		is_str(pair.theirs.reason, rows[i].reason, "%s", rows[i].label);
		is_int(open_fds(), before - 1, "no descriptor stays open");
		pair_clear(&pair);
	}
}

static void
test_silent_peer(struct pair *silent)
{
	WAIT_UNTIL(silent->loop, silent->theirs.releases == 1);
	is_str(silent->theirs.reason, "the peer never said HELLO",
	    "who does not say HELLO is no peer");
	ok(!silent->theirs.was_up, "and never was");
	pair_clear(silent);
}

static void
test_free_with_channels(void)
{
	struct pair pair;

	pair_init(&pair, 0);
	channel_drop_keeper(pair.ours.channel);
	(void)ask(&pair, 5000);
	channel_close(pair.ours.channel);
	channel_close(pair.theirs.channel);
	loop_free(pair.loop);
	is_int(pair.ours.empty_answers, 1,
	    "what was closed after the last turn ends with the loop");
	is_int(pair.ours.releases, 0, "a keeper that went is not called");
	is_int(pair.theirs.releases, 1, "one that stayed is");
}

int
main(void)
{
	struct pair silent;

	(void)signal(SIGPIPE, SIG_DFL); /* no write may raise it */
	raw_init(&silent);
	test_frames();
	test_large_frame();
	test_requests();
	test_wrong_answer();
	test_close_inside();
	test_bye();
	test_pause();
	test_pause_with_output();
	test_output_limit();
	test_fds();
	test_one_byte_pieces();
	test_hello();
	test_breaches();
	test_paused_header();
	test_hostile_fds();
	test_free_with_channels();
	test_silent_peer(&silent);
	return tap_done();
}
