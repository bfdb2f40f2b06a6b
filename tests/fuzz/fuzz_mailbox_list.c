/* SPDX-License-Identifier: ISC */
/*
 * Lists of mailboxes, and encoded words over the same text.  The first byte
 * sets the flags and the column.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mailbox_list.h"
#include "common/mime_word.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_mailbox(const struct mailbox *m, struct slice text, const char *after)
{
	const char *end = m->address.p + m->address.n;

	if (m->address.p < after || end > text.p + text.n)
		bug("an address out of place");
	if (m->local_part.n == 0 || m->domain.n == 0 ||
	    m->local_part.n + 1 + m->domain.n != m->address.n ||
	    m->address.p[m->local_part.n] != '@')
		bug("an address that is none");
	for (size_t i = 0; i < m->address.n; i++)
		if ((unsigned char)m->address.p[i] < ' ' &&
		    m->address.p[i] != '\t')
			bug("a control byte in an address");
	if (m->name.n > 0 && m->name.p + m->name.n > m->address.p)
		bug("a name behind its address");
}

static void
walk(struct slice text, unsigned flags)
{
	struct mailbox_list list;
	struct mailbox m;
	const char *after = text.p;
	int rc;

	mailbox_list_init(&list, text, flags);
	while ((rc = mailbox_list_next(&list, &m)) == 1) {
		check_mailbox(&m, text, after);
		after = m.address.p + m.address.n;
	}
	if ((rc == -1) != (list.problem != MAILBOX_FINE))
		bug("a result without its reason");
	if (mailbox_list_next(&list, &m) != rc)
		bug("the end is not final");
}

static void
check_words(struct slice text, size_t column)
{
	struct buf encoded;
	struct buf decoded;
	struct buf again;
	size_t line = 0;

	buf_init(&encoded, text.n * 20 + 1000);
	buf_init(&decoded, text.n * 20 + 1000);
	buf_init(&again, text.n * 20 + 1000);
	if (mime_word_decode(text, &decoded, NULL) == -1 ||
	    !utf8_is_valid(buf_slice(&decoded)))
		bug("decoding does not give UTF-8");
	if (mime_word_encode(buf_slice(&decoded), column, &encoded) == -1)
		bug("encoding takes too much room");
	for (size_t i = 0; i < encoded.n; i++) {
		unsigned char c = (unsigned char)encoded.p[i];

		line = c == '\n' ? 0 : line + 1;
		if (c > '~' || (c < ' ' && c != '\r' && c != '\n') || line > 78)
			bug("encoding gives byte %d at column %zu", c, line);
	}
	(void)mime_word_decode(buf_slice(&encoded), &again, NULL);
	if (!slice_equals(buf_slice(&again), slice_trim(buf_slice(&decoded))))
		bug("decoding does not undo encoding");
	buf_clear(&encoded);
	buf_clear(&decoded);
	buf_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text;

	if (size == 0)
		return 0;
	text = (struct slice){(const char *)data + 1, size - 1};
	walk(text, data[0] & (MAILBOX_LIST_GROUPS | MAILBOX_LIST_UTF8));
	check_words(text, data[0] % 100);
	return 0;
}
