/* SPDX-License-Identifier: ISC */
/*
 * Finds the next server's queue id in the reply that took a message.  There
 * is no standard for it; these are the forms that common servers write:
 *	Postfix     250 2.0.0 Ok: queued as 4ABCdef0
 *	Exim        250 OK id=1abcde-0001Xy-2F
 *	Sendmail    250 2.0.0 3BFExyz Message accepted for delivery
 *	OpenSMTPD   250 2.0.0 1a2b3c4d Message accepted for delivery
 *	Exchange    250 2.6.0 <id@host> [InternalId=123, Hostname=h] Queued
 *	            mail for delivery
 *	Gmail       250 2.0.0 OK  1700000000 abc-123.45 - gsmtp
 *	qmail       250 ok 1700000000 qp 12345
 *	ours        250 2.0.0 Queued as <message id>
 * Runs in: postern-loghub.  Trusts: nothing; the text came from the net.
 */
#include <ctype.h>
#include <string.h>

#include "loghub/log_terms.h"

/* Shorter ones would match by chance, longer ones are no ids. */
#define ID_MIN 4
#define ID_MAX 128

static bool
is_id_char(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' &&
	    strchr("-_.@+/=:$", c) != NULL);
}

static void
add_id(struct slice id, struct slice ids[REMOTE_IDS_MAX], size_t *count)
{
	while (id.n > 0 &&
	    (id.p[id.n - 1] == '.' || id.p[id.n - 1] == ':'))
		id.n--;
	if (id.n < ID_MIN || id.n > ID_MAX || *count == REMOTE_IDS_MAX)
		return;
	for (size_t i = 0; i < *count; i++)
		if (slice_equals(ids[i], id))
			return;
	ids[(*count)++] = id;
}

/* The word that begins at `at`, behind blanks and an opening mark. */
static struct slice
word_at(struct slice s, size_t at)
{
	size_t end;

	while (at < s.n && strchr(" \t<[(\"'", s.p[at]) != NULL &&
	    s.p[at] != '\0')
		at++;
	end = at;
	while (end < s.n && is_id_char(s.p[end]))
		end++;
	return (struct slice){s.p + at, end - at};
}

/* The first character is looked at alone: most places end there. */
static bool
text_here(struct slice s, size_t at, const char *text)
{
	return ((s.p[at] ^ text[0]) & ~0x20) == 0 &&
	    slice_starts_nocase(
	        (struct slice){s.p + at, s.n - at}, text);
}

/* "<id> Message accepted for delivery": the word before. */
static struct slice
word_before(struct slice s, size_t at)
{
	size_t end = at;
	size_t begin;

	while (end > 0 && s.p[end - 1] == ' ')
		end--;
	begin = end;
	while (begin > 0 && is_id_char(s.p[begin - 1]))
		begin--;
	return (struct slice){s.p + begin, end - begin};
}

static bool
has_digit(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (isdigit((unsigned char)s.p[i]))
			return true;
	return false;
}

size_t
remote_ids(struct slice reply, struct slice ids_r[REMOTE_IDS_MAX])
{
	static const char *const before[] = {
	    "queued as ", "queued as: ", "InternalId=", " id=", "queue id ",
	    "queueid=", " qp ", "queued-as=", "message id "};
	const size_t count_before = sizeof(before) / sizeof(*before);
	size_t count = 0;

	for (size_t at = 0; at < reply.n; at++) {
		for (size_t i = 0; i < count_before; i++)
			if (text_here(reply, at, before[i]))
				add_id(word_at(reply, at + strlen(before[i])),
				    ids_r, &count);
		if (text_here(reply, at, "Message accepted") &&
		    has_digit(word_before(reply, at)))
			add_id(word_before(reply, at), ids_r, &count);
		if (text_here(reply, at, " - gsmtp"))
			add_id(word_before(reply, at), ids_r, &count);
	}
	return count;
}
