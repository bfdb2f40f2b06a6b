/* SPDX-License-Identifier: ISC */
/*
 * Bodies before they are signed: what changes, and what must not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "signer/canon.h"
#include "signer/canon_scan.h"
#include "tests/unit/tap.h"

#define OUTPUT_MAX ((size_t)16 * 1024 * 1024)

static void
canonical(const struct content *content, struct buf *out, bool *is_7bit_r,
    const char **encoding_r)
{
	struct sink sink = sink_of_buf(out);
	struct canon *canon;
	struct err err;

	if (canon_new(content, &canon, &err) == -1 ||
	    canon_write_body(canon, &sink, &err) == -1)
		bug("%s", err.text);
	*is_7bit_r = canon_is_7bit(canon);
	*encoding_r = canon_root_encoding(canon);
	canon_free(canon);
}

static int
file_of(struct slice text)
{
	int fd = memfd_create("content", MFD_CLOEXEC);

	if (fd == -1 || write(fd, text.p, text.n) != (ssize_t)text.n)
		bug("no file");
	return fd;
}

struct row {
	const char *label;
	const char *message;
	const char *body;     /* NULL: as it came */
	const char *encoding; /* of the root; NULL: it stays */
	bool is_not_7bit;
};

#define TEXT "Content-Type: text/plain; charset=utf-8\r\n"
#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"

