/* SPDX-License-Identifier: ISC */
/*
 * Words of a line.
 * Runs in: postern-confd, -queued, -signerd.  Trusts: nothing of the line.
 */
#include "common/words.h"

static bool
is_plain(char c)
{
	return c != ' ' && c != '\t' && c != '"' && c != '\\';
}

enum words_read
words_next(struct slice *line, struct buf *word_r)
{
	size_t i = 0;
	bool is_quoted;

	buf_reset(word_r);
	*line = slice_trim(*line);
	if (line->n == 0)
		return WORDS_END;
	is_quoted = line->p[0] == '"';
	for (i = is_quoted ? 1 : 0; i < line->n; i++) {
		char c = line->p[i];

		if (is_quoted ? c == '"' : !is_plain(c))
			break;
		if (is_quoted && c == '\\' && ++i < line->n)
			c = line->p[i];
		(void)buf_add_char(word_r, c);
	}
	if (is_quoted && i++ >= line->n)
		return WORDS_BAD;
	if (i < line->n && line->p[i] != ' ' && line->p[i] != '\t')
		return WORDS_BAD;
	line->p += i;
	line->n -= i;
	return word_r->overflowed ? WORDS_BAD : WORDS_WORD;
}

void
words_add(struct buf *line, const char *word)
{
	bool is_simple = word[0] != '\0';

	if (line->n > 0)
		(void)buf_add_char(line, ' ');
	for (const char *c = word; *c != '\0'; c++)
		if (!is_plain(*c))
			is_simple = false;
	if (is_simple) {
		(void)buf_add_text(line, word);
		return;
	}
	(void)buf_add_char(line, '"');
	for (const char *c = word; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			(void)buf_add_char(line, '\\');
		(void)buf_add_char(line, *c);
	}
	(void)buf_add_char(line, '"');
}
