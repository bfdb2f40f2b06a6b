/* SPDX-License-Identifier: ISC */
/*
 * Structs and codec of the message table.  A frame is a header of 16 octets
 * (u32 length of the payload, u16 type, u16 flags, u64 request id; little
 * endian; the flags are the number of descriptors and one bit for an answer)
 * and the fields in the order of the table: numbers little endian, TEXT and
 * BYTES a u32 length and the octets, a list a u32 count, a u32 length and its
 * records.
 *
 * Decoded structs point into the frame: they are good until its handler
 * returns.
 */
#ifndef COMMON_IPC_H
#define COMMON_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ipc_messages.h"
#include "common/roles.h"

#define IPC_HEADER_SIZE 16

/* A frame may carry this many descriptors. */
#define IPC_FDS_MAX 4

/* The records of one list, still encoded; all of them were checked. */
struct ipc_list {
	const char *p;
	size_t n;
	uint32_t count;
};

#define IPC_MEMBER_BOOL bool
#define IPC_MEMBER_U16 uint16_t
#define IPC_MEMBER_U32 uint32_t
#define IPC_MEMBER_U64 uint64_t
#define IPC_MEMBER_I64 int64_t
#define IPC_MEMBER_TEXT struct slice
#define IPC_MEMBER_BYTES struct slice
#define IPC_MEMBER(kind, name, limit) IPC_MEMBER_##kind name;
#define IPC_LIST_MEMBER(record, name, limit) struct ipc_list name;

/* struct ipc_record_fact, ... */
#define IPC_RECORD_STRUCT(name, FIELDS) \
	struct ipc_record_##name { \
		FIELDS(IPC_MEMBER, IPC_LIST_MEMBER) \
	};
IPC_RECORDS(IPC_RECORD_STRUCT)
#undef IPC_RECORD_STRUCT

#define IPC_RECORD_ENUM(name, FIELDS) IPC_RECORD_KIND_##name,
enum ipc_record_kind { IPC_RECORDS(IPC_RECORD_ENUM) IPC_RECORD_KIND_COUNT };
#undef IPC_RECORD_ENUM

/* struct ipc_hello, ... */
#define IPC_MESSAGE_STRUCT(NAME, name, sender, receiver, fds, FIELDS) \
	struct ipc_##name { \
		FIELDS(IPC_MEMBER, IPC_LIST_MEMBER) \
	};
IPC_MESSAGES(IPC_MESSAGE_STRUCT)
#undef IPC_MESSAGE_STRUCT

/* MSG_HELLO, ... */
#define IPC_MESSAGE_ENUM(NAME, name, sender, receiver, fds, FIELDS) MSG_##NAME,
enum ipc_type { IPC_MESSAGES(IPC_MESSAGE_ENUM) MSG_COUNT };
#undef IPC_MESSAGE_ENUM

/* Room for any decoded message. */
#define IPC_MESSAGE_MEMBER(NAME, name, sender, receiver, fds, FIELDS) \
	struct ipc_##name name;
union ipc_message {
	IPC_MESSAGES(IPC_MESSAGE_MEMBER)
};
#undef IPC_MESSAGE_MEMBER

enum ipc_kind {
	IPC_BOOL,
	IPC_U16,
	IPC_U32,
	IPC_U64,
	IPC_I64,
	IPC_TEXT,
	IPC_BYTES,
	IPC_LIST
};

struct ipc_field {
	const char *name;
	enum ipc_kind kind;
	uint32_t limit;  /* octets, or records of a list */
	uint32_t offset; /* in the struct */
	enum ipc_record_kind record;
};

/* A row of fields: the shape of a message, a record or an event. */
struct ipc_shape {
	const char *name;
	const struct ipc_field *fields;
	uint32_t field_count;
	uint32_t struct_size;
};

struct ipc_row {
	struct ipc_shape shape;
	enum role sender;   /* ROLE_NONE: any */
	enum role receiver; /* ROLE_NONE: any */
	uint16_t fds;
};

/*
 * Rows of fields for a table of shapes.  offsetof() needs the struct's name,
 * which the field macros do not carry: STRUCTURE is to be a typedef of it
 * where they are expanded.
 */
