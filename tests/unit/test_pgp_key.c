/* SPDX-License-Identifier: ISC */
/* OpenPGP keys of ours: made, taken apart and put together by GnuPG. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "signer/pgp_armor.h"
#include "signer/pgp_home.h"
#include "signer/pgp_key.h"
#include "signer/pgp_packets.h"
#include "tests/unit/tap.h"

static char scratch[] = "/tmp/test_pgp_key.XXXXXX";

static struct slice
key_of_blob(const struct buf *blob, char words_r[PGP_WORDS_SIZE])
{
	struct slice key = {NULL, 0};
	struct err err;

	if (pgp_blob_read(buf_slice(blob), words_r, &key, &err) == -1)
		diag("%s", err.text);
	return key;
}

/* How many secret parts, not stubs, are in a file of keys. */
static size_t
secrets_in(struct slice binary, size_t *keys_r)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	size_t count = 0;

	*keys_r = 0;
	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		struct pgp_key_packet key;

		if (packet.tag != PGP_TAG_SECRET_KEY &&
		    packet.tag != PGP_TAG_SECRET_SUBKEY)
			continue;
		(*keys_r)++;
		if (pgp_key_packet_read(&packet, &key, NULL) == 0 &&
		    key.has_secret && key.is_protected)
			count++;
	}
	return count;
}

static void
check_pair(const struct pgp_key_pair *pair, const char *what)
{
	char words[PGP_WORDS_SIZE];
	char other_words[PGP_WORDS_SIZE];
	struct pgp_key_shape shape;
	struct slice key;
	struct err err;
	size_t keys;

	ok(pgp_key_shape_read(buf_slice(&pair->public), &shape, &err) == 0 &&
		!shape.has_secret && shape.keys == 1,
	    "%s: the public part is one public key", what);
	is_str(shape.primary.fingerprint, pair->facts.fingerprint,
	    "%s: it has the fingerprint of the facts", what);
	key = key_of_blob(&pair->signing, words);
	is_u64(secrets_in(key, &keys), 1, "%s: one part signs", what);
	is_u64(keys, 1, "%s: and what decrypts is not with it", what);
	key = key_of_blob(&pair->decryption, other_words);
	is_u64(secrets_in(key, &keys), 1, "%s: one part decrypts", what);
	is_u64(keys, 2, "%s: and the primary key is a stub there", what);
	is_str(words, other_words, "%s: under the same words", what);
	is_u64(strlen(words), 64, "%s: of 256 bits", what);
}

static void
test_generate(struct pgp_key_pair *pair)
{
	struct err err = {""};

	is_int(
	    pgp_key_generate(scratch, PGP_KEY_ED25519, SLICE("Alice Liddell"),
		SLICE("alice@a.example"), 86400, pair, &err),
	    0, "a key is made (%s)", err.text);
	is_str(pair->facts.algorithm, "ed25519+cv25519", "its algorithms");
	is_u64(pair->facts.address_count, 1, "it has one address");
	is_str(pair->facts.addresses[0], "alice@a.example", "the one given");
	ok(pair->facts.can_sign && pair->facts.can_encrypt,
	    "it signs and encrypts");
	ok(pair->facts.expires_s > pair->facts.created_s,
	    "it expires some day");
	check_pair(pair, "made");
}

static void
test_generate_refused(void)
{
	struct pgp_key_pair pair;
	struct err err = {""};

	pgp_key_pair_init(&pair);
	is_int(
	    pgp_key_generate(scratch, PGP_KEY_ED25519, SLICE("A <b@b.example>"),
		SLICE("alice@a.example"), 0, &pair, &err),
	    -1, "a name that looks like an address is refused");
	is_int(pgp_key_generate(scratch, PGP_KEY_ED25519, SLICE("A"),
		   SLICE("alice"), 0, &pair, &err),
	    -1, "an address without a domain is refused");
	is_int(pgp_key_kind_by_name(SLICE("rsa1024")), PGP_KEY_KIND_COUNT,
	    "there is no kind with 1024 bits");
	pgp_key_pair_clear(&pair);
}

