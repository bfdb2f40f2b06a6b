/* SPDX-License-Identifier: ISC */
/*
 * Printable text: what is escaped, what stays, where it is cut.
 */
#include <string.h>

#include "common/printable.h"
#include "tests/unit/tap.h"

static const struct {
	const char *label;
	const char *in;
	const char *text;
	const char *ascii;
} rows[] = {
    {"plain text stays", "rcpt <a@b.example>", "rcpt <a@b.example>",
	"rcpt <a@b.example>"},
    {"nothing stays nothing", "", "", ""},
    {"a line end cannot begin a log line", "a\r\nb", "a\\x0d\\x0ab",
	"a\\x0d\\x0ab"},
    {"ESC cannot drive a terminal", "\x1b[2J", "\\x1b[2J", "\\x1b[2J"},
    {"tab and DEL are shown", "\t\x7f", "\\x09\\x7f", "\\x09\\x7f"},
    {"letters beyond ASCII stay", "M\xc3\xbcller", "M\xc3\xbcller",
	"M\\u{fc}ller"},
    {"four octets stay", "\xf0\x9f\x93\xac", "\xf0\x9f\x93\xac", "\\u{1f4ec}"},
    {"C1 controls are shown", "\xc2\x9b", "\\u{9b}", "\\u{9b}"},
    {"the override is shown", "\xe2\x80\xae", "\\u{202e}", "\\u{202e}"},
    {"isolates are shown", "\xe2\x81\xa6", "\\u{2066}", "\\u{2066}"},
    {"zero width is shown", "a\xe2\x80\x8b", "a\\u{200b}", "a\\u{200b}"},
    {"line separators are shown", "\xe2\x80\xa8", "\\u{2028}", "\\u{2028}"},
    {"the Arabic mark is shown", "\xd8\x9c", "\\u{61c}", "\\u{61c}"},
    {"the byte order mark is shown", "\xef\xbb\xbf", "\\u{feff}", "\\u{feff}"},
    {"tags are shown", "\xf3\xa0\x81\x81", "\\u{e0041}", "\\u{e0041}"},
    {"overlong forms are octets", "\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf"},
    {"overlong NUL is octets", "\xe0\x80\x80", "\\xe0\\x80\\x80",
	"\\xe0\\x80\\x80"},
    {"surrogates are octets", "\xed\xa0\x80", "\\xed\\xa0\\x80",
	"\\xed\\xa0\\x80"},
    {"beyond Unicode are octets", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80",
	"\\xf4\\x90\\x80\\x80"},
    {"a cut character is octets", "a\xe2\x80", "a\\xe2\\x80", "a\\xe2\\x80"},
    {"a broken one eats no neighbour",
	"\xe2\x80"
	"a",
	"\\xe2\\x80"
	"a",
	"\\xe2\\x80"
	"a"},
    {"Latin-1 is octets", "\xfc", "\\xfc", "\\xfc"},
    {"a backslash stays", "a\\b", "a\\b", "a\\b"},
};

int
main(void)
{
	char out[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_str(printable(slice_of(rows[i].in), out, sizeof(out)),
		    rows[i].text, "%s", rows[i].label);
		is_str(printable_ascii(slice_of(rows[i].in), out, sizeof(out)),
		    rows[i].ascii, "%s (ASCII)", rows[i].label);
	}
	is_str(printable(SLICE("a\0b"), out, sizeof(out)), "a\\x00b",
	    "NUL is shown");
	is_str(printable(SLICE("abcdef"), out, 7), "abcdef",
	    "what just fits is not cut");
	is_str(printable(SLICE("abcdefg"), out, 7), "abc\xe2\x80\xa6",
	    "what does not ends in an ellipsis");
	is_str(printable_ascii(SLICE("abcdefg"), out, 7), "abc...",
	    "in ASCII in three dots");
	is_str(printable(SLICE("ab\n\n\n"), out, 9), "ab\xe2\x80\xa6",
	    "an escape is never cut apart");
	is_str(printable(SLICE("abc"), out, 3), "", "no room for an ellipsis");
	is_str(printable(SLICE("abc"), out, 1), "", "room for the NUL alone");
	out[0] = 'x';
	(void)printable(SLICE("abc"), out, 0);
	ok(out[0] == 'x', "no room at all is not written to");
	is_str(printable((struct slice){NULL, 0}, out, sizeof(out)), "",
	    "the empty slice");
	return tap_done();
}