static const struct row rows[] = {
    {"clean text stays", TEXT "\r\na\r\n b\r\n", NULL, NULL, false},
    {"an empty body stays", TEXT "\r\n", NULL, NULL, false},
    {"no line end at the end", TEXT "\r\nabc", NULL, NULL, false},
    {"a blank at a line's end", TEXT "\r\na \r\n", "a=20\r\n",
	"quoted-printable", false},
    {"a tab at the very end", TEXT "\r\na\t", "a=09", "quoted-printable",
	false},
    {"text/plain; format=flowed",
	"Content-Type: text/plain; format=flowed\r\n\r\nsoft \r\nhard\r\n-- "
	"\r\n",
	"soft=20\r\nhard\r\n--=20\r\n", "quoted-printable", false},
    {"From at a line's beginning", TEXT "\r\nFrom me\r\nFrom: x\r\n",
	"=46rom me\r\nFrom: x\r\n", "quoted-printable", false},
    {"an octet over 127",
	TEXT "Content-Transfer-Encoding: 8bit\r\n\r\nGr\303\274n, "
	     "gelb, blau\r\n",
	"Gr=C3=BCn, gelb, blau\r\n", "quoted-printable", false},
    {"many octets over 127", TEXT "\r\n\320\237\321\200\320\270\r\n",
	"0J/RgNC4DQo=\r\n", "base64", false},
    {"an equals sign in text that changes", TEXT "\r\na=b \r\n", "a=3Db=20\r\n",
	"quoted-printable", false},
    {"a bare LF", TEXT "\r\na\nb\r\n", "YQpiDQo=\r\n", "base64", false},
    {"a bare CR", TEXT "\r\na\rb\r\n", "YQ1iDQo=\r\n", "base64", false},
    {"8bit that is none is called so",
	TEXT "Content-Transfer-Encoding: 8bit\r\n\r\nabc\r\n", NULL, "7bit",
	false},
    {"so is binary", TEXT "Content-Transfer-Encoding: binary\r\n\r\nabc\r\n",
	NULL, "7bit", false},
    {"a binary attachment",
	"Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	"\377\376\r\n",
	"//4NCg==\r\n", "base64", false},
    {"quoted-printable that is clean", TEXT QP "\r\na=20\r\n=\r\nb\r\n", NULL,
	NULL, false},
    {"quoted-printable with blanks behind it",
	TEXT QP "\r\na=3D  \r\nb= \r\nc\r\n", "a=3D\r\nbc\r\n", NULL, false},
    {"quoted-printable with octets over 127", TEXT QP "\r\n\303\274=\r\nx\r\n",
	"=C3=BCx\r\n", NULL, false},
    {"quoted-printable with From", TEXT QP "\r\nFrom =41\r\n", "=46rom A\r\n",
	NULL, false},
    {"quoted-printable that is broken", TEXT QP "\r\na=zz= \r\n \r\n=4",
	"a=3Dzz\r\n=3D4", NULL, false},
    {"base64 with blanks behind its lines",
	TEXT "Content-Transfer-Encoding: base64\r\n\r\nYWJj \r\nZGVm\r\n",
	"YWJjZGVm\r\n", NULL, false},
    {"an unknown encoding is not touched",
	TEXT "Content-Transfer-Encoding: x-uue\r\n\r\na \r\n", NULL, NULL,
	false},
    {"nor made 7bit", TEXT "Content-Transfer-Encoding: x-uue\r\n\r\n\377\r\n",
	NULL, NULL, true},
    {"a part of a multipart",
	MULTI "--b\r\n" TEXT "\r\na \r\n--b\r\n" TEXT "\r\nb\r\n--b--\r\n",
	"--b\r\n" TEXT QP "\r\na=20\r\n--b\r\n" TEXT "\r\nb\r\n--b--\r\n", NULL,
	false},
    {"its field is replaced",
	MULTI "--b\r\nContent-Transfer-Encoding: 8bit\r\n" TEXT
	      "\r\n\303\274 aaaaaaaaaaaa\r\n--b--\r\n",
	"--b\r\n" QP TEXT "\r\n=C3=BC aaaaaaaaaaaa\r\n--b--\r\n", NULL, false},
    {"a part without a header", MULTI "--b\r\n\r\na \r\n--b--\r\n",
	"--b\r\n" QP "\r\na=20\r\n--b--\r\n", NULL, false},
    {"a part without even a blank line", MULTI "--b\r\na \r\n--b--\r\n",
	"--b\r\n" QP "\r\na=20\r\n--b--\r\n", NULL, false},
    {"blanks in a part's header",
	MULTI "--b\r\nContent-Type: text/plain; \r\n charset=x\t\r\n\r\na\r\n"
	      "--b--\r\n",
	"--b\r\nContent-Type: text/plain;\r\n charset=x\r\n\r\na\r\n"
	"--b--\r\n",
	NULL, false},
    {"blanks behind delimiters",
	MULTI "--b \t\r\n\r\na\r\n--b  \r\n\r\nb\r\n--b-- \r\n",
	"--b\r\n\r\na\r\n--b\r\n\r\nb\r\n--b--\r\n", NULL, false},
    {"a preamble and an epilogue that are clean",
	MULTI "pre\r\n--b\r\n\r\na\r\n--b--\r\npost\r\n", NULL, NULL, false},
    {"those that are not go",
	MULTI "pr\303\251 \r\nx\r\n--b\r\n\r\na\r\n--b--\r\npost \r\n",
	"--b\r\n\r\na\r\n--b--\r\n", NULL, false},
    {"a multipart that is not closed", MULTI "--b\r\n\r\na \r\n",
	"--b\r\n" QP "\r\na=20\r\n", NULL, false},
    {"a multipart without parts stays", MULTI "no delimiter \r\n", NULL, NULL,
	false},
    {"and is no 7bit when it is not", MULTI "no d\303\251limiter\r\n", NULL,
	NULL, true},
    {"a container's encoding",
	"Content-Type: multipart/mixed; boundary=b\r\n"
	"Content-Transfer-Encoding: 8bit\r\n\r\n"
	"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n"
	"Content-Transfer-Encoding: binary\r\n\r\n--c\r\n\r\na\r\n--c--\r\n"
	"--b--\r\n",
	"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n"
	"Content-Transfer-Encoding: 7bit\r\n\r\n--c\r\n\r\na\r\n--c--\r\n"
	"--b--\r\n",
	"7bit", false},
    {"what is in a message changes",
	MULTI "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	      "From: a@b\r\n" TEXT "\r\na \r\n--b--\r\n",
	"--b\r\nContent-Type: message/rfc822\r\n\r\n"
	"From: a@b\r\n" TEXT QP "\r\na=20\r\n--b--\r\n",
	NULL, false},
    {"unless somebody signed it by DKIM",
	MULTI "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	      "DKIM-Signature: x \r\n" TEXT "\r\na \r\n--b--\r\n",
	NULL, NULL, false},
    {"which may not be 7bit",
	MULTI "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	      "DKIM-Signature: x\r\n" TEXT "\r\n\303\274\r\n--b--\r\n",
	NULL, NULL, true},
    {"what is signed stays",
	MULTI "--b\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n"
	      "--s\r\n" TEXT "\r\na \r\nFrom x\r\n--s\r\n\r\nsig \r\n"
	      "--s-- \r\n \r\n--b\r\n" TEXT "\r\nb \r\n--b--\r\n",
	"--b\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n"
	"--s\r\n" TEXT "\r\na \r\nFrom x\r\n--s\r\n\r\nsig \r\n"
	"--s-- \r\n \r\n--b\r\n" TEXT QP "\r\nb=20\r\n--b--\r\n",
	NULL, false},
    {"a delivery report stays",
	MULTI "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
	      "Reporting-MTA: dns; x \r\n--b--\r\n",
	NULL, NULL, false},
    {"two types are nobody's to change",
	"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\na \r\n",
	NULL, NULL, false},
};

