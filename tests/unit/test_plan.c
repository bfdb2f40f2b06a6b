/* SPDX-License-Identifier: ISC */
/*
 * Which recipient gets what: every demand with every state of the keys, and
 * who shares an output with whom.
 */
#include <stdio.h>
#include <string.h>

#include "signer/plan.h"
#include "tests/unit/tap.h"

static const struct key a_key = {.algorithm = "rsa-2048"};

#define FOUND                          \
	{                              \
		KEYSTORE_FOUND, &a_key \
	}
#define NOT_THERE                   \
	{                           \
		KEYSTORE_NONE, NULL \
	}
#define WITH(result)                    \
	{                               \
		KEYSTORE_##result, NULL \
	}

static struct plan_recipient
recipient(enum protect_sign sign, enum protect_encrypt encrypt, bool has_smime,
    bool has_pgp)
{
	struct plan_recipient r = {.sign = sign, .encrypt = encrypt};

	r.keys[PLAN_SMIME].result = has_smime ? KEYSTORE_FOUND : KEYSTORE_NONE;
	r.keys[PLAN_PGP].result = has_pgp ? KEYSTORE_FOUND : KEYSTORE_NONE;
	r.keys[PLAN_SMIME].key = has_smime ? &a_key : NULL;
	r.keys[PLAN_PGP].key = has_pgp ? &a_key : NULL;
	return r;
}

/* ---- one recipient ---- */

struct row {
	const char *what;
	enum protect_sign sign;
	enum protect_encrypt encrypt;
	enum protect_method method;
	struct plan_key signers[PLAN_METHOD_COUNT];
	struct plan_key keys[PLAN_METHOD_COUNT];
	bool is_asked;
	bool is_calendar;
	bool is_too_large;
	unsigned options;
	bool is_signed;
	bool is_encrypted;
	/* And then: */
	enum sign_outcome outcome;
	const char *enhanced;
	enum plan_method used; /* of the output, where DONE */
	bool signs;
	bool encrypts;
	unsigned already;
};

