/* SPDX-License-Identifier: ISC */
/*
 * What of a message is protected and what stays outside; triggers taken out;
 * header protection (RFC 9788); shapes.
 */
#include <stdio.h>
#include <string.h>

#include "signer/entity.h"
#include "signer/removals.h"
#include "tests/unit/tap.h"

#define OUTPUT_MAX ((size_t)1024 * 1024)

static struct ipc_list_writer
removals_of(const char *const *pairs)
{
	struct ipc_list_writer w;

	ipc_list_writer_init(&w, OUTPUT_MAX);
	for (; *pairs != NULL; pairs += 2) {
		const struct ipc_record_fact fact = {
		    .name = slice_of(pairs[0]), .value = slice_of(pairs[1])};

		if (ipc_fact_add(&w, &fact, NULL) == -1)
			bug("a bad fact");
	}
	return w;
}

/* ---- subjects ---- */

static const struct {
	const char *label;
	const char *value;
	const char *field; /* NULL: nothing was there */
} subjects[] = {
    {"no trigger", " hello", NULL},
    {"a subject that cannot be decoded, and no trigger",
	" =?x-odd?Q?hello?=", NULL},
    {"at the front", " [secure] hello", "Subject: hello\r\n"},
    {"at the end", " hello [SECURE]", "Subject: hello\r\n"},
    {"in the middle", " one [Secure] two", "Subject: one two\r\n"},
    {"alone", " [secure]", "Subject: \r\n"},
    {"twice", " [secure][secure] hello", "Subject: hello\r\n"},
    {"nested", " [sec[secure]ure] hello", "Subject: hello\r\n"},
    {"folded", " one\r\n [secure]\r\n two", "Subject: one two\r\n"},
    {"in an encoded word", " =?utf-8?Q?=5Bsecure=5D_Gr=C3=BC=C3=9Fe?=",
	"Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"},
    {"in base64", " =?utf-8?B?W3NlY3VyZV0gaGVsbG8=?=", "Subject: hello\r\n"},
    {"before an encoded word", " [secure] =?utf-8?Q?Gr=C3=BC=C3=9Fe?=",
	"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"},
    {"across encoded words",
	" =?utf-8?Q?[sec?= =?utf-8?Q?ure]_x?=", "Subject: x\r\n"},
    {"before words in a charset that we do not know",
	" [secure] =?koi8-r?Q?=F0=F2?=", "Subject: =?koi8-r?Q?=F0=F2?=\r\n"},
};

static void
test_subjects(void)
{
	static const char *const pairs[] = {"subject", "[secure]", NULL};
	struct ipc_list_writer removals = removals_of(pairs);

	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		struct buf field;
		bool is_changed;

		buf_init(&field, OUTPUT_MAX);
		is_changed = removals_clean_subject(ipc_list_of(&removals),
		    slice_of(subjects[i].value), &field);
		is_int(is_changed, subjects[i].field != NULL, "%s: found",
		    subjects[i].label);
		if (subjects[i].field != NULL)
			is_slice(buf_slice(&field), subjects[i].field, "%s",
			    subjects[i].label);
		buf_clear(&field);
	}
	ipc_list_writer_clear(&removals);
}

/* ---- entities ---- */

static const char mail[] = "Received: from a by b\r\n"
			   "From: a@example.org\r\n"
			   "To: b@example.net\r\n"
			   "Subject: [secure] Gr\303\274\303\237e\r\n"
			   "Keywords: gold\r\n"
			   "X-Encrypt: yes\r\n"
			   "MIME-Version: 1.0\r\n"
			   "Content-Language: de \r\n"
			   "Content-Type: text/plain; charset=\"utf-8\"; "
			   "hp=clear\r\n"
			   "\r\n"
			   "text \r\n";

static void
write_all(const char *message, const struct entity_wishes *wishes,
    struct buf *outer, struct buf *inner, struct buf *whole)
{
	static const char *const pairs[] = {
	    "subject", "[secure]", "header", "x-encrypt", NULL};
	struct ipc_list_writer removals = removals_of(pairs);
	struct content content = content_of(slice_of(message));
	struct sink sink;
	struct entity *e;
	struct err err;

	if (entity_open(&content, ipc_list_of(&removals), &e, &err) == -1)
		bug("%s", err.text);
	sink = sink_of_buf(outer);
	if (entity_write_outer(e, wishes, &sink, &err) == -1)
		bug("%s", err.text);
	sink = sink_of_buf(inner);
	if (entity_write(e, wishes, &sink, &err) == -1)
		bug("%s", err.text);
	sink = sink_of_buf(whole);
	if (entity_write_message(e, &sink, &err) == -1)
		bug("%s", err.text);
	entity_close(e);
	ipc_list_writer_clear(&removals);
}

