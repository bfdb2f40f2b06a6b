/* SPDX-License-Identifier: ISC */
/*
 * The message after DATA (RFC 5321 sections 4.1.1.4 and 4.5.2): its end and
 * its stuffed dots, in both directions.
 */
#ifndef COMMON_SMTP_DATA_H
#define COMMON_SMTP_DATA_H

#include "common/buf.h"
#include "common/err.h"
#include "common/parse.h"
#include "common/smtp_reply.h"

enum smtp_data_fault {
	SMTP_DATA_CLEAN,
	SMTP_DATA_BARE_CR,
	SMTP_DATA_BARE_LF,
	SMTP_DATA_NUL,
	SMTP_DATA_FAULT_COUNT
};

/*
 * The reader.  Public members are valid at any time; the message is complete
 * when feeding answered PARSE_OK.
 */
struct smtp_data {
	uint64_t content_octets;      /* handed on, stuffed dots removed */
	uint64_t wire_octets;         /* used of what came in */
	uint64_t longest_line_octets; /* without CRLF */
	bool has_8bit;
	enum smtp_data_fault fault; /* of the first offending octet found */
	uint64_t fault_offset;      /* where it stands in what came in */

	/* Private: */
	unsigned state;
	uint64_t line_octets; /* of the line that has not ended yet */
};

/* Gets content in runs; p is valid during the call only. */
typedef void smtp_data_sink(void *context, const char *p, size_t n);

void smtp_data_init(struct smtp_data *d);

/*
 * Reads from in, cut anywhere.  PARSE_OK: CR LF "." CR LF was seen, and only
 * that ends a message; what follows *used_r belongs to the next command.
 * PARSE_MORE: all of in was used.  Content goes to sink, whole runs at a time.
 * A bare CR, a bare LF or a NUL does not stop the reading: it is remembered,
 * and the message has to be refused once, after its true end (CVE-2023-51764:
 * an early answer would make commands of the rest).  What sink gets after a
 * fault is of no use, and may be dropped.
 */
enum parse_result smtp_data_feed(struct smtp_data *d, struct slice in,
    smtp_data_sink *sink, void *context, size_t *used_r);

/* The refusal that d->fault calls for; d->fault must be one. */
void smtp_data_refusal(const struct smtp_data *d, struct smtp_status *status_r);

/* The writer. */
struct smtp_stuffer {
	bool is_in_line; /* something came since the last CRLF */
	bool is_after_cr;
};

void smtp_stuffer_init(struct smtp_stuffer *s);

/*
 * Appends in to out with dots stuffed; in may be cut anywhere.  -1 when out
 * is full or in holds a bare CR, a bare LF or a NUL: such a message must not
 * leave us, since the next server may see another end in it.
 */
int smtp_data_stuff(
    struct smtp_stuffer *s, struct slice in, struct buf *out, struct err *err);

/* Appends ".CRLF", after a CRLF where the content does not end in one. */
int smtp_data_stuff_end(
    struct smtp_stuffer *s, struct buf *out, struct err *err);

#endif
