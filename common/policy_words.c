/* SPDX-License-Identifier: ISC */
/*
 * Rules of protection as text.
 * Runs in: postern-confd, -queued, -signerd.  Trusts: nothing of the text.
 */
#include <stdio.h>
#include <string.h>

#include "common/policy.h"
#include "common/printable.h"
#include "common/words.h"

#define GIVEN_MAX 160

/* ---- names ---- */

/* A field's words in the order of their numbers; NULL: on, off or a number. */
struct field_words {
	const char *name;
	const char *const *values;
	unsigned count;
};

static const char *const sign_words[SIGN_COUNT] = {[SIGN_NEVER] = "never",
    [SIGN_IF_POSSIBLE] = "if-possible",
    [SIGN_REQUIRED] = "required"};
static const char *const policy_encrypt_words[POLICY_ENCRYPT_COUNT] = {
    [POLICY_ENCRYPT_NEVER] = "never",
    [POLICY_ENCRYPT_ON_TRIGGER] = "on-trigger",
    [POLICY_ENCRYPT_IF_POSSIBLE] = "if-possible",
    [POLICY_ENCRYPT_REQUIRED] = "required",
    [POLICY_ENCRYPT_REQUIRED_ALL] = "required-all"};
static const char *const encrypt_words[ENCRYPT_COUNT] = {
    [ENCRYPT_NEVER] = "never",
    [ENCRYPT_IF_POSSIBLE] = "if-possible",
    [ENCRYPT_REQUIRED] = "required",
    [ENCRYPT_REQUIRED_ALL] = "required-all"};
static const char *const dkim_words[DKIM_COUNT] = {[DKIM_NEVER] = "never",
    [DKIM_IF_POSSIBLE] = "if-possible",
    [DKIM_REQUIRED] = "required"};
static const char *const method_words[METHOD_COUNT] = {
    [METHOD_SMIME_PGP] = "smime-pgp",
    [METHOD_PGP_SMIME] = "pgp-smime",
    [METHOD_SMIME] = "smime",
    [METHOD_PGP] = "pgp"};
static const char *const switch_words[] = {"off", "on"};
static const char *const subject_words[POLICY_SUBJECT_COUNT] = {
    [POLICY_SUBJECT_SEEN] = "off",
    [POLICY_SUBJECT_HIDDEN] = "on",
    [POLICY_SUBJECT_LEGACY] = "legacy"};
static const char *const action_words[POLICY_ACTION_COUNT] = {
    [POLICY_DO_SIGN] = "sign",
    [POLICY_DO_ENCRYPT] = "encrypt",
    [POLICY_DO_NOT_SIGN] = "no-sign",
    [POLICY_DO_NOT_ENCRYPT] = "no-encrypt"};

static const struct field_words fields[POLICY_FIELD_COUNT] = {
    [POLICY_SIGN] = {"sign", sign_words, SIGN_COUNT},
    [POLICY_ENCRYPT] = {"encrypt", policy_encrypt_words, POLICY_ENCRYPT_COUNT},
    [POLICY_DKIM] = {"dkim", dkim_words, DKIM_COUNT},
    [POLICY_METHOD] = {"method", method_words, METHOD_COUNT},
    [POLICY_MIN_TRUST] = {"min-trust", NULL, POLICY_TRUST_MAX + 1},
    [POLICY_OPAQUE] = {"opaque", switch_words, 2},
    [POLICY_HEADERS] = {"protect-headers", switch_words, 2},
    [POLICY_SUBJECT] = {"protect-subject", subject_words, POLICY_SUBJECT_COUNT},
    [POLICY_CALENDAR_PLAIN] = {"calendar-plain", switch_words, 2},
    [POLICY_TO_SELF] = {"to-self", switch_words, 2}};

const char *
policy_field_name(enum policy_field field)
{
	return fields[field].name;
}

const char *
policy_value_name(
    enum policy_field field, unsigned value, char text_r[POLICY_VALUE_TEXT_MAX])
{
	const struct field_words *row = &fields[field];

