/* SPDX-License-Identifier: ISC */
/*
 * Base64: the RFC 4648 vectors, and every second spelling refused.
 */
#include <string.h>

#include "common/base64.h"
#include "tests/unit/tap.h"

static const struct {
	const char *plain;
	const char *encoded;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xff\xfe\xfd", "//79"},
    {"\xfb\xef\xbe", "++++"},
};

static const struct {
	const char *label;
	const char *text;
} refused[] = {
    {"no padding", "Zg"},
    {"half the padding", "Zg="},
    {"too much padding", "Zm9v===="},
    {"padding alone", "===="},
    {"three pads", "Z==="},
    {"padding inside", "Zg==Zg=="},
    {"a pad before a digit", "Zg=v"},
    {"unused bits that are set, one octet", "Zh=="},
    {"unused bits that are set, two octets", "Zm9="},
    {"a space", "Zm 9v"},
    {"a line end", "Zm9v\r\n"},
    {"a line end in a full group", "Zm\r\n"},
    {"the URL alphabet", "__-_"},
    {"a high octet", "Zm9\xff"},
    {"one character", "Z"},
};

int
main(void)
{
	unsigned char out[300];
	unsigned char all[256];
	char text[400];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const char *plain = vectors[i].plain;
		const char *encoded = vectors[i].encoded;

		is_int(base64_encode(plain, strlen(plain), text, sizeof(text)),
		    0, "\"%s\" is what is encoded", encoded);
		is_str(text, encoded, "to \"%s\"", encoded);
		is_int(base64_decoded_size(slice_of(encoded), &n), 0,
		    "\"%s\" has a size", encoded);
		is_u64(n, strlen(plain), "the right one");
		is_int(base64_decode(slice_of(encoded), out, n, &n), 0,
		    "\"%s\" decodes into just that size", encoded);
		is_mem(out, n, plain, strlen(plain), "to what it was");
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		is_int(base64_decode(
			   slice_of(refused[i].text), out, sizeof(out), &n),
		    -1, "refused: %s", refused[i].label);
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (unsigned char)i;
	ok(base64_encode(all, sizeof(all), text, sizeof(text)) == 0 &&
		base64_decode(slice_of(text), out, sizeof(out), &n) == 0,
	    "all octets go both ways");
	is_mem(out, n, all, sizeof(all), "and come back");
	is_int(base64_decode(SLICE("Zm9v"), out, 2, &n), -1,
	    "a short output is refused when decoding");
	is_int(base64_encode("foo", 3, text, 4), -1,
	    "no room for the NUL is refused when encoding");
	is_str(text, "", "and leaves the empty text");
	is_int(base64_encode("foo", 3, text, 5), 0, "exact room is enough");
	is_int(base64_decode(SLICE("Z\0=="), out, sizeof(out), &n), -1,
	    "refused: a NUL");
	return tap_done();
}
