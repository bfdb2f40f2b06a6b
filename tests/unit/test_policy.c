/* SPDX-License-Identifier: ISC */
/*
 * Rules of protection: their text, which of them match, and what they come to.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/policy.h"
#include "tests/unit/tap.h"

/* ---- text ---- */

static const struct {
	const char *label;
	const char *text;
	const char *want;
} good_words[] = {
    {"one field", "sign required", "sign required"},
    {"fields come in one order, words in lower case",
	"Encrypt Required-All  SIGN if-possible",
	"sign if-possible encrypt required-all"},
    {"all there is",
	"to-self on calendar-plain off protect-subject on protect-headers on "
	"opaque on min-trust 70 method pgp-smime dkim required encrypt "
	"on-trigger sign never lower on",
	"sign never encrypt on-trigger dkim required method pgp-smime "
	"min-trust 70 opaque on protect-headers on protect-subject on "
	"calendar-plain off to-self on lower on"},
    {"a hidden Subject that stands in the text", "protect-subject Legacy",
	"protect-subject legacy"},
    {"triggers stand last, in the order they were given",
	"trigger subject [secure] encrypt trigger header \"X-Encrypt: yes\" "
	"encrypt sign required",
	"sign required trigger subject [secure] encrypt trigger header "
	"X-Encrypt:yes encrypt"},
    {"a trigger of several words is quoted",
	"trigger subject \"top secret\" encrypt trigger header Sensitivity "
	"no-encrypt",
	"trigger subject \"top secret\" encrypt trigger header Sensitivity "
	"no-encrypt"},
};

static const struct {
	const char *label;
	const char *text;
	const char *want; /* a part of the sentence */
} bad_words[] = {
    {"nothing is no rule", "", "words such as"},
    {"an unknown field", "sgin required", "\"sgin\""},
    {"an unknown value", "sign always", "never, if-possible or required"},
    {"a field without a value", "sign", "a value"},
    {"a field twice", "sign never sign required", "twice"},
    {"lower twice", "lower on lower on", "twice"},
    {"lower alone says nothing", "lower on", "words such as"},
    {"a Subject that is hidden otherwise", "protect-subject yes",
	"off, on or legacy"},
    {"a trust above the scale", "min-trust 101", "0 to 100"},
    {"a trust that is no number", "min-trust high", "0 to 100"},
    {"a trigger of another kind", "trigger body x sign", "subject or header"},
    {"a trigger without a text", "trigger subject", "a text and an action"},
    {"a trigger without an action", "trigger subject [x]", "sign, encrypt"},
    {"a trigger with another action", "trigger subject [x] drop",
	"sign, encrypt"},
    {"a trigger of one character", "trigger subject x encrypt", "2 to 128"},
    {"a header trigger on what all mail has", "trigger header Subject encrypt",
	"NAME or NAME:VALUE"},
    {"a header trigger without a name", "trigger header :yes encrypt",
	"NAME or NAME:VALUE"},
    {"the same trigger twice",
	"trigger subject [x] sign trigger subject [X] encrypt", "twice"},
    {"nine triggers",
	"trigger subject [1] sign trigger subject [2] sign trigger subject [3] "
	"sign trigger subject [4] sign trigger subject [5] sign trigger "
	"subject [6] sign trigger subject [7] sign trigger subject [8] sign "
	"trigger subject [9] sign",
	"no more than 8"},
    {"a quote that does not end", "trigger subject \"[x] sign", "a text"},
    {"a control character", "sign\trequired\x01", "control"},
};