	if (row->values != NULL)
		return value < row->count ? row->values[value] : "?";
	(void)snprintf(text_r, POLICY_VALUE_TEXT_MAX, "%u", value);
	return text_r;
}

const char *
policy_encrypt_name(enum protect_encrypt encrypt)
{
	return encrypt_words[encrypt];
}

/* ---- patterns ---- */

int
policy_pattern_parse(
    struct slice text, char pattern_r[POLICY_PATTERN_MAX + 1], struct err *err)
{
	struct domain_pattern domain;
	struct address address;
	char room[ADDRESS_TEXT_MAX];
	char given[GIVEN_MAX];

	if (slice_equals(text, SLICE("*"))) {
		(void)snprintf(pattern_r, POLICY_PATTERN_MAX + 1, "*");
		return 0;
	}
	if (text.n > 0 && text.p[0] == '@') {
		if (domain_pattern_parse((struct slice){text.p + 1, text.n - 1},
			&domain, err) == -1)
			return -1;
		(void)snprintf(pattern_r, POLICY_PATTERN_MAX + 1, "%s%s",
		    domain.kind == DOMAIN_PATTERN_ANY ? "" : "@",
		    domain_pattern_format(
			&domain, (char[DOMAIN_PATTERN_TEXT_MAX]){0}));
		return 0;
	}
	if (slice_find(text, '@', 0) == text.n)
		return err_set(err,
		    "pattern: not \"%s\", but an address, @DOMAIN, @*.DOMAIN "
		    "or *",
		    printable(text, given, sizeof(given)));
	if (address_parse(text, ADDRESS_MAY_BE_UTF8, &address, err) == -1)
		return -1;
	(void)address_format_folded(&address, room);
	/* A rule's key is its two patterns with a blank between. */
	if (address.is_literal || strchr(room, ' ') != NULL)
		return err_set(err,
		    "pattern: an address without blanks, at a domain, is "
		    "wanted");
	(void)snprintf(pattern_r, POLICY_PATTERN_MAX + 1, "%s", room);
	return 0;
}

/* ---- reading ---- */

static int
refuse(
    struct err *err, const char *what, struct slice given, const char *allowed)
{
	char text[GIVEN_MAX];

	return err_set(err, "%s: not \"%s\", but %s", what,
	    printable(given, text, sizeof(text)), allowed);
}

/* "never, if-possible or required" */
static int
refuse_value(struct err *err, const struct field_words *row, struct slice given)
{
	struct buf allowed;
	int rc;

	if (row->values == NULL)
		return refuse(err, row->name, given, "a number from 0 to 100");
	buf_init(&allowed, ERR_TEXT_MAX);
	for (unsigned i = 0; i < row->count; i++)
		(void)buf_addf(&allowed, "%s%s",
		    i == 0                ? ""
		    : i + 1 == row->count ? " or "
					  : ", ",
		    row->values[i]);
	rc = refuse(err, row->name, given, buf_text(&allowed));
	buf_clear(&allowed);
	return rc;
}

static int
find_word(const char *const *words, unsigned count, struct slice word,
    unsigned *index_r)
{
	for (unsigned i = 0; i < count; i++)
		if (slice_equals_nocase(word, slice_of(words[i]))) {
			*index_r = i;
			return 0;
		}
	return -1;
}

static int
read_value(struct policy_words *words, enum policy_field field,
    struct slice value, struct err *err)
{
	const struct field_words *row = &fields[field];
	uint64_t number;
	unsigned index;

	if (row->values == NULL) {
		if (slice_to_u64(value, &number) == -1 || number >= row->count)
			return refuse_value(err, row, value);
		index = (unsigned)number;
	} else if (find_word(row->values, row->count, value, &index) == -1) {
		return refuse_value(err, row, value);
	}
	if ((words->given & (1u << field)) != 0)
		return err_set(err, "%s: said twice", row->name);
	words->given |= 1u << field;
	words->values[field] = (uint16_t)index;
	return 0;
}

