/* SPDX-License-Identifier: ISC */
/*
 * A Subject at the start of texts, in their charsets, and in HTML where it is
 * seen.
 */
#include <string.h>

#include "common/err.h"
#include "signer/legacy_display.h"
#include "tests/unit/tap.h"

#define OUTPUT_MAX ((size_t)65536)
#define PLAIN "Gr\303\274\303\237e & <so>" /* in UTF-8 */
#define CYRILLIC "\320\264\320\260"

static const struct {
	const char *label;
	const char *header; /* of the part, behind Content-Type */
	const char *subject;
	const char *text;
	const char *shown; /* NULL: it is not shown there */
} texts[] = {
    {"ASCII in any charset", "text/plain; charset=koi8-r", "hello", "x",
	"Subject: hello\r\n\r\nx"},
    {"UTF-8 in UTF-8", "text/plain; charset=\"UTF-8\"", PLAIN, "x",
	"Subject: " PLAIN "\r\n\r\nx"},
    {"UTF-8 in ASCII, which becomes UTF-8", "text/plain; charset=us-ascii",
	PLAIN, "x", "Subject: " PLAIN "\r\n\r\nx"},
    {"and where no charset is named", "text/plain", PLAIN, "x",
	"Subject: " PLAIN "\r\n\r\nx"},
    {"not where that would be wrong", "text/plain", PLAIN, "\374", NULL},
    {"Latin-1", "text/plain; charset=ISO-8859-1", PLAIN, "\374",
	"Subject: Gr\374\337e & <so>\r\n\r\n\374"},
    {"not what Latin-1 has not", "text/plain; charset=iso-8859-1", CYRILLIC,
	"x", NULL},
    {"nor in a charset that we do not write", "text/plain; charset=koi8-r",
	CYRILLIC, "x", NULL},
    {"nor where ASCII is something else", "text/plain; charset=utf-16le",
	"hello", "x", NULL},
    {"nor in what is no text", "image/png", "hello", "x", NULL},
    {"nor in other texts", "text/calendar", "hello", "x", NULL},
    {"nor in an attachment",
	"text/plain\r\nContent-Disposition: attachment; filename=x", "hello",
	"x", NULL},
    {"nor in what may be one", "text/plain\r\nContent-Disposition: =?", "hello",
	"x", NULL},
    {"but in what is inline", "text/plain\r\nContent-Disposition: Inline",
	"hello", "x", "Subject: hello\r\n\r\nx"},
    {"not where it is coded oddly",
	"text/plain\r\nContent-Transfer-Encoding: x-uuencode", "hello", "x",
	NULL},
};

#define DIV(text)                                               \
	"<div class=\"header-protection-legacy-display\"><pre>" \
	"Subject: " text "</pre></div>"

static const struct {
	const char *label;
	const char *before;
	const char *behind;
} pages[] = {
    {"behind the body's tag", "<html><head></head><body>", "<p>x</p></body>"},
    {"whatever its attributes are",
	"<!DOCTYPE html>\n<BODY class='a>b' onload=\"x>y\"\n>", "x"},
    {"not behind one in a comment", "<!-- <body> --><html><body>", "x"},
    {"nor in a script", "<script>\"<body>\"</script ><body>", "x"},
    {"nor in a title", "<head><title><body></title></head><body>", "x"},
    {"behind the head where there is no body", "<html><head></head>",
	"<p>x<body>"},
    {"behind html where there is neither", "<html lang=de>", "<p>x"},
    {"behind the doctype", "<!doctype html>", "x<p>"},
    {"before all where nothing is known", "", "x <b>y</b>"},
    {"nor is a tag that does not end lost", "", "x<body"},
    {"a quote that does not end", "<body class=\"x>", "y"},
    {"an empty page", "", ""},
};

static struct mime_part
part_of(const struct header *h, struct slice type)
{
	struct mime_part part = {.kind = MIME_LEAF, .opaque = MIME_CLEAR};
	size_t slash = slice_find(type, '/', 0);
	size_t end = slash;

	while (end < type.n && strchr(";\r", type.p[end]) == NULL)
		end++;
	memcpy(part.type, type.p, slash);
	memcpy(part.subtype, type.p + slash + 1, end - slash - 1);
	if (header_count(h, HDR_CONTENT_TRANSFER_ENCODING) > 0)
		part.encoding = MIME_ENCODING_OTHER;
	return part;
}

/* Empty: it is not shown. */
static void
show(const char *type, const char *subject, const char *text, struct buf *out)
{
	struct legacy_display display;
	struct header h;
	struct buf block;

	buf_init(&block, OUTPUT_MAX);
	(void)buf_addf(&block, "Content-Type: %s\r\n\r\n", type);
	header_init(&h, 0);
	if (header_read(&h, buf_slice(&block)) == PARSE_OK) {
		struct mime_part part = part_of(&h, slice_of(type));

		if (legacy_display_fits(
			slice_of(subject), &part, &h, &display) &&
		    legacy_display_accepts(&display, slice_of(text)) &&
		    legacy_display_insert(
			&display, slice_of(subject), slice_of(text), out) == -1)
			bug("no room");
	}
	header_clear(&h);
	buf_clear(&block);
}

static void
test_texts(void)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct buf out;

		buf_init(&out, OUTPUT_MAX);
		show(texts[i].header, texts[i].subject, texts[i].text, &out);
		is_slice(buf_slice(&out),
		    texts[i].shown == NULL ? "" : texts[i].shown, "%s",
		    texts[i].label);
		buf_clear(&out);
	}
}

static void
test_pages(void)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		struct buf page, wanted, out;

		buf_init(&page, OUTPUT_MAX);
		buf_init(&wanted, OUTPUT_MAX);
		buf_init(&out, OUTPUT_MAX);
		(void)buf_addf(&page, "%s%s", pages[i].before, pages[i].behind);
		(void)buf_addf(&wanted, "%s%s%s", pages[i].before,
		    DIV("Gr&#252;&#223;e &#38; &#60;so&#62;"), pages[i].behind);
		show("text/html; charset=koi8-r", PLAIN, buf_text(&page), &out);
		is_slice(
		    buf_slice(&out), buf_text(&wanted), "%s", pages[i].label);
		buf_clear(&page);
		buf_clear(&wanted);
		buf_clear(&out);
	}
}

int
main(void)
{
	struct legacy_display html = {.is_html = true};
	char worst[64];
	struct buf out;

	test_texts();
	test_pages();
	memset(worst, '&', sizeof(worst));
	buf_init(&out, LEGACY_DISPLAY_MAX(sizeof(worst)));
	is_int(legacy_display_insert(&html,
		   (struct slice){worst, sizeof(worst)}, SLICE(""), &out),
	    0, "no Subject becomes more than is said");
	buf_clear(&out);
	return tap_done();
}
