/* SPDX-License-Identifier: ISC */
/*
 * The log on disk: what a crash leaves, what somebody changed, and what the
 * disk refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loghub/segment_head.h"
#include "loghub/verify.h"
#include "tests/unit/segment_log.h"
#include "tests/unit/tap.h"

static char folder[] = "/tmp/test_segment.XXXXXX";
static unsigned folders;
static atomic_bool is_never;

static void
fresh(char path[64])
{
	(void)snprintf(path, 64, "%s/%u", folder, ++folders);
}

/* When the disk refuses it, the writer counts it as lost. */
static void
add(struct segment_writer *writer, uint64_t now_us, unsigned i)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "event %u", i);
	(void)segment_log_notice(writer, now_us, text);
}

/* count events a day over some days: a segment for each. */
static struct segment_position
write_days(const char *path, unsigned days, unsigned count)
{
	struct segment_position end;
	struct segment_writer writer;

	(void)segment_log_open(&writer, path);
	for (unsigned d = 0; d < days; d++)
		for (unsigned i = 0; i < count; i++)
			add(&writer, NOON_US + d * DAY_US, i);
	segment_log_sync(&writer);
	end = writer.written;
	segment_writer_clear(&writer);
	return end;
}

static struct verify_result
verify(const char *path, const struct segment_position *end)
{
	struct verify_result result;
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	verify_run(fd, end, &is_never, &result);
	(void)close(fd);
	return result;
}

static uint64_t
file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The whole file; the caller frees. */
static char *
slurp(const char *path, size_t *n_r)
{
	size_t n = (size_t)file_size(path);
	char *octets = xmalloc(n + 1);
	int fd = open(path, O_RDONLY);

	if (read(fd, octets, n) != (ssize_t)n)
		fatal("read %s", path);
	(void)close(fd);
	*n_r = n;
	return octets;
}

static void
spew(const char *path, const char *octets, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (write(fd, octets, n) != (ssize_t)n)
		fatal("write %s", path);
	(void)close(fd);
}

/* Where the record with that place in the file begins. */
static size_t
offset_of(const char *octets, size_t n, unsigned place)
{
	size_t at = 0;
	struct record record;

	while (place-- > 0 &&
	    record_read((struct slice){octets + at, n - at}, &record) ==
	        PARSE_OK)
		at += record.size;
	return at;
}

/* ---- names ---- */

static void
test_names(void)
{
	static const char *const bad[] = {"", "1.2026-01-31.segment",
	    "00000001.2026-02-31.segment", "00000001.2026-01-31.segmen",
	    "00000000.2026-01-31.segment", "00000001.2026-01-31.segment~",
	    "99999999999.2026-01-31.segment", "head"};
	struct segment_name name = {.number = 7, .day = day_of_us(NOON_US)};
	char text[SEGMENT_FILE_NAME_SIZE];

	segment_file_name(&name, text);
	is_str(text, "00000007.2026-01-31.segment", "a segment's name");
	name.number = 0;
	ok(segment_file_parse(text, &name) == 0 && name.number == 7,
	    "the name is read back");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_int(segment_file_parse(bad[i], &name), -1,
		    "no segment: \"%s\"", bad[i]);
	name.number = 123456789;
	segment_file_name(&name, text);
	is_int(segment_file_parse(text, &name), 0,
	    "a number of nine digits is one");
}

/* ---- writing and reading ---- */

static void
test_chain(void)
{
	char path[64];
	struct segment_position end;
	struct verify_result result;
	struct segment_writer writer;
	struct segment_recovery recovery;

	fresh(path);
	end = write_days(path, 3, 10);
	is_u64(end.name.number, 3, "each day has its segment");
	is_u64(end.number, 33, "records count through, openings included");
	result = verify(path, &end);
	is_str(verify_problem_names[result.problem], "none",
	    "an untouched log verifies");
	is_u64(result.records, 33, "all records were looked at");
	recovery = segment_log_open(&writer, path);
	is_str(segment_end_names[recovery.end], "whole",
	    "an orderly end is seen as one");
	add(&writer, NOON_US + 2 * DAY_US, 1);
	segment_log_sync(&writer);
	is_u64(writer.written.name.number, 4, "each start begins a segment");
	result = verify(path, &writer.written);
	is_str(verify_problem_names[result.problem], "none",
	    "the chain goes on over a start");
	segment_writer_clear(&writer);
	segment_log_remove(path);
}

