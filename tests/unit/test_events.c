/* SPDX-License-Identifier: ISC */
/*
 * Events: every row carries every text, whatever it holds, and reads back;
 * datagrams hold what they say.
 */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "tests/unit/tap.h"

/* More than any field may hold. */
#define LONG 20000

/* Fills each field of a row with the same text or an extreme number. */
static void
fill(const struct ipc_shape *shape, union event_fields *fields,
    struct slice text)
{
	memset(fields, 0, sizeof(*fields));
	for (uint32_t i = 0; i < shape->field_count; i++) {
		char *member = (char *)fields + shape->fields[i].offset;

		if (shape->fields[i].kind == IPC_TEXT ||
		    shape->fields[i].kind == IPC_BYTES)
			memcpy(member, &text, sizeof(text));
		else if (shape->fields[i].kind == IPC_U64 ||
			 shape->fields[i].kind == IPC_I64)
			memset(member, 0xff, 8);
	}
}

static void
check_row(enum event_type type, struct slice text)
{
	const struct event_row *row = event_row(type);
	struct log_context context = {5, 6};
	union event_fields fields;
	union event_fields again;
	struct event_head head = {.type = EVENT_TYPE_COUNT};
	struct buf out;
	struct err err = {.text = ""};
	bool is_within = true;

	fill(&row->shape, &fields, text);
	buf_init(&out, EVENT_DATAGRAM_MAX - EVENT_DATAGRAM_HEAD - 4);
	is_int(log_encode(&out, context, 7, type, &fields), 0,
	    "%s fits a datagram", row->shape.name);
	is_int(event_read(buf_slice(&out), &head, &again, &err), 0,
	    "and reads back %s", err.text);
	ok(head.type == type && head.time_us == 7 && head.session_id == 5 &&
		head.message_id == 6,
	    "with its head");
	for (uint32_t i = 0; i < row->shape.field_count; i++) {
		const struct ipc_field *field = &row->shape.fields[i];
		struct slice s;

		if (field->kind != IPC_TEXT)
			continue;
		memcpy(&s, (char *)&again + field->offset, sizeof(s));
		is_within = is_within && s.n <= field->limit && ipc_is_text(s);
	}
	ok(is_within, "every text is text within its limit");
	buf_clear(&out);
}

static void
test_rows(void)
{
	static char octets[LONG];
	static char umlauts[LONG];

	for (size_t i = 0; i < LONG; i++) {
		octets[i] = (char)(i * 7);
		umlauts[i] = i % 2 == 0 ? (char)0xc3 : (char)0xa4;
	}
	for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
		enum event_type type = (enum event_type)i;
		const struct event_row *row = event_row(type);

		check_row(type, (struct slice){NULL, 0});
		check_row(type, SLICE("plain"));
		check_row(type, (struct slice){octets, LONG});
		check_row(type, (struct slice){umlauts, LONG});
		check_row(type, (struct slice){umlauts + 1, LONG - 1});
		is_int(event_by_name(slice_of(row->shape.name)), type,
		    "%s is found by its name", row->shape.name);
		ok(row->meaning[0] != '\0' &&
			event_class_name(row->class) != NULL &&
			event_level_name(row->level) != NULL,
		    "%s says what it means", row->shape.name);
	}
	is_int(event_by_name(SLICE("nothing")), EVENT_TYPE_COUNT,
	    "a name that is none has no row");
	OK_DIES(event_row(EVENT_TYPE_COUNT), "a type that is none is a bug");
}

