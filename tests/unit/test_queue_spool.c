/* SPDX-License-Identifier: ISC */
/*
 * Large bodies: streams with credit, and the files that they become.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/spool_file.h"
#include "tests/unit/sending.h"
#include "tests/unit/tap.h"

/* A body of that size after the header; the caller frees it. */
static char *
make_content(const char *header, size_t size)
{
	char *content = xmalloc(size);
	size_t n = strlen(header);

	memcpy(content, header, n);
	for (size_t i = n; i < size; i++)
		content[i] = (char)('a' + i / 7 % 26);
	return content;
}

/* Entries in all folders of the spool. */
static unsigned
count_files(const struct world *world)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SPOOL_FOLDERS; i++) {
		char path[128];
		DIR *dir;

		(void)snprintf(
		    path, sizeof(path), "%s/spool/%02x", world->dir, i);
		if ((dir = opendir(path)) == NULL)
			continue;
		while (readdir(dir) != NULL)
			count++;
		count -= 2;
		(void)closedir(dir);
	}
	return count;
}

/* A stream gives its place back when its file is gone, or will not come. */
static void
wait_for_no_file(struct world *world)
{
	WORLD_WAIT(world, queue_spool_streams(world->queued.spool) == 0 &&
			      count_files(world) == 0);
}

static bool
is_file_there(const struct world *world, uint64_t id)
{
	int fd = queue_spool_open(world->queued.spool, id, 0);
	bool is_there = fd != -1;

	close_if_open(&fd);
	return is_there;
}

static unsigned
folder_of(uint64_t id)
{
	return (unsigned)((id ^ id >> 20) % SPOOL_FOLDERS);
}

static void
path_in(const struct world *world, unsigned folder, uint64_t id, char *path,
    size_t size)
{
	char name[ID_TEXT_SIZE];

	id_format(id, name);
	(void)snprintf(
	    path, size, "%s/spool/%02x/%s", world->dir, folder, name);
}

static void
path_of(const struct world *world, uint64_t id, char *path, size_t size)
{
	path_in(world, folder_of(id), id, path, size);
}

static void
make_file(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd == -1 || write(fd, "x", 1) != 1 || fchmod(fd, mode) == -1)
		fatal("%s: %s", path, strerror(errno));
	(void)close(fd);
}

/* ---- the good way ---- */

static void
check_content(
    const struct world *world, uint64_t id, const char *want, size_t size)
{
	int fd = queue_spool_open(world->queued.spool, id, 0);
	char *got = xmalloc(size + 1);
	ssize_t n = fd == -1 ? -1 : read(fd, got, size + 1);

	is_int(n, (intmax_t)size, "the file has the size of the content");
	ok(n == (ssize_t)size && memcmp(got, want, size) == 0,
	    "and every octet of it");
	free(got);
	close_if_open(&fd);
}

static void
test_accept(struct world *world)
{
	static const size_t sizes[] = {
	    70000, 1 << 20, sizeof(HEADER) - 1, 300001};
	size_t memory = world->queued.memory_used;

	world_connect(world);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *content = make_content(HEADER, sizes[i]);
		struct sending sending = sending_open(world, (uint32_t)i + 1);
		struct queue_message *message = NULL;
		struct err err;
		unsigned answers = world->peer.answers;
		uint64_t credit = world->peer.credit;

		WORLD_WAIT(world, world->peer.credit > credit);
		is_u64(world->peer.credit - credit, 256 * 1024,
		    "a stream begins with 256 KiB");
		world->peer.credit = 256 * 1024;
		sending_all(&sending, content, sizes[i]);
		sending_end(&sending);
		WORLD_WAIT(world, world->peer.answers > answers);
		is_int(world->peer.code, 250, "%zu octets are accepted: %s",
		    sizes[i], world->peer.text);
		is_u64(world->peer.stream, i + 1, "by the stream's number");
		check_content(world, sending.id, content, sizes[i]);
		world_settle(world);
		is_int(queue_store_read(
			   world->queued.reader, sending.id, &message, &err),
		    1, "its rows are there");
		ok(message != NULL && message->is_file &&
			message->size == sizes[i],
		    "with its size, and that it is a file");
		queue_message_unref(message);
		free(content);
	}
	is_u64(
	    queue_spool_streams(world->queued.spool), 0, "no stream is left");
	is_u64(dispatch_waiting(world->queued.dispatch), 4,
	    "each is to be delivered");
	while (world_deliver_one(world))
		world_settle(world);
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "delivered ones leave no file");
	world_disconnect(world);
	is_u64(world->queued.memory_used, memory, "and no memory");
}

