/* SPDX-License-Identifier: ISC */
/* Armor and packets: what is taken, and what GnuPG never gets to see. */
#include <string.h>

#include "signer/pgp_armor.h"
#include "signer/pgp_packets.h"
#include "tests/unit/tap.h"

#define BYTES(text) ((struct slice){(text), sizeof(text) - 1})

/* A session key of version 3 for 01..08, and protected data. */
#define SESSION_KEY "\xc1\x0c\x03\1\2\3\4\5\6\7\x08\x01\0\0"
#define NAMELESS_KEY "\xc1\x0c\x03\0\0\0\0\0\0\0\0\x01\0\0"
#define SEALED         \
	"\xd2\x05\x01" \
	"abcd"
#define SIGNATURE "\xc2\x05\x04\x00\x16\x08\x00"

struct armor_row {
	const char *what;
	const char *text;
	const char *octets; /* NULL: refused */
};

static const struct armor_row armors[] = {
    {"a message",
	"-----BEGIN PGP MESSAGE-----\r\n\r\nAQID\r\n=gmcf\r\n"
	"-----END PGP MESSAGE-----\r\n",
	NULL},
    {"one without a checksum",
	"-----BEGIN PGP MESSAGE-----\n\nAQID\n-----END PGP MESSAGE-----\n",
	"\1\2\3"},
    {"headers and text around it",
	"hello\n-----BEGIN PGP MESSAGE-----\nVersion: 1\nHash: x\n\nAQ\nID\n"
	"-----END PGP MESSAGE-----\nbye\n",
	"\1\2\3"},
    {"blanks at line ends",
	"-----BEGIN PGP MESSAGE----- \t\n \nAQID \n"
	"-----END PGP MESSAGE-----  \n",
	"\1\2\3"},
    {"another end",
	"-----BEGIN PGP MESSAGE-----\n\nAQID\n-----END PGP SIGNATURE-----\n",
	NULL},
    {"no end", "-----BEGIN PGP MESSAGE-----\n\nAQID\n", NULL},
    {"no blank line",
	"-----BEGIN PGP MESSAGE-----\nAQID\n-----END PGP MESSAGE-----\n", NULL},
    {"two of them",
	"-----BEGIN PGP MESSAGE-----\n\nAQID\n-----END PGP MESSAGE-----\n"
	"-----BEGIN PGP MESSAGE-----\n\nAQID\n-----END PGP MESSAGE-----\n",
	NULL},
    {"a kind that is not taken",
	"-----BEGIN PGP MESSAGE, PART 1-----\n\nAQID\n"
	"-----END PGP MESSAGE, PART 1-----\n",
	NULL},
    {"what is not base64",
	"-----BEGIN PGP MESSAGE-----\n\nA?ID\n-----END PGP MESSAGE-----\n",
	NULL},
    {"nothing in it",
	"-----BEGIN PGP MESSAGE-----\n\n-----END PGP MESSAGE-----\n", NULL},
};

static void
test_armor(void)
{
	for (size_t i = 0; i < sizeof(armors) / sizeof(armors[0]); i++) {
		const struct armor_row *row = &armors[i];
		enum pgp_armor_kind kind;
		struct buf out;
		struct err err;
		int rc;

		buf_init(&out, 100);
		rc = pgp_armor_read(
		    slice_of(row->text), &kind, &out, NULL, &err);
		if (row->octets == NULL)
			is_int(rc, -1, "armor: %s is refused", row->what);
		else
			is_slice(buf_slice(&out), row->octets,
			    "armor: %s is read", row->what);
		buf_clear(&out);
	}
}

