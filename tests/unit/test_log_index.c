/* SPDX-License-Identifier: ISC */
/*
 * The index of a day: terms, batches and their merging, places, and the
 * thread that fills it from segments.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "loghub/indexer.h"
#include "loghub/log_day.h"
#include "loghub/segment.h"
#include "tests/unit/tap.h"

/* 2026-01-31 12:00 UTC. */
static const uint64_t noon_us = (uint64_t)1769860800 * 1000000;
static const uint64_t day_us = (uint64_t)86400 * 1000000;

static char folder[] = "/tmp/test_log_index.XXXXXX";

/* ---- terms ---- */

static void
test_addresses(void)
{
	static const struct {
		const char *filter;
		const char *address;
		bool matches;
	} rows[] = {
		{"a@example.test", "A@Example.Test", true},
		{"a@example.test", "b@example.test", false},
		{"@example.test", "b@example.test", true},
		{"@example.test", "b@sub.example.test", false},
		{"@.example.test", "b@sub.example.test", true},
		{"@.example.test", "b@example.test", true},
		{"@.example.test", "b@notexample.test", false},
		{"", "", true},
		{"", "a@example.test", false},
		{"@", "@", true},
		{"@example.test", "\"x@y\"@example.test", true},
		{"@example.test", "", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		is_int(address_matches(slice_of(rows[i].filter),
		           slice_of(rows[i].address)),
		    rows[i].matches, "filter \"%s\" on \"%s\"",
		    rows[i].filter, rows[i].address);
}

static void
test_remote_ids(void)
{
	static const struct {
		const char *reply;
		const char *id; /* NULL: none */
	} rows[] = {
		{"250 2.0.0 Ok: queued as 4ABCdef0Z", "4ABCdef0Z"},
		{"250 OK id=1abcde-0001Xy-2F", "1abcde-0001Xy-2F"},
		{"250 2.0.0 3BFExyz012 Message accepted for delivery",
		    "3BFExyz012"},
		{"250 2.6.0 <x@y.test> [InternalId=1234567890, Hostname=h] "
		 "Queued mail for delivery",
		    "1234567890"},
		{"250 2.0.0 OK  1700000000 abc-123.45 - gsmtp", "abc-123.45"},
		{"250 ok 1700000000 qp 12345", "12345"},
		{"250 2.0.0 Queued as 06fzt9jh0m000", "06fzt9jh0m000"},
		{"250 2.0.0 Your Message accepted for delivery", NULL},
		{"250 queued as", NULL},
		{"250 queued as ", NULL},
		{"250 Ok", NULL},
		{"", NULL},
		{"queued as x", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct slice ids[REMOTE_IDS_MAX];
		size_t count = remote_ids(slice_of(rows[i].reply), ids);

		if (rows[i].id == NULL)
			is_u64(count, 0, "no id in \"%s\"", rows[i].reply);
		else if (ok(count > 0, "an id in \"%s\"", rows[i].reply))
			is_slice(ids[0], rows[i].id, "it is %s", rows[i].id);
	}
}

/* ---- writing a log ---- */

static unsigned boxes;

struct box {
	char path[64];
	char segments[80];
	struct segment_writer writer;
};

static void
box_open(struct box *box)
{
	struct segment_recovery recovery;
	struct err err;

	(void)snprintf(
	    box->path, sizeof(box->path), "%s/%u", folder, boxes++);
	(void)mkdir(box->path, 0700);
	(void)snprintf(box->segments, sizeof(box->segments), "%s/segments",
	    box->path);
	if (segment_writer_open(&box->writer, box->segments, NULL, NULL,
	        &recovery, &err) == -1)
		fatal("%s", err.text);
}

static void
box_close(struct box *box)
{
	struct segment_list list = {0};
	int32_t *days = NULL;
	size_t count = 0;

	(void)segment_list_read(box->writer.dir_fd, &list, NULL);
	for (size_t i = 0; i < list.count; i++) {
		char file[SEGMENT_FILE_NAME_SIZE];

		segment_file_name(&list.names[i], file);
		(void)unlinkat(box->writer.dir_fd, file, 0);
	}
	(void)unlinkat(box->writer.dir_fd, "head", 0);
	(void)log_index_days(box->path, &days, &count, NULL);
	for (size_t i = 0; i < count; i++)
		log_index_delete(box->path, days[i]);
	free(days);
	segment_list_clear(&list);
	segment_writer_clear(&box->writer);
	(void)rmdir(box->segments);
	(void)rmdir(box->path);
}

static void
store(struct box *box, uint64_t now_us, struct log_context context,
    enum event_type type, const void *fields, uint32_t life_number)
{
	struct buf event;
	struct err err;

	buf_init(&event, 16384);
	(void)log_encode(&event, context, now_us, type, fields);
	if (segment_append(&box->writer, ROLE_QUEUED, now_us, life_number,
	        buf_slice(&event), &err) == -1)
		fatal("%s", err.text);
	buf_clear(&event);
}

static uint64_t
id_at(uint64_t now_us, unsigned n)
{
	return (now_us / 1000) << (ID_SLOT_BITS + ID_COUNTER_BITS) | n;
}

/* A mail of three events. */
static uint64_t
store_mail(struct box *box, uint64_t now_us, unsigned i)
{
	struct log_context context = {
	    .session_id = id_at(now_us, i + 500),
	    .message_id = id_at(now_us, i)};
	char from[64];
	char to[64];
	struct event_accepted accepted = {.client = SLICE("192.0.2.1")};
	struct event_recipient recipient = {{NULL, 0}, {NULL, 0}};
	struct event_delivered delivered = {
	    .reply = SLICE("250 Ok: queued as ABCDEF1"), .code = 250};

	(void)snprintf(from, sizeof(from), "from%u@a.example.test", i);
	(void)snprintf(to, sizeof(to), "to%u@b.example.test", i % 10);
	accepted.from = slice_of(from);
	recipient.to = slice_of(to);
	delivered.to = slice_of(to);
	store(box, now_us, context, EV_ACCEPTED, &accepted, 1);
	store(box, now_us + 1, context, EV_RECIPIENT, &recipient, 2);
	store(box, now_us + 2, context, EV_DELIVERED, &delivered, 3);
	return context.message_id;
}

static void
flush(struct box *box)
{
	struct err err;

	if (segment_flush(&box->writer, &err) == -1)
		fatal("%s", err.text);
}

/* Indexes all that is written, and ends. */
static struct indexer_status
index_now(struct box *box)
{
	struct indexer *indexer =
	    indexer_new(box->path, box->writer.dir_fd);
	struct indexer_status status;

	indexer_advance(indexer, &box->writer.written);
	indexer_wait(indexer, 30000, &status);
	indexer_free(indexer);
	return status;
}

static size_t
count_of(struct box *box, uint64_t now_us, uint64_t term)
{
	struct log_day day;
	struct number_list numbers;
	size_t count;
	struct err err;

	if (log_day_open(&day, box->path, box->writer.dir_fd,
	        day_of_us(now_us), &err) == -1) {
		diag("%s", err.text);
		return SIZE_MAX;
	}
	number_list_init(&numbers, 100000);
	if (log_index_numbers(day.index, term, &numbers, &err) == -1)
		fatal("%s", err.text);
	number_list_sort(&numbers);
	count = numbers.count;
	number_list_clear(&numbers);
	log_day_close(&day);
	return count;
}

/* ---- batches ---- */

static void
collect_numbers(void *arg, const struct posting *posting)
{
	number_list_add(arg, posting->number);
}

/* Many small transactions: every posting must be found through all merges. */
static void
test_batches(void)
{
	struct log_index *index = NULL;
	struct log_progress progress = {.segment = 1};
	struct err err;
	char path[64];
	size_t missing = 0;
	const unsigned batches = 700;

	(void)snprintf(path, sizeof(path), "%s/batches", folder);
	(void)mkdir(path, 0700);
	if (log_index_open(path, 1, false, &index, &err) == -1)
		fatal("%s", err.text);
	for (unsigned i = 0; i < batches; i++) {
		if (log_index_begin(index, &err) == -1)
			fatal("%s", err.text);
		for (unsigned j = 0; j < 300; j++) {
			if (index->posting_count == index->posting_capacity) {
				index->posting_capacity += 512;
				index->postings = xrealloc(index->postings,
				    index->posting_capacity *
				        sizeof(*index->postings));
			}
			/* Term 7 is in each, others in some. */
			index->postings[index->posting_count++] =
			    (struct posting){
			        .term = j == 0 ? 7
			                       : (i * 300u + j) *
			                0x9e3779b97f4a7c15u % 5000 +
			                100,
			        .number = i * 300 + j};
		}
		progress.number = i;
		if (log_index_commit(index, &progress, &err) == -1)
			fatal("%s", err.text);
	}
	ok(index->batch_count < 40, "700 transactions are %zu batches",
	    index->batch_count);
	for (unsigned term = 100; term < 5100; term += 97) {
		struct number_list found;
		size_t expected = 0;

		for (unsigned n = 0; n < batches * 300; n++)
			expected += n % 300 != 0 &&
			    n * 0x9e3779b97f4a7c15u % 5000 + 100 == term;
		number_list_init(&found, 100000);
		(void)log_index_find(
		    index, term, collect_numbers, &found, &err);
		missing += found.count != expected;
		number_list_clear(&found);
	}
	is_u64(missing, 0, "each term leads to all its records");
	{
		struct number_list found;

		number_list_init(&found, 100000);
		(void)log_index_find(
		    index, 7, collect_numbers, &found, &err);
		number_list_sort(&found);
		is_u64(found.count, batches,
		    "a term of many chunks is found whole");
		number_list_clear(&found);
		number_list_init(&found, 100);
		(void)log_index_find(
		    index, 99, collect_numbers, &found, &err);
		(void)log_index_find(
		    index, UINT64_MAX, collect_numbers, &found, &err);
		(void)log_index_find(
		    index, 0, collect_numbers, &found, &err);
		is_u64(found.count, 0, "terms of no record lead nowhere");
		number_list_clear(&found);
	}
	log_index_close(index);
	log_index_delete(path, 1);
	(void)rmdir(path);
}

/* ---- the thread ---- */

static void
test_indexer(void)
{
	struct box box;
	struct indexer_status status;
	uint64_t first = 0;
	uint64_t last = 0;
	struct log_day day;
	struct record record;
	struct err err;
	size_t fetched = 0;

	box_open(&box);
	for (unsigned i = 0; i < 2000; i++) {
		last = store_mail(&box, noon_us + i * 1000, i);
		first = first == 0 ? last : first;
	}
	flush(&box);
	status = index_now(&box);
	is_u64(status.indexed, status.written.number,
	    "everything written is indexed");
	is_u64(count_of(&box, noon_us, term_hash_id(TERM_MESSAGE, first)), 3,
	    "the first message has its events");
	is_u64(count_of(&box, noon_us, term_hash_id(TERM_MESSAGE, last)), 3,
	    "the last message too");
	is_u64(count_of(&box, noon_us,
	           term_of_address_filter(
	               TERM_TO, SLICE("to3@b.example.test"))),
	    400, "an address leads to its recipients and deliveries");
	is_u64(count_of(&box, noon_us,
	           term_of_address_filter(TERM_TO, SLICE("@.example.test"))),
	    4000, "a tree of domains leads to all of them");
	is_u64(count_of(&box, noon_us,
	           term_hash(TERM_REMOTE_ID, SLICE("abcdef1"))),
	    2000, "the next server's id leads to deliveries");
	(void)log_day_open(
	    &day, box.path, box.writer.dir_fd, day_of_us(noon_us), &err);
	for (uint64_t n = 1; n <= 6001; n += 3)
		fetched += log_day_fetch(&day, n, &record, &err) == 1 &&
		    record.number == n;
	for (uint64_t n = 6001; n > 1000; n -= 1000)
		fetched += log_day_fetch(&day, n, &record, &err) == 1 &&
		    record.number == n;
	is_u64(fetched, 2001 + 6, "records are fetched by their numbers");
	is_int(log_day_fetch(&day, 6002, &record, &err), 0,
	    "one that is not there is not found");
	log_day_close(&day);
	box_close(&box);
}

static void
test_rebuild(void)
{
	struct box box;
	struct indexer_status status;
	uint64_t id = 0;
	char path[LOG_INDEX_PATH_SIZE];
	int fd;

	box_open(&box);
	for (unsigned i = 0; i < 200; i++)
		id = store_mail(&box, noon_us + i * 1000, i);
	flush(&box);
	(void)index_now(&box);
	log_index_path(box.path, day_of_us(noon_us), path);
	fd = open(path, O_WRONLY | O_TRUNC);
	(void)!write(fd, "this is no database", 19);
	(void)close(fd);
	status = index_now(&box);
	is_u64(status.rebuilt, 1, "a broken index is made again");
	is_u64(count_of(&box, noon_us, term_hash_id(TERM_MESSAGE, id)), 3,
	    "with all that the segments have");
	log_index_delete(box.path, day_of_us(noon_us));
	(void)index_now(&box);
	is_u64(count_of(&box, noon_us, term_hash_id(TERM_MESSAGE, id)), 3,
	    "a deleted index too");
	box_close(&box);
}

/* The segment lost its unsynced tail in a power cut, the index did not. */
static void
test_index_beyond(void)
{
	struct box box;
	struct segment_position before;
	struct indexer_status status;
	struct segment_recovery recovery;
	char file[SEGMENT_FILE_NAME_SIZE];
	struct err err;
	int fd;

	box_open(&box);
	(void)store_mail(&box, noon_us, 1);
	flush(&box);
	before = box.writer.written;
	(void)store_mail(&box, noon_us, 2);
	flush(&box);
	(void)index_now(&box);
	segment_file_name(&before.name, file);
	fd = openat(box.writer.dir_fd, file, O_WRONLY);
	(void)!ftruncate(fd, (off_t)before.offset);
	(void)close(fd);
	segment_writer_clear(&box.writer);
	(void)segment_writer_open(
	    &box.writer, box.segments, NULL, NULL, &recovery, &err);
	(void)store_mail(&box, noon_us, 3);
	flush(&box);
	status = index_now(&box);
	is_u64(status.indexed, box.writer.written.number,
	    "the log after the power cut is indexed");
	is_u64(count_of(&box, noon_us,
	           term_hash_id(TERM_MESSAGE, id_at(noon_us, 2))),
	    0, "what was lost is not found");
	is_u64(count_of(&box, noon_us,
	           term_hash_id(TERM_MESSAGE, id_at(noon_us, 3))),
	    3, "what came after is");
	box_close(&box);
}

static void
test_carry_over(void)
{
	struct box box;
	struct log_context context;
	struct event_deferred deferred = {
	    .to = SLICE("to5@b.example.test"), .code = 451};
	uint64_t tomorrow_us = noon_us + day_us;

	box_open(&box);
	context = (struct log_context){
	    .message_id = store_mail(&box, noon_us, 5)};
	store(&box, tomorrow_us, context, EV_DEFERRED, &deferred, 4);
	flush(&box);
	(void)index_now(&box);
	is_u64(count_of(&box, tomorrow_us,
	           term_of_address_filter(
	               TERM_FROM, SLICE("from5@a.example.test"))),
	    1, "a later day's event is found by the sender");
	is_u64(count_of(&box, tomorrow_us,
	           term_hash(TERM_CLIENT, SLICE("192.0.2.1"))),
	    1, "and by the client");
	box_close(&box);
}

static void
test_expire(void)
{
	struct box box;
	struct indexer *indexer;
	struct indexer_status status;
	struct segment_list list;
	int32_t *days = NULL;
	size_t count = 0;

	box_open(&box);
	for (unsigned d = 0; d < 4; d++)
		(void)store_mail(&box, noon_us + d * day_us, d);
	flush(&box);
	indexer = indexer_new(box.path, box.writer.dir_fd);
	indexer_advance(indexer, &box.writer.written);
	indexer_wait(indexer, 30000, &status);
	indexer_expire(indexer, 2);
	indexer_wait(indexer, 100, &status);
	indexer_free(indexer);
	(void)segment_list_read(box.writer.dir_fd, &list, NULL);
	is_u64(list.count, 2, "old segments are deleted");
	(void)log_index_days(box.path, &days, &count, NULL);
	is_u64(count, 2, "and the indexes of their days");
	ok(count == 2 && days[0] == day_of_us(noon_us) + 2,
	    "the younger ones stay");
	free(days);
	segment_list_clear(&list);
	box_close(&box);
}

int
main(void)
{
	if (mkdtemp(folder) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
	test_addresses();
	test_remote_ids();
	test_batches();
	test_indexer();
	test_rebuild();
	test_index_beyond();
	test_carry_over();
	test_expire();
	(void)rmdir(folder);
	return tap_done();
}
