/* SPDX-License-Identifier: ISC */
/*
 * Fills the index of one day.
 * Runs in: postern-loghub, the indexer's thread.  Trusts: nothing of what a
 * record holds; a record that cannot be read has a place and no terms.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loghub/log_index.h"
#include "loghub/log_index_sql.h"

/* Merging reads and writes some hundred pages; more is of no use. */
#define CACHE_PRAGMA "PRAGMA cache_size = -2048"

/* Of 4096 octets each: fewer checkpoints write fewer pages twice. */
#define CHECKPOINT_PAGES 2000

#define INDEX_PREFIX "index-"
#define INDEX_SUFFIX ".db"

static const char *const migrations[] = {LOG_INDEX_SCHEMA_1};

#define STATEMENT_TEXT(suffix, text) [LOG_INDEX_##suffix] = text,
/* Long statements stand on several lines. */
/* NOLINTNEXTLINE(bugprone-suspicious-missing-comma) */
static const char *const statements[] = {LOG_INDEX_STATEMENTS(STATEMENT_TEXT)};
#undef STATEMENT_TEXT

void
log_index_path(
    const char *dir, int32_t day, char path_r[LOG_INDEX_PATH_SIZE])
{
	char text[DAY_TEXT_SIZE];

	day_format(day, text);
	(void)snprintf(path_r, LOG_INDEX_PATH_SIZE, "%s/" INDEX_PREFIX "%s"
	    INDEX_SUFFIX, dir, text);
}

int
log_index_open(const char *dir, int32_t day, bool is_reader,
    struct log_index **index_r, struct err *err)
{
	struct log_index *index = xcalloc(1, sizeof(*index));
	char path[LOG_INDEX_PATH_SIZE];
	const struct sql_config config = {
	    .path = path,
	    .durability = SQL_CACHE,
	    .is_reader = is_reader,
	    .migrations = migrations,
	    .migration_count = sizeof(migrations) / sizeof(*migrations),
	    .statements = statements,
	    .statement_count = LOG_INDEX_STATEMENT_COUNT,
	    .checkpoint_pages = CHECKPOINT_PAGES,
	};

	log_index_path(dir, day, path);
	index->day = day;
	if (sql_open(&config, &index->sql, err) == -1) {
		free(index);
		return -1;
	}
	(void)sqlite3_exec(
	    sql_handle(index->sql), CACHE_PRAGMA, NULL, NULL, NULL);
	*index_r = index;
	return 0;
}

void
log_index_close(struct log_index *index)
{
	if (index == NULL)
		return;
	sql_close(index->sql);
	free(index->postings);
	free(index->batches);
	free(index);
}

void
log_index_delete(const char *dir, int32_t day)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char path[LOG_INDEX_PATH_SIZE];
	char file[LOG_INDEX_PATH_SIZE + 8];

	log_index_path(dir, day, path);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		(void)snprintf(file, sizeof(file), "%s%s", path, suffixes[i]);
		(void)unlink(file);
	}
}

static int
parse_name(const char *name, int32_t *day_r)
{
	const size_t prefix = strlen(INDEX_PREFIX);
	const size_t day = DAY_TEXT_SIZE - 1;

	if (strncmp(name, INDEX_PREFIX, prefix) != 0 ||
	    strlen(name) != prefix + day + strlen(INDEX_SUFFIX) ||
	    strcmp(name + prefix + day, INDEX_SUFFIX) != 0)
		return -1;
	return day_parse((struct slice){name + prefix, day}, day_r);
}

static int
compare_days(const void *a, const void *b)
{
	const int32_t *x = a;
	const int32_t *y = b;

	return (*x > *y) - (*x < *y);
}

int
log_index_days(
    const char *path, int32_t **days_r, size_t *count_r, struct err *err)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int32_t *days = NULL;
	size_t count = 0;
	int32_t day;

	if (dir == NULL)
		return err_set(err, "list %s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		if (parse_name(entry->d_name, &day) == -1)
			continue;
		if (count % 64 == 0)
			days = xrealloc(days, (count + 64) * sizeof(*days));
		days[count++] = day;
	}
	(void)closedir(dir);
	if (count > 0)
		qsort(days, count, sizeof(*days), compare_days);
	*days_r = days;
	*count_r = count;
	return 0;
}

int
log_index_progress(struct log_index *index, struct log_progress *progress_r,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_PROGRESS);
	int rc = sql_step(index->sql, stmt, err);

	if (rc == -1)
		return -1;
	*progress_r = (struct log_progress){0};
	if (rc == 1) {
		progress_r->segment = (uint32_t)sql_i64(stmt, 0);
		progress_r->offset = (uint64_t)sql_i64(stmt, 1);
		progress_r->number = (uint64_t)sql_i64(stmt, 2);
	}
	(void)sqlite3_reset(stmt);
	return 0;
}

/* ---- places ---- */

