/* SPDX-License-Identifier: ISC */
/*
 * The login token: codec, MAC and who may send as whom.
 * Runs in: authd, smtpd, queued.  Trusts: nothing in the octets before the
 * MAC was compared, and then still not their form.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "common/ipc.h"
#include "common/token.h"

/* The fixed numbers before the account. */
#define TOKEN_HEAD_SIZE (1 + 1 + 2 + 6 * 8)
#define LENGTH_SIZE 2

/* Takes a u16 length and its octets off the front. */
static int
take_text(struct slice *rest, size_t most, struct slice *text_r)
{
	size_t length;

	if (rest->n < LENGTH_SIZE)
		return -1;
	length = (size_t)ipc_get_number(rest->p, LENGTH_SIZE);
	if (length == 0 || length > most || length > rest->n - LENGTH_SIZE)
		return -1;
	*text_r = (struct slice){rest->p + LENGTH_SIZE, length};
	if (!ipc_is_text(*text_r))
		return -1;
	rest->p += LENGTH_SIZE + length;
	rest->n -= LENGTH_SIZE + length;
	return 0;
}

static void
add_number(struct buf *out, uint64_t value, size_t size)
{
	char octets[8];

	ipc_put_number(octets, value, size);
	(void)buf_add(out, octets, size);
}

/* ---- identities ---- */

void
token_identities_init(struct buf *identities)
{
	buf_init(identities, TOKEN_IDENTITIES_SIZE);
}

int
token_identity_parse(
    struct slice text, char identity_r[TOKEN_IDENTITY_MAX + 1], struct err *err)
{
	struct address address;
	struct domain domain;
	char folded[ADDRESS_TEXT_MAX];

	if (text.n > 0 && text.p[0] == '@') {
		if (domain_parse((struct slice){text.p + 1, text.n - 1},
			&domain, err) == -1)
			return -1;
		identity_r[0] = '@';
		(void)slice_copy(
		    slice_of(domain.text), identity_r + 1, TOKEN_IDENTITY_MAX);
		return 0;
	}
	if (address_parse(text, ADDRESS_MAY_BE_UTF8, &address, err) == -1)
		return -1;
	(void)address_format_folded(&address, folded);
	if (slice_copy(slice_of(folded), identity_r, TOKEN_IDENTITY_MAX + 1) ==
	    -1)
		return err_set(err, "this address is too long");
	return 0;
}

int
token_identity_add(
    struct buf *identities, struct slice identity, struct err *err)
{
	char octets[LENGTH_SIZE];

	if (identity.n == 0 || identity.n > TOKEN_IDENTITY_MAX ||
	    !ipc_is_text(identity) ||
	    slice_find(identity, '@', 0) == identity.n)
		return err_set(err, "an identity is malformed");
	if (identities->n + LENGTH_SIZE + identity.n > TOKEN_IDENTITIES_SIZE)
		return err_set(err, "too many identities for one account");
	ipc_put_number(octets, identity.n, LENGTH_SIZE);
	(void)buf_add(identities, octets, LENGTH_SIZE);
	(void)buf_add_slice(identities, identity);
	return 0;
}

bool
token_identity_next(struct slice *identities, struct slice *identity_r)
{
	return take_text(identities, TOKEN_IDENTITY_MAX, identity_r) == 0;
}

/* Counts a list's identities; -1 when it is malformed or too long. */
static int
count_identities(struct slice identities, uint32_t *count_r)
{
	struct slice identity;
	uint32_t count = 0;

	if (identities.n > TOKEN_IDENTITIES_SIZE)
		return -1;
	while (token_identity_next(&identities, &identity)) {
		if (slice_find(identity, '@', 0) == identity.n)
			return -1;
		count++;
	}
	if (identities.n != 0 || count > TOKEN_IDENTITIES_MAX)
		return -1;
	*count_r = count;
	return 0;
}

/* ---- codec ---- */

static void
make_mac(const unsigned char *key, struct slice octets,
    unsigned char mac_r[TOKEN_MAC_SIZE])
{
	unsigned size = 0;

	if (HMAC(EVP_sha256(), key, TOKEN_KEY_SIZE,
		(const unsigned char *)octets.p, octets.n, mac_r,
		&size) == NULL ||
	    size != TOKEN_MAC_SIZE)
		fatal("HMAC-SHA-256 failed");
}

int
token_make(const unsigned char key[TOKEN_KEY_SIZE], const struct token *token,
    struct buf *out, struct err *err)
{
	unsigned char mac[TOKEN_MAC_SIZE];
	uint32_t count;