struct texts {
	struct buf outer;
	struct buf inner;
	struct buf whole;
};

static void
check(const char *message, const struct entity_wishes *wishes,
    const char *outer, const char *inner, const char *label)
{
	struct texts t;

	buf_init(&t.outer, OUTPUT_MAX);
	buf_init(&t.inner, OUTPUT_MAX);
	buf_init(&t.whole, OUTPUT_MAX);
	write_all(message, wishes, &t.outer, &t.inner, &t.whole);
	is_slice(buf_slice(&t.outer), outer, "%s: outside", label);
	is_slice(buf_slice(&t.inner), inner, "%s: inside", label);
	buf_clear(&t.outer);
	buf_clear(&t.inner);
	buf_clear(&t.whole);
}

/* As it was written: in UTF-8, not encoded. */
#define GRUESSE "Subject: Gr\303\274\303\237e\r\n"

static const struct {
	const char *message;
	struct entity_wishes wishes;
	const char *outer;
	const char *inner;
	const char *label;
} entities[] = {
    {mail, {.is_encrypted = false},
	"Received: from a by b\r\n"
	"From: a@example.org\r\n"
	"To: b@example.net\r\n" GRUESSE "Keywords: gold\r\n",
	"Content-Type: text/plain; charset=\"utf-8\"; hp=clear\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n"
	"Content-Language: de\r\n"
	"\r\n"
	"text=20\r\n",
	"signed"},
    {mail, {.protects_headers = true},
	"Received: from a by b\r\n"
	"From: a@example.org\r\n"
	"To: b@example.net\r\n" GRUESSE "Keywords: gold\r\n",
	"Content-Type: text/plain;\r\n\tcharset=\"utf-8\";\r\n"
	"\thp=\"clear\"\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n"
	"Content-Language: de\r\n"
	"From: a@example.org\r\n"
	"To: b@example.net\r\n" GRUESSE "Keywords: gold\r\n"
	"\r\n"
	"text=20\r\n",
	"signed with its header"},
    {mail, {.is_encrypted = true, .obscures_subject = true},
	"Received: from a by b\r\n"
	"From: a@example.org\r\n"
	"To: b@example.net\r\n"
	"Subject: [...]\r\n",
	"Content-Type: text/plain;\r\n\tcharset=\"utf-8\";\r\n"
	"\thp=\"cipher\"\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n"
	"Content-Language: de\r\n"
	"From: a@example.org\r\n"
	"HP-Outer: From: a@example.org\r\n"
	"To: b@example.net\r\n"
	"HP-Outer: To: b@example.net\r\n" GRUESSE "HP-Outer: Subject: [...]\r\n"
	"Keywords: gold\r\n"
	"\r\n"
	"text=20\r\n",
	"encrypted with its header"},
    {"Subject: gold\r\nThread-Topic: gold\r\n\r\nplain\r\n",
	{.is_encrypted = true, .obscures_subject = true}, "Subject: [...]\r\n",
	"Content-Type: text/plain; charset=us-ascii;\r\n\thp=\"cipher\"\r\n"
	"Subject: gold\r\nHP-Outer: Subject: [...]\r\n"
	"Thread-Topic: gold\r\n\r\nplain\r\n",
	"encrypted, with the Subject in two fields"},
    {"Subject: gold\r\nHP-Outer: Subject: silver\r\n\r\nplain\r\n",
	{.is_encrypted = true, .obscures_subject = true}, "Subject: [...]\r\n",
	"Content-Type: text/plain; charset=us-ascii;\r\n\thp=\"cipher\"\r\n"
	"Subject: gold\r\nHP-Outer: Subject: [...]\r\n\r\nplain\r\n",
	"encrypted, with an HP-Outer that somebody wrote"},
    {"From: a@b.example\r\n\r\nplain\r\n", {.is_encrypted = false},
	"From: a@b.example\r\n",
	"Content-Type: text/plain; charset=us-ascii\r\n\r\nplain\r\n",
	"without a type"},
    {"From: a@b.example\r\n\r\nGr\303\274n, gelb, blau, rot\r\n",
	{.is_encrypted = false}, "From: a@b.example\r\n",
	"Content-Type: text/plain; charset=utf-8\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
	"Gr=C3=BCn, gelb, blau, rot\r\n",
	"without a type, in UTF-8"},
    {"From: a@b.example\r\n\r\nGr\374n, gelb, blau, rot\r\n",
	{.is_encrypted = false}, "From: a@b.example\r\n",
	"Content-Type: text/plain; charset=unknown-8bit\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
	"Gr=FCn, gelb, blau, rot\r\n",
	"without a type, in who knows what"},
    {"From: a@b.example\r\nSubject: [secure]\r\n"
     "Content-Type: multipart/signed; "
     "protocol=\"application/pgp-signature\"; boundary=b \r\n\r\n"
     "--b\r\n\r\na \r\n--b\r\n\r\n--b--\r\n",
	{.is_encrypted = true, .obscures_subject = true},
	"From: a@b.example\r\nSubject: [...]\r\n",
	"Subject: \r\nContent-Type: multipart/signed; "
	"protocol=\"application/pgp-signature\"; boundary=b \r\n\r\n"
	"--b\r\n\r\na \r\n--b\r\n\r\n--b--\r\n",
	"signed by its sender, then encrypted"},
    {"From: a@b.example\r\nSubject: gold\r\nKeywords: gold\r\n"
     "Content-Type: multipart/signed; "
     "protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n"
     "--b\r\n\r\na \r\n--b\r\n\r\n--b--\r\n",
	{.obscures_subject = true},
	"From: a@b.example\r\nSubject: gold\r\nKeywords: gold\r\n",
	"Content-Type: multipart/signed; "
	"protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n"
	"--b\r\n\r\na \r\n--b\r\n\r\n--b--\r\n",
	"signed by its sender, and nothing else"},
};

