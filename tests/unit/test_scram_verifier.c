/* SPDX-License-Identifier: ISC */
/*
 * SCRAM-SHA-256 verifiers: made, written, read, compared; no other scheme.
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/scram_verifier.h"
#include "tests/unit/tap.h"

static const unsigned char salt[SCRAM_SALT_SIZE] = "sixteen octets!";
static const unsigned char secret[SCRAM_KEY_SIZE] = "a secret of the store";

/* From another implementation: Python's hashlib and hmac. */
#define PENCIL_KEYS                                     \
	"GEb9sGGdbaFL8lCKCT1qMIN8Vsby0lxDhOCoZMfojyE=:" \
	"Wu3WejFVK1qzZIvRGSYuoxEdS4yMMKuMymNY6O2NRZ4="
#define PENCIL_TEXT "SCRAM-SHA-256$10000:c2l4dGVlbiBvY3RldHMhAA==$" PENCIL_KEYS

static void
make(const char *password, struct scram_verifier *verifier)
{
	struct err err;

	if (scram_verifier_make(slice_of(password), salt, verifier, &err) == -1)
		bug("%s: %s", password, err.text);
}

static void
test_text(void)
{
	struct scram_verifier verifier;
	struct scram_verifier again;
	char text[SCRAM_TEXT_MAX];
	struct err err;

	make("pencil", &verifier);
	is_str(scram_verifier_format(&verifier, text), PENCIL_TEXT,
	    "a verifier is what RFC 5803 says");
	is_int(scram_verifier_parse(slice_of(text), &again, &err), 0,
	    "and reads back");
	ok(memcmp(&verifier, &again, sizeof(again)) == 0, "as it was");
}

static void
test_refused_texts(void)
{
	static const struct {
		const char *label;
		const char *text;
	} rows[] = {
	    {"nothing", ""},
	    {"a password in plain text", "secret"},
	    {"another hash",
		"SCRAM-SHA-1$10000:c2l4dGVlbiBvY3RldHMhAA==$" PENCIL_KEYS},
	    {"fewer iterations",
		"SCRAM-SHA-256$4096:c2l4dGVlbiBvY3RldHMhAA==$" PENCIL_KEYS},
	    {"one iteration",
		"SCRAM-SHA-256$1:c2l4dGVlbiBvY3RldHMhAA==$" PENCIL_KEYS},
	    {"a shorter salt", "SCRAM-SHA-256$10000:c2l4dGVl$" PENCIL_KEYS},
	    {"no keys", "SCRAM-SHA-256$10000:c2l4dGVlbiBvY3RldHMhAA==$:"},
	    {"text behind it", PENCIL_TEXT " "},
	    {"a space in it",
		"SCRAM-SHA-256$10000: c2l4dGVlbiBvY3RldHMhAA==$" PENCIL_KEYS},
	    {"a crypt hash", "$6$abc$def"},
	};
	struct scram_verifier verifier;
	size_t taken = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(scram_verifier_parse(
			   slice_of(rows[i].text), &verifier, NULL),
		    -1, "%s is refused", rows[i].label);
	for (size_t n = 0; n < sizeof(PENCIL_TEXT) - 1; n++)
		if (scram_verifier_parse(
			(struct slice){PENCIL_TEXT, n}, &verifier, NULL) == 0)
			taken++;
	is_u64(taken, 0, "so is one that is cut");
}

static void
test_find(void)
{
	struct scram_verifier list[3];
	unsigned char other_salt[SCRAM_SALT_SIZE] = "another salt...";

	make("first password", &list[0]);
	make("second password", &list[1]);
	(void)scram_verifier_make(
	    SLICE("third password"), other_salt, &list[2], NULL);
	is_int(scram_verifier_find(SLICE("first password"), list, 3), 0,
	    "the first of several is found");
	is_int(scram_verifier_find(SLICE("second password"), list, 3), 1,
	    "and the second");
	is_int(scram_verifier_find(SLICE("third password"), list, 3), 2,
	    "and one of another salt");
	is_int(scram_verifier_find(SLICE("fourth password"), list, 3), -1,
	    "but no other password");
	is_int(scram_verifier_find(SLICE("first password"), list, 0), -1,
	    "and none among none");
	is_int(scram_verifier_find(SLICE(""), list, 3), -1, "nor an empty one");
	is_int(scram_verifier_find(SLICE("first password\0"), list, 3), -1,
	    "nor one with a NUL behind it");
}

