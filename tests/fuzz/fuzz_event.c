/* SPDX-License-Identifier: ISC */
/*
 * Datagrams and events as the hub reads them.  An event that is read must be
 * encoded again to one that reads the same; texts of any octets must encode.
 */
#include <string.h>

#include "common/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any event that was read is within its limits, so it fits a datagram. */
#define ENCODED_MAX (EVENT_DATAGRAM_MAX - EVENT_DATAGRAM_HEAD - 4)

static void
encode(struct buf *out, const struct event_head *head, const void *fields)
{
	struct log_context context = {head->session_id, head->message_id};

	buf_init(out, ENCODED_MAX);
	if (log_encode(out, context, head->time_us, head->type, fields) == -1)
		bug("an event of type %d does not fit", (int)head->type);
}

static void
check_event(struct slice event)
{
	union event_fields fields;
	struct event_head head;
	struct event_head again;
	struct buf first;
	struct buf second;
	struct err err;

	if (event_read(event, &head, &fields, &err) == -1)
		return;
	/* Texts that only deceive the eye are cleaned once, and then stay. */
	encode(&first, &head, &fields);
	if (event_read(buf_slice(&first), &again, &fields, &err) == -1)
		bug("an event does not read back: %s", err.text);
	if (again.type != head.type || again.time_us != head.time_us ||
	    again.session_id != head.session_id ||
	    again.message_id != head.message_id)
		bug("an event's head changed");
	encode(&second, &again, &fields);
	if (!slice_equals(buf_slice(&first), buf_slice(&second)))
		bug("an event is not encoded the same twice");
	buf_clear(&first);
	buf_clear(&second);
}

/* The octets as the text of every field. */
static void
check_texts(enum event_type type, struct slice text)
{
	const struct ipc_shape *shape = &event_row(type)->shape;
	struct event_head head = {.type = type};
	union event_fields fields;
	struct buf out;
	struct err err;

	memset(&fields, 0, sizeof(fields));
	for (uint32_t i = 0; i < shape->field_count; i++)
		if (shape->fields[i].kind == IPC_TEXT)
			memcpy((char *)&fields + shape->fields[i].offset, &text,
			    sizeof(text));
	encode(&out, &head, &fields);
	if (event_read(buf_slice(&out), &head, &fields, &err) == -1)
		bug("an event does not read back: %s", err.text);
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = {(const char *)data, size};
	struct event_datagram datagram;
	struct slice event;
	struct err err;

	if (event_datagram_read(in, &datagram, &err) == 0)
		while (event_datagram_next(&datagram, &event))
			check_event(event);
	check_event(in);
	if (size > 0 && data[0] < EVENT_TYPE_COUNT)
		check_texts((enum event_type)data[0],
		    (struct slice){in.p + 1, in.n - 1});
	return 0;
}
