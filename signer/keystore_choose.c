/* SPDX-License-Identifier: ISC */
/*
 * Which of the keys of an address, or of its domain, is used: to sign, to
 * encrypt, to open what came, to check a signature; and why none is.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: the store for what
 * is in it; the time and what is asked come as arguments.
 */
#include <string.h>

#include "signer/keystore_store.h"

/* "@domain" of an address, or "" without one. */
static struct slice
domain_subject(struct slice address)
{
	size_t at = address.n;

	while (at > 0 && address.p[at - 1] != '@')
		at--;
	return at == 0 ? (struct slice){NULL, 0}
		       : (struct slice){address.p + at - 1, address.n - at + 1};
}

const char *
keystore_result_text(enum keystore_result result)
{
	static const char *const texts[KEYSTORE_RESULT_COUNT] = {
	    [KEYSTORE_FOUND] = "",
	    [KEYSTORE_NONE] = "no key is known",
	    [KEYSTORE_UNSUITABLE] = "no key that is known may do that",
	    [KEYSTORE_REVOKED] = "the key was revoked",
	    [KEYSTORE_EXPIRED] = "the key is not valid at this time",
	    [KEYSTORE_PENDING] = "the key waits for approval",
	    [KEYSTORE_UNTRUSTED] = "the key is not trusted enough",
	    [KEYSTORE_BROKEN] = "the key store failed"};

	return texts[result];
}

static bool
is_valid_at(const struct key *key, int64_t now_s)
{
	return key->not_before_s <= now_s &&
	       (key->not_after_s == 0 || now_s <= key->not_after_s);
}

/* What one is asked for. */
struct wish {
	enum key_kind kind;
	enum key_use use;
	bool is_ours; /* with a private part */
	unsigned min_trust;
	int64_t now_s;
};

static enum keystore_result
judge(const struct cache_item *item, const struct wish *wish)
{
	const struct key *key = &item->key;

	if (key->kind != wish->kind ||
	    (wish->is_ours && key->secret_ref[0] == '\0'))
		return KEYSTORE_NONE;
	if (key->status == KEY_REVOKED)
		return KEYSTORE_REVOKED;
	if ((key->uses & (unsigned)wish->use) == 0 ||
	    (key->status != KEY_ACTIVE && key->status != KEY_PENDING))
		return KEYSTORE_UNSUITABLE;
	if (!is_valid_at(key, wish->now_s))
		return KEYSTORE_EXPIRED;
	if (key->status == KEY_PENDING || item->is_pending)
		return KEYSTORE_PENDING;
	return item->trust < wish->min_trust ? KEYSTORE_UNTRUSTED
					     : KEYSTORE_FOUND;
}

/*
 * Pinned before others, then of correspondents' keys the one that is trusted
 * more, then the one that is valid the longest.
 */
static bool
is_better(const struct cache_item *a, const struct cache_item *b)
{
	if (b == NULL)
		return true;
	if (a->is_pinned != b->is_pinned)
		return a->is_pinned;
	if (a->trust != b->trust && a->key.secret_ref[0] == '\0' &&
	    b->key.secret_ref[0] == '\0')
		return a->trust > b->trust;
	if (a->key.not_after_s == b->key.not_after_s)
		return a->key.id > b->key.id;
	return a->key.not_after_s == 0 ||
	       (b->key.not_after_s != 0 &&
		   a->key.not_after_s > b->key.not_after_s);
}

static enum keystore_result
choose(const struct cache_entry *entry, const struct wish *wish,
    const struct cache_item **item_r)
{
	const struct cache_item *best = NULL;
	enum keystore_result most = KEYSTORE_NONE;

	for (size_t i = 0; i < entry->count; i++) {
		const struct cache_item *item = entry->items[i];
		const enum keystore_result result = judge(item, wish);

		if (result == KEYSTORE_FOUND) {
			if (is_better(item, best))
				best = item;
		} else if (result > most) {
			most = result;
		}
	}
	if (best == NULL)
		return most;
	*item_r = best;
	return KEYSTORE_FOUND;
}

