/* SPDX-License-Identifier: ISC */
/*
 * Explains a decision.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask; arguments are read like anybody's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/mime_word.h"
#include "common/policy.h"
#include "signer/explain.h"
#include "signer/plan.h"
#include "signer/signerd.h"

/* Header fields that somebody types. */
#define HEADER_MAX 65536

static const char *const method_names[PLAN_METHOD_COUNT] = {
    [PLAN_SMIME] = "smime", [PLAN_PGP] = "pgp"};
static const enum key_kind method_kinds[PLAN_METHOD_COUNT] = {
    [PLAN_SMIME] = KEY_SMIME, [PLAN_PGP] = KEY_PGP};

/* A mail that nobody sent. */
struct question {
	struct address from;
	struct address to;
	char from_text[ADDRESS_TEXT_MAX];
	char to_text[ADDRESS_TEXT_MAX];
	struct buf header;
};

/* ---- arguments ---- */

static enum manage_code
read_address(struct manage_request *request, const char *name,
    struct address *address_r, char text_r[ADDRESS_TEXT_MAX])
{
	const char *text = manage_text(request, name);
	struct err err;

	if (text == NULL)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "%s: an address is wanted", name);
	if (address_parse(
		slice_of(text), ADDRESS_MAY_BE_UTF8, address_r, &err) == -1)
		return manage_fail(
		    request, MANAGE_USAGE, NULL, "%s: %s", name, err.text);
	(void)address_format(address_r, text_r);
	return MANAGE_DONE;
}

static int
add_field(struct buf *header, const char *text)
{
	const char *colon = strchr(text, ':');

	if (!ipc_is_text(slice_of(text)) || text[0] == ':')
		return -1;
	return buf_addf(header, "%s%s\r\n", text, colon == NULL ? ":" : "");
}

static enum manage_code
read_header(struct manage_request *request, struct buf *header)
{
	const json_t *fields = json_object_get(request->arguments, "headers");
	const char *subject = manage_text(request, "subject");
	const json_t *field;
	size_t i;

	if (subject != NULL) {
		(void)buf_add_text(header, "Subject: ");
		(void)mime_word_encode(
		    slice_of(subject), sizeof("Subject:"), header);
		(void)buf_add_text(header, "\r\n");
	}
	json_array_foreach(fields, i, field) {
		const char *text = json_string_value(field);

		if (text == NULL || add_field(header, text) == -1)
			return manage_fail(request, MANAGE_USAGE, NULL,
			    "header: NAME:VALUE is wanted");
	}
	if (buf_add_text(header, "\r\n") == -1)
		return manage_fail(request, MANAGE_USAGE, NULL,
		    "more than %d octets of header", HEADER_MAX);
	return MANAGE_DONE;
}

static enum manage_code
read_question(struct manage_request *request, struct question *question)
{
	enum manage_code code =
	    read_address(request, "from", &question->from, question->from_text);

	if (code == MANAGE_DONE)
		code = read_address(
		    request, "to", &question->to, question->to_text);
	if (code == MANAGE_DONE)
		code = read_header(request, &question->header);
	return code;
}

/* ---- the decision ---- */

static void
add_rule(void *arg, const struct policy_rule *rule, const char *text,
    bool counts, const char *why)
{
	(void)json_array_append_new(
	    arg, json_pack("{s:s, s:s, s:s, s:b, s:s}", "sender", rule->sender,
		     "recipient", rule->recipient, "rule", text, "counts",
		     counts, "why", why));
}

static json_t *
options_json(unsigned options)
{
	static const struct {
		unsigned option;
		enum policy_field field;
	} rows[] = {{PROTECT_OPAQUE, POLICY_OPAQUE},
	    {PROTECT_HEADERS, POLICY_HEADERS},
	    {PROTECT_SUBJECT, POLICY_SUBJECT},
	    {PROTECT_CALENDAR_PLAIN, POLICY_CALENDAR_PLAIN},
	    {PROTECT_TO_SELF, POLICY_TO_SELF}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((options & rows[i].option) != 0)
			(void)json_array_append_new(list,
			    json_string(policy_field_name(rows[i].field)));
	if ((options & PROTECT_LEGACY) != 0)
		(void)json_array_append_new(
		    list, json_string("legacy-display"));
	return list;
}

static json_t *
decision_json(const struct policy_decision *decision)
{
	char text[3][POLICY_VALUE_TEXT_MAX];

	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:o}", "sign",
	    policy_value_name(POLICY_SIGN, decision->sign, text[0]), "encrypt",
	    policy_encrypt_name(decision->encrypt), "dkim",
	    policy_value_name(POLICY_DKIM, decision->dkim, text[1]), "method",
	    policy_value_name(POLICY_METHOD, decision->method, text[2]),
	    "min_trust", (json_int_t)decision->min_trust, "options",
	    options_json(decision->options));
}

