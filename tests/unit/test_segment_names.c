/* SPDX-License-Identifier: ISC */
/*
 * Segments and their ends: one that was begun and no more, one that has the
 * name of another, one that somebody made longer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loghub/verify.h"
#include "tests/unit/segment_log.h"
#include "tests/unit/tap.h"

static char folder[64];

static void
begin(void)
{
	(void)snprintf(
	    folder, sizeof(folder), "/tmp/test_segment_names.XXXXXX");
	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
}

static void
add(struct segment_writer *writer, uint64_t day)
{
	if (segment_log_notice(writer, NOON_US + day * DAY_US, "an event") ==
	    -1)
		bug("an event that is not taken");
}

/* A day later the log goes on, and is verified. */
static const char *
problem_after_one_more(struct segment_writer *writer, uint64_t day)
{
	static const atomic_bool is_never;
	struct verify_result result;

	add(writer, day);
	segment_log_sync(writer);
	verify_run(writer->dir_fd, &writer->written, &is_never, &result);
	return verify_problem_names[result.problem];
}

/*
 * A sync may begin when a segment was begun in the same turn and nothing of it
 * is written yet; then the hub is killed, with so many octets of its opening.
 */
static void
test_begun_at_sync(off_t octets)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	struct segment_writer writer;
	struct segment_recovery recovery;
	struct segment_sync sync;
	uint64_t number;

	begin();
	(void)segment_log_open(&writer, folder);
	add(&writer, 0);
	(void)segment_flush(&writer, NULL);
	number = writer.number;
	add(&writer, 1);
	if (!segment_sync_take(&writer, &sync))
		bug("nothing to sync");
	segment_sync_run(&sync);
	segment_writer_clear(&writer);
	segment_log_path(folder, 2, 1, file);
	if (truncate(file, octets) == -1)
		bug("there is no %s", file);
	recovery = segment_log_open(&writer, folder);
	is_str(segment_end_names[recovery.end],
	    segment_end_names[octets > 0 ? SEGMENT_END_TORN
					 : SEGMENT_END_WHOLE],
	    "%d octets of a segment that was begun when a sync began",
	    (int)octets);
	is_u64(writer.number, number, "nothing that was synced is missing");
	is_str(
	    problem_after_one_more(&writer, 1), "none", "and the log verifies");
	segment_writer_clear(&writer);
	segment_log_remove(folder);
}

/* The disk refuses the first batch of such a segment while the sync runs. */
static void
test_refused_at_sync(void)
{
	struct segment_writer writer;
	struct segment_sync sync;
	struct rlimit before;
	int rc;

	begin();
	(void)segment_log_open(&writer, folder);
	add(&writer, 0);
	(void)segment_flush(&writer, NULL);
	add(&writer, 1);
	if (!segment_sync_take(&writer, &sync))
		bug("nothing to sync");
	before = segment_log_fill_disk(10);
	rc = segment_flush(&writer, NULL);
	(void)setrlimit(RLIMIT_FSIZE, &before);
	is_int(rc, -1,
	    "a segment that was begun when a sync began cannot be written");
	/* It ends the process when a descriptor is not open any more. */
	segment_sync_run(&sync);
	is_u64(sync.at.name.number, 1, "the sync is of the one before");
	is_u64(sync.at.number, writer.number, "with all that is there");
	is_str(
	    problem_after_one_more(&writer, 1), "none", "and the log verifies");
	segment_writer_clear(&writer);
	segment_log_remove(folder);
}

/* What is left of a log, under the name that the log began with. */
static void
test_renamed_to_first(void)
{
	char one[SEGMENT_LOG_PATH_SIZE];
	char two[SEGMENT_LOG_PATH_SIZE];
	struct segment_writer writer;

	begin();
	(void)segment_log_open(&writer, folder);
	add(&writer, 0);
	add(&writer, 1);
	segment_log_sync(&writer);
	segment_writer_clear(&writer);
	segment_log_path(folder, 1, 0, one);
	(void)unlink(one);
	segment_log_path(folder, 1, 1, one);
	segment_log_path(folder, 2, 1, two);
	if (rename(two, one) == -1)
		bug("there is no %s", two);
	(void)segment_log_open(&writer, folder);
	is_str(problem_after_one_more(&writer, 2),
	    verify_problem_names[VERIFY_REORDERED],
	    "the first segment is gone, and the next has its name: found");
	segment_writer_clear(&writer);
	segment_log_remove(folder);
}

/* What a crash would leave at the log's end: a record that is cut short. */
static void
append_octets(struct segment_writer *writer, const char *file)
{
	char head[RECORD_HEAD_SIZE];
	int fd = open(file, O_RDWR | O_APPEND | O_CLOEXEC);

	(void)writer;
	if (read(fd, head, sizeof(head)) != (ssize_t)sizeof(head) ||
	    write(fd, head, sizeof(head)) != (ssize_t)sizeof(head))
		bug("%s is not there", file);
	(void)close(fd);
}

/* Its number and its hash are those that would follow. */
static void
append_record(struct segment_writer *writer, const char *file)
{
	writer->fd = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
	add(writer, 0);
	(void)segment_flush(writer, NULL);
}

/* The second segment is there already. */
static void
test_appended(void (*append)(struct segment_writer *writer, const char *file),
    enum verify_problem problem, const char *what)
{
	struct segment_writer writer;
	struct segment_writer one;
	char file[SEGMENT_LOG_PATH_SIZE];

	begin();
	(void)segment_log_open(&one, folder);
	add(&one, 0);
	segment_log_sync(&one);
	(void)segment_log_open(&writer, folder);
	add(&writer, 1);
	segment_log_sync(&writer);
	segment_writer_clear(&writer);
	segment_log_path(folder, 1, 0, file);
	close_if_open(&one.fd);
	append(&one, file);
	segment_writer_clear(&one);
	(void)segment_log_open(&writer, folder);
	is_str(problem_after_one_more(&writer, 2),
	    verify_problem_names[problem], "%s: found", what);
	segment_writer_clear(&writer);
	segment_log_remove(folder);
}

int
main(void)
{
	test_appended(append_octets, VERIFY_ALTERED,
	    "octets are appended to a segment that had ended");
	test_appended(append_record, VERIFY_REORDERED,
	    "a record is appended to a segment that had ended");
	test_begun_at_sync(0);
	test_begun_at_sync(3);
	test_refused_at_sync();
	test_renamed_to_first();
	return tap_done();
}
