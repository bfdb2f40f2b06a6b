/* SPDX-License-Identifier: ISC */
/*
 * Looks for events by filters.  Where the filters lead to few messages, their
 * events are read one by one; else all events of the time are, newest first,
 * until the page is full or the time is over.
 * Runs in: postern-loghub, the query threads.  Trusts: nothing of arguments,
 * index and segments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loop.h"
#include "loghub/event_json.h"
#include "loghub/log_query.h"

/* Messages that a filter may lead to in a day; more, and it is told. */
#define SET_MAX 200000

/* Up to here it is cheaper to read each message's events than all. */
#define EXPAND_MAX 500

/* Events looked at between two looks at the clock. */
#define CLOCK_EVENTS 64

struct query {
	struct log_view *view;
	struct log_filter filter;
	struct number_list sets[HEIR_COUNT];    /* messages of this day */
	struct number_list numbers[HEIR_COUNT]; /* events without one */
	json_t *events;
	size_t octets;
	size_t limit;
	uint64_t from;    /* of the run that is looked at */
	uint64_t below;   /* newest first: only smaller numbers */
	uint64_t after;   /* oldest first: only greater numbers */
	uint64_t reached; /* the last number looked at */
	unsigned looked;
};

static bool
is_full(const struct query *q)
{
	return json_array_size(q->events) >= q->limit ||
	    q->octets >= LOG_QUERY_OCTETS_MAX;
}

static bool
is_over(struct query *q)
{
	return is_full(q) ||
	    (++q->looked % CLOCK_EVENTS == 0 && log_view_is_late(q->view)) ||
	    q->view->is_late;
}

/* Names and quotes come to about as much again as the record has. */
static size_t
json_octets(const struct record *record)
{
	return record->size * 2 + 256;
}

static void
take(struct query *q, const struct log_event_view *event, size_t octets)
{
	(void)json_array_append_new(q->events, event_json(event));
	q->octets += octets;
}

/* ---- what the filters lead to in one day ---- */

struct collecting {
	struct number_list *messages;
	struct number_list *numbers;
};

static void
collect(void *arg, const struct posting *posting)
{
	struct collecting *c = arg;

	if (posting->message != 0)
		number_list_add(c->messages, posting->message);
	else
		number_list_add(c->numbers, posting->number);
}

static void
clear_sets(struct query *q)
{
	for (int i = 0; i < HEIR_COUNT; i++) {
		number_list_clear(&q->sets[i]);
		number_list_clear(&q->numbers[i]);
	}
}

static int
fill_sets(struct query *q, struct log_day *day)
{
	clear_sets(q);
	for (int i = 0; i < HEIR_COUNT; i++) {
		struct collecting c = {&q->sets[i], &q->numbers[i]};

		if (!q->filter.has[i])
			continue;
		if (log_index_find(day->index,
		        log_filter_term(&q->filter, (enum heir)i), collect,
		        &c, NULL) == -1) {
			log_view_failed(q->view);
			return -1;
		}
		number_list_sort(&q->sets[i]);
		number_list_sort(&q->numbers[i]);
		if (q->sets[i].is_cut)
			q->view->is_cut = true;
	}
	return 0;
}

/* The filter that leads to the fewest messages, few enough; else -1. */
static int
narrowest(const struct query *q)
{
	int best = -1;

	for (int i = 0; i < HEIR_COUNT; i++)
		if (q->filter.has[i] && q->sets[i].count <= EXPAND_MAX &&
		    !q->numbers[i].is_cut &&
		    (best == -1 || q->sets[i].count < q->sets[best].count))
			best = i;
	return best;
}

static int
add_term(struct query *q, struct log_day *day, uint64_t term,
    struct number_list *candidates)
{
	if (log_index_numbers(day->index, term, candidates, NULL) == 0)
		return 0;
	log_view_failed(q->view);
	return -1;
}