static int
read_lower(struct policy_words *words, struct slice value, struct err *err)
{
	unsigned index;

	if (find_word(switch_words, 2, value, &index) == -1)
		return refuse(err, "lower", value, "off or on");
	if (words->is_lower_given)
		return err_set(err, "lower: said twice");
	words->is_lower_given = true;
	words->may_lower = index == 1;
	return 0;
}

/* RFC 5322 §3.6.8: printable ASCII but the colon. */
static bool
is_field_name(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
			return false;
	return name.n > 0;
}

/* What the gateway itself goes by, or others rely on, is no trigger. */
static bool
is_plain_field(struct slice name)
{
	return header_name_of(name) == HDR_OTHER;
}

static int
read_header_trigger(
    struct policy_trigger *trigger, struct slice text, struct err *err)
{
	const size_t colon = slice_find(text, ':', 0);
	const struct slice name = slice_trim((struct slice){text.p, colon});
	struct slice value = {0};

	if (colon < text.n)
		value = slice_trim(
		    (struct slice){text.p + colon + 1, text.n - colon - 1});
	if (!is_field_name(name) || !is_plain_field(name) ||
	    slice_copy(name, trigger->name, sizeof(trigger->name)) == -1 ||
	    slice_copy(value, trigger->text, sizeof(trigger->text)) == -1)
		return refuse(err, "trigger header", text,
		    "NAME or NAME:VALUE, with a field that mail does not have "
		    "anyway, such as X-Encrypt:yes");
	trigger->is_header = true;
	return 0;
}

static int
read_subject_trigger(
    struct policy_trigger *trigger, struct slice text, struct err *err)
{
	if (text.n < 2 ||
	    slice_copy(text, trigger->text, sizeof(trigger->text)) == -1)
		return refuse(err, "trigger subject", text,
		    "2 to 128 octets of text, such as [secure]");
	return 0;
}

static bool
are_equal(const struct policy_trigger *a, const struct policy_trigger *b)
{
	return a->is_header == b->is_header &&
	       slice_equals_nocase(slice_of(a->name), slice_of(b->name)) &&
	       slice_equals_nocase(slice_of(a->text), slice_of(b->text));
}

static int
add_trigger(struct policy_words *words, const struct policy_trigger *trigger,
    struct err *err)
{
	if (words->trigger_count == POLICY_TRIGGERS_MAX)
		return err_set(err, "trigger: a rule has no more than %d",
		    POLICY_TRIGGERS_MAX);
	for (size_t i = 0; i < words->trigger_count; i++)
		if (are_equal(&words->triggers[i], trigger))
			return err_set(err, "trigger: %s said twice",
			    trigger->is_header ? trigger->name : trigger->text);
	words->triggers[words->trigger_count++] = *trigger;
	return 0;
}

/* "subject TEXT ACTION" or "header NAME[:VALUE] ACTION" */
static int
read_trigger(struct policy_words *words, struct slice *line, struct buf *word,
    struct err *err)
{
	struct policy_trigger trigger = {0};
	unsigned action;
	bool is_header;
	int rc;

	if (words_next(line, word) != WORDS_WORD)
		return refuse(err, "trigger", *line,
		    "subject TEXT ACTION or header NAME:VALUE ACTION");
	is_header = slice_equals_nocase(buf_slice(word), SLICE("header"));
	if (!is_header &&
	    !slice_equals_nocase(buf_slice(word), SLICE("subject")))
		return refuse(
		    err, "trigger", buf_slice(word), "subject or header");
	if (words_next(line, word) != WORDS_WORD)
		return refuse(err, "trigger", *line, "a text and an action");
	rc = is_header ? read_header_trigger(&trigger, buf_slice(word), err)
		       : read_subject_trigger(&trigger, buf_slice(word), err);
	if (rc == -1)
		return -1;
	if (words_next(line, word) != WORDS_WORD ||
	    find_word(action_words, POLICY_ACTION_COUNT, buf_slice(word),
		&action) == -1)
		return refuse(err, "trigger", buf_slice(word),
		    "sign, encrypt, no-sign or no-encrypt at its end");
	trigger.action = (enum policy_action)action;
	return add_trigger(words, &trigger, err);
}

