/* SPDX-License-Identifier: ISC */
/*
 * The codec: every row of the message table there and back, at its limits and
 * beyond them, and cut at every octet.
 */
#include <stdlib.h>
#include <string.h>

#include "common/ipc.h"
#include "tests/unit/tap.h"

/* Records that a list is filled with. */
#define RECORDS 3
#define LISTS_MAX 8

/* The writers of the lists of one message. */
struct lists {
	struct ipc_list_writer writers[LISTS_MAX];
	size_t used;
};

/* Text of that many octets for every field of a row. */
static char letters[IPC_JSON_MAX];

/* ---- filling ---- */

static void fill(const struct ipc_shape *shape, bool is_full, char *structure,
    struct lists *lists);

static struct ipc_list
fill_list(const struct ipc_field *field, bool is_full, struct lists *lists)
{
	struct ipc_list_writer *writer;
	_Alignas(8) char record[256];
	struct err err;

	if (lists == NULL || lists->used == LISTS_MAX)
		bug("a record with a list, or too many of them");
	writer = &lists->writers[lists->used++];
	ipc_list_writer_init(writer, 1u << 22);
	for (uint32_t i = 0; i < RECORDS && i < field->limit; i++) {
		fill(ipc_record_shape(field->record), is_full, record, NULL);
		if (ipc_list_add(writer, field->record, record, &err) == -1)
			bug("%s", err.text);
	}
	return ipc_list_of(writer);
}

/* Each field is at its limit, or empty and zero. */
static void
fill(const struct ipc_shape *shape, bool is_full, char *structure,
    struct lists *lists)
{
	/* Padding too, so that two structs compare by their octets. */
	memset(structure, 0, shape->struct_size);
	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];
		char *member = structure + field->offset;
		struct slice s = {letters, field->limit};
		struct ipc_list list;

		if (!is_full && field->kind != IPC_LIST)
			continue;
		switch (field->kind) {
		case IPC_BOOL:
			*(bool *)(void *)member = true;
			break;
		case IPC_U16:
			memset(member, 0xff, 2);
			break;
		case IPC_U32:
			memset(member, 0xfe, 4);
			break;
		case IPC_U64:
		case IPC_I64:
			memset(member, 0xfd, 8);
			break;
		case IPC_TEXT:
		case IPC_BYTES:
			if (s.n > 70000)
				s.n = 70000;
			memcpy(member, &s, sizeof(s));
			break;
		case IPC_LIST:
			list = fill_list(field, is_full, lists);
			memcpy(member, &list, sizeof(list));
			break;
		}
	}
}

static void
lists_clear(struct lists *lists)
{
	while (lists->used > 0)
		ipc_list_writer_clear(&lists->writers[--lists->used]);
}

/* ---- there and back ---- */

static void
check_round(const struct ipc_shape *shape, bool is_full)
{
	union ipc_message message;
	union ipc_message again;
	struct lists lists = {.used = 0};
	struct err err = {.text = ""};
	size_t size = 0;
	size_t second = 0;
	char *wire;
	char *copy;

	fill(shape, is_full, (char *)&message, &lists);
	is_int(ipc_shape_size(shape, &message, &size, &err), 0,
	    "%s (%s) is written %s", shape->name, is_full ? "full" : "empty",
	    err.text);
	wire = xmalloc(size);
	copy = xmalloc(size);
	ipc_shape_write(shape, &message, wire);
	is_int(ipc_shape_read(shape, (struct slice){wire, size}, &again, &err),
	    0, "and read %s", err.text);
	is_int(ipc_shape_size(shape, &again, &second, &err), 0, "and sized");
	if (second == size)
		ipc_shape_write(shape, &again, copy);
	is_mem(copy, second, wire, size, "and written the same again");
	free(copy);
	free(wire);
	lists_clear(&lists);
}

/* An own allocation for each length, so that ASan sees the octet too far. */
static void
check_cuts(const struct ipc_shape *shape)
{
	union ipc_message message;
	struct lists lists = {.used = 0};
	struct err err;
	size_t size = 0;
	unsigned taken = 0;
	char *wire;

	fill(shape, false, (char *)&message, &lists);
	(void)ipc_shape_size(shape, &message, &size, &err);
	wire = xmalloc(size + 1);
	ipc_shape_write(shape, &message, wire);
	wire[size] = 0;
	for (size_t n = 0; n <= size + 1; n++) {
		char *part = xmalloc(n);

		memcpy(part, wire, n);
		if (n != size && ipc_shape_read(shape, (struct slice){part, n},
				     &message, &err) == 0)
			taken++;
		free(part);
	}
	is_int(taken, 0, "%s: cut or longer it is refused", shape->name);
	free(wire);
	lists_clear(&lists);
}

