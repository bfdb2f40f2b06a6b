/* SPDX-License-Identifier: ISC */
/*
 * Decides what is done with an outgoing message, and in which outputs.
 * Runs in: postern-signerd's broker.  Trusts: queued for the demands, and what
 * was looked up for it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/plan.h"

/* Options that make outputs differ. */
#define SIGN_OPTIONS (PROTECT_OPAQUE | PROTECT_HEADERS)
#define ENCRYPT_OPTIONS                                                        \
	(PROTECT_OPAQUE | PROTECT_HEADERS | PROTECT_SUBJECT | PROTECT_LEGACY | \
	    PROTECT_TO_SELF)

void
plan_methods(enum protect_method order,
    enum plan_method methods_r[static PLAN_METHOD_COUNT], size_t *count_r)
{
	static const struct {
		enum plan_method methods[PLAN_METHOD_COUNT];
		size_t count;
	} orders[METHOD_COUNT] = {
	    [METHOD_SMIME_PGP] = {{PLAN_SMIME, PLAN_PGP}, 2},
	    [METHOD_PGP_SMIME] = {{PLAN_PGP, PLAN_SMIME}, 2},
	    [METHOD_SMIME] = {{PLAN_SMIME, PLAN_NONE}, 1},
	    [METHOD_PGP] = {{PLAN_PGP, PLAN_NONE}, 1}};

	memcpy(methods_r, orders[order].methods, sizeof(orders[order].methods));
	*count_r = orders[order].count;
}

/* ---- one recipient ---- */

/* What is left to do, after what the sender did and what an invitation is. */
struct demand {
	enum protect_sign sign;
	enum protect_encrypt encrypt;
};

struct choice {
	enum plan_method method;
	bool signs;
	bool encrypts;
};

static void __attribute__((format(printf, 4, 5))) refuse(struct plan_part *part,
    enum sign_outcome outcome, const char *enhanced, const char *format, ...)
{
	va_list ap;

	part->outcome = outcome;
	part->enhanced = enhanced;
	va_start(ap, format);
	(void)vsnprintf(part->reason, sizeof(part->reason), format, ap);
	va_end(ap);
}

/* false: an invitation may not leave like that, and part says so. */
static bool
settle_calendar(const struct plan_recipient *recipient, struct demand *demand,
    struct plan_part *part)
{
	bool is_required = demand->sign == SIGN_REQUIRED ||
			   demand->encrypt >= ENCRYPT_REQUIRED;

	if (is_required && (recipient->options & PROTECT_CALENDAR_PLAIN) == 0) {
		refuse(part, SIGNED_PERMANENT, "5.7.3",
		    "an invitation cannot be protected without breaking it");
		return false;
	}
	demand->sign = SIGN_NEVER;
	demand->encrypt = ENCRYPT_NEVER;
	return true;
}

/* false: it would have to be protected, and part says so. */
static bool
settle_size(struct demand *demand, struct plan_part *part)
{
	if (demand->sign == SIGN_REQUIRED ||
	    demand->encrypt >= ENCRYPT_REQUIRED) {
		refuse(part, SIGNED_PERMANENT, "5.3.4",
		    "the message is too large to be signed or encrypted");
		return false;
	}
	demand->sign = SIGN_NEVER;
	demand->encrypt = ENCRYPT_NEVER;
	return true;
}

static bool
settle_demand(const struct plan_input *input,
    const struct plan_recipient *recipient, struct demand *demand_r,
    struct plan_part *part)
{
	*demand_r = (struct demand){recipient->sign, recipient->encrypt};
	if (input->is_encrypted) {
		/* What is inside nobody knows: his own affair as well. */
		part->already = APPLIED_ENCRYPTED | APPLIED_SIGNED;
		*demand_r = (struct demand){SIGN_NEVER, ENCRYPT_NEVER};
	} else if (input->is_signed) {
		part->already = APPLIED_SIGNED;
		demand_r->sign = SIGN_NEVER;
	}
	if (input->is_calendar &&
	    (demand_r->sign != SIGN_NEVER ||
		demand_r->encrypt != ENCRYPT_NEVER) &&
	    !settle_calendar(recipient, demand_r, part))
		return false;
	return !input->is_too_large || settle_size(demand_r, part);
}