static void
test_words(void)
{
	struct policy_words words;
	struct buf text;
	struct err err;

	buf_init(&text, 4096);
	for (size_t i = 0; i < sizeof(good_words) / sizeof(good_words[0]);
	     i++) {
		buf_reset(&text);
		err.text[0] = '\0';
		if (policy_words_parse(
			slice_of(good_words[i].text), &words, &err) == 0)
			policy_words_format(&words, &text);
		is_str(buf_text(&text), good_words[i].want, "%s: %s",
		    good_words[i].label, err.text);
	}
	for (size_t i = 0; i < sizeof(bad_words) / sizeof(bad_words[0]); i++) {
		err.text[0] = '\0';
		ok(policy_words_parse(
		       slice_of(bad_words[i].text), &words, &err) == -1 &&
			strstr(err.text, bad_words[i].want) != NULL,
		    "%s is refused: %s", bad_words[i].label, err.text);
	}
	buf_clear(&text);
}

static const struct {
	const char *text;
	const char *want; /* NULL: refused */
} patterns[] = {
    {"*", "*"},
    {"Anna@Example.ORG", "anna@example.org"},
    {"@Example.org.", "@example.org"},
    {"@*.example.org", "@*.example.org"},
    {"@.example.org", "@*.example.org"},
    {"@*", "*"},
    {"\"a\"@b.example", "a@b.example"},
    {"@b\xc3\xbc"
     "cher.example",
	"@xn--bcher-kva.example"},
    {"example.org", NULL},
    {"", NULL},
    {"@", NULL},
    {"a b@example.org", NULL},
    {"a@[192.0.2.1]", NULL},
};

static void
test_patterns(void)
{
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		char pattern[POLICY_PATTERN_MAX + 1];
		struct err err;
		const int rc = policy_pattern_parse(
		    slice_of(patterns[i].text), pattern, &err);

		if (patterns[i].want == NULL)
			is_int(
			    rc, -1, "\"%s\" is no pattern", patterns[i].text);
		else
			is_str(rc == 0 ? pattern : err.text, patterns[i].want,
			    "the pattern %s", patterns[i].text);
	}
}

/* ---- what rules come to ---- */

/* Lines "SENDER RECIPIENT WORDS". */
static struct policy *
policy_of(const char *text)
{
	struct policy *policy = policy_new();
	struct slice rest = slice_of(text);

	while (rest.n > 0) {
		const size_t end = slice_find(rest, '\n', 0);
		const struct slice line = {rest.p, end};
		const size_t one = slice_find(line, ' ', 0);
		const size_t two = slice_find(line, ' ', one + 1);
		struct err err;

		if (policy_add(policy, (struct slice){line.p, one},
			(struct slice){line.p + one + 1, two - one - 1},
			(struct slice){line.p + two, line.n - two}, &err) == -1)
			fatal("%s", err.text);
		rest.p += end + (end < rest.n);
		rest.n -= end + (end < rest.n);
	}
	policy_sort(policy);
	return policy;
}

static struct address
address_of(const char *text)
{
	struct address address;
	struct err err;

	if (address_parse(
		slice_of(text), ADDRESS_MAY_BE_UTF8, &address, &err) == -1)
		fatal("%s: %s", text, err.text);
	return address;
}

static const char *const sign_names[] = {"never", "if-possible", "required"};

static void
describe(const struct policy_decision *decision, char *text_r, size_t size)
{
	(void)snprintf(text_r, size, "%s %s %s %d %u %u",
	    sign_names[decision->sign], policy_encrypt_name(decision->encrypt),
	    sign_names[decision->dkim], (int)decision->method,
	    decision->min_trust, decision->options);
}

static void
decide(const struct policy *policy, const char *from, const char *to,
    const char *header_text, bool is_trusted, char *text_r, size_t size,
    struct ipc_list_writer *removals)
{
	struct policy_decision decision;
	struct policy_mail mail;
	struct header header;
	struct address sender;
	struct address recipient = address_of(to);

	header_init(&header, 0);
	(void)header_read(&header, slice_of(header_text));
	if (from[0] != '\0')
		sender = address_of(from);
	policy_mail_init(
	    &mail, from[0] != '\0' ? &sender : NULL, is_trusted, &header);
	policy_decide(
	    policy, &mail, &recipient, &decision, removals, NULL, NULL);
	describe(&decision, text_r, size);
	policy_mail_clear(&mail);
	header_clear(&header);
}

