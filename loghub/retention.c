/* SPDX-License-Identifier: ISC */
/*
 * Deletes what is older than log.retention_days: says so in the log first, so
 * that verify knows whose doing it was, and deletes when that is durable.
 * Runs in: postern-loghub.  Trusts: as expiry.c.
 */
#include "loghub/expiry.h"
#include "loghub/hub.h"

#define CHECK_MS (3600 * 1000)

void
retention_tick(struct hub *hub)
{
	const struct settings *settings = daemon_settings(hub->daemon);
	uint64_t now_ms = clock_monotonic_ms();
	int32_t today = day_of_us(clock_wall_us());
	const struct segment_name *last;
	struct segment_list list;

	if (hub->is_verifying || hub->expire_number != 0 ||
	    (hub->expire_checked_ms != 0 &&
	        now_ms < hub->expire_checked_ms + CHECK_MS))
		return;
	hub->expire_checked_ms = now_ms;
	if (segment_list_read(hub->writer.dir_fd, &list, NULL) == -1)
		return;
	last = expiry_last(
	    &list, (unsigned)settings->log_retention_days, today);
	if (last != NULL) {
		char day[DAY_TEXT_SIZE];
		struct event_log_expired expired = {.segment = last->number};

		day_format(last->day, day);
		expired.day = slice_of(day);
		if (store_expired(hub, &expired) == 0) {
			hub->expire_segment = last->number;
			hub->expire_number = hub->writer.number;
		}
	}
	segment_list_clear(&list);
}
