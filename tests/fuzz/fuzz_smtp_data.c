/* SPDX-License-Identifier: ISC */
/*
 * The end of DATA against a plain reading of the rule, octet by octet; whole
 * and in pieces whose size the first octet says.  Clean content is then
 * written and read back.
 */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/smtp_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
	struct smtp_data d;
	struct buf content;
	enum parse_result result;
	size_t used;
};

static void
collect(void *context, const char *p, size_t n)
{
	if (buf_add(context, p, n) == -1)
		bug("more content than came in");
}

static void
read_pieces(struct reading *r, struct slice in, size_t piece)
{
	smtp_data_init(&r->d);
	buf_init(&r->content, in.n + 1);
	r->result = PARSE_MORE;
	r->used = 0;
	for (size_t at = 0; at < in.n && r->result == PARSE_MORE; at += piece) {
		size_t left = in.n - at;
		size_t used;

		r->result = smtp_data_feed(&r->d,
		    (struct slice){in.p + at, left < piece ? left : piece},
		    collect, &r->content, &used);
		r->used += used;
	}
}

/* Where the message ends by the letter of the rule, or in.n + 1. */
static size_t
end_by_the_rule(struct slice in)
{
	static const char end[] = "\r\n.\r\n";

	if (in.n >= 3 && memcmp(in.p, end + 2, 3) == 0)
		return 3;
	for (size_t i = 0; i + 5 <= in.n; i++)
		if (memcmp(in.p + i, end, 5) == 0)
			return i + 5;
	return in.n + 1;
}

/* The first octet before limit that makes a message refused, or limit. */
static size_t
fault_by_the_rule(struct slice in, size_t limit)
{
	for (size_t i = 0; i < limit; i++) {
		bool is_after_cr = i > 0 && in.p[i - 1] == '\r';

		if (in.p[i] == '\0' || (in.p[i] == '\n' && !is_after_cr))
			return i;
		/* A CR at the end may still get its LF. */
		if (in.p[i] == '\r' && i + 1 < limit && in.p[i + 1] != '\n')
			return i;
	}
	return limit;
}

static void
check_writer(struct slice content, size_t piece)
{
	struct reading again;
	struct smtp_stuffer s;
	struct buf wire;
	bool is_ended = content.n == 0 || content.p[content.n - 1] == '\n';

	smtp_stuffer_init(&s);
	buf_init(&wire, 2 * content.n + 8);
	for (size_t at = 0; at < content.n; at += piece) {
		size_t left = content.n - at;

		if (smtp_data_stuff(&s,
			(struct slice){
			    content.p + at, left < piece ? left : piece},
			&wire, NULL) == -1)
			bug("clean content is not written");
	}
	if (smtp_data_stuff_end(&s, &wire, NULL) == -1)
		bug("the end is not written");
	read_pieces(&again, buf_slice(&wire), piece);
	if (again.result != PARSE_OK || again.used != wire.n ||
	    again.d.fault != SMTP_DATA_CLEAN ||
	    again.content.n != content.n + (is_ended ? 0 : 2) ||
	    (content.n > 0 &&
		memcmp(again.content.p, content.p, content.n) != 0))
		bug("what was written does not read back");
	buf_clear(&again.content);
	buf_clear(&wire);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading whole;
	struct reading pieces;
	struct slice in;
	size_t end;
	size_t limit;
	size_t fault;
	size_t piece;

	if (size == 0)
		return 0;
	piece = 1 + data[0] % 16u;
	in = (struct slice){(const char *)data + 1, size - 1};
	read_pieces(&whole, in, size);
	read_pieces(&pieces, in, piece);
	end = end_by_the_rule(in);
	limit = end <= in.n ? end : in.n;
	fault = fault_by_the_rule(in, limit);
	if (whole.result != (end <= in.n ? PARSE_OK : PARSE_MORE) ||
	    whole.used != limit || (whole.d.fault != 0) != (fault < limit) ||
	    (fault < limit && whole.d.fault_offset != fault))
		bug("not what the rule says");
	if (pieces.result != whole.result || pieces.used != whole.used ||
	    memcmp(&pieces.d, &whole.d, sizeof(whole.d)) != 0 ||
	    !slice_equals(
		buf_slice(&pieces.content), buf_slice(&whole.content)))
		bug("pieces give another result");
	if (whole.result == PARSE_OK && whole.d.fault == SMTP_DATA_CLEAN)
		check_writer(buf_slice(&whole.content), piece);
	buf_clear(&whole.content);
	buf_clear(&pieces.content);
	return 0;
}
