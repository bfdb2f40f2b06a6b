/* SPDX-License-Identifier: ISC */
/*
 * A key's facts: who it is of, what it may do, until when.
 * Runs in: postern-signerd's workers.  Trusts: GnuPG's list of the key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "signer/pgp_key_facts.h"

struct slice
pgp_user_id_address(struct slice user_id)
{
	size_t start = user_id.n;

	if (user_id.n > 0 && user_id.p[user_id.n - 1] == '>') {
		while (start > 0 && user_id.p[start - 1] != '<')
			start--;
		if (start == 0)
			return (struct slice){NULL, 0};
		user_id.n--;
	} else {
		start = 0;
	}
	user_id = (struct slice){user_id.p + start, user_id.n - start};
	if (slice_find(user_id, '@', 0) == user_id.n)
		return (struct slice){NULL, 0};
	return user_id;
}

bool
pgp_key_has_address(const struct pgp_key_facts *facts, struct slice address)
{
	for (size_t i = 0; i < facts->address_count; i++)
		if (slice_equals_nocase(slice_of(facts->addresses[i]), address))
			return true;
	return false;
}

/* ---- strength, time ---- */

static bool
is_counted_in_bits(gpgme_pubkey_algo_t algorithm)
{
	return algorithm == GPGME_PK_RSA || algorithm == GPGME_PK_RSA_E ||
	       algorithm == GPGME_PK_RSA_S || algorithm == GPGME_PK_DSA ||
	       algorithm == GPGME_PK_ELG || algorithm == GPGME_PK_ELG_E;
}

static bool
is_weak(gpgme_subkey_t subkey)
{
	return is_counted_in_bits(subkey->pubkey_algo) &&
	       subkey->length < PGP_BITS_MIN;
}

static bool
is_expired(gpgme_subkey_t subkey, int64_t now_s)
{
	return subkey->expires != 0 && subkey->expires <= now_s;
}

bool
pgp_subkey_is_usable(gpgme_subkey_t subkey, int64_t now_s)
{
	return !subkey->revoked && !subkey->invalid && !subkey->disabled &&
	       !is_expired(subkey, now_s) && !is_weak(subkey);
}

/* The one that is usable the longest; NULL: none. */
static gpgme_subkey_t
best_subkey(gpgme_key_t key, bool for_encryption, int64_t now_s)
{
	gpgme_subkey_t best = NULL;

	for (gpgme_subkey_t at = key->subkeys; at != NULL; at = at->next) {
		bool fits = for_encryption ? at->can_encrypt : at->can_sign;

		if (!fits || !pgp_subkey_is_usable(at, now_s))
			continue;
		if (best == NULL || at->expires == 0 ||
		    (best->expires != 0 && at->expires > best->expires))
			best = at;
	}
	return best;
}

/* ---- words ---- */

static void
add_name(gpgme_subkey_t subkey, struct buf *out)
{
	const char *name = gpgme_pubkey_algo_name(subkey->pubkey_algo);

	if (subkey->curve != NULL) {
		(void)buf_addf(out, "%s", subkey->curve);
		return;
	}
	if (subkey->pubkey_algo == GPGME_PK_RSA)
		name = "rsa";
	else if (subkey->pubkey_algo == GPGME_PK_DSA)
		name = "dsa";
	else if (is_counted_in_bits(subkey->pubkey_algo))
		name = "elgamal";
	(void)buf_addf(
	    out, "%s-%u", name == NULL ? "unknown" : name, subkey->length);
}

static void
name_algorithm(
    gpgme_key_t key, gpgme_subkey_t encrypts, struct pgp_key_facts *facts_r)
{
	struct buf text;

	buf_init(&text, sizeof(facts_r->algorithm) - 1);
	add_name(key->subkeys, &text);
	if (encrypts != NULL && encrypts != key->subkeys &&
	    (encrypts->pubkey_algo != key->subkeys->pubkey_algo ||
		encrypts->length != key->subkeys->length)) {
		(void)buf_add_char(&text, '+');
		add_name(encrypts, &text);
	}
	(void)slice_copy(
	    buf_slice(&text), facts_r->algorithm, sizeof(facts_r->algorithm));
	buf_clear(&text);
}

static void
add_address(gpgme_user_id_t uid, struct pgp_key_facts *facts_r)
{
	struct slice text = pgp_user_id_address(slice_of(uid->uid));
	char *out;
	struct address address;
	char formatted[ADDRESS_TEXT_MAX];

	if (uid->revoked || uid->invalid ||
	    facts_r->address_count == PGP_ADDRESSES_MAX ||
	    address_parse(text, ADDRESS_MAY_BE_UTF8, &address, NULL) == -1)
		return;
	text = slice_of(address_format(&address, formatted));
	out = facts_r->addresses[facts_r->address_count];
	if (!pgp_key_has_address(facts_r, text) &&
	    slice_copy(text, out, PGP_ADDRESS_SIZE) == 0)
		facts_r->address_count++;
}

/* The earlier of two times, 0 being never. */
static int64_t
earlier(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a == 0 ? b : a;
	return a < b ? a : b;
}

int
pgp_key_facts_read(gpgme_key_t key, int64_t now_s,
    struct pgp_key_facts *facts_r, struct err *err)
{
	gpgme_subkey_t primary = key->subkeys;
	gpgme_subkey_t signs = best_subkey(key, false, now_s);
	gpgme_subkey_t encrypts = best_subkey(key, true, now_s);
	bool is_alive;

	memset(facts_r, 0, sizeof(*facts_r));
	if (primary == NULL || primary->fpr == NULL ||
	    slice_copy(slice_of(primary->fpr), facts_r->fingerprint,
		sizeof(facts_r->fingerprint)) == -1)
		return err_set(err, "gpg lists no such key");
	if (is_weak(primary))
		return err_set(err, "the key is too weak: %u bits, not %u",
		    primary->length, PGP_BITS_MIN);
	facts_r->is_revoked = primary->revoked;
	facts_r->is_expired = is_expired(primary, now_s);
	is_alive = pgp_subkey_is_usable(primary, now_s);
	facts_r->can_sign = is_alive && signs != NULL;
	facts_r->can_encrypt = is_alive && encrypts != NULL;
	facts_r->created_s = primary->timestamp;
	facts_r->expires_s = primary->expires;
	facts_r->bits = primary->length;
	if (facts_r->can_sign)
		facts_r->expires_s =
		    earlier(facts_r->expires_s, signs->expires);
	if (facts_r->can_encrypt) {
		facts_r->expires_s =
		    earlier(facts_r->expires_s, encrypts->expires);
		if (is_counted_in_bits(encrypts->pubkey_algo) &&
		    encrypts->length < facts_r->bits)
			facts_r->bits = encrypts->length;
	}
	name_algorithm(key, encrypts, facts_r);
	for (gpgme_user_id_t at = key->uids; at != NULL; at = at->next)
		add_address(at, facts_r);
	if (is_alive && signs == NULL && encrypts == NULL)
		return err_set(
		    err, "the key neither signs nor encrypts, or is too weak");
	return 0;
}
