/* SPDX-License-Identifier: ISC */
/*
 * Tests of common/tls_memory.c through OpenSSL's own calls: what is taken is
 * whole and apart from all else, and what is free goes back to the system.
 */
#include <string.h>

#include <openssl/crypto.h>

#include "common/tls_memory.h"
#include "tests/unit/tap.h"

#define RECORD 16384
#define OUTPUT_HALF 4096
/* More than there are slots. */
#define MANY 9000

static bool
is_all(const char *p, size_t n, char c)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != c)
			return false;
	}
	return true;
}

static void
test_apart(void)
{
	char *a = OPENSSL_malloc(RECORD);
	char *b = OPENSSL_malloc(OUTPUT_HALF);
	char *c = OPENSSL_malloc(100);

	memset(a, 'a', RECORD);
	memset(b, 'b', OUTPUT_HALF);
	memset(c, 'c', 100);
	ok(is_all(a, RECORD, 'a') && is_all(b, OUTPUT_HALF, 'b') &&
		is_all(c, 100, 'c'),
	    "what is taken is apart from what else is taken");
	OPENSSL_free(a);
	OPENSSL_free(b);
	OPENSSL_free(c);
	ok(OPENSSL_malloc(0) == NULL, "nothing is nothing");
	OPENSSL_free(NULL);
}

static void
test_resize(void)
{
	char *first = OPENSSL_malloc(10000);
	char *p;

	memset(first, 'r', 10000);
	p = OPENSSL_realloc(first, 20000);
	ok(p == first, "a buffer grows where it is");
	p = OPENSSL_realloc(p, 100000);
	ok(p != first && is_all(p, 10000, 'r'),
	    "until it is too large, and takes what it holds with it");
	p = OPENSSL_realloc(p, 5000);
	ok(is_all(p, 5000, 'r'), "and shrinks");
	ok(OPENSSL_realloc(p, 0) == NULL, "to nothing");
	p = OPENSSL_realloc(NULL, RECORD);
	ok(p == first, "the warmest is taken next");
	OPENSSL_free(p);
}

static void
test_trim(void)
{
	char *p = OPENSSL_malloc(RECORD);
	char *kept = OPENSSL_malloc(RECORD);
	char *again;

	memset(p, 'p', RECORD);
	memset(kept, 'k', RECORD);
	OPENSSL_free(p);
	tls_memory_trim();
	again = OPENSSL_malloc(RECORD);
	ok(again == p && is_all(again, RECORD, '\0'),
	    "pages of what is free are given back");
	ok(is_all(kept, RECORD, 'k'), "those of what is in use are not");
	OPENSSL_free(again);
	OPENSSL_free(kept);
}

static void
test_many(void)
{
	static char *taken[MANY];
	bool are_whole = true;

	for (size_t i = 0; i < MANY; i++) {
		taken[i] = OPENSSL_malloc(RECORD);
		memcpy(taken[i], &i, sizeof(i));
	}
	for (size_t i = 0; i < MANY; i++) {
		are_whole = are_whole && memcmp(taken[i], &i, sizeof(i)) == 0;
		OPENSSL_free(taken[i]);
	}
	ok(are_whole, "more than there are slots can be taken");
}

int
main(void)
{
	tls_memory_prepare();
	test_apart();
	test_resize();
	test_trim();
	test_many();
	tls_memory_prepare();
	test_apart();
	return tap_done();
}
