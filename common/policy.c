/* SPDX-License-Identifier: ISC */
/*
 * Settles which rules hold for one recipient.
 * Runs in: postern-queued, -signerd.  Trusts: nothing of the mail's header.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mime_word.h"
#include "common/policy.h"

/* What a Subject is looked at up to; a trigger stands at its start or end. */
#define SUBJECT_MAX 4096
/* An address, without its tag, its domain, all above that, and "*". */
#define CANDIDATES_MAX 132

const char *const policy_tag_texts[POLICY_TAG_COUNT] = {
    [POLICY_TAG_DECRYPTED] = "[decrypted]",
    [POLICY_TAG_SIGNED] = "[signed]",
    [POLICY_TAG_INVALID] = "[invalid signature]"};

struct policy {
	struct policy_rule *rules; /* by sender, then recipient */
	size_t count;
	size_t room;
};

/* ---- all rules ---- */

struct policy *
policy_new(void)
{
	return xcalloc(1, sizeof(struct policy));
}

void
policy_free(struct policy *policy)
{
	if (policy == NULL)
		return;
	for (size_t i = 0; i < policy->count; i++) {
		free(policy->rules[i].sender);
		free(policy->rules[i].recipient);
	}
	free(policy->rules);
	free(policy);
}

int
policy_add(struct policy *policy, struct slice sender, struct slice recipient,
    struct slice words, struct err *err)
{
	char patterns[2][POLICY_PATTERN_MAX + 1];
	struct policy_rule rule;

	if (policy_pattern_parse(sender, patterns[0], err) == -1 ||
	    policy_pattern_parse(recipient, patterns[1], err) == -1 ||
	    policy_words_parse(words, &rule.words, err) == -1)
		return -1;
	if (policy->count == policy->room) {
		policy->room = policy->room * 2 + 8;
		policy->rules = xrealloc(
		    policy->rules, policy->room * sizeof(*policy->rules));
	}
	rule.sender = xstrdup(patterns[0]);
	rule.recipient = xstrdup(patterns[1]);
	policy->rules[policy->count++] = rule;
	return 0;
}

static int
compare_rules(const void *a, const void *b)
{
	const struct policy_rule *one = a;
	const struct policy_rule *other = b;
	const int order = strcmp(one->sender, other->sender);

	return order != 0 ? order : strcmp(one->recipient, other->recipient);
}

void
policy_sort(struct policy *policy)
{
	if (policy->count > 1)
		qsort(policy->rules, policy->count, sizeof(*policy->rules),
		    compare_rules);
}

size_t
policy_count(const struct policy *policy)
{
	return policy->count;
}

struct policy *
policy_of_snapshot(const struct snapshot *snapshot, size_t *unread_r)
{
	struct policy *policy = policy_new();

	*unread_r = 0;
	for (size_t i = 0; i < snapshot->policy_count; i++) {
		const struct policy_entry *entry = &snapshot->policies[i];

		if (policy_add(policy, slice_of(entry->sender),
			slice_of(entry->recipient), slice_of(entry->words),
			NULL) == -1)
			++*unread_r;
	}
	policy_sort(policy);
	return policy;
}

