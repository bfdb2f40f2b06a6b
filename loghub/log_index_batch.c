/* SPDX-License-Identifier: ISC */
/*
 * Batches of postings: stored sorted, merged when many of a size stand side
 * by side, so that a question looks into some dozens of them at most.
 * Runs in: postern-loghub, the indexer's thread.  Trusts: chunks only as far
 * as their sizes go.
 */
#include <stdlib.h>
#include <string.h>

#include "loghub/log_index.h"
#include "loghub/log_index_sql.h"

/* That many batches of a level become one of the next. */
#define MERGE_COUNT 8

/*
 * A batch of so many chunks (130,000 postings) is not merged again: a merge
 * holds up the indexer for a moment, and goes through the WAL.
 */
#define FINAL_CHUNKS 780
#define FINAL_LEVEL 100

static int64_t
chunk_id(int64_t batch, uint32_t chunk)
{
	return batch << LOG_INDEX_CHUNK_BITS | (int64_t)chunk;
}

static struct log_batch *
new_batch(struct log_index *index)
{
	int64_t last = index->batch_count == 0
	    ? 0
	    : index->batches[index->batch_count - 1].id;
	struct log_batch *batch;

	if (index->batch_count == index->batch_capacity) {
		index->batch_capacity = index->batch_capacity == 0
		    ? 64
		    : index->batch_capacity * 2;
		index->batches = xrealloc(index->batches,
		    index->batch_capacity * sizeof(*index->batches));
	}
	batch = &index->batches[index->batch_count++];
	*batch = (struct log_batch){.id = last + 1};
	return batch;
}

int
log_index_read_batches(struct log_index *index, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_BATCHES);
	int rc;

	index->batch_count = 0;
	while ((rc = sql_step(index->sql, stmt, err)) == 1) {
		struct log_batch *batch = new_batch(index);

		batch->id = sql_i64(stmt, 0);
		batch->level = (int)sql_i64(stmt, 1);
		batch->chunks = (uint32_t)sql_i64(stmt, 2);
	}
	index->has_batches = rc == 0;
	return rc;
}

/* ---- writing one batch ---- */

struct batch_writer {
	struct log_index *index;
	struct log_batch batch;
	struct posting last;
	bool has_last;
	size_t n;
	char chunk[POSTING_CHUNK * POSTING_SIZE];
};

static int
write_chunk(struct batch_writer *writer, struct err *err)
{
	struct sql *sql = writer->index->sql;
	sqlite3_stmt *stmt;

	if (writer->n == 0)
		return 0;
	stmt = sql_use(sql, LOG_INDEX_ADD_CHUNK);
	sql_bind_i64(
	    stmt, 1, chunk_id(writer->batch.id, writer->batch.chunks++));
	sql_bind_blob(stmt, 2,
	    (struct slice){writer->chunk, writer->n * POSTING_SIZE});
	writer->n = 0;
	return sql_run(sql, stmt, err);
}

static int
write_posting(struct batch_writer *writer, const struct posting *posting,
    struct err *err)
{
	if (writer->has_last && posting_compare(&writer->last, posting) == 0)
		return 0;
	writer->last = *posting;
	writer->has_last = true;
	posting_write(posting, writer->chunk + writer->n * POSTING_SIZE);
	if (++writer->n < POSTING_CHUNK)
		return 0;
	return write_chunk(writer, err);
}

static int
finish_batch(struct batch_writer *writer, int level, struct err *err)
{
	struct log_index *index = writer->index;
	sqlite3_stmt *stmt;

	if (write_chunk(writer, err) == -1)
		return -1;
	writer->batch.level =
	    writer->batch.chunks >= FINAL_CHUNKS ? FINAL_LEVEL : level;
	stmt = sql_use(index->sql, LOG_INDEX_ADD_BATCH);
	sql_bind_i64(stmt, 1, writer->batch.id);
	sql_bind_i64(stmt, 2, writer->batch.level);
	sql_bind_i64(stmt, 3, writer->batch.chunks);
	if (sql_run(index->sql, stmt, err) == -1)
		return -1;
	for (size_t i = 0; i < index->batch_count; i++)
		if (index->batches[i].id == writer->batch.id)
			index->batches[i] = writer->batch;
	return 0;
}

/* ---- merging ---- */

struct merge_input {
	struct log_batch batch;
	uint32_t chunk; /* the next to be read */
	size_t at;
	size_t n; /* postings in hand */
	struct posting head;
	char octets[POSTING_CHUNK * POSTING_SIZE];
};

