/* SPDX-License-Identifier: ISC */
/*
 * What a TLS level and DNS facts come to, above all where they must not come
 * to plain text (T073, T075).
 */
#include "relay/tls_policy.h"
#include "tests/unit/tap.h"

struct row {
	const char *label;
	enum tls_level level;
	struct tls_facts facts;
	enum tls_action action;
	enum tls_check check;
};

/* MX and addresses signed, and TLSA asked for. */
#define SIGNED                                             \
	.is_name_secure = true, .is_address_secure = true, \
	.was_tlsa_asked = true

static const struct row rows[] = {
    {"none", TLS_LEVEL_NONE, {.kind = ROUTE_MX}, TLS_PLAIN, TLS_CHECK_NONE},
    {"opportunistic", TLS_LEVEL_OPPORTUNISTIC, {.kind = ROUTE_MX}, TLS_MAY,
	TLS_CHECK_NONE},
    {"encrypted", TLS_LEVEL_ENCRYPTED, {.kind = ROUTE_MX}, TLS_MUST,
	TLS_CHECK_NONE},
    {"verified", TLS_LEVEL_VERIFIED, {.kind = ROUTE_SMTP}, TLS_MUST,
	TLS_CHECK_NAME},
    {"dane without DNSSEC", TLS_LEVEL_DANE, {.kind = ROUTE_MX}, TLS_MAY,
	TLS_CHECK_NONE},
    {"dane with records", TLS_LEVEL_DANE,
	{.kind = ROUTE_MX,
	    SIGNED,
	    .tlsa_status = DNS_OK,
	    .is_tlsa_secure = true,
	    .tlsa_count = 1},
	TLS_MUST, TLS_CHECK_DANE},
    {"dane, signed, no records", TLS_LEVEL_DANE,
	{.kind = ROUTE_MX,
	    SIGNED,
	    .tlsa_status = DNS_NODATA,
	    .is_tlsa_secure = true},
	TLS_MAY, TLS_CHECK_NONE},
    {"dane, records that are not signed", TLS_LEVEL_DANE,
	{.kind = ROUTE_MX, SIGNED, .tlsa_status = DNS_OK, .tlsa_count = 1},
	TLS_MAY, TLS_CHECK_NONE},
    {"dane, records that are bogus", TLS_LEVEL_DANE,
	{.kind = ROUTE_MX, SIGNED, .tlsa_status = DNS_BOGUS}, TLS_DEFER,
	TLS_CHECK_NONE},
    {"dane, no answer about records", TLS_LEVEL_DANE,
	{.kind = ROUTE_MX, SIGNED, .tlsa_status = DNS_TEMPORARY}, TLS_DEFER,
	TLS_CHECK_NONE},
    {"a password raises none", TLS_LEVEL_NONE,
	{.kind = ROUTE_SMTP, .has_credentials = true}, TLS_MUST,
	TLS_CHECK_NONE},
    {"a password raises opportunistic", TLS_LEVEL_OPPORTUNISTIC,
	{.kind = ROUTE_SMTP, .has_credentials = true}, TLS_MUST,
	TLS_CHECK_NONE},
    {"a password does not lower verified", TLS_LEVEL_VERIFIED,
	{.kind = ROUTE_SMTP, .has_credentials = true}, TLS_MUST,
	TLS_CHECK_NAME},
    {"a password does not undo a wait", TLS_LEVEL_DANE,
	{.kind = ROUTE_SMTP,
	    SIGNED,
	    .has_credentials = true,
	    .tlsa_status = DNS_BOGUS},
	TLS_DEFER, TLS_CHECK_NONE},
    {"smtps is TLS at any level", TLS_LEVEL_NONE, {.kind = ROUTE_SMTPS},
	TLS_MUST, TLS_CHECK_NONE},
    {"a socket on this host needs none", TLS_LEVEL_ENCRYPTED,
	{.kind = ROUTE_LMTP_UNIX}, TLS_PLAIN, TLS_CHECK_NONE},
};

static void
test_levels(void)
{
	static const char *const words[] = {
	    "none", "opportunistic", "encrypted", "verified", "dane"};

	for (unsigned i = 0; i < TLS_LEVEL_COUNT; i++) {
		enum tls_level level = TLS_LEVEL_COUNT;

		is_int(tls_level_parse(slice_of(words[i]), &level), 0,
		    "%s is a level", words[i]);
		is_str(tls_level_name(level), words[i], "of that name");
	}
	is_int(tls_level_parse(SLICE(""), &(enum tls_level){0}), -1,
	    "nothing is none");
}

static void
test_asking(void)
{
	struct tls_facts facts = {.kind = ROUTE_MX,
	    .is_name_secure = true,
	    .is_address_secure = true};

	ok(tls_policy_wants_tlsa(TLS_LEVEL_DANE, &facts), "TLSA is asked for");
	ok(!tls_policy_wants_tlsa(TLS_LEVEL_ENCRYPTED, &facts),
	    "not at other levels");
	facts.is_literal = true;
	ok(!tls_policy_wants_tlsa(TLS_LEVEL_DANE, &facts),
	    "nor for an address");
	facts.is_literal = false;
	facts.is_address_secure = false;
	ok(!tls_policy_wants_tlsa(TLS_LEVEL_DANE, &facts),
	    "nor where addresses are not signed");
	facts.is_address_secure = true;
	facts.is_name_secure = false;
	ok(!tls_policy_wants_tlsa(TLS_LEVEL_DANE, &facts),
	    "nor where the MX is not signed");
}

int
main(void)
{
	char words[256];

	test_levels();
	test_asking();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_decision d;

		tls_policy_decide(rows[i].level, &rows[i].facts, &d);
		is_int(d.action, rows[i].action, "%s: action", rows[i].label);
		is_int(d.check, rows[i].check, "%s: check", rows[i].label);
		ok(d.is_from_start == (rows[i].facts.kind == ROUTE_SMTPS),
		    "%s: from the start", rows[i].label);
	}
	is_str(tls_policy_words(&(struct tls_decision){.level = TLS_LEVEL_DANE,
				    .why = "TLSA records"},
		   "TLSv1.3", words, sizeof(words)),
	    "dane (TLSA records): TLSv1.3", "the trace says what and why");
	return tap_done();
}