static void
test_clock(void)
{
	char path[64];
	struct segment_writer writer;

	fresh(path);
	(void)segment_log_open(&writer, path);
	add(&writer, NOON_US, 1);
	add(&writer, NOON_US - DAY_US / 2 - 1, 2);
	is_u64(writer.written.name.number, 1,
	    "a clock that goes back over midnight reopens no day");
	add(&writer, NOON_US - 10 * DAY_US, 3);
	is_u64(writer.written.name.number, 2,
	    "a clock that goes back ten days begins a segment there");
	segment_log_sync(&writer);
	segment_writer_clear(&writer);
	segment_log_remove(path);
}

/* ---- crashes ---- */

static void
test_torn(void)
{
	char path[64];
	char file[SEGMENT_LOG_PATH_SIZE];
	struct segment_position end;
	unsigned whole = 0;
	size_t size;
	char *octets;

	fresh(path);
	end = write_days(path, 1, 5);
	segment_log_path(path, 1, 0, file);
	octets = slurp(file, &size);
	/* Every length that an unsynced tail of the last record can have. */
	for (size_t cut = offset_of(octets, size, 5); cut < size; cut += 7) {
		struct segment_writer writer;
		struct segment_recovery recovery;
		struct segment_position head = end;
		struct verify_result result;
		char head_file[80];
		int fd;

		spew(file, octets, cut);
		/* Synced was only what came before. */
		head.number = 5;
		(void)snprintf(head_file, sizeof(head_file), "%s/head", path);
		fd = open(head_file, O_RDWR | O_CREAT, 0600);
		segment_head_write(fd, &head);
		(void)close(fd);
		recovery = segment_log_open(&writer, path);
		add(&writer, NOON_US, 9);
		segment_log_sync(&writer);
		result = verify(path, &writer.written);
		whole += recovery.after_number == 5 &&
		    (recovery.end == SEGMENT_END_TORN ||
		        cut == offset_of(octets, size, 5)) &&
		    result.problem == VERIFY_NONE &&
		    file_size(file) == offset_of(octets, size, 5);
		segment_writer_clear(&writer);
		segment_log_remove(path);
		(void)mkdir(path, 0700);
		fd = open(file, O_RDWR | O_CREAT, 0600);
		(void)close(fd);
	}
	is_u64(whole, (size - offset_of(octets, size, 5) + 6) / 7,
	    "a tail torn at any octet is cut, and the log verifies");
	free(octets);
	segment_log_remove(path);
}

/* The hub died when so many octets of a segment's opening were there. */
static void
test_torn_opening(size_t octets, enum segment_end wanted)
{
	char path[64];
	char file[SEGMENT_LOG_PATH_SIZE];
	struct segment_position end;
	struct segment_writer writer;
	struct segment_recovery recovery;
	struct verify_result result;

	fresh(path);
	end = write_days(path, 1, 5);
	segment_log_path(path, 2, 1, file);
	spew((close(open(file, O_CREAT | O_RDWR, 0600)), file), "torn", octets);
	recovery = segment_log_open(&writer, path);
	is_str(segment_end_names[recovery.end], segment_end_names[wanted],
	    "a segment without even its opening, of %zu octets", octets);
	is_u64(recovery.octets, octets, "those are cut off");
	is_u64(recovery.after_number, end.number,
	    "the segment before it is the log's end");
	is_u64(writer.number, end.number, "from which it goes on");
	ok(access(file, F_OK) == -1, "that one is gone");
	add(&writer, NOON_US + DAY_US, 1);
	segment_log_sync(&writer);
	result = verify(path, &writer.written);
	is_str(verify_problem_names[result.problem], "none",
	    "its number is taken again");
	segment_writer_clear(&writer);
	segment_log_remove(path);
}