/* By the events' names, where all that are asked for are rare. */
static int
add_types(
    struct query *q, struct log_day *day, struct number_list *candidates)
{
	const uint64_t types = q->filter.types;

	for (int i = 0; i < EVENT_TYPE_COUNT; i++)
		if ((types >> i & 1) != 0 &&
		    term_is_frequent((enum event_type)i))
			return 0;
	for (int i = 0; i < EVENT_TYPE_COUNT; i++)
		if ((types >> i & 1) != 0 &&
		    add_term(q, day,
		        term_hash(TERM_EVENT,
		            slice_of(event_row((enum event_type)i)
		                         ->shape.name)),
		        candidates) == -1)
			return -1;
	return types == 0 || candidates->is_cut ? 0 : 1;
}

/* 1: candidates holds all events that can match; 0: all must be read. */
static int
find_candidates(
    struct query *q, struct log_day *day, struct number_list *candidates)
{
	const struct log_filter *filter = &q->filter;
	int heir;

	if (fill_sets(q, day) == -1)
		return -1;
	if (filter->message_id != 0 || filter->session_id != 0)
		return add_term(q, day,
		           filter->message_id != 0
		               ? term_hash_id(
		                     TERM_MESSAGE, filter->message_id)
		               : term_hash_id(
		                     TERM_SESSION, filter->session_id),
		           candidates) == -1
		    ? -1
		    : 1;
	if ((heir = narrowest(q)) == -1)
		return add_types(q, day, candidates);
	for (size_t i = 0; i < q->sets[heir].count; i++)
		if (add_term(q, day,
		        term_hash_id(
		            TERM_MESSAGE, q->sets[heir].values[i]),
		        candidates) == -1)
			return -1;
	for (size_t i = 0; i < q->numbers[heir].count; i++)
		number_list_add(candidates, q->numbers[heir].values[i]);
	return candidates->is_cut ? 0 : 1;
}

/* ---- newest first ---- */

static int
read_candidates(struct query *q, struct log_day *day,
    const struct number_list *candidates)
{
	for (size_t i = candidates->count; i > 0 && !is_over(q); i--) {
		uint64_t number = candidates->values[i - 1];
		struct log_event_view event;
		struct record record;
		int rc;

		if (number >= q->below || number < q->from)
			continue;
		rc = log_day_fetch(day, number, &record, NULL);
		if (rc == -1)
			log_view_failed(q->view);
		q->reached = number;
		if (rc == 1 && log_event_view(&record, &event) == 0 &&
		    log_filter_matches(&q->filter, q->sets, &event))
			take(q, &event, json_octets(&record));
	}
	return 0;
}

/* A run is read forwards; what matches is then taken backwards. */
static int
read_run(
    struct query *q, struct log_day *day, const struct log_place *place)
{
	json_t *found[LOG_INDEX_RUN];
	size_t octets[LOG_INDEX_RUN];
	uint64_t numbers[LOG_INDEX_RUN];
	size_t count = 0;
	struct record record;
	int rc = log_day_seek(day, place, NULL);

	if (rc == 0)
		rc = 1;
	while (rc == 1 && count < LOG_INDEX_RUN &&
	    (rc = log_day_next(day, &record, NULL)) == 1) {
		struct log_event_view event;

		if (record.number >= q->below)
			break;
		if (log_event_view(&record, &event) == -1 ||
		    !log_filter_matches(&q->filter, q->sets, &event))
			continue;
		found[count] = event_json(&event);
		octets[count] = json_octets(&record);
		numbers[count++] = record.number;
	}
	if (rc == -1)
		log_view_failed(q->view);
	q->reached = place->number;
	while (count > 0) {
		count--;
		if (is_full(q)) {
			json_decref(found[count]);
			continue;
		}
		(void)json_array_append_new(q->events, found[count]);
		q->octets += octets[count];
		if (is_full(q))
			q->reached = numbers[count];
	}
	return 0;
}