#define IPC_FIELD_ROW(kind, name, limit) \
	{#name, IPC_##kind, limit, (uint32_t)offsetof(STRUCTURE, name), 0},
#define IPC_LIST_ROW(record, name, limit) \
	{#name, IPC_LIST, limit, (uint32_t)offsetof(STRUCTURE, name), \
	    IPC_RECORD_KIND_##record},

const struct ipc_row *ipc_row(enum ipc_type type);
const struct ipc_shape *ipc_record_shape(enum ipc_record_kind kind);

/* The most octets that a payload of that type may have. */
size_t ipc_max_size(enum ipc_type type);

/* Is it wiped from buffers (IPC_SECRETS)? */
bool ipc_is_secret(enum ipc_type type);

/* The most octets that a struct of that shape takes by its limits. */
size_t ipc_shape_max_size(const struct ipc_shape *shape);

/* The same for every build of the same table: compared by HELLO. */
uint64_t ipc_table_hash(void);

/*
 * Octets that the struct takes when encoded.  -1 when a field breaks its
 * limit or a TEXT holds what a TEXT may not: then err names it.
 */
int ipc_shape_size(const struct ipc_shape *shape, const void *structure,
    size_t *size_r, struct err *err);

/* Writes exactly that many octets, for a struct that ipc_shape_size passed. */
void ipc_shape_write(
    const struct ipc_shape *shape, const void *structure, char *out);

/*
 * The reverse.  -1 unless all of in is used and every limit holds, lists and
 * their records included; then *structure_r is not to be read.
 */
int ipc_shape_read(const struct ipc_shape *shape, struct slice in,
    void *structure_r, struct err *err);

/*
 * The same for what an older build wrote to disk: fields at the end of the
 * row may be missing and are then empty.
 */
int ipc_shape_read_older(const struct ipc_shape *shape, struct slice in,
    void *structure_r, struct err *err);

/* Collects the records of a list that is to be sent. */
struct ipc_list_writer {
	struct buf encoded;
	uint32_t count;
};

/* limit: octets of all records together. */
void ipc_list_writer_init(struct ipc_list_writer *writer, size_t limit);
void ipc_list_writer_clear(struct ipc_list_writer *writer);
struct ipc_list ipc_list_of(const struct ipc_list_writer *writer);

/* -1 when the record breaks a limit or the list is full. */
int ipc_list_add(struct ipc_list_writer *writer, enum ipc_record_kind kind,
    const void *record, struct err *err);

/* Takes the first record off the list; false at its end. */
bool ipc_list_next(
    struct ipc_list *list, enum ipc_record_kind kind, void *record_r);

/* Typed forms: ipc_fact_add(writer, record, err), ipc_fact_next(list, r). */
#define IPC_RECORD_FUNCTIONS(name, FIELDS) \
	static inline int ipc_##name##_add(struct ipc_list_writer *writer, \
	    const struct ipc_record_##name *record, struct err *err) \
	{ \
		return ipc_list_add( \
		    writer, IPC_RECORD_KIND_##name, record, err); \
	} \
	static inline bool ipc_##name##_next( \
	    struct ipc_list *list, struct ipc_record_##name *record_r) \
	{ \
		return ipc_list_next(list, IPC_RECORD_KIND_##name, record_r); \
	}
IPC_RECORDS(IPC_RECORD_FUNCTIONS)
#undef IPC_RECORD_FUNCTIONS

struct ipc_header {
	uint32_t length;
	uint16_t type;
	uint16_t fds;
	bool is_answer;
	uint64_t request_id;
};

void ipc_header_write(const struct ipc_header *header, char *out);
void ipc_header_read(const char *in, struct ipc_header *header_r);

/* Valid UTF-8 without control characters (tab is one, DEL too). */
bool ipc_is_text(struct slice s);

/* Numbers as they travel: the low size octets, little endian; size <= 8. */
void ipc_put_number(char *out, uint64_t value, size_t size);
uint64_t ipc_get_number(const char *in, size_t size);

#endif
