/* SPDX-License-Identifier: ISC */
/*
 * Segments for tests.
 * Runs in: tests.  Trusts: the tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/segment_log.h"

struct segment_recovery
segment_log_open(struct segment_writer *writer, const char *path)
{
	struct segment_recovery recovery;
	struct err err;

	if (segment_writer_open(writer, path, NULL, NULL, &recovery, &err) ==
	    -1)
		fatal("%s", err.text);
	return recovery;
}

int
segment_log_append(struct segment_writer *writer, enum role role,
    uint64_t time_us, struct log_context context, enum event_type type,
    const void *fields, uint32_t life_number, struct err *err)
{
	struct buf event;
	int rc;

	buf_init(&event, 16384);
	(void)log_encode(&event, context, time_us, type, fields);
	rc = segment_append(
	    writer, role, time_us, life_number, buf_slice(&event), err);
	buf_clear(&event);
	return rc;
}

int
segment_log_notice(
    struct segment_writer *writer, uint64_t time_us, const char *text)
{
	const struct event_program_notice notice = {
	    .program = SLICE("test"), .text = slice_of(text)};

	return segment_log_append(writer, ROLE_CONFD, time_us,
	    (struct log_context){0, 0}, EV_PROGRAM_NOTICE, &notice, 0, NULL);
}

void
segment_log_sync(struct segment_writer *writer)
{
	struct segment_sync sync;
	struct err err;

	if (segment_flush(writer, &err) == -1)
		fatal("%s", err.text);
	if (!segment_sync_take(writer, &sync))
		bug("nothing to sync");
	segment_sync_run(&sync);
}

void
segment_log_path(const char *folder, uint32_t number, int32_t day,
    char path_r[SEGMENT_LOG_PATH_SIZE])
{
	const struct segment_name name = {
	    .number = number, .day = day_of_us(NOON_US) + day};
	char file[SEGMENT_FILE_NAME_SIZE];

	segment_file_name(&name, file);
	(void)snprintf(path_r, SEGMENT_LOG_PATH_SIZE, "%s/%s", folder, file);
}

struct rlimit
segment_log_fill_disk(rlim_t octets)
{
	struct rlimit before;
	struct rlimit limit;

	(void)signal(SIGXFSZ, SIG_IGN);
	(void)getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = octets;
	(void)setrlimit(RLIMIT_FSIZE, &limit);
	return before;
}

void
segment_log_remove(const char *path)
{
	struct segment_list list = {0};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		fatal("open %s: %s", path, strerror(errno));
	if (segment_list_read(fd, &list, NULL) == 0)
		for (size_t i = 0; i < list.count; i++) {
			char file[SEGMENT_FILE_NAME_SIZE];

			segment_file_name(&list.names[i], file);
			(void)unlinkat(fd, file, 0);
		}
	segment_list_clear(&list);
	(void)unlinkat(fd, "head", 0);
	(void)close(fd);
	if (rmdir(path) == -1)
		fatal("rmdir %s: %s", path, strerror(errno));
}
