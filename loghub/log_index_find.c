/* SPDX-License-Identifier: ISC */
/*
 * What the index of one day answers.
 * Runs in: postern-loghub, the query threads, each with its own connection.
 * Trusts: nothing of what the file holds beyond its schema.
 */
#include <stdlib.h>
#include <string.h>

#include "common/loop.h"
#include "loghub/log_index.h"
#include "loghub/log_index_sql.h"

/* Steps of SQLite's machine between two looks at the clock: well under 1 ms. */
#define PROGRESS_STEPS 1000

/* ---- lists ---- */

void
number_list_init(struct number_list *list, size_t limit)
{
	*list = (struct number_list){.limit = limit};
}

void
number_list_clear(struct number_list *list)
{
	free(list->values);
	*list = (struct number_list){.limit = list->limit};
}

void
number_list_add(struct number_list *list, uint64_t value)
{
	if (list->count > 0 && list->values[list->count - 1] == value)
		return;
	if (list->count == list->limit) {
		list->is_cut = true;
		return;
	}
	if (list->count == list->capacity) {
		list->capacity = list->capacity == 0 ? 64 : list->capacity * 2;
		list->values = xrealloc(
		    list->values, list->capacity * sizeof(*list->values));
	}
	list->values[list->count++] = value;
}

static int
compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

void
number_list_sort(struct number_list *list)
{
	size_t kept = 0;

	if (list->count == 0)
		return;
	qsort(list->values, list->count, sizeof(*list->values),
	    compare_numbers);
	for (size_t i = 1; i < list->count; i++)
		if (list->values[i] != list->values[kept])
			list->values[++kept] = list->values[i];
	list->count = kept + 1;
}

bool
number_list_has(const struct number_list *list, uint64_t value)
{
	return list->count > 0 &&
	    bsearch(&value, list->values, list->count, sizeof(*list->values),
	        compare_numbers) != NULL;
}

/* ---- terms ---- */

static int
is_late(void *arg)
{
	const uint64_t *deadline_ms = arg;

	return *deadline_ms != 0 && clock_monotonic_ms() > *deadline_ms;
}

void
log_index_deadline(struct log_index *index, uint64_t *deadline_ms)
{
	index->deadline_ms = deadline_ms;
	sqlite3_progress_handler(sql_handle(index->sql), PROGRESS_STEPS,
	    is_late, deadline_ms);
}

/* The chunk, good until the next one; empty when it is not there. */
static int
read_chunk(struct log_index *index, const struct log_batch *batch,
    uint32_t chunk, struct slice *chunk_r, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_CHUNK);
	int rc;

	sql_bind_i64(
	    stmt, 1, batch->id << LOG_INDEX_CHUNK_BITS | (int64_t)chunk);
	rc = sql_step(index->sql, stmt, err);
	*chunk_r = rc == 1 ? sql_blob(stmt, 0) : (struct slice){NULL, 0};
	return rc == -1 ? -1 : 0;
}

/* The last chunk that begins below the term: the first that may hold it. */
static int
first_chunk(struct log_index *index, const struct log_batch *batch,
    uint64_t term, uint32_t *chunk_r, struct err *err)
{
	uint32_t low = 0;
	uint32_t high = batch->chunks;

	while (low + 1 < high) {
		uint32_t middle = low + (high - low) / 2;
		struct slice chunk;

		if (read_chunk(index, batch, middle, &chunk, err) == -1)
			return -1;
		if (posting_chunk_find(chunk, term) > 0)
			low = middle;
		else
			high = middle;
	}
	*chunk_r = low;
	return 0;
}

static int
find_in_batch(struct log_index *index, const struct log_batch *batch,
    uint64_t term, void (*each)(void *arg, const struct posting *posting),
    void *arg, struct err *err)
{
	uint32_t chunk;

	if (first_chunk(index, batch, term, &chunk, err) == -1)
		return -1;
	for (; chunk < batch->chunks; chunk++) {
		struct slice octets;
		size_t count;
		size_t i;

		if (read_chunk(index, batch, chunk, &octets, err) == -1)
			return -1;
		count = posting_chunk_count(octets);
		for (i = posting_chunk_find(octets, term); i < count; i++) {
			struct posting posting;

			posting_read(octets.p + i * POSTING_SIZE, &posting);
			if (posting.term != term)
				return 0;
			each(arg, &posting);
		}
	}
	return 0;
}

/* One snapshot of the file, so that no merge moves what is looked for. */
int
log_index_find(struct log_index *index, uint64_t term,
    void (*each)(void *arg, const struct posting *posting), void *arg,
    struct err *err)
{
	sqlite3 *db = sql_handle(index->sql);
	int rc;

	(void)sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	rc = log_index_read_batches(index, err);
	for (size_t i = 0; rc == 0 && i < index->batch_count; i++) {
		if (index->deadline_ms != NULL && is_late(index->deadline_ms))
			rc = err_set(err, "the search took too long");
		else
			rc = find_in_batch(index, &index->batches[i], term,
			    each, arg, err);
	}
	(void)sql_use(index->sql, LOG_INDEX_CHUNK); /* ends its read */
	(void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	return rc;
}

static void
add_number(void *arg, const struct posting *posting)
{
	number_list_add(arg, posting->number);
}

int
log_index_numbers(struct log_index *index, uint64_t term,
    struct number_list *numbers, struct err *err)
{
	return log_index_find(index, term, add_number, numbers, err);
}

/* ---- places ---- */

static int64_t
bounded(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static int
read_place(struct log_index *index, sqlite3_stmt *stmt,
    struct log_place *place_r, struct err *err)
{
	int rc = sql_step(index->sql, stmt, err);

	if (rc == 1) {
		*place_r = (struct log_place){
		    .number = (uint64_t)sql_i64(stmt, 0),
		    .segment = (uint32_t)sql_i64(stmt, 1),
		    .offset = (uint64_t)sql_i64(stmt, 2),
		    .count = (uint32_t)sql_i64(stmt, 3),
		    .min_us = (uint64_t)sql_i64(stmt, 4),
		    .max_us = (uint64_t)sql_i64(stmt, 5),
		};
		(void)sqlite3_reset(stmt);
	}
	return rc;
}

int
log_index_place_between(struct log_index *index, uint64_t number,
    uint64_t since_us, uint64_t until_us, struct log_place *place_r,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_PLACE_OF);

	sql_bind_i64(stmt, 1, bounded(number));
	sql_bind_i64(stmt, 2, bounded(until_us));
	sql_bind_i64(stmt, 3, bounded(since_us));
	return read_place(index, stmt, place_r, err);
}

int
log_index_place_of(struct log_index *index, uint64_t number,
    struct log_place *place_r, struct err *err)
{
	return log_index_place_between(
	    index, number, 0, UINT64_MAX, place_r, err);
}

int
log_index_place_from(struct log_index *index, uint64_t number,
    struct log_place *place_r, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc = log_index_place_of(index, number, place_r, err);

	if (rc == -1 || (rc == 1 && number < place_r->number + place_r->count))
		return rc;
	stmt = sql_use(index->sql, LOG_INDEX_PLACE_AFTER);
	sql_bind_i64(stmt, 1, bounded(number));
	return read_place(index, stmt, place_r, err);
}