static const struct row rows[] = {
    {.what = "nothing is demanded",
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE},
    {.what = "sign if possible, with a key",
	.sign = SIGN_IF_POSSIBLE,
	.signers = {FOUND, NOT_THERE},
	.keys = {NOT_THERE, NOT_THERE},
	.outcome = SIGNED_DONE,
	.used = PLAN_SMIME,
	.signs = true},
    {.what = "sign if possible, without",
	.sign = SIGN_IF_POSSIBLE,
	.signers = {NOT_THERE, WITH(EXPIRED)},
	.keys = {NOT_THERE, NOT_THERE},
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE},
    {.what = "sign required, no key",
	.sign = SIGN_REQUIRED,
	.signers = {NOT_THERE, WITH(EXPIRED)},
	.keys = {NOT_THERE, NOT_THERE},
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.5"},
    {.what = "sign required, a key waits for approval",
	.sign = SIGN_REQUIRED,
	.signers = {WITH(PENDING), NOT_THERE},
	.keys = {NOT_THERE, NOT_THERE},
	.outcome = SIGNED_TEMPORARY,
	.enhanced = "4.7.5"},
    {.what = "sign if possible, the store failed",
	.sign = SIGN_IF_POSSIBLE,
	.signers = {WITH(BROKEN), NOT_THERE},
	.keys = {NOT_THERE, NOT_THERE},
	.outcome = SIGNED_TEMPORARY,
	.enhanced = "4.3.0"},
    {.what = "encrypt if possible, no key: signed and plain",
	.sign = SIGN_IF_POSSIBLE,
	.encrypt = ENCRYPT_IF_POSSIBLE,
	.signers = {FOUND, NOT_THERE},
	.keys = {WITH(EXPIRED), NOT_THERE},
	.outcome = SIGNED_DONE,
	.used = PLAN_SMIME,
	.signs = true},
    {.what = "encrypt if possible, the store failed: never plain",
	.encrypt = ENCRYPT_IF_POSSIBLE,
	.signers = {NOT_THERE, NOT_THERE},
	.keys = {NOT_THERE, WITH(BROKEN)},
	.outcome = SIGNED_TEMPORARY,
	.enhanced = "4.3.0"},
    {.what = "encrypt required, no key",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {NOT_THERE, NOT_THERE},
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.3"},
    {.what = "encrypt required, keys revoked, expired, not trusted",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {WITH(REVOKED), WITH(UNTRUSTED)},
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.3"},
    {.what = "encrypt required, a key of a kind that cannot be used",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {WITH(UNSUITABLE), NOT_THERE},
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.6"},
    {.what = "encrypt required, no key yet",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {NOT_THERE, NOT_THERE},
	.is_asked = true,
	.outcome = SIGNED_TEMPORARY,
	.enhanced = "4.7.3"},
    {.what = "both required: the method that can do both, not the first",
	.sign = SIGN_REQUIRED,
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {NOT_THERE, FOUND},
	.keys = {FOUND, FOUND},
	.outcome = SIGNED_DONE,
	.used = PLAN_PGP,
	.signs = true,
	.encrypts = true},
    {.what = "both required, each by another method alone",
	.sign = SIGN_REQUIRED,
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {NOT_THERE, FOUND},
	.keys = {FOUND, NOT_THERE},
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.5"},
    {.what = "the order of methods",
	.encrypt = ENCRYPT_REQUIRED,
	.method = METHOD_PGP_SMIME,
	.signers = {NOT_THERE, NOT_THERE},
	.keys = {FOUND, FOUND},
	.outcome = SIGNED_DONE,
	.used = PLAN_PGP,
	.encrypts = true},
    {.what = "one method alone may be used",
	.encrypt = ENCRYPT_REQUIRED,
	.method = METHOD_SMIME,
	.signers = {NOT_THERE, NOT_THERE},
	.keys = {NOT_THERE, FOUND},
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.3"},
    {.what = "encrypting is worth more than signing",
	.sign = SIGN_IF_POSSIBLE,
	.encrypt = ENCRYPT_IF_POSSIBLE,
	.signers = {FOUND, NOT_THERE},
	.keys = {NOT_THERE, FOUND},
	.outcome = SIGNED_DONE,
	.used = PLAN_PGP,
	.encrypts = true},
    {.what = "the store failed for a method that is not needed",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {NOT_THERE, NOT_THERE},
	.keys = {FOUND, WITH(BROKEN)},
	.outcome = SIGNED_DONE,
	.used = PLAN_SMIME,
	.encrypts = true},
    {.what = "an invitation is not signed",
	.sign = SIGN_IF_POSSIBLE,
	.encrypt = ENCRYPT_IF_POSSIBLE,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_calendar = true,
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE},
    {.what = "an invitation that must be encrypted fails",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_calendar = true,
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.7.3"},
    {.what = "but for a policy that lets it out",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_calendar = true,
	.options = PROTECT_CALENDAR_PLAIN,
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE},
    {.what = "too large, and must be encrypted",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_too_large = true,
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.3.4"},
    {.what = "too large, and must be signed",
	.sign = SIGN_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_too_large = true,
	.outcome = SIGNED_PERMANENT,
	.enhanced = "5.3.4"},
    {.what = "too large, and need not be protected",
	.sign = SIGN_IF_POSSIBLE,
	.encrypt = ENCRYPT_IF_POSSIBLE,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_too_large = true,
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE},
    {.what = "too large, but its sender did it himself",
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {FOUND, FOUND},
	.keys = {FOUND, FOUND},
	.is_encrypted = true,
	.is_too_large = true,
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE,
	.already = APPLIED_SIGNED | APPLIED_ENCRYPTED},
    {.what = "what is signed is not signed again",
	.sign = SIGN_REQUIRED,
	.signers = {NOT_THERE, NOT_THERE},
	.keys = {NOT_THERE, NOT_THERE},
	.is_signed = true,
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE,
	.already = APPLIED_SIGNED},
    {.what = "what is encrypted is left alone",
	.sign = SIGN_REQUIRED,
	.encrypt = ENCRYPT_REQUIRED,
	.signers = {NOT_THERE, NOT_THERE},
	.keys = {NOT_THERE, NOT_THERE},
	.is_encrypted = true,
	.outcome = SIGNED_DONE,
	.used = PLAN_NONE,
	.already = APPLIED_SIGNED | APPLIED_ENCRYPTED},
};

static void
test_row(const struct row *row)
{
	struct plan_recipient one = {.sign = row->sign,
	    .encrypt = row->encrypt,
	    .method = row->method,
	    .options = row->options,
	    .is_asked = row->is_asked,
	    .keys = {row->keys[0], row->keys[1]}};
	struct plan_input input = {.is_calendar = row->is_calendar,
	    .is_too_large = row->is_too_large,
	    .is_signed = row->is_signed,
	    .is_encrypted = row->is_encrypted,
	    .signers = {row->signers[0], row->signers[1]},
	    .recipients = &one,
	    .recipient_count = 1};
	struct plan plan;
	bool is_good;

	plan_outgoing(&input, &plan);
	is_good = plan.outcome == row->outcome;
	if (row->outcome != SIGNED_DONE)
		is_good &= strcmp(plan.enhanced, row->enhanced) == 0 &&
			   plan.reason[0] != '\0';
	else if (row->used == PLAN_NONE)
		is_good &= plan.output_count == 0 &&
			   plan.parts[0].output == PLAN_AS_IT_CAME &&
			   plan.parts[0].already == row->already;
	else
		is_good &= plan.output_count == 1 &&
			   plan.outputs[0].method == row->used &&
			   plan.outputs[0].signs == row->signs &&
			   plan.outputs[0].encrypts == row->encrypts;
	ok(is_good, "%s (%s %s)", row->what, plan.enhanced, plan.reason);
	plan_clear(&plan);
}

/* ---- several recipients ---- */

static void
plan_for(struct plan_input *input, const struct plan_recipient *recipients,
    size_t count, struct plan *plan_r)
{
	input->recipients = recipients;
	input->recipient_count = count;
	plan_outgoing(input, plan_r);
}

static void
test_sharing(void)
{
	struct plan_input input = {.dkim = DKIM_IF_POSSIBLE,
	    .has_dkim_keys = true,
	    .signers = {FOUND, FOUND}};
	struct plan_recipient r[8];
	struct plan plan;

	for (size_t i = 0; i < 4; i++)
		r[i] = recipient(SIGN_NEVER, ENCRYPT_NEVER, false, false);
	for (size_t i = 4; i < 8; i++)
		r[i] = recipient(SIGN_REQUIRED, ENCRYPT_NEVER, false, false);
	r[7].options = PROTECT_OPAQUE;
	plan_for(&input, r, 8, &plan);
	is_u64(plan.output_count, 3, "plain, signed, signed otherwise");
	is_u64(plan.outputs[0].recipient_count, 4, "the plain ones are one");
	ok(plan.outputs[0].has_dkim && plan.outputs[1].has_dkim &&
		plan.outputs[2].has_dkim,
	    "each has DKIM");
	plan_clear(&plan);

	for (size_t i = 0; i < 8; i++)
		r[i] = recipient(SIGN_NEVER, ENCRYPT_REQUIRED, true, false);
	plan_for(&input, r, 8, &plan);
	is_u64(plan.output_count, 8, "S/MIME: one for each");
	plan_clear(&plan);

	for (size_t i = 0; i < 8; i++) {
		r[i] = recipient(SIGN_NEVER, ENCRYPT_REQUIRED, false, true);
		r[i].is_visible = i < 5;
	}
	plan_for(&input, r, 8, &plan);
	is_u64(plan.output_count, 4,
	    "OpenPGP: the visible ones together, each Bcc alone");
	is_u64(plan.outputs[0].recipient_count, 5, "five are visible");
	plan_clear(&plan);
}

static void
test_as_it_came(void)
{
	struct plan_input input = {.dkim = DKIM_IF_POSSIBLE};
	struct plan_recipient one =
	    recipient(SIGN_IF_POSSIBLE, ENCRYPT_IF_POSSIBLE, false, false);
	struct plan plan;

	input.signers[0].result = KEYSTORE_NONE;
	input.signers[1].result = KEYSTORE_NONE;
	plan_for(&input, &one, 1, &plan);
	ok(plan.outcome == SIGNED_DONE && plan.output_count == 0 &&
		plan.parts[0].output == PLAN_AS_IT_CAME,
	    "no key of any kind: as it came");
	plan_clear(&plan);
	input.has_removals = true;
	plan_for(&input, &one, 1, &plan);
	is_u64(
	    plan.output_count, 1, "what triggered is taken out all the same");
	plan_clear(&plan);
	input.has_removals = false;
	input.dkim = DKIM_REQUIRED;
	plan_for(&input, &one, 1, &plan);
	is_int(plan.outcome, SIGNED_TEMPORARY, "DKIM required, no key: waits");
	is_str(plan.enhanced, "4.7.5", "and says why");
	plan_clear(&plan);
}

static void
test_all_or_none(void)
{
	struct plan_input input = {.signers = {FOUND, FOUND}};
	struct plan_recipient r[3] = {
	    recipient(SIGN_NEVER, ENCRYPT_REQUIRED, true, false),
	    recipient(SIGN_NEVER, ENCRYPT_REQUIRED, false, false),
	    recipient(SIGN_NEVER, ENCRYPT_NEVER, false, false)};
	struct plan plan;

	plan_for(&input, r, 3, &plan);
	ok(plan.outcome == SIGNED_DONE &&
		plan.parts[0].outcome == SIGNED_DONE &&
		plan.parts[1].outcome == SIGNED_PERMANENT &&
		plan.parts[2].outcome == SIGNED_DONE,
	    "required: the one without a key fails alone");
	plan_clear(&plan);
	r[1].encrypt = ENCRYPT_REQUIRED_ALL;
	plan_for(&input, r, 3, &plan);
	is_int(plan.outcome, SIGNED_PERMANENT, "required-all: all fail");
	is_str(plan.enhanced, "5.7.3", "with the reason of the one");
	plan_clear(&plan);
	r[0].is_asked = true;
	r[0].keys[PLAN_SMIME].result = KEYSTORE_NONE;
	plan_for(&input, r, 3, &plan);
	is_int(plan.outcome, SIGNED_PERMANENT,
	    "whoever waits for a key, one that fails decides");
	plan_clear(&plan);
	r[1].encrypt = ENCRYPT_REQUIRED;
	plan_for(&input, r, 3, &plan);
	ok(plan.outcome == SIGNED_DONE &&
		plan.parts[0].outcome == SIGNED_TEMPORARY &&
		plan.parts[1].outcome == SIGNED_PERMANENT &&
		plan.parts[2].outcome == SIGNED_DONE,
	    "else one waits, one fails and one has his, each by himself");
	is_str(plan.parts[0].enhanced, "4.7.3", "and each has his reason");
	plan_clear(&plan);
	plan_for(&input, r, 2, &plan);
	is_int(plan.outcome, SIGNED_DONE,
	    "where nobody has his, that is not said of the message");
	plan_clear(&plan);
	plan_for(&input, r, 1, &plan);
	is_int(plan.outcome, SIGNED_TEMPORARY, "where all wait, it is");
	plan_clear(&plan);
	r[1].encrypt = ENCRYPT_REQUIRED_ALL;
	plan_for(&input, &r[1], 1, &plan);
	is_int(plan.outcome, SIGNED_PERMANENT, "alone, and it fails: all do");
	plan_clear(&plan);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		test_row(&rows[i]);
	test_sharing();
	test_as_it_came();
	test_all_or_none();
	return tap_done();
}
