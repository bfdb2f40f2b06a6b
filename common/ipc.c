/* SPDX-License-Identifier: ISC */
/*
 * The codec of the message table: one writer, one reader, driven by rows.
 * Runs in: every program.  Trusts: nothing of what it reads.
 */
#include <string.h>

#include "common/ipc.h"
#include "common/utf8.h"

/*
 * Each row of fields stands in a function of its own, so that STRUCTURE can
 * name another struct in each.
 */
#define RECORD_SHAPE(name, FIELDS)                                          \
	static const struct ipc_shape *record_shape_##name(void)            \
	{                                                                   \
		typedef struct ipc_record_##name STRUCTURE;                 \
		static const struct ipc_field fields[] = {                  \
		    FIELDS(IPC_FIELD_ROW, IPC_LIST_ROW)};                   \
		static const struct ipc_shape shape = {#name, fields,       \
		    sizeof(fields) / sizeof(fields[0]), sizeof(STRUCTURE)}; \
		return &shape;                                              \
	}
IPC_RECORDS(RECORD_SHAPE)

#define MESSAGE_ROW(NAME, name, from, to, n, FIELDS)                    \
	static const struct ipc_row *row_##name(void)                   \
	{                                                               \
		typedef struct ipc_##name STRUCTURE;                    \
		static const struct ipc_field fields[] = {              \
		    FIELDS(IPC_FIELD_ROW, IPC_LIST_ROW)};               \
		static const struct ipc_row row = {                     \
		    {#NAME, fields, sizeof(fields) / sizeof(fields[0]), \
			sizeof(STRUCTURE)},                             \
		    ROLE_##from, ROLE_##to, n};                         \
		return &row;                                            \
	}
#define ROLE_ANY ROLE_NONE
IPC_MESSAGES(MESSAGE_ROW)

const struct ipc_shape *
ipc_record_shape(enum ipc_record_kind kind)
{
#define RECORD_ENTRY(name, FIELDS) \
	[IPC_RECORD_KIND_##name] = record_shape_##name,
	static const struct ipc_shape *(*const shapes[])(void) = {
	    IPC_RECORDS(RECORD_ENTRY)};
#undef RECORD_ENTRY

	if ((unsigned)kind >= IPC_RECORD_KIND_COUNT)
		bug("record kind %d", (int)kind);
	return shapes[kind]();
}

const struct ipc_row *
ipc_row(enum ipc_type type)
{
#define MESSAGE_ENTRY(NAME, name, from, to, n, FIELDS) \
	[MSG_##NAME] = row_##name,
	static const struct ipc_row *(*const rows[])(void) = {
	    IPC_MESSAGES(MESSAGE_ENTRY)};
#undef MESSAGE_ENTRY

	if ((unsigned)type >= MSG_COUNT)
		bug("message type %d", (int)type);
	return rows[type]();
}

/* Octets of a number on the wire; 0 for kinds with a length of their own. */
static size_t
number_size(enum ipc_kind kind)
{
	static const uint8_t sizes[] = {[IPC_BOOL] = 1,
	    [IPC_U16] = 2,
	    [IPC_U32] = 4,
	    [IPC_U64] = 8,
	    [IPC_I64] = 8,
	    [IPC_LIST] = 0};

	return sizes[kind];
}

size_t
ipc_shape_max_size(const struct ipc_shape *shape)
{
	size_t size = 0;

	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];

		if (field->kind == IPC_LIST)
			size += 8 + (size_t)field->limit *
					ipc_shape_max_size(
					    ipc_record_shape(field->record));
		else if (number_size(field->kind) != 0)
			size += number_size(field->kind);
		else
			size += 4 + (size_t)field->limit;
	}
	return size;
}

/*
 * A list's limit counts records; a frame of only the longest records is no
 * real frame, so its octets end here.
 */
#define IPC_FRAME_MAX (16u * 1024 * 1024)

size_t
ipc_max_size(enum ipc_type type)
{
	size_t size = ipc_shape_max_size(&ipc_row(type)->shape);

	return size < IPC_FRAME_MAX ? size : IPC_FRAME_MAX;
}

bool
ipc_is_secret(enum ipc_type type)
{
#define IS_SECRET(NAME) [MSG_##NAME] = true,
	static const bool secrets[MSG_COUNT] = {IPC_SECRETS(IS_SECRET)};
#undef IS_SECRET

	return (unsigned)type < MSG_COUNT && secrets[type];
}

static uint64_t
hash_octets(uint64_t hash, const void *p, size_t n)
{
	const unsigned char *at = p;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 0x100000001b3u; /* FNV-1a */
	return hash;
}

static uint64_t
hash_shape(uint64_t hash, const struct ipc_shape *shape)
{
	hash = hash_octets(hash, shape->name, strlen(shape->name) + 1);
	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];
		uint32_t numbers[] = {(uint32_t)field->kind, field->limit,
		    (uint32_t)field->record};

		hash = hash_octets(hash, field->name, strlen(field->name) + 1);
		hash = hash_octets(hash, numbers, sizeof(numbers));
	}
	return hash;
}