static json_t *
removals_json(const struct ipc_list_writer *removals)
{
	struct ipc_list list = ipc_list_of(removals);
	struct ipc_record_fact fact;
	json_t *array = json_array();

	while (ipc_fact_next(&list, &fact)) {
		char text[POLICY_TRIGGER_MAX + 32];

		(void)snprintf(text, sizeof(text), "%.*s %.*s",
		    SLICE_ARG(fact.name), SLICE_ARG(fact.value));
		(void)json_array_append_new(array, json_string(text));
	}
	return array;
}

/* ---- the keys ---- */

static void
add_key(json_t *keys, const char *use, const char *method,
    const struct plan_key *found, unsigned trust)
{
	json_t *row =
	    json_pack("{s:s, s:s, s:s}", "use", use, "method", method, "state",
		found->result == KEYSTORE_FOUND
		    ? "is there"
		    : keystore_result_text(found->result));

	if (found->key != NULL) {
		(void)json_object_set_new(
		    row, "fingerprint", json_string(found->key->fingerprint));
		(void)json_object_set_new(
		    row, "algorithm", json_string(found->key->algorithm));
		(void)json_object_set_new(row, "not_after",
		    json_integer((json_int_t)found->key->not_after_s));
		if (trust > 0)
			(void)json_object_set_new(
			    row, "trust", json_integer((json_int_t)trust));
	}
	(void)json_array_append_new(keys, row);
}

/* As job_keys.c looks them up for a job. */
static void
look_up(struct keystore *keystore, const struct question *question,
    const struct policy_decision *decision, struct plan_input *input,
    struct plan_recipient *recipient, json_t *keys)
{
	const int64_t now_s = (int64_t)time(NULL);
	enum plan_method methods[PLAN_METHOD_COUNT];
	size_t count;

	plan_methods(decision->method, methods, &count);
	for (size_t i = 0; i < count; i++) {
		const enum plan_method method = methods[i];
		struct key_binding binding = {0};

		input->signers[method].result = keystore_signer(keystore,
		    method_kinds[method], slice_of(question->from_text), now_s,
		    &input->signers[method].key);
		if (decision->sign != SIGN_NEVER)
			add_key(keys, "sign", method_names[method],
			    &input->signers[method], 0);
		recipient->keys[method].result = keystore_recipient(keystore,
		    method_kinds[method], slice_of(question->to_text),
		    decision->min_trust, now_s, &binding);
		recipient->keys[method].key = binding.key;
		if (decision->encrypt != ENCRYPT_NEVER)
			add_key(keys, "encrypt", method_names[method],
			    &recipient->keys[method], binding.trust);
	}
}

static int
look_up_dkim(struct keystore *keystore, const struct question *question,
    struct plan_input *input, json_t *keys, struct err *err)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	size_t count;

	if (keystore_dkim(keystore, slice_of(question->from.domain.text),
		(int64_t)time(NULL), selectors, &count, err) == -1)
		return -1;
	input->has_dkim_keys = count > 0;
	for (size_t i = 0; i < count && input->dkim != DKIM_NEVER; i++) {
		const struct plan_key found = {
		    KEYSTORE_FOUND, selectors[i].key};

		add_key(keys, "dkim", selectors[i].selector, &found, 0);
	}
	return 0;
}

/* ---- what it comes to ---- */

/* "signed and encrypted by smime, with DKIM" */
static json_t *
outcome_json(const struct plan *plan)
{
	const struct plan_part *part = &plan->parts[0];
	const struct plan_output *output;
	enum sign_outcome outcome =
	    plan->outcome != SIGNED_DONE ? plan->outcome : part->outcome;
	const char *enhanced =
	    plan->outcome != SIGNED_DONE ? plan->enhanced : part->enhanced;
	const char *reason =
	    plan->outcome != SIGNED_DONE ? plan->reason : part->reason;
	char text[256];

	if (outcome == SIGNED_PERMANENT || outcome == SIGNED_TEMPORARY) {
		(void)snprintf(text, sizeof(text), "%s: %s %s",
		    outcome == SIGNED_PERMANENT ? "refused" : "waits",
		    enhanced != NULL ? enhanced : "", reason);
		return json_string(text);
	}
	if (part->output == PLAN_AS_IT_CAME)
		return json_string("leaves as it came");
	output = &plan->outputs[part->output];
	(void)snprintf(text, sizeof(text), "%s%s%s%s%s%s",
	    output->signs ? "signed" : "",
	    output->signs && output->encrypts ? " and " : "",
	    output->encrypts ? "encrypted" : "",
	    output->method < PLAN_METHOD_COUNT ? " by " : "",
	    output->method < PLAN_METHOD_COUNT ? method_names[output->method]
					       : "",
	    output->has_dkim ? ", with DKIM" : "");
	if (text[0] == ',')
		return json_string("signed with DKIM");
	return json_string(text[0] != '\0' ? text : "leaves without triggers");
}

