/* SPDX-License-Identifier: ISC */
/*
 * Writes the log: batches, new segments, and what a sync has to touch.
 * Runs in: postern-loghub; segment_sync_run() in its sync thread.
 * Trusts: its caller that events keep their rows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loghub/segment.h"
#include "loghub/segment_head.h"

const char *const segment_end_names[SEGMENT_END_COUNT] = {
	[SEGMENT_END_WHOLE] = "whole",
	[SEGMENT_END_TORN] = "torn by a crash",
	[SEGMENT_END_MISSING] = "synced records are gone",
	[SEGMENT_END_ALTERED] = "a synced record was altered",
};

void
segment_writer_clear(struct segment_writer *writer)
{
	for (unsigned i = 0; i < writer->old_count; i++)
		close_if_open(&writer->old_fds[i]);
	close_if_open(&writer->fd);
	close_if_open(&writer->head_fd);
	close_if_open(&writer->dir_fd);
	chain_clear(&writer->chain);
	buf_clear(&writer->batch);
}

static int
create_file(struct segment_writer *writer, struct segment_name *name,
    struct err *err)
{
	char file[SEGMENT_FILE_NAME_SIZE];
	int fd;

	segment_file_name(name, file);
	fd = openat(writer->dir_fd, file,
	    O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
	    0600);
	if (fd == -1)
		return err_set(err, "create segment %s: %s", file,
		    strerror(errno));
	writer->fd = fd;
	writer->is_new = true;
	return 0;
}

/* Chains one record into the batch. */
static void
add_record(struct segment_writer *writer, enum record_kind kind,
    enum role role, uint64_t now_us, struct slice first, struct slice second)
{
	size_t begin = writer->batch.n;
	char head[RECORD_HEAD_SIZE];
	unsigned char hash[RECORD_HASH_SIZE];

	record_head_write(head, kind, role, writer->number + 1, now_us,
	    first.n + second.n);
	if (buf_add(&writer->batch, head, sizeof(head)) == -1 ||
	    buf_add_slice(&writer->batch, first) == -1 ||
	    buf_add_slice(&writer->batch, second) == -1)
		bug("a batch of the log over %zu octets",
		    SEGMENT_BATCH_LIMIT);
	chain_hash(&writer->chain,
	    (struct slice){writer->batch.p + begin, writer->batch.n - begin},
	    hash);
	if (buf_add(&writer->batch, hash, sizeof(hash)) == -1)
		bug("a batch of the log over %zu octets",
		    SEGMENT_BATCH_LIMIT);
	chain_set(&writer->chain, hash);
	writer->number++;
}

static int
begin_segment(struct segment_writer *writer, uint64_t now_us, struct err *err)
{
	struct segment_name name = {
	    .number = writer->written.name.number + 1,
	    .day = day_of_us(now_us),
	};
	struct record_opening opening = {.segment = name.number};
	char octets[RECORD_OPENING_SIZE];

	/* A clock that went back a little does not reopen yesterday. */
	if (name.day == writer->written.name.day - 1)
		name.day = writer->written.name.day;
	if (create_file(writer, &name, err) == -1)
		return -1;
	memcpy(opening.previous, writer->chain.head, RECORD_HASH_SIZE);
	record_opening_write(&opening, octets);
	writer->previous = writer->written;
	writer->written.name = name;
	writer->written.offset = 0;
	add_record(writer, RECORD_OPENING, ROLE_LOGHUB, now_us,
	    (struct slice){octets, sizeof(octets)}, (struct slice){NULL, 0});
	return 0;
}

/* Full, or of another day: it waits for its last sync. */
static bool
must_end(const struct segment_writer *writer, uint64_t now_us)
{
	int32_t day = day_of_us(now_us);

	return writer->written.offset + writer->batch.n >=
	    SEGMENT_SIZE_LIMIT ||
	    day > writer->written.name.day ||
	    day < writer->written.name.day - 1;
}

static int
prepare_append(
    struct segment_writer *writer, uint64_t now_us, struct err *err)
{
	const unsigned room =
	    sizeof(writer->old_fds) / sizeof(*writer->old_fds);