uint64_t
ipc_table_hash(void)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (int i = 0; i < IPC_RECORD_KIND_COUNT; i++)
		hash =
		    hash_shape(hash, ipc_record_shape((enum ipc_record_kind)i));
	for (int i = 0; i < MSG_COUNT; i++) {
		const struct ipc_row *row = ipc_row((enum ipc_type)i);

		hash = hash_shape(hash, &row->shape);
		hash = hash_octets(hash, &row->fds, sizeof(row->fds));
	}
	return hash;
}

/* ---- text ---- */

bool
ipc_is_text(struct slice s)
{
	while (s.n > 0) {
		unsigned char c = (unsigned char)s.p[0];
		uint32_t code = 0;
		size_t length = 1;

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c >= 0x80 && ((length = utf8_decode(s, &code)) == 0 ||
				     utf8_is_control(code)))
			return false;
		s.p += length;
		s.n -= length;
	}
	return true;
}

/* ---- numbers ---- */

void
ipc_put_number(char *out, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (char)(value >> (8 * i) & 0xff);
}

uint64_t
ipc_get_number(const char *in, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)(unsigned char)in[i] << (8 * i);
	return value;
}

static uint64_t
load_number(enum ipc_kind kind, const char *member)
{
	uint64_t value = 0;

	if (kind == IPC_BOOL)
		return *(const bool *)(const void *)member ? 1 : 0;
	/* The members have the wire's sizes. */
	memcpy(&value, member, number_size(kind));
	if (kind == IPC_U16) {
		uint16_t narrow;
		memcpy(&narrow, member, sizeof(narrow));
		value = narrow;
	} else if (kind == IPC_U32) {
		uint32_t narrow;
		memcpy(&narrow, member, sizeof(narrow));
		value = narrow;
	}
	return value;
}

static int
store_number(enum ipc_kind kind, uint64_t value, char *member)
{
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;
	bool truth = value == 1;

	switch (kind) {
	case IPC_BOOL:
		memcpy(member, &truth, sizeof(truth));
		return value <= 1 ? 0 : -1;
	case IPC_U16:
		memcpy(member, &u16, sizeof(u16));
		return 0;
	case IPC_U32:
		memcpy(member, &u32, sizeof(u32));
		return 0;
	default:
		memcpy(member, &value, sizeof(value));
		return 0;
	}
}

/* ---- writing ---- */