static void
test_entities(void)
{
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++)
		check(entities[i].message, &entities[i].wishes,
		    entities[i].outer, entities[i].inner, entities[i].label);
}

/* Encrypted, the Subject hidden, and shown in the text. */
static void
check_displayed(const char *fields_and_body, const char *type, const char *body,
    const char *label)
{
	static const struct entity_wishes wishes = {.is_encrypted = true,
	    .obscures_subject = true,
	    .displays_subject = true};
	struct buf message, inner;

	buf_init(&message, OUTPUT_MAX);
	buf_init(&inner, OUTPUT_MAX);
	(void)buf_addf(
	    &message, "Subject: [secure] the <plan>\r\n%s", fields_and_body);
	(void)buf_addf(&inner,
	    "%sSubject: the <plan>\r\nHP-Outer: Subject: [...]\r\n\r\n%s", type,
	    body);
	check(buf_text(&message), &wishes, "Subject: [...]\r\n",
	    buf_text(&inner), label);
	buf_clear(&message);
	buf_clear(&inner);
}

#define QP_FIELD "Content-Transfer-Encoding: quoted-printable\r\n"
#define SHOWN "Subject: the <plan>\r\n\r\n"
#define SHOWN_HTML                                                \
	"<div class=3D\"header-protection-legacy-display\"><pre>" \
	"Subject: t=\r\nhe &#60;plan&#62;</pre></div>"

