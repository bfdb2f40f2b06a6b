/* SPDX-License-Identifier: ISC */
/*
 * The index of one day: schema and statements.  All of it can be made again
 * from the segments; numbers of 64 bits stand as SQLite's signed integers.
 *
 * place: where a run of records begins, a row for each LOG_INDEX_RUN of them.
 * batch: sorted postings of one transaction, or of several merged ones.
 * chunk: the postings of a batch, one page each; id is the batch's number
 * times 2^LOG_INDEX_CHUNK_BITS and the chunk's place in it.
 */
#ifndef LOGHUB_LOG_INDEX_SQL_H
#define LOGHUB_LOG_INDEX_SQL_H

#define LOG_INDEX_CHUNK_BITS 20

#define LOG_INDEX_SCHEMA_1 \
	"CREATE TABLE progress(one INTEGER PRIMARY KEY CHECK(one = 1)," \
	" segment INTEGER NOT NULL, offset INTEGER NOT NULL," \
	" number INTEGER NOT NULL);" \
	"CREATE TABLE place(number INTEGER PRIMARY KEY," \
	" segment INTEGER NOT NULL, offset INTEGER NOT NULL," \
	" count INTEGER NOT NULL, min_us INTEGER NOT NULL," \
	" max_us INTEGER NOT NULL);" \
	"CREATE TABLE batch(id INTEGER PRIMARY KEY," \
	" level INTEGER NOT NULL, chunks INTEGER NOT NULL);" \
	"CREATE TABLE chunk(id INTEGER PRIMARY KEY, postings BLOB NOT NULL);"

/* S(ENUM SUFFIX, "text") */
#define LOG_INDEX_STATEMENTS(S) \
	S(PROGRESS, "SELECT segment, offset, number FROM progress") \
	S(SET_PROGRESS, "INSERT OR REPLACE INTO progress VALUES(1, ?, ?, ?)") \
	S(ADD_PLACE, "INSERT OR REPLACE INTO place VALUES(?, ?, ?, ?, ?, ?)") \
	S(PLACE_OF, \
	    "SELECT number, segment, offset, count, min_us, max_us FROM place" \
	    " WHERE number <= ? AND min_us <= ? AND max_us >= ?" \
	    " ORDER BY number DESC LIMIT 1") \
	S(PLACE_AFTER, \
	    "SELECT number, segment, offset, count, min_us, max_us FROM place" \
	    " WHERE number >= ? ORDER BY number LIMIT 1") \
	S(BATCHES, "SELECT id, level, chunks FROM batch ORDER BY id") \
	S(ADD_BATCH, "INSERT INTO batch VALUES(?, ?, ?)") \
	S(DROP_BATCH, "DELETE FROM batch WHERE id = ?") \
	S(CHUNK, "SELECT postings FROM chunk WHERE id = ?") \
	S(ADD_CHUNK, "INSERT INTO chunk VALUES(?, ?)") \
	S(DROP_CHUNKS, "DELETE FROM chunk WHERE id >= ? AND id < ?")

#define LOG_INDEX_ENUM(suffix, text) LOG_INDEX_##suffix,
enum log_index_statement {
	LOG_INDEX_STATEMENTS(LOG_INDEX_ENUM) LOG_INDEX_STATEMENT_COUNT
};
#undef LOG_INDEX_ENUM

#endif
