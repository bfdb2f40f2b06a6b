/* SPDX-License-Identifier: ISC */
/*
 * Tails the segments into the indexes of the days.
 * Runs in: postern-loghub, a thread of its own.  Trusts: nothing on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "loghub/indexer.h"
#include "loghub/log_day.h"

/* A transaction begins with so many records waiting, or after so long. */
#define GATHER_RECORDS 1000
#define GATHER_MS 200

/* The most in one transaction: some 30 ms of work. */
#define BATCH_RECORDS 4000

/* After a failure: a full disk does not empty faster by asking. */
#define RETRY_MS 1000

struct indexer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the thread: there is work */
	pthread_cond_t news; /* waiting queries: more is indexed */
	char *path;
	int dir_fd;

	/* Under the lock. */
	struct segment_position written;
	uint64_t written_us; /* when what is not indexed yet was written */
	uint64_t indexed;
	uint64_t rebuilt;
	uint32_t expire;
	unsigned hurry; /* queries that wait */
	bool is_ending;
	char error[ERR_TEXT_MAX];

	/* The thread's own. */
	struct log_index *index;
	bool is_checked; /* the index goes on where the segment does */
	struct segment_reader reader;
	uint32_t done_segment; /* all up to this one are indexed */
	struct log_day other;  /* where carried messages were accepted */
	int32_t other_day;
};

/* ---- what other threads ask ---- */

void
indexer_advance(
    struct indexer *indexer, const struct segment_position *written)
{
	bool was_idle;

	(void)pthread_mutex_lock(&indexer->lock);
	was_idle = indexer->indexed >= indexer->written.number;
	if (was_idle)
		indexer->written_us = clock_wall_us();
	indexer->written = *written;
	if (was_idle ||
	    written->number >= indexer->indexed + GATHER_RECORDS)
		(void)pthread_cond_signal(&indexer->wake);
	(void)pthread_mutex_unlock(&indexer->lock);
}

void
indexer_expire(struct indexer *indexer, uint32_t segment)
{
	(void)pthread_mutex_lock(&indexer->lock);
	indexer->expire = segment;
	(void)pthread_cond_signal(&indexer->wake);
	(void)pthread_mutex_unlock(&indexer->lock);
}

static void
fill_status(const struct indexer *indexer, struct indexer_status *status)
{
	uint64_t now_us = clock_wall_us();

	*status = (struct indexer_status){
	    .written = indexer->written,
	    .indexed = indexer->indexed,
	    .rebuilt = indexer->rebuilt,
	};
	if (indexer->indexed < indexer->written.number &&
	    now_us > indexer->written_us)
		status->behind_us = now_us - indexer->written_us;
	memcpy(status->error, indexer->error, sizeof(status->error));
}

void
indexer_status(struct indexer *indexer, struct indexer_status *status_r)
{
	(void)pthread_mutex_lock(&indexer->lock);
	fill_status(indexer, status_r);
	(void)pthread_mutex_unlock(&indexer->lock);
}

static struct timespec
time_in(uint32_t ms)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(ms / 1000);
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

void
indexer_wait(struct indexer *indexer, uint32_t wait_ms,
    struct indexer_status *status_r)
{
	struct timespec deadline = time_in(wait_ms);
	uint64_t wanted;
	int rc = 0;

	(void)pthread_mutex_lock(&indexer->lock);
	wanted = indexer->written.number;
	indexer->hurry++;
	(void)pthread_cond_signal(&indexer->wake);
	while (indexer->indexed < wanted && rc == 0 && !indexer->is_ending)
		rc = pthread_cond_timedwait(
		    &indexer->news, &indexer->lock, &deadline);
	indexer->hurry--;
	fill_status(indexer, status_r);
	(void)pthread_mutex_unlock(&indexer->lock);
}

/* ---- the thread ---- */

static void
tell_error(struct indexer *indexer, const char *text)
{
	if (text[0] != '\0')
		log_notice("index: %s", text);
	(void)pthread_mutex_lock(&indexer->lock);
	(void)slice_copy(
	    slice_of(text), indexer->error, sizeof(indexer->error));
	(void)pthread_mutex_unlock(&indexer->lock);
}

