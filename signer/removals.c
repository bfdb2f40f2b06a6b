/* SPDX-License-Identifier: ISC */
/*
 * Takes words out of subjects.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the header.
 */
#include <string.h>

#include "common/mime_word.h"
#include "signer/removals.h"

#define SUBJECT_FIELD "Subject: "
/* Folded before a line passes this (RFC 5322 §2.1.1). */
#define LINE_LENGTH_MAX 76

bool
removals_name_field(struct ipc_list removals, struct slice name)
{
	struct ipc_record_fact fact;

	while (ipc_fact_next(&removals, &fact))
		if (slice_equals(fact.name, SLICE("header")) &&
		    slice_equals_nocase(fact.value, name))
			return true;
	return false;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts one occurrence, and the blanks that would then meet. */
static bool
cut_once(struct buf *text, struct slice words)
{
	size_t at = 0, end;

	if (words.n == 0)
		return false;
	while (
	    at + words.n <= text->n &&
	    !slice_equals_nocase((struct slice){text->p + at, words.n}, words))
		at++;
	if (at + words.n > text->n)
		return false;
	end = at + words.n;
	if (at == 0 || is_blank(text->p[at - 1]))
		while (end < text->n && is_blank(text->p[end]))
			end++;
	memmove(text->p + at, text->p + end, text->n - end);
	text->n -= end - at;
	return true;
}

/* All of them, also those that come together when others go. */
static bool
cut_all(struct buf *text, struct ipc_list removals)
{
	bool is_changed = false;
	bool again = true;

	while (again) {
		struct ipc_list list = removals;
		struct ipc_record_fact fact;

		again = false;
		while (ipc_fact_next(&list, &fact))
			if (slice_equals(fact.name, SLICE("subject")))
				while (cut_once(text, fact.value))
					again = is_changed = true;
	}
	return is_changed;
}

/* As it is, with folds before single blanks. */
static void
add_folded(struct slice text, struct buf *field)
{
	size_t column = sizeof(SUBJECT_FIELD) - 1;
	size_t at = 0;

	text = slice_trim(text);
	while (at < text.n) {
		size_t end = at;

		while (end < text.n && is_blank(text.p[end]))
			end++;
		while (end < text.n && !is_blank(text.p[end]))
			end++;
		if (at > 0 && column + (end - at) > LINE_LENGTH_MAX) {
			(void)buf_add_text(field, "\r\n");
			column = 0;
		}
		(void)buf_add(field, text.p + at, end - at);
		column += end - at;
		at = end;
	}
}

bool
removals_clean_subject(
    struct ipc_list removals, struct slice value, struct buf *field_r)
{
	struct buf plain, decoded;
	bool is_changed, is_encoded;

	/* Decoding makes an octet three at the most. */
	buf_init(&plain, value.n + 1);
	buf_init(&decoded, 3 * value.n + 1);
	(void)header_unfold(value, &plain);
	/*
	 * First as it is written, so that words in a charset that we cannot
	 * decode stay; then what was hidden by encoding.
	 */
	is_changed = cut_all(&plain, removals);
	(void)mime_word_decode(buf_slice(&plain), &decoded, NULL);
	is_encoded = cut_all(&decoded, removals);
	if (is_changed || is_encoded) {
		(void)buf_add_text(field_r, SUBJECT_FIELD);
		if (is_encoded)
			(void)mime_word_encode(buf_slice(&decoded),
			    sizeof(SUBJECT_FIELD) - 1, field_r);
		else
			add_folded(buf_slice(&plain), field_r);
		(void)buf_add_text(field_r, "\r\n");
	}
	buf_clear(&plain);
	buf_clear(&decoded);
	return is_changed || is_encoded;
}
