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

#include "tests/unit/segment_log.h"
#include "tests/unit/tap.h"

static char folder[64];

static void
add(struct segment_writer *writer, const char *text)
{
	if (segment_log_notice(writer, NOON_US, text) == -1 ||
	    segment_flush(writer, NULL) == -1)
		bug("an event that is not taken");
}

/* The disk refused a batch of which some octets were written: they go. */
static void
test_taken_back(void)
{
	static const char left[] = "octets of a batch that the disk refused";
	struct segment_writer writer;
	struct segment_reader reader;
	struct record record;
	char path[SEGMENT_LOG_PATH_SIZE];
	int fd;
	struct err err;

	(void)segment_log_open(&writer, folder);
	add(&writer, "one");
	segment_log_path(folder, 1, 0, path);
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
}

int
main(void)
{
	(void)snprintf(
	    folder, sizeof(folder), "/tmp/test_segment_reader.XXXXXX");
	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
	test_taken_back();
	segment_log_remove(folder);
	return tap_done();
}
