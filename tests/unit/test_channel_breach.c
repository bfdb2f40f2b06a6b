/* SPDX-License-Identifier: ISC */
/*
 * Channels whose peer is none: wrong tables, lengths, types, descriptors, or
 * no word at all.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/channel_pair.h"
#include "tests/unit/tap.h"

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
push(struct channel_pair *pair, const char *octets, size_t n)
{
	/* build() wrote them. */
	/* cppcheck-suppress uninitvar */
	if (send(pair->raw, octets, n, MSG_NOSIGNAL) != (ssize_t)n)
		diag("the peer took less than %zu octets", n);
}

static void
push_with_fds(struct channel_pair *pair, const char *octets, size_t n,
    const int *fds, size_t k)
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
say_hello(struct channel_pair *pair)
{
	char frame[256];

	push(pair, frame, build_hello(frame, ipc_table_hash(), "smtpd"));
	WAIT_UNTIL(pair->loop, pair->theirs.ups == 1);
}

/* ---- from peers that are none ---- */

static void
test_one_byte_pieces(void)
{
	struct channel_pair pair;
	char frame[512];
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("abcd")};
	size_t n;

	channel_pair_init_raw(&pair);
	n = build_hello(frame, ipc_table_hash(), "smtpd");
	n += build(frame + n, MSG_QUEUE_CHUNK, 0, false, &chunk);
	for (size_t i = 0; i < n; i++) {
		push(&pair, frame + i, 1);
		channel_pair_turn(pair.loop);
	}
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	is_int(pair.theirs.ups, 1, "HELLO in pieces of one octet");
	is_u64(pair.theirs.last_content, 4, "and a frame after it");
	channel_pair_clear(&pair);
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
		struct channel_pair pair;
		char frame[256];

		channel_pair_init_raw(&pair);
		push(&pair, frame,
		    build_hello(frame, ipc_table_hash() ^ rows[i].change,
			rows[i].role));
		WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
		is_str(pair.theirs.reason, rows[i].reason, "%s", rows[i].label);
		is_int(pair.theirs.ups, 0, "it was never up");
		is_int(pair.theirs.closes, 1, "the owner is told");
		channel_pair_clear(&pair);
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
	ipc_put_number(
	    rows[3].frame, ipc_max_size(MSG_QUEUE_END) + 1, 4);
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
		struct channel_pair pair;
		char reason[128];

		(void)snprintf(reason, sizeof(reason),
		    "a frame broke its row: %s", rows[i].reason);
		channel_pair_init_raw(&pair);
		if (rows[i].has_hello)
			say_hello(&pair);
		push(&pair, rows[i].frame, rows[i].n);
		WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
		is_str(pair.theirs.reason, reason, "%s", rows[i].label);
		is_int(pair.theirs.frames, 0, "no handler saw it");
		channel_pair_clear(&pair);
	}
}

static void
test_paused_header(void)
{
	struct channel_pair pair;
	char frames[512];
	struct ipc_queue_chunk chunk = {.stream = 1};
	size_t n;

	channel_pair_init_raw(&pair);
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
	channel_pair_clear(&pair);
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
		struct channel_pair pair;
		char frame[256];
		int fds[16];
		unsigned before;
		size_t n;

		channel_pair_init_raw(&pair);
		say_hello(&pair);
		for (size_t k = 0; k < 16; k++)
			fds[k] = pair.raw;
		before = channel_pair_open_fds();
		n = rows[i].is_named
			? build(frame, MSG_RELAY_FILE, 1, false, &file)
			: build(frame, MSG_QUEUE_END, 0, false, &end);
		if (rows[i].fds > 0)
			push_with_fds(&pair, frame, n, fds, rows[i].fds);
		else
			push(&pair, frame, n);
		WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
		is_str(pair.theirs.reason, rows[i].reason, "%s", rows[i].label);
		is_int(channel_pair_open_fds(), before - 1,
		    "no descriptor stays open");
		channel_pair_clear(&pair);
	}
}

static void
test_silent_peer(struct channel_pair *silent)
{
	WAIT_UNTIL(silent->loop, silent->theirs.releases == 1);
	is_str(silent->theirs.reason, "the peer never said HELLO",
	    "who does not say HELLO is no peer");
	ok(!silent->theirs.was_up, "and never was");
	channel_pair_clear(silent);
}

int
main(void)
{
	struct channel_pair silent;

	(void)signal(SIGPIPE, SIG_DFL); /* no write may raise it */
	channel_pair_init_raw(&silent);
	test_one_byte_pieces();
	test_hello();
	test_breaches();
	test_paused_header();
	test_hostile_fds();
	test_silent_peer(&silent);
	return tap_done();
}
