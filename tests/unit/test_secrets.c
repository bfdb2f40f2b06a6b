/* SPDX-License-Identifier: ISC */
/*
 * A message with keys (IPC_SECRETS) leaves no copy in the memory of who sent
 * it or of who got it.  Both are this process, whose memory is searched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "tests/unit/channel_pair.h"
#include "tests/unit/tap.h"

#define KEY_SIZE 32
/* Mappings of a sanitizer, most of them empty, are larger. */
#define MAPPING_MAX ((size_t)64 * 1024 * 1024)
#define FRAME_MAX 2048

/* Not known to the compiler, which would keep the key as a constant. */
static volatile unsigned char seed = 11;

struct end {
	struct channel *channel;
	unsigned ups;
	unsigned secrets;
	bool is_right;
};

/* Octet i of the key, which as a whole is nowhere but where it is put. */
static inline unsigned char
key_octet(size_t i)
{
	return (unsigned char)((i * 37 + seed) ^ i << 3);
}

static void
put_key(char *out)
{
	volatile char *at = out;

	for (size_t i = 0; i < KEY_SIZE; i++)
		at[i] = (char)key_octet(i);
}

/* ---- the search ---- */

__attribute__((no_sanitize_address)) static unsigned
count_between(const unsigned char *at, const unsigned char *end)
{
	unsigned count = 0;

	for (; at + KEY_SIZE <= end; at++) {
		size_t i = 0;

		while (i < KEY_SIZE && at[i] == key_octet(i))
			i++;
		count += i == KEY_SIZE;
	}
	return count;
}

/*
 * Buffers are no part of the stack, and on that the dynamic linker may leave a
 * register that a key went through.
 */
static unsigned
count_keys(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	char line[512];

	if (maps == NULL)
		bug("no /proc/self/maps");
	while (fgets(line, sizeof(line), maps) != NULL) {
		char *at;
		const uintptr_t start = strtoul(line, &at, 16);
		const uintptr_t end =
		    *at == '-' ? strtoul(at + 1, &at, 16) : start;

		if (strncmp(at, " rw", 3) != 0 ||
		    strstr(line, "[stack]") != NULL ||
		    end - start > MAPPING_MAX)
			continue;
		count += count_between(
		    (const unsigned char *)start, (const unsigned char *)end);
	}
	(void)fclose(maps);
	return count;
}

/* ---- two ends ---- */

static int
on_secret(struct channel *channel, const struct channel_frame *frame)
{
	struct end *end = channel_owner(channel);
	struct slice key = frame->message->worker_secret.wrapping_key;

	end->secrets++;
	end->is_right = key.n == KEY_SIZE;
	for (size_t i = 0; i < key.n; i++)
		if ((unsigned char)key.p[i] != key_octet(i))
			end->is_right = false;
	return 0;
}

static void
on_up(struct channel *channel)
{
	struct end *end = channel_owner(channel);

	end->ups++;
}

static const struct channel_handler worker_takes[] = {
    {ROLE_SIGNERD, MSG_WORKER_SECRET, on_secret}, {ROLE_NONE, MSG_HELLO, NULL}};

static void
open_end(struct end *end, struct loop *loop, enum role self, int fd)
{
	struct channel_config config = {.loop = loop,
	    .self = self,
	    .peer = self == ROLE_WORKER ? ROLE_SIGNERD : ROLE_WORKER,
	    .handlers = worker_takes,
	    .owner = end,
	    .up = on_up};

	*end = (struct end){.channel = channel_new(&config, fd)};
}

static void
socket_pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
}

static void
test_whole(void)
{
	struct loop *loop = loop_new();
	struct end broker;
	struct end worker;
	char *key = xmalloc(KEY_SIZE);
	struct ipc_worker_secret message = {
	    .wrapping_key = {key, KEY_SIZE}, .folder = SLICE("/keys")};
	struct ipc_work work = {.content = SLICE("mail")};
	int fds[2];

	socket_pair(fds);
	open_end(&broker, loop, ROLE_SIGNERD, fds[0]);
	open_end(&worker, loop, ROLE_WORKER, fds[1]);
	WAIT_UNTIL(loop, broker.ups && worker.ups);
	put_key(key);
	is_u64(count_keys(), 1, "the search finds it where it is");
	(void)channel_send(broker.channel, MSG_WORKER_SECRET, &message, NULL);
	explicit_bzero(key, KEY_SIZE);
	is_u64(count_keys(), 0, "once it is sent, the sender has no copy");
	WAIT_UNTIL(loop, worker.secrets == 1);
	ok(worker.is_right, "it arrives");
	is_u64(count_keys(), 0, "nor has who got it");
	ok(channel_send(broker.channel, MSG_WORK, &work, NULL) == 0,
	    "other messages follow");
	channel_close(broker.channel);
	channel_close(worker.channel);
	loop_free(loop);
	free(key);
}

/* ---- in pieces ---- */

static size_t
make_frame(enum ipc_type type, const void *message, char *out)
{
	const struct ipc_shape *shape = &ipc_row(type)->shape;
	struct ipc_header header = {.type = (uint16_t)type};
	size_t size;
	struct err err;

	if (ipc_shape_size(shape, message, &size, &err) == -1)
		bug("%s", err.text);
	header.length = (uint32_t)size;
	ipc_header_write(&header, out);
	ipc_shape_write(shape, message, out + IPC_HEADER_SIZE);
	return IPC_HEADER_SIZE + size;
}

/* HELLO and the secret's first octets at once, the rest later. */
static void
test_pieces(size_t first)
{
	struct loop *loop = loop_new();
	struct end worker;
	char frames[FRAME_MAX];
	char *key = xmalloc(KEY_SIZE);
	const struct ipc_hello hello = {.table_hash = ipc_table_hash(),
	    .role = SLICE("signerd"),
	    .version = SLICE(PACKAGE_VERSION)};
	const struct ipc_worker_secret message = {
	    .wrapping_key = {key, KEY_SIZE}, .folder = SLICE("/keys")};
	size_t n;
	int fds[2];

	socket_pair(fds);
	open_end(&worker, loop, ROLE_WORKER, fds[1]);
	put_key(key);
	n = make_frame(MSG_HELLO, &hello, frames);
	first += n;
	n += make_frame(MSG_WORKER_SECRET, &message, frames + n);
	explicit_bzero(key, KEY_SIZE);
	if (write(fds[0], frames, first) != (ssize_t)first)
		bug("a socket that takes nothing");
	WAIT_UNTIL(loop, worker.ups == 1);
	channel_pair_turn(loop);
	if (write(fds[0], frames + first, n - first) != (ssize_t)(n - first))
		bug("a socket that takes nothing");
	explicit_bzero(frames, sizeof(frames));
	WAIT_UNTIL(loop, worker.secrets == 1);
	ok(worker.is_right, "it arrives in pieces (%zu)", first);
	is_u64(count_keys(), 0, "and leaves none of them");
	channel_close(worker.channel);
	(void)close(fds[0]);
	loop_free(loop);
	free(key);
}

int
main(void)
{
	test_whole();
	/* Behind its header; with a part of the key; with all of it. */
	test_pieces(IPC_HEADER_SIZE);
	test_pieces(IPC_HEADER_SIZE + 4 + KEY_SIZE / 2);
	test_pieces(IPC_HEADER_SIZE + 4 + KEY_SIZE + 2);
	return tap_done();
}
