/* SPDX-License-Identifier: ISC */
/*
 * Login tokens: what is made reads back, what is changed is refused, and who
 * may send as whom.
 */
#include <string.h>

#include "common/token.h"
#include "tests/unit/tap.h"

static const unsigned char key_a[TOKEN_KEY_SIZE] = {1, 2, 3};
static const unsigned char key_b[TOKEN_KEY_SIZE] = {9, 9, 9};

static const struct slice slice_a = {(const char *)key_a, TOKEN_KEY_SIZE};
static const struct slice slice_b = {(const char *)key_b, TOKEN_KEY_SIZE};
static const struct slice no_key = {NULL, 0};

static const char *const alices[] = {
    "alice@example.org", "@sub.example.org", "info+x@example.org"};

/* Encodes a token of alice's into out. */
static void
make_alice(struct buf *identities, struct buf *out)
{
	struct token token = {.session_id = 77,
	    .login_s = 1000,
	    .issued_s = 2000,
	    .expires_s = 3000,
	    .revision = 12,
	    .credential = 4,
	    .account = SLICE("alice@example.org")};
	struct err err;

	token_identities_init(identities);
	buf_init(out, IPC_TOKEN_MAX);
	for (size_t i = 0; i < sizeof(alices) / sizeof(alices[0]); i++)
		if (token_identity_add(identities, slice_of(alices[i]), &err) ==
		    -1)
			bug("%s", err.text);
	token.identities = buf_slice(identities);
	if (token_make(key_a, &token, out, &err) == -1)
		bug("%s", err.text);
}

static void
test_round_trip(struct slice octets)
{
	struct token token;
	struct slice identity;
	struct err err;

	is_int(token_read(octets, &token, &err), 0, "a token reads back");
	is_u64(token.session_id, 77, "with its session");
	is_u64(token.login_s, 1000, "the time of the login");
	is_u64(token.issued_s, 2000, "of the issue");
	is_u64(token.expires_s, 3000, "of the expiry");
	is_u64(token.revision, 12, "the account's revision");
	is_u64(token.credential, 4, "the credential");
	is_slice(token.account, "alice@example.org", "the account");
	is_u64(token.identity_count, 3, "and the number of identities");
	for (size_t i = 0; i < sizeof(alices) / sizeof(alices[0]); i++) {
		ok(token_identity_next(&token.identities, &identity),
		    "identity %zu is there", i);
		is_slice(identity, alices[i], "as it was added");
	}
	ok(!token_identity_next(&token.identities, &identity),
	    "no more of them");
}

static void
test_verify(struct slice octets)
{
	struct token token;
	struct err err;

	is_int(token_verify(octets, slice_a, no_key, 2999, &token, &err), 0,
	    "the current key verifies it");
	is_int(token_verify(octets, slice_b, slice_a, 2999, &token, &err), 0,
	    "and so does the previous one");
	is_int(token_verify(octets, slice_b, no_key, 2999, &token, &err), -1,
	    "another key does not");
	is_int(token_verify(octets, no_key, no_key, 2999, &token, &err), -1,
	    "nor does no key at all");
	is_int(token_verify(octets, slice_a, no_key, 3000, &token, &err), -1,
	    "at its expiry it is over");
	is_str(err.text, "the login token has expired", "and that is said");
	is_int(token_authenticate(octets, slice_a, no_key, &token, &err), 0,
	    "an expired one is still authd's");
}

/* Every single octet counts. */
static void
test_tampering(struct slice octets)
{
	char copy[IPC_TOKEN_MAX];
	struct token token;
	size_t taken = 0;

	memcpy(copy, octets.p, octets.n);
	for (size_t i = 0; i < octets.n; i++) {
		copy[i] = (char)(copy[i] ^ 1);
		if (token_authenticate((struct slice){copy, octets.n}, slice_a,
			slice_b, &token, NULL) == 0)
			taken++;
		copy[i] = (char)(copy[i] ^ 1);
	}
	is_u64(taken, 0, "no token with a bit turned is taken");
	for (size_t n = 0; n < octets.n; n++)
		if (token_authenticate((struct slice){copy, n}, slice_a,
			slice_b, &token, NULL) == 0)
			taken++;
	is_u64(taken, 0, "nor one that is cut");
	is_int(token_authenticate((struct slice){copy, octets.n + 1}, slice_a,
		   slice_b, &token, NULL),
	    -1, "nor one with an octet more");
}