#define DEFAULT_REST " if-possible 0 50 0"

static const struct {
	const char *label;
	const char *rules;
	const char *from;
	const char *to;
	const char *want;
} matches[] = {
    {"without a rule nothing but DKIM", "", "a@ours.test", "b@x.test",
	"never never if-possible 0 50 0"},
    {"a rule for all", "* * sign required encrypt if-possible", "a@ours.test",
	"b@x.test", "required if-possible if-possible 0 50 0"},
    {"a rule for other senders", "@ours.test * sign required", "a@other.test",
	"b@x.test", "never never if-possible 0 50 0"},
    {"a rule for other recipients", "* @y.test sign required", "a@ours.test",
	"b@x.test", "never never if-possible 0 50 0"},
    {"the domain is nearer than all",
	"* * encrypt required\n* @x.test encrypt never", "a@ours.test",
	"b@x.test", "never never if-possible 0 50 0"},
    {"the address is nearer than the domain",
	"* @x.test encrypt required\n* b@x.test encrypt if-possible",
	"a@ours.test", "b@x.test", "never if-possible if-possible 0 50 0"},
    {"the longer suffix is nearer",
	"* @*.test encrypt required\n* @*.x.test encrypt if-possible",
	"a@ours.test", "b@mail.x.test", "never if-possible if-possible 0 50 0"},
    {"below a domain is not the domain", "* @*.x.test encrypt required",
	"a@ours.test", "b@x.test", "never never if-possible 0 50 0"},
    {"the exact domain is nearer than any suffix",
	"* @*.x.test encrypt required\n* @mail.x.test encrypt never",
	"a@ours.test", "b@mail.x.test", "never never if-possible 0 50 0"},
    {"a field that the nearer rule leaves out comes from the farther one",
	"* * sign required method pgp\n* @x.test encrypt required",
	"a@ours.test", "b@x.test", "required required if-possible 3 50 0"},
    {"sender and recipient equally near: the stricter counts",
	"a@ours.test * encrypt never\n* b@x.test encrypt required-all",
	"a@ours.test", "b@x.test", "never required-all if-possible 0 50 0"},
    {"and the other way round",
	"a@ours.test * encrypt required sign required dkim required\n"
	"* b@x.test encrypt if-possible sign never dkim never",
	"a@ours.test", "b@x.test", "required required required 0 50 0"},
    {"the nearer sender counts before the recipient's domain",
	"a@ours.test * encrypt never\n* @x.test encrypt required",
	"a@ours.test", "b@x.test", "never never if-possible 0 50 0"},
    {"both sides named are nearer than one",
	"a@ours.test * encrypt required\na@ours.test @x.test encrypt never",
	"a@ours.test", "b@x.test", "never never if-possible 0 50 0"},
    {"equally near: the higher trust, calendars stay protected",
	"a@ours.test * min-trust 80 calendar-plain on\n"
	"* b@x.test min-trust 60 calendar-plain off",
	"a@ours.test", "b@x.test", "never never if-possible 0 80 0"},
    {"equally near: the recipient's method",
	"a@ours.test * method pgp opaque on\n* b@x.test method smime opaque "
	"off",
	"a@ours.test", "b@x.test", "never never if-possible 2 50 0"},
    {"options are settled one by one",
	"* * opaque on protect-headers on to-self on\n* @x.test opaque off "
	"protect-subject on",
	"a@ours.test", "b@x.test", "never never if-possible 0 50 22"},
    {"a legacy display is that of a hidden Subject",
	"* * protect-subject legacy", "a@ours.test", "b@x.test",
	"never never if-possible 0 50 36"},
    {"and nearer rules may be without",
	"* * protect-subject legacy\n* @x.test protect-subject on",
	"a@ours.test", "b@x.test", "never never if-possible 0 50 4"},
    {"ASCII case of a local part does not count",
	"Anna@ours.test Bob@x.test sign required", "aNNA@ours.test",
	"BOB@x.test", "required never if-possible 0 50 0"},
    {"a subaddress is no way around a rule",
	"a@ours.test b@x.test sign required", "a+t@ours.test", "b+u@x.test",
	"required never if-possible 0 50 0"},
    {"a rule for the subaddress itself is nearer",
	"a@ours.test * sign required\na+news@ours.test * sign never",
	"a+news@ours.test", "b@x.test", "never never if-possible 0 50 0"},
    {"a literal matches only all", "* * sign required\n* @x.test sign never",
	"a@ours.test", "b@[192.0.2.1]", "required never if-possible 0 50 0"},
    {"no sender matches only all", "* * sign required\n@ours.test * sign never",
	"", "b@x.test", "required never if-possible 0 50 0"},
    {"on trigger alone demands nothing", "* * encrypt on-trigger",
	"a@ours.test", "b@x.test", "never never if-possible 0 50 0"},
};