int
ipc_shape_size(const struct ipc_shape *shape, const void *structure,
    size_t *size_r, struct err *err)
{
	size_t size = 0;

	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];
		const char *member = (const char *)structure + field->offset;

		if (field->kind == IPC_LIST) {
			const struct ipc_list *list = (const void *)member;

			if (list->count > field->limit ||
			    list->n > IPC_FRAME_MAX)
				return err_set(err, "%s.%s: %u records of %u",
				    shape->name, field->name, list->count,
				    field->limit);
			size += 8 + list->n;
		} else if (number_size(field->kind) != 0) {
			size += number_size(field->kind);
		} else {
			const struct slice *s = (const void *)member;

			if (s->n > field->limit)
				return err_set(err, "%s.%s: %zu octets of %u",
				    shape->name, field->name, s->n,
				    field->limit);
			if (field->kind == IPC_TEXT && !ipc_is_text(*s))
				return err_set(err, "%s.%s: not plain text",
				    shape->name, field->name);
			size += 4 + s->n;
		}
	}
	if (size > IPC_FRAME_MAX)
		return err_set(err, "%s: %zu octets", shape->name, size);
	*size_r = size;
	return 0;
}

void
ipc_shape_write(const struct ipc_shape *shape, const void *structure, char *out)
{
	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];
		const char *member = (const char *)structure + field->offset;
		size_t number = number_size(field->kind);

		if (number != 0) {
			ipc_put_number(
			    out, load_number(field->kind, member), number);
			out += number;
		} else if (field->kind == IPC_LIST) {
			const struct ipc_list *list = (const void *)member;

			ipc_put_number(out, list->count, 4);
			ipc_put_number(out + 4, list->n, 4);
			if (list->n > 0)
				memcpy(out + 8, list->p, list->n);
			out += 8 + list->n;
		} else {
			const struct slice *s = (const void *)member;

			ipc_put_number(out, s->n, 4);
			if (s->n > 0)
				memcpy(out + 4, s->p, s->n);
			out += 4 + s->n;
		}
	}
}

/* ---- reading ---- */

/* Takes n octets off the front; NULL when there are not so many. */
static const char *
take(struct slice *in, size_t n)
{
	const char *p = in->p;

	if (in->n < n)
		return NULL;
	in->p += n;
	in->n -= n;
	return p;
}

/* A record holds no lists, so reading one never goes deeper than this. */
static int
read_plain_field(const struct ipc_field *field, struct slice *in, char *member)
{
	size_t number = number_size(field->kind);
	const char *p;
	struct slice s;

	if (number != 0) {
		if ((p = take(in, number)) == NULL)
			return -1;
		return store_number(
		    field->kind, ipc_get_number(p, number), member);
	}
	if ((p = take(in, 4)) == NULL)
		return -1;
	s.n = (size_t)ipc_get_number(p, 4);
	if (s.n > field->limit || (s.p = take(in, s.n)) == NULL)
		return -1;
	if (field->kind == IPC_TEXT && !ipc_is_text(s))
		return -1;
	memcpy(member, &s, sizeof(s));
	return 0;
}

static int
read_record(const struct ipc_shape *shape, struct slice *in, char *record_r)
{
	for (uint32_t i = 0; i < shape->field_count; i++)
		if (read_plain_field(&shape->fields[i], in,
			record_r + shape->fields[i].offset) == -1)
			return -1;
	return 0;
}

/* Larger than every record's struct; checked where it is used. */
#define IPC_RECORD_STRUCT_MAX 256

static int
read_list(const struct ipc_field *field, struct slice *in, char *member)
{
	const struct ipc_shape *shape = ipc_record_shape(field->record);
	const char *p = take(in, 8);
	struct ipc_list list;
	struct slice rest;
	_Alignas(8) char record[IPC_RECORD_STRUCT_MAX];

	if (shape->struct_size > sizeof(record))
		bug("record %s has %u octets", shape->name, shape->struct_size);
	if (p == NULL)
		return -1;
	list.count = (uint32_t)ipc_get_number(p, 4);
	list.n = (size_t)ipc_get_number(p + 4, 4);
	if (list.count > field->limit || (list.p = take(in, list.n)) == NULL)
		return -1;
	rest = (struct slice){list.p, list.n};
	for (uint32_t i = 0; i < list.count; i++)
		if (read_record(shape, &rest, record) == -1)
			return -1;
	if (rest.n != 0)
		return -1;
	memcpy(member, &list, sizeof(list));
	return 0;
}