static const struct policy_rule *
find_rule(
    const struct policy *policy, const char *sender, const char *recipient)
{
	size_t low = 0;
	size_t high = policy->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const struct policy_rule *rule = &policy->rules[middle];
		int order = strcmp(rule->sender, sender);

		if (order == 0)
			order = strcmp(rule->recipient, recipient);
		if (order == 0)
			return rule;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool
has_sender(const struct policy *policy, const char *sender)
{
	size_t low = 0;
	size_t high = policy->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strcmp(policy->rules[middle].sender, sender) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < policy->count &&
	       strcmp(policy->rules[low].sender, sender) == 0;
}

/* ---- patterns that an address matches ---- */

struct candidate {
	unsigned rank; /* the higher, the nearer */
	char pattern[POLICY_PATTERN_MAX + 1];
};

struct candidates {
	size_t count;
	struct candidate list[CANDIDATES_MAX];
};

/* Above every number of labels of a domain. */
#define RANK_EXACT_DOMAIN 1000
#define RANK_UNTAGGED 1001
#define RANK_ADDRESS 1002

static void
add_candidate(struct candidates *candidates, unsigned rank, const char *prefix,
    const char *rest)
{
	struct candidate *one = &candidates->list[candidates->count];

	if (candidates->count == CANDIDATES_MAX ||
	    (size_t)snprintf(one->pattern, sizeof(one->pattern), "%s%s", prefix,
		rest) >= sizeof(one->pattern))
		return;
	one->rank = rank;
	candidates->count++;
}

/* user@ of user+tag@: a tag is no way around a rule. */
static void
add_untagged(struct candidates *candidates, const char *address, const char *at)
{
	char text[POLICY_PATTERN_MAX + 1];
	const char *plus = strchr(address, '+');

	if (plus == NULL || plus == address || plus > at || *address == '"')
		return;
	(void)snprintf(
	    text, sizeof(text), "%.*s%s", (int)(plus - address), address, at);
	add_candidate(candidates, RANK_UNTAGGED, "", text);
}

/* Every pattern that matches the folded address; "" matches only "*". */
static void
list_candidates(const char *address, struct candidates *candidates)
{
	const char *at = strrchr(address, '@');
	unsigned labels = 1;

	candidates->count = 0;
	if (at != NULL) {
		add_candidate(candidates, RANK_ADDRESS, "", address);
		add_untagged(candidates, address, at);
		add_candidate(candidates, RANK_EXACT_DOMAIN, "", at);
		for (const char *c = at; *c != '\0'; c++)
			labels += *c == '.';
		for (const char *dot = strchr(at, '.'); dot != NULL;
		     dot = strchr(dot + 1, '.'))
			add_candidate(candidates, --labels, "@*", dot);
	}
	add_candidate(candidates, 0, "*", "");
}

/* ---- rules that match ---- */

/* How near a rule is: its nearer side first. */
struct match {
	const struct policy_rule *rule;
	unsigned nearer;
	unsigned farther;
	bool names_recipient; /* its nearer side is the recipient */
};

struct matches {
	struct match *list;
	size_t count;
	size_t room;
};

static void
add_match(struct matches *matches, const struct policy_rule *rule,
    unsigned sender_rank, unsigned recipient_rank)
{
	bool names_recipient;

	if (matches->count == matches->room) {
		matches->room = matches->room * 2 + 8;
		matches->list = xrealloc(
		    matches->list, matches->room * sizeof(*matches->list));
	}
	names_recipient = recipient_rank > sender_rank;
	matches->list[matches->count++] = (struct match){.rule = rule,
	    .nearer = names_recipient ? recipient_rank : sender_rank,
	    .farther = names_recipient ? sender_rank : recipient_rank,
	    .names_recipient = names_recipient};
}

static int
compare_matches(const void *a, const void *b)
{
	const struct match *one = a;
	const struct match *other = b;

	if (one->nearer != other->nearer)
		return one->nearer > other->nearer ? -1 : 1;
	if (one->farther != other->farther)
		return one->farther > other->farther ? -1 : 1;
	return compare_rules(one->rule, other->rule);
}

static void
find_matches(const struct policy *policy, const char *sender,
    const char *recipient, struct matches *matches)
{
	struct candidates *senders = xmalloc(sizeof(*senders));
	struct candidates *recipients = xmalloc(sizeof(*recipients));

	*matches = (struct matches){0};
	list_candidates(sender, senders);
	list_candidates(recipient, recipients);
	for (size_t i = 0; i < senders->count; i++) {
		const struct candidate *from = &senders->list[i];

		if (!has_sender(policy, from->pattern))
			continue;
		for (size_t j = 0; j < recipients->count; j++) {
			const struct candidate *to = &recipients->list[j];
			const struct policy_rule *rule =
			    find_rule(policy, from->pattern, to->pattern);

			if (rule != NULL)
				add_match(matches, rule, from->rank, to->rank);
		}
	}
	free(senders);
	free(recipients);
	if (matches->count > 1)
		qsort(matches->list, matches->count, sizeof(*matches->list),
		    compare_matches);
}

/* ---- fields ---- */

/* Which of two values counts when their rules are equally near. */
enum stricter { STRICTER_HIGHER, STRICTER_LOWER, STRICTER_OF_RECIPIENT };

struct field_row {
	enum stricter stricter;
	unsigned otherwise; /* where no rule says it */
	unsigned option;    /* enum protect_option, of those that are one */
};

static const struct field_row field_rows[POLICY_FIELD_COUNT] = {
    [POLICY_SIGN] = {STRICTER_HIGHER, SIGN_NEVER, 0},
    [POLICY_ENCRYPT] = {STRICTER_HIGHER, POLICY_ENCRYPT_ON_TRIGGER, 0},
    [POLICY_DKIM] = {STRICTER_HIGHER, DKIM_IF_POSSIBLE, 0},
    [POLICY_METHOD] = {STRICTER_OF_RECIPIENT, METHOD_SMIME_PGP, 0},
    [POLICY_MIN_TRUST] = {STRICTER_HIGHER, POLICY_TRUST_DEFAULT, 0},
    [POLICY_OPAQUE] = {STRICTER_OF_RECIPIENT, 0, PROTECT_OPAQUE},
    [POLICY_HEADERS] = {STRICTER_HIGHER, 0, PROTECT_HEADERS},
    [POLICY_SUBJECT] = {STRICTER_HIGHER, 0, PROTECT_SUBJECT},
    [POLICY_CALENDAR_PLAIN] = {STRICTER_LOWER, 0, PROTECT_CALENDAR_PLAIN},
    [POLICY_TO_SELF] = {STRICTER_LOWER, 0, PROTECT_TO_SELF}};

/* What the rules say of one field. */
struct settled {
	const struct match *by; /* NULL: no rule says it */
	unsigned value;
	bool may_lower; /* every rule that says this value allows it */
};

static bool
names(const struct match *match, enum policy_field field)
{
	return (match->rule->words.given & (1u << field)) != 0;
}

static bool
are_equally_near(const struct match *a, const struct match *b)
{
	return a->nearer == b->nearer && a->farther == b->farther;
}

static bool
is_stricter(enum policy_field field, const struct match *than,
    const struct match *match)
{
	const unsigned old_value = than->rule->words.values[field];
	const unsigned new_value = match->rule->words.values[field];

	switch (field_rows[field].stricter) {
	case STRICTER_HIGHER:
		return new_value > old_value;
	case STRICTER_LOWER:
		return new_value < old_value;
	case STRICTER_OF_RECIPIENT:
		return match->names_recipient && !than->names_recipient;
	}
	bug("field %d", (int)field);
}

static struct settled
settle(const struct matches *matches, enum policy_field field)
{
	struct settled settled = {.value = field_rows[field].otherwise};

	for (size_t i = 0; i < matches->count; i++) {
		const struct match *match = &matches->list[i];

		if (!names(match, field))
			continue;
		if (settled.by == NULL)
			settled.by = match;
		else if (!are_equally_near(settled.by, match))
			break;
		else if (is_stricter(field, settled.by, match))
			settled.by = match;
	}
	if (settled.by == NULL)
		return settled;
	settled.value = settled.by->rule->words.values[field];
	settled.may_lower = true;
	for (size_t i = 0; i < matches->count; i++) {
		const struct match *match = &matches->list[i];

		if (are_equally_near(settled.by, match) &&
		    names(match, field) &&
		    match->rule->words.values[field] == settled.value &&
		    !match->rule->words.may_lower)
			settled.may_lower = false;
	}
	return settled;
}

/* ---- the mail ---- */

/* All of it, or as much of its start and of its end. */
static void
add_ends(struct slice text, struct buf *out)
{
	const size_t part = (SUBJECT_MAX - 1) / 2;

	if (text.n <= SUBJECT_MAX) {
		(void)buf_add_slice(out, text);
		return;
	}
	(void)buf_add(out, text.p, part);
	(void)buf_add_char(out, '\n');
	(void)buf_add(out, text.p + text.n - part, part);
}

void
policy_mail_init(struct policy_mail *mail, const struct address *sender,
    bool is_trusted, const struct header *header)
{
	const struct header_field *field;
	struct buf text;

	mail->is_trusted = is_trusted;
	mail->header = header;
	mail->sender[0] = '\0';
	if (sender != NULL && !sender->is_null && !sender->is_literal)
		(void)address_format_folded(sender, mail->sender);
	buf_init(&mail->subject, SUBJECT_MAX);
	if (header == NULL)
		return;
	buf_init(&text, 3 * HEADER_SIZE_MAX);
	for (field = header_first(header, HDR_SUBJECT); field != NULL;
	     field = header_next(header, field)) {
		(void)mime_word_read(header_field_value(header, field), &text);
		(void)buf_add_char(&text, '\n');
	}
	add_ends(buf_slice(&text), &mail->subject);
	buf_clear(&text);
}

void
policy_mail_clear(struct policy_mail *mail)
{
	buf_clear(&mail->subject);
}

/* ASCII case does not count. */
static bool
contains(struct slice text, struct slice part)
{
	for (size_t i = 0; i + part.n <= text.n; i++)
		if (slice_equals_nocase(
			(struct slice){text.p + i, part.n}, part))
			return true;
	return false;
}

static bool
has_field_value(const struct header *header, const struct header_field *field,
    const char *text)
{
	struct buf value;
	bool is_equal;

	buf_init(&value, SUBJECT_MAX);
	(void)header_unfold(header_field_value(header, field), &value);
	is_equal = slice_equals_nocase(buf_slice(&value), slice_of(text));
	buf_clear(&value);
	return is_equal;
}

static bool
has_field(const struct header *header, const struct policy_trigger *trigger)
{
	for (size_t i = 0; i < header->field_count; i++) {
		const struct header_field *field = &header->fields[i];

		if (slice_equals_nocase(header_field_name(header, field),
			slice_of(trigger->name)) &&
		    (trigger->text[0] == '\0' ||
			has_field_value(header, field, trigger->text)))
			return true;
	}
	return false;
}

static bool
is_in_mail(const struct policy_mail *mail, const struct policy_trigger *trigger)
{
	if (!mail->is_trusted || mail->header == NULL)
		return false;
	return trigger->is_header ? has_field(mail->header, trigger)
				  : contains(buf_slice(&mail->subject),
					slice_of(trigger->text));
}

static void
add_removal(
    struct ipc_list_writer *removals, const struct policy_trigger *trigger)
{
	struct ipc_list list = ipc_list_of(removals);
	struct ipc_record_fact fact;
	const struct ipc_record_fact ours = {
	    .name = trigger->is_header ? SLICE("header") : SLICE("subject"),
	    .value =
		slice_of(trigger->is_header ? trigger->name : trigger->text)};

	while (ipc_fact_next(&list, &fact))
		if (slice_equals(fact.name, ours.name) &&
		    slice_equals_nocase(fact.value, ours.value))
			return;
	if (removals->count < POLICY_REMOVALS_MAX)
		(void)ipc_fact_add(removals, &ours, NULL);
}

/* ---- triggers ---- */

/* Which actions the mail asks for: a set of 1 << enum policy_action. */
static unsigned
read_triggers(const struct matches *matches, const struct policy_mail *mail,
    struct ipc_list_writer *removals)
{
	unsigned wanted = 0;

	for (size_t i = 0; i < matches->count; i++) {
		const struct policy_words *words =
		    &matches->list[i].rule->words;

		for (size_t j = 0; j < words->trigger_count; j++) {
			const struct policy_trigger *trigger =
			    &words->triggers[j];

			if (!is_in_mail(mail, trigger))
				continue;
			wanted |= 1u << trigger->action;
			if (removals != NULL)
				add_removal(removals, trigger);
		}
	}
	return wanted;
}

/* What an action is about, and what it asks for there. */
struct action_row {
	enum policy_field field;
	unsigned value;
	enum policy_action against; /* that one wins */
	bool raises;
};

static const struct action_row action_rows[POLICY_ACTION_COUNT] = {
    [POLICY_DO_SIGN] = {POLICY_SIGN, SIGN_REQUIRED, POLICY_ACTION_COUNT, true},
    [POLICY_DO_ENCRYPT] = {POLICY_ENCRYPT, POLICY_ENCRYPT_REQUIRED,
	POLICY_ACTION_COUNT, true},
    [POLICY_DO_NOT_SIGN] = {POLICY_SIGN, SIGN_NEVER, POLICY_DO_SIGN, false},
    [POLICY_DO_NOT_ENCRYPT] = {
	POLICY_ENCRYPT, POLICY_ENCRYPT_NEVER, POLICY_DO_ENCRYPT, false}};

/* NULL: the action counts; else why it does not. */
static const char *
why_not(enum policy_action action, unsigned wanted,
    const struct settled settled[POLICY_FIELD_COUNT])
{
	const struct action_row *row = &action_rows[action];
	const struct settled *field = &settled[row->field];

	if (row->raises) {
		if (field->by != NULL && field->value == 0)
			return "a rule says never";
		return field->value >= row->value ? "demanded without it"
						  : NULL;
	}
	if ((wanted & (1u << row->against)) != 0)
		return "the mail asks for the opposite, too";
	if (field->by == NULL || field->value == row->value)
		return "nothing to lower";
	return field->may_lower
		   ? NULL
		   : "the rule that demands it has no \"lower on\"";
}

static unsigned
value_after_triggers(enum policy_field field, unsigned wanted,
    const struct settled settled[POLICY_FIELD_COUNT])
{
	for (int i = 0; i < POLICY_ACTION_COUNT; i++)
		if ((wanted & (1u << i)) != 0 &&
		    action_rows[i].field == field &&
		    why_not((enum policy_action)i, wanted, settled) == NULL)
			return action_rows[i].value;
	return settled[field].value;
}

/* ---- telling ---- */

static const char *
why_of_field(const struct match *match, const struct settled *settled,
    enum policy_field field, char *text, size_t size)
{
	if (match == settled->by ||
	    (are_equally_near(match, settled->by) &&
		match->rule->words.values[field] == settled->value))
		return NULL;
	(void)snprintf(text, size, "%s rule %s %s says %s",
	    are_equally_near(match, settled->by) ? "the equally near"
						 : "the nearer",
	    settled->by->rule->sender, settled->by->rule->recipient,
	    policy_value_name(
		field, settled->value, (char[POLICY_VALUE_TEXT_MAX]){0}));
	return text;
}

static void
tell_fields(const struct match *match,
    const struct settled settled[POLICY_FIELD_COUNT], policy_fired_fn *fired,
    void *arg)
{
	for (int i = 0; i < POLICY_FIELD_COUNT; i++) {
		const enum policy_field field = (enum policy_field)i;
		char value[POLICY_VALUE_TEXT_MAX];
		char text[64];
		char why[2 * POLICY_PATTERN_MAX + 64];
		const char *not_because;

		if (!names(match, field))
			continue;
		(void)snprintf(text, sizeof(text), "%s %s",
		    policy_field_name(field),
		    policy_value_name(
			field, match->rule->words.values[field], value));
		not_because = why_of_field(
		    match, &settled[field], field, why, sizeof(why));
		fired(arg, match->rule, text, not_because == NULL,
		    not_because != NULL ? not_because : "counts");
	}
}

static void
tell_triggers(const struct match *match, const struct policy_mail *mail,
    unsigned wanted, const struct settled settled[POLICY_FIELD_COUNT],
    policy_fired_fn *fired, void *arg)
{
	const struct policy_words *words = &match->rule->words;

	for (size_t i = 0; i < words->trigger_count; i++) {
		const struct policy_trigger *trigger = &words->triggers[i];
		struct buf text;
		const char *not_because =
		    !mail->is_trusted ? "the sender is not a trusted one"
		    : !is_in_mail(mail, trigger)
			? "not in this mail"
			: why_not(trigger->action, wanted, settled);

		buf_init(&text, POLICY_RULES_MAX);
		policy_trigger_format(trigger, &text);
		fired(arg, match->rule, buf_text(&text), not_because == NULL,
		    not_because != NULL ? not_because : "counts");
		buf_clear(&text);
	}
}

/* ---- deciding ---- */

static enum protect_encrypt
encrypt_of(unsigned value)
{
	switch ((enum policy_encrypt)value) {
	case POLICY_ENCRYPT_NEVER:
	case POLICY_ENCRYPT_ON_TRIGGER:
		return ENCRYPT_NEVER;
	case POLICY_ENCRYPT_IF_POSSIBLE:
		return ENCRYPT_IF_POSSIBLE;
	case POLICY_ENCRYPT_REQUIRED:
		return ENCRYPT_REQUIRED;
	case POLICY_ENCRYPT_REQUIRED_ALL:
		return ENCRYPT_REQUIRED_ALL;
	case POLICY_ENCRYPT_COUNT:
		break;
	}
	bug("encrypt %u", value);
}

static struct policy_decision
decision_of(unsigned wanted, const struct settled settled[POLICY_FIELD_COUNT])
{
	struct policy_decision decision = {
	    .sign = (enum protect_sign)value_after_triggers(
		POLICY_SIGN, wanted, settled),
	    .encrypt = encrypt_of(
		value_after_triggers(POLICY_ENCRYPT, wanted, settled)),
	    .dkim = (enum protect_dkim)settled[POLICY_DKIM].value,
	    .method = (enum protect_method)settled[POLICY_METHOD].value,
	    .min_trust = settled[POLICY_MIN_TRUST].value};

	for (int i = POLICY_OPAQUE; i < POLICY_FIELD_COUNT; i++)
		if (settled[i].value != 0)
			decision.options |= field_rows[i].option;
	if (settled[POLICY_SUBJECT].value == POLICY_SUBJECT_LEGACY)
		decision.options |= PROTECT_LEGACY;
	return decision;
}

void
policy_decide(const struct policy *policy, const struct policy_mail *mail,
    const struct address *recipient, struct policy_decision *decision_r,
    struct ipc_list_writer *removals, policy_fired_fn *fired, void *arg)
{
	struct settled settled[POLICY_FIELD_COUNT];
	struct matches matches = {0};
	char to[ADDRESS_TEXT_MAX] = "";
	unsigned wanted;

	if (!recipient->is_null && !recipient->is_literal)
		(void)address_format_folded(recipient, to);
	if (policy->count > 0)
		find_matches(policy, mail->sender, to, &matches);
	for (int i = 0; i < POLICY_FIELD_COUNT; i++)
		settled[i] = settle(&matches, (enum policy_field)i);
	wanted = read_triggers(&matches, mail, removals);
	*decision_r = decision_of(wanted, settled);
	for (size_t i = 0; fired != NULL && i < matches.count; i++) {
		tell_fields(&matches.list[i], settled, fired, arg);
		tell_triggers(
		    &matches.list[i], mail, wanted, settled, fired, arg);
	}
	free(matches.list);
}