static void
test_allows(struct slice octets)
{
	static const struct {
		const char *label;
		const char *address;
		bool is_allowed;
	} rows[] = {
	    {"his own address", "alice@example.org", true},
	    {"in another case", "ALICE@Example.ORG", true},
	    {"with a tag", "alice+list@example.org", true},
	    {"with two tags", "alice+a+b@example.org", true},
	    {"with an empty tag", "alice+@example.org", true},
	    {"in quotes that are not needed", "\"alice\"@example.org", true},
	    {"in quotes that are needed, with a tag",
		"\"alice+a b\"@example.org", true},
	    {"another's", "bob@example.org", false},
	    {"with more before it", "xalice@example.org", false},
	    {"with more after it", "alicex@example.org", false},
	    {"in another domain", "alice@example.com", false},
	    {"in a domain below", "alice@mail.example.org", false},
	    {"anything in a domain that is granted", "x@sub.example.org", true},
	    {"that domain in capitals", "x@SUB.example.org", true},
	    {"a domain below a granted one", "x@a.sub.example.org", false},
	    {"a domain that ends alike", "x@asub.example.org", false},
	    {"an identity with a tag", "info+x@example.org", true},
	    {"a tag after that tag", "info+x+y@example.org", true},
	    {"without that tag", "info@example.org", false},
	    {"with another tag", "info+y@example.org", false},
	    {"a local part that is all tag", "+alice@example.org", false},
	    {"an address literal", "alice@[192.0.2.1]", false},
	    {"a quoted address as local part",
		"\"alice@example.org\"@example.com", false},
	};
	struct token token;
	struct address address;
	struct err err;

	(void)token_read(octets, &token, &err);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (address_parse(
			slice_of(rows[i].address), 0, &address, &err) == -1)
			bug("%s: %s", rows[i].address, err.text);
		is_int(token_allows(&token, &address), rows[i].is_allowed,
		    "%s: %s", rows[i].label, rows[i].address);
	}
	(void)address_parse_path(
	    SLICE("<>"), ADDRESS_MAY_BE_NULL, &address, &err);
	ok(!token_allows(&token, &address), "the null path is nobody's");
	(void)address_parse_path(
	    SLICE("<postmaster>"), ADDRESS_MAY_BE_POSTMASTER, &address, &err);
	ok(!token_allows(&token, &address), "nor is a bare postmaster");
}

static void
test_identities(void)
{
	char text[TOKEN_IDENTITY_MAX + 1];
	struct buf list;
	struct err err;
	size_t added = 0;

	is_int(token_identity_parse(SLICE("Alice@Example.ORG"), text, &err), 0,
	    "an identity is an address");
	is_str(text, "alice@example.org", "in lower case");
	is_int(token_identity_parse(SLICE("@B\xc3\xbc"
					  "cher.example"),
		   text, &err),
	    0, "or a domain");
	is_str(text, "@xn--bcher-kva.example", "by its A-label");
	is_int(token_identity_parse(SLICE("@"), text, &err), -1,
	    "but not a sign alone");
	is_int(token_identity_parse(SLICE("alice"), text, &err), -1,
	    "nor a name alone");
	token_identities_init(&list);
	while (token_identity_add(&list, SLICE("alice@example.org"), &err) == 0)
		added++;
	is_u64(added, TOKEN_IDENTITIES_SIZE / 19, "a list has its limit");
	ok(!list.overflowed, "which is not passed");
	is_int(token_identity_add(&list, SLICE("nobody"), &err), -1,
	    "text without a sign is no identity");
	buf_clear(&list);
}

static void
test_make(void)
{
	struct token token = {.account = SLICE("")};
	struct buf out;
	struct err err;
	char huge[TOKEN_ACCOUNT_MAX + 1];

	buf_init(&out, IPC_TOKEN_MAX);
	is_int(token_make(key_a, &token, &out, &err), -1,
	    "a token without an account is not made");
	memset(huge, 'a', sizeof(huge));
	token.account = (struct slice){huge, sizeof(huge)};
	is_int(token_make(key_a, &token, &out, &err), -1,
	    "nor with a name too long");
	token.account.n--;
	is_int(token_make(key_a, &token, &out, &err), 0,
	    "the longest name is fine, without an identity too");
	token.identities = SLICE("\x05\x00"
				 "a@b");
	is_int(token_make(key_a, &token, &out, &err), -1,
	    "identities cut short are not");
	buf_clear(&out);
}

int
main(void)
{
	struct buf identities;
	struct buf out;

	make_alice(&identities, &out);
	test_round_trip(buf_slice(&out));
	test_verify(buf_slice(&out));
	test_tampering(buf_slice(&out));
	test_allows(buf_slice(&out));
	test_identities();
	test_make();
	buf_clear(&identities);
	buf_clear(&out);
	return tap_done();
}
