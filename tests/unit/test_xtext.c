/* SPDX-License-Identifier: ISC */
/*
 * xtext: both ways, and what must not pass for it.
 */
#include <string.h>

#include "common/xtext.h"
#include "tests/unit/tap.h"

struct row {
	const char *label;
	const char *text;
	const char *decoded; /* NULL: refused */
	size_t decoded_n;
};

static const struct row rows[] = {
    {"nothing is nothing", "", "", 0},
    {"plain text stands for itself", "QQ314159", "QQ314159", 8},
    {"+ and = come encoded", "a+2Bb+3Dc", "a+b=c", 5},
    {"CR and LF decode to raw octets", "+0D+0A", "\r\n", 2},
    {"NUL decodes to a raw octet", "a+00b", "a\0b", 3},
    {"high octets decode", "+FF", "\xff", 1},
    {"lower-case digits are refused", "+0d", NULL, 0},
    {"one digit is refused", "a+0", NULL, 0},
    {"+ alone is refused", "+", NULL, 0},
    {"bad digits are refused", "+G0", NULL, 0},
    {"a second + is refused", "++0", NULL, 0},
    {"= is refused", "a=b", NULL, 0},
    {"a space is refused", "a b", NULL, 0},
    {"a control is refused", "a\x01", NULL, 0},
    {"a high octet is refused", "a\xc3\xa9", NULL, 0},
    {"DEL is refused", "\x7f", NULL, 0},
};

int
main(void)
{
	char out[64];
	char all[256];
	char encoded[3 * sizeof(all) + 1];
	size_t n = 99;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct slice s = slice_of(r->text);
		int rc = xtext_decode(s, out, sizeof(out), &n);

		is_int(rc, r->decoded != NULL ? 0 : -1, "%s", r->label);
		ok(xtext_is_valid(s) == (r->decoded != NULL),
		    "%s: the check agrees", r->label);
		if (rc == 0 && r->decoded != NULL)
			is_mem(out, n, r->decoded, r->decoded_n, "%s: octets",
			    r->label);
	}
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	is_int(xtext_encode(
		   (struct slice){all, sizeof(all)}, encoded, sizeof(encoded)),
	    0, "every octet encodes");
	is_int(xtext_decode(slice_of(encoded), all, sizeof(all), &n), 0,
	    "and decodes");
	ok(n == 256 && all[0] == 0 && (unsigned char)all[255] == 255,
	    "to itself");
	is_int(xtext_decode(slice_of("abc"), out, 2, &n), -1,
	    "a short output is refused when decoding");
	is_int(xtext_encode(SLICE("a+"), out, 4), -1,
	    "a short output is refused when encoding");
	is_int(xtext_encode(SLICE("a+"), out, 5), 0, "an exact one is enough");
	is_str(out, "a+2B", "and holds the text");
	is_int(xtext_encode(SLICE(""), out, 0), -1, "no room for the NUL");
	return tap_done();
}