static void
test_texts(void)
{
	static const struct {
		const char *label;
		const char *given;
		const char *want;
	} rows[] = {
	    {"plain text stays", "550 no such user", "550 no such user"},
	    {"UTF-8 stays", "B\xc3\xbc\x63her", "B\xc3\xbc\x63her"},
	    {"a line break does not forge a line", "a\r\nb",
		"a\\x0d\\x0a"
		"b"},
	    {"an escape moves no cursor", "\x1b[2J", "\\x1b[2J"},
	    {"bad UTF-8 is shown", "a\xff", "a\\xff"},
	    {"a bidi override turns nothing", "a\xe2\x80\xae", "a\\u{202e}"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event_program_notice notice = {
		    .program = SLICE("test"), .text = slice_of(rows[i].given)};
		struct event_head head;
		union event_fields again;
		struct buf out;

		buf_init(&out, 4096);
		(void)log_encode(&out, (struct log_context){0}, 0,
		    EV_PROGRAM_NOTICE, &notice);
		if (event_read(buf_slice(&out), &head, &again, NULL) == 0)
			is_slice(again.program_notice.text, rows[i].want, "%s",
			    rows[i].label);
		else
			fail("%s", rows[i].label);
		buf_clear(&out);
	}
}

static void
test_full_buffer(void)
{
	struct event_program_stopped stopped = {.program = SLICE("test")};
	struct buf out;

	buf_init(&out, EVENT_HEAD_SIZE + 4 + 3);
	is_int(log_encode(&out, (struct log_context){0}, 0, EV_PROGRAM_STOPPED,
		   &stopped),
	    -1, "an event that does not fit is refused");
	is_u64(out.n, 0, "and leaves nothing behind");
	buf_clear(&out);
}

static void
test_bad_events(void)
{
	struct event_log_lost lost = {
	    .program = SLICE("test"), .count = 3, .reason = SLICE("full")};
	union event_fields fields;
	struct event_head head;
	struct buf out;
	struct slice whole;
	struct err err;
	unsigned read = 0;

	buf_init(&out, 4096);
	(void)log_encode(&out, (struct log_context){0}, 0, EV_LOG_LOST, &lost);
	whole = buf_slice(&out);
	for (size_t n = 0; n < whole.n; n++)
		if (event_read(
			(struct slice){whole.p, n}, &head, &fields, &err) == 0)
			read++;
	is_int(read, 3, "cut at a field it is an older build's, else nothing");
	is_int(event_read(
		   (struct slice){whole.p, whole.n - 8}, &head, &fields, &err),
	    0, "an older build had no last field");
	is_slice(fields.log_lost.reason, "", "it is empty then");
	is_u64(fields.log_lost.count, 3, "the others are there");
	(void)buf_add_char(&out, 'x');
	is_int(event_read(buf_slice(&out), &head, &fields, &err), -1,
	    "octets too many are refused");
	out.n--;
	ipc_put_number(out.p, EVENT_TYPE_COUNT, 2);
	is_int(event_read(buf_slice(&out), &head, &fields, &err), -1,
	    "a type that is none is refused");
	buf_clear(&out);
}

static void
test_datagrams(void)
{
	struct event_datagram datagram;
	struct slice event;
	struct err err;
	char octets[EVENT_DATAGRAM_HEAD + 12] = {0};
	struct slice all = {octets, sizeof(octets)};
	static char huge[EVENT_DATAGRAM_MAX + 1];

	event_datagram_write_head(1, 2, 2, octets);
	ipc_put_number(octets + EVENT_DATAGRAM_HEAD, 3, 4);
	memcpy(octets + EVENT_DATAGRAM_HEAD + 4, "abc", 3);
	ipc_put_number(octets + EVENT_DATAGRAM_HEAD + 7, 1, 4);
	octets[EVENT_DATAGRAM_HEAD + 11] = 'd';
	is_int(event_datagram_read(all, &datagram, &err), 0, "a datagram");
	is_u64(datagram.boot_id, 1, "its boot id");
	is_u64(datagram.sequence, 2, "its first number");
	ok(event_datagram_next(&datagram, &event), "its first event");
	is_slice(event, "abc", "is what it is");
	is_u64(datagram.sequence, 3, "the next number");
	ok(event_datagram_next(&datagram, &event), "its second event");
	is_slice(event, "d", "too");
	ok(!event_datagram_next(&datagram, &event), "then the end");
	for (size_t n = 0; n < all.n; n++)
		if (event_datagram_read(
			(struct slice){octets, n}, &datagram, &err) == 0)
			fail("cut at %zu it is read", n);
	pass("cut anywhere it is refused");
	event_datagram_write_head(1, 2, 1, octets);
	is_int(event_datagram_read(all, &datagram, &err), -1,
	    "more than its count is refused");
	event_datagram_write_head(1, 2, 3, octets);
	is_int(event_datagram_read(all, &datagram, &err), -1,
	    "less than its count is refused");
	event_datagram_write_head(1, 2, 2, octets);
	ipc_put_number(octets + EVENT_DATAGRAM_HEAD, UINT32_MAX, 4);
	is_int(event_datagram_read(all, &datagram, &err), -1,
	    "an event of 4 GiB is refused");
	is_int(event_datagram_read(
		   (struct slice){huge, sizeof(huge)}, &datagram, &err),
	    -1, "one too long is refused");
}

int
main(void)
{
	test_rows();
	test_texts();
	test_full_buffer();
	test_bad_events();
	test_datagrams();
	return tap_done();
}
