/* SPDX-License-Identifier: ISC */
/*
 * Words that are taken out of subjects, however they are written.
 */
#include <stdio.h>

#include "signer/removals.h"
#include "tests/unit/tap.h"

static const struct {
	const char *label;
	const char *from;
	const char *to; /* NULL: it stays as it is */
} rows[] = {
    {"nothing to take out", "signed =?koi8-r?Q?=C1?=", NULL},
    {"as it is", "[Signed] a", "a"},
    {"one within another", "[sig[signed]ned] a", "a"},
    {"encoded", "=?utf-8?Q?=5Bsigned=5D_a?=", "a"},
    {"in a charset that we do not know",
	"=?koi8-r?Q?=5Bsigned=5D_=C1?=", "=?koi8-r?B?wQ==?="},
    {"and nothing else in it", "=?koi8-r?Q?=5Bsigned=5D?= a", "a"},
    {"split over two of them",
	"=?koi8-r?Q?=5Bsig?= =?koi8-r?Q?ned=5D_=C1a?=", "=?UTF-8?B?77+9YQ==?="},
    {"split over two charsets", "=?utf-8?Q?=5Bsig?= =?koi8-r?Q?ned=5D?= a",
	"a"},
    {"two octets each", "=?utf-16be?B?AFsAcwBpAGcAbgBlAGQAXQBh?=", "a"},
    {"with shifts between charsets",
	"=?iso-2022-jp?B?W3NpZxsoQm5lZF0gYQ==?=", "a"},
    {"with what nobody sees", "[si\xe2\x80\x8bgned] a", "a"},
    {"with an encoded control character", "=?utf-8?Q?=5Bsi=01gned=5D_a?=", "a"},
    {"twice, in two ways",
	"[signed] =?koi8-r?Q?=5Bsigned=5D_=C1?=", "=?koi8-r?B?wQ==?="},
};

/* In a time that does not grow with the square of their number. */
static void
test_many(struct ipc_list removals)
{
	struct buf value, field;

	buf_init(&value, HEADER_SIZE_MAX);
	buf_init(&field, HEADER_SIZE_MAX);
	for (size_t i = 0; i < HEADER_SIZE_MAX / 2 - 8; i++)
		(void)buf_add_char(&value, 'a');
	for (size_t i = 0; i < HEADER_SIZE_MAX / 2 / 16; i++)
		(void)buf_add_text(&value, "[sig");
	for (size_t i = 0; i < HEADER_SIZE_MAX / 2 / 16; i++)
		(void)buf_add_text(&value, "ned]");
	ok(removals_clean_subject(removals, buf_slice(&value), &field),
	    "very many of them");
	ok(field.n < HEADER_SIZE_MAX / 2 + 16, "are all out");
	buf_clear(&value);
	buf_clear(&field);
}

int
main(void)
{
	struct ipc_list_writer removals;
	const struct ipc_record_fact fact = {
	    .name = SLICE("subject"), .value = SLICE("[signed]")};
	char want[200];
	struct buf field;

	buf_init(&field, 1000);
	ipc_list_writer_init(&removals, 1000);
	is_int(ipc_fact_add(&removals, &fact, NULL), 0, "one word");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *to = rows[i].to;

		buf_reset(&field);
		ok(removals_clean_subject(ipc_list_of(&removals),
		       slice_of(rows[i].from), &field) == (to != NULL),
		    "%s: is seen", rows[i].label);
		if (to == NULL)
			continue;
		(void)snprintf(want, sizeof(want), "Subject: %s\r\n", to);
		is_slice(buf_slice(&field), want, "%s", rows[i].label);
	}
	test_many(ipc_list_of(&removals));
	ipc_list_writer_clear(&removals);
	buf_clear(&field);
	return tap_done();
}