/* What a user would import: all secret parts, under his own pass phrase. */
static void
export_for_user(
    const struct pgp_key_pair *pair, const char *passphrase, struct buf *out)
{
	char words[PGP_WORDS_SIZE];
	struct pgp_home *home = NULL;
	gpgme_ctx_t context = NULL;
	gpgme_data_t data = NULL;
	gpgme_key_t key = NULL;
	struct slice sign = key_of_blob(&pair->signing, words);
	struct slice decrypt = key_of_blob(&pair->decryption, words);
	struct err err = {""};
	size_t n = 0;
	char *p;

	ok(pgp_home_new(scratch, &home, &err) == 0 &&
		pgp_home_import(home, decrypt, &err) == 0 &&
		pgp_home_import(home, sign, &err) == 0 &&
		pgp_home_key(home, pair->facts.fingerprint, true, &key, &err) ==
		    0 &&
		pgp_home_context(home, &context, &err) == 0,
	    "both parts fit together again (%s)", err.text);
	pgp_home_unlock_twice(home, words, passphrase);
	is_int(gpgme_op_passwd(context, key, 0), 0, "under another phrase");
	pgp_home_unlock(home, passphrase);
	(void)gpgme_data_new(&data);
	is_int(gpgme_op_export(context, pair->facts.fingerprint,
		   GPGME_EXPORT_MODE_SECRET, data),
	    0, "and are exported");
	p = gpgme_data_release_and_get_mem(data, &n);
	(void)buf_add(out, p, n);
	gpgme_free(p);
	pgp_home_unlock(home, NULL);
	(void)gpgme_data_new(&data);
	ok(gpgme_op_export(context, pair->facts.fingerprint,
	       GPGME_EXPORT_MODE_SECRET, data) != 0,
	    "but not once more: no phrase is remembered");
	gpgme_data_release(data);
	gpgme_key_unref(key);
	pgp_home_free(home);
}

static void
test_import(const struct pgp_key_pair *made)
{
	struct pgp_key_pair pair;
	struct err err = {""};
	struct buf file;
	struct buf armored;

	buf_init(&file, PGP_PRIVATE_MAX);
	buf_init(&armored, PGP_PRIVATE_MAX);
	export_for_user(made, "open sesame", &file);
	(void)pgp_armor_write(
	    PGP_ARMOR_PRIVATE_KEY, buf_slice(&file), &armored);
	pgp_key_pair_init(&pair);
	is_int(pgp_key_import(scratch, buf_slice(&armored), SLICE("wrong"),
		   time(NULL), &pair, &err),
	    -1, "a wrong pass phrase is refused");
	is_str(err.text, "the pass phrase is wrong", "with a reason");
	is_int(pgp_key_import(scratch, buf_slice(&armored), SLICE(""),
		   time(NULL), &pair, &err),
	    -1, "so is none");
	is_int(pgp_key_import(scratch, buf_slice(&armored),
		   SLICE("open sesame"), time(NULL), &pair, &err),
	    0, "the right one is not (%s)", err.text);
	check_pair(&pair, "imported");
	pgp_key_pair_clear(&pair);
	pgp_key_pair_init(&pair);
	is_int(pgp_key_import(scratch, buf_slice(&made->public),
		   SLICE("open sesame"), time(NULL), &pair, &err),
	    -1, "a public key is not imported as ours");
	pgp_key_pair_clear(&pair);
	buf_reset(&file);
	buf_clear(&file);
	buf_clear(&armored);
}

static void
without_subkeys(struct slice binary, struct buf *out)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	bool is_dropping = false;

	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		is_dropping |= packet.tag == PGP_TAG_PUBLIC_SUBKEY;
		if (!is_dropping)
			(void)buf_add_slice(out, packet.whole);
	}
}

