/* SPDX-License-Identifier: ISC */
/*
 * DKIM: the canonical forms against RFC 6376's examples and a slow, plain
 * reading of its text; the digests and signatures of RFC 8463's appendix;
 * what our own fields name.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/header.h"
#include "signer/dkim.h"
#include "signer/dkim_canon.h"
#include "tests/unit/tap.h"

/* ---- bodies ---- */

/* RFC 6376 §3.4.4 read word by word, line by line. */
static void
plain_relaxed(struct slice body, struct buf *out)
{
	struct buf line;
	size_t empty = 0;
	bool has_text = false;

	buf_init(&line, 1 << 20);
	for (size_t i = 0; i <= body.n;) {
		size_t end = i;
		bool has_blank = false;

		while (
		    end < body.n && !(body.p[end] == '\r' && end + 1 < body.n &&
					body.p[end + 1] == '\n'))
			end++;
		buf_reset(&line);
		for (size_t k = i; k < end; k++) {
			if (body.p[k] == ' ' || body.p[k] == '\t') {
				has_blank = true;
				continue;
			}
			if (has_blank)
				(void)buf_add_char(&line, ' ');
			has_blank = false;
			(void)buf_add_char(&line, body.p[k]);
		}
		if (line.n > 0) {
			for (; empty > 0; empty--)
				(void)buf_add_text(out, "\r\n");
			if (has_text)
				(void)buf_add_text(out, "\r\n");
			(void)buf_add_slice(out, buf_slice(&line));
			has_text = true;
		} else {
			empty++;
		}
		i = end + 2;
	}
	if (has_text)
		(void)buf_add_text(out, "\r\n");
	buf_clear(&line);
}

static void
digest_of(struct slice s, unsigned char digest_r[32])
{
	(void)EVP_Digest(s.p, s.n, digest_r, NULL, EVP_sha256(), NULL);
}

/* The digest of a body that comes in pieces of that size. */
static void
body_digest(struct slice body, size_t piece, unsigned char digest_r[32])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	struct dkim_body state;

	(void)EVP_DigestInit_ex(context, EVP_sha256(), NULL);
	dkim_body_init(&state, context);
	for (size_t i = 0; i < body.n; i += piece)
		dkim_body_feed(
		    &state, (struct slice){body.p + i,
				body.n - i < piece ? body.n - i : piece});
	(void)dkim_body_finish(&state);
	(void)EVP_DigestFinal_ex(context, digest_r, NULL);
	EVP_MD_CTX_free(context);
}

static bool
becomes(struct slice body, struct slice canonical)
{
	unsigned char got[32];
	unsigned char want[32];

	digest_of(canonical, want);
	for (size_t piece = 1; piece <= body.n + 1; piece++) {
		body_digest(body, piece, got);
		if (memcmp(got, want, sizeof(got)) != 0)
			return false;
	}
	return true;
}