/* Makes head the next posting; n 0 at the end. */
static int
input_next(struct log_index *index, struct merge_input *in, struct err *err)
{
	if (++in->at < in->n) {
		posting_read(in->octets + in->at * POSTING_SIZE, &in->head);
		return 0;
	}
	in->at = 0;
	in->n = 0;
	while (in->n == 0 && in->chunk < in->batch.chunks) {
		sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_CHUNK);
		struct slice chunk;
		int rc;

		sql_bind_i64(stmt, 1, chunk_id(in->batch.id, in->chunk++));
		if ((rc = sql_step(index->sql, stmt, err)) == -1)
			return -1;
		chunk = rc == 1 ? sql_blob(stmt, 0) : (struct slice){NULL, 0};
		in->n = posting_chunk_count(chunk);
		if (in->n > POSTING_CHUNK)
			in->n = POSTING_CHUNK;
		if (in->n > 0 && chunk.p != NULL)
			memcpy(in->octets, chunk.p, in->n * POSTING_SIZE);
		(void)sqlite3_reset(stmt);
	}
	if (in->n > 0)
		posting_read(in->octets, &in->head);
	return 0;
}

static int
drop_batch(struct log_index *index, int64_t id, struct err *err)
{
	sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_DROP_CHUNKS);

	sql_bind_i64(stmt, 1, chunk_id(id, 0));
	sql_bind_i64(stmt, 2, chunk_id(id + 1, 0));
	if (sql_run(index->sql, stmt, err) == -1)
		return -1;
	stmt = sql_use(index->sql, LOG_INDEX_DROP_BATCH);
	sql_bind_i64(stmt, 1, id);
	if (sql_run(index->sql, stmt, err) == -1)
		return -1;
	for (size_t i = 0; i < index->batch_count; i++)
		if (index->batches[i].id == id) {
			memmove(&index->batches[i], &index->batches[i + 1],
			    (index->batch_count - i - 1) *
			        sizeof(*index->batches));
			index->batch_count--;
			return 0;
		}
	return 0;
}

static int
merge_inputs(struct batch_writer *writer, struct merge_input *inputs,
    size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (input_next(writer->index, &inputs[i], err) == -1)
			return -1;
	for (;;) {
		struct merge_input *least = NULL;

		for (size_t i = 0; i < count; i++)
			if (inputs[i].n > 0 &&
			    (least == NULL ||
			        posting_compare(
			            &inputs[i].head, &least->head) < 0))
				least = &inputs[i];
		if (least == NULL)
			return 0;
		if (write_posting(writer, &least->head, err) == -1 ||
		    input_next(writer->index, least, err) == -1)
			return -1;
	}
}

/* The last MERGE_COUNT batches become one. */
static int
merge_last(struct log_index *index, int level, struct err *err)
{
	struct merge_input *inputs = xcalloc(MERGE_COUNT, sizeof(*inputs));
	struct batch_writer *writer = xcalloc(1, sizeof(*writer));
	const size_t begin = index->batch_count - MERGE_COUNT;
	int rc = -1;

	for (size_t i = 0; i < MERGE_COUNT; i++)
		inputs[i].batch = index->batches[begin + i];
	writer->index = index;
	writer->batch = *new_batch(index);
	if (merge_inputs(writer, inputs, MERGE_COUNT, err) == -1 ||
	    finish_batch(writer, level + 1, err) == -1)
		goto out;
	for (size_t i = 0; i < MERGE_COUNT; i++)
		if (drop_batch(index, inputs[i].batch.id, err) == -1)
			goto out;
	rc = 0;
out:
	free(inputs);
	free(writer);
	return rc;
}

static bool
must_merge(const struct log_index *index, int *level_r)
{
	size_t count = index->batch_count;

	if (count < MERGE_COUNT)
		return false;
	*level_r = index->batches[count - 1].level;
	if (*level_r == FINAL_LEVEL)
		return false;
	for (size_t i = count - MERGE_COUNT; i < count; i++)
		if (index->batches[i].level != *level_r)
			return false;
	return true;
}

int
log_index_store_postings(struct log_index *index, struct err *err)
{
	struct batch_writer *writer;
	int level;
	int rc = 0;

	if (index->posting_count == 0)
		return 0;
	if (!index->has_batches && log_index_read_batches(index, err) == -1)
		return -1;
	qsort(index->postings, index->posting_count, sizeof(*index->postings),
	    posting_compare);
	writer = xcalloc(1, sizeof(*writer));
	writer->index = index;
	writer->batch = *new_batch(index);
	for (size_t i = 0; rc == 0 && i < index->posting_count; i++)
		rc = write_posting(writer, &index->postings[i], err);
	if (rc == 0)
		rc = finish_batch(writer, 0, err);
	free(writer);
	index->posting_count = 0;
	while (rc == 0 && must_merge(index, &level))
		rc = merge_last(index, level, err);
	return rc;
}
