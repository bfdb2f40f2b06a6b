/* SPDX-License-Identifier: ISC */
/*
 * Parts of the content of a key task, and their names.
 * Runs in: postern-signerd's broker and its `key` worker.  Trusts: neither
 * side the other's content: it is read by the checks of a message.
 */
#include <string.h>

#include "signer/key_task.h"

static const char *const op_names[KEY_OP_COUNT] = {
    [KEY_OP_GENERATE_DKIM] = "generate dkim",
    [KEY_OP_GENERATE_PGP] = "generate pgp",
    [KEY_OP_IMPORT] = "import",
    [KEY_OP_PARSE] = "parse",
    [KEY_OP_REQUEST] = "request",
    [KEY_OP_CA] = "ca",
    [KEY_OP_ISSUE] = "issue",
    [KEY_OP_HAND_OUT] = "hand out",
    [KEY_OP_MAKE_CRL] = "make crl",
    [KEY_OP_READ_CRL] = "read crl",
    [KEY_OP_FIND_POINTS] = "find points",
    [KEY_OP_EXPORT] = "export"};

#define STRUCTURE struct key_parts
static const struct ipc_field fields[] = {
    IPC_LIST_ROW(part, parts, KEY_PARTS_MAX)};
#undef STRUCTURE

static const struct ipc_shape shape = {.name = "key parts",
    .fields = fields,
    .field_count = 1,
    .struct_size = sizeof(struct key_parts)};

const char *
key_op_name(enum key_op op)
{
	return op_names[op];
}

enum key_op
key_op_by_name(struct slice name)
{
	unsigned op = 0;

	while (op < KEY_OP_COUNT && !slice_equals(name, slice_of(op_names[op])))
		op++;
	return (enum key_op)op;
}

int
key_parts_write(
    const struct ipc_list_writer *parts, struct buf *content, struct err *err)
{
	const struct key_parts all = {.parts = ipc_list_of(parts)};
	size_t size;
	char *room;

	if (ipc_shape_size(&shape, &all, &size, err) == -1)
		return -1;
	room = buf_reserve(content, size);
	if (room == NULL)
		return err_set(err, "a key task is too large");
	ipc_shape_write(&shape, &all, room);
	buf_extend(content, size);
	return 0;
}

int
key_parts_read(struct slice content, struct key_parts *parts_r, struct err *err)
{
	memset(parts_r, 0, sizeof(*parts_r));
	if (content.n == 0)
		return 0;
	return ipc_shape_read(&shape, content, parts_r, err);
}

struct slice
key_part(const struct key_parts *parts, const char *name)
{
	struct ipc_list rest = parts->parts;
	struct ipc_record_part part;

	while (ipc_part_next(&rest, &part))
		if (slice_equals(part.name, slice_of(name)))
			return part.data;
	return (struct slice){NULL, 0};
}

int
key_part_add(struct ipc_list_writer *parts, const char *name, struct slice data,
    struct err *err)
{
	const struct ipc_record_part part = {
	    .name = slice_of(name), .data = data};

	return ipc_part_add(parts, &part, err);
}

void
key_hex(const void *octets, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *in = octets;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[2 * n] = '\0';
}

static int
digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits);
}

int
key_unhex(struct slice text, void *octets, size_t n)
{
	unsigned char *out = octets;

	if (text.n != 2 * n)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const int high = digit(text.p[2 * i]);
		const int low = digit(text.p[2 * i + 1]);

		if (high == -1 || low == -1)
			return -1;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}
