/* SPDX-License-Identifier: ISC */
/*
 * Private keys at rest: sealed for one class and one name, opened by nobody
 * else.
 */
#include <stdlib.h>
#include <string.h>

#include "signer/wrap.h"
#include "tests/unit/tap.h"

#define SECRET SLICE("a private key")
#define SIGN SLICE("sign")
#define NAME SLICE("k-1")

static struct wrap_key
class_key(unsigned char first, const char *name)
{
	struct wrap_key master = {.octets = {first}};
	struct wrap_key key;
	struct err err;

	if (wrap_class_key(&master, name, &key, &err) == -1)
		bug("%s", err.text);
	return key;
}

static struct buf
sealed_for(const struct wrap_key *key)
{
	struct wrap_key public;
	struct buf sealed;
	struct err err;

	buf_init(&sealed, WRAP_SECRET_MAX + WRAP_OVERHEAD);
	if (wrap_public(key, &public, &err) == -1 ||
	    wrap_seal(&public, SIGN, NAME, SECRET, &sealed, &err) == -1)
		bug("%s", err.text);
	return sealed;
}

static bool
opens(const struct wrap_key *key, struct slice class_name, struct slice name,
    struct slice sealed)
{
	struct buf secret;
	struct err err;
	bool is_open;

	buf_init(&secret, WRAP_SECRET_MAX + 1);
	is_open =
	    wrap_open(key, class_name, name, sealed, &secret, &err) == 0 &&
	    slice_equals(buf_slice(&secret), SECRET);
	if (!is_open && secret.n != 0)
		bug("a refused secret was given out");
	wrap_wipe(&secret);
	return is_open;
}

static void
test_places(void)
{
	const struct wrap_key key = class_key(1, "sign");
	const struct wrap_key other_class = class_key(1, "open");
	const struct wrap_key other_master = class_key(2, "sign");
	struct buf sealed = sealed_for(&key);
	struct buf again = sealed_for(&key);
	const struct slice s = buf_slice(&sealed);

	is_u64(sealed.n, SECRET.n + WRAP_OVERHEAD, "the overhead is as said");
	ok(opens(&key, SIGN, NAME, s), "it opens where it belongs");
	ok(!opens(&other_class, SIGN, NAME, s), "not by another class's key");
	ok(!opens(&other_master, SIGN, NAME, s), "not under another master");
	ok(!opens(&key, SLICE("open"), NAME, s), "not as another class's");
	ok(!opens(&key, SIGN, SLICE("k-2"), s), "not under another name");
	ok(memmem(s.p, s.n, SECRET.p, SECRET.n) == NULL,
	    "the secret cannot be seen");
	ok(!slice_equals(s, buf_slice(&again)),
	    "the same secret is sealed differently each time");
	buf_clear(&sealed);
	buf_clear(&again);
}

static void
test_damage(void)
{
	const struct wrap_key key = class_key(1, "sign");
	struct buf sealed = sealed_for(&key);
	size_t opened = 0;

	for (size_t i = 0; i < sealed.n; i++) {
		sealed.p[i] ^= 1;
		opened += opens(&key, SIGN, NAME, buf_slice(&sealed));
		sealed.p[i] ^= 1;
	}
	is_u64(opened, 0, "no changed octet passes");
	opened = 0;
	for (size_t n = 0; n < sealed.n; n++)
		opened += opens(&key, SIGN, NAME, (struct slice){sealed.p, n});
	is_u64(opened, 0, "nothing cut short passes");
	ok(opens(&key, SIGN, NAME, buf_slice(&sealed)), "the whole does");
	memset(sealed.p + 8, 0, WRAP_KEY_SIZE);
	ok(!opens(&key, SIGN, NAME, buf_slice(&sealed)),
	    "a public key of small order does not");
	buf_clear(&sealed);
}

static void
test_limits(void)
{
	const struct wrap_key key = class_key(1, "sign");
	struct wrap_key public;
	struct buf sealed;
	struct err err;
	char *large = xcalloc(1, WRAP_SECRET_MAX + 1);

	buf_init(&sealed, 2 * WRAP_SECRET_MAX);
	ok(wrap_public(&key, &public, &err) == 0, "a public half");
	is_int(wrap_seal(&public, SIGN, NAME,
		   (struct slice){large, WRAP_SECRET_MAX + 1}, &sealed, &err),
	    -1, "a secret beyond the limit is refused");
	is_int(wrap_seal(&public, SIGN, NAME,
		   (struct slice){large, WRAP_SECRET_MAX}, &sealed, &err),
	    0, "one at the limit is not");
	buf_clear(&sealed);
	free(large);
}

int
main(void)
{
	test_places();
	test_damage();
	test_limits();
	return tap_done();
}
