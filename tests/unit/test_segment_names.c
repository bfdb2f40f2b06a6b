/* SPDX-License-Identifier: ISC */
/*
 * Segments and their ends: one that was begun and no more, one that has the
 * name of another, one that somebody made longer.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "loghub/segment.h"
#include "loghub/verify.h"
#include "tests/unit/tap.h"

static const uint64_t day_us = (uint64_t)86400 * 1000000;
/* 2026-01-31 12:00 UTC. */
static const uint64_t noon_us = (uint64_t)1769860800 * 1000000;

static char folder[64];

/* The path of a segment of that day, the first day being 0. */
static void
path_of(uint32_t number, int32_t day, char path_r[128])
{
	const struct segment_name name = {
	    .number = number, .day = day_of_us(noon_us) + day};
	char file[SEGMENT_FILE_NAME_SIZE];

	segment_file_name(&name, file);
	(void)snprintf(path_r, 128, "%s/%s", folder, file);
}

static void
begin(void)
{
	(void)snprintf(
	    folder, sizeof(folder), "/tmp/test_segment_names.XXXXXX");
	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
}

static void
end(void)
{
	char path[128];

	for (uint32_t number = 1; number <= 3; number++)
		for (int32_t day = 0; day <= 3; day++) {
			path_of(number, day, path);
			(void)unlink(path);
		}
	(void)snprintf(path, sizeof(path), "%s/head", folder);
	(void)unlink(path);
	if (rmdir(folder) == -1)
		fatal("rmdir: %s", strerror(errno));
}

static struct segment_recovery
open_log(struct segment_writer *writer)
{
	struct segment_recovery recovery;
	struct err err;

	if (segment_writer_open(writer, folder, NULL, NULL, &recovery, &err) ==
	    -1)
		fatal("%s", err.text);
	return recovery;
}

static void
add(struct segment_writer *writer, uint64_t day)
{
	const struct event_program_notice notice = {
	    .program = SLICE("test"), .text = SLICE("an event")};
	struct buf event;

	buf_init(&event, 4096);
	(void)log_encode(&event, (struct log_context){0, 0},
	    noon_us + day * day_us, EV_PROGRAM_NOTICE, &notice);
	if (segment_append(writer, ROLE_CONFD, noon_us + day * day_us, 0,
		buf_slice(&event), NULL) == -1)
		bug("an event that is not taken");
	buf_clear(&event);
}

static void
sync_log(struct segment_writer *writer)
{
	struct segment_sync sync;

	if (!segment_sync_take(writer, &sync))
		bug("nothing to sync");
	segment_sync_run(&sync);
}

/* A day later the log goes on, and is verified. */
static const char *
problem_after_one_more(struct segment_writer *writer, uint64_t day)
{
	static const atomic_bool is_never;
	struct verify_result result;

	add(writer, day);
	(void)segment_flush(writer, NULL);
	sync_log(writer);
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
	char file[128];
	struct segment_writer writer;
	struct segment_recovery recovery;
	uint64_t number;

	begin();
	(void)open_log(&writer);
	add(&writer, 0);
	(void)segment_flush(&writer, NULL);
	number = writer.number;
	add(&writer, 1);
	sync_log(&writer);
	segment_writer_clear(&writer);
	path_of(2, 1, file);
	if (truncate(file, octets) == -1)
		bug("there is no %s", file);
	recovery = open_log(&writer);
	is_str(segment_end_names[recovery.end],
	    segment_end_names[octets > 0 ? SEGMENT_END_TORN
					 : SEGMENT_END_WHOLE],
	    "%d octets of a segment that was begun when a sync began",
	    (int)octets);
	is_u64(writer.number, number, "nothing that was synced is missing");
	is_str(
	    problem_after_one_more(&writer, 1), "none", "and the log verifies");
	segment_writer_clear(&writer);
	end();
}

/* The disk refuses the first batch of such a segment while the sync runs. */
static void
test_refused_at_sync(void)
{
	struct segment_writer writer;
	struct segment_sync sync;
	struct rlimit limit;
	struct rlimit none;
	int rc;

	begin();
	(void)open_log(&writer);
	add(&writer, 0);
	(void)segment_flush(&writer, NULL);
	add(&writer, 1);
	if (!segment_sync_take(&writer, &sync))
		bug("nothing to sync");
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)getrlimit(RLIMIT_FSIZE, &limit);
	none = limit;
	none.rlim_cur = 10;
	(void)setrlimit(RLIMIT_FSIZE, &none);
	rc = segment_flush(&writer, NULL);
	(void)setrlimit(RLIMIT_FSIZE, &limit);
	is_int(rc, -1,
	    "a segment that was begun when a sync began cannot be written");
	/* It ends the process when a descriptor is not open any more. */
	segment_sync_run(&sync);
	is_u64(sync.at.name.number, 1, "the sync is of the one before");
	is_u64(sync.at.number, writer.number, "with all that is there");
	is_str(
	    problem_after_one_more(&writer, 1), "none", "and the log verifies");
	segment_writer_clear(&writer);
	end();
}

/* What is left of a log, under the name that the log began with. */
static void
test_renamed_to_first(void)
{
	char one[128];
	char two[128];
	struct segment_writer writer;

	begin();
	(void)open_log(&writer);
	add(&writer, 0);
	add(&writer, 1);
	(void)segment_flush(&writer, NULL);
	sync_log(&writer);
	segment_writer_clear(&writer);
	path_of(1, 0, one);
	(void)unlink(one);
	path_of(1, 1, one);
	path_of(2, 1, two);
	if (rename(two, one) == -1)
		bug("there is no %s", two);
	(void)open_log(&writer);
	is_str(problem_after_one_more(&writer, 2),
	    verify_problem_names[VERIFY_REORDERED],
	    "the first segment is gone, and the next has its name: found");
	segment_writer_clear(&writer);
	end();
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
	char file[128];

	begin();
	(void)open_log(&one);
	add(&one, 0);
	(void)segment_flush(&one, NULL);
	sync_log(&one);
	(void)open_log(&writer);
	add(&writer, 1);
	(void)segment_flush(&writer, NULL);
	sync_log(&writer);
	segment_writer_clear(&writer);
	path_of(1, 0, file);
	close_if_open(&one.fd);
	append(&one, file);
	segment_writer_clear(&one);
	(void)open_log(&writer);
	is_str(problem_after_one_more(&writer, 2),
	    verify_problem_names[problem], "%s: found", what);
	segment_writer_clear(&writer);
	end();
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
