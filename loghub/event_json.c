/* SPDX-License-Identifier: ISC */
/*
 * Events as JSON, and times as text.
 * Runs in: postern-loghub, the query threads.  Trusts: events keep their
 * rows (they were checked when they came, and when they were read).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/settings.h"
#include "common/vocabulary.h"
#include "loghub/event_json.h"

static const char *const listener_names[LISTENER_NONE + 1] = {
	[LISTENER_SMTP] = "smtp",
	[LISTENER_SUBMISSION] = "submission",
	[LISTENER_SUBMISSIONS] = "submissions",
	[LISTENER_NONE] = "gateway",
};

void
time_text(uint64_t time_us, char text_r[TIME_TEXT_SIZE])
{
	/* Year 9999: what is later is no time. */
	const uint64_t end_us = (uint64_t)253402300799u * 1000000;
	struct tm tm = {0};
	char text[64];
	time_t seconds;

	if (time_us > end_us)
		time_us = end_us;
	seconds = (time_t)(time_us / 1000000);
	(void)gmtime_r(&seconds, &tm);
	(void)snprintf(text, sizeof(text),
	    "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	    (unsigned)(time_us % 1000000));
	(void)slice_copy(slice_of(text), text_r, TIME_TEXT_SIZE);
}

/* Two or more digits at a place, as in a fixed form. */
static int
digits(struct slice text, size_t at, size_t n, int *value_r)
{
	uint64_t value;

	if (text.n < at + n ||
	    slice_to_u64((struct slice){text.p + at, n}, &value) == -1)
		return -1;
	*value_r = (int)value;
	return 0;
}

/* "2026-01-31", "2026-01-31T12:30", "...:59", "...:59.5Z"; UTC. */
static int
parse_date(struct slice text, uint64_t *time_us_r)
{
	int32_t day;
	int hour = 0;
	int minute = 0;
	int second = 0;

	if (text.n > 10 && text.p[text.n - 1] == 'Z')
		text.n--;
	if (text.n < 10 ||
	    day_parse((struct slice){text.p, 10}, &day) == -1)
		return -1;
	if (text.n > 10 &&
	    ((text.p[10] != 'T' && text.p[10] != ' ') || text.n < 16 ||
	        text.p[13] != ':' || digits(text, 11, 2, &hour) == -1 ||
	        digits(text, 14, 2, &minute) == -1))
		return -1;
	if (text.n > 16 &&
	    (text.p[16] != ':' || digits(text, 17, 2, &second) == -1 ||
	        (text.n > 19 && text.p[19] != '.')))
		return -1;
	if (hour > 23 || minute > 59 || second > 60)
		return -1;
	*time_us_r = ((uint64_t)day * 86400 + (uint64_t)hour * 3600 +
	                 (uint64_t)minute * 60 + (uint64_t)second) *
	    1000000;
	return 0;
}

int
time_parse(struct slice text, uint64_t now_us, uint64_t *time_us_r)
{
	/* Year 9999 in seconds. */
	const uint64_t most_s = 253402300799u;
	uint64_t seconds;

	text = slice_trim(text);
	if (slice_equals_nocase(text, SLICE("now"))) {
		*time_us_r = now_us;
		return 0;
	}
	if (slice_to_u64(text, &seconds) == 0) {
		*time_us_r = (seconds > most_s ? most_s : seconds) * 1000000;
		return 0;
	}
	if (parse_date(text, time_us_r) == 0)
		return 0;
	/* "-2h", and "2h" as the options of the command line have it. */
	if (text.n > 1 && text.p[0] == '-')
		text = (struct slice){text.p + 1, text.n - 1};
	if (setting_seconds(text, &seconds) == -1)
		return -1;
	*time_us_r = seconds > now_us / 1000000
	    ? 0
	    : now_us - seconds * 1000000;
	return 0;
}

json_t *
json_text(struct slice text)
{
	json_t *json = json_stringn(text.p == NULL ? "" : text.p, text.n);

	return json != NULL ? json : json_string("");
}

json_t *
json_id(uint64_t id)
{
	char text[ID_TEXT_SIZE];

	id_format(id, text);
	return json_string(text);
}

/* Numbers that a reader knows by a word, an id or a date. */
static json_t *
special_number(const char *name, uint64_t value)
{
	char text[TIME_TEXT_SIZE];

	if (strcmp(name, "listener") == 0)
		return json_string(value <= LISTENER_NONE
		        ? listener_names[value]
		        : "unknown");
	if (strcmp(name, "dsn_message_id") == 0)
		return value == 0 ? json_null() : json_id(value);
	if (strcmp(name, "boot_id") == 0) {
		(void)snprintf(text, sizeof(text), "%016llx",
		    (unsigned long long)value);
		return json_string(text);
	}
	if (strcmp(name, "next_attempt") == 0) {
		/* Seconds since 1970. */
		if ((int64_t)value <= 0)
			return json_null();
		time_text(value * 1000000, text);
		return json_string(text);
	}
	return NULL;
}

static json_t *
field_json(const struct ipc_field *field, const void *fields)
{
	const char *at = (const char *)fields + field->offset;
	struct slice text;
	uint64_t number = 0;
	uint32_t u32;
	uint16_t u16;
	bool flag;
	json_t *special;

	switch (field->kind) {
	case IPC_TEXT:
	case IPC_BYTES:
		memcpy(&text, at, sizeof(text));
		return json_text(text);
	case IPC_BOOL:
		memcpy(&flag, at, sizeof(flag));
		return json_boolean(flag);
	case IPC_U16:
		memcpy(&u16, at, sizeof(u16));
		number = u16;
		break;
	case IPC_U32:
		memcpy(&u32, at, sizeof(u32));
		number = u32;
		break;
	case IPC_U64:
	case IPC_I64:
		memcpy(&number, at, sizeof(number));
		break;
	case IPC_LIST:
		return json_null();
	}
	special = special_number(field->name, number);
	return special != NULL ? special : json_integer((json_int_t)number);
}

/*
 * "program" is who wrote, as the socket says.  A field of that name that says
 * anything else (the hub tells who lost events) is "writer".
 */
static const char *
json_name(const struct ipc_field *field)
{
	return strcmp(field->name, "program") == 0 ? "writer" : field->name;
}

static bool
is_left_out(const struct log_event_view *view, const struct ipc_field *field)
{
	struct slice text;

	if (strcmp(field->name, "program") != 0)
		return false;
	memcpy(&text, (const char *)&view->fields + field->offset,
	    sizeof(text));
	return slice_equals(text, slice_of(role_name(view->role)));
}

json_t *
event_json(const struct log_event_view *view)
{
	const struct ipc_shape *shape = &event_row(view->head.type)->shape;
	json_t *json = json_object();
	char text[TIME_TEXT_SIZE];

	time_text(view->head.time_us, text);
	(void)json_object_set_new(json, "ts", json_string(text));
	(void)json_object_set_new(
	    json, "time_us", json_integer((json_int_t)view->head.time_us));
	(void)json_object_set_new(
	    json, "program", json_string(role_name(view->role)));
	(void)json_object_set_new(json, "event", json_string(shape->name));
	if (view->head.message_id != 0)
		(void)json_object_set_new(
		    json, "id", json_id(view->head.message_id));
	if (view->head.session_id != 0)
		(void)json_object_set_new(
		    json, "session", json_id(view->head.session_id));
	(void)json_object_set_new(
	    json, "number", json_integer((json_int_t)view->number));
	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];

		if (!is_left_out(view, field))
			(void)json_object_set_new(json, json_name(field),
			    field_json(field, &view->fields));
	}
	return json;
}
