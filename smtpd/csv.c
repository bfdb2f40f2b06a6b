/* SPDX-License-Identifier: ISC */
/*
 * Reads comma-separated values.
 * Runs in: postern-authd.  Trusts: nothing; sizes have limits.
 */
#include <string.h>

#include "smtpd/csv.h"

void
csv_init(struct csv *csv, struct slice text)
{
	*csv = (struct csv){.rest = text, .line = 1};
	/* What some spreadsheets begin with. */
	if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0) {
		csv->rest.p += 3;
		csv->rest.n -= 3;
	}
}

void
csv_row_init(struct csv_row *row)
{
	row->count = 0;
	buf_init(&row->text, CSV_ROW_MAX);
}

void
csv_row_clear(struct csv_row *row)
{
	if (row->text.p != NULL)
		explicit_bzero(row->text.p, row->text.capacity);
	buf_clear(&row->text);
	row->count = 0;
}

/* The next octet, or -1 at the end. */
static int
peek(const struct csv *csv)
{
	return csv->rest.n == 0 ? -1 : (unsigned char)csv->rest.p[0];
}

static void
advance(struct csv *csv)
{
	if (csv->rest.p[0] == '\n')
		csv->line++;
	csv->rest.p++;
	csv->rest.n--;
}

static void
skip_line(struct csv *csv)
{
	while (peek(csv) != -1 && peek(csv) != '\n')
		advance(csv);
	if (peek(csv) == '\n')
		advance(csv);
}

/* Up to and without the closing quote, which must be followed by an end. */
static int
read_quoted(struct csv *csv, struct buf *out, struct err *err)
{
	advance(csv);
	for (;;) {
		int c = peek(csv);

		if (c == -1)
			return err_set(err, "a quote is not closed");
		advance(csv);
		if (c == '"') {
			if (peek(csv) != '"')
				break;
			advance(csv);
		}
		(void)buf_add_char(out, (char)c);
	}
	if (peek(csv) != -1 && strchr(",\r\n", peek(csv)) == NULL)
		return err_set(err, "text after a closing quote");
	return 0;
}

static int
read_plain(struct csv *csv, struct buf *out, struct err *err)
{
	while (peek(csv) != -1 && peek(csv) != ',' && peek(csv) != '\n') {
		if (peek(csv) == '"')
			return err_set(err, "a quote within a field");
		if (peek(csv) != '\r')
			(void)buf_add_char(out, csv->rest.p[0]);
		advance(csv);
	}
	return 0;
}

/* Where fields begin, as long as the text may still move. */
struct starts {
	size_t at[CSV_FIELDS_MAX + 1];
};

static int
read_row(struct csv *csv, struct csv_row *row, struct starts *starts,
    struct err *err)
{
	for (;;) {
		int rc;

		if (row->count == CSV_FIELDS_MAX)
			return err_set(
			    err, "more than %d fields", CSV_FIELDS_MAX);
		starts->at[row->count++] = row->text.n;
		rc = peek(csv) == '"' ? read_quoted(csv, &row->text, err)
				      : read_plain(csv, &row->text, err);
		starts->at[row->count] = row->text.n;
		if (rc == -1)
			return -1;
		if (peek(csv) == '\r')
			advance(csv);
		if (peek(csv) != ',')
			break;
		advance(csv);
	}
	if (row->text.overflowed)
		return err_set(
		    err, "a row of more than %d octets", CSV_ROW_MAX);
	return 0;
}

int
csv_next(struct csv *csv, struct csv_row *row, struct err *err)
{
	struct starts starts = {{0}};
	int rc;

	while (peek(csv) == '\n' || peek(csv) == '\r')
		advance(csv);
	if (peek(csv) == -1)
		return 0;
	row->count = 0;
	row->line = csv->line;
	buf_reset(&row->text);
	rc = read_row(csv, row, &starts, err);
	skip_line(csv);
	if (rc == -1)
		return -1;
	for (size_t i = 0; i < row->count; i++)
		row->fields[i] = slice_trim((struct slice){
		    row->text.p == NULL ? "" : row->text.p + starts.at[i],
		    starts.at[i + 1] - starts.at[i]});
	return 1;
}
