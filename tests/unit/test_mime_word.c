/* SPDX-License-Identifier: ISC */
/*
 * Encoded words: what we write, and what we read of others'.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mime_word.h"
#include "common/utf8.h"
#include "tests/unit/tap.h"

static const struct row {
	const char *label;
	const char *from;
	const char *to;
} encode_rows[] = {
    {"nothing", "", ""},
    {"plain text", "Re: [x] (a) \"b\" = ?", "Re: [x] (a) \"b\" = ?"},
    {"what looks like an encoded word", "=?x", "=?UTF-8?B?PT94?="},
    {"one umlaut in a sentence: Q", "Sch\xc3\xb6nes Wochenende",
	"=?UTF-8?Q?Sch=C3=B6nes_Wochenende?="},
    {"no Latin letter: B", "\xe6\x97\xa5\xe6\x9c\xac", "=?UTF-8?B?5pel5pys?="},
    {"control characters become blanks", "a\r\nBcc: b", "a  Bcc: b"},
    {"a NUL's neighbours", "a\x01z", "a z"},
    {"a byte that is not UTF-8", "a\xffz", "=?UTF-8?B?Ye+/vXo=?="},
    {"text turned around", "a\xe2\x80\xaez", "=?UTF-8?B?Ye+/vXo=?="},
    {"blanks at the ends", "  a ", "a"},
    {"a long line is folded",
	"one two three four five six seven eight nine ten eleven twelve 13 14",
	"one two three four five six seven eight nine ten eleven twelve 13"
	"\r\n 14"},
    {"blanks without end are encoded",
	"a                                                               b",
	"=?UTF-8?Q?a___________________________________________________"
	"___?=\r\n =?UTF-8?Q?_________b?="},
    {"a word without end is encoded",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	"=?UTF-8?Q?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?="
	"\r\n =?UTF-8?Q?aaaaaaaaaaaa?="},
    {"words end between characters",
	"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
	"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
	"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4",
	"=?UTF-8?B?w6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6Q=?="
	"\r\n =?UTF-8?B?w6TDpMOkw6TDpA==?="},
};

static const struct decode_row {
	const char *label;
	const char *from;
	const char *to;
	bool has_control;
} decode_rows[] = {
    {"nothing", "", "", false},
    {"plain text", " a b ", "a b", false},
    {"Q", "=?utf-8?q?Gr=C3=BC=c3=9Fe_an?= alle",
	"Gr\xc3\xbc\xc3\x9f"
	"e an alle",
	false},
    {"B", "=?UTF-8?B?5pel5pys?=", "\xe6\x97\xa5\xe6\x9c\xac", false},
    {"B without padding", "=?utf-8?b?YQ?=", "a", false},
    {"Latin-1", "=?ISO-8859-1?Q?J=FCrgen?=", "J\xc3\xbcrgen", false},
    {"Windows-1252", "=?windows-1252?Q?5_=80?=", "5 \xe2\x82\xac", false},
    {"a language", "=?utf-8*de?Q?ja?=", "ja", false},
    {"blanks between two words go", "=?utf-8?Q?a?= \r\n =?utf-8?Q?b?=", "ab",
	false},
    {"blanks before text stay", "=?utf-8?Q?a?= b =?utf-8?Q?c?=", "a b c",
	false},
    {"a character cut by two words",
	"=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", "\xc3\xbc", false},
    {"an unknown charset stays", "=?koi8-r?Q?=C1?= x", "=?koi8-r?Q?=C1?= x",
	false},
    {"blanks between known and unknown stay",
	"=?utf-8?Q?a?= =?koi8-r?Q?b?=", "a =?koi8-r?Q?b?=", false},
    {"an unknown encoding stays", "=?utf-8?X?a?=", "=?utf-8?X?a?=", false},
    {"no end", "=?utf-8?Q?abc", "=?utf-8?Q?abc", false},
    {"no charset",
	"=?"
	"?Q?abc?=",
	"=?"
	"?Q?abc?=",
	false},
    {"broken hex stays", "=?utf-8?Q?=ZZ=4?=", "=ZZ=4", false},
    {"an empty word",
	"=?utf-8?Q?"
	"?=x",
	"x", false},
    {"raw bytes that are not UTF-8", "a\xfc", "a\xef\xbf\xbd", false},
    {"folds are undone", "a\r\n b", "a b", false},
    {"a raw control byte", "a\x1b[1m", "a [1m", false},
    {"a hidden line end", "=?utf-8?Q?a=0D=0Ab?=", "a  b", true},
    {"a hidden NUL", "=?utf-8?B?YQBi?=", "a b", true},
    {"a hidden NUL in an unknown charset",
	"=?x-y?Q?=00?=", "=?x-y?Q?=00?=", true},
    {"text turned around", "=?utf-8?Q?=E2=80=AEa?=",
	"\xef\xbf\xbd"
	"a",
	false},
};

static void
test_encode(void)
{
	struct buf out;
	struct buf back;

	buf_init(&out, 1000);
	buf_init(&back, 1000);
	for (size_t i = 0; i < sizeof(encode_rows) / sizeof(encode_rows[0]);
	     i++) {
		buf_reset(&out);
		is_int(mime_word_encode(slice_of(encode_rows[i].from), 9, &out),
		    0, "%s: fits", encode_rows[i].label);
		is_slice(buf_slice(&out), encode_rows[i].to, "%s",
		    encode_rows[i].label);
		buf_reset(&back);
		(void)mime_word_decode(buf_slice(&out), &back, NULL);
		ok(utf8_is_valid(buf_slice(&back)), "%s: reads as UTF-8",
		    encode_rows[i].label);
	}
	buf_clear(&back);
	buf_clear(&out);
	buf_init(&out, 5);
	is_int(mime_word_encode(SLICE("abcdef"), 0, &out), -1, "a full buffer");
	buf_clear(&out);
}

/* Every column gives lines that fit, and decoding gives the text again. */
static void
test_lines(void)
{
	static const char text[] =
	    "\xc3\x84"
	    "pfel, B\xc3\xa4ume \xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5 "
	    "und noch viel mehr, das nicht in eine Zeile passt, weil es lang "
	    "ist \xf0\x9f\x93\xa7\xf0\x9f\x93\xa7 Ende";
	struct buf out;
	struct buf back;

	buf_init(&out, 1000);
	buf_init(&back, 1000);
	for (size_t column = 0; column < 90; column++) {
		size_t longest = 0;

		buf_reset(&out);
		buf_reset(&back);
		(void)mime_word_encode(SLICE(text), column, &out);
		(void)mime_word_decode(buf_slice(&out), &back, NULL);
		for (size_t at = 0; at < out.n;) {
			size_t lf = slice_find(buf_slice(&out), '\n', at);
			size_t n = lf - at + (at == 0 && lf > 2 ? column : 0);

			if (n > longest)
				longest = n;
			at = lf + 1;
		}
		ok(longest <= 77 || column > 76,
		    "column %zu: the longest line has %zu", column, longest);
		is_slice(buf_slice(&back), text, "column %zu: the same text",
		    column);
	}
	buf_clear(&back);
	buf_clear(&out);
}