static void
test_rows(void)
{
	for (int i = 0; i < MSG_COUNT; i++) {
		const struct ipc_row *row = ipc_row((enum ipc_type)i);

		check_round(&row->shape, false);
		check_round(&row->shape, true);
		check_cuts(&row->shape);
		ok(row->fds <= IPC_FDS_MAX, "its descriptors fit a frame");
		ok(ipc_max_size((enum ipc_type)i) > 0 ||
			row->shape.field_count == 0,
		    "it has a limit");
	}
	for (int i = 0; i < IPC_RECORD_KIND_COUNT; i++) {
		const struct ipc_shape *shape =
		    ipc_record_shape((enum ipc_record_kind)i);

		check_round(shape, true);
		ok(shape->struct_size <= 256, "%s is a small record",
		    shape->name);
	}
	OK_DIES(ipc_row(MSG_COUNT), "a type that is none is a bug");
	OK_DIES(ipc_record_shape(IPC_RECORD_KIND_COUNT),
	    "a record that is none is a bug");
	ok(ipc_table_hash() == ipc_table_hash() && ipc_table_hash() != 0,
	    "the table has its hash");
}

/* ---- limits ---- */

static void
test_limits(void)
{
	const struct ipc_shape *hello = &ipc_row(MSG_HELLO)->shape;
	const struct ipc_shape *status = &ipc_row(MSG_STATUS)->shape;
	struct ipc_hello message = {.role = {letters, 16}};
	struct ipc_status full = {.facts = {NULL, 0, 257}};
	struct ipc_list_writer writer;
	struct ipc_record_fact fact = {.name = SLICE("n")};
	struct err err;
	char wire[256];
	size_t size;

	is_int(ipc_shape_size(hello, &message, &size, &err), 0,
	    "a text at its limit");
	ipc_shape_write(hello, &message, wire);
	message.role.n++;
	is_int(ipc_shape_size(hello, &message, &size, &err), -1,
	    "one octet more is not written");
	is_str(err.text, "HELLO.role: 17 octets of 16", "and named");
	/* The same from a peer: the length is said, the octet is there. */
	ipc_put_number(wire + 8, 17, 4);
	is_int(ipc_shape_read(
		   hello, (struct slice){wire, 8 + 4 + 17 + 4}, &message, &err),
	    -1, "and not read");
	is_int(ipc_shape_size(status, &full, &size, &err), -1,
	    "a record more than the list's limit");
	is_str(err.text, "STATUS.facts: 257 records of 256", "is named");
	ipc_list_writer_init(&writer, 24);
	is_int(ipc_fact_add(&writer, &fact, &err), 0, "a list takes a record");
	is_int(ipc_fact_add(&writer, &fact, &err), 0, "and another");
	is_int(ipc_fact_add(&writer, &fact, &err), -1, "until it is full");
	is_u64(writer.count, 2, "and does not count what it refused");
	fact.name = (struct slice){letters, 65};
	is_int(ipc_fact_add(&writer, &fact, &err), -1,
	    "a record that breaks its row is refused");
	ipc_list_writer_clear(&writer);
}

static void
test_texts(void)
{
	static const struct {
		const char *label;
		const char *text;
		size_t n;
		bool want;
	} rows[] = {
	    {"nothing", "", 0, true},
	    {"ASCII", " ~", 2, true},
	    {"two octets", "\xc2\xa0", 2, true},
	    {"three octets", "\xe2\x82\xac", 3, true},
	    {"four octets", "\xf0\x9f\x98\x80", 4, true},
	    {"the last code point", "\xf4\x8f\xbf\xbf", 4, true},
	    {"a NUL", "a\0b", 3, false},
	    {"a tab", "\t", 1, false},
	    {"a line feed", "\n", 1, false},
	    {"an escape", "\x1b", 1, false},
	    {"DEL", "\x7f", 1, false},
	    {"C1", "\xc2\x85", 2, false},
	    {"overlong", "\xc0\xaf", 2, false},
	    {"overlong in three", "\xe0\x80\xaf", 3, false},
	    {"a surrogate", "\xed\xa0\x80", 3, false},
	    {"beyond Unicode", "\xf4\x90\x80\x80", 4, false},
	    {"a lone continuation", "\x80", 1, false},
	    {"cut short", "\xe2\x82", 2, false},
	    {"Latin-1", "\xe9t\xe9", 3, false},
	};
	const struct ipc_shape *bye = &ipc_row(MSG_BYE)->shape;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice s = {rows[i].text, rows[i].n};
		struct ipc_bye message = {.reason = s};
		struct err err;
		char wire[16];
		size_t size;

		is_int(ipc_is_text(s), rows[i].want, "%s", rows[i].label);
		is_int(ipc_shape_size(bye, &message, &size, &err),
		    rows[i].want ? 0 : -1, "written accordingly");
		ipc_put_number(wire, s.n, 4);
		if (s.n > 0)
			memcpy(wire + 4, s.p, s.n);
		is_int(ipc_shape_read(
			   bye, (struct slice){wire, 4 + s.n}, &message, &err),
		    rows[i].want ? 0 : -1, "and read accordingly");
	}
}