static void
test_round_trip(void)
{
	enum pgp_armor_kind kind;
	struct buf text;
	struct buf back;
	char octets[300];

	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (char)(i * 7);
	for (size_t n = 1; n < sizeof(octets); n += 37) {
		buf_init(&text, 2000);
		buf_init(&back, 2000);
		(void)pgp_armor_write(
		    PGP_ARMOR_SIGNATURE, (struct slice){octets, n}, &text);
		ok(pgp_armor_read(buf_slice(&text), &kind, &back, NULL, NULL) ==
			    0 &&
			kind == PGP_ARMOR_SIGNATURE && back.n == n &&
			memcmp(back.p, octets, n) == 0,
		    "armor: %zu octets come back", n);
		/* The first letter of the body becomes another. */
		text.p[strlen("-----BEGIN PGP SIGNATURE-----\r\n\r\n")] ^= 1;
		ok(pgp_armor_read(buf_slice(&text), &kind, &back, NULL, NULL) ==
			-1,
		    "armor: a changed letter is found");
		buf_clear(&text);
		buf_clear(&back);
	}
}

struct packet_row {
	const char *what;
	struct slice octets;
	bool is_taken;
};

static const struct packet_row sealed_rows[] = {
    {"a session key and data", BYTES(SESSION_KEY SEALED), true},
    {"two session keys", BYTES(SESSION_KEY NAMELESS_KEY SEALED), true},
    {"a marker before", BYTES("\xca\x03PGP" SESSION_KEY SEALED), true},
    {"data in pieces",
	BYTES(SESSION_KEY "\xd2\xe1\x01"
			  "a\x01"
			  "b"),
	true},
    {"data without a session key", BYTES(SEALED), false},
    {"a pass phrase", BYTES("\xc3\x04\x04\x07\x00\x08" SEALED), false},
    {"data without protection",
	BYTES(SESSION_KEY "\xc9\x05"
			  "abcde"),
	false},
    {"something behind", BYTES(SESSION_KEY SEALED SIGNATURE), false},
    {"a literal before",
	BYTES("\xcb\x07"
	      "b\0\0\0\0\0x" SESSION_KEY SEALED),
	false},
    {"data of another version",
	BYTES(SESSION_KEY "\xd2\x02\x02"
			  "a"),
	false},
    {"a session key of another version",
	BYTES("\xc1\x0c\x06\1\2\3\4\5\6\7\x08\x01\0\0" SEALED), false},
    {"data cut short",
	BYTES(SESSION_KEY "\xd2\x09\x01"
			  "abcd"),
	false},
    {"no end of the pieces",
	BYTES(SESSION_KEY "\xd2\xe1\x01"
			  "a"),
	false},
    {"no packet", BYTES("hello"), false},
    {"nothing", BYTES(""), false},
};

static const struct packet_row signature_rows[] = {
    {"one signature", BYTES(SIGNATURE), true},
    {"two of them", BYTES(SIGNATURE SIGNATURE), true},
    {"of the old format", BYTES("\x88\x05\x04\x01\x16\x08\x00"), true},
    {"one of a key", BYTES("\xc2\x05\x04\x10\x16\x08\x00"), false},
    {"one of version 3", BYTES("\xc2\x05\x03\x05\x00\x08\x00"), false},
    {"a text beside it",
	BYTES("\xcb\x07"
	      "b\0\0\0\0\0x" SIGNATURE),
	false},
    {"one-pass", BYTES("\xc4\x05\x03\x00\x08\x16\x00" SIGNATURE), false},
    {"compressed",
	BYTES("\xc8\x03\x00"
	      "xx"),
	false},
    {"in pieces", BYTES("\xc2\xe1\x04\x00\x03\x16\x08\x00"), false},
    {"none", BYTES(""), false},
};

static void
test_shapes(void)
{
	const struct packet_row *row = sealed_rows;
	struct err err;

	for (size_t i = 0; i < sizeof(sealed_rows) / sizeof(*row); i++, row++) {
		struct pgp_sealed sealed;

		is_int(pgp_sealed_check(row->octets, &sealed, &err),
		    row->is_taken ? 0 : -1, "encrypted: %s", row->what);
	}
	row = signature_rows;
	for (size_t i = 0; i < sizeof(signature_rows) / sizeof(*row);
	     i++, row++) {
		size_t count;

		is_int(pgp_signatures_check(row->octets, &count, &err),
		    row->is_taken ? 0 : -1, "signatures: %s", row->what);
	}
}

