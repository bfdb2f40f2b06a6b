/* SPDX-License-Identifier: ISC */
/*
 * An event as JSON: {"ts", "time_us", "program", "event", "id", "session",
 * "number", ...fields}, names as in the event table.
 */
#ifndef LOGHUB_EVENT_JSON_H
#define LOGHUB_EVENT_JSON_H

#include <jansson.h>

#include "loghub/log_day.h"

/* RFC 3339, UTC, microseconds. */
#define TIME_TEXT_SIZE 32
void time_text(uint64_t time_us, char text_r[TIME_TEXT_SIZE]);

/* The reverse, also "2026-01-31", seconds since 1970, and "-2h". */
int time_parse(struct slice text, uint64_t now_us, uint64_t *time_us_r);

/* A new reference. */
json_t *event_json(const struct log_event_view *view);

/* A string of checked text; what is no UTF-8 becomes "". */
json_t *json_text(struct slice text);
json_t *json_id(uint64_t id);

#endif