static void
test_displayed(void)
{
	check_displayed("\r\nhello\r\n",
	    "Content-Type: text/plain; charset=us-ascii;\r\n"
	    "\thp-legacy-display=\"1\";\r\n\thp=\"cipher\"\r\n" QP_FIELD,
	    SHOWN "hello\r\n", "a message that is text alone");
	check_displayed(
	    "Content-Type: text/plain; charset=utf-8; hp-legacy-display=0\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8NCg==\r\n",
	    "Content-Type: text/plain;\r\n\tcharset=\"utf-8\";\r\n"
	    "\thp-legacy-display=\"1\";\r\n\thp=\"cipher\"\r\n"
	    "Content-Transfer-Encoding: base64\r\n",
	    "U3ViamVjdDogdGhlIDxwbGFuPg0KDQpoZWxsbw0K\r\n", "base64 stays");
	check_displayed(
	    "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
	    "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n"
	    "Content-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
	    "Content-Type: text/html\r\n\r\n<html><body>hello\r\n--b--\r\n"
	    "--a\r\nContent-Type: text/plain\r\n\r\nnot I\r\n--a--\r\n",
	    "Content-Type: multipart/mixed;\r\n\tboundary=\"a\";\r\n"
	    "\thp=\"cipher\"\r\n",
	    "--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
	    "--b\r\nContent-Type: "
	    "text/plain;\r\n\thp-legacy-display=\"1\"\r\n" QP_FIELD "\r\n" SHOWN
	    "hello\r\n--b\r\n"
	    "Content-Type: text/html;\r\n\thp-legacy-display=\"1\"\r\n" QP_FIELD
	    "\r\n<html><body>" SHOWN_HTML "hello\r\n--b--\r\n"
	    "--a\r\nContent-Type: text/plain\r\n\r\nnot I\r\n--a--\r\n",
	    "all forms of the first text, and no other one");
	check_displayed(
	    "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
	    "Content-Type: text/plain\r\n"
	    "Content-Disposition: attachment\r\n\r\nhello\r\n--a--\r\n",
	    "Content-Type: multipart/mixed;\r\n\tboundary=\"a\";\r\n"
	    "\thp=\"cipher\"\r\n",
	    "--a\r\nContent-Type: text/plain\r\n"
	    "Content-Disposition: attachment\r\n\r\nhello\r\n--a--\r\n",
	    "not in an attachment");
	check_displayed("Content-Type: text/plain; charset=utf-16be\r\n"
			"Content-Transfer-Encoding: base64\r\n\r\nAGg=\r\n",
	    "Content-Type: text/plain;\r\n\tcharset=\"utf-16be\";\r\n"
	    "\thp=\"cipher\"\r\nContent-Transfer-Encoding: base64\r\n",
	    "AGg=\r\n", "not where ASCII is not ASCII");
}

static void
test_whole(void)
{
	struct texts t;

	buf_init(&t.outer, OUTPUT_MAX);
	buf_init(&t.inner, OUTPUT_MAX);
	buf_init(&t.whole, OUTPUT_MAX);
	write_all(mail, &(struct entity_wishes){.is_encrypted = false},
	    &t.outer, &t.inner, &t.whole);
	is_slice(buf_slice(&t.whole),
	    "Received: from a by b\r\n"
	    "From: a@example.org\r\n"
	    "To: b@example.net\r\n" GRUESSE "Keywords: gold\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Language: de \r\n"
	    "Content-Type: text/plain; charset=\"utf-8\"; hp=clear\r\n"
	    "\r\n"
	    "text \r\n",
	    "a message that stays loses its triggers alone");
	buf_clear(&t.outer);
	buf_clear(&t.inner);
	buf_clear(&t.whole);
}

/* ---- shapes ---- */

#define CMS_SIGNED "MIAGCSqGSIb3DQEHAqCAMIACAQEx\r\n"
#define CMS_ENVELOPED "MIAGCSqGSIb3DQEHA6CAMIACAQAx\r\n"
#define CMS_AUTH "MIICFgYLKoZIhvcNAQkQARegggIF\r\n"
#define CMS_DATA "MIAGCSqGSIb3DQEHAaCAJIAEBQ==\r\n"
#define P7M                                          \
	"Content-Type: application/x-pkcs7-mime\r\n" \
	"Content-Transfer-Encoding: base64\r\n\r\n"
#define ARMOR                                      \
	"-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n" \
	"-----END PGP MESSAGE-----\r\n"

/* "-----BEGIN PGP MESSAGE-----\n\nx\n", as far as it is looked at. */
#define ARMOR_IN_BASE64 "LS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0tCgp4Cg==\r\n"