static void
test_filter(void)
{
	static const unsigned char mine[][PGP_KEY_ID_SIZE] = {
	    {1, 2, 3, 4, 5, 6, 7, 8}};
	static const unsigned char other[][PGP_KEY_ID_SIZE] = {
	    {1, 2, 3, 4, 5, 6, 7, 9}};
	const struct slice head = BYTES(SESSION_KEY NAMELESS_KEY);
	struct buf out;

	buf_init(&out, 100);
	is_u64(pgp_sealed_filter(head, other, 1, false, &out), 0,
	    "a key that it is not for gets nothing");
	is_u64(pgp_sealed_filter(head, mine, 1, false, &out), 1,
	    "one that it is for gets its own");
	is_mem(
	    out.p, out.n, SESSION_KEY, sizeof(SESSION_KEY) - 1, "and no other");
	buf_reset(&out);
	is_u64(pgp_sealed_filter(head, mine, 0, true, &out), 1,
	    "what is for nobody named is taken when wanted");
	buf_clear(&out);
}

static void
test_flood(void)
{
	struct pgp_sealed sealed;
	struct buf many;

	buf_init(&many, 1 << 20);
	for (int i = 0; i < PGP_PACKETS_MAX + 1; i++)
		(void)buf_add(&many, "\xca\x03PGP", 5);
	(void)buf_add(
	    &many, SESSION_KEY SEALED, sizeof(SESSION_KEY SEALED) - 1);
	is_int(pgp_sealed_check(buf_slice(&many), &sealed, NULL), -1,
	    "a flood of packets is refused");
	buf_clear(&many);
}

/* Keys of integers of so many bits. */
static const struct {
	const char *what;
	unsigned algorithm;
	unsigned bits[4];
	bool is_taken;
} key_rows[] = {
    {"RSA", 1, {4096, 17}, true},
    {"RSA with a long modulus", 1, {8193, 17}, false},
    {"RSA with a long exponent", 1, {2048, 2047}, false},
    {"RSA to sign with, with a long modulus", 3, {16384, 17}, false},
    {"ElGamal", 16, {4096, 3, 4096}, true},
    {"ElGamal with a long prime", 16, {8192, 3, 4096}, false},
    {"DSA", 17, {3072, 256, 3072, 3072}, true},
    {"DSA with a large subgroup", 17, {3072, 1024, 3072, 3072}, false},
    {"DSA with a long number", 17, {3072, 256, 3072, 16384}, false},
};

static void
test_keys(void)
{
	static const char octets[2048];
	struct pgp_key_shape shape;
	struct buf key, body;
	struct err err;

	buf_init(&key, 65536);
	buf_init(&body, 65536);
	for (size_t i = 0; i < sizeof(key_rows) / sizeof(key_rows[0]); i++) {
		buf_reset(&key);
		buf_reset(&body);
		(void)buf_add(&body, "\4\1\1\1\1", 5);
		(void)buf_add_char(&body, (char)key_rows[i].algorithm);
		for (size_t j = 0; j < 4 && key_rows[i].bits[j] > 0; j++) {
			const unsigned bits = key_rows[i].bits[j];

			(void)buf_add_char(&body, (char)(bits >> 8));
			(void)buf_add_char(&body, (char)(bits & 255));
			(void)buf_add(&body, octets, (bits + 7) / 8);
		}
		(void)buf_add(&key, "\x99", 1);
		(void)buf_add_char(&key, (char)(body.n >> 8));
		(void)buf_add_char(&key, (char)(body.n & 255));
		(void)buf_add_slice(&key, buf_slice(&body));
		is_int(pgp_key_shape_read(buf_slice(&key), &shape, &err),
		    key_rows[i].is_taken ? 0 : -1, "a key: %s",
		    key_rows[i].what);
	}
	buf_clear(&key);
	buf_clear(&body);
}

int
main(void)
{
	test_armor();
	test_round_trip();
	test_shapes();
	test_filter();
	test_flood();
	test_keys();
	return tap_done();
}