static void
tell_indexed(struct indexer *indexer, uint64_t number)
{
	(void)pthread_mutex_lock(&indexer->lock);
	indexer->indexed = number;
	/* The rest came after what was just done, so at most now. */
	indexer->written_us = clock_wall_us();
	indexer->error[0] = '\0';
	(void)pthread_cond_broadcast(&indexer->news);
	(void)pthread_mutex_unlock(&indexer->lock);
}

static bool
is_ready(const struct indexer *indexer, uint64_t waiting)
{
	return indexer->is_ending || indexer->expire != 0 ||
	    waiting >= GATHER_RECORDS ||
	    (waiting > 0 && indexer->hurry > 0);
}

/* Waits for work; false at the end.  After a failure it waits longer. */
static bool
wait_for_work(struct indexer *indexer, bool has_failed,
    struct segment_position *written_r, uint32_t *expire_r)
{
	struct timespec deadline = time_in(RETRY_MS);
	bool is_gathering = has_failed;
	bool goes_on;
	int rc = 0;

	(void)pthread_mutex_lock(&indexer->lock);
	while (rc == 0) {
		uint64_t waiting =
		    indexer->written.number > indexer->indexed
		    ? indexer->written.number - indexer->indexed
		    : 0;

		if (is_ready(indexer, has_failed ? 0 : waiting))
			break;
		if (waiting == 0 && !has_failed) {
			(void)pthread_cond_wait(
			    &indexer->wake, &indexer->lock);
			continue;
		}
		if (!is_gathering)
			deadline = time_in(GATHER_MS);
		is_gathering = true;
		rc = pthread_cond_timedwait(
		    &indexer->wake, &indexer->lock, &deadline);
	}
	*written_r = indexer->written;
	*expire_r = indexer->expire;
	indexer->expire = 0;
	goes_on = !indexer->is_ending || *expire_r != 0;
	(void)pthread_mutex_unlock(&indexer->lock);
	return goes_on;
}

static bool
find_accepted(void *arg, uint64_t message, struct event_accepted *event_r)
{
	struct indexer *indexer = arg;
	int32_t day = day_of_us(id_time_ms(message) * 1000);
	struct log_event_view view;
	struct number_list numbers;
	struct record record;
	bool is_found = false;

	if (indexer->other.index == NULL || indexer->other_day != day) {
		log_day_close(&indexer->other);
		if (log_day_open(&indexer->other, indexer->path,
		        indexer->dir_fd, day, NULL) == -1)
			return false;
		indexer->other_day = day;
	}
	number_list_init(&numbers, 16);
	if (log_index_numbers(indexer->other.index,
	        term_hash_id(TERM_MESSAGE, message), &numbers, NULL) == 0) {
		number_list_sort(&numbers);
		is_found = numbers.count > 0 &&
		    log_day_fetch(&indexer->other, numbers.values[0], &record,
		        NULL) == 1 &&
		    log_event_view(&record, &view) == 0 &&
		    view.head.type == EV_ACCEPTED &&
		    view.head.message_id == message;
	}
	number_list_clear(&numbers);
	if (is_found)
		*event_r = view.fields.accepted;
	return is_found;
}

static void
close_index(struct indexer *indexer)
{
	log_index_close(indexer->index);
	indexer->index = NULL;
}

/* What cannot be used is thrown away: the segments have all of it. */
static void
throw_away(struct indexer *indexer, int32_t day, const char *why)
{
	tell_error(indexer, why);
	close_index(indexer);
	log_day_close(&indexer->other);
	log_index_delete(indexer->path, day);
	indexer->done_segment = 0;
	(void)pthread_mutex_lock(&indexer->lock);
	indexer->rebuilt++;
	(void)pthread_mutex_unlock(&indexer->lock);
}

