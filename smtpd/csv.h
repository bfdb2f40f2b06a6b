/* SPDX-License-Identifier: ISC */
/*
 * Comma-separated values (RFC 4180), as spreadsheets write them: fields in
 * quotes may hold commas, line ends and, doubled, quotes.
 */
#ifndef SMTPD_CSV_H
#define SMTPD_CSV_H

#include "common/buf.h"
#include "common/err.h"

/* Fields of one row. */
#define CSV_FIELDS_MAX 64
/* Octets of one row. */
#define CSV_ROW_MAX 16384

struct csv_row {
	struct slice fields[CSV_FIELDS_MAX];
	size_t count;
	size_t line; /* where it began, from 1 */
	struct buf text;
};

/* A reader over text that stays where it is. */
struct csv {
	struct slice rest;
	size_t line;
};

void csv_init(struct csv *csv, struct slice text);
void csv_row_init(struct csv_row *row);
void csv_row_clear(struct csv_row *row); /* wiped: it may hold passwords */

/*
 * The next row; empty lines are passed over.  1 a row, 0 the end, -1 malformed
 * with a sentence: reading goes on behind it.
 */
int csv_next(struct csv *csv, struct csv_row *row, struct err *err);

#endif
