/* SPDX-License-Identifier: ISC */
/*
 * The rows of the event table, and the reader of events and datagrams.
 * Runs in: every program.  Trusts: nothing of what it reads.
 */
#include <stddef.h>

#include "common/events.h"

#define ROW(SUFFIX, name, text, class, level, FIELDS, meaning)         \
	static const struct event_row *row_##name(void)                \
	{                                                              \
		typedef struct event_##name STRUCTURE;                 \
		static const struct ipc_field fields[] = {             \
		    FIELDS(IPC_FIELD_ROW, IPC_LIST_ROW)};              \
		static const struct event_row row = {                  \
		    {text, fields, sizeof(fields) / sizeof(fields[0]), \
			sizeof(STRUCTURE)},                            \
		    EVENT_##class, EVENT_##level, meaning};            \
		return &row;                                           \
	}
EVENTS(ROW)
#undef ROW

const struct event_row *
event_row(enum event_type type)
{
#define ENTRY(SUFFIX, name, text, class, level, FIELDS, meaning) \
	[EV_##SUFFIX] = row_##name,
	static const struct event_row *(*const rows[])(void) = {EVENTS(ENTRY)};
#undef ENTRY

	if ((unsigned)type >= EVENT_TYPE_COUNT)
		bug("event type %d", (int)type);
	return rows[type]();
}

const char *event_class_name(enum event_class class)
{
	static const char *const names[] = {[EVENT_LIFE] = "life",
	    [EVENT_FLOW] = "flow",
	    [EVENT_STATE] = "state"};

	return names[class];
}

const char *
event_level_name(enum event_level level)
{
	static const char *const names[] = {[EVENT_DEBUG] = "debug",
	    [EVENT_INFO] = "info",
	    [EVENT_NOTICE] = "notice",
	    [EVENT_WARNING] = "warning"};

	return names[level];
}

enum event_type
event_by_name(struct slice name)
{
	for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
		enum event_type type = (enum event_type)i;

		if (slice_equals(name, slice_of(event_row(type)->shape.name)))
			return type;
	}
	return EVENT_TYPE_COUNT;
}

int
event_read(struct slice in, struct event_head *head_r,
    union event_fields *fields_r, struct err *err)
{
	struct event_head head;
	uint64_t type;

	if (in.n < EVENT_HEAD_SIZE)
		return err_set(err, "an event of %zu octets", in.n);
	if ((type = ipc_get_number(in.p, 2)) >= EVENT_TYPE_COUNT)
		return err_set(err, "event type %u", (unsigned)type);
	head.type = (enum event_type)type;
	head.time_us = ipc_get_number(in.p + 2, 8);
	head.session_id = ipc_get_number(in.p + 10, 8);
	head.message_id = ipc_get_number(in.p + 18, 8);
	in.p += EVENT_HEAD_SIZE;
	in.n -= EVENT_HEAD_SIZE;
	if (ipc_shape_read_older(
		&event_row(head.type)->shape, in, fields_r, err) == -1)
		return -1;
	*head_r = head;
	return 0;
}

/* ---- datagrams ---- */

void
event_datagram_write_head(uint64_t boot_id, uint64_t sequence, uint16_t count,
    char out[EVENT_DATAGRAM_HEAD])
{
	ipc_put_number(out, boot_id, 8);
	ipc_put_number(out + 8, sequence, 8);
	ipc_put_number(out + 16, count, 2);
}

bool
event_datagram_next(struct event_datagram *datagram, struct slice *event_r)
{
	struct slice *rest = &datagram->rest;
	size_t n;

	if (datagram->count == 0 || rest->n < 4 ||
	    (n = (size_t)ipc_get_number(rest->p, 4)) > rest->n - 4)
		return false;
	*event_r = (struct slice){rest->p + 4, n};
	rest->p += 4 + n;
	rest->n -= 4 + n;
	datagram->count--;
	datagram->sequence++;
	return true;
}

int
event_datagram_read(
    struct slice in, struct event_datagram *datagram_r, struct err *err)
{
	struct event_datagram datagram;
	struct event_datagram walk;
	struct slice event;

	if (in.n < EVENT_DATAGRAM_HEAD || in.n > EVENT_DATAGRAM_MAX)
		return err_set(err, "a datagram of %zu octets", in.n);
	datagram.boot_id = ipc_get_number(in.p, 8);
	datagram.sequence = ipc_get_number(in.p + 8, 8);
	datagram.count = (uint16_t)ipc_get_number(in.p + 16, 2);
	datagram.rest = (struct slice){
	    in.p + EVENT_DATAGRAM_HEAD, in.n - EVENT_DATAGRAM_HEAD};
	walk = datagram;
	while (event_datagram_next(&walk, &event))
		;
	if (walk.count != 0 || walk.rest.n != 0)
		return err_set(err, "a datagram does not hold its %u events",
		    datagram.count);
	*datagram_r = datagram;
	return 0;
}