	buf_reset(out);
	if (token->account.n == 0 || token->account.n > TOKEN_ACCOUNT_MAX ||
	    !ipc_is_text(token->account))
		return err_set(err, "a token needs an account");
	if (count_identities(token->identities, &count) == -1)
		return err_set(err, "a token's identities are malformed");
	add_number(out, TOKEN_VERSION, 1);
	add_number(out, 0, 1);
	add_number(out, count, 2);
	add_number(out, token->session_id, 8);
	add_number(out, token->login_s, 8);
	add_number(out, token->issued_s, 8);
	add_number(out, token->expires_s, 8);
	add_number(out, token->revision, 8);
	add_number(out, token->credential, 8);
	add_number(out, token->account.n, LENGTH_SIZE);
	(void)buf_add_slice(out, token->account);
	(void)buf_add_slice(out, token->identities);
	make_mac(key, buf_slice(out), mac);
	(void)buf_add(out, mac, sizeof(mac));
	if (out->overflowed || out->n > IPC_TOKEN_MAX) {
		buf_reset(out);
		return err_set(err, "a token does not fit");
	}
	return 0;
}

int
token_read(struct slice octets, struct token *token_r, struct err *err)
{
	struct token token = {0};
	struct slice rest;
	uint32_t count;

	if (octets.n < TOKEN_HEAD_SIZE + TOKEN_MAC_SIZE ||
	    octets.n > IPC_TOKEN_MAX)
		return err_set(err, "the login token has a wrong size");
	token.version = (uint8_t)ipc_get_number(octets.p, 1);
	if (token.version != TOKEN_VERSION || octets.p[1] != 0)
		return err_set(err, "the login token is of another version");
	token.identity_count = (uint32_t)ipc_get_number(octets.p + 2, 2);
	token.session_id = ipc_get_number(octets.p + 4, 8);
	token.login_s = ipc_get_number(octets.p + 12, 8);
	token.issued_s = ipc_get_number(octets.p + 20, 8);
	token.expires_s = ipc_get_number(octets.p + 28, 8);
	token.revision = ipc_get_number(octets.p + 36, 8);
	token.credential = ipc_get_number(octets.p + 44, 8);
	rest.p = octets.p + TOKEN_HEAD_SIZE;
	rest.n = octets.n - TOKEN_HEAD_SIZE - TOKEN_MAC_SIZE;
	if (take_text(&rest, TOKEN_ACCOUNT_MAX, &token.account) == -1 ||
	    count_identities(rest, &count) == -1 ||
	    count != token.identity_count)
		return err_set(err, "the login token is malformed");
	token.identities = rest;
	*token_r = token;
	return 0;
}

static bool
has_mac_of(struct slice octets, struct slice key)
{
	unsigned char mac[TOKEN_MAC_SIZE];
	size_t signed_size = octets.n - TOKEN_MAC_SIZE;

	if (key.n != TOKEN_KEY_SIZE)
		return false;
	make_mac((const unsigned char *)key.p,
	    (struct slice){octets.p, signed_size}, mac);
	return CRYPTO_memcmp(mac, octets.p + signed_size, sizeof(mac)) == 0;
}

int
token_authenticate(struct slice octets, struct slice current_key,
    struct slice previous_key, struct token *token_r, struct err *err)
{
	struct token token;

	if (token_read(octets, &token, err) == -1)
		return -1;
	if (!has_mac_of(octets, current_key) &&
	    !has_mac_of(octets, previous_key))
		return err_set(err, "the login token is not authd's");
	*token_r = token;
	return 0;
}

int
token_verify(struct slice octets, struct slice current_key,
    struct slice previous_key, uint64_t now_s, struct token *token_r,
    struct err *err)
{
	struct token token;

	if (token_authenticate(
		octets, current_key, previous_key, &token, err) == -1)
		return -1;
	if (now_s >= token.expires_s)
		return err_set(err, "the login token has expired");
	*token_r = token;
	return 0;
}

/* ---- who may send as whom ---- */

static bool
holds_identity(const struct token *token, const char *text)
{
	struct slice rest = token->identities;
	struct slice wanted = slice_of(text);
	struct slice identity;

	while (token_identity_next(&rest, &identity))
		if (slice_equals(identity, wanted))
			return true;
	return false;
}

/* The address without its tag that begins at the plus sign there. */
static bool
holds_untagged(
    const struct token *token, const struct address *address, size_t plus)
{
	struct address base = *address;
	char text[ADDRESS_TEXT_MAX];

	base.local[plus] = '\0';
	return holds_identity(token, address_format_folded(&base, text));
}

bool
token_allows(const struct token *token, const struct address *address)
{
	char text[ADDRESS_TEXT_MAX + 1];

	if (address->is_null || address->is_bare_postmaster)
		return false;
	if (holds_identity(token, address_format_folded(address, text)))
		return true;
	if (!address->is_literal) {
		text[0] = '@';
		(void)slice_copy(
		    slice_of(address->domain.text), text + 1, sizeof(text) - 1);
		if (holds_identity(token, text))
			return true;
	}
	for (size_t i = 1;
	     address->local[i - 1] != '\0' && address->local[i] != '\0'; i++)
		if (address->local[i] == '+' &&
		    holds_untagged(token, address, i))
			return true;
	return false;
}
