/* SPDX-License-Identifier: ISC */
/*
 * The index of one day's segments: where records stand, and which terms lead
 * to them.  What an event says stands in the segment alone.
 */
#ifndef LOGHUB_LOG_INDEX_H
#define LOGHUB_LOG_INDEX_H

#include "common/ids.h"
#include "common/sql.h"
#include "loghub/log_terms.h"
#include "loghub/posting.h"
#include "loghub/segment_file.h"

/* Records between two rows of the table of places. */
#define LOG_INDEX_RUN 128

/* A run of records that follow each other in one segment. */
struct log_place {
	uint64_t number; /* of its first record */
	uint32_t segment;
	uint64_t offset;
	uint32_t count;
	uint64_t min_us; /* of the events' own times */
	uint64_t max_us;
};

/* Batches of postings that a query looks through. */
struct log_batch {
	int64_t id;
	int level;
	uint32_t chunks;
};

struct log_index {
	struct sql *sql;
	int32_t day;
	struct log_place run; /* the open one; count 0: none */

	struct posting *postings; /* of the open transaction */
	size_t posting_count;
	size_t posting_capacity;

	struct log_batch *batches;
	size_t batch_count;
	size_t batch_capacity;
	bool has_batches; /* they are read from the file */
	uint64_t *deadline_ms;

	/*
	 * Gives the "accepted" event of a message of another day, so that its
	 * later events are found by sender and client here too.  NULL: no.
	 */
	bool (*find_accepted)(void *arg, uint64_t message,
	    struct event_accepted *event_r);
	void *arg;
};

/* "index-YYYY-MM-DD.db" in that directory. */
#define LOG_INDEX_PATH_SIZE 512
void log_index_path(
    const char *dir, int32_t day, char path_r[LOG_INDEX_PATH_SIZE]);

int log_index_open(const char *dir, int32_t day, bool is_reader,
    struct log_index **index_r, struct err *err);
void log_index_close(struct log_index *index);

/* Deletes the day's file and what SQLite keeps beside it. */
void log_index_delete(const char *dir, int32_t day);

/* The days of the index files in a directory, rising. */
int log_index_days(const char *dir, int32_t **days_r, size_t *count_r,
    struct err *err);

/* How far it was filled. */
struct log_progress {
	uint32_t segment; /* 0: nothing was */
	uint64_t offset;
	uint64_t number;
};

int log_index_progress(struct log_index *index,
    struct log_progress *progress_r, struct err *err);

/* Between begin and commit: each record with the place where it begins. */
int log_index_begin(struct log_index *index, struct err *err);
int log_index_add(struct log_index *index, const struct record *record,
    uint32_t segment, uint64_t offset, struct err *err);
int log_index_commit(struct log_index *index,
    const struct log_progress *progress, struct err *err);
void log_index_rollback(struct log_index *index);

/* ---- questions; -1 is a failure, or the deadline ---- */

/* *deadline_ms is a time of clock_monotonic_ms(), 0: none. */
void log_index_deadline(struct log_index *index, uint64_t *deadline_ms);

/* A bounded list of record numbers or message ids. */
struct number_list {
	uint64_t *values;
	size_t count;
	size_t capacity;
	size_t limit;
	bool is_cut; /* there were more */
};

void number_list_init(struct number_list *list, size_t limit);
void number_list_clear(struct number_list *list);
void number_list_add(struct number_list *list, uint64_t value);
/* Sorts, rising, and drops doubles. */
void number_list_sort(struct number_list *list);
bool number_list_has(const struct number_list *list, uint64_t value);

/* All postings of a term, in no order. */
int log_index_find(struct log_index *index, uint64_t term,
    void (*each)(void *arg, const struct posting *posting), void *arg,
    struct err *err);

/* The records of a term are added to the list. */
int log_index_numbers(struct log_index *index, uint64_t term,
    struct number_list *numbers, struct err *err);

/* Places: 1 found, 0 there is none, -1 failed. */

/* The last that begins at that record or before it. */
int log_index_place_of(struct log_index *index, uint64_t number,
    struct log_place *place_r, struct err *err);
/* The last of those that has an event of that time. */
int log_index_place_between(struct log_index *index, uint64_t number,
    uint64_t since_us, uint64_t until_us, struct log_place *place_r,
    struct err *err);
/* The one that holds that record, or else the first after it. */
int log_index_place_from(struct log_index *index, uint64_t number,
    struct log_place *place_r, struct err *err);

/* ---- batches, for the writer ---- */

int log_index_read_batches(struct log_index *index, struct err *err);
/* Stores the postings of the transaction, merges where many are small. */
int log_index_store_postings(struct log_index *index, struct err *err);

#endif
