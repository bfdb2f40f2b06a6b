/* SPDX-License-Identifier: ISC */
/*
 * Puts a Subject into texts.
 * Runs in: postern-signerd's workers.  Trusts: nothing in the octets.
 */
#include <string.h>
#include <strings.h>

#include "common/utf8.h"
#include "signer/legacy_display.h"

#define CHARSET_MAX 64
#define LATIN1_FIRST 0xa0
#define LATIN1_LAST 0xff

#define HTML_START "<div class=\"header-protection-legacy-display\"><pre>"
#define HTML_END "</pre></div>"

/* ---- which parts ---- */

/* ASCII in them is not ASCII, or not always. */
static bool
is_odd_charset(const char *charset)
{
	static const char *const starts[] = {"utf-16", "utf-32", "utf-7", "ucs",
	    "iso-10646", "unicode", "ebcdic", "ibm0", "ibm1", "cp0", "hz-"};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		if (strncasecmp(charset, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static bool
is_one_of(const char *charset, const char *const *names)
{
	for (; *names != NULL; names++)
		if (strcasecmp(charset, *names) == 0)
			return true;
	return false;
}

static bool
is_latin1(struct slice subject)
{
	uint32_t code;

	while (subject.n > 0) {
		size_t step = utf8_decode(subject, &code);

		if (step == 0 || code > LATIN1_LAST ||
		    (code > 0x7f && code < LATIN1_FIRST))
			return false;
		subject.p += step;
		subject.n -= step;
	}
	return true;
}

/* HTML has a way to write any character in ASCII. */
static bool
choose_charset(struct slice subject, const char *charset, bool is_html,
    enum legacy_charset *charset_r)
{
	static const char *const utf8[] = {"utf-8", "utf8", NULL};
	static const char *const ascii[] = {"", "us-ascii", "ascii", NULL};
	static const char *const latin1[] = {
	    "iso-8859-1", "windows-1252", NULL};

	if (is_odd_charset(charset))
		return false;
	if (is_html || utf8_is_ascii(subject))
		*charset_r = LEGACY_ASCII;
	else if (is_one_of(charset, utf8))
		*charset_r = LEGACY_UTF8;
	else if (is_one_of(charset, ascii))
		*charset_r = LEGACY_TO_UTF8;
	else if (is_one_of(charset, latin1) && is_latin1(subject))
		*charset_r = LEGACY_LATIN1;
	else
		return false;
	return true;
}

/* A disposition that cannot be read may be that of one. */
static bool
is_attachment(const struct header *h)
{
	const struct header_field *field =
	    header_first(h, HDR_CONTENT_DISPOSITION);
	struct mime_value value;

	return field != NULL &&
	       (mime_value_parse(header_field_value(h, field), &value) == -1 ||
		   !slice_equals_nocase(value.type, SLICE("inline")));
}

bool
legacy_display_fits(struct slice subject, const struct mime_part *part,
    const struct header *h, struct legacy_display *display_r)
{
	const struct header_field *field = header_first(h, HDR_CONTENT_TYPE);
	struct mime_value value;
	struct buf charset;
	bool fits;

	if (part->kind != MIME_LEAF || part->opaque != MIME_CLEAR ||
	    part->encoding == MIME_ENCODING_OTHER ||
	    strcmp(part->type, "text") != 0 ||
	    (strcmp(part->subtype, "plain") != 0 &&
		strcmp(part->subtype, "html") != 0) ||
	    header_count(h, HDR_CONTENT_TYPE) > 1 ||
	    h->end != HEADER_END_BLANK || is_attachment(h))
		return false;
	display_r->is_html = strcmp(part->subtype, "html") == 0;
	buf_init(&charset, CHARSET_MAX);
	if (field != NULL &&
	    mime_value_parse(header_field_value(h, field), &value) == 0)
		(void)mime_value_param(&value, "charset", &charset);
	fits =
	    !charset.overflowed && choose_charset(subject, buf_text(&charset),
				       display_r->is_html, &display_r->charset);
	buf_clear(&charset);
	return fits;
}

bool
legacy_display_accepts(const struct legacy_display *display, struct slice text)
{
	return display->charset != LEGACY_TO_UTF8 || utf8_is_ascii(text);
}

/* ---- Content-Type ---- */

static void
add_param(struct buf *out, const struct mime_param *p)
{
	(void)buf_add_text(out, ";\r\n\t");
	(void)buf_add_slice(out, p->name);
	if (p->section != MIME_NO_SECTION)
		(void)buf_addf(out, "*%u", p->section);
	(void)buf_addf(out, p->is_extended ? "*=" : "=\"");
	(void)buf_add_slice(out, p->value);
	if (!p->is_extended)
		(void)buf_add_char(out, '"');
}

void
legacy_display_type(const struct mime_value *value, const char *charset,
    const struct legacy_display *display, struct buf *out)
{
	bool to_utf8 = display != NULL && display->charset == LEGACY_TO_UTF8;

	if (to_utf8)
		charset = "utf-8";
	if (value == NULL)
		(void)buf_addf(
		    out, "Content-Type: text/plain; charset=%s", charset);
	else
		(void)buf_addf(out, "Content-Type: %.*s/%.*s",
		    SLICE_ARG(value->type), SLICE_ARG(value->subtype));
	for (size_t i = 0; value != NULL && i < value->param_count; i++) {
		const struct mime_param *p = &value->params[i];

		if (!slice_equals_nocase(p->name, SLICE("hp")) &&
		    !slice_equals_nocase(p->name, SLICE("hp-legacy-display")) &&
		    (!to_utf8 ||
			!slice_equals_nocase(p->name, SLICE("charset"))))
			add_param(out, p);
	}
	if (value != NULL && to_utf8)
		(void)buf_add_text(out, ";\r\n\tcharset=\"utf-8\"");
	if (display != NULL)
		(void)buf_add_text(out, ";\r\n\thp-legacy-display=\"1\"");
}

/* ---- text ---- */

static void
add_latin1(struct slice subject, struct buf *out)
{
	uint32_t code;
	size_t step;

	for (; subject.n > 0 && (step = utf8_decode(subject, &code)) > 0;
	     subject.p += step, subject.n -= step)
		(void)buf_add_char(out, (char)(unsigned char)code);
}

/* ---- HTML ---- */

static void
add_escaped(struct slice subject, struct buf *out)
{
	uint32_t code;
	size_t step;

	for (; subject.n > 0 && (step = utf8_decode(subject, &code)) > 0;
	     subject.p += step, subject.n -= step) {
		if (code > 0x7e || strchr("&<>\"'", (int)code) != NULL)
			(void)buf_addf(out, "&#%u;", (unsigned)code);
		else
			(void)buf_add_char(out, (char)code);
	}
}

static size_t
find_text(struct slice html, size_t from, const char *text)
{
	for (; from < html.n; from++)
		if (slice_starts_nocase(
			(struct slice){html.p + from, html.n - from}, text))
			return from;
	return html.n;
}

/* Behind the tag that begins there; ">" may stand in quotes. */
static size_t
tag_end(struct slice html, size_t at)
{
	for (; at < html.n && html.p[at] != '>'; at++) {
		size_t quote = html.n;

		if (html.p[at] == '"' || html.p[at] == '\'')
			quote = slice_find(html, html.p[at], at + 1);
		if (quote < html.n)
			at = quote;
	}
	return at < html.n ? at + 1 : html.n;
}

/* What stands before the body. */
static const struct head_tag {
	const char *start;
	const char *until; /* what is within is no HTML */
	bool is_place;     /* a place to write behind it, if there is no body */
} head_tags[] = {
    {"<!--", "-->", false},
    {"<!doctype", NULL, true},
    {"<?", NULL, false},
    {"<html", NULL, true},
    {"<head", NULL, false},
    {"</head", NULL, true},
    {"<meta", NULL, false},
    {"<link", NULL, false},
    {"<base", NULL, false},
    {"<title", "</title", false},
    {"<style", "</style", false},
    {"<script", "</script", false},
};

static const struct head_tag *
find_head_tag(struct slice rest)
{
	for (size_t i = 0; i < sizeof(head_tags) / sizeof(head_tags[0]); i++)
		if (slice_starts_nocase(rest, head_tags[i].start))
			return &head_tags[i];
	return NULL;
}

/*
 * Behind <body>, or as near to it as what stands there allows: all of it is
 * shown anyway, since a browser makes the body itself.
 */
static size_t
find_place(struct slice html)
{
	size_t place = 0;
	size_t at = slice_find(html, '<', 0);

	while (at < html.n) {
		struct slice rest = {html.p + at, html.n - at};
		const struct head_tag *tag = find_head_tag(rest);

		if (slice_starts_nocase(rest, "<body")) {
			at = tag_end(html, at);
			return html.p[at - 1] == '>' ? at : place;
		}
		if (tag == NULL)
			break;
		if (tag->until != NULL)
			at = find_text(html, at, tag->until);
		at = tag_end(html, at);
		if (tag->is_place)
			place = at;
		at = slice_find(html, '<', at);
	}
	return place;
}

/* ---- together ---- */

int
legacy_display_insert(const struct legacy_display *display,
    struct slice subject, struct slice text, struct buf *out)
{
	size_t place = display->is_html ? find_place(text) : 0;

	if (place > 0)
		(void)buf_add(out, text.p, place);
	if (display->is_html)
		(void)buf_add_text(out, HTML_START);
	(void)buf_add_text(out, "Subject: ");
	if (display->is_html)
		add_escaped(subject, out);
	else if (display->charset == LEGACY_LATIN1)
		add_latin1(subject, out);
	else
		(void)buf_add_slice(out, subject);
	/* RFC 9788 §4.5.3.2: it ends with the first empty line. */
	(void)buf_add_text(out, display->is_html ? HTML_END : "\r\n\r\n");
	if (text.n > place)
		(void)buf_add(out, text.p + place, text.n - place);
	return out->overflowed ? -1 : 0;
}