static void
test_row(const struct row *row)
{
	struct slice message = slice_of(row->message);
	const char *blank = strstr(row->message, "\r\n\r\n");
	const char *want = row->body != NULL ? row->body : blank + 4;
	struct content contents[2] = {content_of(message)};
	int fd = file_of(message);
	struct err err;

	if (content_of_file(fd, &contents[1], &err) == -1)
		bug("%s", err.text);
	for (int i = 0; i < 2; i++) {
		const char *encoding;
		struct buf out;
		bool is_7bit;

		buf_init(&out, OUTPUT_MAX);
		canonical(&contents[i], &out, &is_7bit, &encoding);
		is_slice(buf_slice(&out), want, "%s (%s)", row->label,
		    i == 0 ? "memory" : "file");
		if (i == 0) {
			is_str(encoding, row->encoding, "%s: encoding",
			    row->label);
			is_int(
			    is_7bit, !row->is_not_7bit, "%s: 7bit", row->label);
		}
		buf_clear(&out);
	}
	close_if_open(&fd);
}

/* Lines as long as they get, at every place in the window of a file. */
static void
test_long_lines(void)
{
	static const size_t sizes[] = {
	    997, 998, 999, 65534, 65535, 65536, 65537, 131071, 200000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf message, memory, file;
		struct content content;
		const char *encoding;
		struct slice text;
		bool is_7bit;
		int fd;

		buf_init(&message, OUTPUT_MAX);
		buf_init(&memory, OUTPUT_MAX);
		buf_init(&file, OUTPUT_MAX);
		(void)buf_add_text(&message, TEXT "\r\n");
		for (size_t n = 0; n < sizes[i]; n++)
			(void)buf_add_char(
			    &message, (char)('a' + (int)(n % 26)));
		(void)buf_add_text(&message, "\r\nshort\r\n");
		text = buf_slice(&message);
		content = content_of(text);
		canonical(&content, &memory, &is_7bit, &encoding);
		is_str(encoding,
		    sizes[i] > CANON_LINE_MAX ? "quoted-printable" : NULL,
		    "a line of %zu octets", sizes[i]);
		fd = file_of(text);
		(void)content_of_file(fd, &content, NULL);
		canonical(&content, &file, &is_7bit, &encoding);
		ok(slice_equals(buf_slice(&memory), buf_slice(&file)),
		    "and the same from a file");
		for (size_t at = 0, line = 0; at < memory.n; at++) {
			line = memory.p[at] == '\n' ? 0 : line + 1;
			if (line > CANON_LINE_MAX + 1) {
				fail("a line is too long");
				break;
			}
		}
		close_if_open(&fd);
		buf_clear(&message);
		buf_clear(&memory);
		buf_clear(&file);
	}
}

/* More than anybody needs: as it is, and not to be signed in the clear. */
static void
test_too_many(void)
{
	struct buf message, out;
	const char *encoding;
	struct content content;
	bool is_7bit;

	buf_init(&message, OUTPUT_MAX);
	buf_init(&out, OUTPUT_MAX);
	(void)buf_add_text(&message, MULTI);
	for (int i = 0; i < 12000; i++)
		(void)buf_add_text(&message, "--b\r\n\r\na \r\n");
	content = content_of(buf_slice(&message));
	canonical(&content, &out, &is_7bit, &encoding);
	is_u64(out.n, message.n - (sizeof(MULTI) - 1), "12000 parts stay");
	ok(!is_7bit, "and are not signed in the clear");
	buf_clear(&message);
	buf_clear(&out);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		test_row(&rows[i]);
	test_long_lines();
	test_too_many();
	return tap_done();
}