static void
test_bodies(void)
{
	static const struct {
		const char *what;
		struct slice body;
		struct slice canonical;
	} rows[] = {
	    {"RFC 6376, 3.4.5", SLICE(" C \r\nD \t E\r\n\r\n\r\n"),
		SLICE(" C\r\nD E\r\n")},
	    {"no body", SLICE(""), SLICE("")},
	    {"empty lines alone", SLICE("\r\n\r\n\r\n"), SLICE("")},
	    {"blank lines alone", SLICE(" \r\n\t \r\n"), SLICE("")},
	    {"no line end at the end", SLICE("a"), SLICE("a\r\n")},
	    {"blanks at the end, no line end", SLICE("a \t"), SLICE("a\r\n")},
	    {"a blank line between", SLICE("a\r\n \t\r\nb\r\n"),
		SLICE("a\r\n\r\nb\r\n")},
	    {"a line of one tab", SLICE("\ta\tb\r\n"), SLICE(" a b\r\n")},
	    {"a CR that is no line end", SLICE("a \rb\r"),
		SLICE("a \rb\r\r\n")},
	    {"an LF that is no line end", SLICE("a \nb \n"),
		SLICE("a \nb \n\r\n")},
	    {"CR CR LF", SLICE("a \r\r\nb"), SLICE("a \r\r\nb\r\n")},
	    {"many empty lines between",
		SLICE("a\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nb"),
		SLICE("a\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nb"
		      "\r\n")},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(becomes(rows[i].body, rows[i].canonical), "%s",
		    rows[i].what);
}

/* Few kinds of octets, so that every pair and triple of them occurs. */
static void
test_random_bodies(void)
{
	static const char octets[] = "  \t\t\r\n\nab\r\r\n";
	unsigned seed = 7;
	unsigned wrong = 0;

	for (unsigned round = 0; round < 20000; round++) {
		char body[80];
		struct buf canonical;
		unsigned char got[32];
		unsigned char want[32];
		size_t n = (size_t)rand_r(&seed) % sizeof(body);
		size_t piece = (size_t)rand_r(&seed) % 20 + 1;

		for (size_t i = 0; i < n; i++)
			body[i] = octets[(size_t)rand_r(&seed) %
					 (sizeof(octets) - 1)];
		buf_init(&canonical, 4096);
		plain_relaxed((struct slice){body, n}, &canonical);
		digest_of(buf_slice(&canonical), want);
		body_digest((struct slice){body, n}, piece, got);
		wrong += memcmp(got, want, sizeof(got)) != 0;
		buf_clear(&canonical);
	}
	is_u64(wrong, 0,
	    "20,000 random bodies are as a plain reading has "
	    "them");
}

/* ---- fields ---- */

static void
test_fields(void)
{
	static const struct {
		struct slice name;
		struct slice value;
		const char *canonical;
	} rows[] = {
	    {SLICE("A"), SLICE(" X\r\n"), "a:X\r\n"},
	    {SLICE("B"), SLICE(" Y\t\r\n\tZ  \r\n"), "b:Y Z\r\n"},
	    {SLICE("SubJect"), SLICE(""), "subject:\r\n"},
	    {SLICE("X"), SLICE("  \r\n  \r\n"), "x:\r\n"},
	    {SLICE("X"), SLICE("a\r\n\tb\r\n c"), "x:a b c\r\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;

		buf_init(&out, 1024);
		dkim_canon_field(rows[i].name, rows[i].value, &out);
		is_slice(buf_slice(&out), rows[i].canonical, "field %zu", i);
		buf_clear(&out);
	}
}

/* ---- RFC 8463, appendix A ---- */

static const char example[] =
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    "\r\n"
    "Hi.\r\n"
    "\r\n"
    "We lost the game.  Are you hungry yet?\r\n"
    "\r\n"
    "Joe.\r\n";
#define EXAMPLE_BODY_HASH "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
static const char example_names[] =
    "from : to : subject : date : message-id : from : subject : date";

static const char ed25519_value[] =
    " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    " subject : date : message-id : from : subject : date;\r\n"
    " bh=" EXAMPLE_BODY_HASH ";\r\n"
    " b=";
static const char ed25519_signature[] =
    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus"
    "Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
static const char ed25519_secret[] =
    "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

static const char rsa_value[] =
    " v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
    " date : message-id : from : subject : date;\r\n"
    " bh=" EXAMPLE_BODY_HASH ";\r\n"
    " b=";
static const char rsa_signature[] =
    "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3"
    "DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz"
    "dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=";
static const char rsa_secret[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"
    "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"
    "KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"
    "AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"
    "6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"
    "zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"
    "6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"
    "uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"
    "WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"
    "WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"
    "licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"
    "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"
    "uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"
    "-----END RSA PRIVATE KEY-----\n";

static EVP_PKEY *
ed25519_key(void)
{
	unsigned char octets[32];
	size_t n;

	(void)base64_decode(
	    slice_of(ed25519_secret), octets, sizeof(octets), &n);
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, octets, n);
}

static EVP_PKEY *
rsa_key(void)
{
	BIO *bio = BIO_new_mem_buf(rsa_secret, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

	BIO_free(bio);
	return key;
}

/* The signature over that digest is the RFC's. */
static bool
verifies(EVP_PKEY *key, const char *signature, const unsigned char digest[32])
{
	unsigned char octets[256];
	EVP_PKEY_CTX *context;
	EVP_MD_CTX *md;
	size_t n;
	bool is_good;

	if (base64_decode(slice_of(signature), octets, sizeof(octets), &n) ==
	    -1)
		return false;
	if (EVP_PKEY_is_a(key, "ED25519")) {
		md = EVP_MD_CTX_new();
		is_good =
		    EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(md, octets, n, digest, 32) == 1;
		EVP_MD_CTX_free(md);
		return is_good;
	}
	context = EVP_PKEY_CTX_new(key, NULL);
	is_good = EVP_PKEY_verify_init(context) == 1 &&
		  EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1 &&
		  EVP_PKEY_verify(context, octets, n, digest, 32) == 1;
	EVP_PKEY_CTX_free(context);
	return is_good;
}

static void
test_rfc8463(void)
{
	struct slice message = SLICE(example);
	struct dkim *dkim = dkim_new();
	EVP_PKEY *ed25519 = ed25519_key();
	EVP_PKEY *rsa = rsa_key();
	unsigned char digest[32];
	char text[64];
	struct header header;

	header_init(&header, 0);
	is_int(header_read(&header, message), PARSE_OK, "the RFC's message");
	body_digest((struct slice){message.p + header.body_offset,
			message.n - header.body_offset},
	    message.n, digest);
	(void)base64_encode(digest, sizeof(digest), text, sizeof(text));
	is_str(text, EXAMPLE_BODY_HASH, "RFC 8463: the body's hash");
	is_int(dkim_header_digest(dkim, &header, slice_of(example_names),
		   slice_of(ed25519_value), digest),
	    0, "RFC 8463: the header's digest for Ed25519");
	ok(verifies(ed25519, ed25519_signature, digest),
	    "RFC 8463: is what the RFC's Ed25519 signature signs");
	is_int(dkim_header_digest(dkim, &header, slice_of(example_names),
		   slice_of(rsa_value), digest),
	    0, "RFC 8463: the header's digest for RSA");
	ok(verifies(rsa, rsa_signature, digest),
	    "RFC 8463: is what the RFC's RSA signature signs");
	header_clear(&header);
	EVP_PKEY_free(ed25519);
	EVP_PKEY_free(rsa);
	dkim_free(dkim);
}

/* ---- our own fields ---- */

static size_t
times_in(struct slice text, const char *word)
{
	char *copy = slice_dup(text);
	size_t count = 0;

	for (char *at = copy; (at = strstr(at, word)) != NULL; at++)
		count++;
	free(copy);
	return count;
}

static void
test_own_fields(void)
{
	struct content content = content_of(SLICE(example));
	struct dkim *dkim = dkim_new();
	struct dkim_signer signers[2] = {
	    {SLICE("football.example.com"), SLICE("r1"), rsa_key()},
	    {SLICE("football.example.com"), SLICE("e1"), ed25519_key()}};
	struct err err = {""};
	struct dkim_task *task =
	    dkim_task_new(dkim, signers, 2, 1700000000, &err);
	struct slice text;
	size_t size;

	ok(task != NULL, "two signers");
	is_int(dkim_task_fields(task, &content, &err), 0, "the fields: %s",
	    err.text);
	size = dkim_task_size(task);
	is_int(
	    dkim_task_sign(task, &content, 0, &err), 0, "signed: %s", err.text);
	text = dkim_task_text(task);
	is_u64(text.n, size, "as long as it was said before");
	is_u64(times_in(text, "DKIM-Signature: v=1; a="), 2, "two fields");
	ok(times_in(text, "a=rsa-sha256") == 1 &&
		times_in((struct slice){text.p, 40}, "rsa-sha256") == 1,
	    "RSA is the first");
	is_u64(times_in(text, "From:"), 4, "From is signed twice in each");
	is_u64(times_in(text, "Reply-To"), 2,
	    "Reply-To, which is not there, once");
	is_u64(times_in(text, "References"), 0, "References not at all");
	is_u64(times_in(text, EXAMPLE_BODY_HASH), 2, "the body's hash");
	is_u64(times_in(text, " l="), 0, "the whole body");
	for (size_t i = 0, line = 0; i < text.n; i++) {
		line = text.p[i] == '\n' ? 0 : line + 1;
		if (line > 79) {
			fail("a line is longer than 78");
			break;
		}
	}
	dkim_task_free(task);
	EVP_PKEY_free(signers[0].key);
	EVP_PKEY_free(signers[1].key);
	dkim_free(dkim);
}

static void
test_refusals(void)
{
	static const struct {
		const char *what;
		struct slice message;
	} rows[] = {
	    {"two From", SLICE("From: a@b\r\nFrom: c@d\r\n\r\nx")},
	    {"no From", SLICE("To: a@b\r\n\r\nx")},
	    {"a line that is no field", SLICE("From: a@b\r\nodd\r\n\r\nx")},
	    {"a fold before the first field",
		SLICE(" odd\r\nFrom: a@b\r\n\r\nx")},
	    {"a fold of blanks alone",
		SLICE("From: a@b\r\nSubject: x\r\n \r\nTo: x@y\r\n\r\nx")},
	};
	struct dkim *dkim = dkim_new();
	struct dkim_signer signer = {SLICE("b"), SLICE("s"), ed25519_key()};
	struct dkim_task *task = dkim_task_new(dkim, &signer, 1, 0, NULL);
	EVP_PKEY *wrong = EVP_EC_gen("P-256");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct content content = content_of(rows[i].message);

		is_int(dkim_task_fields(task, &content, NULL), -1,
		    "not signed: %s", rows[i].what);
	}
	dkim_task_free(task);
	EVP_PKEY_free(signer.key);
	signer.key = wrong;
	ok(dkim_task_new(dkim, &signer, 1, 0, NULL) == NULL,
	    "a key on P-256 is none of DKIM's");
	EVP_PKEY_free(wrong);
	dkim_free(dkim);
}

int
main(void)
{
	test_bodies();
	test_random_bodies();
	test_fields();
	test_rfc8463();
	test_own_fields();
	test_refusals();
	return tap_done();
}