static int
use_day(struct indexer *indexer, int32_t day, struct err *err)
{
	if (indexer->index != NULL && indexer->index->day == day)
		return 0;
	close_index(indexer);
	if (log_index_open(indexer->path, day, false, &indexer->index, err) ==
	    -1)
		return -1;
	indexer->is_checked = false;
	indexer->index->find_accepted = find_accepted;
	indexer->index->arg = indexer;
	return 0;
}

/* Records from the progress on, up to one transaction.  1: more is there. */
static int
index_batch(struct indexer *indexer, const struct segment_name *name,
    uint64_t end, struct log_progress *progress, struct err *err)
{
	enum parse_result parsed = PARSE_MORE;
	struct record record;
	unsigned count = 0;

	if (segment_reader_seek(
	        &indexer->reader, name, progress->offset, err) == -1 ||
	    log_index_begin(indexer->index, err) == -1)
		return -1;
	progress->segment = name->number;
	while (count < BATCH_RECORDS &&
	    (parsed = segment_reader_next(
	         &indexer->reader, end, &record, err)) == PARSE_OK) {
		if (log_index_add(indexer->index, &record, name->number,
		        progress->offset, err) == -1)
			return -1;
		progress->offset = indexer->reader.offset;
		progress->number = record.number;
		count++;
	}
	if (parsed == PARSE_BAD)
		tell_error(indexer, err->text);
	if (log_index_commit(indexer->index, progress, err) == -1)
		return -1;
	if (count > 0)
		tell_indexed(indexer, progress->number);
	return parsed == PARSE_OK ? 1 : 0;
}

/*
 * In a power cut the log may lose an unsynced tail that its index has: then
 * the next record is not where the index ended, or is another one.
 */
static bool
goes_on_there(struct indexer *indexer, const struct segment_name *name,
    uint64_t end, const struct log_progress *progress)
{
	struct record record;
	enum parse_result parsed;

	if (progress->offset == 0)
		return true;
	if (segment_reader_seek(
	        &indexer->reader, name, progress->offset, NULL) == -1)
		return false;
	parsed = segment_reader_next(&indexer->reader, end, &record, NULL);
	if (parsed == PARSE_MORE)
		return progress->offset <= end &&
		    progress->offset <= segment_reader_size(&indexer->reader);
	return parsed == PARSE_OK && record.number == progress->number + 1;
}

static bool
is_ending(struct indexer *indexer)
{
	bool answer;

	(void)pthread_mutex_lock(&indexer->lock);
	answer = indexer->is_ending;
	(void)pthread_mutex_unlock(&indexer->lock);
	return answer;
}

static int
index_segment(struct indexer *indexer, const struct segment_name *name,
    const struct segment_position *written, struct err *err)
{
	const uint64_t end = name->number == written->name.number
	    ? written->offset
	    : UINT64_MAX;
	struct log_progress progress;
	int rc;

	if (use_day(indexer, name->day, err) == -1 ||
	    log_index_progress(indexer->index, &progress, err) == -1)
		return -1;
	if (progress.segment > written->name.number)
		return err_set(err, "the index knows more than the log has");
	if (progress.segment > name->number)
		return 0;
	if (progress.segment < name->number)
		progress.offset = 0;
	if (!indexer->is_checked &&
	    !goes_on_there(indexer, name, end, &progress))
		return err_set(err, "the index knows more than the log has");
	indexer->is_checked = true;
	do {
		rc = index_batch(indexer, name, end, &progress, err);
	} while (rc == 1 && !is_ending(indexer));
	return rc == -1 ? -1 : 0;
}