/* The address's own keys, else its domain's. */
static enum keystore_result
find_item(struct keystore *keystore, struct slice address,
    const struct wish *wish, const struct cache_item **item_r)
{
	const struct slice subjects[] = {address, domain_subject(address)};
	enum keystore_result most = KEYSTORE_NONE;

	for (size_t i = 0; i < 2; i++) {
		const struct cache_entry *entry =
		    keystore_lookup_subject(keystore, subjects[i], NULL);
		enum keystore_result result;

		if (entry == NULL)
			return KEYSTORE_BROKEN;
		result = choose(entry, wish, item_r);
		if (result == KEYSTORE_FOUND)
			return result;
		if (result > most)
			most = result;
	}
	return most;
}

enum keystore_result
keystore_signer(struct keystore *keystore, enum key_kind kind,
    struct slice address, int64_t now_s, const struct key **key_r)
{
	const struct wish wish = {
	    .kind = kind, .use = KEY_SIGNS, .is_ours = true, .now_s = now_s};
	const struct cache_item *item;
	const enum keystore_result result =
	    find_item(keystore, address, &wish, &item);

	if (result == KEYSTORE_FOUND)
		*key_r = &item->key;
	return result;
}

enum keystore_result
keystore_recipient(struct keystore *keystore, enum key_kind kind,
    struct slice address, unsigned min_trust, int64_t now_s,
    struct key_binding *binding_r)
{
	const struct wish wish = {.kind = kind,
	    .use = KEY_ENCRYPTS,
	    .min_trust = min_trust,
	    .now_s = now_s};
	const struct cache_item *item;
	const enum keystore_result result =
	    find_item(keystore, address, &wish, &item);

	if (result != KEYSTORE_FOUND)
		return result;
	*binding_r = (struct key_binding){.key = &item->key,
	    .trust = item->trust,
	    .is_pinned = item->is_pinned};
	memcpy(binding_r->subject, item->subject, sizeof(item->subject));
	memcpy(binding_r->source, item->source, sizeof(item->source));
	return result;
}

static bool
is_decryptor(const struct cache_item *item)
{
	const struct key *key = &item->key;

	/* A revoked key still opens what was encrypted to it. */
	return key->secret_ref[0] != '\0' && (key->uses & KEY_ENCRYPTS) != 0 &&
	       key->status != KEY_DISABLED && key->status != KEY_PENDING;
}

/*
 * A key that came with a mail says nothing of who sent the next one: anybody
 * may write an address into From and bring a key for it along.
 */
static bool
is_candidate(const struct cache_item *item)
{
	return (item->key.uses & KEY_SIGNS) != 0 && !item->is_pending &&
	       item->trust > TRUST_HARVESTED &&
	       item->key.status != KEY_DISABLED &&
	       item->key.status != KEY_PENDING;
}

static bool
is_correspondents(const struct cache_item *item)
{
	return item->key.secret_ref[0] == '\0';
}

static int
list_keys(struct keystore *keystore, enum key_kind kind, struct slice address,
    bool (*is_wanted)(const struct cache_item *), struct key_list *list_r,
    struct err *err)
{
	const struct slice subjects[] = {address, domain_subject(address)};
	const struct cache_entry *entry;

	list_r->count = 0;
	for (size_t s = 0; s < 2; s++) {
		entry = keystore_lookup_subject(keystore, subjects[s], err);
		if (entry == NULL)
			return -1;
		for (size_t i = 0;
		     i < entry->count && list_r->count < KEYSTORE_LIST_MAX; i++)
			if (entry->items[i]->key.kind == kind &&
			    is_wanted(entry->items[i]))
				list_r->keys[list_r->count++] =
				    &entry->items[i]->key;
	}
	return 0;
}

int
keystore_decryptors(struct keystore *keystore, enum key_kind kind,
    struct slice address, struct key_list *list_r, struct err *err)
{
	return list_keys(keystore, kind, address, is_decryptor, list_r, err);
}

int
keystore_candidates(struct keystore *keystore, enum key_kind kind,
    struct slice address, struct key_list *list_r, struct err *err)
{
	return list_keys(keystore, kind, address, is_candidate, list_r, err);
}

int
keystore_correspondents(struct keystore *keystore, enum key_kind kind,
    struct slice address, struct key_list *list_r, struct err *err)
{
	return list_keys(
	    keystore, kind, address, is_correspondents, list_r, err);
}
