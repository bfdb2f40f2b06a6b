/* SPDX-License-Identifier: ISC */
/*
 * Segments on disk: "<number>.<day>.segment" in one directory, and how they
 * are read record by record.
 */
#ifndef LOGHUB_SEGMENT_FILE_H
#define LOGHUB_SEGMENT_FILE_H

#include "loghub/record.h"

struct segment_name {
	uint32_t number; /* from 1, rising by one */
	int32_t day;     /* days since 1970, UTC, when it was begun */
};

#define DAY_TEXT_SIZE 11 /* "2026-01-31" and NUL */
#define SEGMENT_FILE_NAME_SIZE 40

int32_t day_of_us(uint64_t time_us);
void day_format(int32_t day, char text_r[DAY_TEXT_SIZE]);
int day_parse(struct slice text, int32_t *day_r);

void segment_file_name(const struct segment_name *name,
    char text_r[SEGMENT_FILE_NAME_SIZE]);
int segment_file_parse(const char *text, struct segment_name *name_r);

struct segment_list {
	struct segment_name *names; /* by number, rising */
	size_t count;
};

/* What stands in the directory now; other files there are passed over. */
int segment_list_read(
    int dir_fd, struct segment_list *list_r, struct err *err);
void segment_list_clear(struct segment_list *list);

/* Where a record ends: everything up to here is in the log. */
struct segment_position {
	struct segment_name name; /* number 0: nothing yet */
	uint64_t offset;
	uint64_t number; /* of the last record before offset */
	unsigned char hash[RECORD_HASH_SIZE];
};

struct segment_reader {
	int dir_fd; /* the owner's */
	int fd;     /* -1: no file is open */
	struct segment_name name;
	uint64_t offset;       /* of the next record */
	uint64_t window_begin; /* where in the file the window stands */
	size_t window_n;
	char *window;
};

void segment_reader_init(struct segment_reader *reader, int dir_fd);
void segment_reader_clear(struct segment_reader *reader);

/* Goes to an offset; the file stays open when it is the same one. */
int segment_reader_seek(struct segment_reader *reader,
    const struct segment_name *name, uint64_t offset, struct err *err);

/* Octets of the open file. */
uint64_t segment_reader_size(const struct segment_reader *reader);

/*
 * The next record, before end (UINT64_MAX: the end of the file).  It is good
 * until the next call.  PARSE_MORE: there is none; offset then stands at the
 * end, or before a record that is cut short.  PARSE_BAD: what stands there is
 * no record (err says), and nothing after it can be found.
 */
enum parse_result segment_reader_next(struct segment_reader *reader,
    uint64_t end, struct record *record_r, struct err *err);

#endif