static size_t
member_size(enum ipc_kind kind)
{
	if (kind == IPC_BOOL)
		return sizeof(bool);
	if (kind == IPC_LIST)
		return sizeof(struct ipc_list);
	return number_size(kind) != 0 ? number_size(kind)
				      : sizeof(struct slice);
}

static int
read_shape(const struct ipc_shape *shape, struct slice in, bool may_be_older,
    void *structure_r, struct err *err)
{
	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];
		char *member = (char *)structure_r + field->offset;
		int rc;

		if (may_be_older && in.n == 0) {
			memset(member, 0, member_size(field->kind));
			continue;
		}
		rc = field->kind == IPC_LIST
			 ? read_list(field, &in, member)
			 : read_plain_field(field, &in, member);
		if (rc == -1)
			return err_set(err, "%s.%s breaks its row", shape->name,
			    field->name);
	}
	if (in.n != 0)
		return err_set(
		    err, "%s: %zu octets too many", shape->name, in.n);
	return 0;
}

int
ipc_shape_read(const struct ipc_shape *shape, struct slice in,
    void *structure_r, struct err *err)
{
	return read_shape(shape, in, false, structure_r, err);
}

int
ipc_shape_read_older(const struct ipc_shape *shape, struct slice in,
    void *structure_r, struct err *err)
{
	return read_shape(shape, in, true, structure_r, err);
}

/* ---- lists ---- */

void
ipc_list_writer_init(struct ipc_list_writer *writer, size_t limit)
{
	buf_init(&writer->encoded, limit);
	writer->count = 0;
}

void
ipc_list_writer_clear(struct ipc_list_writer *writer)
{
	buf_clear(&writer->encoded);
	writer->count = 0;
}

struct ipc_list
ipc_list_of(const struct ipc_list_writer *writer)
{
	return (struct ipc_list){
	    writer->encoded.p, writer->encoded.n, writer->count};
}

int
ipc_list_add(struct ipc_list_writer *writer, enum ipc_record_kind kind,
    const void *record, struct err *err)
{
	const struct ipc_shape *shape = ipc_record_shape(kind);
	size_t size;
	char *out;

	if (ipc_shape_size(shape, record, &size, err) == -1)
		return -1;
	if ((out = buf_reserve(&writer->encoded, size)) == NULL)
		return err_set(err, "a list of %s is full", shape->name);
	ipc_shape_write(shape, record, out);
	buf_extend(&writer->encoded, size);
	writer->count++;
	return 0;
}

bool
ipc_list_next(struct ipc_list *list, enum ipc_record_kind kind, void *record_r)
{
	struct slice rest = {list->p, list->n};

	if (list->count == 0)
		return false;
	if (read_record(ipc_record_shape(kind), &rest, record_r) == -1)
		bug("a list of %s was not checked",
		    ipc_record_shape(kind)->name);
	list->p = rest.p;
	list->n = rest.n;
	list->count--;
	return true;
}

/* ---- header ---- */

#define IPC_FLAG_ANSWER 0x8000

void
ipc_header_write(const struct ipc_header *header, char *out)
{
	ipc_put_number(out, header->length, 4);
	ipc_put_number(out + 4, header->type, 2);
	ipc_put_number(out + 6,
	    header->fds | (header->is_answer ? IPC_FLAG_ANSWER : 0u), 2);
	ipc_put_number(out + 8, header->request_id, 8);
}

void
ipc_header_read(const char *in, struct ipc_header *header_r)
{
	uint16_t flags;

	header_r->length = (uint32_t)ipc_get_number(in, 4);
	header_r->type = (uint16_t)ipc_get_number(in + 4, 2);
	flags = (uint16_t)ipc_get_number(in + 6, 2);
	header_r->fds = flags & (uint16_t)~IPC_FLAG_ANSWER;
	header_r->is_answer = (flags & IPC_FLAG_ANSWER) != 0;
	header_r->request_id = ipc_get_number(in + 8, 8);
}
