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
#include <unistd.h>

#include "tests/unit/log_box.h"
#include "tests/unit/tap.h"

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

/* A mail of three events. */
static uint64_t
store_mail(struct log_box *box, uint64_t now_us, unsigned i)
{
	struct log_context context = {.session_id = log_box_id(now_us, i + 500),
	    .message_id = log_box_id(now_us, i)};
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
	log_box_store(
	    box, ROLE_QUEUED, now_us, context, EV_ACCEPTED, &accepted, 1);
	log_box_store(
	    box, ROLE_QUEUED, now_us + 1, context, EV_RECIPIENT, &recipient, 2);
	log_box_store(
	    box, ROLE_QUEUED, now_us + 2, context, EV_DELIVERED, &delivered, 3);
	return context.message_id;
}

/* Indexes all that is stored, and ends. */
static struct indexer_status
index_now(struct log_box *box)
{
	struct indexer_status status;

	log_box_start(box);
	status = log_box_index(box);
	log_box_stop(box);
	return status;
}

static size_t
count_of(struct log_box *box, uint64_t now_us, uint64_t term)
{
	struct log_day day;
	struct number_list numbers;
	size_t count;
	struct err err;

	if (log_day_open(&day, box->folder, box->writer.dir_fd,
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
	char path[] = "/tmp/test_log_index.XXXXXX";
	size_t missing = 0;
	const unsigned batches = 700;

	if (mkdtemp(path) == NULL)
		fatal("mkdtemp: %s", strerror(errno));
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
	struct log_box box;
	struct indexer_status status;
	uint64_t first = 0;
	uint64_t last = 0;
	struct log_day day;
	struct record record;
	struct err err;
	size_t fetched = 0;

	log_box_open(&box);
	for (unsigned i = 0; i < 2000; i++) {
		last = store_mail(&box, NOON_US + i * 1000, i);
		first = first == 0 ? last : first;
	}
	status = index_now(&box);
	is_u64(status.indexed, status.written.number,
	    "everything written is indexed");
	is_u64(count_of(&box, NOON_US, term_hash_id(TERM_MESSAGE, first)), 3,
	    "the first message has its events");
	is_u64(count_of(&box, NOON_US, term_hash_id(TERM_MESSAGE, last)), 3,
	    "the last message too");
	is_u64(
	    count_of(&box, NOON_US,
		term_of_address_filter(TERM_TO, SLICE("to3@b.example.test"))),
	    400, "an address leads to its recipients and deliveries");
	is_u64(count_of(&box, NOON_US,
		   term_of_address_filter(TERM_TO, SLICE("@.example.test"))),
	    4000, "a tree of domains leads to all of them");
	is_u64(count_of(
		   &box, NOON_US, term_hash(TERM_REMOTE_ID, SLICE("abcdef1"))),
	    2000, "the next server's id leads to deliveries");
	(void)log_day_open(
	    &day, box.folder, box.writer.dir_fd, day_of_us(NOON_US), &err);
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
	log_box_close(&box);
}

static void
test_rebuild(void)
{
	struct log_box box;
	struct indexer_status status;
	uint64_t id = 0;
	char path[LOG_INDEX_PATH_SIZE];
	int fd;

	log_box_open(&box);
	for (unsigned i = 0; i < 200; i++)
		id = store_mail(&box, NOON_US + i * 1000, i);
	(void)index_now(&box);
	log_index_path(box.folder, day_of_us(NOON_US), path);
	fd = open(path, O_WRONLY | O_TRUNC);
	(void)!write(fd, "this is no database", 19);
	(void)close(fd);
	status = index_now(&box);
	is_u64(status.rebuilt, 1, "a broken index is made again");
	is_u64(count_of(&box, NOON_US, term_hash_id(TERM_MESSAGE, id)), 3,
	    "with all that the segments have");
	log_index_delete(box.folder, day_of_us(NOON_US));
	(void)index_now(&box);
	is_u64(count_of(&box, NOON_US, term_hash_id(TERM_MESSAGE, id)), 3,
	    "a deleted index too");
	log_box_close(&box);
}

/* The segment lost its unsynced tail in a power cut, the index did not. */
static void
test_index_beyond(void)
{
	struct log_box box;
	struct segment_position before;
	struct indexer_status status;
	char file[SEGMENT_FILE_NAME_SIZE];
	int fd;

	log_box_open(&box);
	(void)store_mail(&box, NOON_US, 1);
	log_box_flush(&box);
	before = box.writer.written;
	(void)store_mail(&box, NOON_US, 2);
	(void)index_now(&box);
	segment_file_name(&before.name, file);
	fd = openat(box.writer.dir_fd, file, O_WRONLY);
	(void)!ftruncate(fd, (off_t)before.offset);
	(void)close(fd);
	segment_writer_clear(&box.writer);
	(void)segment_log_open(&box.writer, box.segments);
	(void)store_mail(&box, NOON_US, 3);
	status = index_now(&box);
	is_u64(status.indexed, box.writer.written.number,
	    "the log after the power cut is indexed");
	is_u64(count_of(&box, NOON_US,
		   term_hash_id(TERM_MESSAGE, log_box_id(NOON_US, 2))),
	    0, "what was lost is not found");
	is_u64(count_of(&box, NOON_US,
		   term_hash_id(TERM_MESSAGE, log_box_id(NOON_US, 3))),
	    3, "what came after is");
	log_box_close(&box);
}

static void
test_carry_over(void)
{
	struct log_box box;
	struct log_context context;
	struct event_deferred deferred = {
	    .to = SLICE("to5@b.example.test"), .code = 451};
	uint64_t tomorrow_us = NOON_US + DAY_US;

	log_box_open(&box);
	context =
	    (struct log_context){.message_id = store_mail(&box, NOON_US, 5)};
	log_box_store(
	    &box, ROLE_QUEUED, tomorrow_us, context, EV_DEFERRED, &deferred, 4);
	(void)index_now(&box);
	is_u64(count_of(&box, tomorrow_us,
	           term_of_address_filter(
	               TERM_FROM, SLICE("from5@a.example.test"))),
	    1, "a later day's event is found by the sender");
	is_u64(count_of(&box, tomorrow_us,
	           term_hash(TERM_CLIENT, SLICE("192.0.2.1"))),
	    1, "and by the client");
	log_box_close(&box);
}

static void
test_expire(void)
{
	struct log_box box;
	struct indexer_status status;
	struct segment_list list;
	int32_t *days = NULL;
	size_t count = 0;

	log_box_open(&box);
	for (unsigned d = 0; d < 4; d++)
		(void)store_mail(&box, NOON_US + d * DAY_US, d);
	log_box_start(&box);
	(void)log_box_index(&box);
	indexer_expire(box.indexer, 2);
	indexer_wait(box.indexer, 100, &status);
	log_box_stop(&box);
	(void)segment_list_read(box.writer.dir_fd, &list, NULL);
	is_u64(list.count, 2, "old segments are deleted");
	(void)log_index_days(box.folder, &days, &count, NULL);
	is_u64(count, 2, "and the indexes of their days");
	ok(count == 2 && days[0] == day_of_us(NOON_US) + 2,
	    "the younger ones stay");
	free(days);
	segment_list_clear(&list);
	log_box_close(&box);
}

int
main(void)
{
	test_addresses();
	test_remote_ids();
	test_batches();
	test_indexer();
	test_rebuild();
	test_index_beyond();
	test_carry_over();
	test_expire();
	return tap_done();
}
