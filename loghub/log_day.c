/* SPDX-License-Identifier: ISC */
/*
 * Reads records of a day by their numbers.
 * Runs in: postern-loghub, the query and indexer threads.  Trusts: nothing of
 * what index and segments hold.
 */
#include <string.h>

#include "loghub/log_day.h"

int
log_day_open(struct log_day *day, const char *path, int dir_fd,
    int32_t number, struct err *err)
{
	*day = (struct log_day){0};
	if (log_index_open(path, number, true, &day->index, err) == -1)
		return -1;
	segment_reader_init(&day->reader, dir_fd);
	return 0;
}

void
log_day_close(struct log_day *day)
{
	if (day->index == NULL)
		return;
	log_index_close(day->index);
	segment_reader_clear(&day->reader);
	*day = (struct log_day){0};
}

int
log_day_seek(
    struct log_day *day, const struct log_place *place, struct err *err)
{
	const struct segment_name name = {
	    .number = place->segment, .day = day->index->day};

	day->place.count = 0;
	if (segment_reader_seek(&day->reader, &name, place->offset, err) == -1)
		return -1;
	day->place = *place;
	day->next = place->number;
	return 0;
}

int
log_day_next(struct log_day *day, struct record *record_r, struct err *err)
{
	if (day->next >= day->place.number + day->place.count)
		return 0;
	switch (segment_reader_next(
	    &day->reader, UINT64_MAX, record_r, err)) {
	case PARSE_OK:
		day->next++;
		return 1;
	case PARSE_MORE:
		return 0;
	case PARSE_BAD:
		break;
	}
	day->place.count = 0;
	return -1;
}

int
log_day_fetch(struct log_day *day, uint64_t number, struct record *record_r,
    struct err *err)
{
	bool is_ahead = day->place.count > 0 && number >= day->next &&
	    number < day->place.number + day->place.count;
	int rc;

	if (!is_ahead) {
		struct log_place place;

		rc = log_index_place_of(day->index, number, &place, err);
		if (rc != 1)
			return rc;
		if (number >= place.number + place.count)
			return 0;
		if (log_day_seek(day, &place, err) == -1)
			return -1;
	}
	while ((rc = log_day_next(day, record_r, err)) == 1)
		if (record_r->number == number)
			return 1;
	return rc;
}

int
log_event_view(const struct record *record, struct log_event_view *view_r)
{
	struct slice event;

	if (record_event(record, &view_r->life_number, &event) == -1 ||
	    event_read(event, &view_r->head, &view_r->fields, NULL) == -1)
		return -1;
	view_r->role = record->role;
	view_r->number = record->number;
	view_r->received_us = record->received_us;
	return 0;
}
