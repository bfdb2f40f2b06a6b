/* SPDX-License-Identifier: ISC */
/*
 * Login tokens: what reads as one is within its limits, makes the same octets
 * again, and is authentic only with its MAC.
 */
#include <string.h>

#include "common/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char key[TOKEN_KEY_SIZE] = {42};

static void
check_allows(const struct token *token)
{
	struct slice rest = token->identities;
	struct slice identity;
	struct address address;
	uint32_t count = 0;

	while (token_identity_next(&rest, &identity)) {
		count++;
		if (address_parse(
			identity, ADDRESS_MAY_BE_UTF8, &address, NULL) == 0)
			(void)token_allows(token, &address);
	}
	if (count != token->identity_count || rest.n != 0)
		bug("identities are not counted right");
}

/* All but the MAC is made again as it was. */
static void
check_again(const struct token *token, struct slice octets)
{
	struct slice own = {(const char *)key, sizeof(key)};
	struct token again;
	struct buf out;

	buf_init(&out, IPC_TOKEN_MAX);
	if (token_make(key, token, &out, NULL) == -1 || out.n != octets.n ||
	    memcmp(out.p, octets.p, octets.n - TOKEN_MAC_SIZE) != 0)
		bug("a token that was read is not made again");
	if (token_verify(buf_slice(&out), own, (struct slice){NULL, 0}, 0,
		&again, NULL) == -1 &&
	    token->expires_s != 0)
		bug("a token of our own does not verify");
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice octets = {(const char *)data, size};
	struct token token;

	if (token_read(octets, &token, NULL) == -1)
		return 0;
	if (token.account.n == 0 || token.account.n > TOKEN_ACCOUNT_MAX ||
	    token.identity_count > TOKEN_IDENTITIES_MAX)
		bug("a token is over its limits");
	check_allows(&token);
	check_again(&token, octets);
	return 0;
}