static const struct {
	const char *label;
	const char *message;
	enum shape_kind kind;
	bool is_calendar;
	bool has_errant_layer;
} shapes[] = {
    {"plain", "From: a@b\r\n\r\nx\r\n", SHAPE_PLAIN, false, false},
    {"S/MIME in the clear",
	"Content-Type: multipart/signed; boundary=b; "
	"protocol=\"application/x-pkcs7-signature\"\r\n\r\n--b\r\n\r\n--b\r\n"
	"\r\n--b--\r\n",
	SHAPE_SMIME_SIGNED, false, false},
    {"without a protocol, by its part",
	"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-signature\r\n\r\n--b--\r\n",
	SHAPE_PGP_SIGNED, false, false},
    {"of another protocol",
	"Content-Type: multipart/signed; boundary=b; protocol=x\r\n\r\n",
	SHAPE_SIGNED_OTHER, false, false},
    {"opaque", P7M CMS_SIGNED, SHAPE_SMIME_OPAQUE, false, false},
    {"enveloped, whatever its label says",
	"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\n" CMS_ENVELOPED,
	SHAPE_SMIME_ENCRYPTED, false, false},
    {"authenticated", P7M CMS_AUTH, SHAPE_SMIME_ENCRYPTED, false, false},
    {"a CMS of no use", P7M CMS_DATA, SHAPE_SMIME_OTHER, false, false},
    {"no CMS at all", P7M "aGVsbG8=\r\n", SHAPE_SMIME_OTHER, false, false},
    {"by the name of the file",
	"Content-Type: application/octet-stream; name=\"x.P7M\"\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\n" CMS_ENVELOPED,
	SHAPE_SMIME_ENCRYPTED, false, false},
    {"which proves nothing",
	"Content-Type: application/octet-stream; name=\"x.p7m\"\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n",
	SHAPE_PLAIN, false, false},
    {"PGP/MIME",
	"Content-Type: multipart/encrypted; boundary=b; "
	"protocol=\"application/pgp-encrypted\"\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n\r\n" ARMOR
	"--b--\r\n",
	SHAPE_PGP_ENCRYPTED, false, false},
    {"the same by its label alone",
	"Content-Type: multipart/encrypted; boundary=b; "
	"protocol=\"application/pgp-encrypted\"\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n\r\nplain\r\n"
	"--b--\r\n",
	SHAPE_ENCRYPTED_OTHER, false, false},
    {"mixed up by Exchange",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
	"Content-Type: text/plain\r\n\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n\r\n" ARMOR
	"--b--\r\n",
	SHAPE_PGP_MIXED_UP, false, false},
    {"mixed up, and its parts in base64",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
	"Content-Type: text/plain\r\n\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\nVmVyc2lvbjogMQ0K\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\n" ARMOR_IN_BASE64 "--b--\r\n",
	SHAPE_PGP_MIXED_UP, false, false},
    {"PGP/MIME with its data in base64",
	"Content-Type: multipart/encrypted; boundary=b; "
	"protocol=\"application/pgp-encrypted\"\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\n" ARMOR_IN_BASE64 "--b--\r\n",
	SHAPE_PGP_ENCRYPTED, false, false},
    {"base64 of anything else",
	"Content-Type: multipart/encrypted; boundary=b; "
	"protocol=\"application/pgp-encrypted\"\r\n\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n",
	SHAPE_ENCRYPTED_OTHER, false, false},
    {"not quite mixed up",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
	"Content-Type: text/plain\r\n\r\nevil\r\n--b\r\n"
	"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	"--b\r\nContent-Type: application/octet-stream\r\n\r\n" ARMOR
	"--b--\r\n",
	SHAPE_PLAIN, false, false},
    {"inline PGP", "From: a@b\r\n\r\n\r\n" ARMOR, SHAPE_PGP_INLINE, false,
	false},
    {"inline PGP with text around it", "From: a@b\r\n\r\n" ARMOR "x\r\n",
	SHAPE_PLAIN, false, false},
    {"an invitation",
	"Content-Type: text/calendar; method=\"REQUEST\"\r\n\r\nx\r\n",
	SHAPE_PLAIN, true, false},
    {"a calendar to read",
	"Content-Type: text/calendar; method=PUBLISH\r\n\r\nx\r\n", SHAPE_PLAIN,
	false, false},
    {"an invitation that was forwarded",
	"Content-Type: message/rfc822\r\n\r\n"
	"Content-Type: text/calendar; method=REQUEST\r\n\r\nx\r\n",
	SHAPE_PLAIN, false, false},
    {"something signed further below",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
	"Content-Type: multipart/signed; boundary=c\r\n\r\n--b--\r\n",
	SHAPE_PLAIN, false, true},
    {"a signed mail that was forwarded",
	"Content-Type: message/rfc822\r\n\r\n"
	"Content-Type: multipart/signed; boundary=c\r\n\r\n",
	SHAPE_PLAIN, false, false},
};

static void
test_shapes(void)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct content content =
		    content_of(slice_of(shapes[i].message));
		struct shape shape;
		struct err err;

		if (shape_read(&content, &shape, &err) == -1)
			bug("%s", err.text);
		is_str(shape_text(shape.kind), shape_text(shapes[i].kind), "%s",
		    shapes[i].label);
		is_int(shape.is_calendar, shapes[i].is_calendar, "%s: calendar",
		    shapes[i].label);
		is_int(shape.has_errant_layer, shapes[i].has_errant_layer,
		    "%s: errant layers", shapes[i].label);
	}
}

int
main(void)
{
	test_subjects();
	test_entities();
	test_displayed();
	test_whole();
	test_shapes();
	return tap_done();
}