static void
test_matches(void)
{
	for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
		struct policy *policy = policy_of(matches[i].rules);
		char text[128];

		decide(policy, matches[i].from, matches[i].to, "\r\n", true,
		    text, sizeof(text), NULL);
		is_str(text, matches[i].want, "%s", matches[i].label);
		policy_free(policy);
	}
}

/* ---- triggers ---- */

static const struct {
	const char *label;
	const char *rules;
	const char *header;
	bool is_stranger;
	const char *want;
	const char *removed;
} triggers[] = {
    {"a subject trigger demands encryption",
	"* * encrypt on-trigger trigger subject [secure] encrypt",
	"Subject: Re: [Secure] plans\r\n\r\n", false,
	"never required" DEFAULT_REST, "subject [secure];"},
    {"without it nothing is demanded",
	"* * encrypt on-trigger trigger subject [secure] encrypt",
	"Subject: secure plans\r\n\r\n", false, "never never" DEFAULT_REST, ""},
    {"a stranger cannot trigger",
	"* * encrypt on-trigger trigger subject [secure] encrypt",
	"Subject: [secure] plans\r\n\r\n", true, "never never" DEFAULT_REST,
	""},
    {"an encoded word is looked into",
	"* * trigger subject [geh\xc3\xa4im] encrypt",
	"Subject: =?utf-8?B?W2dlaMOkaW1dIFBsYW4=?=\r\n\r\n", false,
	"never required" DEFAULT_REST, "subject [geh\xc3\xa4im];"},
    {"a trigger that is split over encoded words is whole",
	"* * trigger subject [secure] encrypt",
	"Subject: =?utf-8?Q?[sec?=\r\n =?utf-8?Q?ure]_x?=\r\n\r\n", false,
	"never required" DEFAULT_REST, "subject [secure];"},
    {"a charset that we do not know", "* * trigger subject [secure] encrypt",
	"Subject: =?koi8-r?B?W3NlY3VyZV0gztU=?=\r\n\r\n", false,
	"never required" DEFAULT_REST, "subject [secure];"},
    {"a trigger with what nobody sees in it",
	"* * trigger subject [secure] encrypt",
	"Subject: [sec\xe2\x80\x8bure] x\r\n\r\n", false,
	"never required" DEFAULT_REST, "subject [secure];"},
    {"a header trigger with its value",
	"* * trigger header X-Encrypt:yes encrypt", "x-encrypt:  YES\r\n\r\n",
	false, "never required" DEFAULT_REST, "header X-Encrypt;"},
    {"a header trigger with another value",
	"* * trigger header X-Encrypt:yes encrypt", "X-Encrypt: no\r\n\r\n",
	false, "never never" DEFAULT_REST, ""},
    {"a header trigger with any value", "* * trigger header X-Sign sign",
	"X-Sign: whatever\r\n\r\n", false, "required never" DEFAULT_REST,
	"header X-Sign;"},
    {"a folded header's value counts unfolded",
	"* * trigger header \"X-Class: top secret\" encrypt",
	"X-Class: top\r\n secret\r\n\r\n", false, "never required" DEFAULT_REST,
	"header X-Class;"},
    {"it raises what is only tried",
	"* * encrypt if-possible sign if-possible trigger subject [s] encrypt",
	"Subject: [s]\r\n\r\n", false, "if-possible required" DEFAULT_REST,
	"subject [s];"},
    {"it does not lower what is demanded for all",
	"* * encrypt required-all trigger subject [s] encrypt",
	"Subject: [s]\r\n\r\n", false, "never required-all" DEFAULT_REST,
	"subject [s];"},
    {"never is never, but the words are taken out",
	"* * trigger subject [s] encrypt\n* @x.test encrypt never",
	"Subject: [s]\r\n\r\n", false, "never never" DEFAULT_REST,
	"subject [s];"},
    {"lowering needs a rule that allows it",
	"* * encrypt required trigger subject [plain] no-encrypt",
	"Subject: [plain] x\r\n\r\n", false, "never required" DEFAULT_REST,
	"subject [plain];"},
    {"the rule that demands has to allow it",
	"* * lower on trigger subject [plain] no-encrypt\n* @x.test encrypt "
	"required",
	"Subject: [plain] x\r\n\r\n", false, "never required" DEFAULT_REST,
	"subject [plain];"},
    {"lower on: it is sent as it is",
	"* * encrypt required sign required lower on trigger subject [plain] "
	"no-encrypt",
	"Subject: [plain] x\r\n\r\n", false, "required never" DEFAULT_REST,
	"subject [plain];"},
    {"two equally near rules that demand it both have to allow it",
	"a@ours.test * encrypt required lower on trigger subject [p] "
	"no-encrypt\n* b@x.test encrypt required",
	"Subject: [p] x\r\n\r\n", false, "never required" DEFAULT_REST,
	"subject [p];"},
    {"a mail that asks for both is encrypted",
	"* * encrypt if-possible lower on trigger subject [p] no-encrypt "
	"trigger subject [s] encrypt",
	"Subject: [p] [s]\r\n\r\n", false, "never required" DEFAULT_REST,
	"subject [p];subject [s];"},
    {"triggers of all rules that match count",
	"* * trigger subject [a] encrypt\n* b@x.test trigger subject [b] sign",
	"Subject: [a] [b]\r\n\r\n", false, "required required" DEFAULT_REST,
	"subject [b];subject [a];"},
    {"a second Subject is looked at as well", "* * trigger subject [s] encrypt",
	"Subject: x\r\nSubject: [s]\r\n\r\n", false,
	"never required" DEFAULT_REST, "subject [s];"},
};