	if (writer->batch.n >= SEGMENT_BATCH_SIZE &&
	    segment_flush(writer, err) == -1)
		return -1;
	if (writer->fd != -1 && writer->old_count < room &&
	    must_end(writer, now_us)) {
		if (segment_flush(writer, err) == -1)
			return -1;
		writer->old_fds[writer->old_count++] = writer->fd;
		writer->fd = -1;
	}
	if (writer->fd == -1)
		return begin_segment(writer, now_us, err);
	return 0;
}

int
segment_append(struct segment_writer *writer, enum role role, uint64_t now_us,
    uint32_t life_number, struct slice event, struct err *err)
{
	char number[RECORD_LIFE_HEAD_SIZE];
	struct slice head = {number, life_number != 0 ? sizeof(number) : 0};

	if (prepare_append(writer, now_us, err) == -1) {
		writer->lost[role]++;
		return -1;
	}
	ipc_put_number(number, life_number, sizeof(number));
	add_record(writer, life_number != 0 ? RECORD_LIFE : RECORD_EVENT, role,
	    now_us, head, event);
	writer->batch_events[role]++;
	return 0;
}

/* The disk refused: the file and the chain end where they ended before. */
static void
take_back(struct segment_writer *writer)
{
	char file[SEGMENT_FILE_NAME_SIZE];

	for (int i = 0; i < ROLE_COUNT; i++)
		writer->lost[i] += writer->batch_events[i];
	if (writer->written.offset == 0) {
		/* Not even its opening stands: it never was. */
		segment_file_name(&writer->written.name, file);
		(void)unlinkat(writer->dir_fd, file, 0);
		close_if_open(&writer->fd);
		writer->written = writer->previous;
	} else if (ftruncate(writer->fd, (off_t)writer->written.offset) ==
	    -1) {
		/* The next start finds it torn, and cuts it. */
		fatal("cannot cut segment %u: %s", writer->written.name.number,
		    strerror(errno));
	}
	chain_set(&writer->chain, writer->written.hash);
	writer->number = writer->written.number;
}

static int
write_all(int fd, struct slice octets, struct err *err)
{
	size_t done = 0;

	while (done < octets.n) {
		ssize_t n = write(fd, octets.p + done, octets.n - done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return err_set(
			    err, "write to the log: %s", strerror(errno));
		done += (size_t)n;
	}
	return 0;
}

int
segment_flush(struct segment_writer *writer, struct err *err)
{
	int rc = 0;

	if (writer->batch.n == 0)
		return 0;
	if (write_all(writer->fd, buf_slice(&writer->batch), err) == -1) {
		take_back(writer);
		rc = -1;
	} else {
		writer->written.offset += writer->batch.n;
		writer->written.number = writer->number;
		memcpy(writer->written.hash, writer->chain.head,
		    RECORD_HASH_SIZE);
	}
	buf_reset(&writer->batch);
	memset(writer->batch_events, 0, sizeof(writer->batch_events));
	return rc;
}

/*
 * Of a segment that was begun in this turn nothing is written yet: it is not
 * touched, for it is closed and goes when the disk refuses its first batch.
 */
bool
segment_sync_take(struct segment_writer *writer, struct segment_sync *sync_r)
{
	const bool is_begun = writer->fd != -1 && writer->written.offset == 0;
	struct segment_sync sync = {
	    .dir_fd = writer->is_new ? writer->dir_fd : -1,
	    .head_fd = writer->head_fd,
	    .at = is_begun ? writer->previous : writer->written,
	    .close_count = writer->old_count,
	};

	for (unsigned i = 0; i < writer->old_count; i++)
		sync.fds[sync.fd_count++] = writer->old_fds[i];
	if (writer->fd != -1 && !is_begun)
		sync.fds[sync.fd_count++] = writer->fd;
	if (sync.fd_count == 0)
		return false;
	writer->old_count = 0;
	writer->is_new = false;
	*sync_r = sync;
	return true;
}

void
segment_sync_run(struct segment_sync *sync)
{
	for (unsigned i = 0; i < sync->fd_count; i++) {
		if (fdatasync(sync->fds[i]) == -1)
			fatal("cannot sync the log: %s", strerror(errno));
		if (i < sync->close_count)
			(void)close(sync->fds[i]);
	}
	if (sync->dir_fd != -1 && fsync(sync->dir_fd) == -1)
		fatal("cannot sync the log's folder: %s", strerror(errno));
	segment_head_write(sync->head_fd, &sync->at);
}
