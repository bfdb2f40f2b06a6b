/* SPDX-License-Identifier: ISC */
/*
 * Names, listing and reading of segments.
 * Runs in: postern-loghub, in all its threads; a reader belongs to one.
 * Trusts: nothing of what the files hold.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loghub/segment_file.h"

#define DAY_US ((uint64_t)86400 * 1000000)

/* Two records of the greatest size: one read mostly holds many records. */
#define WINDOW_SIZE ((size_t)2 * RECORD_MAX_SIZE)

/* A name's two numbers: "%08u.YYYY-MM-DD.segment". */
#define NUMBER_WIDTH 8
#define SEGMENT_SUFFIX ".segment"

int32_t
day_of_us(uint64_t time_us)
{
	uint64_t day = time_us / DAY_US;

	return day > INT32_MAX ? INT32_MAX : (int32_t)day;
}

void
day_format(int32_t day, char text_r[DAY_TEXT_SIZE])
{
	time_t seconds = (time_t)day * 86400;
	struct tm tm = {0};
	char text[32];

	(void)gmtime_r(&seconds, &tm);
	(void)snprintf(text, sizeof(text), "%04u-%02u-%02u",
	    (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_mon + 1,
	    (unsigned)tm.tm_mday);
	memcpy(text_r, text, DAY_TEXT_SIZE - 1);
	text_r[DAY_TEXT_SIZE - 1] = '\0';
}

int
day_parse(struct slice text, int32_t *day_r)
{
	uint64_t year;
	uint64_t month;
	uint64_t mday;
	char again[DAY_TEXT_SIZE];
	struct tm tm = {0};

	if (text.n != DAY_TEXT_SIZE - 1 || text.p[4] != '-' ||
	    text.p[7] != '-' ||
	    slice_to_u64((struct slice){text.p, 4}, &year) == -1 ||
	    slice_to_u64((struct slice){text.p + 5, 2}, &month) == -1 ||
	    slice_to_u64((struct slice){text.p + 8, 2}, &mday) == -1 ||
	    year < 1970 || month < 1 || month > 12 || mday < 1)
		return -1;
	tm.tm_year = (int)year - 1900;
	tm.tm_mon = (int)month - 1;
	tm.tm_mday = (int)mday;
	*day_r = (int32_t)(timegm(&tm) / 86400);
	/* The 31st of a short month would be another day. */
	day_format(*day_r, again);
	return memcmp(again, text.p, text.n) == 0 ? 0 : -1;
}

void
segment_file_name(
    const struct segment_name *name, char text_r[SEGMENT_FILE_NAME_SIZE])
{
	char day[DAY_TEXT_SIZE];

	day_format(name->day, day);
	(void)snprintf(text_r, SEGMENT_FILE_NAME_SIZE, "%0*u.%s%s",
	    NUMBER_WIDTH, name->number, day, SEGMENT_SUFFIX);
}

int
segment_file_parse(const char *text, struct segment_name *name_r)
{
	struct slice s = slice_of(text);
	size_t dot = slice_find(s, '.', 0);
	uint64_t number;
	struct segment_name name;
	char again[SEGMENT_FILE_NAME_SIZE];

	if (slice_to_u64((struct slice){s.p, dot}, &number) == -1 ||
	    number == 0 || number > UINT32_MAX ||
	    s.n != dot + DAY_TEXT_SIZE + strlen(SEGMENT_SUFFIX))
		return -1;
	name.number = (uint32_t)number;
	if (day_parse((struct slice){s.p + dot + 1, DAY_TEXT_SIZE - 1},
	        &name.day) == -1)
		return -1;
	segment_file_name(&name, again);
	if (strcmp(again, text) != 0)
		return -1;
	*name_r = name;
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	const struct segment_name *x = a;
	const struct segment_name *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

int
segment_list_read(int dir_fd, struct segment_list *list_r, struct err *err)
{
	struct segment_list list = {0};
	size_t capacity = 0;
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL) {
		(void)err_set(
		    err, "list the log's segments: %s", strerror(errno));
		close_if_open(&fd);
		return -1;
	}
	while ((entry = readdir(dir)) != NULL) {
		struct segment_name name;

		if (segment_file_parse(entry->d_name, &name) == -1)
			continue;
		if (list.count == capacity) {
			capacity = capacity == 0 ? 64 : capacity * 2;
			list.names = xrealloc(
			    list.names, capacity * sizeof(*list.names));
		}
		list.names[list.count++] = name;
	}
	(void)closedir(dir);
	if (list.count > 0)
		qsort(list.names, list.count, sizeof(*list.names),
		    compare_names);
	*list_r = list;
	return 0;
}

void
segment_list_clear(struct segment_list *list)
{
	free(list->names);
	*list = (struct segment_list){0};
}

void
segment_reader_init(struct segment_reader *reader, int dir_fd)
{
	*reader = (struct segment_reader){.dir_fd = dir_fd, .fd = -1};
}

void
segment_reader_clear(struct segment_reader *reader)
{
	close_if_open(&reader->fd);
	free(reader->window);
	reader->window = NULL;
}

int
segment_reader_seek(struct segment_reader *reader,
    const struct segment_name *name, uint64_t offset, struct err *err)
{
	char file[SEGMENT_FILE_NAME_SIZE];

	if (reader->window == NULL)
		reader->window = xmalloc(WINDOW_SIZE);
	reader->offset = offset;
	if (reader->fd != -1 && reader->name.number == name->number &&
	    reader->name.day == name->day)
		return 0;
	close_if_open(&reader->fd);
	reader->name = *name;
	reader->window_begin = 0;
	reader->window_n = 0;
	segment_file_name(name, file);
	reader->fd =
	    openat(reader->dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (reader->fd == -1)
		return err_set(err, "%s: %s", file, strerror(errno));
	return 0;
}

static struct slice
window_from(const struct segment_reader *reader, uint64_t end)
{
	uint64_t window_end = reader->window_begin + reader->window_n;

	if (window_end > end)
		window_end = end;
	if (reader->offset < reader->window_begin ||
	    reader->offset >= window_end)
		return (struct slice){NULL, 0};
	return (struct slice){
	    reader->window + (reader->offset - reader->window_begin),
	    (size_t)(window_end - reader->offset)};
}

/*
 * Moves the window so that it begins at the offset.  What is behind the end is
 * not kept: of a batch that the disk refuses some is there for a moment.
 */
static int
window_fill(struct segment_reader *reader, uint64_t end, struct err *err)
{
	const uint64_t left = end - reader->offset;
	const size_t most = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE;
	size_t n = 0;

	while (n < most) {
		ssize_t got = pread(reader->fd, reader->window + n, most - n,
		    (off_t)(reader->offset + n));

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1) {
			reader->window_n = 0;
			return err_set(err, "read segment %u: %s",
			    reader->name.number, strerror(errno));
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	reader->window_begin = reader->offset;
	reader->window_n = n;
	return 0;
}

enum parse_result
segment_reader_next(struct segment_reader *reader, uint64_t end,
    struct record *record_r, struct err *err)
{
	struct slice in = window_from(reader, end);
	enum parse_result result = record_read(in, record_r);

	if (result == PARSE_MORE) {
		if (reader->offset >= end)
			return PARSE_MORE;
		if (window_fill(reader, end, err) == -1)
			return PARSE_BAD;
		result = record_read(window_from(reader, end), record_r);
	}
	if (result == PARSE_BAD)
		(void)err_set(err, "segment %u holds no record at octet %llu",
		    reader->name.number, (unsigned long long)reader->offset);
	if (result == PARSE_OK)
		reader->offset += record_r->size;
	return result;
}

uint64_t
segment_reader_size(const struct segment_reader *reader)
{
	struct stat st;

	return fstat(reader->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}