static void
test_passwords(void)
{
	static const struct {
		const char *label;
		struct slice password;
		int rc;
	} rows[] = {
	    {"an empty password", {"", 0}, -1},
	    {"one octet", {"x", 1}, -1},
	    {"six octets", {"secret", 6}, 0},
	    {"a NUL within", {"sec\0ret", 7}, -1},
	    {"Latin-1", {"Pa\xdfwort", 7}, -1},
	    {"UTF-8", {"Pa\xc3\x9fwort", 8}, 0},
	    {"a control character", {"sec\x07ret", 7}, -1},
	    {"a newline", {"sec\nret", 7}, -1},
	    {"an overlong sequence", {"secret\xc0\x80", 8}, -1},
	    {"a code point newer than Unicode 3.2",
		{"secret\xf0\x9f\x98\x80", 10}, 0},
	};
	char huge[SCRAM_PASSWORD_MAX + 1];
	struct err err;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(scram_password_check(rows[i].password, &err), rows[i].rc,
		    "%s: %s", rows[i].label,
		    rows[i].rc == 0 ? "taken" : "refused");
	memset(huge, 'x', sizeof(huge));
	is_int(scram_password_check(
		   (struct slice){huge, SCRAM_PASSWORD_MAX}, &err),
	    0, "1,024 octets are taken");
	is_int(scram_password_check(
		   (struct slice){huge, SCRAM_PASSWORD_MAX + 1}, &err),
	    -1, "one more is not");
	ok(strstr(err.text, "xxx") == NULL,
	    "and the sentence does not tell it");
}

/* RFC 4013: what looks the same is the same. */
static void
test_saslprep(void)
{
	struct scram_verifier verifier;

	make("I\xc2\xadX pass", &verifier);
	is_int(scram_verifier_find(SLICE("IX pass"), &verifier, 1), 0,
	    "a soft hyphen is nothing");
	make("\xc2\xaa"
	     "bcdef",
	    &verifier);
	is_int(scram_verifier_find(SLICE("abcdef"), &verifier, 1), 0,
	    "a feminine ordinal is an a");
	make("\xe2\x85\xa8"
	     "abcdef",
	    &verifier);
	is_int(scram_verifier_find(SLICE("IXabcdef"), &verifier, 1), 0,
	    "a Roman nine is IX");
	make("pass\xc2\xa0word", &verifier);
	is_int(scram_verifier_find(SLICE("pass word"), &verifier, 1), 0,
	    "a hard space is a space");
	is_int(scram_verifier_find(SLICE("Pass word"), &verifier, 1), -1,
	    "but case counts");
}

static void
test_decoys(void)
{
	struct scram_verifier decoy;
	struct scram_verifier again;
	struct scram_verifier other;
	unsigned char own_salt[SCRAM_SALT_SIZE];
	unsigned char other_secret[SCRAM_KEY_SIZE] = "another store";

	scram_verifier_decoy(secret, SLICE("nobody"), &decoy);
	scram_verifier_decoy(secret, SLICE("nobody"), &again);
	ok(memcmp(&decoy, &again, sizeof(decoy)) == 0,
	    "a name's decoy is always the same");
	scram_salt(secret, SLICE("nobody"), own_salt);
	ok(memcmp(own_salt, decoy.salt, sizeof(own_salt)) == 0,
	    "and has the salt that the account would have");
	scram_verifier_decoy(secret, SLICE("somebody"), &other);
	ok(memcmp(decoy.salt, other.salt, SCRAM_SALT_SIZE) != 0,
	    "another name has another");
	scram_verifier_decoy(other_secret, SLICE("nobody"), &other);
	ok(memcmp(decoy.salt, other.salt, SCRAM_SALT_SIZE) != 0,
	    "and so has another store");
	ok(memcmp(decoy.stored_key, decoy.server_key, SCRAM_KEY_SIZE) != 0,
	    "its keys differ");
	is_int(scram_verifier_find(SLICE("nobody"), &decoy, 1), -1,
	    "no password fits");
}

int
main(void)
{
	test_text();
	test_refused_texts();
	test_find();
	test_passwords();
	test_saslprep();
	test_decoys();
	return tap_done();
}