/* The more of the demand a method fulfils the better; -1: not enough. */
static int
rate(const struct plan_input *input, const struct plan_recipient *recipient,
    const struct demand *demand, enum plan_method method,
    struct choice *choice_r)
{
	bool encrypts = demand->encrypt != ENCRYPT_NEVER &&
			recipient->keys[method].result == KEYSTORE_FOUND;
	bool signs = demand->sign != SIGN_NEVER &&
		     input->signers[method].result == KEYSTORE_FOUND;

	*choice_r = (struct choice){method, signs, encrypts};
	if ((demand->encrypt >= ENCRYPT_REQUIRED && !encrypts) ||
	    (demand->sign == SIGN_REQUIRED && !signs))
		return -1;
	return (encrypts ? 2 : 0) + (signs ? 1 : 0);
}

static bool
has_store_failed(const struct plan_input *input,
    const struct plan_recipient *recipient, const struct demand *demand,
    enum plan_method method)
{
	return (demand->encrypt != ENCRYPT_NEVER &&
		   recipient->keys[method].result == KEYSTORE_BROKEN) ||
	       (demand->sign != SIGN_NEVER &&
		   input->signers[method].result == KEYSTORE_BROKEN);
}

/* The most hopeful reason of the methods that may be used. */
static enum keystore_result
best_reason(
    const struct plan_key *keys, const enum plan_method *methods, size_t count)
{
	enum keystore_result best = keys[methods[0]].result;

	for (size_t i = 1; i < count; i++)
		if (keys[methods[i]].result > best)
			best = keys[methods[i]].result;
	return best;
}

static void
explain_failure(const struct plan_input *input,
    const struct plan_recipient *recipient, const struct demand *demand,
    const enum plan_method *methods, size_t count, struct plan_part *part)
{
	enum keystore_result reason;
	bool can_encrypt = demand->encrypt < ENCRYPT_REQUIRED;

	for (size_t i = 0; i < count; i++)
		if (recipient->keys[methods[i]].result == KEYSTORE_FOUND)
			can_encrypt = true;
	if (can_encrypt) {
		reason = best_reason(input->signers, methods, count);
		/* One may be on its way (an approval, a request). */
		refuse(part,
		    reason == KEYSTORE_PENDING ? SIGNED_TEMPORARY
					       : SIGNED_PERMANENT,
		    reason == KEYSTORE_PENDING ? "4.7.5" : "5.7.5",
		    "no key to sign as the sender: %s",
		    keystore_result_text(reason));
		return;
	}
	reason = best_reason(recipient->keys, methods, count);
	if (recipient->is_asked)
		refuse(part, SIGNED_TEMPORARY, "4.7.3",
		    "the recipient's key is being looked for");
	else
		refuse(part, SIGNED_PERMANENT,
		    reason == KEYSTORE_UNSUITABLE ? "5.7.6" : "5.7.3",
		    "cannot be encrypted to the recipient: %s",
		    keystore_result_text(reason));
}

/* false: part says why it cannot be. */
static bool
choose(const struct plan_input *input, const struct plan_recipient *recipient,
    const struct demand *demand, struct choice *choice_r,
    struct plan_part *part)
{
	enum plan_method methods[PLAN_METHOD_COUNT];
	int best = -1;
	int full = (demand->encrypt != ENCRYPT_NEVER ? 2 : 0) +
		   (demand->sign != SIGN_NEVER ? 1 : 0);
	bool failed = false;
	size_t count;

	plan_methods(recipient->method, methods, &count);
	for (size_t i = 0; i < count && best < full; i++) {
		struct choice choice;
		int rating =
		    rate(input, recipient, demand, methods[i], &choice);

		failed |=
		    has_store_failed(input, recipient, demand, methods[i]);
		if (rating > best) {
			best = rating;
			*choice_r = choice;
		}
	}
	if (failed && best < full) {
		refuse(part, SIGNED_TEMPORARY, "4.3.0",
		    "the key store could not be read");
		return false;
	}
	if (best == -1)
		explain_failure(input, recipient, demand, methods, count, part);
	else if (best == 0)
		choice_r->method = PLAN_NONE;
	return best != -1;
}

