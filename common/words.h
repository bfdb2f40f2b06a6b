/* SPDX-License-Identifier: ISC */
/*
 * Lines of words as people write them: separated by blanks, "quoted" where a
 * word holds some, with \" and \\ inside quotes.  Pure.
 */
#ifndef COMMON_WORDS_H
#define COMMON_WORDS_H

#include "common/buf.h"

enum words_read { WORDS_WORD, WORDS_END, WORDS_BAD };

/* Takes the next word off the line. */
enum words_read words_next(struct slice *line, struct buf *word_r);

/* Appends a word, in quotes where it needs them. */
void words_add(struct buf *line, const char *word);

#endif