static int
index_all(struct indexer *indexer, const struct segment_position *written)
{
	struct segment_list list;
	struct err err;
	int rc = 0;

	if (segment_list_read(indexer->dir_fd, &list, &err) == -1) {
		tell_error(indexer, err.text);
		return -1;
	}
	for (size_t i = 0; rc == 0 && i < list.count; i++) {
		const struct segment_name *name = &list.names[i];

		if (name->number > written->name.number)
			break;
		if (name->number <= indexer->done_segment)
			continue;
		rc = index_segment(indexer, name, written, &err);
		if (rc == 0 && name->number < written->name.number)
			indexer->done_segment = name->number;
		if (rc == 0 && is_ending(indexer))
			rc = -1;
		if (rc == 0 || is_ending(indexer))
			continue;
		if (indexer->index != NULL)
			log_index_rollback(indexer->index);
		if (indexer->index != NULL &&
		    sql_is_full(indexer->index->sql))
			tell_error(indexer, err.text);
		else
			throw_away(indexer, name->day, err.text);
	}
	segment_list_clear(&list);
	/* What could not be read is behind as well. */
	if (rc == 0)
		tell_indexed(indexer, written->number);
	return rc;
}

/* ---- retention ---- */

static bool
has_day(const struct segment_list *list, int32_t day)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->names[i].day == day)
			return true;
	return false;
}

static void
delete_segments(struct indexer *indexer, uint32_t last)
{
	struct segment_list list;
	char file[SEGMENT_FILE_NAME_SIZE];

	if (segment_list_read(indexer->dir_fd, &list, NULL) == -1)
		return;
	/* From the oldest on: a stop in between leaves no hole. */
	for (size_t i = 0; i < list.count && list.names[i].number <= last;
	     i++) {
		segment_file_name(&list.names[i], file);
		if (unlinkat(indexer->dir_fd, file, 0) == -1)
			break;
	}
	segment_list_clear(&list);
	(void)fsync(indexer->dir_fd);
}

static void
expire(struct indexer *indexer, uint32_t last)
{
	struct segment_list list = {0};
	int32_t *days = NULL;
	size_t count = 0;

	delete_segments(indexer, last);
	if (segment_list_read(indexer->dir_fd, &list, NULL) == 0 &&
	    log_index_days(indexer->path, &days, &count, NULL) == 0)
		for (size_t i = 0; i < count; i++) {
			if (has_day(&list, days[i]))
				continue;
			if (indexer->index != NULL &&
			    indexer->index->day == days[i])
				close_index(indexer);
			log_day_close(&indexer->other);
			log_index_delete(indexer->path, days[i]);
		}
	segment_list_clear(&list);
	free(days);
}

static void *
run(void *arg)
{
	struct indexer *indexer = arg;
	struct segment_position written;
	bool has_failed = false;
	uint32_t expire_up_to;

	while (wait_for_work(indexer, has_failed, &written, &expire_up_to)) {
		has_failed = false;
		if (expire_up_to != 0)
			expire(indexer, expire_up_to);
		if (written.name.number != 0)
			has_failed = index_all(indexer, &written) == -1;
	}
	close_index(indexer);
	log_day_close(&indexer->other);
	segment_reader_clear(&indexer->reader);
	return NULL;
}

struct indexer *
indexer_new(const char *path, int dir_fd)
{
	struct indexer *indexer = xcalloc(1, sizeof(*indexer));
	pthread_condattr_t attributes;
	sigset_t all;
	sigset_t before;

	indexer->path = xstrdup(path);
	indexer->dir_fd = dir_fd;
	segment_reader_init(&indexer->reader, dir_fd);
	(void)pthread_mutex_init(&indexer->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&indexer->wake, &attributes);
	(void)pthread_cond_init(&indexer->news, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	/* Signals are the loop's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&indexer->thread, NULL, run, indexer) != 0)
		fatal("cannot start the indexer's thread");
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return indexer;
}

void
indexer_free(struct indexer *indexer)
{
	if (indexer == NULL)
		return;
	(void)pthread_mutex_lock(&indexer->lock);
	indexer->is_ending = true;
	(void)pthread_cond_broadcast(&indexer->wake);
	(void)pthread_cond_broadcast(&indexer->news);
	(void)pthread_mutex_unlock(&indexer->lock);
	(void)pthread_join(indexer->thread, NULL);
	(void)pthread_cond_destroy(&indexer->wake);
	(void)pthread_cond_destroy(&indexer->news);
	(void)pthread_mutex_destroy(&indexer->lock);
	free(indexer->path);
	free(indexer);
}