static void
test_mode(struct world *world)
{
	char path[160];
	struct stat st;
	char *content = make_content(HEADER, 100000);
	struct sending sending;

	world_connect(world);
	sending = sending_open(world, 1);
	sending_all(&sending, content, 100000);
	sending_end(&sending);
	WORLD_WAIT(world, world->peer.answers > 0);
	path_of(world, sending.id, path, sizeof(path));
	is_int(stat(path, &st), 0, "the file is where its id says");
	is_int(st.st_mode & 07777, 0600, "for our eyes alone");
	(void)snprintf(path, sizeof(path), "%s/spool", world->dir);
	is_int(stat(path, &st), 0, "the spool is there");
	is_int(st.st_mode & 07777, 0700, "for us alone");
	free(content);
	world_disconnect(world);
	while (world_deliver_one(world))
		world_settle(world);
}

/* A header may be longer than the credit. */
static void
test_long_header(struct world *world)
{
	size_t size = 700000;
	char *content = make_content(HEADER, size);
	struct sending sending;

	memset(content + sizeof(HEADER) - 3, 'x', size - sizeof(HEADER) + 3);
	for (size_t i = sizeof(HEADER) - 3; i + 80 < size; i += 80)
		memcpy(content + i, "X-Long: ", 8),
		    memcpy(content + i + 78, "\r\n", 2);
	memcpy(content + size - 4, "\r\n\r\n", 4);
	world->snapshot->settings.smtp_max_header_size = 1048576;
	world_connect(world);
	sending = sending_open(world, 1);
	sending_all(&sending, content, size);
	sending_end(&sending);
	WORLD_WAIT(world, world->peer.answers > 0);
	is_int(world->peer.code, 250, "a header of 700 KB passes: %s",
	    world->peer.text);
	world->snapshot->settings.smtp_max_header_size = 65536;
	sending = sending_open(world, 2);
	sending_all(&sending, content, size);
	WORLD_WAIT(world, world->peer.answers > 1);
	is_int(world->peer.code, 554, "not when the limit is lower: %s",
	    world->peer.text);
	free(content);
	world_disconnect(world);
	while (world_deliver_one(world))
		world_settle(world);
}

/* ---- refusals ---- */

static void
test_refusals(struct world *world)
{
	char *content = make_content(FORGED, 200000);
	struct sending sending;
	unsigned files;

	wait_for_no_file(world);
	files = count_files(world);
	world_connect(world);
	sending = sending_open(world, 1);
	WORLD_WAIT(world, world->peer.credit > 0);
	sending_chunk(&sending, content, 1000);
	WORLD_WAIT(world, world->peer.answers > 0);
	is_int(world->peer.code, 550, "a forged From is refused at once: %s",
	    world->peer.text);
	sending_chunk(&sending, content, 60000);
	sending_end(&sending);
	WORLD_WAIT(world, world->peer.answers > 1);
	is_int(world->peer.code, 550, "its END gets the same answer");

	sending =
	    sending_open_as(world, 2, world_next_id(world), "b@elsewhere.test");
	sending_chunk(&sending, HEADER, sizeof(HEADER) - 1);
	WORLD_WAIT(world, world->peer.answers > 2);
	is_int(world->peer.code, 550, "so is relaying: %s", world->peer.text);
	sending_abort(&sending);

	sending = sending_open(world, 3);
	sending_chunk(&sending, FORGED, 20);
	sending_end(&sending);
	WORLD_WAIT(world, world->peer.answers > 3);
	is_u64(world->peer.stream, 3, "a header cut short gets an answer");
	free(content);

	world->snapshot->settings.smtp_max_message_size = 100000;
	content = make_content(HEADER, 200000);
	world->peer.credit = 256 * 1024;
	sending = sending_open(world, 4);
	sending_all(&sending, content, 200000);
	WORLD_WAIT(world, world->peer.code == 552);
	is_int(world->peer.code, 552, "a message over the limit is refused");
	sending_abort(&sending);
	world->snapshot->settings.smtp_max_message_size = 50 << 20;
	free(content);
	WORLD_WAIT(world, count_files(world) <= files + 1);
	ok(world->peer.channel != NULL, "none of it ends the channel");
	world_disconnect(world);
	while (world_deliver_one(world))
		world_settle(world);
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "and refused streams leave no file");
}

static void
test_ends_without_end(struct world *world)
{
	char *content = make_content(HEADER, 200000);
	struct sending sending;

	world_connect(world);
	sending = sending_open(world, 1);
	WORLD_WAIT(world, world->peer.credit > 0);
	sending_all(&sending, content, 200000);
	WORLD_WAIT(world, is_file_there(world, sending.id));
	ok(is_file_there(world, sending.id), "a stream under way has a file");
	sending_abort(&sending);
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "that goes when it is aborted");

	world->peer.credit = 0;
	sending = sending_open(world, 2);
	WORLD_WAIT(world, world->peer.credit > 0);
	sending_all(&sending, content, 200000);
	WORLD_WAIT(world, is_file_there(world, sending.id));
	world_disconnect(world);
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "and when the peer goes");
	is_u64(
	    queue_spool_streams(world->queued.spool), 0, "nothing waits then");
	free(content);
}

