/* SPDX-License-Identifier: ISC */
/*
 * Line by line through a range of a content.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <string.h>

#include "signer/canon_scan.h"

/* Of a file, so much is in memory at once; more than any allowed line. */
#define WINDOW_OCTETS 65536

static uint64_t
count_high(const char *p, size_t n)
{
	const uint64_t high_bits = UINT64_C(0x8080808080808080);
	uint64_t count = 0;
	size_t i = 0;

	for (; i + sizeof(uint64_t) <= n; i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, p + i, sizeof(word));
		count += (uint64_t)__builtin_popcountll(word & high_bits);
	}
	for (; i < n; i++)
		count += (unsigned char)p[i] >> 7;
	return count;
}

/* A whole line, without its CR LF; is_cut: its beginning was looked at. */
static void
look_at_line(struct canon_facts *f, const char *p, size_t n, bool is_cut)
{
	if (n > CANON_LINE_MAX)
		f->has_long = true;
	if (n > 0 && memchr(p, '\r', n) != NULL)
		f->has_bare = true;
	if (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		f->has_trailing = true;
	if (!is_cut && n >= 5 && memcmp(p, "From ", 5) == 0)
		f->has_from = true;
}

/* All whole lines; returns how many octets they were. */
static size_t
look_at_lines(struct canon_facts *f, const char *p, size_t n, bool is_cut)
{
	size_t at = 0;

	while (at < n) {
		const char *line = p + at;
		const char *lf = memchr(line, '\n', n - at);
		size_t line_n;

		if (lf == NULL)
			break;
		line_n = (size_t)(lf - line);
		if (line_n > 0 && lf[-1] == '\r')
			line_n--;
		else
			f->has_bare = true;
		look_at_line(f, line, line_n, is_cut);
		is_cut = false;
		at = (size_t)(lf - p) + 1;
	}
	return at;
}

static int
scan_file(const struct content *content, uint64_t start, uint64_t end,
    struct canon_facts *f, struct err *err)
{
	char window[WINDOW_OCTETS];
	size_t held = 0;
	bool is_cut = false;

	while (start < end) {
		size_t room = sizeof(window) - held;
		size_t n = end - start < room ? (size_t)(end - start) : room;
		size_t done;

		if (content_read(content, start, window + held, n) !=
		    (ssize_t)n)
			return err_set(err, "cannot read a content");
		f->high_count += count_high(window + held, n);
		if (memchr(window + held, '\0', n) != NULL)
			f->has_nul = true;
		start += n;
		held += n;
		done = look_at_lines(f, window, held, is_cut);
		is_cut = is_cut && done == 0;
		if (done == 0 && held == sizeof(window)) {
			/* A line of this length is long, whatever follows. */
			f->has_long = true;
			look_at_line(f, window, held - 2, is_cut);
			is_cut = true;
			done = held - 2;
		}
		held -= done;
		memmove(window, window + done, held);
	}
	look_at_line(f, window, held, is_cut);
	return 0;
}

int
canon_scan(const struct content *content, uint64_t start, uint64_t end,
    struct canon_facts *facts_r, struct err *err)
{
	struct canon_facts *f = facts_r;
	const char *p;
	size_t n, done;

	*f = (struct canon_facts){.size = end - start};
	if (start > end || end > content->size)
		return err_set(err, "a part lies outside of its message");
	if (content->fd != -1)
		return scan_file(content, start, end, f, err);
	if (start == end)
		return 0;
	p = content->memory.p + start;
	n = (size_t)(end - start);
	f->high_count = count_high(p, n);
	f->has_nul = memchr(p, '\0', n) != NULL;
	done = look_at_lines(f, p, n, false);
	look_at_line(f, p + done, n - done, false);
	return 0;
}

bool
canon_facts_are_7bit(const struct canon_facts *f)
{
	return f->high_count == 0 && !f->has_nul && !f->has_long &&
	       !f->has_bare;
}

bool
canon_facts_are_clean(const struct canon_facts *f)
{
	return canon_facts_are_7bit(f) && !f->has_trailing && !f->has_from;
}
