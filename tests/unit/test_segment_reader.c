/* SPDX-License-Identifier: ISC */
/*
 * Reading a segment while it is written: what is behind the end that was told
 * may be gone a moment later.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "loghub/segment.h"
#include "tests/unit/tap.h"

/* 2026-01-31 12:00 UTC. */
static const uint64_t noon_us = (uint64_t)1769860800 * 1000000;

static char folder[64];

static void
add(struct segment_writer *writer, const char *text)
{
	const struct event_program_notice notice = {
	    .program = SLICE("test"), .text = slice_of(text)};
	struct buf event;

	buf_init(&event, 4096);
	(void)log_encode(&event, (struct log_context){0, 0}, noon_us,
	    EV_PROGRAM_NOTICE, &notice);
	if (segment_append(writer, ROLE_CONFD, noon_us, 0, buf_slice(&event),
		NULL) == -1 ||
	    segment_flush(writer, NULL) == -1)
		bug("an event that is not taken");
	buf_clear(&event);
}

static void
path_of(const char *name, char path_r[128])
{
	(void)snprintf(path_r, 128, "%s/%s", folder, name);
}

/* The disk refused a batch of which some octets were written: they go. */
static void
test_taken_back(void)
{
	static const char left[] = "octets of a batch that the disk refused";
	struct segment_writer writer;
	struct segment_recovery recovery;
	struct segment_reader reader;
	struct record record;
	char name[SEGMENT_FILE_NAME_SIZE];
	char path[128];
	int fd;
	struct err err;

	if (segment_writer_open(&writer, folder, NULL, NULL, &recovery, &err) ==
	    -1)
		fatal("%s", err.text);
	add(&writer, "one");
	segment_file_name(&writer.written.name, name);
	path_of(name, path);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd == -1 || write(fd, left, sizeof(left)) == -1)
		bug("%s: %s", path, strerror(errno));
	segment_reader_init(&reader, writer.dir_fd);
	(void)segment_reader_seek(&reader, &writer.written.name, 0, &err);
	while (segment_reader_next(
		   &reader, writer.written.offset, &record, &err) == PARSE_OK)
		continue;
	is_u64(reader.offset, writer.written.offset,
	    "a reader is at the end while more is being written");
	if (ftruncate(fd, (off_t)writer.written.offset) == -1)
		bug("%s: %s", path, strerror(errno));
	add(&writer, "two");
	ok(segment_reader_next(&reader, writer.written.offset, &record, &err) ==
		    PARSE_OK &&
		record.number == writer.written.number,
	    "it was taken back: what came in its place is read");
	segment_reader_clear(&reader);
	(void)close(fd);
	segment_writer_clear(&writer);
	(void)unlink(path);
}

int
main(void)
{
	char path[128];

	(void)snprintf(
	    folder, sizeof(folder), "/tmp/test_segment_reader.XXXXXX");
	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
	test_taken_back();
	path_of("head", path);
	(void)unlink(path);
	(void)rmdir(folder);
	return tap_done();
}