static enum manage_code
explain_keys(struct manage_request *request, const struct question *question,
    const struct policy_decision *decision, bool has_removals)
{
	struct keystore *keystore = request->signerd->keystore;
	struct plan_recipient recipient = {.sign = decision->sign,
	    .encrypt = decision->encrypt,
	    .method = decision->method,
	    .options = decision->options,
	    .is_visible = true};
	struct plan_input input = {.dkim = decision->dkim,
	    .has_removals = has_removals,
	    .recipients = &recipient,
	    .recipient_count = 1};
	json_t *keys = json_array();
	struct plan plan;
	struct err err;

	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++)
		input.signers[i].result = input.selves[i].result =
		    recipient.keys[i].result = KEYSTORE_NONE;
	look_up(keystore, question, decision, &input, &recipient, keys);
	if (look_up_dkim(keystore, question, &input, keys, &err) == -1) {
		json_decref(keys);
		return manage_fail(
		    request, MANAGE_FAILED, NULL, "%s", err.text);
	}
	(void)json_object_set_new(request->reply, "keys", keys);
	plan_outgoing(&input, &plan);
	(void)json_object_set_new(
	    request->reply, "outcome", outcome_json(&plan));
	plan_clear(&plan);
	return MANAGE_DONE;
}

/* Who is not one of ours sends nothing out: rules do not hold for him. */
static void
note_stranger(struct manage_request *request, const struct question *question)
{
	const struct snapshot *snapshot =
	    daemon_snapshot(request->signerd->daemon);

	if (snapshot_domain(snapshot, &question->from.domain) == NULL)
		(void)json_object_set_new(request->reply, "note",
		    json_string("the sender's domain is not one of ours; "
				"rules hold for him only after a login or "
				"from a trusted network"));
}

static enum manage_code
explain(struct manage_request *request, const struct question *question,
    const struct policy *policy, const struct header *header)
{
	struct policy_decision decision;
	struct ipc_list_writer removals;
	struct policy_mail mail;
	json_t *rules = json_array();
	enum manage_code code;

	ipc_list_writer_init(&removals, HEADER_MAX);
	policy_mail_init(&mail, &question->from, true, header);
	policy_decide(policy, &mail, &question->to, &decision, &removals,
	    add_rule, rules);
	policy_mail_clear(&mail);
	request->reply =
	    json_pack("{s:s, s:s, s:o, s:o, s:o}", "from", question->from_text,
		"to", question->to_text, "decision", decision_json(&decision),
		"rules", rules, "removed", removals_json(&removals));
	note_stranger(request, question);
	code = explain_keys(request, question, &decision, removals.count > 0);
	ipc_list_writer_clear(&removals);
	return code;
}

enum manage_code
signer_explain(struct manage_request *request)
{
	struct question question;
	struct header header;
	struct policy *policy;
	enum manage_code code;
	size_t unread;

	buf_init(&question.header, HEADER_MAX);
	header_init(&header, HEADER_MAX);
	policy = policy_of_snapshot(
	    daemon_snapshot(request->signerd->daemon), &unread);
	if ((code = read_question(request, &question)) != MANAGE_DONE)
		goto out;
	if (unread > 0) {
		code =
		    manage_fail(request, MANAGE_FAILED, "postern config check",
			"%zu rules of policy cannot be read", unread);
		goto out;
	}
	if (header_read(&header, buf_slice(&question.header)) == PARSE_BAD)
		code = manage_fail(request, MANAGE_USAGE, NULL, "header: %s",
		    header_failure_text(header.failure));
	else
		code = explain(request, &question, policy, &header);
out:
	policy_free(policy);
	header_clear(&header);
	buf_clear(&question.header);
	return code;
}
