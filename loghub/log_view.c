/* SPDX-License-Identifier: ISC */
/*
 * Days opened for one question.
 * Runs in: postern-loghub, the query threads.  Trusts: nothing on disk.
 */
#include <stdlib.h>

#include "common/loop.h"
#include "loghub/log_view.h"

/* ---- runs ---- */

static void
add_run(struct log_view *view, int32_t day, uint64_t from)
{
	if (view->run_count > 0)
		view->runs[view->run_count - 1].to =
		    from > 0 ? from - 1 : UINT64_MAX;
	view->runs[view->run_count++] =
	    (struct log_run){.day = day, .from = from, .to = UINT64_MAX};
}

static bool
is_rising(const struct segment_list *list)
{
	for (size_t i = 1; i < list->count; i++)
		if (list->names[i].day < list->names[i - 1].day)
			return false;
	return true;
}

static int
first_number(struct log_view *view, const struct segment_name *name,
    uint64_t *number_r)
{
	struct segment_reader reader;
	struct record record;
	int rc = -1;

	segment_reader_init(&reader, view->dir_fd);
	if (segment_reader_seek(&reader, name, 0, NULL) == 0 &&
	    segment_reader_next(&reader, UINT64_MAX, &record, NULL) ==
	        PARSE_OK) {
		*number_r = record.number;
		rc = 0;
	}
	segment_reader_clear(&reader);
	return rc;
}

/* -1: a segment does not say where it begins. */
static int
mixed_runs(struct log_view *view, const struct segment_list *list)
{
	view->runs = xcalloc(list->count, sizeof(*view->runs));
	for (size_t i = 0; i < list->count; i++) {
		const struct segment_name *name = &list->names[i];
		uint64_t from;

		if (i > 0 && name->day == list->names[i - 1].day)
			continue;
		if (first_number(view, name, &from) == -1) {
			free(view->runs);
			view->run_count = 0;
			return -1;
		}
		add_run(view, name->day, from);
	}
	return 0;
}

static int
read_runs(struct log_view *view, struct err *err)
{
	struct segment_list list;

	if (segment_list_read(view->dir_fd, &list, err) == -1)
		return -1;
	view->is_mixed = !is_rising(&list);
	if (view->is_mixed && mixed_runs(view, &list) == -1) {
		view->is_mixed = false;
		view->is_damaged = true;
	}
	segment_list_clear(&list);
	if (view->is_mixed)
		return 0;
	view->runs = xcalloc(view->day_count, sizeof(*view->runs));
	for (size_t i = 0; i < view->day_count; i++)
		add_run(view, view->days[i], 0);
	return 0;
}

/* ---- days ---- */

int
log_view_open(struct log_view *view, const char *path, int dir_fd,
    struct indexer *indexer, struct err *err)
{
	*view = (struct log_view){
	    .path = path,
	    .dir_fd = dir_fd,
	    .deadline_ms = clock_monotonic_ms() + LOG_VIEW_DEADLINE_MS,
	};
	if (indexer != NULL)
		indexer_wait(indexer, LOG_VIEW_INDEX_WAIT_MS, &view->status);
	if (log_index_days(path, &view->days, &view->day_count, err) == -1)
		return -1;
	return read_runs(view, err);
}

void
log_view_close(struct log_view *view)
{
	for (size_t i = 0; i < LOG_VIEW_OPEN_DAYS; i++)
		log_day_close(&view->open[i]);
	free(view->days);
	free(view->runs);
	view->days = NULL;
	view->runs = NULL;
}

bool
log_view_is_late(struct log_view *view)
{
	if (clock_monotonic_ms() > view->deadline_ms)
		view->is_late = true;
	return view->is_late;
}

static bool
has_day(const struct log_view *view, int32_t day)
{
	for (size_t i = 0; i < view->day_count; i++)
		if (view->days[i] == day)
			return true;
	return false;
}

struct log_day *
log_view_day(struct log_view *view, int32_t day)
{
	struct log_day *place;

	for (size_t i = 0; i < LOG_VIEW_OPEN_DAYS; i++)
		if (view->open[i].index != NULL &&
		    view->open[i].index->day == day)
			return &view->open[i];
	if (!has_day(view, day))
		return NULL;
	place = &view->open[view->next_open++ % LOG_VIEW_OPEN_DAYS];
	log_day_close(place);
	if (log_day_open(place, view->path, view->dir_fd, day, NULL) == -1) {
		view->is_damaged = true;
		return NULL;
	}
	log_index_deadline(place->index, &view->deadline_ms);
	return place;
}

void
log_view_failed(struct log_view *view)
{
	if (!log_view_is_late(view))
		view->is_damaged = true;
}

void
log_view_tell(const struct log_view *view, json_t *result)
{
	const struct indexer_status *status = &view->status;

	if (view->is_late || view->is_damaged || view->is_cut)
		(void)json_object_set_new(result, "partial", json_true());
	if (view->is_damaged)
		(void)json_object_set_new(result, "warning",
		    json_string("a part of the log could not be read; see "
				"\"postern log verify\""));
	else if (view->is_cut)
		(void)json_object_set_new(result, "warning",
		    json_string("more events of a day may match than are "
				"looked at: some may be missing; narrow the "
				"search"));
	if (status->indexed >= status->written.number)
		return;
	(void)json_object_set_new(result, "behind",
	    json_integer(
	        (json_int_t)(status->written.number - status->indexed)));
	(void)json_object_set_new(result, "behind_seconds",
	    json_real((double)status->behind_us / 1e6));
}
