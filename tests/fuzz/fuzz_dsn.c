/* SPDX-License-Identifier: ISC */
/*
 * Notifications about hostile originals and replies: the result is always a
 * multipart/report of three parts with lines in order.  The input is cut into
 * reply, address, header and body at its NULs; the first byte sets the flags.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mime.h"
#include "relay/dsn.h"
#include "relay/dsn_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice
next_piece(struct slice *rest)
{
	size_t end = slice_find(*rest, '\0', 0);
	struct slice piece = {rest->p, end};
	size_t taken = end < rest->n ? end + 1 : end;

	rest->p += taken;
	rest->n -= taken;
	return piece;
}

static void
count_part(void *arg, const struct mime_part *part, const struct header *header)
{
	size_t *count = arg;

	(void)header;
	if (part->depth == 0 && strcmp(part->subtype, "report") != 0)
		bug("not a report");
	*count += part->depth == 1;
}

static void
check(const struct buf *out, const struct dsn_result *result)
{
	struct dsn_shape shape = dsn_shape_of(buf_slice(out));
	size_t count = 0;
	struct mime_events events = {count_part, NULL, &count};
	struct mime *m = mime_new(&events);

	mime_feed(m, buf_slice(out));
	mime_finish(m);
	mime_free(m);
	if (count != 3)
		bug("%zu parts", count);
	if (shape.is_long || shape.is_binary)
		bug("lines out of order");
	if (shape.is_8bit && !result->needs_smtputf8)
		bug("8-bit bytes on a way that may not take them");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = {(const char *)data, size};
	struct dsn_recipient r = {.status = SLICE("5.1.1")};
	struct dsn d = {
	    .reporting_mta = SLICE("gw.example"),
	    .from = SLICE("Mail <mailer-daemon@gw.example>"),
	    .sender = SLICE("a@b.example"),
	    .message_id = SLICE("1@gw.example"),
	    .boundary_seed = SLICE("s"),
	    .reference = SLICE("0123456789abc"),
	    .recipients = &r,
	    .recipient_count = 1,
	};
	struct dsn_result result;
	struct buf out;

	if (size == 0)
		return 0;
	d.is_smtputf8 = data[0] & 1;
	d.returns_body = data[0] & 2;
	d.hides_subject = data[0] & 4;
	if (d.is_smtputf8 && (data[0] & 128) != 0)
		d.sender = SLICE("\xc3\xa4@b.example");
	r.action = (enum dsn_action)((data[0] >> 3) % DSN_ACTION_COUNT);
	rest.p++;
	rest.n--;
	r.reply = next_piece(&rest);
	r.remote_mta = r.reply;
	r.address = next_piece(&rest);
	r.orcpt = r.address;
	d.header = next_piece(&rest);
	d.body = rest;
	buf_init(&out, (size_t)16 << 20);
	if (dsn_build(&d, &out, &result) == -1)
		bug("too much room");
	check(&out, &result);
	buf_clear(&out);
	return 0;
}
