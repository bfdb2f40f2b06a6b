/* SPDX-License-Identifier: ISC */
/*
 * Takes words out of subjects.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the header.
 */
#include <string.h>

#include "common/base64.h"
#include "common/mime_word.h"
#include "signer/removals.h"

#define SUBJECT_FIELD "Subject: "
/* Of a word; one of more would, in base64, be too long for a line. */
#define WORD_OCTETS_MAX 500
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

/* Octets of the words that stand there; 0: none do. */
static size_t
words_at(struct slice text, struct ipc_list removals, size_t *longest_r)
{
	struct ipc_record_fact fact;
	size_t found = 0;

	while (ipc_fact_next(&removals, &fact)) {
		const size_t n = fact.value.n;

		if (!slice_equals(fact.name, SLICE("subject")))
			continue;
		if (n > *longest_r)
			*longest_r = n;
		if (n > found && n <= text.n &&
		    slice_equals_nocase((struct slice){text.p, n}, fact.value))
			found = n;
	}
	return found;
}

/* Cuts them, and the blanks that would then meet. */
static void
cut(struct buf *text, size_t at, size_t n)
{
	size_t end = at + n;

	if (at == 0 || is_blank(text->p[at - 1]))
		while (end < text->n && is_blank(text->p[end]))
			end++;
	memmove(text->p + at, text->p + end, text->n - end);
	text->n -= end - at;
}

/*
 * All of them.  Others may come together where some go, so the look goes back
 * that far, and no further: a Subject may hold nothing else, and be long.
 */
static bool
cut_all(struct buf *text, struct ipc_list removals)
{
	bool is_changed = false;
	size_t longest = 0;
	size_t at = 0;

	while (at < text->n) {
		const struct slice rest = {text->p + at, text->n - at};
		const size_t n = words_at(rest, removals, &longest);

		if (n == 0) {
			at++;
			continue;
		}
		cut(text, at, n);
		at -= at < longest ? at : longest;
		is_changed = true;
	}
	return is_changed;
}

static void
add_word(
    const struct mime_word_octets *word, struct slice octets, struct buf *out)
{
	char text[BASE64_ENCODED_SIZE(WORD_OCTETS_MAX) + 1];

	if (octets.n == 0 ||
	    base64_encode(octets.p, octets.n, text, sizeof(text)) == -1)
		return;
	(void)buf_addf(out, "=?%.*s?B?%s?=", SLICE_ARG(word->charset), text);
}

/* In words of a charset that we cannot decode, which stay in it. */
static bool
cut_foreign(struct buf *text, struct ipc_list removals)
{
	bool is_changed = false;
	struct buf out, octets;

	buf_init(&out, 2 * text->n);
	buf_init(&octets, WORD_OCTETS_MAX);
	for (size_t at = 0; at < text->n;) {
		struct slice rest = {text->p + at, text->n - at};
		struct mime_word_octets word;

		if (!mime_word_foreign(rest, &word)) {
			(void)buf_add_char(&out, text->p[at++]);
			continue;
		}
		at += word.size;
		buf_reset(&octets);
		if (buf_add(&octets, word.octets, word.count) == 0 &&
		    cut_all(&octets, removals)) {
			is_changed = true;
			add_word(&word, buf_slice(&octets), &out);
		} else {
			(void)buf_add(&out, rest.p, word.size);
		}
	}
	buf_reset(text);
	(void)buf_add_slice(text, buf_slice(&out));
	buf_clear(&out);
	buf_clear(&octets);
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
	struct buf plain, decoded, seen;
	struct slice text;
	bool is_changed, is_encoded;

	/* Decoding makes an octet three at the most, and base64 of two three.
	 */
	buf_init(&plain, 2 * value.n + 1);
	buf_init(&decoded, 6 * value.n + 1);
	buf_init(&seen, 6 * value.n + 1);
	(void)header_unfold(value, &plain);
	/*
	 * First as it is written, so that words in a charset that we cannot
	 * decode stay; then what was hidden by encoding.
	 */
	is_changed = cut_all(&plain, removals);
	is_changed |= cut_foreign(&plain, removals);
	(void)mime_word_decode(buf_slice(&plain), &decoded, NULL);
	is_encoded = cut_all(&decoded, removals);
	text = buf_slice(&decoded);
	/* What is left comes together only before the reader's eyes. */
	(void)mime_word_read(buf_slice(&plain), &seen);
	if (!is_encoded && cut_all(&seen, removals)) {
		is_encoded = true;
		text = buf_slice(&seen);
	}
	if (is_changed || is_encoded) {
		(void)buf_add_text(field_r, SUBJECT_FIELD);
		if (is_encoded)
			(void)mime_word_encode(
			    text, sizeof(SUBJECT_FIELD) - 1, field_r);
		else
			add_folded(buf_slice(&plain), field_r);
		(void)buf_add_text(field_r, "\r\n");
	}
	buf_clear(&plain);
	buf_clear(&decoded);
	buf_clear(&seen);
	return is_changed || is_encoded;
}