static int
scan_day(struct query *q, struct log_day *day)
{
	uint64_t below = q->below;

	while (below > 0 && !is_over(q)) {
		struct log_place place;
		int rc = log_index_place_between(day->index, below - 1,
		    q->filter.since_us, q->filter.until_us, &place, NULL);

		if (rc == -1) {
			log_view_failed(q->view);
			return -1;
		}
		if (rc == 0 || place.number < q->from)
			return 0;
		(void)read_run(q, day, &place);
		if (log_view_is_late(q->view))
			break;
		below = place.number;
	}
	return 0;
}

static void
query_day(struct query *q, const struct log_run *run)
{
	const uint64_t below = q->below;
	struct log_day *day;
	struct number_list candidates;
	int rc;

	if (run->from >= below ||
	    (day = log_view_day(q->view, run->day)) == NULL)
		return;
	q->from = run->from;
	if (run->to < below)
		q->below = run->to + 1;
	number_list_init(&candidates, SET_MAX);
	rc = find_candidates(q, day, &candidates);
	if (rc == 1) {
		number_list_sort(&candidates);
		(void)read_candidates(q, day, &candidates);
	} else if (rc == 0) {
		(void)scan_day(q, day);
	}
	q->below = below;
	number_list_clear(&candidates);
}

/* ---- oldest first ---- */

static void
follow_day(struct query *q, const struct log_run *run)
{
	struct log_day *day;
	struct log_place place;
	struct record record;
	int rc;

	if (run->to <= q->after ||
	    (day = log_view_day(q->view, run->day)) == NULL ||
	    fill_sets(q, day) == -1)
		return;
	if (run->from > q->after + 1)
		q->after = run->from - 1;
	while ((rc = log_index_place_from(
	            day->index, q->after + 1, &place, NULL)) == 1 &&
	    place.number <= run->to) {
		if (log_day_seek(day, &place, NULL) == -1)
			break;
		while (log_day_next(day, &record, NULL) == 1) {
			struct log_event_view event;

			if (record.number <= q->after)
				continue;
			if (is_over(q))
				return;
			q->after = record.number;
			if (log_event_view(&record, &event) == 0 &&
			    log_filter_matches(&q->filter, q->sets, &event))
				take(q, &event, json_octets(&record));
		}
		/* A hole of records that cannot be read is stepped over. */
		if (q->after < place.number + place.count - 1)
			q->after = place.number + place.count - 1;
	}
	if (rc == -1)
		log_view_failed(q->view);
}

/* ---- requests ---- */

int
cursor_read(const json_t *value, uint64_t *number_r)
{
	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*number_r = (uint64_t)json_integer_value(value);
		return 0;
	}
	if (!json_is_string(value))
		return -1;
	return slice_to_u64((struct slice){json_string_value(value),
	                        json_string_length(value)},
	    number_r);
}

static int
query_init(struct query *q, struct log_view *view, const json_t *arguments,
    struct err *err)
{
	const json_t *limit = json_object_get(arguments, "limit");
	uint64_t count = LOG_QUERY_LIMIT;

	*q = (struct query){.view = view, .below = UINT64_MAX};
	if (limit != NULL && cursor_read(limit, &count) == -1)
		return err_set(err, "limit: a number is needed");
	q->limit = count == 0 || count > LOG_QUERY_LIMIT_MAX
	    ? LOG_QUERY_LIMIT_MAX
	    : (size_t)count;
	for (int i = 0; i < HEIR_COUNT; i++) {
		number_list_init(&q->sets[i], SET_MAX);
		number_list_init(&q->numbers[i], SET_MAX);
	}
	if (log_filter_read(
	        &q->filter, arguments, clock_wall_us(), err) == -1)
		return -1;
	q->events = json_array();
	return 0;
}

