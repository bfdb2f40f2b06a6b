/* SPDX-License-Identifier: ISC */
/*
 * The codec: the first octet is a message type, the rest its payload.  What is
 * read must be written the same, and every record of a list be readable.
 */
#include <stdlib.h>
#include <string.h>

#include "common/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk_list(const struct ipc_field *field, const char *member)
{
	struct ipc_list_writer writer;
	struct ipc_list list;
	_Alignas(8) char record[256];
	size_t octets;

	memcpy(&list, member, sizeof(list));
	octets = list.n;
	ipc_list_writer_init(&writer, list.n);
	while (ipc_list_next(&list, field->record, record))
		if (ipc_list_add(&writer, field->record, record, NULL) == -1)
			bug("a record of %s cannot be written", field->name);
	if (list.n != 0 || writer.encoded.n != octets)
		bug("list %s is not its records", field->name);
	ipc_list_writer_clear(&writer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipc_shape *shape;
	union ipc_message message;
	struct slice payload;
	struct err err;
	size_t again;
	char *wire;

	if (size == 0 || data[0] >= MSG_COUNT)
		return 0;
	shape = &ipc_row((enum ipc_type)data[0])->shape;
	payload = (struct slice){(const char *)data + 1, size - 1};
	if (ipc_shape_read(shape, payload, &message, &err) == -1)
		return 0;
	if (payload.n > ipc_max_size((enum ipc_type)data[0]))
		bug("%s is longer than its limit", shape->name);
	if (ipc_shape_size(shape, &message, &again, &err) == -1)
		bug("what was read breaks its row: %s", err.text);
	if (again != payload.n)
		bug("%s: %zu octets became %zu", shape->name, payload.n, again);
	wire = xmalloc(again);
	ipc_shape_write(shape, &message, wire);
	if (again > 0 && memcmp(wire, payload.p, again) != 0)
		bug("%s is not written as it was read", shape->name);
	free(wire);
	for (uint32_t i = 0; i < shape->field_count; i++)
		if (shape->fields[i].kind == IPC_LIST)
			walk_list(&shape->fields[i],
			    (const char *)&message + shape->fields[i].offset);
	return 0;
}
