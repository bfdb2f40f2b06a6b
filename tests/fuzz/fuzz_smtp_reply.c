/* SPDX-License-Identifier: ISC */
/*
 * A server's reply, whole and in pieces whose size the first octet says: both
 * have to give the same.
 */
#include <string.h>

#include "common/err.h"
#include "common/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum parse_result
feed(struct smtp_reply *r, struct slice in, size_t piece, size_t *used)
{
	enum parse_result result = PARSE_MORE;

	smtp_reply_init(r);
	*used = 0;
	for (size_t at = 0; at < in.n && result == PARSE_MORE; at += piece) {
		size_t left = in.n - at;
		size_t took;

		result = smtp_reply_feed(r,
		    (struct slice){in.p + at, left < piece ? left : piece},
		    &took);
		*used += took;
	}
	return result;
}

static void
check(const struct smtp_reply *r)
{
	char summary[SMTP_REPLY_SUMMARY_MAX];
	struct smtp_ehlo ehlo;
	struct buf out;

	for (const char *c = r->text; *c != '\0'; c++)
		if (((unsigned char)*c < ' ' && *c != '\n') || *c == 0x7f)
			bug("control in the text of a reply");
	(void)smtp_reply_summary(r, summary);
	if (strchr(summary, '\n') != NULL || r->code < 200 || r->code > 599)
		bug("summary of two lines or no code");
	smtp_ehlo_read(r, &ehlo);
	buf_init(&out, 1 << 20);
	(void)smtp_reply_format(&out, r->code,
	    r->enhanced[0] != '\0' ? r->enhanced : NULL, slice_of(r->text));
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct smtp_reply whole;
	static struct smtp_reply pieces;
	enum parse_result result;
	struct slice in;
	size_t used;
	size_t used_in_pieces;

	if (size == 0)
		return 0;
	in = (struct slice){(const char *)data + 1, size - 1};
	result = feed(&whole, in, size, &used);
	if (feed(&pieces, in, 1 + data[0] % 16u, &used_in_pieces) != result)
		bug("pieces give another result");
	if (result != PARSE_OK)
		return 0;
	if (used != used_in_pieces || whole.code != pieces.code ||
	    strcmp(whole.text, pieces.text) != 0)
		bug("pieces give another reply");
	check(&whole);
	return 0;
}