/* An id that was used, by a peer whose clock went back. */
static void
test_double_id(struct world *world)
{
	char *content = make_content(HEADER, 100000);
	const char *domains[] = {"ours.test"};
	struct sending sending;
	char path[160];
	uint64_t id;

	world_connect(world);
	id = world_next_id(world);
	world_insert(world, id, INT64_MAX / 2, domains, 1);
	world_settle(world);
	sending = sending_open_as(world, 1, id, "b@ours.test");
	sending_all(&sending, content, 100000);
	sending_end(&sending);
	WORLD_WAIT(world, world->peer.answers > 0);
	is_int(world->peer.code, 451, "an id with rows is refused: %s",
	    world->peer.text);
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "what was stored of it is removed");

	id = world_next_id(world);
	path_of(world, id, path, sizeof(path));
	make_file(path, 0600);
	sending = sending_open_as(world, 2, id, "b@ours.test");
	world->peer.credit = 256 * 1024;
	sending_all(&sending, content, 100000);
	WORLD_WAIT(world, world->peer.answers > 1);
	is_int(world->peer.code, 451, "an id with a file is refused: %s",
	    world->peer.text);
	world_disconnect(world);
	is_int(access(path, F_OK), 0, "and the file that was there stays");
	(void)unlink(path);
	free(content);
}

/* A disk that takes no more. */
static void
test_write_failure(struct world *world)
{
	struct rlimit old;
	struct rlimit small;
	char *content = make_content(HEADER, 200000);
	struct sending sending;

	(void)getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){100000, old.rlim_max};
	world_connect(world);
	sending = sending_open(world, 1);
	WORLD_WAIT(world, world->peer.credit > 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &small);
	sending_all(&sending, content, 200000);
	WORLD_WAIT(world, world->peer.answers > 0);
	/* What is printed may go to a file, too, and that may be longer. */
	(void)setrlimit(RLIMIT_FSIZE, &old);
	is_int(world->peer.code, 451, "a write that fails is a 451: %s",
	    world->peer.text);
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "and leaves no half file");
	world_disconnect(world);
	free(content);
}

/* ---- breaches ---- */

/* A refused stream gets no credit back, so that the sum is certain. */
static void
too_much(struct world *world, const struct sending *sending)
{
	char *content = make_content(FORGED, 65536);

	(void)world;
	for (int i = 0; i < 4; i++)
		sending_chunk(sending, content, 65536);
	sending_chunk(sending, content, 1);
	free(content);
}

static void
no_such_stream(struct world *world, const struct sending *sending)
{
	struct sending other = *sending;

	(void)world;
	other.number++;
	sending_chunk(&other, "x", 1);
}

static void
double_number(struct world *world, const struct sending *sending)
{
	(void)sending_open(world, sending->number);
}

static void
double_message(struct world *world, const struct sending *sending)
{
	(void)sending_open_as(world, 7, sending->id, "b@ours.test");
}

static void
foreign_slot(struct world *world, const struct sending *sending)
{
	(void)sending_open_as(
	    world, 7, sending->id + (1u << ID_COUNTER_BITS), "b@ours.test");
}

static void
after_end(struct world *world, const struct sending *sending)
{
	(void)world;
	sending_chunk(sending, HEADER, sizeof(HEADER) - 1);
	sending_end(sending);
	sending_chunk(sending, "x", 1);
}

static void
two_ends(struct world *world, const struct sending *sending)
{
	(void)world;
	sending_chunk(sending, HEADER, sizeof(HEADER) - 1);
	sending_end(sending);
	sending_end(sending);
}

static void
empty_chunk(struct world *world, const struct sending *sending)
{
	(void)world;
	sending_chunk(sending, "", 0);
}

static void
test_breaches(struct world *world)
{
	static const struct {
		const char *label;
		void (*breach)(
		    struct world *world, const struct sending *sending);
	} rows[] = {{"more than the credit", too_much},
	    {"a chunk of no stream", no_such_stream},
	    {"a stream's number twice", double_number},
	    {"a message id twice", double_message},
	    {"an id of another slot", foreign_slot},
	    {"a chunk after the end", after_end}, {"two ends", two_ends},
	    {"an empty chunk", empty_chunk}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sending sending;

		world_connect(world);
		sending = sending_open(world, 1);
		WORLD_WAIT(world, world->peer.credit > 0);
		rows[i].breach(world, &sending);
		WORLD_WAIT(world, world->peer.channel == NULL);
		ok(world->peer.channel == NULL, "%s ends the channel",
		    rows[i].label);
		world_settle(world);
	}
	wait_for_no_file(world);
	is_u64(count_files(world), 0, "breaches leave no file");
	is_u64(queue_spool_streams(world->queued.spool), 0, "and no stream");
}

