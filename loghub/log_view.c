/* SPDX-License-Identifier: ISC */
/*
 * Days opened for one question.
 * Runs in: postern-loghub, the query threads.  Trusts: nothing on disk.
 */
#include <stdlib.h>

#include "common/loop.h"
#include "loghub/log_view.h"

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
	return log_index_days(path, &view->days, &view->day_count, err);
}

void
log_view_close(struct log_view *view)
{
	for (size_t i = 0; i < LOG_VIEW_OPEN_DAYS; i++)
		log_day_close(&view->open[i]);
	free(view->days);
	view->days = NULL;
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