static int
find_field(struct slice name)
{
	for (int i = 0; i < POLICY_FIELD_COUNT; i++)
		if (slice_equals_nocase(name, slice_of(fields[i].name)))
			return i;
	return -1;
}

/* The value of the field, or all that follows "trigger". */
static int
read_one(struct policy_words *words, struct slice *line, struct buf *word,
    struct err *err)
{
	const int field = find_field(buf_slice(word));
	const bool is_lower =
	    slice_equals_nocase(buf_slice(word), SLICE("lower"));

	if (slice_equals_nocase(buf_slice(word), SLICE("trigger")))
		return read_trigger(words, line, word, err);
	if (field == -1 && !is_lower)
		return refuse(err, "rule", buf_slice(word),
		    "sign, encrypt, dkim, method, min-trust, opaque, "
		    "protect-headers, protect-subject, calendar-plain, "
		    "to-self, lower or trigger");
	if (words_next(line, word) != WORDS_WORD)
		return refuse(err, is_lower ? "lower" : fields[field].name,
		    *line, "a value");
	return is_lower ? read_lower(words, buf_slice(word), err)
			: read_value(words, (enum policy_field)field,
			      buf_slice(word), err);
}

int
policy_words_parse(
    struct slice text, struct policy_words *words_r, struct err *err)
{
	struct policy_words words = {0};
	struct slice line = text;
	enum words_read read;
	struct buf word;
	int rc = -1;

	buf_init(&word, POLICY_RULES_MAX);
	if (text.n > POLICY_RULES_MAX || !ipc_is_text(text)) {
		(void)err_set(err,
		    "rule: more than %d octets, not UTF-8, or with control "
		    "characters",
		    POLICY_RULES_MAX);
		goto out;
	}
	while ((read = words_next(&line, &word)) == WORDS_WORD)
		if (read_one(&words, &line, &word, err) == -1)
			goto out;
	if (read == WORDS_BAD) {
		(void)refuse(err, "rule", line,
		    "words, in quotes where they hold spaces");
		goto out;
	}
	if (words.given == 0 && words.trigger_count == 0) {
		(void)refuse(err, "rule", text,
		    "words such as sign required encrypt if-possible");
		goto out;
	}
	*words_r = words;
	rc = 0;
out:
	buf_clear(&word);
	return rc;
}

/* ---- writing ---- */

void
policy_trigger_format(const struct policy_trigger *trigger, struct buf *text_r)
{
	char text[2 * POLICY_TRIGGER_MAX + 2];

	words_add(text_r, "trigger");
	words_add(text_r, trigger->is_header ? "header" : "subject");
	(void)snprintf(text, sizeof(text), "%s%s%s", trigger->name,
	    trigger->is_header && trigger->text[0] != '\0' ? ":" : "",
	    trigger->text);
	words_add(text_r, text);
	words_add(text_r, action_words[trigger->action]);
}

void
policy_words_format(const struct policy_words *words, struct buf *text_r)
{
	for (int i = 0; i < POLICY_FIELD_COUNT; i++) {
		char value[POLICY_VALUE_TEXT_MAX];

		if ((words->given & (1u << i)) == 0)
			continue;
		words_add(text_r, fields[i].name);
		words_add(text_r, policy_value_name((enum policy_field)i,
				      words->values[i], value));
	}
	if (words->is_lower_given) {
		words_add(text_r, "lower");
		words_add(text_r, switch_words[words->may_lower]);
	}
	for (size_t i = 0; i < words->trigger_count; i++)
		policy_trigger_format(&words->triggers[i], text_r);
}
