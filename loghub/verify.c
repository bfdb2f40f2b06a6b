/* SPDX-License-Identifier: ISC */
/*
 * Checks the chain from its first record to its last.
 * Runs in: postern-loghub, a thread of its own.  Trusts: the position that
 * the writer gave; nothing on disk.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loghub/verify.h"

const char *const verify_problem_names[VERIFY_PROBLEM_COUNT] = {
	[VERIFY_NONE] = "none",
	[VERIFY_ALTERED] = "altered",
	[VERIFY_MISSING] = "missing",
	[VERIFY_REORDERED] = "reordered",
	[VERIFY_TRUNCATED] = "truncated",
	[VERIFY_SEGMENT_MISSING] = "segment missing",
	[VERIFY_UNREADABLE] = "unreadable",
};

struct verify {
	const struct segment_position *end;
	const atomic_bool *is_ending;
	struct verify_result *result;
	struct chain chain;
	struct segment_reader reader;
	uint64_t expected; /* number of the next record; 0: any */
	uint32_t expired;  /* segments up to this one were deleted by us */
	bool is_first;     /* no record was seen yet */
};

static int
problem(struct verify *v, enum verify_problem kind, uint32_t segment,
    uint64_t number, const char *text)
{
	struct verify_result *result = v->result;

	result->problem = kind;
	result->segment = segment;
	result->number = number;
	(void)snprintf(result->text, sizeof(result->text),
	    "segment %u, record %llu: %s", segment,
	    (unsigned long long)number, text);
	return -1;
}

/* What the log says of itself. */
static void
note_event(struct verify *v, const struct record *record)
{
	struct event_head head;
	union event_fields fields;
	uint32_t life_number;
	struct slice event;

	if (record->role != ROLE_LOGHUB ||
	    record_event(record, &life_number, &event) == -1 ||
	    event_read(event, &head, &fields, NULL) == -1)
		return;
	if (head.type == EV_LOG_CUT)
		v->result->cuts++;
	if (head.type == EV_LOG_EXPIRED)
		v->expired = fields.log_expired.segment;
}

static int
check_opening(struct verify *v, const struct record *record)
{
	uint32_t segment = v->reader.name.number;
	struct record_opening opening;

	if (record_opening_read(record, &opening) == -1)
		return problem(v, VERIFY_ALTERED, segment, record->number,
		    "the segment does not begin as one");
	if (!v->is_first && record->number > v->expected)
		return problem(v, VERIFY_TRUNCATED, segment - 1, v->expected,
		    "the segment ended here, but the next one says that more "
		    "was written");
	if (opening.segment != segment)
		return problem(v, VERIFY_REORDERED, segment, record->number,
		    "the file is another segment under this name");
	if (v->is_first) {
		/* Its own claim; what comes before was deleted with time. */
		chain_set(&v->chain, opening.previous);
		v->expected = record->number;
		v->is_first = false;
	}
	return 0;
}

static int
check_record(struct verify *v, const struct record *record)
{
	uint32_t segment = v->reader.name.number;

	if (v->expected != 0 && record->number != v->expected)
		return problem(v,
		    record->number > v->expected ? VERIFY_MISSING
		                                 : VERIFY_REORDERED,
		    segment, v->expected,
		    record->number > v->expected
		        ? "the record is missing"
		        : "another record stands in its place");
	if (!chain_fits(&v->chain, record))
		return problem(v, VERIFY_ALTERED, segment, record->number,
		    "the record was altered, or what stood before it");
	chain_set(&v->chain, record->hash);
	v->expected = record->number + 1;
	v->result->records++;
	note_event(v, record);
	return 0;
}

static int
check_segment(struct verify *v, const struct segment_name *name)
{
	bool is_last = name->number == v->end->name.number;
	uint64_t end = is_last ? v->end->offset : UINT64_MAX;
	enum parse_result parsed;
	struct record record;
	bool is_opened = false;
	struct err err;

	if (segment_reader_seek(&v->reader, name, 0, &err) == -1)
		return problem(v, VERIFY_UNREADABLE, name->number, v->expected,
		    err.text);
	while ((parsed = segment_reader_next(
		    &v->reader, end, &record, &err)) == PARSE_OK) {
		if (atomic_load_explicit(v->is_ending, memory_order_relaxed))
			return problem(v, VERIFY_UNREADABLE, name->number,
			    record.number, "stopped before the end");
		if (!is_opened && check_opening(v, &record) == -1)
			return -1;
		is_opened = true;
		if (check_record(v, &record) == -1)
			return -1;
	}
	/* Of the last one more may be written meanwhile. */
	if (parsed == PARSE_BAD ||
	    (is_opened && !is_last &&
	        v->reader.offset != segment_reader_size(&v->reader)))
		return problem(v, VERIFY_ALTERED, name->number, v->expected,
		    "what stands there is no record");
	if (!is_opened || (is_last && v->reader.offset != end))
		return problem(v, VERIFY_TRUNCATED, name->number, v->expected,
		    "the segment ends before this record");
	v->result->segments++;
	return 0;
}

static int
check_all(struct verify *v, const struct segment_list *list)
{
	uint32_t last = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct segment_name *name = &list->names[i];

		/* Begun after the question was asked. */
		if (name->number > v->end->name.number)
			break;
		if (last != 0 && name->number != last + 1)
			return problem(v, VERIFY_SEGMENT_MISSING, last + 1,
			    v->expected, "the segment's file is gone");
		last = name->number;
		if (check_segment(v, name) == -1)
			return -1;
	}
	if (last < v->end->name.number)
		return problem(v, VERIFY_SEGMENT_MISSING, last + 1,
		    v->expected != 0 ? v->expected : 1,
		    "the segment's file is gone");
	if (list->count > 0 && v->result->first_segment > v->expired + 1)
		return problem(v, VERIFY_SEGMENT_MISSING,
		    v->result->first_segment - 1, 0,
		    "segments are gone that the log did not delete itself");
	if (v->end->number != 0 &&
	    memcmp(v->chain.head, v->end->hash, RECORD_HASH_SIZE) != 0)
		return problem(v, VERIFY_ALTERED, v->end->name.number,
		    v->end->number,
		    "the chain ends in another hash than the one written");
	return 0;
}

void
verify_run(int dir_fd, const struct segment_position *end,
    const atomic_bool *is_ending, struct verify_result *result_r)
{
	struct verify v = {.end = end,
	    .is_ending = is_ending,
	    .result = result_r,
	    .is_first = true};
	struct segment_list list = {0};
	struct err err;

	*result_r = (struct verify_result){.problem = VERIFY_NONE};
	chain_init(&v.chain);
	segment_reader_init(&v.reader, dir_fd);
	if (segment_list_read(dir_fd, &list, &err) == -1) {
		(void)problem(&v, VERIFY_UNREADABLE, 0, 0, err.text);
	} else {
		if (list.count > 0)
			result_r->first_segment = list.names[0].number;
		(void)check_all(&v, &list);
	}
	memcpy(result_r->head, v.chain.head, RECORD_HASH_SIZE);
	segment_list_clear(&list);
	segment_reader_clear(&v.reader);
	chain_clear(&v.chain);
}