/* ---- outputs ---- */

static bool
may_share(const struct plan_input *input, const struct plan_output *output,
    const struct choice *choice, unsigned options,
    const struct plan_recipient *recipient)
{
	if (output->method != choice->method ||
	    output->signs != choice->signs ||
	    output->encrypts != choice->encrypts || output->options != options)
		return false;
	return !choice->encrypts ||
	       (choice->method == PLAN_PGP && recipient->is_visible &&
		   input->recipients[output->first].is_visible);
}

static void
put_into_output(const struct plan_input *input, size_t index,
    const struct choice *choice, bool has_dkim, struct plan *plan)
{
	const struct plan_recipient *recipient = &input->recipients[index];
	unsigned options = 0;
	size_t at = 0;

	if (choice->encrypts)
		options = recipient->options & ENCRYPT_OPTIONS;
	else if (choice->signs)
		options = recipient->options & SIGN_OPTIONS;
	if (choice->method == PLAN_NONE && !has_dkim && !input->has_removals) {
		plan->parts[index].output = PLAN_AS_IT_CAME;
		return;
	}
	while (at < plan->output_count && !may_share(input, &plan->outputs[at],
					      choice, options, recipient))
		at++;
	if (at == plan->output_count)
		plan->outputs[plan->output_count++] =
		    (struct plan_output){.method = choice->method,
			.signs = choice->signs,
			.encrypts = choice->encrypts,
			.has_dkim = has_dkim,
			.options = options,
			.first = index};
	plan->outputs[at].recipient_count++;
	plan->parts[index].output = at;
}

/* ---- the message ---- */

static void
fail_all(struct plan *plan, enum sign_outcome outcome, const char *enhanced,
    const char *reason)
{
	plan->outcome = outcome;
	plan->enhanced = enhanced;
	(void)snprintf(plan->reason, sizeof(plan->reason), "%s", reason);
}

/* One of "all or none" fails all; what all have in common is the message's. */
static void
settle_outcome(const struct plan_input *input, struct plan *plan)
{
	const struct plan_part *first = &plan->parts[0];
	bool is_common = input->recipient_count > 0;

	for (size_t i = 0; i < input->recipient_count; i++) {
		const struct plan_part *part = &plan->parts[i];

		is_common &= part->outcome == first->outcome;
		if (part->outcome == SIGNED_PERMANENT &&
		    input->recipients[i].encrypt == ENCRYPT_REQUIRED_ALL) {
			fail_all(plan, SIGNED_PERMANENT, part->enhanced,
			    part->reason);
			return;
		}
	}
	if (is_common && first->outcome != SIGNED_DONE)
		fail_all(plan, first->outcome, first->enhanced, first->reason);
}

void
plan_outgoing(const struct plan_input *input, struct plan *plan_r)
{
	bool has_dkim = input->dkim != DKIM_NEVER && input->has_dkim_keys;

	memset(plan_r, 0, sizeof(*plan_r));
	plan_r->outcome = SIGNED_DONE;
	plan_r->enhanced = "";
	plan_r->parts =
	    xcalloc(input->recipient_count + 1, sizeof(*plan_r->parts));
	plan_r->outputs =
	    xcalloc(input->recipient_count + 1, sizeof(*plan_r->outputs));
	if (input->dkim == DKIM_REQUIRED && !has_dkim) {
		fail_all(plan_r, SIGNED_TEMPORARY, "4.7.5",
		    "the sender's domain has no DKIM key");
		return;
	}
	for (size_t i = 0; i < input->recipient_count; i++) {
		const struct plan_recipient *recipient = &input->recipients[i];
		struct plan_part *part = &plan_r->parts[i];
		struct choice choice = {PLAN_NONE, false, false};
		struct demand demand;

		part->outcome = SIGNED_DONE;
		part->enhanced = "";
		if (settle_demand(input, recipient, &demand, part) &&
		    choose(input, recipient, &demand, &choice, part))
			put_into_output(input, i, &choice, has_dkim, plan_r);
	}
	settle_outcome(input, plan_r);
}

void
plan_clear(struct plan *plan)
{
	free(plan->parts);
	free(plan->outputs);
	memset(plan, 0, sizeof(*plan));
}