static void
test_decode(void)
{
	struct buf out;
	bool has_control;

	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(decode_rows) / sizeof(decode_rows[0]);
	     i++) {
		const struct decode_row *row = &decode_rows[i];
		char *own = slice_dup(slice_of(row->from));

		buf_reset(&out);
		is_int(mime_word_decode((struct slice){own, strlen(own)}, &out,
			   &has_control),
		    0, "%s: fits", row->label);
		is_slice(buf_slice(&out), row->to, "%s", row->label);
		ok(has_control == row->has_control, "%s: control", row->label);
		free(own);
	}
	buf_clear(&out);
	buf_init(&out, 3);
	is_int(
	    mime_word_decode(SLICE("abcd"), &out, NULL), -1, "a full buffer");
	is_slice(buf_slice(&out), "abc", "holds the beginning");
	buf_clear(&out);
}

static const struct row read_rows[] = {
    {"plain text", " a b ", "a b"},
    {"charsets that we know",
	"=?utf-8?Q?a=C3=BC?= =?iso-8859-1?Q?=FC?=", "a\xc3\xbc\xc3\xbc"},
    {"another one", "=?koi8-r?Q?=5Ba=C1?= =?gb18030?B?Yl0=?= c",
	"[a\xef\xbf\xbd"
	"b] c"},
    {"shifts between charsets", "=?iso-2022-jp?B?WxsoQmEbJEJi?=", "[ab"},
    {"a shift that is cut off", "=?iso-2022-jp?B?YRsk?=", "a"},
    {"two octets each", "=?utf-16be?B?AFsAYQ==?=", "[a"},
    {"what nobody sees",
	"[a\xc2\xad"
	"b\xe2\x80\x8b"
	"c\xef\xb8\x8f"
	"d=?utf-8?Q?=01e?=",
	"[abcde"},
    {"tabs", "a\r\n\tb", "a\tb"},
    {"bytes that are not UTF-8", "a\xff", "a\xef\xbf\xbd"},
};

static void
test_read(void)
{
	struct mime_word_octets word;
	struct buf out;

	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(read_rows) / sizeof(read_rows[0]); i++) {
		buf_reset(&out);
		is_int(mime_word_read(slice_of(read_rows[i].from), &out), 0,
		    "read: %s: fits", read_rows[i].label);
		is_slice(buf_slice(&out), read_rows[i].to, "read: %s",
		    read_rows[i].label);
	}
	buf_clear(&out);
	buf_init(&out, 3);
	is_int(mime_word_read(SLICE("abcd"), &out), -1, "read: a full buffer");
	buf_clear(&out);
	ok(!mime_word_foreign(SLICE("=?utf-8?Q?a?="), &word) &&
		!mime_word_foreign(SLICE("a =?koi8-r?Q?b?="), &word),
	    "no foreign word stands there");
	ok(mime_word_foreign(SLICE("=?koi8-r?B?YsE=?= c"), &word) &&
		word.size == 17 && word.count == 2 &&
		memcmp(word.octets, "b\xc1", 2) == 0 &&
		slice_equals(word.charset, SLICE("koi8-r")),
	    "and one does");
}

int
main(void)
{
	test_encode();
	test_read();
	test_lines();
	test_decode();
	return tap_done();
}
