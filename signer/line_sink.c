/* SPDX-License-Identifier: ISC */
/*
 * Makes all line ends CR LF.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <string.h>

#include "signer/line_sink.h"

void
line_sink_init(struct line_sink *l, struct sink out)
{
	l->out = out;
	l->was_cr = false;
}

/* Octets before the next one that matters. */
static size_t
plain_run(const char *p, size_t n)
{
	size_t at = 0;

	while (at < n && p[at] != '\r' && p[at] != '\n' && p[at] != '\0')
		at++;
	return at;
}

static int
write_lines(void *arg, const void *p, size_t n, struct err *err)
{
	struct line_sink *l = arg;
	const char *in = p;

	while (n > 0) {
		size_t run;

		if (l->was_cr || *in == '\n') {
			bool is_pair = l->was_cr && *in == '\n';
			bool was_cr = l->was_cr;

			l->was_cr = false;
			if (sink_text(&l->out, "\r\n", err) == -1)
				return -1;
			if (is_pair || !was_cr) {
				in++;
				n--;
			}
			continue;
		}
		run = plain_run(in, n);
		if (sink_write(&l->out, in, run, err) == -1)
			return -1;
		in += run;
		n -= run;
		if (n > 0 && *in != '\n') {
			l->was_cr = *in == '\r';
			in++;
			n--;
		}
	}
	return 0;
}

struct sink
sink_of_lines(struct line_sink *l)
{
	return (struct sink){write_lines, l};
}

int
line_sink_finish(struct line_sink *l, struct err *err)
{
	if (!l->was_cr)
		return 0;
	l->was_cr = false;
	return sink_text(&l->out, "\r\n", err);
}
