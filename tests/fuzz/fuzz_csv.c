/* SPDX-License-Identifier: ISC */
/*
 * Comma-separated values: rows within their limits, lines that rise, an end.
 */
#include <string.h>

#include "smtpd/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct csv csv;
	struct csv_row row;
	struct err err;
	size_t line = 0;
	size_t left = size + 1;
	int rc;

	csv_init(&csv, (struct slice){(const char *)data, size});
	csv_row_init(&row);
	while ((rc = csv_next(&csv, &row, &err)) != 0) {
		if (csv.rest.n >= left || row.line <= line)
			bug("reading does not go on");
		left = csv.rest.n;
		line = row.line;
		if (rc == -1)
			continue;
		if (row.count == 0 || row.count > CSV_FIELDS_MAX)
			bug("%zu fields", row.count);
		for (size_t i = 0; i < row.count; i++)
			if (row.fields[i].n > CSV_ROW_MAX ||
			    slice_find(row.fields[i], '\0', 0) >
				row.fields[i].n)
				bug("a field is too long");
	}
	csv_row_clear(&row);
	return 0;
}