/* ---- tampering ---- */

struct tampering {
	const char *what;
	enum verify_problem problem;
	uint32_t segment;
	uint64_t number;
	void (*tamper)(const char *path);
};

static void
alter_octet(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	char *octets;

	segment_log_path(path, 2, 1, file);
	octets = slurp(file, &n);
	octets[offset_of(octets, n, 4) + RECORD_HEAD_SIZE + 40] ^= 1;
	spew(file, octets, n);
	free(octets);
}

static void
alter_role(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	char *octets;

	segment_log_path(path, 2, 1, file);
	octets = slurp(file, &n);
	octets[offset_of(octets, n, 4) + 5] = ROLE_SMTPD;
	spew(file, octets, n);
	free(octets);
}

static void
delete_record(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	size_t a;
	size_t b;
	char *octets;

	segment_log_path(path, 2, 1, file);
	octets = slurp(file, &n);
	a = offset_of(octets, n, 4);
	b = offset_of(octets, n, 5);
	memmove(octets + a, octets + b, n - b);
	spew(file, octets, n - (b - a));
	free(octets);
}

static void
swap_records(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	size_t a;
	size_t b;
	char *octets;
	char *other;

	segment_log_path(path, 2, 1, file);
	octets = slurp(file, &n);
	other = slurp(file, &n);
	a = offset_of(octets, n, 4);
	b = offset_of(octets, n, 5);
	/* Events of equal size, so the two change places whole. */
	memcpy(octets + a, other + b, b - a);
	memcpy(octets + b, other + a, b - a);
	spew(file, octets, n);
	free(octets);
	free(other);
}

static void
truncate_sealed(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	char *octets;

	segment_log_path(path, 2, 1, file);
	octets = slurp(file, &n);
	spew(file, octets, offset_of(octets, n, 4));
	free(octets);
}

static void
truncate_last(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	char *octets;

	segment_log_path(path, 3, 2, file);
	octets = slurp(file, &n);
	spew(file, octets, offset_of(octets, n, 4));
	free(octets);
}

static void
delete_middle(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];

	segment_log_path(path, 2, 1, file);
	(void)unlink(file);
}

static void
delete_first(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];

	segment_log_path(path, 1, 0, file);
	(void)unlink(file);
}

static void
delete_last(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];

	segment_log_path(path, 3, 2, file);
	(void)unlink(file);
}

