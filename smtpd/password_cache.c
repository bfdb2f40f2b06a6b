/* SPDX-License-Identifier: ISC */
/*
 * A fixed table of verified passwords, in small sets; a newer one takes the
 * place of the one in its set that expires first.
 * Runs in: postern-authd.  Trusts: its caller, who verified what is added.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/err.h"
#include "smtpd/password_cache.h"

#define KEY_SIZE 32
#define HASH_SIZE 32
/* Two parts of a SASL message; what is longer was never verified. */
#define TEXT_MAX 32768
/* A site's clients within a few minutes. */
#define SET_COUNT 1024
/* So many that sets overflow only when the table is about full. */
#define SET_SIZE 8

struct slot {
	unsigned char hash[HASH_SIZE];
	int64_t user_id; /* 0: free */
	int64_t app_id;
	uint64_t expires_ms;
};

struct password_cache {
	unsigned char key[KEY_SIZE];
	struct slot sets[SET_COUNT][SET_SIZE];
};

struct password_cache *
password_cache_new(void)
{
	struct password_cache *cache = xcalloc(1, sizeof(*cache));

	if (getrandom(cache->key, sizeof(cache->key), 0) !=
	    (ssize_t)sizeof(cache->key))
		fatal("getrandom: %s", strerror(errno));
	return cache;
}

void
password_cache_free(struct password_cache *cache)
{
	if (cache == NULL)
		return;
	explicit_bzero(cache, sizeof(*cache));
	free(cache);
}

/* A name holds no NUL, so the two cannot be cut apart differently. */
static struct slot *
find_set(struct password_cache *cache, struct slice login,
    struct slice password, unsigned char hash_r[HASH_SIZE])
{
	struct buf text;
	unsigned size = 0;
	uint32_t index;

	buf_init(&text, TEXT_MAX);
	(void)buf_add_slice(&text, login);
	(void)buf_add_char(&text, '\0');
	(void)buf_add_slice(&text, password);
	if (HMAC(EVP_sha256(), cache->key, sizeof(cache->key),
		(const unsigned char *)text.p, text.n, hash_r, &size) == NULL ||
	    size != HASH_SIZE)
		fatal("HMAC-SHA-256 failed");
	explicit_bzero(text.p, text.n);
	buf_clear(&text);
	memcpy(&index, hash_r, sizeof(index));
	return cache->sets[index % SET_COUNT];
}

static bool
is_of(const struct slot *slot, const unsigned char hash[HASH_SIZE])
{
	return slot->user_id != 0 &&
	       CRYPTO_memcmp(slot->hash, hash, HASH_SIZE) == 0;
}

void
password_cache_add(struct password_cache *cache, struct slice login,
    struct slice password, int64_t user_id, int64_t app_id, uint64_t expires_ms)
{
	unsigned char hash[HASH_SIZE];
	struct slot *set = find_set(cache, login, password, hash);
	struct slot *slot = &set[0];

	/* The same one, else a free one (it expired at 0), else the oldest. */
	for (size_t i = 0; i < SET_SIZE && !is_of(slot, hash); i++) {
		if (is_of(&set[i], hash) ||
		    set[i].expires_ms < slot->expires_ms)
			slot = &set[i];
	}
	memcpy(slot->hash, hash, sizeof(hash));
	slot->user_id = user_id;
	slot->app_id = app_id;
	slot->expires_ms = expires_ms;
}

bool
password_cache_find(struct password_cache *cache, struct slice login,
    struct slice password, uint64_t now_ms, int64_t *user_id_r,
    int64_t *app_id_r)
{
	unsigned char hash[HASH_SIZE];
	const struct slot *set = find_set(cache, login, password, hash);

	for (size_t i = 0; i < SET_SIZE; i++) {
		if (!is_of(&set[i], hash) || now_ms >= set[i].expires_ms)
			continue;
		*user_id_r = set[i].user_id;
		*app_id_r = set[i].app_id;
		return true;
	}
	return false;
}

void
password_cache_drop(struct password_cache *cache, int64_t user_id)
{
	for (size_t i = 0; i < SET_COUNT * SET_SIZE; i++) {
		struct slot *slot = &cache->sets[i / SET_SIZE][i % SET_SIZE];

		if (slot->user_id == user_id)
			memset(slot, 0, sizeof(*slot));
	}
}

void
password_cache_drop_all(struct password_cache *cache)
{
	memset(cache->sets, 0, sizeof(cache->sets));
}