static int
store_run(struct log_index *index, struct err *err)
{
	sqlite3_stmt *stmt;

	if (index->run.count == 0)
		return 0;
	stmt = sql_use(index->sql, LOG_INDEX_ADD_PLACE);
	sql_bind_i64(stmt, 1, (int64_t)index->run.number);
	sql_bind_i64(stmt, 2, index->run.segment);
	sql_bind_i64(stmt, 3, (int64_t)index->run.offset);
	sql_bind_i64(stmt, 4, index->run.count);
	sql_bind_i64(stmt, 5, (int64_t)index->run.min_us);
	sql_bind_i64(stmt, 6, (int64_t)index->run.max_us);
	return sql_run(index->sql, stmt, err);
}

static int
note_place(struct log_index *index, uint64_t number, uint32_t segment,
    uint64_t offset, uint64_t time_us, struct err *err)
{
	struct log_place *run = &index->run;

	if (run->count >= LOG_INDEX_RUN ||
	    (run->count > 0 && run->segment != segment)) {
		if (store_run(index, err) == -1)
			return -1;
		run->count = 0;
	}
	if (run->count == 0)
		*run = (struct log_place){.number = number,
		    .segment = segment,
		    .offset = offset,
		    .min_us = time_us,
		    .max_us = time_us};
	run->count++;
	if (time_us < run->min_us)
		run->min_us = time_us;
	if (time_us > run->max_us)
		run->max_us = time_us;
	return 0;
}

/* ---- terms of one event ---- */

struct addition {
	struct log_index *index;
	struct event_head head;
	uint64_t number;
};

static void
add_posting(struct log_index *index, uint64_t term, uint64_t number,
    uint64_t message)
{
	if (index->posting_count == index->posting_capacity) {
		index->posting_capacity = index->posting_capacity == 0
		    ? 4096
		    : index->posting_capacity * 2;
		index->postings = xrealloc(index->postings,
		    index->posting_capacity * sizeof(*index->postings));
	}
	index->postings[index->posting_count++] = (struct posting){
	    .term = term, .number = number, .message = message};
}

static void
add_term(void *arg, uint64_t term)
{
	const struct addition *add = arg;

	add_posting(
	    add->index, term, add->number, add->head.message_id);
}

/* Events of another day's message are found by its sender here too. */
static void
carry_over(struct addition *add)
{
	const struct log_index *index = add->index;
	uint64_t id = add->head.message_id;
	union event_fields fields = {0};

	if (index->find_accepted == NULL ||
	    day_of_us(id_time_ms(id) * 1000) == index->day ||
	    !index->find_accepted(index->arg, id, &fields.accepted))
		return;
	terms_of_event(EV_ACCEPTED, &fields, add_term, add);
}

static bool
is_outcome(enum event_type type)
{
	return type == EV_DELIVERED || type == EV_DEFERRED ||
	    type == EV_FAILED;
}

static void
add_terms(struct addition *add, const union event_fields *fields)
{
	const struct event_head *head = &add->head;
	bool is_life = event_row(head->type)->class == EVENT_LIFE;

	if (head->message_id != 0)
		add_term(add, term_hash_id(TERM_MESSAGE, head->message_id));
	/* A message is tied to its session by one event; that is enough. */
	if (head->session_id != 0 && (!is_life || head->type == EV_ACCEPTED))
		add_term(add, term_hash_id(TERM_SESSION, head->session_id));
	/* The notification's own trace leads back to what it is about. */
	if (head->type == EV_NOTIFIED && fields->notified.dsn_message_id != 0)
		add_posting(add->index,
		    term_hash_id(
		        TERM_MESSAGE, fields->notified.dsn_message_id),
		    add->number, fields->notified.dsn_message_id);
	if (is_outcome(head->type))
		carry_over(add);
	terms_of_event(head->type, fields, add_term, add);
}

/* ---- transactions ---- */

int
log_index_begin(struct log_index *index, struct err *err)
{
	index->posting_count = 0;
	return sql_begin(index->sql, err);
}

int
log_index_add(struct log_index *index, const struct record *record,
    uint32_t segment, uint64_t offset, struct err *err)
{
	struct addition add = {.index = index, .number = record->number};
	union event_fields fields;
	uint32_t life_number;
	struct slice event;
	bool is_event = record_event(record, &life_number, &event) == 0 &&
	    event_read(event, &add.head, &fields, NULL) == 0;

	if (note_place(index, record->number, segment, offset,
	        is_event ? add.head.time_us : record->received_us, err) == -1)
		return -1;
	if (is_event)
		add_terms(&add, &fields);
	return 0;
}

static int
store_progress(struct log_index *index, const struct log_progress *progress,
    struct err *err)
{
	sqlite3_stmt *stmt = sql_use(index->sql, LOG_INDEX_SET_PROGRESS);

	sql_bind_i64(stmt, 1, progress->segment);
	sql_bind_i64(stmt, 2, (int64_t)progress->offset);
	sql_bind_i64(stmt, 3, (int64_t)progress->number);
	return sql_run(index->sql, stmt, err);
}

int
log_index_commit(struct log_index *index, const struct log_progress *progress,
    struct err *err)
{
	if (store_run(index, err) == -1 ||
	    log_index_store_postings(index, err) == -1 ||
	    store_progress(index, progress, err) == -1)
		return -1;
	return sql_commit(index->sql, err);
}

void
log_index_rollback(struct log_index *index)
{
	sql_rollback(index->sql);
	index->run.count = 0;
	index->posting_count = 0;
	index->has_batches = false;
}