static void
exchange_files(const char *path)
{
	char one[SEGMENT_LOG_PATH_SIZE];
	char two[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	size_t m;
	char *a;
	char *b;

	segment_log_path(path, 1, 0, one);
	segment_log_path(path, 2, 1, two);
	a = slurp(one, &n);
	b = slurp(two, &m);
	spew(one, b, m);
	spew(two, a, n);
	free(a);
	free(b);
}

static void
overwrite_head(const char *path)
{
	char file[SEGMENT_LOG_PATH_SIZE];
	size_t n;
	char *octets;

	segment_log_path(path, 2, 1, file);
	octets = slurp(file, &n);
	memset(octets + offset_of(octets, n, 4), 0xff, 8);
	spew(file, octets, n);
	free(octets);
}

static const struct tampering tamperings[] = {
	{"an octet of a text is changed", VERIFY_ALTERED, 2, 16, alter_octet},
	{"the writer of a record is changed", VERIFY_ALTERED, 2, 16,
	    alter_role},
	{"the size of a record is overwritten", VERIFY_ALTERED, 2, 16,
	    overwrite_head},
	{"a record is taken out", VERIFY_MISSING, 2, 16, delete_record},
	{"two records are exchanged", VERIFY_MISSING, 2, 16, swap_records},
	{"a sealed segment is cut between records", VERIFY_TRUNCATED, 2, 16,
	    truncate_sealed},
	{"the last segment is cut between records", VERIFY_TRUNCATED, 3, 27,
	    truncate_last},
	{"a segment in the middle is deleted", VERIFY_SEGMENT_MISSING, 2, 12,
	    delete_middle},
	{"the first segment is deleted", VERIFY_SEGMENT_MISSING, 1, 0,
	    delete_first},
	{"the last segment is deleted", VERIFY_SEGMENT_MISSING, 3, 23,
	    delete_last},
};

static void
test_tampering(void)
{
	for (size_t i = 0; i < sizeof(tamperings) / sizeof(*tamperings); i++) {
		const struct tampering *t = &tamperings[i];
		struct segment_position end;
		struct verify_result result;
		char path[64];

		fresh(path);
		end = write_days(path, 3, 10);
		t->tamper(path);
		result = verify(path, &end);
		is_str(verify_problem_names[result.problem],
		    verify_problem_names[t->problem], "%s: found", t->what);
		is_u64(result.segment, t->segment, "%s: the segment",
		    t->what);
		is_u64(result.number, t->number, "%s: the first record",
		    t->what);
		if (result.problem != t->problem)
			diag("%s", result.text);
		segment_log_remove(path);
	}
}

/* The hub was stopped, somebody edits, the hub starts: it must not heal. */
static void
test_tampering_while_stopped(void)
{
	static const struct {
		const char *what;
		void (*tamper)(const char *path);
		enum segment_end end;
		enum verify_problem problem;
		uint64_t number;
	} rows[] = {
		{"the last segment was cut", truncate_last,
		    SEGMENT_END_MISSING, VERIFY_TRUNCATED, 27},
		{"the last segment was deleted", delete_last,
		    SEGMENT_END_MISSING, VERIFY_SEGMENT_MISSING, 23},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct segment_writer writer;
		struct segment_recovery recovery;
		struct verify_result result;
		char path[64];

		fresh(path);
		(void)write_days(path, 3, 10);
		rows[i].tamper(path);
		recovery = segment_log_open(&writer, path);
		is_str(segment_end_names[recovery.end],
		    segment_end_names[rows[i].end], "%s: seen at start",
		    rows[i].what);
		add(&writer, NOON_US + 3 * DAY_US, 1);
		segment_log_sync(&writer);
		result = verify(path, &writer.written);
		is_str(verify_problem_names[result.problem],
		    verify_problem_names[rows[i].problem],
		    "%s: verify still finds it", rows[i].what);
		is_u64(result.number, rows[i].number, "%s: and names it",
		    rows[i].what);
		segment_writer_clear(&writer);
		segment_log_remove(path);
	}
}

static void
test_exchanged_files(void)
{
	char path[64];
	struct segment_position end;
	struct verify_result result;

	fresh(path);
	end = write_days(path, 3, 10);
	exchange_files(path);
	result = verify(path, &end);
	ok(result.problem != VERIFY_NONE,
	    "two segments under each other's name are found (%s)",
	    verify_problem_names[result.problem]);
	segment_log_remove(path);
}

static void
test_expired(void)
{
	char path[64];
	struct segment_writer writer;
	struct event_log_expired expired = {
	    .segment = 2, .day = SLICE("2026-02-01")};
	struct verify_result result;

	fresh(path);
	(void)write_days(path, 4, 5);
	(void)segment_log_open(&writer, path);
	(void)segment_log_append(&writer, ROLE_LOGHUB, NOON_US + 3 * DAY_US,
	    (struct log_context){0, 0}, EV_LOG_EXPIRED, &expired, 0, NULL);
	segment_log_sync(&writer);
	delete_first(path);
	delete_middle(path);
	result = verify(path, &writer.written);
	is_str(verify_problem_names[result.problem], "none",
	    "segments that the log says it deleted are not missed");
	segment_writer_clear(&writer);
	segment_log_remove(path);
}

/* ---- a full disk ---- */

static void
test_full(void)
{
	struct rlimit before;
	struct segment_writer writer;
	struct verify_result result;
	char path[64];
	unsigned stored = 0;

	fresh(path);
	(void)segment_log_open(&writer, path);
	before = segment_log_fill_disk(4000);
	for (unsigned i = 0; i < 100; i++) {
		add(&writer, NOON_US, i);
		stored += segment_flush(&writer, NULL) == 0;
	}
	(void)setrlimit(RLIMIT_FSIZE, &before);
	ok(stored > 0 && stored < 100, "%u of 100 events fit", stored);
	is_u64(writer.lost[ROLE_CONFD], 100 - stored,
	    "the others are counted as lost");
	add(&writer, NOON_US, 200);
	segment_log_sync(&writer);
	result = verify(path, &writer.written);
	is_str(verify_problem_names[result.problem], "none",
	    "the chain goes on when there is space again");
	is_u64(result.records, stored + 2, "with all that was stored");
	segment_writer_clear(&writer);
	segment_log_remove(path);
}

static void
test_full_at_begin(void)
{
	struct rlimit before;
	struct segment_writer writer;
	struct verify_result result;
	char path[64];

	fresh(path);
	(void)write_days(path, 1, 3);
	(void)segment_log_open(&writer, path);
	before = segment_log_fill_disk(10);
	add(&writer, NOON_US + DAY_US, 1);
	is_int(segment_flush(&writer, NULL), -1,
	    "a segment that cannot be begun fails");
	(void)setrlimit(RLIMIT_FSIZE, &before);
	is_u64(writer.written.name.number, 1, "and leaves no trace");
	result = verify(path, &writer.written);
	is_str(verify_problem_names[result.problem], "none",
	    "what stands verifies meanwhile");
	add(&writer, NOON_US + DAY_US, 1);
	segment_log_sync(&writer);
	result = verify(path, &writer.written);
	is_str(verify_problem_names[result.problem], "none",
	    "and afterwards");
	is_u64(writer.written.number, 6, "with no number left out");
	segment_writer_clear(&writer);
	segment_log_remove(path);
}

/* ---- what an opening shows ---- */

static void
count_record(void *arg, const struct record *record)
{
	unsigned *count = arg;

	(void)record;
	++*count;
}

static unsigned
shown(const char *path)
{
	struct segment_recovery recovery;
	struct segment_writer writer;
	unsigned count = 0;
	struct err err;

	if (segment_writer_open(&writer, path, count_record, &count, &recovery,
		&err) == -1)
		fatal("%s", err.text);
	is_u64(writer.written.number, writer.number, "it goes on at the end");
	segment_writer_clear(&writer);
	return count;
}

static void
test_shown(void)
{
	/* Larger together than what is shown at least. */
	const unsigned many = SEGMENT_VISIT_OCTETS / 64;
	char path[64];
	struct segment_position end;

	fresh(path);
	end = write_days(path, 3, 4);
	is_u64(shown(path), end.number, "of short segments all are shown");
	segment_log_remove(path);
	fresh(path);
	(void)write_days(path, 1, 4);
	end = write_days(path, 1, many);
	is_u64(shown(path), end.number - 5, "behind a long one none is");
	segment_log_remove(path);
}

int
main(void)
{
	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
	test_names();
	test_chain();
	test_clock();
	test_torn();
	test_torn_opening(4, SEGMENT_END_TORN);
	test_torn_opening(0, SEGMENT_END_WHOLE);
	test_tampering();
	test_tampering_while_stopped();
	test_exchanged_files();
	test_expired();
	test_full();
	test_full_at_begin();
	test_shown();
	(void)rmdir(folder);
	return tap_done();
}