static json_t *
query_result(struct query *q, uint64_t next, bool has_next)
{
	json_t *result = json_object();
	char text[24];

	(void)json_object_set_new(result, "events", q->events);
	if (has_next) {
		(void)snprintf(text, sizeof(text), "%llu",
		    (unsigned long long)next);
		(void)json_object_set_new(result, "next", json_string(text));
	}
	/* From here on a follower asks by "after". */
	(void)json_object_set_new(result, "position",
	    json_integer((json_int_t)(q->below == UINT64_MAX && q->after == 0
	            ? q->view->status.indexed
	            : q->after)));
	log_view_tell(q->view, result);
	clear_sets(q);
	return result;
}

static json_t *
newest_first(struct query *q)
{
	int32_t first = day_of_us(q->filter.since_us);

	for (size_t i = q->view->run_count; i > 0 && !is_over(q); i--)
		/* None is received before it happened, but for a clock. */
		if (q->view->runs[i - 1].day >= first - 1)
			query_day(q, &q->view->runs[i - 1]);
	return query_result(
	    q, q->reached, q->reached > 0 && (is_full(q) || q->view->is_late));
}

/* The run that holds the record after `after`: none before it is opened. */
static size_t
first_run(struct query *q)
{
	size_t i = q->view->run_count;

	while (i > 0) {
		const struct log_run *run = &q->view->runs[--i];
		struct log_day *day;
		struct log_place place;

		if (run->from > q->after + 1)
			continue;
		if (run->from > 0)
			return i;
		day = log_view_day(q->view, run->day);
		if (day != NULL &&
		    log_index_place_from(day->index, 0, &place, NULL) == 1 &&
		    place.number <= q->after + 1)
			return i;
	}
	return 0;
}

static json_t *
oldest_first(struct query *q)
{
	for (size_t i = first_run(q);
	     i < q->view->run_count && !is_over(q); i++)
		follow_day(q, &q->view->runs[i]);
	return query_result(q, q->after, true);
}

int
log_query(struct log_view *view, const json_t *arguments, json_t **result_r,
    struct err *err)
{
	const json_t *after = json_object_get(arguments, "after");
	const json_t *cursor = json_object_get(arguments, "cursor");
	struct query q;

	if (after == NULL)
		after = json_object_get(arguments, "follow_from");
	if (query_init(&q, view, arguments, err) == -1)
		return 2;
	if (json_is_integer(after) && json_integer_value(after) == -1) {
		q.after = view->status.written.number;
		*result_r = query_result(&q, q.after, true);
		return 0;
	}
	if (after != NULL && !json_is_null(after)) {
		if (cursor_read(after, &q.after) == -1) {
			json_decref(q.events);
			(void)err_set(err, "after: a number is needed");
			return 2;
		}
		*result_r = oldest_first(&q);
		return 0;
	}
	if (cursor != NULL && !json_is_null(cursor) &&
	    cursor_read(cursor, &q.below) == -1) {
		json_decref(q.events);
		(void)err_set(err, "cursor: no cursor of an answer");
		return 2;
	}
	*result_r = newest_first(&q);
	return 0;
}

int
log_export(struct log_view *view, const json_t *arguments, json_t **result_r,
    struct err *err)
{
	const json_t *cursor = json_object_get(arguments, "cursor");
	struct query q;
	json_t *result;

	if (query_init(&q, view, arguments, err) == -1)
		return 2;
	q.limit = LOG_QUERY_LIMIT_MAX;
	q.filter.level = EVENT_DEBUG; /* all that is kept */
	if (cursor != NULL && !json_is_null(cursor) &&
	    cursor_read(cursor, &q.after) == -1) {
		json_decref(q.events);
		(void)err_set(err, "cursor: no cursor of an answer");
		return 2;
	}
	result = oldest_first(&q);
	/* An export has an end: the last record when it was asked. */
	if (!view->is_late && q.after >= view->status.indexed)
		(void)json_object_del(result, "next");
	*result_r = result;
	return 0;
}
