/* SPDX-License-Identifier: ISC */
/*
 * Comma-separated values.
 */
#include <string.h>

#include "smtpd/csv.h"
#include "tests/unit/tap.h"

static void
test_rows(void)
{
	static const char text[] = "\xef\xbb\xbf"
				   "name,password,address\r\n"
				   "anna,\"se,cret\",anna@example.org\r\n"
				   "\r\n"
				   "\"b\"\"ob\",\"two\nlines\",\n"
				   "carol\n"
				   " dave , \"x\n"
				   "erin,\"a\"b\n"
				   "frank,";
	static const struct {
		int rc;
		size_t line;
		size_t count;
		const char *first;
		const char *second;
	} rows[] = {
	    {1, 1, 3, "name", "password"},
	    {1, 2, 3, "anna", "se,cret"},
	    {1, 4, 3, "b\"ob", "two\nlines"},
	    {1, 6, 1, "carol", NULL},
	    {-1, 7, 0, NULL, NULL},
	    {-1, 8, 0, NULL, NULL},
	    {1, 9, 2, "frank", ""},
	    {0, 0, 0, NULL, NULL},
	};
	struct csv csv;
	struct csv_row row;
	struct err err;

	csv_init(&csv, slice_of(text));
	csv_row_init(&row);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_int(csv_next(&csv, &row, &err), rows[i].rc, "row %zu", i);
		if (rows[i].rc == 0)
			break;
		is_u64(row.line, rows[i].line, "its line");
		if (rows[i].rc == -1)
			continue;
		is_u64(row.count, rows[i].count, "its fields");
		is_slice(row.fields[0], rows[i].first, "the first");
		if (rows[i].second != NULL)
			is_slice(row.fields[1], rows[i].second, "the second");
	}
	csv_row_clear(&row);
}

static void
test_limits(void)
{
	char text[CSV_ROW_MAX + 100];
	struct csv csv;
	struct csv_row row;
	struct err err;

	csv_row_init(&row);
	memset(text, ',', sizeof(text));
	csv_init(&csv, (struct slice){text, CSV_FIELDS_MAX - 1});
	is_int(csv_next(&csv, &row, &err), 1, "64 fields are a row");
	is_u64(row.count, CSV_FIELDS_MAX, "all of them");
	csv_init(&csv, (struct slice){text, CSV_FIELDS_MAX});
	is_int(csv_next(&csv, &row, &err), -1, "65 are not");
	memset(text, 'x', sizeof(text));
	csv_init(&csv, (struct slice){text, CSV_ROW_MAX});
	is_int(csv_next(&csv, &row, &err), 1, "16 KiB are a row");
	csv_init(&csv, (struct slice){text, CSV_ROW_MAX + 1});
	is_int(csv_next(&csv, &row, &err), -1, "more are not");
	csv_init(&csv, SLICE("a,\"never closed\nb,c\n"));
	is_int(csv_next(&csv, &row, &err), -1, "a quote that is not closed");
	is_int(csv_next(&csv, &row, &err), 0, "takes the rest along");
	csv_init(&csv, SLICE(""));
	is_int(csv_next(&csv, &row, &err), 0, "nothing has no rows");
	csv_row_clear(&row);
}

int
main(void)
{
	test_rows();
	test_limits();
	return tap_done();
}