static void
list_removals(const struct ipc_list_writer *removals, struct buf *text_r)
{
	struct ipc_list list = ipc_list_of(removals);
	struct ipc_record_fact fact;

	while (ipc_fact_next(&list, &fact))
		(void)buf_addf(text_r, "%.*s %.*s;", SLICE_ARG(fact.name),
		    SLICE_ARG(fact.value));
}

static void
test_triggers(void)
{
	for (size_t i = 0; i < sizeof(triggers) / sizeof(triggers[0]); i++) {
		struct policy *policy = policy_of(triggers[i].rules);
		struct ipc_list_writer removals;
		struct buf removed;
		char text[128];

		ipc_list_writer_init(&removals, 65536);
		buf_init(&removed, 4096);
		decide(policy, "a@ours.test", "b@x.test", triggers[i].header,
		    !triggers[i].is_stranger, text, sizeof(text), &removals);
		list_removals(&removals, &removed);
		is_str(text, triggers[i].want, "%s", triggers[i].label);
		is_str(buf_text(&removed), triggers[i].removed,
		    "%s: what is taken out", triggers[i].label);
		buf_clear(&removed);
		ipc_list_writer_clear(&removals);
		policy_free(policy);
	}
}

static void
test_removals_once(void)
{
	struct policy *policy = policy_of(
	    "* * trigger subject [s] encrypt trigger header X-A sign");
	struct ipc_list_writer removals;
	char text[128];

	ipc_list_writer_init(&removals, 65536);
	for (int i = 0; i < 3; i++)
		decide(policy, "a@ours.test", "b@x.test",
		    "X-A: 1\r\nSubject: [s]\r\n\r\n", true, text, sizeof(text),
		    &removals);
	is_int(removals.count, 2, "what is taken out is named once for all");
	ipc_list_writer_clear(&removals);
	policy_free(policy);
}