/* ---- what a peer may write into a list ---- */

static void
test_lists(void)
{
	const struct ipc_shape *shape = &ipc_row(MSG_ROUTE_TESTED)->shape;
	static const struct {
		const char *label;
		uint32_t count;
		uint32_t octets;
		int rc;
	} rows[] = {
	    {"one fact", 1, 10, 0}, {"two said, one there", 2, 10, -1},
	    {"none said, one there", 0, 10, -1},
	    {"octets beyond the frame", 1, 11, -1},
	    {"octets of 4 GiB", 1, UINT32_MAX, -1},
	    {"a count of 2^31", UINT32_C(1) << 31, 10, -1},
	    {"too few octets", 1, 9, -1},
	    {"none at all", 0, 0, -1}, /* the fact is then left over */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ipc_route_tested message;
		struct ipc_record_fact fact;
		char wire[22] = {0};
		struct err err;
		int rc;

		/* error "", then the list with name "n" and value "v". */
		ipc_put_number(wire + 4, rows[i].count, 4);
		ipc_put_number(wire + 8, rows[i].octets, 4);
		ipc_put_number(wire + 12, 1, 4);
		wire[16] = 'n';
		ipc_put_number(wire + 17, 1, 4);
		wire[21] = 'v';
		rc = ipc_shape_read(
		    shape, (struct slice){wire, sizeof(wire)}, &message, &err);
		is_int(rc, rows[i].rc, "%s", rows[i].label);
		if (rc == -1)
			continue;
		ok(ipc_fact_next(&message.facts, &fact), "the fact");
		is_slice(fact.value, "v", "its value");
		ok(!ipc_fact_next(&message.facts, &fact), "and no more");
	}
}

static void
test_older(void)
{
	const struct ipc_shape *hello = &ipc_row(MSG_HELLO)->shape;
	struct ipc_hello message = {.table_hash = 5, .role = SLICE("x")};
	char wire[8 + 4 + 1 + 4];
	struct err err;

	ipc_shape_write(hello, &message, wire);
	memset(&message, 0xff, sizeof(message));
	is_int(ipc_shape_read_older(
		   hello, (struct slice){wire, 13}, &message, &err),
	    0, "a shape without its last field is read as an older one");
	is_u64(message.version.n, 0, "the field is empty");
	is_int(ipc_shape_read_older(
		   hello, (struct slice){wire, 15}, &message, &err),
	    -1, "but not one that is cut inside a field");
}

static void
test_headers(void)
{
	static const struct ipc_header headers[] = {
	    {.length = 0, .type = 0, .fds = 0},
	    {.length = UINT32_MAX,
		.type = UINT16_MAX,
		.fds = 0x7fff,
		.is_answer = true,
		.request_id = UINT64_MAX},
	    {.length = 1, .type = 2, .fds = 3, .request_id = 4},
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		const struct ipc_header *in = &headers[i];
		struct ipc_header out;
		char wire[IPC_HEADER_SIZE];

		ipc_header_write(in, wire);
		ipc_header_read(wire, &out);
		ok(in->length == out.length && in->type == out.type &&
			in->fds == out.fds && in->is_answer == out.is_answer &&
			in->request_id == out.request_id,
		    "a header there and back (%zu)", i);
	}
}

int
main(void)
{
	memset(letters, 'x', sizeof(letters));
	test_rows();
	test_limits();
	test_texts();
	test_lists();
	test_older();
	test_headers();
	return tap_done();
}