/* Anybody may take something out of a public key and send the rest. */
static void
test_less(const struct pgp_key_pair *made)
{
	const struct slice whole = buf_slice(&made->public);
	const struct pgp_key_known nothing = {.count = 0};
	const struct pgp_key_known known = {.keys = &whole, .count = 1};
	const int64_t now_s = time(NULL);
	struct pgp_key_facts facts;
	struct pgp_key_shape shape;
	struct buf less;
	struct buf public;
	struct err err = {""};

	buf_init(&less, PGP_PUBLIC_MAX);
	buf_init(&public, PGP_PUBLIC_MAX);
	without_subkeys(whole, &less);
	is_int(pgp_key_parse_for(scratch, buf_slice(&less),
		   SLICE("alice@a.example"), &nothing, now_s, &facts, &public,
		   &err),
	    0, "a key without its subkey is one (%s)", err.text);
	ok(facts.can_sign && !facts.can_encrypt, "that cannot encrypt");
	buf_reset(&public);
	is_int(
	    pgp_key_parse_for(scratch, buf_slice(&less),
		SLICE("alice@a.example"), &known, now_s, &facts, &public, &err),
	    0, "as a copy of a known one it is read (%s)", err.text);
	ok(facts.can_sign && facts.can_encrypt, "and can encrypt as before");
	ok(pgp_key_shape_read(buf_slice(&public), &shape, &err) == 0 &&
		shape.keys == 1 && shape.subkeys == 1,
	    "what is stored has all of its parts");
	buf_clear(&less);
	buf_clear(&public);
}

static void
test_parse(const struct pgp_key_pair *made)
{
	const struct pgp_key_known nothing = {.count = 0};
	struct pgp_key_facts facts;
	struct buf public;
	struct buf two;
	struct err err = {""};
	const int64_t now_s = time(NULL);

	buf_init(&public, PGP_PUBLIC_MAX);
	is_int(pgp_key_parse(scratch, buf_slice(&made->public), now_s, &facts,
		   &public, &err),
	    0, "a public key is read (%s)", err.text);
	ok(pgp_key_has_address(&facts, SLICE("ALICE@a.example")),
	    "its address is found in any case");
	buf_reset(&public);
	is_int(pgp_key_parse(scratch, buf_slice(&made->public), now_s + 90000,
		   &facts, &public, &err),
	    0, "it is read when it expired (%s)", err.text);
	ok(facts.is_expired && !facts.can_encrypt && !facts.can_sign,
	    "but is good for nothing then");
	buf_reset(&public);
	is_int(
	    pgp_key_parse_for(scratch, buf_slice(&made->public),
		SLICE("bob@a.example"), &nothing, now_s, &facts, &public, &err),
	    -1, "a key of another address is not one of this");
	buf_init(&two, PGP_PUBLIC_MAX);
	(void)buf_add_slice(&two, buf_slice(&made->public));
	(void)buf_add_slice(&two, buf_slice(&made->public));
	is_int(pgp_key_parse(
		   scratch, buf_slice(&two), now_s, &facts, &public, &err),
	    -1, "two keys in a file are refused");
	is_str(err.text, "there are 2 keys in it, not one", "with a reason");
	is_int(pgp_key_parse(
		   scratch, SLICE("hello"), now_s, &facts, &public, &err),
	    -1, "a text is no key");
	buf_clear(&two);
	buf_clear(&public);
}

int
main(void)
{
	struct pgp_key_pair pair;
	struct err err = {""};

	if (mkdtemp(scratch) == NULL || pgp_start(&err) == -1) {
		fail("no start: %s", err.text);
		return tap_done();
	}
	pgp_key_pair_init(&pair);
	test_generate(&pair);
	test_generate_refused();
	test_import(&pair);
	test_parse(&pair);
	test_less(&pair);
	pgp_key_pair_clear(&pair);
	ok(rmdir(scratch) == 0, "nothing is left behind");
	return tap_done();
}