/* ---- at start ---- */

static void
test_start(struct world *world)
{
	char *content = make_content(HEADER, 100000);
	char kept[160];
	char path[160];
	char other[160];
	uint64_t orphan;
	struct sending sending;
	struct queued *queued = &world->queued;

	world_connect(world);
	sending = sending_open(world, 1);
	sending_all(&sending, content, 100000);
	sending_end(&sending);
	WORLD_WAIT(world, world->peer.answers > 0);
	path_of(world, sending.id, kept, sizeof(kept));
	orphan = world_next_id(world);
	world_stop(world);

	path_of(world, orphan, path, sizeof(path));
	make_file(path, 0600);
	(void)snprintf(other, sizeof(other), "%s/spool/00/%s", world->dir,
	    "no-message-id");
	make_file(other, 0600);
	path_of(world, orphan + 1, other, sizeof(other));
	make_file(other, 0644);
	path_of(world, orphan + 2, other, sizeof(other));
	if (symlink("/dev/null", other) == -1)
		fatal("symlink");
	path_of(world, orphan + 3, other, sizeof(other));
	if (mkfifo(other, 0600) == -1)
		fatal("mkfifo");
	path_of(world, orphan + 4, other, sizeof(other));
	if (link(kept, other) == -1)
		fatal("link");
	path_of(world, orphan + 5, other, sizeof(other));
	if (mkdir(other, 0700) == -1)
		fatal("mkdir");
	path_in(world, (folder_of(orphan + 6) + 1) % SPOOL_FOLDERS, orphan + 6,
	    other, sizeof(other));
	make_file(other, 0600);
	world_start(world);

	ok(access(path, F_OK) == -1, "a file without a row is removed");
	is_int(access(kept, F_OK), 0, "one with a row stays");
	is_u64(count_files(world), 8, "what is odd is left alone");
	ok(!is_file_there(world, orphan + 1), "a file of others is not read");
	ok(!is_file_there(world, orphan + 2), "nor what a link points to");
	ok(!is_file_there(world, orphan + 3), "nor a FIFO");
	ok(!is_file_there(world, orphan + 4), "nor one with two names");
	ok(!is_file_there(world, orphan + 5), "nor a folder");
	ok(!is_file_there(world, sending.id), "nor the other of the two names");
	path_of(world, orphan + 4, other, sizeof(other));
	(void)unlink(other);
	check_content(world, sending.id, content, 100000);
	queue_spool_remove(queued->spool, sending.id, 0);
	WORLD_WAIT(world, access(kept, F_OK) == -1);
	ok(access(kept, F_OK) == -1, "a file is removed when asked");
	free(content);
}

static void
test_folders(struct world *world)
{
	struct spool_folders folders;
	struct err err;
	char state[96];
	char path[160];
	int fds[2];

	(void)snprintf(state, sizeof(state), "%s/other", world->dir);
	(void)snprintf(path, sizeof(path), "%s/spool/3f", state);
	if (mkdir(state, 0700) == -1)
		fatal("mkdir");
	is_int(spool_folders_open(&folders, state, &err), 0,
	    "the spool is made where there is none");
	spool_folders_close(&folders);
	(void)chmod(path, 0755);
	is_int(spool_folders_open(&folders, state, &err), -1,
	    "a folder that others may enter is refused: %s", err.text);
	(void)chmod(path, 0700);
	(void)rmdir(path);
	if (symlink("/tmp", path) == -1)
		fatal("symlink");
	is_int(spool_folders_open(&folders, state, &err), -1,
	    "so is a link in its place: %s", err.text);
	(void)unlink(path);
	is_int(spool_folders_open(&folders, state, &err), 0,
	    "one that is gone is made anew");
	if (pipe(fds) == -1)
		fatal("pipe");
	OK_DIES(spool_file_sync(&folders, 1, 0, fds[1]),
	    "a failed sync ends the process");
	(void)close(fds[0]);
	(void)close(fds[1]);
	spool_folders_close(&folders);
}

int
main(void)
{
	struct world world;

	world_init(&world);
	test_accept(&world);
	test_mode(&world);
	test_long_header(&world);
	test_refusals(&world);
	test_ends_without_end(&world);
	test_double_id(&world);
	test_write_failure(&world);
	test_breaches(&world);
	test_start(&world);
	test_folders(&world);
	world_clear(&world);
	return tap_done();
}