/* ---- explaining ---- */

static void
note_fired(void *arg, const struct policy_rule *rule, const char *text,
    bool counts, const char *why)
{
	(void)buf_addf(arg, "%s %s: %s, %s (%s)\n", rule->sender,
	    rule->recipient, text, counts ? "yes" : "no", why);
}

static void
test_explain(void)
{
	struct policy *policy = policy_of(
	    "* * sign if-possible encrypt on-trigger trigger subject [s] "
	    "encrypt\n"
	    "a@ours.test * encrypt if-possible\n"
	    "* b@x.test encrypt required\n"
	    "@ours.test * sign required\n"
	    "@other.test * sign never");
	struct address sender = address_of("a@ours.test");
	struct address recipient = address_of("b@x.test");
	struct policy_decision decision;
	struct policy_mail mail;
	struct buf text;

	buf_init(&text, 65536);
	policy_mail_init(&mail, &sender, true, NULL);
	policy_decide(
	    policy, &mail, &recipient, &decision, NULL, note_fired, &text);
	is_str(buf_text(&text),
	    "* b@x.test: encrypt required, yes (counts)\n"
	    "a@ours.test *: encrypt if-possible, no (the equally near rule * "
	    "b@x.test says required)\n"
	    "@ours.test *: sign required, yes (counts)\n"
	    "* *: sign if-possible, no (the nearer rule @ours.test * says "
	    "required)\n"
	    "* *: encrypt on-trigger, no (the nearer rule * b@x.test says "
	    "required)\n"
	    "* *: trigger subject [s] encrypt, no (not in this mail)\n",
	    "each rule is told with what came of it");
	policy_mail_clear(&mail);
	buf_clear(&text);
	policy_free(policy);
}

/* Many rules are found as quickly as few: this would take minutes else. */
static void
test_many(void)
{
	struct policy *policy = policy_new();
	char text[128];

	for (unsigned i = 0; i < 20000; i++) {
		char pattern[64];

		(void)snprintf(pattern, sizeof(pattern), "@d%u.test", i);
		(void)policy_add(policy, SLICE("*"), slice_of(pattern),
		    SLICE("sign required"), NULL);
	}
	policy_sort(policy);
	for (unsigned i = 0; i < 2000; i++)
		decide(policy, "a@ours.test", "b@d19999.test", "\r\n", true,
		    text, sizeof(text), NULL);
	is_str(text, "required never" DEFAULT_REST, "one of 20000 rules");
	is_u64(policy_count(policy), 20000, "all are there");
	policy_free(policy);
}

/* Where it stands at an end, however long the Subject is. */
static void
test_long_subject(void)
{
	struct policy *policy =
	    policy_of("* * trigger subject [secure] encrypt");
	struct buf header;
	char text[400];

	buf_init(&header, 200000);
	(void)buf_add_text(&header, "Subject: a");
	for (int i = 0; i < 2000; i++)
		(void)buf_add_text(
		    &header, "\r\n word word word word word word word");
	(void)buf_add_text(&header, " [secure]\r\n\r\n");
	decide(policy, "a@ours.test", "b@x.test", buf_text(&header), true, text,
	    sizeof(text), NULL);
	is_str(text, "never required" DEFAULT_REST,
	    "a trigger at the end of a long Subject");
	buf_clear(&header);
	policy_free(policy);
}

int
main(void)
{
	test_long_subject();
	test_words();
	test_patterns();
	test_matches();
	test_triggers();
	test_removals_once();
	test_explain();
	test_many();
	return tap_done();
}
